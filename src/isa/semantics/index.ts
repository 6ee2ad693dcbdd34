/** The semantic function of every row, by row id. */
import type { Semantics } from '../emit.ts'
import { arithSemantics } from './arith.ts'
import { bitsSemantics } from './bits.ts'
import { controlSemantics } from './control.ts'
import { hintSemantics } from './hints.ts'
import { moveSemantics } from './move.ts'
import { shiftSemantics } from './shift.ts'
import { stringSemantics } from './string.ts'
import { systemSemantics } from './system.ts'

export const SEMANTICS: Readonly<Record<string, Semantics>> = {
  ...moveSemantics,
  ...arithSemantics,
  ...shiftSemantics,
  ...bitsSemantics,
  ...controlSemantics,
  ...stringSemantics,
  ...hintSemantics,
  ...systemSemantics,
}
