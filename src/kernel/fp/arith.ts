/**
 * add, subtract, multiply, divide, square root, fused multiply-add on the operand slots, none of them a NaN.
 * Each leaves the exact result in R (the tail below 2^-127 of the leading bit jammed into bit 0) and returns its kind.
 * The special cases are the tables of SDM Vol. 2: FADD, FSUB, FMUL, FDIV, FSQRT.
 */
import { DE, ZE, RD, rm, raise } from './env.ts'
import {
  CLS_ZERO, CLS_DENORMAL, CLS_INF, aCls, aSign, aExp, aSig, bCls, bSign, bExp, bSig, cCls, cSign, cExp, cSig,
} from './operand.ts'
import { KIND_FINITE, KIND_ZERO, setFinite, setZero, setInf, invalid, rHi, rLo, rSign, rExp } from './round.ts'
import { wHi, wLo, mul64, shiftRightJam, shiftLeft, clz128, add128, sub128, div128, sqrt128 } from './wide.ts'

export function noteDenormalsAB(): void {
  if (aCls == CLS_DENORMAL || bCls == CLS_DENORMAL) raise(DE)
}

export function noteDenormalA(): void {
  if (aCls == CLS_DENORMAL) raise(DE)
}

/** R = x + y, both finite and not zero, 128-bit normalised significands. */
function addFinite(xs: u32, xe: i32, xh: u64, xl: u64, ys: u32, ye: i32, yh: u64, yl: u64): u32 {
  if (xe < ye || (xe == ye && (xh < yh || (xh == yh && xl < yl)))) {
    return addOrdered(ys, ye, yh, yl, xs, xe, xh, xl)
  }
  return addOrdered(xs, xe, xh, xl, ys, ye, yh, yl)
}

/** As addFinite, |x| >= |y|. */
function addOrdered(xs: u32, xe: i32, xh: u64, xl: u64, ys: u32, ye: i32, yh: u64, yl: u64): u32 {
  shiftRightJam(yh, yl, xe - ye)
  if (xs == ys) {
    if (add128(xh, xl, wHi, wLo)) {
      shiftRightJam(wHi, wLo, 1)
      return setFinite(xs, xe + 1, wHi | 0x8000_0000_0000_0000, wLo)
    }
    return setFinite(xs, xe, wHi, wLo)
  }
  sub128(xh, xl, wHi, wLo)
  if ((wHi | wLo) == 0) return setZero(u32(rm == RD))
  const shift = clz128(wHi, wLo)
  shiftLeft(wHi, wLo, shift)
  return setFinite(xs, xe - shift, wHi, wLo)
}

export function add(): u32 {
  if (aCls == CLS_INF || bCls == CLS_INF) {
    if (aCls == CLS_INF && bCls == CLS_INF && aSign != bSign) return invalid()
    noteDenormalsAB()
    return setInf(aCls == CLS_INF ? aSign : bSign)
  }
  noteDenormalsAB()
  if (aCls == CLS_ZERO) {
    if (bCls == CLS_ZERO) return setZero(aSign == bSign ? aSign : u32(rm == RD))
    return setFinite(bSign, bExp, bSig, 0)
  }
  if (bCls == CLS_ZERO) return setFinite(aSign, aExp, aSig, 0)
  return addFinite(aSign, aExp, aSig, 0, bSign, bExp, bSig, 0)
}

export function mul(): u32 {
  const sign = aSign ^ bSign
  if (aCls == CLS_INF || bCls == CLS_INF) {
    if (aCls == CLS_ZERO || bCls == CLS_ZERO) return invalid()
    noteDenormalsAB()
    return setInf(sign)
  }
  noteDenormalsAB()
  if (aCls == CLS_ZERO || bCls == CLS_ZERO) return setZero(sign)
  return mulFinite(sign)
}

function mulFinite(sign: u32): u32 {
  mul64(aSig, bSig)
  if (wHi >> 63) return setFinite(sign, aExp + bExp + 1, wHi, wLo)
  return setFinite(sign, aExp + bExp, (wHi << 1) | (wLo >> 63), wLo << 1)
}

/** R = A / B */
export function div(): u32 {
  const sign = aSign ^ bSign
  if (aCls == CLS_INF) {
    if (bCls == CLS_INF) return invalid()
    noteDenormalsAB()
    return setInf(sign)
  }
  if (bCls == CLS_INF) {
    noteDenormalsAB()
    return setZero(sign)
  }
  if (bCls == CLS_ZERO) {
    if (aCls == CLS_ZERO) return invalid()
    raise(ZE)
    return setInf(sign)
  }
  noteDenormalsAB()
  if (aCls == CLS_ZERO) return setZero(sign)
  const wide = aSig >= bSig
  div128(wide ? aSig >> 1 : aSig, wide ? aSig << 63 : 0, bSig)
  const quotient = wHi
  const rest = wLo
  const next = rest >= bSig - rest
  const tail = next ? rest - (bSig - rest) : rest
  const low = ((<u64>next) << 63) | u64(tail != 0)
  return setFinite(sign, aExp - bExp - (wide ? 0 : 1), quotient, low)
}

/** R = square root of A */
export function squareRoot(): u32 {
  if (aCls == CLS_ZERO) return setZero(aSign)
  if (aSign) return invalid()
  if (aCls == CLS_INF) return setInf(0)
  noteDenormalA()
  // an even exponent 2k keeps the radicand in [1, 2), an odd one moves it to [2, 4)
  if (aExp & 1) sqrt128(aSig, 0)
  else sqrt128(aSig >> 1, aSig << 63)
  return setFinite(0, aExp >> 1, wHi, ((wLo & 1) << 63) | (wLo >> 1))
}

/** R = A * B + C with one rounding. */
export function fusedMulAdd(): u32 {
  const sign = aSign ^ bSign
  if (aCls == CLS_INF || bCls == CLS_INF) {
    if (aCls == CLS_ZERO || bCls == CLS_ZERO) return invalid()
    if (cCls == CLS_INF && cSign != sign) return invalid()
    noteDenormalsABC()
    return setInf(sign)
  }
  noteDenormalsABC()
  if (cCls == CLS_INF) return setInf(cSign)
  if (aCls == CLS_ZERO || bCls == CLS_ZERO) {
    if (cCls == CLS_ZERO) return setZero(sign == cSign ? sign : u32(rm == RD))
    return setFinite(cSign, cExp, cSig, 0)
  }
  mulFinite(sign)
  if (cCls == CLS_ZERO) return KIND_FINITE
  return addFinite(rSign, rExp, rHi, rLo, cSign, cExp, cSig, 0)
}

function noteDenormalsABC(): void {
  noteDenormalsAB()
  if (cCls == CLS_DENORMAL) raise(DE)
}
