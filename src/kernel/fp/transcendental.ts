/**
 * sin, cos, tan, atan, 2^x - 1 and log2 to about 100 bits, for the x87. A value in progress is a "long": sign, exponent
 * and a normalised 128-bit significand, (vHi, vLo) / 2^127 * 2^vExp; fixed-point fractions are of 2^128.
 *
 * Arguments of FSIN and its relatives are reduced with the 66-bit pi that the SDM documents (Vol. 1, 8.3.8), so that
 * large arguments give the results of hardware. Series are plain Taylor series: 15 to 28 multiplications.
 */
import {
  ATAN_TABLE, COS_SERIES, COS_TERMS, EXP_SERIES, EXP_TERMS, HALF_LOG2E_HI, HALF_LOG2E_LO, LN2_HI, LN2_LO, ODD_SERIES, ODD_TERMS,
  PI_HI, PI_LO, SIN_SERIES, SIN_TERMS,
} from './transcendental-tables.ts'
import { add128, clz128, div128, mul64, mulHigh, set128, shiftLeft, shiftRightJam, sub128, wHi, wLo } from './wide.ts'

const TOP: u64 = 0x8000_0000_0000_0000

export let vSign: u32 = 0
export let vExp: i32 = 0
export let vHi: u64 = 0
export let vLo: u64 = 0
/** The value is exact: only for powers of two. */
export let vExact: bool = false

function setLong(sign: u32, exp: i32, hi: u64, lo: u64): void {
  const shift = clz128(hi, lo)
  shiftLeft(hi, lo, shift & 127)
  vSign = sign
  vExp = exp - shift
  vHi = wHi
  vLo = wLo
}

/** (wHi, wLo) = product of two fractions, error below 2^-126. */
function mulFraction(aHi: u64, aLo: u64, bHi: u64, bLo: u64): void {
  const cross1 = mulHigh(aLo, bHi)
  const cross2 = mulHigh(aHi, bLo)
  mul64(aHi, bHi)
  add128(wHi, wLo, 0, cross1)
  add128(wHi, wLo, 0, cross2)
}

/** (wHi, wLo) = 1 / (2d) for d in [1/2, 1): a host division and one Newton step. */
function reciprocal(hi: u64, lo: u64): void {
  const guess = <u64>(9223372036854775808.0 / (<f64>hi / 18446744073709551616.0))
  mulFraction(hi, lo, guess, 0)
  // twice the product is 1 + t or 1 - t
  shiftLeft(wHi, wLo, 1)
  const tHi = wHi
  const tLo = wLo
  if (tHi < TOP) {
    mulFraction(guess, 0, tHi, tLo)
    sub128(guess, 0, wHi, wLo)
  } else {
    sub128(0, 0, tHi, tLo)
    mulFraction(guess, 0, wHi, wLo)
    if (add128(guess, 0, wHi, wLo)) sub128(0, 0, 0, 1)
  }
}

/** (wHi, wLo) = sum of coefficient[k] * (+-z)^k by Horner's rule. */
function series(table: usize, terms: i32, zHi: u64, zLo: u64, alternating: bool): void {
  let at = table + (<usize>terms << 4) - 16
  let hi = load<u64>(at)
  let lo = load<u64>(at, 8)
  while (at > table) {
    at -= 16
    mulFraction(hi, lo, zHi, zLo)
    if (alternating) sub128(load<u64>(at), load<u64>(at, 8), wHi, wLo)
    else add128(load<u64>(at), load<u64>(at, 8), wHi, wLo)
    hi = wHi
    lo = wLo
  }
  // an argument too small to change the leading 1/2 still makes an alternating series smaller
  if (alternating && hi == TOP) sub128(TOP, 0, 0, 1)
  else set128(hi, lo)
}

/** V = V * fraction * 2^scale */
function scaleLong(hi: u64, lo: u64, scale: i32): void {
  mulFraction(vHi, vLo, hi, lo)
  setLong(vSign, vExp + scale, wHi, wLo)
}

/** (wHi, wLo) = |V| as a fraction, V < 1. */
function fractionOfLong(): void {
  shiftRightJam(vHi, vLo, -(vExp + 1))
}

/** (wHi, wLo) = V^2 as a fraction, V < 1. */
function squareOfLong(): void {
  fractionOfLong()
  mulFraction(wHi, wLo, wHi, wLo)
}

// --- trigonometry ----------------------------------------------------------------------------------------------

// pi / 2 in units of 2^-65: 66 bits
const HALF_PI_HI: u64 = 3
const HALF_PI_LO: u64 = 0x243f_6a88_85a3_08d3

/** Quadrant of the reduced argument; the reduced argument, at most pi/4 in size, is V. */
export let quadrant: u32 = 0

/** Reduces a finite argument below 2^63. */
export function reduceAngle(sign: u32, exp: i32, sig: u64): void {
  quadrant = 0
  if (exp < -1 || (exp == -1 && sig <= 0xc90f_daa2_2168_c234)) {
    setLong(sign, exp, sig, 0)
    return
  }
  // sig * 2^(exp + 2) modulo pi / 2, one bit at a time: the remainder never needs more than 67 bits
  let hi: u64 = 0
  let lo = sig
  for (let i = exp + 2; i > 0; i--) {
    hi = (hi << 1) | (lo >> 63)
    lo <<= 1
    quadrant <<= 1
    if (hi > HALF_PI_HI || (hi == HALF_PI_HI && lo >= HALF_PI_LO)) {
      sub128(hi, lo, HALF_PI_HI, HALF_PI_LO)
      hi = wHi
      lo = wLo
      quadrant |= 1
    }
  }
  let negative: u32 = 0
  if (hi > 1 || (hi == 1 && lo > 0x921f_b544_42d1_8469)) {
    sub128(HALF_PI_HI, HALF_PI_LO, hi, lo)
    hi = wHi
    lo = wLo
    quadrant++
    negative = 1
  }
  // sin(-x) = -sin(x): quadrants of a negative argument count backwards
  quadrant = (sign ? 0 - quadrant : quadrant) & 3
  // the unit is 2^-65 and bit 0 of lo is bit 0 of the long's 2^-127 scale
  setLong(sign ^ negative, 62, hi, lo)
}

/** V = sin(V), |V| <= pi/4 */
function sineKernel(): void {
  squareOfLong()
  series(SIN_SERIES, SIN_TERMS, wHi, wLo, true)
  scaleLong(wHi, wLo, 1)
}

/** V = cos(V), |V| <= pi/4 */
function cosineKernel(): void {
  squareOfLong()
  series(COS_SERIES, COS_TERMS, wHi, wLo, true)
  setLong(0, 0, wHi, wLo)
}

/** V = sin of the angle whose reduced argument is V in `quarter`; cosine is the sine one quarter on. */
export function sineIn(quarter: u32): void {
  if (quarter & 1) cosineKernel()
  else sineKernel()
  if (quarter & 2) vSign ^= 1
}

/** V = tan of the angle whose reduced argument is V in `quadrant`. */
export function tangent(): void {
  const sign = vSign
  const exp = vExp
  const hi = vHi
  const lo = vLo
  if (exp < -64 && !(quadrant & 1)) {
    vLo |= 1 // the tangent is a little more than its tiny argument
    return
  }
  cosineKernel()
  const cosExp = vExp
  const cosHi = vHi
  const cosLo = vLo
  setLong(sign, exp, hi, lo)
  sineKernel()
  if (quadrant & 1) {
    const sinExp = vExp
    const sinHi = vHi
    const sinLo = vLo
    setLong(vSign ^ 1, cosExp, cosHi, cosLo)
    divideLong(sinExp, sinHi, sinLo)
  } else {
    divideLong(cosExp, cosHi, cosLo)
  }
}

/** V = V / d, d positive. */
function divideLong(exp: i32, hi: u64, lo: u64): void {
  reciprocal(hi, lo)
  scaleLong(wHi, wLo, -exp)
}

/**
 * V = angle of the point (x, y), both finite and not zero, with the sign of y: exponents and 64-bit significands.
 */
export function arcTangent(ySign: u32, yExp: i32, ySig: u64, xSign: u32, xExp: i32, xSig: u64): void {
  const steep = yExp > xExp || (yExp == xExp && ySig > xSig)
  if (steep) ratio(xExp, xSig, yExp, ySig)
  else ratio(yExp, ySig, xExp, xSig)
  arcTangentOfRatio()
  if (steep) angleFrom(PI_HI >> 1, (PI_HI << 63) | (PI_LO >> 1), xSign != 0)
  else if (xSign) angleFrom(PI_HI, PI_LO, false)
  vSign = ySign
}

/** V = n / d <= 1, 128 bits. */
function ratio(nExp: i32, nSig: u64, dExp: i32, dSig: u64): void {
  const wide = nSig >= dSig
  div128(wide ? nSig >> 1 : nSig, wide ? nSig << 63 : 0, dSig)
  const high = wHi
  div128(wLo, 0, dSig)
  setLong(0, nExp - dExp - (wide ? 0 : 1), high, wHi)
}

/** V = atan(V), 0 < V <= 1. Near i/16: atan(v) = atan(c) + atan((v - c) / (1 + v c)). */
function arcTangentOfRatio(): void {
  if (vExp >= 0) {
    setLong(0, -1, PI_HI, PI_LO)
    return
  }
  fractionOfLong()
  const hi = wHi
  const lo = wLo
  const index = (hi >> 60) + ((hi >> 59) & 1)
  if (index == 0) {
    oddSeries(true)
    return
  }
  const center = index << 60 // 16 wraps to 0, which is 1 modulo 1
  sub128(hi, lo, center, 0)
  const below = wHi >> 63 != 0
  if (below) sub128(0, 0, wHi, wLo)
  const offHi = wHi
  const offLo = wLo
  if (index < 16) mulFraction(hi, lo, center, 0)
  else set128(hi, lo)
  reciprocal(TOP | (wHi >> 1), (wHi << 63) | (wLo >> 1))
  mulFraction(offHi, offLo, wHi, wLo)
  if ((wHi | wLo) != 0) {
    setLong(0, -1, wHi, wLo)
    oddSeries(true)
    fractionOfLong()
  }
  const table = ATAN_TABLE + (<usize>index << 4)
  if (below) sub128(load<u64>(table), load<u64>(table, 8), wHi, wLo)
  else add128(load<u64>(table), load<u64>(table, 8), wHi, wLo)
  setLong(0, -1, wHi, wLo)
}

/** V = base + V or base - V, base in the scale of an exponent of 1. */
function angleFrom(baseHi: u64, baseLo: u64, plus: bool): void {
  shiftRightJam(vHi, vLo, 1 - vExp)
  if (plus) add128(baseHi, baseLo, wHi, wLo)
  else sub128(baseHi, baseLo, wHi, wLo)
  setLong(0, 1, wHi, wLo)
}

/** V = pi * numerator / 4 */
export function quarterPi(sign: u32, numerator: u32): void {
  if (numerator == 3) {
    shiftRightJam(PI_HI, PI_LO, 2)
    sub128(PI_HI, PI_LO, wHi, wLo)
    setLong(sign, 1, wHi, wLo)
  } else {
    setLong(sign, numerator == 4 ? 1 : numerator == 2 ? 0 : -1, PI_HI, PI_LO)
  }
}

/** V = atan(V), or atanh(V), for small V. */
function oddSeries(alternating: bool): void {
  squareOfLong()
  series(ODD_SERIES, ODD_TERMS, wHi, wLo, alternating)
  scaleLong(wHi, wLo, 1)
}

// --- exponential and logarithm ---------------------------------------------------------------------------------

/** V = 2^x - 1, |x| < 1, x finite and not zero. */
export function exponentialMinusOne(sign: u32, exp: i32, sig: u64): void {
  setLong(sign, exp, sig, 0)
  scaleLong(LN2_HI, LN2_LO, 0)
  fractionOfLong()
  series(EXP_SERIES, EXP_TERMS, wHi, wLo, sign != 0)
  scaleLong(wHi, wLo, 1)
}

/** V = log2((hi, lo) / 2^127 * 2^exp), hi normalised; the argument is not 1. */
export function logarithm(exp: i32, hi: u64, lo: u64): void {
  let power = exp
  vExact = false
  if (hi > 0xb504_f333_f9de_6484) {
    // m = the significand / 2, below 1: t = -(1 - m) / (1 + m)
    power++
    sub128(0, 0, hi, lo)
    setLong(1, -1, wHi, wLo)
    reciprocal(TOP | (hi >> 1), (hi << 63) | (lo >> 1))
    scaleLong(wHi, wLo, 0)
  } else {
    if (hi == TOP && lo == 0) {
      vExact = true
      setLong(u32(power < 0), 127, 0, <u64>(power < 0 ? -power : power))
      return
    }
    // m = the significand: t = (m - 1) / (m + 1)
    const overHi = hi - TOP
    setLong(0, 0, overHi, lo)
    reciprocal(TOP | (overHi >> 1), (overHi << 63) | (lo >> 1))
    scaleLong(wHi, wLo, -1)
  }
  oddSeries(false)
  scaleLong(HALF_LOG2E_HI, HALF_LOG2E_LO, 2)
  if (power != 0) addPower(power)
}

/** V = power + V, |V| <= 1/2, in units of 2^-112. */
function addPower(power: i32): void {
  const sign = u32(power < 0)
  const whole = <u64>(power < 0 ? -power : power) << 48
  shiftRightJam(vHi, vLo, 15 - vExp)
  if (sign == vSign) add128(whole, 0, wHi, wLo)
  else sub128(whole, 0, wHi, wLo)
  setLong(sign, 15, wHi, wLo)
}

/** V = log2(1 + x), x finite, above -1 and not zero. */
export function logarithmPlusOne(sign: u32, exp: i32, sig: u64): void {
  vExact = false
  if (exp < -2) {
    // t = x / (2 + x)
    shiftRightJam(sig, 0, 1 - exp)
    if (sign) sub128(TOP, 0, wHi, wLo)
    else add128(TOP, 0, wHi, wLo)
    const dHi = wHi
    const dLo = wLo
    setLong(sign, exp, sig, 0)
    // d is (2 + x) / 4, in [7/16, 9/16]: normalise it for the reciprocal
    const shift = clz128(dHi, dLo)
    shiftLeft(dHi, dLo, shift)
    reciprocal(wHi, wLo)
    scaleLong(wHi, wLo, shift - 1)
    oddSeries(false)
    scaleLong(HALF_LOG2E_HI, HALF_LOG2E_LO, 2)
    return
  }
  // 1 + x is exact in 128 bits as long as x is at least 2^-2 and below 2^64; beyond, the 1 only jams
  if (exp >= 0) {
    shiftRightJam(TOP, 0, exp)
    if (sign) sub128(sig, 0, wHi, wLo)
    else if (add128(sig, 0, wHi, wLo)) {
      shiftRightJam(wHi, wLo, 1)
      logarithm(exp + 1, wHi | TOP, wLo)
      return
    }
    logarithm(exp, wHi, wLo)
    return
  }
  shiftRightJam(sig, 0, -exp)
  if (sign) {
    sub128(TOP, 0, wHi, wLo)
    const shift = clz128(wHi, wLo)
    shiftLeft(wHi, wLo, shift)
    logarithm(-shift, wHi, wLo)
  } else {
    add128(TOP, 0, wHi, wLo)
    logarithm(0, wHi, wLo)
  }
}

/** V = V * y */
export function timesOperand(sign: u32, exp: i32, sig: u64): void {
  mulFraction(vHi, vLo, sig, 0)
  setLong(vSign ^ sign, vExp + exp + 1, wHi, wLo)
}
