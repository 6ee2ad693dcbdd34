/**
 * Row builders for x87, MMX and SSE: these families have no operand-size classes and hardly any flags.
 */
import { NO_FLAGS, row, type Fault, type FlagsText, type Operand, type RowOptions, type RowSpec } from '../row.ts'
import type { FeatureName } from '../features.ts'

export interface VectorOptions extends Omit<RowOptions, 'feature'> {
  readonly flags?: FlagsText
}

/** Faults of every MMX instruction besides those of its memory operand. */
export const MMX_FAULTS: readonly Fault[] = ['UD', 'NM', 'MF']
/** SSE integer, logic and moves. */
export const SSE_FAULTS: readonly Fault[] = ['UD', 'NM']
/** As SSE_FAULTS, with a 16-byte operand that must be aligned. */
export const ALIGNED_FAULTS: readonly Fault[] = ['UD', 'NM', 'GP']
/** SSE arithmetic that reports through MXCSR. */
export const FLOAT_FAULTS: readonly Fault[] = ['UD', 'NM', 'XM']
export const FLOAT_ALIGNED_FAULTS: readonly Fault[] = ['UD', 'NM', 'XM', 'GP']

export function vector(
  mnemonic: string,
  op: string,
  operands: readonly Operand[],
  feature: FeatureName,
  { flags = NO_FLAGS, ...rest }: VectorOptions = {},
): RowSpec {
  return row(mnemonic, op, operands, flags, { feature, ...rest })
}

type Builder = (
  mnemonic: string,
  op: string,
  operands: readonly Operand[],
  feature: FeatureName,
  more?: VectorOptions,
) => RowSpec

export const mmx: Builder = (mnemonic, op, operands, feature, more = {}) =>
  vector(mnemonic, op, operands, feature, { faults: MMX_FAULTS, ...more })

export const sse: Builder = (mnemonic, op, operands, feature, more = {}) =>
  vector(mnemonic, op, operands, feature, { faults: SSE_FAULTS, ...more })

/** COMISS family: ZF PF CF from the relation, the others cleared. */
export const COMPARE_FLAGS: FlagsText = 'r=- w=zpc u=- 0=osa 1=-'
