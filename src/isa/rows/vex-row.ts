/**
 * Lines of the VEX families: one for the 128- and 256-bit forms of an instruction. A line stands under its row id, in which
 * as in the operands these letters are filled in for each length:
 *
 *        128        256                      128       256
 *   V    xmm        ymm                HM    xmm_m64   xmm_m128     half as wide
 *   VM   xmm_m128   ymm_m256           QM    xmm_m32   xmm_m64      a quarter
 *   M    m128       m256               EM    xmm_m16   xmm_m32      an eighth
 *
 * A length exists when its feature is given. An opcode that begins with 128, 256, LIG or LZ has this length only.
 */
import type { FeatureName } from '../features.ts'
import { NO_FLAGS, row, type Fault, type FlagsText, type Operand, type RowOptions, type RowSpec } from '../row.ts'
import { ALIGNED_FAULTS, FLOAT_FAULTS, SSE_FAULTS } from './vector-row.ts'

export type VexLength = 128 | 256

export interface VexOptions extends Omit<RowOptions, 'feature' | 'faults'> {
  readonly flags?: FlagsText
  /** Reports through MXCSR. */
  readonly float?: true
  /** The memory operand must be aligned to its size. */
  readonly aligned?: true
  /** A W0 line whose W1 has 64-bit operands in 64-bit code; elsewhere W is ignored, which a second row says. */
  readonly general?: true
}

/** Features: of the 128-bit form (or the only one), of the 256-bit form; '' = there is none. */
export type VexLine =
  | readonly [op: string, operands: string, narrow: FeatureName | '', wide?: FeatureName | '', options?: VexOptions]
  | readonly [op: string, operands: string, only: FeatureName, options: VexOptions]
export type VexLines = Readonly<Record<string, VexLine>>

// prettier-ignore
const LETTERS: Readonly<Record<string, readonly [narrow: string, wide: string]>> = {
  V: ['xmm', 'ymm'], VM: ['xmm_m128', 'ymm_m256'], M: ['m128', 'm256'],
  HM: ['xmm_m64', 'xmm_m128'], QM: ['xmm_m32', 'xmm_m64'], EM: ['xmm_m16', 'xmm_m32'],
}

const fill = (text: string, length: VexLength): string =>
  text.replace(/(?<=^|[:_])(VM|HM|QM|EM|V|M)(?=_|$)/g, (letter) => LETTERS[letter]?.[length === 128 ? 0 : 1] ?? letter)

export interface VexForm {
  readonly key: string
  readonly id: string
  readonly length: VexLength
  readonly spec: RowSpec
}

function faultsOf({ float, aligned }: VexOptions): readonly Fault[] {
  return float ? FLOAT_FAULTS : aligned ? ALIGNED_FAULTS : SSE_FAULTS
}

function formsOf(key: string, [op, operands, first, second, last]: VexLine): VexForm[] {
  const { flags = NO_FLAGS, float, aligned, general, ...rest } = (typeof second === 'object' ? second : last) ?? {}
  const single = /^(128|256|LIG|LZ)\./.exec(op)
  const form = (length: VexLength, feature: FeatureName): VexForm => {
    const column = single ? `VEX.${op}` : `VEX.${length}.${op}`
    const places = operands === '' ? [] : operands.split(' ').map((place) => fill(place, length) as Operand)
    const faults = faultsOf({ ...(float && { float }), ...(aligned && { aligned }) })
    return {
      key,
      id: fill(key, length),
      length,
      spec: row(key.split('_')[0] ?? key, column, places, flags, { feature, faults, ...rest }),
    }
  }
  if (single) {
    if (first === '') return []
    const only = form(single[1] === '256' ? 256 : 128, first)
    if (!general) return [only]
    const op = only.spec.op.replace('.W0 ', '.W1 ')
    const ignoringW = { ...only.spec, op, modes: 'legacy' as const, alias: true }
    return [only, { ...only, id: `${only.id}_w1`, spec: ignoringW }]
  }
  const wide = typeof second === 'string' ? second : ''
  return [...(first === '' ? [] : [form(128, first)]), ...(wide === '' ? [] : [form(256, wide)])]
}

/** Every row that the lines stand for. */
export function vexForms(lines: VexLines): VexForm[] {
  return Object.entries(lines).flatMap(([key, line]) => formsOf(key, line))
}

export function vexRows(lines: VexLines): Record<string, RowSpec> {
  return Object.fromEntries(vexForms(lines).map(({ id, spec }) => [id, spec]))
}
