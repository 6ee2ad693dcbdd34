/**
 * Page-structure walks: 2-level (PSE, PSE-36), PAE and 4-level paging, straight from guest frames.
 * SDM Vol. 3, "Paging". A first pass reads; only when an accessed or dirty bit is missing does a second pass set
 * them, by compare-and-swap against the entry that was judged, from the top again if another vCPU changed one.
 * A walk that faults sets no bit. In 4-level paging most walks start at the page table that an earlier one found.
 */
import {
  CPU_CR0,
  CPU_CR3,
  CPU_CR4,
  CPU_EFER,
  CPU_EFLAGS,
  CPU_PDPTE,
  FRAME_CODE,
  FRAME_DIRTY_LOG,
  FRAME_NUMBER_MASK,
  FRAME_READONLY,
  FRAME_SHARED,
  VM_MAXPHYADDR,
} from '../abi/layout.ts'
import { FEATURE_PAGE1GB } from '../abi/features.ts'
import { has } from './features.ts'
import {
  ACC_EXEC,
  ACC_IMPLICIT,
  ACC_USER,
  ACC_WRITE,
  CR0_PG,
  CR0_WP,
  CR4_PAE,
  CR4_PGE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_NXE,
  EFLAGS_AC,
  PTE_A,
  PTE_D,
  PTE_G,
  PTE_P,
  PTE_PS,
  PTE_U,
  PTE_W,
  PTE_XD,
} from './arch.ts'
import { a20, frame_touch, gpa_host } from './frames.ts'
import { cpu, fault_pending, raise_page_fault, vm } from './state.ts'
import { tlb_table, tlb_table_enter } from './tlb.ts'

const PHYSICAL: u64 = 0x000f_ffff_ffff_f000

/** Software bit of walk_rights: paging is off, nothing is forbidden. */
export const RIGHTS_ALL: u64 = 0x200

// What the last successful walk found.
export let walk_gpa: u64 = 0
/** PTE_W, PTE_U: allowed by every level; PTE_XD: forbidden by one; PTE_D of the leaf; PTE_G when it is global. */
export let walk_rights: u64 = 0
/** The leaf was above level 1. */
export let walk_large: bool = false

let retry: bool = false

function fault(lin: u64, acc: u32, code: u32): bool {
  if (fault_pending()) return false // the pool ran dry under a table
  let error = code | (acc & (ACC_WRITE | ACC_USER))
  if (acc & ACC_EXEC) {
    const cr4 = load<u32>(cpu, CPU_CR4)
    if (cr4 & CR4_SMEP || (cr4 & CR4_PAE && load<u32>(cpu, CPU_EFER) & EFER_NXE)) error |= ACC_EXEC
  }
  raise_page_fault(lin, error)
  return false
}

/** Rights as tlb_table_enter() keeps them below a frame address: PTE_W, PTE_U, and this bit for PTE_XD. */
const TABLE_XD: u32 = 1

// @ts-ignore: AssemblyScript decorator
@inline
function table_rights(table: u32): u64 {
  return <u64>(table & <u32>(PTE_W | PTE_U)) | (<u64>(table & TABLE_XD) << 63)
}

/** May an access do what it wants with these rights? (SDM Vol. 3, "Determination of Access Rights") */
function rights_allow(rights: u64, acc: u32): bool {
  if (acc & ACC_USER) {
    if (!(rights & PTE_U)) return false
    if (acc & ACC_WRITE) return (rights & PTE_W) != 0
    return !(acc & ACC_EXEC && rights & PTE_XD)
  }
  if (acc & ACC_EXEC) {
    return !(rights & PTE_XD) && !(rights & PTE_U && load<u32>(cpu, CPU_CR4) & CR4_SMEP)
  }
  if (rights & PTE_U && load<u32>(cpu, CPU_CR4) & CR4_SMAP) {
    if (acc & ACC_IMPLICIT || !(load<u32>(cpu, CPU_EFLAGS) & EFLAGS_AC)) return false
  }
  if (acc & ACC_WRITE) return (rights & PTE_W) != 0 || !(load<u32>(cpu, CPU_CR0) & CR0_WP)
  return true
}

/** Address of a paging-structure entry; 0 when the table is not in RAM. */
// @ts-ignore: AssemblyScript decorator
@inline
function entry_host(gpa: u64): usize {
  const address = a20(gpa)
  const frame = frame_touch(address >> 12)
  return frame == 0 ? 0 : (<usize>(frame & FRAME_NUMBER_MASK) << 12) + (<usize>address & 0xfff)
}

/** Sets A or D bits in an entry that was judged to be `seen`. False: it changed meanwhile. */
function update<T>(gpa: u64, seen: T, bits: T): bool {
  const address = a20(gpa)
  const frame = frame_touch(address >> 12)
  if (frame == 0 || frame & FRAME_READONLY) return true // tables in ROM keep their bits
  // The rare frames that are protected against writes: gpa_host() lifts what it must.
  if (frame & (FRAME_CODE | FRAME_SHARED | FRAME_DIRTY_LOG) && gpa_host(gpa, true) == 0) return false
  const host = entry_host(gpa)
  return atomic.cmpxchg<T>(host, seen, seen | bits) == seen
}

function walk32(lin: u64, acc: u32, set: bool): bool {
  const cr4 = load<u32>(cpu, CPU_CR4)
  const pdeGpa = (load<u64>(cpu, CPU_CR3) & 0xffff_f000) | ((lin >> 20) & 0xffc)
  const pdeHost = entry_host(pdeGpa)
  const pde = pdeHost ? load<u32>(pdeHost) : <u32>0xffff_ffff
  if (!(pde & <u32>PTE_P)) return fault(lin, acc, 0)
  let rights: u64 = pde
  let leaf: u32, leafGpa: u64
  const large = (pde & <u32>PTE_PS) != 0 && (cr4 & CR4_PSE) != 0
  if (large) {
    // PSE-36: bits 20:13 are address bits 39:32, bit 21 and those beyond MAXPHYADDR are reserved.
    const high = <u64>((pde >> 13) & 0xff) << 32
    if (pde & 0x20_0000 || high >> <u64>min<u32>(load<u32>(vm, VM_MAXPHYADDR), 40) != 0) return fault(lin, acc, 9)
    leaf = pde
    leafGpa = pdeGpa
    walk_gpa = high | (<u64>pde & 0xffc0_0000) | (lin & 0x3f_ffff)
  } else {
    leafGpa = (<u64>pde & 0xffff_f000) | ((lin >> 10) & 0xffc)
    const host = entry_host(leafGpa)
    leaf = host ? load<u32>(host) : <u32>0xffff_ffff
    if (!(leaf & <u32>PTE_P)) return fault(lin, acc, 0)
    rights &= leaf
    walk_gpa = (<u64>leaf & 0xffff_f000) | (lin & 0xfff)
  }
  rights = (rights & (PTE_W | PTE_U)) | (<u64>leaf & (PTE_D | PTE_G))
  if (!rights_allow(rights, acc)) return fault(lin, acc, 1)
  const want = acc & ACC_WRITE ? <u32>(PTE_A | PTE_D) : <u32>PTE_A
  if (set) {
    if (!large && !(pde & <u32>PTE_A) && !update<u32>(pdeGpa, pde, <u32>PTE_A)) retry = true
    if (!retry && (leaf & want) != want && !update<u32>(leafGpa, leaf, want)) retry = true
    rights |= want & <u32>PTE_D
  } else if ((leaf & want) != want || !(pde & <u32>PTE_A)) retry = true
  walk_rights = rights
  walk_large = large
  return true
}

/** Bits that must be 0 in an entry of PAE or 4-level paging; long mode ignores bits 62:52, PAE paging reserves them. */
// @ts-ignore: AssemblyScript decorator
@inline
function reserved_bits(efer: u32): u64 {
  const beyond = ~((<u64>1 << load<u32>(vm, VM_MAXPHYADDR)) - 1)
  return (efer & EFER_LMA ? beyond & 0x000f_ffff_ffff_ffff : beyond & ~PTE_XD) | (efer & EFER_NXE ? 0 : PTE_XD)
}

/**
 * 4-level paging from the tables that an earlier walk found: true if the translation is plainly there. Everything
 * else, faults and missing A or D bits too, is left to a walk from the top, which knows best.
 */
function walk_known(lin: u64, acc: u32): bool {
  const reserved = reserved_bits(load<u32>(cpu, CPU_EFER))
  const want = acc & ACC_WRITE ? PTE_P | PTE_A | PTE_D : PTE_P | PTE_A
  let table = tlb_table(lin, 1)
  let large = false
  let entry: u64
  if (table != 0) entry = load<u64>(<usize>(table & ~0xfff) + ((<usize>(lin >> 12) & 0x1ff) << 3))
  else {
    table = tlb_table(lin, 2)
    if (table == 0) return false
    entry = load<u64>(<usize>(table & ~0xfff) + ((<usize>(lin >> 21) & 0x1ff) << 3))
    large = (entry & PTE_PS) != 0
    if (large) {
      if (entry & 0x1f_e000) return false
    } else {
      if ((entry & (PTE_P | PTE_A)) != (PTE_P | PTE_A) || entry & reserved) return false
      const host = entry_host(entry & PHYSICAL)
      if (host == 0) return false
      const through = table_rights(table)
      const rights = (through & (entry | PTE_XD)) | (entry & PTE_XD)
      table = enter_table(lin, 1, host, rights)
      entry = load<u64>(host + ((<usize>(lin >> 12) & 0x1ff) << 3))
    }
  }
  if ((entry & want) != want || entry & reserved) return false
  const through = table_rights(table)
  const rights = (through & (entry | PTE_XD)) | (entry & (PTE_XD | PTE_D | PTE_G))
  if (!rights_allow(rights, acc)) return false
  const offset: u64 = large ? 0x1f_ffff : 0xfff
  walk_gpa = (entry & PHYSICAL & ~offset) | (lin & offset)
  walk_rights = rights
  walk_large = large
  return true
}

/** Remembers the table of `level` for a linear address; the rights are those of the levels above. */
function enter_table(lin: u64, level: u32, host: usize, rights: u64): u32 {
  const bits = <u32>(rights & (PTE_W | PTE_U)) | (rights & PTE_XD ? TABLE_XD : 0)
  tlb_table_enter(lin, level, <u32>host, bits)
  return <u32>host | bits
}

function walk64(lin: u64, acc: u32, set: bool): bool {
  const lma = (load<u32>(cpu, CPU_EFER) & EFER_LMA) != 0
  const reserved = reserved_bits(load<u32>(cpu, CPU_EFER))
  let rights: u64 = PTE_W | PTE_U
  let table: u64
  let level: u32
  if (lma) {
    table = load<u64>(cpu, CPU_CR3) & PHYSICAL
    level = 4
  } else {
    // The four PDPTEs were loaded and checked by MOV to CR3; they hold no rights.
    const pdpte = load<u64>(cpu + (<usize>((lin >> 30) & 3) << 3), CPU_PDPTE)
    if (!(pdpte & PTE_P)) return fault(lin, acc, 0)
    table = pdpte & PHYSICAL
    level = 2
  }
  let accessed: u64 = PTE_A
  while (true) {
    const shift = 3 + 9 * level
    const gpa = table | (((lin >> shift) & 0x1ff) << 3)
    const host = entry_host(gpa)
    const entry = host ? load<u64>(host) : ~(<u64>0)
    if (!(entry & PTE_P)) return fault(lin, acc, 0)
    if (entry & reserved) return fault(lin, acc, 9)
    if (level < 3 && lma && accessed && host) enter_table(lin, level, host & ~0xfff, rights)
    rights = (rights & (entry | PTE_XD)) | (entry & PTE_XD)
    const leaf = level == 1 || (entry & PTE_PS) != 0
    if (!leaf) {
      if (set && !(entry & PTE_A) && !update<u64>(gpa, entry, PTE_A)) {
        retry = true
        return true
      }
      if (!set) accessed &= entry
      table = entry & PHYSICAL
      level--
      continue
    }
    if (level > 1) {
      if (level == 4 || (level == 3 && !has(FEATURE_PAGE1GB))) return fault(lin, acc, 9) // PS is reserved there
      // Address bits below the page size, save PAT (bit 12), are reserved.
      if (entry & ((<u64>1 << shift) - 0x2000)) return fault(lin, acc, 9)
    }
    const offset = (<u64>1 << shift) - 1
    walk_gpa = (entry & PHYSICAL & ~offset) | (lin & offset)
    rights |= entry & (PTE_D | PTE_G)
    if (!rights_allow(rights, acc)) return fault(lin, acc, 1)
    const want = acc & ACC_WRITE ? PTE_A | PTE_D : PTE_A
    if (set) {
      if ((entry & want) != want && !update<u64>(gpa, entry, want)) retry = true
      rights |= want & PTE_D
    } else if ((entry & want) != want || !accessed) retry = true
    walk_rights = rights
    walk_large = level > 1
    return true
  }
}

/**
 * Translates a linear address for an access (ACC_*). True: walk_gpa, walk_rights and walk_large are set.
 * False: a fault is pending. The address is canonical, or below 4 GiB outside long mode.
 */
export function walk(lin: u64, acc: u32): bool {
  if (!(load<u32>(cpu, CPU_CR0) & CR0_PG)) {
    walk_gpa = lin
    walk_rights = RIGHTS_ALL
    walk_large = false
    return true
  }
  if (load<u32>(cpu, CPU_EFER) & EFER_LMA && walk_known(lin, acc)) {
    if (!(load<u32>(cpu, CPU_CR4) & CR4_PGE)) walk_rights &= ~PTE_G
    return true
  }
  const wide = (load<u32>(cpu, CPU_CR4) & CR4_PAE) != 0
  retry = false
  let ok = wide ? walk64(lin, acc, false) : walk32(lin, acc, false)
  while (ok && retry) {
    // The judging pass sets bits only on its way to a translation that is allowed: a table that changes into a
    // faulting one in between leaves bits set in entries that were used, as processors do.
    retry = false
    ok = wide ? walk64(lin, acc, true) : walk32(lin, acc, true)
    if (fault_pending()) return false
  }
  if (ok && !(load<u32>(cpu, CPU_CR4) & CR4_PGE)) walk_rights &= ~PTE_G
  return ok
}
