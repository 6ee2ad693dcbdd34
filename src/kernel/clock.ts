/**
 * Guest time. clock_ns() counts ns since guest time 0 (VM_CLOCK_BASE on the host's monotonic clock), the same for all
 * threads; TSC, APIC timer, PIT, HPET, PM timer and kvmclock are all read from it.
 *
 * A pause: with PV_STOP_ON_PAUSE 0 guest time goes on, so that the guest's wall clock is right afterwards, and the guest
 * is told by PVCLOCK_GUEST_STOPPED not to suspect a lockup. With 1 (snapshots) it stands still: the base moves at resume.
 * The TSC never jumps backwards, on no vCPU, whatever the resolution of the host's clock.
 */
import { PV_GUEST_STOPPED, PV_STOLEN_NS, PV_STOP_ON_PAUSE } from '../abi/irqchip.ts'
import {
  CPU_MSR_TSC_ADJUST,
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
  const at = vm + VM_TSC_LAST
  const now = ticks_at(clock_ns())
  let last = atomic.load<u64>(at)
  while (now > last) {
    const seen = atomic.cmpxchg<u64>(at, last, now)
    if (seen == last) return now
    last = seen
  }
  const step = <u64>(1 + (load<u32>(vm, VM_TSC_KHZ) >> 18))
  return atomic.add<u64>(at, step) + step
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
