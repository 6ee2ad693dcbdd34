/** SSE4.1 beyond the two-operand forms of packed.ts (SDM Vol. 1, section 12.8). XMM0 is an implicit operand of the variable blends. */
import type { Row } from '../row.ts'
import { ALIGNED_FAULTS, FLOAT_ALIGNED_FAULTS, FLOAT_FAULTS, sse } from './vector-row.ts'

const F = 'sse4_1'
const aligned = { faults: ALIGNED_FAULTS }
const float = { faults: FLOAT_FAULTS }
const floatAligned = { faults: FLOAT_ALIGNED_FAULTS }

const extend = (mnemonic: string, opcode: string, source: string): Row =>
  sse(`${mnemonic}_xmm_${source}`, `66 0F 38 ${opcode} /r`, ['w:xmm_r', `r:${source}`], F)

// prettier-ignore
export const rows: readonly Row[] = [
  sse('pblendvb_xmm_xmm_m128', '66 0F 38 10 /r', ['rw:xmm_r', 'r:xmm_m128'], F, aligned),
  sse('blendvps_xmm_xmm_m128', '66 0F 38 14 /r', ['rw:xmm_r', 'r:xmm_m128'], F, aligned),
  sse('blendvpd_xmm_xmm_m128', '66 0F 38 15 /r', ['rw:xmm_r', 'r:xmm_m128'], F, aligned),
  sse('ptest_xmm_xmm_m128', '66 0F 38 17 /r', ['r:xmm_r', 'r:xmm_m128'], F,
    { ...aligned, w: ['zf', 'cf'], cleared: ['of', 'af', 'pf', 'sf'] }),
  extend('pmovsxbw', '20', 'xmm_m64'),
  extend('pmovsxbd', '21', 'xmm_m32'),
  extend('pmovsxbq', '22', 'xmm_m16'),
  extend('pmovsxwd', '23', 'xmm_m64'),
  extend('pmovsxwq', '24', 'xmm_m32'),
  extend('pmovsxdq', '25', 'xmm_m64'),
  extend('pmovzxbw', '30', 'xmm_m64'),
  extend('pmovzxbd', '31', 'xmm_m32'),
  extend('pmovzxbq', '32', 'xmm_m16'),
  extend('pmovzxwd', '33', 'xmm_m64'),
  extend('pmovzxwq', '34', 'xmm_m32'),
  extend('pmovzxdq', '35', 'xmm_m64'),
  sse('movntdqa_xmm_m128', '66 0F 38 2A /r', ['w:xmm_r', 'r:m128'], F, aligned),
  sse('roundps_xmm_xmm_m128_imm8', '66 0F 3A 08 /r ib', ['w:xmm_r', 'r:xmm_m128', 'r:imm8'], F, floatAligned),
  sse('roundpd_xmm_xmm_m128_imm8', '66 0F 3A 09 /r ib', ['w:xmm_r', 'r:xmm_m128', 'r:imm8'], F, floatAligned),
  sse('roundss_xmm_xmm_m32_imm8', '66 0F 3A 0A /r ib', ['rw:xmm_r', 'r:xmm_m32', 'r:imm8'], F, float),
  sse('roundsd_xmm_xmm_m64_imm8', '66 0F 3A 0B /r ib', ['rw:xmm_r', 'r:xmm_m64', 'r:imm8'], F, float),
  sse('blendps_xmm_xmm_m128_imm8', '66 0F 3A 0C /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], F, aligned),
  sse('blendpd_xmm_xmm_m128_imm8', '66 0F 3A 0D /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], F, aligned),
  sse('pblendw_xmm_xmm_m128_imm8', '66 0F 3A 0E /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], F, aligned),
  sse('pextrb_r32_xmm_imm8', '66 0F 3A 14 /r mod=3 ib', ['w:rm32', 'r:xmm_r', 'r:imm8'], F),
  sse('pextrb_m8_xmm_imm8', '66 0F 3A 14 /r ib', ['w:m8', 'r:xmm_r', 'r:imm8'], F),
  // a second encoding of PEXTRW, with the register in ModRM.rm and a memory form
  sse('pextrw_rm32_xmm_imm8', '66 0F 3A 15 /r mod=3 ib', ['w:rm32', 'r:xmm_r', 'r:imm8'], F),
  sse('pextrw_m16_xmm_imm8', '66 0F 3A 15 /r ib', ['w:m16', 'r:xmm_r', 'r:imm8'], F),
  sse('pextrd_rm32_xmm_imm8', '66 W0 0F 3A 16 /r ib', ['w:rm32', 'r:xmm_r', 'r:imm8'], F),
  sse('pextrq_rm64_xmm_imm8', '66 REX.W 0F 3A 16 /r ib', ['w:rm64', 'r:xmm_r', 'r:imm8'], F),
  sse('extractps_rm32_xmm_imm8', '66 0F 3A 17 /r ib', ['w:rm32', 'r:xmm_r', 'r:imm8'], F),
  sse('pinsrb_xmm_r32_imm8', '66 0F 3A 20 /r mod=3 ib', ['rw:xmm_r', 'r:rm32', 'r:imm8'], F),
  sse('pinsrb_xmm_m8_imm8', '66 0F 3A 20 /r ib', ['rw:xmm_r', 'r:m8', 'r:imm8'], F),
  sse('insertps_xmm_xmm_m32_imm8', '66 0F 3A 21 /r ib', ['rw:xmm_r', 'r:xmm_m32', 'r:imm8'], F),
  sse('pinsrd_xmm_rm32_imm8', '66 W0 0F 3A 22 /r ib', ['rw:xmm_r', 'r:rm32', 'r:imm8'], F),
  sse('pinsrq_xmm_rm64_imm8', '66 REX.W 0F 3A 22 /r ib', ['rw:xmm_r', 'r:rm64', 'r:imm8'], F),
  sse('dpps_xmm_xmm_m128_imm8', '66 0F 3A 40 /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], F, floatAligned),
  sse('dppd_xmm_xmm_m128_imm8', '66 0F 3A 41 /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], F, floatAligned),
  sse('mpsadbw_xmm_xmm_m128_imm8', '66 0F 3A 42 /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], F, aligned),
]
