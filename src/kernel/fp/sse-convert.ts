/**
 * SSE conversions and ROUND. Addresses as in sse-arith.ts; dst is written only when nothing unmasked was found.
 * Integer results that fit nowhere are the "integer indefinite" 0x8000... (SDM Vol. 1, 4.2.3; Vol. 2, CVT*).
 */
import { RN, RD, RU, RZ, setRounding } from './env.ts'
import {
  CLS_QNAN, aFromF32, aFromF64, aFromI64, aCls, aSign, aExp, aSig,
} from './operand.ts'
import { packF32, packF64, setFinite, setZero, setInf } from './round.ts'
import { noteDenormalA } from './arith.ts'
import { CLS_ZERO, CLS_INF } from './operand.ts'
import { nanUnary } from './nan.ts'
import { toInteger, toIntegral } from './convert.ts'
import { sseBegin, sseCommit } from './sse-lane.ts'
import { calm32, calm64, calmProduct32, inexactIsQuiet, quiet } from './sse-native.ts'

/** A unchanged, ready to be packed into another format. */
function same(): u32 {
  if (aCls >= CLS_QNAN) return nanUnary()
  if (aCls == CLS_ZERO) return setZero(aSign)
  if (aCls == CLS_INF) return setInf(aSign)
  noteDenormalA()
  return setFinite(aSign, aExp, aSig, 0)
}

function widen(bits: u32): u64 {
  aFromF32(bits)
  return packF64(same())
}

function narrow(bits: u64): u32 {
  aFromF64(bits)
  return packF32(same())
}

function put64(dst: usize, low: u64, high: u64): void {
  if (!sseCommit()) return
  store<u64>(dst, low)
  store<u64>(dst, high, 8)
}

function pair(low: u32, high: u32): u64 {
  return <u64>low | (<u64>high << 32)
}

export function sse_cvtss2sd(dst: usize, b: usize): void {
  const x = load<f32>(b)
  if (calm32(x)) {
    store<f64>(dst, <f64>x)
    return
  }
  sseBegin()
  const r = widen(load<u32>(b))
  if (sseCommit()) store<u64>(dst, r)
}

export function sse_cvtsd2ss(dst: usize, b: usize): void {
  const x = load<f64>(b)
  const narrowed = <f32>x
  if (quiet() && calmProduct32(1, 1, narrowed)) {
    store<f32>(dst, narrowed)
    return
  }
  sseBegin()
  const r = narrow(load<u64>(b))
  if (sseCommit()) store<u32>(dst, r)
}

export function sse_cvtps2pd(dst: usize, b: usize): void {
  const x = load<f32>(b)
  const y = load<f32>(b, 4)
  if (calm32(x) && calm32(y)) {
    store<f64>(dst, <f64>x)
    store<f64>(dst, <f64>y, 8)
    return
  }
  sseBegin()
  const r0 = widen(load<u32>(b))
  const r1 = widen(load<u32>(b, 4))
  put64(dst, r0, r1)
}

/** The upper half of dst becomes zero. */
export function sse_cvtpd2ps(dst: usize, b: usize): void {
  const x = <f32>load<f64>(b)
  const y = <f32>load<f64>(b, 8)
  if (quiet() && calmProduct32(1, 1, x) && calmProduct32(1, 1, y)) {
    store<f32>(dst, x)
    store<f32>(dst, y, 4)
    store<u64>(dst, 0, 8)
    return
  }
  sseBegin()
  const r0 = narrow(load<u64>(b))
  const r1 = narrow(load<u64>(b, 8))
  put64(dst, pair(r0, r1), 0)
}

function fromInt32(value: i64): u32 {
  aFromI64(value)
  return packF32(same())
}

function fromInt64(value: i64): u64 {
  aFromI64(value)
  return packF64(same())
}

/** CVTSI2SS: the integer sign-extended to 64 bits. */
export function sse_cvtsi2ss(dst: usize, value: i64): void {
  if (value >= -0x100_0000 && value <= 0x100_0000) {
    store<f32>(dst, <f32>value)
    return
  }
  sseBegin()
  const r = fromInt32(value)
  if (sseCommit()) store<u32>(dst, r)
}

export function sse_cvtsi2sd(dst: usize, value: i64): void {
  // up to 53 bits are exact
  if (value >= -0x20_0000_0000_0000 && value <= 0x20_0000_0000_0000) {
    store<f64>(dst, <f64>value)
    return
  }
  sseBegin()
  const r = fromInt64(value)
  if (sseCommit()) store<u64>(dst, r)
}

export function sse_cvtdq2ps(dst: usize, b: usize): void {
  if (quiet()) {
    v128.store(dst, f32x4.convert_i32x4_s(v128.load(b)))
    return
  }
  sseBegin()
  const r0 = fromInt32(load<i32>(b))
  const r1 = fromInt32(load<i32>(b, 4))
  const r2 = fromInt32(load<i32>(b, 8))
  const r3 = fromInt32(load<i32>(b, 12))
  put64(dst, pair(r0, r1), pair(r2, r3))
}

/** CVTDQ2PD and CVTPI2PD: exact. */
export function sse_cvtdq2pd(dst: usize, b: usize): void {
  const low = <f64>load<i32>(b)
  const high = <f64>load<i32>(b, 4)
  store<f64>(dst, low)
  store<f64>(dst, high, 8)
}

/** CVTPI2PS: two lanes, the upper half of dst is left alone. */
export function sse_cvtpi2ps(dst: usize, b: usize): void {
  sseBegin()
  const r0 = fromInt32(load<i32>(b))
  const r1 = fromInt32(load<i32>(b, 4))
  if (sseCommit()) store<u64>(dst, pair(r0, r1))
}

function intFrom32(bits: u32, width: i32): i64 {
  aFromF32(bits)
  return toInteger(width)
}

function intFrom64(bits: u64, width: i32): i64 {
  aFromF64(bits)
  return toInteger(width)
}

function begin(truncate: u32): void {
  sseBegin()
  if (truncate) setRounding(RZ)
}

/** CVTSS2SI, CVTTSS2SI: width 32 or 64; the result sign-extended. Look at CPU_FAULT before using it. */
export function sse_cvtss2si(b: usize, width: i32, truncate: u32): i64 {
  const x = <f64>load<f32>(b)
  const whole = truncate ? trunc<f64>(x) : nearest<f64>(x)
  const limit = width == 32 ? 2147483648.0 : 9223372036854775808.0
  if (whole < limit && whole >= -limit && (whole == x || inexactIsQuiet(truncate ? -1 : 0))) return <i64>whole
  begin(truncate)
  const r = intFrom32(load<u32>(b), width)
  sseCommit()
  return r
}

export function sse_cvtsd2si(b: usize, width: i32, truncate: u32): i64 {
  const x = <f64>load<f64>(b)
  const whole = truncate ? trunc<f64>(x) : nearest<f64>(x)
  const limit = width == 32 ? 2147483648.0 : 9223372036854775808.0
  if (whole < limit && whole >= -limit && (whole == x || inexactIsQuiet(truncate ? -1 : 0))) return <i64>whole
  begin(truncate)
  const r = intFrom64(load<u64>(b), width)
  sseCommit()
  return r
}

/** CVTPS2DQ, CVTTPS2DQ. */
export function sse_cvtps2dq(dst: usize, b: usize, truncate: u32): void {
  const x = v128.load(b)
  const inside = f32x4.lt(f32x4.abs(x), f32x4.splat(2147483648.0))
  if (i32x4.all_true(inside) && inexactIsQuiet(truncate ? -1 : 0)) {
    v128.store(dst, i32x4.trunc_sat_f32x4_s(truncate ? x : f32x4.nearest(x)))
    return
  }
  begin(truncate)
  const r0 = <u32>intFrom32(load<u32>(b), 32)
  const r1 = <u32>intFrom32(load<u32>(b, 4), 32)
  const r2 = <u32>intFrom32(load<u32>(b, 8), 32)
  const r3 = <u32>intFrom32(load<u32>(b, 12), 32)
  put64(dst, pair(r0, r1), pair(r2, r3))
}

/** CVTPD2DQ, CVTTPD2DQ: the upper half of dst becomes zero. */
export function sse_cvtpd2dq(dst: usize, b: usize, truncate: u32): void {
  const x = v128.load(b)
  const inside = f64x2.lt(f64x2.abs(x), f64x2.splat(2147483647.0))
  if (i64x2.all_true(inside) && inexactIsQuiet(truncate ? -1 : 0)) {
    v128.store(dst, i32x4.trunc_sat_f64x2_s_zero(truncate ? x : f64x2.nearest(x)))
    return
  }
  begin(truncate)
  const r0 = <u32>intFrom64(load<u64>(b), 32)
  const r1 = <u32>intFrom64(load<u64>(b, 8), 32)
  put64(dst, pair(r0, r1), 0)
}

/** CVTPS2PI, CVTTPS2PI: dst is the 8 bytes of an MMX register; the caller does mmx_enter first. */
export function sse_cvtps2pi(dst: usize, b: usize, truncate: u32): void {
  begin(truncate)
  const r0 = <u32>intFrom32(load<u32>(b), 32)
  const r1 = <u32>intFrom32(load<u32>(b, 4), 32)
  if (sseCommit()) store<u64>(dst, pair(r0, r1))
}

export function sse_cvtpd2pi(dst: usize, b: usize, truncate: u32): void {
  begin(truncate)
  const r0 = <u32>intFrom64(load<u64>(b), 32)
  const r1 = <u32>intFrom64(load<u64>(b, 8), 32)
  if (sseCommit()) store<u64>(dst, pair(r0, r1))
}

/** ROUND*: imm bits 0-1 rounding, bit 2 takes MXCSR's instead, bit 3 suppresses PE. */
function beginRound(imm: u32): void {
  sseBegin()
  if (!(imm & 4)) setRounding(imm & 3)
}

function round32(bits: u32, imm: u32): u32 {
  aFromF32(bits)
  return packF32(aCls >= CLS_QNAN ? nanUnary() : toIntegral((imm & 8) != 0))
}

function round64(bits: u64, imm: u32): u64 {
  aFromF64(bits)
  return packF64(aCls >= CLS_QNAN ? nanUnary() : toIntegral((imm & 8) != 0))
}

export function sse_round_ss(dst: usize, b: usize, imm: u32): void {
  const x = load<f32>(b)
  if (!(imm & 4) && calm32(x)) {
    const mode = imm & 3
    const whole = mode == RN ? nearest<f32>(x) : mode == RD ? floor<f32>(x) : mode == RU ? ceil<f32>(x) : trunc<f32>(x)
    if (whole == x || (imm & 8) != 0 || inexactIsQuiet(-1)) {
      store<f32>(dst, whole)
      return
    }
  }
  beginRound(imm)
  const r = round32(load<u32>(b), imm)
  if (sseCommit()) store<u32>(dst, r)
}

export function sse_round_sd(dst: usize, b: usize, imm: u32): void {
  const x = load<f64>(b)
  if (!(imm & 4) && calm64(x)) {
    const mode = imm & 3
    const whole = mode == RN ? nearest<f64>(x) : mode == RD ? floor<f64>(x) : mode == RU ? ceil<f64>(x) : trunc<f64>(x)
    if (whole == x || (imm & 8) != 0 || inexactIsQuiet(-1)) {
      store<f64>(dst, whole)
      return
    }
  }
  beginRound(imm)
  const r = round64(load<u64>(b), imm)
  if (sseCommit()) store<u64>(dst, r)
}

export function sse_round_ps(dst: usize, b: usize, imm: u32): void {
  beginRound(imm)
  const r0 = round32(load<u32>(b), imm)
  const r1 = round32(load<u32>(b, 4), imm)
  const r2 = round32(load<u32>(b, 8), imm)
  const r3 = round32(load<u32>(b, 12), imm)
  put64(dst, pair(r0, r1), pair(r2, r3))
}

export function sse_round_pd(dst: usize, b: usize, imm: u32): void {
  beginRound(imm)
  const r0 = round64(load<u64>(b), imm)
  const r1 = round64(load<u64>(b, 8), imm)
  put64(dst, r0, r1)
}
