/**
 * VEX forms of floating-point arithmetic, conversions and comparisons, FMA and F16C. Those of float.ts follow from its table.
 * SDM Vol. 2, heading of each mnemonic without the V.
 */
import { defineRows } from '../row.ts'
import { FLOAT, type FloatFormat } from './float.ts'
import { COMPARE_FLAGS } from './vector-row.ts'
import { vexRows, type VexLine, type VexLines } from './vex-row.ts'

const PREFIX = { ps: 'NP', ss: 'F3', pd: '66', sd: 'F2' } as const
const SCALAR = { ss: 'xmm_m32', sd: 'xmm_m64' } as const

const isPacked = (format: FloatFormat): format is 'ps' | 'pd' => format === 'ps' || format === 'pd'

/** Packed unary forms have no second source; scalar ones take their upper part from it. */
export function vexFloatKey(stem: string, format: FloatFormat, kind: (typeof FLOAT)[number][3]): string {
  const unary = kind === 'unary' || kind === 'estimate'
  const tail = kind === 'compare' ? '_imm8' : ''
  if (isPacked(format)) return `v${stem}${format}_${unary ? 'V_VM' : 'V_V_VM'}${tail}`
  return `v${stem}${format}_xmm_xmm_${SCALAR[format]}${tail}`
}

function floatLine([stem, opcode, , kind]: (typeof FLOAT)[number], format: FloatFormat): [string, VexLine] {
  const quiet = kind === 'logic' || kind === 'estimate'
  const unary = kind === 'unary' || kind === 'estimate'
  const ib = kind === 'compare' ? ' ib' : ''
  const imm8 = kind === 'compare' ? ' r:imm8' : ''
  const options = quiet ? {} : ({ float: true } as const)
  const op = `${PREFIX[format]}.0F.WIG ${opcode.slice(-2)} /r${ib}`
  const key = vexFloatKey(stem, format, kind)
  return isPacked(format)
    ? [key, [op, `w:V_r ${unary ? '' : 'r:V_v '}r:VM${imm8}`, 'avx', 'avx', options]]
    : [key, [`LIG.${op}`, `w:xmm_r r:xmm_v r:${SCALAR[format]}${imm8}`, 'avx', options]]
}

export const AVX_FLOAT: VexLines = Object.fromEntries(
  FLOAT.flatMap((line) => line[2].map((format) => floatLine(line, format))),
)

const float = { float: true } as const
const generalFloat = { float: true, general: true } as const
const longFloat = { float: true, modes: 'long' } as const
const compare = { float: true, flags: COMPARE_FLAGS } as const

// prettier-ignore
export const AVX_CONVERT = {
  vhaddpd_V_V_VM:   ['66.0F.WIG 7C /r', 'w:V_r r:V_v r:VM', 'avx', 'avx', float],
  vhaddps_V_V_VM:   ['F2.0F.WIG 7C /r', 'w:V_r r:V_v r:VM', 'avx', 'avx', float],
  vhsubpd_V_V_VM:   ['66.0F.WIG 7D /r', 'w:V_r r:V_v r:VM', 'avx', 'avx', float],
  vhsubps_V_V_VM:   ['F2.0F.WIG 7D /r', 'w:V_r r:V_v r:VM', 'avx', 'avx', float],
  vaddsubpd_V_V_VM: ['66.0F.WIG D0 /r', 'w:V_r r:V_v r:VM', 'avx', 'avx', float],
  vaddsubps_V_V_VM: ['F2.0F.WIG D0 /r', 'w:V_r r:V_v r:VM', 'avx', 'avx', float],
  vdpps_V_V_VM_imm8: ['66.0F3A.WIG 40 /r ib', 'w:V_r r:V_v r:VM r:imm8', 'avx', 'avx', float],
  vdppd_V_V_VM_imm8: ['128.66.0F3A.WIG 41 /r ib', 'w:V_r r:V_v r:VM r:imm8', 'avx', float],
  vroundps_V_VM_imm8: ['66.0F3A.WIG 08 /r ib', 'w:V_r r:VM r:imm8', 'avx', 'avx', float],
  vroundpd_V_VM_imm8: ['66.0F3A.WIG 09 /r ib', 'w:V_r r:VM r:imm8', 'avx', 'avx', float],
  vroundss_xmm_xmm_xmm_m32_imm8: ['LIG.66.0F3A.WIG 0A /r ib', 'w:xmm_r r:xmm_v r:xmm_m32 r:imm8', 'avx', float],
  vroundsd_xmm_xmm_xmm_m64_imm8: ['LIG.66.0F3A.WIG 0B /r ib', 'w:xmm_r r:xmm_v r:xmm_m64 r:imm8', 'avx', float],

  vucomiss_xmm_xmm_m32: ['LIG.NP.0F.WIG 2E /r', 'r:xmm_r r:xmm_m32', 'avx', compare],
  vucomisd_xmm_xmm_m64: ['LIG.66.0F.WIG 2E /r', 'r:xmm_r r:xmm_m64', 'avx', compare],
  vcomiss_xmm_xmm_m32:  ['LIG.NP.0F.WIG 2F /r', 'r:xmm_r r:xmm_m32', 'avx', compare],
  vcomisd_xmm_xmm_m64:  ['LIG.66.0F.WIG 2F /r', 'r:xmm_r r:xmm_m64', 'avx', compare],

  vcvtsi2ss_xmm_xmm_rm32: ['LIG.F3.0F.W0 2A /r', 'w:xmm_r r:xmm_v r:rm32', 'avx', generalFloat],
  vcvtsi2ss_xmm_xmm_rm64: ['LIG.F3.0F.W1 2A /r', 'w:xmm_r r:xmm_v r:rm64', 'avx', longFloat],
  vcvtsi2sd_xmm_xmm_rm32: ['LIG.F2.0F.W0 2A /r', 'w:xmm_r r:xmm_v r:rm32', 'avx', generalFloat],
  vcvtsi2sd_xmm_xmm_rm64: ['LIG.F2.0F.W1 2A /r', 'w:xmm_r r:xmm_v r:rm64', 'avx', longFloat],
  vcvttss2si_r32_xmm_m32: ['LIG.F3.0F.W0 2C /r', 'w:r32 r:xmm_m32', 'avx', generalFloat],
  vcvttss2si_r64_xmm_m32: ['LIG.F3.0F.W1 2C /r', 'w:r64 r:xmm_m32', 'avx', longFloat],
  vcvttsd2si_r32_xmm_m64: ['LIG.F2.0F.W0 2C /r', 'w:r32 r:xmm_m64', 'avx', generalFloat],
  vcvttsd2si_r64_xmm_m64: ['LIG.F2.0F.W1 2C /r', 'w:r64 r:xmm_m64', 'avx', longFloat],
  vcvtss2si_r32_xmm_m32:  ['LIG.F3.0F.W0 2D /r', 'w:r32 r:xmm_m32', 'avx', generalFloat],
  vcvtss2si_r64_xmm_m32:  ['LIG.F3.0F.W1 2D /r', 'w:r64 r:xmm_m32', 'avx', longFloat],
  vcvtsd2si_r32_xmm_m64:  ['LIG.F2.0F.W0 2D /r', 'w:r32 r:xmm_m64', 'avx', generalFloat],
  vcvtsd2si_r64_xmm_m64:  ['LIG.F2.0F.W1 2D /r', 'w:r64 r:xmm_m64', 'avx', longFloat],
  vcvtss2sd_xmm_xmm_xmm_m32: ['LIG.F3.0F.WIG 5A /r', 'w:xmm_r r:xmm_v r:xmm_m32', 'avx', float],
  vcvtsd2ss_xmm_xmm_xmm_m64: ['LIG.F2.0F.WIG 5A /r', 'w:xmm_r r:xmm_v r:xmm_m64', 'avx', float],
  vcvtps2pd_V_HM:   ['NP.0F.WIG 5A /r', 'w:V_r r:HM', 'avx', 'avx', float],
  vcvtpd2ps_xmm_VM: ['66.0F.WIG 5A /r', 'w:xmm_r r:VM', 'avx', 'avx', float],
  vcvtdq2ps_V_VM:   ['NP.0F.WIG 5B /r', 'w:V_r r:VM', 'avx', 'avx', float],
  vcvtps2dq_V_VM:   ['66.0F.WIG 5B /r', 'w:V_r r:VM', 'avx', 'avx', float],
  vcvttps2dq_V_VM:  ['F3.0F.WIG 5B /r', 'w:V_r r:VM', 'avx', 'avx', float],
  vcvttpd2dq_xmm_VM: ['66.0F.WIG E6 /r', 'w:xmm_r r:VM', 'avx', 'avx', float],
  vcvtdq2pd_V_HM:   ['F3.0F.WIG E6 /r', 'w:V_r r:HM', 'avx', 'avx'],
  vcvtpd2dq_xmm_VM: ['F2.0F.WIG E6 /r', 'w:xmm_r r:VM', 'avx', 'avx', float],

  vcvtph2ps_V_HM:      ['66.0F38.W0 13 /r', 'w:V_r r:HM', 'f16c', 'f16c', float],
  vcvtps2ph_HM_V_imm8: ['66.0F3A.W0 1D /r ib', 'w:HM r:V_r r:imm8', 'f16c', 'f16c', float],
} as const satisfies VexLines

/** Low digit of the packed opcode, and what kernel/fp's sse_fma_* negates: bit 0 the product, 1 even, 2 odd addends. */
export const FMA_KINDS = [
  ['fmaddsub', 0x6, 2],
  ['fmsubadd', 0x7, 4],
  ['fmadd', 0x8, 0],
  ['fmsub', 0xa, 6],
  ['fnmadd', 0xc, 1],
  ['fnmsub', 0xe, 7],
] as const
export const FMA_ORDERS = [132, 213, 231] as const
export const FMA_FORMATS = ['ps', 'pd', 'ss', 'sd'] as const

export function fmaKey(kind: string, order: number, format: (typeof FMA_FORMATS)[number]): string {
  return `v${kind}${order}${format}_${isPacked(format) ? 'V_V_VM' : `xmm_xmm_${SCALAR[format]}`}`
}

function fmaLines(): [string, VexLine][] {
  return FMA_KINDS.flatMap(([kind, digit]) =>
    FMA_ORDERS.flatMap((order, n) =>
      FMA_FORMATS.filter((format) => digit >= 8 || isPacked(format)).map((format): [string, VexLine] => {
        const opcode = (0x90 + 16 * n + digit + (isPacked(format) ? 0 : 1)).toString(16).toUpperCase()
        const op = `66.0F38.${format.endsWith('s') ? 'W0' : 'W1'} ${opcode} /r`
        const key = fmaKey(kind, order, format)
        return isPacked(format)
          ? [key, [op, 'rw:V_r r:V_v r:VM', 'fma', 'fma', float]]
          : [key, [`LIG.${op}`, `rw:xmm_r r:xmm_v r:${SCALAR[format]}`, 'fma', float]]
      }),
    ),
  )
}

export const AVX_FMA: VexLines = Object.fromEntries(fmaLines())

export const avxFloatRows = defineRows({ ...vexRows(AVX_FLOAT), ...vexRows(AVX_CONVERT), ...vexRows(AVX_FMA) })
