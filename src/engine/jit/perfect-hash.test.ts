import { describe, expect, test } from 'vitest'
import { Random } from '#testkit/oracle/random.ts'
import { findHash } from './perfect-hash.ts'

describe('a perfect hash', () => {
  test.each([1, 2, 3, 11, 30, 64])('finds each of %d keys, in a small table', (count) => {
    const random = new Random(`keys/${count}`)
    const keys = new Set<number>()
    while (keys.size < count) keys.add(random.below(0x4000) - 0x1000)
    const list = [...keys]
    const { multiplier, shift, slots } = findHash(list)
    const found = list.map((key) => slots[Math.imul(key, multiplier) >>> shift])
    expect(found).toEqual(list.map((_, i) => i))
    expect(slots.filter((slot) => slot >= 0)).toHaveLength(count)
    expect(slots.length).toBeLessThanOrEqual(Math.max(2, count * 16))
  })

  test('there is none of a key that comes twice', () => {
    expect(() => findHash([5, 7, 5])).toThrow('distinct')
  })
})
