/**
 * The ways into a handler: the real-mode vector table, interrupt and trap gates of legacy and long mode. SDM Vol. 3,
 * "Exception- and Interrupt-Handler Procedures", "Exception and Interrupt Handling in 64-bit Mode".
 * A delivery that returns false has left a fault pending and changed nothing visible.
 */
import {
  CPU_CPL,
  CPU_EFLAGS,
  CPU_MODE,
  CPU_NEXT_RIP,
  CPU_RSP,
  MODE_VM86,
  SEG_ATTR_UNUSABLE,
  SEG_BASE,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_IDTR,
  SEG_LIMIT,
  SEG_SS,
} from '../abi/layout.ts'
import {
  ACC_IMPLICIT,
  ATTR_DB,
  ATTR_L,
  EFLAGS_IF,
  EFLAGS_NT,
  EFLAGS_RF,
  EFLAGS_TF,
  EFLAGS_VM,
  TYPE_INT,
  TYPE_INT16,
  TYPE_TASK_GATE,
  TYPE_TRAP,
  TYPE_TRAP16,
} from './arch.ts'
import {
  d_attr,
  d_base,
  d_limit,
  descriptor_mark_accessed,
  descriptor_read,
  dpl_of,
  ext,
  is_code,
  is_conforming,
  is_null,
  present,
  seg_set,
  seg_set_null,
  selector_fault,
  selector_of,
} from './descriptor.ts'
import { frame_push, frame_room, frame_sp, stack_commit_value, stack_current, stack_inner, stack_long, stack_reserve } from './frame-stack.ts'
import { canonical, lin_load, system_load64 } from './mmu.ts'
import { check_stack, seg_set_real } from './segments.ts'
import { cpu, fault_pending, raise_error, seg, VECTOR_GP, VECTOR_NP, VECTOR_TS } from './state.ts'
import { task_switch_gate } from './task.ts'
import { tss_ist, tss_stack, tss_esp, tss_ss } from './tss.ts'

// Origins of an event
export const EVENT_EXTERNAL: u32 = 0
export const EVENT_NMI: u32 = 1
export const EVENT_EXCEPTION: u32 = 2
/** INT n, INT3, INTO: the gate's DPL is checked and error codes have no EXT. */
export const EVENT_SOFTWARE: u32 = 3
/** INT1: like an exception, without the DPL check. */
export const EVENT_INT1: u32 = 4

/** Error code that names an IDT entry. */
export function gate_fault(vector: u32, entry: u32): bool {
  raise_error(vector, (entry << 3) | 2 | ext)
  return false
}

/** Through the real-mode vector table at `table` (IDTR.base, or 0 for virtual-8086 redirection). */
export function deliver_real(vector: u32, rip: u64, table: u64, flags: u32): bool {
  stack_current()
  const entry = lin_load<u32>(table + (vector << 2), ACC_IMPLICIT)
  if (fault_pending() || !stack_reserve(3, 2)) return false
  frame_push(flags, 2)
  frame_push(selector_of(SEG_CS), 2)
  frame_push(rip, 2)
  if (fault_pending()) return false
  store<u64>(cpu, stack_commit_value(load<u64>(cpu, CPU_RSP)), CPU_RSP)
  seg_set_real(SEG_CS, entry >> 16)
  store<u64>(cpu, entry & 0xffff, CPU_NEXT_RIP)
  return true
}

/** Flags inside a handler. */
export function handler_flags(interruptGate: bool): void {
  let clear = EFLAGS_TF | EFLAGS_NT | EFLAGS_RF | EFLAGS_VM
  if (interruptGate) clear |= EFLAGS_IF
  store<u32>(cpu, load<u32>(cpu, CPU_EFLAGS) & ~clear, CPU_EFLAGS)
}

export function deliver_legacy(vector: u32, origin: u32, rip: u64, flags: u32, hasError: bool, error: u32): bool {
  const idt = seg(SEG_IDTR)
  if ((vector << 3) + 7 > load<u32>(idt, SEG_LIMIT)) return gate_fault(VECTOR_GP, vector)
  const gate = system_load64((load<u64>(idt, SEG_BASE) + (vector << 3)) & 0xffff_ffff)
  if (fault_pending()) return false
  const access = <u32>(gate >> 40) & 0xff
  const type = access & 0x1f
  if (type != TYPE_TASK_GATE && type != TYPE_INT16 && type != TYPE_TRAP16 && type != TYPE_INT && type != TYPE_TRAP) {
    return gate_fault(VECTOR_GP, vector)
  }
  const cpl = load<u32>(cpu, CPU_CPL)
  if (origin == EVENT_SOFTWARE && ((access >> 5) & 3) < cpl) return gate_fault(VECTOR_GP, vector)
  if (!(access & 0x80)) return gate_fault(VECTOR_NP, vector)
  const selector = <u32>(gate >> 16) & 0xffff
  if (type == TYPE_TASK_GATE) return task_switch_gate(selector, rip, hasError, error)

  if (is_null(selector)) {
    raise_error(VECTOR_GP, ext)
    return false
  }
  if (!descriptor_read(selector, VECTOR_GP)) return false
  const vm86 = (load<u32>(cpu, CPU_MODE) & MODE_VM86) != 0
  const dpl = dpl_of(d_attr)
  if (!is_code(d_attr) || dpl > cpl) return selector_fault(VECTOR_GP, selector)
  if (!present(d_attr)) return selector_fault(VECTOR_NP, selector)
  const newCpl = is_conforming(d_attr) ? cpl : dpl
  if (vm86 && newCpl != 0) return selector_fault(VECTOR_GP, selector)
  let offset = gate & 0xffff
  const wide = (type & 8) != 0
  if (wide) offset |= (gate >> 32) & 0xffff_0000
  if (offset > <u64>d_limit) {
    raise_error(VECTOR_GP, ext)
    return false
  }
  const size: u32 = wide ? 4 : 2
  const codeAttr = d_attr
  const codeBase = d_base
  const codeLimit = d_limit

  let slots: u32 = hasError ? 4 : 3
  const inner = newCpl < cpl
  if (inner) {
    if (!tss_stack(newCpl)) return false
    if (!check_stack_for(tss_ss, newCpl)) return false
    slots += vm86 ? 6 : 2
    stack_inner(d_base, d_limit, d_attr, tss_esp, newCpl, tss_ss)
  } else stack_current()
  const ssBase = d_base
  const ssLimit = d_limit
  const ssAttr = d_attr
  if (!stack_reserve(slots, size)) return false
  // The accessed bits come last of what may fault: re-reading keeps the descriptors' own addresses.
  if (!mark_accessed(selector) || (inner && !mark_accessed(tss_ss))) return false

  if (inner) {
    if (vm86) {
      frame_push(selector_of(SEG_GS), size)
      frame_push(selector_of(SEG_FS), size)
      frame_push(selector_of(SEG_DS), size)
      frame_push(selector_of(SEG_ES), size)
    }
    frame_push(selector_of(SEG_SS), size)
    frame_push(load<u64>(cpu, CPU_RSP), size)
  }
  frame_push(flags, size)
  frame_push(selector_of(SEG_CS), size)
  frame_push(rip, size)
  if (hasError) frame_push(error, size)
  if (fault_pending()) return false

  if (inner) {
    if (vm86) {
      seg_set_null(SEG_GS, 0)
      seg_set_null(SEG_FS, 0)
      seg_set_null(SEG_DS, 0)
      seg_set_null(SEG_ES, 0)
    }
    seg_set(SEG_SS, tss_ss, ssBase, ssLimit, ssAttr | 1)
  }
  store<u64>(cpu, stack_commit_value(inner ? tss_esp : load<u64>(cpu, CPU_RSP)), CPU_RSP)
  seg_set(SEG_CS, (selector & 0xfffc) | newCpl, codeBase, codeLimit, codeAttr | 1)
  store<u32>(cpu, newCpl, CPU_CPL)
  store<u64>(cpu, offset, CPU_NEXT_RIP)
  handler_flags((type & 1) == 0)
  return true
}

/** #TS for a bad stack selector of the TSS, #SS if it is not present. */
export function check_stack_for(selector: u32, cpl: u32): bool {
  if (is_null(selector)) {
    raise_error(VECTOR_TS, ext)
    return false
  }
  return check_stack(selector, cpl, VECTOR_TS)
}

export function mark_accessed(selector: u32): bool {
  return descriptor_read(selector, VECTOR_GP) && descriptor_mark_accessed()
}

/** Pushes the frame of a handler in long mode on the stack chosen. */
function push_long(rip: u64, flags: u32, hasError: bool, error: u32): bool {
  const bytes: u32 = hasError ? 48 : 40
  if (!stack_reserve(bytes >> 3, 8)) return false
  let at = frame_room(bytes)
  if (at == 0) {
    frame_push(selector_of(SEG_SS), 8)
    frame_push(load<u64>(cpu, CPU_RSP), 8)
    frame_push(flags, 8)
    frame_push(selector_of(SEG_CS), 8)
    frame_push(rip, 8)
    if (hasError) frame_push(error, 8)
    return !fault_pending()
  }
  if (hasError) {
    store<u64>(at, error)
    at += 8
  }
  store<u64>(at, rip)
  store<u64>(at, selector_of(SEG_CS), 8)
  store<u64>(at, flags, 16)
  store<u64>(at, load<u64>(cpu, CPU_RSP), 24)
  store<u64>(at, selector_of(SEG_SS), 32)
  return true
}

export function deliver_long(vector: u32, origin: u32, rip: u64, flags: u32, hasError: bool, error: u32): bool {
  const idt = seg(SEG_IDTR)
  if ((vector << 4) + 15 > load<u32>(idt, SEG_LIMIT)) return gate_fault(VECTOR_GP, vector)
  const at = load<u64>(idt, SEG_BASE) + (vector << 4)
  const gate = system_load64(at)
  const upper = system_load64(at + 8)
  if (fault_pending()) return false
  const access = <u32>(gate >> 40) & 0xff
  const type = access & 0x1f
  if (type != TYPE_INT && type != TYPE_TRAP) return gate_fault(VECTOR_GP, vector)
  const cpl = load<u32>(cpu, CPU_CPL)
  if (origin == EVENT_SOFTWARE && ((access >> 5) & 3) < cpl) return gate_fault(VECTOR_GP, vector)
  if (!(access & 0x80)) return gate_fault(VECTOR_NP, vector)
  const selector = <u32>(gate >> 16) & 0xffff
  if (is_null(selector)) {
    raise_error(VECTOR_GP, ext)
    return false
  }
  if (!descriptor_read(selector, VECTOR_GP)) return false
  const dpl = dpl_of(d_attr)
  if (!is_code(d_attr) || dpl > cpl || (d_attr & (ATTR_L | ATTR_DB)) != ATTR_L) {
    return selector_fault(VECTOR_GP, selector)
  }
  if (!present(d_attr)) return selector_fault(VECTOR_NP, selector)
  const newCpl = is_conforming(d_attr) ? cpl : dpl
  const offset = (gate & 0xffff) | ((gate >> 32) & 0xffff_0000) | (upper << 32)
  if (!canonical(offset)) {
    raise_error(VECTOR_GP, ext)
    return false
  }
  if (!descriptor_mark_accessed()) return false
  const codeBase = d_base
  const codeLimit = d_limit
  const codeAttr = d_attr
  const ist = <u32>(gate >> 32) & 7
  let rsp = load<u64>(cpu, CPU_RSP)
  if (ist != 0 || newCpl < cpl) {
    rsp = tss_ist(ist, newCpl)
    if (fault_pending()) return false
  }
  stack_long(rsp & ~0xf, newCpl)
  if (!push_long(rip, flags, hasError, error)) return false

  store<u64>(cpu, frame_sp, CPU_RSP)
  if (newCpl < cpl) seg_set(SEG_SS, newCpl, 0, 0, SEG_ATTR_UNUSABLE)
  seg_set(SEG_CS, (selector & 0xfffc) | newCpl, codeBase, codeLimit, codeAttr)
  store<u32>(cpu, newCpl, CPU_CPL)
  store<u64>(cpu, offset, CPU_NEXT_RIP)
  handler_flags(type == TYPE_INT)
  return true
}
