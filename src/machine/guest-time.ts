/**
 * The words from which all guest clocks are derived (TSC, PIT, kvmclock, RTC, device timers): see VM_CLOCK_BASE and its
 * neighbours. A pause does not stop guest time: after a resume the guest's clock shows the real time.
 */
import { VM_CLOCK_BASE, VM_PAUSED_AT, VM_TSC_KHZ, VM_WALL_BASE } from '#abi/layout.ts'
import { PV_GUEST_STOPPED, PV_STOLEN_NS } from '#abi/irqchip.ts'
import type { HostClock } from '#hub/ports.ts'

/** 1 GHz: a TSC tick is a nanosecond, so conversions are exact and cheap for guest and host. */
const TSC_KHZ = 1_000_000

export class GuestTime {
  readonly #clock: HostClock
  readonly #f64: Float64Array
  readonly #u32: Uint32Array
  readonly #vm: number
  #startedNs: number
  #pausedNs = 0

  constructor(clock: HostClock, buffer: ArrayBufferLike, vm: number) {
    this.#clock = clock
    this.#f64 = new Float64Array(buffer, 0, buffer.byteLength >> 3)
    this.#u32 = new Uint32Array(buffer, 0, buffer.byteLength >> 2)
    this.#vm = vm
    new DataView(buffer).setUint32(vm + VM_TSC_KHZ, TSC_KHZ, true)
    this.#startedNs = clock.nowNs()
    this.start()
  }

  /** Guest time 0 is now. */
  start(): void {
    this.#startedNs = this.#clock.nowNs()
    this.#pausedNs = 0
    this.#f64[(this.#vm + VM_CLOCK_BASE) >> 3] = this.#startedNs
    this.#f64[(this.#vm + VM_WALL_BASE) >> 3] = this.#clock.wallMs() * 1e6
    this.#f64[(this.#vm + VM_PAUSED_AT) >> 3] = 0
  }

  pause(): void {
    this.#f64[(this.#vm + VM_PAUSED_AT) >> 3] = this.#clock.nowNs()
  }

  resume(): void {
    const at = (this.#vm + VM_PAUSED_AT) >> 3
    const awayNs = this.#clock.nowNs() - (this.#f64[at] ?? 0)
    const stolen = (this.#vm + PV_STOLEN_NS) >> 3
    this.#pausedNs += awayNs
    this.#f64[at] = 0
    // The guest must not take the gap for a lockup: its vCPUs set PVCLOCK_GUEST_STOPPED and account steal time.
    this.#f64[stolen] = (this.#f64[stolen] ?? 0) + awayNs
    Atomics.add(this.#u32, (this.#vm + PV_GUEST_STOPPED) >> 2, 1)
  }

  /** ns since start without pauses. */
  elapsedNs(): number {
    const pausedAt = this.#f64[(this.#vm + VM_PAUSED_AT) >> 3] ?? 0
    return (pausedAt === 0 ? this.#clock.nowNs() : pausedAt) - this.#startedNs - this.#pausedNs
  }
}
