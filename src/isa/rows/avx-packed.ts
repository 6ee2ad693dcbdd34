/**
 * VEX forms of the packed integer instructions (AVX: 128 bits, AVX2: 256 bits). Those of packed.ts follow from its table; the
 * rest of SSE2 to SSE4.2 is here. SDM Vol. 2, heading of each mnemonic without the V.
 */
import { defineRows } from '../row.ts'
import { PACKED } from './packed.ts'
import { vexRows, type VexLine, type VexLines } from './vex-row.ts'

/** Shifts take their count from an XMM register whatever the length. */
const SHIFTS = /^ps(ll|rl|ra)[wdq]$/
const UNARY = /^(pabs|phminpos)/

/** Id of the line of a mnemonic of packed.ts. */
export function vexPackedKey(mnemonic: string): string {
  return `v${mnemonic}_${UNARY.test(mnemonic) ? 'V_VM' : SHIFTS.test(mnemonic) ? 'V_V_xmm_m128' : 'V_V_VM'}`
}

function packedLine([mnemonic, opcode]: (typeof PACKED)[number]): [string, VexLine] {
  const map = opcode.startsWith('0F 38') ? '0F38' : '0F'
  const op = `66.${map}.WIG ${opcode.slice(-2)} /r`
  const operands = UNARY.test(mnemonic) ? 'w:V_r r:VM' : `w:V_r r:V_v r:${SHIFTS.test(mnemonic) ? 'xmm_m128' : 'VM'}`
  return [vexPackedKey(mnemonic), [op, operands, 'avx', mnemonic === 'phminposuw' ? '' : 'avx2']]
}

export const AVX_PACKED: VexLines = Object.fromEntries(PACKED.map(packedLine))

const EXTEND = 'r=- w=zc u=- 0=osap 1=-'
const STRINGS = { flags: 'r=- w=oszc u=- 0=ap 1=-' } as const
// W of the byte and word forms is ignored, as processors do; the manual has W0
const long = { modes: 'long' } as const

// prettier-ignore
export const AVX_INTEGER = {
  vpshufd_V_VM_imm8:   ['66.0F.WIG 70 /r ib', 'w:V_r r:VM r:imm8', 'avx', 'avx2'],
  vpshufhw_V_VM_imm8:  ['F3.0F.WIG 70 /r ib', 'w:V_r r:VM r:imm8', 'avx', 'avx2'],
  vpshuflw_V_VM_imm8:  ['F2.0F.WIG 70 /r ib', 'w:V_r r:VM r:imm8', 'avx', 'avx2'],
  vpsrlw_V_V_imm8:     ['66.0F.WIG 71 /2 mod=3 ib', 'w:V_v r:V r:imm8', 'avx', 'avx2'],
  vpsraw_V_V_imm8:     ['66.0F.WIG 71 /4 mod=3 ib', 'w:V_v r:V r:imm8', 'avx', 'avx2'],
  vpsllw_V_V_imm8:     ['66.0F.WIG 71 /6 mod=3 ib', 'w:V_v r:V r:imm8', 'avx', 'avx2'],
  vpsrld_V_V_imm8:     ['66.0F.WIG 72 /2 mod=3 ib', 'w:V_v r:V r:imm8', 'avx', 'avx2'],
  vpsrad_V_V_imm8:     ['66.0F.WIG 72 /4 mod=3 ib', 'w:V_v r:V r:imm8', 'avx', 'avx2'],
  vpslld_V_V_imm8:     ['66.0F.WIG 72 /6 mod=3 ib', 'w:V_v r:V r:imm8', 'avx', 'avx2'],
  vpsrlq_V_V_imm8:     ['66.0F.WIG 73 /2 mod=3 ib', 'w:V_v r:V r:imm8', 'avx', 'avx2'],
  vpsrldq_V_V_imm8:    ['66.0F.WIG 73 /3 mod=3 ib', 'w:V_v r:V r:imm8', 'avx', 'avx2'],
  vpsllq_V_V_imm8:     ['66.0F.WIG 73 /6 mod=3 ib', 'w:V_v r:V r:imm8', 'avx', 'avx2'],
  vpslldq_V_V_imm8:    ['66.0F.WIG 73 /7 mod=3 ib', 'w:V_v r:V r:imm8', 'avx', 'avx2'],
  vpalignr_V_V_VM_imm8: ['66.0F3A.WIG 0F /r ib', 'w:V_r r:V_v r:VM r:imm8', 'avx', 'avx2'],
  vpblendw_V_V_VM_imm8: ['66.0F3A.WIG 0E /r ib', 'w:V_r r:V_v r:VM r:imm8', 'avx', 'avx2'],
  vmpsadbw_V_V_VM_imm8: ['66.0F3A.WIG 42 /r ib', 'w:V_r r:V_v r:VM r:imm8', 'avx', 'avx2'],
  vpblendvb_V_V_VM_V:  ['66.0F3A.W0 4C /r ib', 'w:V_r r:V_v r:VM r:V_is4', 'avx', 'avx2'],
  vptest_V_VM:         ['66.0F38.WIG 17 /r', 'r:V_r r:VM', 'avx', 'avx', { flags: EXTEND }],
  vpmovmskb_r32_V:     ['66.0F.WIG D7 /r mod=3', 'w:r32 r:V', 'avx', 'avx2'],
  vpmovsxbw_V_HM:      ['66.0F38.WIG 20 /r', 'w:V_r r:HM', 'avx', 'avx2'],
  vpmovsxbd_V_QM:      ['66.0F38.WIG 21 /r', 'w:V_r r:QM', 'avx', 'avx2'],
  vpmovsxbq_V_EM:      ['66.0F38.WIG 22 /r', 'w:V_r r:EM', 'avx', 'avx2'],
  vpmovsxwd_V_HM:      ['66.0F38.WIG 23 /r', 'w:V_r r:HM', 'avx', 'avx2'],
  vpmovsxwq_V_QM:      ['66.0F38.WIG 24 /r', 'w:V_r r:QM', 'avx', 'avx2'],
  vpmovsxdq_V_HM:      ['66.0F38.WIG 25 /r', 'w:V_r r:HM', 'avx', 'avx2'],
  vpmovzxbw_V_HM:      ['66.0F38.WIG 30 /r', 'w:V_r r:HM', 'avx', 'avx2'],
  vpmovzxbd_V_QM:      ['66.0F38.WIG 31 /r', 'w:V_r r:QM', 'avx', 'avx2'],
  vpmovzxbq_V_EM:      ['66.0F38.WIG 32 /r', 'w:V_r r:EM', 'avx', 'avx2'],
  vpmovzxwd_V_HM:      ['66.0F38.WIG 33 /r', 'w:V_r r:HM', 'avx', 'avx2'],
  vpmovzxwq_V_QM:      ['66.0F38.WIG 34 /r', 'w:V_r r:QM', 'avx', 'avx2'],
  vpmovzxdq_V_HM:      ['66.0F38.WIG 35 /r', 'w:V_r r:HM', 'avx', 'avx2'],

  vpinsrb_xmm_xmm_r32_imm8: ['128.66.0F3A.WIG 20 /r mod=3 ib', 'w:xmm_r r:xmm_v r:rm32 r:imm8', 'avx'],
  vpinsrb_xmm_xmm_m8_imm8:  ['128.66.0F3A.WIG 20 /r ib', 'w:xmm_r r:xmm_v r:m8 r:imm8', 'avx'],
  vpinsrw_xmm_xmm_r32_imm8: ['128.66.0F.WIG C4 /r mod=3 ib', 'w:xmm_r r:xmm_v r:rm32 r:imm8', 'avx'],
  vpinsrw_xmm_xmm_m16_imm8: ['128.66.0F.WIG C4 /r ib', 'w:xmm_r r:xmm_v r:m16 r:imm8', 'avx'],
  vpinsrd_xmm_xmm_rm32_imm8: ['128.66.0F3A.W0 22 /r ib', 'w:xmm_r r:xmm_v r:rm32 r:imm8', 'avx'],
  vpinsrq_xmm_xmm_rm64_imm8: ['128.66.0F3A.W1 22 /r ib', 'w:xmm_r r:xmm_v r:rm64 r:imm8', 'avx', long],
  vpextrb_r32_xmm_imm8:     ['128.66.0F3A.WIG 14 /r mod=3 ib', 'w:rm32 r:xmm_r r:imm8', 'avx'],
  vpextrb_m8_xmm_imm8:      ['128.66.0F3A.WIG 14 /r ib', 'w:m8 r:xmm_r r:imm8', 'avx'],
  vpextrw_r32_xmm_imm8:     ['128.66.0F.WIG C5 /r mod=3 ib', 'w:r32 r:xmm r:imm8', 'avx'],
  vpextrw_rm32_xmm_imm8:    ['128.66.0F3A.WIG 15 /r mod=3 ib', 'w:rm32 r:xmm_r r:imm8', 'avx'],
  vpextrw_m16_xmm_imm8:     ['128.66.0F3A.WIG 15 /r ib', 'w:m16 r:xmm_r r:imm8', 'avx'],
  vpextrd_rm32_xmm_imm8:    ['128.66.0F3A.W0 16 /r ib', 'w:rm32 r:xmm_r r:imm8', 'avx'],
  vpextrq_rm64_xmm_imm8:    ['128.66.0F3A.W1 16 /r ib', 'w:rm64 r:xmm_r r:imm8', 'avx', long],

  vpcmpestrm_xmm_xmm_m128_imm8: ['128.66.0F3A.WIG 60 /r ib', 'r:xmm_r r:xmm_m128 r:imm8', 'avx', { ...STRINGS, widths: [32, 64] }],
  vpcmpestri_xmm_xmm_m128_imm8: ['128.66.0F3A.WIG 61 /r ib', 'r:xmm_r r:xmm_m128 r:imm8', 'avx', { ...STRINGS, widths: [32, 64] }],
  vpcmpistrm_xmm_xmm_m128_imm8: ['128.66.0F3A.WIG 62 /r ib', 'r:xmm_r r:xmm_m128 r:imm8', 'avx', STRINGS],
  vpcmpistri_xmm_xmm_m128_imm8: ['128.66.0F3A.WIG 63 /r ib', 'r:xmm_r r:xmm_m128 r:imm8', 'avx', STRINGS],

  vaesimc_xmm_xmm_m128:     ['128.66.0F38.WIG DB /r', 'w:xmm_r r:xmm_m128', 'aes'],
  vaesenc_V_V_VM:           ['128.66.0F38.WIG DC /r', 'w:V_r r:V_v r:VM', 'aes'],
  vaesenclast_V_V_VM:       ['128.66.0F38.WIG DD /r', 'w:V_r r:V_v r:VM', 'aes'],
  vaesdec_V_V_VM:           ['128.66.0F38.WIG DE /r', 'w:V_r r:V_v r:VM', 'aes'],
  vaesdeclast_V_V_VM:       ['128.66.0F38.WIG DF /r', 'w:V_r r:V_v r:VM', 'aes'],
  vaeskeygenassist_xmm_xmm_m128_imm8: ['128.66.0F3A.WIG DF /r ib', 'w:xmm_r r:xmm_m128 r:imm8', 'aes'],
  vpclmulqdq_V_V_VM_imm8:   ['128.66.0F3A.WIG 44 /r ib', 'w:V_r r:V_v r:VM r:imm8', 'pclmulqdq'],
} as const satisfies VexLines

export const avxPackedRows = defineRows({ ...vexRows(AVX_PACKED), ...vexRows(AVX_INTEGER) })
