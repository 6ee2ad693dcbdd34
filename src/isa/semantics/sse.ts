/** SSE moves, conversions and comparisons. */
import { CPU_MXCSR } from '#abi/layout.ts'
import type { Emit, Semantics, Val } from '../emit.ts'
import type { sseRows } from '../rows/sse.ts'
import { choose, readLane, writeLane } from './float.ts'
import { lowOf, nativeFromInteger, nativeOrder, nativeToInteger, type Lane } from './float-native.ts'
import { shuffleSingles } from './shuffle.ts'
import {
  callValue,
  checkAligned,
  enterMmx,
  gateMmx,
  gateSse,
  i32,
  imm,
  low32,
  only32,
  read128,
  shuffle,
  sourceAddress,
  spill,
  write128,
  writeMm,
  type Gate,
} from './vector.ts'

export const load128 =
  (aligned: boolean): Semantics =>
  (e) => {
    gateSse(e)
    e.write(0, read128(e, 1, aligned))
  }

export const store128 =
  (aligned: boolean): Semantics =>
  (e) => {
    gateSse(e)
    write128(e, 0, e.read(1), aligned)
  }

/** MOVNTPS and its kin: memory only, aligned. */
export const storeAligned: Semantics = (e) => {
  gateSse(e)
  const gva = e.linear(16, true)
  checkAligned(e, gva)
  e.store(gva, e.read(1))
}

/** xmm_r = fixed byte selection of (xmm_r, xmm_m128). */
export const mix =
  (order: readonly number[], aligned = true): Semantics =>
  (e) => {
    gateSse(e)
    const b = read128(e, 1, aligned)
    e.write(0, shuffle(e, e.read(0), b, order))
  }

const bytes = (size: number, order: readonly number[]): number[] =>
  order.flatMap((n) => Array.from({ length: size }, (_, k) => n * size + k))
export const dwords = (...order: readonly number[]): number[] => bytes(4, order)
export const qwords = (...order: readonly number[]): number[] => bytes(8, order)

/** Replaces one half of xmm_r by a 64-bit memory operand. */
export const loadHalf =
  (half: 0 | 1): Semantics =>
  (e) => {
    gateSse(e)
    const value = e.read(1)
    e.write(0, e.op('i64x2.replace_lane', 'v128', [e.read(0), value], [half]))
  }

export const storeHalf =
  (half: 0 | 1): Semantics =>
  (e) => {
    gateSse(e)
    e.write(0, e.op('i64x2.extract_lane', 'i64', [e.read(1)], [half]))
  }

/** CVTSI2SS, CVTSI2SD: an integer register or memory operand into the low lane. */
export const fromInteger =
  (lane: Lane): Semantics =>
  (e) => {
    gateSse(e)
    const value = e.let(e.read(1))
    const exact = (): Val => {
      const to = e.scratch(0)
      e.call(lane === 'f32' ? 'sse_cvtsi2ss' : 'sse_cvtsi2sd', [to, e.sext(value, 'i64')])
      return e.loadAt(lane, to)
    }
    writeLane(e, e.read(0), choose(e, nativeFromInteger(e, lane, value), exact))
  }

/** CVTSS2SI and its kin. */
export const toInteger =
  (lane: Lane, bits: 32 | 64, truncate: 0 | 1, gate: Gate = gateSse): Semantics =>
  (e) => {
    gate(e)
    const x = e.let(readLane(e, 1, lane))
    const exact = (): Val => {
      const name = lane === 'f32' ? 'sse_cvtss2si' : 'sse_cvtsd2si'
      const result = callValue(e, name, [spill(e, x), i32(e, bits), i32(e, truncate)])
      return bits === 32 ? e.trunc(result, 'i32') : result
    }
    e.write(0, choose(e, nativeToInteger(e, x, bits, truncate === 1), exact))
  }

/**
 * COMISS and its kin. Where MXCSR or DAZ matter, the kernel turns the operands into two numbers that compare alike, and 0.
 */
export const compare =
  (lane: Lane, signalling: 0 | 1, gate: Gate = gateSse): Semantics =>
  (e) => {
    gate(e)
    const b = e.let(readLane(e, 1, lane))
    const a = e.let(lowOf(e, lane, e.read(0)))
    const [left, right] = [e.cell(a), e.cell(b)]
    const { all, any } = nativeOrder(e, a, b)
    e.unless(all, any, () => {
      left.set(callValue(e, lane === 'f32' ? 'sse_order_ss' : 'sse_order_sd', [a, b, i32(e, signalling)]))
      right.set(e.const(lane, 0))
    })
    e.setFlags({ kind: 'order', a: left.get(), b: right.get() })
  }

/** ZF, PF and CF in their EFLAGS positions; the others are cleared. */
export function setCompareFlags(e: Emit, result: Val): void {
  const bits = e.let(result)
  const bit = (n: number): Val => e.and(e.shr(bits, i32(e, n)), i32(e, 1))
  const zero = i32(e, 0)
  e.setFlagBits({ zf: bit(6), pf: bit(2), cf: bit(0), of: zero, sf: zero, af: zero })
}

/**
 * CVTPS2PI and its kin. The conversion may raise #XM, so it goes to a scratch slot first.
 * The MMX state is entered even though the source is an XMM register (SDM Vol. 2, CVTPS2PI).
 */
export const toMmx =
  (name: string, truncate: 0 | 1, source: (e: Emit) => Val): Semantics =>
  (e) => {
    gateSse(e)
    gateMmx(e)
    const from = source(e)
    const to = e.scratch(1)
    e.call(name, [to, from, i32(e, truncate)])
    writeMm(e, 0, e.loadAt('i64', to))
  }

export const sseSemantics: Readonly<Record<keyof typeof sseRows, Semantics>> = {
  movups_xmm_xmm_m128: load128(false),
  movups_xmm_m128_xmm: store128(false),
  movss_xmm_xmm: (e) => {
    gateSse(e)
    e.write(0, shuffle(e, e.read(0), e.read(1), dwords(4, 1, 2, 3)))
  },
  movss_xmm_m32: (e) => {
    gateSse(e)
    e.write(0, only32(e, e.read(1)))
  },
  movss_xmm_m32_xmm: (e) => {
    gateSse(e)
    e.write(0, low32(e, e.read(1)))
  },
  movhlps_xmm_xmm: mix(qwords(3, 1)),
  movlps_xmm_m64: loadHalf(0),
  movlps_m64_xmm: storeHalf(0),
  unpcklps_xmm_xmm_m128: mix(dwords(0, 4, 1, 5)),
  unpckhps_xmm_xmm_m128: mix(dwords(2, 6, 3, 7)),
  movlhps_xmm_xmm: mix(qwords(0, 2)),
  movhps_xmm_m64: loadHalf(1),
  movhps_m64_xmm: storeHalf(1),
  movaps_xmm_xmm_m128: load128(true),
  movaps_xmm_m128_xmm: store128(true),
  cvtpi2ps_xmm_mm_m64: (e) => {
    gateSse(e)
    // a memory source leaves the x87 alone: what AMD and Intel processors do, whatever the text of CVTPI2PS
    if (!e.isMemory(1)) gateMmx(e)
    e.call('sse_cvtpi2ps', [e.addressOf(0), spill(e, e.read(1))])
    if (!e.isMemory(1)) enterMmx(e)
  },
  cvtsi2ss_xmm_rm32: fromInteger('f32'),
  cvtsi2ss_xmm_rm64: fromInteger('f32'),
  movntps_m128_xmm: storeAligned,
  cvttps2pi_mm_xmm_m64: toMmx('sse_cvtps2pi', 1, (e) => sourceAddress(e, 1)),
  cvttss2si_r32_xmm_m32: toInteger('f32', 32, 1),
  cvttss2si_r64_xmm_m32: toInteger('f32', 64, 1),
  cvtps2pi_mm_xmm_m64: toMmx('sse_cvtps2pi', 0, (e) => sourceAddress(e, 1)),
  cvtss2si_r32_xmm_m32: toInteger('f32', 32, 0),
  cvtss2si_r64_xmm_m32: toInteger('f32', 64, 0),
  ucomiss_xmm_xmm_m32: compare('f32', 0),
  comiss_xmm_xmm_m32: compare('f32', 1),
  movmskps_r32_xmm: (e) => {
    gateSse(e)
    e.write(0, e.op('i32x4.bitmask', 'i32', [e.read(1)]))
  },
  shufps_xmm_xmm_m128_imm8: (e) => {
    gateSse(e)
    const b = read128(e, 1)
    e.write(0, shuffleSingles(e, e.read(0), b, imm(e, 2)))
  },
  ldmxcsr_m32: (e) => {
    gateSse(e)
    e.call('fpu_ldmxcsr', [e.read(0)])
  },
  stmxcsr_m32: (e) => {
    gateSse(e)
    e.write(0, e.getCpu('i32', CPU_MXCSR))
  },
}
