/** Shifts and rotates (SDM Vol. 1, 5.1.5). A masked count of zero leaves every flag alone; OF is defined for counts of one only. */
import { NO_FLAGS, defineRows, row, type FlagsText, type RowSpec } from '../row.ts'

type ShiftForm = 'rm8_imm8' | 'rmv_imm8' | 'rm8_1' | 'rmv_1' | 'rm8_cl' | 'rmv_cl'

/** One operation of group 2: six encodings. */
function shift<Name extends string>(name: Name, digit: number, alias = false): Record<`${Name}_${ShiftForm}`, RowSpec> {
  const mnemonic = name.replace(/6$/, '')
  const rotate = mnemonic.startsWith('r')
  const r = mnemonic.startsWith('rc') ? 'c' : '-'
  // the columns of count one; larger counts leave OF (and CF beyond the operand) undefined: see undefinedByCount in the tests
  const one: FlagsText = rotate ? `r=${r} w=oc u=- 0=- 1=-` : 'r=- w=oszpc u=a 0=- 1=-'
  const many: FlagsText = rotate ? `r=${r} w=c u=o 0=- 1=-` : 'r=- w=szpc u=oa 0=- 1=-'
  const rest = { alias, cite: rotate ? 'SDM Vol. 2, RCL/RCR/ROL/ROR' : 'SDM Vol. 2, SAL/SAR/SHL/SHR' }
  // prettier-ignore
  const rows: Record<ShiftForm, RowSpec> = {
    rm8_imm8: row(mnemonic, `C0 /${digit} ib`, ['rw:rm8', 'r:imm8'], many, rest),
    rmv_imm8: row(mnemonic, `C1 /${digit} ib`, ['rw:rmv', 'r:imm8'], many, rest),
    rm8_1:    row(mnemonic, `D0 /${digit}`,    ['rw:rm8', 'r:one'], one, rest),
    rmv_1:    row(mnemonic, `D1 /${digit}`,    ['rw:rmv', 'r:one'], one, rest),
    rm8_cl:   row(mnemonic, `D2 /${digit}`,    ['rw:rm8', 'r:cl'], many, rest),
    rmv_cl:   row(mnemonic, `D3 /${digit}`,    ['rw:rmv', 'r:cl'], many, rest),
  }
  return Object.fromEntries(Object.entries(rows).map(([form, spec]) => [`${name}_${form}`, spec])) as Record<`${Name}_${ShiftForm}`, RowSpec>
}

const DOUBLE: FlagsText = 'r=- w=szpc u=oa 0=- 1=-'

// prettier-ignore
export const shiftRows = defineRows({
  ...shift('rol', 0),
  ...shift('ror', 1),
  ...shift('rcl', 2),
  ...shift('rcr', 3),
  ...shift('shl', 4),
  ...shift('shr', 5),
  ...shift('shl6', 6, true), // /6 is a second encoding of /4
  ...shift('sar', 7),
  shld_rmv_rv_imm8: row('shld', '0F A4 /r ib', ['rw:rmv', 'r:rv', 'r:imm8'], DOUBLE),
  shld_rmv_rv_cl:   row('shld', '0F A5 /r', ['rw:rmv', 'r:rv', 'r:cl'], DOUBLE),
  shrd_rmv_rv_imm8: row('shrd', '0F AC /r ib', ['rw:rmv', 'r:rv', 'r:imm8'], DOUBLE),
  shrd_rmv_rv_cl:   row('shrd', '0F AD /r', ['rw:rmv', 'r:rv', 'r:cl'], DOUBLE),
  sarx_ry_rmy_vy:   row('sarx', 'VEX.LZ.F3.0F38 F7 /r', ['w:ry', 'r:rmy', 'r:vy'], NO_FLAGS, { feature: 'bmi2', cite: 'SDM Vol. 2, SARX/SHLX/SHRX' }),
  shlx_ry_rmy_vy:   row('shlx', 'VEX.LZ.66.0F38 F7 /r', ['w:ry', 'r:rmy', 'r:vy'], NO_FLAGS, { feature: 'bmi2', cite: 'SDM Vol. 2, SARX/SHLX/SHRX' }),
  shrx_ry_rmy_vy:   row('shrx', 'VEX.LZ.F2.0F38 F7 /r', ['w:ry', 'r:rmy', 'r:vy'], NO_FLAGS, { feature: 'bmi2', cite: 'SDM Vol. 2, SARX/SHLX/SHRX' }),
  rorx_ry_rmy_imm8: row('rorx', 'VEX.LZ.F2.0F3A F0 /r ib', ['w:ry', 'r:rmy', 'r:imm8'], NO_FLAGS, { feature: 'bmi2' }),
})
