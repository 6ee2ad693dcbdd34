/**
 * Guest memory as bus masters and loaders see it: RAM by guest-physical address through the frame map, ROM images, the
 * chipset's shadow RAM switches. GuestRam is the hub's GuestMemory port (hub/ports.ts), which says what its methods promise.
 *
 * A present frame that needs nothing special is found here, with one load from the frame map; everything else (first touch,
 * copy on write, dirty logs, decoded code) is kernel/frames.ts, called through the hub's kernel.wasm instance, so
 * that the protocol of the frame map exists once. DMA does not pass the A20 gate.
 */
import * as abi from '#abi/layout.ts'

/** The exports of kernel.wasm that memory needs. */
export interface MemoryKernel {
  gfn_frame(gfn: number, write: number): number
  code_store(gfn: number, first: number, last: number): void
  flush_everywhere(): void
}

export interface GuestMemoryOptions {
  readonly buffer: ArrayBufferLike
  /** Address of the VM struct; the frame map is allocated and zero. */
  readonly vm: number
  /** Ranges of RAM in bytes, page-aligned. */
  readonly ram: readonly { readonly start: number; readonly bytes: number }[]
  readonly kernel: MemoryKernel
}

/** The frame pool is empty although the guest touches only memory it was given: the host's limit was misjudged. */
export class FramePoolError extends Error {}

const PAGE = abi.PAGE_SIZE
const WRITE_SPECIAL = abi.FRAME_READONLY | abi.FRAME_SHARED | abi.FRAME_DIRTY_LOG | abi.FRAME_CODE
const hex = (value: number): string => `0x${value.toString(16)}`

export class GuestRam {
  readonly #kernel: MemoryKernel
  readonly #map: Uint32Array
  readonly #u8: Uint8Array
  readonly #u16: Uint16Array
  readonly #u32: Uint32Array
  readonly #u64: BigUint64Array
  /** ROM frames by gfn, and the RAM entries they hide. */
  readonly #roms = new Map<number, { readonly rom: number; ram: number }>()

  constructor({ buffer, vm, ram, kernel }: GuestMemoryOptions) {
    this.#kernel = kernel
    const view = new DataView(buffer)
    this.#u8 = new Uint8Array(buffer)
    this.#u16 = new Uint16Array(buffer)
    this.#u32 = new Uint32Array(buffer)
    this.#u64 = new BigUint64Array(buffer)
    const map = view.getUint32(vm + abi.VM_FRAME_MAP, true)
    this.#map = new Uint32Array(buffer, map, view.getUint32(vm + abi.VM_GFN_COUNT, true))
    for (const { start, bytes } of ram) this.#map.fill(abi.FRAME_RAM, start / PAGE, (start + bytes) / PAGE)
  }

  contains(gpa: number, lengthBytes: number): boolean {
    if (lengthBytes === 0) return true
    if (!Number.isSafeInteger(gpa) || gpa < 0 || lengthBytes < 0) return false
    const last = Math.floor((gpa + lengthBytes - 1) / PAGE)
    if (last >= this.#map.length) return false
    for (let gfn = Math.floor(gpa / PAGE); gfn <= last; gfn++) {
      const entry = this.#map[gfn] ?? 0
      if ((entry & abi.FRAME_RAM) === 0 || (entry & abi.FRAME_READONLY) !== 0) return false
    }
    return true
  }

  read(gpa: number, lengthBytes: number): Uint8Array<ArrayBuffer> {
    const copy = new Uint8Array(lengthBytes)
    this.readInto(gpa, copy)
    return copy
  }

  readInto(gpa: number, target: Uint8Array): void {
    this.#check(gpa, target.length)
    for (let done = 0; done < target.length;) {
      const at = this.#address(gpa + done, false)
      const bytes = Math.min(target.length - done, PAGE - (at % PAGE))
      target.set(this.#u8.subarray(at, at + bytes), done)
      done += bytes
    }
  }

  write(gpa: number, bytes: Uint8Array): void {
    this.#check(gpa, bytes.length)
    for (let done = 0; done < bytes.length;) {
      const at = this.#address(gpa + done, true)
      const count = Math.min(bytes.length - done, PAGE - (at % PAGE))
      this.#u8.set(bytes.subarray(done, done + count), at)
      this.#written(gpa + done, count)
      done += count
    }
  }

  view(gpa: number, lengthBytes: number, access: 'read' | 'write'): Uint8Array | undefined {
    this.#check(gpa, lengthBytes)
    if (lengthBytes === 0) return this.#u8.subarray(0, 0)
    if ((gpa % PAGE) + lengthBytes > PAGE) return undefined
    const at = this.#address(gpa, access === 'write')
    return this.#u8.subarray(at, at + lengthBytes)
  }

  loadU8(gpa: number): number {
    this.#check(gpa, 1)
    return Atomics.load(this.#u8, this.#address(gpa, false))
  }

  loadU16(gpa: number): number {
    this.#check(gpa, 2)
    if (gpa % 2 === 0) return Atomics.load(this.#u16, this.#address(gpa, false) / 2)
    return this.#viewOf(gpa, 2).getUint16(0, true)
  }

  loadU32(gpa: number): number {
    this.#check(gpa, 4)
    if (gpa % 4 === 0) return Atomics.load(this.#u32, this.#address(gpa, false) / 4)
    return this.#viewOf(gpa, 4).getUint32(0, true)
  }

  loadU64(gpa: number): bigint {
    this.#check(gpa, 8)
    if (gpa % 8 === 0) return Atomics.load(this.#u64, this.#address(gpa, false) / 8)
    return this.#viewOf(gpa, 8).getBigUint64(0, true)
  }

  storeU8(gpa: number, value: number): void {
    this.#check(gpa, 1)
    Atomics.store(this.#u8, this.#address(gpa, true), value)
    this.#written(gpa, 1)
  }

  storeU16(gpa: number, value: number): void {
    if (gpa % 2 !== 0) return this.#storeUnaligned(gpa, 2, (view) => view.setUint16(0, value, true))
    this.#check(gpa, 2)
    Atomics.store(this.#u16, this.#address(gpa, true) / 2, value)
    this.#written(gpa, 2)
  }

  storeU32(gpa: number, value: number): void {
    if (gpa % 4 !== 0) return this.#storeUnaligned(gpa, 4, (view) => view.setUint32(0, value, true))
    this.#check(gpa, 4)
    Atomics.store(this.#u32, this.#address(gpa, true) / 4, value)
    this.#written(gpa, 4)
  }

  storeU64(gpa: number, value: bigint): void {
    if (gpa % 8 !== 0) return this.#storeUnaligned(gpa, 8, (view) => view.setBigUint64(0, value, true))
    this.#check(gpa, 8)
    Atomics.store(this.#u64, this.#address(gpa, true) / 8, value)
    this.#written(gpa, 8)
  }

  /** Puts an image over [gpa, gpa + bytes.length), page-aligned: guest writes to it are dropped. Mapping it again renews it. */
  mapRom(gpa: number, bytes: Uint8Array): void {
    if (gpa % PAGE !== 0 || bytes.length % PAGE !== 0)
      throw new RangeError(`a ROM at ${hex(gpa)} of ${bytes.length} bytes is not page-aligned`)
    if ((gpa + bytes.length) / PAGE > this.#map.length)
      throw new RangeError(`a ROM at ${hex(gpa)} lies beyond the frame map`)
    for (let done = 0; done < bytes.length; done += PAGE) {
      const gfn = (gpa + done) / PAGE
      const rom = this.#roms.get(gfn)?.rom ?? this.#romFrame(gfn)
      this.#u8.set(bytes.subarray(done, done + PAGE), rom)
      this.#setEntry(gfn, romEntry(rom))
    }
    this.#kernel.flush_everywhere()
  }

  /**
   * Shadow RAM: where reads and writes of a range go, RAM (true) or ROM (false). Pages without ROM are RAM in any
   * case. "Read ROM, write RAM" copies the ROM into the RAM once: firmware uses that state only to copy itself.
   */
  setPam(start: number, end: number, readRam: boolean, writeRam: boolean): void {
    let changed = false
    for (let gfn = start / PAGE; gfn < end / PAGE; gfn++) {
      const page = this.#roms.get(gfn)
      if (page === undefined) continue
      const current = this.#map[gfn] ?? 0
      const inRam = (current & abi.FRAME_NUMBER_MASK) !== page.rom / PAGE
      if (inRam) page.ram = current & ~abi.FRAME_READONLY
      let entry = romEntry(page.rom)
      if (readRam || writeRam) {
        if (!inRam && !readRam) entry = this.#copyRom(gfn, page)
        else entry = page.ram
        if (!writeRam) entry |= abi.FRAME_READONLY
      }
      if (entry >>> 0 === current) continue
      this.#setEntry(gfn, entry)
      changed = true
    }
    if (changed) this.#kernel.flush_everywhere()
  }

  #check(gpa: number, lengthBytes: number): void {
    if (!this.contains(gpa, lengthBytes)) throw new RangeError(`gpa ${hex(gpa)}+${lengthBytes} is no RAM`)
  }

  /** Address of the byte at gpa, good to the end of its page. */
  #address(gpa: number, write: boolean): number {
    const gfn = Math.floor(gpa / PAGE)
    const entry = this.#map[gfn] ?? 0
    if ((entry & abi.FRAME_PRESENT) !== 0 && !(write && (entry & WRITE_SPECIAL) !== 0)) {
      return (entry & abi.FRAME_NUMBER_MASK) * PAGE + (gpa % PAGE)
    }
    const frame = this.#kernel.gfn_frame(gfn, write ? 1 : 0) >>> 0
    if (frame === 0)
      throw new FramePoolError(`no frame for gpa ${hex(gpa)}: the pool of shared memory is used up`)
    return frame + (gpa % PAGE)
  }

  /** After a write: a vCPU that decoded the page in between must forget it. */
  #written(gpa: number, bytes: number): void {
    const gfn = Math.floor(gpa / PAGE)
    // Not a plain load, which may come before the bytes that were just written.
    if ((Atomics.or(this.#map, gfn, 0) & abi.FRAME_CODE) !== 0)
      this.#kernel.code_store(gfn, gpa % PAGE, (gpa % PAGE) + bytes - 1)
  }

  #viewOf(gpa: number, bytes: number): DataView {
    return new DataView(this.read(gpa, bytes).buffer)
  }

  #storeUnaligned(gpa: number, bytes: number, fill: (view: DataView) => void): void {
    const value = new Uint8Array(bytes)
    fill(new DataView(value.buffer))
    this.write(gpa, value)
  }

  #setEntry(gfn: number, entry: number): void {
    Atomics.store(this.#map, gfn, entry >>> 0)
    this.#kernel.code_store(gfn, 0, PAGE - 1)
  }

  /** Takes a frame for a ROM page and remembers what RAM it hides. */
  #romFrame(gfn: number): number {
    const ram = this.#map[gfn] ?? 0
    Atomics.store(this.#map, gfn, abi.FRAME_RAM)
    const rom = this.#kernel.gfn_frame(gfn, 0) >>> 0
    if (rom === 0) throw new FramePoolError('no frame for a ROM: the pool of shared memory is used up')
    this.#roms.set(gfn, { rom, ram })
    return rom
  }

  #copyRom(gfn: number, page: { readonly rom: number; ram: number }): number {
    Atomics.store(this.#map, gfn, (page.ram | abi.FRAME_RAM) >>> 0)
    const frame = this.#kernel.gfn_frame(gfn, 1) >>> 0
    if (frame === 0) throw new FramePoolError('no frame for shadow RAM: the pool of shared memory is used up')
    this.#u8.copyWithin(frame, page.rom, page.rom + PAGE)
    return this.#map[gfn] ?? 0
  }
}

const romEntry = (address: number): number =>
  abi.FRAME_PRESENT | abi.FRAME_RAM | abi.FRAME_READONLY | (address / PAGE)
