/**
 * The per-vCPU TLB: direct mapped, one entry per 4 KiB linear page, three banks that fill (supervisor, user,
 * supervisor with SMAP lifted) and one that never does (abi/layout.ts, TLB).
 *
 * A bitmap per bank and kind remembers which entries were filled, so that a flush touches only those: a CR3 write
 * costs what the last address space used, not 96 KiB of stores. "Local" and "global" follow the G bit; "large"
 * marks the 4 KiB pieces of larger pages, all of which one INVLPG has to drop.
 * PCID: switching to another PCID flushes the local entries as if bit 63 of CR3 were clear, which the SDM allows
 * (Vol. 3, "Operations that Invalidate TLBs"). A tagged TLB would select another set of banks here, in tlb_switch().
 */
import {
  CPU_TLB_BANKS,
  CPU_TLB_FILLED,
  TLB_BANK_COUNT,
  TLB_BANK_MISS,
  TLB_BANK_SIZE,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_EXEC,
  TLB_GFN,
  TLB_HOST,
  TLB_READ,
  TLB_WRITE,
} from '../abi/layout.ts'
import { cpu } from './state.ts'

const NEVER: u64 = 0xffff_ffff_ffff_ffff
const BITMAP_BYTES: usize = TLB_ENTRIES >> 3
const LOCAL: usize = 0
const GLOBAL: usize = 1
const LARGE: usize = 2
const KINDS: usize = 3

/** Linear range that large pages were filled for since the last full flush: most INVLPGs lie outside. */
let largeLow: u64 = NEVER
let largeHigh: u64 = 0

// @ts-ignore: AssemblyScript decorator
@inline
export function tlb_bank(bank: u32): usize {
  return <usize>load<u32>(cpu, CPU_TLB_BANKS) + <usize>bank * TLB_BANK_SIZE
}

// @ts-ignore: AssemblyScript decorator
@inline
export function tlb_entry(bank: u32, lin: u64): usize {
  return tlb_bank(bank) + ((<usize>(lin >> 12) & (TLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT)
}

// @ts-ignore: AssemblyScript decorator
@inline
function bitmap(bank: u32, kind: usize): usize {
  return cpu + CPU_TLB_FILLED + (<usize>bank * KINDS + kind) * BITMAP_BYTES
}

// @ts-ignore: AssemblyScript decorator
@inline
function kill(entry: usize): void {
  store<u64>(entry, NEVER, TLB_READ)
  store<u64>(entry, NEVER, TLB_WRITE)
  store<u64>(entry, NEVER, TLB_EXEC)
}

/** Enters a page; a tag is set for each access that needs no slow path. */
export function tlb_fill(
  bank: u32, lin: u64, host: u32, gfn: u32, read: bool, write: bool, exec: bool, global: bool, large: bool,
): void {
  const page = lin & ~0xfff
  const entry = tlb_entry(bank, lin)
  store<u32>(entry, host, TLB_HOST)
  store<u32>(entry, gfn, TLB_GFN)
  store<u64>(entry, read ? page : NEVER, TLB_READ)
  store<u64>(entry, write ? page : NEVER, TLB_WRITE)
  store<u64>(entry, exec ? page : NEVER, TLB_EXEC)
  const index = (<usize>(lin >> 12) & (TLB_ENTRIES - 1))
  const byte = index >> 3
  const bit = <u8>1 << <u8>(index & 7)
  const filled = bitmap(bank, global ? GLOBAL : LOCAL) + byte
  store<u8>(filled, load<u8>(filled) | bit)
  if (large) {
    const mark = bitmap(bank, LARGE) + byte
    store<u8>(mark, load<u8>(mark) | bit)
    if (page < largeLow) largeLow = page
    if (page > largeHigh) largeHigh = page
  }
}

function flush_kind(bank: u32, kind: usize): void {
  const bits = bitmap(bank, kind)
  const base = tlb_bank(bank)
  for (let word: usize = 0; word < BITMAP_BYTES; word += 8) {
    let left = load<u64>(bits + word)
    if (left == 0) continue
    store<u64>(bits + word, 0)
    while (left != 0) {
      kill(base + (((word << 3) + <usize>ctz(left)) << TLB_ENTRY_SHIFT))
      left &= left - 1
    }
  }
}

/** Drops everything, global pages too. */
export function tlb_flush_all(): void {
  for (let bank: u32 = 0; bank < <u32>TLB_BANK_MISS; bank++) {
    flush_kind(bank, LOCAL)
    flush_kind(bank, GLOBAL)
    memory.fill(bitmap(bank, LARGE), 0, BITMAP_BYTES)
  }
  largeLow = NEVER
  largeHigh = 0
}

/** Drops all but global pages: MOV to CR3, task switch. */
export function tlb_flush_local(): void {
  for (let bank: u32 = 0; bank < <u32>TLB_BANK_MISS; bank++) flush_kind(bank, LOCAL)
}

/** The address space changes to CR3's; keep = bit 63 of a MOV to CR3 under PCID. */
export function tlb_switch(_keep: bool): void {
  tlb_flush_local()
}

/** Drops the translation of a page, whatever its size was. */
export function tlb_flush_page(lin: u64): void {
  for (let bank: u32 = 0; bank < <u32>TLB_BANK_MISS; bank++) kill(tlb_entry(bank, lin))
  // A 1 GiB page may have left pieces anywhere within 1 GiB; smaller sizes are covered by that.
  if (lin >> 30 < largeLow >> 30 || lin >> 30 > largeHigh >> 30) return
  for (let bank: u32 = 0; bank < <u32>TLB_BANK_MISS; bank++) {
    const base = tlb_bank(bank)
    const bits = bitmap(bank, LARGE)
    for (let word: usize = 0; word < BITMAP_BYTES; word += 8) {
      let left = load<u64>(bits + word)
      while (left != 0) {
        const entry = base + (((word << 3) + <usize>ctz(left)) << TLB_ENTRY_SHIFT)
        const read = load<u64>(entry, TLB_READ)
        const page = read != NEVER ? read : load<u64>(entry, TLB_EXEC)
        if (page >> 30 == lin >> 30) kill(entry)
        left &= left - 1
      }
    }
  }
}

/** Takes the write permission of every entry that maps the frame at this address: it now holds decoded code, say. */
export function tlb_protect(host: u32): void {
  for (let bank: u32 = 0; bank < <u32>TLB_BANK_MISS; bank++) {
    const base = tlb_bank(bank)
    for (let i: usize = 0; i < <usize>TLB_ENTRIES; i++) {
      const entry = base + (i << TLB_ENTRY_SHIFT)
      if (load<u32>(entry, TLB_HOST) == host) store<u64>(entry, NEVER, TLB_WRITE)
    }
  }
}

/** First state of the banks: memory that was never written holds zeros, which would match page 0. */
export function tlb_init(): void {
  const base = tlb_bank(0)
  for (let i: usize = 0; i < <usize>(TLB_BANK_COUNT * TLB_ENTRIES); i++) kill(base + (i << TLB_ENTRY_SHIFT))
  memory.fill(bitmap(0, LOCAL), 0, <usize>TLB_BANK_MISS * KINDS * BITMAP_BYTES)
  largeLow = NEVER
  largeHigh = 0
}
