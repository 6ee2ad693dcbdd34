/**
 * The decoded-instruction cache of this vCPU (layout in abi/code-cache.ts) and the watch over pages that hold decoded code.
 *
 * A frame-map entry has FRAME_CODE while some vCPU may hold decoded code of the page. Such a page is never write-mapped
 * in a TLB, so every write to it takes the slow path and is reported to code_store() after it was made; how that comes
 * about is in shootdown.ts.
 *
 * Pages that mix code and data do not thrash: a page remembers which of its 64-byte chunks were decoded, and a write
 * beside them drops nothing. A write into one drops the page's blocks: their records become HANDLER_STALE, which is how a
 * block that is being executed finds out.
 *
 * The memory of dropped blocks is used again (code-arena.ts). What may lead to a record: its jump table slot, which goes with
 * it; branches, all of the same page and so dropped with it; and the interpreter, which has none when it decodes. A block
 * that goes on in another page is dropped for writes to that page, too, and branches of its own page may still lead there.
 * It keeps its place until its own page is dropped, for the same instruction decoded anew.
 */
import {
  ARENA_UNIT,
  ARENA_UNITS_MAX,
  BLOCK_COUNT,
  BLOCK_CROSS_NEXT,
  BLOCK_END,
  BLOCK_MODE,
  BLOCK_NEXT,
  BLOCK_OFF,
  BLOCK_SECOND,
  BLOCK_SIZE,
  CACHE_BLOCKS,
  CACHE_DECODED,
  CACHE_DROPS,
  CACHE_FLUSHES,
  CACHE_JUMP,
  CACHE_JUMP_ENTRIES,
  CACHE_JUMP_RECORD,
  CACHE_JUMP_SET,
  CACHE_JUMP_SHIFT,
  CACHE_JUMP_TAKEN,
  CACHE_PAGES,
  CACHE_PAGE_BUCKETS,
  CACHE_PENDING,
  CACHE_READY,
  NODE_NEXT,
  NODE_VALUE,
  PAGE_CHUNKS,
  PAGE_CROSSERS,
  PAGE_EPOCH,
  PAGE_GFN,
  PAGE_HEADS,
  PAGE_NEXT,
  PAGE_PENDING,
  PAGE_REGIONS,
  PAGE_STRUCT_SIZE,
  PAGE_WRITES,
  PENDING_LAST,
} from '../abi/code-cache.ts'
import {
  CPU_CODE_CACHE,
  CPU_INSNS,
  CPU_SCRATCH,
  FRAME_CODE,
  REQ_CODE,
  VM_GFN_COUNT,
  VM_LOCK_MMU,
  VM_VCPU_COUNT,
} from '../abi/layout.ts'
import { RECF_END, REC_FLAGS, REC_IMM, REC_OFF, REC_OP, REC_SIZE, REC_TAKEN } from '../abi/record.ts'
import { charge, WORK_BLOCK, WORK_DECODE, WORK_DROP } from './budget.ts'
import { arena_clear, arena_give, arena_take, node_give } from './code-arena.ts'
import { decode_one } from './decoder.ts'
import { jit_detach } from './jit.ts'
import { frame_slot, gfn_frame } from './frames.ts'
import { is_watched, watch_page } from './shootdown.ts'
import { cpu, cpu_at, cpu_request, lock, unlock, vm } from './state.ts'

// The numbers of src/isa/handlers.ts
const HANDLER_STALE: u16 = 0
const HANDLER_GOTO: u16 = 1
const HANDLER_REGION: u16 = 6
const HANDLER_SYNC: u16 = 2
const HANDLER_CROSS: u16 = 3

/** How far behind its first byte an instruction of a block can start. */
const BLOCK_REACH: u32 = 64 * 15
/** Longest block: bounds what a write to its page can throw away, and how far decoding runs ahead of execution. */
const BLOCK_MAX: u32 = ARENA_UNITS_MAX - 2
/** Blocks of a page that was dropped often: most of what is decoded there is never run. */
const BLOCK_MAX_WRITTEN: u32 = 8
const WRITES_OFTEN: u32 = 8
/** Pages that are written more often than this are not compiled any more: they stay with the interpreter. */
export const WRITES_MAX: u32 = 64
/** Counted up to here, so that a page that became another's is soon compiled again. */
const WRITES_COUNTED: u32 = 255
/** Instructions after which writes count half, as a shift: 7-20 s. */
const EPOCH_SHIFT: u64 = 31
const CHUNK_SHIFT: u32 = 6
/** Records of a block that crosses into another page: guard, instruction, end. */
const CROSS_RECORDS: u32 = 3
/** Key of a jump table slot that leads nowhere. */
const JUMP_SIZE: usize = 1 << CACHE_JUMP_SHIFT
const NO_KEY: u64 = 0xffff_ffff_ffff_ffff

// @ts-ignore: AssemblyScript decorator
@inline
function cache_of(c: usize): usize {
  return load<u32>(c, CPU_CODE_CACHE)
}

/** Prepares this vCPU's cache; CACHE_BYTES is set. Also after a reset: forgets everything. */
export function code_cache_init(): void {
  const cache = cache_of(cpu)
  store<u32>(cache, 0, CACHE_FLUSHES)
  store<u32>(cache, 0, CACHE_DROPS)
  store<u32>(cache, 0, CACHE_BLOCKS)
  lock(vm + VM_LOCK_MMU)
  clear(cache)
  store<u32>(cache, 1, CACHE_READY)
  unlock(vm + VM_LOCK_MMU)
}

function clear(cache: usize): void {
  // The compiler, which knows addresses in here, has to see it, whatever the reason.
  store<u32>(cache, load<u32>(cache, CACHE_FLUSHES) + 1, CACHE_FLUSHES)
  memory.fill(cache + CACHE_JUMP, 0xff, CACHE_JUMP_ENTRIES << CACHE_JUMP_SHIFT)
  memory.fill(cache + CACHE_PAGES, 0, CACHE_PAGE_BUCKETS << 2)
  arena_clear(cache)
  store<u32>(cache, 0, CACHE_PENDING)
}

/**
 * The record at a guest-physical address if it is decoded, for the compiler: as code_find(), but leaves no trace. A guard
 * stands for the instruction behind it.
 */
export function code_peek(gpa: u64, mode: u32): usize {
  const page = page_find(cache_of(cpu), <u32>(gpa >> 12))
  return page == 0 ? 0 : search(page, <u32>gpa & 0xfff, mode)
}

/** How often the direct branch at a guest-physical address was taken, in all blocks that hold it. */
export function code_taken(gpa: u64, mode: u32): u32 {
  const page = page_find(cache_of(cpu), <u32>(gpa >> 12))
  if (page == 0) return 0
  const off = <u32>gpa & 0xfff
  let sum: u32 = 0
  for (let block = next_holder(page, off, mode, 0); block != 0; block = next_holder(page, off, mode, block)) {
    sum += load<u32>(code_is_cross(heldRecord) ? heldRecord + REC_SIZE : heldRecord, REC_TAKEN)
  }
  return sum
}

/**
 * An instruction may stand in several blocks, of which only one has the compiled code of this place. If it is another than
 * this record's, the record leads there from now on.
 */
export function code_joins_region(gpa: u64, mode: u32, record: usize): bool {
  const page = page_find(cache_of(cpu), <u32>(gpa >> 12))
  if (page == 0) return false
  const off = <u32>gpa & 0xfff
  for (let block = next_holder(page, off, mode, 0); block != 0; block = next_holder(page, off, mode, block)) {
    if (load<u16>(heldRecord, REC_OP) != HANDLER_REGION) continue
    remember((gpa << 8) | mode, heldRecord)
    code_special(record, HANDLER_GOTO, off, off)
    return true
  }
  return false
}

/** Drops everything. No record may be in execution. FRAME_CODE stays where it is: the next write clears it. */
export function code_flush(): void {
  const cache = cache_of(cpu)
  lock(vm + VM_LOCK_MMU)
  clear(cache)
  unlock(vm + VM_LOCK_MMU)
}

// --- pages ---------------------------------------------------------------------------------------------------------

// @ts-ignore: AssemblyScript decorator
@inline
function bucket(cache: usize, gfn: u32): usize {
  return cache + CACHE_PAGES + (((gfn ^ (gfn >> 12)) & (CACHE_PAGE_BUCKETS - 1)) << 2)
}

/** Page struct of a gfn in a cache, 0 if it has none. Other vCPUs' caches only under VM_LOCK_MMU. */
function page_find(cache: usize, gfn: u32): usize {
  let page: usize = load<u32>(bucket(cache, gfn))
  while (page != 0 && load<u32>(page, PAGE_GFN) != gfn) page = load<u32>(page, PAGE_NEXT)
  return page
}

/** As page_find(), makes one if there is none; 0 if the arena is full. */
function page_get(cache: usize, gfn: u32): usize {
  let page = page_find(cache, gfn)
  if (page != 0) return page
  page = arena_take(PAGE_STRUCT_SIZE / ARENA_UNIT)
  if (page == 0) return 0
  memory.fill(page, 0, PAGE_STRUCT_SIZE)
  store<u32>(page, gfn, PAGE_GFN)
  lock(vm + VM_LOCK_MMU)
  const head = bucket(cache, gfn)
  store<u32>(page, load<u32>(head), PAGE_NEXT)
  store<u32>(head, <u32>page)
  unlock(vm + VM_LOCK_MMU)
  return page
}

/** Bit per chunk that [first, last] touches. */
// @ts-ignore: AssemblyScript decorator
@inline
function chunk_mask(first: u32, last: u32): u64 {
  return (~(<u64>0) >> (63 - (last >> CHUNK_SHIFT))) & (~(<u64>0) << (first >> CHUNK_SHIFT))
}

/** Times that a page was dropped of late. */
export function page_writes(page: usize): u32 {
  const passed = (epoch() - load<u16>(page, PAGE_EPOCH)) & 0xffff
  return passed > 15 ? 0 : load<u16>(page, PAGE_WRITES) >> <u16>passed
}

// @ts-ignore: AssemblyScript decorator
@inline
function epoch(): u32 {
  return <u32>(load<u64>(cpu, CPU_INSNS) >> EPOCH_SHIFT)
}

function count_write(page: usize): void {
  store<u16>(page, <u16>min<u32>(page_writes(page) + 1, WRITES_COUNTED), PAGE_WRITES)
  store<u16>(page, <u16>epoch(), PAGE_EPOCH)
}

/** Page struct of a gfn of this vCPU's cache, 0 if nothing of it was decoded. */
export function page_of(gfn: u32): usize {
  return page_find(cache_of(cpu), gfn)
}

/** True if this vCPU decoded bytes first..last of a page, or bytes close by. */
export function holds_code(gfn: u32, first: u32, last: u32): bool {
  const page = page_of(gfn)
  return page != 0 && (load<u64>(page, PAGE_CHUNKS) & chunk_mask(first, last)) != 0
}

/**
 * Holds code of a page that this vCPU need not have decoded, by chunks: from now on writes to them drop it. False: no room, it is
 * written too often, or nobody decoded anything of the page, so that it is not under watch.
 */
export function code_hold(gfn: u32, chunks: u64): bool {
  if (gfn >= load<u32>(vm, VM_GFN_COUNT)) return false
  const page = page_get(cache_of(cpu), gfn)
  if (page == 0 || page_writes(page) > WRITES_MAX) return false
  mark_chunks(page, chunks)
  return is_watched(gfn)
}

/**
 * The record of the instruction at a gpa as it stands in memory now, decoded aside; the page `next` holds its end if it crosses
 * into it. 0 if no RAM is there.
 */
export function code_decode_aside(gpa: u64, next: u32, mode: u32): usize {
  const host: usize = gfn_frame(<u32>(gpa >> 12), false)
  if (host == 0) return 0
  const rec = cache_of(cpu) + CACHE_DECODED
  const off = <u32>gpa & 0xfff
  if (decode_one(host + off, 4096 - off, mode, off, rec) != 0) return rec
  const nextHost: usize = gfn_frame(next, false)
  if (nextHost == 0) return 0
  code_gather(cpu + CPU_SCRATCH, host, nextHost, off)
  return decode_one(cpu + CPU_SCRATCH, INSTRUCTION_MAX, mode, off, rec) == 0 ? 0 : rec
}

/** The records of a block are not to be executed any more. */
function kill_block(block: usize): void {
  let rec = block + BLOCK_SIZE
  for (let left = load<u32>(block, BLOCK_COUNT); left > 0; left--) {
    store<u16>(rec, HANDLER_STALE, REC_OP)
    rec += REC_SIZE
  }
}

/** Empties the jump table slots that may lead into a block of a page. */
function forget_block(cache: usize, gfn: u32, block: usize): void {
  const mode = <u64>load<u16>(block, BLOCK_MODE)
  const page = <u64>gfn << 12
  let rec = block + BLOCK_SIZE
  // Not the last one, which is no instruction.
  for (let left = load<u32>(block, BLOCK_COUNT) - 1; left > 0; left--) {
    const key = ((page | load<u16>(rec, REC_OFF)) << 8) | mode
    const entry = jump_entry(cache, key)
    if (entry != 0) store<u64>(entry, NO_KEY)
    rec += REC_SIZE
  }
}

/** Kills the blocks of a page and gives their memory back. */
function drop_blocks(cache: usize, page: usize): void {
  const gfn = load<u32>(page, PAGE_GFN)
  for (let chunk: usize = 0; chunk < 64; chunk++) {
    const head = page + PAGE_HEADS + (chunk << 2)
    let block: usize = load<u32>(head)
    if (block == 0) continue
    store<u32>(head, 0)
    while (block != 0) {
      const next = load<u32>(block, BLOCK_NEXT)
      kill_block(block)
      forget_block(cache, gfn, block)
      const second: usize = load<u32>(block, BLOCK_SECOND)
      if (second != 0) crosser_remove(second, block)
      arena_give(block, load<u32>(block, BLOCK_COUNT) + BLOCK_SIZE / ARENA_UNIT)
      block = next
    }
  }
}

/** Kills the blocks that cross into a page. */
function drop_crossers(page: usize): void {
  let block: usize = load<u32>(page, PAGE_CROSSERS)
  store<u32>(page, 0, PAGE_CROSSERS)
  while (block != 0) {
    kill_block(block)
    store<u32>(block, 0, BLOCK_SECOND)
    block = load<u32>(block, BLOCK_CROSS_NEXT)
  }
}

function crosser_add(second: usize, block: usize): void {
  store<u32>(block, <u32>second, BLOCK_SECOND)
  store<u32>(block, load<u32>(second, PAGE_CROSSERS), BLOCK_CROSS_NEXT)
  store<u32>(second, <u32>block, PAGE_CROSSERS)
}

function crosser_remove(second: usize, block: usize): void {
  let at = second + PAGE_CROSSERS
  while (load<u32>(at) != <u32>block) at = load<u32>(at) + BLOCK_CROSS_NEXT
  store<u32>(at, load<u32>(block, BLOCK_CROSS_NEXT))
  store<u32>(block, 0, BLOCK_SECOND)
}

/** Takes the compiled code that was made from bytes of a page out of force. */
function drop_regions(page: usize): void {
  let node: usize = load<u32>(page, PAGE_REGIONS)
  store<u32>(page, 0, PAGE_REGIONS)
  while (node != 0) {
    const next = load<u32>(node, NODE_NEXT)
    jit_detach(load<u32>(node, NODE_VALUE))
    node_give(node)
    node = next
  }
}

/** Drops the blocks of a page of this vCPU's cache, those that cross into it, and the compiled code made from them. */
function page_drop(page: usize): void {
  const cache = cache_of(cpu)
  drop_regions(page)
  drop_crossers(page)
  drop_blocks(cache, page)
  store<u64>(page, 0, PAGE_CHUNKS)
  count_write(page)
  charge(WORK_DROP)
  store<u32>(cache, load<u32>(cache, CACHE_DROPS) + 1, CACHE_DROPS)
}

// --- writes --------------------------------------------------------------------------------------------------------

/** Asks another vCPU to drop a page. Under VM_LOCK_MMU. */
function post_drop(target: usize, cache: usize, page: usize): void {
  if (load<u32>(page, PAGE_PENDING) == 0) {
    const next = load<u32>(cache, CACHE_PENDING)
    store<u32>(page, next == 0 ? PENDING_LAST : next, PAGE_PENDING)
    store<u32>(cache, <u32>page, CACHE_PENDING)
  }
  cpu_request(target, REQ_CODE)
}

/**
 * Bytes first..last of a page with FRAME_CODE were written. Any thread, the hub's too. A vCPU drops its own decoded code at
 * once, the others before their next block; the page loses FRAME_CODE when nobody holds code of it any more.
 */
export function code_store(gfn: u32, first: u32, last: u32): void {
  const mask = chunk_mask(first, last)
  let held = false
  lock(vm + VM_LOCK_MMU)
  const count = load<u32>(vm, VM_VCPU_COUNT)
  for (let i: u32 = 0; i < count; i++) {
    const target = cpu_at(i)
    const cache: usize = target == 0 ? 0 : cache_of(target)
    if (cache == 0 || load<u32>(cache, CACHE_READY) == 0) continue
    const page = page_find(cache, gfn)
    if (page == 0) continue
    const chunks = load<u64>(page, PAGE_CHUNKS)
    if (chunks & mask) {
      if (target == cpu) page_drop(page)
      else {
        // Its chunks are forgotten here so that the next write does not ask again.
        store<u64>(page, 0, PAGE_CHUNKS)
        post_drop(target, cache, page)
      }
    } else if (chunks) held = true
  }
  if (!held && gfn < load<u32>(vm, VM_GFN_COUNT)) atomic.and<u32>(frame_slot(gfn), ~(<u32>FRAME_CODE))
  unlock(vm + VM_LOCK_MMU)
}

/** As code_store() for a whole page: device transfers. */
export function code_write(gfn: u32): void {
  code_store(gfn, 0, 4095)
}

/** REQ_CODE: drops what other threads wrote. No record may be in execution. */
export function code_drop_pending(): void {
  const cache = cache_of(cpu)
  lock(vm + VM_LOCK_MMU)
  let page: usize = load<u32>(cache, CACHE_PENDING)
  store<u32>(cache, 0, CACHE_PENDING)
  while (page > <usize>PENDING_LAST) {
    const next = load<u32>(page, PAGE_PENDING)
    store<u32>(page, 0, PAGE_PENDING)
    page_drop(page)
    page = next
  }
  unlock(vm + VM_LOCK_MMU)
}

/** Puts a page under watch before its bytes are decoded. False: as watch_page(). */
function watch(gfn: u32): bool {
  return gfn >= load<u32>(vm, VM_GFN_COUNT) || is_watched(gfn) || watch_page(gfn)
}

// --- lookup --------------------------------------------------------------------------------------------------------

/** Also computed by the interpreter (engine/interp/run-function.ts). */
// @ts-ignore: AssemblyScript decorator
@inline
function jump_set(cache: usize, key: u64): usize {
  const mask: usize = (CACHE_JUMP_ENTRIES << CACHE_JUMP_SHIFT) - CACHE_JUMP_SET
  return cache + CACHE_JUMP + (<usize>((key >> 3) ^ (key >> 15)) & mask)
}

/** Entry of the jump table with a key, 0 if there is none. */
// @ts-ignore: AssemblyScript decorator
@inline
function jump_entry(cache: usize, key: u64): usize {
  const set = jump_set(cache, key)
  if (load<u64>(set) == key) return set
  return load<u64>(set, JUMP_SIZE) == key ? set + JUMP_SIZE : 0
}

/**
 * The record of the instruction at a guest-physical address, 0 if it is not decoded. A block can be entered anywhere: a
 * jump into the middle of one, most jumps back, costs a search once and no second copy of its tail.
 */
export function code_find(gpa: u64, mode: u32): usize {
  const cache = cache_of(cpu)
  const key = (gpa << 8) | mode
  const entry = jump_entry(cache, key)
  if (entry != 0) {
    const rec: usize = load<u32>(entry, CACHE_JUMP_RECORD)
    if (load<u16>(rec, REC_OP) != HANDLER_STALE) return rec
  }
  const page = page_find(cache, <u32>(gpa >> 12))
  if (page == 0) return 0
  const rec = search(page, <u32>gpa & 0xfff, mode)
  if (rec != 0) remember(key, rec)
  return rec
}

/** How often execution came to an instruction through the jump table, this time included; 0 if it is not in there. */
export function code_arrivals(gpa: u64, mode: u32): u32 {
  const key = (gpa << 8) | mode
  const entry = jump_entry(cache_of(cpu), key)
  if (entry == 0) return 0
  const count = load<u32>(entry, CACHE_JUMP_TAKEN) + 1
  store<u32>(entry, count, CACHE_JUMP_TAKEN)
  return count
}

/** Of the block that next_holder() found: the record. */
let heldRecord: usize = 0

/** The block behind `block` (0: the first) that holds an instruction at an offset of the page, 0 if there is none. */
function next_holder(page: usize, off: u32, mode: u32, block: usize): usize {
  const first = <i32>((off > BLOCK_REACH ? off - BLOCK_REACH : 0) >> CHUNK_SHIFT)
  // Nearest chunk first: in it are the blocks that start here.
  let chunk = <i32>((block == 0 ? off : <u32>load<u16>(block, BLOCK_OFF)) >> CHUNK_SHIFT)
  block = block == 0 ? load<u32>(page + PAGE_HEADS + (<usize>chunk << 2)) : load<u32>(block, BLOCK_NEXT)
  while (true) {
    while (block != 0) {
      if (load<u16>(block, BLOCK_MODE) == mode && load<u16>(block, BLOCK_OFF) <= off && load<u32>(block, BLOCK_END) > off) {
        heldRecord = record_at(block, off)
        if (heldRecord != 0) return block
      }
      block = load<u32>(block, BLOCK_NEXT)
    }
    if (--chunk < first) return 0
    block = load<u32>(page + PAGE_HEADS + (<usize>chunk << 2))
  }
}

/** The record at an offset of a page, 0 if there is none. */
function search(page: usize, off: u32, mode: u32): usize {
  return next_holder(page, off, mode, 0) == 0 ? 0 : heldRecord
}

/** The live record of a block at a page offset; a guard stands for the instruction behind it. */
function record_at(block: usize, off: u32): usize {
  let rec = block + BLOCK_SIZE
  for (let left = load<u32>(block, BLOCK_COUNT); left > 0; left--) {
    const at = load<u16>(rec, REC_OFF)
    if (at > off) return 0
    if (at == off) {
      const op = load<u16>(rec, REC_OP)
      return op == HANDLER_STALE || op == HANDLER_GOTO || op == HANDLER_SYNC ? 0 : rec
    }
    rec += REC_SIZE
  }
  return 0
}

function remember(key: u64, rec: usize): void {
  const cache = cache_of(cpu)
  let entry = jump_entry(cache, key)
  if (entry == 0) {
    entry = jump_set(cache, key)
    if (load<u64>(entry) != NO_KEY) memory.copy(entry + JUMP_SIZE, entry, JUMP_SIZE)
    store<u64>(entry, key)
    store<u32>(entry, 0, CACHE_JUMP_TAKEN)
  }
  store<u32>(entry, <u32>rec, CACHE_JUMP_RECORD)
}

// --- decoding --------------------------------------------------------------------------------------------------------

/** A record that is no instruction: GOTO, SYNC or CROSS. off is where execution goes on if it turns stale. */
export function code_special(rec: usize, handler: u16, imm: u64, off: u32): void {
  store<u64>(rec, handler)
  store<u16>(rec, <u16>off, REC_OFF)
  store<u64>(rec, 0, 8)
  store<u64>(rec, 0, 16)
  store<u64>(rec, imm, REC_IMM)
}

/** Behind an instruction that ends a block: everything is looked at before page offset `off`. */
export function code_sync(rec: usize, off: u32): void {
  code_special(rec, HANDLER_SYNC, off, off)
}

/** Describes a block of `count` records and takes them from where they were decoded. */
function fill_block(cache: usize, block: usize, count: u32, off: u32, last: u32, mode: u32): void {
  store<u16>(block, <u16>off, BLOCK_OFF)
  store<u16>(block, <u16>mode, BLOCK_MODE)
  store<u32>(block, last + 1, BLOCK_END)
  store<u32>(block, count, BLOCK_COUNT)
  store<u32>(block, 0, BLOCK_SECOND)
  memory.copy(block + BLOCK_SIZE, cache + CACHE_DECODED, <usize>count * REC_SIZE)
  store<u32>(cache, load<u32>(cache, CACHE_BLOCKS) + 1, CACHE_BLOCKS)
  charge(WORK_BLOCK + <i32>count * WORK_DECODE)
}

/** Memory for a block of `count` records that starts at `off`, entered in the page's list; 0 if the arena is full. */
function new_block(page: usize, count: u32, off: u32): usize {
  const block = arena_take(count + BLOCK_SIZE / ARENA_UNIT)
  if (block == 0) return 0
  const head = page + PAGE_HEADS + ((off >> CHUNK_SHIFT) << 2)
  store<u32>(block, load<u32>(head), BLOCK_NEXT)
  store<u32>(head, <u32>block)
  return block
}

/** The arena is full: everything is dropped. */
function start_over(): usize {
  code_flush()
  return DECODE_AGAIN
}

/** code_decode() and code_decode_cross(): translate again and come back. */
export const DECODE_AGAIN: usize = 1

/**
 * Decodes the block at gpa, whose page's bytes are at `host`. Returns its first record, 0 if its first instruction crosses
 * the end of the page, or DECODE_AGAIN.
 */
export function code_decode(gpa: u64, host: usize, mode: u32): usize {
  const gfn = <u32>(gpa >> 12)
  const cache = cache_of(cpu)
  const page = page_get(cache, gfn)
  if (page == 0) return start_over()
  const off = <u32>gpa & 0xfff
  const most = page_writes(page) >= WRITES_OFTEN ? BLOCK_MAX_WRITTEN : BLOCK_MAX
  // Marked before read, as far as the block could reach: a writer that comes between posts a drop. And before the page is
  // put under watch: a write to a page of which nobody holds code ends the watch.
  const reach = chunk_mask(off, min<u32>(4095, off + most * 15))
  const before = mark_chunks(page, reach)
  if (!watch(gfn)) {
    settle_chunks(page, reach, before)
    return DECODE_AGAIN
  }
  const decoded = cache + CACHE_DECODED
  let rec = decoded
  let at = off
  let behind = HANDLER_GOTO
  for (let n: u32 = 0; n < most && at < 4096; n++) {
    const length = decode_one(host + at, 4096 - at, mode, at, rec)
    if (length == 0) {
      if (n == 0) {
        settle_chunks(page, reach, before)
        return 0
      }
      break
    }
    at += length
    rec += REC_SIZE
    if (load<u8>(rec - REC_SIZE, REC_FLAGS) & RECF_END) {
      behind = HANDLER_SYNC
      break
    }
  }
  code_special(rec, behind, at, at)
  const count = <u32>(rec + REC_SIZE - decoded) / REC_SIZE
  const block = new_block(page, count, off)
  if (block == 0) return start_over()
  fill_block(cache, block, count, off, at - 1, mode)
  remember((gpa << 8) | mode, block + BLOCK_SIZE)
  settle_chunks(page, reach, before | chunk_mask(off, at - 1))
  return block + BLOCK_SIZE
}

/** Marks chunks as decoded; returns those that were. */
function mark_chunks(page: usize, mask: u64): u64 {
  lock(vm + VM_LOCK_MMU)
  const before = load<u64>(page, PAGE_CHUNKS)
  store<u64>(page, before | mask, PAGE_CHUNKS)
  unlock(vm + VM_LOCK_MMU)
  return before
}

/** Takes back what mark_chunks() marked too much, unless a drop was posted meanwhile. */
function settle_chunks(page: usize, mask: u64, exact: u64): void {
  lock(vm + VM_LOCK_MMU)
  const now = load<u64>(page, PAGE_CHUNKS)
  store<u64>(page, (now & mask) == mask ? exact : now | exact, PAGE_CHUNKS)
  unlock(vm + VM_LOCK_MMU)
}

const INSTRUCTION_MAX: u32 = 15

/** Copies the 15 bytes from page offset `off` on, which is as close to the end of its page, from both pages. */
export function code_gather(bytes: usize, host: usize, nextHost: usize, off: u32): void {
  const first = min<u32>(4096 - off, INSTRUCTION_MAX)
  memory.copy(bytes, host + off, first)
  memory.copy(bytes + first, nextHost, INSTRUCTION_MAX - first)
}

/**
 * Decodes an instruction at gpa that goes on in the page `next` (gpa of its first byte); the pages' bytes are at `host` and
 * `nextHost`. Returns the record of the guard, or DECODE_AGAIN. All 15 bytes may be fetched.
 */
export function code_decode_cross(gpa: u64, next: u64, host: usize, nextHost: usize, mode: u32): usize {
  const gfn = <u32>(gpa >> 12)
  const cache = cache_of(cpu)
  const page = page_get(cache, gfn)
  const second = page == 0 ? 0 : page_get(cache, <u32>(next >> 12))
  if (second == 0) return start_over()
  const off = <u32>gpa & 0xfff
  const end1 = chunk_mask(off, 4095)
  const start2 = chunk_mask(0, 14)
  const before = mark_chunks(page, end1)
  const beforeNext = mark_chunks(second, start2)
  if (!watch(gfn) || !watch(<u32>(next >> 12))) {
    settle_chunks(page, end1, before)
    settle_chunks(second, start2, beforeNext)
    return DECODE_AGAIN
  }
  const bytes = cpu + CPU_SCRATCH
  code_gather(bytes, host, nextHost, off)
  const guard = cache + CACHE_DECODED
  code_special(guard, HANDLER_CROSS, next, off)
  const length = decode_one(bytes, INSTRUCTION_MAX, mode, off, guard + REC_SIZE)
  const end = load<u8>(guard + REC_SIZE, REC_FLAGS) & RECF_END
  code_special(guard + 2 * REC_SIZE, end ? HANDLER_SYNC : HANDLER_GOTO, off + length, off + length)
  const block = cross_block(page, off, mode)
  if (block == 0) return start_over()
  fill_block(cache, block, CROSS_RECORDS, off, 4095, mode)
  crosser_add(second, block)
  remember((gpa << 8) | mode, block + BLOCK_SIZE)
  return block + BLOCK_SIZE
}

/** The block of an instruction that goes on in another page, as it was or a new one; 0 if the arena is full. */
function cross_block(page: usize, off: u32, mode: u32): usize {
  let block: usize = load<u32>(page + PAGE_HEADS + ((off >> CHUNK_SHIFT) << 2))
  while (block != 0 && !is_cross_block(block, off, mode)) block = load<u32>(block, BLOCK_NEXT)
  if (block == 0) return new_block(page, CROSS_RECORDS, off)
  const second: usize = load<u32>(block, BLOCK_SECOND)
  if (second != 0) crosser_remove(second, block)
  return block
}

/** A guard and the instruction behind it have the same offset, other records never. */
function is_cross_block(block: usize, off: u32, mode: u32): bool {
  if (load<u16>(block, BLOCK_OFF) != off || load<u16>(block, BLOCK_MODE) != mode) return false
  return load<u16>(block + BLOCK_SIZE + REC_SIZE, REC_OFF) == off
}

/** True if this record is a guard: the instruction behind it goes on in another page. */
// @ts-ignore: AssemblyScript decorator
@inline
export function code_is_cross(rec: usize): bool {
  return load<u16>(rec, REC_OP) == HANDLER_CROSS
}
