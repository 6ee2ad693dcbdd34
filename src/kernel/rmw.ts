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
  next_page,
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
const RMW_PAIR: u32 = 16 // compare-and-swap of two aligned words, with the split lock held
let rmwKind: u32 = RMW_DIRECT
let rmwLin: u64 = 0
let rmwBytes: u32 = 0
let rmwWord: usize = 0
let rmwOld: u64 = 0
let rmwGfn: u32 = 0
// RMW_PAIR: the upper word, and where it lies if it holds decoded code.
let pairWord: usize = 0
let pairOld: u64 = 0
let pairCode: bool = false
let pairGfn: u32 = 0

/**
 * Where to operate on an operand of 1, 2, 4, 8 or 16 bytes. A misaligned LOCK operand cannot be a Wasm atomic: if it fits
 * an aligned 8-byte word, end() swaps that word and starts the instruction over when it lost a race; if it lies in two,
 * end() swaps one after the other under a lock that all such operations take (SDM Vol. 3, "Bus Locking").
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
  const host = page(gva, acc)
  if (page_kind == PAGE_FAULT) return 0
  if (host) {
    rmwGfn = page_gfn
    if (page_code) rmwKind = RMW_CODE
    if (offset + bytes <= 0x1000 && (!locked || (offset & (bytes - 1)) == 0)) {
      store<u32>(cpu, rmwKind, CPU_RMW_ADDR)
      return <u32>host
    }
    if (locked && (offset & 7) + bytes <= 8) {
      rmwKind |= RMW_WORD
      rmwWord = host & ~7
      rmwOld = atomic.load<u64>(rmwWord)
      store<u64>(bounce, rmwOld >> ((<u64>offset & 7) << 3))
      store<u32>(cpu, rmwKind, CPU_RMW_ADDR)
      return bounce
    }
    if (locked && bytes <= 8) {
      const pair = begin_pair(host, acc)
      if (pair || page_kind == PAGE_FAULT) return pair
    }
  }
  // Page-crossing, device or ROM. Everything that can fault does so before the lock is taken.
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

/** A LOCK operand in two aligned words of RAM; 0: a fault is pending (page_kind says so), or the second part is no RAM. */
function begin_pair(host: usize, acc: u32): u32 {
  rmwWord = host & ~7
  pairWord = rmwWord + 8
  pairCode = false
  if ((pairWord & 0xfff) == 0) {
    pairWord = page(next_page(rmwLin), acc)
    if (pairWord == 0) return 0
    pairCode = page_code
    pairGfn = page_gfn
  }
  lock(vm + VM_LOCK_SPLIT)
  rmwKind |= RMW_PAIR
  rmwOld = atomic.load<u64>(rmwWord)
  pairOld = atomic.load<u64>(pairWord)
  const shift = (rmwLin & 7) << 3
  store<u64>(cpu + CPU_BOUNCE, (rmwOld >> shift) | (pairOld << (64 - shift)))
  store<u32>(cpu, rmwKind, CPU_RMW_ADDR)
  return <u32>(cpu + CPU_BOUNCE)
}

/**
 * Two words from old to new ones, with the split lock held. False: another vCPU changed one of them, nothing was done.
 * There is no 16-byte atomic operation, so between the two swaps others can see one word new and one old; and if the
 * second word changes in that moment, and then the first one too, that second change is lost under keep's complement.
 */
export function swap_pair(low: usize, lowOld: u64, lowNew: u64, high: usize, highOld: u64, highNew: u64, keep: u64): bool {
  if (atomic.cmpxchg<u64>(low, lowOld, lowNew) != lowOld) return false
  if (atomic.cmpxchg<u64>(high, highOld, highNew) == highOld) return true
  if (atomic.cmpxchg<u64>(low, lowNew, lowOld) == lowNew) return false
  let seen = atomic.load<u64>(high)
  while (true) {
    const found = atomic.cmpxchg<u64>(high, seen, (seen & keep) | (highNew & ~keep))
    if (found == seen) return true
    seen = found
  }
}

/** False: it starts over. */
function end_pair(): bool {
  const shift = (rmwLin & 7) << 3
  const mask = rmwBytes == 8 ? ~(<u64>0) : (<u64>1 << (<u64>rmwBytes << 3)) - 1
  const value = load<u64>(cpu + CPU_BOUNCE) & mask
  const lowNew = (rmwOld & ~(mask << shift)) | (value << shift)
  const keep = ~(mask >> (64 - shift))
  const highNew = (pairOld & keep) | (value >> (64 - shift))
  const done = swap_pair(rmwWord, rmwOld, lowNew, pairWord, pairOld, highNew, keep)
  unlock(vm + VM_LOCK_SPLIT)
  if (!done) raise(VECTOR_RETRY)
  return done
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
  } else if (kind & RMW_PAIR) {
    if (!end_pair()) return
    const last = (<u32>rmwLin & 0xfff) + rmwBytes - 1
    if (pairCode) code_store(pairGfn, 0, last & 0xfff)
    if (kind & RMW_CODE) code_store(rmwGfn, <u32>rmwLin & 0xfff, min<u32>(last, 0xfff))
    return
  } else if (kind & RMW_COPY) {
    lin_copy_out(rmwLin, bounce, rmwBytes, own_access())
    if (kind & RMW_SPLIT) unlock(vm + VM_LOCK_SPLIT)
    return
  }
  if (kind & RMW_CODE) code_store(rmwGfn, <u32>rmwLin & 0xfff, (<u32>rmwLin & 0xfff) + rmwBytes - 1)
}
