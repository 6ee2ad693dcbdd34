/**
 * Read-modify-write operands whose fast path did not match: where generated code may operate on them, and what has to
 * happen when it is done. LOCK on an aligned operand in plain RAM is a Wasm atomic on the frame itself.
 */
import { CPU_BOUNCE, CPU_RMW_ADDR, VM_LOCK_SPLIT } from '../abi/layout.ts'
import { ACC_WRITE, VECTOR_RETRY } from './arch.ts'
import { code_store } from './code-cache.ts'
import {
  lin_copy_in,
  lin_copy_out,
  lin_probe,
  own_access,
  page,
  PAGE_FAULT,
  page_code,
  page_gfn,
  page_kind,
  permit,
} from './mmu.ts'
import { cpu, lock, raise, unlock, vm } from './state.ts'

// Read-modify-write in progress: what mem_rmw_end() has to do.
const RMW_DIRECT: u32 = 0 // the frame itself
const RMW_CODE: u32 = 1 // the frame itself, then code_store()
const RMW_COPY: u32 = 2 // through the bounce buffer
const RMW_SPLIT: u32 = 4 // with the split lock held
const RMW_WORD: u32 = 8 // compare-and-swap of the aligned word around it
let rmwKind: u32 = RMW_DIRECT
let rmwLin: u64 = 0
let rmwBytes: u32 = 0
let rmwWord: usize = 0
let rmwOld: u64 = 0
let rmwGfn: u32 = 0

/**
 * Where to operate on an operand of 1, 2, 4, 8 or 16 bytes. A misaligned LOCK operand cannot be a Wasm atomic: if it fits
 * an aligned 8-byte word, end() swaps that word and starts the instruction over when it lost a race; if it does not,
 * it is written under a lock that other split operations take (SDM Vol. 3, "Bus Locking", has bus-wide atomicity;
 * a split operation racing an aligned one of another vCPU is the one case that is not atomic here).
 */
export function mem_rmw_begin(gva: u64, bytesAndLock: u32, seg: u32): u32 {
  const bytes = bytesAndLock & 0xff
  const locked = (bytesAndLock & 0x100) != 0
  rmwKind = RMW_DIRECT
  rmwLin = gva
  rmwBytes = bytes
  store<u32>(cpu, 0, CPU_RMW_ADDR)
  if (!permit(gva, bytes, seg, true)) return 0
  const acc = own_access() | ACC_WRITE
  const bounce = <u32>(cpu + CPU_BOUNCE)
  const offset = <u32>gva & 0xfff
  if (offset + bytes <= 0x1000) {
    const host = page(gva, acc)
    if (page_kind == PAGE_FAULT) return 0
    if (host) {
      rmwGfn = page_gfn
      if (page_code) rmwKind = RMW_CODE
      if (!locked || (offset & (bytes - 1)) == 0) {
        store<u32>(cpu, rmwKind, CPU_RMW_ADDR)
        return <u32>host
      }
      if ((offset & 7) + bytes <= 8) {
        rmwKind |= RMW_WORD
        rmwWord = host & ~7
        rmwOld = atomic.load<u64>(rmwWord)
        store<u64>(bounce, rmwOld >> ((<u64>offset & 7) << 3))
        store<u32>(cpu, rmwKind, CPU_RMW_ADDR)
        return bounce
      }
    }
  }
  // Page-crossing, device, ROM or a split lock. Everything that can fault does so before the lock is taken.
  if (!lin_probe(gva, bytes, acc)) return 0
  rmwKind = RMW_COPY
  if (locked) {
    rmwKind |= RMW_SPLIT
    lock(vm + VM_LOCK_SPLIT)
  }
  if (!lin_copy_in(gva, bounce, bytes, own_access())) {
    if (locked) unlock(vm + VM_LOCK_SPLIT)
    return 0
  }
  store<u32>(cpu, rmwKind, CPU_RMW_ADDR)
  return bounce
}

export function mem_rmw_end(): void {
  const kind = rmwKind
  const bounce = cpu + CPU_BOUNCE
  rmwKind = RMW_DIRECT
  store<u32>(cpu, 0, CPU_RMW_ADDR)
  if (kind & RMW_WORD) {
    const shift = (rmwLin & 7) << 3
    const mask = ((<u64>1 << (<u64>rmwBytes << 3)) - 1) << shift
    const wanted = (rmwOld & ~mask) | ((load<u64>(bounce) << shift) & mask)
    if (atomic.cmpxchg<u64>(rmwWord, rmwOld, wanted) != rmwOld) {
      raise(VECTOR_RETRY)
      return
    }
  } else if (kind & RMW_COPY) {
    lin_copy_out(rmwLin, bounce, rmwBytes, own_access())
    if (kind & RMW_SPLIT) unlock(vm + VM_LOCK_SPLIT)
  }
  if (kind & RMW_CODE) code_store(rmwGfn, <u32>rmwLin & 0xfff, (<u32>rmwLin & 0xfff) + rmwBytes - 1)
}
