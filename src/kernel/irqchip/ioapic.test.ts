import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TestMachine, compileChips } from './testing-machine.ts'

const MASKED = 0x1_0000
const LEVEL = 0x8000
const REMOTE_IRR = 0x4000
const VERSION = 1

let module: WebAssembly.Module
let m: TestMachine

beforeAll(async () => {
  module = await compileChips()
}, 60_000)

beforeEach(() => {
  m = new TestMachine(module, 2)
  m.enableLapics()
  // The range that the hub publishes for the I/O APIC: kernel class, both ways.
  m.mapMmio(0xfec0_0000, 0x1000, 0x4 | (0x4 << 4) | (4 << 8))
})

const read = (register: number): number => {
  m.cpu(0).mmio_write(0xfec0_0000n, 4, BigInt(register))
  return Number(m.cpu(0).mmio_read(0xfec0_0010n, 4))
}
const write = (register: number, value: number): void => {
  m.cpu(0).mmio_write(0xfec0_0000n, 4, BigInt(register))
  m.cpu(0).mmio_write(0xfec0_0010n, 4, BigInt(value >>> 0))
}
const route = (pin: number, low: number, destination = 0): void => {
  write(0x11 + 2 * pin, destination << 24)
  write(0x10 + 2 * pin, low)
}

describe('registers', () => {
  it('says 24 pins, version 0x20, all masked', () => {
    expect(read(VERSION)).toBe(0x0017_0020)
    for (let pin = 0; pin < 24; pin++) expect(read(0x10 + 2 * pin)).toBe(MASKED)
    expect(read(0x40)).toBe(0xffff_ffff)
  })

  it('keeps destination and ignores read-only and reserved bits', () => {
    route(3, 0xffff_ffff, 0xab)
    expect(read(0x10 + 6)).toBe(0x1_afff)
    expect(read(0x11 + 6)).toBe(0xab00_0000)
  })
})

describe('edge', () => {
  it('delivers one interrupt per rising edge', () => {
    route(4, 0x34, 1)
    m.hub.irq_set_gsi(4, 1)
    m.hub.irq_set_gsi(4, 1)
    expect(m.drain(1)).toEqual([0x34])
    m.hub.irq_set_gsi(4, 0)
    m.hub.irq_set_gsi(4, 1)
    expect(m.drain(1)).toEqual([0x34])
  })

  it('loses an edge while masked', () => {
    route(4, 0x34 | MASKED, 1)
    m.hub.irq_set_gsi(4, 1)
    route(4, 0x34, 1)
    expect(m.drain(1)).toEqual([])
  })
})

describe('level', () => {
  it('asks again after EOI while the line is up', () => {
    route(17, 0x51 | LEVEL, 1)
    m.hub.irq_set_gsi(17, 1)
    expect(read(0x10 + 34) & REMOTE_IRR).toBe(REMOTE_IRR)
    expect(m.cpu(1).irq_ack()).toBe(0x51)
    m.cpu(1).irq_eoi()
    expect(m.cpu(1).irq_ack()).toBe(0x51)
    m.hub.irq_set_gsi(17, 0)
    m.cpu(1).irq_eoi()
    expect(m.cpu(1).irq_pending()).toBe(0)
    expect(read(0x10 + 34) & REMOTE_IRR).toBe(0)
  })

  it('keeps a masked level and delivers it at unmasking', () => {
    route(17, 0x51 | LEVEL | MASKED, 1)
    m.hub.irq_set_gsi(17, 1)
    expect(m.cpu(1).irq_pending()).toBe(0)
    route(17, 0x51 | LEVEL, 1)
    expect(m.cpu(1).irq_ack()).toBe(0x51)
  })

  it('takes the EOI register when the broadcast is suppressed', () => {
    m.lapicWrite(1, 0xf0, 0x11ff)
    route(17, 0x51 | LEVEL, 1)
    m.hub.irq_set_gsi(17, 1)
    m.cpu(1).irq_ack()
    m.cpu(1).irq_eoi()
    expect(read(0x10 + 34) & REMOTE_IRR).toBe(REMOTE_IRR)
    m.cpu(0).mmio_write(0xfec0_0040n, 4, 0x51n)
    expect(m.cpu(1).irq_ack()).toBe(0x51) // the line is still up
  })

  it('drops remote IRR when the pin is switched to edge', () => {
    route(17, 0x51 | LEVEL, 1)
    m.hub.irq_set_gsi(17, 1)
    route(17, 0x51 | MASKED, 1)
    expect(read(0x10 + 34)).toBe(0x51 | MASKED)
  })

  it('does not wait for an EOI of an interrupt that nobody took', () => {
    route(17, 0x51 | LEVEL, 9)
    m.hub.irq_set_gsi(17, 1)
    expect(read(0x10 + 34) & REMOTE_IRR).toBe(0)
  })
})

it('puts the timer on pin 2 and nothing on GSI 2', () => {
  m.lapicWrite(0, 0x350, 0x1_0000)
  route(2, 0x30, 0)
  m.hub.irq_set_gsi(2, 1)
  expect(m.drain(0)).toEqual([])
  m.hub.irq_set_gsi(0, 1)
  expect(m.drain(0)).toEqual([0x30])
})
