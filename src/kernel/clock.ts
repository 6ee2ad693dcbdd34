/**
 * Guest time. clock_ns() counts ns since guest time 0 (VM_CLOCK_BASE on the host's monotonic clock), the same for all
 * threads; TSC, APIC timer, PIT, HPET, PM timer and kvmclock are all read from it.
 *
 * A pause: with PV_STOP_ON_PAUSE 0 guest time goes on, so that the guest's wall clock is right afterwards, and the guest
 * is told by PVCLOCK_GUEST_STOPPED not to suspect a lockup. With 1 (snapshots) it stands still: the base moves at resume.
 * The TSC never jumps backwards, on no vCPU, whatever the resolution of the host's clock.
 *
 * To ask the host is a call of JavaScript, which costs as much as 50 guest instructions and more. RDTSC asks only every so
 * many instructions and reads; in between it adds what the instructions retired since may have taken.
 */
import { PV_GUEST_STOPPED, PV_STOLEN_NS, PV_STOP_ON_PAUSE } from '../abi/irqchip.ts'
import {
  CPU_BUDGET,
  CPU_GRANTED,
  CPU_INSNS,
  CPU_MSR_TSC_ADJUST,
  CPU_TSC_NEAR,
  REQ_CLOCK,
  VM_CLOCK_BASE,
  VM_PAUSED_AT,
  VM_TSC_BASE,
  VM_TSC_KHZ,
  VM_TSC_LAST,
  VM_VCPU_COUNT,
  VM_WALL_BASE,
} from '../abi/layout.ts'
import { lapic_timer_retime } from './irqchip/lapic-timer.ts'
import { pv_clock_update } from './pv.ts'
import { cpu, cpu_at, cpu_request, host_now, vm } from './state.ts'

/** Guest ns; stands still while the VM is paused. */
export function clock_ns(): f64 {
  const paused = load<f64>(vm, VM_PAUSED_AT)
  return (paused != 0 ? paused : host_now()) - load<f64>(vm, VM_CLOCK_BASE)
}

/** Starts guest time at 0 now. tscKhz: what the TSC counts; wallNs: ns since the Unix epoch now. Once, by the machine. */
export function clock_init(tscKhz: u32, wallNs: f64): void {
  store<f64>(vm, host_now(), VM_CLOCK_BASE)
  store<f64>(vm, wallNs, VM_WALL_BASE)
  store<f64>(vm, 0, VM_PAUSED_AT)
  clock_reset()
  store<u32>(vm, tscKhz, VM_TSC_KHZ)
}

/** Machine reset: the TSC starts over with guest time, which the machine sets to 0. */
export function clock_reset(): void {
  store<u64>(vm, 0, VM_TSC_BASE)
  store<u64>(vm, 0, VM_TSC_LAST)
  store<f64>(vm, 0, PV_STOLEN_NS)
}

/** Stops the clocks; the vCPUs are about to leave the guest. Harmless when already paused. */
export function clock_pause(): void {
  if (load<f64>(vm, VM_PAUSED_AT) == 0) store<f64>(vm, host_now(), VM_PAUSED_AT)
}

/** Before the vCPUs enter the guest again. */
export function clock_resume(): void {
  const paused = load<f64>(vm, VM_PAUSED_AT)
  if (paused == 0) return
  const away = host_now() - paused
  if (load<u32>(vm, PV_STOP_ON_PAUSE)) {
    // Guest time 0 and the wall time then both move: what the guest calls now is what it was at the pause.
    store<f64>(vm, load<f64>(vm, VM_CLOCK_BASE) + away, VM_CLOCK_BASE)
  } else {
    store<f64>(vm, load<f64>(vm, PV_STOLEN_NS) + away, PV_STOLEN_NS)
  }
  store<f64>(vm, 0, VM_PAUSED_AT)
  atomic.add<u32>(vm + PV_GUEST_STOPPED, 1)
  const count = load<u32>(vm, VM_VCPU_COUNT)
  for (let i: u32 = 0; i < count; i++) cpu_request(cpu_at(i), REQ_CLOCK)
}

// --- TSC -------------------------------------------------------------------------------------------------------------

/** Ticks of the machine's TSC at guest time ns, before a vCPU's own adjustment. */
// @ts-ignore: AssemblyScript decorator
@inline
function ticks_at(ns: f64): u64 {
  return load<u64>(vm, VM_TSC_BASE) + <u64>(ns * (<f64>load<u32>(vm, VM_TSC_KHZ) / 1e6))
}

/**
 * Reads this vCPU's TSC. Never less than what any vCPU read before, and never the same twice: where the host's clock
 * stands still (5 us steps in browsers) reads advance by about 4 ns each, less than one takes.
 */
export function tsc_read(): u64 {
  return machine_tsc() + load<u64>(cpu, CPU_MSR_TSC_ADJUST)
}

function machine_tsc(): u64 {
  return tsc_advance(ticks_at(clock_ns()))
}

/** Hands out `now`, or if somebody has read more already, a little more than that. */
function tsc_advance(now: u64): u64 {
  const at = vm + VM_TSC_LAST
  let last = atomic.load<u64>(at)
  while (now > last) {
    const seen = atomic.cmpxchg<u64>(at, last, now)
    if (seen == last) return now
    last = seen
  }
  const step = <u64>(1 + (load<u32>(vm, VM_TSC_KHZ) >> 18))
  return atomic.add<u64>(at, step) + step
}

/** A reading of the host's clock serves this many instructions of the guest: 2-20 us. */
const NEAR_INSNS: u64 = 4096
/**
 * And this many reads, so that a loop that waits for the time sees it pass. With the one that asks the host an odd
 * number: of a guest that reads in pairs, before and after what it measures, both kinds must be right now and then.
 */
const NEAR_READS: u32 = 30
/** Ticks that an instruction is taken for at most. */
const NEAR_RATE_MOST: f64 = 4
/** Share of the time per instruction that is added: too little costs nothing, too much runs ahead of the clock. */
const NEAR_SHARE: f64 = 0.75

// The last reading of the host's clock: TSC, and instructions retired by then. What an instruction took of late.
let nearTsc: u64 = 0
let nearInsns: u64 = 0
let nearRate: f64 = 0
let sumTicks: f64 = 0
let sumInsns: f64 = 0

/** RDTSC: as tsc_read(), and seldom more than 20 us less than that if the guest was not interrupted. */
export function tsc_read_near(): u64 {
  const insns = load<u64>(cpu, CPU_INSNS) + <u64>(load<i32>(cpu, CPU_GRANTED) - load<i32>(cpu, CPU_BUDGET))
  const since = insns - nearInsns
  const left = load<u32>(cpu, CPU_TSC_NEAR)
  const adjust = load<u64>(cpu, CPU_MSR_TSC_ADJUST)
  if (left > 1 && since < NEAR_INSNS) {
    store<u32>(cpu, left - 1, CPU_TSC_NEAR)
    return tsc_advance(nearTsc + <u64>(<f64>since * nearRate)) + adjust
  }
  const now = ticks_at(clock_ns())
  if (left != 0 && since >> 32 == 0) learn_rate(<f64>(now - nearTsc), <f64>since)
  nearTsc = now
  nearInsns = insns
  store<u32>(cpu, NEAR_READS + 1, CPU_TSC_NEAR)
  return tsc_advance(now) + adjust
}

/** The host's clock may have steps of 5 us: several readings together tell the rate. */
function learn_rate(ticks: f64, insns: f64): void {
  sumTicks = sumTicks * 0.875 + ticks
  sumInsns = sumInsns * 0.875 + insns
  nearRate = sumInsns > 0 ? min((sumTicks / sumInsns) * NEAR_SHARE, NEAR_RATE_MOST) : 0
}

/** Guest ns at which vCPU c's TSC reaches a value. */
export function tsc_to_ns(c: usize, tsc: u64): f64 {
  const ticks = <i64>(tsc - load<u64>(c, CPU_MSR_TSC_ADJUST) - load<u64>(vm, VM_TSC_BASE))
  return <f64>ticks * (1e6 / <f64>load<u32>(vm, VM_TSC_KHZ))
}

/** WRMSR IA32_TIME_STAMP_COUNTER: the adjustment takes the difference (SDM Vol. 3, "IA32_TSC_ADJUST Register and TSC Usage"). */
export function tsc_write(value: u64): void {
  tsc_adjust_write(value - machine_tsc())
}

/** WRMSR IA32_TSC_ADJUST. */
export function tsc_adjust_write(value: u64): void {
  store<u64>(cpu, value, CPU_MSR_TSC_ADJUST)
  lapic_timer_retime(cpu)
  pv_clock_update()
}
