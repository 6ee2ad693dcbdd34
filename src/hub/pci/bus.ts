/**
 * PCI bus 0: functions by slot, configuration cycles, and the wired-OR of INTx pins onto four PIRQ lines with the
 * usual swizzle of PC boards: PIRQ = (pin + slot - 1) mod 4, pin 0 = INTA (so slot 1's INTA is PIRQA).
 */
import { allOnes } from '#base/bits.ts'

import type { PciFunction } from './function.ts'

export const PCI_SLOTS = 32
export const PCI_FUNCTIONS = 8
export const PIRQ_COUNT = 4

export interface PciAddress {
  readonly slot: number
  readonly fn: number
}

export class PciBus {
  readonly #functions = new Map<number, PciFunction>()
  /** Bit per device pin that drives the PIRQ line: slot * 4 + pin. */
  readonly #drivers: Set<number>[] = Array.from({ length: PIRQ_COUNT }, () => new Set())
  #onPirq: (pirq: number, level: boolean) => void = () => undefined
  readonly #onChange: (place: number, device: PciFunction | undefined) => void
  /** The configuration address of mechanism 1, as the host bridge takes it. */
  readonly selected: { address: number }

  /** onChange is told of functions that come and go; place is slot * 8 + function. */
  constructor(
    onChange: (place: number, device: PciFunction | undefined) => void = () => undefined,
    selected = { address: 0 },
  ) {
    this.#onChange = onChange
    this.selected = selected
  }

  /** The interrupt router (PIIX3) listens here; it is told the present levels at once. */
  routePirq(listener: (pirq: number, level: boolean) => void): void {
    this.#onPirq = listener
    this.#drivers.forEach((drivers, pirq) => listener(pirq, drivers.size > 0))
  }

  setIntx(slot: number, fn: number, pin: number, level: boolean): void {
    const pirq = (pin + slot - 1 + PIRQ_COUNT) % PIRQ_COUNT
    const drivers = this.#drivers[pirq] as Set<number>
    const before = drivers.size > 0
    const driver = (slot * PCI_FUNCTIONS + fn) * 4 + pin
    if (level) drivers.add(driver)
    else drivers.delete(driver)
    if (drivers.size > 0 !== before) this.#onPirq(pirq, !before)
  }

  isFree(slot: number): boolean {
    for (let fn = 0; fn < PCI_FUNCTIONS; fn++) {
      if (this.#functions.has(slot * PCI_FUNCTIONS + fn)) return false
    }
    return true
  }

  /** Throws if somebody is there. */
  attach(slot: number, fn: number, device: PciFunction): void {
    if (!(slot >= 0 && slot < PCI_SLOTS && fn >= 0 && fn < PCI_FUNCTIONS))
      throw new RangeError(`no PCI slot ${slot}.${fn}`)
    const key = slot * PCI_FUNCTIONS + fn
    if (this.#functions.has(key)) throw new RangeError(`PCI slot ${slot}.${fn} is taken`)
    this.#functions.set(key, device)
    this.#onChange(key, device)
  }

  detach(slot: number, fn: number): void {
    const key = slot * PCI_FUNCTIONS + fn
    this.#functions.delete(key)
    this.#onChange(key, undefined)
  }

  at(slot: number, fn: number): PciFunction | undefined {
    return this.#functions.get(slot * PCI_FUNCTIONS + fn)
  }

  /** Functions in order of slot and number. */
  *functions(): Iterable<PciAddress & { readonly device: PciFunction }> {
    for (const key of [...this.#functions.keys()].toSorted((a, b) => a - b)) {
      yield { slot: key >> 3, fn: key & 7, device: this.#functions.get(key) as PciFunction }
    }
  }

  /** A configuration read as the bus sees it: all ones from an empty slot. */
  configRead(slot: number, fn: number, at: number, bytes: number): number {
    return this.at(slot, fn)?.readConfig(at, bytes) ?? allOnes(bytes)
  }

  configWrite(slot: number, fn: number, at: number, bytes: number, value: number): void {
    this.at(slot, fn)?.writeConfig(at, bytes, value)
  }
}
