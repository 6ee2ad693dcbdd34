/** SSE3 (SDM Vol. 1, section 12.3). FISTTP stands with the x87; MONITOR and MWAIT with the system instructions. */
import { defineRows } from '../row.ts'
import { ALIGNED_FAULTS, FLOAT_ALIGNED_FAULTS, sse } from './vector-row.ts'

const floatAligned = { faults: FLOAT_ALIGNED_FAULTS }

// prettier-ignore
export const sse3Rows = defineRows({
  movsldup_xmm_xmm_m128: sse('movsldup', 'F3 0F 12 /r', ['w:xmm_r', 'r:xmm_m128'], 'sse3', { faults: ALIGNED_FAULTS }),
  movddup_xmm_xmm_m64: sse('movddup', 'F2 0F 12 /r', ['w:xmm_r', 'r:xmm_m64'], 'sse3'),
  movshdup_xmm_xmm_m128: sse('movshdup', 'F3 0F 16 /r', ['w:xmm_r', 'r:xmm_m128'], 'sse3', { faults: ALIGNED_FAULTS }),
  haddpd_xmm_xmm_m128: sse('haddpd', '66 0F 7C /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse3', floatAligned),
  haddps_xmm_xmm_m128: sse('haddps', 'F2 0F 7C /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse3', floatAligned),
  hsubpd_xmm_xmm_m128: sse('hsubpd', '66 0F 7D /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse3', floatAligned),
  hsubps_xmm_xmm_m128: sse('hsubps', 'F2 0F 7D /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse3', floatAligned),
  addsubpd_xmm_xmm_m128: sse('addsubpd', '66 0F D0 /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse3', floatAligned),
  addsubps_xmm_xmm_m128: sse('addsubps', 'F2 0F D0 /r', ['rw:xmm_r', 'r:xmm_m128'], 'sse3', floatAligned),
  lddqu_xmm_m128: sse('lddqu', 'F2 0F F0 /r', ['w:xmm_r', 'r:m128'], 'sse3'),
})
