/**
 * High halves of 64-bit products, which WebAssembly has no operator for, from four products of 32-bit halves. Pure
 * operators, so that an engine drops them where nobody looks: IMUL needs its high half for CF and OF only.
 */
import type { Emit, Val } from '../emit.ts'

/** Bits 127:64 of the unsigned product of two i64. */
export function highUnsigned(e: Emit, a: Val, b: Val): Val {
  const half = e.const('i32', 32)
  const lowHalf = (value: Val): Val => e.and(value, e.const('i64', 0xffff_ffff))
  const [aLow, aHigh, bLow, bHigh] = [lowHalf(a), e.shr(a, half), lowHalf(b), e.shr(b, half)]
  // Neither sum overflows: (2^32-1)^2 + 2^32-1 < 2^64.
  const middle = e.add(e.mul(aHigh, bLow), e.shr(e.mul(aLow, bLow), half))
  const other = e.add(e.mul(aLow, bHigh), lowHalf(middle))
  return e.add(e.add(e.mul(aHigh, bHigh), e.shr(middle, half)), e.shr(other, half))
}

/** Bits 127:64 of the signed product: the upper halves carry the sign, so that nothing needs to be taken away again. */
export function highSigned(e: Emit, a: Val, b: Val): Val {
  const half = e.const('i32', 32)
  const lowHalf = (value: Val): Val => e.and(value, e.const('i64', 0xffff_ffff))
  const [aLow, aHigh, bLow, bHigh] = [lowHalf(a), e.sar(a, half), lowHalf(b), e.sar(b, half)]
  const middle = e.add(e.mul(aHigh, bLow), e.shr(e.mul(aLow, bLow), half))
  const other = e.add(e.mul(aLow, bHigh), lowHalf(middle))
  return e.add(e.add(e.mul(aHigh, bHigh), e.sar(middle, half)), e.sar(other, half))
}
