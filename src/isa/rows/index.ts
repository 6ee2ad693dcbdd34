/** Every row, by id. A family is one file here, one in ../semantics and one line in each index. */
import { arithRows } from './arith.ts'
import { avxCrossRows } from './avx-cross.ts'
import { avxFloatRows } from './avx-float.ts'
import { avxMoveRows } from './avx-move.ts'
import { avxPackedRows } from './avx-packed.ts'
import { bitsRows } from './bits.ts'
import { controlRows } from './control.ts'
import { hintRows } from './hints.ts'
import { moveRows } from './move.ts'
import { shiftRows } from './shift.ts'
import { stringRows } from './string.ts'
import { systemRows } from './system.ts'
import { cryptoRows } from './crypto.ts'
import { floatRows } from './float.ts'
import { mmxRows } from './mmx.ts'
import { packedRows } from './packed.ts'
import { sseRows } from './sse.ts'
import { sse2Rows } from './sse2.ts'
import { sse3Rows } from './sse3.ts'
import { sse41Rows } from './sse41.ts'
import { sse42Rows } from './sse42.ts'
import { ssse3Rows } from './ssse3.ts'
import { x87Rows } from './x87.ts'
import { xsaveRows } from './xsave.ts'
import type { Row } from '../row.ts'

/** Families, so that the row tests can tell a duplicate id. */
export const FAMILIES = [moveRows, arithRows, shiftRows, bitsRows, controlRows, stringRows, hintRows, systemRows,
  cryptoRows, floatRows, mmxRows, packedRows, sseRows, sse2Rows, sse3Rows, sse41Rows, sse42Rows, ssse3Rows, x87Rows, xsaveRows,
  avxMoveRows, avxCrossRows, avxPackedRows, avxFloatRows,
] as const

export const ROWS: readonly Row[] = FAMILIES.flatMap((family) => Object.values<Row>(family))
