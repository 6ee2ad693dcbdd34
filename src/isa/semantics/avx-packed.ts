/** VEX forms of the packed integer instructions: the SSE operation on each half. */
import { CPU_XMM } from '#abi/layout.ts'
import type { Emit, Semantics, Val } from '../emit.ts'
import { AVX_INTEGER, AVX_PACKED, vexPackedKey } from '../rows/avx-packed.ts'
import { PACKED } from '../rows/packed.ts'
import { PACKED_OPS, shiftLanes } from './packed.ts'
import { alignRight, blend, extractLane, insertLane, maskFromBits, shiftBytesLeft, shiftBytesRight, shuffleDwords, shuffleWords, widenLanes } from './shuffle.ts' // prettier-ignore
import { toIndex, toMask } from './sse42.ts'
import { i32, imm, shuffle, v } from './vector.ts'
import {
  asVector,
  binary,
  binaryImm,
  callLane,
  eachHalf,
  gateAvx,
  half,
  readHalves,
  unary,
  unaryImm,
  vexSemantics,
  writeHalves,
  zero128,
  type Halves,
  type Meaning,
} from './vex.ts'

function packedMeaning(mnemonic: string): Meaning {
  const op = PACKED_OPS[mnemonic]
  if (!op) throw new Error(`packed row ${mnemonic} has no operation`)
  const key = vexPackedKey(mnemonic)
  if (key.endsWith('_xmm_m128')) return shiftByRegister((e, a, b) => op(e, a, b, 128))
  if (key.endsWith('V_V_VM')) return binary((e, a, b) => op(e, a, b, 128))
  return unary((e, b) => op(e, b, b, 128))
}

/** The count is the low quadword of one XMM register for both halves. */
const shiftByRegister =
  (op: (e: Emit, a: Val, count: Val) => Val): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const [count] = readHalves(e, 2, 128)
    const a = readHalves(e, 1, length)
    writeHalves(
      e,
      0,
      eachHalf(length, (h) => op(e, half(a, h), count)),
    )
  }

const shiftImm = (shape: 'i16x8' | 'i32x4' | 'i64x2', kind: 'shl' | 'shr_u' | 'shr_s'): Meaning => {
  const op = shiftLanes(shape, kind)
  return unaryImm((e, a, n) => op(e, a, e.zext(n, 'i64')))
}

/** Bytes 8, 4 or 2 further, for the upper half of what is widened. */
const PARTS: Readonly<Record<number, readonly number[]>> = {
  2: [8, 9, 10, 11, 12, 13, 14, 15],
  4: [4, 5, 6, 7],
  8: [2, 3],
}

/** VPMOVSX, VPMOVZX. */
const extend =
  (sign: 's' | 'u', from: 8 | 16 | 32, to: 16 | 32 | 64): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const source = e.let(asVector(e, e.read(1)))
    const part = (h: 0 | 1): Val => {
      if (h === 0) return source
      const order = PARTS[to / from] ?? []
      return shuffle(
        e,
        source,
        source,
        Array.from({ length: 16 }, (_, n) => order[n] ?? 0),
      )
    }
    writeHalves(
      e,
      0,
      eachHalf(length, (h) => widenLanes(e, part(h), sign, from, to)),
    )
  }

const insert =
  (bits: 8 | 16 | 32 | 64): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const value = e.zext(e.read(2), bits === 64 ? 'i64' : 'i32')
    const index = e.and(imm(e, 3), i32(e, 128 / bits - 1))
    writeHalves(e, 0, [insertLane(e, bits, e.read(1), index, value)])
  }

export const extractVex =
  (bits: 8 | 16 | 32 | 64, destination: 'i8' | 'i16' | 'i32' | 'i64'): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const value = extractLane(e, bits, e.read(1), e.and(imm(e, 2), i32(e, 128 / bits - 1)))
    e.write(0, destination === 'i8' || destination === 'i16' ? e.trunc(value, destination) : value)
  }

/** Lanes of the third source where the sign bit of the mask register's lane is set. */
export const blendBySign =
  (shape: 'i8x16' | 'i32x4' | 'i64x2', bits: number): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const b = readHalves(e, 2, length)
    const a = readHalves(e, 1, length)
    const m = readHalves(e, 3, length)
    const mask = (h: 0 | 1): Val => v(e, `${shape}.shr_s`, half(m, h), i32(e, bits - 1))
    writeHalves(
      e,
      0,
      eachHalf(length, (h) => blend(e, half(a, h), half(b, h), mask(h))),
    )
  }

/** ZF: no bit (or sign bit) in a AND b; CF: none in NOT a AND b. */
export function testHalves(e: Emit, a: Halves, b: Halves, some: (e: Emit, x: Val) => Val): void {
  const join = (op: string): Val => {
    const low = v(e, op, b[0], a[0])
    return b[1] && a[1] ? v(e, 'v128.or', low, v(e, op, b[1], a[1])) : low
  }
  const zf = e.let(e.isZero(some(e, join('v128.and'))))
  const cf = e.let(e.isZero(some(e, join('v128.andnot'))))
  const zero = i32(e, 0)
  e.setFlagBits({ zf, cf, of: zero, af: zero, pf: zero, sf: zero })
}

/** Sign bits of all lanes as an integer. */
export const signs =
  (shape: 'i8x16' | 'i32x4' | 'i64x2', lanesPerHalf: number): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const [low, high] = readHalves(e, 1, length)
    const bits = e.op(`${shape}.bitmask`, 'i32', [low])
    if (!high) return e.write(0, bits)
    e.write(0, e.or(bits, e.shl(e.op(`${shape}.bitmask`, 'i32', [high]), i32(e, lanesPerHalf))))
  }

const crypto = (name: string): Meaning => binary((e, a, b) => callLane(e, name, [a, b]))

/** XMM0 is written whole. */
const stringMask =
  (explicit: boolean): Meaning =>
  () =>
  (e) => {
    toMask(explicit, gateAvx)(e)
    e.setCpu(CPU_XMM + 16, zero128(e))
  }

const stringIndex =
  (explicit: boolean): Meaning =>
  () =>
    toIndex(explicit, gateAvx)

export const avxPackedSemantics: Record<string, Semantics> = {
  ...vexSemantics(
    AVX_PACKED,
    Object.fromEntries(PACKED.map(([mnemonic]) => [vexPackedKey(mnemonic), packedMeaning(mnemonic)])),
  ),
  ...vexSemantics(AVX_INTEGER, {
    vpshufd_V_VM_imm8: unaryImm(shuffleDwords),
    vpshufhw_V_VM_imm8: unaryImm((e, b, n) => shuffleWords(e, b, n, 'high')),
    vpshuflw_V_VM_imm8: unaryImm((e, b, n) => shuffleWords(e, b, n, 'low')),
    vpsrlw_V_V_imm8: shiftImm('i16x8', 'shr_u'),
    vpsraw_V_V_imm8: shiftImm('i16x8', 'shr_s'),
    vpsllw_V_V_imm8: shiftImm('i16x8', 'shl'),
    vpsrld_V_V_imm8: shiftImm('i32x4', 'shr_u'),
    vpsrad_V_V_imm8: shiftImm('i32x4', 'shr_s'),
    vpslld_V_V_imm8: shiftImm('i32x4', 'shl'),
    vpsrlq_V_V_imm8: shiftImm('i64x2', 'shr_u'),
    vpsrldq_V_V_imm8: unaryImm(shiftBytesRight),
    vpsllq_V_V_imm8: shiftImm('i64x2', 'shl'),
    vpslldq_V_V_imm8: unaryImm(shiftBytesLeft),
    vpalignr_V_V_VM_imm8: binaryImm(alignRight),
    vpblendw_V_V_VM_imm8: binaryImm((e, a, b, n) => blend(e, a, b, maskFromBits(e, 16, n))),
    vmpsadbw_V_V_VM_imm8: binaryImm((e, a, b, n, h) =>
      callLane(e, 'simd_mpsadbw', [a, b], [e.and(e.shr(n, i32(e, 3 * h)), i32(e, 7))]),
    ),
    vpblendvb_V_V_VM_V: blendBySign('i8x16', 8),
    vptest_V_VM: (length) => (e) => {
      gateAvx(e)
      const b = readHalves(e, 1, length)
      testHalves(e, readHalves(e, 0, length), b, (_, x) => e.op('v128.any_true', 'i32', [x]))
    },
    vpmovmskb_r32_V: signs('i8x16', 16),
    vpmovsxbw_V_HM: extend('s', 8, 16),
    vpmovsxbd_V_QM: extend('s', 8, 32),
    vpmovsxbq_V_EM: extend('s', 8, 64),
    vpmovsxwd_V_HM: extend('s', 16, 32),
    vpmovsxwq_V_QM: extend('s', 16, 64),
    vpmovsxdq_V_HM: extend('s', 32, 64),
    vpmovzxbw_V_HM: extend('u', 8, 16),
    vpmovzxbd_V_QM: extend('u', 8, 32),
    vpmovzxbq_V_EM: extend('u', 8, 64),
    vpmovzxwd_V_HM: extend('u', 16, 32),
    vpmovzxwq_V_QM: extend('u', 16, 64),
    vpmovzxdq_V_HM: extend('u', 32, 64),
    vpinsrb_xmm_xmm_r32_imm8: insert(8),
    vpinsrb_xmm_xmm_m8_imm8: insert(8),
    vpinsrw_xmm_xmm_r32_imm8: insert(16),
    vpinsrw_xmm_xmm_m16_imm8: insert(16),
    vpinsrd_xmm_xmm_rm32_imm8: insert(32),
    vpinsrq_xmm_xmm_rm64_imm8: insert(64),
    vpextrb_r32_xmm_imm8: extractVex(8, 'i32'),
    vpextrb_m8_xmm_imm8: extractVex(8, 'i8'),
    vpextrw_r32_xmm_imm8: extractVex(16, 'i32'),
    vpextrw_rm32_xmm_imm8: extractVex(16, 'i32'),
    vpextrw_m16_xmm_imm8: extractVex(16, 'i16'),
    vpextrd_rm32_xmm_imm8: extractVex(32, 'i32'),
    vpextrq_rm64_xmm_imm8: extractVex(64, 'i64'),
    vpcmpestrm_xmm_xmm_m128_imm8: stringMask(true),
    vpcmpestri_xmm_xmm_m128_imm8: stringIndex(true),
    vpcmpistrm_xmm_xmm_m128_imm8: stringMask(false),
    vpcmpistri_xmm_xmm_m128_imm8: stringIndex(false),
    vaesimc_xmm_xmm_m128: unary((e, b) => callLane(e, 'simd_aesimc', [b])),
    vaesenc_V_V_VM: crypto('simd_aesenc'),
    vaesenclast_V_V_VM: crypto('simd_aesenclast'),
    vaesdec_V_V_VM: crypto('simd_aesdec'),
    vaesdeclast_V_V_VM: crypto('simd_aesdeclast'),
    vaeskeygenassist_xmm_xmm_m128_imm8: unaryImm((e, b, n) => callLane(e, 'simd_aeskeygenassist', [b], [n])),
    vpclmulqdq_V_V_VM_imm8: binaryImm((e, a, b, n) => callLane(e, 'simd_pclmulqdq', [a, b], [n])),
  }),
}
