/**
 * What compiled code keeps in WebAssembly locals, numbered; sets of them are bit masks.
 *
 *   0..15   general registers, i64      16..31  XMM registers, v128
 *   32..35  flags: CC_* kind, and the operands and result that it is about (abi/jit.ts)
 *   36..38  CR0, CR4, the gate of AVX: read by every vector instruction
 */
import {
  CPU_AVX_GATE,
  CPU_CC_A,
  CPU_CC_B,
  CPU_CC_KIND,
  CPU_CC_RES,
  CPU_CR0,
  CPU_CR4,
  CPU_GPR,
  CPU_XMM,
  CPU_XMM_STRIDE,
} from '../../abi/layout.ts'
import type { Ty } from '../../isa/emit.ts'

export const XMM_FIRST = 16
export const CC_KIND = 32
export const CC_A = 33
export const CC_B = 34
export const CC_RES = 35
export const CR0 = 36
export const CR4 = 37
export const AVX_GATE = 38
export const REGISTER_COUNT = 39

export const GPRS = 0xffffn
export const XMMS = 0xffff_0000n
export const CONTROLS = (1n << BigInt(CR0)) | (1n << BigInt(CR4)) | (1n << BigInt(AVX_GATE))

export const bit = (reg: number): bigint => BITS[reg] ?? 0n

const BITS = Array.from({ length: REGISTER_COUNT }, (_, reg) => 1n << BigInt(reg))

/** Numbers of a set. */
export function listed(set: bigint): number[] {
  const list: number[] = []
  // Numbers, not BigInts, where it is done for every exit of every region.
  for (let low = Number(BigInt.asUintN(32, set)); low !== 0; low = (low & (low - 1)) >>> 0)
    list.push(31 - Math.clz32(low & -low))
  for (let high = Number(set >> 32n); high !== 0; high &= high - 1) list.push(63 - Math.clz32(high & -high))
  return list
}

export function typeOf(reg: number): 'i32' | 'i64' | 'v128' {
  if (reg < XMM_FIRST) return 'i64'
  if (reg < CC_KIND) return 'v128'
  return reg === CC_KIND || reg >= CR0 ? 'i32' : 'i64'
}

/** Where the CPU struct keeps it. */
export function offsetOf(reg: number): number {
  if (reg < XMM_FIRST) return CPU_GPR + reg * 8
  if (reg < CC_KIND) return CPU_XMM + (reg - XMM_FIRST) * CPU_XMM_STRIDE
  if (reg < CR0) return [CPU_CC_KIND, CPU_CC_A, CPU_CC_B, CPU_CC_RES][reg - CC_KIND] ?? 0
  if (reg === CR0) return CPU_CR0
  if (reg === CR4) return CPU_CR4
  if (reg === AVX_GATE) return CPU_AVX_GATE
  throw new Error(`register ${reg} has no place in the CPU struct`)
}

/** The register that an access to the CPU struct means; -1: plain memory. */
export function registerAt(ty: Ty, offset: number): number {
  if (offset >= CPU_GPR && offset < CPU_GPR + 16 * 8) return offset >> 3
  if (offset >= CPU_XMM && offset < CPU_XMM + 16 * CPU_XMM_STRIDE) {
    const at = offset - CPU_XMM
    // the upper halves stay in memory
    return at % CPU_XMM_STRIDE < 16 ? XMM_FIRST + Math.floor(at / CPU_XMM_STRIDE) : -1
  }
  if (ty !== 'i32') return -1
  if (offset === CPU_CR0) return CR0
  if (offset === CPU_CR4) return CR4
  return offset === CPU_AVX_GATE ? AVX_GATE : -1
}

/** The byte of a register that an offset in the CPU struct means. */
export const byteAt = (reg: number, offset: number): number => offset - offsetOf(reg)
