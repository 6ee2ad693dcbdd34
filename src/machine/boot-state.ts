/** Puts vCPU 0 into the state in which a loader wants its kernel entered. */
import {
  CPU_CR0,
  CPU_CR3,
  CPU_CR4,
  CPU_EFER,
  CPU_GPR,
  CPU_RIP,
  CPU_SEG,
  CPU_SEG_STRIDE,
  SEG_ATTR,
  SEG_BASE,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GDTR,
  SEG_GS,
  SEG_LIMIT,
  SEG_SELECTOR,
  SEG_SS,
  SEG_TR,
} from '#abi/layout.ts'
import type { BootState, GprName } from '#firmware/boot.ts'
import { BOOT_GDT } from '#firmware/memory-map.ts'
import {
  BOOT_CODE32_ATTR,
  BOOT_CODE64_ATTR,
  BOOT_CS,
  BOOT_DATA_ATTR,
  BOOT_DS,
  BOOT_GDT_BYTES,
  BOOT_TSS,
  BOOT_TSS_ATTR,
} from '#firmware/start-info.ts'

const GPR_NUMBER: Record<GprName, number> = { rax: 0, rcx: 1, rdx: 2, rbx: 3, rsp: 4, rbp: 5, rsi: 6, rdi: 7 }
const CR0_PE_ET = 0x11
const CR0_PG = 0x8000_0000
const CR4_PAE = 0x20
const EFER_LME_LMA = 0x500

/** The CPU must be freshly reset; the caller runs update_mode afterwards. */
export function applyBootState(buffer: ArrayBufferLike, cpu: number, state: BootState): void {
  if (state.kind === 'reset') return
  const view = new DataView(buffer)
  const u64 = (offset: number, value: number): void => view.setBigUint64(cpu + offset, BigInt(value), true)
  const segment = (index: number, selector: number, attr: number, limit: number): void => {
    const at = CPU_SEG + index * CPU_SEG_STRIDE
    u64(at + SEG_BASE, 0)
    view.setUint32(cpu + at + SEG_LIMIT, limit, true)
    view.setUint32(cpu + at + SEG_ATTR, attr, true)
    view.setUint16(cpu + at + SEG_SELECTOR, selector, true)
  }
  const long = state.kind === 'long'
  segment(SEG_CS, BOOT_CS, long ? BOOT_CODE64_ATTR : BOOT_CODE32_ATTR, 0xffff_ffff)
  for (const data of [SEG_DS, SEG_ES, SEG_SS, SEG_FS, SEG_GS])
    segment(data, BOOT_DS, BOOT_DATA_ATTR, 0xffff_ffff)
  segment(SEG_TR, BOOT_TSS, BOOT_TSS_ATTR, 0x67)
  u64(CPU_SEG + SEG_GDTR * CPU_SEG_STRIDE + SEG_BASE, BOOT_GDT)
  view.setUint32(cpu + CPU_SEG + SEG_GDTR * CPU_SEG_STRIDE + SEG_LIMIT, BOOT_GDT_BYTES - 1, true)
  u64(CPU_CR0, long ? CR0_PE_ET + CR0_PG : CR0_PE_ET)
  if (long) {
    u64(CPU_CR3, state.cr3)
    u64(CPU_CR4, CR4_PAE)
    u64(CPU_EFER, EFER_LME_LMA)
  }
  for (let i = 0; i < 16; i++) u64(CPU_GPR + i * 8, 0)
  for (const [name, value] of Object.entries(state.gpr)) u64(CPU_GPR + GPR_NUMBER[name as GprName] * 8, value)
  u64(CPU_RIP, state.rip)
}
