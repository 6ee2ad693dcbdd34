/**
 * Power-on, INIT and start-up states of a vCPU (SDM Vol. 3, "Processor Management and Initialization").
 * cpu_reset() also prepares what a fresh CPU struct needs (TLB tags); cpu_init() keeps what INIT keeps: x87 and SSE state,
 * MSRs but EFER, the TSC, CR0.CD and NW, the APIC's id and base.
 */
import {
  CPU_BUDGET,
  CPU_CPL,
  CPU_CR0,
  CPU_CR2,
  CPU_CR3,
  CPU_CR4,
  CPU_DB_PENDING,
  CPU_DR0,
  CPU_DR6,
  CPU_DR7,
  CPU_EFER,
  CPU_EFLAGS,
  CPU_EXITREASON,
  CPU_FAULT,
  CPU_GPR,
  CPU_INDEX,
  CPU_INHIBIT,
  CPU_MSR_MCG_STATUS,
  CPU_MSR_MISC_ENABLE,
  CPU_MSR_MTRR_DEF_TYPE,
  CPU_MSR_MTRR_FIX,
  CPU_MSR_PAT,
  CPU_MSR_STAR,
  CPU_MXCSR,
  CPU_NEXT_RIP,
  CPU_NMI_BLOCKED,
  CPU_OPMASK,
  CPU_PDPTE,
  CPU_RDX,
  CPU_RIP,
  CPU_RMW_ADDR,
  CPU_RUNSTATE,
  CPU_SINGLE,
  CPU_TF_ARMED,
  CPU_X87,
  CPU_X87_CW,
  CPU_X87_FCS,
  CPU_X87_FDP,
  CPU_X87_FDS,
  CPU_X87_FIP,
  CPU_X87_FOP,
  CPU_X87_SW,
  CPU_X87_TAG,
  CPU_X87_TOP,
  CPU_XCR0,
  CPU_XMM,
  CPU_ZERO,
  RUN_RUNNING,
  RUN_WAIT_SIPI,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GDTR,
  SEG_GS,
  SEG_IDTR,
  SEG_LDTR,
  SEG_SS,
  SEG_TR,
} from '../abi/layout.ts'
import { CR0_CD, CR0_ET, CR0_NW, DR6_FIXED, DR7_FIXED, EFLAGS_FIXED } from './arch.ts'
import { cpu_signature } from './cpuid.ts'
import { seg_set } from './descriptor.ts'
import { flags_set } from './flags.ts'
import { lapic_init, lapic_reset } from './irqchip/lapic.ts'
import { avx_gate_update } from './fpu-check.ts'
import { update_mode } from './mode.ts'
import { pv_reset } from './pv.ts'
import { cpu } from './state.ts'
import { tlb_flush_all, tlb_init, tlb_select } from './tlb.ts'

const REAL_DATA: u32 = 0x93 // present, writable, accessed
const REAL_CODE: u32 = 0x9b
const PAT_RESET: u64 = 0x0007_0406_0007_0406

/** What power-on and INIT have in common. */
function common(cr0: u32): void {
  memory.fill(cpu + CPU_GPR, 0, 128)
  store<u64>(cpu, 0, CPU_ZERO)
  store<u64>(cpu, cpu_signature(), CPU_RDX)
  store<u64>(cpu, 0xfff0, CPU_RIP)
  store<u64>(cpu, 0xfff0, CPU_NEXT_RIP)
  store<u32>(cpu, EFLAGS_FIXED, CPU_EFLAGS)
  flags_set(0)
  seg_set(SEG_CS, 0xf000, 0xffff_0000, 0xffff, REAL_CODE)
  seg_set(SEG_SS, 0, 0, 0xffff, REAL_DATA)
  seg_set(SEG_DS, 0, 0, 0xffff, REAL_DATA)
  seg_set(SEG_ES, 0, 0, 0xffff, REAL_DATA)
  seg_set(SEG_FS, 0, 0, 0xffff, REAL_DATA)
  seg_set(SEG_GS, 0, 0, 0xffff, REAL_DATA)
  seg_set(SEG_LDTR, 0, 0, 0xffff, 0x82)
  seg_set(SEG_TR, 0, 0, 0xffff, 0x8b)
  seg_set(SEG_GDTR, 0, 0, 0xffff, 0)
  seg_set(SEG_IDTR, 0, 0, 0xffff, 0)
  store<u64>(cpu, cr0, CPU_CR0)
  store<u64>(cpu, 0, CPU_CR2)
  store<u64>(cpu, 0, CPU_CR3)
  store<u64>(cpu, 0, CPU_CR4)
  avx_gate_update()
  store<u64>(cpu, 0, CPU_EFER)
  memory.fill(cpu + CPU_PDPTE, 0, 32)
  memory.fill(cpu + CPU_DR0, 0, 32)
  store<u64>(cpu, DR6_FIXED, CPU_DR6)
  store<u64>(cpu, DR7_FIXED, CPU_DR7)
  store<u32>(cpu, 0, CPU_CPL)
  store<u32>(cpu, 0, CPU_FAULT)
  store<u32>(cpu, 0, CPU_INHIBIT)
  store<u32>(cpu, 0, CPU_NMI_BLOCKED)
  store<u32>(cpu, 0, CPU_RMW_ADDR)
  store<u32>(cpu, 0, CPU_SINGLE)
  store<u32>(cpu, 0, CPU_TF_ARMED)
  store<u32>(cpu, 0, CPU_DB_PENDING)
  store<u32>(cpu, 0, CPU_BUDGET)
  store<u32>(cpu, 0, CPU_EXITREASON)
  // The boot processor starts at the reset vector, the others wait for a start-up IPI.
  store<u32>(cpu, load<u32>(cpu, CPU_INDEX) == 0 ? RUN_RUNNING : RUN_WAIT_SIPI, CPU_RUNSTATE)
}

/** Power-on or machine reset. The machine has filled CPU_INDEX, CPU_TLB_BANKS, the CPUID table and CPU_FEATURES. */
export function cpu_reset(): void {
  tlb_init()
  common(CR0_CD | CR0_NW | CR0_ET)
  // x87 after reset, not after FNINIT: control word 40h, all registers zero and not empty.
  memory.fill(cpu + CPU_X87, 0, 128)
  store<u16>(cpu, 0x40, CPU_X87_CW)
  store<u16>(cpu, 0, CPU_X87_SW)
  store<u32>(cpu, 0, CPU_X87_TOP)
  store<u32>(cpu, 0xff, CPU_X87_TAG)
  store<u16>(cpu, 0, CPU_X87_FOP)
  store<u64>(cpu, 0, CPU_X87_FIP)
  store<u64>(cpu, 0, CPU_X87_FDP)
  store<u16>(cpu, 0, CPU_X87_FCS)
  store<u16>(cpu, 0, CPU_X87_FDS)
  memory.fill(cpu + CPU_XMM, 0, 32 * 64)
  memory.fill(cpu + CPU_OPMASK, 0, 64)
  store<u32>(cpu, 0x1f80, CPU_MXCSR)
  store<u64>(cpu, 1, CPU_XCR0)
  memory.fill(cpu + CPU_MSR_STAR, 0, CPU_MSR_MCG_STATUS + 8 - CPU_MSR_STAR)
  store<u64>(cpu, PAT_RESET, CPU_MSR_PAT)
  store<u64>(cpu, 1, CPU_MSR_MISC_ENABLE) // fast strings
  // A PC's firmware leaves memory write-back and the VGA window uncached; without firmware nobody else would.
  store<u64>(cpu, 0xc06, CPU_MSR_MTRR_DEF_TYPE)
  memory.fill(cpu + CPU_MSR_MTRR_FIX, 6, 11 * 8)
  store<u64>(cpu, 0, CPU_MSR_MTRR_FIX + 2 * 8) // A0000h
  lapic_reset(cpu)
  pv_reset(cpu)
  update_mode()
}

/** INIT, from another vCPU's ICR or the machine. */
export function cpu_init(): void {
  common((load<u32>(cpu, CPU_CR0) & (CR0_CD | CR0_NW)) | CR0_ET)
  lapic_init(cpu)
  tlb_select(0, true)
  tlb_flush_all()
  update_mode()
}

/** Start-up IPI: ignored unless the vCPU waits for one. */
export function cpu_sipi(vector: u32): void {
  if (load<u32>(cpu, CPU_RUNSTATE) != RUN_WAIT_SIPI) return
  seg_set(SEG_CS, (vector & 0xff) << 8, <u64>(vector & 0xff) << 12, 0xffff, REAL_CODE)
  store<u64>(cpu, 0, CPU_RIP)
  store<u64>(cpu, 0, CPU_NEXT_RIP)
  store<u32>(cpu, RUN_RUNNING, CPU_RUNSTATE)
  update_mode()
}
