/** Small deterministic generator (xorshift32 seeded through a hash): the same seed gives the same cases on every host. */
export class Random {
  #state: number

  constructor(seed: string) {
    let hash = 0x811c_9dc5
    for (let i = 0; i < seed.length; i++) hash = Math.imul(hash ^ seed.charCodeAt(i), 0x0100_0193)
    this.#state = hash === 0 ? 1 : hash
    for (let i = 0; i < 4; i++) this.bits()
  }

  /** 32 random bits, unsigned. */
  bits(): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x
    return Math.imul(x, 0x9e37_79b1) >>> 0
  }

  /** 0 <= n < limit. */
  below(limit: number): number {
    return Math.floor((this.bits() / 0x1_0000_0000) * limit)
  }

  between(first: number, last: number): number {
    return first + this.below(last - first + 1)
  }

  chance(probability: number): boolean {
    return this.bits() < probability * 0x1_0000_0000
  }

  pick<T>(list: readonly T[]): T {
    const value = list[this.below(list.length)]
    if (value === undefined) throw new Error('pick from an empty list')
    return value
  }

  u64(): bigint {
    return (BigInt(this.bits()) << 32n) | BigInt(this.bits())
  }
}
