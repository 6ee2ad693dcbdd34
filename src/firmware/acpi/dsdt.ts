/**
 * DSDT of the `pc` machine: PCI root with windows and interrupt routing, ISA devices, sleep state S5, power button,
 * processors. The routing matches what pci-setup.ts programs into the PIIX3 PIRQ registers.
 */
import { ACPI_GPE0_BASE, ACPI_PM_BASE, PCI_WINDOW, PCI_WINDOW_END, VGA_WINDOW } from '../memory-map.ts'
import { PIRQ_IRQS } from '../pci-setup.ts'
import * as aml from './aml.ts'
import type { Aml } from './aml.ts'

const PCI_SLOTS = 32
const PINS = 4

/** GSI of slot and pin: the PIIX3 swizzle (slot + pin) mod 4 through the PIRQ registers. */
export const pciGsi = (slot: number, pin: number): number => PIRQ_IRQS[(slot + pin + 3) & 3] ?? 11

function interruptRouting(): Aml {
  const entries: Aml[] = []
  for (let slot = 0; slot < PCI_SLOTS; slot++) {
    for (let pin = 0; pin < PINS; pin++) {
      entries.push(
        aml.packageOf([
          aml.integer(slot * 0x1_0000 + 0xffff),
          aml.integer(pin),
          aml.integer(0),
          aml.integer(pciGsi(slot, pin)),
        ]),
      )
    }
  }
  // A Package holds up to 255 elements; 128 here.
  return aml.name('_PRT', aml.packageOf(entries))
}

const uart = (id: string, uid: number, port: number, irq: number): Aml =>
  aml.device(id, [
    aml.name('_HID', aml.eisaId('PNP0501')),
    aml.name('_UID', aml.integer(uid)),
    aml.name('_STA', aml.integer(0xf)),
    aml.name('_CRS', aml.resources([aml.io(port, port, 0, 8), aml.irqNoFlags(irq)])),
  ])

export interface DsdtConfig {
  readonly uarts: number
  readonly keyboard: boolean
}

const UARTS = [
  { port: 0x3f8, irq: 4 },
  { port: 0x2f8, irq: 3 },
  { port: 0x3e8, irq: 4 },
  { port: 0x2e8, irq: 3 },
] as const

const ps2 = (): Aml[] => [
  aml.device('KBD', [
    aml.name('_HID', aml.eisaId('PNP0303')),
    aml.name('_STA', aml.integer(0xf)),
    aml.name('_CRS', aml.resources([aml.io(0x60, 0x60, 1, 1), aml.io(0x64, 0x64, 1, 1), aml.irqNoFlags(1)])),
  ]),
  aml.device('MOU', [
    aml.name('_HID', aml.eisaId('PNP0F13')),
    aml.name('_STA', aml.integer(0xf)),
    aml.name('_CRS', aml.resources([aml.irqNoFlags(12)])),
  ]),
]

/** The AML body (without table header). */
export function dsdtBody(config: DsdtConfig): Uint8Array {
  const isa = aml.device('ISA', [
    aml.name('_ADR', aml.integer(0x0001_0000)),
    aml.device('RTC', [
      aml.name('_HID', aml.eisaId('PNP0B00')),
      aml.name('_CRS', aml.resources([aml.io(0x70, 0x70, 1, 8), aml.irqNoFlags(8)])),
    ]),
    ...(config.keyboard ? ps2() : []),
    ...UARTS.slice(0, config.uarts).map(({ port, irq }, i) => uart(`COM${i + 1}`, i + 1, port, irq)),
  ])
  const root = aml.device('PCI0', [
    aml.name('_HID', aml.eisaId('PNP0A03')),
    aml.name('_UID', aml.integer(0)),
    aml.name(
      '_CRS',
      aml.resources([
        aml.wordSpace('bus', 0, 0xff),
        aml.io(0xcf8, 0xcf8, 1, 8),
        aml.wordSpace('io', 0x0000, 0x0cf7),
        aml.wordSpace('io', 0x0d00, 0xffff),
        aml.dwordMemory(VGA_WINDOW, 0xb_ffff, true),
        aml.dwordMemory(PCI_WINDOW, PCI_WINDOW_END - 1, false),
      ]),
    ),
    interruptRouting(),
    isa,
    // Ports of the power-management block belong to the board, not to any driver.
    aml.device('PMRS', [
      aml.name('_HID', aml.eisaId('PNP0C02')),
      aml.name('_UID', aml.integer(1)),
      aml.name(
        '_CRS',
        aml.resources([
          aml.io(ACPI_PM_BASE, ACPI_PM_BASE, 1, 0x40),
          aml.io(ACPI_GPE0_BASE, ACPI_GPE0_BASE, 1, 4),
        ]),
      ),
    ]),
  ])
  const body = [
    ...aml.scope('\\_SB', [root]),
    // SLP_TYP of S5 is 0 on the PIIX4.
    ...aml.name('\\_S5', aml.packageOf([aml.integer(0), aml.integer(0), aml.integer(0), aml.integer(0)])),
  ]
  return Uint8Array.from(body)
}
