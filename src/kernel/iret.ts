/**
 * IRET in all its forms (SDM Vol. 2, IRET): real mode, virtual-8086 both ways, protected to the same or an outer level,
 * nested task, 64-bit. Everything is popped and checked before the first change.
 */
import {
  CPU_CPL,
  CPU_EFLAGS,
  CPU_MODE,
  CPU_NEXT_RIP,
  CPU_NMI_BLOCKED,
  CPU_RSP,
  MODE_LMA,
  MODE_PE,
  MODE_VM86,
  SEG_ATTR_UNUSABLE,
  SEG_CS,
  SEG_LIMIT,
  SEG_SS,
  CPU_CR4,
} from '../abi/layout.ts'
import {
  ATTR_DB,
  ATTR_L,
  CR4_VME,
  EFLAGS_ARITH,
  EFLAGS_FIXED,
  EFLAGS_IOPL,
  EFLAGS_NT,
  EFLAGS_RF,
  EFLAGS_VIF,
  EFLAGS_VIP,
  EFLAGS_VM,
} from './arch.ts'
import { debug_keep_rf } from './debug.ts'
import {
  d_attr,
  d_base,
  d_limit,
  descriptor_mark_accessed,
  is_null,
  seg_set,
} from './descriptor.ts'
import { check_return_code, check_target } from './far.ts'
import { flags_mask, flags_set, iopl } from './flags.ts'
import { frame_pop, frame_view, stack_commit_value, stack_current } from './frame-stack.ts'
import { code64, update_mode } from './mode.ts'
import { far_resume } from './resume.ts'
import { check_stack, drop_inner_segments, seg_set_real } from './segments.ts'
import { cpu, fault_pending, raise_error, seg, VECTOR_GP } from './state.ts'
import { task_return } from './task.ts'
import { vm86_enter, vm86_return } from './vm86.ts'

/** Sets EFLAGS from a popped image; mask as seen by the CPL that executed IRET. */
function load_flags(flags: u32, mask: u32): void {
  flags_set(flags)
  mask &= ~EFLAGS_ARITH
  store<u32>(cpu, (load<u32>(cpu, CPU_EFLAGS) & ~mask) | (flags & mask) | EFLAGS_FIXED, CPU_EFLAGS)
  if (flags & mask & EFLAGS_RF) debug_keep_rf()
}

function iret_real(bytes: u32): void {
  stack_current()
  const ip = frame_pop(bytes)
  const cs = <u32>frame_pop(bytes)
  const flags = <u32>frame_pop(bytes)
  if (fault_pending()) return
  if (ip > <u64>load<u32>(seg(SEG_CS), SEG_LIMIT)) {
    raise_error(VECTOR_GP, 0)
    return
  }
  store<u64>(cpu, stack_commit_value(load<u64>(cpu, CPU_RSP)), CPU_RSP)
  seg_set_real(SEG_CS, cs)
  load_flags(flags, flags_mask(bytes) | EFLAGS_IOPL | (bytes == 4 ? EFLAGS_RF : 0))
  store<u64>(cpu, ip, CPU_NEXT_RIP)
  update_mode()
}

/**
 * RSP after a return to a stack of 16 bits in legacy code: processors replace the low word only, the upper bits are those
 * of the inner stack pointer. 64-bit kernels that care place that pointer accordingly ("espfix").
 */
export function outer_rsp(rsp: u64, long: bool, ssAttr: u32): u64 {
  if (long) return rsp
  if (ssAttr & ATTR_DB) return rsp & 0xffff_ffff
  return (load<u64>(cpu, CPU_RSP) & 0xffff_0000) | (rsp & 0xffff)
}

export function sys_iret(bytes: u32): void {
  const mode = load<u32>(cpu, CPU_MODE)
  // NMIs are unblocked by the attempt already, even if it faults (SDM Vol. 3, "Handling Multiple NMIs").
  store<u32>(cpu, 0, CPU_NMI_BLOCKED)
  if (!(mode & MODE_PE)) {
    iret_real(bytes)
    return
  }
  if (mode & MODE_VM86) {
    if (iopl() < 3 && (bytes != 2 || !(load<u32>(cpu, CPU_CR4) & CR4_VME))) raise_error(VECTOR_GP, 0)
    else vm86_return(bytes)
    return
  }
  const lma = (mode & MODE_LMA) != 0
  if (load<u32>(cpu, CPU_EFLAGS) & EFLAGS_NT) {
    if (lma) raise_error(VECTOR_GP, 0)
    else task_return()
    return
  }
  stack_current()
  // 64-bit code always pops five values.
  const view = bytes == 8 ? frame_view(40) : 0
  const rip = view ? load<u64>(view) : frame_pop(bytes)
  const cs = <u32>(view ? load<u64>(view, 8) : frame_pop(bytes)) & 0xffff
  const flags = <u32>(view ? load<u64>(view, 16) : frame_pop(bytes))
  if (fault_pending()) return
  const cpl = load<u32>(cpu, CPU_CPL)
  if (flags & EFLAGS_VM && cpl == 0 && bytes == 4 && !lma) {
    vm86_enter(rip, cs, flags)
    return
  }
  if (!check_return_code(cs) || !check_target(rip)) return
  const newCpl = cs & 3
  const long = lma && (d_attr & ATTR_L) != 0
  if (!descriptor_mark_accessed()) return
  const codeBase = d_base
  const codeLimit = d_limit
  const codeAttr = d_attr

  let mask = flags_mask(bytes)
  if (bytes != 2) mask |= EFLAGS_RF
  if (cpl == 0 && bytes != 2) mask |= EFLAGS_VIF | EFLAGS_VIP

  if (newCpl == cpl && !code64()) {
    store<u64>(cpu, stack_commit_value(load<u64>(cpu, CPU_RSP)), CPU_RSP)
  } else {
    const rsp = view ? load<u64>(view, 24) : frame_pop(bytes)
    const ss = <u32>(view ? load<u64>(view, 32) : frame_pop(bytes)) & 0xffff
    if (fault_pending()) return
    if (is_null(ss)) {
      // Only 64-bit code above CPL 3 runs without a stack segment.
      if (!long || newCpl == 3 || (ss & 3) != newCpl) {
        raise_error(VECTOR_GP, 0)
        return
      }
      store<u64>(cpu, rsp, CPU_RSP)
      seg_set(SEG_SS, ss, 0, 0, SEG_ATTR_UNUSABLE)
    } else {
      if (!check_stack(ss, newCpl, VECTOR_GP) || !descriptor_mark_accessed()) return
      store<u64>(cpu, outer_rsp(rsp, long, d_attr), CPU_RSP)
      seg_set(SEG_SS, ss, d_base, d_limit, d_attr)
    }
  }
  seg_set(SEG_CS, cs, codeBase, codeLimit, codeAttr)
  store<u64>(cpu, rip, CPU_NEXT_RIP)
  load_flags(flags, mask)
  store<u32>(cpu, newCpl, CPU_CPL)
  if (newCpl > cpl) drop_inner_segments(newCpl)
  update_mode()
  far_resume()
}
