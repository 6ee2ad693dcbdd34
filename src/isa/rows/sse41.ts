/** SSE4.1 beyond the two-operand forms of packed.ts (SDM Vol. 1, section 12.8). XMM0 is an implicit operand of the variable blends. */
import { defineRows, type RowSpec } from '../row.ts'
import { ALIGNED_FAULTS, FLOAT_ALIGNED_FAULTS, FLOAT_FAULTS, sse } from './vector-row.ts'

const F = 'sse4_1'
const aligned = { faults: ALIGNED_FAULTS }
const float = { faults: FLOAT_FAULTS }
const floatAligned = { faults: FLOAT_ALIGNED_FAULTS }

const extend = (mnemonic: string, opcode: string, source: 'xmm_m16' | 'xmm_m32' | 'xmm_m64'): RowSpec =>
  sse(mnemonic, `66 0F 38 ${opcode} /r`, ['w:xmm_r', `r:${source}`], F)

// prettier-ignore
export const sse41Rows = defineRows({
  pblendvb_xmm_xmm_m128: sse('pblendvb', '66 0F 38 10 /r', ['rw:xmm_r', 'r:xmm_m128', 'r:xmm0'], F, aligned),
  blendvps_xmm_xmm_m128: sse('blendvps', '66 0F 38 14 /r', ['rw:xmm_r', 'r:xmm_m128', 'r:xmm0'], F, aligned),
  blendvpd_xmm_xmm_m128: sse('blendvpd', '66 0F 38 15 /r', ['rw:xmm_r', 'r:xmm_m128', 'r:xmm0'], F, aligned),
  ptest_xmm_xmm_m128: sse('ptest', '66 0F 38 17 /r', ['r:xmm_r', 'r:xmm_m128'], F,
    { ...aligned, flags: 'r=- w=zc u=- 0=osap 1=-' }),
  pmovsxbw_xmm_xmm_m64: extend('pmovsxbw', '20', 'xmm_m64'),
  pmovsxbd_xmm_xmm_m32: extend('pmovsxbd', '21', 'xmm_m32'),
  pmovsxbq_xmm_xmm_m16: extend('pmovsxbq', '22', 'xmm_m16'),
  pmovsxwd_xmm_xmm_m64: extend('pmovsxwd', '23', 'xmm_m64'),
  pmovsxwq_xmm_xmm_m32: extend('pmovsxwq', '24', 'xmm_m32'),
  pmovsxdq_xmm_xmm_m64: extend('pmovsxdq', '25', 'xmm_m64'),
  pmovzxbw_xmm_xmm_m64: extend('pmovzxbw', '30', 'xmm_m64'),
  pmovzxbd_xmm_xmm_m32: extend('pmovzxbd', '31', 'xmm_m32'),
  pmovzxbq_xmm_xmm_m16: extend('pmovzxbq', '32', 'xmm_m16'),
  pmovzxwd_xmm_xmm_m64: extend('pmovzxwd', '33', 'xmm_m64'),
  pmovzxwq_xmm_xmm_m32: extend('pmovzxwq', '34', 'xmm_m32'),
  pmovzxdq_xmm_xmm_m64: extend('pmovzxdq', '35', 'xmm_m64'),
  movntdqa_xmm_m128: sse('movntdqa', '66 0F 38 2A /r', ['w:xmm_r', 'r:m128'], F, aligned),
  roundps_xmm_xmm_m128_imm8: sse('roundps', '66 0F 3A 08 /r ib', ['w:xmm_r', 'r:xmm_m128', 'r:imm8'], F, floatAligned),
  roundpd_xmm_xmm_m128_imm8: sse('roundpd', '66 0F 3A 09 /r ib', ['w:xmm_r', 'r:xmm_m128', 'r:imm8'], F, floatAligned),
  roundss_xmm_xmm_m32_imm8: sse('roundss', '66 0F 3A 0A /r ib', ['rw:xmm_r', 'r:xmm_m32', 'r:imm8'], F, float),
  roundsd_xmm_xmm_m64_imm8: sse('roundsd', '66 0F 3A 0B /r ib', ['rw:xmm_r', 'r:xmm_m64', 'r:imm8'], F, float),
  blendps_xmm_xmm_m128_imm8: sse('blendps', '66 0F 3A 0C /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], F, aligned),
  blendpd_xmm_xmm_m128_imm8: sse('blendpd', '66 0F 3A 0D /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], F, aligned),
  pblendw_xmm_xmm_m128_imm8: sse('pblendw', '66 0F 3A 0E /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], F, aligned),
  pextrb_r32_xmm_imm8: sse('pextrb', '66 0F 3A 14 /r mod=3 ib', ['w:rm32', 'r:xmm_r', 'r:imm8'], F),
  pextrb_m8_xmm_imm8: sse('pextrb', '66 0F 3A 14 /r ib', ['w:m8', 'r:xmm_r', 'r:imm8'], F),
  // a second encoding of PEXTRW, with the register in ModRM.rm and a memory form
  pextrw_rm32_xmm_imm8: sse('pextrw', '66 0F 3A 15 /r mod=3 ib', ['w:rm32', 'r:xmm_r', 'r:imm8'], F),
  pextrw_m16_xmm_imm8: sse('pextrw', '66 0F 3A 15 /r ib', ['w:m16', 'r:xmm_r', 'r:imm8'], F),
  pextrd_rm32_xmm_imm8: sse('pextrd', '66 W0 0F 3A 16 /r ib', ['w:rm32', 'r:xmm_r', 'r:imm8'], F),
  pextrq_rm64_xmm_imm8: sse('pextrq', '66 REX.W 0F 3A 16 /r ib', ['w:rm64', 'r:xmm_r', 'r:imm8'], F),
  extractps_rm32_xmm_imm8: sse('extractps', '66 0F 3A 17 /r ib', ['w:rm32', 'r:xmm_r', 'r:imm8'], F),
  pinsrb_xmm_r32_imm8: sse('pinsrb', '66 0F 3A 20 /r mod=3 ib', ['rw:xmm_r', 'r:rm32', 'r:imm8'], F),
  pinsrb_xmm_m8_imm8: sse('pinsrb', '66 0F 3A 20 /r ib', ['rw:xmm_r', 'r:m8', 'r:imm8'], F),
  insertps_xmm_xmm_imm8: sse('insertps', '66 0F 3A 21 /r mod=3 ib', ['rw:xmm_r', 'r:xmm', 'r:imm8'], F),
  insertps_xmm_m32_imm8: sse('insertps', '66 0F 3A 21 /r ib', ['rw:xmm_r', 'r:m32', 'r:imm8'], F),
  pinsrd_xmm_rm32_imm8: sse('pinsrd', '66 W0 0F 3A 22 /r ib', ['rw:xmm_r', 'r:rm32', 'r:imm8'], F),
  pinsrq_xmm_rm64_imm8: sse('pinsrq', '66 REX.W 0F 3A 22 /r ib', ['rw:xmm_r', 'r:rm64', 'r:imm8'], F),
  dpps_xmm_xmm_m128_imm8: sse('dpps', '66 0F 3A 40 /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], F, floatAligned),
  dppd_xmm_xmm_m128_imm8: sse('dppd', '66 0F 3A 41 /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], F, floatAligned),
  mpsadbw_xmm_xmm_m128_imm8: sse('mpsadbw', '66 0F 3A 42 /r ib', ['rw:xmm_r', 'r:xmm_m128', 'r:imm8'], F, aligned),
})
