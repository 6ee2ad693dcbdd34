/**
 * Which NaN comes out (SDM Vol. 1, Table 4-7) and the ordering relation.
 * x87 prefers a quiet operand, then the larger significand; SSE prefers the first operand.
 */
import { EFLAGS_CF, EFLAGS_PF, EFLAGS_ZF } from '../arch.ts'
import { IE, raise } from './env.ts'
import {
  CLS_ZERO, CLS_INF, CLS_QNAN, CLS_SNAN, CLS_UNSUPPORTED, aCls, aSign, aExp, aSig, bCls, bSign, bExp, bSig, cCls, cSign, cSig,
} from './operand.ts'
import { setNan, invalid } from './round.ts'
import { noteDenormalsAB } from './arith.ts'

export const GREATER: u32 = 0
export const LESS: u32 = 1
export const EQUAL: u32 = 2
export const UNORDERED: u32 = 3


export function anyNan(): bool {
  return aCls >= CLS_QNAN || bCls >= CLS_QNAN
}

/** Kind of a result whose operands A, B hold a NaN, SSE rule. */
export function nanSse(): u32 {
  if (aCls == CLS_SNAN || bCls == CLS_SNAN) raise(IE)
  return aCls >= CLS_QNAN ? setNan(aSign, aSig) : setNan(bSign, bSig)
}

/** As nanSse for the three operands of a fused multiply-add. */
export function nanSse3(): u32 {
  if (aCls == CLS_SNAN || bCls == CLS_SNAN || cCls == CLS_SNAN) raise(IE)
  if (aCls >= CLS_QNAN) return setNan(aSign, aSig)
  return bCls >= CLS_QNAN ? setNan(bSign, bSig) : setNan(cSign, cSig)
}

/** Kind of a result whose only operand A is a NaN or unsupported. */
export function nanUnary(): u32 {
  if (aCls == CLS_UNSUPPORTED) return invalid()
  if (aCls == CLS_SNAN) raise(IE)
  return setNan(aSign, aSig)
}

/** Kind of a result whose operands A, B hold a NaN or an unsupported encoding, x87 rule. */
export function nanX87(): u32 {
  if (aCls == CLS_UNSUPPORTED || bCls == CLS_UNSUPPORTED) return invalid()
  const aNan = aCls >= CLS_QNAN
  const bNan = bCls >= CLS_QNAN
  if (aCls == CLS_SNAN || bCls == CLS_SNAN) raise(IE)
  if (!bNan) return setNan(aSign, aSig)
  if (!aNan) return setNan(bSign, bSig)
  if (aCls != bCls) return aCls == CLS_QNAN ? setNan(aSign, aSig) : setNan(bSign, bSig)
  if (aSig != bSig) return aSig > bSig ? setNan(aSign, aSig) : setNan(bSign, bSig)
  return aSign ? setNan(bSign, bSig) : setNan(aSign, aSig)
}

/** Order of A and B. A quiet NaN is invalid only for the signalling comparisons. */
export function compare(signalling: bool): u32 {
  if (anyNan()) {
    if (signalling || aCls == CLS_SNAN || bCls == CLS_SNAN || aCls == CLS_UNSUPPORTED || bCls == CLS_UNSUPPORTED) raise(IE)
    return UNORDERED
  }
  noteDenormalsAB()
  return order()
}

/** Order of A and B, neither a NaN, without flags. */
export function order(): u32 {
  if (aCls == CLS_ZERO && bCls == CLS_ZERO) return EQUAL
  if (aCls == CLS_ZERO) return bSign ? GREATER : LESS
  if (bCls == CLS_ZERO) return aSign ? LESS : GREATER
  if (aSign != bSign) return aSign ? LESS : GREATER
  const size = magnitudeOrder()
  return size == EQUAL || !aSign ? size : size == LESS ? GREATER : LESS
}

/** Order of |A| and |B|, neither a NaN nor zero. */
export function magnitudeOrder(): u32 {
  if (aCls == CLS_INF || bCls == CLS_INF) return aCls == bCls ? EQUAL : aCls == CLS_INF ? GREATER : LESS
  if (aExp != bExp) return aExp > bExp ? GREATER : LESS
  if (aSig != bSig) return aSig > bSig ? GREATER : LESS
  return EQUAL
}

/** ZF, PF and CF of a comparison in their EFLAGS positions; OF, SF and AF are cleared by the caller (SDM Vol. 2, COMISD). */
export function orderFlags(relation: u32): u32 {
  if (relation == GREATER) return 0
  if (relation == LESS) return EFLAGS_CF
  if (relation == EQUAL) return EFLAGS_ZF
  return EFLAGS_ZF | EFLAGS_PF | EFLAGS_CF
}

