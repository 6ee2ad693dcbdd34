/** Fixed-size chunks of a slow source, least recently used out first; concurrent reads of one chunk share one fetch. */
export class ChunkCache {
  readonly #chunkBytes: number
  readonly #limit: number
  readonly #fetch: (offset: number, lengthBytes: number) => Promise<Uint8Array>
  readonly #chunks = new Map<number, Promise<Uint8Array>>()

  constructor(
    chunkBytes: number,
    limit: number,
    fetch: (offset: number, lengthBytes: number) => Promise<Uint8Array>,
  ) {
    this.#chunkBytes = chunkBytes
    this.#limit = limit
    this.#fetch = fetch
  }

  /** Fills target from offset; sizeBytes is where the source ends. */
  async read(offset: number, target: Uint8Array, sizeBytes: number): Promise<void> {
    const first = Math.floor(offset / this.#chunkBytes)
    const last = Math.floor((offset + target.length - 1) / this.#chunkBytes)
    const wanted: Promise<Uint8Array>[] = []
    for (let index = first; index <= last; index++) wanted.push(this.#chunk(index, sizeBytes))
    const chunks = await Promise.all(wanted)
    chunks.forEach((chunk, i) => {
      const start = (first + i) * this.#chunkBytes
      const from = Math.max(offset, start)
      const to = Math.min(offset + target.length, start + chunk.length)
      if (to > from) target.set(chunk.subarray(from - start, to - start), from - offset)
    })
  }

  #chunk(index: number, sizeBytes: number): Promise<Uint8Array> {
    const known = this.#chunks.get(index)
    if (known !== undefined) {
      this.#chunks.delete(index)
      this.#chunks.set(index, known)
      return known
    }
    const start = index * this.#chunkBytes
    const fetched = this.#fetch(start, Math.min(this.#chunkBytes, sizeBytes - start))
    this.#chunks.set(index, fetched)
    // A failed fetch must not be remembered: the next read tries again.
    fetched.catch(() => this.#chunks.delete(index))
    if (this.#chunks.size > this.#limit) {
      const oldest = this.#chunks.keys().next()
      if (oldest.done !== true) this.#chunks.delete(oldest.value)
    }
    return fetched
  }
}
