/**
 * The common case of REP MOVS and REP STOS: 64-bit code, upwards, within one page on each side, both pages in the TLB bank
 * in force. C libraries and kernels use REP MOVSB for the shortest copies where FSRM is announced. Everything else is in strings.ts.
 */
import {
  CPU_EFLAGS,
  CPU_MODE,
  CPU_RAX,
  CPU_RCX,
  CPU_RDI,
  CPU_RSI,
  CPU_SINGLE,
  MODE_CS64,
  MODE_CS_MASK,
  SEG_FS,
  TLB_READ,
  TLB_WRITE,
} from '../abi/layout.ts'
import { EFLAGS_DF } from './arch.ts'
import { cpu } from './state.ts'
import { tlb_hit } from './tlb.ts'

/** Bytes that all of the repetition moves, 0 if it is no such case. */
function plain_bytes(elementShift: u32, rep: u32, addressBytes: u32): u32 {
  if (rep == 0 || addressBytes != 8 || (load<u32>(cpu, CPU_MODE) & MODE_CS_MASK) != MODE_CS64) return 0
  if (load<u32>(cpu, CPU_EFLAGS) & EFLAGS_DF || load<u32>(cpu, CPU_SINGLE)) return 0
  const count = load<u64>(cpu, CPU_RCX)
  return count <= 0x1000 ? <u32>count << elementShift : 0
}

/** As memory.copy, which costs a call out of the engine's code: most copies of a kernel are short. */
export function copy(to: usize, from: usize, size: usize): void {
  if (size > 32 || size < 4) {
    if (size > 3) memory.copy(to, from, size)
    else for (let i: usize = 0; i < size; i++) store<u8>(to + i, load<u8>(from + i))
    return
  }
  // Both ends are read before anything is written: they may overlap each other and the source.
  if (size >= 16) {
    const a = load<u64>(from)
    const b = load<u64>(from, 8)
    const c = load<u64>(from + size - 16)
    const d = load<u64>(from + size - 8)
    store<u64>(to, a)
    store<u64>(to, b, 8)
    store<u64>(to + size - 16, c)
    store<u64>(to + size - 8, d)
  } else if (size >= 8) {
    const a = load<u64>(from)
    const b = load<u64>(from + size - 8)
    store<u64>(to, a)
    store<u64>(to + size - 8, b)
  } else {
    const a = load<u32>(from)
    const b = load<u32>(from + size - 4)
    store<u32>(to, a)
    store<u32>(to + size - 4, b)
  }
}

/** 8 bytes of elements of `value`. */
export function repeated(value: u64, bytes: u32): u64 {
  if (bytes == 1) return (value & 0xff) * 0x0101_0101_0101_0101
  if (bytes == 2) return (value & 0xffff) * 0x0001_0001_0001_0001
  if (bytes == 4) return (value & 0xffff_ffff) * 0x0000_0001_0000_0001
  return value
}

/** Stores elements of `bytes` bytes, 8 bytes of which are `value`. */
export function fill(to: usize, value: u64, bytes: u32, size: usize): void {
  if (size > 64 && value == repeated(value, 1)) {
    memory.fill(to, <u8>value, size)
    return
  }
  let i: usize = 0
  for (; i + 8 <= size; i += 8) store<u64>(to + i, value)
  for (; i < size; i += bytes) {
    if (bytes == 1) store<u8>(to + i, <u8>value)
    else if (bytes == 2) store<u16>(to + i, <u16>value)
    else store<u32>(to + i, <u32>value)
  }
}

/** REP MOVS; false: not plain, nothing was done. */
export function plain_movs(elementShift: u32, rep: u32, addressBytes: u32, segByte: u32): bool {
  const size = plain_bytes(elementShift, rep, addressBytes)
  if (size == 0 || (segByte & 7) >= <u32>SEG_FS) return false
  const si = load<u64>(cpu, CPU_RSI)
  const di = load<u64>(cpu, CPU_RDI)
  const from = tlb_hit(si, size, TLB_READ)
  if (from == 0) return false
  const to = tlb_hit(di, size, TLB_WRITE)
  if (to == 0 || (to > from && to < from + size)) return false
  copy(to, from, size)
  store<u64>(cpu, si + size, CPU_RSI)
  store<u64>(cpu, di + size, CPU_RDI)
  store<u64>(cpu, 0, CPU_RCX)
  return true
}

/** REP STOS; false: not plain, nothing was done. */
export function plain_stos(elementShift: u32, rep: u32, addressBytes: u32): bool {
  const size = plain_bytes(elementShift, rep, addressBytes)
  if (size == 0) return false
  const di = load<u64>(cpu, CPU_RDI)
  const to = tlb_hit(di, size, TLB_WRITE)
  if (to == 0) return false
  fill(to, repeated(load<u64>(cpu, CPU_RAX), <u32>1 << elementShift), <u32>1 << elementShift, size)
  store<u64>(cpu, di + size, CPU_RDI)
  store<u64>(cpu, 0, CPU_RCX)
  return true
}
