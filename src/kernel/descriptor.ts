/**
 * Segment descriptors: reading and taking apart, limit checks, the segment registers' fields.
 * SDM Vol. 3, "Segment Descriptors", "System Descriptor Types".
 *
 * EXT: error codes raised while an external event or exception is being delivered have bit 0 set. `ext` is that bit;
 * interrupt.ts sets it for the time of a delivery and everything that faults with a selector adds it.
 */
import {
  SEG_ATTR,
  SEG_ATTR_UNUSABLE,
  SEG_BASE,
  SEG_GDTR,
  SEG_LDTR,
  SEG_LIMIT,
  SEG_SELECTOR,
} from '../abi/layout.ts'
import {
  ATTR_ACCESSED,
  ATTR_CODE,
  ATTR_DB,
  ATTR_DPL_SHIFT,
  ATTR_EXPAND_DOWN,
  ATTR_G,
  ATTR_P,
  ATTR_S,
  ATTR_WRITABLE,
} from './arch.ts'
import { lin_or8, system_load64 } from './mmu.ts'
import { long_mode } from './mode.ts'
import { fault_pending, raise_error, seg } from './state.ts'

export let ext: u32 = 0

export function set_ext(bit: u32): void {
  ext = bit
}

// The descriptor read last.
export let d_address: u64 = 0
export let d_base: u64 = 0
export let d_limit: u32 = 0
export let d_attr: u32 = 0
export let d_low: u32 = 0
export let d_high: u32 = 0

/** #vector(selector | EXT); always false, so that checks can return it. */
export function selector_fault(vector: u32, selector: u32): bool {
  raise_error(vector, (selector & 0xfffc) | ext)
  return false
}

// @ts-ignore: AssemblyScript decorator
@inline
export function is_null(selector: u32): bool {
  return (selector & 0xfffc) == 0
}

// @ts-ignore: AssemblyScript decorator
@inline
export function dpl_of(attr: u32): u32 {
  return (attr >> ATTR_DPL_SHIFT) & 3
}

/** Type and S bit: below 16 a system descriptor. */
// @ts-ignore: AssemblyScript decorator
@inline
export function type_of(attr: u32): u32 {
  return attr & 0x1f
}

// @ts-ignore: AssemblyScript decorator
@inline
export function is_code(attr: u32): bool {
  return (attr & (ATTR_S | ATTR_CODE)) == (ATTR_S | ATTR_CODE)
}

// @ts-ignore: AssemblyScript decorator
@inline
export function is_conforming(attr: u32): bool {
  return (attr & (ATTR_S | ATTR_CODE | ATTR_EXPAND_DOWN)) == (ATTR_S | ATTR_CODE | ATTR_EXPAND_DOWN)
}

// @ts-ignore: AssemblyScript decorator
@inline
export function is_writable_data(attr: u32): bool {
  return (attr & (ATTR_S | ATTR_CODE | ATTR_WRITABLE)) == (ATTR_S | ATTR_WRITABLE)
}

/** Data, or code that may be read. */
// @ts-ignore: AssemblyScript decorator
@inline
export function is_readable(attr: u32): bool {
  return (attr & ATTR_S) != 0 && (attr & (ATTR_CODE | ATTR_WRITABLE)) != ATTR_CODE
}

/** Takes the 8 bytes of a descriptor apart into d_*. */
function descriptor_parse(raw: u64): void {
  d_low = <u32>raw
  d_high = <u32>(raw >> 32)
  d_attr = ((d_high >> 8) & 0xff) | ((d_high >> 12) & 0xf00)
  d_base = (d_low >> 16) | ((d_high & 0xff) << 16) | (d_high & 0xff00_0000)
  const limit = (d_low & 0xffff) | (d_high & 0xf_0000)
  d_limit = d_attr & ATTR_G ? (limit << 12) | 0xfff : limit
}

/** Linear address of a selector's descriptor, `bytes` of which must lie in the table; ~0 if they do not. */
export function descriptor_address(selector: u32, bytes: u32): u64 {
  const table = seg(selector & 4 ? SEG_LDTR : SEG_GDTR)
  if (selector & 4 && load<u32>(table, SEG_ATTR) & SEG_ATTR_UNUSABLE) return ~(<u64>0)
  const offset = selector & 0xfff8
  if (offset + bytes - 1 > load<u32>(table, SEG_LIMIT)) return ~(<u64>0)
  const lin = load<u64>(table, SEG_BASE) + offset
  return long_mode() ? lin : lin & 0xffff_ffff
}

/** Reads a selector's descriptor into d_*; beyond the table's limit #vector(selector). False: a fault is pending. */
export function descriptor_read(selector: u32, vector: u32): bool {
  const lin = descriptor_address(selector, 8)
  if (lin == ~(<u64>0)) return selector_fault(vector, selector)
  const raw = system_load64(lin)
  if (fault_pending()) return false
  d_address = lin
  descriptor_parse(raw)
  return true
}

/** After descriptor_read() of a system descriptor in long mode: the upper half, its type field must be 0. */
export function descriptor_upper(selector: u32, vector: u32): bool {
  const lin = descriptor_address(selector, 16)
  if (lin == ~(<u64>0)) return selector_fault(vector, selector)
  const upper = system_load64(lin + 8)
  if (fault_pending()) return false
  if (upper & 0x1f00_0000_0000) return selector_fault(vector, selector)
  d_base |= upper << 32
  return true
}

/** Sets the accessed bit of the descriptor read last. */
export function descriptor_mark_accessed(): bool {
  if (d_attr & ATTR_ACCESSED) return true
  lin_or8(d_address + 5, 1)
  d_attr |= ATTR_ACCESSED
  return !fault_pending()
}

/** Fills a segment register. */
export function seg_set(i: i32, selector: u32, base: u64, limit: u32, attr: u32): void {
  const at = seg(i)
  store<u64>(at, base, SEG_BASE)
  store<u32>(at, limit, SEG_LIMIT)
  store<u32>(at, attr, SEG_ATTR)
  store<u16>(at, <u16>selector, SEG_SELECTOR)
}

/** Fills a segment register from d_*. */
export function seg_set_descriptor(i: i32, selector: u32): void {
  seg_set(i, selector, d_base, d_limit, d_attr)
}

/** A null selector in a data segment register: every use faults. */
export function seg_set_null(i: i32, selector: u32): void {
  seg_set(i, selector, 0, 0, SEG_ATTR_UNUSABLE)
}

// @ts-ignore: AssemblyScript decorator
@inline
export function selector_of(i: i32): u32 {
  return load<u16>(seg(i), SEG_SELECTOR)
}

/** Do `bytes` bytes at a 32-bit offset lie within the limit? (SDM Vol. 3, "Limit Checking") */
export function within_limit(attr: u32, limit: u32, offset: u64, bytes: u32): bool {
  const last = offset + bytes - 1
  if ((attr & (ATTR_S | ATTR_CODE | ATTR_EXPAND_DOWN)) == (ATTR_S | ATTR_EXPAND_DOWN)) {
    return offset > <u64>limit && last <= (attr & ATTR_DB ? 0xffff_ffff : 0xffff)
  }
  // An access that wraps at 4 GiB faults too: left to the implementation, and what processors do.
  return last <= <u64>limit
}

export function present(attr: u32): bool {
  return (attr & ATTR_P) != 0
}
