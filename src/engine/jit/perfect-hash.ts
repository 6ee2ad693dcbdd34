/** A multiplicative hash without collisions for a small set of numbers, found by trying. */

/** slots[Math.imul(key, multiplier) >>> shift] is the index of the key, -1 where there is none. */
export interface PerfectHash {
  readonly multiplier: number
  readonly shift: number
  readonly slots: readonly number[]
}

const TRIES = 1000
/** Odd, and its powers modulo 2^32 spread well (2^32 divided by the golden ratio). */
const STEP = 0x9e37_79b1
const BITS_MAX = 16

/** Keys are distinct integers of 32 bits, a hundred at most: then a table of some 8 slots for each is found. */
export function findHash(keys: readonly number[]): PerfectHash {
  const least = Math.max(1, Math.ceil(Math.log2(keys.length)))
  for (let bits = least; bits <= BITS_MAX; bits++) {
    const multiplier = search(keys, bits)
    if (multiplier === undefined) continue
    const slots = Array.from({ length: 2 ** bits }, () => -1)
    for (const [i, key] of keys.entries()) slots[Math.imul(key, multiplier) >>> (32 - bits)] = i
    return { multiplier, shift: 32 - bits, slots }
  }
  throw new Error(`no hash of ${keys.length} keys: are they distinct?`)
}

/** A multiplier that gives every key a slot of its own. */
function search(keys: readonly number[], bits: number): number | undefined {
  // The number of the try that took a slot last: nothing has to be cleared in between.
  const taken = new Uint16Array(2 ** bits)
  for (let i = 1, multiplier = STEP; i <= TRIES; i++, multiplier = Math.imul(multiplier, STEP)) {
    const free = keys.every((key) => {
      const slot = Math.imul(key, multiplier) >>> (32 - bits)
      if (taken[slot] === i) return false
      taken[slot] = i
      return true
    })
    if (free) return multiplier
  }
  return undefined
}
