/**
 * What a BIOS does to PCI before an operating system runs, for machines that boot a kernel directly: sizes and places
 * BARs, enables decoding, routes INTx pins, opens the power-management block. With firmware in ROM none of this runs.
 */
import { ACPI_PM_BASE, PCI_WINDOW, PCI_WINDOW_END } from './memory-map.ts'

/** ISA IRQs behind PIRQA..PIRQD, as SeaBIOS and QEMU's boards set them. */
export const PIRQ_IRQS = [10, 10, 11, 11] as const

const PCI_IO_FIRST = 0xc000
const PCI_IO_END = 0x1_0000

/** Configuration space access by bus/device/function and register offset; values are unsigned. */
export interface PciConfigAccess {
  read(bdf: number, offset: number, bytes: 1 | 2 | 4): number
  write(bdf: number, offset: number, bytes: 1 | 2 | 4, value: number): void
}

const VENDOR_ID = 0x00
const COMMAND = 0x04
const HEADER_TYPE = 0x0e
const BAR0 = 0x10
const INTERRUPT_LINE = 0x3c
const INTERRUPT_PIN = 0x3d
const COMMAND_IO = 1
const COMMAND_MEMORY = 2
const COMMAND_MASTER = 4
const BAR_IO = 1
const BAR_64 = 4
const PIIX3_ISA = 0x7000_8086
const PIIX4_PM = 0x7113_8086
const PIIX3_PIRQ = 0x60
const PIIX4_PMBASE = 0x40
const PIIX4_PMREGMISC = 0x80

export class PciResourceError extends Error {
  override readonly name = 'PciResourceError'
}

interface Bar {
  readonly bdf: number
  readonly offset: number
  readonly bytes: number
  readonly io: boolean
  readonly wide: boolean
}

/** Places every BAR of bus 0; largest first so that natural alignment wastes nothing. */
export function setUpPci(config: PciConfigAccess): void {
  const functions = listFunctions(config)
  const bars = functions.flatMap((bdf) => sizeBars(config, bdf)).sort((a, b) => b.bytes - a.bytes)
  let io = PCI_IO_FIRST
  let memory = PCI_WINDOW
  for (const bar of bars) {
    const base = Math.ceil((bar.io ? io : memory) / bar.bytes) * bar.bytes
    const end = base + bar.bytes
    if (end > (bar.io ? PCI_IO_END : PCI_WINDOW_END)) {
      throw new PciResourceError(`no room in the PCI ${bar.io ? 'I/O' : 'memory'} window for a BAR of ${bar.bytes} bytes: remove a device`)
    }
    config.write(bar.bdf, bar.offset, 4, base)
    if (bar.wide) config.write(bar.bdf, bar.offset + 4, 4, 0)
    if (bar.io) io = end
    else memory = end
  }
  for (const bdf of functions) configureFunction(config, bdf)
}

function listFunctions(config: PciConfigAccess): number[] {
  const found: number[] = []
  for (let slot = 0; slot < 32; slot++) {
    const first = slot << 3
    if (config.read(first, VENDOR_ID, 2) === 0xffff) continue
    const functions = (config.read(first, HEADER_TYPE, 1) & 0x80) !== 0 ? 8 : 1
    for (let fn = 0; fn < functions; fn++) {
      if (config.read(first | fn, VENDOR_ID, 2) !== 0xffff) found.push(first | fn)
    }
  }
  return found
}

function sizeBars(config: PciConfigAccess, bdf: number): Bar[] {
  const bars: Bar[] = []
  for (let i = 0; i < 6; i++) {
    const offset = BAR0 + i * 4
    const old = config.read(bdf, offset, 4)
    config.write(bdf, offset, 4, 0xffff_ffff)
    const mask = config.read(bdf, offset, 4)
    config.write(bdf, offset, 4, old)
    if (mask === 0) continue
    const io = (mask & BAR_IO) !== 0
    const wide = !io && (mask & 6) === BAR_64
    const bytes = (~(mask & (io ? 0xffff_fffc : 0xffff_fff0)) + 1) >>> 0
    // An I/O BAR decodes 16 bits; its upper half reads as zero.
    bars.push({ bdf, offset, bytes: io ? bytes & 0xffff : bytes, io, wide })
    if (wide) i++
  }
  return bars
}

function configureFunction(config: PciConfigAccess, bdf: number): void {
  const id = config.read(bdf, VENDOR_ID, 4)
  if (id === PIIX3_ISA) PIRQ_IRQS.forEach((irq, i) => config.write(bdf, PIIX3_PIRQ + i, 1, irq))
  if (id === PIIX4_PM) {
    config.write(bdf, PIIX4_PMBASE, 4, ACPI_PM_BASE | 1)
    config.write(bdf, PIIX4_PMREGMISC, 1, 1)
  }
  const pin = config.read(bdf, INTERRUPT_PIN, 1)
  if (pin >= 1 && pin <= 4) {
    const slot = (bdf >> 3) & 31
    config.write(bdf, INTERRUPT_LINE, 1, PIRQ_IRQS[(slot + pin - 1 + 3) & 3] ?? 11)
  }
  const command = config.read(bdf, COMMAND, 2)
  config.write(bdf, COMMAND, 2, command | COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER)
}
