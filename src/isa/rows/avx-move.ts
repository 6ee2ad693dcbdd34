/** VEX moves, shuffles and blends: the forms of SSE instructions, and what AVX added that stays inside the halves. SDM Vol. 2. */
import { defineRows } from '../row.ts'
import { vexRows, type VexLines } from './vex-row.ts'

const aligned = { aligned: true } as const
const general = { general: true } as const
const long = { modes: 'long' } as const
const alias = { alias: true } as const
const TEST = { flags: 'r=- w=zc u=- 0=osap 1=-' } as const
const mxcsr = { cite: 'SDM Vol. 2, LDMXCSR' } as const

// prettier-ignore
export const AVX_MOVE = {
  vmovups_V_VM:  ['NP.0F.WIG 10 /r', 'w:V_r r:VM', 'avx', 'avx'],
  vmovups_VM_V:  ['NP.0F.WIG 11 /r', 'w:VM r:V_r', 'avx', 'avx'],
  vmovupd_V_VM:  ['66.0F.WIG 10 /r', 'w:V_r r:VM', 'avx', 'avx'],
  vmovupd_VM_V:  ['66.0F.WIG 11 /r', 'w:VM r:V_r', 'avx', 'avx'],
  vmovaps_V_VM:  ['NP.0F.WIG 28 /r', 'w:V_r r:VM', 'avx', 'avx', aligned],
  vmovaps_VM_V:  ['NP.0F.WIG 29 /r', 'w:VM r:V_r', 'avx', 'avx', aligned],
  vmovapd_V_VM:  ['66.0F.WIG 28 /r', 'w:V_r r:VM', 'avx', 'avx', aligned],
  vmovapd_VM_V:  ['66.0F.WIG 29 /r', 'w:VM r:V_r', 'avx', 'avx', aligned],
  vmovdqu_V_VM:  ['F3.0F.WIG 6F /r', 'w:V_r r:VM', 'avx', 'avx'],
  vmovdqu_VM_V:  ['F3.0F.WIG 7F /r', 'w:VM r:V_r', 'avx', 'avx'],
  vmovdqa_V_VM:  ['66.0F.WIG 6F /r', 'w:V_r r:VM', 'avx', 'avx', aligned],
  vmovdqa_VM_V:  ['66.0F.WIG 7F /r', 'w:VM r:V_r', 'avx', 'avx', aligned],
  vlddqu_V_M:    ['F2.0F.WIG F0 /r', 'w:V_r r:M', 'avx', 'avx'],
  vmovntdqa_V_M: ['66.0F38.WIG 2A /r', 'w:V_r r:M', 'avx', 'avx2', aligned],
  vmovntps_M_V:  ['NP.0F.WIG 2B /r', 'w:M r:V_r', 'avx', 'avx', aligned],
  vmovntpd_M_V:  ['66.0F.WIG 2B /r', 'w:M r:V_r', 'avx', 'avx', aligned],
  vmovntdq_M_V:  ['66.0F.WIG E7 /r', 'w:M r:V_r', 'avx', 'avx', aligned],

  vmovss_xmm_xmm_xmm:    ['LIG.F3.0F.WIG 10 /r mod=3', 'w:xmm_r r:xmm_v r:xmm', 'avx'],
  vmovss_xmm_xmm_xmm_11: ['LIG.F3.0F.WIG 11 /r mod=3', 'w:xmm r:xmm_v r:xmm_r', 'avx', alias],
  vmovss_xmm_m32:        ['LIG.F3.0F.WIG 10 /r', 'w:xmm_r r:m32', 'avx'],
  vmovss_m32_xmm:        ['LIG.F3.0F.WIG 11 /r', 'w:m32 r:xmm_r', 'avx'],
  vmovsd_xmm_xmm_xmm:    ['LIG.F2.0F.WIG 10 /r mod=3', 'w:xmm_r r:xmm_v r:xmm', 'avx'],
  vmovsd_xmm_xmm_xmm_11: ['LIG.F2.0F.WIG 11 /r mod=3', 'w:xmm r:xmm_v r:xmm_r', 'avx', alias],
  vmovsd_xmm_m64:        ['LIG.F2.0F.WIG 10 /r', 'w:xmm_r r:m64', 'avx'],
  vmovsd_m64_xmm:        ['LIG.F2.0F.WIG 11 /r', 'w:m64 r:xmm_r', 'avx'],
  vmovlps_xmm_xmm_m64:   ['128.NP.0F.WIG 12 /r', 'w:xmm_r r:xmm_v r:m64', 'avx'],
  vmovlps_m64_xmm:       ['128.NP.0F.WIG 13 /r', 'w:m64 r:xmm_r', 'avx'],
  vmovhlps_xmm_xmm_xmm:  ['128.NP.0F.WIG 12 /r mod=3', 'w:xmm_r r:xmm_v r:xmm', 'avx'],
  vmovhps_xmm_xmm_m64:   ['128.NP.0F.WIG 16 /r', 'w:xmm_r r:xmm_v r:m64', 'avx'],
  vmovhps_m64_xmm:       ['128.NP.0F.WIG 17 /r', 'w:m64 r:xmm_r', 'avx'],
  vmovlhps_xmm_xmm_xmm:  ['128.NP.0F.WIG 16 /r mod=3', 'w:xmm_r r:xmm_v r:xmm', 'avx'],
  vmovlpd_xmm_xmm_m64:   ['128.66.0F.WIG 12 /r', 'w:xmm_r r:xmm_v r:m64', 'avx'],
  vmovlpd_m64_xmm:       ['128.66.0F.WIG 13 /r', 'w:m64 r:xmm_r', 'avx'],
  vmovhpd_xmm_xmm_m64:   ['128.66.0F.WIG 16 /r', 'w:xmm_r r:xmm_v r:m64', 'avx'],
  vmovhpd_m64_xmm:       ['128.66.0F.WIG 17 /r', 'w:m64 r:xmm_r', 'avx'],
  vmovd_xmm_rm32:        ['128.66.0F.W0 6E /r', 'w:xmm_r r:rm32', 'avx', general],
  vmovq_xmm_rm64:        ['128.66.0F.W1 6E /r', 'w:xmm_r r:rm64', 'avx', long],
  vmovd_rm32_xmm:        ['128.66.0F.W0 7E /r', 'w:rm32 r:xmm_r', 'avx', general],
  vmovq_rm64_xmm:        ['128.66.0F.W1 7E /r', 'w:rm64 r:xmm_r', 'avx', long],
  vmovq_xmm_xmm_m64:     ['128.F3.0F.WIG 7E /r', 'w:xmm_r r:xmm_m64', 'avx'],
  vmovq_xmm_m64_xmm:     ['128.66.0F.WIG D6 /r', 'w:xmm_m64 r:xmm_r', 'avx'],
  vmovddup_xmm_xmm_m64:  ['128.F2.0F.WIG 12 /r', 'w:xmm_r r:xmm_m64', 'avx'],
  vmovddup_ymm_ymm_m256: ['256.F2.0F.WIG 12 /r', 'w:ymm_r r:ymm_m256', 'avx'],
  vmovsldup_V_VM:        ['F3.0F.WIG 12 /r', 'w:V_r r:VM', 'avx', 'avx'],
  vmovshdup_V_VM:        ['F3.0F.WIG 16 /r', 'w:V_r r:VM', 'avx', 'avx'],
  vmovmskps_r32_V:       ['NP.0F.WIG 50 /r mod=3', 'w:r32 r:V', 'avx', 'avx'],
  vmovmskpd_r32_V:       ['66.0F.WIG 50 /r mod=3', 'w:r32 r:V', 'avx', 'avx'],
  vmaskmovdqu_xmm_xmm:   ['128.66.0F.WIG F7 /r mod=3', 'r:xmm_r r:xmm w:mdi', 'avx'],
  vldmxcsr_m32:          ['LZ.NP.0F.WIG AE /2', 'r:m32', 'avx', mxcsr],
  vstmxcsr_m32:          ['LZ.NP.0F.WIG AE /3', 'w:m32', 'avx', mxcsr],

  vunpcklps_V_V_VM:      ['NP.0F.WIG 14 /r', 'w:V_r r:V_v r:VM', 'avx', 'avx'],
  vunpckhps_V_V_VM:      ['NP.0F.WIG 15 /r', 'w:V_r r:V_v r:VM', 'avx', 'avx'],
  vunpcklpd_V_V_VM:      ['66.0F.WIG 14 /r', 'w:V_r r:V_v r:VM', 'avx', 'avx'],
  vunpckhpd_V_V_VM:      ['66.0F.WIG 15 /r', 'w:V_r r:V_v r:VM', 'avx', 'avx'],
  vshufps_V_V_VM_imm8:   ['NP.0F.WIG C6 /r ib', 'w:V_r r:V_v r:VM r:imm8', 'avx', 'avx'],
  vshufpd_V_V_VM_imm8:   ['66.0F.WIG C6 /r ib', 'w:V_r r:V_v r:VM r:imm8', 'avx', 'avx'],
  vblendps_V_V_VM_imm8:  ['66.0F3A.WIG 0C /r ib', 'w:V_r r:V_v r:VM r:imm8', 'avx', 'avx'],
  vblendpd_V_V_VM_imm8:  ['66.0F3A.WIG 0D /r ib', 'w:V_r r:V_v r:VM r:imm8', 'avx', 'avx'],
  vblendvps_V_V_VM_V:    ['66.0F3A.W0 4A /r ib', 'w:V_r r:V_v r:VM r:V_is4', 'avx', 'avx'],
  vblendvpd_V_V_VM_V:    ['66.0F3A.W0 4B /r ib', 'w:V_r r:V_v r:VM r:V_is4', 'avx', 'avx'],
  vextractps_rm32_xmm_imm8:   ['128.66.0F3A.WIG 17 /r ib', 'w:rm32 r:xmm_r r:imm8', 'avx'],
  vinsertps_xmm_xmm_xmm_imm8: ['128.66.0F3A.WIG 21 /r mod=3 ib', 'w:xmm_r r:xmm_v r:xmm r:imm8', 'avx'],
  vinsertps_xmm_xmm_m32_imm8: ['128.66.0F3A.WIG 21 /r ib', 'w:xmm_r r:xmm_v r:m32 r:imm8', 'avx'],

  vzeroupper:            ['128.NP.0F.WIG 77', '', 'avx'],
  vzeroall:              ['256.NP.0F.WIG 77', '', 'avx'],
  vtestps_V_VM:          ['66.0F38.W0 0E /r', 'r:V_r r:VM', 'avx', 'avx', TEST],
  vtestpd_V_VM:          ['66.0F38.W0 0F /r', 'r:V_r r:VM', 'avx', 'avx', TEST],
  vpermilps_V_V_VM:      ['66.0F38.W0 0C /r', 'w:V_r r:V_v r:VM', 'avx', 'avx'],
  vpermilpd_V_V_VM:      ['66.0F38.W0 0D /r', 'w:V_r r:V_v r:VM', 'avx', 'avx'],
  vpermilps_V_VM_imm8:   ['66.0F3A.W0 04 /r ib', 'w:V_r r:VM r:imm8', 'avx', 'avx'],
  vpermilpd_V_VM_imm8:   ['66.0F3A.W0 05 /r ib', 'w:V_r r:VM r:imm8', 'avx', 'avx'],
} as const satisfies VexLines

export const avxMoveRows = defineRows(vexRows(AVX_MOVE))
