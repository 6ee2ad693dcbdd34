/**
 * RDMSR and WRMSR (SDM Vol. 4). Unknown MSRs and reserved bits raise #GP(0); with VM_IGNORE_MSRS unknown ones read 0 and
 * swallow writes. Owned elsewhere: APIC and TSC deadline (irqchip/msr.ts), KVM's own (pv.ts), the TSC (clock.ts).
 */
import { LOG_MSR, LOG_UNKNOWN_MSR } from '../abi/exits.ts'
import {
  FEATURE_LM,
  FEATURE_NX,
  FEATURE_RDPID,
  FEATURE_RDTSCP,
  FEATURE_SYSCALL,
  FEATURE_XSAVES,
} from '../abi/features.ts'
import {
  CPU_CR0,
  CPU_EFER,
  CPU_FS_BASE,
  CPU_GS_BASE,
  CPU_MC_BANK_COUNT,
  CPU_MSR_CSTAR,
  CPU_MSR_KERNEL_GS_BASE,
  CPU_MSR_LSTAR,
  CPU_MSR_MCG_STATUS,
  CPU_MSR_MC_BANKS,
  CPU_MSR_MISC_ENABLE,
  CPU_MSR_MTRR_DEF_TYPE,
  CPU_MSR_MTRR_FIX,
  CPU_MSR_MTRR_VAR,
  CPU_MSR_PAT,
  CPU_MSR_SFMASK,
  CPU_MSR_SPEC_CTRL,
  CPU_MSR_STAR,
  CPU_MSR_SYSENTER_CS,
  CPU_MSR_SYSENTER_EIP,
  CPU_MSR_SYSENTER_ESP,
  CPU_MSR_TSC_ADJUST,
  CPU_MSR_TSC_AUX,
  CPU_MSR_XSS,
  CPU_RAX,
  CPU_RCX,
  CPU_RDX,
  CPU_TRACE,
  TRACE_MSR,
  VM_IGNORE_MSRS,
  VM_LOG_UNKNOWN,
  VM_MAXPHYADDR,
} from '../abi/layout.ts'
import { CR0_PG, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE } from './arch.ts'
import { tsc_adjust_write, tsc_read, tsc_write } from './clock.ts'
import { privileged } from './control.ts'
import { log_once, log_write } from './exit.ts'
import { has } from './features.ts'
import { apic_msr_owns, apic_msr_read, apic_msr_write } from './irqchip/msr.ts'
import { canonical } from './mmu.ts'
import { update_mode } from './mode.ts'
import { kvm_msr_owns, kvm_msr_read, kvm_msr_write } from './pv.ts'
import { cpu, fault_pending, raise_error, VECTOR_GP, vm } from './state.ts'
import { tlb_flush_all } from './tlb.ts'

/** FEATURE_* of leaf 7 EDX and leaf 1 that only MSRs care about, as bit numbers into CPU_FEATURES. */
const FEATURE_SPEC_CTRL: u32 = 4 * 32 + 26
const FEATURE_ARCH_CAPABILITIES: u32 = 4 * 32 + 29
const FEATURE_SSBD: u32 = 4 * 32 + 31
const FEATURE_MTRR: u32 = 12
const FEATURE_MCA: u32 = 14
const FEATURE_PAT: u32 = 16
const FEATURE_TSC_ADJUST: u32 = 2 * 32 + 1

const MSR_TSC: u32 = 0x10
const MSR_PLATFORM_ID: u32 = 0x17
const MSR_EBL_CR_POWERON: u32 = 0x2a
const MSR_FEATURE_CONTROL: u32 = 0x3a
const MSR_TSC_ADJUST: u32 = 0x3b
const MSR_SPEC_CTRL: u32 = 0x48
const MSR_PRED_CMD: u32 = 0x49
const MSR_BIOS_UPDT_TRIG: u32 = 0x79
const MSR_BIOS_SIGN_ID: u32 = 0x8b
const MSR_PLATFORM_INFO: u32 = 0xce
const MSR_MTRRCAP: u32 = 0xfe
const MSR_ARCH_CAPABILITIES: u32 = 0x10a
const MSR_SYSENTER_CS: u32 = 0x174
const MSR_SYSENTER_ESP: u32 = 0x175
const MSR_SYSENTER_EIP: u32 = 0x176
const MSR_MCG_CAP: u32 = 0x179
const MSR_MCG_STATUS: u32 = 0x17a
const MSR_PERF_STATUS: u32 = 0x198
const MSR_PERF_CTL: u32 = 0x199
const MSR_MISC_ENABLE: u32 = 0x1a0
const MSR_DEBUGCTL: u32 = 0x1d9
const MSR_LAST_BRANCH_FROM: u32 = 0x1db // to 0x1de: last interrupt to
const MSR_MTRR_VAR: u32 = 0x200 // 8 x (base, mask)
const MSR_MTRR_FIX64K: u32 = 0x250
const MSR_MTRR_FIX16K: u32 = 0x258
const MSR_MTRR_FIX4K: u32 = 0x268
const MSR_PAT: u32 = 0x277
const MSR_MTRR_DEF_TYPE: u32 = 0x2ff
const MSR_MC0_CTL: u32 = 0x400
const MSR_XSS: u32 = 0xda0
const MSR_EFER: u32 = 0xc000_0080
const MSR_STAR: u32 = 0xc000_0081
const MSR_LSTAR: u32 = 0xc000_0082
const MSR_CSTAR: u32 = 0xc000_0083
const MSR_SFMASK: u32 = 0xc000_0084
const MSR_FS_BASE: u32 = 0xc000_0100 // then GS base, kernel GS base
const MSR_GS_BASE: u32 = 0xc000_0101
const MSR_TSC_AUX: u32 = 0xc000_0103

/**
 * Nothing runs speculatively here (SDM Vol. 4, 10AH): RDCL_NO 0, IBRS_ALL 1, SKIP_L1DFL_VMENTRY 3, SSB_NO 4, MDS_NO 5,
 * IF_PSCHANGE_MC_NO 6, TAA_NO 8, SBDR_SSDP_NO 13, FBSDP_NO 14, PSDP_NO 15, BHI_NO 20, PBRSB_NO 24, GDS_NO 26, RFDS_NO 27,
 * and ITS_NO 62, which only virtual machine monitors set. Kernels skip costly work at each system call and return for them.
 */
const ARCH_CAPABILITIES: u64 = 0x4000_0000_0d10_e17b
const MTRRCAP: u64 = 0x508 // 8 variable ranges, fixed ranges, write combining

/** Set when an MSR does not exist, as opposed to one that refuses a value. */
let unknown: bool = false

// @ts-ignore: AssemblyScript decorator
@inline
function field(offset: usize): u64 {
  return load<u64>(cpu + offset)
}

/** Field of a fixed-range MTRR (SDM Vol. 3, "Fixed Range MTRRs"), 0 if the index is none. */
function fixed_mtrr(index: u32): u32 {
  let i: u32
  if (index == MSR_MTRR_FIX64K) i = 0
  else if (index - MSR_MTRR_FIX16K < 2) i = 1 + index - MSR_MTRR_FIX16K
  else if (index - MSR_MTRR_FIX4K < 8) i = 3 + index - MSR_MTRR_FIX4K
  else return 0
  return CPU_MSR_MTRR_FIX + (i << 3)
}

/** The field that simply holds an MSR's value, 0 if it has none. */
function plain_field(index: u32): u32 {
  const base = base_field(index)
  if (base) return base
  if (index - MSR_MTRR_VAR < 16) return has(FEATURE_MTRR) ? CPU_MSR_MTRR_VAR + ((index - MSR_MTRR_VAR) << 3) : 0
  if (index - MSR_MC0_CTL < <u32>(CPU_MC_BANK_COUNT * 4)) {
    return has(FEATURE_MCA) ? CPU_MSR_MC_BANKS + ((index - MSR_MC0_CTL) << 3) : 0
  }
  const fixed = fixed_mtrr(index)
  if (fixed) return has(FEATURE_MTRR) ? fixed : 0
  switch (index) {
    case MSR_SYSENTER_CS:
      return CPU_MSR_SYSENTER_CS
    case MSR_SYSENTER_ESP:
      return CPU_MSR_SYSENTER_ESP
    case MSR_SYSENTER_EIP:
      return CPU_MSR_SYSENTER_EIP
    case MSR_TSC_ADJUST:
      return has(FEATURE_TSC_ADJUST) ? CPU_MSR_TSC_ADJUST : 0
    case MSR_SPEC_CTRL:
      return has(FEATURE_SPEC_CTRL) || has(FEATURE_SSBD) ? CPU_MSR_SPEC_CTRL : 0
    case MSR_MCG_STATUS:
      return has(FEATURE_MCA) ? CPU_MSR_MCG_STATUS : 0
    case MSR_MISC_ENABLE:
      return CPU_MSR_MISC_ENABLE
    case MSR_PAT:
      return has(FEATURE_PAT) ? CPU_MSR_PAT : 0
    case MSR_MTRR_DEF_TYPE:
      return has(FEATURE_MTRR) ? CPU_MSR_MTRR_DEF_TYPE : 0
    case MSR_XSS:
      return has(FEATURE_XSAVES) ? CPU_MSR_XSS : 0
    case MSR_EFER:
      return has(FEATURE_LM) || has(FEATURE_NX) || has(FEATURE_SYSCALL) ? CPU_EFER : 0
    case MSR_STAR:
      return has(FEATURE_SYSCALL) ? CPU_MSR_STAR : 0
    case MSR_LSTAR:
      return has(FEATURE_LM) ? CPU_MSR_LSTAR : 0
    case MSR_CSTAR:
      return has(FEATURE_LM) ? CPU_MSR_CSTAR : 0
    case MSR_SFMASK:
      return has(FEATURE_LM) ? CPU_MSR_SFMASK : 0
    case MSR_TSC_AUX:
      return has(FEATURE_RDTSCP) || has(FEATURE_RDPID) ? CPU_MSR_TSC_AUX : 0
    default:
      return 0
  }
}

/** IA32_FS_BASE, IA32_GS_BASE, IA32_KERNEL_GS_BASE: written at every switch between programs, so looked at first. */
function base_field(index: u32): u32 {
  if (index - MSR_FS_BASE > 2 || !has(FEATURE_LM)) return 0
  return index == MSR_FS_BASE ? CPU_FS_BASE : index == MSR_GS_BASE ? CPU_GS_BASE : CPU_MSR_KERNEL_GS_BASE
}

/** Value of an MSR; `unknown` or a fault says that there is none. */
export function msr_read(index: u32): u64 {
  unknown = false
  if (apic_msr_owns(index)) return apic_msr_read(index)
  const at = plain_field(index)
  if (at) return field(at)
  if (kvm_msr_owns(index)) return kvm_msr_read(index)
  switch (index) {
    case MSR_TSC:
      return tsc_read()
    case MSR_FEATURE_CONTROL:
      return 1 // locked, without VMX
    case MSR_BIOS_SIGN_ID:
      return 0x1_0000_0000 // a microcode revision that needs no update
    case MSR_MTRRCAP:
      if (has(FEATURE_MTRR)) return MTRRCAP
      break
    case MSR_ARCH_CAPABILITIES:
      if (has(FEATURE_ARCH_CAPABILITIES)) return ARCH_CAPABILITIES
      break
    case MSR_MCG_CAP:
      // CPU_MC_BANK_COUNT banks; software error recovery (bit 24)
      if (has(FEATURE_MCA)) return 0x100_0000 | CPU_MC_BANK_COUNT
      break
    case MSR_PLATFORM_ID:
    case MSR_EBL_CR_POWERON:
    case MSR_PLATFORM_INFO:
    case MSR_PERF_STATUS:
    case MSR_PERF_CTL:
    case MSR_DEBUGCTL:
      return 0
    default:
      if (index - MSR_LAST_BRANCH_FROM < 4) return 0
  }
  unknown = true
  return 0
}

/** Memory types that a byte of a PAT or MTRR may hold (SDM Vol. 3, "Memory Types and Their Properties"). */
function types_valid(value: u64, patUncached: bool): bool {
  for (let i = 0; i < 8; i++) {
    const type = <u32>(value >> (i << 3)) & 0xff
    if (type > 7 || type == 2 || type == 3 || (type == 7 && !patUncached)) return false
  }
  return true
}

function write_efer(value: u64): bool {
  let known: u64 = 0
  if (has(FEATURE_SYSCALL)) known |= EFER_SCE
  if (has(FEATURE_LM)) known |= EFER_LME | EFER_LMA
  if (has(FEATURE_NX)) known |= EFER_NXE
  if (value & ~known) return false
  const old = load<u64>(cpu, CPU_EFER)
  if ((old ^ value) & EFER_LME && load<u32>(cpu, CPU_CR0) & CR0_PG) return false
  store<u64>(cpu, (value & ~(<u64>EFER_LMA)) | (old & EFER_LMA), CPU_EFER)
  if ((old ^ value) & EFER_NXE) tlb_flush_all()
  update_mode()
  return true
}

/** Checks a value for an MSR with a plain field. */
function accepts(index: u32, value: u64): bool {
  const beyond = ~((<u64>1 << load<u32>(vm, VM_MAXPHYADDR)) - 1)
  if (index - MSR_MTRR_VAR < 16) {
    if (index & 1) return (value & (beyond | 0x7ff)) == 0
    return (value & (beyond | 0xf00)) == 0 && types_valid(value & 0xff, false)
  }
  if (index - MSR_MC0_CTL < <u32>(CPU_MC_BANK_COUNT * 4)) {
    // CTL takes all ones or none, STATUS and ADDR may only be cleared.
    const part = (index - MSR_MC0_CTL) & 3
    return part == 0 ? value == 0 || value == ~(<u64>0) : part == 3 || value == 0
  }
  if (fixed_mtrr(index)) return types_valid(value, false)
  switch (index) {
    case MSR_SYSENTER_ESP:
    case MSR_SYSENTER_EIP:
    case MSR_LSTAR:
    case MSR_CSTAR:
      return canonical(value)
    case MSR_PAT:
      return types_valid(value, true)
    case MSR_MTRR_DEF_TYPE:
      return (value & ~(<u64>0xcff)) == 0 && types_valid(value & 0xff, false)
    case MSR_TSC_AUX:
      return value >> 32 == 0
    case MSR_SPEC_CTRL:
      return (value & ~(<u64>0x407)) == 0 // IBRS, STIBP, SSBD, BHI_DIS_S
    case MSR_XSS:
      return value == 0
    case MSR_SFMASK:
      return value >> 32 == 0
    default:
      return true
  }
}

/** False: #GP(0), or `unknown`. */
export function msr_write(index: u32, value: u64): bool {
  unknown = false
  const base = base_field(index)
  if (base) {
    if (!canonical(value)) return false
    store<u64>(cpu + base, value)
    return true
  }
  if (apic_msr_owns(index)) return apic_msr_write(index, value)
  const at = plain_field(index)
  if (at) {
    if (index == MSR_EFER) return write_efer(value)
    if (!accepts(index, value)) return false
    if (index == MSR_TSC_ADJUST) tsc_adjust_write(value)
    else store<u64>(cpu + at, value)
    return true
  }
  if (kvm_msr_owns(index)) return kvm_msr_write(index, value)
  switch (index) {
    case MSR_TSC:
      tsc_write(value)
      return true
    case MSR_PRED_CMD:
      if (has(FEATURE_SPEC_CTRL)) return (value & ~(<u64>1)) == 0
      break
    case MSR_BIOS_UPDT_TRIG:
    case MSR_BIOS_SIGN_ID:
    case MSR_EBL_CR_POWERON:
    case MSR_PERF_CTL:
      return true
    case MSR_DEBUGCTL:
      return value == 0 // no branch records, no single-step on branches
    case MSR_FEATURE_CONTROL: // locked
    case MSR_MTRRCAP:
    case MSR_ARCH_CAPABILITIES:
    case MSR_MCG_CAP:
      return false
    default:
      if (index - MSR_LAST_BRANCH_FROM < 4) return true
  }
  unknown = true
  return false
}

/** What an unknown MSR does: #GP(0), or with VM_IGNORE_MSRS nothing. */
function report_unknown(index: u32, value: u64, write: bool): void {
  if (load<u32>(vm, VM_LOG_UNKNOWN)) log_once(LOG_UNKNOWN_MSR, <u64>index | (<u64>(write ? 1 : 0) << 32), value)
  if (!load<u32>(vm, VM_IGNORE_MSRS)) raise_error(VECTOR_GP, 0)
}

function trace(index: u32, value: u64, write: bool): void {
  if (load<u32>(cpu, CPU_TRACE) & TRACE_MSR) log_write(LOG_MSR, <u64>index | (<u64>(write ? 1 : 0) << 32), value)
}

export function sys_rdmsr(): void {
  if (!privileged()) return
  const index = load<u32>(cpu, CPU_RCX)
  const value = msr_read(index)
  if (unknown) report_unknown(index, 0, false)
  if (fault_pending()) return
  trace(index, value, false)
  store<u64>(cpu, value & 0xffff_ffff, CPU_RAX)
  store<u64>(cpu, value >> 32, CPU_RDX)
}

export function sys_wrmsr(): void {
  if (!privileged()) return
  const index = load<u32>(cpu, CPU_RCX)
  const value = <u64>load<u32>(cpu, CPU_RAX) | (<u64>load<u32>(cpu, CPU_RDX) << 32)
  if (msr_write(index, value)) trace(index, value, true)
  else if (unknown) report_unknown(index, value, true)
  else raise_error(VECTOR_GP, 0)
}
