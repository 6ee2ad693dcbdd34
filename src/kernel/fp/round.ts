/**
 * Round and pack: the exact result R becomes a value of a format, with OE, UE and PE as the SDM defines them
 * (Vol. 1, 4.9.1.4 to 4.9.1.6, 8.5, 11.5.2). Tininess is detected after rounding, for x87 and for SSE.
 *
 * An operation ends with a kind (KIND_*). KIND_FINITE is (-1)^rSign * rHi:rLo * 2^(rExp - 127), bit 63 of rHi set.
 * KIND_NAN holds the quiet NaN's significand left-aligned in rHi.
 */
import { IE, OE, UE, PE, RN, RD, RU, rm, masks, raise, setRoundedUp, ftz } from './env.ts'
import { J_BIT, QUIET_BIT } from './operand.ts'
import { wHi, wLo, shiftRightJam } from './wide.ts'

export const KIND_FINITE: u32 = 0
export const KIND_ZERO: u32 = 1
export const KIND_INF: u32 = 2
export const KIND_NAN: u32 = 3
const KIND_MAX: u32 = 4

export let rSign: u32 = 0
export let rExp: i32 = 0
export let rHi: u64 = 0
export let rLo: u64 = 0

/** An f80 result: significand, and sign with exponent. */
export let zSig: u64 = 0
export let zSe: u32 = 0

let roundedSig: u64 = 0
let roundedExp: i32 = 0

export function setFinite(sign: u32, exp: i32, hi: u64, lo: u64): u32 {
  rSign = sign
  rExp = exp
  rHi = hi
  rLo = lo
  return KIND_FINITE
}

export function setZero(sign: u32): u32 {
  rSign = sign
  return KIND_ZERO
}

export function setInf(sign: u32): u32 {
  rSign = sign
  return KIND_INF
}

export function setNan(sign: u32, sig: u64): u32 {
  rSign = sign
  rHi = sig | QUIET_BIT | J_BIT
  return KIND_NAN
}

/** The default NaN, "real indefinite": negative, quiet, no payload. */
export function setIndefinite(): u32 {
  rSign = 1
  rHi = J_BIT | QUIET_BIT
  return KIND_NAN
}

export function invalid(): u32 {
  raise(IE)
  return setIndefinite()
}

export function setF80(sig: u64, se: u32): void {
  zSig = sig
  zSe = se
}

/** Rounds rHi:rLo to the top `bits` bits of rHi, which need not be normalised; true when inexact. */
function roundTo(bits: i32): bool {
  const drop: u64 = 64 - <u64>bits
  const mask: u64 = drop == 0 ? 0 : ~(<u64>0) >> <u64>bits
  const unit: u64 = (<u64>1) << drop
  const half = drop == 0 ? rLo >> 63 : (rHi >> (drop - 1)) & 1
  const below = drop == 0 ? rLo << 1 : (rHi & (mask >> 1)) | rLo
  const inexact = (half | below) != 0
  let up = false
  if (inexact) {
    if (rm == RN) up = half != 0 && (below != 0 || (rHi & unit) != 0)
    else if (rm == RD) up = rSign != 0
    else if (rm == RU) up = rSign == 0
  }
  roundedSig = rHi & ~mask
  roundedExp = rExp
  if (up) {
    roundedSig += unit
    if (roundedSig == 0) {
      roundedSig = J_BIT
      roundedExp++
    }
  }
  setRoundedUp(up)
  return inexact
}

/**
 * Rounds R into a format of `bits` significand bits and exponents emin..emax. `wrap` is what an unmasked overflow
 * subtracts from, and an unmasked underflow adds to, the exponent (24576 for x87 registers; 0 where no result is
 * delivered anyway). Leaves roundedSig, roundedExp; a denormal result has bit 63 of roundedSig clear and exponent emin.
 */
function roundFinite(bits: i32, emin: i32, emax: i32, wrap: i32): u32 {
  const inexact = roundTo(bits)
  if (roundedExp > emax) return overflow(inexact, emin, emax, wrap)
  if (roundedExp >= emin) {
    if (inexact) raise(PE)
    return KIND_FINITE
  }
  if (!(masks & UE)) {
    raise(inexact ? UE | PE : UE)
    roundedExp += wrap
    if (wrap == 0 || roundedExp >= emin) return KIND_FINITE
    raise(PE) // FSCALE far below the range: the bias cannot save it
    setRoundedUp(false)
    return KIND_ZERO
  }
  if (ftz) {
    raise(UE | PE)
    return KIND_ZERO
  }
  shiftRightJam(rHi, rLo, emin - rExp)
  rHi = wHi
  rLo = wLo
  rExp = emin
  if (roundTo(bits)) raise(UE | PE)
  return KIND_FINITE
}

function overflow(inexact: bool, emin: i32, emax: i32, wrap: i32): u32 {
  if (!(masks & OE)) {
    raise(inexact ? OE | PE : OE)
    roundedExp -= wrap
    if (wrap == 0 || roundedExp <= emax) return KIND_FINITE
    raise(PE) // FSCALE far above the range
    setRoundedUp(true)
    return KIND_INF
  }
  raise(OE | PE)
  const toInf = rm == RN || (rm == RD && rSign != 0) || (rm == RU && rSign == 0)
  setRoundedUp(toInf)
  return toInf ? KIND_INF : KIND_MAX
}

/** Encodes an interchange format of p significand bits (p - 1 stored), emin = 1 - bias. */
function encode(kind: u32, p: i32, bias: i32, width: i32): u64 {
  const stored = <u64>(p - 1)
  const top = ((<u64>(2 * bias + 1)) << stored)
  const sign = (<u64>rSign) << <u64>(width - 1)
  if (kind == KIND_FINITE) kind = roundFinite(p, 1 - bias, bias, 0)
  if (kind == KIND_FINITE) {
    // the leading bit of a normal number carries into the exponent field
    const field = <u64>(roundedExp + bias - 1)
    return sign | ((field << stored) + (roundedSig >> (63 - stored)))
  }
  if (kind == KIND_ZERO) return sign
  if (kind == KIND_INF) return sign | top
  if (kind == KIND_MAX) return sign | (top - 1)
  return sign | top | ((rHi << 1) >> (64 - stored))
}

export function packF16(kind: u32): u32 {
  return <u32>encode(kind, 11, 15, 16)
}

export function packF32(kind: u32): u32 {
  return <u32>encode(kind, 24, 127, 32)
}

export function packF64(kind: u32): u64 {
  return encode(kind, 53, 1023, 64)
}

/** Packs into (zSig, zSe), rounding to `bits` significand bits with the exponent range of f80. */
export function packF80(kind: u32, bits: i32): void {
  const sign = rSign << 15
  if (kind == KIND_FINITE) kind = roundFinite(bits, -16382, 16383, 24576)
  if (kind == KIND_FINITE) {
    zSig = roundedSig
    zSe = sign | (roundedSig & J_BIT ? <u32>(roundedExp + 16383) & 0x7fff : 0)
  } else if (kind == KIND_ZERO) {
    zSig = 0
    zSe = sign
  } else if (kind == KIND_INF) {
    zSig = J_BIT
    zSe = sign | 0x7fff
  } else if (kind == KIND_MAX) {
    zSig = bits == 64 ? ~(<u64>0) : ~(~(<u64>0) >> <u64>bits)
    zSe = sign | 0x7ffe
  } else {
    zSig = rHi
    zSe = sign | 0x7fff
  }
}
