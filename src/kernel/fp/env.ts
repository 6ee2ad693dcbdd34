/**
 * The floating-point environment of the operation in progress: rounding, masks, accumulated flags.
 * Set by beginSse or beginX87 at the head of every exported operation, read back at its end.
 *
 * Flag and mask bits are those of MXCSR 0-5 and of the x87 status and control words (SDM Vol. 1, 8.1.3, 10.2.3).
 */

export const IE: u32 = 0x01
export const DE: u32 = 0x02
export const ZE: u32 = 0x04
export const OE: u32 = 0x08
export const UE: u32 = 0x10
export const PE: u32 = 0x20
export const ALL_EXCEPTIONS: u32 = 0x3f
/** Found before anything is computed: when one of these is unmasked there is no result (SDM Vol. 1, 11.5.3). */
export const PRE_COMPUTATION: u32 = 0x07

export const RN: u32 = 0
export const RD: u32 = 1
export const RU: u32 = 2
export const RZ: u32 = 3

export let rm: u32 = 0
/** Exceptions that are masked. */
export let masks: u32 = 0x3f
export let flags: u32 = 0
/** The last rounding increased the magnitude: C1 of the x87. */
export let roundedUp: bool = false
/** Significand bits of an x87 result under precision control: 24, 53 or 64. */
export let precision: i32 = 64
export let daz: bool = false
export let ftz: bool = false

export function beginSse(mxcsr: u32): void {
  rm = (mxcsr >> 13) & 3
  masks = (mxcsr >> 7) & ALL_EXCEPTIONS
  daz = (mxcsr & 0x40) != 0
  ftz = (mxcsr & 0x8000) != 0
  flags = 0
  roundedUp = false
}

export function beginX87(cw: u32): void {
  rm = (cw >> 10) & 3
  masks = cw & ALL_EXCEPTIONS
  const pc = (cw >> 8) & 3
  precision = pc == 3 ? 64 : pc == 2 ? 53 : pc == 0 ? 24 : 64
  daz = false
  ftz = false
  flags = 0
  roundedUp = false
}

/** Conversions to half precision deliver denormals whatever FTZ says. */
export function ignoreFtz(): void {
  ftz = false
}

export function raise(bits: u32): void {
  flags |= bits
}

export function clearFlags(): void {
  flags = 0
  roundedUp = false
}

export function setFlags(bits: u32): void {
  flags = bits
}

export function setRounding(mode: u32): void {
  rm = mode
}

export function setPrecision(bits: i32): void {
  precision = bits
}

export function setRoundedUp(up: bool): void {
  roundedUp = up
}

/** For instructions that never raise precision or that ignore the masks: treat every exception as masked. */
export function maskAll(): void {
  masks = ALL_EXCEPTIONS
}
