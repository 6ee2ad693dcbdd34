/** VEX forms of floating-point instructions, FMA and F16C: the SSE operation on each half. Results come from src/kernel/fp. */
import type { Emit, Semantics, Val } from '../emit.ts'
import { AVX_CONVERT, AVX_FLOAT, AVX_FMA, FMA_FORMATS, FMA_KINDS, FMA_ORDERS, fmaKey, vexFloatKey } from '../rows/avx-float.ts' // prettier-ignore
import { FLOAT, type FloatFormat } from '../rows/float.ts'
import { PACKED_OPS } from './packed.ts'
import { setCompareFlags } from './sse.ts'
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
  vexSemantics,
  writeHalves,
  type Meaning,
} from './vex.ts'

const LOGIC: Readonly<Record<string, string>> = { and: 'pand', andn: 'pandn', or: 'por', xor: 'pxor' }
const LOW_HALVES = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]
const HIGH_HALF_TWICE = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15]

/** dst = op on the low element of b; the rest of dst comes from a. `extra` follows the addresses. */
const scalar =
  (name: string, binaryForm: boolean, extra: (e: Emit) => readonly Val[] = () => []): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const b = e.read(2)
    const a = e.read(1)
    writeHalves(e, 0, [callLane(e, name, binaryForm ? [a, b] : [b], extra(e), a)])
  }

const predicate = (e: Emit): Val => e.and(imm(e, 3), i32(e, 31))

function floatMeaning(stem: string, kind: (typeof FLOAT)[number][3], format: FloatFormat): Meaning {
  const name = `sse_${stem}_${format}`
  const packed = format === 'ps' || format === 'pd'
  if (kind === 'logic') {
    const op = PACKED_OPS[LOGIC[stem] ?? '']
    if (!op) throw new Error(`no logic operation for ${stem}`)
    return binary((e, a, b) => op(e, a, b, 128))
  }
  if (kind === 'unary' || kind === 'estimate')
    return packed ? floatUnary((e, b) => callLane(e, name, [b])) : scalar(name, false)
  if (kind === 'compare')
    return packed
      ? floatBinary((e, a, b) => callLane(e, name, [a, b], [predicate(e)]))
      : scalar(name, true, (e) => [predicate(e)])
  return packed ? floatBinary((e, a, b) => callLane(e, name, [a, b])) : scalar(name, true)
}

const horizontal = (name: string): Meaning => floatBinary((e, a, b) => callLane(e, name, [a, b]))

const dotProduct = (name: string): Meaning => floatBinary((e, a, b) => callLane(e, name, [a, b], [imm(e, 3)]))

const round = (name: string): Meaning => floatUnary((e, b) => callLane(e, name, [b], [imm(e, 2)]))

const convert = (name: string, ...extra: readonly number[]): Meaning =>
  floatUnary((e, b) =>
    callLane(
      e,
      name,
      [b],
      extra.map((n) => i32(e, n)),
    ),
  )

/** The upper half of the result comes from the upper half of what the 128-bit form reads whole. */
const widening =
  (name: string): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const source = e.let(asVector(e, e.read(1)))
    const part = (h: 0 | 1): Val => (h === 0 ? source : shuffle(e, source, source, HIGH_HALF_TWICE))
    writeHalves(
      e,
      0,
      eachFloatHalf(e, length, (h) => callLane(e, name, [part(h)])),
    )
  }

/** Both halves of the source end in one XMM register. */
const narrowing =
  (name: string, ...extra: readonly number[]): Meaning =>
  (length) =>
  (e) => {
    gateAvx(e)
    const b = readHalves(e, 1, length)
    const more = extra.map((n) => i32(e, n))
    const [low, high] = eachFloatHalf(e, length, (h) => callLane(e, name, [half(b, h)], more))
    writeHalves(e, 0, [high ? shuffle(e, low, high, LOW_HALVES) : low])
  }

const fromInteger =
  (name: string): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const value = e.sext(e.read(2), 'i64')
    const dst = spill(e, e.read(1))
    e.call(name, [dst, value])
    writeHalves(e, 0, [e.loadAt('v128', dst)])
  }

const toInteger =
  (name: string, bits: 32 | 64, truncate: 0 | 1): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const result = callValue(e, name, [spill(e, e.read(1)), i32(e, bits), i32(e, truncate)])
    e.write(0, bits === 32 ? e.trunc(result, 'i32') : result)
  }

const compare =
  (name: string): Meaning =>
  () =>
  (e) => {
    gateAvx(e)
    const b = spill(e, e.read(1), 1)
    setCompareFlags(e, callValue(e, name, [spill(e, e.read(0)), b]))
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
  const [low, high] = eachFloatHalf(e, length, (h) =>
    callLane(e, 'sse_cvtps2ph', [half(source, h)], [imm(e, 2)]),
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
    const compute = (h: 0 | 1): Val =>
      callLane(e, name, [half(values[x], h), half(values[y], h), half(values[z], h)], [i32(e, negate)])
    writeHalves(e, 0, eachFloatHalf(e, length, compute))
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
    vhaddpd_V_V_VM: horizontal('sse_hadd_pd'),
    vhaddps_V_V_VM: horizontal('sse_hadd_ps'),
    vhsubpd_V_V_VM: horizontal('sse_hsub_pd'),
    vhsubps_V_V_VM: horizontal('sse_hsub_ps'),
    vaddsubpd_V_V_VM: horizontal('sse_addsub_pd'),
    vaddsubps_V_V_VM: horizontal('sse_addsub_ps'),
    vdpps_V_V_VM_imm8: dotProduct('sse_dpps'),
    vdppd_V_V_VM_imm8: dotProduct('sse_dppd'),
    vroundps_V_VM_imm8: round('sse_round_ps'),
    vroundpd_V_VM_imm8: round('sse_round_pd'),
    vroundss_xmm_xmm_xmm_m32_imm8: scalar('sse_round_ss', false, (e) => [imm(e, 3)]),
    vroundsd_xmm_xmm_xmm_m64_imm8: scalar('sse_round_sd', false, (e) => [imm(e, 3)]),
    vucomiss_xmm_xmm_m32: compare('sse_ucomi_ss'),
    vucomisd_xmm_xmm_m64: compare('sse_ucomi_sd'),
    vcomiss_xmm_xmm_m32: compare('sse_comi_ss'),
    vcomisd_xmm_xmm_m64: compare('sse_comi_sd'),
    vcvtsi2ss_xmm_xmm_rm32: fromInteger('sse_cvtsi2ss'),
    vcvtsi2ss_xmm_xmm_rm64: fromInteger('sse_cvtsi2ss'),
    vcvtsi2sd_xmm_xmm_rm32: fromInteger('sse_cvtsi2sd'),
    vcvtsi2sd_xmm_xmm_rm64: fromInteger('sse_cvtsi2sd'),
    vcvttss2si_r32_xmm_m32: toInteger('sse_cvtss2si', 32, 1),
    vcvttss2si_r64_xmm_m32: toInteger('sse_cvtss2si', 64, 1),
    vcvttsd2si_r32_xmm_m64: toInteger('sse_cvtsd2si', 32, 1),
    vcvttsd2si_r64_xmm_m64: toInteger('sse_cvtsd2si', 64, 1),
    vcvtss2si_r32_xmm_m32: toInteger('sse_cvtss2si', 32, 0),
    vcvtss2si_r64_xmm_m32: toInteger('sse_cvtss2si', 64, 0),
    vcvtsd2si_r32_xmm_m64: toInteger('sse_cvtsd2si', 32, 0),
    vcvtsd2si_r64_xmm_m64: toInteger('sse_cvtsd2si', 64, 0),
    vcvtss2sd_xmm_xmm_xmm_m32: scalar('sse_cvtss2sd', false),
    vcvtsd2ss_xmm_xmm_xmm_m64: scalar('sse_cvtsd2ss', false),
    vcvtps2pd_V_HM: widening('sse_cvtps2pd'),
    vcvtpd2ps_xmm_VM: narrowing('sse_cvtpd2ps'),
    vcvtdq2ps_V_VM: convert('sse_cvtdq2ps'),
    vcvtps2dq_V_VM: convert('sse_cvtps2dq', 0),
    vcvttps2dq_V_VM: convert('sse_cvtps2dq', 1),
    vcvttpd2dq_xmm_VM: narrowing('sse_cvtpd2dq', 1),
    vcvtdq2pd_V_HM: widening('sse_cvtdq2pd'),
    vcvtpd2dq_xmm_VM: narrowing('sse_cvtpd2dq', 0),
    vcvtph2ps_V_HM: widening('sse_cvtph2ps'),
    vcvtps2ph_HM_V_imm8: toHalves,
  }),
}
