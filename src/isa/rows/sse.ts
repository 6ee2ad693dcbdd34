/**
 * SSE: single precision. Arithmetic common with double precision is in float.ts. SDM Vol. 1, chapter 10.
 */
import { defineRows } from '../row.ts'
import { ALIGNED_FAULTS, COMPARE_FLAGS, FLOAT_FAULTS, MMX_FAULTS, sse } from './vector-row.ts'

const aligned = { faults: ALIGNED_FAULTS }
const float = { faults: FLOAT_FAULTS }
const withMmx = { faults: [...MMX_FAULTS, 'XM'] as const }

// prettier-ignore
export const sseRows = defineRows({
  movups_xmm_xmm_m128: sse('movups', 'NP 0F 10 /r', ['w:xmm_r', 'r:xmm_m128'], 'sse'),
  movups_xmm_m128_xmm: sse('movups', 'NP 0F 11 /r', ['w:xmm_m128', 'r:xmm_r'], 'sse'),
  movss_xmm_xmm: sse('movss', 'F3 0F 10 /r mod=3', ['rw:xmm_r', 'r:xmm'], 'sse'),
  movss_xmm_m32: sse('movss', 'F3 0F 10 /r', ['w:xmm_r', 'r:m32'], 'sse'),
  movss_xmm_m32_xmm: sse('movss', 'F3 0F 11 /r', ['rw:xmm_m32', 'r:xmm_r'], 'sse'),
  movhlps_xmm_xmm: sse('movhlps', 'NP 0F 12 /r mod=3', ['rw:xmm_r', 'r:xmm'], 'sse'),
  movlps_xmm_m64: sse('movlps', 'NP 0F 12 /r', ['rw:xmm_r', 'r:m64'], 'sse'),
  movlps_m64_xmm: sse('movlps', 'NP 0F 13 /r', ['w:m64', 'r:xmm_r'], 'sse'),
  unpcklps_xmm_xmm_m128: sse('unpcklps', 'NP 0F 14 /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse', aligned),
  unpckhps_xmm_xmm_m128: sse('unpckhps', 'NP 0F 15 /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse', aligned),
  movlhps_xmm_xmm: sse('movlhps', 'NP 0F 16 /r mod=3', ['rw:xmm_r', 'r:xmm'], 'sse'),
  movhps_xmm_m64: sse('movhps', 'NP 0F 16 /r', ['rw:xmm_r', 'r:m64'], 'sse'),
  movhps_m64_xmm: sse('movhps', 'NP 0F 17 /r', ['w:m64', 'r:xmm_r'], 'sse'),
  movaps_xmm_xmm_m128: sse('movaps', 'NP 0F 28 /r', ['w:xmm_r', 'r:xmm_m128'], 'sse', aligned),
  movaps_xmm_m128_xmm: sse('movaps', 'NP 0F 29 /r', ['w:xmm_m128', 'r:xmm_r'], 'sse', aligned),
  cvtpi2ps_xmm_mm_m64: sse('cvtpi2ps', 'NP 0F 2A /r', ['rw:xmm_r', 'r:mm_m64'], 'sse', withMmx),
  cvtsi2ss_xmm_rm32: sse('cvtsi2ss', 'F3 W0 0F 2A /r', ['rw:xmm_r', 'r:rm32'], 'sse', float),
  cvtsi2ss_xmm_rm64: sse('cvtsi2ss', 'F3 REX.W 0F 2A /r', ['rw:xmm_r', 'r:rm64'], 'sse', float),
  movntps_m128_xmm: sse('movntps', 'NP 0F 2B /r', ['w:m128', 'r:xmm_r'], 'sse', aligned),
  cvttps2pi_mm_xmm_m64: sse('cvttps2pi', 'NP 0F 2C /r', ['w:mm_r', 'r:xmm_m64'], 'sse', withMmx),
  cvttss2si_r32_xmm_m32: sse('cvttss2si', 'F3 W0 0F 2C /r', ['w:r32', 'r:xmm_m32'], 'sse', float),
  cvttss2si_r64_xmm_m32: sse('cvttss2si', 'F3 REX.W 0F 2C /r', ['w:r64', 'r:xmm_m32'], 'sse', float),
  cvtps2pi_mm_xmm_m64: sse('cvtps2pi', 'NP 0F 2D /r', ['w:mm_r', 'r:xmm_m64'], 'sse', withMmx),
  cvtss2si_r32_xmm_m32: sse('cvtss2si', 'F3 W0 0F 2D /r', ['w:r32', 'r:xmm_m32'], 'sse', float),
  cvtss2si_r64_xmm_m32: sse('cvtss2si', 'F3 REX.W 0F 2D /r', ['w:r64', 'r:xmm_m32'], 'sse', float),
  ucomiss_xmm_xmm_m32: sse('ucomiss', 'NP 0F 2E /r', ['r:xmm_r', 'r:xmm_m32'], 'sse',
    { ...float, flags: COMPARE_FLAGS }),
  comiss_xmm_xmm_m32: sse('comiss', 'NP 0F 2F /r', ['r:xmm_r', 'r:xmm_m32'], 'sse',
    { ...float, flags: COMPARE_FLAGS }),
  movmskps_r32_xmm: sse('movmskps', 'NP 0F 50 /r mod=3', ['w:r32', 'r:xmm'], 'sse'),
  shufps_xmm_xmm_m128_imm8: sse('shufps', 'NP 0F C6 /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], 'sse', aligned),
  ldmxcsr_m32: sse('ldmxcsr', 'NP 0F AE /2', ['r:m32'], 'sse', { faults: ALIGNED_FAULTS }),
  stmxcsr_m32: sse('stmxcsr', 'NP 0F AE /3', ['w:m32'], 'sse'),
})
