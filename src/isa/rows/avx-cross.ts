/**
 * What AVX and AVX2 added without an SSE form: broadcasts, permutations across the halves, masked moves, gathers, shifts by
 * a count in each lane. SDM Vol. 2, VBROADCAST and following; Vol. 1, chapter 14.
 */
import { defineRows } from '../row.ts'
import { vexRows, type VexLines } from './vex-row.ts'

// prettier-ignore
export const AVX_CROSS = {
  vbroadcastss_V_m32:    ['66.0F38.W0 18 /r', 'w:V_r r:m32', 'avx', 'avx'],
  vbroadcastsd_ymm_m64:  ['256.66.0F38.W0 19 /r', 'w:ymm_r r:m64', 'avx'],
  vbroadcastf128_ymm_m128: ['256.66.0F38.W0 1A /r', 'w:ymm_r r:m128', 'avx'],
  vinsertf128_ymm_ymm_xmm_m128_imm8: ['256.66.0F3A.W0 18 /r ib', 'w:ymm_r r:ymm_v r:xmm_m128 r:imm8', 'avx'],
  vextractf128_xmm_m128_ymm_imm8:    ['256.66.0F3A.W0 19 /r ib', 'w:xmm_m128 r:ymm_r r:imm8', 'avx'],
  vperm2f128_ymm_ymm_ymm_m256_imm8:  ['256.66.0F3A.W0 06 /r ib', 'w:ymm_r r:ymm_v r:ymm_m256 r:imm8', 'avx'],
  vmaskmovps_V_V_M:      ['66.0F38.W0 2C /r', 'w:V_r r:V_v r:M', 'avx', 'avx'],
  vmaskmovpd_V_V_M:      ['66.0F38.W0 2D /r', 'w:V_r r:V_v r:M', 'avx', 'avx'],
  vmaskmovps_M_V_V:      ['66.0F38.W0 2E /r', 'w:M r:V_v r:V_r', 'avx', 'avx'],
  vmaskmovpd_M_V_V:      ['66.0F38.W0 2F /r', 'w:M r:V_v r:V_r', 'avx', 'avx'],

  vbroadcastss_V_xmm:    ['66.0F38.W0 18 /r mod=3', 'w:V_r r:xmm', 'avx2', 'avx2'],
  vbroadcastsd_ymm_xmm:  ['256.66.0F38.W0 19 /r mod=3', 'w:ymm_r r:xmm', 'avx2'],
  vbroadcasti128_ymm_m128: ['256.66.0F38.W0 5A /r', 'w:ymm_r r:m128', 'avx2'],
  vpbroadcastd_V_xmm_m32: ['66.0F38.W0 58 /r', 'w:V_r r:xmm_m32', 'avx2', 'avx2'],
  vpbroadcastq_V_xmm_m64: ['66.0F38.W0 59 /r', 'w:V_r r:xmm_m64', 'avx2', 'avx2'],
  vpbroadcastb_V_xmm_m8:  ['66.0F38.W0 78 /r', 'w:V_r r:xmm_m8', 'avx2', 'avx2'],
  vpbroadcastw_V_xmm_m16: ['66.0F38.W0 79 /r', 'w:V_r r:xmm_m16', 'avx2', 'avx2'],
  vinserti128_ymm_ymm_xmm_m128_imm8: ['256.66.0F3A.W0 38 /r ib', 'w:ymm_r r:ymm_v r:xmm_m128 r:imm8', 'avx2'],
  vextracti128_xmm_m128_ymm_imm8:    ['256.66.0F3A.W0 39 /r ib', 'w:xmm_m128 r:ymm_r r:imm8', 'avx2'],
  vperm2i128_ymm_ymm_ymm_m256_imm8:  ['256.66.0F3A.W0 46 /r ib', 'w:ymm_r r:ymm_v r:ymm_m256 r:imm8', 'avx2'],
  vpermps_ymm_ymm_ymm_m256:  ['256.66.0F38.W0 16 /r', 'w:ymm_r r:ymm_v r:ymm_m256', 'avx2'],
  vpermd_ymm_ymm_ymm_m256:   ['256.66.0F38.W0 36 /r', 'w:ymm_r r:ymm_v r:ymm_m256', 'avx2'],
  vpermq_ymm_ymm_m256_imm8:  ['256.66.0F3A.W1 00 /r ib', 'w:ymm_r r:ymm_m256 r:imm8', 'avx2'],
  vpermpd_ymm_ymm_m256_imm8: ['256.66.0F3A.W1 01 /r ib', 'w:ymm_r r:ymm_m256 r:imm8', 'avx2'],
  vpblendd_V_V_VM_imm8:  ['66.0F3A.W0 02 /r ib', 'w:V_r r:V_v r:VM r:imm8', 'avx2', 'avx2'],
  vpsrlvd_V_V_VM:        ['66.0F38.W0 45 /r', 'w:V_r r:V_v r:VM', 'avx2', 'avx2'],
  vpsrlvq_V_V_VM:        ['66.0F38.W1 45 /r', 'w:V_r r:V_v r:VM', 'avx2', 'avx2'],
  vpsravd_V_V_VM:        ['66.0F38.W0 46 /r', 'w:V_r r:V_v r:VM', 'avx2', 'avx2'],
  vpsllvd_V_V_VM:        ['66.0F38.W0 47 /r', 'w:V_r r:V_v r:VM', 'avx2', 'avx2'],
  vpsllvq_V_V_VM:        ['66.0F38.W1 47 /r', 'w:V_r r:V_v r:VM', 'avx2', 'avx2'],
  vpmaskmovd_V_V_M:      ['66.0F38.W0 8C /r', 'w:V_r r:V_v r:M', 'avx2', 'avx2'],
  vpmaskmovq_V_V_M:      ['66.0F38.W1 8C /r', 'w:V_r r:V_v r:M', 'avx2', 'avx2'],
  vpmaskmovd_M_V_V:      ['66.0F38.W0 8E /r', 'w:M r:V_v r:V_r', 'avx2', 'avx2'],
  vpmaskmovq_M_V_V:      ['66.0F38.W1 8E /r', 'w:M r:V_v r:V_r', 'avx2', 'avx2'],

  vpgatherdd_xmm_vm32x_xmm: ['128.66.0F38.W0 90 /r', 'rw:xmm_r r:vm32x rw:xmm_v', 'avx2'],
  vpgatherdd_ymm_vm32y_ymm: ['256.66.0F38.W0 90 /r', 'rw:ymm_r r:vm32y rw:ymm_v', 'avx2'],
  vpgatherdq_xmm_vm32x_xmm: ['128.66.0F38.W1 90 /r', 'rw:xmm_r r:vm32x rw:xmm_v', 'avx2'],
  vpgatherdq_ymm_vm32x_ymm: ['256.66.0F38.W1 90 /r', 'rw:ymm_r r:vm32x rw:ymm_v', 'avx2'],
  vpgatherqd_xmm_vm64x_xmm: ['128.66.0F38.W0 91 /r', 'rw:xmm_r r:vm64x rw:xmm_v', 'avx2'],
  vpgatherqd_xmm_vm64y_xmm: ['256.66.0F38.W0 91 /r', 'rw:xmm_r r:vm64y rw:xmm_v', 'avx2'],
  vpgatherqq_xmm_vm64x_xmm: ['128.66.0F38.W1 91 /r', 'rw:xmm_r r:vm64x rw:xmm_v', 'avx2'],
  vpgatherqq_ymm_vm64y_ymm: ['256.66.0F38.W1 91 /r', 'rw:ymm_r r:vm64y rw:ymm_v', 'avx2'],
  vgatherdps_xmm_vm32x_xmm: ['128.66.0F38.W0 92 /r', 'rw:xmm_r r:vm32x rw:xmm_v', 'avx2'],
  vgatherdps_ymm_vm32y_ymm: ['256.66.0F38.W0 92 /r', 'rw:ymm_r r:vm32y rw:ymm_v', 'avx2'],
  vgatherdpd_xmm_vm32x_xmm: ['128.66.0F38.W1 92 /r', 'rw:xmm_r r:vm32x rw:xmm_v', 'avx2'],
  vgatherdpd_ymm_vm32x_ymm: ['256.66.0F38.W1 92 /r', 'rw:ymm_r r:vm32x rw:ymm_v', 'avx2'],
  vgatherqps_xmm_vm64x_xmm: ['128.66.0F38.W0 93 /r', 'rw:xmm_r r:vm64x rw:xmm_v', 'avx2'],
  vgatherqps_xmm_vm64y_xmm: ['256.66.0F38.W0 93 /r', 'rw:xmm_r r:vm64y rw:xmm_v', 'avx2'],
  vgatherqpd_xmm_vm64x_xmm: ['128.66.0F38.W1 93 /r', 'rw:xmm_r r:vm64x rw:xmm_v', 'avx2'],
  vgatherqpd_ymm_vm64y_ymm: ['256.66.0F38.W1 93 /r', 'rw:ymm_r r:vm64y rw:ymm_v', 'avx2'],
} as const satisfies VexLines

export const avxCrossRows = defineRows(vexRows(AVX_CROSS))
