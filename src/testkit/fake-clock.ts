/** Host time that moves only when a test says so. */
import type { HostClock } from '#hub/ports.ts'

interface Pending {
  readonly dueMs: number
  readonly callback: () => void
}

export class FakeClock implements HostClock {
  /** 2024-02-28 23:59:30 UTC: half a minute before a leap day. */
  wallStartMs = Date.UTC(2024, 1, 28, 23, 59, 30)
  #nowMs = 0
  readonly #timers = new Set<Pending>()

  nowNs(): number {
    return this.#nowMs * 1e6
  }

  wallMs(): number {
    return this.wallStartMs + this.#nowMs
  }

  setTimer(delayMs: number, callback: () => void): () => void {
    const timer = { dueMs: this.#nowMs + delayMs, callback }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** Moves time on and fires what is due, in order. */
  advance(ms: number): void {
    const end = this.#nowMs + ms
    for (;;) {
      const next = [...this.#timers].toSorted((a, b) => a.dueMs - b.dueMs)[0]
      if (next === undefined || next.dueMs > end) break
      this.#timers.delete(next)
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      next.callback()
    }
    this.#nowMs = end
  }
}
