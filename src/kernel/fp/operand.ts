/**
 * Operands taken apart. Three slots, A, B and C, of
 *   class  CLS_*
 *   sign   0 or 1
 *   exp    unbiased exponent of the leading significand bit (finite, not zero)
 *   sig    significand with bit 63 set (finite), or the NaN's significand left-aligned: bit 63 set, bit 62 = quiet
 * The same shape serves f32, f64 and f80 (and f16, which is one more unpack and pack), so arithmetic is written once.
 */
import { daz } from './env.ts'

export const CLS_ZERO: u32 = 0
export const CLS_NORMAL: u32 = 1
export const CLS_DENORMAL: u32 = 2
export const CLS_INF: u32 = 3
export const CLS_QNAN: u32 = 4
export const CLS_SNAN: u32 = 5
/** f80 encodings that no x87 since the 387 accepts: unnormals, pseudo-NaN, pseudo-infinity (SDM Vol. 1, 8.2.2). */
export const CLS_UNSUPPORTED: u32 = 6

export const J_BIT: u64 = 0x8000_0000_0000_0000
export const QUIET_BIT: u64 = 0x4000_0000_0000_0000

export let aCls: u32 = 0
export let aSign: u32 = 0
export let aExp: i32 = 0
export let aSig: u64 = 0
export let bCls: u32 = 0
export let bSign: u32 = 0
export let bExp: i32 = 0
export let bSig: u64 = 0
export let cCls: u32 = 0
export let cSign: u32 = 0
export let cExp: i32 = 0
export let cSig: u64 = 0

let uCls: u32 = 0
let uSign: u32 = 0
let uExp: i32 = 0
let uSig: u64 = 0

/** Classifies a binary interchange format: exponent field, fraction left-aligned below bit 63, largest field, bias. */
function unpack(sign: u32, field: i32, fraction: u64, top: i32, bias: i32): void {
  uSign = sign
  if (field == top) {
    uSig = J_BIT | fraction
    uCls = fraction == 0 ? CLS_INF : fraction & QUIET_BIT ? CLS_QNAN : CLS_SNAN
    return
  }
  if (field != 0) {
    uCls = CLS_NORMAL
    uExp = field - bias
    uSig = J_BIT | fraction
    return
  }
  if (fraction == 0 || daz) {
    uCls = CLS_ZERO
    uSig = 0
    return
  }
  const shift = clz(fraction)
  uCls = CLS_DENORMAL
  uSig = fraction << shift
  uExp = 1 - bias - <i32>shift
}

function unpackF32(bits: u32): void {
  unpack(bits >> 31, (bits >> 23) & 0xff, <u64>(bits & 0x7f_ffff) << 40, 0xff, 127)
}

function unpackF64(bits: u64): void {
  unpack(<u32>(bits >> 63), <i32>((bits >> 52) & 0x7ff), (bits << 12) >> 1, 0x7ff, 1023)
}

function unpackF80(sig: u64, se: u32): void {
  const field = se & 0x7fff
  uSign = (se >> 15) & 1
  uSig = sig
  if (sig & J_BIT) {
    if (field == 0x7fff) {
      uCls = sig == J_BIT ? CLS_INF : sig & QUIET_BIT ? CLS_QNAN : CLS_SNAN
      return
    }
    // exponent field 0 with the integer bit: a pseudo-denormal, which counts as exponent field 1
    uCls = field == 0 ? CLS_DENORMAL : CLS_NORMAL
    uExp = (field == 0 ? 1 : <i32>field) - 16383
    return
  }
  if (field != 0) {
    uCls = CLS_UNSUPPORTED
    return
  }
  if (sig == 0) {
    uCls = CLS_ZERO
    return
  }
  const shift = clz(sig)
  uCls = CLS_DENORMAL
  uSig = sig << shift
  uExp = -16382 - <i32>shift
}

function toA(): void {
  aCls = uCls
  aSign = uSign
  aExp = uExp
  aSig = uSig
}

function toB(): void {
  bCls = uCls
  bSign = uSign
  bExp = uExp
  bSig = uSig
}

function toC(): void {
  cCls = uCls
  cSign = uSign
  cExp = uExp
  cSig = uSig
}

export function aFromF32(bits: u32): void {
  unpackF32(bits)
  toA()
}

export function bFromF32(bits: u32): void {
  unpackF32(bits)
  toB()
}

export function cFromF32(bits: u32): void {
  unpackF32(bits)
  toC()
}

export function aFromF64(bits: u64): void {
  unpackF64(bits)
  toA()
}

export function bFromF64(bits: u64): void {
  unpackF64(bits)
  toB()
}

export function cFromF64(bits: u64): void {
  unpackF64(bits)
  toC()
}

export function aFromF80(sig: u64, se: u32): void {
  unpackF80(sig, se)
  toA()
}

export function bFromF80(sig: u64, se: u32): void {
  unpackF80(sig, se)
  toB()
}

function unpackInt(sign: u32, magnitude: u64): void {
  uSign = sign
  if (magnitude == 0) {
    uCls = CLS_ZERO
    uSig = 0
    return
  }
  const shift = clz(magnitude)
  uCls = CLS_NORMAL
  uSig = magnitude << shift
  uExp = 63 - <i32>shift
}

export function aFromI64(value: i64): void {
  unpackInt(u32(value < 0), value < 0 ? 0 - <u64>value : <u64>value)
  toA()
}

export function bFromI64(value: i64): void {
  unpackInt(u32(value < 0), value < 0 ? 0 - <u64>value : <u64>value)
  toB()
}

export function aFromU64(value: u64): void {
  unpackInt(0, value)
  toA()
}

/** A decimal that was read digit by digit keeps its sign even when it is zero. */
export function aFromMagnitude(sign: u32, magnitude: u64): void {
  unpackInt(sign, magnitude)
  toA()
}

export function swapAB(): void {
  uCls = aCls
  uSign = aSign
  uExp = aExp
  uSig = aSig
  aCls = bCls
  aSign = bSign
  aExp = bExp
  aSig = bSig
  toB()
}

export function copyAToB(): void {
  bCls = aCls
  bSign = aSign
  bExp = aExp
  bSig = aSig
}

export function negateA(): void {
  aSign ^= 1
}

export function negateB(): void {
  bSign ^= 1
}

export function negateC(): void {
  cSign ^= 1
}

export function setAExp(exp: i32): void {
  aExp = exp
}
