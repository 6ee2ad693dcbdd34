/**
 * MSI (PCI Local Bus 3.0, section 6.8.1), 64-bit address, per-vector masking. All of it lives in configuration space:
 *
 *   +0 id, next | +2 control | +4 address low | +8 address high | +c data | +10 mask bits | +14 pending bits
 */
import type { ConfigSpace } from './config-space.ts'
import { PCI_CAP_ID_MSI } from './config-space.ts'

const CONTROL = 2
const CONTROL_ENABLE = 1
const CONTROL_64BIT = 0x80
const CONTROL_MASKABLE = 0x100
const ADDRESS = 4
const DATA = 0xc
const MASK = 0x10
const PENDING = 0x14
const CAPABILITY_BYTES = 0x18

export class Msi {
  readonly #config: ConfigSpace
  readonly #at: number
  readonly #vectors: number
  readonly #send: (address: number, data: number) => void

  /** vectors: a power of two up to 32. */
  constructor(config: ConfigSpace, vectors: number, send: (address: number, data: number) => void) {
    this.#config = config
    this.#vectors = vectors
    this.#send = send
    const at = config.addCapability(PCI_CAP_ID_MSI, CAPABILITY_BYTES)
    this.#at = at
    config.set(at + CONTROL, 2, CONTROL_64BIT | CONTROL_MASKABLE | (Math.log2(vectors) << 1))
    config.allow(at + CONTROL, 2, CONTROL_ENABLE | 0x70)
    config.allow(at + ADDRESS, 4, 0xffff_fffc)
    config.allow(at + ADDRESS + 4, 4, 0xffff_ffff)
    config.allow(at + DATA, 2, 0xffff)
    config.allow(at + MASK, 4, vectors === 32 ? 0xffff_ffff : 2 ** vectors - 1)
    // Pending bits are the device's, but a snapshot must be able to carry them.
    this.pendingAt = at + PENDING
  }

  readonly pendingAt: number

  get enabled(): boolean {
    return (this.#config.get(this.#at + CONTROL, 2) & CONTROL_ENABLE) !== 0
  }

  signal(vector: number): void {
    if (!this.enabled || vector >= this.#vectors) return
    const bit = 2 ** vector
    const pending = this.#config.get(this.#at + PENDING, 4)
    if (((this.#config.get(this.#at + MASK, 4) >>> vector) & 1) === 1) {
      this.#config.set(this.#at + PENDING, 4, (pending | bit) >>> 0)
      return
    }
    this.#config.set(this.#at + PENDING, 4, (pending & ~bit) >>> 0)
    const enabledVectors =
      2 ** Math.min((this.#config.get(this.#at + CONTROL, 2) >> 4) & 7, Math.log2(this.#vectors))
    const data = this.#config.get(this.#at + DATA, 2)
    const high = this.#config.get(this.#at + ADDRESS + 4, 4)
    if (high >= 0x20_0000) return
    // The device replaces the low bits of data by the vector (6.8.3.4); with fewer granted all share them.
    const message = (data & ~(enabledVectors - 1)) | (vector & (enabledVectors - 1))
    this.#send(high * 2 ** 32 + this.#config.get(this.#at + ADDRESS, 4), message)
  }

  /** Configuration space changed: what was masked and pending may go now. */
  changed(): void {
    if (!this.enabled) return
    const open = this.#config.get(this.#at + PENDING, 4) & ~this.#config.get(this.#at + MASK, 4)
    for (let vector = 0; vector < this.#vectors; vector++) {
      if (((open >>> vector) & 1) === 1) this.signal(vector)
    }
  }
}
