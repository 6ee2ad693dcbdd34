/**
 * Everything derived from mode, privilege and segments: CPU_MODE, the address and stack masks, the TLB bank in force.
 * Call update_mode() after any change of CR0, CR4, EFER, CPL, CS, SS, DS, ES, EFLAGS.VM, AC or DR7.
 */
import {
  CPU_AMASK,
  CPU_CPL,
  CPU_CR0,
  CPU_CR4,
  CPU_DR7,
  CPU_EFER,
  CPU_EFLAGS,
  CPU_MODE,
  CPU_SMASK,
  CPU_TLB,
  MODE_CPL3,
  MODE_CS16,
  MODE_CS32,
  MODE_CS64,
  MODE_CS_MASK,
  MODE_FLAT,
  MODE_LMA,
  MODE_PE,
  MODE_SS32,
  MODE_VM86,
  SEG_ATTR,
  SEG_ATTR_UNUSABLE,
  SEG_BASE,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_LIMIT,
  SEG_SS,
  TLB_BANK_SUPERVISOR,
  TLB_BANK_SUPERVISOR_AC,
  TLB_BANK_USER,
} from '../abi/layout.ts'
import {
  ATTR_CODE,
  ATTR_DB,
  ATTR_EXPAND_DOWN,
  ATTR_L,
  ATTR_S,
  ATTR_WRITABLE,
  CR0_PE,
  CR4_SMAP,
  DR7_ENABLES,
  EFER_LMA,
  EFLAGS_AC,
  EFLAGS_VM,
} from './arch.ts'
import { alignment_checks, update_single } from './debug.ts'
import { cpu, seg } from './state.ts'
import { stack_forget, tlb_bank, tlb_missing } from './tlb.ts'

/** Base 0, 4 GiB, writable data growing up. */
function flat_data(i: i32): bool {
  const attr = load<u32>(seg(i), SEG_ATTR)
  const mask = SEG_ATTR_UNUSABLE | ATTR_S | ATTR_CODE | ATTR_EXPAND_DOWN | ATTR_WRITABLE
  return (
    (attr & mask) == (ATTR_S | ATTR_WRITABLE) &&
    load<u32>(seg(i), SEG_LIMIT) == <u32>0xffff_ffff &&
    load<u64>(seg(i), SEG_BASE) == 0
  )
}

/** Base 0, 4 GiB, readable: what a CS override may rely on. */
function flat_code(): bool {
  const attr = load<u32>(seg(SEG_CS), SEG_ATTR)
  return (
    (attr & ATTR_WRITABLE) != 0 &&
    load<u32>(seg(SEG_CS), SEG_LIMIT) == <u32>0xffff_ffff &&
    load<u64>(seg(SEG_CS), SEG_BASE) == 0
  )
}

/** The part of the mode that EFLAGS.AC, the CPL and the address space decide: the TLB bank that generated code looks into. */
export function update_bank(): void {
  let bank: u32 = TLB_BANK_SUPERVISOR
  let never = (load<u32>(cpu, CPU_DR7) & DR7_ENABLES) != 0
  if (load<u32>(cpu, CPU_CPL) == 3) {
    bank = TLB_BANK_USER
    never = never || alignment_checks()
  } else if (load<u32>(cpu, CPU_EFLAGS) & EFLAGS_AC && load<u32>(cpu, CPU_CR4) & CR4_SMAP) bank = TLB_BANK_SUPERVISOR_AC
  store<u32>(cpu, never ? tlb_missing() : <u32>tlb_bank(bank), CPU_TLB)
  stack_forget()
}

/** update_mode() where CS is a 64-bit segment: nothing depends on other segments, and virtual-8086 mode is not there. */
function update_mode64(): void {
  if ((load<u32>(cpu, CPU_MODE) & MODE_CS_MASK) != MODE_CS64) {
    store<u64>(cpu, ~(<u64>0), CPU_AMASK)
    store<u64>(cpu, ~(<u64>0), CPU_SMASK)
  }
  const mode = MODE_PE | MODE_LMA | MODE_CS64 | MODE_FLAT | MODE_SS32
  store<u32>(cpu, load<u32>(cpu, CPU_CPL) == 3 ? mode | MODE_CPL3 : mode, CPU_MODE)
  update_bank()
  update_single()
}

export function update_mode(): void {
  const code = load<u32>(seg(SEG_CS), SEG_ATTR)
  if (code & ATTR_L && load<u32>(cpu, CPU_EFER) & EFER_LMA) {
    update_mode64()
    return
  }
  const flags = load<u32>(cpu, CPU_EFLAGS)
  let mode: u32 = 0
  if (load<u32>(cpu, CPU_CR0) & CR0_PE) {
    mode = MODE_PE
    if (flags & EFLAGS_VM) {
      mode |= MODE_VM86
      store<u32>(cpu, 3, CPU_CPL)
    }
  } else store<u32>(cpu, 0, CPU_CPL)
  if (load<u32>(cpu, CPU_CPL) == 3) mode |= MODE_CPL3
  if (load<u32>(cpu, CPU_EFER) & EFER_LMA) mode |= MODE_LMA
  mode |= code & ATTR_DB ? MODE_CS32 : MODE_CS16
  if (load<u32>(seg(SEG_SS), SEG_ATTR) & ATTR_DB) mode |= MODE_SS32
  if (flat_data(SEG_DS) && flat_data(SEG_SS) && flat_data(SEG_ES) && flat_code()) mode |= MODE_FLAT
  store<u32>(cpu, mode, CPU_MODE)
  store<u64>(cpu, (mode & MODE_CS_MASK) == MODE_CS32 ? 0xffff_ffff : 0xffff, CPU_AMASK)
  store<u64>(cpu, mode & MODE_SS32 ? 0xffff_ffff : 0xffff, CPU_SMASK)
  update_bank()
  update_single()
}

// @ts-ignore: AssemblyScript decorator
@inline
export function protected_mode(): bool {
  return (load<u32>(cpu, CPU_MODE) & (MODE_PE | MODE_VM86)) == MODE_PE
}

// @ts-ignore: AssemblyScript decorator
@inline
export function long_mode(): bool {
  return (load<u32>(cpu, CPU_MODE) & MODE_LMA) != 0
}

// @ts-ignore: AssemblyScript decorator
@inline
export function code64(): bool {
  return (load<u32>(cpu, CPU_MODE) & MODE_CS_MASK) == MODE_CS64
}
