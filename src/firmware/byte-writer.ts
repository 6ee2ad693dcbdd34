/** Growing little-endian byte buffer for boot structures and tables. */
export class ByteWriter {
  #bytes = new Uint8Array(256)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  get length(): number {
    return this.#length
  }

  u8(value: number): this {
    const at = this.#take(1)
    this.#view.setUint8(at, value)
    return this
  }

  u16(value: number): this {
    const at = this.#take(2)
    this.#view.setUint16(at, value, true)
    return this
  }

  u32(value: number): this {
    const at = this.#take(4)
    this.#view.setUint32(at, value >>> 0, true)
    return this
  }

  /** Value below 2^53. */
  u64(value: number): this {
    const at = this.#take(8)
    this.#view.setBigUint64(at, BigInt(value), true)
    return this
  }

  bytes(value: Uint8Array | readonly number[]): this {
    const at = this.#take(value.length)
    this.#bytes.set(value, at)
    return this
  }

  /** ASCII, padded with `fill` to `width` bytes. */
  text(value: string, width = value.length, fill = 0): this {
    for (let i = 0; i < width; i++) this.u8(i < value.length ? value.charCodeAt(i) : fill)
    return this
  }

  zeros(count: number): this {
    this.#take(count)
    return this
  }

  align(boundary: number): this {
    return this.zeros((boundary - (this.#length % boundary)) % boundary)
  }

  patch8(at: number, value: number): void {
    this.#view.setUint8(at, value)
  }

  patch32(at: number, value: number): void {
    this.#view.setUint32(at, value >>> 0, true)
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }

  #take(count: number): number {
    const at = this.#length
    const wanted = at + count
    if (wanted > this.#bytes.length) {
      const bigger = new Uint8Array(Math.max(wanted, this.#bytes.length * 2))
      bigger.set(this.#bytes)
      this.#bytes = bigger
      this.#view = new DataView(bigger.buffer)
    }
    this.#length = wanted
    return at
  }
}

/** Value that makes the byte sum of `bytes` zero modulo 256. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0
  for (const byte of bytes) sum += byte
  return -sum & 0xff
}
