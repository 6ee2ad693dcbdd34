/** The semantic function of every row, by row id. */
import type { Semantics } from '../emit.ts'
import { arithSemantics } from './arith.ts'
import { avxCrossSemantics } from './avx-cross.ts'
import { avxFloatSemantics } from './avx-float.ts'
import { avxMoveSemantics } from './avx-move.ts'
import { avxPackedSemantics } from './avx-packed.ts'
import { bitsSemantics } from './bits.ts'
import { controlSemantics } from './control.ts'
import { hintSemantics } from './hints.ts'
import { moveSemantics } from './move.ts'
import { shiftSemantics } from './shift.ts'
import { stringSemantics } from './string.ts'
import { systemSemantics } from './system.ts'
import { cryptoSemantics } from './crypto.ts'
import { floatSemantics } from './float.ts'
import { mmxSemantics } from './mmx.ts'
import { packedSemantics } from './packed.ts'
import { sseSemantics } from './sse.ts'
import { sse2Semantics } from './sse2.ts'
import { sse3Semantics } from './sse3.ts'
import { sse41Semantics } from './sse41.ts'
import { sse42Semantics } from './sse42.ts'
import { ssse3Semantics } from './ssse3.ts'
import { x87Semantics } from './x87.ts'
import { xsaveSemantics } from './xsave.ts'

export const SEMANTICS: Readonly<Record<string, Semantics>> = {
  ...moveSemantics,
  ...arithSemantics,
  ...shiftSemantics,
  ...bitsSemantics,
  ...controlSemantics,
  ...stringSemantics,
  ...hintSemantics,
  ...systemSemantics,
  ...cryptoSemantics,
  ...floatSemantics,
  ...mmxSemantics,
  ...packedSemantics,
  ...sseSemantics,
  ...sse2Semantics,
  ...sse3Semantics,
  ...sse41Semantics,
  ...sse42Semantics,
  ...ssse3Semantics,
  ...x87Semantics,
  ...xsaveSemantics,
  ...avxMoveSemantics,
  ...avxCrossSemantics,
  ...avxPackedSemantics,
  ...avxFloatSemantics,
}
