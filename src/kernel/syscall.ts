/**
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT in Intel's form (SDM Vol. 2 for each).
 * The segments are not read from descriptor tables: their contents are fixed.
 */
import {
  CPU_CPL,
  CPU_EFER,
  CPU_EFLAGS,
  CPU_MODE,
  CPU_MSR_LSTAR,
  CPU_MSR_SFMASK,
  CPU_MSR_STAR,
  CPU_MSR_SYSENTER_CS,
  CPU_MSR_SYSENTER_EIP,
  CPU_MSR_SYSENTER_ESP,
  CPU_NEXT_RIP,
  CPU_R11,
  CPU_RCX,
  CPU_RDX,
  CPU_RSP,
  MODE_LMA,
  MODE_PE,
  SEG_CS,
  SEG_SS,
} from '../abi/layout.ts'
import {
  ATTR_DB,
  ATTR_G,
  ATTR_L,
  ATTR_P,
  ATTR_S,
  EFER_SCE,
  EFLAGS_ARITH,
  EFLAGS_FIXED,
  EFLAGS_IF,
  EFLAGS_KNOWN,
  EFLAGS_RF,
  EFLAGS_VM,
} from './arch.ts'
import { debug_disarm } from './debug.ts'
import { seg_set } from './descriptor.ts'
import { flags_get, flags_set } from './flags.ts'
import { canonical } from './mmu.ts'
import { code64, update_mode } from './mode.ts'
import { far_resume } from './resume.ts'
import { cpu, raise, raise_error, VECTOR_GP, VECTOR_UD } from './state.ts'

const FLAT: u32 = 0xffff_ffff
const DATA: u32 = ATTR_P | ATTR_S | ATTR_DB | ATTR_G | 3
const CODE64: u32 = ATTR_P | ATTR_S | ATTR_L | ATTR_G | 11
const CODE32: u32 = ATTR_P | ATTR_S | ATTR_DB | ATTR_G | 11
const DPL3: u32 = 0x60

function flat_segments(cs: u32, ss: u32, codeAttr: u32, cpl: u32): void {
  const dpl = cpl == 3 ? DPL3 : 0
  seg_set(SEG_CS, cs | cpl, 0, FLAT, codeAttr | dpl)
  seg_set(SEG_SS, ss | cpl, 0, FLAT, DATA | dpl)
  store<u32>(cpu, cpl, CPU_CPL)
}

export function sys_syscall(): void {
  if (!(load<u32>(cpu, CPU_EFER) & EFER_SCE) || !code64()) {
    raise(VECTOR_UD)
    return
  }
  const flags = flags_get()
  store<u64>(cpu, load<u64>(cpu, CPU_NEXT_RIP), CPU_RCX)
  store<u64>(cpu, flags & ~EFLAGS_RF, CPU_R11)
  const after = flags & ~load<u32>(cpu, CPU_MSR_SFMASK) & ~EFLAGS_RF
  flags_set(after)
  store<u32>(cpu, (after & ~EFLAGS_ARITH) | EFLAGS_FIXED, CPU_EFLAGS)
  const selector = <u32>(load<u64>(cpu, CPU_MSR_STAR) >> 32) & 0xfffc
  flat_segments(selector, selector + 8, CODE64, 0)
  store<u64>(cpu, load<u64>(cpu, CPU_MSR_LSTAR), CPU_NEXT_RIP)
  debug_disarm()
  update_mode()
  far_resume()
}

export function sys_sysret(bytes: u32): void {
  if (!(load<u32>(cpu, CPU_EFER) & EFER_SCE) || !code64()) {
    raise(VECTOR_UD)
    return
  }
  const rip = load<u64>(cpu, CPU_RCX)
  if (load<u32>(cpu, CPU_CPL) != 0 || (bytes == 8 && !canonical(rip))) {
    raise_error(VECTOR_GP, 0)
    return
  }
  const flags = load<u32>(cpu, CPU_R11) & EFLAGS_KNOWN & ~(EFLAGS_RF | EFLAGS_VM)
  flags_set(flags)
  store<u32>(cpu, (flags & ~EFLAGS_ARITH) | EFLAGS_FIXED, CPU_EFLAGS)
  const base = <u32>(load<u64>(cpu, CPU_MSR_STAR) >> 48)
  if (bytes == 8) {
    flat_segments((base + 16) & 0xffff, (base + 8) & 0xffff, CODE64, 3)
    store<u64>(cpu, rip, CPU_NEXT_RIP)
  } else {
    flat_segments(base, (base + 8) & 0xffff, CODE32, 3)
    store<u64>(cpu, rip & 0xffff_ffff, CPU_NEXT_RIP)
  }
  update_mode()
  far_resume()
}

export function sys_sysenter(): void {
  const mode = load<u32>(cpu, CPU_MODE)
  const selector = load<u32>(cpu, CPU_MSR_SYSENTER_CS) & 0xfffc
  if (!(mode & MODE_PE) || selector == 0) {
    raise_error(VECTOR_GP, 0)
    return
  }
  const long = (mode & MODE_LMA) != 0
  const esp = load<u64>(cpu, CPU_MSR_SYSENTER_ESP)
  const eip = load<u64>(cpu, CPU_MSR_SYSENTER_EIP)
  store<u32>(cpu, load<u32>(cpu, CPU_EFLAGS) & ~(EFLAGS_VM | EFLAGS_IF | EFLAGS_RF), CPU_EFLAGS)
  flat_segments(selector, selector + 8, long ? CODE64 : CODE32, 0)
  store<u64>(cpu, long ? esp : esp & 0xffff_ffff, CPU_RSP)
  store<u64>(cpu, long ? eip : eip & 0xffff_ffff, CPU_NEXT_RIP)
  update_mode()
  far_resume()
}

export function sys_sysexit(bytes: u32): void {
  const selector = load<u32>(cpu, CPU_MSR_SYSENTER_CS) & 0xfffc
  const rip = load<u64>(cpu, CPU_RDX)
  const rsp = load<u64>(cpu, CPU_RCX)
  const wide = bytes == 8
  const refused = wide && !(canonical(rip) && canonical(rsp))
  if (!(load<u32>(cpu, CPU_MODE) & MODE_PE) || selector == 0 || load<u32>(cpu, CPU_CPL) != 0 || refused) {
    raise_error(VECTOR_GP, 0)
    return
  }
  if (wide) flat_segments(selector + 32, selector + 40, CODE64, 3)
  else flat_segments(selector + 16, selector + 24, CODE32, 3)
  store<u64>(cpu, wide ? rsp : rsp & 0xffff_ffff, CPU_RSP)
  store<u64>(cpu, wide ? rip : rip & 0xffff_ffff, CPU_NEXT_RIP)
  update_mode()
  far_resume()
}

/** RSM outside system-management mode, which this CPU never enters. */
export function sys_rsm(): void {
  raise(VECTOR_UD)
}
