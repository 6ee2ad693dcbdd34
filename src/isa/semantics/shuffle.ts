/**
 * Shuffles, blends, inserts and extracts whose lane numbers come from an immediate. The interpreter knows the immediate only
 * when it runs, so a byte selector is computed from it and i8x16.swizzle applies it.
 */
import type { Emit, Val } from '../emit.ts'
import { i32, lanes, v, vconst } from './vector.ts'

const IOTA = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
const swizzle = (e: Emit, a: Val, selector: Val): Val => v(e, 'i8x16.swizzle', a, selector)

/** Four 2-bit fields of imm spread over the dwords: lane j = (imm >> 2j) & 3. */
function fields32(e: Emit, imm: Val): Val {
  const spread = v(e, 'i32x4.mul', v(e, 'i32x4.splat', imm), lanes(e, 32, [64, 16, 4, 1]))
  return v(e, 'v128.and', v(e, 'i32x4.shr_u', spread, i32(e, 6)), lanes(e, 32, [3]))
}

/** The same over the words, repeated for the upper four. */
function fields16(e: Emit, imm: Val): Val {
  const spread = v(e, 'i16x8.mul', v(e, 'i16x8.splat', imm), lanes(e, 16, [64, 16, 4, 1]))
  return v(e, 'v128.and', v(e, 'i16x8.shr_u', spread, i32(e, 6)), lanes(e, 16, [3]))
}

function dwordSelector(e: Emit, imm: Val): Val {
  return v(
    e,
    'i32x4.add',
    v(e, 'i32x4.mul', fields32(e, imm), lanes(e, 32, [0x0404_0404])),
    lanes(e, 32, [0x0302_0100]),
  )
}

/** PSHUFD */
export function shuffleDwords(e: Emit, a: Val, imm: Val): Val {
  return swizzle(e, a, dwordSelector(e, imm))
}

/** PSHUFLW, PSHUFHW, and PSHUFW of MMX (which is PSHUFLW's low half). */
export function shuffleWords(e: Emit, a: Val, imm: Val, half: 'low' | 'high'): Val {
  const selected = v(e, 'i16x8.mul', fields16(e, imm), lanes(e, 16, [0x0202]))
  const low = half === 'low'
  const base = lanes(
    e,
    16,
    low ? [0x0100, 0x0100, 0x0100, 0x0100, 0, 0, 0, 0] : [0, 0, 0, 0, 0x0908, 0x0908, 0x0908, 0x0908],
  )
  const kept = lanes(e, 64, low ? [0, ~0n] : [~0n, 0])
  return swizzle(e, a, v(e, 'v128.bitselect', vconst(e, IOTA), v(e, 'i16x8.add', selected, base), kept))
}

/** SHUFPS: two dwords of a, then two of b. */
export function shuffleSingles(e: Emit, a: Val, b: Val, imm: Val): Val {
  const selector = e.let(dwordSelector(e, imm))
  const fromA = swizzle(e, a, v(e, 'v128.or', selector, lanes(e, 64, [0, ~0n])))
  return v(e, 'v128.or', fromA, swizzle(e, b, v(e, 'v128.or', selector, lanes(e, 64, [~0n, 0]))))
}

/** SHUFPD: bit 0 chooses the qword of a, bit 1 that of b. As SHUFPS with imm's bits doubled to dword numbers. */
export function shuffleDoubles(e: Emit, a: Val, b: Val, imm: Val): Val {
  // field pairs: (2 * bit, 2 * bit + 1), which as four 2-bit fields is 0x44 + 0x0a * bit0 + 0xa0 * bit1
  const bit0 = e.and(imm, i32(e, 1))
  const bit1 = e.and(e.shr(imm, i32(e, 1)), i32(e, 1))
  const dwords = e.add(i32(e, 0x44), e.add(e.mul(bit0, i32(e, 0x0a)), e.mul(bit1, i32(e, 0xa0))))
  return shuffleSingles(e, a, b, e.let(dwords))
}

/** Byte shift towards lane 0 with zeros shifted in; n i32, unsigned. */
export function shiftBytesRight(e: Emit, a: Val, n: Val): Val {
  return swizzle(e, a, v(e, 'i8x16.add', vconst(e, IOTA), v(e, 'i8x16.splat', atMost(e, n, 16))))
}

export function shiftBytesLeft(e: Emit, a: Val, n: Val): Val {
  return swizzle(e, a, v(e, 'i8x16.sub', vconst(e, IOTA), v(e, 'i8x16.splat', atMost(e, n, 16))))
}

/** PALIGNR: bytes n.. of the 32 bytes high:low (16 bytes high:low of MMX). */
export function alignRight(e: Emit, high: Val, low: Val, n: Val): Val {
  const count = e.let(v(e, 'i8x16.splat', atMost(e, n, 32)))
  const selector = e.let(v(e, 'i8x16.add', vconst(e, IOTA), count))
  const fromHigh = swizzle(e, high, v(e, 'i8x16.sub', selector, lanes(e, 8, [16])))
  return v(e, 'v128.or', swizzle(e, low, selector), fromHigh)
}

function atMost(e: Emit, n: Val, limit: number): Val {
  return e.select(e.ltU(n, i32(e, limit)), n, i32(e, limit))
}

const SHAPES = { 8: 'i8x16', 16: 'i16x8', 32: 'i32x4', 64: 'i64x2' } as const

/** All-ones lanes where the bit of imm with the lane's number is set. */
export function maskFromBits(e: Emit, bits: 16 | 32 | 64, imm: Val): Val {
  const numbers = lanes(
    e,
    bits,
    Array.from({ length: 128 / bits }, (_, n) => 1 << n),
  )
  const splat =
    bits === 64 ? e.op('i64x2.splat', 'v128', [e.zext(imm, 'i64')]) : v(e, `${SHAPES[bits]}.splat`, imm)
  return v(e, `${SHAPES[bits]}.eq`, v(e, 'v128.and', splat, numbers), numbers)
}

/** b where the mask is set, else a. */
export function blend(e: Emit, a: Val, b: Val, mask: Val): Val {
  return v(e, 'v128.bitselect', b, a, mask)
}

/** Lane `index` (i32, already in range) replaced; value is i32, or i64 for 64-bit lanes. */
export function insertLane(e: Emit, bits: 8 | 16 | 32 | 64, a: Val, index: Val, value: Val): Val {
  const numbers = lanes(
    e,
    bits,
    Array.from({ length: 128 / bits }, (_, n) => n),
  )
  const where = bits === 64 ? e.zext(index, 'i64') : index
  const mask = v(e, `${SHAPES[bits]}.eq`, numbers, v(e, `${SHAPES[bits]}.splat`, where))
  return blend(e, a, v(e, `${SHAPES[bits]}.splat`, value), mask)
}

/** Lane `index` (i32, already in range), zero-extended: i64 for 64-bit lanes, else i32. */
export function extractLane(e: Emit, bits: 8 | 16 | 32 | 64, a: Val, index: Val): Val {
  const byte = e.mul(index, i32(e, bits / 8))
  const moved = swizzle(e, a, v(e, 'i8x16.add', vconst(e, IOTA), v(e, 'i8x16.splat', byte)))
  const suffix = bits < 32 ? '_u' : ''
  return e.op(`${SHAPES[bits]}.extract_lane${suffix}`, bits === 64 ? 'i64' : 'i32', [moved], [0])
}

/** The low lanes of a widened, as many as fit: wasm does one step, so two or three of them in a row. */
export function widenLanes(e: Emit, a: Val, sign: 's' | 'u', from: 8 | 16 | 32, to: 16 | 32 | 64): Val {
  let value = a
  if (from <= 8) value = v(e, `i16x8.extend_low_i8x16_${sign}`, value)
  if (from <= 16 && to >= 32) value = v(e, `i32x4.extend_low_i16x8_${sign}`, value)
  if (to === 64) value = v(e, `i64x2.extend_low_i32x4_${sign}`, value)
  return value
}
