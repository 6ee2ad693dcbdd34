/**
 * x87 arithmetic and comparisons of normal numbers and zeros in registers in use, with rounding to nearest, PE masked and nothing
 * pending. Results and status are those of the exact way in x87-arith.ts, to which every function here
 * leaves the rest by returning false.
 */
import { CPU_X87_CW, CPU_X87_SW, CPU_X87_TAG, CPU_X87_TOP } from '../../abi/layout.ts'
import { cpu } from '../state.ts'
import { PE } from './env.ts'
import { EQUAL, GREATER, LESS, UNORDERED } from './nan.ts'
import { J_BIT } from './operand.ts'
import { SW_C1 } from './x87-state.ts'
import {
  NEITHER, TOP_EXPONENT, clearC1, fastPop, hasError, isNormal, isPlain, isZero, put, se32, se64, seOf, sig32, sig64, sigOf, slotOf,
} from './x87-fast.ts'
import { div128, mul64, sqrt128, wHi, wLo } from './wide.ts'

const OP_MUL: u32 = 1
const OP_SUB: u32 = 4
const OP_SUBR: u32 = 5
const OP_DIVR: u32 = 7

/** An exact result. */
function exact(slot: usize, sig: u64, se: u32): bool {
  put(slot, sig, se)
  clearC1(cpu)
  return true
}

/** Significand bits that the precision control drops: none, 11 or 40 (SDM Vol. 1, 8.1.5.2; the reserved value means none). */
function dropped(cw: u32): u64 {
  const pc = (cw >> 8) & 3
  return pc & 1 ? 0 : pc == 2 ? 11 : 40
}

/** Rounds hi:lo, bit 63 of hi set, with biased exponent `exp`; false near the ends of the range. */
function finish(slot: usize, sign: u32, exp: i32, hi: u64, lo: u64): bool {
  if (<u32>(exp - 2) >= TOP_EXPONENT - 4) return false
  const c = cpu
  const drop = dropped(load<u16>(c, CPU_X87_CW))
  let unit: u64 = 1
  if (drop != 0) {
    // the bits that go move up, what was below them only counts as more than nothing
    lo = (hi << (64 - drop)) | u64(lo != 0)
    unit <<= drop
    hi &= 0 - unit
  }
  let sw = <u32>load<u16>(c, CPU_X87_SW) & ~SW_C1
  if (lo != 0) {
    sw |= PE
    if (lo > J_BIT || (lo == J_BIT && (hi & unit) != 0)) {
      sw |= SW_C1
      hi += unit
      if (hi == 0) {
        hi = J_BIT
        exp++
      }
    }
  }
  store<u16>(c, <u16>sw, CPU_X87_SW)
  put(slot, hi, sign | <u32>exp)
  return true
}

/** |x| + |y| for exponents xe >= ye. */
function addSizes(slot: usize, sign: u32, xe: u32, xs: u64, ye: u32, ys: u64): bool {
  const d = xe - ye
  let hi = xs
  let lo: u64 = 0
  if (d == 0) {
    hi += ys
  } else if (d < 64) {
    hi += ys >> <u64>d
    lo = ys << <u64>(64 - d)
  } else {
    lo = d == 64 ? ys : 1 // below half: only that it is there counts
  }
  if (d != 0 && hi >= xs) return finish(slot, sign, xe, hi, lo)
  // carried out; two numbers of the same exponent always do
  return finish(slot, sign, xe + 1, (hi >> 1) | J_BIT, (hi << 63) | (lo >> 1) | (lo & 1))
}

/** |x| - |y| for |x| > |y|. */
function subtractSizes(slot: usize, sign: u32, xe: u32, xs: u64, ye: u32, ys: u64): bool {
  const d = xe - ye
  let hi: u64
  let lo: u64 = 0
  if (d == 0) {
    hi = xs - ys
  } else if (d < 64) {
    lo = 0 - (ys << <u64>(64 - d))
    hi = xs - (ys >> <u64>d) - u64(lo != 0)
  } else if (d < 128) {
    const s = <u64>(d - 64)
    lo = 0 - ((ys >> s) | u64(ys << (63 - s) << 1 != 0))
    hi = xs - 1
  } else {
    lo = ~(<u64>0)
    hi = xs - 1
  }
  let exp = <i32>xe
  if (hi == 0) {
    hi = lo
    lo = 0
    exp -= 64
  }
  const shift = <i32>clz(hi)
  if (shift != 0) {
    hi = (hi << <u64>shift) | (lo >> <u64>(64 - shift))
    lo <<= <u64>shift
  }
  return finish(slot, sign, exp - shift, hi, lo)
}

function fastSum(slot: usize, xs: u64, xse: u32, ys: u64, yse: u32): bool {
  const xe = xse & TOP_EXPONENT
  const ye = yse & TOP_EXPONENT
  const less = xe < ye || (xe == ye && xs < ys)
  const sign = (less ? yse : xse) & 0x8000
  const he = less ? ye : xe
  const hs = less ? ys : xs
  const le = less ? xe : ye
  const ls = less ? xs : ys
  if ((xse ^ yse) & 0x8000) {
    if (he == le && hs == ls) return exact(slot, 0, 0)
    return subtractSizes(slot, sign, he, hs, le, ls)
  }
  return addSizes(slot, sign, he, hs, le, ls)
}

function fastProduct(slot: usize, xs: u64, xse: u32, ys: u64, yse: u32): bool {
  const sign = (xse ^ yse) & 0x8000
  const exp = <i32>((xse & TOP_EXPONENT) + (yse & TOP_EXPONENT)) - 16383
  mul64(xs, ys)
  const hi = wHi
  const lo = wLo
  if (<i64>hi < 0) return finish(slot, sign, exp + 1, hi, lo)
  return finish(slot, sign, exp, (hi << 1) | (lo >> 63), lo << 1)
}

function fastQuotient(slot: usize, xs: u64, xse: u32, ys: u64, yse: u32): bool {
  const sign = (xse ^ yse) & 0x8000
  const wide = xs >= ys
  const exp = <i32>(xse & TOP_EXPONENT) - <i32>(yse & TOP_EXPONENT) + (wide ? 16383 : 16382)
  div128(wide ? xs >> 1 : xs, wide ? xs << 63 : 0, ys)
  const quotient = wHi
  const rest = wLo
  // the next bit of the quotient, then whether anything is left
  const next = rest >= ys - rest
  const tail = next ? rest - (ys - rest) : rest
  return finish(slot, sign, exp, quotient, ((<u64>next) << 63) | u64(tail != 0))
}

/** One operand or both are zero. */
function withZero(op: u32, slot: usize, xs: u64, xse: u32, ys: u64, yse: u32): bool {
  const xZero = isZero(xs, xse)
  const yZero = isZero(ys, yse)
  if (!(xZero || isNormal(xs, xse)) || !(yZero || isNormal(ys, yse))) return false
  if (op == OP_MUL) return exact(slot, 0, (xse ^ yse) & 0x8000)
  if (op > OP_SUBR) return xZero && !yZero ? exact(slot, 0, (xse ^ yse) & 0x8000) : false
  if (xZero && yZero) return exact(slot, 0, xse & yse & 0x8000)
  const sig = xZero ? ys : xs
  const se = xZero ? yse : xse
  return finish(slot, se & 0x8000, se & TOP_EXPONENT, sig, 0)
}

/** x op y, `op` being x87_arith_*'s, into a register. */
function compute(op: u32, slot: usize, xs: u64, xse: u32, ys: u64, yse: u32): bool {
  if (op == OP_SUB) yse ^= 0x8000
  if (!(isNormal(xs, xse) && isNormal(ys, yse))) return withZero(op, slot, xs, xse, ys, yse)
  if (op == OP_MUL) return fastProduct(slot, xs, xse, ys, yse)
  return op > OP_SUBR ? fastQuotient(slot, xs, xse, ys, yse) : fastSum(slot, xs, xse, ys, yse)
}

/** ST(0) op (sig, se) into ST(0). */
function arithmetic0(op: u32, sig: u64, se: u32): bool {
  const c = cpu
  const top = load<u32>(c, CPU_X87_TOP)
  if (!isPlain(c) || !((load<u32>(c, CPU_X87_TAG) >> top) & 1)) return false
  const slot = slotOf(c, top)
  const xs = sigOf(slot)
  const xse = seOf(slot)
  if (op == OP_SUBR) return compute(OP_SUB, slot, sig, se, xs, xse)
  return op == OP_DIVR ? compute(op, slot, sig, se, xs, xse) : compute(op, slot, xs, xse, sig, se)
}

export function fastArithmetic(op: u32, dst: u32, src: u32, pop: u32): bool {
  const c = cpu
  const top = load<u32>(c, CPU_X87_TOP)
  const tag = load<u32>(c, CPU_X87_TAG)
  const d = (top + dst) & 7
  const s = (top + src) & 7
  if (!isPlain(c) || !((tag >> d) & (tag >> s) & 1)) return false
  const slot = slotOf(c, d)
  const from = slotOf(c, s)
  const xs = sigOf(slot)
  const xse = seOf(slot)
  const ys = sigOf(from)
  const yse = seOf(from)
  const done =
    op == OP_SUBR || op == OP_DIVR
      ? compute(op == OP_SUBR ? OP_SUB : op, slot, ys, yse, xs, xse)
      : compute(op, slot, xs, xse, ys, yse)
  if (done && pop) fastPop(c, top, tag)
  return done
}

/** FSQRT */
export function fastSqrt(): bool {
  const c = cpu
  const top = load<u32>(c, CPU_X87_TOP)
  if (!isPlain(c) || !((load<u32>(c, CPU_X87_TAG) >> top) & 1)) return false
  const slot = slotOf(c, top)
  const sig = sigOf(slot)
  const se = seOf(slot)
  if (!isNormal(sig, se) || se & 0x8000) return false
  const exp = <i32>se - 16383
  // as squareRoot() in arith.ts
  if (exp & 1) sqrt128(sig, 0)
  else sqrt128(sig >> 1, sig << 63)
  return finish(slot, 0, (exp >> 1) + 16383, wHi, ((wLo & 1) << 63) | (wLo >> 1))
}

export function fastArithmetic64(op: u32, bits: u64): bool {
  const se = se64(bits)
  return se == NEITHER ? false : arithmetic0(op, sig64(bits), se)
}

export function fastArithmetic32(op: u32, bits: u32): bool {
  const se = se32(bits)
  return se == NEITHER ? false : arithmetic0(op, sig32(bits), se)
}

/** Order of two numbers that are normal or zero, else UNORDERED, which here means: ask the exact way. */
function orderOf(xs: u64, xse: u32, ys: u64, yse: u32): u32 {
  const xZero = isZero(xs, xse)
  const yZero = isZero(ys, yse)
  if (!(xZero || isNormal(xs, xse)) || !(yZero || isNormal(ys, yse))) return UNORDERED
  if (xZero && yZero) return EQUAL
  if ((xse ^ yse) & 0x8000) return (xZero ? yse ^ 0x8000 : xse) & 0x8000 ? LESS : GREATER
  const xe = xse & TOP_EXPONENT
  const ye = yse & TOP_EXPONENT
  if (xe == ye && xs == ys) return EQUAL
  const smaller = xe < ye || (xe == ye && xs < ys)
  return smaller != ((xse & 0x8000) != 0) ? LESS : GREATER
}

/** Order of ST(0) and ST(st); UNORDERED when that takes more than two plain registers. */
export function fastOrder(st: u32): u32 {
  const c = cpu
  const top = load<u32>(c, CPU_X87_TOP)
  const s = (top + st) & 7
  const tag = load<u32>(c, CPU_X87_TAG)
  if (!((tag >> top) & (tag >> s) & 1) || hasError(c)) return UNORDERED
  const a = slotOf(c, top)
  const b = slotOf(c, s)
  return orderOf(sigOf(a), seOf(a), sigOf(b), seOf(b))
}

/** Order of ST(0) and an f64. */
export function fastOrder64(bits: u64): u32 {
  const c = cpu
  const top = load<u32>(c, CPU_X87_TOP)
  const se = se64(bits)
  if (se == NEITHER || !((load<u32>(c, CPU_X87_TAG) >> top) & 1) || hasError(c)) return UNORDERED
  const slot = slotOf(c, top)
  return orderOf(sigOf(slot), seOf(slot), sig64(bits), se)
}
