/**
 * The common configuration structure (virtio 1.2, section 4.1.4.3). Several registers are windows: what they show
 * depends on a select register, so each is a getter and a setter instead of a stored value.
 */
import { extractBytes, insertBytes } from '#base/bits.ts'

import type { VirtioCore } from './core.ts'
import type { SplitQueue } from './split-queue.ts'

export const NO_VECTOR = 0xffff

interface Field {
  readonly at: number
  readonly bytes: 1 | 2 | 4
  readonly get: () => number
  readonly set?: (value: number) => void
}

interface SavedCommon {
  readonly deviceFeatureSelect: number
  readonly driverFeatureSelect: number
  readonly queueSelect: number
  readonly configVector: number
  readonly queueVectors: readonly number[]
}

export class PciCommonConfig {
  deviceFeatureSelect = 0
  driverFeatureSelect = 0
  queueSelect = 0
  configVector = NO_VECTOR
  queueVectors: number[]
  readonly #core: VirtioCore
  readonly #vectors: number
  /** Field of each byte offset. */
  readonly #fields: (Field | undefined)[] = []

  constructor(core: VirtioCore, vectors: number) {
    this.#core = core
    this.#vectors = vectors
    this.queueVectors = core.queues.map(() => NO_VECTOR)
    for (const field of this.#layout()) {
      for (let byte = field.at; byte < field.at + field.bytes; byte++) this.#fields[byte] = field
    }
  }

  get #queue(): SplitQueue | undefined {
    return this.#core.queues[this.queueSelect]
  }

  // prettier-ignore
  #layout(): Field[] {
    const core = this.#core
    return [
      { at: 0x00, bytes: 4, get: () => this.deviceFeatureSelect, set: (v) => (this.deviceFeatureSelect = v) },
      { at: 0x04, bytes: 4, get: () => featureWord(core.deviceFeatures, this.deviceFeatureSelect) },
      { at: 0x08, bytes: 4, get: () => this.driverFeatureSelect, set: (v) => (this.driverFeatureSelect = v) },
      { at: 0x0c, bytes: 4, get: () => featureWord(core.driverFeatures, this.driverFeatureSelect),
        set: (v) => core.setDriverFeatures(this.driverFeatureSelect, v) },
      { at: 0x10, bytes: 2, get: () => this.configVector, set: (v) => (this.configVector = this.#vector(v)) },
      { at: 0x12, bytes: 2, get: () => core.queues.length },
      { at: 0x14, bytes: 1, get: () => core.status, set: (v) => this.#setStatus(v) },
      { at: 0x15, bytes: 1, get: () => core.generation },
      { at: 0x16, bytes: 2, get: () => this.queueSelect, set: (v) => (this.queueSelect = v) },
      { at: 0x18, bytes: 2, get: () => this.#queue?.size ?? 0, set: (v) => this.#edit((q) => (q.size = v)) },
      { at: 0x1a, bytes: 2, get: () => this.queueVectors[this.queueSelect] ?? NO_VECTOR, set: (v) => this.#setQueueVector(v) },
      { at: 0x1c, bytes: 2, get: () => (this.#queue?.ready === true ? 1 : 0), set: (v) => v === 1 && core.enableQueue(this.queueSelect) },
      { at: 0x1e, bytes: 2, get: () => this.queueSelect },
      { at: 0x20, bytes: 4, get: () => low(this.#queue?.desc), set: (v) => this.#edit((q) => (q.desc = setLow(q.desc, v))) },
      { at: 0x24, bytes: 4, get: () => high(this.#queue?.desc), set: (v) => this.#edit((q) => (q.desc = setHigh(q.desc, v))) },
      { at: 0x28, bytes: 4, get: () => low(this.#queue?.avail), set: (v) => this.#edit((q) => (q.avail = setLow(q.avail, v))) },
      { at: 0x2c, bytes: 4, get: () => high(this.#queue?.avail), set: (v) => this.#edit((q) => (q.avail = setHigh(q.avail, v))) },
      { at: 0x30, bytes: 4, get: () => low(this.#queue?.used), set: (v) => this.#edit((q) => (q.used = setLow(q.used, v))) },
      { at: 0x34, bytes: 4, get: () => high(this.#queue?.used), set: (v) => this.#edit((q) => (q.used = setHigh(q.used, v))) },
      { at: 0x38, bytes: 2, get: () => this.queueSelect }, // queue_notify_data: NOTIFICATION_DATA is not offered
      // Resetting takes no time here: it reads 0 again at once, which tells the driver that it is done (2.6.1).
      { at: 0x3a, bytes: 2, get: () => 0, set: (v) => v === 1 && this.#resetQueue() },
    ]
  }

  /** Ring addresses and sizes may be changed only while the queue is off (4.1.5.1.3). */
  #edit(change: (queue: SplitQueue) => void): void {
    const queue = this.#queue
    if (queue !== undefined && !queue.ready) change(queue)
  }

  /** What reads back as NO_VECTOR tells the driver that the vector cannot be had (4.1.5.1.2). */
  #vector(value: number): number {
    return value < this.#vectors ? value : NO_VECTOR
  }

  #setQueueVector(value: number): void {
    if (this.#queue !== undefined) this.queueVectors[this.queueSelect] = this.#vector(value)
  }

  #resetQueue(): void {
    this.#queue?.reset()
    if (this.#queue !== undefined) this.queueVectors[this.queueSelect] = NO_VECTOR
  }

  #setStatus(value: number): void {
    if (value === 0) this.reset()
    else this.#core.setStatus(value)
  }

  /** Virtio device reset: by the driver's write of 0, or with the whole machine. */
  reset(): void {
    this.#core.reset()
    this.deviceFeatureSelect = 0
    this.driverFeatureSelect = 0
    this.queueSelect = 0
    this.configVector = NO_VECTOR
    this.queueVectors = this.#core.queues.map(() => NO_VECTOR)
  }

  /** False if the saved vectors are not this device's. */
  restore(saved: SavedCommon): boolean {
    const { length } = this.queueVectors
    const known = (vector: number): boolean => vector === NO_VECTOR || vector < this.#vectors
    if (saved.queueVectors.length !== length || ![saved.configVector, ...saved.queueVectors].every(known))
      return false
    this.deviceFeatureSelect = saved.deviceFeatureSelect
    this.driverFeatureSelect = saved.driverFeatureSelect
    this.queueSelect = saved.queueSelect
    this.configVector = saved.configVector
    this.queueVectors = [...saved.queueVectors]
    return true
  }

  read(at: number, bytes: number): number | undefined {
    let value: number | undefined
    for (let done = 0; done < bytes;) {
      const field = this.#fields[at + done]
      if (field === undefined) return value
      const from = at + done - field.at
      const length = Math.min(field.bytes - from, bytes - done)
      value = insertBytes(value ?? 0, done, length, extractBytes(field.get(), from, length))
      done += length
    }
    return value
  }

  write(at: number, bytes: number, value: number): boolean {
    for (let done = 0; done < bytes;) {
      const field = this.#fields[at + done]
      if (field === undefined) return done > 0
      const from = at + done - field.at
      const length = Math.min(field.bytes - from, bytes - done)
      const piece = extractBytes(value, done, length)
      field.set?.(length === field.bytes ? piece : insertBytes(field.get(), from, length, piece))
      done += length
    }
    return true
  }
}

function featureWord(features: bigint, select: number): number {
  return select > 1 ? 0 : Number((features >> BigInt(32 * select)) & 0xffff_ffffn)
}

function low(value: bigint | undefined): number {
  return Number((value ?? 0n) & 0xffff_ffffn)
}

function high(value: bigint | undefined): number {
  return Number((value ?? 0n) >> 32n)
}

function setLow(value: bigint, word: number): bigint {
  return (value & ~0xffff_ffffn) | BigInt(word)
}

function setHigh(value: bigint, word: number): bigint {
  return (value & 0xffff_ffffn) | (BigInt(word) << 32n)
}
