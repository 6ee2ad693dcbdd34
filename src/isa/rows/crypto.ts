/** AES-NI, PCLMULQDQ and SHA (SDM Vol. 1, sections 12.13 and 12.14; Vol. 2, SHA1RNDS4 and following). */
import { defineRows } from '../row.ts'
import { ALIGNED_FAULTS, sse } from './vector-row.ts'

const aligned = { faults: ALIGNED_FAULTS }

// prettier-ignore
export const cryptoRows = defineRows({
  aesimc_xmm_xmm_m128: sse('aesimc', '66 0F 38 DB /r', ['w:xmm_r', 'r:xmm_m128'], 'aes', aligned),
  aesenc_xmm_xmm_m128: sse('aesenc', '66 0F 38 DC /r', ['rw:xmm_r', 'r:xmm_m128'], 'aes', aligned),
  aesenclast_xmm_xmm_m128: sse('aesenclast', '66 0F 38 DD /r', ['rw:xmm_r', 'r:xmm_m128'], 'aes', aligned),
  aesdec_xmm_xmm_m128: sse('aesdec', '66 0F 38 DE /r', ['rw:xmm_r', 'r:xmm_m128'], 'aes', aligned),
  aesdeclast_xmm_xmm_m128: sse('aesdeclast', '66 0F 38 DF /r', ['rw:xmm_r', 'r:xmm_m128'], 'aes', aligned),
  aeskeygenassist_xmm_xmm_m128_imm8: sse('aeskeygenassist', '66 0F 3A DF /r ib', ['w:xmm_r', 'r:xmm_m128', 'r:imm8'], 'aes', aligned),
  pclmulqdq_xmm_xmm_m128_imm8: sse('pclmulqdq', '66 0F 3A 44 /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], 'pclmulqdq', aligned),
  sha1nexte_xmm_xmm_m128: sse('sha1nexte', 'NP 0F 38 C8 /r', ['rw:xmm_r', 'r:xmm_m128'], 'sha', aligned),
  sha1msg1_xmm_xmm_m128: sse('sha1msg1', 'NP 0F 38 C9 /r', ['rw:xmm_r', 'r:xmm_m128'], 'sha', aligned),
  sha1msg2_xmm_xmm_m128: sse('sha1msg2', 'NP 0F 38 CA /r', ['rw:xmm_r', 'r:xmm_m128'], 'sha', aligned),
  sha256rnds2_xmm_xmm_m128: sse('sha256rnds2', 'NP 0F 38 CB /r', ['rw:xmm_r', 'r:xmm_m128', 'r:xmm0'], 'sha', aligned),
  sha256msg1_xmm_xmm_m128: sse('sha256msg1', 'NP 0F 38 CC /r', ['rw:xmm_r', 'r:xmm_m128'], 'sha', aligned),
  sha256msg2_xmm_xmm_m128: sse('sha256msg2', 'NP 0F 38 CD /r', ['rw:xmm_r', 'r:xmm_m128'], 'sha', aligned),
  sha1rnds4_xmm_xmm_m128_imm8: sse('sha1rnds4', 'NP 0F 3A CC /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], 'sha', aligned),
})
