/**
 * Guest time for devices. Guest time 0 is VM_CLOCK_BASE on the host's monotonic clock (kernel.wasm derives TSC, PIT
 * and kvmclock from the same word), so device timers and in-kernel timers agree, and both stand still while
 * VM_PAUSED_AT is set. Timers are kept here, sorted by deadline, on one host timer.
 */
import { VM_CLOCK_BASE, VM_PAUSED_AT, VM_WALL_BASE } from '#abi/layout.ts'

import type { Clock, HostClock, Timer } from './ports.ts'
import type { SharedWords } from './shared-words.ts'

/** No host timer sleeps longer: setTimeout overflows at 2^31 ms. */
const LONGEST_SLEEP_MS = 60_000

export class VirtualClock implements Clock {
  readonly #host: HostClock
  readonly #f64: Float64Array
  readonly #vm: number
  readonly #armed = new Set<VirtualTimer>()
  #cancelHost: (() => void) | undefined
  #hostDeadlineNs = Infinity

  constructor(host: HostClock, words: SharedWords, vm: number) {
    this.#host = host
    this.#f64 = words.f64
    this.#vm = vm
  }

  get #pausedAt(): number {
    return this.#f64[(this.#vm + VM_PAUSED_AT) >> 3] as number
  }

  nowNs(): number {
    const pausedAt = this.#pausedAt
    return (
      (pausedAt === 0 ? this.#host.nowNs() : pausedAt) -
      (this.#f64[(this.#vm + VM_CLOCK_BASE) >> 3] as number)
    )
  }

  wallMs(): number {
    const wallBaseNs = this.#f64[(this.#vm + VM_WALL_BASE) >> 3] as number
    return wallBaseNs === 0 ? this.#host.wallMs() : (wallBaseNs + this.nowNs()) / 1e6
  }

  timer(callback: () => void): Timer {
    return new VirtualTimer(this, callback)
  }

  add(timer: VirtualTimer): void {
    this.#armed.add(timer)
    this.reschedule()
  }

  remove(timer: VirtualTimer): void {
    this.#armed.delete(timer)
  }

  /** Runs what is due and sets the host timer for the rest. Also called after a resume, when base words moved. */
  reschedule(): void {
    if (this.#pausedAt !== 0) return this.stop()
    let next = Infinity
    for (const timer of this.#armed) next = Math.min(next, timer.deadlineNs)
    if (next === this.#hostDeadlineNs && this.#cancelHost !== undefined) return
    this.stop()
    if (next === Infinity) return
    this.#hostDeadlineNs = next
    const delayMs = Math.min(Math.max(0, (next - this.nowNs()) / 1e6), LONGEST_SLEEP_MS)
    this.#cancelHost = this.#host.setTimer(delayMs, () => this.#fire())
  }

  #fire(): void {
    this.#cancelHost = undefined
    this.#hostDeadlineNs = Infinity
    if (this.#pausedAt !== 0) return
    const now = this.nowNs()
    const due = [...this.#armed].filter((timer) => timer.deadlineNs <= now)
    for (const timer of due.toSorted((a, b) => a.deadlineNs - b.deadlineNs)) {
      if (this.#armed.delete(timer)) timer.fire()
    }
    this.reschedule()
  }

  /** Drops the host timer; reschedule() brings it back. */
  stop(): void {
    this.#cancelHost?.()
    this.#cancelHost = undefined
    this.#hostDeadlineNs = Infinity
  }
}

class VirtualTimer implements Timer {
  deadlineNs = Infinity
  readonly #clock: VirtualClock
  readonly #callback: () => void

  constructor(clock: VirtualClock, callback: () => void) {
    this.#clock = clock
    this.#callback = callback
  }

  arm(deadlineNs: number): void {
    this.deadlineNs = deadlineNs
    this.#clock.add(this)
  }

  cancel(): void {
    this.deadlineNs = Infinity
    this.#clock.remove(this)
  }

  fire(): void {
    this.deadlineNs = Infinity
    this.#callback()
  }
}
