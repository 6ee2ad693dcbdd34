/** Small helpers on unsigned integers held in JavaScript numbers. No domain words. */

/** All ones for an access of 1, 2 or 4 bytes: what an undriven bus reads as. */
export function allOnes(bytes: number): number {
  return bytes >= 4 ? 0xffff_ffff : 2 ** (8 * bytes) - 1
}

/** value cut to 1, 2 or 4 bytes, unsigned. */
export function truncate(value: number, bytes: number): number {
  return bytes >= 4 ? value >>> 0 : value & (2 ** (8 * bytes) - 1)
}

/** Bytes [from, from + bytes) of a 32-bit value. Domain: from + bytes <= 4. */
export function extractBytes(value: number, from: number, bytes: number): number {
  return truncate(value >>> (8 * from), bytes)
}

/** old with its bytes [from, from + bytes) replaced. Domain: from + bytes <= 4. */
export function insertBytes(old: number, from: number, bytes: number, value: number): number {
  const mask = allOnes(bytes) << (8 * from)
  return ((old & ~mask) | ((value << (8 * from)) & mask)) >>> 0
}

export function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value))
}

export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment
}

/** 0x-prefixed, as ranges and addresses are printed everywhere. */
export function hex(value: number | bigint, digits = 0): string {
  return `0x${value.toString(16).padStart(digits, '0')}`
}

/** A half-open range printed with its last address inside: 0x3f8-0x3ff. */
export function hexRange(start: number, end: number): string {
  return `${hex(start)}-${hex(end - 1)}`
}
