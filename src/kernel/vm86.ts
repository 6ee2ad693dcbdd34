/**
 * Virtual-8086 mode: INT n under IOPL and the VME redirection bitmap, entering and leaving with IRET.
 * SDM Vol. 3, "8086 Emulation", "Interrupt and Exception Handling in Virtual-8086 Mode".
 */
import {
  CPU_CPL,
  CPU_CR4,
  CPU_EFLAGS,
  CPU_NEXT_RIP,
  CPU_RSP,
  SEG_ATTR,
  SEG_BASE,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_LIMIT,
  SEG_SS,
  SEG_TR,
} from '../abi/layout.ts'
import {
  ACC_IMPLICIT,
  CR4_VME,
  EFLAGS_DF,
  EFLAGS_FIXED,
  EFLAGS_IF,
  EFLAGS_KNOWN,
  EFLAGS_NT,
  EFLAGS_RF,
  EFLAGS_TF,
  EFLAGS_VIF,
  EFLAGS_VIP,
  EFLAGS_VM,
  EFLAGS_ARITH,
} from './arch.ts'
import { seg_set } from './descriptor.ts'
import { flags_get, flags_image_vme, flags_mask, flags_set, iopl } from './flags.ts'
import { frame_pop, stack_commit_value, stack_current } from './frame-stack.ts'
import { deliver_real } from './delivery.ts'
import { lin_load } from './mmu.ts'
import { update_mode } from './mode.ts'
import { cpu, fault_pending, raise_error, seg, VECTOR_GP } from './state.ts'

export const VM86_FAULT: u32 = 0
const VM86_DONE: u32 = 1
/** The interrupt goes through the IDT as in protected mode. */
export const VM86_PROTECTED: u32 = 2

function forbidden(): u32 {
  raise_error(VECTOR_GP, 0)
  return VM86_FAULT
}

/** Bit of the interrupt redirection bitmap, the 32 bytes below the I/O map. 2: a fault is pending. */
function redirection(vector: u32): u32 {
  const tr = seg(SEG_TR)
  const limit = load<u32>(tr, SEG_LIMIT)
  if (!(load<u32>(tr, SEG_ATTR) & 8) || limit < 103) return 1
  const base = load<u64>(tr, SEG_BASE)
  const map = <u32>lin_load<u16>((base + 102) & 0xffff_ffff, ACC_IMPLICIT)
  if (fault_pending()) return 2
  const at = map - 32 + (vector >> 3)
  if (map < 32 || at > limit) return 1
  const bits = lin_load<u8>((base + at) & 0xffff_ffff, ACC_IMPLICIT)
  return fault_pending() ? 2 : (bits >> <u8>(vector & 7)) & 1
}

/** INT n in virtual-8086 mode (SDM Vol. 3, "Class 3—Software Interrupt Handling"). */
export function vm86_interrupt(vector: u32, rip: u64): u32 {
  const level = iopl()
  if (!(load<u32>(cpu, CPU_CR4) & CR4_VME)) return level == 3 ? VM86_PROTECTED : forbidden()
  const bit = redirection(vector)
  if (bit == 2) return VM86_FAULT
  if (bit == 1) return level == 3 ? VM86_PROTECTED : forbidden()
  const flags = flags_get() & ~(EFLAGS_VM | EFLAGS_RF)
  if (!deliver_real(vector, rip, 0, level == 3 ? flags : flags_image_vme(flags))) return VM86_FAULT
  const clear = EFLAGS_TF | EFLAGS_NT | EFLAGS_RF | (level == 3 ? EFLAGS_IF : EFLAGS_VIF)
  store<u32>(cpu, load<u32>(cpu, CPU_EFLAGS) & ~clear, CPU_EFLAGS)
  return VM86_DONE
}

/** A segment register of virtual-8086 mode: 64 KiB of writable data at DPL 3. */
export function seg_set_vm86(i: i32, selector: u32): void {
  seg_set(i, selector & 0xffff, <u64>(selector & 0xffff) << 4, 0xffff, 0xf3)
}

/** IRETD at CPL 0 popped an image with VM set; the first three slots were popped already. */
export function vm86_enter(eip: u64, cs: u32, flags: u32): void {
  const esp = frame_pop(4)
  const ss = <u32>frame_pop(4)
  const es = <u32>frame_pop(4)
  const ds = <u32>frame_pop(4)
  const fs = <u32>frame_pop(4)
  const gs = <u32>frame_pop(4)
  if (fault_pending()) return
  if (eip > 0xffff) {
    raise_error(VECTOR_GP, 0)
    return
  }
  seg_set_vm86(SEG_CS, cs)
  seg_set_vm86(SEG_SS, ss)
  seg_set_vm86(SEG_ES, es)
  seg_set_vm86(SEG_DS, ds)
  seg_set_vm86(SEG_FS, fs)
  seg_set_vm86(SEG_GS, gs)
  store<u64>(cpu, esp & 0xffff_ffff, CPU_RSP)
  store<u64>(cpu, eip, CPU_NEXT_RIP)
  flags_set(flags)
  store<u32>(cpu, (flags & EFLAGS_KNOWN & ~EFLAGS_ARITH) | EFLAGS_FIXED, CPU_EFLAGS)
  store<u32>(cpu, 3, CPU_CPL)
  update_mode()
}

/** IRET in virtual-8086 mode, IOPL 3 or VME (the caller refused the rest). */
export function vm86_return(bytes: u32): void {
  stack_current()
  const ip = frame_pop(bytes)
  const cs = <u32>frame_pop(bytes)
  const flags = <u32>frame_pop(bytes)
  if (fault_pending()) return
  const old = load<u32>(cpu, CPU_EFLAGS)
  const virtual = iopl() < 3
  if (ip > 0xffff || (virtual && ((flags & EFLAGS_IF && old & EFLAGS_VIP) || flags & EFLAGS_TF))) {
    raise_error(VECTOR_GP, 0)
    return
  }
  let mask = virtual ? EFLAGS_DF | EFLAGS_NT : flags_mask(bytes) & ~EFLAGS_ARITH
  if (bytes != 2) mask |= EFLAGS_RF
  let next = (old & ~mask) | (flags & mask)
  if (virtual) next = flags & EFLAGS_IF ? next | EFLAGS_VIF : next & ~EFLAGS_VIF
  store<u64>(cpu, stack_commit_value(load<u64>(cpu, CPU_RSP)), CPU_RSP)
  seg_set_vm86(SEG_CS, cs)
  flags_set(flags)
  store<u32>(cpu, next, CPU_EFLAGS)
  store<u64>(cpu, ip, CPU_NEXT_RIP)
  update_mode()
}

