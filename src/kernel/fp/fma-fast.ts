/**
 * a * b + c with one rounding by the host's operators, which have no fused form.
 *
 * Singles: their product is an exact double, so only the sum is rounded twice; that differs from once only where the double lies
 * half-way between two singles.
 * Doubles: Dekker's exact product, then the sum of three numbers with the lowest part rounded to odd (Boldo and Melquiond, "Emulation
 * of a FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008). Exponents are kept where no step can
 * overflow, or underflow and lose bits.
 *
 * The caller has seen to it that inexact results raise nothing (sse-lane.ts, native).
 */
import { calm32, calm64 } from './sse-native.ts'

const F32_ABS: u32 = 0x7fff_ffff
const F32_MIN: u32 = 0x0080_0000
const F32_INF: u32 = 0x7f80_0000

/** Low bits of a double that a single drops, and their half. */
const DROPPED: u64 = 0x1fff_ffff
const HALF: u64 = 0x1000_0000

/** Factors 2^-423 to 2^423, addends 2^-900 to 2^900: exponent fields. */
const FACTOR_FIRST: u64 = 600
const FACTOR_COUNT: u64 = 846
const ADDEND_FIRST: u64 = 123
const ADDEND_COUNT: u64 = 1800

/** 2^27 + 1 splits a double into halves of 26 bits (Veltkamp). */
const SPLITTER: f64 = 134217729

/** Whether the last fast* has an answer. */
export let fmaDone: bool = false

export function fastFma32(x: f32, y: f32, z: f32): f32 {
  const product = <f64>x * <f64>y
  const sum = product + <f64>z
  const r = <f32>sum
  const size = reinterpret<u32>(r) & F32_ABS
  const plain = size - (F32_MIN + 1) < F32_INF - F32_MIN - 1 && (reinterpret<u64>(sum) & DROPPED) != HALF
  fmaDone = (plain || (product == 0 && z == 0)) && calm32(x) && calm32(y) && calm32(z)
  return r
}

function within(x: f64, first: u64, count: u64): bool {
  return ((reinterpret<u64>(x) >> 52) & 0x7ff) - first < count
}

export function fastFma64(x: f64, y: f64, z: f64): f64 {
  if (x == 0 || y == 0) {
    const r = x * y + z
    fmaDone = calm64(x) && calm64(y) && calm64(z) && r - r == 0 // neither is a NaN or infinite
    return r
  }
  fmaDone =
    within(x, FACTOR_FIRST, FACTOR_COUNT) &&
    within(y, FACTOR_FIRST, FACTOR_COUNT) &&
    (z == 0 || within(z, ADDEND_FIRST, ADDEND_COUNT))
  if (!fmaDone) return 0
  const r = fused(x, y, z)
  if (r == 0) fmaDone = false // the sign of an exact zero is the exact way's business
  return r
}

function fused(x: f64, y: f64, z: f64): f64 {
  const p = x * y
  let t = SPLITTER * x
  const xh = t - (t - x)
  const xl = x - xh
  t = SPLITTER * y
  const yh = t - (t - y)
  const yl = y - yh
  const e = xh * yh - p + xh * yl + xl * yh + xl * yl
  // c + e = th + tl, p + th = vh + vl exactly
  const th = z + e
  t = th - z
  const tl = z - (th - t) + (e - t)
  const vh = p + th
  t = vh - p
  const vl = p - (vh - t) + (th - t)
  // tl + vl to odd: if inexact, the neighbour with a 1 at the end
  let low = tl + vl
  t = low - tl
  const rest = tl - (low - t) + (vl - t)
  if (rest != 0) {
    const bits = reinterpret<u64>(low)
    if (!(bits & 1)) low = reinterpret<f64>(rest > 0 == low > 0 ? bits + 1 : bits - 1)
  }
  return vh + low
}
