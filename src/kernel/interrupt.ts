/**
 * Delivery of exceptions, interrupts and software interrupts in every mode, double and triple faults.
 * SDM Vol. 3, "Interrupt and Exception Handling". Virtual-8086 redirection is in vm86.ts, task gates are in task.ts.
 *
 * deliver_*() are called at an instruction boundary or with a fault pending: CPU_RIP is the RIP to come back to.
 * Delivery either succeeds and sets RIP to the handler, or leaves another fault pending and no visible change.
 */
import { EXIT_KIND_FAULT, EXIT_KIND_INTERRUPT, LOG_INTERRUPT, LOG_TRIPLE_FAULT } from '../abi/exits.ts'
import {
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
  CPU_RUNSTATE,
  CPU_TRACE,
  CPU_TSC_NEAR,
  EXITREASON_OUT_OF_MEMORY,
  EXITREASON_SHUTDOWN,
  FAULT_HAS_ERROR,
  FAULT_TRAP,
  MODE_LMA,
  MODE_PE,
  MODE_VM86,
  RUN_RUNNING,
  RUN_SHUTDOWN,
  SEG_BASE,
  SEG_IDTR,
  SEG_LIMIT,
  TRACE_INT,
} from '../abi/layout.ts'
import { DR7_GD, EFLAGS_AC, EFLAGS_OF, EFLAGS_RF, VECTOR_OUT_OF_MEMORY, VECTOR_RETRY } from './arch.ts'
import {
  deliver_legacy,
  deliver_long,
  deliver_real,
  EVENT_EXCEPTION,
  EVENT_EXTERNAL,
  EVENT_INT1,
  EVENT_NMI,
  EVENT_SOFTWARE,
  gate_fault,
  handler_flags,
} from './delivery.ts'
import { debug_disarm } from './debug.ts'
import { set_ext } from './descriptor.ts'
import { flags_get } from './flags.ts'
import { log_write } from './exit.ts'
import { update_mode } from './mode.ts'
import { cpu, fault_pending, seg, VECTOR_DB, VECTOR_DF, VECTOR_GP, VECTOR_PF } from './state.ts'
import { VM86_FAULT, VM86_PROTECTED, vm86_interrupt } from './vm86.ts'

function count(kind: usize): void {
  const at = cpu + CPU_EXIT_COUNTS + (kind << 2)
  store<u32>(at, load<u32>(at) + 1)
}

function trace(vector: u32, error: u32, origin: u32): void {
  if (load<u32>(cpu, CPU_TRACE) & TRACE_INT) log_write(LOG_INTERRUPT, vector, <u64>error | (<u64>origin << 32))
}

/**
 * Delivers one event. rip and the RF of the pushed flags are the caller's. True: CPU_NEXT_RIP is the handler and all
 * state is in place. False: another fault is pending.
 */
function deliver_event(vector: u32, origin: u32, rip: u64, rf: bool, hasError: bool, error: u32): bool {
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
    if (vector == VECTOR_RETRY) {
      if (fault & FAULT_TRAP) store<u64>(cpu, load<u64>(cpu, CPU_NEXT_RIP), CPU_RIP)
      return
    }
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
  // The handler of a timer must not find that the time has not come yet.
  store<u32>(cpu, 0, CPU_TSC_NEAR)
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
function software_interrupt(vector: u32, viaIntN: bool): void {
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

