/**
 * VEX forms of floating-point instructions, FMA and F16C: the SSE operation on each half, by the host's operators where
 * float-native.ts shows that they may, else by src/kernel/fp.
 */
import type { Emit, Semantics, Val } from '../emit.ts'
import { AVX_CONVERT, AVX_FLOAT, AVX_FMA, FMA_FORMATS, FMA_KINDS, FMA_ORDERS, fmaKey, vexFloatKey } from '../rows/avx-float.ts' // prettier-ignore
import { FLOAT, type FloatFormat } from '../rows/float.ts'
import { choose, LANE_OPS, readLane } from './float.ts'
import {
  laneOf,
  lowOf,
  nativeAddSub,
  nativeBinary,
  nativeCompare,
  nativeFromInteger,
  nativeFromIntegers,
  nativeHorizontal,
  nativeNarrow,
  nativeNarrowPacked,
  nativeRound,
  nativeSqrt,
  nativeToIntegers,
  nativeWiden,
  nativeWidenLow,
  type Binary,
  type Lane,
  type Native,
} from './float-native.ts'
import { PACKED_OPS } from './packed.ts'
import { compare, toInteger } from './sse.ts'
import { callValue, i32, imm, low64, shuffle, spill } from './vector.ts'
import {
  asVector,
  binary,
  callLane,
  eachFloatHalf,
  floatBinary,
  floatUnary,
  gateAvx,
  half,
  readHalves,
  spillHalves,
  vexSemantics,
  writeHalves,
  type Meaning,
} from './vex.ts'

const LOGIC: Readonly<Record<string, string>> = { and: 'pand', andn: 'pandn', or: 'por', xor: 'pxor' }
const LOW_HALVES = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]
const HIGH_HALF_TWICE = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15]

// --- scalars: the low element is computed, the rest comes from the first source --------------------------------------------

function writeScalar(e: Emit, rest: Val, value: Val): void {
  const shape = { f32: 'f32x4', i32: 'i32x4', f64: 'f64x2', i64: 'i64x2' } as const
  const ty = value.ty as keyof typeof shape
  writeHalves(e, 0, [e.op(`${shape[ty]}.replace_lane`, 'v128', [rest, value], [0])])
}

const scalar =
  (op: Binary | 'sqrt', format: 'ss' | 'sd'): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const lane = laneOf(format)
    const b = e.let(readLane(e, 2, lane))
    const rest = e.read(1)
    const a = op === 'sqrt' ? b : e.let(lowOf(e, lane, rest))
    const native = op === 'sqrt' ? nativeSqrt(e, format, b) : nativeBinary(e, op, format, a, b)
    const exact = (): Val => callValue(e, `sse_lane_${format}`, [i32(e, LANE_OPS[op] ?? 0), a, b])
    writeScalar(e, rest, choose(e, native, exact))
  }

/** A kernel function of the operands' addresses that writes an element; `lane` is what it gives. */
function exactScalar(
  e: Emit,
  name: string,
  lane: Lane | 'i32' | 'i64',
  operands: readonly Val[],
  ...extra: readonly Val[]
): Val {
  const addresses = operands.map((operand, n) => spill(e, operand, n))
  const to = e.scratch(operands.length)
  e.call(name, [to, ...addresses, ...extra])
  return e.loadAt(lane, to)
}

const compareScalar =
  (format: 'ss' | 'sd'): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const lane = laneOf(format)
    const b = e.let(readLane(e, 2, lane))
    const rest = e.read(1)
    const a = e.let(lowOf(e, lane, rest))
    const bits = lane === 'f32' ? 'i32' : 'i64'
    const exact = (): Val => exactScalar(e, `sse_cmp_${format}`, bits, [a, b], predicate(e))
    writeScalar(e, rest, choose(e, nativeCompare(e, format, a, b, basic(e)), exact))
  }

/** Without flags; dst starts as the first source. */
const estimateScalar =
  (name: string): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const b = e.read(2)
    writeHalves(e, 0, [callLane(e, name, [b], [], e.read(1))])
  }

const convertScalar =
  (from: Lane): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const x = e.let(readLane(e, 2, from))
    const [name, to] =
      from === 'f32' ? (['sse_cvtss2sd', 'f64'] as const) : (['sse_cvtsd2ss', 'f32'] as const)
    const native = from === 'f32' ? nativeWiden(e, x) : nativeNarrow(e, x)
    writeScalar(
      e,
      e.read(1),
      choose(e, native, () => exactScalar(e, name, to, [x])),
    )
  }

const fromInteger =
  (lane: Lane): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const value = e.let(e.read(2))
    const exact = (): Val => {
      const to = e.scratch(0)
      e.call(lane === 'f32' ? 'sse_cvtsi2ss' : 'sse_cvtsi2sd', [to, e.sext(value, 'i64')])
      return e.loadAt(lane, to)
    }
    writeScalar(e, e.read(1), choose(e, nativeFromInteger(e, lane, value), exact))
  }

const roundScalar =
  (format: 'ss' | 'sd'): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const lane = laneOf(format)
    const x = e.let(readLane(e, 2, lane))
    const exact = (): Val => exactScalar(e, `sse_round_${format}`, lane, [x], imm(e, 3))
    const control = e.known(e.read(3))
    const value =
      control === undefined ? exact() : choose(e, nativeRound(e, format, x, Number(control)), exact)
    writeScalar(e, e.read(1), value)
  }

const toGeneral =
  (lane: Lane, bits: 32 | 64, truncate: 0 | 1): Meaning =>
  () =>
    toInteger(lane, bits, truncate, gateAvx)

const order =
  (lane: Lane, signalling: 0 | 1): Meaning =>
  () =>
    compare(lane, signalling, gateAvx)

// --- vectors -----------------------------------------------------------------------------------------------------------------

/** VEX compares have 32 predicates; on numbers they are the first eight, four times. */
const predicate = (e: Emit): Val => e.and(imm(e, 3), i32(e, 31))
const basic = (e: Emit): Val => e.and(imm(e, 3), i32(e, 7))

function packed(stem: string, kind: (typeof FLOAT)[number][3], format: 'ps' | 'pd'): Meaning {
  const name = `sse_${stem}_${format}`
  if (kind === 'estimate') return floatUnary((e, b) => callLane(e, name, [b]))
  if (kind === 'unary')
    return floatUnary(
      (e, b) => callLane(e, name, [b]),
      (e, b) => nativeSqrt(e, format, b),
    )
  if (kind === 'compare')
    return floatBinary(
      (e, a, b) => callLane(e, name, [a, b], [predicate(e)]),
      (e, a, b) => nativeCompare(e, format, a, b, basic(e)),
    )
  return floatBinary(
    (e, a, b) => callLane(e, name, [a, b]),
    (e, a, b) => nativeBinary(e, stem as Binary, format, a, b),
  )
}

function floatMeaning(stem: string, kind: (typeof FLOAT)[number][3], format: FloatFormat): Meaning {
  if (kind === 'logic') {
    const op = PACKED_OPS[LOGIC[stem] ?? '']
    if (!op) throw new Error(`no logic operation for ${stem}`)
    return binary((e, a, b) => op(e, a, b, 128))
  }
  if (format === 'ps' || format === 'pd') return packed(stem, kind, format)
  if (kind === 'compare') return compareScalar(format)
  if (kind === 'estimate') return estimateScalar(`sse_${stem}_${format}`)
  return scalar(stem as Binary | 'sqrt', format)
}

const horizontal = (op: 'add' | 'sub', format: 'ps' | 'pd'): Meaning =>
  floatBinary(
    (e, a, b) => callLane(e, `sse_h${op}_${format}`, [a, b]),
    (e, a, b) => nativeHorizontal(e, op, format, a, b),
  )

const alternating = (format: 'ps' | 'pd'): Meaning =>
  floatBinary(
    (e, a, b) => callLane(e, `sse_addsub_${format}`, [a, b]),
    (e, a, b) => nativeAddSub(e, format, a, b),
  )

const dotProduct = (name: string): Meaning => floatBinary((e, a, b) => callLane(e, name, [a, b], [imm(e, 3)]))

/** With a control that is only known at run time the kernel chooses. */
const round = (format: 'ps' | 'pd'): Meaning =>
  floatUnary(
    (e, b) => callLane(e, `sse_round_${format}`, [b], [imm(e, 2)]),
    (e, b) => {
      const control = e.known(e.read(2))
      return control === undefined ? undefined : nativeRound(e, format, b, Number(control))
    },
  )

const toIntegers = (truncate: 0 | 1): Meaning =>
  floatUnary(
    (e, b) => callLane(e, 'sse_cvtps2dq', [b], [i32(e, truncate)]),
    (e, b) => nativeToIntegers(e, 'ps', b, truncate === 1),
  )

/** The upper half of the result comes from the upper half of what the 128-bit form reads whole. */
const widening =
  (name: string, native?: (e: Emit, x: Val) => Native): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const source = e.let(asVector(e, e.read(1)))
    const part = (h: 0 | 1): Val => (h === 0 ? source : shuffle(e, source, source, HIGH_HALF_TWICE))
    const asNative = (h: 0 | 1): Native | undefined => native?.(e, part(h))
    writeHalves(
      e,
      0,
      eachFloatHalf(e, length, asNative, (h) => callLane(e, name, [part(h)])),
    )
  }

const exactlyWiden = (e: Emit, x: Val): Native => ({
  value: e.op('f64x2.convert_low_i32x4_s', 'v128', [x]),
  all: [],
  any: [],
})

/** Both halves of the source end in one XMM register. */
const narrowing =
  (name: string, native: (e: Emit, x: Val) => Native, ...extra: readonly number[]): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const b = readHalves(e, 1, length)
    const more = extra.map((n) => i32(e, n))
    const exact = (h: 0 | 1): Val => callLane(e, name, [half(b, h)], more)
    const [low, high] = eachFloatHalf(e, length, (h) => native(e, half(b, h)), exact)
    writeHalves(e, 0, [high ? shuffle(e, low, high, LOW_HALVES) : low])
  }

/** VCVTPS2PH: four singles to four halves; the memory form stores no more than these. */
const toHalves: Meaning = (length) => (e) => {
  gateAvx(e)
  const source = readHalves(e, 1, length)
  // a store that faults comes before the flags
  if (e.isMemory(0)) {
    const bytes = length / 16
    e.call('mem_probe', [e.linear(bytes, true), i32(e, bytes), i32(e, 1), e.seg()])
  }
  const [low, high] = eachFloatHalf(
    e,
    length,
    () => undefined,
    (h) => callLane(e, 'sse_cvtps2ph', [half(source, h)], [imm(e, 2)]),
  )
  const result = e.let(high ? shuffle(e, low, high, LOW_HALVES) : low)
  if (!e.isMemory(0)) writeHalves(e, 0, [result])
  else if (high) e.write(0, result)
  else e.write(0, low64(e, result))
}

/** Operands of a * b + c by the digits of the mnemonic. */
const ORDER = { 132: [0, 2, 1], 213: [1, 0, 2], 231: [1, 2, 0] } as const

function fmaMeaning(order: keyof typeof ORDER, format: FloatFormat, negate: number): Meaning {
  const [x, y, z] = ORDER[order]
  const name = `sse_fma_${format}`
  if (format === 'ss' || format === 'sd') {
    return () => (e) => {
      gateAvx(e)
      const values = [e.read(0), e.read(1), e.read(2)] as const
      const result = callLane(e, name, [values[x], values[y], values[z]], [i32(e, negate)], values[0])
      writeHalves(e, 0, [result])
    }
  }
  return (length) => (e) => {
    gateAvx(e)
    const c = readHalves(e, 2, length)
    const values = [readHalves(e, 0, length), readHalves(e, 1, length), c] as const
    const operands = [values[x], values[y], values[z]]
    const sign = i32(e, negate)
    if (length === 128) {
      writeHalves(e, 0, [
        callLane(
          e,
          name,
          operands.map(([low]) => low),
          [sign],
        ),
      ])
      return
    }
    const addresses = operands.map((operand, n) => spillHalves(e, operand, 2 * n))
    const dst = e.scratch(2 * operands.length)
    e.call(`avx_fma_${format}`, [dst, ...addresses, sign])
    writeHalves(e, 0, [e.loadAt('v128', dst), e.loadAt('v128', dst, 16)])
  }
}

const fmaMeanings = Object.fromEntries(
  FMA_KINDS.flatMap(([kind, , negate]) =>
    FMA_ORDERS.flatMap((order) =>
      FMA_FORMATS.map((format) => [fmaKey(kind, order, format), fmaMeaning(order, format, negate)] as const),
    ),
  ),
)

export const avxFloatSemantics: Record<string, Semantics> = {
  ...vexSemantics(
    AVX_FLOAT,
    Object.fromEntries(
      FLOAT.flatMap(([stem, , formats, kind]) =>
        formats.map((format) => [vexFloatKey(stem, format, kind), floatMeaning(stem, kind, format)]),
      ),
    ),
  ),
  ...vexSemantics(AVX_FMA, fmaMeanings),
  ...vexSemantics(AVX_CONVERT, {
    vhaddpd_V_V_VM: horizontal('add', 'pd'),
    vhaddps_V_V_VM: horizontal('add', 'ps'),
    vhsubpd_V_V_VM: horizontal('sub', 'pd'),
    vhsubps_V_V_VM: horizontal('sub', 'ps'),
    vaddsubpd_V_V_VM: alternating('pd'),
    vaddsubps_V_V_VM: alternating('ps'),
    vdpps_V_V_VM_imm8: dotProduct('sse_dpps'),
    vdppd_V_V_VM_imm8: dotProduct('sse_dppd'),
    vroundps_V_VM_imm8: round('ps'),
    vroundpd_V_VM_imm8: round('pd'),
    vroundss_xmm_xmm_xmm_m32_imm8: roundScalar('ss'),
    vroundsd_xmm_xmm_xmm_m64_imm8: roundScalar('sd'),
    vucomiss_xmm_xmm_m32: order('f32', 0),
    vucomisd_xmm_xmm_m64: order('f64', 0),
    vcomiss_xmm_xmm_m32: order('f32', 1),
    vcomisd_xmm_xmm_m64: order('f64', 1),
    vcvtsi2ss_xmm_xmm_rm32: fromInteger('f32'),
    vcvtsi2ss_xmm_xmm_rm64: fromInteger('f32'),
    vcvtsi2sd_xmm_xmm_rm32: fromInteger('f64'),
    vcvtsi2sd_xmm_xmm_rm64: fromInteger('f64'),
    vcvttss2si_r32_xmm_m32: toGeneral('f32', 32, 1),
    vcvttss2si_r64_xmm_m32: toGeneral('f32', 64, 1),
    vcvttsd2si_r32_xmm_m64: toGeneral('f64', 32, 1),
    vcvttsd2si_r64_xmm_m64: toGeneral('f64', 64, 1),
    vcvtss2si_r32_xmm_m32: toGeneral('f32', 32, 0),
    vcvtss2si_r64_xmm_m32: toGeneral('f32', 64, 0),
    vcvtsd2si_r32_xmm_m64: toGeneral('f64', 32, 0),
    vcvtsd2si_r64_xmm_m64: toGeneral('f64', 64, 0),
    vcvtss2sd_xmm_xmm_xmm_m32: convertScalar('f32'),
    vcvtsd2ss_xmm_xmm_xmm_m64: convertScalar('f64'),
    vcvtps2pd_V_HM: widening('sse_cvtps2pd', (e, x) => nativeWidenLow(e, low64(e, x))),
    vcvtpd2ps_xmm_VM: narrowing('sse_cvtpd2ps', nativeNarrowPacked),
    vcvtdq2ps_V_VM: floatUnary((e, b) => callLane(e, 'sse_cvtdq2ps', [b]), nativeFromIntegers),
    vcvtps2dq_V_VM: toIntegers(0),
    vcvttps2dq_V_VM: toIntegers(1),
    vcvttpd2dq_xmm_VM: narrowing('sse_cvtpd2dq', (e, x) => nativeToIntegers(e, 'pd', x, true), 1),
    vcvtdq2pd_V_HM: widening('sse_cvtdq2pd', exactlyWiden),
    vcvtpd2dq_xmm_VM: narrowing('sse_cvtpd2dq', (e, x) => nativeToIntegers(e, 'pd', x, false), 0),
    vcvtph2ps_V_HM: widening('sse_cvtph2ps'),
    vcvtps2ph_HM_V_imm8: toHalves,
  }),
}
