/**
 * The kernel's side of compiled code: which places wait for compilation, and how a region stands in for the record of its
 * first instruction. Regions belong to this vCPU's code cache; a write to one of their pages, or a flush, ends them, and
 * gives their links back. Their structs stay until a flush: links of other regions lead there.
 */
import {
  ARENA_UNIT,
  LINK_NEXT,
  PAGE_REGIONS,
  REGION_INDEX,
  REGION_LINKS,
  REGION_PENDING,
  REGION_RECORD,
  REGION_SAVED,
  REGION_SIZE,
  REGION_VALID,
} from '../abi/code-cache.ts'
import {
  QUEUE_ENTRY_SHIFT,
  QUEUE_KEY,
  QUEUE_NEIGHBOURS,
  QUEUE_NO_PAGE,
  QUEUE_VPAGE,
  JIT_QUEUE_DUE,
  JIT_QUEUE_MAX,
} from '../abi/jit.ts'
import {
  CPU_INHIBIT,
  CPU_JIT_MASK,
  CPU_JIT_QUEUE,
  CPU_JIT_QUEUED,
  CPU_JIT_SINCE,
  CPU_SHADOW_RIP,
  CPU_TLB,
  MODE_CS16,
  MODE_CS_MASK,
  MODE_CPL3,
  MODE_FLAT,
  REQ_JIT,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_EXEC,
  TLB_GFN,
} from '../abi/layout.ts'
import { RECF_WARM, REC_FLAGS, REC_IMM, REC_OP, REC_SIZE } from '../abi/record.ts'
import { arena_take, link_give, link_take } from './code-arena.ts'
import { code_joins_region, holds_code, page_of, page_writes } from './code-cache.ts'
import { mem_store16, mem_store32, mem_store64, mem_store8, own_access, page, page_code, page_gfn } from './mmu.ts'
import { cpu, cpu_request, fault_pending } from './state.ts'
import { ACC_WRITE } from './arch.ts'

const HANDLER_STALE: u16 = 0
const HANDLER_REGION: u16 = 6
/** Pages that are written more often than this are not compiled any more: they stay with the interpreter. */
const WRITES_MAX: u32 = 64

/** gfn that may be fetched from at a linear page, as far as the TLB knows. */
function gfn_of(vpage: u64): u32 {
  const index = <usize>(vpage >> 12) & (TLB_ENTRIES - 1)
  const entry = <usize>load<u32>(cpu, CPU_TLB) + (index << TLB_ENTRY_SHIFT)
  return load<u64>(entry, TLB_EXEC) == vpage ? load<u32>(entry, TLB_GFN) : <u32>QUEUE_NO_PAGE
}

/** Whether a place was reached often before, too. */
function asked_before(record: u32): bool {
  const flags = load<u8>(record, REC_FLAGS)
  store<u8>(record, flags | RECF_WARM, REC_FLAGS)
  return (flags & RECF_WARM) != 0
}

/** A place was reached often by a branch: `record` of (gpa << 8 | mode) in the linear page `vpage`. */
export function jit_request(key: u64, vpage: u64, record: u32): void {
  const mode = <u32>key & 0xff
  if (!(mode & MODE_FLAT) || (mode & MODE_CS_MASK) == MODE_CS16) return
  const op = load<u16>(record, REC_OP)
  if (op == HANDLER_STALE || op == HANDLER_REGION) return
  if (!(mode & MODE_CPL3) && !asked_before(record)) return
  if (code_joins_region(key >> 8, mode, record)) return
  const page = page_of(<u32>(key >> 20))
  if (page == 0 || page_writes(page) > WRITES_MAX) return
  const queued = load<u32>(cpu, CPU_JIT_QUEUED)
  const queue = cpu + CPU_JIT_QUEUE
  for (let i: u32 = 0; i < queued; i++) {
    if (load<u64>(queue + (i << QUEUE_ENTRY_SHIFT), QUEUE_KEY) == key) return
  }
  if (queued >= <u32>JIT_QUEUE_MAX) return
  const entry = queue + (queued << QUEUE_ENTRY_SHIFT)
  store<u64>(entry, key, QUEUE_KEY)
  store<u64>(entry, vpage, QUEUE_VPAGE)
  store<u32>(entry, gfn_of(vpage - 0x1000), QUEUE_NEIGHBOURS)
  store<u32>(entry, gfn_of(vpage + 0x1000), QUEUE_NEIGHBOURS + 4)
  store<u32>(entry, gfn_of(vpage + 0x2000), QUEUE_NEIGHBOURS + 8)
  if (queued == 0) store<u32>(cpu, 0, CPU_JIT_SINCE)
  store<u32>(cpu, queued + 1, CPU_JIT_QUEUED)
  // At thresholds up to 16 nothing waits: that is how tests see compiled code early.
  if (queued + 1 >= <u32>JIT_QUEUE_DUE || load<u32>(cpu, CPU_JIT_MASK) < 16) cpu_request(cpu, REQ_JIT)
}

/** A region for `record`, not in force yet; 0 if the arena is full or the record is gone. */
export function jit_region(record: u32): u32 {
  const op = load<u16>(record, REC_OP)
  if (op == HANDLER_STALE || op == HANDLER_REGION) return 0
  const region = arena_take(REGION_SIZE / ARENA_UNIT)
  if (region == 0) return 0
  store<u32>(region, 0, REGION_VALID)
  store<u32>(region, 1, REGION_PENDING)
  store<u32>(region, 0, REGION_LINKS)
  store<u32>(region, record, REGION_RECORD)
  return <u32>region
}

/** A link for the code of a region that leads nowhere yet; 0 if the arena is full. */
export function jit_link(region: u32): u32 {
  const link = link_take()
  if (link == 0) return 0
  store<u32>(link, load<u32>(region, REGION_LINKS), LINK_NEXT)
  store<u32>(region, <u32>link, REGION_LINKS)
  return <u32>link
}

/** The region holds code of a page. False: no room, the region must not be attached. */
export function jit_region_page(region: u32, gfn: u32): bool {
  const page = page_of(gfn)
  if (page == 0) return false
  const link = link_take()
  if (link == 0) return false
  store<u32>(link, load<u32>(page, PAGE_REGIONS))
  store<u32>(link, region, 4)
  store<u32>(page, <u32>link, PAGE_REGIONS)
  return true
}

/** From now on the region's function runs in place of its record. False: a page was written since, or the record is another's. */
export function jit_attach(region: u32, index: u32): bool {
  if (load<u32>(region, REGION_PENDING) == 0) return false
  store<u32>(region, 0, REGION_PENDING)
  const record: usize = load<u32>(region, REGION_RECORD)
  const op = load<u16>(record, REC_OP)
  if (op == HANDLER_STALE || op == HANDLER_REGION) return false
  memory.copy(region + REGION_SAVED, record, REC_SIZE)
  store<u32>(region, index, REGION_INDEX)
  store<u32>(region, 1, REGION_VALID)
  store<u32>(record, index, REC_IMM)
  store<u32>(record, region, REC_IMM + 4)
  store<u16>(record, HANDLER_REGION, REC_OP)
  return true
}

/** Takes a region out of force; its record, if it stands, is the interpreter's again. */
export function jit_detach(region: usize): void {
  store<u32>(region, 0, REGION_PENDING)
  let link: usize = load<u32>(region, REGION_LINKS)
  store<u32>(region, 0, REGION_LINKS)
  while (link != 0) {
    const next = load<u32>(link, LINK_NEXT)
    link_give(link)
    link = next
  }
  if (load<u32>(region, REGION_VALID) == 0) return
  store<u32>(region, 0, REGION_VALID)
  const record: usize = load<u32>(region, REGION_RECORD)
  if (load<u16>(record, REC_OP) == HANDLER_REGION) memory.copy(record, region + REGION_SAVED, REC_SIZE)
}

/**
 * False: a store of `bytes` bytes at gva would write over code that this vCPU holds decoded. Otherwise it may go the slow way,
 * which finds the same fault again if there is one.
 */
export function jit_may_store(gva: u64, bytes: u32): bool {
  const acc = own_access() | ACC_WRITE
  const off = <u32>gva & 0xfff
  const here = min<u32>(bytes, 0x1000 - off)
  page(gva, acc)
  if (fault_pending()) return true
  if (page_code && holds_code(page_gfn, off, off + here - 1)) return false
  if (here == bytes) return true
  page(gva + here, acc)
  return fault_pending() || !page_code || !holds_code(page_gfn, 0, bytes - here - 1)
}

/**
 * The slow way of a store of 1, 2, 4 or 8 bytes: `how` is the size, and the segment above it. False: the instruction at `rip` has
 * to be left, because of a fault, or because the store is over decoded code of this vCPU and the interpreter has to make it.
 */
export function jit_store(gva: u64, value: u64, rip: u64, how: u32): bool {
  const bytes = how & 0xff
  const seg = how >> 8
  if (!jit_may_store(gva, bytes)) {
    // It runs alone, so that it does not lead back here.
    store<u32>(cpu, 1, CPU_INHIBIT)
    store<u64>(cpu, rip, CPU_SHADOW_RIP)
    return false
  }
  if (bytes == 8) mem_store64(gva, value, seg)
  else if (bytes == 4) mem_store32(gva, <u32>value, seg)
  else if (bytes == 2) mem_store16(gva, <u32>value, seg)
  else mem_store8(gva, <u32>value, seg)
  return !fault_pending()
}
