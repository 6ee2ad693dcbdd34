import { describe, expect, test } from 'vitest'
import type { Emit, IntTy, Val } from '../emit.ts'
import { highSigned, highUnsigned } from './product.ts'

const U64 = (value: bigint): bigint => BigInt.asUintN(64, value)
const S64 = (value: bigint): bigint => BigInt.asIntN(64, value)

interface Known extends Val {
  readonly value: bigint
}
const known = (value: bigint, ty: IntTy = 'i64'): Known => ({ ty, value: U64(value) })
const valueOf = (value: Val): bigint => (value as Known).value

/** An emitter that computes: the operators that products are made of. */
const numbers = {
  const: (ty: IntTy, value: number | bigint) => known(BigInt(value), ty),
  add: (a: Val, b: Val) => known(valueOf(a) + valueOf(b)),
  mul: (a: Val, b: Val) => known(valueOf(a) * valueOf(b)),
  and: (a: Val, b: Val) => known(valueOf(a) & valueOf(b)),
  shr: (a: Val, count: Val) => known(valueOf(a) >> valueOf(count)),
  sar: (a: Val, count: Val) => known(S64(valueOf(a)) >> valueOf(count)),
} as unknown as Emit

const EDGES = [
  0n,
  1n,
  2n,
  0xffff_ffffn,
  1n << 32n,
  (1n << 32n) + 1n,
  (1n << 63n) - 1n,
  1n << 63n,
  (1n << 64n) - 1n,
]

/** A fixed sequence of 64-bit values of all lengths. */
function* values(count: number, seed: bigint): Generator<bigint> {
  let state = seed
  for (let i = 0; i < count; i++) {
    state = U64(state * 6364136223846793005n + 1442695040888963407n)
    yield U64(state ^ (state >> 29n)) >> (state >> 58n)
  }
}

describe('the high half of a 64-bit product', () => {
  const pairs = [...EDGES.flatMap((a) => EDGES.map((b) => [a, b] as const))]
  const others = values(2000, 2n)
  for (const a of values(2000, 1n)) pairs.push([a, others.next().value ?? 0n])

  test.each([
    ['unsigned', highUnsigned, U64],
    ['signed', highSigned, S64],
  ] as const)('%s is that of integers without bound', (_, high, read) => {
    const wrong = pairs.filter(
      ([a, b]) => valueOf(high(numbers, known(a), known(b))) !== U64((read(a) * read(b)) >> 64n),
    )
    expect(wrong).toEqual([])
  })
})
