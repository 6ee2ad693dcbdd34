/** Host bridge, ISA bridge and power management together: configuration cycles, BARs, interrupt routing, ACPI. */
import { describe, expect, it } from 'vitest'

import * as exits from '#abi/exits.ts'
import * as abi from '#abi/layout.ts'
import { assignPciResources } from '#hub/pci/assign.ts'
import { TestHub } from '#testkit/test-hub.ts'

import { i440fx, pciTestdev, piix3, piix4Pm, virtioRng } from './catalog.ts'
import { GPE0_BASE, PM_BASE, type Piix4Pm, SCI_IRQ } from './piix4-pm.ts'

const TESTDEV_SLOT = 4
const RNG_SLOT = 5
const WINDOWS = {
  mmio: { start: 0xe000_0000, end: 0xfeb0_0000 },
  io: { start: 0xc000, end: 0x1_0000 },
  pirqIrqs: [10, 10, 11, 11],
} as const

function setUp(): { test: TestHub; pm: Piix4Pm; pam: [number, number, boolean, boolean][] } {
  const test = new TestHub()
  const pam: [number, number, boolean, boolean][] = []
  test.hub.addDevice(i440fx, {
    name: 'bridge',
    pci: { slot: 0 },
    ports: { setPam: (...call) => pam.push(call) },
  })
  test.hub.addDevice(piix3, { name: 'isa', pci: { slot: 1, fn: 0 } })
  const pm = test.hub.addDevice(piix4Pm, { name: 'pm', pci: { slot: 1, fn: 3 } })
  test.hub.addDevice(pciTestdev, { name: 'testdev', pci: { slot: TESTDEV_SLOT } })
  test.hub.addDevice(virtioRng, {
    name: 'rng',
    pci: { slot: RNG_SLOT },
    ports: { entropy: { fill: () => undefined } },
  })
  return { test, pm, pam }
}

describe('PCI configuration', () => {
  it('shows the functions that are there and all ones elsewhere', () => {
    const { test } = setUp()

    expect(test.configRead(0, 0, 0)).toBe(0x1237_8086)
    expect(test.configRead(1, 0, 0)).toBe(0x7000_8086)
    expect(test.configRead(1, 0, 0xe, 1)).toBe(0x80)
    expect(test.configRead(1, 3, 0)).toBe(0x7113_8086)
    expect(test.configRead(1, 1, 0)).toBe(0xffff_ffff)
    expect(test.configRead(31, 7, 0)).toBe(0xffff_ffff)
  })

  it('answers only on bus 0 and only while enabled', () => {
    const { test } = setUp()
    test.out(0xcf8, 0x8001_0000, 4)
    expect(test.in(0xcfc, 4)).toBe(0xffff_ffff)
    test.out(0xcf8, 0, 4)
    expect(test.in(0xcfc, 4)).toBe(0xffff_ffff)
    test.out(0xcf8, 0x8000_0000, 4)
    expect(test.in(0xcf8, 4)).toBe(0x8000_0000)
    expect(test.in(0xcfe, 2)).toBe(0x1237)
  })

  it('lets vCPUs read what is there, and what is not, from shared memory', () => {
    const { test } = setUp()
    const entry = (slot: number, fn: number): number =>
      test.view.getUint32(test.vm + abi.VM_PCI_FUNCTIONS + 4 * (8 * slot + fn), true)
    expect([entry(1, 1), entry(31, 7)]).toEqual([0, 0])
    for (const [slot, fn] of [
      [0, 0],
      [1, 3],
      [TESTDEV_SLOT, 0],
      [RNG_SLOT, 0],
    ] as const) {
      const image = entry(slot, fn) & ~63
      for (let at = 0; at < 256; at += 4)
        if (at >> 2 !== (entry(slot, fn) & 63) || at === 0)
          expect([slot, at, test.view.getUint32(image + at, true)]).toEqual([
            slot,
            at,
            test.configRead(slot, fn, at),
          ])
    }
    test.configWrite(1, 3, 0x3c, 0x0b, 1)
    expect(test.view.getUint8((entry(1, 3) & ~63) + 0x3c)).toBe(0x0b)
    // The access window of virtio shows what the driver pointed it at: only the hub knows.
    expect(entry(RNG_SLOT, 0) & 63).toBeGreaterThan(0)
    expect([test.portClass(0xcf8), test.portClass(0xcfd)]).toMatchObject([
      { write: exits.ACCESS_KERNEL, kernelDevice: exits.KDEV_PCI },
      { read: exits.ACCESS_KERNEL, write: exits.ACCESS_SYNC, kernelDevice: exits.KDEV_PCI },
    ])
  })

  it('gives the size of a BAR when all ones are written', () => {
    const { test } = setUp()
    test.configWrite(TESTDEV_SLOT, 0, 0x10, 0xffff_ffff)
    test.configWrite(TESTDEV_SLOT, 0, 0x14, 0xffff_ffff)
    test.configWrite(TESTDEV_SLOT, 0, 0x18, 0xffff_ffff)
    test.configWrite(RNG_SLOT, 0, 0x20, 0xffff_ffff)
    test.configWrite(RNG_SLOT, 0, 0x24, 0xffff_ffff)

    expect(test.configRead(TESTDEV_SLOT, 0, 0x10)).toBe(0xffff_f000)
    expect(test.configRead(TESTDEV_SLOT, 0, 0x14)).toBe(0x0000_ff01)
    expect(test.configRead(TESTDEV_SLOT, 0, 0x18)).toBe(0)
    expect(test.configRead(RNG_SLOT, 0, 0x20)).toBe(0xffff_c00c)
    expect(test.configRead(RNG_SLOT, 0, 0x24)).toBe(0xffff_ffff)
  })

  it('decodes a BAR only while the command register says so, and moves it', () => {
    const { test } = setUp()
    test.configWrite(TESTDEV_SLOT, 0, 0x10, 0xe000_0000)
    expect(test.mmioClass(0xe000_0000)).toBeUndefined()
    test.configWrite(TESTDEV_SLOT, 0, 4, 3, 2)
    expect(test.mmioClass(0xe000_0fff)?.read).toBe(exits.ACCESS_SYNC)

    test.configWrite(TESTDEV_SLOT, 0, 0x10, 0xe010_0000)
    expect(test.mmioClass(0xe000_0000)).toBeUndefined()
    expect(test.mmioClass(0xe010_0000)?.read).toBe(exits.ACCESS_SYNC)
    test.configWrite(TESTDEV_SLOT, 0, 4, 0, 2)
    expect(test.mmioClass(0xe010_0000)).toBeUndefined()
  })

  it('survives a BAR that a guest lays over another, and says so once', () => {
    const { test } = setUp()
    test.configWrite(TESTDEV_SLOT, 0, 0x10, 0xe000_0000)
    test.configWrite(TESTDEV_SLOT, 0, 4, 2, 2)
    test.configWrite(RNG_SLOT, 0, 0x14, 0xe000_0000)
    test.configWrite(RNG_SLOT, 0, 4, 2, 2)
    test.configWrite(RNG_SLOT, 0, 4, 2, 2)

    expect(test.logs.filter((line) => line.includes('overlaps'))).toHaveLength(1)
    test.configWrite(RNG_SLOT, 0, 0x14, 0xe100_0000)
    expect(test.mmioClass(0xe100_0000)).toBeDefined()
  })

  it('keeps the range table sorted and its sequence even', () => {
    const { test } = setUp()
    assignPciResources(test.hub.pci, WINDOWS)

    const starts = test.hub.mmio.list()
    expect(starts).toEqual([...starts].toSorted())
    expect(test.view.getUint32(test.vm + 0x20, true) % 2).toBe(0)
  })

  it('assigns resources as firmware does', () => {
    const { test } = setUp()
    assignPciResources(test.hub.pci, WINDOWS)

    expect(test.configRead(1, 0, 0x60)).toBe(0x0b0b_0a0a)
    expect(test.configRead(TESTDEV_SLOT, 0, 4, 2) & 3).toBe(3)
    // INTA of slot 5: PIRQ (5 - 1) mod 4 = A
    expect(test.configRead(RNG_SLOT, 0, 0x3c, 1)).toBe(10)
  })

  it('counts writes as pci-testdev does', () => {
    const { test } = setUp()
    assignPciResources(test.hub.pci, WINDOWS)
    const base = test.configRead(TESTDEV_SLOT, 0, 0x10) & ~0xf
    const memory = base >>> 0
    test.store(memory, 0, 1)
    const offset = test.load(memory + 4)
    const data = test.load(memory + 8)
    for (let i = 0; i < 3; i++) test.store(memory + offset, data, 1)
    test.store(memory + offset, data ^ 1, 1)

    expect(test.load(memory + 12)).toBe(3)
    expect(String.fromCharCode(test.load(memory + 16, 1), test.load(memory + 17, 1))).toBe('mm')
  })
})

describe('PIRQ routing', () => {
  it('follows the routing register while the line is asserted', () => {
    const { test } = setUp()
    test.hub.pci.setIntx(5, 0, 0, true)
    expect(test.gsiChanges).toEqual([])
    test.configWrite(1, 0, 0x60, 0x0a, 1)
    expect(test.gsiLevels.get(10)).toBe(1)
    test.configWrite(1, 0, 0x60, 0x0b, 1)
    expect([test.gsiLevels.get(10), test.gsiLevels.get(11)]).toEqual([0, 1])
    test.configWrite(1, 0, 0x60, 0x80, 1)
    expect(test.gsiLevels.get(11)).toBe(0)
  })

  it('ors devices that share a line', () => {
    const { test } = setUp()
    test.configWrite(1, 0, 0x60, 0x0a, 1)
    test.hub.pci.setIntx(5, 0, 0, true)
    test.hub.pci.setIntx(9, 0, 0, true)
    test.hub.pci.setIntx(5, 0, 0, false)
    expect(test.gsiLevels.get(10)).toBe(1)
    test.hub.pci.setIntx(9, 0, 0, false)
    expect(test.gsiLevels.get(10)).toBe(0)
  })

  it('ignores reserved IRQs', () => {
    const { test } = setUp()
    test.hub.pci.setIntx(5, 0, 0, true)
    for (const irq of [0, 1, 2, 8, 13]) test.configWrite(1, 0, 0x60, irq, 1)

    expect(test.gsiChanges).toEqual([])
  })
})

describe('reset and shadow RAM', () => {
  it('resets by a rising bit 2 of 0xcf9', () => {
    const { test } = setUp()
    test.out(0xcf9, 2)
    expect(test.events).toEqual([])
    test.out(0xcf9, 6)
    expect(test.events).toEqual([{ type: 'reset', by: 'port 0xcf9' }])
  })

  it('passes PAM registers on', () => {
    const { test, pam } = setUp()
    pam.length = 0
    test.configWrite(0, 0, 0x59, 0x30, 1)

    expect(pam[0]).toEqual([0xf_0000, 0x10_0000, true, true])
    expect(pam).toHaveLength(13)
  })
})

describe('ACPI power management', () => {
  it('says that system management mode is set up, which a BIOS would else wait for', () => {
    const { test } = setUp()

    expect(test.hub.pci.configRead(1, 3, 0x58, 4) & 0x0200_0000).not.toBe(0)
  })

  it('powers off by S5', () => {
    const { test } = setUp()
    test.out(PM_BASE + 4, 0x2001, 2)

    expect(test.events).toEqual([{ type: 'poweroff', by: 'pm' }])
    expect(test.in(PM_BASE + 4, 2)).toBe(1)
  })

  it('raises the SCI for the power button once ACPI mode and the event are enabled', () => {
    const { test, pm } = setUp()
    test.out(0xb2, 0xf1)
    expect(test.in(PM_BASE + 4, 2)).toBe(1)
    test.out(PM_BASE + 2, 0x100, 2)
    pm.pressPowerButton()
    expect(test.gsiLevels.get(SCI_IRQ)).toBe(1)

    test.out(PM_BASE, 0x100, 2)
    expect(test.gsiLevels.get(SCI_IRQ)).toBe(0)
  })

  it('gives the timer to the kernel and moves with PMBASE', () => {
    const { test } = setUp()
    expect(test.portClass(PM_BASE + 8)).toEqual({
      read: exits.ACCESS_KERNEL,
      write: exits.ACCESS_IGNORE,
      kernelDevice: exits.KDEV_PMTIMER,
    })

    test.configWrite(1, 3, 0x40, 0xb001)
    expect(test.portClass(PM_BASE).read).toBe(exits.ACCESS_NONE)
    expect(test.portClass(0xb008).kernelDevice).toBe(exits.KDEV_PMTIMER)
    test.configWrite(1, 3, 0x80, 0, 1)
    expect(test.portClass(0xb000).read).toBe(exits.ACCESS_NONE)
  })

  it('reports general-purpose events', () => {
    const { test, pm } = setUp()
    test.out(0xb2, 0xf1)
    test.out(GPE0_BASE + 2, 2, 2)
    pm.raiseGpe(1)
    expect(test.gsiLevels.get(SCI_IRQ)).toBe(1)
    test.out(GPE0_BASE, 2, 2)
    expect(test.gsiLevels.get(SCI_IRQ)).toBe(0)
  })
})
