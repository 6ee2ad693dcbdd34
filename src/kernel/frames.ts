/**
 * The frame pool and the frame map, as kernel code sees them: guest page -> entry -> address in shared memory.
 * RAM gets its frame at the first touch, zeroed. Entries change by compare-and-swap only: vCPUs, the hub and the
 * page deduper all write them. src/memory is the same protocol in TypeScript.
 */
import {
  CPU_FAULT,
  CPU_TLB_BANKS,
  FAULT_VALID,
  FRAME_CODE,
  FRAME_DIRTY_LOG,
  FRAME_NUMBER_MASK,
  FRAME_PRESENT,
  FRAME_RAM,
  FRAME_READONLY,
  FRAME_SHARED,
  PAGE_SIZE,
  POOL_EXHAUSTED,
  POOL_FRAME_LIMIT,
  POOL_FRAME_NEXT,
  POOL_FREE_COUNT,
  POOL_FREE_HEAD,
  POOL_LOCK,
  REQ_TLB,
  VM_A20_MASK,
  VM_DIRTY_CONSUMERS,
  VM_DIRTY_LOGS,
  DIRTY_LOG_BITMAP,
  DIRTY_LOG_COUNT,
  DIRTY_LOG_FIRST,
  DIRTY_LOG_STRIDE,
  VM_FRAME_MAP,
  VM_GFN_COUNT,
  VM_VCPU_COUNT,
} from '../abi/layout.ts'
import { VECTOR_OUT_OF_MEMORY } from './arch.ts'
import { code_write } from './code-cache.ts'
import { cpu, cpu_at, cpu_request, lock, unlock, vm } from './state.ts'
import { tlb_flush_all } from './tlb.ts'

/** Takes a zeroed frame from the pool; 0 when it is empty (POOL_EXHAUSTED is then set). */
export function frame_alloc(): u32 {
  lock(POOL_LOCK)
  const head = load<u32>(POOL_FREE_HEAD)
  if (head != 0) {
    store<u32>(POOL_FREE_HEAD, load<u32>(<usize>head << 12))
    store<u32>(POOL_FREE_COUNT, load<u32>(POOL_FREE_COUNT) - 1)
    unlock(POOL_LOCK)
    memory.fill(<usize>head << 12, 0, PAGE_SIZE)
    return head
  }
  const next = load<u32>(POOL_FRAME_NEXT)
  if (next >= load<u32>(POOL_FRAME_LIMIT)) {
    store<u32>(POOL_EXHAUSTED, 1)
    unlock(POOL_LOCK)
    return 0
  }
  store<u32>(POOL_FRAME_NEXT, next + 1)
  unlock(POOL_LOCK)
  return next // never used before, so still the zeros of a fresh memory
}

/** Gives a frame back; nobody may hold a TLB entry of it any more. */
export function frame_free(frame: u32): void {
  lock(POOL_LOCK)
  store<u32>(<usize>frame << 12, load<u32>(POOL_FREE_HEAD))
  store<u32>(POOL_FREE_HEAD, frame)
  store<u32>(POOL_FREE_COUNT, load<u32>(POOL_FREE_COUNT) + 1)
  unlock(POOL_LOCK)
}

// @ts-ignore: AssemblyScript decorator
@inline
export function frame_slot(gfn: u32): usize {
  return <usize>load<u32>(vm, VM_FRAME_MAP) + (<usize>gfn << 2)
}

/** A guest-physical address after the A20 gate. */
// @ts-ignore: AssemblyScript decorator
@inline
export function a20(gpa: u64): u64 {
  return gpa & (0xffff_ffff_0000_0000 | <u64>load<u32>(vm, VM_A20_MASK))
}

function out_of_memory(): void {
  if (cpu != 0) store<u32>(cpu, <u32>FAULT_VALID | VECTOR_OUT_OF_MEMORY, CPU_FAULT)
}

/** Entry of a guest page with its frame present; 0 if no RAM is there, or (fault pending) the pool is empty. */
export function frame_touch(gfn: u64): u32 {
  if (gfn >= <u64>load<u32>(vm, VM_GFN_COUNT)) return 0
  const slot = frame_slot(<u32>gfn)
  let entry = atomic.load<u32>(slot)
  if (entry & <u32>FRAME_PRESENT) return entry
  if (!(entry & <u32>FRAME_RAM)) return 0
  const frame = frame_alloc()
  if (frame == 0) {
    out_of_memory()
    return 0
  }
  while (true) {
    const wanted = (entry & ~(<u32>FRAME_NUMBER_MASK)) | <u32>FRAME_PRESENT | frame
    const seen = atomic.cmpxchg<u32>(slot, entry, wanted)
    if (seen == entry) return wanted
    entry = seen
    if (entry & <u32>FRAME_PRESENT || !(entry & <u32>FRAME_RAM)) {
      frame_free(frame)
      return entry & <u32>FRAME_PRESENT ? entry : 0
    }
  }
}

/** Sets the page's bit in the bitmap of every consumer that watches it. */
export function dirty_mark(gfn: u32): void {
  for (let i: usize = 0; i < <usize>VM_DIRTY_CONSUMERS; i++) {
    const log = vm + VM_DIRTY_LOGS + i * DIRTY_LOG_STRIDE
    const bitmap = atomic.load<u32>(log + DIRTY_LOG_BITMAP)
    const bit = gfn - load<u32>(log, DIRTY_LOG_FIRST)
    if (bitmap != 0 && bit < load<u32>(log, DIRTY_LOG_COUNT)) {
      atomic.or<u32>(<usize>bitmap + ((<usize>bit >> 5) << 2), 1 << (bit & 31))
    }
  }
}

/**
 * Makes a present page ready to be written: ends sharing (copy on write) and logs it dirty. Returns the new entry,
 * 0 with a fault pending if the pool is empty. READONLY and CODE are the caller's business.
 */
export function frame_unprotect(gfn: u32): u32 {
  const slot = frame_slot(gfn)
  let entry = atomic.load<u32>(slot)
  while (entry & <u32>FRAME_SHARED) {
    const frame = frame_alloc()
    if (frame == 0) {
      out_of_memory()
      return 0
    }
    memory.copy(<usize>frame << 12, <usize>(entry & FRAME_NUMBER_MASK) << 12, PAGE_SIZE)
    const wanted = (entry & ~(<u32>FRAME_NUMBER_MASK | <u32>FRAME_SHARED)) | frame
    const seen = atomic.cmpxchg<u32>(slot, entry, wanted)
    if (seen == entry) {
      // The shared frame stays with the deduper. TLBs still map it for reading; the own one may in another bank.
      flush_everywhere()
      if (cpu != 0) tlb_flush_all()
      entry = wanted
      break
    }
    frame_free(frame)
    entry = seen
  }
  if (entry & <u32>FRAME_DIRTY_LOG) {
    // Bit first, flag second: whoever sees the flag clear must find the bit set.
    dirty_mark(gfn)
    atomic.and<u32>(slot, ~(<u32>FRAME_DIRTY_LOG))
    entry &= ~(<u32>FRAME_DIRTY_LOG)
  }
  return entry
}

/** Asks every vCPU, this one included, to drop its TLB before its next instruction. */
export function flush_everywhere(): void {
  const count = load<u32>(vm, VM_VCPU_COUNT)
  for (let i: u32 = 0; i < count; i++) {
    const target = cpu_at(i)
    if (target != 0 && load<u32>(target, CPU_TLB_BANKS) != 0) cpu_request(target, REQ_TLB)
  }
}

/**
 * Address of the frame of a guest page, for bus masters (no A20 gate): 0 as for gpa_host(). With write, the page is made
 * private, logged dirty and its decoded code dropped.
 */
export function gfn_frame(gfn: u32, write: bool): u32 {
  let entry = frame_touch(gfn)
  if (entry == 0) return 0
  if (write && entry & (FRAME_READONLY | FRAME_SHARED | FRAME_DIRTY_LOG | FRAME_CODE)) {
    if (entry & FRAME_READONLY) return 0
    if (entry & FRAME_CODE) code_write(gfn)
    entry = frame_unprotect(gfn)
    if (entry == 0) return 0
  }
  return (entry & FRAME_NUMBER_MASK) << 12
}

/**
 * Address in shared memory of a guest-physical address, for kernel code that reads or writes guest structures;
 * 0 = not RAM (or read-only and write asked, or the pool is empty). Good to the end of the 4 KiB page.
 * With write, dirty logs are marked and decoded code of the page is dropped.
 */
export function gpa_host(gpa: u64, write: bool): usize {
  const address = a20(gpa)
  if (address >> 12 >= <u64>load<u32>(vm, VM_GFN_COUNT)) return 0
  const frame = gfn_frame(<u32>(address >> 12), write)
  return frame == 0 ? 0 : <usize>frame + (<usize>address & 0xfff)
}
