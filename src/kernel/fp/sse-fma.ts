/**
 * Fused multiply-add: dst = a * b + c with one rounding (SDM Vol. 2, VFMADD132PD and its kin). Addresses as in sse-arith.ts.
 * negate: bit 0 the product, bit 1 the addend of even lanes, bit 2 of odd lanes. a, b, c in the order in which a NaN is chosen.
 *
 * WebAssembly has no fused operator, but where MXCSR stays as it is (sse-native.ts) and no operand is special its plain ones
 * give the same. Singles: the product is exact in a double, and the sum rounds once more only if it lies halfway between two
 * singles. Doubles: the error of the product by T. J. Dekker, that of the sum by D. E. Knuth, and both added to the sum; if
 * that sum does not change when they are a little larger or smaller, their own rounding did no harm.
 * Measured in Node 20, a call from JavaScript included: 20 ns for two doubles instead of 114, 18 for four singles instead of 219.
 */
import { quiet } from './sse-native.ts'
import { fma32, fma64, sseBegin, sseCommit, sse_pair_begin, sse_pair_end } from './sse-lane.ts'

const F32_ABS: u32 = 0x7fff_ffff
const F32_MIN: u32 = 0x0080_0000
const F32_INF: u32 = 0x7f80_0000
/** Factors and addends up to these, products from this on: nothing over- or underflows, no factor is a denormal. */
const FACTOR_MAX: f64 = 2.9073548971824276e135 // 2^450
const PRODUCT_MIN: f64 = 3.054936363499605e-151 // 2^-500
const ADDEND_MAX: f64 = 8.452712498170644e270 // 2^900
const NORMAL_MIN: f64 = 2.2250738585072014e-308
/** Fraction bits of a double that a single has not, and their value halfway between two singles. */
const BELOW_SINGLE: u64 = 0x1fff_ffff
const HALFWAY: u64 = 0x1000_0000

const SPLITTER: f64 = 134217729 // 2^27 + 1
/** More than the error of one rounding, 2^-53, away from 1. */
const MORE: f64 = 1.0000000000000004
const LESS: f64 = 0.9999999999999996

// Vectors stay in this file: asc warns of exported functions of them.

// @ts-ignore: AssemblyScript decorator
@inline
function zero64(x: v128): v128 {
  return f64x2.eq(x, f64x2.splat(0))
}

/** Normal or zero. */
// @ts-ignore: AssemblyScript decorator
@inline
function calm64(x: v128): v128 {
  return v128.or(f64x2.ge(f64x2.abs(x), f64x2.splat(NORMAL_MIN)), zero64(x))
}

// @ts-ignore: AssemblyScript decorator
@inline
function upTo(x: v128, limit: f64): v128 {
  return f64x2.le(f64x2.abs(x), f64x2.splat(limit))
}

/** Lanes whose product is exact because a factor is zero. */
function zeroProducts(a: v128, b: v128): v128 {
  return v128.and(v128.or(zero64(a), zero64(b)), v128.and(calm64(a), calm64(b)))
}

/** What the product lacks to be exact. */
// @ts-ignore: AssemblyScript decorator
@inline
function productError(a: v128, b: v128, product: v128): v128 {
  const splitter = f64x2.splat(SPLITTER)
  const wideA = f64x2.mul(a, splitter)
  const highA = f64x2.sub(wideA, f64x2.sub(wideA, a))
  const lowA = f64x2.sub(a, highA)
  const wideB = f64x2.mul(b, splitter)
  const highB = f64x2.sub(wideB, f64x2.sub(wideB, b))
  const lowB = f64x2.sub(b, highB)
  const high = f64x2.sub(f64x2.mul(highA, highB), product)
  return f64x2.add(f64x2.add(f64x2.add(high, f64x2.mul(highA, lowB)), f64x2.mul(lowA, highB)), f64x2.mul(lowA, lowB))
}

/** The native result where it is right; false: nothing was written. A scalar stands in both lanes. */
function native64(dst: usize, a: v128, b: v128, c: v128, single: bool): bool {
  const product = f64x2.mul(a, b)
  const bounded = v128.and(v128.and(upTo(a, FACTOR_MAX), upTo(b, FACTOR_MAX)), v128.and(upTo(c, ADDEND_MAX), calm64(c)))
  const plain = f64x2.ge(f64x2.abs(product), f64x2.splat(PRODUCT_MIN))
  if (!i64x2.all_true(v128.and(bounded, plain))) {
    if (!i64x2.all_true(v128.and(bounded, v128.or(plain, zeroProducts(a, b))))) return false
  }
  const sum = f64x2.add(product, c)
  const back = f64x2.sub(sum, product)
  const sumError = f64x2.add(f64x2.sub(product, f64x2.sub(sum, back)), f64x2.sub(c, back))
  const error = f64x2.add(sumError, productError(a, b, product))
  const r = f64x2.add(sum, f64x2.mul(error, f64x2.splat(MORE)))
  if (!i64x2.all_true(f64x2.eq(r, f64x2.add(sum, f64x2.mul(error, f64x2.splat(LESS)))))) return false
  // a sum that is exact keeps the sign of its zero
  const chosen = v128.bitselect(sum, r, zero64(error))
  if (single) v128.store64_lane(dst, chosen, 0)
  else v128.store(dst, chosen)
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
    const product = negate & 1
    const addend = (negate >> 1) & 1
    const x = v128.xor(v128.load_splat<u64>(a), signs64(product, product))
    const z = v128.xor(v128.load_splat<u64>(c), signs64(addend, addend))
    if (native64(dst, x, v128.load_splat<u64>(b), z, true)) return
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
