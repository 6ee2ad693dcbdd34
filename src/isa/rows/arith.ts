/** Binary and decimal arithmetic and logic (SDM Vol. 1, 5.1.2 to 5.1.4; ADX). */
import { ARITH_FLAGS, LOGIC_FLAGS, NO_FLAGS, defineRows, row, type FlagsText, type RowSpec } from '../row.ts'

type AluForm = 'rm8_r8' | 'rmv_rv' | 'r8_rm8' | 'rv_rmv' | 'al_imm8' | 'rAXv_immz' | 'rm8_imm8' | 'rmv_immz' | 'rmv_simm8' | 'rm8_imm8_82'

const hex = (byte: number): string => byte.toString(16).padStart(2, '0').toUpperCase()

/** The eight operations of opcodes 00-3F and 80-83: ten encodings each. */
function alu<Name extends string>(name: Name, digit: number, flags: FlagsText): Record<`${Name}_${AluForm}`, RowSpec> {
  const dst = name === 'cmp' ? 'r' : 'rw'
  const lock = name !== 'cmp'
  const base = digit << 3
  // prettier-ignore
  const rows: Record<AluForm, RowSpec> = {
    rm8_r8:      row(name, `${hex(base)} /r`,     [`${dst}:rm8`, 'r:r8'], flags, { lock }),
    rmv_rv:      row(name, `${hex(base + 1)} /r`, [`${dst}:rmv`, 'r:rv'], flags, { lock }),
    r8_rm8:      row(name, `${hex(base + 2)} /r`, [`${dst}:r8`, 'r:rm8'], flags),
    rv_rmv:      row(name, `${hex(base + 3)} /r`, [`${dst}:rv`, 'r:rmv'], flags),
    al_imm8:     row(name, `${hex(base + 4)} ib`, [`${dst}:al`, 'r:imm8'], flags),
    rAXv_immz:   row(name, `${hex(base + 5)} iz`, [`${dst}:rAXv`, 'r:immz'], flags),
    rm8_imm8:    row(name, `80 /${digit} ib`,     [`${dst}:rm8`, 'r:imm8'], flags, { lock }),
    rmv_immz:    row(name, `81 /${digit} iz`,     [`${dst}:rmv`, 'r:immz'], flags, { lock }),
    rmv_simm8:   row(name, `83 /${digit} ib`,     [`${dst}:rmv`, 'r:simm8'], flags, { lock }),
    rm8_imm8_82: row(name, `82 /${digit} ib`,     [`${dst}:rm8`, 'r:imm8'], flags, { lock, modes: 'legacy', alias: true }),
  }
  return Object.fromEntries(Object.entries(rows).map(([form, spec]) => [`${name}_${form}`, spec])) as Record<`${Name}_${AluForm}`, RowSpec>
}

const MUL_FLAGS = 'r=- w=oc u=szap 0=- 1=-' satisfies FlagsText
const DIV_FLAGS = 'r=- w=- u=oszapc 0=- 1=-' satisfies FlagsText
const INC_FLAGS = 'r=- w=oszap u=- 0=- 1=-' satisfies FlagsText
const CARRY_FLAGS = 'r=c w=oszapc u=- 0=- 1=-' satisfies FlagsText
const legacy = 'legacy'
const lock = true

// prettier-ignore
export const arithRows = defineRows({
  ...alu('add', 0, ARITH_FLAGS),
  ...alu('or', 1, LOGIC_FLAGS),
  ...alu('adc', 2, CARRY_FLAGS),
  ...alu('sbb', 3, CARRY_FLAGS),
  ...alu('and', 4, LOGIC_FLAGS),
  ...alu('sub', 5, ARITH_FLAGS),
  ...alu('xor', 6, LOGIC_FLAGS),
  ...alu('cmp', 7, ARITH_FLAGS),

  test_rm8_r8:      row('test', '84 /r', ['r:rm8', 'r:r8'], LOGIC_FLAGS),
  test_rmv_rv:      row('test', '85 /r', ['r:rmv', 'r:rv'], LOGIC_FLAGS),
  test_al_imm8:     row('test', 'A8 ib', ['r:al', 'r:imm8'], LOGIC_FLAGS),
  test_rAXv_immz:   row('test', 'A9 iz', ['r:rAXv', 'r:immz'], LOGIC_FLAGS),
  test_rm8_imm8:    row('test', 'F6 /0 ib', ['r:rm8', 'r:imm8'], LOGIC_FLAGS),
  test_rmv_immz:    row('test', 'F7 /0 iz', ['r:rmv', 'r:immz'], LOGIC_FLAGS),
  test_rm8_imm8_1:  row('test', 'F6 /1 ib', ['r:rm8', 'r:imm8'], LOGIC_FLAGS, { alias: true }),
  test_rmv_immz_1:  row('test', 'F7 /1 iz', ['r:rmv', 'r:immz'], LOGIC_FLAGS, { alias: true }),

  inc_ov:           row('inc', '40+r', ['rw:ov'], INC_FLAGS, { widths: [16, 32], modes: legacy }),
  dec_ov:           row('dec', '48+r', ['rw:ov'], INC_FLAGS, { widths: [16, 32], modes: legacy }),
  inc_rm8:          row('inc', 'FE /0', ['rw:rm8'], INC_FLAGS, { lock }),
  inc_rmv:          row('inc', 'FF /0', ['rw:rmv'], INC_FLAGS, { lock }),
  dec_rm8:          row('dec', 'FE /1', ['rw:rm8'], INC_FLAGS, { lock }),
  dec_rmv:          row('dec', 'FF /1', ['rw:rmv'], INC_FLAGS, { lock }),
  not_rm8:          row('not', 'F6 /2', ['rw:rm8'], NO_FLAGS, { lock }),
  not_rmv:          row('not', 'F7 /2', ['rw:rmv'], NO_FLAGS, { lock }),
  neg_rm8:          row('neg', 'F6 /3', ['rw:rm8'], ARITH_FLAGS, { lock }),
  neg_rmv:          row('neg', 'F7 /3', ['rw:rmv'], ARITH_FLAGS, { lock }),

  mul_rm8:          row('mul', 'F6 /4', ['r:rm8'], MUL_FLAGS),
  mul_rmv:          row('mul', 'F7 /4', ['r:rmv'], MUL_FLAGS),
  imul_rm8:         row('imul', 'F6 /5', ['r:rm8'], MUL_FLAGS),
  imul_rmv:         row('imul', 'F7 /5', ['r:rmv'], MUL_FLAGS),
  imul_rv_rmv:      row('imul', '0F AF /r', ['rw:rv', 'r:rmv'], MUL_FLAGS),
  imul_rv_rmv_immz: row('imul', '69 /r iz', ['w:rv', 'r:rmv', 'r:immz'], MUL_FLAGS),
  imul_rv_rmv_simm8: row('imul', '6B /r ib', ['w:rv', 'r:rmv', 'r:simm8'], MUL_FLAGS),
  div_rm8:          row('div', 'F6 /6', ['r:rm8'], DIV_FLAGS, { faults: ['DE'] }),
  div_rmv:          row('div', 'F7 /6', ['r:rmv'], DIV_FLAGS, { faults: ['DE'] }),
  idiv_rm8:         row('idiv', 'F6 /7', ['r:rm8'], DIV_FLAGS, { faults: ['DE'] }),
  idiv_rmv:         row('idiv', 'F7 /7', ['r:rmv'], DIV_FLAGS, { faults: ['DE'] }),

  xadd_rm8_r8:      row('xadd', '0F C0 /r', ['rw:rm8', 'rw:r8'], ARITH_FLAGS, { lock }),
  xadd_rmv_rv:      row('xadd', '0F C1 /r', ['rw:rmv', 'rw:rv'], ARITH_FLAGS, { lock }),
  cmpxchg_rm8_r8:   row('cmpxchg', '0F B0 /r', ['rw:rm8', 'r:r8'], ARITH_FLAGS, { lock }),
  cmpxchg_rmv_rv:   row('cmpxchg', '0F B1 /r', ['rw:rmv', 'r:rv'], ARITH_FLAGS, { lock }),
  cmpxchg8b_m64:    row('cmpxchg8b', '0F C7 /1', ['rw:m64'], 'r=- w=z u=- 0=- 1=-', { lock, feature: 'cx8', cite: 'SDM Vol. 2, CMPXCHG8B/CMPXCHG16B' }),
  cmpxchg16b_m128:  row('cmpxchg16b', 'REX.W 0F C7 /1', ['rw:m128'], 'r=- w=z u=- 0=- 1=-',
                      { lock, modes: 'long', feature: 'cx16', faults: ['GP'], cite: 'SDM Vol. 2, CMPXCHG8B/CMPXCHG16B' }),

  adcx_ry_rmy:      row('adcx', '66 0F 38 F6 /r', ['rw:ry', 'r:rmy'], 'r=c w=c u=- 0=- 1=-', { feature: 'adx' }),
  adox_ry_rmy:      row('adox', 'F3 0F 38 F6 /r', ['rw:ry', 'r:rmy'], 'r=o w=o u=- 0=- 1=-', { feature: 'adx' }),

  daa:              row('daa', '27', [], 'r=ac w=szapc u=o 0=- 1=-', { widths: [8], modes: legacy }),
  das:              row('das', '2F', [], 'r=ac w=szapc u=o 0=- 1=-', { widths: [8], modes: legacy }),
  aaa:              row('aaa', '37', [], 'r=a w=ac u=oszp 0=- 1=-', { widths: [8], modes: legacy }),
  aas:              row('aas', '3F', [], 'r=a w=ac u=oszp 0=- 1=-', { widths: [8], modes: legacy }),
  aam_imm8:         row('aam', 'D4 ib', ['r:imm8'], 'r=- w=szp u=oac 0=- 1=-', { widths: [8], modes: legacy, faults: ['DE'] }),
  aad_imm8:         row('aad', 'D5 ib', ['r:imm8'], 'r=- w=szp u=oac 0=- 1=-', { widths: [8], modes: legacy }),
})
