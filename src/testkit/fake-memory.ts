/** Guest RAM for tests: one flat array from gpa 0. Checks what the GuestMemory port promises. */
import type { GuestMemory } from '#hub/ports.ts'

export class FakeMemory implements GuestMemory {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly #view: DataView

  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(sizeBytes)
    this.#view = new DataView(this.bytes.buffer)
  }

  contains(gpa: number, lengthBytes: number): boolean {
    return lengthBytes === 0 || (gpa >= 0 && gpa + lengthBytes <= this.bytes.length)
  }

  #check(gpa: number, lengthBytes: number): void {
    if (!this.contains(gpa, lengthBytes))
      throw new RangeError(`gpa 0x${gpa.toString(16)}+${lengthBytes} is no RAM`)
  }

  read(gpa: number, lengthBytes: number): Uint8Array<ArrayBuffer> {
    this.#check(gpa, lengthBytes)
    return this.bytes.slice(gpa, gpa + lengthBytes)
  }

  readInto(gpa: number, target: Uint8Array): void {
    this.#check(gpa, target.length)
    target.set(this.bytes.subarray(gpa, gpa + target.length))
  }

  write(gpa: number, bytes: Uint8Array): void {
    this.#check(gpa, bytes.length)
    if (bytes.length > 0) this.bytes.set(bytes, gpa)
  }

  view(gpa: number, lengthBytes: number): Uint8Array | undefined {
    this.#check(gpa, lengthBytes)
    const samePage = Math.floor(gpa / 4096) === Math.floor((gpa + lengthBytes - 1) / 4096)
    return samePage ? this.bytes.subarray(gpa, gpa + lengthBytes) : undefined
  }

  loadU8(gpa: number): number {
    return this.#view.getUint8(gpa)
  }
  loadU16(gpa: number): number {
    return this.#view.getUint16(gpa, true)
  }
  loadU32(gpa: number): number {
    return this.#view.getUint32(gpa, true)
  }
  loadU64(gpa: number): bigint {
    return this.#view.getBigUint64(gpa, true)
  }
  storeU8(gpa: number, value: number): void {
    this.#view.setUint8(gpa, value)
  }
  storeU16(gpa: number, value: number): void {
    this.#view.setUint16(gpa, value, true)
  }
  storeU32(gpa: number, value: number): void {
    this.#view.setUint32(gpa, value, true)
  }
  storeU64(gpa: number, value: bigint): void {
    this.#view.setBigUint64(gpa, value, true)
  }
}
