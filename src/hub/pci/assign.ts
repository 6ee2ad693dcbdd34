/**
 * What PC firmware does to the bus before it starts an operating system: BAR addresses, decoding on, interrupt lines.
 * Machine assembly calls it when no BIOS runs in the guest. Largest BARs first, each naturally aligned.
 */
import { alignUp } from '#base/bits.ts'

import * as cfg from './config-space.ts'
import { PIRQ_COUNT, type PciBus } from './bus.ts'
import type { BarSpec, PciFunction } from './function.ts'

export interface PciWindows {
  /** Half-open range of guest-physical addresses below 4 GiB. */
  readonly mmio: { readonly start: number; readonly end: number }
  readonly io: { readonly start: number; readonly end: number }
  /** ISA IRQ of PIRQ A-D. */
  readonly pirqIrqs: readonly [number, number, number, number]
}

export class PciAssignError extends Error {
  override readonly name = 'PciAssignError'
}

export function assignPciResources(bus: PciBus, windows: PciWindows): void {
  const next = { io: windows.io.start, mmio: windows.mmio.start }
  const all = [...bus.functions()].flatMap(({ device }) => device.bars.map((bar) => ({ device, bar })))
  for (const { device, bar } of all.toSorted((a, b) => b.bar.bytes - a.bar.bytes)) {
    const kind = bar.space === 'io' ? 'io' : 'mmio'
    const base = alignUp(next[kind], bar.bytes)
    if (base + bar.bytes > windows[kind].end) {
      throw new PciAssignError(
        `BAR ${bar.index} of ${bar.bytes} bytes does not fit in the PCI ${kind} window`,
      )
    }
    next[kind] = base + bar.bytes
    writeBar(device, bar, base)
  }
  routePirqs(bus, windows.pirqIrqs)
  for (const { slot, device } of bus.functions()) {
    const command = device.readConfig(cfg.PCI_COMMAND, 2)
    const decode = device.bars.reduce(
      (bits, bar) => bits | (bar.space === 'io' ? cfg.PCI_COMMAND_IO : cfg.PCI_COMMAND_MEMORY),
      0,
    )
    device.writeConfig(cfg.PCI_COMMAND, 2, command | decode)
    const pin = device.readConfig(cfg.PCI_INTERRUPT_PIN, 1)
    if (pin === 0) continue
    const irq = windows.pirqIrqs[(pin - 1 + slot - 1 + PIRQ_COUNT) % PIRQ_COUNT] as number
    device.writeConfig(cfg.PCI_INTERRUPT_LINE, 1, irq)
  }
}

const CLASS_ISA_BRIDGE = 0x0601
const PIRQRC = 0x60

/** PIRQRC[A:D] of the PIIX3 (data sheet), one ISA IRQ per byte. */
function routePirqs(bus: PciBus, irqs: PciWindows['pirqIrqs']): void {
  for (const { device } of bus.functions()) {
    if (device.readConfig(cfg.PCI_CLASS_PROG + 1, 2) !== CLASS_ISA_BRIDGE) continue
    irqs.forEach((irq, pirq) => device.writeConfig(PIRQRC + pirq, 1, irq))
  }
}

function writeBar(device: PciFunction, bar: BarSpec, base: number): void {
  const at = cfg.PCI_BASE_ADDRESS_0 + 4 * bar.index
  device.writeConfig(at, 4, base % 2 ** 32)
  if (bar.space === 'mem64') device.writeConfig(at + 4, 4, Math.floor(base / 2 ** 32))
}
