/** String instructions and ports (SDM Vol. 1, 5.1.8, 5.1.9). The kernel runs a whole REP until it is done, faults or is interrupted. */
import { ARITH_FLAGS, NO_FLAGS, defineRows, row, type FlagsText, type RowSpec } from '../row.ts'

const COMPARE = ARITH_FLAGS.replace('r=-', 'r=d') as FlagsText
const MOVE = 'r=d w=- u=- 0=- 1=-' satisfies FlagsText

/** The byte row at `opcode` and the operand-size row behind it. */
function string<Name extends string>(name: Name, opcode: number, flags: FlagsText, sized: readonly (16 | 32 | 64)[]): Record<`${Name}b` | `${Name}v`, RowSpec> {
  const letters = { movs: 'MOVS/MOVSB/MOVSW/MOVSD/MOVSQ', cmps: 'CMPS/CMPSB/CMPSW/CMPSD/CMPSQ', stos: 'STOS/STOSB/STOSW/STOSD/STOSQ',
    lods: 'LODS/LODSB/LODSW/LODSD/LODSQ', scas: 'SCAS/SCASB/SCASW/SCASD', ins: 'INS/INSB/INSW/INSD', outs: 'OUTS/OUTSB/OUTSW/OUTSD' } as Record<string, string>
  const rest = { rep: true, cite: `SDM Vol. 2, ${letters[name]}` }
  const hex = (byte: number): string => byte.toString(16).toUpperCase()
  return {
    [`${name}b`]: row(name, hex(opcode), [], flags, { ...rest, widths: [8] }),
    [`${name}v`]: row(name, hex(opcode + 1), [], flags, { ...rest, widths: sized }),
  } as Record<`${Name}b` | `${Name}v`, RowSpec>
}

const sizes = [16, 32, 64] as const
const io = { faults: ['GP'] } as const

// prettier-ignore
export const stringRows = defineRows({
  ...string('movs', 0xa4, MOVE, sizes),
  ...string('cmps', 0xa6, COMPARE, sizes),
  ...string('stos', 0xaa, MOVE, sizes),
  ...string('lods', 0xac, MOVE, sizes),
  ...string('scas', 0xae, COMPARE, sizes),
  ...string('ins', 0x6c, MOVE, [16, 32]),
  ...string('outs', 0x6e, MOVE, [16, 32]),
  in_al_imm8:    row('in', 'E4 ib', ['w:al', 'r:imm8'], NO_FLAGS, io),
  in_eAX_imm8:   row('in', 'E5 ib', ['w:rAXv', 'r:imm8'], NO_FLAGS, { ...io, widths: [16, 32] }),
  in_al_dx:      row('in', 'EC', ['w:al', 'r:dx'], NO_FLAGS, io),
  in_eAX_dx:     row('in', 'ED', ['w:rAXv', 'r:dx'], NO_FLAGS, { ...io, widths: [16, 32] }),
  out_imm8_al:   row('out', 'E6 ib', ['r:imm8', 'r:al'], NO_FLAGS, io),
  out_imm8_eAX:  row('out', 'E7 ib', ['r:imm8', 'r:rAXv'], NO_FLAGS, { ...io, widths: [16, 32] }),
  out_dx_al:     row('out', 'EE', ['r:dx', 'r:al'], NO_FLAGS, { ...io, widths: [8] }),
  out_dx_eAX:    row('out', 'EF', ['r:dx', 'r:rAXv'], NO_FLAGS, { ...io, widths: [16, 32] }),
})
