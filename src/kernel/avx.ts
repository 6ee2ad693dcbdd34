/**
 * Masked and scattered memory of AVX and AVX2 (SDM Vol. 2, VMASKMOV, VPMASKMOV, VGATHERDPS and its kin). Elements whose mask
 * is clear are not touched: neither segment limit nor page may fault for them.
 *
 * shape: bits 0-7 bytes of an element, 8-15 how many, 16-23 bytes of an index, 24-31 shift count of an index.
 * segment: the record's seg byte.
 */
import { RECSEG_ASIZE_SHIFT } from '../abi/record.ts'
import { fault_pending } from './state.ts'
import { mem_load32, mem_load64, mem_probe, mem_store32, mem_store64 } from './mmu.ts'
import { seg_linear } from './segments.ts'

/** Registers are followed by zeros up to this many bytes. */
const YMM_BYTES: usize = 32

/** Linear address of an element; look for a fault. */
function locate(offset: u64, access: u32, segment: u32): u64 {
  const size = (segment >> RECSEG_ASIZE_SHIFT) & 3
  const mask: u64 = size == 2 ? ~(<u64>0) : size == 1 ? 0xffff_ffff : 0xffff
  return seg_linear(segment, offset & mask, access)
}

// @ts-ignore: AssemblyScript decorator
@inline
function selected(mask: usize, i: u32, bytes: u32): bool {
  return (load<u8>(mask + <usize>(i * bytes + bytes - 1)) & 0x80) != 0
}

/** Loads an element to `to`; false: a fault is pending. */
function loadElement(offset: u64, to: usize, bytes: u32, segment: u32): bool {
  const gva = locate(offset, bytes, segment)
  if (fault_pending()) return false
  if (bytes == 4) {
    const value = mem_load32(gva, segment)
    if (fault_pending()) return false
    store<u32>(to, value)
  } else {
    const value = mem_load64(gva, segment)
    if (fault_pending()) return false
    store<u64>(to, value)
  }
  return true
}

export function avx_mask_load(to: usize, mask: usize, offset: u64, shape: u32, segment: u32): void {
  const bytes = shape & 0xff
  const count = (shape >> 8) & 0xff
  memory.fill(to, 0, bytes * count)
  for (let i: u32 = 0; i < count; i++) {
    if (!selected(mask, i, bytes)) continue
    if (!loadElement(offset + i * bytes, to + <usize>(i * bytes), bytes, segment)) return
  }
}

/** Every element is checked before the first is stored. */
export function avx_mask_store(from: usize, mask: usize, offset: u64, shape: u32, segment: u32): void {
  const bytes = shape & 0xff
  const count = (shape >> 8) & 0xff
  for (let i: u32 = 0; i < count; i++) {
    if (!selected(mask, i, bytes)) continue
    const gva = locate(offset + i * bytes, bytes | 0x100, segment)
    if (fault_pending()) return
    mem_probe(gva, bytes, 1, segment)
    if (fault_pending()) return
  }
  for (let i: u32 = 0; i < count; i++) {
    if (!selected(mask, i, bytes)) continue
    const gva = locate(offset + i * bytes, bytes | 0x100, segment)
    const element = from + <usize>(i * bytes)
    if (bytes == 4) mem_store32(gva, load<u32>(element), segment)
    else mem_store64(gva, load<u64>(element), segment)
  }
}

/**
 * Elements are loaded from the lowest on, and the mask of each is cleared when it is done: after a fault the instruction goes
 * on where it stopped. `base` includes the displacement.
 */
export function avx_gather(to: usize, mask: usize, index: usize, base: u64, shape: u32, segment: u32): void {
  const bytes = shape & 0xff
  const count = (shape >> 8) & 0xff
  const wide = ((shape >> 16) & 0xff) == 8
  const scale = <u64>(shape >> 24)
  const size = <usize>(bytes * count)
  for (let i: u32 = 0; i < count; i++) {
    if (selected(mask, i, bytes)) {
      const number: u64 = wide ? load<u64>(index + <usize>(i << 3)) : <u64>(<i64>load<i32>(index + <usize>(i << 2)))
      if (!loadElement(base + (number << scale), to + <usize>(i * bytes), bytes, segment)) return
    }
    if (bytes == 4) store<u32>(mask + <usize>(i * bytes), 0)
    else store<u64>(mask + <usize>(i * bytes), 0)
  }
  memory.fill(mask + size, 0, YMM_BYTES - size)
  memory.fill(to + size, 0, YMM_BYTES - size)
}
