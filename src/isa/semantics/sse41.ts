/** SSE4.1 beyond packed.ts. */
import { CPU_XMM } from '#abi/layout.ts'
import type { Emit, Semantics, Val } from '../emit.ts'
import type { sse41Rows } from '../rows/sse41.ts'
import { choose, exactVector, readLane, writeLane } from './float.ts'
import { laneOf, nativeRound } from './float-native.ts'
import { blend, extractLane, insertLane, maskFromBits } from './shuffle.ts'
import { load128 } from './sse.ts'
import { extract, insert } from './sse2.ts'
import { gateSse, i32, imm, read128, sourceAddress128, spill, v } from './vector.ts'

/** Variable blends: the sign bits of the lanes of XMM0 choose. */
const blendByXmm0 =
  (shape: 'i8x16' | 'i32x4' | 'i64x2', bits: number): Semantics =>
  (e) => {
    gateSse(e)
    const b = read128(e, 1)
    const mask = v(e, `${shape}.shr_s`, e.getCpu('v128', CPU_XMM), i32(e, bits - 1))
    e.write(0, blend(e, e.read(0), b, mask))
  }

const blendByImm =
  (bits: 16 | 32 | 64): Semantics =>
  (e) => {
    gateSse(e)
    const b = read128(e, 1)
    e.write(0, blend(e, e.read(0), b, maskFromBits(e, bits, imm(e, 2))))
  }

/** PMOVSX, PMOVZX: wasm widens by one step, so two or three of them in a row. */
const extend =
  (sign: 's' | 'u', from: 8 | 16 | 32, to: 16 | 32 | 64): Semantics =>
  (e) => {
    gateSse(e)
    const source = e.read(1)
    let value = source.ty === 'v128' ? source : e.op('i64x2.splat', 'v128', [e.zext(source, 'i64')])
    if (from <= 8) value = v(e, `i16x8.extend_low_i8x16_${sign}`, value)
    if (from <= 16 && to >= 32) value = v(e, `i32x4.extend_low_i16x8_${sign}`, value)
    if (to === 64) value = v(e, `i64x2.extend_low_i32x4_${sign}`, value)
    e.write(0, value)
  }

/** With a control that is only known at run time the kernel chooses. */
const roundPacked =
  (format: 'ps' | 'pd'): Semantics =>
  (e) => {
    gateSse(e)
    const x = read128(e, 1)
    const exact = (): Val => exactVector(e, `sse_round_${format}`, [x], imm(e, 2))
    const control = e.known(e.read(2))
    e.write(0, control === undefined ? exact() : choose(e, nativeRound(e, format, x, Number(control)), exact))
  }

const roundScalar =
  (format: 'ss' | 'sd'): Semantics =>
  (e) => {
    gateSse(e)
    const lane = laneOf(format)
    const x = e.let(readLane(e, 1, lane))
    const exact = (): Val => {
      const to = e.scratch(1)
      e.call(`sse_round_${format}`, [to, spill(e, x), imm(e, 2)])
      return e.loadAt(lane, to)
    }
    const control = e.known(e.read(2))
    const value =
      control === undefined ? exact() : choose(e, nativeRound(e, format, x, Number(control)), exact)
    writeLane(e, e.read(0), value)
  }

const withImm =
  (name: string): Semantics =>
  (e) => {
    gateSse(e)
    const b = sourceAddress128(e, 1)
    e.call(name, [e.addressOf(0), e.addressOf(0), b, imm(e, 2)])
  }

/** INSERTPS: imm bits 4-5 choose the lane to write, bits 0-3 lanes to clear. */
function insertSingle(e: Emit, value: Val, control: Val): void {
  const index = e.and(e.shr(control, i32(e, 4)), i32(e, 3))
  const inserted = insertLane(e, 32, e.read(0), e.let(index), value)
  e.write(0, v(e, 'v128.andnot', inserted, maskFromBits(e, 32, control)))
}

export const sse41Semantics: Readonly<Record<keyof typeof sse41Rows, Semantics>> = {
  pblendvb_xmm_xmm_m128: blendByXmm0('i8x16', 8),
  blendvps_xmm_xmm_m128: blendByXmm0('i32x4', 32),
  blendvpd_xmm_xmm_m128: blendByXmm0('i64x2', 64),
  ptest_xmm_xmm_m128: (e) => {
    gateSse(e)
    const b = read128(e, 1)
    const a = e.read(0)
    const none = (x: Val): Val => e.isZero(e.op('v128.any_true', 'i32', [x]))
    const zf = e.let(none(v(e, 'v128.and', b, a)))
    const cf = e.let(none(v(e, 'v128.andnot', b, a)))
    const zero = i32(e, 0)
    e.setFlagBits({ zf, cf, of: zero, af: zero, pf: zero, sf: zero })
  },
  pmovsxbw_xmm_xmm_m64: extend('s', 8, 16),
  pmovsxbd_xmm_xmm_m32: extend('s', 8, 32),
  pmovsxbq_xmm_xmm_m16: extend('s', 8, 64),
  pmovsxwd_xmm_xmm_m64: extend('s', 16, 32),
  pmovsxwq_xmm_xmm_m32: extend('s', 16, 64),
  pmovsxdq_xmm_xmm_m64: extend('s', 32, 64),
  pmovzxbw_xmm_xmm_m64: extend('u', 8, 16),
  pmovzxbd_xmm_xmm_m32: extend('u', 8, 32),
  pmovzxbq_xmm_xmm_m16: extend('u', 8, 64),
  pmovzxwd_xmm_xmm_m64: extend('u', 16, 32),
  pmovzxwq_xmm_xmm_m32: extend('u', 16, 64),
  pmovzxdq_xmm_xmm_m64: extend('u', 32, 64),
  movntdqa_xmm_m128: load128(true),
  roundps_xmm_xmm_m128_imm8: roundPacked('ps'),
  roundpd_xmm_xmm_m128_imm8: roundPacked('pd'),
  roundss_xmm_xmm_m32_imm8: roundScalar('ss'),
  roundsd_xmm_xmm_m64_imm8: roundScalar('sd'),
  blendps_xmm_xmm_m128_imm8: blendByImm(32),
  blendpd_xmm_xmm_m128_imm8: blendByImm(64),
  pblendw_xmm_xmm_m128_imm8: blendByImm(16),
  pextrb_r32_xmm_imm8: extract(8, 'i32'),
  pextrb_m8_xmm_imm8: extract(8, 'i8'),
  pextrw_rm32_xmm_imm8: extract(16, 'i32'),
  pextrw_m16_xmm_imm8: extract(16, 'i16'),
  pextrd_rm32_xmm_imm8: extract(32, 'i32'),
  pextrq_rm64_xmm_imm8: extract(64, 'i64'),
  extractps_rm32_xmm_imm8: extract(32, 'i32'),
  pinsrb_xmm_r32_imm8: insert(8),
  pinsrb_xmm_m8_imm8: insert(8),
  insertps_xmm_xmm_imm8: (e) => {
    gateSse(e)
    const control = imm(e, 2)
    insertSingle(e, extractLane(e, 32, e.read(1), e.shr(control, i32(e, 6))), control)
  },
  insertps_xmm_m32_imm8: (e) => {
    gateSse(e)
    insertSingle(e, e.read(1), imm(e, 2))
  },
  pinsrd_xmm_rm32_imm8: insert(32),
  pinsrq_xmm_rm64_imm8: insert(64),
  dpps_xmm_xmm_m128_imm8: withImm('sse_dpps'),
  dppd_xmm_xmm_m128_imm8: withImm('sse_dppd'),
  mpsadbw_xmm_xmm_m128_imm8: withImm('simd_mpsadbw'),
}
