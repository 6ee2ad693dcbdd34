/**
 * The boot GDT and identity page tables that direct kernel boot starts with
 * (Linux Documentation/arch/x86/boot.rst, "32-bit" and "64-bit boot protocol": selectors 0x10 and 0x18).
 */
import { ByteWriter } from './byte-writer.ts'
import { type BootMemory } from './boot.ts'
import { BOOT_GDT, BOOT_PAGE_TABLES } from './memory-map.ts'

export const BOOT_CS = 0x10
export const BOOT_DS = 0x18
export const BOOT_TSS = 0x20
export const BOOT_GDT_BYTES = 0x28

/** Access rights of the boot segments as SEG_ATTR holds them (descriptor bits 40-55). */
export const BOOT_CODE32_ATTR = 0xc9b
export const BOOT_CODE64_ATTR = 0xa9b
export const BOOT_DATA_ATTR = 0xc93
export const BOOT_TSS_ATTR = 0x08b

/** Writes the GDT: null, null, code, data, TSS. */
export function writeBootGdt(memory: BootMemory, code: 'protected' | 'long'): void {
  const gdt = new ByteWriter()
    .u64(0)
    .u64(0)
    .u32(0x0000_ffff)
    .u32(code === 'long' ? 0x00af_9b00 : 0x00cf_9b00)
    .u32(0x0000_ffff)
    .u32(0x00cf_9300)
    .u32(0x0000_0067)
    .u32(0x0000_8b00)
  memory.write(BOOT_GDT, gdt.finish())
}

const PTE_PRESENT_WRITE = 3
const PDE_LARGE = 0x83

/** Identity map of the first 4 GiB in 2 MiB pages; returns CR3. */
export function writeIdentityTables(memory: BootMemory): number {
  const pml4 = BOOT_PAGE_TABLES
  const pdpt = pml4 + 0x1000
  const directories = pdpt + 0x1000
  const tables = new ByteWriter()
  tables.u64(pdpt | PTE_PRESENT_WRITE).zeros(4096 - 8)
  for (let i = 0; i < 4; i++) tables.u64((directories + i * 0x1000) | PTE_PRESENT_WRITE)
  tables.zeros(4096 - 32)
  for (let i = 0; i < 2048; i++) tables.u64(i * 0x20_0000 + PDE_LARGE)
  memory.write(pml4, tables.finish())
  return pml4
}
