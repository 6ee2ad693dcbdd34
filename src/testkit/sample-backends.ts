/** One working backend of every kind, for suites that build each device of the catalogue. */

/** A disk in memory whose requests a test can hold back and finish in any order. */
export class MemoryDisk {
  readonly readonly: boolean
  readonly bytes: Uint8Array<ArrayBuffer>
  /** What was asked, in order: 'read 0+512'. */
  readonly calls: string[] = []
  /** While true requests wait for release(). */
  holding = false
  /** The next request fails with this. */
  failWith: Error | undefined
  #held: (() => void)[] = []

  constructor(sizeBytes: number, options: { readonly readonly?: boolean } = {}) {
    this.bytes = new Uint8Array(sizeBytes)
    this.readonly = options.readonly ?? false
  }

  get sizeBytes(): number {
    return this.bytes.length
  }

  async #ask(call: string): Promise<void> {
    this.calls.push(call)
    const failure = this.failWith
    this.failWith = undefined
    if (this.holding) await new Promise<void>((resolve) => this.#held.push(resolve))
    if (failure !== undefined) throw failure
  }

  get heldCount(): number {
    return this.#held.length
  }

  /** Lets one held request go; index counts from the oldest. */
  release(index = 0): void {
    this.#held.splice(index, 1)[0]?.()
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    await this.#ask(`read ${offset}+${target.length}`)
    target.set(this.bytes.subarray(offset, offset + target.length))
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#ask(`write ${offset}+${bytes.length}`)
    this.bytes.set(bytes, offset)
  }

  async flush(): Promise<void> {
    await this.#ask('flush')
  }

  async discard(offset: number, lengthBytes: number): Promise<void> {
    await this.#ask(`discard ${offset}+${lengthBytes}`)
  }

  async writeZeroes(offset: number, lengthBytes: number): Promise<void> {
    await this.#ask(`zero ${offset}+${lengthBytes}`)
    this.bytes.fill(0, offset, offset + lengthBytes)
  }
}

/** Random numbers that are the same in every run (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}
