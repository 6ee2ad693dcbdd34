/**
 * One descriptor chain taken from a virtqueue: what the driver lets the device read, then what it lets it write.
 * Every segment was checked to lie in guest RAM when the chain was walked (split-queue.ts).
 */
import { assert } from '#base/assert.ts'
import type { GuestMemory } from '#hub/ports.ts'

export interface Segment {
  readonly gpa: number
  readonly bytes: number
}

export class Chain {
  /** Index of the first descriptor: names the chain in the used ring. */
  readonly head: number
  /** The queue's life it was taken in: after a queue reset it must not be touched any more. */
  readonly life: number
  readonly readableBytes: number
  readonly writableBytes: number
  readonly #memory: GuestMemory
  readonly #readable: readonly Segment[]
  readonly #writable: readonly Segment[]

  constructor(
    memory: GuestMemory,
    head: number,
    life: number,
    readable: readonly Segment[],
    writable: readonly Segment[],
  ) {
    this.#memory = memory
    this.head = head
    this.life = life
    this.#readable = readable
    this.#writable = writable
    this.readableBytes = total(readable)
    this.writableBytes = total(writable)
  }

  /** Copies readable bytes from `offset` into target; returns how many there were (fewer at the chain's end). */
  readAt(offset: number, target: Uint8Array): number {
    return this.#each(this.#readable, offset, target.length, (gpa, from, bytes) =>
      this.#memory.readInto(gpa, target.subarray(from, from + bytes)),
    )
  }

  /** A copy of readable bytes [offset, offset + length), cut at the chain's end. */
  read(offset: number, length: number): Uint8Array<ArrayBuffer> {
    const target = new Uint8Array(Math.max(0, Math.min(length, this.readableBytes - offset)))
    this.readAt(offset, target)
    return target
  }

  /** Copies source into the writable bytes from `offset`; returns how many fitted. */
  writeAt(offset: number, source: Uint8Array): number {
    return this.#each(this.#writable, offset, source.length, (gpa, from, bytes) =>
      this.#memory.write(gpa, source.subarray(from, from + bytes)),
    )
  }

  #each(
    segments: readonly Segment[],
    offset: number,
    length: number,
    visit: (gpa: number, from: number, bytes: number) => void,
  ): number {
    assert(offset >= 0, 'chain offset is negative')
    let done = 0
    let skip = offset
    for (const segment of segments) {
      if (done === length) break
      if (skip >= segment.bytes) {
        skip -= segment.bytes
        continue
      }
      const bytes = Math.min(segment.bytes - skip, length - done)
      visit(segment.gpa + skip, done, bytes)
      done += bytes
      skip = 0
    }
    return done
  }
}

function total(segments: readonly Segment[]): number {
  return segments.reduce((sum, segment) => sum + segment.bytes, 0)
}
