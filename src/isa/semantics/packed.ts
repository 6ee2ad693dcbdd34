/**
 * Packed integer operations as functions of two v128 values. MMX uses them on the low 64 bits: what crosses lanes takes
 * the register width, everything else is the same. VEX forms pass their two sources instead of destination and source.
 */
import type { Emit, Semantics, Val } from '../emit.ts'
import { PACKED, mmxSource } from '../rows/packed.ts'
import {
  gateMmx,
  gateSse,
  i32,
  i64,
  lanes,
  low64,
  only32,
  read128,
  readMm,
  shuffle,
  splat64,
  v,
  writeMm,
} from './vector.ts'

export type PackedOp = (e: Emit, a: Val, b: Val, bits: 64 | 128) => Val

type Shape = 'i8x16' | 'i16x8' | 'i32x4' | 'i64x2'
const LANE_BITS = { i8x16: 8, i16x8: 16, i32x4: 32, i64x2: 64 } as const

/** Lane-wise: one wasm operator. */
const lane =
  (name: string): PackedOp =>
  (e, a, b) =>
    v(e, name, a, b)

/** Byte numbers 0-31 of lanes of `size` bytes: lane n of a, or of b from 16 / size on. */
const pick = (size: number, order: readonly number[]): number[] =>
  order.flatMap((n) => Array.from({ length: size }, (_, k) => n * size + k))

const LOW_HALVES = pick(8, [0, 2])

/** MMX operands side by side in one vector: a low, b high. */
const join = (e: Emit, a: Val, b: Val): Val => e.let(shuffle(e, a, b, LOW_HALVES))

function narrow(name: string): PackedOp {
  return (e, a, b, bits) => {
    if (bits === 128) return v(e, name, a, b)
    const both = join(e, a, b)
    return v(e, name, both, both)
  }
}

function unpack(size: number, half: 'low' | 'high'): PackedOp {
  return (e, a, b, bits) => {
    const count = bits / 8 / size / 2
    const first = half === 'low' ? 0 : count
    const order = Array.from({ length: count }, (_, n) => [first + n, first + n + 16 / size]).flat()
    while (order.length < 16 / size) order.push(0)
    return shuffle(e, a, b, pick(size, order))
  }
}

function horizontal(size: number, name: string): PackedOp {
  const n = 16 / size
  const even = pick(
    size,
    Array.from({ length: n }, (_, k) => 2 * k),
  )
  const odd = pick(
    size,
    Array.from({ length: n }, (_, k) => 2 * k + 1),
  )
  return (e, a, b, bits) => {
    const [x, y] = bits === 128 ? [a, b] : [join(e, a, b), undefined]
    return v(e, name, shuffle(e, x, y ?? x, even), shuffle(e, x, y ?? x, odd))
  }
}

/** Shift counts are 64-bit; a count of the lane width or more gives zero, or the sign. */
export function shiftLanes(shape: Shape, kind: 'shl' | 'shr_u' | 'shr_s') {
  const bits = LANE_BITS[shape]
  return (e: Emit, a: Val, count: Val): Val => {
    const fits = e.let(e.ltU(count, i64(e, bits)))
    const low = e.trunc(count, 'i32')
    if (kind === 'shr_s') return v(e, `${shape}.shr_s`, a, e.select(fits, low, i32(e, bits - 1)))
    return v(e, 'v128.and', v(e, `${shape}.${kind}`, a, low), splat64(e, e.neg(e.zext(fits, 'i64'))))
  }
}

function shift(shape: Shape, kind: 'shl' | 'shr_u' | 'shr_s'): PackedOp {
  const op = shiftLanes(shape, kind)
  return (e, a, b) => op(e, a, e.let(low64(e, b)))
}

function mulHigh(sign: 's' | 'u'): PackedOp {
  const high = pick(2, [1, 3, 5, 7, 9, 11, 13, 15])
  return (e, a, b) =>
    shuffle(
      e,
      v(e, `i32x4.extmul_low_i16x8_${sign}`, a, b),
      v(e, `i32x4.extmul_high_i16x8_${sign}`, a, b),
      high,
    )
}

/** Products of the even dwords. */
function mulEven(sign: 's' | 'u'): PackedOp {
  const even = pick(4, [0, 2, 0, 2])
  return (e, a, b) => v(e, `i64x2.extmul_low_i32x4_${sign}`, shuffle(e, a, a, even), shuffle(e, b, b, even))
}

/** Unsigned bytes of a times signed bytes of b; sums of neighbours saturate. */
const mulAddBytes: PackedOp = (e, a, b) => {
  const eight = i32(e, 8)
  const even = v(
    e,
    'i16x8.mul',
    v(e, 'v128.and', a, lanes(e, 16, [0xff])),
    v(e, 'i16x8.shr_s', v(e, 'i16x8.shl', b, eight), eight),
  )
  const odd = v(e, 'i16x8.mul', v(e, 'i16x8.shr_u', a, eight), v(e, 'i16x8.shr_s', b, eight))
  return v(e, 'i16x8.add_sat_s', even, odd)
}

/** Only -1 * -1 differs: wasm saturates it to 7FFF, PMULHRSW wraps to 8000. */
const mulRound: PackedOp = (e, a, b) => {
  const least = lanes(e, 16, [0x8000])
  const wrapped = v(e, 'v128.and', v(e, 'i16x8.eq', a, least), v(e, 'i16x8.eq', b, least))
  return v(e, 'v128.xor', v(e, 'i16x8.q15mulr_sat_s', a, b), wrapped)
}

function sign(shape: Shape): PackedOp {
  return (e, a, b) => {
    const negative = e.let(v(e, `${shape}.shr_s`, b, i32(e, LANE_BITS[shape] - 1)))
    const signed = v(e, `${shape}.sub`, v(e, 'v128.xor', a, negative), negative)
    return v(e, 'v128.andnot', signed, v(e, `${shape}.eq`, b, lanes(e, 64, [0])))
  }
}

const sumAbsoluteDifferences: PackedOp = (e, a, b) => {
  const difference = v(e, 'v128.or', v(e, 'i8x16.sub_sat_u', a, b), v(e, 'i8x16.sub_sat_u', b, a))
  const words = v(e, 'i16x8.extadd_pairwise_i8x16_u', difference)
  const dwords = e.let(v(e, 'i32x4.extadd_pairwise_i16x8_u', words))
  return v(
    e,
    'i64x2.add',
    v(e, 'v128.and', dwords, lanes(e, 64, [0xffff_ffff])),
    v(e, 'i64x2.shr_u', dwords, i32(e, 32)),
  )
}

/** A set bit 7 of the selector gives zero; otherwise only the bits that number a byte of the register count. */
const shuffleBytes: PackedOp = (e, a, b, bits) =>
  v(e, 'i8x16.swizzle', a, v(e, 'v128.and', b, lanes(e, 8, [bits === 128 ? 0x8f : 0x87])))

const minimumPosition: PackedOp = (e, _a, b) => {
  const fold = (x: Val, order: readonly number[]): Val =>
    e.let(v(e, 'i16x8.min_u', x, shuffle(e, x, x, pick(2, order))))
  const least = fold(
    fold(fold(b, [4, 5, 6, 7, 0, 1, 2, 3]), [2, 3, 0, 1, 6, 7, 4, 5]),
    [1, 0, 3, 2, 5, 4, 7, 6],
  )
  const where = e.ctz(e.op('i16x8.bitmask', 'i32', [v(e, 'i16x8.eq', b, least)]))
  return only32(e, e.or(e.op('i16x8.extract_lane_u', 'i32', [least], [0]), e.shl(where, i32(e, 16))))
}

// prettier-ignore
export const PACKED_OPS: Readonly<Record<string, PackedOp>> = {
  punpcklbw: unpack(1, 'low'), punpcklwd: unpack(2, 'low'), punpckldq: unpack(4, 'low'), punpcklqdq: unpack(8, 'low'),
  punpckhbw: unpack(1, 'high'), punpckhwd: unpack(2, 'high'), punpckhdq: unpack(4, 'high'), punpckhqdq: unpack(8, 'high'),
  packsswb: narrow('i8x16.narrow_i16x8_s'), packuswb: narrow('i8x16.narrow_i16x8_u'),
  packssdw: narrow('i16x8.narrow_i32x4_s'), packusdw: narrow('i16x8.narrow_i32x4_u'),

  pcmpeqb: lane('i8x16.eq'), pcmpeqw: lane('i16x8.eq'), pcmpeqd: lane('i32x4.eq'), pcmpeqq: lane('i64x2.eq'),
  pcmpgtb: lane('i8x16.gt_s'), pcmpgtw: lane('i16x8.gt_s'), pcmpgtd: lane('i32x4.gt_s'), pcmpgtq: lane('i64x2.gt_s'),

  paddb: lane('i8x16.add'), paddw: lane('i16x8.add'), paddd: lane('i32x4.add'), paddq: lane('i64x2.add'),
  psubb: lane('i8x16.sub'), psubw: lane('i16x8.sub'), psubd: lane('i32x4.sub'), psubq: lane('i64x2.sub'),
  paddsb: lane('i8x16.add_sat_s'), paddsw: lane('i16x8.add_sat_s'), paddusb: lane('i8x16.add_sat_u'), paddusw: lane('i16x8.add_sat_u'),
  psubsb: lane('i8x16.sub_sat_s'), psubsw: lane('i16x8.sub_sat_s'), psubusb: lane('i8x16.sub_sat_u'), psubusw: lane('i16x8.sub_sat_u'),
  pavgb: lane('i8x16.avgr_u'), pavgw: lane('i16x8.avgr_u'),
  pminub: lane('i8x16.min_u'), pminuw: lane('i16x8.min_u'), pminud: lane('i32x4.min_u'),
  pminsb: lane('i8x16.min_s'), pminsw: lane('i16x8.min_s'), pminsd: lane('i32x4.min_s'),
  pmaxub: lane('i8x16.max_u'), pmaxuw: lane('i16x8.max_u'), pmaxud: lane('i32x4.max_u'),
  pmaxsb: lane('i8x16.max_s'), pmaxsw: lane('i16x8.max_s'), pmaxsd: lane('i32x4.max_s'),
  pabsb: (e, _a, b) => v(e, 'i8x16.abs', b), pabsw: (e, _a, b) => v(e, 'i16x8.abs', b), pabsd: (e, _a, b) => v(e, 'i32x4.abs', b),
  psignb: sign('i8x16'), psignw: sign('i16x8'), psignd: sign('i32x4'),

  pmullw: lane('i16x8.mul'), pmulld: lane('i32x4.mul'), pmaddwd: lane('i32x4.dot_i16x8_s'),
  pmulhw: mulHigh('s'), pmulhuw: mulHigh('u'), pmuludq: mulEven('u'), pmuldq: mulEven('s'),
  pmaddubsw: mulAddBytes, pmulhrsw: mulRound, psadbw: sumAbsoluteDifferences, phminposuw: minimumPosition,

  phaddw: horizontal(2, 'i16x8.add'), phaddd: horizontal(4, 'i32x4.add'), phaddsw: horizontal(2, 'i16x8.add_sat_s'),
  phsubw: horizontal(2, 'i16x8.sub'), phsubd: horizontal(4, 'i32x4.sub'), phsubsw: horizontal(2, 'i16x8.sub_sat_s'),

  pand: lane('v128.and'), por: lane('v128.or'), pxor: lane('v128.xor'), pandn: (e, a, b) => v(e, 'v128.andnot', b, a),
  pshufb: shuffleBytes,

  psrlw: shift('i16x8', 'shr_u'), psrld: shift('i32x4', 'shr_u'), psrlq: shift('i64x2', 'shr_u'),
  psraw: shift('i16x8', 'shr_s'), psrad: shift('i32x4', 'shr_s'),
  psllw: shift('i16x8', 'shl'), pslld: shift('i32x4', 'shl'), psllq: shift('i64x2', 'shl'),
}

/** xmm_r = op(xmm_r, xmm_m128). */
export function packedXmm(op: PackedOp): Semantics {
  return (e) => {
    gateSse(e)
    const b = read128(e, 1)
    e.write(0, op(e, e.read(0), b, 128))
  }
}

/** mm_r = op(mm_r, mm_m64). */
export function packedMm(op: PackedOp): Semantics {
  return (e) => {
    gateMmx(e)
    const b = readMm(e, 1)
    writeMm(e, 0, low64(e, op(e, readMm(e, 0), b, 64)))
  }
}

function opOf(mnemonic: string): PackedOp {
  const op = PACKED_OPS[mnemonic]
  if (!op) throw new Error(`packed row ${mnemonic} has no operation`)
  return op
}

export const packedSemantics: Readonly<Record<string, Semantics>> = Object.fromEntries(
  PACKED.flatMap(([mnemonic, , mm]) => {
    const op = opOf(mnemonic)
    const wide = [`${mnemonic}_xmm_xmm_m128`, packedXmm(op)] as const
    return mm === '' ? [wide] : [[`${mnemonic}_mm_${mmxSource(mnemonic)}`, packedMm(op)] as const, wide]
  }),
)
