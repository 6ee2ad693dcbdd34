/**
 * Control registers, debug registers, XCR0, INVLPG and INVPCID (SDM Vol. 3, "Control Registers", "Debug Registers";
 * Vol. 2 for each instruction). A refused write changes nothing.
 */
import { FEATURE_AVX, FEATURE_FSGSBASE, FEATURE_FXSR, FEATURE_PAE, FEATURE_PCID, FEATURE_PGE, FEATURE_PSE, FEATURE_SMAP, FEATURE_SMEP, FEATURE_UMIP, FEATURE_VMX, FEATURE_XSAVE } from '../abi/features.ts'
import {
  CPU_CPL,
  CPU_CR0,
  CPU_CR2,
  CPU_CR3,
  CPU_CR4,
  CPU_DR0,
  CPU_DR6,
  CPU_DR7,
  CPU_EFER,
  CPU_PDPTE,
  CPU_RAX,
  CPU_RCX,
  CPU_RDX,
  CPU_XCR0,
  SEG_ATTR,
  SEG_CS,
  SEG_TR,
  VM_MAXPHYADDR,
} from '../abi/layout.ts'
import {
  ATTR_L,
  CR0_AM,
  CR0_CD,
  CR0_EM,
  CR0_ET,
  CR0_MP,
  CR0_NE,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_TS,
  CR0_WP,
  CR4_DE,
  CR4_FSGSBASE,
  CR4_MCE,
  CR4_OSFXSR,
  CR4_OSXMMEXCPT,
  CR4_OSXSAVE,
  CR4_PAE,
  CR4_PCE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PSE,
  CR4_PVI,
  CR4_SMAP,
  CR4_SMEP,
  CR4_TSD,
  CR4_UMIP,
  CR4_VME,
  CR4_VMXE,
  DR6_BD,
  DR6_FIXED,
  DR7_FIXED,
  DR7_GD,
  EFER_LMA,
  EFER_LME,
} from './arch.ts'
import { has } from './features.ts'
import { gpa_host } from './frames.ts'
import { cr8_read, cr8_write } from './irqchip/msr.ts'
import { canonical } from './mmu.ts'
import { avx_gate_update } from './fpu-check.ts'
import { code64, update_bank, update_mode } from './mode.ts'
import { umip_allows } from './segments.ts'
import { cpu, raise, raise_error, seg, VECTOR_DB, VECTOR_GP, VECTOR_UD, vm } from './state.ts'
import {
  tlb_flush_all,
  tlb_flush_local,
  tlb_flush_locals,
  tlb_flush_page,
  tlb_flush_page_of,
  tlb_flush_pcid,
  tlb_select,
} from './tlb.ts'

const CR0_WRITABLE: u32 =
  CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG
const CR3_NO_FLUSH: u64 = 0x8000_0000_0000_0000
const XCR0_X87_SSE: u64 = 3
const XCR0_AVX: u64 = 4

function refuse(): void {
  raise_error(VECTOR_GP, 0)
}

/** CPL 0, else #GP(0). */
export function privileged(): bool {
  if (load<u32>(cpu, CPU_CPL) == 0) return true
  refuse()
  return false
}

// --- CR3 and the PDPTEs of PAE paging --------------------------------------------------------------------------------

// @ts-ignore: AssemblyScript decorator
@inline
function beyond_physical(): u64 {
  return ~((<u64>1 << load<u32>(vm, VM_MAXPHYADDR)) - 1)
}

/** Loads the four PDPTEs that cr3 points to; false if one has reserved bits set, and then none is loaded. */
function pdptes_load(cr3: u64): bool {
  const table = gpa_host(cr3 & 0xffff_ffe0, false)
  const reserved = beyond_physical() | 0x1e6
  for (let i: usize = 0; i < 32; i += 8) {
    const entry = table ? load<u64>(table + i) : ~(<u64>0)
    if (entry & 1 && entry & reserved) return false
  }
  for (let i: usize = 0; i < 32; i += 8) store<u64>(cpu + i, load<u64>(table + i), CPU_PDPTE)
  return true
}

/** PAE paging outside long mode, with the values the registers are about to have. */
function uses_pdptes(cr0: u32, cr4: u32): bool {
  return (cr0 & CR0_PG) != 0 && (cr4 & CR4_PAE) != 0 && !(load<u32>(cpu, CPU_EFER) & EFER_LME)
}

/** CR3 of a task switch. False: a PDPTE is bad. */
export function cr3_load(value: u64): bool {
  if (uses_pdptes(load<u32>(cpu, CPU_CR0), load<u32>(cpu, CPU_CR4)) && !pdptes_load(value)) return false
  store<u64>(cpu, value, CPU_CR3)
  tlb_flush_local()
  return true
}

/** The TLB follows CR3 and CR4.PCIDE. */
function address_space(keep: bool): void {
  const pcid = load<u32>(cpu, CPU_CR4) & CR4_PCIDE ? load<u32>(cpu, CPU_CR3) & 0xfff : 0
  tlb_select(pcid, keep)
  update_bank()
}

function write_cr3(value: u64): void {
  const cr4 = load<u32>(cpu, CPU_CR4)
  let keep = false
  if (load<u32>(cpu, CPU_EFER) & EFER_LMA) {
    if (cr4 & CR4_PCIDE) {
      keep = (value & CR3_NO_FLUSH) != 0
      value &= ~CR3_NO_FLUSH
    }
    if (value & beyond_physical()) {
      refuse()
      return
    }
  } else {
    value &= 0xffff_ffff
    if (uses_pdptes(load<u32>(cpu, CPU_CR0), cr4) && !pdptes_load(value)) {
      refuse()
      return
    }
  }
  store<u64>(cpu, value, CPU_CR3)
  address_space(keep)
}

// --- CR0, CR4 ------------------------------------------------------------------------------------------------------------

function write_cr0(value: u64): void {
  if (value >> 32 != 0) {
    refuse()
    return
  }
  const old = load<u32>(cpu, CPU_CR0)
  const cr4 = load<u32>(cpu, CPU_CR4)
  const efer = load<u32>(cpu, CPU_EFER)
  const next = (<u32>value & CR0_WRITABLE) | CR0_ET
  const starts = (next & ~old & CR0_PG) != 0
  const stops = (old & ~next & CR0_PG) != 0
  let bad = (next & CR0_PG && !(next & CR0_PE)) || (next & CR0_NW && !(next & CR0_CD))
  if (starts && efer & EFER_LME) {
    // A 16-bit TSS or 64-bit code segment cannot be carried into long mode.
    bad = bad || !(cr4 & CR4_PAE) || (load<u32>(seg(SEG_CS), SEG_ATTR) & ATTR_L) != 0
    bad = bad || !(load<u32>(seg(SEG_TR), SEG_ATTR) & 8)
  }
  if (stops) bad = bad || (cr4 & CR4_PCIDE) != 0 || code64()
  if (bad) {
    refuse()
    return
  }
  const reload = ((old ^ next) & (CR0_PG | CR0_CD | CR0_NW)) != 0 && uses_pdptes(next, cr4)
  if (reload && !pdptes_load(load<u64>(cpu, CPU_CR3))) {
    refuse()
    return
  }
  if (starts && efer & EFER_LME) store<u64>(cpu, load<u64>(cpu, CPU_EFER) | EFER_LMA, CPU_EFER)
  if (stops) store<u64>(cpu, load<u64>(cpu, CPU_EFER) & ~(<u64>EFER_LMA), CPU_EFER)
  store<u64>(cpu, next, CPU_CR0)
  if ((old ^ next) & (CR0_PG | CR0_WP | CR0_PE)) tlb_flush_all()
  avx_gate_update()
  update_mode()
}

/** CR4 bits that this model has. */
function cr4_known(): u32 {
  let bits = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_MCE | CR4_PCE
  if (has(FEATURE_PSE)) bits |= CR4_PSE
  if (has(FEATURE_PAE)) bits |= CR4_PAE
  if (has(FEATURE_PGE)) bits |= CR4_PGE
  if (has(FEATURE_FXSR)) bits |= CR4_OSFXSR | CR4_OSXMMEXCPT
  if (has(FEATURE_UMIP)) bits |= CR4_UMIP
  if (has(FEATURE_VMX)) bits |= CR4_VMXE
  if (has(FEATURE_FSGSBASE)) bits |= CR4_FSGSBASE
  if (has(FEATURE_PCID)) bits |= CR4_PCIDE
  if (has(FEATURE_XSAVE)) bits |= CR4_OSXSAVE
  if (has(FEATURE_SMEP)) bits |= CR4_SMEP
  if (has(FEATURE_SMAP)) bits |= CR4_SMAP
  return bits
}

function write_cr4(value: u64): void {
  const old = load<u32>(cpu, CPU_CR4)
  const next = <u32>value
  const long = (load<u32>(cpu, CPU_EFER) & EFER_LMA) != 0
  let bad = (value & ~(<u64>cr4_known())) != 0
  if (long && !(next & CR4_PAE)) bad = true
  if (next & ~old & CR4_PCIDE && (!long || (load<u64>(cpu, CPU_CR3) & 0xfff) != 0)) bad = true
  if (bad) {
    refuse()
    return
  }
  const paging = (old ^ next) & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP | CR4_SMAP | CR4_PCIDE)
  const reload = ((old ^ next) & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP)) != 0
  if (reload && uses_pdptes(load<u32>(cpu, CPU_CR0), next) && !pdptes_load(load<u64>(cpu, CPU_CR3))) {
    refuse()
    return
  }
  store<u64>(cpu, next, CPU_CR4)
  if (paging) tlb_flush_all()
  if ((old ^ next) & CR4_PCIDE) address_space(true)
  avx_gate_update()
  update_mode()
}

export function sys_mov_from_cr(n: u32): u64 {
  if (!privileged()) return 0
  if (n == 0) return load<u64>(cpu, CPU_CR0)
  if (n == 2) return load<u64>(cpu, CPU_CR2)
  if (n == 3) return load<u64>(cpu, CPU_CR3)
  if (n == 4) return load<u64>(cpu, CPU_CR4)
  if (n == 8) return cr8_read()
  raise(VECTOR_UD)
  return 0
}

export function sys_mov_to_cr(n: u32, value: u64): void {
  if (n != 0 && n != 2 && n != 3 && n != 4 && n != 8) raise(VECTOR_UD)
  else if (!privileged()) return
  else if (n == 0) write_cr0(value)
  else if (n == 2) store<u64>(cpu, value, CPU_CR2)
  else if (n == 3) write_cr3(value)
  else if (n == 4) write_cr4(value)
  else if (value > 15) refuse()
  else cr8_write(value)
}

export function sys_clts(): void {
  if (!privileged()) return
  store<u64>(cpu, load<u64>(cpu, CPU_CR0) & ~(<u64>CR0_TS), CPU_CR0)
  avx_gate_update()
}

/** LMSW: PE, MP, EM, TS; PE can be set but not cleared. */
export function sys_lmsw(value: u32): void {
  if (!privileged()) return
  const old = load<u32>(cpu, CPU_CR0)
  write_cr0((old & ~(CR0_MP | CR0_EM | CR0_TS)) | (value & 0xf))
}

export function sys_smsw(): u64 {
  return umip_allows() ? load<u64>(cpu, CPU_CR0) : 0
}

// --- debug registers -------------------------------------------------------------------------------------------------

/** Resolves DR4/DR5, checks privilege and general detect. 0xff: a fault is pending. */
function debug_register(n: u32): u32 {
  if (n == 4 || n == 5) {
    if (load<u32>(cpu, CPU_CR4) & CR4_DE) {
      raise(VECTOR_UD)
      return 0xff
    }
    n += 2
  }
  if (n > 7) {
    raise(VECTOR_UD)
    return 0xff
  }
  if (!privileged()) return 0xff
  if (load<u32>(cpu, CPU_DR7) & DR7_GD) {
    store<u64>(cpu, (load<u64>(cpu, CPU_DR6) & ~(<u64>0xf)) | DR6_BD, CPU_DR6)
    raise(VECTOR_DB)
    return 0xff
  }
  return n
}

export function sys_mov_from_dr(n: u32): u64 {
  const i = debug_register(n)
  if (i == 0xff) return 0
  if (i == 6) return load<u64>(cpu, CPU_DR6)
  if (i == 7) return load<u64>(cpu, CPU_DR7)
  return load<u64>(cpu + (<usize>i << 3), CPU_DR0)
}

export function sys_mov_to_dr(n: u32, value: u64): void {
  const i = debug_register(n)
  if (i == 0xff) return
  if (i < 4) {
    store<u64>(cpu + (<usize>i << 3), value, CPU_DR0)
  } else if (value >> 32 != 0) {
    refuse()
  } else if (i == 6) {
    store<u64>(cpu, (<u32>value & 0xe00f) | DR6_FIXED, CPU_DR6)
  } else {
    store<u64>(cpu, (<u32>value & 0xffff_23ff) | DR7_FIXED, CPU_DR7)
    update_mode()
  }
}

// --- translation caches ----------------------------------------------------------------------------------------------

export function sys_invlpg(gva: u64): void {
  if (privileged() && canonical(gva)) tlb_flush_page(gva)
}

export function sys_invpcid(type: u64, low: u64, high: u64): void {
  if (!privileged()) return
  const pcid = low & 0xfff
  const enabled = (load<u32>(cpu, CPU_CR4) & CR4_PCIDE) != 0
  const named = type < 2
  if (type > 3 || low >> 12 != 0 || (named && pcid != 0 && !enabled) || (type == 0 && !canonical(high))) {
    refuse()
    return
  }
  if (type == 2) tlb_flush_all()
  else if (type == 3) tlb_flush_locals()
  else if (type == 0) tlb_flush_page_of(<u32>pcid, high)
  else tlb_flush_pcid(<u32>pcid)
}

export function sys_wbinvd(): void {
  privileged()
}

// --- XCR0 ------------------------------------------------------------------------------------------------------------

/** State components that XCR0 may enable. */
function xcr0_known(): u64 {
  return XCR0_X87_SSE | (has(FEATURE_AVX) ? XCR0_AVX : 0)
}

function osxsave(): bool {
  if (load<u32>(cpu, CPU_CR4) & CR4_OSXSAVE) return true
  raise(VECTOR_UD)
  return false
}

export function sys_xgetbv(): void {
  if (!osxsave()) return
  // XCR1 reads as the components in use; saying "all enabled ones" is always allowed.
  if (load<u32>(cpu, CPU_RCX) > 1) {
    refuse()
    return
  }
  const value = load<u64>(cpu, CPU_XCR0)
  store<u64>(cpu, value & 0xffff_ffff, CPU_RAX)
  store<u64>(cpu, value >> 32, CPU_RDX)
}

export function sys_xsetbv(): void {
  if (!osxsave() || !privileged()) return
  const value = <u64>load<u32>(cpu, CPU_RAX) | (<u64>load<u32>(cpu, CPU_RDX) << 32)
  const known = xcr0_known()
  if (load<u32>(cpu, CPU_RCX) != 0 || !(value & 1) || value & ~known || (value & 6) == XCR0_AVX) {
    refuse()
    return
  }
  store<u64>(cpu, value, CPU_XCR0)
  avx_gate_update()
}
