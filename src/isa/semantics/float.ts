/** Floating-point arithmetic, logic and comparison: the forms of rows/float.ts. Results and MXCSR come from src/kernel/fp. */
import type { Semantics } from '../emit.ts'
import { FLOAT, FLOAT_SOURCE, floatId, type FloatFormat, type FloatKind } from '../rows/float.ts'
import { PACKED_OPS, packedXmm } from './packed.ts'
import { gateSse, i32, imm, sourceAddress, sourceAddress128 } from './vector.ts'

const LOGIC: Readonly<Record<string, string>> = { and: 'pand', andn: 'pandn', or: 'por', xor: 'pxor' }

function semanticsOf(stem: string, kind: FloatKind, format: FloatFormat): Semantics {
  if (kind === 'logic') {
    const op = PACKED_OPS[LOGIC[stem] ?? '']
    if (!op) throw new Error(`no logic operation for ${stem}`)
    return packedXmm(op)
  }
  const name = `sse_${stem}_${format}`
  const wide = FLOAT_SOURCE[format] === 'xmm_m128'
  return (e) => {
    gateSse(e)
    const b = wide ? sourceAddress128(e, 1) : sourceAddress(e, 1)
    const dst = e.addressOf(0)
    if (kind === 'binary') e.call(name, [dst, dst, b])
    else if (kind === 'compare') e.call(name, [dst, dst, b, e.and(imm(e, 2), i32(e, 7))])
    else e.call(name, [dst, b])
  }
}

export const floatSemantics: Readonly<Record<string, Semantics>> = Object.fromEntries(
  FLOAT.flatMap(([stem, , formats, kind]) =>
    formats.map((format) => [floatId(stem, format), semanticsOf(stem, kind, format)]),
  ),
)
