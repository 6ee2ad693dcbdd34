/** SSE3 (SDM Vol. 1, section 12.3). FISTTP stands with the x87; MONITOR and MWAIT with the system instructions. */
import type { Row } from '../row.ts'
import { FLOAT_ALIGNED_FAULTS, sse } from './vector-row.ts'

const floatAligned = { faults: FLOAT_ALIGNED_FAULTS }

// prettier-ignore
export const rows: readonly Row[] = [
  sse('movsldup_xmm_xmm_m128', 'F3 0F 12 /r', ['w:xmm_r', 'r:xmm_m128'], 'sse3', { faults: ['UD', 'NM', 'GP'] }),
  sse('movddup_xmm_xmm_m64', 'F2 0F 12 /r', ['w:xmm_r', 'r:xmm_m64'], 'sse3'),
  sse('movshdup_xmm_xmm_m128', 'F3 0F 16 /r', ['w:xmm_r', 'r:xmm_m128'], 'sse3', { faults: ['UD', 'NM', 'GP'] }),
  sse('haddpd_xmm_xmm_m128', '66 0F 7C /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse3', floatAligned),
  sse('haddps_xmm_xmm_m128', 'F2 0F 7C /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse3', floatAligned),
  sse('hsubpd_xmm_xmm_m128', '66 0F 7D /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse3', floatAligned),
  sse('hsubps_xmm_xmm_m128', 'F2 0F 7D /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse3', floatAligned),
  sse('addsubpd_xmm_xmm_m128', '66 0F D0 /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse3', floatAligned),
  sse('addsubps_xmm_xmm_m128', 'F2 0F D0 /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse3', floatAligned),
  sse('lddqu_xmm_m128', 'F2 0F F0 /r', ['w:xmm_r', 'r:m128'], 'sse3'),
]
