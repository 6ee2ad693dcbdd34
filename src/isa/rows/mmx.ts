/**
 * MMX moves, shifts by an immediate, and the MMX forms that SSE and SSSE3 added. Two-operand arithmetic is in packed.ts.
 * SDM Vol. 1, chapter 9.
 */
import { defineRows } from '../row.ts'
import { mmx } from './vector-row.ts'

// prettier-ignore
export const mmxRows = defineRows({
  movd_mm_rm32: mmx('movd', 'NP W0 0F 6E /r', ['w:mm_r', 'r:rm32'], 'mmx'),
  movq_mm_rm64: mmx('movq', 'NP REX.W 0F 6E /r', ['w:mm_r', 'r:rm64'], 'mmx'),
  movd_rm32_mm: mmx('movd', 'NP W0 0F 7E /r', ['w:rm32', 'r:mm_r'], 'mmx'),
  movq_rm64_mm: mmx('movq', 'NP REX.W 0F 7E /r', ['w:rm64', 'r:mm_r'], 'mmx'),
  movq_mm_mm_m64: mmx('movq', 'NP 0F 6F /r', ['w:mm_r', 'r:mm_m64'], 'mmx'),
  movq_mm_m64_mm: mmx('movq', 'NP 0F 7F /r', ['w:mm_m64', 'r:mm_r'], 'mmx'),
  psrlw_mm_imm8: mmx('psrlw', 'NP 0F 71 /2 mod=3 ib', ['rw:mm', 'r:imm8'], 'mmx'),
  psraw_mm_imm8: mmx('psraw', 'NP 0F 71 /4 mod=3 ib', ['rw:mm', 'r:imm8'], 'mmx'),
  psllw_mm_imm8: mmx('psllw', 'NP 0F 71 /6 mod=3 ib', ['rw:mm', 'r:imm8'], 'mmx'),
  psrld_mm_imm8: mmx('psrld', 'NP 0F 72 /2 mod=3 ib', ['rw:mm', 'r:imm8'], 'mmx'),
  psrad_mm_imm8: mmx('psrad', 'NP 0F 72 /4 mod=3 ib', ['rw:mm', 'r:imm8'], 'mmx'),
  pslld_mm_imm8: mmx('pslld', 'NP 0F 72 /6 mod=3 ib', ['rw:mm', 'r:imm8'], 'mmx'),
  psrlq_mm_imm8: mmx('psrlq', 'NP 0F 73 /2 mod=3 ib', ['rw:mm', 'r:imm8'], 'mmx'),
  psllq_mm_imm8: mmx('psllq', 'NP 0F 73 /6 mod=3 ib', ['rw:mm', 'r:imm8'], 'mmx'),
  emms: mmx('emms', 'NP 0F 77', [], 'mmx'),
  pshufw_mm_mm_m64_imm8: mmx('pshufw', 'NP 0F 70 /r ib', ['w:mm_r', 'r:mm_m64', 'r:imm8'], 'sse'),
  pinsrw_mm_r32_imm8: mmx('pinsrw', 'NP 0F C4 /r mod=3 ib', ['rw:mm_r', 'r:rm32', 'r:imm8'], 'sse'),
  pinsrw_mm_m16_imm8: mmx('pinsrw', 'NP 0F C4 /r ib', ['rw:mm_r', 'r:m16', 'r:imm8'], 'sse'),
  pextrw_r32_mm_imm8: mmx('pextrw', 'NP 0F C5 /r mod=3 ib', ['w:r32', 'r:mm', 'r:imm8'], 'sse'),
  pmovmskb_r32_mm: mmx('pmovmskb', 'NP 0F D7 /r mod=3', ['w:r32', 'r:mm'], 'sse'),
  movntq_m64_mm: mmx('movntq', 'NP 0F E7 /r', ['w:m64', 'r:mm_r'], 'sse'),
  maskmovq_mm_mm: mmx('maskmovq', 'NP 0F F7 /r mod=3', ['r:mm_r', 'r:mm', 'w:mdi'], 'sse'),
  palignr_mm_mm_m64_imm8: mmx('palignr', 'NP 0F 3A 0F /r ib', ['rw:mm_r', 'r:mm_m64', 'r:imm8'], 'ssse3'),
})
