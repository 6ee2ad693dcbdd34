/**
 * The MMIO space: who claimed which range of guest-physical addresses, in what class. Owns VM_MMIO_TABLE, which the
 * vCPUs search without asking. Ranges move while the guest runs (PCI BARs), so the table has a sequence word:
 * odd while it is being rewritten; a reader that sees it odd or changed looks again.
 */
import { allOnes, extractBytes, hex, hexRange } from '#base/bits.ts'
import { MMIO_CLASS, MMIO_END, MMIO_ENTRY_SIZE, MMIO_SHADOW, MMIO_START } from '#abi/exits.ts'
import { VM_MMIO_COUNT, VM_MMIO_MAX, VM_MMIO_SEQ, VM_MMIO_TABLE } from '#abi/layout.ts'

import {
  ClaimError,
  type IoHandler,
  NO_HANDLER,
  type ReadClass,
  type WriteClass,
  classWord,
} from './claims.ts'
import type { ReportUnknown } from './pio-space.ts'
import type { SharedWords } from './shared-words.ts'

export interface MmioRequest {
  readonly start: number
  readonly bytes: number
  /** Default 'sync'. */
  readonly read?: ReadClass
  /** Default 'sync'. */
  readonly write?: WriteClass
  /** KDEV_* of abi/exits.ts, for class 'kernel'. */
  readonly kernelDevice?: number
  /** Widest access the handler wants; wider ones arrive in pieces, low byte first. Default 4. */
  readonly width?: 1 | 2 | 4
  /** Address in shared memory of `bytes` bytes (SharedArena) that answer class 'shadow'. */
  readonly shadow?: number
  readonly handler?: IoHandler
}

export interface MmioClaim {
  readonly start: number
  /** First address after the claim. */
  readonly end: number
  release(): void
}

export interface MmioSpace {
  /** Throws ClaimError on an overlap or a full table. */
  claim(request: MmioRequest): MmioClaim
  /** As claim, with the failure as a value: for ranges that the guest places. */
  tryClaim(request: MmioRequest): MmioClaim | ClaimError
}

class Range implements MmioClaim {
  readonly owner: string
  readonly start: number
  readonly end: number
  readonly width: number
  readonly handler: IoHandler
  readonly word: number
  readonly shadow: number
  readonly #table: MmioTable

  constructor(owner: string, request: MmioRequest, table: MmioTable) {
    this.owner = owner
    this.start = request.start
    this.end = request.start + request.bytes
    this.width = request.width ?? 4
    this.handler = request.handler ?? NO_HANDLER
    this.word = classWord(request.read ?? 'sync', request.write ?? 'sync', request.kernelDevice ?? 0)
    this.shadow = request.shadow ?? 0
    this.#table = table
  }

  release(): void {
    this.#table.release(this)
  }
}

export class MmioTable {
  readonly #words: SharedWords
  readonly #vm: number
  readonly #unknown: ReportUnknown
  /** Sorted by start, no overlap: the same order as the table in shared memory. */
  #ranges: Range[] = []
  #last: Range | undefined

  constructor(words: SharedWords, vm: number, unknown: ReportUnknown) {
    this.#words = words
    this.#vm = vm
    this.#unknown = unknown
    this.#publish()
  }

  spaceFor(owner: string): MmioSpace {
    return {
      claim: (request) => {
        const claim = this.#claim(owner, request)
        if (claim instanceof ClaimError) throw claim
        return claim
      },
      tryClaim: (request) => this.#claim(owner, request),
    }
  }

  #claim(owner: string, request: MmioRequest): MmioClaim | ClaimError {
    const { start, bytes } = request
    const end = start + bytes
    if (!(bytes > 0 && start >= 0 && end <= Number.MAX_SAFE_INTEGER)) {
      return new ClaimError(`${owner}: MMIO ${hexRange(start, end)} lies outside the address space`)
    }
    const other = this.#ranges.find((range) => range.start < end && start < range.end)
    if (other !== undefined) {
      return new ClaimError(
        `${owner}: MMIO ${hexRange(start, end)} overlaps ${hexRange(other.start, other.end)} of ${other.owner}`,
      )
    }
    if (this.#ranges.length >= VM_MMIO_MAX) {
      return new ClaimError(
        `${owner}: MMIO ${hexRange(start, end)} does not fit: all ${VM_MMIO_MAX} ranges are taken`,
      )
    }
    const range = new Range(owner, request, this)
    this.#ranges = [...this.#ranges, range].toSorted((a, b) => a.start - b.start)
    this.#publish()
    return range
  }

  release(range: Range): void {
    this.#ranges = this.#ranges.filter((one) => one !== range)
    if (this.#last === range) this.#last = undefined
    this.#publish()
  }

  #publish(): void {
    const { i32, u32 } = this.#words
    const sequence = (this.#vm + VM_MMIO_SEQ) >> 2
    Atomics.add(i32, sequence, 1)
    this.#ranges.forEach((range, index) => {
      const at = this.#vm + VM_MMIO_TABLE + index * MMIO_ENTRY_SIZE
      storeU64(u32, at + MMIO_START, range.start)
      storeU64(u32, at + MMIO_END, range.end)
      Atomics.store(u32, (at + MMIO_CLASS) >> 2, range.word)
      Atomics.store(u32, (at + MMIO_SHADOW) >> 2, range.shadow)
    })
    Atomics.store(i32, (this.#vm + VM_MMIO_COUNT) >> 2, this.#ranges.length)
    Atomics.add(i32, sequence, 1)
  }

  #find(gpa: number): Range | undefined {
    const last = this.#last
    if (last !== undefined && gpa >= last.start && gpa < last.end) return last
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >> 1
      const range = this.#ranges[middle] as Range
      if (gpa < range.start) high = middle
      else if (gpa >= range.end) low = middle + 1
      else {
        this.#last = range
        return range
      }
    }
    return undefined
  }

  /** Answers a read of 1, 2 or 4 bytes; the hub splits 8-byte accesses. */
  read(gpa: number, bytes: number): number {
    const range = this.#find(gpa)
    if (range !== undefined && gpa + bytes <= range.end && bytes <= range.width)
      return this.#readOne(range, gpa, bytes)
    if (bytes === 1 || range === undefined) {
      this.#unknown(gpa, bytes, false, 0, 'nobody')
      return allOnes(bytes)
    }
    const piece = gpa + bytes <= range.end ? range.width : 1
    let value = 0
    for (let at = 0; at < bytes; at += piece) value = (value | (this.read(gpa + at, piece) << (8 * at))) >>> 0
    return value
  }

  #readOne(range: Range, gpa: number, bytes: number): number {
    const value = range.handler.read(gpa - range.start, bytes)
    if (value !== undefined) return value
    this.#unknown(gpa, bytes, false, 0, range.owner)
    return allOnes(bytes)
  }

  write(gpa: number, bytes: number, value: number): void {
    const range = this.#find(gpa)
    if (range !== undefined && gpa + bytes <= range.end && bytes <= range.width) {
      if (range.handler.write(gpa - range.start, bytes, value) === false) {
        this.#unknown(gpa, bytes, true, value, range.owner)
      }
      return
    }
    if (bytes === 1 || range === undefined) {
      this.#unknown(gpa, bytes, true, value, 'nobody')
      return
    }
    const piece = gpa + bytes <= range.end ? range.width : 1
    for (let at = 0; at < bytes; at += piece) this.write(gpa + at, piece, extractBytes(value, at, piece))
  }

  list(): string[] {
    return this.#ranges.map((range) => `${hex(range.start, 8)}-${hex(range.end - 1, 8)} ${range.owner}`)
  }
}

function storeU64(u32: Uint32Array, at: number, value: number): void {
  Atomics.store(u32, at >> 2, value % 2 ** 32)
  Atomics.store(u32, (at >> 2) + 1, Math.floor(value / 2 ** 32))
}
