import { describe, expect, it } from 'vitest'
import type { ArithFlag, Cond, FlagsOf, IntTy, Val } from './emit.ts'
import { encodeFlags, readCond, readFlag, setFlagBits } from './flags.ts'
import type { FlagOps, LazyFlags } from './flags.ts'

/** The pure operations over plain numbers. */
class Value implements Val {
  readonly ty: IntTy
  readonly bits: bigint
  constructor(ty: IntTy, bits: bigint) {
    this.ty = ty
    this.bits = BigInt.asUintN(WIDTH[ty], bits)
  }
  get signed(): bigint {
    return BigInt.asIntN(WIDTH[this.ty], this.bits)
  }
}
const WIDTH: Readonly<Record<IntTy, number>> = { i8: 8, i16: 16, i32: 32, i64: 64 }
const v = (value: Val): Value => value as Value
const bool = (value: boolean): Value => new Value('i32', value ? 1n : 0n)
const same = (name: string, f: (a: bigint, b: bigint) => bigint) => (a: Val, b: Val) => {
  if (a.ty !== b.ty) throw new Error(`${name} of ${a.ty} and ${b.ty}`)
  return new Value(v(a).ty, f(v(a).bits, v(b).bits))
}
const ops: FlagOps = {
  const: (ty, value) => new Value(ty as IntTy, BigInt(value)),
  add: same('add', (a, b) => a + b),
  sub: same('sub', (a, b) => a - b),
  and: same('and', (a, b) => a & b),
  or: same('or', (a, b) => a | b),
  xor: same('xor', (a, b) => a ^ b),
  not: (a) => new Value(v(a).ty, ~v(a).bits),
  shl: (a, n) => new Value(v(a).ty, v(a).bits << v(n).bits),
  shr: (a, n) => new Value(v(a).ty, v(a).bits >> v(n).bits),
  popcnt: (a) => new Value(v(a).ty, BigInt(v(a).bits.toString(2).replaceAll('0', '').length)),
  eq: (a, b) => bool(v(a).bits === v(b).bits),
  ne: (a, b) => bool(v(a).bits !== v(b).bits),
  ltS: (a, b) => bool(v(a).signed < v(b).signed),
  leS: (a, b) => bool(v(a).signed <= v(b).signed),
  isZero: (a) => bool(v(a).bits === 0n),
  select: (c, a, b) => (v(c).bits === 0n ? b : a),
  zext: (a, ty) => new Value(ty, v(a).bits),
  sext: (a, ty) => new Value(ty, v(a).signed),
  trunc: (a, ty) => new Value(ty, v(a).bits),
  // comparisons of floating-point numbers only
  op: (name, _, [a, b]) => {
    const [x, y] = [(a as Float).number, (b as Float).number]
    return bool(name.endsWith('.ge') ? x >= y : x <= y)
  },
}

class Float implements Val {
  readonly ty = 'f64'
  readonly number: number
  constructor(number: number) {
    this.number = number
  }
}

const FLAGS: readonly ArithFlag[] = ['cf', 'pf', 'af', 'zf', 'sf', 'of']
type Bits = Record<ArithFlag, number>
const read = (flags: LazyFlags): Bits =>
  Object.fromEntries(FLAGS.map((name) => [name, Number(v(readFlag(ops, flags, name)).bits)])) as Bits

const evenParity = (byte: number): number => (byte.toString(2).replaceAll('0', '').length % 2 === 0 ? 1 : 0)

/** The manual's definitions, from unbounded integers (SDM Vol. 1, "Status Flags"). */
function reference(
  bits: number,
  a: number,
  b: number,
  carry: number,
  subtract: boolean,
): { result: number; flags: Bits } {
  const size = 2 ** bits
  const signed = (x: number): number => (x >= size / 2 ? x - size : x)
  const wide = subtract ? a - b - carry : a + b + carry
  const wideSigned = subtract ? signed(a) - signed(b) - carry : signed(a) + signed(b) + carry
  const low = subtract ? (a & 15) - (b & 15) - carry : (a & 15) + (b & 15) + carry
  const result = ((wide % size) + size) % size
  const flags = {
    cf: wide < 0 || wide >= size ? 1 : 0,
    of: wideSigned < -size / 2 || wideSigned >= size / 2 ? 1 : 0,
    af: low < 0 || low > 15 ? 1 : 0,
    zf: result === 0 ? 1 : 0,
    sf: result >= size / 2 ? 1 : 0,
    pf: evenParity(result & 0xff),
  }
  return { result, flags }
}

const none = (): LazyFlags => ({ res: new Value('i64', 1n), aux: new Value('i32', 0n) })

describe('flags of 8-bit results, all operands', () => {
  it.each([
    ['ADD', 0, false],
    ['ADC', 1, false],
    ['SUB', 0, true],
    ['SBB', 1, true],
  ] as const)('%s with carry %d', (_, carry, subtract) => {
    const wrong: string[] = []
    for (let a = 0; a < 256; a++) {
      for (let b = 0; b < 256; b++) {
        const { result, flags } = reference(8, a, b, carry, subtract)
        const of: FlagsOf = {
          kind: subtract ? 'sub' : 'add',
          a: new Value('i8', BigInt(a)),
          b: new Value('i8', BigInt(b)),
          result: new Value('i8', BigInt(result)),
        }
        const got = read(encodeFlags(ops, of, none))
        if (FLAGS.some((name) => got[name] !== flags[name])) wrong.push(`${a} ${b}`)
      }
    }
    expect(wrong).toEqual([])
  })

  it.each(['inc', 'dec'] as const)('%s keeps CF and follows the manual otherwise', (kind) => {
    for (let a = 0; a < 256; a++) {
      for (const cf of [0, 1]) {
        const { result, flags } = reference(8, a, 1, 0, kind === 'dec')
        const old = setFlagBits(ops, none(), { cf: new Value('i32', BigInt(cf)) })
        const got = read(encodeFlags(ops, { kind, result: new Value('i8', BigInt(result)) }, () => old))
        expect(got).toEqual({ ...flags, cf })
      }
    }
  })

  it('logic clears CF, OF and AF', () => {
    for (let result = 0; result < 256; result++) {
      const got = read(encodeFlags(ops, { kind: 'logic', result: new Value('i8', BigInt(result)) }, none))
      expect(got).toEqual({
        cf: 0,
        of: 0,
        af: 0,
        zf: result === 0 ? 1 : 0,
        sf: result >> 7,
        pf: evenParity(result),
      })
    }
  })
})

describe('wider results', () => {
  const edges = [
    0n,
    1n,
    0x7fn,
    0x80n,
    0xffn,
    0x7fffn,
    0x8000n,
    0xffffn,
    0x7fff_ffffn,
    0x8000_0000n,
    0xffff_ffffn,
    (1n << 63n) - 1n,
    1n << 63n,
    (1n << 64n) - 1n,
  ]
  it.each(['i16', 'i32', 'i64'] as const)('%s carries, borrows and overflows at its own width', (ty) => {
    const bits = BigInt(WIDTH[ty])
    const top = 1n << (bits - 1n)
    for (const x of edges) {
      for (const y of edges) {
        const [a, b] = [new Value(ty, x), new Value(ty, y)]
        const sum = new Value(ty, a.bits + b.bits)
        const difference = new Value(ty, a.bits - b.bits)
        const add = read(encodeFlags(ops, { kind: 'add', a, b, result: sum }, none))
        const sub = read(encodeFlags(ops, { kind: 'sub', a, b, result: difference }, none))
        expect([add.cf, sub.cf]).toEqual([a.bits + b.bits >= 2n * top ? 1 : 0, a.bits < b.bits ? 1 : 0])
        const overflow = (wide: bigint): number => (wide >= top || wide < -top ? 1 : 0)
        expect([add.of, sub.of]).toEqual([overflow(a.signed + b.signed), overflow(a.signed - b.signed)])
        expect([add.sf, sub.sf]).toEqual([sum.signed < 0n ? 1 : 0, difference.signed < 0n ? 1 : 0])
        expect([add.zf, sub.zf]).toEqual([sum.bits === 0n ? 1 : 0, difference.bits === 0n ? 1 : 0])
      }
    }
  })
})

describe('comparisons of floating-point numbers', () => {
  it.each([
    ['greater', 1, 0, { zf: 0, pf: 0, cf: 0 }],
    ['less', -1, 0, { zf: 0, pf: 0, cf: 1 }],
    ['equal', 0, -0, { zf: 1, pf: 0, cf: 0 }],
    ['unordered', Number.NaN, 0, { zf: 1, pf: 1, cf: 1 }],
  ] as const)('%s', (_, a, b, want) => {
    const of: FlagsOf = { kind: 'order', a: new Float(a), b: new Float(b) }
    expect(read(encodeFlags(ops, of, none))).toEqual({ of: 0, sf: 0, af: 0, ...want })
  })
})

/** SDM Vol. 1, Appendix B. */
const CONDITIONS: Readonly<Record<Cond, (f: Bits) => boolean>> = {
  o: (f) => f.of === 1,
  no: (f) => f.of === 0,
  b: (f) => f.cf === 1,
  ae: (f) => f.cf === 0,
  e: (f) => f.zf === 1,
  ne: (f) => f.zf === 0,
  be: (f) => f.cf === 1 || f.zf === 1,
  a: (f) => f.cf === 0 && f.zf === 0,
  s: (f) => f.sf === 1,
  ns: (f) => f.sf === 0,
  p: (f) => f.pf === 1,
  np: (f) => f.pf === 0,
  l: (f) => f.sf !== f.of,
  ge: (f) => f.sf === f.of,
  le: (f) => f.zf === 1 || f.sf !== f.of,
  g: (f) => f.zf === 0 && f.sf === f.of,
}

describe('flags set one by one', () => {
  const bit = (value: number): Value => new Value('i32', BigInt(value))
  const states = Array.from({ length: 64 }, (_, i): Bits => {
    const [cf = 0, pf = 0, af = 0, zf = 0, sf = 0, of = 0] = Array.from(
      { length: 6 },
      (__, k) => (i >> k) & 1,
    )
    return { cf, pf, af, zf, sf, of }
  })
  const stateOf = (f: Bits): LazyFlags =>
    setFlagBits(ops, none(), {
      cf: bit(f.cf),
      pf: bit(f.pf),
      af: bit(f.af),
      zf: bit(f.zf),
      sf: bit(f.sf),
      of: bit(f.of),
    })

  it('any combination reads back, also those that no result has', () => {
    for (const state of states) expect(read(stateOf(state))).toEqual(state)
  })

  it('the flags not given stay', () => {
    for (const state of states) {
      for (const name of FLAGS) {
        const flipped = 1 - state[name]
        expect(read(setFlagBits(ops, stateOf(state), { [name]: bit(flipped) }))).toEqual({
          ...state,
          [name]: flipped,
        })
      }
    }
  })

  it('all sixteen conditions follow from them', () => {
    for (const state of states) {
      for (const [cc, holds] of Object.entries(CONDITIONS)) {
        const got = v(readCond(ops, stateOf(state), cc as Cond)).bits
        expect([cc, state, got]).toEqual([cc, state, holds(state) ? 1n : 0n])
      }
    }
  })
})
