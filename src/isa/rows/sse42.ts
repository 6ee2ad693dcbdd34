/** SSE4.2 string comparison (SDM Vol. 2, "Imm8 Control Byte Operation for PCMPESTRI..."). These four never check alignment. */
import type { Row } from '../row.ts'
import { sse } from './vector-row.ts'

const flags = { w: ['cf', 'zf', 'sf', 'of'], cleared: ['af', 'pf'] } as const

// prettier-ignore
export const rows: readonly Row[] = [
  // the explicit forms read their lengths from EAX and EDX, with REX.W from RAX and RDX
  sse('pcmpestrm_xmm_xmm_m128_imm8', '66 0F 3A 60 /r ib', ['r:xmm_r', 'r:xmm_m128', 'r:imm8'], 'sse4_2', { ...flags, widths: [16, 32, 64] }),
  sse('pcmpestri_xmm_xmm_m128_imm8', '66 0F 3A 61 /r ib', ['r:xmm_r', 'r:xmm_m128', 'r:imm8'], 'sse4_2', { ...flags, widths: [16, 32, 64] }),
  sse('pcmpistrm_xmm_xmm_m128_imm8', '66 0F 3A 62 /r ib', ['r:xmm_r', 'r:xmm_m128', 'r:imm8'], 'sse4_2', flags),
  sse('pcmpistri_xmm_xmm_m128_imm8', '66 0F 3A 63 /r ib', ['r:xmm_r', 'r:xmm_m128', 'r:imm8'], 'sse4_2', flags),
]
