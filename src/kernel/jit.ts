/**
 * The kernel's side of compiled code: which places wait for compilation, and how a region stands in for the record of its
 * first instruction. Regions belong to this vCPU's code cache: a write to one of their pages ends them, after a flush nothing
 * leads to them. Their structs stay where they are: links of other regions lead there.
 */
import {
  NODE_NEXT,
  NODE_VALUE,
  PAGE_REGIONS,
  REGION_INDEX,
  REGION_PENDING,
  REGION_RECORD,
  REGION_SAVED,
  REGION_SIZE,
  REGION_VALID,
} from '../abi/code-cache.ts'
import {
  QUEUE_ENTRY_SHIFT,
  QUEUE_HOT,
  QUEUE_KEY,
  QUEUE_NEIGHBOURS,
  QUEUE_NO_PAGE,
  QUEUE_VPAGE,
  JIT_QUEUE_DUE,
  JIT_OFF,
  JIT_QUEUE_MAX,
  SHARED_HASH,
  SHARED_INDEX_BITS,
  SHARED_KEY,
  SHARED_SHIFT,
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
  VM_SHARED_CODE,
} from '../abi/layout.ts'
import { RECF_WARM, REC_FLAGS, REC_IMM, REC_OP, REC_SIZE } from '../abi/record.ts'
import { node_take } from './code-arena.ts'
import { WRITES_MAX, code_joins_region, holds_code, page_of, page_writes } from './code-cache.ts'
import { mem_store16, mem_store32, mem_store64, mem_store8, own_access, page, page_code, page_gfn } from './mmu.ts'
import { cpu, cpu_request, fault_pending, vm } from './state.ts'
import { ACC_WRITE } from './arch.ts'

const HANDLER_STALE: u16 = 0
const HANDLER_REGION: u16 = 6

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

/** Whether some vCPU's code was compiled for a place, as far as the index knows. */
// @ts-ignore: AssemblyScript decorator
@inline
function is_shared(key: u64): bool {
  const place = (<u32>(key >> 8) * <u32>SHARED_HASH) >> (32 - SHARED_INDEX_BITS)
  return atomic.load<u64>(vm + VM_SHARED_CODE + (<usize>place << SHARED_SHIFT) + SHARED_KEY) == key
}

/**
 * A place was reached by a branch JIT_LOOKS times, or as often as CPU_JIT_MASK says, which `count` tells: `record` of
 * (gpa << 8 | mode) in the linear page `vpage`.
 */
export function jit_request(key: u64, vpage: u64, record: u32, count: u32): void {
  const mask = load<u32>(cpu, CPU_JIT_MASK)
  if (mask == <u32>JIT_OFF) return
  const shared = is_shared(key)
  const hot: bool = (count & mask) == 0
  if (!hot && !shared) return
  const mode = <u32>key & 0xff
  if (!(mode & MODE_FLAT) || (mode & MODE_CS_MASK) == MODE_CS16) return
  const op = load<u16>(record, REC_OP)
  if (op == HANDLER_STALE || op == HANDLER_REGION) return
  if (!shared && !(mode & MODE_CPL3) && !asked_before(record)) return
  if (code_joins_region(key >> 8, mode, record)) return
  const page = page_of(<u32>(key >> 20))
  if (page == 0 || page_writes(page) > WRITES_MAX) return
  const queued = load<u32>(cpu, CPU_JIT_QUEUED)
  const queue = cpu + CPU_JIT_QUEUE
  for (let i: u32 = 0; i < queued; i++) {
    const entry = queue + (i << QUEUE_ENTRY_SHIFT)
    if (load<u64>(entry, QUEUE_KEY) != key) continue
    if (hot) store<u32>(entry, 1, QUEUE_HOT)
    return
  }
  if (queued >= <u32>JIT_QUEUE_MAX) return
  const entry = queue + (queued << QUEUE_ENTRY_SHIFT)
  store<u64>(entry, key, QUEUE_KEY)
  store<u64>(entry, vpage, QUEUE_VPAGE)
  store<u32>(entry, hot, QUEUE_HOT)
  store<u32>(entry, gfn_of(vpage - 0x1000), QUEUE_NEIGHBOURS)
  store<u32>(entry, gfn_of(vpage + 0x1000), QUEUE_NEIGHBOURS + 4)
  store<u32>(entry, gfn_of(vpage + 0x2000), QUEUE_NEIGHBOURS + 8)
  if (queued == 0) store<u32>(cpu, 0, CPU_JIT_SINCE)
  store<u32>(cpu, queued + 1, CPU_JIT_QUEUED)
  // At thresholds up to 16 nothing waits: that is how tests see compiled code early.
  if (queued + 1 == <u32>JIT_QUEUE_DUE || mask < 16) cpu_request(cpu, REQ_JIT)
}

/** The struct at `region` is to stand in for `record`, not in force yet. False: the record is gone, or another's. */
export function jit_region(region: u32, record: u32): bool {
  jit_detach(region)
  memory.fill(region, 0, REGION_SIZE)
  const op = load<u16>(record, REC_OP)
  if (op == HANDLER_STALE || op == HANDLER_REGION) return false
  store<u32>(region, record, REGION_RECORD)
  store<u32>(region, 1, REGION_PENDING)
  return true
}

/** The region holds code of a page. False: no room, the region must not be attached. */
export function jit_region_page(region: u32, gfn: u32): bool {
  const page = page_of(gfn)
  if (page == 0) return false
  const node = node_take()
  if (node == 0) return false
  store<u32>(node, load<u32>(page, PAGE_REGIONS), NODE_NEXT)
  store<u32>(node, region, NODE_VALUE)
  store<u32>(page, <u32>node, PAGE_REGIONS)
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
  if (load<u32>(region, REGION_VALID) == 0) return
  store<u32>(region, 0, REGION_VALID)
  const record: usize = load<u32>(region, REGION_RECORD)
  // After a flush it is another's, or something else.
  if (load<u16>(record, REC_OP) != HANDLER_REGION || load<u32>(record, REC_IMM + 4) != <u32>region) return
  memory.copy(record, region + REGION_SAVED, REC_SIZE)
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
