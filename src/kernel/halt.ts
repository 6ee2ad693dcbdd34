/**
 * Waiting: HLT with its polling, MONITOR and MWAIT, and loops of PAUSE.
 *
 * A vCPU is a thread of the host, and to wake a sleeping thread takes the host tens of microseconds. HLT therefore looks
 * for work a while before it sleeps, as KVM does (Linux Documentation/virt/kvm/halt-polling.rst): the while grows when
 * work comes soon and drops to nothing when it does not, so that an idle guest costs nothing. Both that and spinning
 * guest code are wrong where other threads wait for the core: a guest that spins for a lock whose holder does not run
 * only keeps it from running. So a loop of PAUSEs gives its core away, where vCPUs are no fewer than cores.
 */
import {
  CPU_CPL,
  CPU_GPR,
  CPU_HALT_POLLED,
  CPU_HALT_POLL_NS,
  CPU_MSR_KVM_POLL_CONTROL,
  CPU_PAUSE_YIELDS,
  CPU_PV_UNHALTED,
  CPU_RCX,
  CPU_REQ,
  CPU_RUNSTATE,
  REQ_NMI,
  RUN_HALTED,
  RUN_RUNNING,
  VM_HOST_CORES,
  VM_VCPU_COUNT,
} from '../abi/layout.ts'
import { VECTOR_RETRY } from './arch.ts'
import { clock_ns } from './clock.ts'
import { leave_guest, reenter_guest } from './exit.ts'
import { lin_probe, own_access } from './mmu.ts'
import { pv_preempted, pv_resumed } from './pv.ts'
import { cpu, raise, raise_error, VECTOR_GP, VECTOR_UD, vm, wait32 } from './state.ts'

/** First and longest time to look for work before sleeping; the longest is about what a wake-up costs. */
const POLL_FIRST_NS: f64 = 10_000
const POLL_MOST_NS: f64 = 80_000
/** Looks at the request word between two looks at the clock. */
const POLL_LOOKS: u32 = 64

/** PAUSEs between two looks at the clock. */
const PAUSE_LOOKS: u32 = 256
/** How long a loop may spin first: where each vCPU has a core, and where some must share. */
const PAUSE_SPIN_NS: f64 = 100_000
const PAUSE_SPIN_SHARED_NS: f64 = 15_000
/** How long a loop sleeps the first time and at most: it doubles as long as the loop goes on. */
const PAUSE_FIRST_NS: f64 = 40_000
const PAUSE_MOST_NS: f64 = 640_000

// The loop of PAUSEs that this vCPU is in: the registers in it, its length so far, when it was first looked at.
let pauseRegisters: u64 = 0
let pauses: u32 = 0
let pausingSince: f64 = 0
let pauseNs: f64 = PAUSE_FIRST_NS

/** Whether the host may have other work for this core. A host that does not say how many it has counts as full. */
function crowded(spare: u32): bool {
  return load<u32>(vm, VM_HOST_CORES) < load<u32>(vm, VM_VCPU_COUNT) + spare
}

// --- HLT -------------------------------------------------------------------------------------------------------------

/** The run loop sees RUN_HALTED and sleeps until something wakes the vCPU; a kick that came before HLT is used up. */
export function sys_hlt(): void {
  if (load<u32>(cpu, CPU_CPL) != 0) raise_error(VECTOR_GP, 0)
  else if (!take_kick()) store<u32>(cpu, RUN_HALTED, CPU_RUNSTATE)
}

function take_kick(): bool {
  return atomic.load<u32>(cpu + CPU_PV_UNHALTED) != 0 && atomic.xchg<u32>(cpu + CPU_PV_UNHALTED, 0) != 0
}

/** REQ_UNHALT: ends HLT whether or not interrupts are enabled. */
export function halt_kicked(): void {
  if (load<u32>(cpu, CPU_RUNSTATE) == RUN_HALTED && take_kick()) store<u32>(cpu, RUN_RUNNING, CPU_RUNSTATE)
}

/** Waits while CPU_REQ reads pending, ns at most. Guest code does not run meanwhile: nobody waits for this vCPU. */
export function halt_wait(pending: u32, ns: f64): void {
  leave_guest()
  const start = clock_ns()
  const window = load<f64>(cpu, CPU_HALT_POLL_NS)
  if (window > 0 && poll(pending, start + min(window, ns))) {
    store<u32>(cpu, load<u32>(cpu, CPU_HALT_POLLED) + 1, CPU_HALT_POLLED)
  } else if (window < ns) {
    wait32(cpu + CPU_REQ, pending, ns < 1e15 ? ns - window : Infinity)
    adapt(window, clock_ns() - start)
  }
  reenter_guest()
}

function poll(pending: u32, until: f64): bool {
  do {
    for (let looks = POLL_LOOKS; looks > 0; looks--) {
      if (atomic.load<u32>(cpu + CPU_REQ) != pending) return true
    }
  } while (clock_ns() < until)
  return false
}

/** After a sleep that polling did not spare: it would have with a longer window, or it was too long for any. */
function adapt(window: f64, slept: f64): void {
  if (crowded(0) || (load<u32>(cpu, CPU_MSR_KVM_POLL_CONTROL) & 1) == 0) window = 0
  else if (slept > POLL_MOST_NS) window = 0
  else window = window == 0 ? POLL_FIRST_NS : min(window * 2, POLL_MOST_NS)
  store<f64>(cpu, window, CPU_HALT_POLL_NS)
}

// --- MONITOR, MWAIT --------------------------------------------------------------------------------------------------

/** MONITOR: its checks; nothing is armed, because MWAIT may return at any time and here does so at once. */
export function sys_monitor(gva: u64, _seg: u32): void {
  if (load<u32>(cpu, CPU_CPL) != 0) raise(VECTOR_UD)
  else if (load<u32>(cpu, CPU_RCX) != 0) raise_error(VECTOR_GP, 0)
  else lin_probe(gva, 1, own_access())
}

export function sys_mwait(): void {
  if (load<u32>(cpu, CPU_CPL) != 0) raise(VECTOR_UD)
  else if (load<u32>(cpu, CPU_RCX) & ~(<u32>1)) raise_error(VECTOR_GP, 0)
}

// --- PAUSE -----------------------------------------------------------------------------------------------------------

/** Changes when the guest gets on: a loop that waits leaves all registers as they are. */
// @ts-ignore: AssemblyScript decorator
@inline
function registers(): u64 {
  let sum: u64 = 0
  for (let i: usize = 0; i < 16; i++) sum = rotl<u64>(sum, 5) + load<u64>(cpu + CPU_GPR + (i << 3))
  return sum
}

/**
 * Counts, and gives the core away when the guest does nothing but wait. The instruction then starts over, so that what
 * arrived meanwhile is served before the loop goes on. A loop that counts its turns is not taken for one that waits:
 * guests do that to give up spinning by themselves.
 */
export function sys_pause(): void {
  const now = registers()
  if (now != pauseRegisters) {
    pauseRegisters = now
    pauses = 0
    return
  }
  if (++pauses % PAUSE_LOOKS == 0 && crowded(1)) look_at_loop()
}

function look_at_loop(): void {
  const now = clock_ns()
  if (pauses == PAUSE_LOOKS) {
    pausingSince = now
    pauseNs = PAUSE_FIRST_NS
    return
  }
  if (now - pausingSince < (crowded(0) ? PAUSE_SPIN_SHARED_NS : PAUSE_SPIN_NS)) return
  yield_host(pauseNs)
  pauseNs = min(pauseNs * 2, PAUSE_MOST_NS)
  raise(VECTOR_RETRY)
}

/** Sleeps at an instruction boundary, ns at most; ends early at a request. The guest is told that it does not run. */
function yield_host(ns: f64): void {
  const pending = atomic.load<u32>(cpu + CPU_REQ)
  if ((pending & ~(<u32>REQ_NMI)) != 0) return
  store<u32>(cpu, load<u32>(cpu, CPU_PAUSE_YIELDS) + 1, CPU_PAUSE_YIELDS)
  leave_guest()
  pv_preempted()
  wait32(cpu + CPU_REQ, pending, ns)
  pv_resumed()
  reenter_guest()
}

/** KVM_HC_SCHED_YIELD: the guest waits for a vCPU that does not run. */
export function halt_yield(): void {
  if (crowded(1)) yield_host(PAUSE_FIRST_NS)
}
