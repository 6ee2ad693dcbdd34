/**
 * Delivery of exceptions, interrupts and software interrupts in every mode, double and triple faults.
 * SDM Vol. 3, "Interrupt and Exception Handling". Virtual-8086 redirection is in vm86.ts, task gates are in task.ts.
 *
 * deliver_*() are called at an instruction boundary or with a fault pending: CPU_RIP is the RIP to come back to.
 * Delivery either succeeds and sets RIP to the handler, or leaves another fault pending and no visible change.
 */
import { EXIT_KIND_FAULT, EXIT_KIND_INTERRUPT, LOG_INTERRUPT, LOG_TRIPLE_FAULT } from '../abi/exits.ts'
import {
  CPU_CPL,
  CPU_CR2,
  CPU_DB_PENDING,
  CPU_DR7,
  CPU_EFLAGS,
  CPU_EXITREASON,
  CPU_EXIT_COUNTS,
  CPU_FAULT,
  CPU_FAULT_ERROR,
  CPU_FAULT_GVA,
  CPU_INHIBIT,
  CPU_MODE,
  CPU_NEXT_RIP,
  CPU_NMI_BLOCKED,
  CPU_RIP,
  CPU_RSP,
  CPU_RUNSTATE,
  CPU_TRACE,
  EXITREASON_OUT_OF_MEMORY,
  EXITREASON_SHUTDOWN,
  FAULT_HAS_ERROR,
  FAULT_TRAP,
  MODE_LMA,
  MODE_PE,
  MODE_VM86,
  RUN_RUNNING,
  RUN_SHUTDOWN,
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
  TRACE_INT,
} from '../abi/layout.ts'
import {
  ACC_IMPLICIT,
  ATTR_DB,
  ATTR_L,
  DR7_GD,
  EFLAGS_AC,
  EFLAGS_IF,
  EFLAGS_NT,
  EFLAGS_OF,
  EFLAGS_RF,
  EFLAGS_TF,
  EFLAGS_VM,
  TYPE_INT,
  TYPE_INT16,
  TYPE_TASK_GATE,
  TYPE_TRAP,
  TYPE_TRAP16,
  VECTOR_OUT_OF_MEMORY,
  VECTOR_RETRY,
} from './arch.ts'
import { debug_disarm } from './debug.ts'
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
  seg_set_descriptor,
  seg_set_null,
  selector_fault,
  selector_of,
  set_ext,
} from './descriptor.ts'
import { flags_get } from './flags.ts'
import { frame_push, frame_sp, stack_commit_value, stack_current, stack_inner, stack_long, stack_reserve } from './frame-stack.ts'
import { log_write } from './exit.ts'
import { canonical, lin_load } from './mmu.ts'
import { update_mode } from './mode.ts'
import { check_stack, seg_set_real } from './segments.ts'
import {
  cpu,
  fault_pending,
  raise_error,
  seg,
  VECTOR_DB,
  VECTOR_DF,
  VECTOR_GP,
  VECTOR_NP,
  VECTOR_PF,
  VECTOR_TS,
} from './state.ts'
import { task_switch_gate } from './task.ts'
import { tss_ist, tss_stack, tss_esp, tss_ss } from './tss.ts'
import { VM86_FAULT, VM86_PROTECTED, vm86_interrupt } from './vm86.ts'

// Origins of an event
export const EVENT_EXTERNAL: u32 = 0
export const EVENT_NMI: u32 = 1
export const EVENT_EXCEPTION: u32 = 2
/** INT n, INT3, INTO: the gate's DPL is checked and error codes have no EXT. */
export const EVENT_SOFTWARE: u32 = 3
/** INT1: like an exception, without the DPL check. */
export const EVENT_INT1: u32 = 4

function count(kind: usize): void {
  const at = cpu + CPU_EXIT_COUNTS + (kind << 2)
  store<u32>(at, load<u32>(at) + 1)
}

function trace(vector: u32, error: u32, origin: u32): void {
  if (load<u32>(cpu, CPU_TRACE) & TRACE_INT) log_write(LOG_INTERRUPT, vector, <u64>error | (<u64>origin << 32))
}

/** Error code that names an IDT entry. */
function gate_fault(vector: u32, entry: u32): bool {
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
function handler_flags(interruptGate: bool): void {
  let clear = EFLAGS_TF | EFLAGS_NT | EFLAGS_RF | EFLAGS_VM
  if (interruptGate) clear |= EFLAGS_IF
  store<u32>(cpu, load<u32>(cpu, CPU_EFLAGS) & ~clear, CPU_EFLAGS)
}

function deliver_legacy(vector: u32, origin: u32, rip: u64, flags: u32, hasError: bool, error: u32): bool {
  const idt = seg(SEG_IDTR)
  if ((vector << 3) + 7 > load<u32>(idt, SEG_LIMIT)) return gate_fault(VECTOR_GP, vector)
  const gate = lin_load<u64>((load<u64>(idt, SEG_BASE) + (vector << 3)) & 0xffff_ffff, ACC_IMPLICIT)
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

function deliver_long(vector: u32, origin: u32, rip: u64, flags: u32, hasError: bool, error: u32): bool {
  const idt = seg(SEG_IDTR)
  if ((vector << 4) + 15 > load<u32>(idt, SEG_LIMIT)) return gate_fault(VECTOR_GP, vector)
  const at = load<u64>(idt, SEG_BASE) + (vector << 4)
  const gate = lin_load<u64>(at, ACC_IMPLICIT)
  const upper = lin_load<u64>(at + 8, ACC_IMPLICIT)
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
  if (!stack_reserve(hasError ? 6 : 5, 8)) return false
  frame_push(selector_of(SEG_SS), 8)
  frame_push(load<u64>(cpu, CPU_RSP), 8)
  frame_push(flags, 8)
  frame_push(selector_of(SEG_CS), 8)
  frame_push(rip, 8)
  if (hasError) frame_push(error, 8)
  if (fault_pending()) return false

  store<u64>(cpu, frame_sp, CPU_RSP)
  if (newCpl < cpl) seg_set(SEG_SS, newCpl, 0, 0, SEG_ATTR_UNUSABLE)
  seg_set(SEG_CS, (selector & 0xfffc) | newCpl, codeBase, codeLimit, codeAttr)
  store<u32>(cpu, newCpl, CPU_CPL)
  store<u64>(cpu, offset, CPU_NEXT_RIP)
  handler_flags(type == TYPE_INT)
  return true
}

/**
 * Delivers one event. rip and the RF of the pushed flags are the caller's. True: CPU_NEXT_RIP is the handler and all
 * state is in place. False: another fault is pending.
 */
export function deliver_event(vector: u32, origin: u32, rip: u64, rf: bool, hasError: bool, error: u32): bool {
  const mode = load<u32>(cpu, CPU_MODE)
  set_ext(origin == EVENT_SOFTWARE ? 0 : 1)
  let flags = flags_get()
  // Fault-class exceptions resume with RF set; a debug fault and everything else keep it as it is.
  if (rf) flags |= EFLAGS_RF
  let done: bool
  if (!(mode & MODE_PE)) {
    const idt = seg(SEG_IDTR)
    if ((vector << 2) + 3 > load<u32>(idt, SEG_LIMIT)) done = gate_fault(VECTOR_GP, vector)
    else {
      done = deliver_real(vector, rip, load<u64>(idt, SEG_BASE), flags)
      if (done) handler_flags(true)
      if (done) store<u32>(cpu, load<u32>(cpu, CPU_EFLAGS) & ~EFLAGS_AC, CPU_EFLAGS)
    }
  } else if (mode & MODE_LMA) done = deliver_long(vector, origin, rip, flags, hasError, error)
  else done = deliver_legacy(vector, origin, rip, flags, hasError, error)
  set_ext(0)
  if (done) finish()
  return done
}

/** What every successful delivery has in common. */
function finish(): void {
  store<u32>(cpu, 0, CPU_INHIBIT)
  debug_disarm()
  update_mode()
}

/** Classes of exceptions for double-fault detection (SDM Vol. 3, "Interrupt 8—Double Fault Exception"). */
const BENIGN: u32 = 0
const CONTRIBUTORY: u32 = 1
const PAGE_FAULT: u32 = 2
const DOUBLE_FAULT: u32 = 3

function class_of(vector: u32): u32 {
  if (vector == 0 || (vector >= 10 && vector <= 13)) return CONTRIBUTORY
  if (vector == VECTOR_PF) return PAGE_FAULT
  return vector == VECTOR_DF ? DOUBLE_FAULT : BENIGN
}

function shut_down(vector: u32, error: u32): void {
  store<u32>(cpu, RUN_SHUTDOWN, CPU_RUNSTATE)
  store<u32>(cpu, EXITREASON_SHUTDOWN, CPU_EXITREASON)
  log_write(LOG_TRIPLE_FAULT, vector, error)
}

/**
 * Delivers the fault in CPU_FAULT, and what its delivery brings up. Afterwards CPU_RIP and CPU_NEXT_RIP are the
 * handler's, or CPU_EXITREASON is set (shutdown, out of memory) and CPU_RIP still the instruction's.
 */
export function deliver_fault(): void {
  let fault = load<u32>(cpu, CPU_FAULT)
  let previous = BENIGN
  while (true) {
    let vector = fault & 0xff
    let error = load<u32>(cpu, CPU_FAULT_ERROR)
    let hasError = (fault & FAULT_HAS_ERROR) != 0
    store<u32>(cpu, 0, CPU_FAULT)
    if (vector == VECTOR_RETRY) return
    if (vector == VECTOR_OUT_OF_MEMORY) {
      store<u32>(cpu, EXITREASON_OUT_OF_MEMORY, CPU_EXITREASON)
      return
    }
    const kind = class_of(vector)
    if (previous == DOUBLE_FAULT && kind != BENIGN) {
      shut_down(vector, error)
      return
    }
    if ((previous == CONTRIBUTORY && kind == CONTRIBUTORY) || (previous == PAGE_FAULT && kind != BENIGN)) {
      vector = VECTOR_DF
      error = 0
      hasError = true
      fault = 0
    }
    previous = class_of(vector)
    count(EXIT_KIND_FAULT)
    trace(vector, error, EVENT_EXCEPTION)
    if (vector == VECTOR_PF) store<u64>(cpu, load<u64>(cpu, CPU_FAULT_GVA), CPU_CR2)
    const trap = (fault & FAULT_TRAP) != 0
    // General detect and the breakpoints are over once the handler runs.
    if (vector == VECTOR_DB) store<u64>(cpu, load<u64>(cpu, CPU_DR7) & ~(<u64>DR7_GD), CPU_DR7)
    else store<u32>(cpu, 0, CPU_DB_PENDING)
    const rip = trap ? load<u64>(cpu, CPU_NEXT_RIP) : load<u64>(cpu, CPU_RIP)
    const rf = !trap && vector != VECTOR_DB && vector != VECTOR_DF
    if (deliver_event(vector, EVENT_EXCEPTION, rip, rf, hasError, error)) {
      store<u64>(cpu, load<u64>(cpu, CPU_NEXT_RIP), CPU_RIP)
      // A task gate with the T bit set leaves its debug trap pending.
      if (!fault_pending()) return
      previous = BENIGN
    }
    fault = load<u32>(cpu, CPU_FAULT)
  }
}

function deliver_outside(vector: u32, origin: u32): void {
  count(EXIT_KIND_INTERRUPT)
  trace(vector, 0, origin)
  if (load<u32>(cpu, CPU_RUNSTATE) != RUN_SHUTDOWN) store<u32>(cpu, RUN_RUNNING, CPU_RUNSTATE)
  if (deliver_event(vector, origin, load<u64>(cpu, CPU_RIP), false, false, 0)) {
    store<u64>(cpu, load<u64>(cpu, CPU_NEXT_RIP), CPU_RIP)
  } else deliver_fault()
}

/** An external interrupt that the irqchip has acknowledged; the caller checked IF and the shadow. */
export function deliver_interrupt(vector: u32): void {
  deliver_outside(vector, EVENT_EXTERNAL)
}

/** An NMI; the caller checked CPU_NMI_BLOCKED. */
export function deliver_nmi(): void {
  store<u32>(cpu, 1, CPU_NMI_BLOCKED)
  deliver_outside(2, EVENT_NMI)
}

/** INT n, INT3, INTO as instructions: the frame holds NEXT_RIP, and a fault belongs to the instruction. */
export function software_interrupt(vector: u32, viaIntN: bool): void {
  const rip = load<u64>(cpu, CPU_NEXT_RIP)
  if (viaIntN && load<u32>(cpu, CPU_MODE) & MODE_VM86) {
    const verdict = vm86_interrupt(vector, rip)
    if (verdict == VM86_FAULT) return
    if (verdict != VM86_PROTECTED) {
      finish()
      return
    }
  }
  count(EXIT_KIND_INTERRUPT)
  trace(vector, 0, EVENT_SOFTWARE)
  if (!deliver_event(vector, EVENT_SOFTWARE, rip, false, false, 0)) store<u64>(cpu, rip, CPU_NEXT_RIP)
}

export function sys_int(vector: u32): void {
  software_interrupt(vector & 0xff, true)
}

export function sys_int3(): void {
  software_interrupt(3, false)
}

export function sys_into(): void {
  if (flags_get() & EFLAGS_OF) software_interrupt(4, false)
}

export function sys_int1(): void {
  const rip = load<u64>(cpu, CPU_NEXT_RIP)
  if (!deliver_event(VECTOR_DB, EVENT_INT1, rip, false, false, 0)) store<u64>(cpu, rip, CPU_NEXT_RIP)
}

