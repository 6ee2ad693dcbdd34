/** Broadcasts, permutations across the halves, masked moves, gathers and variable shifts of AVX and AVX2. */
import type { Emit, Semantics, Val } from '../emit.ts'
import { AVX_CROSS } from '../rows/avx-cross.ts'
import { blendByImm, byteSelector } from './avx-move.ts'
import { qwords } from './sse.ts'
import { i32, imm, lanes, shuffle, splat64, v } from './vector.ts'
import {
  binary,
  eachHalf,
  gateAvx,
  half,
  readHalves,
  spillHalves,
  vexSemantics,
  writeHalves,
  zero128,
  type Halves,
  type Meaning,
} from './vex.ts'

/** Shifts by a count in each lane; a count of the lane width or more gives zero, or the sign. */
const shiftVariable = (bits: 32 | 64, kind: 'shl' | 'shr' | 'sar'): Meaning =>
  binary((e, a, b) => {
    const [shape, ty, count] = bits === 32 ? (['i32x4', 'i32', 4] as const) : (['i64x2', 'i64', 2] as const)
    let result = zero128(e)
    for (let n = 0; n < count; n++) {
      const x = e.op(`${shape}.extract_lane`, ty, [a], [n])
      const by = e.let(e.op(`${shape}.extract_lane`, ty, [b], [n]))
      const inside = e.ltU(by, e.const(ty, bits))
      const low = e.and(e.trunc(by, 'i32'), i32(e, bits - 1))
      const value =
        kind === 'sar'
          ? e.sar(x, e.select(inside, low, i32(e, bits - 1)))
          : e.select(inside, kind === 'shl' ? e.shl(x, low) : e.shr(x, low), e.const(ty, 0))
      result = e.op(`${shape}.replace_lane`, 'v128', [result, value], [n])
    }
    return result
  })

// --- across the halves -------------------------------------------------------------------------------------------------

/** Broadcast of an element that a register or memory gives. */
const broadcast =
  (bits: 8 | 16 | 32 | 64): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const source = e.read(1)
    const shape = { 8: 'i8x16', 16: 'i16x8', 32: 'i32x4', 64: 'i64x2' }[bits]
    const ty = bits === 64 ? 'i64' : 'i32'
    const lane = `${shape}.extract_lane${bits < 32 ? '_u' : ''}`
    const value = source.ty === 'v128' ? e.op(lane, ty, [source], [0]) : e.zext(source, ty)
    const all = e.let(e.op(`${shape}.splat`, 'v128', [value]))
    writeHalves(e, 0, length === 128 ? [all] : [all, all])
  }

const broadcast128: Meaning = () => (e) => {
  gateAvx(e)
  const value = e.read(1)
  writeHalves(e, 0, [value, value])
}

/** One of two vectors by a condition. */
function choose(e: Emit, condition: Val, a: Val, b: Val): Val {
  const known = e.known(condition)
  if (known !== undefined) return known === 0n ? b : a
  return v(e, 'v128.bitselect', a, b, splat64(e, e.neg(e.zext(condition, 'i64'))))
}

const bitOf = (e: Emit, n: Val, bit: number): Val => e.and(e.shr(n, i32(e, bit)), i32(e, 1))

const insert128: Meaning = () => (e) => {
  gateAvx(e)
  const [b] = readHalves(e, 2, 128)
  const [low, high] = [e.read(1), e.readHigh(1)]
  const upper = e.let(bitOf(e, imm(e, 3), 0))
  writeHalves(e, 0, [choose(e, upper, low, b), choose(e, upper, b, high)])
}

const extract128: Meaning = () => (e) => {
  gateAvx(e)
  const value = choose(e, bitOf(e, imm(e, 2), 0), e.readHigh(1), e.read(1))
  writeHalves(e, 0, [value])
}

/** VPERM2F128: each half is one of four, or zero. */
const permute128: Meaning = () => (e) => {
  gateAvx(e)
  const b = readHalves(e, 2, 256)
  const a = readHalves(e, 1, 256)
  const n = imm(e, 3)
  const pick = (shift: number): Val => {
    const upper = e.let(bitOf(e, n, shift))
    const second = bitOf(e, n, shift + 1)
    const value = choose(
      e,
      second,
      choose(e, upper, half(b, 1), half(b, 0)),
      choose(e, upper, half(a, 1), half(a, 0)),
    )
    return choose(e, bitOf(e, n, shift + 3), zero128(e), value)
  }
  writeHalves(e, 0, [pick(0), pick(4)])
}

/** Bytes 0-31 of (low, high) by a selector of byte numbers. */
function swizzle256(e: Emit, [low, high]: Halves, selector: Val): Val {
  if (!high) throw new Error('a permutation across halves needs both')
  // out of 0..15 a swizzle gives zero
  const inHigh = v(e, 'i8x16.swizzle', high, v(e, 'i8x16.sub', selector, lanes(e, 8, [16])))
  return v(e, 'v128.or', v(e, 'i8x16.swizzle', low, selector), inHigh)
}

const permuteDwords: Meaning = () => (e) => {
  gateAvx(e)
  const b = readHalves(e, 2, 256)
  const control = readHalves(e, 1, 256)
  const selector = (h: 0 | 1): Val =>
    e.let(byteSelector(e, 32, v(e, 'v128.and', half(control, h), lanes(e, 32, [7]))))
  writeHalves(e, 0, [swizzle256(e, b, selector(0)), swizzle256(e, b, selector(1))])
}

const permuteQwords: Meaning = () => (e) => {
  gateAvx(e)
  const b = readHalves(e, 1, 256)
  const n = imm(e, 2)
  const known = e.known(n)
  const pick = (first: number): Val => {
    if (known !== undefined) {
      const field = (k: number): number => Number((known >> BigInt(2 * k)) & 3n)
      return shuffle(e, half(b, 0), half(b, 1), qwords(field(first), field(first + 1)))
    }
    const field = (k: number): Val => e.zext(e.and(e.shr(n, i32(e, 2 * k)), i32(e, 3)), 'i64')
    const chosen = e.op('i64x2.replace_lane', 'v128', [splat64(e, field(first)), field(first + 1)], [1])
    return swizzle256(e, b, e.let(byteSelector(e, 64, chosen)))
  }
  writeHalves(e, 0, [pick(0), pick(2)])
}

// --- masked and scattered memory -----------------------------------------------------------------------------------------

/** Element size and how many, for the kernel: bytes | count << 8. */
const shapeOf = (bytes: number, count: number): number => bytes | (count << 8)

/** Elements whose mask is clear are zero and their memory is not touched. */
const maskLoad =
  (bytes: 4 | 8): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const mask = spillHalves(e, readHalves(e, 1, length), 2)
    const shape = i32(e, shapeOf(bytes, length / 8 / bytes))
    e.call('avx_mask_load', [e.scratch(0), mask, e.offset(), shape, e.seg()])
    writeHalves(
      e,
      0,
      eachHalf(length, (h) => e.loadAt('v128', e.scratch(h))),
    )
  }

const maskStore =
  (bytes: 4 | 8): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const mask = spillHalves(e, readHalves(e, 1, length), 2)
    const data = spillHalves(e, readHalves(e, 2, length), 0)
    const shape = i32(e, shapeOf(bytes, length / 8 / bytes))
    e.call('avx_mask_store', [data, mask, e.offset(), shape, e.seg()])
  }

/** A fault leaves the elements loaded so far in place and their masks clear, so the kernel writes the registers itself. */
const gather =
  (bytes: 4 | 8, indexBytes: 4 | 8): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const { base, index, indexRegister, scale } = e.vsib()
    const indexes = spillHalves(e, index, 0)
    const dst = e.addressOf(0)
    const mask = e.addressOf(2)
    const same = e.or(e.eq(dst, mask), e.or(e.eq(dst, indexRegister), e.eq(mask, indexRegister)))
    e.raiseIf(same, 'UD')
    const count = length / 8 / Math.max(bytes, indexBytes)
    const shape = i32(e, shapeOf(bytes, count) | (indexBytes << 16))
    e.call('avx_gather', [dst, mask, indexes, base, e.or(shape, e.shl(scale, i32(e, 24))), e.seg()])
  }

export const avxCrossSemantics: Record<string, Semantics> = vexSemantics(AVX_CROSS, {
  vbroadcastss_V_m32: broadcast(32),
  vbroadcastsd_ymm_m64: broadcast(64),
  vbroadcastf128_ymm_m128: broadcast128,
  vinsertf128_ymm_ymm_xmm_m128_imm8: insert128,
  vextractf128_xmm_m128_ymm_imm8: extract128,
  vperm2f128_ymm_ymm_ymm_m256_imm8: permute128,
  vmaskmovps_V_V_M: maskLoad(4),
  vmaskmovpd_V_V_M: maskLoad(8),
  vmaskmovps_M_V_V: maskStore(4),
  vmaskmovpd_M_V_V: maskStore(8),
  vbroadcastss_V_xmm: broadcast(32),
  vbroadcastsd_ymm_xmm: broadcast(64),
  vbroadcasti128_ymm_m128: broadcast128,
  vpbroadcastd_V_xmm_m32: broadcast(32),
  vpbroadcastq_V_xmm_m64: broadcast(64),
  vpbroadcastb_V_xmm_m8: broadcast(8),
  vpbroadcastw_V_xmm_m16: broadcast(16),
  vinserti128_ymm_ymm_xmm_m128_imm8: insert128,
  vextracti128_xmm_m128_ymm_imm8: extract128,
  vperm2i128_ymm_ymm_ymm_m256_imm8: permute128,
  vpermps_ymm_ymm_ymm_m256: permuteDwords,
  vpermd_ymm_ymm_ymm_m256: permuteDwords,
  vpermq_ymm_ymm_m256_imm8: permuteQwords,
  vpermpd_ymm_ymm_m256_imm8: permuteQwords,
  vpblendd_V_V_VM_imm8: blendByImm(32),
  vpsrlvd_V_V_VM: shiftVariable(32, 'shr'),
  vpsrlvq_V_V_VM: shiftVariable(64, 'shr'),
  vpsravd_V_V_VM: shiftVariable(32, 'sar'),
  vpsllvd_V_V_VM: shiftVariable(32, 'shl'),
  vpsllvq_V_V_VM: shiftVariable(64, 'shl'),
  vpmaskmovd_V_V_M: maskLoad(4),
  vpmaskmovq_V_V_M: maskLoad(8),
  vpmaskmovd_M_V_V: maskStore(4),
  vpmaskmovq_M_V_V: maskStore(8),
  vpgatherdd_xmm_vm32x_xmm: gather(4, 4),
  vpgatherdd_ymm_vm32y_ymm: gather(4, 4),
  vpgatherdq_xmm_vm32x_xmm: gather(8, 4),
  vpgatherdq_ymm_vm32x_ymm: gather(8, 4),
  vpgatherqd_xmm_vm64x_xmm: gather(4, 8),
  vpgatherqd_xmm_vm64y_xmm: gather(4, 8),
  vpgatherqq_xmm_vm64x_xmm: gather(8, 8),
  vpgatherqq_ymm_vm64y_ymm: gather(8, 8),
  vgatherdps_xmm_vm32x_xmm: gather(4, 4),
  vgatherdps_ymm_vm32y_ymm: gather(4, 4),
  vgatherdpd_xmm_vm32x_xmm: gather(8, 4),
  vgatherdpd_ymm_vm32x_ymm: gather(8, 4),
  vgatherqps_xmm_vm64x_xmm: gather(4, 8),
  vgatherqps_xmm_vm64y_xmm: gather(4, 8),
  vgatherqpd_xmm_vm64x_xmm: gather(8, 8),
  vgatherqpd_ymm_vm64y_ymm: gather(8, 8),
})
