/**
 * MASKMOVQ and MASKMOVDQU (SDM Vol. 2): bytes whose mask byte has bit 7 set. The whole operand is checked
 * even when no bit is: what happens then is up to the implementation, and AMD's processors fault.
 */
import { fault_pending } from './state.ts'
import { mem_probe, mem_store8 } from './mmu.ts'

export function simd_masked_store(gva: u64, data: usize, mask: usize, bytes: u32, seg: u32): void {
  mem_probe(gva, bytes, 1, seg)
  if (fault_pending()) return
  for (let i: u32 = 0; i < bytes; i++) {
    if (!(load<u8>(mask + <usize>i) & 0x80)) continue
    mem_store8(gva + <u64>i, <u32>load<u8>(data + <usize>i), seg)
    if (fault_pending()) return
  }
}
