/**
 * MSI-X (PCI Local Bus 3.0, section 6.8.2): a table of message address, data and mask bit per vector in BAR memory,
 * a pending-bit array, and enable and function-mask bits in the capability.
 *
 *   table entry: address low u32 | address high u32 | data u32 | vector control u32 (bit 0 = masked)
 */
import { extractBytes, insertBytes } from '#base/bits.ts'
import { SnapshotError } from '#snapshot/codec.ts'

import type { IoHandler } from '../claims.ts'

export const MSIX_ENTRY_BYTES = 16
export const MSIX_CONTROL = 2 // offset in the capability
export const MSIX_CONTROL_ENABLE = 0x8000
export const MSIX_CONTROL_MASK_ALL = 0x4000
export const MSIX_CAPABILITY_BYTES = 12
export const MSIX_MAX_VECTORS = 2048

const ENTRY_CONTROL = 3
const ENTRY_MASKED = 1

export class Msix {
  readonly vectors: number
  readonly #send: (address: number, data: number) => void
  readonly #table: Uint32Array
  readonly #pending: Uint32Array
  #enabled = false
  #maskAll = false

  constructor(vectors: number, send: (address: number, data: number) => void) {
    this.vectors = vectors
    this.#send = send
    this.#table = new Uint32Array(vectors * 4)
    this.#pending = new Uint32Array(Math.ceil(vectors / 32))
    this.reset()
  }

  get enabled(): boolean {
    return this.#enabled
  }

  reset(): void {
    this.#table.fill(0)
    for (let vector = 0; vector < this.vectors; vector++)
      this.#table[vector * 4 + ENTRY_CONTROL] = ENTRY_MASKED
    this.#pending.fill(0)
    this.#enabled = false
    this.#maskAll = false
  }

  /** The capability's message control word changed. */
  control(word: number): void {
    this.#enabled = (word & MSIX_CONTROL_ENABLE) !== 0
    this.#maskAll = (word & MSIX_CONTROL_MASK_ALL) !== 0
    for (let vector = 0; vector < this.vectors; vector++) this.#deliverPending(vector)
  }

  /** Sends the vector's message, or remembers it while masked. */
  signal(vector: number): void {
    if (vector >= this.vectors || !this.#enabled) return
    if (this.#masked(vector)) {
      this.#pending[vector >> 5] = (this.#pending[vector >> 5] as number) | (1 << (vector & 31))
      return
    }
    const low = this.#table[vector * 4] as number
    const high = this.#table[vector * 4 + 1] as number
    // An address that no number holds exactly reaches no interrupt controller either.
    if (high < 0x20_0000) this.#send(high * 2 ** 32 + low, this.#table[vector * 4 + 2] as number)
  }

  #masked(vector: number): boolean {
    return this.#maskAll || ((this.#table[vector * 4 + ENTRY_CONTROL] as number) & ENTRY_MASKED) !== 0
  }

  #deliverPending(vector: number): void {
    const word = this.#pending[vector >> 5] as number
    const bit = 1 << (vector & 31)
    if ((word & bit) === 0 || !this.#enabled || this.#masked(vector)) return
    this.#pending[vector >> 5] = word & ~bit
    this.signal(vector)
  }

  /** The table in BAR memory. */
  readonly table: IoHandler = {
    read: (offset, bytes) => {
      const word = this.#table[offset >> 2]
      return word === undefined ? undefined : extractBytes(word, offset & 3, bytes)
    },
    write: (offset, bytes, value) => {
      const old = this.#table[offset >> 2]
      if (old === undefined) return false
      let word = insertBytes(old, offset & 3, bytes, value)
      if ((offset >> 2) % 4 === ENTRY_CONTROL) word &= ENTRY_MASKED
      this.#table[offset >> 2] = word
      this.#deliverPending(offset >> 4)
      return true
    },
  }

  /** The pending-bit array; software only reads it. */
  readonly pendingBits: IoHandler = {
    read: (offset, bytes) => extractBytes(this.#pending[offset >> 2] ?? 0, offset & 3, bytes),
    write: () => true,
  }

  state(): { table: number[]; pending: number[] } {
    return { table: [...this.#table], pending: [...this.#pending] }
  }

  restore(section: string, state: { table: number[]; pending: number[] }, controlWord: number): void {
    if (state.table.length !== this.#table.length || state.pending.length !== this.#pending.length) {
      throw new SnapshotError(
        section,
        `has an MSI-X table for ${state.table.length / 4} vectors, not ${this.vectors}`,
      )
    }
    this.#table.set(state.table)
    this.#pending.set(state.pending)
    this.#enabled = (controlWord & MSIX_CONTROL_ENABLE) !== 0
    this.#maskAll = (controlWord & MSIX_CONTROL_MASK_ALL) !== 0
  }
}
