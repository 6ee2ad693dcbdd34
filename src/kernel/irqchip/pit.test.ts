import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TestMachine, compileChips } from './testing-machine.ts'

const kernel = (device: number): number => 0x4 | (0x4 << 4) | (device << 8)
const TICK_NS = 1e9 / 1_193_182

let module: WebAssembly.Module
let m: TestMachine

beforeAll(async () => {
  module = await compileChips()
}, 60_000)

beforeEach(() => {
  m = new TestMachine(module, 2)
  m.enableLapics()
  for (let port = 0x40; port < 0x44; port++) m.mapPort(port, kernel(2))
  m.mapPort(0x61, kernel(8))
  m.mapMmio(0xfec0_0000, 0x1000, kernel(4))
  route(0x30)
})

const out = (port: number, value: number): void => m.cpu(0).sys_out(port, value, 1)
const inb = (port: number): number => m.cpu(0).sys_in(port, 1)
/** Timer pin of the I/O APIC to vCPU 1. */
function route(low: number): void {
  const write = (register: number, value: number): void => {
    m.cpu(0).mmio_write(0xfec0_0000n, 4, BigInt(register))
    m.cpu(0).mmio_write(0xfec0_0010n, 4, BigInt(value >>> 0))
  }
  write(0x15, 1 << 24)
  write(0x14, low)
}
const program = (channel: number, mode: number, count: number, bcd = 0): void => {
  out(0x43, (channel << 6) | 0x30 | (mode << 1) | bcd)
  out(0x40 + channel, count & 0xff)
  out(0x40 + channel, count >> 8)
}
const latched = (channel: number): number => {
  out(0x43, channel << 6)
  return inb(0x40 + channel) | (inb(0x40 + channel) << 8)
}
const ticks = (n: number): void => m.advance(n * TICK_NS)
const status = (channel: number): number => {
  out(0x43, 0xe0 | (2 << channel))
  return inb(0x40 + channel)
}

describe('counting', () => {
  it('counts down and wraps in mode 0, its output rising once', () => {
    program(2, 0, 1000)
    out(0x61, 1)
    ticks(10.5)
    expect(latched(2)).toBe(990)
    expect(inb(0x61) & 0x20).toBe(0)
    ticks(990)
    expect(inb(0x61) & 0x20).toBe(0x20)
    ticks(10)
    expect(latched(2)).toBe(0x10000 - 10)
  })

  it('stands still while the gate is low in mode 0', () => {
    out(0x61, 1)
    program(2, 0, 1000)
    ticks(100.5)
    out(0x61, 0)
    ticks(500)
    expect(latched(2)).toBe(900)
    out(0x61, 1)
    ticks(100)
    expect(latched(2)).toBe(800)
  })

  it('waits for the gate in mode 1 and starts over at each trigger', () => {
    program(2, 1, 1000)
    ticks(50)
    expect(inb(0x61) & 0x20).toBe(0x20)
    out(0x61, 1)
    ticks(500.5)
    expect(inb(0x61) & 0x20).toBe(0)
    expect(latched(2)).toBe(500)
    out(0x61, 0)
    out(0x61, 1)
    ticks(700)
    expect(inb(0x61) & 0x20).toBe(0)
    ticks(400)
    expect(inb(0x61) & 0x20).toBe(0x20)
  })

  it('repeats in mode 2, low for the last tick', () => {
    program(0, 2, 100)
    ticks(250.5)
    expect(latched(0)).toBe(50)
    ticks(48.6)
    expect(status(0)).toBe(0x34)
    ticks(1)
    expect(status(0)).toBe(0xb4)
  })

  it('halves in mode 3 and counts by two', () => {
    program(2, 3, 1000)
    out(0x61, 1)
    ticks(100.5)
    expect(latched(2)).toBe(800)
    expect(inb(0x61) & 0x20).toBe(0x20)
    ticks(500)
    expect(latched(2)).toBe(800)
    expect(inb(0x61) & 0x20).toBe(0)
  })

  it('strobes in mode 4', () => {
    program(0, 4, 100)
    ticks(100.5)
    expect(status(0) & 0x80).toBe(0)
    ticks(1)
    expect(status(0) & 0x80).toBe(0x80)
  })

  it('takes a new count of mode 2 at the end of the period', () => {
    program(0, 2, 1000)
    ticks(300.5)
    out(0x40, 100)
    out(0x40, 0)
    expect(status(0) & 0x40).toBe(0x40)
    expect(latched(0)).toBe(700)
    ticks(720)
    expect(latched(0)).toBe(80)
    expect(status(0) & 0x40).toBe(0)
  })

  it('counts in BCD', () => {
    program(0, 2, 0x1234, 1)
    ticks(0.5)
    expect(latched(0)).toBe(0x1234)
    ticks(35)
    expect(latched(0)).toBe(0x1199)
  })

  it('holds a latched count until both bytes are read', () => {
    program(0, 2, 0x1000)
    ticks(1.5)
    out(0x43, 0)
    ticks(100)
    out(0x43, 0)
    expect(inb(0x40) | (inb(0x40) << 8)).toBe(0xfff)
    expect(inb(0x40) | (inb(0x40) << 8)).toBe(0x1000 - 101)
  })

  it('reads back status and count of several channels', () => {
    program(0, 2, 500)
    program(2, 3, 600)
    out(0x43, 0xc0 | 2 | 8)
    expect(inb(0x40)).toBe(0xb4)
    expect(inb(0x40) | (inb(0x40) << 8)).toBe(500)
    expect(inb(0x42)).toBe(0xb6)
  })
})

describe('interrupts', () => {
  it('ticks through the I/O APIC at its rate', () => {
    program(0, 2, 11932)
    let count = 0
    for (let n = 0; n < 100; n++) {
      m.advance(10_000_160)
      count += m.drain(1).length
    }
    expect(count).toBe(100)
  })

  it('fires once in modes 0 and 4', () => {
    program(0, 0, 1000)
    ticks(999)
    expect(m.drain(1)).toEqual([])
    ticks(2)
    expect(m.drain(1)).toEqual([0x30])
    ticks(100_000)
    expect(m.drain(1)).toEqual([])
    expect(m.cpu(0).next_deadline()).toBe(Infinity)
  })

  it('owes the guest the ticks that came late', () => {
    program(0, 2, 11932)
    m.advance(55e6)
    expect(m.drain(1)).toEqual([0x30, 0x30, 0x30, 0x30, 0x30])
  })

  it('owes nothing while the pin is masked', () => {
    route(0x1_0030)
    m.lapicWrite(0, 0x350, 0x1_0000)
    m.mapPort(0x21, kernel(1))
    out(0x21, 0xff)
    program(0, 2, 11932)
    m.advance(55e6)
    route(0x30)
    expect(m.drain(1)).toEqual([])
    m.advance(10e6)
    expect(m.drain(1)).toEqual([0x30])
  })

  it('kicks vCPU 0 when another vCPU programs it', () => {
    expect(m.cpu(0).next_deadline()).toBe(Infinity)
    m.takeRequests(0)
    m.cpu(1).sys_out(0x43, 0x34, 1)
    m.cpu(1).sys_out(0x40, 0x9c, 1)
    m.cpu(1).sys_out(0x40, 0x2e, 1)
    expect(m.takeRequests(0)).toBe(0x100)
    expect(m.cpu(0).next_deadline()).toBeLessThan(m.cpu(0).clock_ns() + 10.1e6)
  })
})
