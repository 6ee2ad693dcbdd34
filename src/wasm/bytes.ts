/** Growing byte buffer with the encodings of the WebAssembly binary format (LEB128, names, vectors). */
const UTF8 = new TextEncoder()
const NOT_ASCII = /[^ -~]/
const SAFE = BigInt(Number.MAX_SAFE_INTEGER)

export class ByteWriter {
  #buffer: Uint8Array<ArrayBuffer>
  #length = 0

  /** @param capacity bytes that are likely to be written: V8 allocates buffers of up to 64 bytes a lot faster than others */
  constructor(capacity = 64) {
    this.#buffer = new Uint8Array(capacity)
  }

  get length(): number {
    return this.#length
  }

  #reserve(count: number): void {
    if (this.#length + count > this.#buffer.length) this.#grow(count)
  }

  #grow(count: number): void {
    const grown = new Uint8Array(Math.max(this.#buffer.length * 4, this.#length + count))
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

  /** A byte, then an unsigned LEB128: most operators with an immediate. */
  u8u32(first: number, value: number): void {
    this.#reserve(6)
    this.#buffer[this.#length++] = first
    this.#u32(value)
  }

  /** Unsigned LEB128 of a u32. */
  u32(value: number): void {
    this.#reserve(5)
    this.#u32(value)
  }

  #u32(value: number): void {
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
    let rest = BigInt.asIntN(64, value)
    // Seven bits at a time of what a number holds exactly: arithmetic of BigInts allocates.
    while (rest < -SAFE || rest > SAFE) {
      this.u8(Number(rest & 0x7fn) | 0x80)
      rest >>= 7n
    }
    this.s53(Number(rest))
  }

  /** Signed LEB128 of an i64 that is a safe integer. */
  s53(value: number): void {
    let rest = value
    while (rest < -0x8000_0000 || rest > 0x7fff_ffff) {
      const low = rest & 0x7f // modulo 2^32, which keeps these bits
      this.u8(low | 0x80)
      rest = (rest - low) / 0x80
    }
    this.s32(rest)
  }

  f32(value: number): void {
    this.bytes(new Uint8Array(new Float32Array([value]).buffer))
  }

  f64(value: number): void {
    this.bytes(new Uint8Array(new Float64Array([value]).buffer))
  }

  name(text: string): void {
    // As a rule ASCII, which asking the encoder takes longer for than writing it.
    if (NOT_ASCII.test(text)) {
      const utf8 = UTF8.encode(text)
      this.u32(utf8.length)
      this.bytes(utf8)
      return
    }
    this.u32(text.length)
    this.#reserve(text.length)
    for (let i = 0; i < text.length; i++) this.#buffer[this.#length++] = text.charCodeAt(i)
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
