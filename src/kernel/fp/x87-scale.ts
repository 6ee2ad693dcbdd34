/**
 * FSCALE, FXTRACT, FPREM, FPREM1 (SDM Vol. 2). All four ignore precision control: their results are exact, except for a
 * scaled result that leaves the range.
 */
import { ZE, raise } from './env.ts'
import {
  CLS_INF, CLS_QNAN, CLS_ZERO, aCls, aExp, aFromI64, aSig, aSign, bCls, bExp, bSig, bSign, swapAB,
} from './operand.ts'
import { packF80, setFinite, setInf, setZero, invalid, zSe, zSig } from './round.ts'
import { noteDenormalA, noteDenormalsAB } from './arith.ts'
import { anyNan, nanUnary, nanX87 } from './nan.ts'
import { toScale } from './convert.ts'
import {
  INDEFINITE_SE, INDEFINITE_SIG, SW_C0, SW_C1, SW_C2, SW_C3, SW_CC, aFromSt, bFromSt, isEmpty, noteOverflow, noteUnderflow,
  pushStack, setConditions, setSt, setStResult, underflow, x87Begin, x87Commit,
} from './x87-state.ts'

/** Loads ST(0) into A and ST(1) into B; false after a stack fault. */
function loadBoth(): bool {
  x87Begin()
  if (isEmpty(0) || isEmpty(1)) {
    underflow(0, 0)
    return false
  }
  aFromSt(0)
  bFromSt(1)
  return true
}

export function x87_fscale(): void {
  if (!loadBoth()) return
  packF80(anyNan() ? nanX87() : scale(), 64)
  if (x87Commit()) setStResult(0)
}

/** R = A * 2^trunc(B); the power of an infinite B wins over anything but its opposite. */
function scale(): u32 {
  if (bCls == CLS_INF) {
    if (bSign ? aCls == CLS_INF : aCls == CLS_ZERO) return invalid()
    noteDenormalsAB()
    return bSign ? setZero(aSign) : setInf(aSign)
  }
  noteDenormalsAB()
  if (aCls == CLS_ZERO) return setZero(aSign)
  if (aCls == CLS_INF) return setInf(aSign)
  swapAB() // toScale reads A
  return setFinite(bSign, bExp + toScale(), bSig, 0)
}

/** ST(0) becomes the exponent, then the significand is pushed. */
export function x87_fxtract(): void {
  x87Begin()
  const noRoom = !isEmpty(7)
  if (isEmpty(0) || noRoom) {
    if (isEmpty(0)) noteUnderflow()
    else noteOverflow()
    if (!x87Commit()) return
    setSt(0, INDEFINITE_SIG, INDEFINITE_SE)
    pushStack(INDEFINITE_SIG, INDEFINITE_SE)
    return
  }
  aFromSt(0)
  extract()
}

function extract(): void {
  const sign = aSign
  let sig = aSig
  let se = (sign << 15) | 0x3fff
  if (aCls >= CLS_QNAN) {
    packF80(nanUnary(), 64)
    sig = zSig
    se = zSe
  } else if (aCls == CLS_ZERO) {
    raise(ZE)
    packF80(setInf(1), 64)
    se = sign << 15
  } else if (aCls == CLS_INF) {
    packF80(setInf(0), 64)
    se = (sign << 15) | 0x7fff
  } else {
    noteDenormalA()
    aFromI64(aExp)
    packF80(aCls == CLS_ZERO ? setZero(0) : setFinite(aSign, aExp, aSig, 0), 64)
  }
  if (!x87Commit()) return
  setStResult(0)
  pushStack(sig, se)
}

let quotientLow: u32 = 0
let incomplete: bool = false
let finite: bool = true

export function x87_fprem(): void {
  partialRemainder(false)
}

export function x87_fprem1(): void {
  partialRemainder(true)
}

function partialRemainder(nearest: bool): void {
  if (!loadBoth()) {
    setConditions(0, SW_C2)
    return
  }
  quotientLow = 0
  incomplete = false
  finite = true
  if (anyNan()) {
    finite = false
    packF80(nanX87(), 64)
  } else {
    packF80(remainder(nearest), 64)
  }
  const counts = x87Commit()
  if (!counts || !finite) setConditions(0, SW_C2) // C0 and C3 stay
  if (!counts) return
  setStResult(0)
  if (!finite) return
  // Q2, Q1, Q0 of the quotient in C0, C3, C1; C2 = not finished
  let cc = incomplete ? SW_C2 : 0
  if (quotientLow & 1) cc |= SW_C1
  if (quotientLow & 2) cc |= SW_C3
  if (quotientLow & 4) cc |= SW_C0
  setConditions(cc, SW_CC)
}

function remainder(nearest: bool): u32 {
  if (aCls == CLS_INF || bCls == CLS_ZERO) {
    finite = false
    return invalid()
  }
  noteDenormalsAB()
  if (aCls == CLS_ZERO) return setZero(aSign)
  const distance = aExp - bExp
  if (bCls == CLS_INF || distance < -1) return setFinite(aSign, aExp, aSig, 0)
  if (distance == -1) return nearest ? nearBelow() : setFinite(aSign, aExp, aSig, 0)
  // far operands are brought nearer by 32 to 63 bits at a time, like hardware
  const steps = distance < 64 ? distance : (distance & 31) | 32
  let rest = aSig
  let quotient: u64 = 0
  let carry = false
  for (let i = steps; i >= 0; i--) {
    quotient <<= 1
    if (carry || rest >= bSig) {
      rest -= bSig
      quotient |= 1
    }
    if (i > 0) {
      carry = rest >> 63 != 0
      rest <<= 1
    }
  }
  let sign = aSign
  incomplete = distance >= 64
  if (!incomplete) {
    if (nearest && rest != 0) {
      // rest < bSig; more than half, or half with an odd quotient, rounds the quotient up
      const left = bSig - rest
      if (rest > left || (rest == left && (quotient & 1) != 0)) {
        rest = left
        sign ^= 1
        quotient++
      }
    }
    quotientLow = <u32>quotient & 7
  }
  return normalised(sign, bExp + (distance - steps), rest)
}

/** FPREM1 with |B|/4 <= |A| < |B| and exponents one apart: quotient 0 or 1. */
function nearBelow(): u32 {
  if (aSig <= bSig) return setFinite(aSign, aExp, aSig, 0)
  quotientLow = 1
  // |B| - |A| in units of A's last bit: 2 * bSig - aSig, which fits because aSig > bSig
  const left = (bSig << 1) - aSig
  return normalised(aSign ^ 1, aExp, left)
}

function normalised(sign: u32, exp: i32, sig: u64): u32 {
  if (sig == 0) return setZero(aSign)
  const shift = clz(sig)
  return setFinite(sign, exp - <i32>shift, sig << shift, 0)
}
