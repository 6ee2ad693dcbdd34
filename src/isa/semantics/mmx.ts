/** MMX moves, immediate shifts and lane access (SDM Vol. 2, heading of each mnemonic). */
import type { Semantics } from '../emit.ts'
import type { mmxRows } from '../rows/mmx.ts'
import { shiftLanes } from './packed.ts'
import { alignRight, extractLane, insertLane, shuffleWords } from './shuffle.ts'
import { enterMmx, gateMmx, i32, imm, lanes, low64, readMm, splat64, writeMm } from './vector.ts'
import { maskedStore } from './sse2.ts'

const move: Semantics = (e) => {
  gateMmx(e)
  writeMm(e, 0, e.zext(e.read(1), 'i64'))
}

/** Stores to memory or a general register: operand 0 takes the low bits. */
const moveOut: Semantics = (e) => {
  gateMmx(e)
  const value = e.read(1)
  e.write(0, e.trunc(value, 'i32'))
  enterMmx(e)
}

const moveOut64: Semantics = (e) => {
  gateMmx(e)
  e.write(0, e.read(1))
  enterMmx(e)
}

function shiftImm(shape: 'i16x8' | 'i32x4' | 'i64x2', kind: 'shl' | 'shr_u' | 'shr_s'): Semantics {
  const op = shiftLanes(shape, kind)
  return (e) => {
    gateMmx(e)
    writeMm(e, 0, low64(e, op(e, readMm(e, 0), e.let(e.zext(e.read(1), 'i64')))))
  }
}

const insertWord: Semantics = (e) => {
  gateMmx(e)
  const value = e.zext(e.read(1), 'i32')
  const index = e.and(imm(e, 2), i32(e, 3))
  writeMm(e, 0, low64(e, insertLane(e, 16, readMm(e, 0), index, value)))
}

export const mmxSemantics: Readonly<Record<keyof typeof mmxRows, Semantics>> = {
  movd_mm_rm32: move,
  movq_mm_rm64: move,
  movd_rm32_mm: moveOut,
  movq_rm64_mm: moveOut64,
  movq_mm_mm_m64: move,
  movq_mm_m64_mm: (e) => {
    gateMmx(e)
    const value = e.read(1)
    if (e.isMemory(0)) {
      e.write(0, value)
      enterMmx(e)
    } else writeMm(e, 0, value)
  },
  psrlw_mm_imm8: shiftImm('i16x8', 'shr_u'),
  psraw_mm_imm8: shiftImm('i16x8', 'shr_s'),
  psllw_mm_imm8: shiftImm('i16x8', 'shl'),
  psrld_mm_imm8: shiftImm('i32x4', 'shr_u'),
  psrad_mm_imm8: shiftImm('i32x4', 'shr_s'),
  pslld_mm_imm8: shiftImm('i32x4', 'shl'),
  psrlq_mm_imm8: shiftImm('i64x2', 'shr_u'),
  psllq_mm_imm8: shiftImm('i64x2', 'shl'),
  emms: (e) => {
    gateMmx(e)
    e.call('mmx_emms', [])
  },
  pshufw_mm_mm_m64_imm8: (e) => {
    gateMmx(e)
    writeMm(e, 0, low64(e, shuffleWords(e, readMm(e, 1), imm(e, 2), 'low')))
  },
  pinsrw_mm_r32_imm8: insertWord,
  pinsrw_mm_m16_imm8: insertWord,
  pextrw_r32_mm_imm8: (e) => {
    gateMmx(e)
    e.write(0, extractLane(e, 16, readMm(e, 1), e.and(imm(e, 2), i32(e, 3))))
    enterMmx(e)
  },
  pmovmskb_r32_mm: (e) => {
    gateMmx(e)
    const all = e.op('i8x16.bitmask', 'i32', [splat64(e, e.read(1))])
    e.write(0, e.and(all, i32(e, 0xff)))
    enterMmx(e)
  },
  movntq_m64_mm: moveOut64,
  maskmovq_mm_mm: (e) => {
    gateMmx(e)
    maskedStore(e, 8)
    enterMmx(e)
  },
  palignr_mm_mm_m64_imm8: (e) => {
    gateMmx(e)
    // the 16 bytes dst:src in one vector; what is shifted in is zero
    const source = e.let(readMm(e, 1))
    const both = e.op('i64x2.replace_lane', 'v128', [source, e.read(0)], [1])
    writeMm(e, 0, low64(e, alignRight(e, lanes(e, 64, [0]), e.let(both), imm(e, 2))))
  },
}
