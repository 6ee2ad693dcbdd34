/**
 * The driver's side of virtio, for tests: a queue in guest memory that can be filled rightly or wrongly, and a PCI
 * driver that finds the capabilities, negotiates and rings doorbells like a guest's.
 */
import { must } from '#base/assert.ts'
import type { GuestMemory } from '#hub/ports.ts'

import type { TestHub } from './test-hub.ts'

export interface Buffer {
  readonly gpa: number
  readonly bytes: number
  readonly writable?: boolean
}

export interface UsedEntry {
  readonly head: number
  readonly bytes: number
}

/** Lays out one split queue at `base`: descriptors, then avail, then used. */
export class DriverQueue {
  readonly size: number
  readonly desc: number
  readonly avail: number
  readonly used: number
  /** First byte after the rings. */
  readonly end: number
  readonly memory: GuestMemory
  #nextDesc = 0
  #availIdx = 0
  #seenUsed = 0

  constructor(memory: GuestMemory, base: number, size: number) {
    this.memory = memory
    this.size = size
    this.desc = base
    this.avail = base + 16 * size
    this.used = Math.ceil((this.avail + 6 + 2 * size) / 4) * 4
    this.end = this.used + 6 + 8 * size
  }

  writeDesc(index: number, gpa: number | bigint, bytes: number, flags: number, next: number): void {
    this.writeDescAt(this.desc + 16 * index, gpa, bytes, flags, next)
  }

  writeDescAt(at: number, gpa: number | bigint, bytes: number, flags: number, next: number): void {
    this.memory.storeU64(at, BigInt(gpa))
    this.memory.storeU32(at + 8, bytes)
    this.memory.storeU16(at + 12, flags)
    this.memory.storeU16(at + 14, next)
  }

  /** Chains the buffers through fresh descriptors and makes them available. Returns the head. */
  add(...buffers: readonly Buffer[]): number {
    const head = this.#nextDesc
    buffers.forEach((buffer, i) => {
      const isLast = i === buffers.length - 1
      const flags = (buffer.writable === true ? 2 : 0) | (isLast ? 0 : 1)
      this.writeDesc(
        (head + i) % this.size,
        buffer.gpa,
        buffer.bytes,
        flags,
        isLast ? 0 : (head + i + 1) % this.size,
      )
    })
    this.#nextDesc = (head + buffers.length) % this.size
    this.publish(head)
    return head
  }

  /** Puts a head into the avail ring and moves idx. */
  publish(head: number): void {
    this.memory.storeU16(this.avail + 4 + 2 * (this.#availIdx % this.size), head)
    this.#availIdx = (this.#availIdx + 1) & 0xffff
    this.memory.storeU16(this.avail + 2, this.#availIdx)
  }

  setAvailIdx(value: number): void {
    this.memory.storeU16(this.avail + 2, value)
  }

  setUsedEvent(value: number): void {
    this.memory.storeU16(this.avail + 4 + 2 * this.size, value)
  }

  get availEvent(): number {
    return this.memory.loadU16(this.used + 4 + 8 * this.size)
  }

  /** Used entries since the last call. */
  takeUsed(): UsedEntry[] {
    const entries: UsedEntry[] = []
    for (
      const idx = this.memory.loadU16(this.used + 2);
      this.#seenUsed !== idx;
      this.#seenUsed = (this.#seenUsed + 1) & 0xffff
    ) {
      const at = this.used + 4 + 8 * (this.#seenUsed % this.size)
      entries.push({ head: this.memory.loadU32(at), bytes: this.memory.loadU32(at + 4) })
    }
    return entries
  }
}

const CAP_COMMON = 1
const CAP_NOTIFY = 2
const CAP_ISR = 3
const CAP_DEVICE = 4

/** A modern virtio PCI driver on a TestHub with an i440fx. */
export class VirtioPciDriver {
  readonly #test: TestHub
  readonly #slot: number
  readonly #caps = new Map<number, number>()
  #notifyMultiplier = 0

  /** Places the device's BARs at barBase and finds its structures. */
  constructor(test: TestHub, slot: number, barBase: number) {
    this.#test = test
    this.#slot = slot
    test.configWrite(slot, 0, 0x14, barBase + 0x10_0000) // BAR 1: MSI-X
    test.configWrite(slot, 0, 0x20, barBase) // BAR 4
    test.configWrite(slot, 0, 0x24, 0)
    test.configWrite(slot, 0, 0x04, 6, 2) // memory, bus master
    for (let cap = test.configRead(slot, 0, 0x34, 1); cap !== 0; cap = test.configRead(slot, 0, cap + 1, 1)) {
      if (test.configRead(slot, 0, cap, 1) !== 9) continue
      const kind = test.configRead(slot, 0, cap + 3, 1)
      this.#caps.set(kind, barBase + test.configRead(slot, 0, cap + 8))
      if (kind === CAP_NOTIFY) this.#notifyMultiplier = test.configRead(slot, 0, cap + 16)
    }
  }

  get slot(): number {
    return this.#slot
  }

  #at(kind: number): number {
    return must(this.#caps.get(kind), `no virtio capability of kind ${kind}`)
  }

  get common(): number {
    return this.#at(CAP_COMMON)
  }

  get device(): number {
    return this.#at(CAP_DEVICE)
  }

  /** Reads and thereby clears the ISR. */
  takeIsr(): number {
    return this.#test.load(this.#at(CAP_ISR), 1)
  }

  get status(): number {
    return this.#test.load(this.common + 0x14, 1)
  }

  set status(value: number) {
    this.#test.store(this.common + 0x14, value, 1)
  }

  get features(): bigint {
    this.#test.store(this.common, 0)
    const low = BigInt(this.#test.load(this.common + 4))
    this.#test.store(this.common, 1)
    return low | (BigInt(this.#test.load(this.common + 4)) << 32n)
  }

  set features(value: bigint) {
    this.#test.store(this.common + 8, 0)
    this.#test.store(this.common + 0xc, value & 0xffff_ffffn)
    this.#test.store(this.common + 8, 1)
    this.#test.store(this.common + 0xc, value >> 32n)
  }

  /** Steps 1-6 of virtio 1.2 section 3.1.1 with the features wanted (default: all offered). */
  negotiate(wanted = this.features): void {
    this.status = 0
    this.status = 1
    this.status = 3
    this.features = wanted
    this.status = 11
  }

  /** Sets a queue up in guest memory at base. */
  setUpQueue(index: number, base: number, size?: number): DriverQueue {
    const { common } = this
    this.#test.store(common + 0x16, index, 2)
    const queue = new DriverQueue(this.#test.memory, base, size ?? this.#test.load(common + 0x18, 2))
    this.#test.store(common + 0x18, queue.size, 2)
    this.#test.store(common + 0x20, queue.desc)
    this.#test.store(common + 0x28, queue.avail)
    this.#test.store(common + 0x30, queue.used)
    this.#test.store(common + 0x1c, 1, 2)
    return queue
  }

  driverOk(): void {
    this.status = 15
  }

  notify(queue: number): void {
    this.#test.store(this.#at(CAP_NOTIFY) + queue * this.#notifyMultiplier, queue, 2)
  }
}
