/** SSE moves, conversions and comparisons. Floating-point results come from the kernel (src/kernel/fp). */
import { CPU_MXCSR } from '#abi/layout.ts'
import type { Emit, Semantics, Val } from '../emit.ts'
import type { sseRows } from '../rows/sse.ts'
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
  (name: string): Semantics =>
  (e) => {
    gateSse(e)
    const value = e.sext(e.read(1), 'i64')
    e.call(name, [e.addressOf(0), value])
  }

/** CVTSS2SI and its kin. */
export const toInteger =
  (name: string, bits: 32 | 64, truncate: 0 | 1): Semantics =>
  (e) => {
    gateSse(e)
    const result = callValue(e, name, [sourceAddress(e, 1), i32(e, bits), i32(e, truncate)])
    e.write(0, bits === 32 ? e.trunc(result, 'i32') : result)
  }

/** COMISS and its kin: the kernel returns ZF, PF and CF in their EFLAGS positions. */
export const compare =
  (name: string): Semantics =>
  (e) => {
    gateSse(e)
    const b = sourceAddress(e, 1)
    setCompareFlags(e, callValue(e, name, [e.addressOf(0), b]))
  }

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
  cvtsi2ss_xmm_rm32: fromInteger('sse_cvtsi2ss'),
  cvtsi2ss_xmm_rm64: fromInteger('sse_cvtsi2ss'),
  movntps_m128_xmm: storeAligned,
  cvttps2pi_mm_xmm_m64: toMmx('sse_cvtps2pi', 1, (e) => sourceAddress(e, 1)),
  cvttss2si_r32_xmm_m32: toInteger('sse_cvtss2si', 32, 1),
  cvttss2si_r64_xmm_m32: toInteger('sse_cvtss2si', 64, 1),
  cvtps2pi_mm_xmm_m64: toMmx('sse_cvtps2pi', 0, (e) => sourceAddress(e, 1)),
  cvtss2si_r32_xmm_m32: toInteger('sse_cvtss2si', 32, 0),
  cvtss2si_r64_xmm_m32: toInteger('sse_cvtss2si', 64, 0),
  ucomiss_xmm_xmm_m32: compare('sse_ucomi_ss'),
  comiss_xmm_xmm_m32: compare('sse_comi_ss'),
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
