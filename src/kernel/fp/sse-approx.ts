/**
 * RCPSS/RCPPS and RSQRTSS/RSQRTPS: no flags, relative error below 1.5 * 2^-12 (SDM Vol. 2, RCPPS, RSQRTPS).
 * Like hardware's table, the value depends only on the leading 12 significand bits and is delivered in 12 bits:
 * the reciprocal of the middle of its interval, rounded. Hosts differ in these bits; no program may rely on them.
 * Denormal operands count as zero, denormal results become zero.
 */
const SIGN: u32 = 0x8000_0000
const INF: u32 = 0x7f80_0000
const QUIET: u32 = 0x0040_0000
const INDEFINITE: u32 = 0xffc0_0000
const MIN_NORMAL: u32 = 0x0080_0000

/** Keeps 12 significand bits, rounding to nearest. */
function shorten(value: f32): u32 {
  return (reinterpret<u32>(value) + 0x0400) & 0xffff_f800
}

/** The middle of the interval of 2^-12 that a normal operand lies in. */
function middle(bits: u32): f32 {
  return reinterpret<f32>((bits & 0xffff_f800) | 0x0400)
}

function rcp(bits: u32): u32 {
  const size = bits & ~SIGN
  if (size > INF) return bits | QUIET
  if (size < MIN_NORMAL) return (bits & SIGN) | INF
  // 1 / 2^126 is the smallest normal result
  if (size == INF || size > 0x7e80_0000) return bits & SIGN
  const r = shorten(1.0 / middle(bits))
  return (r & ~SIGN) < MIN_NORMAL ? bits & SIGN : r
}

function rsqrt(bits: u32): u32 {
  const size = bits & ~SIGN
  if (size > INF) return bits | QUIET
  if (size < MIN_NORMAL) return (bits & SIGN) | INF
  if (bits & SIGN) return INDEFINITE
  if (size == INF) return 0
  return shorten(<f32>(1.0 / sqrt<f64>(<f64>middle(bits))))
}

export function sse_rcp_ss(dst: usize, b: usize): void {
  store<u32>(dst, rcp(load<u32>(b)))
}

export function sse_rcp_ps(dst: usize, b: usize): void {
  for (let i: usize = 0; i < 16; i += 4) store<u32>(dst + i, rcp(load<u32>(b + i)))
}

export function sse_rsqrt_ss(dst: usize, b: usize): void {
  store<u32>(dst, rsqrt(load<u32>(b)))
}

export function sse_rsqrt_ps(dst: usize, b: usize): void {
  for (let i: usize = 0; i < 16; i += 4) store<u32>(dst + i, rsqrt(load<u32>(b + i)))
}
