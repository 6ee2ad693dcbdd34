/**
 * The port space: who claimed which port, in what class. Owns VM_PIO_MAP, VM_PIO_CLASSES and VM_PIO_SHADOW in
 * shared memory, which the vCPUs read without asking (abi/exits.ts, "Port classes").
 */
import { allOnes, extractBytes, hex, hexRange } from '#base/bits.ts'
import { VM_PIO_CLASSES, VM_PIO_MAP, VM_PIO_SHADOW } from '#abi/layout.ts'

import {
  ClaimError,
  type IoHandler,
  NO_HANDLER,
  type ReadClass,
  type WriteClass,
  classWord,
} from './claims.ts'
import type { SharedWords } from './shared-words.ts'

export const PORT_COUNT = 0x1_0000
const CLASS_COUNT = 256

/** One class for all ports of the claim, or one per port. */
type PerPort<T> = T | readonly T[]

export interface PioRequest {
  readonly start: number
  readonly count: number
  /** Default 'sync'. */
  readonly read?: PerPort<ReadClass>
  /** Default 'sync'. */
  readonly write?: PerPort<WriteClass>
  /** KDEV_* of abi/exits.ts, for class 'kernel'. */
  readonly kernelDevice?: number
  /** Widest access the handler wants, in bytes; wider ones arrive in pieces, low byte first. Default 4. */
  readonly width?: 1 | 2 | 4
  readonly handler?: IoHandler
}

export interface PioClaim {
  readonly start: number
  /** First port after the claim. */
  readonly end: number
  /** Sets the byte that a shadowed read of port start + offset is answered with. */
  setShadow(offset: number, value: number): void
  /** Changes the class of one port: a device leaves 'shadow' while a read would have side effects. */
  setClass(offset: number, read: ReadClass, write: WriteClass): void
  release(): void
}

/** What a device sees of the port space. */
export interface PioSpace {
  /** Throws ClaimError on an overlap. */
  claim(request: PioRequest): PioClaim
  /** As claim, with the overlap as a value: for ranges that the guest places (PCI BARs). */
  tryClaim(request: PioRequest): PioClaim | ClaimError
}

/** `unknown` is told of each access that no register answers; it does the once-only part. */
export type ReportUnknown = (
  place: number,
  bytes: number,
  isWrite: boolean,
  value: number,
  owner: string,
) => void

class Range implements PioClaim {
  readonly owner: string
  readonly start: number
  readonly end: number
  readonly width: number
  readonly handler: IoHandler
  readonly kernelDevice: number
  readonly #space: PioTable

  constructor(owner: string, request: PioRequest, space: PioTable) {
    this.owner = owner
    this.start = request.start
    this.end = request.start + request.count
    this.width = request.width ?? 4
    this.handler = request.handler ?? NO_HANDLER
    this.kernelDevice = request.kernelDevice ?? 0
    this.#space = space
  }

  setShadow(offset: number, value: number): void {
    this.#space.setShadow(this.start + offset, value)
  }

  setClass(offset: number, read: ReadClass, write: WriteClass): void {
    this.#space.setPortClass(this.start + offset, classWord(read, write, this.kernelDevice))
  }

  release(): void {
    this.#space.release(this)
  }
}

export class PioTable {
  readonly #words: SharedWords
  readonly #map: number
  readonly #classes: number
  readonly #shadow: number
  /** Class words by index; index 0 is "nobody". */
  readonly #classWords: number[] = [0]
  readonly #ranges: (Range | undefined)[] = Array.from({ length: PORT_COUNT }, () => undefined)
  readonly #unknown: ReportUnknown

  constructor(words: SharedWords, vm: number, unknown: ReportUnknown) {
    this.#words = words
    this.#map = vm + VM_PIO_MAP
    this.#classes = (vm + VM_PIO_CLASSES) >> 1
    this.#shadow = vm + VM_PIO_SHADOW
    this.#unknown = unknown
    words.u8.fill(0, this.#map, this.#map + PORT_COUNT)
    words.u16[this.#classes] = 0
  }

  /** The view of one device. */
  spaceFor(owner: string): PioSpace {
    return {
      claim: (request) => {
        const claim = this.#claim(owner, request)
        if (claim instanceof ClaimError) throw claim
        return claim
      },
      tryClaim: (request) => this.#claim(owner, request),
    }
  }

  #claim(owner: string, request: PioRequest): PioClaim | ClaimError {
    const { start, count } = request
    if (!(count > 0 && start >= 0 && start + count <= PORT_COUNT)) {
      return new ClaimError(`${owner}: ports ${hexRange(start, start + count)} lie outside the port space`)
    }
    for (let port = start; port < start + count; port++) {
      const other = this.#ranges[port]
      if (other === undefined) continue
      return new ClaimError(
        `${owner}: ports ${hexRange(start, start + count)} overlap ${hexRange(other.start, other.end)} of ${other.owner}`,
      )
    }
    const range = new Range(owner, request, this)
    for (let offset = 0; offset < count; offset++) {
      this.#ranges[start + offset] = range
      const read = perPort(request.read, offset) ?? 'sync'
      const write = perPort(request.write, offset) ?? 'sync'
      this.setPortClass(start + offset, classWord(read, write, range.kernelDevice))
    }
    return range
  }

  setShadow(port: number, value: number): void {
    Atomics.store(this.#words.u8, this.#shadow + port, value)
  }

  setPortClass(port: number, word: number): void {
    let index = this.#classWords.indexOf(word)
    if (index < 0) {
      index = this.#classWords.push(word) - 1
      if (index >= CLASS_COUNT) throw new RangeError('more than 256 different port classes')
      Atomics.store(this.#words.u16, this.#classes + index, word)
    }
    Atomics.store(this.#words.u8, this.#map + port, index)
  }

  release(range: Range): void {
    for (let port = range.start; port < range.end; port++) {
      if (this.#ranges[port] !== range) continue
      this.#ranges[port] = undefined
      Atomics.store(this.#words.u8, this.#map + port, 0)
    }
  }

  /** Answers a read of 1, 2 or 4 bytes. An access that crosses claims is split into bytes, as a bus bridge would. */
  read(port: number, bytes: number): number {
    const range = this.#ranges[port]
    if (range !== undefined && port + bytes <= range.end && bytes <= range.width)
      return this.#readOne(range, port, bytes)
    if (bytes === 1) {
      this.#unknown(port, 1, false, 0, 'nobody')
      return 0xff
    }
    const piece = range !== undefined && port + bytes <= range.end ? range.width : 1
    let value = 0
    for (let at = 0; at < bytes; at += piece) {
      value = (value | (this.read((port + at) & 0xffff, piece) << (8 * at))) >>> 0
    }
    return value
  }

  #readOne(range: Range, port: number, bytes: number): number {
    const value = range.handler.read(port - range.start, bytes)
    if (value !== undefined) return value
    this.#unknown(port, bytes, false, 0, range.owner)
    return allOnes(bytes)
  }

  write(port: number, bytes: number, value: number): void {
    const range = this.#ranges[port]
    if (range !== undefined && port + bytes <= range.end && bytes <= range.width) {
      if (range.handler.write(port - range.start, bytes, value) === false) {
        this.#unknown(port, bytes, true, value, range.owner)
      }
      return
    }
    if (bytes === 1) {
      this.#unknown(port, 1, true, value, 'nobody')
      return
    }
    const piece = range !== undefined && port + bytes <= range.end ? range.width : 1
    for (let at = 0; at < bytes; at += piece) {
      this.write((port + at) & 0xffff, piece, extractBytes(value, at, piece))
    }
  }

  /** Claims in order, for the monitor: owner, first and last port. */
  list(): string[] {
    const lines: string[] = []
    let last: Range | undefined
    for (const range of this.#ranges) {
      if (range !== undefined && range !== last)
        lines.push(`${hex(range.start, 4)}-${hex(range.end - 1, 4)} ${range.owner}`)
      last = range
    }
    return lines
  }
}

function perPort<T>(value: PerPort<T> | undefined, offset: number): T | undefined {
  return Array.isArray(value) ? (value as readonly T[])[offset] : (value as T | undefined)
}
