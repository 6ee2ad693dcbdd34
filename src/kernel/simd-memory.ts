/** MASKMOVQ and MASKMOVDQU (SDM Vol. 2): bytes whose mask byte has bit 7 set; with no such byte nothing is touched. */
import { fault_pending } from './state.ts'
import { mem_probe, mem_store8 } from './mmu.ts'

export function simd_masked_store(gva: u64, data: usize, mask: usize, bytes: u32, seg: u32): void {
  const chosen = (bytes == 8 ? load<u64>(mask) : load<u64>(mask) | load<u64>(mask, 8)) & 0x8080_8080_8080_8080
  if (chosen == 0) return
  mem_probe(gva, bytes, 1, seg)
  if (fault_pending()) return
  for (let i: u32 = 0; i < bytes; i++) {
    if (!(load<u8>(mask + <usize>i) & 0x80)) continue
    mem_store8(gva + <u64>i, <u32>load<u8>(data + <usize>i), seg)
    if (fault_pending()) return
  }
}
