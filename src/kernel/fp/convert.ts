/**
 * Conversions of operand A: to integers, to packed BCD, to an integral value, by a power of two.
 * SDM Vol. 2: FIST, FBSTP, FRNDINT, FSCALE, CVTSD2SI, ROUNDSD.
 */
import { IE, PE, RN, RD, RU, rm, raise, setRoundedUp } from './env.ts'
import { CLS_ZERO, CLS_INF, aCls, aSign, aExp, aSig } from './operand.ts'
import { setFinite, setZero, setInf } from './round.ts'
import { wHi, wLo, shiftRightJam } from './wide.ts'

const BCD_LIMIT: u64 = 1_000_000_000_000_000_000

let inexact: bool = false

/** |A| rounded to an integer, for finite A below 2^64. Does not raise anything: the range decides first. */
function roundMagnitude(): u64 {
  shiftRightJam(aSig, 0, 63 - aExp)
  inexact = wLo != 0
  let up = false
  if (inexact) {
    if (rm == RN) up = wLo > 0x8000_0000_0000_0000 || (wLo == 0x8000_0000_0000_0000 && (wHi & 1) != 0)
    else if (rm == RD) up = aSign != 0
    else if (rm == RU) up = aSign == 0
  }
  setRoundedUp(up)
  return up ? wHi + 1 : wHi
}

/** A as a signed integer of `bits` bits, sign-extended; "integer indefinite" with IE when it does not fit. */
export function toInteger(bits: i32): i64 {
  if (aCls == CLS_ZERO) return 0
  const limit = (<u64>1) << <u64>(bits - 1)
  if (aCls < CLS_INF && aExp < 64) {
    const magnitude = roundMagnitude()
    if (aSign ? magnitude <= limit : magnitude < limit) {
      if (inexact) raise(PE)
      return aSign ? 0 - <i64>magnitude : <i64>magnitude
    }
  }
  setRoundedUp(false)
  raise(IE)
  return 0 - <i64>limit
}

/** |A| as an integer of up to 18 digits; all ones with IE when it does not fit. */
export function toBcdMagnitude(): u64 {
  if (aCls == CLS_ZERO) return 0
  if (aCls < CLS_INF && aExp < 64) {
    const magnitude = roundMagnitude()
    if (magnitude < BCD_LIMIT) {
      if (inexact) raise(PE)
      return magnitude
    }
  }
  setRoundedUp(false)
  raise(IE)
  return ~(<u64>0)
}

/** R = A rounded to an integral value; A is no NaN. PE unless `quiet`. */
export function toIntegral(quiet: bool): u32 {
  if (aCls == CLS_ZERO) return setZero(aSign)
  if (aCls == CLS_INF) return setInf(aSign)
  if (aExp >= 63) return setFinite(aSign, aExp, aSig, 0)
  const magnitude = roundMagnitude()
  if (inexact && !quiet) raise(PE)
  if (magnitude == 0) return setZero(aSign)
  const shift = clz(magnitude)
  return setFinite(aSign, 63 - <i32>shift, magnitude << shift, 0)
}

/** A towards zero as a small integer, saturated to +-0x10000: the exponent operand of FSCALE. */
export function toScale(): i32 {
  if (aCls == CLS_ZERO || aExp < 0) return 0
  const magnitude = aExp > 16 ? 0x1_0000 : <i32>(aSig >> <u64>(63 - aExp))
  return aSign ? -magnitude : magnitude
}

/** Two decimal digits per byte, the lowest first. `digits` is even, at most 16. */
export function encodeBcd(value: u64, digits: i32): u64 {
  let out: u64 = 0
  for (let i = 0; i < digits; i++) {
    out |= (value % 10) << <u64>(4 * i)
    value /= 10
  }
  return out
}

/** Inverse of encodeBcd. Digits above 9 give what the arithmetic gives: hardware calls them undefined. */
export function decodeBcd(packed: u64, digits: i32): u64 {
  let value: u64 = 0
  for (let i = digits - 1; i >= 0; i--) value = value * 10 + ((packed >> <u64>(4 * i)) & 15)
  return value
}
