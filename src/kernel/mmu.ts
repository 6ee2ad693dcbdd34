/**
 * Linear memory: what a TLB miss does, and the accessors that helpers use (mem_* for instructions, lin_* for
 * the implicit accesses of transfers and descriptor loads).
 *
 * page() turns a linear address into the address of its byte in shared memory. Where a plain load or store will not do
 * it returns 0 and page_kind tells why. A write to a page that holds decoded code is made first and reported after it:
 * whoever decodes in between sees the new bytes, whoever decoded before is told.
 */
import {
  CPU_BOUNCE,
  CPU_CODE_GPA,
  CPU_CPL,
  CPU_CR0,
  CPU_CR4,
  CPU_EFER,
  CPU_EFLAGS,
  CPU_MODE,
  FRAME_CODE,
  FRAME_DIRTY_LOG,
  FRAME_IO_WRITE,
  FRAME_NUMBER_MASK,
  FRAME_READONLY,
  FRAME_SHARED,
  FRAME_WRITABLE,
  MODE_CS64,
  MODE_CS_MASK,
  MODE_FLAT,
  SEG_SS,
  TLB_BANK_SUPERVISOR,
  TLB_BANK_SUPERVISOR_AC,
  TLB_BANK_USER,
  TLB_EXEC,
  TLB_GFN,
  TLB_HOST,
  TLB_READ,
  TLB_WRITE,
} from '../abi/layout.ts'
import {
  ACC_EXEC,
  ACC_IMPLICIT,
  ACC_READ,
  ACC_USER,
  ACC_WRITE,
  CR0_WP,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFLAGS_AC,
  PTE_D,
  PTE_G,
  PTE_U,
  PTE_W,
  PTE_XD,
} from './arch.ts'
import { code_store } from './code-cache.ts'
import { misaligned, watch } from './debug.ts'
import { a20, frame_slot, frame_touch, frame_unprotect } from './frames.ts'
import { mmio_read, mmio_write } from './io.ts'
import { RIGHTS_ALL, walk, walk_gpa, walk_large, walk_rights } from './paging.ts'
import { RECSEG_CHECK } from '../abi/record.ts'
import { charge, WORK_WALK } from './budget.ts'
import { cpu, fault_pending, raise, raise_error, VECTOR_GP, VECTOR_SS, VECTOR_UD } from './state.ts'
import { tlb_entry, tlb_fill, tlb_never_hits, tlb_refill } from './tlb.ts'


export const PAGE_RAM: u32 = 0
export const PAGE_FAULT: u32 = 1
/** Nobody's memory: page_gpa goes to a device. */
export const PAGE_MMIO: u32 = 2
/** ROM: the write goes nowhere. */
export const PAGE_DROP: u32 = 3

export let page_kind: u32 = PAGE_RAM
export let page_gpa: u64 = 0
/** The page just resolved for writing holds decoded code: written() after the write. */
export let page_code: bool = false
export let page_gfn: u32 = 0
/** Segment of the access, to choose #SS or #GP for a non-canonical address. */
let page_seg: u32 = 0

// @ts-ignore: AssemblyScript decorator
@inline
export function canonical(lin: u64): bool {
  return <u64>((<i64>lin << 16) >> 16) == lin
}

/** Access kind of the running program's own loads: user at CPL 3. */
// @ts-ignore: AssemblyScript decorator
@inline
export function own_access(): u32 {
  return load<u32>(cpu, CPU_CPL) == 3 ? ACC_USER : ACC_READ
}

// @ts-ignore: AssemblyScript decorator
@inline
function bank_of(acc: u32): u32 {
  if (acc & ACC_USER) return TLB_BANK_USER
  if (acc & (ACC_IMPLICIT | ACC_EXEC) || !(load<u32>(cpu, CPU_EFLAGS) & EFLAGS_AC)) return TLB_BANK_SUPERVISOR
  return load<u32>(cpu, CPU_CR4) & CR4_SMAP ? TLB_BANK_SUPERVISOR_AC : TLB_BANK_SUPERVISOR
}

/** Pages that no TLB maps for writing. */
const PROTECTED: u32 = FRAME_READONLY | FRAME_CODE | FRAME_SHARED | FRAME_DIRTY_LOG

function fill(bank: u32, lin: u64, gfn: u32, entry: u32): void {
  const rights = walk_rights
  const host = (entry & FRAME_NUMBER_MASK) << 12
  let read = true
  let write = true
  let exec = bank != TLB_BANK_SUPERVISOR_AC
  if (rights != RIGHTS_ALL) {
    const user = (rights & PTE_U) != 0
    const writable = (rights & PTE_W) != 0
    exec = exec && !(rights & PTE_XD)
    if (bank == TLB_BANK_USER) {
      read = user
      write = user && writable
      exec = exec && user
    } else {
      const cr4 = load<u32>(cpu, CPU_CR4)
      read = bank == TLB_BANK_SUPERVISOR_AC || !(user && cr4 & CR4_SMAP)
      write = read && (writable || !(load<u32>(cpu, CPU_CR0) & CR0_WP))
      exec = exec && !(user && cr4 & CR4_SMEP)
    }
    write = write && (rights & PTE_D) != 0
  }
  write = write && !(entry & PROTECTED)
  // Said before it is true; who protected the page a moment ago did not hear of it, and is obeyed.
  if (write && !(entry & FRAME_WRITABLE)) write = !(atomic.or<u32>(frame_slot(gfn), FRAME_WRITABLE) & PROTECTED)
  tlb_fill(bank, lin, host, gfn, read, write, exec, (rights & PTE_G) != 0, walk_large)
}

function page_slow(lin: u64, acc: u32): usize {
  page_kind = PAGE_FAULT
  if (load<u32>(cpu, CPU_EFER) & EFER_LMA && !canonical(lin)) {
    raise_error(page_seg == SEG_SS ? VECTOR_SS : VECTOR_GP, 0)
    return 0
  }
  charge(WORK_WALK)
  if (!walk(lin, acc)) return 0
  const gpa = a20(walk_gpa)
  const gfn = gpa >> 12
  let entry = frame_touch(gfn)
  if (entry == 0) {
    if (fault_pending()) return 0
    page_kind = PAGE_MMIO
    page_gpa = gpa
    return 0
  }
  if (acc & ACC_WRITE && entry & PROTECTED) {
    if (entry & FRAME_READONLY) {
      page_kind = entry & FRAME_IO_WRITE ? PAGE_MMIO : PAGE_DROP
      page_gpa = gpa
      return 0
    }
    entry = frame_unprotect(<u32>gfn)
    if (entry == 0) return 0
    page_code = (entry & FRAME_CODE) != 0
  }
  // Also without a write tag: who puts the page under watch has to wait until this write is done.
  if (acc & ACC_WRITE && !(entry & FRAME_WRITABLE)) {
    const flags = atomic.or<u32>(frame_slot(<u32>gfn), FRAME_WRITABLE)
    if (flags & FRAME_CODE) page_code = true
    entry |= FRAME_WRITABLE | (flags & PROTECTED)
  }
  page_gfn = <u32>gfn
  page_kind = PAGE_RAM
  fill(bank_of(acc), lin, <u32>gfn, entry)
  return (<usize>(entry & FRAME_NUMBER_MASK) << 12) + (<usize>lin & 0xfff)
}

/** Address of the byte at a linear address, good to the end of its page; 0: see page_kind. */
export function page(lin: u64, acc: u32): usize {
  const bank = bank_of(acc)
  const entry = tlb_entry(bank, lin)
  page_code = false
  const tag: usize = acc & ACC_WRITE ? TLB_WRITE : acc & ACC_EXEC ? TLB_EXEC : TLB_READ
  if (load<u64>(entry + tag) != (lin & ~0xfff) && !tlb_refill(bank, entry, lin, tag)) return page_slow(lin, acc)
  page_kind = PAGE_RAM
  return <usize>load<u32>(entry, TLB_HOST) + <usize>lin
}

/** The linear address of the next page: outside 64-bit code addresses wrap at 4 GiB. */
export function next_page(lin: u64): u64 {
  const next = (lin & ~0xfff) + 0x1000
  return (load<u32>(cpu, CPU_MODE) & MODE_CS_MASK) == MODE_CS64 || lin >> 32 != 0 ? next : next & 0xffff_ffff
}

/** The lower half of a device access of any length: power-of-two pieces, as a bus would make them. */
function device_load(gpa: u64, to: usize, count: u32): void {
  while (count > 0) {
    const size: u32 = count >= 8 ? 8 : count >= 4 ? 4 : count >= 2 ? 2 : 1
    const value = mmio_read(gpa, size)
    if (size == 8) store<u64>(to, value)
    else if (size == 4) store<u32>(to, <u32>value)
    else if (size == 2) store<u16>(to, <u16>value)
    else store<u8>(to, <u8>value)
    gpa += size
    to += size
    count -= size
  }
}

function device_store(gpa: u64, from: usize, count: u32): void {
  while (count > 0) {
    const size: u32 = count >= 8 ? 8 : count >= 4 ? 4 : count >= 2 ? 2 : 1
    const value = size == 8 ? load<u64>(from) : size == 4 ? <u64>load<u32>(from) : size == 2 ? <u64>load<u16>(from) : <u64>load<u8>(from)
    mmio_write(gpa, size, value)
    gpa += size
    from += size
    count -= size
  }
}

/** Copies count <= 4096 bytes of linear memory to an address in shared memory. False: a fault is pending, nothing copied. */
export function lin_copy_in(lin: u64, to: usize, count: u32, acc: u32): bool {
  const first = min<u32>(count, 0x1000 - (<u32>lin & 0xfff))
  const host = page(lin, acc)
  if (page_kind == PAGE_FAULT) return false
  const gpa = page_gpa
  if (first < count) {
    const rest = page(next_page(lin), acc)
    if (page_kind == PAGE_FAULT) return false
    if (rest) memory.copy(to + first, rest, count - first)
    else device_load(page_gpa, to + first, count - first)
  }
  if (host) memory.copy(to, host, first)
  else device_load(gpa, to, first)
  return true
}

/** Copies count <= 4096 bytes to linear memory; both pages are checked before the first byte is written. */
export function lin_copy_out(lin: u64, from: usize, count: u32, acc: u32): bool {
  acc |= ACC_WRITE
  const first = min<u32>(count, 0x1000 - (<u32>lin & 0xfff))
  const host = page(lin, acc)
  if (page_kind == PAGE_FAULT) return false
  const kind = page_kind
  const gpa = page_gpa
  const code = page_code
  const gfn = page_gfn
  if (first < count) {
    const rest = page(next_page(lin), acc)
    if (page_kind == PAGE_FAULT) return false
    if (rest) memory.copy(rest, from + first, count - first)
    else if (page_kind == PAGE_MMIO) device_store(page_gpa, from + first, count - first)
    if (page_code) code_store(page_gfn, 0, count - first - 1)
  }
  if (host) memory.copy(host, from, first)
  else if (kind == PAGE_MMIO) device_store(gpa, from, first)
  if (code) code_store(gfn, <u32>lin & 0xfff, (<u32>lin & 0xfff) + first - 1)
  return true
}

/** Raises what an access to count <= 4096 bytes would raise. */
export function lin_probe(lin: u64, count: u32, acc: u32): bool {
  page(lin, acc)
  if (page_kind == PAGE_FAULT) return false
  if ((<u32>lin & 0xfff) + count > 0x1000) {
    page(next_page(lin), acc)
    if (page_kind == PAGE_FAULT) return false
  }
  return true
}

/** After a write that page() resolved, within the page: decoded code of the bytes is dropped. */
// @ts-ignore: AssemblyScript decorator
@inline
function written(lin: u64, bytes: u32): void {
  if (page_code) code_store(page_gfn, <u32>lin & 0xfff, (<u32>lin & 0xfff) + bytes - 1)
}

/** Second half of CPU_BOUNCE: values that cross a page or come from a device pass through it. */
// @ts-ignore: AssemblyScript decorator
@inline
function transit(): usize {
  return cpu + CPU_BOUNCE + 32
}

/** Loads with the given privilege; check fault_pending() afterwards. */
export function lin_load<T>(lin: u64, acc: u32): T {
  if ((<u32>lin & 0xfff) + sizeof<T>() <= 0x1000) {
    const host = page(lin, acc)
    if (host) return load<T>(host)
    if (page_kind == PAGE_FAULT) return 0
    return <T>mmio_read(page_gpa, sizeof<T>())
  }
  if (!lin_copy_in(lin, transit(), sizeof<T>(), acc)) return 0
  return load<T>(transit())
}

/** 8 bytes of a descriptor table or TSS; check fault_pending() afterwards. */
export function system_load64(lin: u64): u64 {
  const entry = tlb_entry(TLB_BANK_SUPERVISOR, lin)
  if (load<u64>(entry, TLB_READ) == ((lin + 7) & ~0xfff)) {
    return load<u64>(<usize>load<u32>(entry, TLB_HOST) + <usize>lin)
  }
  return lin_load<u64>(lin, ACC_IMPLICIT)
}

/** Stores with the given privilege; check fault_pending() afterwards. */
export function lin_store<T>(lin: u64, value: T, acc: u32): void {
  if ((<u32>lin & 0xfff) + sizeof<T>() <= 0x1000) {
    const host = page(lin, acc | ACC_WRITE)
    if (host) {
      store<T>(host, value)
      written(lin, sizeof<T>())
    } else if (page_kind == PAGE_MMIO) mmio_write(page_gpa, sizeof<T>(), <u64>value)
    return
  }
  store<T>(transit(), value)
  lin_copy_out(lin, transit(), sizeof<T>(), acc)
}

/** Sets bits in a byte of a descriptor as the processor does, atomically (SDM Vol. 3, "Automatic Locking"). */
export function lin_or8(lin: u64, bits: u8): void {
  const host = page(lin, ACC_WRITE | ACC_IMPLICIT)
  if (!host) return
  atomic.or<u8>(host, bits)
  written(lin, 1)
}

/** As lin_or8, clears the other bits. */
export function lin_and8(lin: u64, bits: u8): void {
  const host = page(lin, ACC_WRITE | ACC_IMPLICIT)
  if (!host) return
  atomic.and<u8>(host, bits)
  written(lin, 1)
}

// --- accesses of instructions ------------------------------------------------------------------------------------

/**
 * The first byte is good, the last one is beyond the canonical range, or beyond the 4 GiB of a flat segment: the whole
 * access faults before any page is looked at. Segments that are not flat were checked with their limit.
 */
function straddles(lin: u64, bytes: u32, seg: u32): bool {
  const last = lin + bytes - 1
  if (last >> 32 == 0) return false
  const mode = load<u32>(cpu, CPU_MODE)
  if ((mode & MODE_CS_MASK) == MODE_CS64) {
    if (canonical(last) || !canonical(lin)) return false
  } else if (!(mode & MODE_FLAT) || seg & RECSEG_CHECK || lin >> 32 != 0) return false
  raise_error(page_seg == SEG_SS ? VECTOR_SS : VECTOR_GP, 0)
  return true
}

/**
 * What the bank that never fills is for: alignment checks and data breakpoints. False: #AC is pending.
 * A breakpoint only marks a trap; it is reported when the instruction is over.
 */
export function permit(lin: u64, bytes: u32, seg: u32, write: bool): bool {
  page_seg = seg & 7
  if (straddles(lin, bytes, seg)) return false
  if (!tlb_never_hits()) return true
  if (misaligned(lin, bytes)) return false
  watch(lin, bytes, write)
  return true
}

/** Nothing but the page decides: the access lies within one, and no alignment or breakpoint is to be looked at. */
// @ts-ignore: AssemblyScript decorator
@inline
function plain(gva: u64, bytes: u32): bool {
  return (<u32>gva & 0xfff) + bytes <= 0x1000 && !tlb_never_hits()
}

function instruction_load<T>(gva: u64, seg: u32): T {
  if (plain(gva, sizeof<T>())) {
    page_seg = seg & 7
    const host = page(gva, own_access())
    if (host) return load<T>(host)
    return page_kind == PAGE_FAULT ? 0 : <T>mmio_read(page_gpa, sizeof<T>())
  }
  if (!permit(gva, sizeof<T>(), seg, false)) return 0
  return lin_load<T>(gva, own_access())
}

function instruction_store<T>(gva: u64, value: T, seg: u32): void {
  if (plain(gva, sizeof<T>())) {
    page_seg = seg & 7
    lin_store<T>(gva, value, own_access())
  } else if (permit(gva, sizeof<T>(), seg, true)) lin_store<T>(gva, value, own_access())
}

export function mem_load8(gva: u64, seg: u32): u32 {
  return instruction_load<u8>(gva, seg)
}
export function mem_load16(gva: u64, seg: u32): u32 {
  return instruction_load<u16>(gva, seg)
}
export function mem_load32(gva: u64, seg: u32): u32 {
  return instruction_load<u32>(gva, seg)
}
export function mem_load64(gva: u64, seg: u32): u64 {
  return instruction_load<u64>(gva, seg)
}
export function mem_store8(gva: u64, value: u32, seg: u32): void {
  instruction_store<u8>(gva, <u8>value, seg)
}
export function mem_store16(gva: u64, value: u32, seg: u32): void {
  instruction_store<u16>(gva, <u16>value, seg)
}
export function mem_store32(gva: u64, value: u32, seg: u32): void {
  instruction_store<u32>(gva, value, seg)
}
export function mem_store64(gva: u64, value: u64, seg: u32): void {
  instruction_store<u64>(gva, value, seg)
}
export function mem_load128(gva: u64, address: u32, seg: u32): void {
  if (plain(gva, 16)) {
    page_seg = seg & 7
    const host = page(gva, own_access())
    if (host) {
      v128.store(address, v128.load(host))
      return
    }
    if (page_kind == PAGE_FAULT) return
  }
  mem_load_bytes(gva, address, 16, seg)
}
export function mem_store128(gva: u64, address: u32, seg: u32): void {
  if (plain(gva, 16)) {
    page_seg = seg & 7
    const host = page(gva, own_access() | ACC_WRITE)
    if (host) {
      v128.store(host, v128.load(address))
      written(gva, 16)
      return
    }
    if (page_kind == PAGE_FAULT) return
  }
  mem_store_bytes(gva, address, 16, seg)
}
export function mem_load_bytes(gva: u64, address: u32, count: u32, seg: u32): void {
  if (permit(gva, count, seg, false)) lin_copy_in(gva, address, count, own_access())
}
export function mem_store_bytes(gva: u64, address: u32, count: u32, seg: u32): void {
  if (permit(gva, count, seg, true)) lin_copy_out(gva, address, count, own_access())
}

export function mem_probe(gva: u64, bytes: u32, write: u32, seg: u32): void {
  page_seg = seg & 7
  if (straddles(gva, bytes, seg)) return
  if (tlb_never_hits() && misaligned(gva, bytes)) return
  lin_probe(gva, bytes, own_access() | (write ? ACC_WRITE : ACC_READ))
}

// --- execution ------------------------------------------------------------------------------------------------------

/** Address of the frame that holds the code at a linear address, 0 with a fault pending; sets CPU_CODE_GPA. */
export function mmu_exec_page(lin: u64): usize {
  const acc = own_access() | ACC_EXEC
  const bank = bank_of(acc)
  const entry = tlb_entry(bank, lin)
  if (load<u64>(entry, TLB_EXEC) != (lin & ~0xfff) && !tlb_refill(bank, entry, lin, TLB_EXEC)) {
    page_seg = 0
    if (page_slow(lin, acc) == 0) return no_code()
  }
  store<u64>(cpu, <u64>load<u32>(entry, TLB_GFN) << 12, CPU_CODE_GPA)
  return load<u32>(entry, TLB_HOST) + (<usize>lin & ~0xfff)
}

function no_code(): usize {
  // A bus that nobody drives reads as ones, and FF FF is no instruction.
  if (page_kind != PAGE_FAULT) raise(VECTOR_UD)
  return 0
}
