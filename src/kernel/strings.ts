/**
 * String instructions (SDM Vol. 2, MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS, REP). Elements go in runs that stay within
 * one page, segment and address size; what a run cannot do (device memory, elements across a page, DF set, data
 * breakpoints) goes one element at a time through the accessors of mmu.ts.
 *
 * Registers are committed after every run, so that a fault finds them at the faulting element. A long REP gives
 * up after WORK_LIMIT bytes or when a request is pending: CPU_NEXT_RIP = CPU_RIP runs it again.
 */
import {
  CPU_EFLAGS,
  CPU_EXIT_BUFFER,
  CPU_EXIT_BUFFER_SIZE,
  CPU_FL_AUX,
  CPU_FL_RES,
  CPU_MODE,
  CPU_NEXT_RIP,
  CPU_RAX,
  CPU_RCX,
  CPU_RDI,
  CPU_RDX,
  CPU_REQ,
  CPU_RIP,
  CPU_RSI,
  CPU_SINGLE,
  MODE_CS64,
  MODE_CS_MASK,
  MODE_FLAT,
  SEG_ATTR,
  SEG_ES,
  SEG_FS,
  SEG_LIMIT,
} from '../abi/layout.ts'
import { ACC_WRITE, EFLAGS_DF } from './arch.ts'
import { code_store } from './code-cache.ts'
import { within_limit } from './descriptor.ts'
import { io_watch } from './debug.ts'
import { io_allowed, io_ins_block, io_outs_block } from './io.ts'
import {
  mem_load16,
  mem_load32,
  mem_load64,
  mem_load8,
  mem_load_bytes,
  mem_probe,
  mem_store16,
  mem_store32,
  mem_store64,
  mem_store8,
  mem_store_bytes,
  own_access,
  page,
  page_code,
  page_gfn,
} from './mmu.ts'
import { seg_linear } from './segments.ts'
import { copy, fill, plain_movs, plain_stos, repeated } from './strings-plain.ts'
import { cpu, fault_pending, seg } from './state.ts'
import { tlb_never_hits } from './tlb.ts'

const WRITE: u32 = 0x100
/** About 20 us of work: the longest that an interrupt waits for a string instruction. */
const WORK_LIMIT: u32 = 0x1_0000
const REPNE: u32 = 2

// State of the instruction in progress.
let width: u32 = 0
let shift: u32 = 0
let repeat: u32 = 0
let addressMask: u64 = 0
let step: i64 = 0
let source: u32 = 0 // segment of rSI
let left: u64 = 0
let work: u32 = 0
/** Runs are possible at all. */
let fast: bool = false

function begin(bytes: u32, rep: u32, addressBytes: u32, segByte: u32): void {
  width = bytes
  shift = ctz(bytes)
  repeat = rep
  source = segByte & 7
  addressMask = addressBytes == 8 ? ~(<u64>0) : addressBytes == 4 ? 0xffff_ffff : 0xffff
  const backward = (load<u32>(cpu, CPU_EFLAGS) & EFLAGS_DF) != 0
  step = backward ? -(<i64>bytes) : <i64>bytes
  left = rep ? load<u64>(cpu, CPU_RCX) & addressMask : 1
  work = 0
  fast = rep != 0 && !backward && !tlb_never_hits() && !load<u32>(cpu, CPU_SINGLE)
}

/** rSI, rDI or rCX: a 16-bit register keeps its upper part, a 32-bit one is zero-extended. */
// @ts-ignore: AssemblyScript decorator
@inline
function put(register: u32, value: u64): void {
  const at = cpu + register
  if (addressMask == 0xffff) store<u16>(at, <u16>value)
  else store<u64>(at, value & addressMask)
}

// @ts-ignore: AssemblyScript decorator
@inline
function advance(register: u32, count: u32): void {
  put(register, load<u64>(cpu + register) + <u64>(step * <i64>count))
}

/** Counts a run as done. False: stop here, either finished or to be continued at the same RIP. */
function done(count: u32): bool {
  left -= count
  if (repeat) put(CPU_RCX, left)
  if (left == 0) return false
  work += (count << shift) + 16
  if (work < WORK_LIMIT && !load<u32>(cpu, CPU_SINGLE) && atomic.load<u32>(cpu + CPU_REQ) == 0) return true
  store<u64>(cpu, load<u64>(cpu, CPU_RIP), CPU_NEXT_RIP)
  return false
}

/** Elements from here that one run may take; 0 = take one, with care. */
function run_length(gva: u64, offset: u64, segment: u32): u32 {
  if (!fast) return 0
  let room: u32 = (0x1000 - (<u32>gva & 0xfff)) >> shift
  if (addressMask != ~(<u64>0)) room = <u32>min<u64>(room, (addressMask - offset + 1) >> shift)
  if (room > left) room = <u32>left
  const mode = load<u32>(cpu, CPU_MODE)
  if ((mode & MODE_CS_MASK) == MODE_CS64 || (mode & MODE_FLAT && segment < <u32>SEG_FS)) return room
  const s = seg(segment)
  return room && within_limit(load<u32>(s, SEG_ATTR), load<u32>(s, SEG_LIMIT), offset, room << shift) ? room : 0
}

// --- single elements ---------------------------------------------------------------------------------------------

function load_element(gva: u64, segment: u32): u64 {
  if (width == 1) return mem_load8(gva, segment)
  if (width == 2) return mem_load16(gva, segment)
  if (width == 4) return mem_load32(gva, segment)
  return mem_load64(gva, segment)
}

function store_element(gva: u64, value: u64, segment: u32): void {
  if (width == 1) mem_store8(gva, <u32>value, segment)
  else if (width == 2) mem_store16(gva, <u32>value, segment)
  else if (width == 4) mem_store32(gva, <u32>value, segment)
  else mem_store64(gva, value, segment)
}

/** An element of a frame. */
// @ts-ignore: AssemblyScript decorator
@inline
function element(at: usize): u64 {
  if (width == 1) return load<u8>(at)
  if (width == 2) return load<u16>(at)
  if (width == 4) return load<u32>(at)
  return load<u64>(at)
}

// @ts-ignore: AssemblyScript decorator
@inline
function offset_of(register: u32): u64 {
  return load<u64>(cpu + register) & addressMask
}

// --- MOVS --------------------------------------------------------------------------------------------------------

export function str_movs(bytes: u32, rep: u32, addressBytes: u32, segByte: u32): void {
  if (plain_movs(ctz(bytes), rep, addressBytes, segByte)) return
  begin(bytes, rep, addressBytes, segByte)
  while (left != 0) {
    const si = offset_of(CPU_RSI)
    const di = offset_of(CPU_RDI)
    const from = seg_linear(source, si, width)
    if (fault_pending()) return
    const to = seg_linear(SEG_ES, di, width | WRITE)
    if (fault_pending()) return
    let count = min(run_length(from, si, source), run_length(to, di, SEG_ES))
    if (count != 0 && !copy_run(from, to, count)) count = 0
    if (fault_pending()) return
    if (count == 0) {
      const value = load_element(from, source)
      if (fault_pending()) return
      store_element(to, value, SEG_ES)
      if (fault_pending()) return
      count = 1
    }
    advance(CPU_RSI, count)
    advance(CPU_RDI, count)
    if (!done(count)) return
  }
}

/** False: not plain memory on both sides, or a fault is pending; nothing was copied. */
function copy_run(fromGva: u64, toGva: u64, count: u32): bool {
  const acc = own_access()
  const from = page(fromGva, acc)
  if (from == 0) return false
  const to = page(toGva, acc | ACC_WRITE)
  if (to == 0) return false
  const code = page_code
  const gfn = page_gfn
  const size: usize = count << shift
  // A destination a little above the source repeats the pattern in between: element by element, not as a move.
  if (to > from && to < from + size) repeat_pattern(from, to, size)
  else copy(to, from, size)
  if (code) code_store(gfn, <u32>to & 0xfff, (<u32>(to + size) - 1) & 0xfff)
  return true
}

function repeat_pattern(from: usize, to: usize, size: usize): void {
  for (let i: usize = 0; i < size; i += width) {
    if (width == 1) store<u8>(to + i, load<u8>(from + i))
    else if (width == 2) store<u16>(to + i, load<u16>(from + i))
    else if (width == 4) store<u32>(to + i, load<u32>(from + i))
    else store<u64>(to + i, load<u64>(from + i))
  }
}

// --- STOS, LODS --------------------------------------------------------------------------------------------------

export function str_stos(bytes: u32, rep: u32, addressBytes: u32, segByte: u32): void {
  if (plain_stos(ctz(bytes), rep, addressBytes)) return
  begin(bytes, rep, addressBytes, segByte)
  const value = load<u64>(cpu, CPU_RAX)
  while (left != 0) {
    const di = offset_of(CPU_RDI)
    const to = seg_linear(SEG_ES, di, width | WRITE)
    if (fault_pending()) return
    let count = run_length(to, di, SEG_ES)
    if (count != 0 && !fill_run(to, value, count)) count = 0
    if (fault_pending()) return
    if (count == 0) {
      store_element(to, value, SEG_ES)
      if (fault_pending()) return
      count = 1
    }
    advance(CPU_RDI, count)
    if (!done(count)) return
  }
}

function fill_run(gva: u64, value: u64, count: u32): bool {
  const to = page(gva, own_access() | ACC_WRITE)
  if (to == 0) return false
  const code = page_code
  const gfn = page_gfn
  const size: usize = count << shift
  fill(to, repeated(value, width), width, size)
  if (code) code_store(gfn, <u32>to & 0xfff, (<u32>(to + size) - 1) & 0xfff)
  return true
}

export function str_lods(bytes: u32, rep: u32, addressBytes: u32, segByte: u32): void {
  begin(bytes, rep, addressBytes, segByte)
  while (left != 0) {
    const from = seg_linear(source, offset_of(CPU_RSI), width)
    if (fault_pending()) return
    const value = load_element(from, source)
    if (fault_pending()) return
    if (width == 1) store<u8>(cpu, <u8>value, CPU_RAX)
    else if (width == 2) store<u16>(cpu, <u16>value, CPU_RAX)
    else store<u64>(cpu, value, CPU_RAX)
    advance(CPU_RSI, 1)
    if (!done(1)) return
  }
}

// --- SCAS, CMPS --------------------------------------------------------------------------------------------------

/** Lazy flags of a - b (isa/flags.ts, kind 'sub'). */
function set_compare_flags(a: u64, b: u64): void {
  const bits: u64 = width << 3
  const r = a - b
  const borrows = (~a & b) | ((~a | b) & r)
  const result = (<i64>(r << (64 - bits))) >> (64 - bits)
  const top = <u32>((borrows << (64 - bits)) >> 32) & 0xc000_0000
  store<u64>(cpu, result, CPU_FL_RES)
  store<u32>(cpu, top | (<u32>borrows & 8), CPU_FL_AUX)
}

/** The pair that was compared last, and whether it ends the repetition. */
let lastA: u64 = 0
let lastB: u64 = 0
let stopped: bool = false

// @ts-ignore: AssemblyScript decorator
@inline
function compare(a: u64, b: u64): void {
  lastA = a
  lastB = b
  stopped = repeat != 0 && (a == b) == (repeat == REPNE)
}

export function str_scas(bytes: u32, rep: u32, addressBytes: u32, segByte: u32): void {
  begin(bytes, rep, addressBytes, segByte)
  const mask: u64 = bytes == 8 ? ~(<u64>0) : ((<u64>1) << (<u64>bytes << 3)) - 1
  const value = load<u64>(cpu, CPU_RAX) & mask
  while (left != 0) {
    const di = offset_of(CPU_RDI)
    const at = seg_linear(SEG_ES, di, width)
    if (fault_pending()) return
    let count = run_length(at, di, SEG_ES)
    const host = count != 0 ? page(at, own_access()) : 0
    if (fault_pending()) return
    if (host != 0) {
      count = scan_run(host, 0, value, count)
    } else {
      const other = load_element(at, SEG_ES)
      if (fault_pending()) return
      compare(value, other)
      count = 1
    }
    set_compare_flags(lastA, lastB)
    advance(CPU_RDI, count)
    if (!done_comparing(count)) return
  }
}

export function str_cmps(bytes: u32, rep: u32, addressBytes: u32, segByte: u32): void {
  begin(bytes, rep, addressBytes, segByte)
  while (left != 0) {
    const si = offset_of(CPU_RSI)
    const di = offset_of(CPU_RDI)
    const one = seg_linear(source, si, width)
    if (fault_pending()) return
    const two = seg_linear(SEG_ES, di, width)
    if (fault_pending()) return
    let count = min(run_length(one, si, source), run_length(two, di, SEG_ES))
    const first = count != 0 ? page(one, own_access()) : 0
    const second = first != 0 ? page(two, own_access()) : 0
    if (fault_pending()) return
    if (second != 0) {
      count = scan_run(second, first, 0, count)
    } else {
      const a = load_element(one, source)
      if (fault_pending()) return
      const b = load_element(two, SEG_ES)
      if (fault_pending()) return
      compare(a, b)
      count = 1
    }
    set_compare_flags(lastA, lastB)
    advance(CPU_RSI, count)
    advance(CPU_RDI, count)
    if (!done_comparing(count)) return
  }
}

/** Elements at the beginning, less than all, that are known not to stop the repetition: 8 bytes at a time. */
function unstopped(second: usize, first: usize, value: u64, count: u32): u32 {
  const size: usize = <usize>count << shift
  let at: usize = 0
  if (repeat != REPNE) {
    const pattern = repeated(value, width)
    while (at + 8 < size && load<u64>(second + at) == (first != 0 ? load<u64>(first + at) : pattern)) at += 8
  } else if (width == 1 && first == 0) {
    const pattern = repeated(value, 1)
    while (at + 8 < size) {
      const x = load<u64>(second + at) ^ pattern
      // a byte of x is 0: the value is there
      if ((x - 0x0101_0101_0101_0101) & ~x & 0x8080_8080_8080_8080) break
      at += 8
    }
  }
  return <u32>at >> shift
}

/** Compares elements of two frames, or of one with a value (first = 0), until the repetition ends. Returns how many. */
function scan_run(second: usize, first: usize, value: u64, count: u32): u32 {
  let i = unstopped(second, first, value, count)
  while (i < count) {
    const at: usize = i << shift
    compare(first != 0 ? element(first + at) : value, element(second + at))
    i++
    if (stopped) break
  }
  return i
}

function done_comparing(count: u32): bool {
  if (!stopped) return done(count)
  left -= count
  put(CPU_RCX, left)
  return false
}

// --- INS, OUTS ---------------------------------------------------------------------------------------------------

/** Elements of a port run: they pass through the exit buffer, where a sync port's answer arrives anyway. */
function port_run(room: u32): u32 {
  return max<u32>(1, min<u32>(room, <u32>CPU_EXIT_BUFFER_SIZE >> shift))
}

export function str_ins(bytes: u32, rep: u32, addressBytes: u32, segByte: u32): void {
  begin(bytes, rep, addressBytes, segByte)
  const port = load<u32>(cpu, CPU_RDX) & 0xffff
  const buffer = cpu + CPU_EXIT_BUFFER
  if (!io_allowed(port, width)) return // also when there is nothing to move
  while (left != 0) {
    const di = offset_of(CPU_RDI)
    const to = seg_linear(SEG_ES, di, width | WRITE)
    if (fault_pending()) return
    const count = port_run(run_length(to, di, SEG_ES))
    // a port that was read cannot be read again: faults come first
    mem_probe(to, count << shift, 1, SEG_ES)
    if (fault_pending()) return
    io_watch(port, width)
    io_ins_block(port, width, count, buffer)
    mem_store_bytes(to, <u32>buffer, count << shift, SEG_ES)
    if (fault_pending()) return
    advance(CPU_RDI, count)
    if (!done(count)) return
  }
}

export function str_outs(bytes: u32, rep: u32, addressBytes: u32, segByte: u32): void {
  begin(bytes, rep, addressBytes, segByte)
  const port = load<u32>(cpu, CPU_RDX) & 0xffff
  const buffer = cpu + CPU_EXIT_BUFFER
  if (!io_allowed(port, width)) return // also when there is nothing to move
  while (left != 0) {
    const si = offset_of(CPU_RSI)
    const from = seg_linear(source, si, width)
    if (fault_pending()) return
    const count = port_run(run_length(from, si, source))
    mem_load_bytes(from, <u32>buffer, count << shift, source)
    if (fault_pending()) return
    io_watch(port, width)
    io_outs_block(port, width, count, buffer)
    advance(CPU_RSI, count)
    if (!done(count)) return
  }
}
