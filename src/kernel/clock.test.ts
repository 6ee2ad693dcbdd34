import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { PV_STOP_ON_PAUSE } from '#abi/irqchip.ts'
import { CPU_INSNS, CPU_REQ, REQ_CLOCK } from '#abi/layout.ts'
import {
  GUEST,
  TSC_KHZ,
  TestMachine,
  VM,
  WALL_NS,
  compileChips,
  cpuAddress,
} from './irqchip/testing-machine.ts'

const SYSTEM_TIME = 0x4b56_4d01
const WALL_CLOCK = 0x4b56_4d00
const STEAL_TIME = 0x4b56_4d03
const PV_EOI = 0x4b56_4d04
const STOPPED = 2

let module: WebAssembly.Module
let m: TestMachine

beforeAll(async () => {
  module = await compileChips()
}, 60_000)

beforeEach(() => {
  m = new TestMachine(module, 2)
  m.enableLapics()
})

/** What Linux computes from the page (pvclock_clocksource_read). */
const pvclockNs = (page: number, tsc: bigint): number => {
  const delta = tsc - m.view.getBigUint64(page + 8, true)
  const shift = m.view.getInt8(page + 28)
  const scaled = shift < 0 ? delta >> BigInt(-shift) : delta << BigInt(shift)
  return Number(m.view.getBigUint64(page + 16, true) + ((scaled * BigInt(m.u32(page + 24))) >> 32n))
}

describe('TSC', () => {
  it('counts at its rate', () => {
    m.now += 1000 // past the ticks that setting up has counted
    const before = m.cpu(0).tsc_read()
    m.now += 1e9
    expect(m.cpu(0).tsc_read() - before).toBe(BigInt(TSC_KHZ) * 1000n)
  })

  it('never repeats nor goes back, on any vCPU, while the host clock stands still', () => {
    let last = 0n
    for (let i = 0; i < 100; i++) {
      const tsc = m.cpu(i & 1).tsc_read()
      expect(tsc).toBeGreaterThan(last)
      last = tsc
      if (i % 10 === 9) m.now += 5000
    }
  })

  it('can be written per vCPU, moving its deadline and its kvmclock page with it', () => {
    m.cpu(1).kvm_msr_write(SYSTEM_TIME, BigInt(GUEST) | 1n)
    m.cpu(1).tsc_write(0x1000_0000_0000n)
    expect(m.cpu(1).tsc_read() - 0x1000_0000_0000n).toBeLessThan(100n)
    expect(m.cpu(0).tsc_read()).toBeLessThan(0x1000_0000_0000n)
    m.now += 2e9
    expect(Math.abs(pvclockNs(GUEST, m.cpu(1).tsc_read()) - m.cpu(1).clock_ns())).toBeLessThan(100)
  })
})

describe('RDTSC', () => {
  const retire = (i: number, insns: number): void => {
    const at = cpuAddress(i) + CPU_INSNS
    m.view.setBigUint64(at, m.view.getBigUint64(at, true) + BigInt(insns), true)
  }
  const tscNs = (): number => (Number(m.cpu(0).tsc_read_near()) * 1e6) / TSC_KHZ

  it('asks the host once for many reads, and again after many instructions', () => {
    m.tickNs = 1000
    const looks = (reads: number, insns: number): number => {
      const before = m.now
      for (let i = 0; i < reads; i++) {
        m.cpu(0).tsc_read_near()
        retire(0, insns)
      }
      return (m.now - before) / 1000
    }
    expect(looks(31, 10)).toBe(1)
    expect(looks(31 * 9, 10)).toBe(9)
    expect(looks(100, 4096)).toBe(100)
  })

  it('stays close to the clock of a guest that runs at changing speeds', () => {
    let seed = 1
    const random = (below: number): number => (seed = (seed * 16807) % 2147483647) % below
    for (let i = 0; i < 20_000; i++) {
      const insns = 1 + random(600)
      retire(0, insns)
      m.now += insns * (i % 4000 < 2000 ? 0.6 : 4)
      const error = tscNs() - m.cpu(0).clock_ns()
      expect(error).toBeLessThan(15_000)
      expect(error).toBeGreaterThan(-15_000)
    }
  })

  it('never repeats nor goes back, on any vCPU, however it is read', () => {
    let last = 0n
    for (let i = 0; i < 1000; i++) {
      const tsc = i % 7 === 0 ? m.cpu(i & 1).tsc_read() : m.cpu(i & 1).tsc_read_near()
      expect(tsc).toBeGreaterThan(last)
      last = tsc
      retire(i & 1, (i * 37) % 500)
      if (i % 10 === 9) m.now += 5000
    }
  })

  it('shows the time to a loop that does nothing but wait for it', () => {
    tscNs()
    const until = m.cpu(0).clock_ns() + 50_000
    let reads = 0
    for (; tscNs() < until; reads++) m.now += 20
    expect(reads).toBeGreaterThan(2400)
    expect(reads).toBeLessThan(2600)
  })

  it('is exact when the vCPU comes back from a sleep or takes an interrupt', () => {
    tscNs()
    m.onWait = () => (m.now += 3e6)
    m.cpu(0).halt_wait(m.view.getUint32(cpuAddress(0) + CPU_REQ, true), 1e9)
    expect(Math.abs(tscNs() - m.cpu(0).clock_ns())).toBeLessThan(100)
  })
})

describe('kvmclock', () => {
  it('gives every vCPU the same time from a stable TSC', () => {
    m.now += 123_456_789
    for (const i of [0, 1]) m.cpu(i).kvm_msr_write(SYSTEM_TIME, BigInt(GUEST + 64 * i) | 1n)
    m.now += 5_000_000_000
    for (const i of [0, 1]) {
      const page = GUEST + 64 * i
      expect(m.u32(page) & 1).toBe(0)
      expect(m.u32(page)).not.toBe(0)
      expect(m.u8[page + 29]).toBe(1)
      expect(Math.abs(pvclockNs(page, m.cpu(i).tsc_read()) - m.cpu(i).clock_ns())).toBeLessThan(10)
    }
  })

  it('tells the wall time of guest time 0', () => {
    m.now += 1e9
    m.cpu(0).kvm_msr_write(WALL_CLOCK, BigInt(GUEST))
    expect(m.u32(GUEST + 4)).toBe(WALL_NS / 1e9)
    expect(m.u32(GUEST)).toBe(2)
  })

  it('refuses unknown MSRs and reserved bits', () => {
    expect(m.cpu(0).kvm_msr_write(0x4b56_4d02, 1n)).toBe(0)
    expect(m.cpu(0).kvm_msr_write(STEAL_TIME, BigInt(GUEST) | 2n)).toBe(0)
    expect(m.cpu(0).kvm_msr_write(PV_EOI, BigInt(GUEST) | 2n)).toBe(0)
  })

  it('ignores a page that crosses a frame', () => {
    expect(m.cpu(0).kvm_msr_write(SYSTEM_TIME, BigInt(GUEST + 0xff0) | 1n)).toBe(1)
    expect(m.u32(GUEST + 0xff0)).toBe(0)
  })
})

describe('pause', () => {
  const pauseFor = (ns: number): void => {
    m.hub.clock_pause()
    const stopped = m.hub.clock_ns()
    m.now += ns
    expect(m.hub.clock_ns()).toBe(stopped)
    m.hub.clock_resume()
  }

  it('lets guest time go on, tells the guest and accounts it as stolen', () => {
    m.cpu(0).kvm_msr_write(SYSTEM_TIME, BigInt(GUEST) | 1n)
    m.cpu(0).kvm_msr_write(STEAL_TIME, BigInt(GUEST + 0x100) | 1n)
    const before = m.hub.clock_ns()
    pauseFor(5e9)
    expect(m.hub.clock_ns() - before).toBe(5e9)
    expect(m.takeRequests(0) & REQ_CLOCK).toBe(REQ_CLOCK)
    m.advance(0)
    expect(m.view.getUint8(GUEST + 29) & STOPPED).toBe(STOPPED)
    expect(m.view.getBigUint64(GUEST + 0x100, true)).toBe(5_000_000_000n)
    expect(pvclockNs(GUEST, m.cpu(0).tsc_read()) - before).toBeGreaterThanOrEqual(5e9)
    m.u8[GUEST + 29] = 1 // the guest clears the flag
    m.advance(1e6)
    expect(m.u8[GUEST + 29]).toBe(1)
  })

  it('stands still when asked to, with TSC and kvmclock continuous', () => {
    m.view.setUint32(VM + PV_STOP_ON_PAUSE, 1, true)
    m.cpu(0).kvm_msr_write(SYSTEM_TIME, BigInt(GUEST) | 1n)
    const tsc = m.cpu(0).tsc_read()
    const time = m.hub.clock_ns()
    pauseFor(5e9)
    expect(m.hub.clock_ns()).toBe(time)
    expect(m.cpu(0).tsc_read() - tsc).toBeLessThan(100n)
    expect(pvclockNs(GUEST, m.cpu(0).tsc_read()) - time).toBeLessThan(100)
  })
})

describe('PV EOI', () => {
  const ipi = (vector: number): void => {
    m.lapicWrite(0, 0x310, 1 << 24)
    m.lapicWrite(0, 0x300, vector)
  }
  beforeEach(() => {
    m.u8[GUEST] = 0
    m.cpu(1).kvm_msr_write(PV_EOI, BigInt(GUEST) | 1n)
  })

  it('lets the guest finish an interrupt in its own memory', () => {
    ipi(0x50)
    expect(m.cpu(1).irq_ack()).toBe(0x50)
    expect(m.u8[GUEST]).toBe(1)
    m.u8[GUEST] = 0 // the guest's EOI
    ipi(0x40)
    expect(m.cpu(1).irq_ack()).toBe(0x40)
  })

  it('takes the offer back when another interrupt waits for the EOI', () => {
    ipi(0x50)
    m.cpu(1).irq_ack()
    ipi(0x40)
    expect(m.cpu(1).irq_pending()).toBe(0)
    expect(m.u8[GUEST]).toBe(0)
    m.cpu(1).irq_eoi()
    expect(m.cpu(1).irq_ack()).toBe(0x40)
  })

  it('makes no offer while a lower vector already waits', () => {
    ipi(0x40)
    ipi(0x50)
    expect(m.cpu(1).irq_ack()).toBe(0x50)
    expect(m.u8[GUEST]).toBe(0)
  })
})
