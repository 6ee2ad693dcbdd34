/** Control transfer (SDM Vol. 1, 5.1.7): near and far branches, calls, returns, loops, software interrupts. */
import { CONDITIONS, NO_FLAGS, defineRows, row, type ConditionName, type FlagsText, type RowSpec } from '../row.ts'

const ends = true
const near = { osize: 'f64', ends, faults: ['GP'] } as const // Intel ignores 66 on near branches in 64-bit code
const far = { ends, faults: ['GP', 'NP', 'SS', 'TS'] } as const
const all = [16, 32, 64] as const

/** Jcc: 70-7F and 0F 80-8F. The block goes on behind a branch that is not taken. */
function jcc(): Record<`j${ConditionName}_rel8` | `j${ConditionName}_relz`, RowSpec> {
  const rows: Record<string, RowSpec> = {}
  for (const [code, [cc, reads]] of CONDITIONS.entries()) {
    const flags: FlagsText = `r=${reads} w=- u=- 0=- 1=-`
    const rest = { ...near, ends: false, cite: 'SDM Vol. 2, Jcc' }
    rows[`j${cc}_rel8`] = row(`j${cc}`, `${(0x70 + code).toString(16)} cb`, ['r:rel8'], flags, rest)
    rows[`j${cc}_relz`] = row(`j${cc}`, `0F ${(0x80 + code).toString(16)} cd`, ['r:relz'], flags, rest)
  }
  return rows
}

type CountSize = 'a16' | 'a32' | 'a64'

/** LOOPcc and JrCXZ count in CX, ECX or RCX by address size: one row for each. */
function counted<Name extends string>(name: Name, opcode: string, r: string): Record<`${Name}_${CountSize}`, RowSpec> {
  const rows: Record<string, RowSpec> = {}
  for (const size of ['a16', 'a32', 'a64'] as const) {
    const flags: FlagsText = `r=${r} w=- u=- 0=- 1=-`
    const mnemonic = name === 'jcxz' ? { a16: 'jcxz', a32: 'jecxz', a64: 'jrcxz' }[size] : name
    const rest = { ...near, ends: false, cite: name === 'jcxz' ? 'SDM Vol. 2, Jcc' : 'SDM Vol. 2, LOOP/LOOPcc' }
    rows[`${name}_${size}`] = row(mnemonic, `${size.toUpperCase()} ${opcode} cb`, ['r:rel8'], flags, rest)
  }
  return rows
}

// prettier-ignore
export const controlRows = defineRows({
  ...jcc(),
  ...counted('loopne', 'E0', 'z'),
  ...counted('loope', 'E1', 'z'),
  ...counted('loop', 'E2', '-'),
  ...counted('jcxz', 'E3', '-'),
  jmp_rel8:       row('jmp', 'EB cb', ['r:rel8'], NO_FLAGS, near),
  jmp_relz:       row('jmp', 'E9 cd', ['r:relz'], NO_FLAGS, near),
  jmp_rmv:        row('jmp', 'FF /4', ['r:rmv'], NO_FLAGS, near),
  call_relz:      row('call', 'E8 cd', ['r:relz'], NO_FLAGS, near),
  call_rmv:       row('call', 'FF /2', ['r:rmv'], NO_FLAGS, near),
  ret:            row('ret', 'C3', [], NO_FLAGS, { ...near, widths: all }),
  ret_imm16:      row('ret', 'C2 iw', ['r:imm16'], NO_FLAGS, { ...near, widths: all }),

  jmpf_ptr:       row('jmpf', 'EA cp', ['r:ptr16:v'], NO_FLAGS, { ...far, widths: [16, 32], modes: 'legacy', cite: 'SDM Vol. 2, JMP' }),
  jmpf_m:         row('jmpf', 'FF /5', ['r:m16:v'], NO_FLAGS, { ...far, cite: 'SDM Vol. 2, JMP' }),
  callf_ptr:      row('callf', '9A cp', ['r:ptr16:v'], NO_FLAGS, { ...far, widths: [16, 32], modes: 'legacy', cite: 'SDM Vol. 2, CALL' }),
  callf_m:        row('callf', 'FF /3', ['r:m16:v'], NO_FLAGS, { ...far, cite: 'SDM Vol. 2, CALL' }),
  retf:           row('retf', 'CB', [], NO_FLAGS, { ...far, widths: all, cite: 'SDM Vol. 2, RET' }),
  retf_imm16:     row('retf', 'CA iw', ['r:imm16'], NO_FLAGS, { ...far, widths: all, cite: 'SDM Vol. 2, RET' }),
  iret:           row('iret', 'CF', [], 'r=nm w=oszapcditkylnfm u=- 0=- 1=-', { ...far, widths: all, cite: 'SDM Vol. 2, IRET/IRETD/IRETQ' }),

  int_imm8:       row('int', 'CD ib', ['r:imm8'], 'r=m w=- u=- 0=itnfm 1=-', { ...far, cite: 'SDM Vol. 2, INT n/INTO/INT3/INT1', widths: [0] }),
  int3:           row('int3', 'CC', [], 'r=- w=- u=- 0=itnfm 1=-', { ...far, faults: ['BP'], cite: 'SDM Vol. 2, INT n/INTO/INT3/INT1' }),
  into:           row('into', 'CE', [], 'r=o w=- u=- 0=- 1=-', { ...far, faults: ['OF'], modes: 'legacy', cite: 'SDM Vol. 2, INT n/INTO/INT3/INT1' }),
  int1:           row('int1', 'F1', [], 'r=- w=- u=- 0=itnfm 1=-', { ...far, faults: ['DB'], cite: 'SDM Vol. 2, INT n/INTO/INT3/INT1' }),
  bound_rv_m:     row('bound', '62 /r', ['r:rv', 'r:m'], NO_FLAGS, { widths: [16, 32], modes: 'legacy', faults: ['BR'] }),
})
