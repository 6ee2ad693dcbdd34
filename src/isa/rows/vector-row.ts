/**
 * Row builders for x87, MMX and SSE: these families have no width classes, hardly any flags and no LOCK, so a row is
 * its id, opcode, operands and feature. The mnemonic is the id up to the first '_'.
 */
import type { FlagName, Operand, Row } from '../row.ts'

export interface VectorOptions {
  readonly widths?: Row['widths']
  readonly modes?: Row['modes']
  readonly w?: readonly FlagName[]
  readonly r?: readonly FlagName[]
  readonly cleared?: readonly FlagName[]
  readonly faults?: readonly string[]
  readonly cite?: string
}

export function vectorRow(
  id: string,
  op: string,
  operands: readonly Operand[],
  feature: string,
  options: VectorOptions = {},
): Row {
  const mnemonic = id.split('_')[0] ?? id
  return {
    id,
    mnemonic,
    op,
    operands,
    widths: options.widths ?? [0],
    modes: options.modes ?? 'both',
    osize: 'rex',
    feature,
    flags: { r: options.r ?? [], w: options.w ?? [], u: [], cleared: options.cleared ?? [], set: [] },
    lock: false,
    rep: false,
    ends: false,
    faults: options.faults ?? [],
    cite: options.cite ?? `SDM Vol. 2, ${mnemonic.toUpperCase()}`,
  }
}

/** Faults of every MMX instruction besides those of its memory operand. */
export const MMX_FAULTS = ['UD', 'NM', 'MF'] as const
/** SSE integer, logic and moves. */
export const SSE_FAULTS = ['UD', 'NM'] as const
/** As SSE_FAULTS, with a 16-byte operand that must be aligned. */
export const ALIGNED_FAULTS = ['UD', 'NM', 'GP'] as const
/** SSE arithmetic that reports through MXCSR. */
export const FLOAT_FAULTS = ['UD', 'NM', 'XM'] as const
export const FLOAT_ALIGNED_FAULTS = ['UD', 'NM', 'XM', 'GP'] as const

export const mmx = (id: string, op: string, operands: readonly Operand[], feature: string, more: VectorOptions = {}): Row =>
  vectorRow(id, op, operands, feature, { faults: MMX_FAULTS, ...more })

export const sse = (id: string, op: string, operands: readonly Operand[], feature: string, more: VectorOptions = {}): Row =>
  vectorRow(id, op, operands, feature, { faults: SSE_FAULTS, ...more })
