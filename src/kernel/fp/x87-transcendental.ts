/**
 * FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1: special operands by the tables of SDM Vol. 2, everything else
 * by transcendental.ts, rounded once by RC to 64 bits (within 1 ulp as SDM Vol. 1, 8.3.10 promises; processors differ in
 * the last bit). Results are marked inexact unless they are exact by construction.
 */
import { PE, UE, ZE, raise } from './env.ts'
import { CLS_INF, CLS_QNAN, CLS_ZERO, aCls, aExp, aSig, aSign, bCls, bExp, bSig, bSign, J_BIT } from './operand.ts'
import { invalid, packF80, setFinite, setInf, setZero, zSe, zSig } from './round.ts'
import { noteDenormalA, noteDenormalsAB } from './arith.ts'
import { anyNan, nanUnary, nanX87 } from './nan.ts'
import {
  INDEFINITE_SE, INDEFINITE_SIG, SW_C1, SW_C2, aFromSt, bFromSt, isEmpty, noteOverflow, noteUnderflow, popStack, pushStack,
  setConditions, setSt, setStResult, underflow, x87Begin, x87Commit,
} from './x87-state.ts'
import {
  arcTangent, exponentialMinusOne, logarithm, logarithmPlusOne, quadrant, quarterPi, reduceAngle, sineIn, tangent, timesOperand,
  vExact, vExp, vHi, vLo, vSign,
} from './transcendental.ts'

const ONE_SE: u32 = 0x3fff
const MIN_EXP: i32 = -16382
/** Arguments of this exponent and above are out of range: C2 = 1 and nothing else (SDM Vol. 1, 8.3.8). */
const ANGLE_LIMIT: i32 = 63

/** The long V as a result; the last bit says that something follows. */
function fromLong(): u32 {
  return setFinite(vSign, vExp, vHi, vLo | 1)
}

/** An exact result for which processors report PE all the same, and UE when it is tiny. */
function exactButFlagged(sign: u32, exp: i32, hi: u64, lo: u64): u32 {
  raise(exp < MIN_EXP ? PE | UE : PE)
  return setFinite(sign, exp, hi, lo)
}

/** A is an angle with a proper result: not a NaN, infinite, zero or out of range. */
function isAngle(): bool {
  return aCls != CLS_ZERO && aCls < CLS_INF
}

function outOfRange(): bool {
  if (!isAngle() || aExp < ANGLE_LIMIT) return false
  setConditions(SW_C2, SW_C1 | SW_C2)
  return true
}

function sineKind(quarter: u32): u32 {
  if (aCls >= CLS_QNAN) return nanUnary()
  if (aCls == CLS_INF) return invalid()
  if (aCls == CLS_ZERO) return quarter & 1 ? setFinite(0, 0, J_BIT, 0) : setZero(aSign)
  noteDenormalA()
  reduceAngle(aSign, aExp, aSig)
  sineIn((quadrant + quarter) & 3)
  return fromLong()
}

function sineOrCosine(quarter: u32): void {
  x87Begin()
  if (isEmpty(0)) {
    setConditions(0, SW_C2)
    underflow(0, 0)
    return
  }
  aFromSt(0)
  if (outOfRange()) return
  setConditions(0, SW_C2)
  packF80(sineKind(quarter), 64)
  if (x87Commit()) setStResult(0)
}

export function x87_fsin(): void {
  sineOrCosine(0)
}

export function x87_fcos(): void {
  sineOrCosine(1)
}

/** Head of FSINCOS and FPTAN, which push: false when the instruction is over. */
function beginTwoResults(): bool {
  x87Begin()
  const empty = isEmpty(0)
  if (empty || !isEmpty(7)) {
    setConditions(0, SW_C2)
    if (empty) noteUnderflow()
    else noteOverflow()
    if (x87Commit()) {
      setSt(0, INDEFINITE_SIG, INDEFINITE_SE)
      pushStack(INDEFINITE_SIG, INDEFINITE_SE)
    }
    return false
  }
  aFromSt(0)
  if (outOfRange()) return false
  setConditions(0, SW_C2)
  return true
}

/** ST(0) becomes the sine, then the cosine is pushed. */
export function x87_fsincos(): void {
  if (!beginTwoResults()) return
  packF80(sineKind(0), 64)
  const sineSig = zSig
  const sineSe = zSe
  packF80(sineKind(1), 64)
  if (!x87Commit()) return
  setSt(0, sineSig, sineSe)
  pushStack(zSig, zSe)
}

/** ST(0) becomes the tangent, then 1.0 is pushed (a NaN is pushed again). */
export function x87_fptan(): void {
  if (!beginTwoResults()) return
  if (isAngle()) {
    noteDenormalA()
    reduceAngle(aSign, aExp, aSig)
    tangent()
    packF80(fromLong(), 64)
  } else {
    packF80(sineKind(0), 64)
  }
  const number = aCls < CLS_INF
  if (!x87Commit()) return
  setStResult(0)
  if (number) pushStack(J_BIT, ONE_SE)
  else pushStack(zSig, zSe)
}

/** ST(1) = f(ST(1), ST(0)), then pop. A is ST(0), B is ST(1). */
function beginPair(): bool {
  x87Begin()
  if (isEmpty(0) || isEmpty(1)) {
    underflow(1, 1)
    return false
  }
  aFromSt(0)
  bFromSt(1)
  return true
}

function finishPair(kind: u32): void {
  packF80(kind, 64)
  if (!x87Commit()) return
  setStResult(1)
  popStack(1)
}

export function x87_fpatan(): void {
  if (beginPair()) finishPair(anyNan() ? nanX87() : arcTangentKind())
}

/** atan2(B, A) */
function arcTangentKind(): u32 {
  noteDenormalsAB()
  const ySign = bSign
  if (bCls == CLS_ZERO || (aCls == CLS_INF && bCls != CLS_INF)) {
    if (!aSign) return setZero(ySign)
    quarterPi(ySign, 4)
  } else if (bCls == CLS_INF) {
    quarterPi(ySign, aCls != CLS_INF ? 2 : aSign ? 3 : 1)
  } else if (aCls == CLS_ZERO) {
    quarterPi(ySign, 2)
  } else {
    // an exact quotient below the range stays exact only without rounding: always inexact
    arcTangent(ySign, bExp, bSig, aSign, aExp, aSig)
  }
  return fromLong()
}

export function x87_f2xm1(): void {
  x87Begin()
  if (isEmpty(0)) {
    underflow(0, 0)
    return
  }
  aFromSt(0)
  packF80(exponentialKind(), 64)
  if (x87Commit()) setStResult(0)
}

/** 2^A - 1; beyond [-1, 1], where the result is undefined, A itself. */
function exponentialKind(): u32 {
  if (aCls >= CLS_QNAN) return nanUnary()
  if (aCls == CLS_ZERO) return setZero(aSign)
  if (aCls == CLS_INF) return aSign ? setFinite(1, 0, J_BIT, 0) : setInf(0)
  noteDenormalA()
  if (aExp >= 0) {
    if (aSig == J_BIT && aExp == 0) return exactButFlagged(aSign, aSign ? -1 : 0, J_BIT, 0)
    return exactButFlagged(aSign, aExp, aSig, 0)
  }
  exponentialMinusOne(aSign, aExp, aSig)
  return fromLong()
}

export function x87_fyl2x(): void {
  if (beginPair()) finishPair(anyNan() ? nanX87() : logarithmKind())
}

/** B * log2(A) */
function logarithmKind(): u32 {
  if (aCls == CLS_ZERO) {
    if (bCls == CLS_ZERO) return invalid()
    if (bCls != CLS_INF) raise(ZE)
    return setInf(bSign ^ 1)
  }
  if (aSign) return invalid()
  const isOne = aCls != CLS_INF && aExp == 0 && aSig == J_BIT
  const below = aCls != CLS_INF && aExp < 0
  if (aCls == CLS_INF) {
    if (bCls == CLS_ZERO) return invalid()
    noteDenormalsAB()
    return setInf(bSign)
  }
  if (bCls == CLS_INF) {
    if (isOne) return invalid()
    noteDenormalsAB()
    return setInf(bSign ^ u32(below))
  }
  noteDenormalsAB()
  if (isOne || bCls == CLS_ZERO) return setZero(bSign ^ u32(below))
  logarithm(aExp, aSig, 0)
  return productKind()
}

/** The logarithm V times B. */
function productKind(): u32 {
  const exact = vExact
  timesOperand(bSign, bExp, bSig)
  return exact ? exactButFlagged(vSign, vExp, vHi, vLo) : fromLong()
}

export function x87_fyl2xp1(): void {
  if (beginPair()) finishPair(anyNan() ? nanX87() : logarithmPlusOneKind())
}

/** B * log2(A + 1); for A <= -1, where the result is undefined, A itself. */
function logarithmPlusOneKind(): u32 {
  if (aCls == CLS_INF) {
    if (aSign || bCls == CLS_ZERO) return invalid()
    noteDenormalsAB()
    return setInf(bSign)
  }
  if (aCls == CLS_ZERO) {
    if (bCls == CLS_INF) return invalid()
    noteDenormalsAB()
    return setZero(aSign ^ bSign)
  }
  noteDenormalsAB()
  if (bCls == CLS_INF) return setInf(aSign ^ bSign)
  if (bCls == CLS_ZERO) return setZero(aSign ^ bSign)
  if (aSign && aExp >= 0) return exactButFlagged(aSign, aExp, aSig, 0)
  logarithmPlusOne(aSign, aExp, aSig)
  return productKind()
}
