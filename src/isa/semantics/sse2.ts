/** SSE2 moves, conversions, immediate shifts and lane access. */
import type { Emit, Semantics, Val } from '../emit.ts'
import type { sse2Rows } from '../rows/sse2.ts'
import { choose, exactVector, fromVector, readLane, writeLane } from './float.ts'
import {
  nativeFromIntegers,
  nativeNarrow,
  nativeNarrowPacked,
  nativeToIntegers,
  nativeWiden,
  nativeWidenLow,
} from './float-native.ts'
import { shiftLanes } from './packed.ts'
import {
  extractLane,
  insertLane,
  shiftBytesLeft,
  shiftBytesRight,
  shuffleDoubles,
  shuffleDwords,
  shuffleWords,
} from './shuffle.ts'
import {
  compare,
  fromInteger,
  load128,
  loadHalf,
  mix,
  qwords,
  store128,
  storeAligned,
  storeHalf,
  toInteger,
  toMmx,
} from './sse.ts'
import {
  callValue,
  enterMmx,
  gateMmx,
  gateSse,
  i32,
  i64,
  imm,
  low32,
  low64,
  only32,
  only64,
  read128,
  shuffle,
  sourceAddress128,
  spill,
  splat64,
  v,
  writeMm,
} from './vector.ts'

/** CVTPS2DQ and its kin. */
const toIntegers = (format: 'ps' | 'pd', truncate: 0 | 1): Semantics =>
  fromVector((e, x) => {
    const name = format === 'ps' ? 'sse_cvtps2dq' : 'sse_cvtpd2dq'
    const exact = (): Val => exactVector(e, name, [x], i32(e, truncate))
    return choose(e, nativeToIntegers(e, format, x, truncate === 1), exact)
  })

/** 64-bit source: the low half of a register, or memory; i64. */
const readLow64 = (e: Emit, i: number): Val => e.let(e.isMemory(i) ? e.read(i) : low64(e, e.read(i)))

const shuffleImm =
  (op: (e: Emit, a: Val, imm: Val) => Val): Semantics =>
  (e) => {
    gateSse(e)
    e.write(0, op(e, read128(e, 1), imm(e, 2)))
  }

function shiftImm(shape: 'i16x8' | 'i32x4' | 'i64x2', kind: 'shl' | 'shr_u' | 'shr_s'): Semantics {
  const op = shiftLanes(shape, kind)
  return (e) => {
    gateSse(e)
    e.write(0, op(e, e.read(0), e.let(e.zext(e.read(1), 'i64'))))
  }
}

const shiftBytes =
  (op: (e: Emit, a: Val, n: Val) => Val): Semantics =>
  (e) => {
    gateSse(e)
    e.write(0, op(e, e.read(0), imm(e, 1)))
  }

/** PINSRB to PINSRQ: operand 1 is a general register or memory of the lane's size or wider. */
export const insert =
  (bits: 8 | 16 | 32 | 64): Semantics =>
  (e) => {
    gateSse(e)
    const value = e.zext(e.read(1), bits === 64 ? 'i64' : 'i32')
    const index = e.and(imm(e, 2), i32(e, 128 / bits - 1))
    e.write(0, insertLane(e, bits, e.read(0), index, value))
  }

/** PEXTRB to PEXTRQ into operand 0. */
export const extract =
  (bits: 8 | 16 | 32 | 64, destination: 'i8' | 'i16' | 'i32' | 'i64'): Semantics =>
  (e) => {
    gateSse(e)
    const value = extractLane(e, bits, e.read(1), e.and(imm(e, 2), i32(e, 128 / bits - 1)))
    e.write(0, destination === 'i8' || destination === 'i16' ? e.trunc(value, destination) : value)
  }

/** MASKMOVQ, MASKMOVDQU: bytes of operand 0 go to DS:rDI where bit 7 of the byte of operand 1 is set. */
export function maskedStore(e: Emit, bytes: 8 | 16): void {
  const size = e.addressBytes()
  const rdi = e.reg('rdi')
  const wide = e.eq(size, i32(e, 8))
  const mask = e.select(
    wide,
    i64(e, ~0n),
    e.select(e.eq(size, i32(e, 4)), i64(e, 0xffff_ffff), i64(e, 0xffff)),
  )
  const gva = callValue(e, 'seg_linear', [e.seg(), e.and(rdi, mask), i32(e, bytes | 0x100)])
  e.call('simd_masked_store', [gva, e.addressOf(0), e.addressOf(1), i32(e, bytes), e.seg()])
}

export const sse2Semantics: Readonly<Record<keyof typeof sse2Rows, Semantics>> = {
  movupd_xmm_xmm_m128: load128(false),
  movupd_xmm_m128_xmm: store128(false),
  movsd_xmm_xmm: (e) => {
    gateSse(e)
    e.write(0, shuffle(e, e.read(0), e.read(1), qwords(2, 1)))
  },
  movsd_xmm_m64: (e) => {
    gateSse(e)
    e.write(0, only64(e, e.read(1)))
  },
  movsd_xmm_m64_xmm: (e) => {
    gateSse(e)
    e.write(0, low64(e, e.read(1)))
  },
  movlpd_xmm_m64: loadHalf(0),
  movlpd_m64_xmm: storeHalf(0),
  unpcklpd_xmm_xmm_m128: mix(qwords(0, 2)),
  unpckhpd_xmm_xmm_m128: mix(qwords(1, 3)),
  movhpd_xmm_m64: loadHalf(1),
  movhpd_m64_xmm: storeHalf(1),
  movapd_xmm_xmm_m128: load128(true),
  movapd_xmm_m128_xmm: store128(true),
  cvtpi2pd_xmm_mm_m64: (e) => {
    gateSse(e)
    // a memory source leaves the x87 alone (SDM Vol. 2, CVTPI2PD)
    if (!e.isMemory(1)) gateMmx(e)
    e.call('sse_cvtdq2pd', [e.addressOf(0), spill(e, e.read(1))])
    if (!e.isMemory(1)) enterMmx(e)
  },
  cvtsi2sd_xmm_rm32: fromInteger('f64'),
  cvtsi2sd_xmm_rm64: fromInteger('f64'),
  movntpd_m128_xmm: storeAligned,
  cvttpd2pi_mm_xmm_m128: toMmx('sse_cvtpd2pi', 1, (e) => sourceAddress128(e, 1)),
  cvttsd2si_r32_xmm_m64: toInteger('f64', 32, 1),
  cvttsd2si_r64_xmm_m64: toInteger('f64', 64, 1),
  cvtpd2pi_mm_xmm_m128: toMmx('sse_cvtpd2pi', 0, (e) => sourceAddress128(e, 1)),
  cvtsd2si_r32_xmm_m64: toInteger('f64', 32, 0),
  cvtsd2si_r64_xmm_m64: toInteger('f64', 64, 0),
  ucomisd_xmm_xmm_m64: compare('f64', 0),
  comisd_xmm_xmm_m64: compare('f64', 1),
  movmskpd_r32_xmm: (e) => {
    gateSse(e)
    e.write(0, e.op('i64x2.bitmask', 'i32', [e.read(1)]))
  },
  cvtps2pd_xmm_xmm_m64: (e) => {
    gateSse(e)
    const low = readLow64(e, 1)
    e.write(
      0,
      choose(e, nativeWidenLow(e, low), () => exactVector(e, 'sse_cvtps2pd', [splat64(e, low)])),
    )
  },
  cvtpd2ps_xmm_xmm_m128: fromVector((e, x) =>
    choose(e, nativeNarrowPacked(e, x), () => exactVector(e, 'sse_cvtpd2ps', [x])),
  ),
  cvtss2sd_xmm_xmm_m32: (e) => {
    gateSse(e)
    const x = e.let(readLane(e, 1, 'f32'))
    const exact = (): Val => {
      const to = e.scratch(1)
      e.call('sse_cvtss2sd', [to, spill(e, x)])
      return e.loadAt('f64', to)
    }
    writeLane(e, e.read(0), choose(e, nativeWiden(e, x), exact))
  },
  cvtsd2ss_xmm_xmm_m64: (e) => {
    gateSse(e)
    const x = e.let(readLane(e, 1, 'f64'))
    const exact = (): Val => {
      const to = e.scratch(1)
      e.call('sse_cvtsd2ss', [to, spill(e, x)])
      return e.loadAt('f32', to)
    }
    writeLane(e, e.read(0), choose(e, nativeNarrow(e, x), exact))
  },
  cvtdq2ps_xmm_xmm_m128: fromVector((e, x) =>
    choose(e, nativeFromIntegers(e, x), () => exactVector(e, 'sse_cvtdq2ps', [x])),
  ),
  cvtps2dq_xmm_xmm_m128: toIntegers('ps', 0),
  cvttps2dq_xmm_xmm_m128: toIntegers('ps', 1),
  cvttpd2dq_xmm_xmm_m128: toIntegers('pd', 1),
  cvtdq2pd_xmm_xmm_m64: (e) => {
    gateSse(e)
    e.write(0, v(e, 'f64x2.convert_low_i32x4_s', splat64(e, readLow64(e, 1))))
  },
  cvtpd2dq_xmm_xmm_m128: toIntegers('pd', 0),
  movd_xmm_rm32: (e) => {
    gateSse(e)
    e.write(0, only32(e, e.read(1)))
  },
  movq_xmm_rm64: (e) => {
    gateSse(e)
    e.write(0, only64(e, e.read(1)))
  },
  movd_rm32_xmm: (e) => {
    gateSse(e)
    e.write(0, low32(e, e.read(1)))
  },
  movq_rm64_xmm: (e) => {
    gateSse(e)
    e.write(0, low64(e, e.read(1)))
  },
  movq_xmm_xmm_m64: (e) => {
    gateSse(e)
    e.write(0, only64(e, e.isMemory(1) ? e.read(1) : low64(e, e.read(1))))
  },
  movq_xmm_xmm: (e) => {
    gateSse(e)
    e.write(0, only64(e, low64(e, e.read(1))))
  },
  movq_m64_xmm: storeHalf(0),
  movdqa_xmm_xmm_m128: load128(true),
  movdqu_xmm_xmm_m128: load128(false),
  movdqa_xmm_m128_xmm: store128(true),
  movdqu_xmm_m128_xmm: store128(false),
  pshufd_xmm_xmm_m128_imm8: shuffleImm(shuffleDwords),
  pshufhw_xmm_xmm_m128_imm8: shuffleImm((e, a, n) => shuffleWords(e, a, n, 'high')),
  pshuflw_xmm_xmm_m128_imm8: shuffleImm((e, a, n) => shuffleWords(e, a, n, 'low')),
  psrlw_xmm_imm8: shiftImm('i16x8', 'shr_u'),
  psraw_xmm_imm8: shiftImm('i16x8', 'shr_s'),
  psllw_xmm_imm8: shiftImm('i16x8', 'shl'),
  psrld_xmm_imm8: shiftImm('i32x4', 'shr_u'),
  psrad_xmm_imm8: shiftImm('i32x4', 'shr_s'),
  pslld_xmm_imm8: shiftImm('i32x4', 'shl'),
  psrlq_xmm_imm8: shiftImm('i64x2', 'shr_u'),
  psrldq_xmm_imm8: shiftBytes(shiftBytesRight),
  psllq_xmm_imm8: shiftImm('i64x2', 'shl'),
  pslldq_xmm_imm8: shiftBytes(shiftBytesLeft),
  pinsrw_xmm_r32_imm8: insert(16),
  pinsrw_xmm_m16_imm8: insert(16),
  pextrw_r32_xmm_imm8: extract(16, 'i32'),
  shufpd_xmm_xmm_m128_imm8: (e) => {
    gateSse(e)
    const b = read128(e, 1)
    e.write(0, shuffleDoubles(e, e.read(0), b, imm(e, 2)))
  },
  movq2dq_xmm_mm: (e) => {
    gateSse(e)
    gateMmx(e)
    e.write(0, only64(e, e.read(1)))
    enterMmx(e)
  },
  movdq2q_mm_xmm: (e) => {
    gateSse(e)
    gateMmx(e)
    writeMm(e, 0, low64(e, e.read(1)))
  },
  pmovmskb_r32_xmm: (e) => {
    gateSse(e)
    e.write(0, e.op('i8x16.bitmask', 'i32', [e.read(1)]))
  },
  movntdq_m128_xmm: storeAligned,
  maskmovdqu_xmm_xmm: (e) => {
    gateSse(e)
    maskedStore(e, 16)
  },
}
