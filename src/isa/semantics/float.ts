/**
 * Floating-point arithmetic, logic and comparison: the forms of rows/float.ts. The host's operators answer where float-native.ts
 * shows that they may, else src/kernel/fp, which has the exact results and MXCSR.
 */
import type { Emit, Semantics, Val } from '../emit.ts'
import { FLOAT, FLOAT_SOURCE, floatId, type FloatFormat, type FloatKind } from '../rows/float.ts'
import {
  isPacked,
  laneOf,
  lowOf,
  nativeBinary,
  nativeCompare,
  nativeSqrt,
  type Binary,
  type Lane,
  type Native,
} from './float-native.ts'
import { PACKED_OPS, packedXmm } from './packed.ts'
import { callValue, gateSse, i32, imm, read128, sourceAddress, sourceAddress128 } from './vector.ts'

const LOGIC: Readonly<Record<string, string>> = { and: 'pand', andn: 'pandn', or: 'por', xor: 'pxor' }

/** Operation numbers of sse_lane_*. */
export const LANE_OPS: Readonly<Record<string, number>> = {
  add: 0,
  sub: 1,
  mul: 2,
  div: 3,
  min: 4,
  max: 5,
  sqrt: 6,
}

/** The native value where its conditions hold, else what `exact` computes; that may fault. */
export function choose(e: Emit, { value, all, any }: Native, exact: () => Val): Val {
  if (all.length + any.length === 0) return value
  const chosen = e.cell(value)
  e.unless(all, any, () => chosen.set(exact()))
  return chosen.get()
}

/** A vector function of the kernel on values: operands and result in scratch slots. */
export function exactVector(e: Emit, name: string, operands: readonly Val[], ...extra: readonly Val[]): Val {
  const slots = operands.map((operand, i) => {
    const slot = e.scratch(i)
    e.storeAt(slot, operand)
    return slot
  })
  const to = e.scratch(0)
  e.call(name, [to, ...slots, ...extra])
  return e.loadAt('v128', to)
}

/** Scalar operand: the low lane of a register, or memory. */
export function readLane(e: Emit, i: number, lane: Lane): Val {
  return e.isMemory(i) ? e.load(lane, e.linear(lane === 'f32' ? 4 : 8, false)) : lowOf(e, lane, e.read(i))
}

/** Replaces the low lane of operand 0, an xmm register that held `old`; an i32 or i64 gives the lane's bits. */
export function writeLane(e: Emit, old: Val, value: Val): void {
  const shape = { f32: 'f32x4', i32: 'i32x4', f64: 'f64x2', i64: 'i64x2' } as const
  const ty = value.ty as keyof typeof shape
  e.write(0, e.op(`${shape[ty]}.replace_lane`, 'v128', [old, value], [0]))
}

const scalar =
  (op: Binary | 'sqrt', format: 'ss' | 'sd'): Semantics =>
  (e) => {
    gateSse(e)
    const lane = laneOf(format)
    const b = e.let(readLane(e, 1, lane))
    const old = e.read(0)
    const a = op === 'sqrt' ? b : e.let(lowOf(e, lane, old))
    const native = op === 'sqrt' ? nativeSqrt(e, format, b) : nativeBinary(e, op, format, a, b)
    const exact = (): Val => callValue(e, `sse_lane_${format}`, [i32(e, LANE_OPS[op] ?? 0), a, b])
    writeLane(e, old, choose(e, native, exact))
  }

const packed =
  (op: Binary | 'sqrt', format: 'ps' | 'pd'): Semantics =>
  (e) => {
    gateSse(e)
    const b = read128(e, 1)
    const name = `sse_${op}_${format}`
    if (op === 'sqrt') {
      e.write(
        0,
        choose(e, nativeSqrt(e, format, b), () => exactVector(e, name, [b])),
      )
      return
    }
    const a = e.read(0)
    e.write(
      0,
      choose(e, nativeBinary(e, op, format, a, b), () => exactVector(e, name, [a, b])),
    )
  }

/** CMPPS and its kin; bits above the predicate's three are ignored. */
const compare =
  (format: FloatFormat): Semantics =>
  (e) => {
    gateSse(e)
    const predicate = e.and(imm(e, 2), i32(e, 7))
    const name = `sse_cmp_${format}`
    if (isPacked(format)) {
      const b = read128(e, 1)
      const a = e.read(0)
      const native = nativeCompare(e, format, a, b, predicate)
      e.write(
        0,
        choose(e, native, () => exactVector(e, name, [a, b], predicate)),
      )
      return
    }
    const lane = laneOf(format)
    const b = e.let(readLane(e, 1, lane))
    const old = e.read(0)
    const a = e.let(lowOf(e, lane, old))
    const exact = (): Val => {
      const [x, y] = [e.scratch(0), e.scratch(1)]
      e.storeAt(x, a)
      e.storeAt(y, b)
      e.call(name, [x, x, y, predicate])
      return e.loadAt(lane === 'f32' ? 'i32' : 'i64', x)
    }
    writeLane(e, old, choose(e, nativeCompare(e, format, a, b, predicate), exact))
  }

/** An SSE instruction with a whole vector as source. */
export const fromVector =
  (use: (e: Emit, x: Val) => Val): Semantics =>
  (e) => {
    gateSse(e)
    e.write(0, use(e, read128(e, 1)))
  }

/** RCPPS and its kin: approximations, without flags. */
const estimate =
  (stem: string, format: FloatFormat): Semantics =>
  (e) => {
    gateSse(e)
    const b = FLOAT_SOURCE[format] === 'xmm_m128' ? sourceAddress128(e, 1) : sourceAddress(e, 1)
    e.call(`sse_${stem}_${format}`, [e.addressOf(0), b])
  }

function semanticsOf(stem: string, kind: FloatKind, format: FloatFormat): Semantics {
  if (kind === 'logic') {
    const op = PACKED_OPS[LOGIC[stem] ?? '']
    if (!op) throw new Error(`no logic operation for ${stem}`)
    return packedXmm(op)
  }
  if (kind === 'compare') return compare(format)
  if (kind === 'estimate') return estimate(stem, format)
  const op = stem as Binary | 'sqrt'
  return format === 'ss' || format === 'sd' ? scalar(op, format) : packed(op, format)
}

export const floatSemantics: Readonly<Record<string, Semantics>> = Object.fromEntries(
  FLOAT.flatMap(([stem, , formats, kind]) =>
    formats.map((format) => [floatId(stem, format), semanticsOf(stem, kind, format)]),
  ),
)
