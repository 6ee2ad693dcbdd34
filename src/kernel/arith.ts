/** Arithmetic wider than a Wasm operator: 128/64 division, PDEP, PEXT, CRC32C, CMPXCHG16B. */
import { CPU_RAX, CPU_RBX, CPU_RCX, CPU_RDX, VM_LOCK_SPLIT } from '../abi/layout.ts'
import { mem_rmw_begin, mem_rmw_end, swap_pair } from './rmw.ts'
import { cpu, lock, raise, raise_error, unlock, VECTOR_DE, VECTOR_GP, vm } from './state.ts'

let quotient: u64 = 0
let remainder: u64 = 0

/**
 * (high:low) / divisor with high < divisor, by two 32-bit digits of the normalised divisor (Knuth, TAOCP Vol. 2,
 * algorithm D). The results are left in `quotient` and `remainder`.
 */
function divide(high: u64, low: u64, divisor: u64): void {
  if (high == 0) {
    quotient = low / divisor
    remainder = low - quotient * divisor
    return
  }
  const shift = clz(divisor)
  const d = divisor << shift
  const dHigh = d >> 32
  const dLow = d & 0xffff_ffff
  const n = shift ? (high << shift) | (low >> (64 - shift)) : high
  const rest = low << shift
  const q1 = digit(n, rest >> 32, dHigh, dLow)
  const partial = ((n << 32) | (rest >> 32)) - q1 * d
  const q0 = digit(partial, rest & 0xffff_ffff, dHigh, dLow)
  quotient = (q1 << 32) + q0
  remainder = (((partial << 32) | (rest & 0xffff_ffff)) - q0 * d) >> shift
}

/** One quotient digit: the estimate from the upper 32 bits of the divisor is at most two too large. */
function digit(n: u64, next: u64, dHigh: u64, dLow: u64): u64 {
  let q = n / dHigh
  let r = n - q * dHigh
  while (q >> 32 != 0 || q * dLow > ((r << 32) | next)) {
    q--
    r += dHigh
    if (r >> 32 != 0) break
  }
  return q
}

export function div64(divisor: u64): void {
  const high = load<u64>(cpu, CPU_RDX)
  if (high >= divisor) {
    raise(VECTOR_DE) // zero divisor included
    return
  }
  divide(high, load<u64>(cpu, CPU_RAX), divisor)
  store<u64>(cpu, quotient, CPU_RAX)
  store<u64>(cpu, remainder, CPU_RDX)
}

export function idiv64(divisor: i64): void {
  let high = load<u64>(cpu, CPU_RDX)
  let low = load<u64>(cpu, CPU_RAX)
  const negative = <i64>high < 0
  if (negative) {
    low = 0 - low
    high = ~high + (low == 0 ? 1 : 0)
  }
  const magnitude: u64 = divisor < 0 ? 0 - <u64>divisor : <u64>divisor
  if (high >= magnitude) {
    raise(VECTOR_DE)
    return
  }
  divide(high, low, magnitude)
  const minus = negative != divisor < 0
  if (quotient > (minus ? <u64>0x8000_0000_0000_0000 : <u64>0x7fff_ffff_ffff_ffff)) {
    raise(VECTOR_DE)
    return
  }
  store<u64>(cpu, minus ? 0 - quotient : quotient, CPU_RAX)
  store<u64>(cpu, negative ? 0 - remainder : remainder, CPU_RDX)
}

/** Low bits of the source go to the places of the mask's ones. */
export function pdep64(source: u64, mask: u64): u64 {
  let result: u64 = 0
  while (mask != 0) {
    const lowest = mask & (0 - mask)
    if (source & 1) result |= lowest
    source >>= 1
    mask ^= lowest
  }
  return result
}

/** Bits of the source at the mask's ones, packed. */
export function pext64(source: u64, mask: u64): u64 {
  let result: u64 = 0
  let bit: u64 = 1
  while (mask != 0) {
    const lowest = mask & (0 - mask)
    if (source & lowest) result |= bit
    bit <<= 1
    mask ^= lowest
  }
  return result
}

/** Remainders of the nibbles 0-15 modulo the bit-reflected CRC-32C polynomial 82F63B78h (SDM Vol. 2, CRC32). */
// prettier-ignore
const CRC_NIBBLE = memory.data<u32>([
  0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
  0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
])

export function crc32c(crc: u32, data: u64, bytes: u32): u32 {
  for (let i: u32 = 0; i < bytes; i++) {
    crc ^= <u32>data & 0xff
    data >>= 8
    crc = (crc >> 4) ^ load<u32>(CRC_NIBBLE + ((crc & 15) << 2))
    crc = (crc >> 4) ^ load<u32>(CRC_NIBBLE + ((crc & 15) << 2))
  }
  return crc
}

/**
 * Compares 16 bytes with RDX:RAX; equal: stores RCX:RBX, else loads RDX:RAX. Returns ZF. Atomic against other
 * CMPXCHG16B; a plain access of another vCPU can see the two halves at different moments, as the memory has no
 * 16-byte atomics.
 */
export function cmpxchg16b(gva: u64, segByte: u32): u32 {
  if (gva & 15) {
    raise_error(VECTOR_GP, 0)
    return 0
  }
  const at: usize = mem_rmw_begin(gva, 16, segByte)
  if (at == 0) return 0
  lock(vm + VM_LOCK_SPLIT)
  let low: u64
  let high: u64
  let equal: bool
  do {
    low = atomic.load<u64>(at)
    high = atomic.load<u64>(at, 8)
    equal = low == load<u64>(cpu, CPU_RAX) && high == load<u64>(cpu, CPU_RDX)
  } while (equal && !swap_pair(at, low, load<u64>(cpu, CPU_RBX), at + 8, high, load<u64>(cpu, CPU_RCX), 0))
  unlock(vm + VM_LOCK_SPLIT)
  mem_rmw_end()
  if (!equal) {
    store<u64>(cpu, low, CPU_RAX)
    store<u64>(cpu, high, CPU_RDX)
  }
  return equal ? 1 : 0
}
