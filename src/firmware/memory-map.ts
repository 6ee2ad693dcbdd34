/**
 * The guest-physical layout of the `pc` machine type and where boot data is put. All addresses are gpas in bytes.
 * What a guest can see of this never changes under an existing machine type.
 *
 *   0x0000_0500  GDT and boot structures for direct kernel boot     0x000a_0000  VGA window
 *   0x0000_7000  zero page / PVH start_info                         0x000c_0000  option ROMs
 *   0x0000_9000  identity page tables for the 64-bit entry          0x000e_0000  ACPI, SMBIOS (RAM, reserved)
 *   0x0002_0000  kernel command line                                0x0010_0000  kernel, upwards
 *   0x0009_fc00  EBDA                                               .. LOW_RAM_END at most, rest above 4 GiB
 */
export const BOOT_GDT = 0x500
export const BOOT_INFO = 0x7000
export const BOOT_PAGE_TABLES = 0x9000
export const BOOT_CMDLINE = 0x2_0000
/** Longest command line, terminator included: Linux's COMMAND_LINE_SIZE on x86. */
export const BOOT_CMDLINE_MAX = 2048
export const BOOT_MODULES = 0x2_1000
export const EBDA = 0x9_fc00
export const VGA_WINDOW = 0xa_0000
export const FIRMWARE_TABLES = 0xe_0000
export const FIRMWARE_TABLES_END = 0x10_0000
export const HIGH_MEMORY = 0x10_0000

/** RAM below the PCI hole ends here at most; more RAM continues at 4 GiB. */
export const LOW_RAM_MAX = 0xc000_0000
export const ABOVE_4G = 0x1_0000_0000
export const PCI_WINDOW = 0xe000_0000
export const PCI_WINDOW_END = 0xfeb0_0000
export const IOAPIC_BASE = 0xfec0_0000
export const LAPIC_BASE = 0xfee0_0000

export const ACPI_PM_BASE = 0x600
export const ACPI_GPE0_BASE = 0xafe0
export const ACPI_SCI_IRQ = 9

export type E820Type = 'ram' | 'reserved' | 'acpi' | 'nvs'

export interface E820Entry {
  readonly start: number
  readonly bytes: number
  readonly type: E820Type
}

/** Numbers of the e820 types (ACPI 6.4 section 15.1). */
export const E820_TYPE: Record<E820Type, number> = { ram: 1, reserved: 2, acpi: 3, nvs: 4 }

/** Smallest memory a machine may have: below that no kernel of the x86-64 age starts. */
export const MIN_RAM_BYTES = 0x10_0000

export interface RamLayout {
  /** Bytes of RAM from gpa 0. */
  readonly low: number
  /** Bytes of RAM from gpa 4 GiB. */
  readonly high: number
}

export function ramLayout(bytes: number): RamLayout {
  const low = Math.min(bytes, LOW_RAM_MAX)
  return { low, high: bytes - low }
}

/** The memory map that firmware reports, for every boot protocol. */
export function e820Map(ramBytes: number): E820Entry[] {
  const { low, high } = ramLayout(ramBytes)
  const map: E820Entry[] = [
    { start: 0, bytes: EBDA, type: 'ram' },
    { start: EBDA, bytes: VGA_WINDOW - EBDA, type: 'reserved' },
    { start: FIRMWARE_TABLES, bytes: FIRMWARE_TABLES_END - FIRMWARE_TABLES, type: 'reserved' },
    { start: HIGH_MEMORY, bytes: Math.max(0, low - HIGH_MEMORY), type: 'ram' },
    { start: 0xfffc_0000, bytes: 0x4_0000, type: 'reserved' },
  ]
  if (high > 0) map.push({ start: ABOVE_4G, bytes: high, type: 'ram' })
  return map.filter((entry) => entry.bytes > 0)
}
