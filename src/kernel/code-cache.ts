/**
 * The decoded-instruction cache of this vCPU (layout in abi/code-cache.ts) and the watch over pages that hold decoded code.
 *
 * A frame-map entry has FRAME_CODE while some vCPU may hold decoded code of the page. Such a page is never write-mapped
 * in a TLB, so every write to it takes the slow path and is reported to code_store() after it was made; how that comes
 * about is in shootdown.ts.
 *
 * Pages that mix code and data do not thrash: a page remembers which of its 64-byte chunks were decoded, and a write
 * beside them drops nothing. A write into one drops the page's blocks: their records become HANDLER_STALE, which is also
 * how a block that is being executed, or a link to it, finds out. Memory is reused only by a flush of the whole arena.
 */
import {
  BLOCK_COUNT,
  BLOCK_CROSS_NEXT,
  BLOCK_END,
  BLOCK_MODE,
  BLOCK_NEXT,
  BLOCK_OFF,
  BLOCK_SIZE,
  CACHE_ARENA,
  CACHE_BLOCKS,
  CACHE_BYTES,
  CACHE_DROPS,
  CACHE_FLUSHES,
  CACHE_JUMP,
  CACHE_JUMP_ENTRIES,
  CACHE_JUMP_RECORD,
  CACHE_JUMP_SHIFT,
  CACHE_JUMP_TAKEN,
  CACHE_NEXT,
  CACHE_PAGES,
  CACHE_PAGE_BUCKETS,
  CACHE_PENDING,
  CACHE_PENDING_COUNT,
  CACHE_PENDING_MAX,
  CACHE_READY,
  PAGE_CHUNKS,
  PAGE_CROSSERS,
  PAGE_GFN,
  PAGE_HEADS,
  PAGE_NEXT,
  PAGE_REGIONS,
  PAGE_STRUCT_SIZE,
  PAGE_WRITES,
} from '../abi/code-cache.ts'
import {
  CPU_CODE_CACHE,
  CPU_SCRATCH,
  FRAME_CODE,
  REQ_CODE,
  VM_GFN_COUNT,
  VM_LOCK_MMU,
  VM_VCPU_COUNT,
} from '../abi/layout.ts'
import { RECF_END, REC_FLAGS, REC_IMM, REC_OFF, REC_OP, REC_SIZE, REC_TAKEN } from '../abi/record.ts'
import { decode_one } from './decoder.ts'
import { jit_detach } from './jit.ts'
import { frame_slot } from './frames.ts'
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
const BLOCK_MAX: u32 = 64
/** Blocks of a page that was dropped often: most of what is decoded there is never run. */
const BLOCK_MAX_WRITTEN: u32 = 8
const WRITES_OFTEN: u32 = 8
const CHUNK_SHIFT: u32 = 6
/** What one block may need of the arena, with the page structs it may bring. */
const ARENA_MARGIN: u32 = BLOCK_SIZE + (BLOCK_MAX + 3) * REC_SIZE + 2 * PAGE_STRUCT_SIZE

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
  store<u32>(cache, <u32>cache + CACHE_ARENA, CACHE_NEXT)
  store<u32>(cache, 0, CACHE_PENDING_COUNT)
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

function page_get(cache: usize, gfn: u32): usize {
  let page = page_find(cache, gfn)
  if (page != 0) return page
  page = load<u32>(cache, CACHE_NEXT)
  store<u32>(cache, <u32>page + PAGE_STRUCT_SIZE, CACHE_NEXT)
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

function kill_block(block: usize): void {
  let rec = block + BLOCK_SIZE
  for (let left = load<u32>(block, BLOCK_COUNT); left > 0; left--) {
    store<u16>(rec, HANDLER_STALE, REC_OP)
    rec += REC_SIZE
  }
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

/** Bytes of the arena for what lives as long as the records; 0 if it is nearly full. */
export function arena_take(bytes: u32): usize {
  const cache = cache_of(cpu)
  const next = load<u32>(cache, CACHE_NEXT)
  if (next + bytes + 2 * ARENA_MARGIN > <u32>cache + load<u32>(cache, CACHE_BYTES)) return 0
  store<u32>(cache, next + bytes, CACHE_NEXT)
  return next
}

/** Drops the blocks of a page of this vCPU's cache, those that cross into it, and the compiled code made from them. */
function page_drop(page: usize): void {
  let link: usize = load<u32>(page, PAGE_REGIONS)
  while (link != 0) {
    jit_detach(load<u32>(link, 4))
    link = load<u32>(link)
  }
  store<u32>(page, 0, PAGE_REGIONS)
  for (let chunk: usize = 0; chunk < 64; chunk++) {
    const head = page + PAGE_HEADS + (chunk << 2)
    let block: usize = load<u32>(head)
    while (block != 0) {
      kill_block(block)
      block = load<u32>(block, BLOCK_NEXT)
    }
    store<u32>(head, 0)
  }
  let crosser: usize = load<u32>(page, PAGE_CROSSERS)
  while (crosser != 0) {
    kill_block(crosser)
    crosser = load<u32>(crosser, BLOCK_CROSS_NEXT)
  }
  store<u32>(page, 0, PAGE_CROSSERS)
  store<u64>(page, 0, PAGE_CHUNKS)
  store<u32>(page, load<u32>(page, PAGE_WRITES) + 1, PAGE_WRITES)
  const cache = cache_of(cpu)
  store<u32>(cache, load<u32>(cache, CACHE_DROPS) + 1, CACHE_DROPS)
}

// --- writes --------------------------------------------------------------------------------------------------------

/** Asks another vCPU to drop a page. Under VM_LOCK_MMU. */
function post_drop(target: usize, cache: usize, gfn: u32): void {
  const count = load<u32>(cache, CACHE_PENDING_COUNT)
  if (count < <u32>CACHE_PENDING_MAX) store<u32>(cache + CACHE_PENDING + (count << 3), gfn)
  if (count <= <u32>CACHE_PENDING_MAX) store<u32>(cache, count + 1, CACHE_PENDING_COUNT)
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
        post_drop(target, cache, gfn)
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
  const count = load<u32>(cache, CACHE_PENDING_COUNT)
  store<u32>(cache, 0, CACHE_PENDING_COUNT)
  if (count > <u32>CACHE_PENDING_MAX) clear(cache)
  else {
    for (let i: u32 = 0; i < count; i++) {
      const page = page_find(cache, load<u32>(cache + CACHE_PENDING + (i << 3)))
      if (page != 0) page_drop(page)
    }
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
function jump_slot(cache: usize, key: u64): usize {
  const mask: usize = (CACHE_JUMP_ENTRIES - 1) << CACHE_JUMP_SHIFT
  return cache + CACHE_JUMP + (<usize>((key >> 4) ^ (key >> 16)) & mask)
}

/**
 * The record of the instruction at a guest-physical address, 0 if it is not decoded. A block can be entered anywhere: a
 * jump into the middle of one, most jumps back, costs a search once and no second copy of its tail.
 */
export function code_find(gpa: u64, mode: u32): usize {
  const cache = cache_of(cpu)
  const key = (gpa << 8) | mode
  const slot = jump_slot(cache, key)
  if (load<u64>(slot) == key) {
    const rec: usize = load<u32>(slot, CACHE_JUMP_RECORD)
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
  const slot = jump_slot(cache_of(cpu), key)
  if (load<u64>(slot) != key) return 0
  const count = load<u32>(slot, CACHE_JUMP_TAKEN) + 1
  store<u32>(slot, count, CACHE_JUMP_TAKEN)
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
  const slot = jump_slot(cache_of(cpu), key)
  if (load<u64>(slot) != key) store<u32>(slot, 0, CACHE_JUMP_TAKEN)
  store<u64>(slot, key)
  store<u32>(slot, <u32>rec, CACHE_JUMP_RECORD)
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

/** Enters a finished block; `end` is the address behind its last record. */
function publish(page: usize, block: usize, end: usize, off: u32, last: u32, mode: u32, key: u64): void {
  const cache = cache_of(cpu)
  store<u32>(block, 0, BLOCK_CROSS_NEXT)
  store<u16>(block, <u16>off, BLOCK_OFF)
  store<u16>(block, <u16>mode, BLOCK_MODE)
  store<u32>(block, last + 1, BLOCK_END)
  store<u32>(block, <u32>(end - block - BLOCK_SIZE) / REC_SIZE, BLOCK_COUNT)
  store<u32>(cache, <u32>end, CACHE_NEXT)
  store<u32>(cache, load<u32>(cache, CACHE_BLOCKS) + 1, CACHE_BLOCKS)
  const head = page + PAGE_HEADS + ((off >> CHUNK_SHIFT) << 2)
  store<u32>(block, load<u32>(head), BLOCK_NEXT)
  store<u32>(head, <u32>block)
  remember(key, block + BLOCK_SIZE)
}

/** Room for a block; the whole cache is dropped if there is none. */
function reserve(cache: usize): void {
  if (load<u32>(cache, CACHE_NEXT) + ARENA_MARGIN > <u32>cache + load<u32>(cache, CACHE_BYTES)) code_flush()
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
  reserve(cache)
  const page = page_get(cache, gfn)
  const off = <u32>gpa & 0xfff
  const most = load<u32>(page, PAGE_WRITES) >= WRITES_OFTEN ? BLOCK_MAX_WRITTEN : BLOCK_MAX
  // Marked before read, as far as the block could reach: a writer that comes between posts a drop. And before the page is
  // put under watch: a write to a page of which nobody holds code ends the watch.
  const reach = chunk_mask(off, min<u32>(4095, off + most * 15))
  const before = mark_chunks(page, reach)
  if (!watch(gfn)) {
    settle_chunks(page, reach, before)
    return DECODE_AGAIN
  }
  const block: usize = load<u32>(cache, CACHE_NEXT)
  let rec = block + BLOCK_SIZE
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
  publish(page, block, rec + REC_SIZE, off, at - 1, mode, (gpa << 8) | mode)
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
  reserve(cache)
  const page = page_get(cache, gfn)
  const second = page_get(cache, <u32>(next >> 12))
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
  const block: usize = load<u32>(cache, CACHE_NEXT)
  const rec = block + BLOCK_SIZE
  code_special(rec, HANDLER_CROSS, next, off)
  const length = decode_one(bytes, INSTRUCTION_MAX, mode, off, rec + REC_SIZE)
  const end = load<u8>(rec + REC_SIZE, REC_FLAGS) & RECF_END
  code_special(rec + 2 * REC_SIZE, end ? HANDLER_SYNC : HANDLER_GOTO, off + length, off + length)
  publish(page, block, rec + 3 * REC_SIZE, off, 4095, mode, (gpa << 8) | mode)
  store<u32>(block, load<u32>(second, PAGE_CROSSERS), BLOCK_CROSS_NEXT)
  store<u32>(second, <u32>block, PAGE_CROSSERS)
  return rec
}

/** True if this record is a guard: the instruction behind it goes on in another page. */
// @ts-ignore: AssemblyScript decorator
@inline
export function code_is_cross(rec: usize): bool {
  return load<u16>(rec, REC_OP) == HANDLER_CROSS
}
