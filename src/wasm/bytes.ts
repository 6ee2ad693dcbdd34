/** Growing byte buffer with the encodings of the WebAssembly binary format (LEB128, names, vectors). */
export class ByteWriter {
  #buffer = new Uint8Array(256)
  #length = 0

  get length(): number {
    return this.#length
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#buffer.length) return
    const grown = new Uint8Array(Math.max(this.#buffer.length * 2, this.#length + count))
    grown.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = grown
  }

  u8(value: number): void {
    this.#reserve(1)
    this.#buffer[this.#length++] = value
  }

  bytes(values: Uint8Array | readonly number[]): void {
    this.#reserve(values.length)
    this.#buffer.set(values, this.#length)
    this.#length += values.length
  }

  /** Unsigned LEB128 of a u32. */
  u32(value: number): void {
    this.#reserve(5)
    let rest = value >>> 0
    while (rest >= 0x80) {
      this.#buffer[this.#length++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.#buffer[this.#length++] = rest
  }

  /** Signed LEB128 of an i32. */
  s32(value: number): void {
    this.#reserve(5)
    let rest = value | 0
    while (rest < -0x40 || rest >= 0x40) {
      this.#buffer[this.#length++] = (rest & 0x7f) | 0x80
      rest >>= 7
    }
    this.#buffer[this.#length++] = rest & 0x7f
  }

  /** Signed LEB128 of an i64; the value is taken modulo 2^64. */
  s64(value: bigint): void {
    if (value >= -0x8000_0000n && value < 0x8000_0000n) return this.s32(Number(value))
    let rest = BigInt.asIntN(64, value)
    for (;;) {
      const low = Number(rest & 0x7fn)
      rest >>= 7n
      if ((rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)) return this.u8(low)
      this.u8(low | 0x80)
    }
  }

  f32(value: number): void {
    this.bytes(new Uint8Array(new Float32Array([value]).buffer))
  }

  f64(value: number): void {
    this.bytes(new Uint8Array(new Float64Array([value]).buffer))
  }

  name(text: string): void {
    const utf8 = new TextEncoder().encode(text)
    this.u32(utf8.length)
    this.bytes(utf8)
  }

  /** A section body or function body: its length, then its bytes. */
  sized(body: ByteWriter): void {
    this.u32(body.length)
    this.bytes(body.view())
  }

  /** The bytes so far; valid until the next write. */
  view(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }

  toBytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer.slice(0, this.#length)
  }
}
