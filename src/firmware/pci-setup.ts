/**
 * PCI facts that firmware fixes and ACPI describes: the IRQs behind the PIIX3's PIRQ pins and the address windows.
 * machine/ programs them when no BIOS runs in the guest.
 */
import { PCI_WINDOW, PCI_WINDOW_END } from './memory-map.ts'

/** ISA IRQs behind PIRQA..PIRQD, as SeaBIOS and QEMU's boards set them. */
export const PIRQ_IRQS = [10, 10, 11, 11] as const

export const PCI_WINDOWS = {
  mmio: { start: PCI_WINDOW, end: PCI_WINDOW_END },
  io: { start: 0xc000, end: 0x1_0000 },
  pirqIrqs: PIRQ_IRQS,
} as const
