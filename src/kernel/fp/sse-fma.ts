/**
 * Fused multiply-add: dst = a * b + c with one rounding (SDM Vol. 2, VFMADD132PD and its kin). Addresses as in sse-arith.ts.
 * negate: bit 0 the product, bit 1 the addend of even lanes, bit 2 of odd lanes. a, b, c in the order in which a NaN is chosen.
 *
 * WebAssembly has no fused operator, but where MXCSR stays as it is (sse-native.ts) and no operand is special its plain ones
 * give the same. Singles: the product is exact in a double, and the sum rounds once more only if it lies halfway between two
 * singles. Doubles: S. Boldo and G. Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using
 * rounding to odd" (2008); the product and its error by T. J. Dekker. The exponents are kept where nothing over- or underflows.
 * Measured in Node 20, a call from JavaScript included: 25 ns for two doubles instead of 115, 18 for four singles instead of 219.
 */
import { quiet } from './sse-native.ts'
import { fma32, fma64, sseBegin, sseCommit, sse_pair_begin, sse_pair_end } from './sse-lane.ts'

const F32_ABS: u32 = 0x7fff_ffff
const F32_MIN: u32 = 0x0080_0000
const F32_INF: u32 = 0x7f80_0000
const F64_ABS: u64 = 0x7fff_ffff_ffff_ffff
const F64_MIN: u64 = 0x0010_0000_0000_0000
const F64_INF: u64 = 0x7ff0_0000_0000_0000
/** 2^-450, 2^450 and 2^900. */
const FACTOR_MIN: u64 = 0x23d0_0000_0000_0000
const FACTOR_MAX: u64 = 0x5c10_0000_0000_0000
const ADDEND_MAX: u64 = 0x7830_0000_0000_0000
/** Fraction bits of a double that a single has not, and their value halfway between two singles. */
const BELOW_SINGLE: u64 = 0x1fff_ffff
const HALFWAY: u64 = 0x1000_0000

const SPLITTER: f64 = 134217729 // 2^27 + 1

// Vectors stay in this file: asc warns of exported functions of them.

// @ts-ignore: AssemblyScript decorator
@inline
function zero64(x: v128): v128 {
  return f64x2.eq(x, f64x2.splat(0))
}

/** Lanes of a size from `low` to `high` (bits), or zero. */
// @ts-ignore: AssemblyScript decorator
@inline
function sized(x: v128, low: u64, high: u64): v128 {
  const size = v128.and(x, i64x2.splat(F64_ABS))
  return v128.or(v128.and(i64x2.ge_s(size, i64x2.splat(low)), i64x2.le_s(size, i64x2.splat(high))), zero64(x))
}

/** x + y rounded to odd: the rounded sum, or its neighbour towards the exact one, which has the other parity. */
// @ts-ignore: AssemblyScript decorator
@inline
function addToOdd(x: v128, y: v128): v128 {
  const sum = f64x2.add(x, y)
  const back = f64x2.sub(sum, x)
  const error = f64x2.add(f64x2.sub(x, f64x2.sub(sum, back)), f64x2.sub(y, back))
  // one more in size if the error has the sum's sign, one less else; only for even sums with an error
  const apart = i64x2.shr_s(v128.xor(sum, error), 63)
  const step = v128.or(apart, v128.andnot(i64x2.splat(1), apart))
  const odd = i64x2.sub(i64x2.splat(0), v128.and(sum, i64x2.splat(1)))
  const keep = v128.or(odd, zero64(error))
  return i64x2.add(sum, v128.andnot(step, keep))
}

/** Two doubles; right where the operands are `sized` and the result is an inner number or zero. */
function fused64(a: v128, b: v128, c: v128): v128 {
  const splitter = f64x2.splat(SPLITTER)
  const product = f64x2.mul(a, b)
  const wideA = f64x2.mul(a, splitter)
  const highA = f64x2.sub(wideA, f64x2.sub(wideA, a))
  const lowA = f64x2.sub(a, highA)
  const wideB = f64x2.mul(b, splitter)
  const highB = f64x2.sub(wideB, f64x2.sub(wideB, b))
  const lowB = f64x2.sub(b, highB)
  const cross = f64x2.add(f64x2.add(f64x2.sub(f64x2.mul(highA, highB), product), f64x2.mul(highA, lowB)), f64x2.mul(lowA, highB))
  const error = f64x2.add(cross, f64x2.mul(lowA, lowB))
  // c + error, then product + that, each with its own error
  const low = f64x2.add(c, error)
  const lowBack = f64x2.sub(low, c)
  const lowError = f64x2.add(f64x2.sub(c, f64x2.sub(low, lowBack)), f64x2.sub(error, lowBack))
  const high = f64x2.add(product, low)
  const highBack = f64x2.sub(high, product)
  const highError = f64x2.add(f64x2.sub(product, f64x2.sub(high, highBack)), f64x2.sub(low, highBack))
  const result = f64x2.add(high, addToOdd(lowError, highError))
  // an exact zero has the sign that the plain sum gives it
  return v128.bitselect(f64x2.add(product, c), result, zero64(result))
}

/** The native result where it is right; false: nothing was written. Scalars are computed as lane 0 of a vector. */
function native64(dst: usize, a: v128, b: v128, c: v128, single: bool): bool {
  const factors = v128.and(sized(a, FACTOR_MIN, FACTOR_MAX), sized(b, FACTOR_MIN, FACTOR_MAX))
  if (!i64x2.all_true(v128.and(factors, sized(c, F64_MIN, ADDEND_MAX)))) return false
  const r = fused64(a, b, c)
  if (!i64x2.all_true(sized(r, F64_MIN + 1, F64_INF - 1))) return false
  if (single) v128.store64_lane(dst, r, 0)
  else v128.store(dst, r)
  return true
}

/** Sums of singles in doubles, for the two low lanes. */
// @ts-ignore: AssemblyScript decorator
@inline
function wideSum(a: v128, b: v128, c: v128): v128 {
  const product = f64x2.mul(f64x2.promote_low_f32x4(a), f64x2.promote_low_f32x4(b))
  return f64x2.add(product, f64x2.promote_low_f32x4(c))
}

// @ts-ignore: AssemblyScript decorator
@inline
function halfway(sum: v128): v128 {
  return i64x2.eq(v128.and(sum, i64x2.splat(BELOW_SINGLE)), i64x2.splat(HALFWAY))
}

/** Zero, normal or infinite. */
// @ts-ignore: AssemblyScript decorator
@inline
function calm32(x: v128): v128 {
  const size = v128.and(x, i32x4.splat(F32_ABS))
  const plain = i32x4.le_u(i32x4.sub(size, i32x4.splat(F32_MIN)), i32x4.splat(F32_INF - F32_MIN))
  return v128.or(plain, i32x4.eq(size, i32x4.splat(0)))
}

function native32(dst: usize, a: v128, b: v128, c: v128, single: bool): bool {
  if (!i32x4.all_true(v128.and(v128.and(calm32(a), calm32(b)), calm32(c)))) return false
  const low = wideSum(a, b, c)
  const high = wideSum(v128.shuffle<u64>(a, a, 1, 0), v128.shuffle<u64>(b, b, 1, 0), v128.shuffle<u64>(c, c, 1, 0))
  if (v128.any_true(v128.or(halfway(low), halfway(high)))) return false
  const r = v128.shuffle<u64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2)
  const zeros = v128.shuffle<u32>(zero64(low), zero64(high), 0, 2, 4, 6)
  const size = v128.and(r, i32x4.splat(F32_ABS))
  const inner = v128.and(i32x4.gt_s(size, i32x4.splat(F32_MIN)), i32x4.lt_s(size, i32x4.splat(F32_INF)))
  if (!i32x4.all_true(v128.or(inner, zeros))) return false
  if (single) v128.store32_lane(dst, r, 0)
  else v128.store(dst, r)
  return true
}

/** What negation of the lanes changes: 64- or 32-bit sign bits. */
// @ts-ignore: AssemblyScript decorator
@inline
function signs64(even: u32, odd: u32): v128 {
  return i64x2.replace_lane(i64x2.splat(<u64>even << 63), 1, <u64>odd << 63)
}

// @ts-ignore: AssemblyScript decorator
@inline
function signs32(even: u32, odd: u32): v128 {
  return i64x2.splat((<u64>even << 31) | (<u64>odd << 63))
}

/** `negate` for the odd lanes, in the form of the even ones. */
// @ts-ignore: AssemblyScript decorator
@inline
function oddLanes(negate: u32): u32 {
  return (negate & 1) | ((negate >> 1) & 2)
}

export function sse_fma_ss(dst: usize, a: usize, b: usize, c: usize, negate: u32): void {
  if (quiet()) {
    const x = v128.xor(v128.load32_zero(a), signs32(negate & 1, 0))
    const z = v128.xor(v128.load32_zero(c), signs32((negate >> 1) & 1, 0))
    if (native32(dst, x, v128.load32_zero(b), z, true)) return
  }
  sseBegin()
  const r = fma32(load<u32>(a), load<u32>(b), load<u32>(c), negate)
  if (sseCommit()) store<u32>(dst, r)
}

export function sse_fma_sd(dst: usize, a: usize, b: usize, c: usize, negate: u32): void {
  if (quiet()) {
    const x = v128.xor(v128.load64_zero(a), signs64(negate & 1, 0))
    const z = v128.xor(v128.load64_zero(c), signs64((negate >> 1) & 1, 0))
    if (native64(dst, x, v128.load64_zero(b), z, true)) return
  }
  sseBegin()
  const r = fma64(load<u64>(a), load<u64>(b), load<u64>(c), negate)
  if (sseCommit()) store<u64>(dst, r)
}

/** The 16 bytes at each address. */
function packedNative32(dst: usize, a: usize, b: usize, c: usize, negate: u32): bool {
  const x = v128.xor(v128.load(a), signs32(negate & 1, negate & 1))
  const z = v128.xor(v128.load(c), signs32((negate >> 1) & 1, negate >> 2))
  return native32(dst, x, v128.load(b), z, false)
}

function packedNative64(dst: usize, a: usize, b: usize, c: usize, negate: u32): bool {
  const x = v128.xor(v128.load(a), signs64(negate & 1, negate & 1))
  const z = v128.xor(v128.load(c), signs64((negate >> 1) & 1, negate >> 2))
  return native64(dst, x, v128.load(b), z, false)
}

export function sse_fma_ps(dst: usize, a: usize, b: usize, c: usize, negate: u32): void {
  if (quiet() && packedNative32(dst, a, b, c, negate)) return
  sseBegin()
  const odd = oddLanes(negate)
  const r0 = fma32(load<u32>(a), load<u32>(b), load<u32>(c), negate)
  const r1 = fma32(load<u32>(a, 4), load<u32>(b, 4), load<u32>(c, 4), odd)
  const r2 = fma32(load<u32>(a, 8), load<u32>(b, 8), load<u32>(c, 8), negate)
  const r3 = fma32(load<u32>(a, 12), load<u32>(b, 12), load<u32>(c, 12), odd)
  if (!sseCommit()) return
  store<u32>(dst, r0)
  store<u32>(dst, r1, 4)
  store<u32>(dst, r2, 8)
  store<u32>(dst, r3, 12)
}

export function sse_fma_pd(dst: usize, a: usize, b: usize, c: usize, negate: u32): void {
  if (quiet() && packedNative64(dst, a, b, c, negate)) return
  sseBegin()
  const r0 = fma64(load<u64>(a), load<u64>(b), load<u64>(c), negate)
  const r1 = fma64(load<u64>(a, 8), load<u64>(b, 8), load<u64>(c, 8), oddLanes(negate))
  if (!sseCommit()) return
  store<u64>(dst, r0)
  store<u64>(dst, r1, 8)
}

/** The same on 32 bytes; dst is none of the operands. */
export function avx_fma_ps(dst: usize, a: usize, b: usize, c: usize, negate: u32): void {
  if (quiet() && packedNative32(dst, a, b, c, negate) && packedNative32(dst + 16, a + 16, b + 16, c + 16, negate)) return
  sse_pair_begin()
  sse_fma_ps(dst, a, b, c, negate)
  sse_fma_ps(dst + 16, a + 16, b + 16, c + 16, negate)
  sse_pair_end()
}

export function avx_fma_pd(dst: usize, a: usize, b: usize, c: usize, negate: u32): void {
  if (quiet() && packedNative64(dst, a, b, c, negate) && packedNative64(dst + 16, a + 16, b + 16, c + 16, negate)) return
  sse_pair_begin()
  sse_fma_pd(dst, a, b, c, negate)
  sse_fma_pd(dst + 16, a + 16, b + 16, c + 16, negate)
  sse_pair_end()
}
