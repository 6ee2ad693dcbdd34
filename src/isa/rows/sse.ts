/**
 * SSE: single precision. Arithmetic common with double precision is in float.ts. SDM Vol. 1, chapter 10.
 */
import type { Row } from '../row.ts'
import { ALIGNED_FAULTS, FLOAT_FAULTS, MMX_FAULTS, sse } from './vector-row.ts'

const aligned = { faults: ALIGNED_FAULTS }
const float = { faults: FLOAT_FAULTS }
const withMmx = { faults: [...MMX_FAULTS, 'XM'] }

// prettier-ignore
export const rows: readonly Row[] = [
  sse('movups_xmm_xmm_m128', 'NP 0F 10 /r', ['w:xmm_r', 'r:xmm_m128'], 'sse'),
  sse('movups_xmm_m128_xmm', 'NP 0F 11 /r', ['w:xmm_m128', 'r:xmm_r'], 'sse'),
  sse('movss_xmm_xmm', 'F3 0F 10 /r mod=3', ['rw:xmm_r', 'r:xmm'], 'sse'),
  sse('movss_xmm_m32', 'F3 0F 10 /r', ['w:xmm_r', 'r:m32'], 'sse'),
  sse('movss_xmm_m32_xmm', 'F3 0F 11 /r', ['rw:xmm_m32', 'r:xmm_r'], 'sse'),
  sse('movhlps_xmm_xmm', 'NP 0F 12 /r mod=3', ['rw:xmm_r', 'r:xmm'], 'sse'),
  sse('movlps_xmm_m64', 'NP 0F 12 /r', ['rw:xmm_r', 'r:m64'], 'sse'),
  sse('movlps_m64_xmm', 'NP 0F 13 /r', ['w:m64', 'r:xmm_r'], 'sse'),
  sse('unpcklps_xmm_xmm_m128', 'NP 0F 14 /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse', aligned),
  sse('unpckhps_xmm_xmm_m128', 'NP 0F 15 /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse', aligned),
  sse('movlhps_xmm_xmm', 'NP 0F 16 /r mod=3', ['rw:xmm_r', 'r:xmm'], 'sse'),
  sse('movhps_xmm_m64', 'NP 0F 16 /r', ['rw:xmm_r', 'r:m64'], 'sse'),
  sse('movhps_m64_xmm', 'NP 0F 17 /r', ['w:m64', 'r:xmm_r'], 'sse'),
  sse('movaps_xmm_xmm_m128', 'NP 0F 28 /r', ['w:xmm_r', 'r:xmm_m128'], 'sse', aligned),
  sse('movaps_xmm_m128_xmm', 'NP 0F 29 /r', ['w:xmm_m128', 'r:xmm_r'], 'sse', aligned),
  sse('cvtpi2ps_xmm_mm_m64', 'NP 0F 2A /r', ['rw:xmm_r', 'r:mm_m64'], 'sse', withMmx),
  sse('cvtsi2ss_xmm_rm32', 'F3 W0 0F 2A /r', ['rw:xmm_r', 'r:rm32'], 'sse', float),
  sse('cvtsi2ss_xmm_rm64', 'F3 REX.W 0F 2A /r', ['rw:xmm_r', 'r:rm64'], 'sse', float),
  sse('movntps_m128_xmm', 'NP 0F 2B /r', ['w:m128', 'r:xmm_r'], 'sse', aligned),
  sse('cvttps2pi_mm_xmm_m64', 'NP 0F 2C /r', ['w:mm_r', 'r:xmm_m64'], 'sse', withMmx),
  sse('cvttss2si_r32_xmm_m32', 'F3 W0 0F 2C /r', ['w:r32', 'r:xmm_m32'], 'sse', float),
  sse('cvttss2si_r64_xmm_m32', 'F3 REX.W 0F 2C /r', ['w:r64', 'r:xmm_m32'], 'sse', float),
  sse('cvtps2pi_mm_xmm_m64', 'NP 0F 2D /r', ['w:mm_r', 'r:xmm_m64'], 'sse', withMmx),
  sse('cvtss2si_r32_xmm_m32', 'F3 W0 0F 2D /r', ['w:r32', 'r:xmm_m32'], 'sse', float),
  sse('cvtss2si_r64_xmm_m32', 'F3 REX.W 0F 2D /r', ['w:r64', 'r:xmm_m32'], 'sse', float),
  sse('ucomiss_xmm_xmm_m32', 'NP 0F 2E /r', ['r:xmm_r', 'r:xmm_m32'], 'sse',
    { ...float, w: ['zf', 'pf', 'cf'], cleared: ['of', 'sf', 'af'] }),
  sse('comiss_xmm_xmm_m32', 'NP 0F 2F /r', ['r:xmm_r', 'r:xmm_m32'], 'sse',
    { ...float, w: ['zf', 'pf', 'cf'], cleared: ['of', 'sf', 'af'] }),
  sse('movmskps_r32_xmm', 'NP 0F 50 /r mod=3', ['w:r32', 'r:xmm'], 'sse'),
  sse('shufps_xmm_xmm_m128_imm8', 'NP 0F C6 /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], 'sse', aligned),
  sse('ldmxcsr_m32', 'NP 0F AE /2', ['r:m32'], 'sse', { faults: ['UD', 'NM', 'GP'] }),
  sse('stmxcsr_m32', 'NP 0F AE /3', ['w:m32'], 'sse'),
]
