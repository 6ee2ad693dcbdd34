/** Data movement: MOV and its widenings, exchanges, the stack, addresses, conditional moves (SDM Vol. 1, 5.1.1). */
import { CONDITIONS, NO_FLAGS, defineRows, row, type ConditionName, type FlagsText, type RowSpec } from '../row.ts'

/** CMOVcc: sixteen rows from one line. */
function cmov(): Record<`cmov${ConditionName}_rv_rmv`, RowSpec> {
  const rows: Record<string, RowSpec> = {}
  for (const [code, [cc, reads]] of CONDITIONS.entries()) {
    const flags: FlagsText = `r=${reads} w=- u=- 0=- 1=-`
    const op = `0F ${(0x40 + code).toString(16)} /r`
    rows[`cmov${cc}_rv_rmv`] = row(`cmov${cc}`, op, ['w:rv', 'r:rmv'], flags, { feature: 'cmov', cite: 'SDM Vol. 2, CMOVcc' })
  }
  return rows
}

const legacy = 'legacy'
const d64 = 'd64'

// prettier-ignore
export const moveRows = defineRows({
  mov_rm8_r8:     row('mov', '88 /r', ['w:rm8', 'r:r8'], NO_FLAGS),
  mov_rmv_rv:     row('mov', '89 /r', ['w:rmv', 'r:rv'], NO_FLAGS),
  mov_r8_rm8:     row('mov', '8A /r', ['w:r8', 'r:rm8'], NO_FLAGS),
  mov_rv_rmv:     row('mov', '8B /r', ['w:rv', 'r:rmv'], NO_FLAGS),
  mov_al_moffs8:  row('mov', 'A0 moffs', ['w:al', 'r:moffs8'], NO_FLAGS),
  mov_rAXv_moffs: row('mov', 'A1 moffs', ['w:rAXv', 'r:moffsv'], NO_FLAGS),
  mov_moffs8_al:  row('mov', 'A2 moffs', ['w:moffs8', 'r:al'], NO_FLAGS),
  mov_moffs_rAXv: row('mov', 'A3 moffs', ['w:moffsv', 'r:rAXv'], NO_FLAGS),
  mov_r8_imm8:    row('mov', 'B0+r ib', ['w:o8', 'r:imm8'], NO_FLAGS),
  mov_rv_immv:    row('mov', 'B8+r iv', ['w:ov', 'r:immv'], NO_FLAGS),
  mov_rm8_imm8:   row('mov', 'C6 /0 ib', ['w:rm8', 'r:imm8'], NO_FLAGS),
  mov_rmv_immz:   row('mov', 'C7 /0 iz', ['w:rmv', 'r:immz'], NO_FLAGS),
  mov_rmv_sreg:   row('mov', '8C /r', ['w:rmv', 'r:sreg'], NO_FLAGS), // a memory destination is 16 bits whatever the operand size
  mov_sreg_rm16:  row('mov', '8E /r', ['w:sreg', 'r:rm16'], NO_FLAGS, { ends: true, faults: ['GP', 'SS', 'NP', 'UD'] }),
  movzx_rv_rm8:   row('movzx', '0F B6 /r', ['w:rv', 'r:rm8'], NO_FLAGS),
  movzx_rv_rm16:  row('movzx', '0F B7 /r', ['w:rv', 'r:rm16'], NO_FLAGS),
  movsx_rv_rm8:   row('movsx', '0F BE /r', ['w:rv', 'r:rm8'], NO_FLAGS),
  movsx_rv_rm16:  row('movsx', '0F BF /r', ['w:rv', 'r:rm16'], NO_FLAGS),
  movsxd_r16_rm32: row('movsxd', '66 W0 63 /r', ['w:r16', 'r:rm32'], NO_FLAGS, { // reads 32 bits, keeps 16
    modes: 'long', cite: 'SDM Vol. 2, MOVSX/MOVSXD' }),
  movsxd_ry_rm32: row('movsxd', '63 /r', ['w:ry', 'r:rm32'], NO_FLAGS, { modes: 'long', cite: 'SDM Vol. 2, MOVSX/MOVSXD' }),
  movbe_rv_mv:    row('movbe', 'NFx 0F 38 F0 /r', ['w:rv', 'r:mv'], NO_FLAGS, { feature: 'movbe' }),
  movbe_mv_rv:    row('movbe', 'NFx 0F 38 F1 /r', ['w:mv', 'r:rv'], NO_FLAGS, { feature: 'movbe' }),
  ...cmov(),

  xchg_rm8_r8:    row('xchg', '86 /r', ['rw:rm8', 'rw:r8'], NO_FLAGS, { lock: true }),
  xchg_rmv_rv:    row('xchg', '87 /r', ['rw:rmv', 'rw:rv'], NO_FLAGS, { lock: true }),
  xchg_ov_rAXv:   row('xchg', '91+r', ['rw:ov', 'rw:rAXv'], NO_FLAGS),
  xchg_r8_rAXv:   row('xchg', 'REX.B1 90', ['rw:ov', 'rw:rAXv'], NO_FLAGS, { modes: 'long' }),
  bswap_oy:       row('bswap', '0F C8+r', ['rw:oy'], NO_FLAGS),
  lea_rv_m:       row('lea', '8D /r', ['w:rv', 'n:m'], NO_FLAGS),
  xlat:           row('xlat', 'D7', ['r:mbx'], NO_FLAGS, { widths: [8], cite: 'SDM Vol. 2, XLAT/XLATB' }),

  cbw:            row('cbw', '98', [], NO_FLAGS, { widths: [16, 32, 64], cite: 'SDM Vol. 2, CBW/CWDE/CDQE' }),
  cwd:            row('cwd', '99', [], NO_FLAGS, { widths: [16, 32, 64], cite: 'SDM Vol. 2, CWD/CDQ/CQO' }),

  push_ov:        row('push', '50+r', ['r:ov'], NO_FLAGS, { osize: d64 }),
  push_rmv:       row('push', 'FF /6', ['r:rmv'], NO_FLAGS, { osize: d64 }),
  push_immz:      row('push', '68 iz', ['r:immz'], NO_FLAGS, { osize: d64 }),
  push_simm8:     row('push', '6A ib', ['r:simm8'], NO_FLAGS, { osize: d64 }),
  push_es:        row('push', '06', ['r:es'], NO_FLAGS, { widths: [16, 32], modes: legacy }),
  push_cs:        row('push', '0E', ['r:cs'], NO_FLAGS, { widths: [16, 32], modes: legacy }),
  push_ss:        row('push', '16', ['r:ss'], NO_FLAGS, { widths: [16, 32], modes: legacy }),
  push_ds:        row('push', '1E', ['r:ds'], NO_FLAGS, { widths: [16, 32], modes: legacy }),
  push_fs:        row('push', '0F A0', ['r:fs'], NO_FLAGS, { widths: [16, 32, 64], osize: d64 }),
  push_gs:        row('push', '0F A8', ['r:gs'], NO_FLAGS, { widths: [16, 32, 64], osize: d64 }),
  pop_ov:         row('pop', '58+r', ['w:ov'], NO_FLAGS, { osize: d64 }),
  pop_rmv:        row('pop', '8F /0', ['w:rmv'], NO_FLAGS, { osize: d64 }),
  pop_es:         row('pop', '07', ['w:es'], NO_FLAGS, { widths: [16, 32], modes: legacy, ends: true, faults: ['GP', 'NP'] }),
  pop_ss:         row('pop', '17', ['w:ss'], NO_FLAGS, { widths: [16, 32], modes: legacy, ends: true, faults: ['GP', 'SS'] }),
  pop_ds:         row('pop', '1F', ['w:ds'], NO_FLAGS, { widths: [16, 32], modes: legacy, ends: true, faults: ['GP', 'NP'] }),
  pop_fs:         row('pop', '0F A1', ['w:fs'], NO_FLAGS, { widths: [16, 32, 64], osize: d64, ends: true, faults: ['GP', 'NP'] }),
  pop_gs:         row('pop', '0F A9', ['w:gs'], NO_FLAGS, { widths: [16, 32, 64], osize: d64, ends: true, faults: ['GP', 'NP'] }),
  pusha:          row('pusha', '60', [], NO_FLAGS, { widths: [16, 32], modes: legacy, cite: 'SDM Vol. 2, PUSHA/PUSHAD' }),
  popa:           row('popa', '61', [], NO_FLAGS, { widths: [16, 32], modes: legacy, cite: 'SDM Vol. 2, POPA/POPAD' }),
  pushf:          row('pushf', '9C', [], 'r=oszapcditkylnfm w=- u=- 0=- 1=-',
                    { widths: [16, 32, 64], osize: d64, faults: ['GP'], cite: 'SDM Vol. 2, PUSHF/PUSHFD/PUSHFQ' }),
  popf:           row('popf', '9D', [], 'r=- w=oszapcditkyln u=- 0=f 1=-',
                    { widths: [16, 32, 64], osize: d64, ends: true, faults: ['GP'], cite: 'SDM Vol. 2, POPF/POPFD/POPFQ' }),
  enter:          row('enter', 'C8 iw ib', ['r:imm16', 'r:imm8'], NO_FLAGS, { widths: [16, 32, 64], osize: d64 }),
  leave:          row('leave', 'C9', [], NO_FLAGS, { widths: [16, 32, 64], osize: d64 }),

  lds:            row('lds', 'C5 /r', ['w:rv', 'r:m16:v'], NO_FLAGS, { widths: [16, 32], modes: legacy, ends: true, faults: ['GP', 'NP'] }),
  les:            row('les', 'C4 /r', ['w:rv', 'r:m16:v'], NO_FLAGS, { widths: [16, 32], modes: legacy, ends: true, faults: ['GP', 'NP'] }),
  lss:            row('lss', '0F B2 /r', ['w:rv', 'r:m16:v'], NO_FLAGS, { ends: true, faults: ['GP', 'SS'] }),
  lfs:            row('lfs', '0F B4 /r', ['w:rv', 'r:m16:v'], NO_FLAGS, { ends: true, faults: ['GP', 'NP'] }),
  lgs:            row('lgs', '0F B5 /r', ['w:rv', 'r:m16:v'], NO_FLAGS, { ends: true, faults: ['GP', 'NP'] }),
})
