/**
 * Floating point on the host's own operators. A WebAssembly operator rounds to nearest, knows neither DAZ nor FTZ nor flags,
 * and leaves the payload of a NaN open; a Native says what it computes and when that is all the instruction does:
 *
 *   ready    RC = nearest, PE masked and sticky: an inexact result raises nothing that is not there
 *   silent   the same for any rounding
 *   calm     the operand is no denormal (DE, DAZ)
 *   inner    the result is finite and at least 2^-1021 in size: no NaN, overflow, underflow, nor a tiny value rounded up (FTZ)
 *
 * The other masks and flags do not matter then, for nothing else arises. Numbers at the edges of `calm` and `inner` are
 * refused where that makes the test shorter. SDM Vol. 1, 4.9 and 11.5; the exact way is src/kernel/fp.
 */
import { CPU_MXCSR } from '#abi/layout.ts'
import type { Emit, Val } from '../emit.ts'
import type { FloatFormat } from '../rows/float.ts'
import { i32, i64, lanes, low64, shuffle, splat64, v } from './vector.ts'

export interface Native {
  readonly value: Val
  /** Conditions, i32: the value is right and MXCSR stays as it is if each of `all` and one of `any` is nonzero. */
  readonly all: readonly Val[]
  readonly any: readonly Val[]
}

export type Binary = 'add' | 'sub' | 'mul' | 'div' | 'min' | 'max'
export type Lane = 'f32' | 'f64'

const PM = 0x1000
const RC = 0x6000
const PE = 0x20

export const isPacked = (format: FloatFormat): boolean => format.startsWith('p')
export const laneOf = (format: FloatFormat): Lane => (format.endsWith('s') ? 'f32' : 'f64')
const shapeOf = (format: FloatFormat): 'f32x4' | 'f64x2' => (laneOf(format) === 'f32' ? 'f32x4' : 'f64x2')
const intShapeOf = (format: FloatFormat): 'i32x4' | 'i64x2' => (laneOf(format) === 'f32' ? 'i32x4' : 'i64x2')

const mxcsrIs = (e: Emit, mask: number, value: number): Val =>
  e.eq(e.and(e.getCpu('i32', CPU_MXCSR), i32(e, mask)), i32(e, value))

export const ready = (e: Emit): Val => mxcsrIs(e, PM | RC | PE, PM | PE)
export const silent = (e: Emit): Val => mxcsrIs(e, PM | PE, PM | PE)
const nearest = (e: Emit): Val => mxcsrIs(e, RC, 0)

// --- one lane ---

const one = (e: Emit, name: string, ...args: readonly Val[]): Val =>
  e.op(`${args[0]?.ty}.${name}`, /^(eq|ne|lt|gt|le|ge)$/.test(name) ? 'i32' : (args[0]?.ty ?? 'f64'), args)

const bitsOf = (e: Emit, x: Val): Val =>
  x.ty === 'f32' ? e.op('i32.reinterpret_f32', 'i32', [x]) : e.op('i64.reinterpret_f64', 'i64', [x])

/** Twice the bits: the sign is gone. */
const doubled = (e: Emit, x: Val): Val => e.shl(bitsOf(e, x), i32(e, 1))

/** Nonzero unless 0 < |x| <= the smallest normal: less one, zero wraps to the top and a denormal has no exponent. */
export function calm(e: Emit, x: Val): Val {
  const less = e.add(doubled(e, x), e.const(x.ty === 'f32' ? 'i32' : 'i64', -1))
  return e.trunc(e.shr(less, i32(e, x.ty === 'f32' ? 24 : 53)), 'i32')
}

/** Nonzero if the exponent field is from 3 to the last of finite numbers: one more, and the lowest two bits dropped, is not 0. */
export function inner(e: Emit, x: Val): Val {
  const field = e.trunc(e.shr(bitsOf(e, x), i32(e, x.ty === 'f32' ? 23 : 52)), 'i32')
  return e.and(e.add(field, i32(e, 1)), i32(e, x.ty === 'f32' ? 0xfc : 0x7fc))
}

const zero = (e: Emit, x: Val): Val => e.isZero(doubled(e, x))

/** Neither is a NaN (nor are they infinities whose sum is one). */
function ordered(e: Emit, a: Val, b: Val): Val {
  const sum = one(e, 'add', a, b)
  return one(e, 'eq', sum, sum)
}

// --- four or two lanes: the same conditions as lanes that are nonzero ---

function fields(e: Emit, format: FloatFormat, x: Val, offset: Val, drop: number): Val {
  const shape = intShapeOf(format)
  return v(
    e,
    `${shape}.shr_u`,
    v(e, `${shape}.add`, v(e, `${shape}.shl`, x, i32(e, 1)), offset),
    i32(e, drop),
  )
}

/** All ones, as a comparison of a value with itself: three bytes and one instruction instead of eighteen. */
const calmLanes = (e: Emit, format: FloatFormat, x: Val): Val =>
  fields(e, format, x, v(e, 'i32x4.eq', x, x), laneOf(format) === 'f32' ? 24 : 53)

/** Up to 2^127 or 2^1023 here. */
const innerLanes = (e: Emit, format: FloatFormat, x: Val): Val =>
  laneOf(format) === 'f32'
    ? fields(e, format, x, v(e, 'i32x4.splat', i32(e, 2 ** 25 - 1)), 26)
    : fields(e, format, x, splat64(e, i64(e, 2n ** 54n - 1n)), 55)

/** Lanes that are nonzero in both; the fields of 64-bit lanes have no upper half. */
const both = (e: Emit, a: Val, b: Val): Val => v(e, 'i32x4.min_u', a, b)

const allTrue = (e: Emit, format: FloatFormat, x: Val): Val =>
  e.op(`${intShapeOf(format)}.all_true`, 'i32', [x])

/** `accept` makes lanes of a mask that are fine though not inner. */
function innerOr(
  e: Emit,
  format: FloatFormat,
  operands: Val,
  value: Val,
  accept: () => Val,
): readonly [Val, Val] {
  const fine = innerLanes(e, format, value)
  const more = v(e, 'v128.or', fine, accept())
  return [allTrue(e, format, both(e, operands, fine)), allTrue(e, format, both(e, operands, more))]
}

// --- operations; scalar ones take and give f32 or f64, packed ones v128 ---

/** What may come out besides numbers that are inner: sums that are zero; products and quotients that equal an operand (0, infinity). */
function packedResult(e: Emit, op: Binary, format: FloatFormat, value: Val, a: Val, b: Val): Native {
  const same = (x: Val): Val => v(e, `${shapeOf(format)}.eq`, x, value)
  const calmBoth = both(e, calmLanes(e, format, a), calmLanes(e, format, b))
  const accept = (): Val => {
    if (op === 'add' || op === 'sub') return same(v(e, 'i32x4.splat', i32(e, 0)))
    return op === 'div' ? same(a) : v(e, 'v128.or', same(a), same(b))
  }
  return { value, all: [ready(e)], any: innerOr(e, format, calmBoth, value, accept) }
}

function scalarResult(e: Emit, op: Binary, value: Val, a: Val, b: Val): Native {
  const all = [ready(e), calm(e, a), calm(e, b)]
  if (op === 'add' || op === 'sub') return { value, all, any: [inner(e, value), zero(e, value)] }
  const any = [inner(e, value), one(e, 'eq', a, value)]
  return { value, all, any: op === 'div' ? any : [...any, one(e, 'eq', b, value)] }
}

/** MIN, MAX and comparisons: exact in every mode. */
function comparing(e: Emit, format: FloatFormat, value: Val, a: Val, b: Val): Native {
  if (!isPacked(format)) return { value, all: [calm(e, a), calm(e, b)], any: [ordered(e, a, b)] }
  const sum = v(e, `${shapeOf(format)}.add`, a, b)
  const numbers = v(e, `${shapeOf(format)}.eq`, sum, sum)
  const calmBoth = both(e, calmLanes(e, format, a), calmLanes(e, format, b))
  return { value, all: [], any: [allTrue(e, format, both(e, calmBoth, numbers))] }
}

/** The second operand unless the first is beyond it; as vectors, because a scalar select is a branch. */
function nativeExtreme(e: Emit, op: 'min' | 'max', format: FloatFormat, a: Val, b: Val): Native {
  const shape = shapeOf(format)
  const vector = (x: Val): Val => (isPacked(format) ? x : v(e, `${shape}.splat`, x))
  const chosen = v(e, `${shape}.p${op}`, vector(b), vector(a))
  const value = isPacked(format) ? chosen : lowOf(e, laneOf(format), chosen)
  return comparing(e, format, value, a, b)
}

export function nativeBinary(e: Emit, op: Binary, format: FloatFormat, a: Val, b: Val): Native {
  if (op === 'min' || op === 'max') return nativeExtreme(e, op, format, a, b)
  if (isPacked(format)) return packedResult(e, op, format, v(e, `${shapeOf(format)}.${op}`, a, b), a, b)
  return scalarResult(e, op, one(e, op, a, b), a, b)
}

/** A square root may also equal its operand: zeros and infinity. */
export function nativeSqrt(e: Emit, format: FloatFormat, a: Val): Native {
  if (!isPacked(format)) {
    const value = one(e, 'sqrt', a)
    return { value, all: [ready(e), calm(e, a)], any: [inner(e, value), one(e, 'eq', a, value)] }
  }
  const value = v(e, `${shapeOf(format)}.sqrt`, a)
  const accept = (): Val => v(e, `${shapeOf(format)}.eq`, a, value)
  return { value, all: [ready(e)], any: innerOr(e, format, calmLanes(e, format, a), value, accept) }
}

/** ADDSUBPS, ADDSUBPD: differences in even lanes, sums in odd ones. */
export function nativeAddSub(e: Emit, format: 'ps' | 'pd', a: Val, b: Val): Native {
  const bytes = format === 'ps' ? 4 : 8
  const order = Array.from({ length: 16 }, (_, i) => (Math.floor(i / bytes) % 2 === 0 ? i : 16 + i))
  const [differences, sums] = [v(e, `${shapeOf(format)}.sub`, a, b), v(e, `${shapeOf(format)}.add`, a, b)]
  return packedResult(e, 'add', format, shuffle(e, differences, sums, order), a, b)
}

/** HADDPS and its kin: neighbours of a, then of b. */
export function nativeHorizontal(e: Emit, op: 'add' | 'sub', format: 'ps' | 'pd', a: Val, b: Val): Native {
  const bytes = format === 'ps' ? 4 : 8
  const every = (first: number): Val =>
    shuffle(
      e,
      a,
      b,
      Array.from({ length: 16 }, (_, i) => (2 * Math.floor(i / bytes) + first) * bytes + (i % bytes)),
    )
  return nativeBinary(e, op, format, every(0), every(1))
}

// --- comparisons ---

const PREDICATES = ['eq', 'lt', 'le', undefined, 'ne', 'ge', 'gt', undefined] as const

/** Predicates 0-7 on numbers, of which none is unordered: all ones or zero in the lanes of a vector or in one i32 or i64. */
export function nativeCompare(e: Emit, format: FloatFormat, a: Val, b: Val, predicate: Val): Native {
  const chosen = e.known(predicate)
  const number = chosen === undefined ? undefined : Number(chosen) & 7
  const value = isPacked(format)
    ? packedMask(e, format, a, b, number ?? predicate)
    : scalarMask(e, a, b, number ?? predicate)
  return comparing(e, format, value, a, b)
}

/** How EQ and LT make up a predicate that is only known at run time: 0/1 each, and whether the whole is inverted. */
function parts(e: Emit, predicate: Val): readonly [equal: Val, less: Val, inverted: Val] {
  const bit = (x: Val): Val => e.and(x, i32(e, 1))
  const next = e.shr(predicate, i32(e, 1))
  return [bit(e.not(predicate)), bit(e.xor(predicate, next)), bit(e.shr(predicate, i32(e, 2)))]
}

function packedMask(e: Emit, format: FloatFormat, a: Val, b: Val, predicate: number | Val): Val {
  const compared = (name: string): Val => v(e, `${shapeOf(format)}.${name}`, a, b)
  if (typeof predicate === 'number') {
    const name = PREDICATES[predicate]
    return name ? compared(name) : lanes(e, 64, [predicate === 7 ? -1n : 0])
  }
  const [equal, less, inverted] = parts(e, predicate).map((bit) =>
    v(e, 'i32x4.splat', e.sub(i32(e, 0), bit)),
  ) as [Val, Val, Val]
  const chosen = v(
    e,
    'v128.or',
    v(e, 'v128.and', compared('eq'), equal),
    v(e, 'v128.and', compared('lt'), less),
  )
  return v(e, 'v128.xor', chosen, inverted)
}

function scalarMask(e: Emit, a: Val, b: Val, predicate: number | Val): Val {
  const mask = (bit: Val): Val =>
    a.ty === 'f32' ? e.sub(i32(e, 0), bit) : e.sub(i64(e, 0), e.zext(bit, 'i64'))
  if (typeof predicate === 'number') {
    const name = PREDICATES[predicate]
    return mask(name ? one(e, name, a, b) : i32(e, predicate === 7 ? 1 : 0))
  }
  const [equal, less, inverted] = parts(e, predicate)
  const chosen = e.or(e.and(one(e, 'eq', a, b), equal), e.and(one(e, 'lt', a, b), less))
  return mask(e.xor(chosen, inverted))
}

/** When a comparison of two numbers sets no flag of MXCSR. */
export const nativeOrder = (e: Emit, a: Val, b: Val): Native =>
  comparing(e, a.ty === 'f32' ? 'ss' : 'sd', a, a, b)

// --- conversions ---

/** Low lane of a vector as f32 or f64. */
export const lowOf = (e: Emit, lane: Lane, vector: Val): Val =>
  e.op(`${lane === 'f32' ? 'f32x4' : 'f64x2'}.extract_lane`, lane, [vector], [0])

/** CVTSS2SD */
export const nativeWiden = (e: Emit, x: Val): Native => ({
  value: e.op('f64.promote_f32', 'f64', [x]),
  all: [calm(e, x)],
  any: [one(e, 'eq', x, x)],
})

/** CVTSD2SS */
export function nativeNarrow(e: Emit, x: Val): Native {
  const value = e.op('f32.demote_f64', 'f32', [x])
  return { value, all: [ready(e)], any: [inner(e, value), zero(e, x)] }
}

/** CVTPS2PD of the two low lanes; given as i64. */
export function nativeWidenLow(e: Emit, low: Val): Native {
  const x = splat64(e, low)
  const numbers = v(e, 'f32x4.eq', x, x)
  const value = v(e, 'f64x2.promote_low_f32x4', x)
  return { value, all: [], any: [allTrue(e, 'ps', both(e, calmLanes(e, 'ps', x), numbers))] }
}

/** CVTPD2PS; the upper half of the result is zero. */
export function nativeNarrowPacked(e: Emit, x: Val): Native {
  const value = v(e, 'f32x4.demote_f64x2_zero', x)
  const fine = innerLanes(e, 'ps', splat64(e, low64(e, value)))
  return { value, all: [ready(e)], any: [allTrue(e, 'ps', fine)] }
}

/** CVTSI2SS, CVTSI2SD of an i32 or i64. */
export function nativeFromInteger(e: Emit, lane: Lane, x: Val): Native {
  const value = e.op(`${lane}.convert_${x.ty}_s`, lane, [x])
  if (lane === 'f64' && x.ty === 'i32') return { value, all: [], any: [] }
  const bits = lane === 'f32' ? 24 : 53
  // integers of that many bits and a sign are exact
  const high = e.shr(e.add(x, e.const(x.ty, 2n ** BigInt(bits))), i32(e, bits + 1))
  return { value, all: [], any: [ready(e), e.isZero(high)] }
}

/** CVTDQ2PS */
export const nativeFromIntegers = (e: Emit, x: Val): Native => ({
  value: v(e, 'f32x4.convert_i32x4_s', x),
  all: [],
  any: [ready(e)],
})

/** 1.5 * 2^52: the sum with a whole number below 2^51 in size has it in its low bits, two's complement. */
const SHIFTER = 6755399441055744
const SHIFTER_BITS = 0x4338_0000_0000_0000n

/** CVT(T)SS2SI, CVT(T)SD2SI: 64-bit results up to 2^51, cheaper than a saturating conversion with its own checks. */
export function nativeToInteger(e: Emit, x: Val, bits: 32 | 64, truncate: boolean): Native {
  const wide = x.ty === 'f32' ? e.op('f64.promote_f32', 'f64', [x]) : x
  const shifter = e.const('f64', SHIFTER)
  const whole = truncate ? one(e, 'trunc', wide) : one(e, 'nearest', wide)
  const image = bitsOf(e, one(e, 'add', whole, shifter))
  const value = bits === 32 ? e.trunc(image, 'i32') : e.sub(image, i64(e, SHIFTER_BITS))
  const limit = e.const('f64', bits === 64 ? 2 ** 51 : truncate ? 2 ** 31 : 2 ** 31 - 1)
  const exact = one(e, 'eq', whole, wide)
  return {
    value,
    all: [one(e, 'lt', one(e, 'abs', wide), limit)],
    any: [truncate ? silent(e) : ready(e), exact],
  }
}

/** CVT(T)PS2DQ; CVT(T)PD2DQ, whose upper half is zero. */
export function nativeToIntegers(e: Emit, format: 'ps' | 'pd', x: Val, truncate: boolean): Native {
  const shape = shapeOf(format)
  const whole = truncate ? x : v(e, `${shape}.nearest`, x)
  const limit =
    format === 'ps'
      ? v(e, 'f32x4.splat', e.const('f32', 2 ** 31))
      : v(e, 'f64x2.splat', e.const('f64', 2 ** 31 - 1))
  const inside = v(e, `${shape}.lt`, v(e, `${shape}.abs`, x), limit)
  const name = format === 'ps' ? 'i32x4.trunc_sat_f32x4_s' : 'i32x4.trunc_sat_f64x2_s_zero'
  return {
    value: v(e, name, whole),
    all: [truncate ? silent(e) : ready(e)],
    any: [allTrue(e, format, inside)],
  }
}

const ROUNDING = ['nearest', 'floor', 'ceil', 'trunc'] as const

/** ROUNDSS and its kin for an immediate that is known: bits 0-1 the rounding, 2 that of MXCSR instead, 3 no PE. */
export function nativeRound(e: Emit, format: FloatFormat, x: Val, control: number): Native {
  const name = ROUNDING[control & 4 ? 0 : control & 3] ?? 'trunc'
  const mode = control & 4 ? [nearest(e)] : []
  const quiet = (control & 8) !== 0
  if (isPacked(format)) {
    const shape = shapeOf(format)
    const value = v(e, `${shape}.${name}`, x)
    const numbers = both(e, calmLanes(e, format, x), v(e, `${shape}.eq`, x, x))
    const fine = [...mode, allTrue(e, format, numbers)]
    if (quiet) return { value, all: fine, any: [] }
    return { value, all: fine, any: [silent(e), allTrue(e, format, v(e, `${shape}.eq`, x, value))] }
  }
  const value = one(e, name, x)
  const fine = [...mode, calm(e, x), one(e, 'eq', x, x)]
  return { value, all: fine, any: quiet ? [] : [silent(e), one(e, 'eq', x, value)] }
}
