/** Every row, by id. A family is one file here, one in ../semantics and one line in each index. */
import { arithRows } from './arith.ts'
import { bitsRows } from './bits.ts'
import { controlRows } from './control.ts'
import { hintRows } from './hints.ts'
import { moveRows } from './move.ts'
import { shiftRows } from './shift.ts'
import { stringRows } from './string.ts'
import { systemRows } from './system.ts'
import type { Row } from '../row.ts'

/** Families, so that the row tests can tell a duplicate id. */
export const FAMILIES = [moveRows, arithRows, shiftRows, bitsRows, controlRows, stringRows, hintRows, systemRows] as const

export const ROWS: readonly Row[] = FAMILIES.flatMap((family) => Object.values<Row>(family))
