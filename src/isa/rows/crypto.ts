/** AES-NI, PCLMULQDQ and SHA (SDM Vol. 1, sections 12.13 and 12.14; Vol. 2, SHA1RNDS4 and following). */
import type { Row } from '../row.ts'
import { ALIGNED_FAULTS, sse } from './vector-row.ts'

const aligned = { faults: ALIGNED_FAULTS }

// prettier-ignore
export const rows: readonly Row[] = [
  sse('aesimc_xmm_xmm_m128', '66 0F 38 DB /r', ['w:xmm_r', 'r:xmm_m128'], 'aes', aligned),
  sse('aesenc_xmm_xmm_m128', '66 0F 38 DC /r', ['rw:xmm_r', 'r:xmm_m128'], 'aes', aligned),
  sse('aesenclast_xmm_xmm_m128', '66 0F 38 DD /r', ['rw:xmm_r', 'r:xmm_m128'], 'aes', aligned),
  sse('aesdec_xmm_xmm_m128', '66 0F 38 DE /r', ['rw:xmm_r', 'r:xmm_m128'], 'aes', aligned),
  sse('aesdeclast_xmm_xmm_m128', '66 0F 38 DF /r', ['rw:xmm_r', 'r:xmm_m128'], 'aes', aligned),
  sse('aeskeygenassist_xmm_xmm_m128_imm8', '66 0F 3A DF /r ib', ['w:xmm_r', 'r:xmm_m128', 'r:imm8'], 'aes', aligned),
  sse('pclmulqdq_xmm_xmm_m128_imm8', '66 0F 3A 44 /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], 'pclmulqdq', aligned),
  sse('sha1nexte_xmm_xmm_m128', 'NP 0F 38 C8 /r', ['rw:xmm_r', 'r:xmm_m128'], 'sha', aligned),
  sse('sha1msg1_xmm_xmm_m128', 'NP 0F 38 C9 /r', ['rw:xmm_r', 'r:xmm_m128'], 'sha', aligned),
  sse('sha1msg2_xmm_xmm_m128', 'NP 0F 38 CA /r', ['rw:xmm_r', 'r:xmm_m128'], 'sha', aligned),
  sse('sha256rnds2_xmm_xmm_m128', 'NP 0F 38 CB /r', ['rw:xmm_r', 'r:xmm_m128'], 'sha', aligned),
  sse('sha256msg1_xmm_xmm_m128', 'NP 0F 38 CC /r', ['rw:xmm_r', 'r:xmm_m128'], 'sha', aligned),
  sse('sha256msg2_xmm_xmm_m128', 'NP 0F 38 CD /r', ['rw:xmm_r', 'r:xmm_m128'], 'sha', aligned),
  sse('sha1rnds4_xmm_xmm_m128_imm8', 'NP 0F 3A CC /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], 'sha', aligned),
]
