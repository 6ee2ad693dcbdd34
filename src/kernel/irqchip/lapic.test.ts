import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { CPU_SIPI_VECTOR, REQ_INIT, REQ_INTERRUPT, REQ_NMI, REQ_SIPI } from '#abi/layout.ts'
import { TestMachine, compileChips, cpuAddress } from './testing-machine.ts'

const ICR_LOW = 0x300
const ICR_HIGH = 0x310
const LEVEL_ASSERT = 0x4000
const LOGICAL = 0x800

let module: WebAssembly.Module
let m: TestMachine

beforeAll(async () => {
  module = await compileChips()
}, 60_000)

beforeEach(() => {
  m = new TestMachine(module, 4)
  m.enableLapics()
})

const ipi = (from: number, low: number, destination = 0): void => {
  m.lapicWrite(from, ICR_HIGH, destination << 24)
  m.lapicWrite(from, ICR_LOW, low)
}
const enableX2apic = (index: number): void => {
  const base = m.cpu(index).apic_msr_read(0x1b)
  expect(m.cpu(index).apic_msr_write(0x1b, base | 0x400n)).toBe(1)
}

describe('priorities', () => {
  it('delivers the highest vector first and nests by class', () => {
    ipi(0, 0x31, 1)
    ipi(0, 0x92, 1)
    expect(m.cpu(1).irq_ack()).toBe(0x92)
    expect(m.cpu(1).irq_pending()).toBe(0) // 0x31 is below the class in service
    ipi(0, 0x9f, 1) // same class: must wait
    expect(m.cpu(1).irq_pending()).toBe(0)
    ipi(0, 0xa0, 1)
    expect(m.cpu(1).irq_ack()).toBe(0xa0)
    m.cpu(1).irq_eoi()
    expect(m.cpu(1).irq_pending()).toBe(0)
    m.cpu(1).irq_eoi()
    expect(m.drain(1)).toEqual([0x9f, 0x31])
  })

  it('holds back what TPR masks until it is lowered, and then asks for a look', () => {
    m.cpu(1).cr8_write(5n)
    ipi(0, 0x51, 1)
    expect(m.cpu(1).irq_pending()).toBe(0)
    expect(m.lapicRead(1, 0xa0)).toBe(0x50)
    m.takeRequests(1)
    m.cpu(1).cr8_write(4n)
    expect(m.takeRequests(1) & REQ_INTERRUPT).toBe(REQ_INTERRUPT)
    expect(m.drain(1)).toEqual([0x51])
  })

  it('finds every vector that was requested, once', () => {
    const vectors = [16, 31, 32, 63, 64, 127, 128, 191, 224, 255]
    for (const vector of vectors) {
      ipi(0, vector, 1)
      ipi(0, vector, 1)
    }
    expect(m.drain(1)).toEqual(vectors.toReversed())
  })
})

describe('IPIs', () => {
  it('reaches one APIC by physical id, all by broadcast', () => {
    ipi(0, 0x40, 2)
    expect([0, 1, 2, 3].map((i) => m.drain(i))).toEqual([[], [], [0x40], []])
    ipi(0, 0x41, 0xff)
    expect([0, 1, 2, 3].map((i) => m.drain(i))).toEqual([[0x41], [0x41], [0x41], [0x41]])
  })

  it('follows the shorthands', () => {
    ipi(1, 0x40 | (1 << 18))
    expect([0, 1, 2, 3].map((i) => m.drain(i))).toEqual([[], [0x40], [], []])
    ipi(1, 0x41 | (2 << 18))
    expect([0, 1, 2, 3].map((i) => m.drain(i))).toEqual([[0x41], [0x41], [0x41], [0x41]])
    ipi(1, 0x42 | (3 << 18))
    expect([0, 1, 2, 3].map((i) => m.drain(i))).toEqual([[0x42], [], [0x42], [0x42]])
  })

  it('matches logical destinations in the flat model', () => {
    for (let i = 0; i < 4; i++) m.lapicWrite(i, 0xd0, (1 << i) << 24)
    ipi(0, LOGICAL | 0x50, 0b1010)
    expect([0, 1, 2, 3].map((i) => m.drain(i))).toEqual([[], [0x50], [], [0x50]])
  })

  it('matches logical destinations in the cluster model', () => {
    for (let i = 0; i < 4; i++) {
      m.lapicWrite(i, 0xe0, 0x0fff_ffff)
      m.lapicWrite(i, 0xd0, (((i >> 1) << 4) | (1 << (i & 1))) << 24)
    }
    ipi(0, LOGICAL | 0x50, 0x13)
    expect([0, 1, 2, 3].map((i) => m.drain(i))).toEqual([[], [], [0x50], [0x50]])
    ipi(0, LOGICAL | 0x51, 0x02)
    expect([0, 1, 2, 3].map((i) => m.drain(i))).toEqual([[], [0x51], [], []])
  })

  it('gives lowest priority to the least PPR, in turn among equals', () => {
    m.cpu(0).cr8_write(2n)
    m.cpu(3).cr8_write(1n)
    const taken = new Set<number | undefined>()
    for (let n = 0; n < 8; n++) {
      ipi(0, 0x100 | 0x60, 0xff)
      const receivers = [0, 1, 2, 3].filter((i) => m.drain(i).length === 1)
      expect(receivers.length).toBe(1)
      taken.add(receivers[0])
    }
    expect([...taken].toSorted()).toEqual([1, 2])
  })

  it('sends NMI, INIT and SIPI as requests; INIT de-assert does nothing', () => {
    ipi(0, 0x400 | LEVEL_ASSERT, 1)
    expect(m.takeRequests(1)).toBe(REQ_NMI)
    ipi(0, 0x500 | LEVEL_ASSERT, 1)
    expect(m.takeRequests(1)).toBe(REQ_INIT)
    ipi(0, 0x500 | 0x8000, 1)
    expect(m.takeRequests(1)).toBe(0)
    ipi(0, 0x600 | LEVEL_ASSERT | 0x9a, 1)
    expect(m.takeRequests(1)).toBe(REQ_SIPI)
    expect(m.u32(cpuAddress(1) + CPU_SIPI_VECTOR)).toBe(0x9a)
  })

  it('reaches a software-disabled APIC by NMI but not by a vector', () => {
    m.lapicWrite(1, 0xf0, 0xff)
    ipi(0, 0x40, 1)
    expect(m.cpu(1).irq_pending()).toBe(0)
    ipi(0, 0x400, 1)
    expect(m.takeRequests(1) & REQ_NMI).toBe(REQ_NMI)
  })

  it('reports an illegal vector in ESR and by the error LVT', () => {
    m.lapicWrite(0, 0x370, 0xfe)
    ipi(0, 0x0f, 1)
    expect(m.drain(1)).toEqual([])
    expect(m.lapicRead(0, 0x280)).toBe(0) // latched only by a write
    m.lapicWrite(0, 0x280, 0)
    expect(m.lapicRead(0, 0x280)).toBe(0x20)
    expect(m.drain(0)).toEqual([0xfe])
  })

  it('delivers MSIs by address and data', () => {
    m.hub.irq_msi(0xfee0_2000, 0x44)
    expect(m.drain(2)).toEqual([0x44])
    m.lapicWrite(3, 0xd0, 8 << 24)
    m.hub.irq_msi(0xfee0_800c, 0x45) // logical, redirected
    expect(m.drain(3)).toEqual([0x45])
    m.hub.irq_route_msi(24, 0xfee0_1000, 0x46)
    m.hub.irq_set_gsi(24, 1)
    expect(m.drain(1)).toEqual([0x46])
  })
})

describe('x2APIC', () => {
  it('allows only the transitions of the SDM', () => {
    const base = m.cpu(0).apic_msr_read(0x1b)
    expect(base).toBe(0xfee0_0900n)
    expect(m.cpu(0).apic_msr_write(0x1b, 0xfee0_0500n)).toBe(0) // x2APIC without enable
    enableX2apic(0)
    expect(m.cpu(0).apic_msr_write(0x1b, base)).toBe(0) // back to xAPIC
    expect(m.cpu(0).apic_msr_write(0x1b, 0xfee0_0100n)).toBe(1)
    expect(m.cpu(0).apic_msr_write(0x1b, 0xfee0_0d00n)).toBe(0) // off straight to x2APIC
    expect(m.cpu(0).apic_msr_write(0x1b, 1n << 45n)).toBe(0)
  })

  it('has 32-bit ids, a derived logical id and a 64-bit ICR', () => {
    for (let i = 0; i < 4; i++) enableX2apic(i)
    expect(m.cpu(3).apic_msr_read(0x802)).toBe(3n)
    expect(m.cpu(3).apic_msr_read(0x80d)).toBe(8n)
    expect(m.cpu(0).apic_msr_write(0x830, (2n << 32n) | 0x55n)).toBe(1)
    expect(m.drain(2)).toEqual([0x55])
    expect(m.cpu(0).apic_msr_read(0x830)).toBe((2n << 32n) | 0x55n)
    expect(m.cpu(0).apic_msr_write(0x830, (0xan << 32n) | 0x856n)).toBe(1)
    expect([0, 1, 2, 3].map((i) => m.drain(i))).toEqual([[], [0x56], [], [0x56]])
    expect(m.cpu(0).apic_msr_write(0x830, (0xffff_ffffn << 32n) | 0x57n)).toBe(1)
    expect([0, 1, 2, 3].map((i) => m.drain(i))).toEqual([[0x57], [0x57], [0x57], [0x57]])
    expect(m.cpu(0).apic_msr_write(0x83f, 0x58n)).toBe(1)
    expect(m.drain(0)).toEqual([0x58])
  })

  it('refuses reserved bits, read-only and absent registers', () => {
    expect(m.cpu(0).apic_msr_write(0x80b, 0n)).toBe(0)
    enableX2apic(0)
    const write = (index: number, value: bigint): number => m.cpu(0).apic_msr_write(index, value)
    expect(write(0x80b, 1n)).toBe(0)
    expect(write(0x80b, 0n)).toBe(1)
    expect(write(0x802, 0n)).toBe(0)
    expect(write(0x80e, 0n)).toBe(0)
    expect(write(0x808, 0x100n)).toBe(0)
    expect(write(0x832, 1n << 20n)).toBe(0)
    expect(write(0x831, 0n)).toBe(0)
  })
})

describe('timer', () => {
  const fire = (index: number): number[] => {
    m.cpu(index).timers_run(m.cpu(index).clock_ns())
    return m.drain(index)
  }

  it('counts one-shot with its divisor', () => {
    m.lapicWrite(0, 0x3e0, 0xb) // by 1
    m.lapicWrite(0, 0x320, 0x70)
    m.lapicWrite(0, 0x380, 1_000_000)
    m.now += 400_000
    expect(m.lapicRead(0, 0x390)).toBe(600_000)
    expect(fire(0)).toEqual([])
    expect(m.cpu(0).next_deadline() - m.cpu(0).clock_ns()).toBe(600_000)
    m.lapicWrite(0, 0x3e0, 0x3) // by 16: the counts left stay
    expect(m.lapicRead(0, 0x390)).toBe(600_000)
    m.now += 600_000 * 16
    expect(fire(0)).toEqual([0x70])
    expect(m.cpu(0).next_deadline()).toBe(Infinity)
    expect(m.lapicRead(0, 0x390)).toBe(0)
  })

  it('repeats in periodic mode and merges what came late', () => {
    m.lapicWrite(0, 0x3e0, 0xb)
    m.lapicWrite(0, 0x320, 0x2_0071)
    m.lapicWrite(0, 0x380, 1_000_000)
    m.now += 1_000_000
    expect(fire(0)).toEqual([0x71])
    m.now += 3_500_000
    expect(fire(0)).toEqual([0x71])
    expect(m.lapicRead(0, 0x390)).toBe(500_000)
    m.now += 500_000
    expect(fire(0)).toEqual([0x71])
  })

  it('fires at a TSC deadline, at once if it has passed, never while masked', () => {
    m.lapicWrite(0, 0x320, 0x4_0072)
    const tsc = m.cpu(0).tsc_read()
    m.cpu(0).apic_msr_write(0x6e0, tsc + 2_000_000n) // 1 ms at 2 GHz
    m.now += 900_000
    expect(fire(0)).toEqual([])
    m.now += 100_010 // the TSC was read twice at one host time, and so is 4 ns ahead
    expect(fire(0)).toEqual([0x72])
    expect(m.cpu(0).apic_msr_read(0x6e0)).toBe(0n)
    m.cpu(0).apic_msr_write(0x6e0, 1n)
    expect(m.drain(0)).toEqual([0x72])
    m.lapicWrite(0, 0x320, 0x5_0072)
    m.cpu(0).apic_msr_write(0x6e0, m.cpu(0).tsc_read() + 1000n)
    expect(m.cpu(0).next_deadline()).toBe(Infinity)
    m.now += 1e6
    expect(fire(0)).toEqual([])
  })
})

describe('reset', () => {
  it('starts disabled, masked, with the PIC on LINT0 of the boot processor only', () => {
    m = new TestMachine(module, 2)
    expect(m.lapicRead(0, 0xf0)).toBe(0xff)
    expect(m.lapicRead(0, 0x350)).toBe(0x700)
    expect(m.lapicRead(1, 0x350)).toBe(0x1_0000)
    expect(m.lapicRead(1, 0x20)).toBe(1 << 24)
    expect(m.cpu(1).apic_msr_read(0x1b)).toBe(0xfee0_0800n)
  })

  it('keeps mask bits set while software-disabled', () => {
    m.lapicWrite(0, 0xf0, 0xff)
    m.lapicWrite(0, 0x320, 0x30)
    expect(m.lapicRead(0, 0x320)).toBe(0x1_0030)
  })
})
