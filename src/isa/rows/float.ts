/**
 * Arithmetic, logic and comparison of packed and scalar, single and double precision: one line gives the ps, ss, pd and sd
 * forms, told apart by the mandatory prefix NP, F3, 66, F2. SDM Vol. 2, heading of each mnemonic.
 *
 * Columns: stem, opcode, formats, kind.
 */
import { defineRows, type RowSpec } from '../row.ts'
import { ALIGNED_FAULTS, FLOAT_ALIGNED_FAULTS, FLOAT_FAULTS, SSE_FAULTS, sse } from './vector-row.ts'

export type FloatFormat = 'ps' | 'ss' | 'pd' | 'sd'
export type FloatKind = 'unary' | 'binary' | 'logic' | 'estimate' | 'compare'

// prettier-ignore
export const FLOAT: readonly (readonly [stem: string, opcode: string, formats: readonly FloatFormat[], kind: FloatKind])[] = [
  ['sqrt',  '0F 51', ['ps', 'ss', 'pd', 'sd'], 'unary'],
  ['rsqrt', '0F 52', ['ps', 'ss'],             'estimate'],
  ['rcp',   '0F 53', ['ps', 'ss'],             'estimate'],
  ['and',   '0F 54', ['ps', 'pd'],             'logic'],
  ['andn',  '0F 55', ['ps', 'pd'],             'logic'],
  ['or',    '0F 56', ['ps', 'pd'],             'logic'],
  ['xor',   '0F 57', ['ps', 'pd'],             'logic'],
  ['add',   '0F 58', ['ps', 'ss', 'pd', 'sd'], 'binary'],
  ['mul',   '0F 59', ['ps', 'ss', 'pd', 'sd'], 'binary'],
  ['sub',   '0F 5C', ['ps', 'ss', 'pd', 'sd'], 'binary'],
  ['min',   '0F 5D', ['ps', 'ss', 'pd', 'sd'], 'binary'],
  ['div',   '0F 5E', ['ps', 'ss', 'pd', 'sd'], 'binary'],
  ['max',   '0F 5F', ['ps', 'ss', 'pd', 'sd'], 'binary'],
  ['cmp',   '0F C2', ['ps', 'ss', 'pd', 'sd'], 'compare'],
]

const PREFIX = { ps: 'NP', ss: 'F3', pd: '66', sd: 'F2' } as const
export const FLOAT_SOURCE = { ps: 'xmm_m128', ss: 'xmm_m32', pd: 'xmm_m128', sd: 'xmm_m64' } as const

export function floatId(stem: string, format: FloatFormat): string {
  return `${stem}${format}_xmm_${FLOAT_SOURCE[format]}${stem === 'cmp' ? '_imm8' : ''}`
}

function spec([stem, opcode, , kind]: (typeof FLOAT)[number], format: FloatFormat): RowSpec {
  const packed = format === 'ps' || format === 'pd'
  const quiet = kind === 'logic' || kind === 'estimate'
  const single = format === 'ps' || format === 'ss'
  const compare = kind === 'compare'
  // packed unary forms do not read the destination, scalar ones keep its upper part
  const access = packed && (kind === 'unary' || kind === 'estimate') ? 'w' : 'rw'
  const faults = packed ? (quiet ? ALIGNED_FAULTS : FLOAT_ALIGNED_FAULTS) : quiet ? SSE_FAULTS : FLOAT_FAULTS
  return sse(
    stem + format,
    `${PREFIX[format]} ${opcode} /r${compare ? ' ib' : ''}`,
    [`${access}:xmm_r`, `r:${FLOAT_SOURCE[format]}`, ...(compare ? (['r:imm8'] as const) : [])],
    single ? 'sse' : 'sse2',
    { faults },
  )
}

export const floatRows = defineRows<Record<string, RowSpec>>(
  Object.fromEntries(FLOAT.flatMap((line) => line[2].map((format) => [floatId(line[0], format), spec(line, format)]))),
)
