/**
 * The timers of a vCPU: its own APIC timer, and for vCPU 0 the machine's PIT and HPET too.
 * All times are guest ns, clock_ns(). CPU_DEADLINE holds what next_deadline() returns, for a cheap look.
 */
import { HPET_DEADLINE, PIT_DEADLINE } from '../../abi/irqchip.ts'
import { CPU_DEADLINE, CPU_INDEX, REQ_CLOCK } from '../../abi/layout.ts'
import { cpu, cpu_at, cpu_request, vm } from '../state.ts'
import { pv_run } from '../pv.ts'
import { hpet_run } from './hpet.ts'
import { lapic_timer_deadline, lapic_timer_run } from './lapic-timer.ts'
import { pit_run } from './pit.ts'

/** Recomputes CPU_DEADLINE of a vCPU. Its own worker only, or while it is stopped. */
export function deadline_update(c: usize): void {
  let deadline = lapic_timer_deadline(c)
  if (load<u32>(c, CPU_INDEX) == 0) {
    deadline = min(deadline, min(load<f64>(vm, PIT_DEADLINE), load<f64>(vm, HPET_DEADLINE)))
  }
  store<f64>(c, deadline, CPU_DEADLINE)
}

/**
 * A machine timer was programmed: vCPU 0, who keeps it, must look again. It may be halted with a later deadline.
 * Must not be called with VM_LOCK_IRQ held.
 */
export function timers_kick(): void {
  const keeper = cpu_at(0)
  if (keeper == 0) return
  if (keeper == cpu) deadline_update(keeper)
  else cpu_request(keeper, REQ_CLOCK)
}

/** Fires everything of this vCPU that is due at guest time now. Called for REQ_CLOCK and when CPU_DEADLINE passes. */
export function timers_run(now: f64): void {
  lapic_timer_run(cpu, now)
  pit_run(now)
  hpet_run(now)
  pv_run()
  deadline_update(cpu)
}

/** Guest ns until which HLT may sleep, Infinity = until woken. */
export function next_deadline(): f64 {
  deadline_update(cpu)
  return load<f64>(cpu, CPU_DEADLINE)
}
