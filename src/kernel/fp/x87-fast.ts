/**
 * Access to x87 registers and operands for the fast paths (x87-fast-arith.ts, x87-fast-move.ts): ordinary numbers, without the detour
 * over operand slots and flags.
 */
import { CPU_X87, CPU_X87_CW, CPU_X87_SW, CPU_X87_TAG, CPU_X87_TOP } from '../../abi/layout.ts'
import { J_BIT } from './operand.ts'
import { SW_C1, SW_ES } from './x87-state.ts'

/** RC = nearest, PM = 1. */
const PLAIN_MASK: u32 = 0x0c20
const PLAIN_VALUE: u32 = 0x0020
export const TOP_EXPONENT: u32 = 0x7fff

// @ts-expect-error: decorator of AssemblyScript
@inline
export function isNormal(sig: u64, se: u32): bool {
  return (se & TOP_EXPONENT) - 1 < TOP_EXPONENT - 1 && <i64>sig < 0
}

// @ts-expect-error: decorator of AssemblyScript
@inline
export function isZero(sig: u64, se: u32): bool {
  return sig == 0 && (se & TOP_EXPONENT) == 0
}

// @ts-expect-error: decorator of AssemblyScript
@inline
export function isPlain(c: usize): bool {
  return (<u32>load<u16>(c, CPU_X87_CW) & PLAIN_MASK) == PLAIN_VALUE && !hasError(c)
}

// @ts-expect-error: decorator of AssemblyScript
@inline
export function slotOf(c: usize, physical: u32): usize {
  return c + ((physical & 7) << 4)
}

// @ts-expect-error: decorator of AssemblyScript
@inline
export function put(slot: usize, sig: u64, se: u32): void {
  store<u64>(slot, sig, CPU_X87)
  store<u16>(slot, <u16>se, CPU_X87 + 8)
}

// @ts-expect-error: decorator of AssemblyScript
@inline
export function hasError(c: usize): bool {
  return (<u32>load<u16>(c, CPU_X87_SW) & SW_ES) != 0
}

// @ts-expect-error: decorator of AssemblyScript
@inline
export function seOf(slot: usize): u32 {
  return <u32>load<u16>(slot, CPU_X87 + 8)
}

// @ts-expect-error: decorator of AssemblyScript
@inline
export function sigOf(slot: usize): u64 {
  return load<u64>(slot, CPU_X87)
}

// @ts-expect-error: decorator of AssemblyScript
@inline
export function clearC1(c: usize): void {
  store<u16>(c, <u16>(<u32>load<u16>(c, CPU_X87_SW) & ~SW_C1), CPU_X87_SW)
}

// @ts-expect-error: decorator of AssemblyScript
@inline
export function fastPop(c: usize, top: u32, tag: u32): void {
  store<u32>(c, tag & ~((<u32>1) << top), CPU_X87_TAG)
  store<u32>(c, (top + 1) & 7, CPU_X87_TOP)
}

/** Significand and sign with exponent of a normal f32 or f64 or a zero; se has bit 31 set when it is neither. */
export const NEITHER: u32 = 0x8000_0000

// @ts-expect-error: decorator of AssemblyScript
@inline
export function sig64(bits: u64): u64 {
  return bits << 1 == 0 ? 0 : J_BIT | ((bits << 12) >> 1)
}

// @ts-expect-error: decorator of AssemblyScript
@inline
export function se64(bits: u64): u32 {
  const field = <u32>(bits >> 52) & 0x7ff
  const sign = <u32>(bits >> 48) & 0x8000
  if (field - 1 < 0x7fe) return sign | (field + 16383 - 1023)
  return bits << 1 == 0 ? sign : NEITHER
}

// @ts-expect-error: decorator of AssemblyScript
@inline
export function sig32(bits: u32): u64 {
  return bits << 1 == 0 ? 0 : J_BIT | (<u64>(bits & 0x7f_ffff) << 40)
}

// @ts-expect-error: decorator of AssemblyScript
@inline
export function se32(bits: u32): u32 {
  const field = (bits >> 23) & 0xff
  const sign = (bits >> 16) & 0x8000
  if (field - 1 < 0xfe) return sign | (field + 16383 - 127)
  return bits << 1 == 0 ? sign : NEITHER
}

