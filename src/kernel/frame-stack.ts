/**
 * The stack that a transfer pushes its frame on or pops it from: the current one, or an inner one not loaded yet.
 * stack_reserve() checks limit, canonical form and page rights of the whole frame first, so that the pushes that
 * follow cannot fail half way.
 */
import { CPU_RSP, CPU_SMASK, SEG_ATTR, SEG_BASE, SEG_LIMIT, SEG_SS } from '../abi/layout.ts'
import { ACC_READ, ACC_USER, ACC_WRITE, ATTR_DB } from './arch.ts'
import { ext, within_limit } from './descriptor.ts'
import {
  canonical,
  lin_load,
  lin_probe,
  lin_store,
  own_access,
  page,
  PAGE_FAULT,
  page_code,
  page_kind,
} from './mmu.ts'
import { code64 } from './mode.ts'
import { cpu, fault_pending, raise_error, seg, VECTOR_SS } from './state.ts'

let base: u64 = 0
let limit: u32 = 0
let attr: u32 = 0
let mask: u64 = 0
let access: u32 = 0
let long: bool = false
/** Selector part of the error code of #SS. */
let errorSelector: u32 = 0

/** Where the next push goes below or the next pop reads. */
export let frame_sp: u64 = 0

/**
 * The page that the frame's values go to or come from, looked up once: its linear address and that of its frame in shared
 * memory; 0 = values go one by one through lin_store() and lin_load(), which know devices, ROM and decoded code.
 */
let windowPage: u64 = 0
let windowHost: usize = 0

function close_window(): void {
  windowHost = 0
}

/** page() has found `host` for an address, with the rights that are needed. */
function open_window(lin: u64, host: usize): void {
  windowPage = lin & ~0xfff
  windowHost = host & ~0xfff
}

// @ts-ignore: AssemblyScript decorator
@inline
function in_window(lin: u64, size: u32): bool {
  return windowHost != 0 && (lin & ~0xfff) == windowPage && (<u32>lin & 0xfff) + size <= 0x1000
}

/** SS:RSP as they are, with the rights of the current CPL. */
export function stack_current(): void {
  const ss = seg(SEG_SS)
  close_window()
  long = code64()
  base = long ? 0 : load<u64>(ss, SEG_BASE)
  limit = load<u32>(ss, SEG_LIMIT)
  attr = load<u32>(ss, SEG_ATTR)
  mask = load<u64>(cpu, CPU_SMASK)
  access = own_access()
  errorSelector = 0
  frame_sp = load<u64>(cpu, CPU_RSP)
}

/** A legacy stack segment that a switch to `cpl` will load. */
export function stack_inner(ssBase: u64, ssLimit: u32, ssAttr: u32, sp: u32, cpl: u32, selector: u32): void {
  close_window()
  long = false
  base = ssBase
  limit = ssLimit
  attr = ssAttr
  mask = ssAttr & ATTR_DB ? 0xffff_ffff : 0xffff
  access = cpl == 3 ? ACC_USER : ACC_READ
  errorSelector = selector & 0xfffc
  frame_sp = sp
}

/** A 64-bit stack. */
export function stack_long(rsp: u64, cpl: u32): void {
  close_window()
  long = true
  base = 0
  mask = ~(<u64>0)
  access = cpl == 3 ? ACC_USER : ACC_READ
  errorSelector = 0
  frame_sp = rsp
}

/** RSP after pushes or pops: what the stack size does not cover keeps its value. */
export function stack_commit_value(old: u64): u64 {
  if (mask == 0xffff) return (old & ~(<u64>0xffff)) | (frame_sp & 0xffff)
  return frame_sp & mask
}

// @ts-ignore: AssemblyScript decorator
@inline
function linear(offset: u64): u64 {
  return long ? offset : (base + offset) & 0xffff_ffff
}

function stack_fault(): bool {
  raise_error(VECTOR_SS, errorSelector | ext)
  return false
}

/** Checks one slot of the frame. */
function check(offset: u64, size: u32, acc: u32): bool {
  if (long) {
    if (!canonical(offset) || !canonical(offset + size - 1)) return stack_fault()
  } else if (!within_limit(attr, limit, offset, size)) return stack_fault()
  return lin_probe(linear(offset), size, acc)
}

/** May `count` values of `size` bytes be pushed? False: a fault is pending. */
export function stack_reserve(count: u32, size: u32): bool {
  const bytes = count * size
  const low = (frame_sp - bytes) & mask
  if (low + bytes <= mask && low + bytes >= low) {
    // One piece: its ends decide (frames are far smaller than a page). A legacy limit is checked from the first push on.
    if (!long && !within_limit(attr, limit, low, bytes)) return stack_fault()
    if (long && (!canonical(low) || !canonical(low + bytes - 1))) return stack_fault()
    const lin = linear(low)
    if ((<u32>lin & 0xfff) + bytes > 0x1000) return lin_probe(lin, bytes, access | ACC_WRITE)
    const host = page(lin, access | ACC_WRITE)
    if (host != 0 && !page_code) open_window(lin, host)
    return page_kind != PAGE_FAULT
  }
  for (let i: u32 = 1; i <= count; i++) {
    if (!check((frame_sp - i * size) & mask, size, access | ACC_WRITE)) return false
  }
  return true
}

/**
 * Pushes room for 8-byte values after stack_reserve(): where to store them, the one pushed last first; 0 if they have to be
 * pushed one by one.
 */
export function frame_room(bytes: u32): usize {
  const low = frame_sp - bytes
  if (!long || !in_window(low, bytes)) return 0
  frame_sp = low
  return windowHost + (<usize>low & 0xfff)
}

/** The next `bytes` of a 64-bit stack, which stay on it; 0 if they have to be popped one by one, or a fault is pending. */
export function frame_view(bytes: u32): usize {
  const lin = frame_sp
  if (!long || (<u32>lin & 0xfff) + bytes > 0x1000 || !canonical(lin)) return 0
  return page(lin, access)
}

/** Pushes after stack_reserve(). */
export function frame_push(value: u64, size: u32): void {
  const offset = (frame_sp - size) & mask
  frame_sp = offset
  const lin = linear(offset)
  if (in_window(lin, size)) {
    const at = windowHost + (<usize>lin & 0xfff)
    if (size == 8) store<u64>(at, value)
    else if (size == 4) store<u32>(at, <u32>value)
    else store<u16>(at, <u16>value)
  } else if (size == 8) lin_store<u64>(lin, value, access)
  else if (size == 4) lin_store<u32>(lin, <u32>value, access)
  else lin_store<u16>(lin, <u16>value, access)
}

/** Pops; check fault_pending() afterwards. */
export function frame_pop(size: u32): u64 {
  const offset = frame_sp & mask
  if (fault_pending()) return 0
  const lin = linear(offset)
  if (long) {
    if (!canonical(offset)) {
      stack_fault()
      return 0
    }
  } else if (!within_limit(attr, limit, offset, size)) {
    stack_fault()
    return 0
  }
  frame_sp = (offset + size) & mask
  if (!in_window(lin, size) && (<u32>lin & 0xfff) + size <= 0x1000) {
    const host = page(lin, access)
    if (page_kind == PAGE_FAULT) return 0
    if (host != 0) open_window(lin, host)
  }
  if (in_window(lin, size)) {
    const at = windowHost + (<usize>lin & 0xfff)
    return size == 8 ? load<u64>(at) : size == 4 ? <u64>load<u32>(at) : <u64>load<u16>(at)
  }
  if (size == 8) return lin_load<u64>(lin, access)
  if (size == 4) return <u64>lin_load<u32>(lin, access)
  return <u64>lin_load<u16>(lin, access)
}

/** Leaves out bytes between the popped values (RET n). */
export function frame_skip(bytes: u32): void {
  frame_sp = (frame_sp + bytes) & mask
}
