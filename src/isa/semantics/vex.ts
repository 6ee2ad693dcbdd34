/**
 * What VEX instructions have in common: availability, operands of 16 or 32 bytes as one or two halves, and writes that
 * always reach bit 255. Results are computed half by half with the functions of the SSE instructions.
 *
 * Memory operands of 32 bytes are two accesses: loads come before every write, stores are checked as a whole first.
 */
import { CPU_AVX_GATE } from '#abi/layout.ts'
import type { Emit, Semantics, Val } from '../emit.ts'
import { vexForms, type VexLength, type VexLines } from '../rows/vex-row.ts'
import { choose } from './float.ts'
import type { Native } from './float-native.ts'
import { checkAligned, i32, lanes, spill, splat64 } from './vector.ts'

export const FAMILY_AVX = 3
const PAGE_MASK = 0xfff

/** One or two halves, the low one first. */
export type Halves = readonly [low: Val, high?: Val]
export type Meaning = (length: VexLength) => Semantics

/** The semantic functions of the rows that the lines stand for, by row id. */
export function vexSemantics<Lines extends VexLines>(
  lines: Lines,
  meanings: Readonly<Record<keyof Lines, Meaning>>,
): Record<string, Semantics> {
  return Object.fromEntries(
    vexForms(lines).map(({ key, id, length }) => {
      const meaning: Meaning | undefined = meanings[key]
      if (!meaning) throw new Error(`VEX line ${key} has no meaning`)
      return [id, meaning(length)]
    }),
  )
}

/** #UD or #NM of AVX: CR4.OSXSAVE, XCR0, CR0.TS. */
export function gateAvx(e: Emit): void {
  e.if_(e.getCpu('i32', CPU_AVX_GATE), () => e.call('fpu_check', [i32(e, FAMILY_AVX)]))
}

export const zero128 = (e: Emit): Val => lanes(e, 64, [0])

/** A second access, 16 bytes behind the one that linear(32) has checked. */
const upper = (e: Emit, write: boolean): Val => e.linear(16, write, 16)

/** Vector register or memory operand of the length. */
export function readHalves(e: Emit, i: number, length: VexLength, aligned = false): Halves {
  if (!e.isMemory(i)) return length === 128 ? [e.read(i)] : [e.read(i), e.readHigh(i)]
  const gva = e.linear(length / 8, false)
  if (aligned) checkAligned(e, gva, length === 128 ? 16 : 32)
  const low = e.load('v128', gva)
  return length === 128 ? [low] : [low, e.load('v128', upper(e, false))]
}

export function writeHalves(e: Emit, i: number, [low, high]: Halves, aligned = false): void {
  if (!e.isMemory(i)) {
    e.write(i, low)
    e.writeHigh(i, high ?? zero128(e))
    return
  }
  const gva = e.linear(high ? 32 : 16, true)
  if (aligned) checkAligned(e, gva, high ? 32 : 16)
  if (!high) return e.store(gva, low)
  if (!aligned) {
    const inPage = e.and(e.trunc(gva, 'i32'), i32(e, PAGE_MASK))
    e.if_(e.ltU(i32(e, PAGE_MASK + 1 - 32), inPage), () =>
      e.call('mem_probe', [gva, i32(e, 32), i32(e, 1), e.seg()]),
    )
  }
  e.store(gva, low)
  e.store(upper(e, true), high)
}

/** A scalar that an operand may give from memory, in the low lane of a vector. */
export const asVector = (e: Emit, value: Val): Val =>
  value.ty === 'v128' ? value : splat64(e, e.zext(value, 'i64'))

/** The value of each half. */
export function eachHalf(length: VexLength, compute: (half: 0 | 1) => Val): Halves {
  const low = compute(0)
  return length === 128 ? [low] : [low, compute(1)]
}

/**
 * The same for operations that report through MXCSR: the host's values, or the exact ones of both halves, which fault together
 * when an exception is unmasked.
 */
export function eachFloatHalf(
  e: Emit,
  length: VexLength,
  native: (half: 0 | 1) => Native | undefined,
  exact: (half: 0 | 1) => Val,
): Halves {
  const a = native(0)
  if (length === 128) return [a ? choose(e, a, () => exact(0)) : exact(0)]
  const b = native(1)
  if (!a || !b) return together(e, exact)
  const all = [a, b].flatMap((one) => [...one.all, ...oneOf(e, one.any)])
  if (all.length === 0) return [a.value, b.value]
  const [low, high] = [e.cell(a.value), e.cell(b.value)]
  e.unless(all, [], () => {
    const [first, second] = together(e, exact)
    low.set(first)
    high.set(second)
  })
  return [low.get(), high.get()]
}

const oneOf = (e: Emit, [first, ...rest]: readonly Val[]): readonly Val[] =>
  first ? [rest.reduce((found, next) => e.or(found, next), first)] : []

function together(e: Emit, exact: (half: 0 | 1) => Val): readonly [Val, Val] {
  e.call('sse_pair_begin', [])
  const halves = [exact(0), exact(1)] as const
  e.call('sse_pair_end', [])
  return halves
}

export function half([low, high]: Halves, which: 0 | 1): Val {
  const value = which === 0 ? low : high
  if (!value) throw new Error('a 128-bit operand has no upper half')
  return value
}

/**
 * A kernel function of addresses (dst, inputs …, extra …) as one of values. dst is the slot of the first input where
 * the function takes it as such, else a slot that holds `before`: scalar functions write the low element only.
 */
export function callLane(
  e: Emit,
  name: string,
  inputs: readonly Val[],
  extra: readonly Val[] = [],
  before?: Val,
): Val {
  const addresses = inputs.map((value, n) => spill(e, value, n))
  const dst = before ? spill(e, before, inputs.length) : e.scratch(inputs.length)
  e.call(name, [dst, ...addresses, ...extra])
  return e.loadAt('v128', dst)
}

/** Copies both halves to scratch slots from `slot` on; the address of the first. */
export function spillHalves(e: Emit, [low, high]: Halves, slot: number): Val {
  const address = spill(e, low, slot)
  if (high) spill(e, high, slot + 1)
  return address
}

// --- shapes of instructions ------------------------------------------------------------------------------------------

export type Lane1 = (e: Emit, b: Val, half: 0 | 1) => Val
export type Lane2 = (e: Emit, a: Val, b: Val, half: 0 | 1) => Val
export type LaneImm = (e: Emit, a: Val, b: Val, imm: Val, half: 0 | 1) => Val

/** dst = op(b): operands 0, 1. */
export const unary =
  (op: Lane1): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const b = readHalves(e, 1, length)
    writeHalves(
      e,
      0,
      eachHalf(length, (h) => op(e, half(b, h), h)),
    )
  }

/** dst = op(a, b): operands 0, 1, 2. */
export const binary =
  (op: Lane2): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const b = readHalves(e, 2, length)
    const a = readHalves(e, 1, length)
    writeHalves(
      e,
      0,
      eachHalf(length, (h) => op(e, half(a, h), half(b, h), h)),
    )
  }

/** dst = op(a, b, imm8): operands 0 to 3. */
export const binaryImm =
  (op: LaneImm): Meaning =>
  (length) =>
  (e) => {
    const n = e.let(e.zext(e.read(3), 'i32'))
    binary((_, a, b, h) => op(e, a, b, n, h))(length)(e)
  }

/** dst = op(b, imm8): operands 0, 1, 2. */
export const unaryImm =
  (op: (e: Emit, b: Val, imm: Val, half: 0 | 1) => Val): Meaning =>
  (length) =>
  (e) => {
    const n = e.let(e.zext(e.read(2), 'i32'))
    unary((_, b, h) => op(e, b, n, h))(length)(e)
  }

/** As unary and binary for what reports through MXCSR; `exact` is a function of the kernel. */
export const floatUnary =
  (exact: (e: Emit, b: Val) => Val, native?: (e: Emit, b: Val) => Native | undefined): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const b = readHalves(e, 1, length)
    const asNative = (h: 0 | 1): Native | undefined => native?.(e, half(b, h))
    writeHalves(
      e,
      0,
      eachFloatHalf(e, length, asNative, (h) => exact(e, half(b, h))),
    )
  }

export const floatBinary =
  (exact: (e: Emit, a: Val, b: Val) => Val, native?: (e: Emit, a: Val, b: Val) => Native): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const b = readHalves(e, 2, length)
    const a = readHalves(e, 1, length)
    const asNative = (h: 0 | 1): Native | undefined => native?.(e, half(a, h), half(b, h))
    writeHalves(
      e,
      0,
      eachFloatHalf(e, length, asNative, (h) => exact(e, half(a, h), half(b, h))),
    )
  }
