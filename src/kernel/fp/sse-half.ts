/** F16C: conversions between single and half precision (SDM Vol. 2, VCVTPH2PS, VCVTPS2PH). Addresses as in sse-arith.ts. */
import { IE, ignoreFtz, raise, setRounding } from './env.ts'
import { CLS_INF, CLS_QNAN, CLS_ZERO, aCls, aExp, aFromF32, aSig, aSign } from './operand.ts'
import { packF16, setFinite, setInf, setZero } from './round.ts'
import { noteDenormalA } from './arith.ts'
import { nanUnary } from './nan.ts'
import { sseBegin, sseCommit } from './sse-lane.ts'

/** Exact; denormals are neither flagged nor taken for zero. */
function widen(bits: u32): u32 {
  const sign = (bits & 0x8000) << 16
  const field = (bits >> 10) & 31
  const fraction = bits & 0x3ff
  if (field == 31) {
    if (fraction == 0) return sign | 0x7f80_0000
    if (!(fraction & 0x200)) raise(IE)
    return sign | 0x7fc0_0000 | (fraction << 13)
  }
  if (field != 0) return sign | ((field + 112) << 23) | (fraction << 13)
  if (fraction == 0) return sign
  return sign | reinterpret<u32>(<f32>fraction * 5.9604644775390625e-8) // 2^-24
}

function narrow(bits: u32): u32 {
  aFromF32(bits)
  if (aCls >= CLS_QNAN) return packF16(nanUnary())
  if (aCls == CLS_ZERO) return packF16(setZero(aSign))
  if (aCls == CLS_INF) return packF16(setInf(aSign))
  noteDenormalA()
  return packF16(setFinite(aSign, aExp, aSig, 0))
}

/** dst: 16 bytes; b: 8. */
export function sse_cvtph2ps(dst: usize, b: usize): void {
  sseBegin()
  const r0 = widen(load<u16>(b))
  const r1 = widen(load<u16>(b, 2))
  const r2 = widen(load<u16>(b, 4))
  const r3 = widen(load<u16>(b, 6))
  if (!sseCommit()) return
  store<u32>(dst, r0)
  store<u32>(dst, r1, 4)
  store<u32>(dst, r2, 8)
  store<u32>(dst, r3, 12)
}

/** The upper half of dst becomes zero. imm: bits 0-1 rounding, bit 2 takes MXCSR's instead. */
export function sse_cvtps2ph(dst: usize, b: usize, imm: u32): void {
  sseBegin()
  ignoreFtz()
  if (!(imm & 4)) setRounding(imm & 3)
  const r0 = narrow(load<u32>(b))
  const r1 = narrow(load<u32>(b, 4))
  const r2 = narrow(load<u32>(b, 8))
  const r3 = narrow(load<u32>(b, 12))
  if (!sseCommit()) return
  store<u32>(dst, r0 | (r1 << 16))
  store<u32>(dst, r2 | (r3 << 16), 4)
  store<u64>(dst, 0, 8)
}
