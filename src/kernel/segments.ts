/**
 * Segment registers: loads with all their checks, address formation with limits and types, descriptor-table
 * registers, LAR/LSL/VERR/VERW, FS and GS bases. SDM Vol. 3, "Protection"; Vol. 2 for each instruction.
 */
import {
  CPU_CPL,
  CPU_CR4,
  CPU_FS_BASE,
  CPU_GS_BASE,
  CPU_INHIBIT,
  CPU_MODE,
  CPU_MSR_KERNEL_GS_BASE,
  MODE_LMA,
  MODE_PE,
  SEG_ATTR,
  SEG_ATTR_UNUSABLE,
  SEG_BASE,
  SEG_DS,
  SEG_FS,
  SEG_GDTR,
  SEG_GS,
  SEG_IDTR,
  SEG_LDTR,
  SEG_LIMIT,
  SEG_SELECTOR,
  SEG_SS,
  SEG_TR,
} from '../abi/layout.ts'
import {
  ATTR_CODE,
  ATTR_EXPAND_DOWN,
  ATTR_S,
  ATTR_WRITABLE,
  CR4_FSGSBASE,
  CR4_UMIP,
  TYPE_CALL,
  TYPE_CALL16,
  TYPE_LDT,
  TYPE_TASK_GATE,
  TYPE_TSS,
  TYPE_TSS16,
  TYPE_TSS16_BUSY,
  TYPE_TSS_BUSY,
} from './arch.ts'
import {
  d_address,
  d_attr,
  d_base,
  d_high,
  d_limit,
  descriptor_address,
  descriptor_mark_accessed,
  descriptor_read,
  descriptor_upper,
  dpl_of,
  is_conforming,
  is_null,
  is_readable,
  is_writable_data,
  present,
  seg_set,
  seg_set_descriptor,
  seg_set_null,
  selector_fault,
  selector_of,
  type_of,
  within_limit,
} from './descriptor.ts'
import { canonical, lin_or8 } from './mmu.ts'
import { code64, protected_mode, update_mode } from './mode.ts'
import { cpu, fault_pending, raise, raise_error, seg, VECTOR_GP, VECTOR_NP, VECTOR_SS, VECTOR_UD } from './state.ts'

function refuse(i: u32): u64 {
  raise_error(i == SEG_SS ? VECTOR_SS : VECTOR_GP, 0)
  return 0
}

/**
 * Linear address of segment:offset, checked for an access; access = bytes | 0x100 for a write. The offset is truncated
 * to the address size already. Returns 0 with #GP(0) or #SS(0) pending.
 */
export function seg_linear(segByte: u32, offset: u64, access: u32): u64 {
  const i = segByte & 7
  const at = seg(i)
  const bytes = access & 0xff
  if (code64()) {
    const lin = i >= <u32>SEG_FS ? load<u64>(at, SEG_BASE) + offset : offset
    if (bytes == 0) return lin // an address only: INVLPG
    return canonical(lin) && canonical(lin + bytes - 1) ? lin : refuse(i)
  }
  if (bytes == 0) return (load<u64>(at, SEG_BASE) + offset) & 0xffff_ffff
  const attr = load<u32>(at, SEG_ATTR)
  // Writable data that grows up, in any mode: per-CPU data of 32-bit kernels and thread data of their programs.
  if ((attr & (SEG_ATTR_UNUSABLE | ATTR_S | ATTR_CODE | ATTR_EXPAND_DOWN | ATTR_WRITABLE)) == (ATTR_S | ATTR_WRITABLE)) {
    if (offset + bytes - 1 > <u64>load<u32>(at, SEG_LIMIT)) return refuse(i)
    return (load<u64>(at, SEG_BASE) + offset) & 0xffff_ffff
  }
  if (load<u32>(cpu, CPU_MODE) & MODE_PE) {
    if (attr & SEG_ATTR_UNUSABLE) return refuse(i)
    if (access & 0x100 ? !is_writable_data(attr) : !is_readable(attr)) return refuse(i)
  }
  if (!within_limit(attr, load<u32>(at, SEG_LIMIT), offset, bytes)) return refuse(i)
  return (load<u64>(at, SEG_BASE) + offset) & 0xffff_ffff
}

/** Real and virtual-8086 mode: the base follows the selector, limit and rights stay as they are. */
export function seg_set_real(i: i32, selector: u32): void {
  store<u16>(seg(i), <u16>selector, SEG_SELECTOR)
  store<u64>(seg(i), <u64>(selector & 0xffff) << 4, SEG_BASE)
}

/** Checks a stack selector for `cpl`; #vector(selector) on a bad one, #SS(selector) if not present. d_* is its descriptor. */
export function check_stack(selector: u32, cpl: u32, vector: u32): bool {
  if (!descriptor_read(selector, vector)) return false
  if ((selector & 3) != cpl || dpl_of(d_attr) != cpl || !is_writable_data(d_attr)) {
    return selector_fault(vector, selector)
  }
  return present(d_attr) || selector_fault(VECTOR_SS, selector)
}

/** Checks a data selector (not null) for DS, ES, FS, GS. */
function check_data(selector: u32, cpl: u32, vector: u32): bool {
  if (!descriptor_read(selector, vector)) return false
  if (!is_readable(d_attr)) return selector_fault(vector, selector)
  if (!is_conforming(d_attr) && (dpl_of(d_attr) < cpl || dpl_of(d_attr) < (selector & 3))) {
    return selector_fault(vector, selector)
  }
  return present(d_attr) || selector_fault(VECTOR_NP, selector)
}

export function sys_load_seg(i: u32, selector: u32): void {
  selector &= 0xffff
  if (!protected_mode()) {
    seg_set_real(i, selector)
  } else if (is_null(selector)) {
    if (i == SEG_SS) {
      if (!code64() || load<u32>(cpu, CPU_CPL) == 3 || (selector & 3) != load<u32>(cpu, CPU_CPL)) {
        raise_error(VECTOR_GP, 0)
        return
      }
    }
    seg_set_null(i, selector)
  } else {
    const cpl = load<u32>(cpu, CPU_CPL)
    if (i == SEG_SS ? !check_stack(selector, cpl, VECTOR_GP) : !check_data(selector, cpl, VECTOR_GP)) return
    if (!descriptor_mark_accessed()) return
    seg_set_descriptor(i, selector)
  }
  if (i == SEG_SS) store<u32>(cpu, 2, CPU_INHIBIT)
  if (i <= <u32>SEG_DS && !code64()) update_mode()
}

/** After a return to an outer level: data segments the new level may not use become null (SDM Vol. 2, RET). */
export function drop_inner_segments(cpl: u32): void {
  drop_inner(0, cpl) // ES
  drop_inner(SEG_DS, cpl)
  drop_inner(SEG_FS, cpl)
  drop_inner(SEG_GS, cpl)
}

function drop_inner(i: i32, cpl: u32): void {
  const attr = load<u32>(seg(i), SEG_ATTR)
  if (attr & SEG_ATTR_UNUSABLE) return
  // Unlike an explicit load of null, the base stays: 64-bit programs keep their FS and GS bases.
  if (!is_conforming(attr) && dpl_of(attr) < cpl) {
    store<u32>(seg(i), attr | SEG_ATTR_UNUSABLE, SEG_ATTR)
    store<u16>(seg(i), 0, SEG_SELECTOR)
  }
}

// --- descriptor-table registers ------------------------------------------------------------------------------------

/** CPL 0 and protected mode, as LLDT and LTR want. */
function system_allowed(): bool {
  if (!protected_mode()) {
    raise(VECTOR_UD)
    return false
  }
  if (load<u32>(cpu, CPU_CPL) != 0) {
    raise_error(VECTOR_GP, 0)
    return false
  }
  return true
}

/** Checks an LDT selector and loads LDTR; shared with task switches (#TS there). */
export function load_ldt(selector: u32, vector: u32, notPresent: u32): bool {
  if (is_null(selector)) {
    seg_set(SEG_LDTR, selector, 0, 0, SEG_ATTR_UNUSABLE)
    return true
  }
  if (selector & 4) return selector_fault(vector, selector)
  if (!descriptor_read(selector, vector)) return false
  if (type_of(d_attr) != TYPE_LDT) return selector_fault(vector, selector)
  if (!present(d_attr)) return selector_fault(notPresent, selector)
  if (load<u32>(cpu, CPU_MODE) & MODE_LMA) {
    if (!descriptor_upper(selector, vector)) return false
    if (!canonical(d_base)) return selector_fault(vector, selector)
  }
  seg_set_descriptor(SEG_LDTR, selector)
  return true
}

export function sys_lldt(selector: u32): void {
  if (system_allowed()) load_ldt(selector & 0xffff, VECTOR_GP, VECTOR_NP)
}

export function sys_ltr(selector: u32): void {
  selector &= 0xffff
  if (!system_allowed()) return
  if (is_null(selector)) {
    raise_error(VECTOR_GP, 0)
    return
  }
  if (selector & 4) {
    selector_fault(VECTOR_GP, selector)
    return
  }
  if (!descriptor_read(selector, VECTOR_GP)) return
  const long = (load<u32>(cpu, CPU_MODE) & MODE_LMA) != 0
  const type = type_of(d_attr)
  if (type != TYPE_TSS && (type != TYPE_TSS16 || long)) {
    selector_fault(VECTOR_GP, selector)
    return
  }
  if (!present(d_attr)) {
    selector_fault(VECTOR_NP, selector)
    return
  }
  if (long) {
    if (!descriptor_upper(selector, VECTOR_GP)) return
    if (!canonical(d_base)) {
      selector_fault(VECTOR_GP, selector)
      return
    }
  }
  lin_or8(d_address + 5, 2)
  if (fault_pending()) return
  seg_set(SEG_TR, selector, d_base, d_limit, d_attr | 2)
}

/** UMIP: SGDT, SIDT, SLDT, STR and SMSW belong to CPL 0 (SDM Vol. 3, "Control Registers", CR4.UMIP). */
export function umip_allows(): bool {
  if (load<u32>(cpu, CPU_CPL) == 0 || !(load<u32>(cpu, CPU_CR4) & CR4_UMIP)) return true
  raise_error(VECTOR_GP, 0)
  return false
}

function selector_store(i: i32): u32 {
  if (!protected_mode()) {
    raise(VECTOR_UD)
    return 0
  }
  return umip_allows() ? selector_of(i) : 0
}

export function sys_sldt(): u32 {
  return selector_store(SEG_LDTR)
}

export function sys_str(): u32 {
  return selector_store(SEG_TR)
}

function load_table(i: i32, limit: u32, base: u64): void {
  if (load<u32>(cpu, CPU_CPL) != 0 || (code64() && !canonical(base))) {
    raise_error(VECTOR_GP, 0)
    return
  }
  store<u64>(seg(i), base, SEG_BASE)
  store<u32>(seg(i), limit & 0xffff, SEG_LIMIT)
}

export function sys_lgdt(limit: u32, base: u64): void {
  load_table(SEG_GDTR, limit, base)
}

export function sys_lidt(limit: u32, base: u64): void {
  load_table(SEG_IDTR, limit, base)
}

export function sys_sgdt(): u64 {
  return umip_allows() ? load<u64>(seg(SEG_GDTR), SEG_BASE) : 0
}

export function sys_sgdt_limit(): u32 {
  return load<u32>(seg(SEG_GDTR), SEG_LIMIT)
}

export function sys_sidt(): u64 {
  return umip_allows() ? load<u64>(seg(SEG_IDTR), SEG_BASE) : 0
}

export function sys_sidt_limit(): u32 {
  return load<u32>(seg(SEG_IDTR), SEG_LIMIT)
}

// --- LAR, LSL, VERR, VERW --------------------------------------------------------------------------------------------

/** Reads a descriptor that the program may see; false without a fault means ZF = 0. */
function visible(selector: u32): bool {
  if (is_null(selector) || descriptor_address(selector, 8) == ~(<u64>0)) return false
  if (!descriptor_read(selector, VECTOR_GP)) return false
  if (is_conforming(d_attr)) return true
  return dpl_of(d_attr) >= load<u32>(cpu, CPU_CPL) && dpl_of(d_attr) >= (selector & 3)
}

/** System types that the instruction accepts, as a bit mask by type. */
function system_types(gates: bool): u32 {
  const long = (load<u32>(cpu, CPU_MODE) & MODE_LMA) != 0
  let types: u32 = (1 << TYPE_LDT) | (1 << TYPE_TSS) | (1 << TYPE_TSS_BUSY)
  if (!long) types |= (1 << TYPE_TSS16) | (1 << TYPE_TSS16_BUSY)
  if (gates) types |= long ? 1 << TYPE_CALL : (1 << TYPE_CALL) | (1 << TYPE_CALL16) | (1 << TYPE_TASK_GATE)
  return types
}

function legacy_real(): bool {
  if (protected_mode()) return false
  raise(VECTOR_UD)
  return true
}

/** The access-rights dword, masked as LAR stores it in 32 bits; ~0 = ZF clear. */
export function sys_lar(selector: u32): u64 {
  if (legacy_real() || !visible(selector & 0xffff)) return ~(<u64>0)
  if (!(d_attr & ATTR_S) && !((system_types(true) >> type_of(d_attr)) & 1)) return ~(<u64>0)
  // bits 16-19, the upper limit, are undefined by the manual; processors leave them in
  return d_high & 0x00ff_ff00
}

/** The limit in bytes; ~0 = ZF clear. */
export function sys_lsl(selector: u32): u64 {
  if (legacy_real() || !visible(selector & 0xffff)) return ~(<u64>0)
  if (!(d_attr & ATTR_S) && !((system_types(false) >> type_of(d_attr)) & 1)) return ~(<u64>0)
  return d_limit
}

export function sys_verr(selector: u32): u32 {
  return !legacy_real() && visible(selector & 0xffff) && is_readable(d_attr) ? 1 : 0
}

export function sys_verw(selector: u32): u32 {
  return !legacy_real() && visible(selector & 0xffff) && is_writable_data(d_attr) ? 1 : 0
}

// --- FS and GS bases -------------------------------------------------------------------------------------------------

export function sys_swapgs(): void {
  if (load<u32>(cpu, CPU_CPL) != 0) {
    raise_error(VECTOR_GP, 0)
    return
  }
  const base = load<u64>(cpu, CPU_GS_BASE)
  store<u64>(cpu, load<u64>(cpu, CPU_MSR_KERNEL_GS_BASE), CPU_GS_BASE)
  store<u64>(cpu, base, CPU_MSR_KERNEL_GS_BASE)
}

function fsgsbase_allowed(): bool {
  if (load<u32>(cpu, CPU_CR4) & CR4_FSGSBASE) return true
  raise(VECTOR_UD)
  return false
}

function write_base(field: usize, base: u64): void {
  if (!fsgsbase_allowed()) return
  if (canonical(base)) store<u64>(cpu + field, base)
  else raise_error(VECTOR_GP, 0)
}

export function sys_rdfsbase(): u64 {
  return fsgsbase_allowed() ? load<u64>(cpu, CPU_FS_BASE) : 0
}

export function sys_rdgsbase(): u64 {
  return fsgsbase_allowed() ? load<u64>(cpu, CPU_GS_BASE) : 0
}

export function sys_wrfsbase(base: u64): void {
  write_base(CPU_FS_BASE, base)
}

export function sys_wrgsbase(base: u64): void {
  write_base(CPU_GS_BASE, base)
}
