/**
 * The per-vCPU TLB: direct mapped, one entry per 4 KiB linear page, in slots of three banks (abi/layout.ts, TLB). A slot
 * holds one PCID, so that a change of address space empties nothing: MOV to CR3 selects another slot. The least
 * recently used one is taken for a PCID that has none. Without PCID there is one slot, that of PCID 0.
 *
 * Bitmaps per slot, bank and kind, each with a summary word, remember which entries were filled, so that a flush
 * touches only those. "Local" and "global" follow the G bit; "large" marks the 4 KiB pieces of larger pages, all of
 * which one INVLPG has to drop; "writable" those with a write tag, which is what tlb_protect() looks for.
 *
 * Slots that are not in force are flushed when they are selected (META_PENDING): until then nobody looks into them.
 *
 * The paging-structure cache (SDM Vol. 3, "Paging-Structure Caches") holds the tables that a walk found for the upper
 * bits of an address. Its keys contain the generation of the slot; a new generation is how a slot loses its entries.
 *
 * Invalidations follow SDM Vol. 3, "Operations that Invalidate TLBs and Paging-Structure Caches"; dropping more than
 * asked is always allowed.
 */
import {
  CPU_STACK_PAGE,
  CPU_TLB,
  CPU_TLB_BANKS,
  CPU_TLB_GENERATION,
  CPU_TLB_GLOBALS,
  CPU_TLB_LAST_GENERATION,
  CPU_TLB_META,
  CPU_TLB_SLOT,
  CPU_TLB_STAMP,
  CPU_TLB_USED,
  TLB_BANK_SIZE,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_EXEC,
  TLB_GFN,
  TLB_HOST,
  TLB_META,
  TLB_META_SIZE,
  TLB_MISS,
  TLB_READ,
  TLB_SLOTS,
  TLB_SLOT_BANKS,
  TLB_SLOT_SIZE,
  TLB_WALKS,
  TLB_WALK_ENTRIES,
  TLB_WRITE,
} from '../abi/layout.ts'
import { cpu } from './state.ts'
import { victims_drop, victims_keep, victims_take } from './tlb-victims.ts'
import { writers_clear, writers_enter, writers_protect, writers_recheck } from './tlb-writers.ts'

const NEVER: u64 = 0xffff_ffff_ffff_ffff
const BANKS: u32 = TLB_SLOT_BANKS
const BITMAP_BYTES: usize = TLB_ENTRIES >> 3
const LOCAL: u32 = 0
const GLOBAL: u32 = 1
const LARGE: u32 = 2
const WRITABLE: u32 = 3
const KINDS: u32 = 4

// What is known of a slot (TLB_META_SIZE bytes)
const META_PCID: usize = 0 // u32
const META_PENDING: usize = 4 // u32 PENDING_*: what to flush when it is selected
const META_STAMP: usize = 8 // u32 CPU_TLB_STAMP when it was selected last
const META_GENERATION: usize = 16 // u64, as CPU_TLB_GENERATION
const META_REGIONS: usize = 24 // u64, bit (lin >> 30) & 63: pieces of large pages were entered for this GiB
const META_SUMMARY: usize = 32 // u64 per bank and kind: which words of the bitmap are not 0
const META_BITMAPS: usize = 128 // then the bitmaps, BITMAP_BYTES each

const PENDING_NONE: u32 = 0
const PENDING_LOCAL: u32 = 1
const PENDING_ALL: u32 = 2
/** Bits of a paging-structure cache key below the generation. */
const GENERATION_STEP: u64 = 1 << 28

// --- addresses -------------------------------------------------------------------------------------------------------

// @ts-ignore: AssemblyScript decorator
@inline
export function tlb_bank(bank: u32): usize {
  return <usize>load<u32>(cpu, CPU_TLB_SLOT) + <usize>bank * TLB_BANK_SIZE
}

/** Address of the bank that never fills. */
// @ts-ignore: AssemblyScript decorator
@inline
export function tlb_missing(): u32 {
  return load<u32>(cpu, CPU_TLB_BANKS) + TLB_MISS
}

/** Generated code goes the slow way at every access. */
// @ts-ignore: AssemblyScript decorator
@inline
export function tlb_never_hits(): bool {
  return load<u32>(cpu, CPU_TLB) == tlb_missing()
}

// @ts-ignore: AssemblyScript decorator
@inline
export function tlb_entry(bank: u32, lin: u64): usize {
  return tlb_bank(bank) + ((<usize>(lin >> 12) & (TLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT)
}

/** Address of [lin, lin + size) in shared memory if the bank in force has the tag (TLB_READ, TLB_WRITE) for it, else 0. */
// @ts-ignore: AssemblyScript decorator
@inline
export function tlb_hit(lin: u64, size: u32, tag: usize): usize {
  if ((<u32>lin & 0xfff) + size > 0x1000) return 0
  const entry: usize = load<u32>(cpu, CPU_TLB) + ((<usize>(lin >> 12) & (TLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT)
  if (load<u64>(entry + tag) != (lin & ~0xfff)) return 0
  return <usize>load<u32>(entry, TLB_HOST) + <usize>lin
}

// @ts-ignore: AssemblyScript decorator
@inline
function meta_of(slot: u32): usize {
  return <usize>load<u32>(cpu, CPU_TLB_BANKS) + TLB_META + <usize>slot * TLB_META_SIZE
}

// @ts-ignore: AssemblyScript decorator
@inline
function slot_of(slot: u32): usize {
  return <usize>load<u32>(cpu, CPU_TLB_BANKS) + <usize>slot * TLB_SLOT_SIZE
}

// @ts-ignore: AssemblyScript decorator
@inline
function summary(meta: usize, bank: u32, kind: u32): usize {
  return meta + META_SUMMARY + ((<usize>bank * KINDS + kind) << 3)
}

// @ts-ignore: AssemblyScript decorator
@inline
function bitmap(meta: usize, bank: u32, kind: u32): usize {
  return meta + META_BITMAPS + (<usize>bank * KINDS + kind) * BITMAP_BYTES
}

// --- filling ---------------------------------------------------------------------------------------------------------

/** Compiled code looks its stack up anew. */
// @ts-ignore: AssemblyScript decorator
@inline
export function stack_forget(): void {
  store<u64>(cpu, NEVER, CPU_STACK_PAGE)
}

// @ts-ignore: AssemblyScript decorator
@inline
function kill(entry: usize): void {
  store<u64>(entry, NEVER, TLB_READ)
  store<u64>(entry, NEVER, TLB_WRITE)
  store<u64>(entry, NEVER, TLB_EXEC)
}

// @ts-ignore: AssemblyScript decorator
@inline
function mark(meta: usize, bank: u32, kind: u32, index: u32): void {
  const at = bitmap(meta, bank, kind) + (<usize>(index >> 6) << 3)
  const bits = load<u64>(at)
  const bit = <u64>1 << <u64>(index & 63)
  if (bits & bit) return
  store<u64>(at, bits | bit)
  const words = summary(meta, bank, kind)
  store<u64>(words, load<u64>(words) | (<u64>1 << <u64>(index >> 6)))
}

/** Enters a page in the slot in force; a tag is set for each access that needs no slow path. */
export function tlb_fill(
  bank: u32, lin: u64, host: u32, gfn: u32, read: bool, write: bool, exec: bool, global: bool, large: bool,
): void {
  const page = lin & ~0xfff
  const entry = tlb_entry(bank, lin)
  const meta: usize = load<u32>(cpu, CPU_TLB_META)
  const index = <u32>(lin >> 12) & (TLB_ENTRIES - 1)
  stack_forget()
  victims_keep(entry, page)
  store<u32>(entry, host - <u32>page, TLB_HOST)
  store<u32>(entry, gfn, TLB_GFN)
  store<u64>(entry, read ? page : NEVER, TLB_READ)
  store<u64>(entry, write ? page : NEVER, TLB_WRITE)
  store<u64>(entry, exec ? page : NEVER, TLB_EXEC)
  mark(meta, bank, global ? GLOBAL : LOCAL, index)
  if (write) {
    mark(meta, bank, WRITABLE, index)
    writers_enter(host, entry)
  }
  if (global) store<u32>(cpu, load<u32>(cpu, CPU_TLB_GLOBALS) | half(lin), CPU_TLB_GLOBALS)
  if (large) {
    mark(meta, bank, LARGE, index)
    store<u64>(meta, load<u64>(meta, META_REGIONS) | region(lin), META_REGIONS)
  }
}

/** Whether a page that an entry of the slot in force held a while ago could be brought back, with a tag. */
export function tlb_refill(bank: u32, entry: usize, lin: u64, tag: usize): bool {
  if (!victims_take(entry, lin & ~0xfff, tag)) return false
  if (load<u64>(entry, TLB_WRITE) == NEVER) return true
  // Meanwhile nobody looked for it there.
  mark(load<u32>(cpu, CPU_TLB_META), bank, WRITABLE, <u32>(lin >> 12) & (TLB_ENTRIES - 1))
  writers_enter(load<u32>(entry, TLB_HOST) + (<u32>lin & ~0xfff), entry)
  return true
}

// @ts-ignore: AssemblyScript decorator
@inline
function half(lin: u64): u32 {
  return 1 << <u32>(lin >> 63)
}

// @ts-ignore: AssemblyScript decorator
@inline
function region(lin: u64): u64 {
  return <u64>1 << ((lin >> 30) & 63)
}

// --- flushing a slot -------------------------------------------------------------------------------------------------

/** Kills the entries that a bitmap names; they are no longer large or writable either. */
function flush_kind(slot: usize, meta: usize, bank: u32, kind: u32): void {
  const words = summary(meta, bank, kind)
  let left = load<u64>(words)
  store<u64>(words, 0)
  const bits = bitmap(meta, bank, kind)
  const large = bitmap(meta, bank, LARGE)
  const writable = bitmap(meta, bank, WRITABLE)
  const base = slot + <usize>bank * TLB_BANK_SIZE
  while (left != 0) {
    const word = <usize>ctz(left) << 3
    left &= left - 1
    let filled = load<u64>(bits + word)
    store<u64>(bits + word, 0)
    store<u64>(large + word, load<u64>(large + word) & ~filled)
    store<u64>(writable + word, load<u64>(writable + word) & ~filled)
    while (filled != 0) {
      kill(base + (((word << 3) + <usize>ctz(filled)) << TLB_ENTRY_SHIFT))
      filled &= filled - 1
    }
  }
}

function flush_slot(slot: usize, meta: usize, all: bool): void {
  stack_forget()
  victims_drop()
  for (let bank: u32 = 0; bank < BANKS; bank++) {
    flush_kind(slot, meta, bank, LOCAL)
    if (all) flush_kind(slot, meta, bank, GLOBAL)
  }
  if (all) store<u64>(meta, 0, META_REGIONS)
  store<u32>(meta, PENDING_NONE, META_PENDING)
  new_generation(meta)
}

/** Empties the paging-structure cache of a slot. */
function new_generation(meta: usize): void {
  const generation = load<u64>(cpu, CPU_TLB_LAST_GENERATION) + GENERATION_STEP
  store<u64>(cpu, generation, CPU_TLB_LAST_GENERATION)
  store<u64>(meta, generation, META_GENERATION)
  if (meta == load<u32>(cpu, CPU_TLB_META)) store<u64>(cpu, generation, CPU_TLB_GENERATION)
}

/** Drops what a slot holds for one page, whatever its size was. */
function drop_page(slot: usize, meta: usize, lin: u64): void {
  stack_forget()
  victims_drop()
  const page = lin & ~0xfff
  const offset = (<usize>(lin >> 12) & (TLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT
  for (let bank: u32 = 0; bank < BANKS; bank++) {
    const entry = slot + <usize>bank * TLB_BANK_SIZE + offset
    if (load<u64>(entry, TLB_READ) == page || load<u64>(entry, TLB_EXEC) == page) kill(entry)
  }
  // A 1 GiB page may have left pieces anywhere within its GiB; smaller sizes are covered by that.
  if (load<u64>(meta, META_REGIONS) & region(lin)) {
    for (let bank: u32 = 0; bank < BANKS; bank++) drop_pieces(slot, meta, bank, lin)
  }
}

function drop_pieces(slot: usize, meta: usize, bank: u32, lin: u64): void {
  let left = load<u64>(summary(meta, bank, LARGE))
  const bits = bitmap(meta, bank, LARGE)
  const base = slot + <usize>bank * TLB_BANK_SIZE
  while (left != 0) {
    const word = <usize>ctz(left) << 3
    left &= left - 1
    let filled = load<u64>(bits + word)
    while (filled != 0) {
      const entry = base + (((word << 3) + <usize>ctz(filled)) << TLB_ENTRY_SHIFT)
      filled &= filled - 1
      const read = load<u64>(entry, TLB_READ)
      const page = read != NEVER ? read : load<u64>(entry, TLB_EXEC)
      if (page >> 30 == lin >> 30) kill(entry)
    }
  }
}

/** Slots are taken in order: those from this number on were never used. */
// @ts-ignore: AssemblyScript decorator
@inline
function used(): u32 {
  return load<u32>(cpu, CPU_TLB_USED)
}

/** The slot of a PCID, used() if it has none. */
function find(pcid: u32): u32 {
  let slot: u32 = 0
  while (slot < used() && load<u32>(meta_of(slot), META_PCID) != pcid) slot++
  return slot
}

// --- what instructions ask for -----------------------------------------------------------------------------------------

/** Drops everything of all address spaces, global pages too. */
export function tlb_flush_all(): void {
  const current: usize = load<u32>(cpu, CPU_TLB_META)
  for (let slot: u32 = 0; slot < used(); slot++) {
    const meta = meta_of(slot)
    if (meta == current) flush_slot(slot_of(slot), meta, true)
    else store<u32>(meta, PENDING_ALL, META_PENDING)
  }
  store<u32>(cpu, 0, CPU_TLB_GLOBALS)
}

/** Drops all but global pages of the address space in force: MOV to CR3, task switch. */
export function tlb_flush_local(): void {
  flush_slot(load<u32>(cpu, CPU_TLB_SLOT), load<u32>(cpu, CPU_TLB_META), false)
}

/** Drops all but global pages of every address space. */
export function tlb_flush_locals(): void {
  const current: usize = load<u32>(cpu, CPU_TLB_META)
  for (let slot: u32 = 0; slot < used(); slot++) {
    const meta = meta_of(slot)
    if (meta != current && load<u32>(meta, META_PENDING) == PENDING_NONE) store<u32>(meta, PENDING_LOCAL, META_PENDING)
  }
  tlb_flush_local()
}

/** Drops all but global pages of one PCID. */
export function tlb_flush_pcid(pcid: u32): void {
  const slot = find(pcid)
  if (slot == used()) return
  const meta = meta_of(slot)
  if (meta == load<u32>(cpu, CPU_TLB_META)) tlb_flush_local()
  else if (load<u32>(meta, META_PENDING) == PENDING_NONE) store<u32>(meta, PENDING_LOCAL, META_PENDING)
}

/** INVLPG: the page in the address space in force, and in all where it is global. */
export function tlb_flush_page(lin: u64): void {
  const current: usize = load<u32>(cpu, CPU_TLB_META)
  drop_page(load<u32>(cpu, CPU_TLB_SLOT), current, lin)
  new_generation(current)
  if ((load<u32>(cpu, CPU_TLB_GLOBALS) & half(lin)) == 0) return
  for (let slot: u32 = 0; slot < used(); slot++) {
    const meta = meta_of(slot)
    if (meta != current && load<u32>(meta, META_PENDING) != PENDING_ALL) drop_page(slot_of(slot), meta, lin)
  }
}

/** INVPCID of one address: the page in one address space; that it is dropped where it is global does no harm. */
export function tlb_flush_page_of(pcid: u32, lin: u64): void {
  const slot = find(pcid)
  if (slot == used()) return
  const meta = meta_of(slot)
  if (load<u32>(meta, META_PENDING) != PENDING_NONE) return
  drop_page(slot_of(slot), meta, lin)
  new_generation(meta)
}

/**
 * The address space of a PCID comes into force; keep = what is known of it stays, else its local pages are dropped.
 * The caller sets CPU_TLB (update_bank).
 */
export function tlb_select(pcid: u32, keep: bool): void {
  let meta: usize = load<u32>(cpu, CPU_TLB_META)
  if (load<u32>(meta, META_PCID) == pcid) {
    if (!keep) tlb_flush_local()
    return
  }
  let slot = find(pcid)
  if (slot == used()) {
    slot = oldest()
    meta = meta_of(slot)
    if (slot == used()) prepare(slot)
    store<u32>(meta, pcid, META_PCID)
    keep = false // global pages of the last user hold here too
  }
  meta = meta_of(slot)
  const stamp = load<u32>(cpu, CPU_TLB_STAMP) + 1
  store<u32>(cpu, stamp, CPU_TLB_STAMP)
  store<u32>(meta, stamp, META_STAMP)
  store<u32>(cpu, <u32>slot_of(slot), CPU_TLB_SLOT)
  store<u32>(cpu, <u32>meta, CPU_TLB_META)
  store<u64>(cpu, load<u64>(meta, META_GENERATION), CPU_TLB_GENERATION)
  const pending = load<u32>(meta, META_PENDING)
  if (pending != PENDING_NONE || !keep) flush_slot(slot_of(slot), meta, pending == PENDING_ALL)
}

/** The slot to give to another PCID: one never used, or the one not in force for the longest time. */
function oldest(): u32 {
  if (used() < <u32>TLB_SLOTS) return used()
  const now = load<u32>(cpu, CPU_TLB_STAMP)
  let best: u32 = 0
  let age: u32 = 0
  for (let slot: u32 = 0; slot < <u32>TLB_SLOTS; slot++) {
    const since = now - load<u32>(meta_of(slot), META_STAMP)
    if (since < age) continue
    age = since
    best = slot
  }
  return best
}

/** First state of a slot: memory that was never written holds zeros, which would match page 0. */
function prepare(slot: u32): void {
  memory.fill(slot_of(slot), 0xff, TLB_SLOT_SIZE)
  memory.fill(meta_of(slot), 0, TLB_META_SIZE)
  store<u32>(cpu, slot + 1, CPU_TLB_USED)
}

// --- frames ----------------------------------------------------------------------------------------------------------

/** Takes the write permission of every entry that maps the frame at this address: it now holds decoded code, say. */
export function tlb_protect(host: u32): void {
  stack_forget()
  victims_drop()
  if (writers_protect(host)) return
  for (let slot: u32 = 0; slot < used(); slot++) {
    const meta = meta_of(slot)
    if (load<u32>(meta, META_PENDING) == PENDING_ALL) continue
    for (let bank: u32 = 0; bank < BANKS; bank++) protect_bank(slot_of(slot) + <usize>bank * TLB_BANK_SIZE, meta, bank, host)
  }
}

function protect_bank(base: usize, meta: usize, bank: u32, host: u32): void {
  const words = summary(meta, bank, WRITABLE)
  const bits = bitmap(meta, bank, WRITABLE)
  let left = load<u64>(words)
  while (left != 0) {
    const number = ctz(left)
    left &= left - 1
    const word = bits + (<usize>number << 3)
    const known = load<u64>(word)
    let writable = known
    for (let filled = known; filled != 0; filled &= filled - 1) {
      const entry = base + ((<usize>(number << 6) + <usize>ctz(filled)) << TLB_ENTRY_SHIFT)
      if (load<u64>(entry, TLB_WRITE) != NEVER) writers_recheck(host, entry)
      // entries that were dropped or filled anew for reading leave the list here
      if (load<u64>(entry, TLB_WRITE) == NEVER) writable &= ~(filled & -filled)
    }
    if (writable == known) continue
    store<u64>(word, writable)
    if (writable == 0) store<u64>(words, load<u64>(words) & ~(<u64>1 << number))
  }
}

// --- the paging-structure cache ----------------------------------------------------------------------------------------

/** Entry for a table: level 1 is the page table of a linear address, level 2 its page directory. */
// @ts-ignore: AssemblyScript decorator
@inline
function walk_entry(key: u64): usize {
  const index = (<usize>key ^ <usize>(key >> 9) ^ <usize>(key >> 28)) & (TLB_WALK_ENTRIES - 1)
  return <usize>load<u32>(cpu, CPU_TLB_BANKS) + TLB_WALKS + (index << 4)
}

// @ts-ignore: AssemblyScript decorator
@inline
function walk_key(lin: u64, level: u32): u64 {
  const part = level == 1 ? (lin >> 21) & 0x7ff_ffff : ((lin >> 30) & 0x3_ffff) | 0x800_0000
  return part | load<u64>(cpu, CPU_TLB_GENERATION)
}

/** Address of the table's frame, with the rights that tlb_table_enter() was given in its low bits; 0 = not known. */
// @ts-ignore: AssemblyScript decorator
@inline
export function tlb_table(lin: u64, level: u32): u32 {
  const key = walk_key(lin, level)
  const entry = walk_entry(key)
  return load<u64>(entry) == key ? load<u32>(entry, 8) : 0
}

/** Remembers a table; every entry on the way to it has its accessed bit set. rights below 4096. */
// @ts-ignore: AssemblyScript decorator
@inline
export function tlb_table_enter(lin: u64, level: u32, host: u32, rights: u32): void {
  const key = walk_key(lin, level)
  const entry = walk_entry(key)
  store<u64>(entry, key)
  store<u32>(entry, host | rights, 8)
}

/** First state of the TLB, PCID 0 in force; CPU_TLB is set by update_bank(). */
export function tlb_init(): void {
  const base: usize = load<u32>(cpu, CPU_TLB_BANKS)
  memory.fill(base + TLB_MISS, 0xff, TLB_BANK_SIZE)
  memory.fill(base + TLB_WALKS, 0, TLB_WALK_ENTRIES << 4)
  writers_clear()
  victims_drop()
  prepare(0)
  store<u32>(cpu, <u32>slot_of(0), CPU_TLB_SLOT)
  store<u32>(cpu, <u32>meta_of(0), CPU_TLB_META)
  store<u32>(cpu, 0, CPU_TLB_GLOBALS)
  store<u32>(cpu, 0, CPU_TLB_STAMP)
  new_generation(meta_of(0))
}
