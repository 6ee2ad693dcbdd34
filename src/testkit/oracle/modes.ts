/**
 * The code sizes and segments that cases run with. In the segmented ones every segment has a base, a limit and a type of
 * its own, so that offsets, limits and default segments matter; oracle.c builds the same from its LDT.
 */
import { CODE_GVA, DATA_GVA } from './layout.ts'

/** 64-bit; 32-bit flat; 16-bit with segments; 32-bit with segments. The request's `bits` field holds the number. */
export type Mode = 64 | 32 | 16 | 33

export type CodeSize = 16 | 32 | 64

export const codeSizeOf = (mode: Mode): CodeSize => (mode === 33 ? 32 : mode)
export const isSegmented = (mode: Mode): boolean => mode === 16 || mode === 33

/** In the order of SEG_*: ES CS SS DS FS GS. */
export const SEGMENT_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65] as const
export const ES = 0
export const CS = 1
export const SS = 2
export const DS = 3

export interface Segment {
  /** LDT selector. */
  readonly selector: number
  readonly base: number
  readonly limit: number
  /** Descriptor type with S, DPL 3 and P: bits 0-7 of the attributes. */
  readonly type: number
}

const READ_WRITE = 0xf3
const READ_ONLY = 0xf1
const EXPAND_DOWN = 0xf7
const CODE = 0xfb

// prettier-ignore
export const SEGMENTS: readonly Segment[] = [
  { selector: 0x0f, base: DATA_GVA + 0x20,   limit: 0x10df, type: READ_WRITE },
  { selector: 0x17, base: CODE_GVA,          limit: 0x0fff, type: CODE },
  { selector: 0x1f, base: DATA_GVA + 0x10,   limit: 0x1fef, type: READ_WRITE },
  { selector: 0x27, base: DATA_GVA,          limit: 0x1fff, type: READ_WRITE },
  { selector: 0x2f, base: DATA_GVA - 0x1000, limit: 0x1f7f, type: EXPAND_DOWN },
  { selector: 0x37, base: DATA_GVA + 0x40,   limit: 0x1fbf, type: READ_ONLY },
]

/** In the flat modes FS and GS hold null selectors; 64-bit code uses the bases all the same. */
export const FLAT_FS_BASE = 0x30
export const FLAT_GS_BASE = -0x40
const FS = 4
const GS = 5

/** Base of a segment in a mode, for turning linear addresses into offsets and back. */
export function segmentBase(mode: Mode, segment: number): bigint {
  if (!isSegmented(mode))
    return mode !== 64 || segment < FS ? 0n : BigInt(segment === GS ? FLAT_GS_BASE : FLAT_FS_BASE)
  return BigInt(SEGMENTS[segment]?.base ?? 0)
}
