/**
 * The device's side of a split virtqueue (virtio 1.2, section 2.7), against a driver that may do anything. What the
 * driver does wrong is a QueueFault value; the caller marks the device as needing a reset (2.1.2) and stops the queue.
 *
 *   descriptor (16 bytes): gpa u64 | bytes u32 | flags u16 | next u16
 *   avail ring:            flags u16 | idx u16 | ring u16[size] | used_event u16
 *   used ring:             flags u16 | idx u16 | ring {head u32, bytes u32}[size] | avail_event u16
 */
import { assert } from '#base/assert.ts'
import { isPowerOfTwo } from '#base/bits.ts'
import type { GuestMemory } from '#hub/ports.ts'
import { list, record, upTo } from '#snapshot/fields.ts'

import { Chain, type Segment } from './chain.ts'

export const VIRTQ_DESC_F_NEXT = 1
export const VIRTQ_DESC_F_WRITE = 2
export const VIRTQ_DESC_F_INDIRECT = 4
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1
export const VIRTQ_SIZE_MAX = 32768

const DESC_BYTES = 16
/** 2.7.5.2: a chain of more than 2^32 bytes is forbidden. */
const CHAIN_BYTES_MAX = 2 ** 32

export type QueueFault =
  | 'bad-size'
  | 'bad-ring-address'
  | 'avail-overrun' // more heads than the queue holds
  | 'bad-head' // descriptor index beyond the table
  | 'head-in-flight' // the device has it already
  | 'bad-address' // a buffer outside RAM
  | 'order' // readable after writable, 2.7.4.2
  | 'chain-loop' // longer than the table
  | 'chain-too-long'
  | 'bad-indirect'

export interface QueueState {
  size: number
  ready: number
  desc: bigint
  avail: bigint
  used: bigint
  nextAvail: number
  nextUsed: number
  signalled: number
  /** Heads that were taken and not returned: served again after a restore. */
  inFlight: number[]
}

export const QueueStateField = record({
  size: upTo(VIRTQ_SIZE_MAX),
  ready: upTo(1),
  desc: 'u64',
  avail: 'u64',
  used: 'u64',
  nextAvail: upTo(0xffff),
  nextUsed: upTo(0xffff),
  signalled: upTo(0xffff),
  inFlight: list(upTo(VIRTQ_SIZE_MAX - 1), VIRTQ_SIZE_MAX),
})

export class SplitQueue {
  readonly maxSize: number
  /** Size as the driver chose it. */
  size: number
  /** Ring addresses as the driver wrote them; checked by enable(). */
  desc = 0n
  avail = 0n
  used = 0n
  /** Negotiated ring features. */
  eventIdx = false
  indirect = false
  /** Changes at every reset: completions of an older life must not touch the rings. */
  life = 0
  readonly #memory: GuestMemory
  #ready = false
  #desc = 0
  #avail = 0
  #used = 0
  #nextAvail = 0
  #nextUsed = 0
  /** Used index at the last decision about an interrupt. */
  #signalled = 0
  #inFlight: Uint8Array
  #replay: number[] = []
  readonly #scratch = new Uint8Array(DESC_BYTES)
  readonly #view = new DataView(this.#scratch.buffer)

  constructor(memory: GuestMemory, maxSize: number) {
    assert(isPowerOfTwo(maxSize) && maxSize <= VIRTQ_SIZE_MAX, `queue size ${maxSize} is not a power of two`)
    this.#memory = memory
    this.maxSize = maxSize
    this.size = maxSize
    this.#inFlight = new Uint8Array(maxSize)
  }

  get ready(): boolean {
    return this.#ready
  }

  /** Starts the queue at the addresses given; a fault if they cannot be rings. */
  enable(): QueueFault | undefined {
    if (!isPowerOfTwo(this.size) || this.size > this.maxSize) return 'bad-size'
    const desc = this.#ring(this.desc, 16, DESC_BYTES * this.size)
    const avail = this.#ring(this.avail, 2, 6 + 2 * this.size)
    const used = this.#ring(this.used, 4, 6 + 8 * this.size)
    if (desc === undefined || avail === undefined || used === undefined) return 'bad-ring-address'
    this.#desc = desc
    this.#avail = avail
    this.#used = used
    this.#ready = true
    return undefined
  }

  #ring(gpa: bigint, alignment: number, bytes: number): number | undefined {
    if (gpa > BigInt(Number.MAX_SAFE_INTEGER)) return undefined
    const at = Number(gpa)
    return at % alignment === 0 && this.#memory.contains(at, bytes) ? at : undefined
  }

  reset(): void {
    this.life++
    this.#ready = false
    this.size = this.maxSize
    this.desc = this.avail = this.used = 0n
    this.#nextAvail = this.#nextUsed = this.#signalled = 0
    this.#inFlight = new Uint8Array(this.maxSize)
    this.#replay = []
  }

  /** The next chain, undefined if there is none, or what the driver did wrong. */
  pop(): Chain | QueueFault | undefined {
    if (!this.#ready) return undefined
    const again = this.#replay.shift()
    if (again !== undefined) return this.#walk(again)
    // idx is a free-running u16 (2.7.6)
    const pending = (this.#memory.loadU16(this.#avail + 2) - this.#nextAvail) & 0xffff
    if (pending === 0) return undefined
    if (pending > this.size) return 'avail-overrun'
    const head = this.#memory.loadU16(this.#avail + 4 + 2 * (this.#nextAvail % this.size))
    if (head >= this.size) return 'bad-head'
    if (this.#inFlight[head] === 1) return 'head-in-flight'
    const chain = this.#walk(head)
    if (typeof chain === 'string') return chain
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff
    this.#inFlight[head] = 1
    return chain
  }

  /** Gives the last popped chain back to the ring, unserved: for a device that must wait before it can use it. */
  unpop(chain: Chain): void {
    if (chain.life !== this.life) return
    assert(this.#inFlight[chain.head] === 1, 'chain is not in flight')
    this.#replay.unshift(chain.head)
  }

  /** Whether pop() would find something. */
  get hasPending(): boolean {
    if (!this.#ready) return false
    return this.#replay.length > 0 || this.#memory.loadU16(this.#avail + 2) !== this.#nextAvail
  }

  #walk(head: number): Chain | QueueFault {
    const readable: Segment[] = []
    const writable: Segment[] = []
    let table = this.#desc
    let tableSize = this.size
    let index = head
    let bytesInAll = 0
    let isIndirect = false
    // A chain longer than the queue is a loop, forbidden by 2.7.5.2; an indirect table obeys the same bound, and the
    // descriptor that points to it is the one more.
    for (let left = this.maxSize + 1; left > 0; left--) {
      if (index >= tableSize) return 'bad-head'
      this.#memory.readInto(table + index * DESC_BYTES, this.#scratch)
      const high = this.#view.getUint32(4, true)
      const gpa = high * 2 ** 32 + this.#view.getUint32(0, true)
      const bytes = this.#view.getUint32(8, true)
      const flags = this.#view.getUint16(12, true)
      const next = this.#view.getUint16(14, true)
      if (high >= 0x20_0000 || !this.#memory.contains(gpa, bytes)) return 'bad-address'

      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        // 2.7.5.3: only if negotiated, not nested, not with NEXT, whole descriptors only
        const whole = bytes > 0 && bytes % DESC_BYTES === 0
        if (!this.indirect || isIndirect || (flags & VIRTQ_DESC_F_NEXT) !== 0 || !whole) return 'bad-indirect'
        isIndirect = true
        table = gpa
        tableSize = bytes / DESC_BYTES
        index = 0
        continue
      }

      const isWritable = (flags & VIRTQ_DESC_F_WRITE) !== 0
      if (!isWritable && writable.length > 0) return 'order'
      bytesInAll += bytes
      if (bytesInAll > CHAIN_BYTES_MAX) return 'chain-too-long'
      ;(isWritable ? writable : readable).push({ gpa, bytes })
      if ((flags & VIRTQ_DESC_F_NEXT) === 0)
        return new Chain(this.#memory, head, this.life, readable, writable)
      index = next
    }
    return 'chain-loop'
  }

  /**
   * Returns a chain to the driver with the number of bytes written to it: ring entry first, then idx (2.7.8.2).
   * Nothing happens if the queue was reset since the chain was taken.
   */
  push(chain: Chain, writtenBytes: number): void {
    if (chain.life !== this.life) return
    assert(this.#inFlight[chain.head] === 1, `descriptor ${chain.head} is returned but was not taken`)
    this.#inFlight[chain.head] = 0
    const at = this.#used + 4 + 8 * (this.#nextUsed % this.size)
    this.#memory.storeU32(at, chain.head)
    this.#memory.storeU32(at + 4, writtenBytes)
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff
    this.#memory.storeU16(this.#used + 2, this.#nextUsed)
  }

  /**
   * Whether the driver wants an interrupt for what was pushed since the last call (2.7.7). With event indices: used_event
   * lies in the window [signalled, nextUsed) modulo 2^16; distances from nextUsed, not the indices, compare correctly.
   */
  takeInterrupt(): boolean {
    if (!this.#ready) return false
    const before = this.#signalled
    this.#signalled = this.#nextUsed
    if (before === this.#nextUsed) return false
    if (!this.eventIdx) return (this.#memory.loadU16(this.#avail) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0
    const usedEvent = this.#memory.loadU16(this.#avail + 4 + 2 * this.size)
    return ((this.#nextUsed - usedEvent - 1) & 0xffff) < ((this.#nextUsed - before) & 0xffff)
  }

  /**
   * Asks for a notification at the next available chain. True if one came meanwhile: pop again. The store and the
   * load inside are sequentially consistent, and so are the driver's, so that one side always sees the other.
   */
  rearm(): boolean {
    if (!this.#ready) return false
    if (this.eventIdx) this.#memory.storeU16(this.#used + 4 + 8 * this.size, this.#nextAvail)
    else this.#memory.storeU16(this.#used, 0)
    return this.hasPending
  }

  state(): QueueState {
    const inFlight: number[] = []
    this.#inFlight.forEach((taken, head) => {
      if (taken === 1) inFlight.push(head)
    })
    return {
      size: this.size,
      ready: this.#ready ? 1 : 0,
      desc: this.desc,
      avail: this.avail,
      used: this.used,
      nextAvail: this.#nextAvail,
      nextUsed: this.#nextUsed,
      signalled: this.#signalled,
      inFlight,
    }
  }

  /** Continues from a saved state; a text says what is wrong with it. For fresh queues only. */
  restore(state: QueueState): string | undefined {
    if (!isPowerOfTwo(state.size) || state.size > this.maxSize) return `has size ${state.size}`
    this.size = state.size
    this.desc = state.desc
    this.avail = state.avail
    this.used = state.used
    if (state.ready === 1) {
      const fault = this.enable()
      if (fault !== undefined) return `cannot be enabled: ${fault}`
    }
    this.#nextAvail = state.nextAvail
    this.#nextUsed = state.nextUsed
    this.#signalled = state.signalled
    for (const head of state.inFlight) {
      if (head >= this.size) return `has descriptor ${head} in flight`
      this.#inFlight[head] = 1
    }
    this.#replay = [...state.inFlight]
    return undefined
  }
}
