/**
 * Local APIC timer: one-shot, periodic, TSC deadline (SDM Vol. 3, "APIC Timer").
 * It counts guest ns (clock_ns()), one bus tick per ns, divided as TIMER_DIVIDE says. Owner only.
 */
import {
  LAPIC_LVT_MASKED,
  LAPIC_LVT_TIMER,
  LAPIC_TIMER_DIVIDE,
  LAPIC_TIMER_EXPIRES,
  LAPIC_TIMER_INITIAL,
  LAPIC_TIMER_PERIOD,
} from '../../abi/irqchip.ts'
import { CPU_MSR_TSC_DEADLINE } from '../../abi/layout.ts'
import { clock_ns, tsc_to_ns } from '../clock.ts'
import { lapic_local } from './lapic.ts'
import { deadline_update } from './timers.ts'

const TIMER_PERIODIC: u32 = 1
const TIMER_DEADLINE: u32 = 2

/** A shorter period would leave a guest no time between two interrupts on a slow host. */
const MIN_PERIOD_NS: f64 = 50_000

// @ts-ignore: AssemblyScript decorator
@inline
function mode(c: usize): u32 {
  return (load<u32>(c, LAPIC_LVT_TIMER) >> 17) & 3
}

/** Bus ticks per count: encodings 0..6 are 2..128, 7 is 1. */
function divisor(c: usize): f64 {
  const bits = load<u32>(c, LAPIC_TIMER_DIVIDE)
  const code = (bits & 3) | ((bits & 8) >> 1)
  return <f64>(1 << ((code + 1) & 7))
}

/** TIMER_INITIAL written: starts, or stops with 0. */
export function lapic_timer_start(c: usize, count: u32): void {
  if (mode(c) == TIMER_DEADLINE) return
  store<u32>(c, count, LAPIC_TIMER_INITIAL)
  arm(c, <f64>count * divisor(c), <f64>count * divisor(c))
}

function arm(c: usize, remaining: f64, period: f64): void {
  if (period == 0) {
    disarm(c)
    return
  }
  store<f64>(c, mode(c) == TIMER_PERIODIC ? max(period, MIN_PERIOD_NS) : 0, LAPIC_TIMER_PERIOD)
  store<f64>(c, clock_ns() + remaining, LAPIC_TIMER_EXPIRES)
  deadline_update(c)
}

function disarm(c: usize): void {
  store<f64>(c, Infinity, LAPIC_TIMER_EXPIRES)
  store<f64>(c, 0, LAPIC_TIMER_PERIOD)
  deadline_update(c)
}

/** TIMER_CURRENT: counts left, rounded up so that it is 0 only when expired. */
export function lapic_timer_current(c: usize): u32 {
  const expires = load<f64>(c, LAPIC_TIMER_EXPIRES)
  if (mode(c) == TIMER_DEADLINE || expires == Infinity) return 0
  let left = expires - clock_ns()
  const period = load<f64>(c, LAPIC_TIMER_PERIOD)
  // Expired, but timers_run() has not looked yet: a periodic timer is in one of its next periods.
  if (left <= 0) left = period > 0 ? left + period * (Math.floor(-left / period) + 1) : 0
  return <u32>Math.ceil(left / divisor(c))
}

/** TIMER_DIVIDE written: the counts left keep their number. */
export function lapic_timer_set_divide(c: usize, value: u32): void {
  const left = lapic_timer_current(c)
  store<u32>(c, value & 0xb, LAPIC_TIMER_DIVIDE)
  if (left == 0) return
  const divide = divisor(c)
  arm(c, <f64>left * divide, <f64>load<u32>(c, LAPIC_TIMER_INITIAL) * divide)
}

/** LVT timer written. Entering or leaving deadline mode disarms. */
export function lapic_timer_set_lvt(c: usize, value: u32): void {
  const before = mode(c)
  const left = lapic_timer_current(c)
  store<u32>(c, value, LAPIC_LVT_TIMER)
  const after = mode(c)
  if (before == after) {
    deadline_update(c) // the mask may have changed
  } else if (before == TIMER_DEADLINE || after == TIMER_DEADLINE) {
    store<u32>(c, 0, LAPIC_TIMER_INITIAL)
    store<u64>(c, 0, CPU_MSR_TSC_DEADLINE)
    disarm(c)
  } else if (left != 0) {
    const divide = divisor(c)
    arm(c, <f64>left * divide, <f64>load<u32>(c, LAPIC_TIMER_INITIAL) * divide)
  }
}

/** IA32_TSC_DEADLINE written: ignored outside deadline mode, 0 disarms. */
export function lapic_timer_set_deadline(c: usize, tsc: u64): void {
  if (mode(c) != TIMER_DEADLINE) return
  store<u64>(c, tsc, CPU_MSR_TSC_DEADLINE)
  if (tsc == 0) {
    disarm(c)
    return
  }
  store<f64>(c, 0, LAPIC_TIMER_PERIOD)
  store<f64>(c, tsc_to_ns(c, tsc), LAPIC_TIMER_EXPIRES)
  deadline_update(c)
  lapic_timer_run(c, clock_ns()) // a deadline in the past fires at once
}

/** The TSC was stepped: a TSC deadline is now at another time. */
export function lapic_timer_retime(c: usize): void {
  const tsc = load<u64>(c, CPU_MSR_TSC_DEADLINE)
  if (mode(c) == TIMER_DEADLINE && tsc != 0) lapic_timer_set_deadline(c, tsc)
}

/** Fires what is due at guest time now. Missed periods are not made up for, as in hardware with a masked CPU. */
export function lapic_timer_run(c: usize, now: f64): void {
  const expires = load<f64>(c, LAPIC_TIMER_EXPIRES)
  if (now < expires) return
  const period = load<f64>(c, LAPIC_TIMER_PERIOD)
  if (period > 0) {
    store<f64>(c, expires + period * (Math.floor((now - expires) / period) + 1), LAPIC_TIMER_EXPIRES)
  } else {
    store<f64>(c, Infinity, LAPIC_TIMER_EXPIRES)
    store<u64>(c, 0, CPU_MSR_TSC_DEADLINE)
  }
  lapic_local(c, LAPIC_LVT_TIMER)
  deadline_update(c)
}

/** Guest ns at which this timer next interrupts, Infinity = never (stopped or masked). */
export function lapic_timer_deadline(c: usize): f64 {
  if (load<u32>(c, LAPIC_LVT_TIMER) & LAPIC_LVT_MASKED) return Infinity
  return load<f64>(c, LAPIC_TIMER_EXPIRES)
}
