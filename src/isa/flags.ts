/**
 * The six arithmetic flags from their lazy form (abi/layout.ts, CPU_FL_RES and CPU_FL_AUX) and back, written once over
 * the emitter's pure operations: the interpreter and the JIT get code from it, the tests get numbers.
 *
 *   FL_RES i64   result, sign-extended from the operand width
 *   FL_AUX i32   31 CF | 30 PO, OF = CF ^ PO | 15..8 PDB | 3 AF | 0 SD
 *   CF = aux.31   OF = aux.31 ^ aux.30   AF = aux.3   ZF = (res == 0)
 *   SF = res.63 ^ SD            (SD, "sign delta", is nonzero only where flags were set one by one)
 *   PF = even parity of (res ^ PDB) & 0xff
 *
 * Additions and subtractions keep a carry vector: bit i is the carry (borrow) out of bit i. Its top two bits and bit 3
 * are CF, PO and AF; for widths below 32 they are shifted up to the same places, so that readers know no width.
 */
import type { ArithFlag, Cond, Emit, FlagsOf, Val } from './emit.ts'

export type FlagOps = Pick<
  Emit,
  'const' | 'add' | 'sub' | 'and' | 'or' | 'xor' | 'not' | 'shl' | 'shr' | 'popcnt' | 'eq' | 'ne' | 'ltS' | 'leS' | 'isZero' | 'select' | 'zext' | 'sext' | 'trunc' | 'op'
> // prettier-ignore

export interface LazyFlags {
  /** i64 */
  readonly res: Val
  /** i32 */
  readonly aux: Val
}

const AUX_CF = 0x8000_0000
const AUX_CARRIES = 0xc000_0000
const AUX_AF = 8
/** SD and PDB: what changes SF and PF away from the result. */
const AUX_DELTAS = 0xff01

const BITS = { i8: 8, i16: 16, i32: 32, i64: 64 } as const

function bitsOf(value: Val): 8 | 16 | 32 | 64 {
  if (value.ty === 'i8' || value.ty === 'i16' || value.ty === 'i32' || value.ty === 'i64')
    return BITS[value.ty]
  throw new Error(`flags of a ${value.ty} value`)
}

const i32 = (o: FlagOps, value: number): Val => o.const('i32', value)
const wide = (o: FlagOps, value: Val): Val =>
  value.ty === 'i64' ? value : value.ty === 'i32' ? value : o.zext(value, 'i32')
const extend = (o: FlagOps, value: Val): Val => (value.ty === 'i64' ? value : o.sext(value, 'i64'))

/** CF, PO and AF from a carry vector of the operand width. */
function auxOfCarries(o: FlagOps, carries: Val, bits: number): Val {
  if (bits === 64) {
    const high = o.and(o.trunc(o.shr(carries, i32(o, 32)), 'i32'), i32(o, AUX_CARRIES))
    return o.or(high, o.and(o.trunc(carries, 'i32'), i32(o, AUX_AF)))
  }
  if (bits === 32) return o.and(carries, i32(o, AUX_CARRIES | AUX_AF))
  const high = o.and(o.shl(carries, i32(o, 32 - bits)), i32(o, AUX_CARRIES))
  return o.or(high, o.and(carries, i32(o, AUX_AF)))
}

/** CF from `cf` (i32 with only bit 31 relevant and the rest zero), OF and AF as 0/1. */
function auxOfBits(o: FlagOps, carry31: Val, of: Val, af: Val): Val {
  const po = o.xor(o.shr(carry31, i32(o, 1)), o.shl(of, i32(o, 30)))
  return o.or(o.or(carry31, po), o.shl(af, i32(o, 3)))
}

/** Both of >= and <= hold of equal numbers, none of unordered ones. The result is 0 or 0x100, of which PF = 1. */
function encodeOrder(o: FlagOps, a: Val, b: Val): LazyFlags {
  const above = o.op(`${a.ty}.ge`, 'i32', [a, b])
  const below = o.op(`${a.ty}.le`, 'i32', [a, b])
  const res = o.shl(o.zext(o.xor(above, below), 'i64'), i32(o, 8))
  // CF and PO together, for OF = 0: all ones unless `above`, shifted to the top; then not PF in PDB
  const carry = o.shl(o.sub(above, i32(o, 1)), i32(o, 30))
  return { res, aux: o.or(carry, o.shl(o.or(above, below), i32(o, 8))) }
}

/** Lazy form of a result. `old` is asked only by the kinds that keep CF. */
export function encodeFlags(o: FlagOps, of: FlagsOf, old: () => LazyFlags): LazyFlags {
  if (of.kind === 'order') return encodeOrder(o, of.a, of.b)
  const bits = bitsOf(of.result)
  const res = extend(o, of.result)
  switch (of.kind) {
    case 'add': {
      const [a, b, r] = [wide(o, of.a), wide(o, of.b), wide(o, of.result)]
      // carry out of each bit: both operands set, or one set and the sum bit clear
      const carries = o.or(o.and(a, b), o.and(o.or(a, b), o.not(r)))
      return { res, aux: auxOfCarries(o, carries, bits) }
    }
    case 'sub': {
      const [a, b, r] = [wide(o, of.a), wide(o, of.b), wide(o, of.result)]
      const notA = o.not(a)
      const borrows = o.or(o.and(notA, b), o.and(o.or(notA, b), r))
      return { res, aux: auxOfCarries(o, borrows, bits) }
    }
    case 'logic':
      return { res, aux: i32(o, 0) }
    case 'inc':
    case 'dec': {
      const r = wide(o, of.result)
      const low = o.and(r.ty === 'i64' ? o.trunc(r, 'i32') : r, i32(o, 15))
      const carry = o.and(old().aux, i32(o, AUX_CF))
      const lowest = 1n << BigInt(bits - 1)
      const limit = o.const(r.ty, of.kind === 'inc' ? lowest : lowest - 1n)
      return { res, aux: auxOfBits(o, carry, o.eq(r, limit), o.eq(low, i32(o, of.kind === 'inc' ? 0 : 15))) }
    }
    case 'explicit':
      return { res, aux: auxOfBits(o, o.shl(of.cf, i32(o, 31)), of.of, of.af ?? i32(o, 0)) }
  }
}

/** One flag as i32 0/1. */
export function readFlag(o: FlagOps, { res, aux }: LazyFlags, name: ArithFlag): Val {
  switch (name) {
    case 'cf':
      return o.shr(aux, i32(o, 31))
    case 'of':
      return o.shr(o.xor(aux, o.shl(aux, i32(o, 1))), i32(o, 31))
    case 'af':
      return o.and(o.shr(aux, i32(o, 3)), i32(o, 1))
    case 'zf':
      return o.isZero(res)
    case 'sf':
      return o.and(o.xor(o.trunc(o.shr(res, i32(o, 63)), 'i32'), aux), i32(o, 1))
    case 'pf': {
      const byte = o.and(o.xor(o.trunc(res, 'i32'), o.shr(aux, i32(o, 8))), i32(o, 0xff))
      return o.xor(o.and(o.popcnt(byte), i32(o, 1)), i32(o, 1))
    }
  }
}

const not = (o: FlagOps, bit: Val): Val => o.isZero(bit)

/** SF != OF, as i32 0/1. */
function less(o: FlagOps, { res, aux }: LazyFlags): Val {
  const delta = o.xor(o.xor(aux, o.shl(aux, i32(o, 1))), o.shl(aux, i32(o, 31))) // bit 31 = OF ^ SD
  const high = o.trunc(o.shr(res, i32(o, 32)), 'i32')
  return o.ltS(o.xor(high, delta), i32(o, 0))
}

/** Condition code as i32 0/1 (SDM Vol. 1, Appendix B). */
export function readCond(o: FlagOps, flags: LazyFlags, cc: Cond): Val {
  const zero = (): Val => o.isZero(flags.res)
  const carry = (): Val => o.ltS(flags.aux, i32(o, 0))
  switch (cc) {
    case 'o':
      return readFlag(o, flags, 'of')
    case 'no':
      return not(o, readFlag(o, flags, 'of'))
    case 'b':
      return carry()
    case 'ae':
      return o.leS(i32(o, 0), flags.aux)
    case 'e':
      return zero()
    case 'ne':
      return o.ne(flags.res, o.const('i64', 0))
    case 'be':
      return o.or(carry(), zero())
    case 'a':
      return not(o, o.or(carry(), zero()))
    case 's':
      return readFlag(o, flags, 'sf')
    case 'ns':
      return not(o, readFlag(o, flags, 'sf'))
    case 'p':
      return readFlag(o, flags, 'pf')
    case 'np':
      return not(o, readFlag(o, flags, 'pf'))
    case 'l':
      return less(o, flags)
    case 'ge':
      return not(o, less(o, flags))
    case 'le':
      return o.or(less(o, flags), zero())
    case 'g':
      return not(o, o.or(less(o, flags), zero()))
  }
}

/** Sets the flags given (each 0/1) and keeps the others. */
export function setFlagBits(
  o: FlagOps,
  old: LazyFlags,
  bits: { readonly [F in ArithFlag]?: Val },
): LazyFlags {
  const want = (name: ArithFlag): Val => bits[name] ?? readFlag(o, old, name)
  const carries = auxOfBits(o, o.shl(want('cf'), i32(o, 31)), want('of'), want('af'))
  if (!bits.zf && !bits.sf && !bits.pf) {
    return { res: old.res, aux: o.or(carries, o.and(old.aux, i32(o, AUX_DELTAS))) }
  }
  // A result of 0 or 0x100 has SF = 0 and even parity of its low byte: SD and PDB then are SF and not PF.
  const res = o.select(want('zf'), o.const('i64', 0), o.const('i64', 0x100))
  const deltas = o.or(want('sf'), o.shl(o.xor(want('pf'), i32(o, 1)), i32(o, 8)))
  return { res, aux: o.or(carries, deltas) }
}
