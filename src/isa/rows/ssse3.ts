/** SSSE3 beyond the two-operand forms of packed.ts (SDM Vol. 1, section 12.5). */
import { defineRows } from '../row.ts'
import { ALIGNED_FAULTS, sse } from './vector-row.ts'

// prettier-ignore
export const ssse3Rows = defineRows({
  palignr_xmm_xmm_m128_imm8: sse('palignr', '66 0F 3A 0F /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], 'ssse3', { faults: ALIGNED_FAULTS }),
})
