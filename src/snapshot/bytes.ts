/** Little-endian byte writer and bounds-checked reader under the section codec. */

/** A snapshot cannot be used: says which section, which field, and why. */
export class SnapshotError extends Error {
  override readonly name = 'SnapshotError'
  readonly section: string

  constructor(section: string, reason: string) {
    super(`snapshot section "${section}": ${reason}`)
    this.section = section
  }
}

export class ByteWriter {
  #buffer = new Uint8Array(256)
  #view = new DataView(this.#buffer.buffer)
  #length = 0

  #room(bytes: number): number {
    const at = this.#length
    this.#length += bytes
    if (this.#length > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(this.#length, this.#buffer.length * 2))
      grown.set(this.#buffer)
      this.#buffer = grown
      this.#view = new DataView(grown.buffer)
    }
    return at
  }

  u8(value: number): void {
    const at = this.#room(1) // first: it may replace the view
    this.#view.setUint8(at, value)
  }
  u16(value: number): void {
    const at = this.#room(2) // first: it may replace the view
    this.#view.setUint16(at, value, true)
  }
  u32(value: number): void {
    const at = this.#room(4) // first: it may replace the view
    this.#view.setUint32(at, value, true)
  }
  u64(value: bigint): void {
    const at = this.#room(8) // first: it may replace the view
    this.#view.setBigUint64(at, value, true)
  }
  f64(value: number): void {
    const at = this.#room(8) // first: it may replace the view
    this.#view.setFloat64(at, value, true)
  }
  raw(bytes: Uint8Array): void {
    const at = this.#room(bytes.length)
    this.#buffer.set(bytes, at)
  }
  block(bytes: Uint8Array): void {
    this.u32(bytes.length)
    this.raw(bytes)
  }
  /** ASCII, at most 255 bytes. */
  name(text: string): void {
    this.u8(text.length)
    for (let i = 0; i < text.length; i++) this.u8(text.charCodeAt(i))
  }
  bytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer.slice(0, this.#length)
  }
}

export class ByteReader {
  readonly section: string
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(section: string, bytes: Uint8Array) {
    this.section = section
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  #take(bytes: number): number {
    const at = this.#at
    if (bytes > this.#bytes.length - at) this.fail(`ends ${bytes - (this.#bytes.length - at)} bytes early`)
    this.#at = at + bytes
    return at
  }

  fail(reason: string): never {
    throw new SnapshotError(this.section, reason)
  }
  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }
  u16(): number {
    return this.#view.getUint16(this.#take(2), true)
  }
  u32(): number {
    return this.#view.getUint32(this.#take(4), true)
  }
  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true)
  }
  f64(): number {
    return this.#view.getFloat64(this.#take(8), true)
  }
  raw(length: number): Uint8Array<ArrayBuffer> {
    const at = this.#take(length)
    return this.#bytes.slice(at, at + length)
  }
  block(): Uint8Array<ArrayBuffer> {
    return this.raw(this.u32())
  }
  name(): string {
    return String.fromCharCode(...this.raw(this.u8()))
  }
  get remaining(): number {
    return this.#bytes.length - this.#at
  }
  end(): void {
    if (this.remaining !== 0) this.fail(`has ${this.remaining} bytes too many`)
  }
}
