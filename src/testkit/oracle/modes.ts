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

interface Descriptor extends Segment {
  readonly big: boolean
  readonly pages?: boolean
}

const NOT_PRESENT = 0x80
const CONFORMING = 0x04
const odd = (entry: number, rest: Omit<Descriptor, 'selector'>): Descriptor => ({
  selector: entry * 8 + 7,
  ...rest,
})

/** Every entry of the LDT: the segments of both sizes, then the odd ones. */
// prettier-ignore
export const LDT: readonly Descriptor[] = [
  ...SEGMENTS.map((segment) => ({ ...segment, big: false })),
  ...SEGMENTS.map((segment) => ({ ...segment, selector: segment.selector + 64, big: true })),
  odd(15, { base: DATA_GVA, limit: 0x1fff, type: READ_WRITE & ~NOT_PRESENT, big: false }),
  odd(16, { base: CODE_GVA, limit: 0x0fff, type: CODE & ~NOT_PRESENT, big: false }),
  odd(17, { base: CODE_GVA, limit: 0x0fff, type: (CODE | CONFORMING) & ~NOT_PRESENT, big: false }),
  odd(18, { base: CODE_GVA, limit: 0, type: CODE & ~2, big: true, pages: true }),
  odd(19, { base: DATA_GVA, limit: 0x07ff, type: EXPAND_DOWN & ~2, big: true }),
]
export const LDT_BYTES = 20 * 8

/** The eight bytes of a descriptor (SDM Vol. 3, "Segment Descriptors"); AVL is set, as Linux does. */
export function descriptorBytes({ base, limit, type, big, pages = false }: Descriptor): bigint {
  const flags = (pages ? 8 : 0) | (big ? 4 : 0) | 1
  const high =
    ((base >>> 24) << 24) | (flags << 20) | (((limit >> 16) & 15) << 16) | (type << 8) | ((base >> 16) & 0xff)
  const low = ((base & 0xffff) << 16) | (limit & 0xffff)
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
}

/** Selectors worth loading: every LDT entry with its own and other RPLs, Linux's GDT, empty entries, beyond both limits. */
export const SELECTORS: readonly number[] = [
  ...LDT.map(({ selector }) => selector),
  ...LDT.map(({ selector }) => selector & ~3),
  ...[0, 0, 3, 0x07, 0x3f, 0x47, 0xa7, 0xfff7],
  ...[0x08, 0x10, 0x13, 0x18, 0x20, 0x23, 0x23, 0x28, 0x2b, 0x2b, 0x2b, 0x30, 0x33, 0x33, 0x38, 0x3b, 0x63, 0x6b, 0xfff8],
] // prettier-ignore

/** In the flat modes FS and GS hold null selectors; 64-bit code uses the bases all the same. */
export const FLAT_FS_BASE = 0x30
export const FLAT_GS_BASE = -0x40
const FS = 4
const GS = 5

/** ES CS SS DS FS GS at the start of a case. */
export function initialSelectors(mode: Mode): readonly number[] {
  if (isSegmented(mode)) return SEGMENTS.map(({ selector }) => (mode === 33 ? selector + 64 : selector))
  return [0x2b, mode === 64 ? 0x33 : 0x23, 0x2b, 0x2b, 0, 0]
}

/** Base of a segment in a mode, for turning linear addresses into offsets and back. */
export function segmentBase(mode: Mode, segment: number): bigint {
  if (!isSegmented(mode))
    return mode !== 64 || segment < FS ? 0n : BigInt(segment === GS ? FLAT_GS_BASE : FLAT_FS_BASE)
  return BigInt(SEGMENTS[segment]?.base ?? 0)
}
