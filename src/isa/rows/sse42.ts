/** SSE4.2 string comparison (SDM Vol. 2, "Imm8 Control Byte Operation for PCMPESTRI..."). These four never check alignment. */
import { defineRows } from '../row.ts'
import { sse } from './vector-row.ts'

const flags = { flags: 'r=- w=oszc u=- 0=ap 1=-' } as const

// prettier-ignore
export const sse42Rows = defineRows({
  // the explicit forms read their lengths from EAX and EDX, with REX.W from RAX and RDX
  pcmpestrm_xmm_xmm_m128_imm8: sse('pcmpestrm', '66 0F 3A 60 /r ib', ['r:xmm_r', 'r:xmm_m128', 'r:imm8'], 'sse4_2', { ...flags, widths: [32, 64] }),
  pcmpestri_xmm_xmm_m128_imm8: sse('pcmpestri', '66 0F 3A 61 /r ib', ['r:xmm_r', 'r:xmm_m128', 'r:imm8'], 'sse4_2', { ...flags, widths: [32, 64] }),
  pcmpistrm_xmm_xmm_m128_imm8: sse('pcmpistrm', '66 0F 3A 62 /r ib', ['r:xmm_r', 'r:xmm_m128', 'r:imm8'], 'sse4_2', flags),
  pcmpistri_xmm_xmm_m128_imm8: sse('pcmpistri', '66 0F 3A 63 /r ib', ['r:xmm_r', 'r:xmm_m128', 'r:imm8'], 'sse4_2', flags),
})
