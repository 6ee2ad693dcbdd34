/** VEX moves, shuffles and blends inside the halves. */
import { CPU_MODE, CPU_MXCSR, CPU_XMM, CPU_XMM_STRIDE, MODE_CS64, MODE_CS_MASK } from '#abi/layout.ts'
import type { Emit, Semantics, Val } from '../emit.ts'
import { AVX_MOVE } from '../rows/avx-move.ts'
import { blendBySign, extractVex, signs, testHalves } from './avx-packed.ts'
import { blend, extractLane, insertLane, maskFromBits, shuffleDoubles, shuffleDwords, shuffleSingles } from './shuffle.ts' // prettier-ignore
import { dwords, qwords } from './sse.ts'
import { maskedStore } from './sse2.ts'
import { i32, imm, lanes, low32, low64, only32, only64, shuffle, splat64, v } from './vector.ts'
import {
  binary,
  binaryImm,
  gateAvx,
  readHalves,
  unary,
  unaryImm,
  vexSemantics,
  writeHalves,
  zero128,
  type Meaning,
} from './vex.ts'

// --- moves -----------------------------------------------------------------------------------------------------------

const move =
  (aligned = false): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    writeHalves(e, 0, readHalves(e, 1, length, aligned), aligned)
  }

/** dst = fixed byte selection of (a, b) in each half. */
const mix = (order: readonly number[]): Meaning => binary((e, a, b) => shuffle(e, a, b, order))

const duplicate = (order: readonly number[]): Meaning => unary((e, b) => shuffle(e, b, b, order))

/** One quadword from memory, the other from a. */
const loadHalf =
  (which: 0 | 1): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const value = e.read(2)
    writeHalves(e, 0, [e.op('i64x2.replace_lane', 'v128', [e.read(1), value], [which])])
  }

const storeHalf =
  (which: 0 | 1): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    e.write(0, e.op('i64x2.extract_lane', 'i64', [e.read(1)], [which]))
  }

/** Moves of one element: what it is in the destination. */
const moveScalar =
  (value: (e: Emit) => Val): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    writeHalves(e, 0, [value(e)])
  }

const moveOut =
  (value: (e: Emit) => Val): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    e.write(0, value(e))
  }

const quadword = (e: Emit): Val => (e.isMemory(1) ? e.read(1) : low64(e, e.read(1)))

/** VZEROUPPER, VZEROALL: registers 8 to 15 exist in 64-bit code only. */
const zeroRegisters =
  (whole: boolean): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const clear = (first: number): void => {
      for (let i = first; i < first + 8; i++) {
        if (whole) e.setCpu(CPU_XMM + i * CPU_XMM_STRIDE, zero128(e))
        e.setCpu(CPU_XMM + i * CPU_XMM_STRIDE + 16, zero128(e))
      }
    }
    clear(0)
    const size = e.and(e.getCpu('i32', CPU_MODE), i32(e, MODE_CS_MASK))
    e.if_(e.eq(size, i32(e, MODE_CS64)), () => clear(8))
  }

// --- inside the halves -------------------------------------------------------------------------------------------------

/** The part of an immediate that the half uses, where each lane has bits of its own. */
export const ownBits = (e: Emit, n: Val, lanesPerHalf: number, h: 0 | 1): Val =>
  h === 0 ? n : e.shr(n, i32(e, lanesPerHalf))

export const blendByImm = (bits: 32 | 64): Meaning =>
  binaryImm((e, a, b, n, h) => blend(e, a, b, maskFromBits(e, bits, ownBits(e, n, 128 / bits, h))))

/** Lanes of a chosen by control lanes: `control` gives each lane's number, which becomes a byte selector. */
const permilps = binary((e, a, b) => {
  const chosen = v(e, 'v128.and', b, lanes(e, 32, [3]))
  return v(e, 'i8x16.swizzle', a, byteSelector(e, 32, chosen))
})

const permilpd = binary((e, a, b) => {
  const chosen = v(e, 'v128.and', v(e, 'i64x2.shr_u', b, i32(e, 1)), lanes(e, 64, [1]))
  return v(e, 'i8x16.swizzle', a, byteSelector(e, 64, chosen))
})

/** Byte numbers of lanes whose numbers stand in the lanes of `chosen`. */
export function byteSelector(e: Emit, bits: 32 | 64, chosen: Val): Val {
  if (bits === 32)
    return v(
      e,
      'i32x4.add',
      v(e, 'i32x4.mul', chosen, lanes(e, 32, [0x0404_0404])),
      lanes(e, 32, [0x0302_0100]),
    )
  return v(
    e,
    'i64x2.add',
    v(e, 'i64x2.mul', chosen, lanes(e, 64, [0x0808_0808_0808_0808n])),
    lanes(e, 64, [0x0706_0504_0302_0100n]),
  )
}

const testSigns =
  (shape: 'i32x4' | 'i64x2'): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const b = readHalves(e, 1, length)
    testHalves(e, readHalves(e, 0, length), b, (_, x) => e.op(`${shape}.bitmask`, 'i32', [x]))
  }

/** VINSERTPS: imm bits 4-5 choose the lane to write, bits 0-3 lanes to clear. */
const insertSingle =
  (value: (e: Emit, control: Val) => Val): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const control = imm(e, 3)
    const index = e.and(e.shr(control, i32(e, 4)), i32(e, 3))
    const inserted = insertLane(e, 32, e.read(1), e.let(index), value(e, control))
    writeHalves(e, 0, [v(e, 'v128.andnot', inserted, maskFromBits(e, 32, control))])
  }

export const avxMoveSemantics: Record<string, Semantics> = vexSemantics(AVX_MOVE, {
  vmovups_V_VM: move(),
  vmovups_VM_V: move(),
  vmovupd_V_VM: move(),
  vmovupd_VM_V: move(),
  vmovaps_V_VM: move(true),
  vmovaps_VM_V: move(true),
  vmovapd_V_VM: move(true),
  vmovapd_VM_V: move(true),
  vmovdqu_V_VM: move(),
  vmovdqu_VM_V: move(),
  vmovdqa_V_VM: move(true),
  vmovdqa_VM_V: move(true),
  vlddqu_V_M: move(),
  vmovntdqa_V_M: move(true),
  vmovntps_M_V: move(true),
  vmovntpd_M_V: move(true),
  vmovntdq_M_V: move(true),
  vmovss_xmm_xmm_xmm: mix(dwords(4, 1, 2, 3)),
  vmovss_xmm_xmm_xmm_11: mix(dwords(4, 1, 2, 3)),
  vmovss_xmm_m32: moveScalar((e) => only32(e, e.read(1))),
  vmovss_m32_xmm: moveOut((e) => low32(e, e.read(1))),
  vmovsd_xmm_xmm_xmm: mix(qwords(2, 1)),
  vmovsd_xmm_xmm_xmm_11: mix(qwords(2, 1)),
  vmovsd_xmm_m64: moveScalar((e) => only64(e, e.read(1))),
  vmovsd_m64_xmm: moveOut((e) => low64(e, e.read(1))),
  vmovlps_xmm_xmm_m64: loadHalf(0),
  vmovlps_m64_xmm: storeHalf(0),
  vmovhlps_xmm_xmm_xmm: mix(qwords(3, 1)),
  vmovhps_xmm_xmm_m64: loadHalf(1),
  vmovhps_m64_xmm: storeHalf(1),
  vmovlhps_xmm_xmm_xmm: mix(qwords(0, 2)),
  vmovlpd_xmm_xmm_m64: loadHalf(0),
  vmovlpd_m64_xmm: storeHalf(0),
  vmovhpd_xmm_xmm_m64: loadHalf(1),
  vmovhpd_m64_xmm: storeHalf(1),
  vmovd_xmm_rm32: moveScalar((e) => only32(e, e.read(1))),
  vmovq_xmm_rm64: moveScalar((e) => only64(e, e.read(1))),
  vmovd_rm32_xmm: moveOut((e) => low32(e, e.read(1))),
  vmovq_rm64_xmm: moveOut((e) => low64(e, e.read(1))),
  vmovq_xmm_xmm_m64: moveScalar((e) => only64(e, quadword(e))),
  vmovq_xmm_m64_xmm: () => (e) => {
    gateAvx(e)
    const value = low64(e, e.read(1))
    if (e.isMemory(0)) e.write(0, value)
    else writeHalves(e, 0, [only64(e, value)])
  },
  vmovddup_xmm_xmm_m64: moveScalar((e) => splat64(e, quadword(e))),
  vmovddup_ymm_ymm_m256: duplicate(qwords(0, 0)),
  vmovsldup_V_VM: duplicate(dwords(0, 0, 2, 2)),
  vmovshdup_V_VM: duplicate(dwords(1, 1, 3, 3)),
  vmovmskps_r32_V: signs('i32x4', 4),
  vmovmskpd_r32_V: signs('i64x2', 2),
  vmaskmovdqu_xmm_xmm: () => (e) => {
    gateAvx(e)
    maskedStore(e, 16)
  },
  vldmxcsr_m32: () => (e) => {
    gateAvx(e)
    e.call('fpu_ldmxcsr', [e.read(0)])
  },
  vstmxcsr_m32: moveOut((e) => e.getCpu('i32', CPU_MXCSR)),
  vunpcklps_V_V_VM: mix(dwords(0, 4, 1, 5)),
  vunpckhps_V_V_VM: mix(dwords(2, 6, 3, 7)),
  vunpcklpd_V_V_VM: mix(qwords(0, 2)),
  vunpckhpd_V_V_VM: mix(qwords(1, 3)),
  vshufps_V_V_VM_imm8: binaryImm(shuffleSingles),
  vshufpd_V_V_VM_imm8: binaryImm((e, a, b, n, h) => shuffleDoubles(e, a, b, ownBits(e, n, 2, h))),
  vblendps_V_V_VM_imm8: blendByImm(32),
  vblendpd_V_V_VM_imm8: blendByImm(64),
  vblendvps_V_V_VM_V: blendBySign('i32x4', 32),
  vblendvpd_V_V_VM_V: blendBySign('i64x2', 64),
  vextractps_rm32_xmm_imm8: extractVex(32, 'i32'),
  vinsertps_xmm_xmm_xmm_imm8: insertSingle((e, control) =>
    extractLane(e, 32, e.read(2), e.shr(control, i32(e, 6))),
  ),
  vinsertps_xmm_xmm_m32_imm8: insertSingle((e) => e.read(2)),
  vzeroupper: zeroRegisters(false),
  vzeroall: zeroRegisters(true),
  vtestps_V_VM: testSigns('i32x4'),
  vtestpd_V_VM: testSigns('i64x2'),
  vpermilps_V_V_VM: permilps,
  vpermilpd_V_V_VM: permilpd,
  vpermilps_V_VM_imm8: unaryImm(shuffleDwords),
  vpermilpd_V_VM_imm8: unaryImm((e, b, n, h) => shuffleDoubles(e, b, b, ownBits(e, n, 2, h))),
})
