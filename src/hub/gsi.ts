/**
 * Global system interrupt lines. Several devices may drive one GSI (PCI INTx, shared ISA lines): the line is the OR
 * of its drivers, and the irqchip hears only about changes of that OR.
 */
import type { Irqchip } from './ports.ts'

export const GSI_COUNT = 24 // inputs of the one I/O APIC; ISA IRQs are 0-15

/** One device's connection to a GSI. raise and lower are idempotent. */
export interface IrqLine {
  readonly gsi: number
  readonly raised: boolean
  raise(): void
  lower(): void
  set(level: boolean): void
  /** Low-high-low, for edge-triggered lines. */
  pulse(): void
}

export class GsiRouter {
  readonly #irqchip: Irqchip
  readonly #drivers = new Uint16Array(GSI_COUNT)

  constructor(irqchip: Irqchip) {
    this.#irqchip = irqchip
  }

  line(gsi: number): IrqLine {
    if (!Number.isInteger(gsi) || gsi < 0 || gsi >= GSI_COUNT) throw new RangeError(`there is no GSI ${gsi}`)
    return new Line(gsi, this)
  }

  level(gsi: number): boolean {
    return (this.#drivers[gsi] ?? 0) > 0
  }

  /** A driver of gsi changed. */
  drive(gsi: number, level: boolean): void {
    const before = this.#drivers[gsi] ?? 0
    const after = level ? before + 1 : before - 1
    this.#drivers[gsi] = after
    if (before === 0 || after === 0) this.#irqchip.setGsi(gsi, level ? 1 : 0)
  }
}

class Line implements IrqLine {
  readonly gsi: number
  readonly #router: GsiRouter
  #level = false

  constructor(gsi: number, router: GsiRouter) {
    this.gsi = gsi
    this.#router = router
  }

  get raised(): boolean {
    return this.#level
  }

  raise(): void {
    this.set(true)
  }

  lower(): void {
    this.set(false)
  }

  set(level: boolean): void {
    if (level === this.#level) return
    this.#level = level
    this.#router.drive(this.gsi, level)
  }

  pulse(): void {
    this.raise()
    this.lower()
  }
}
