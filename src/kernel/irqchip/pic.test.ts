import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { REQ_INTERRUPT } from '#abi/layout.ts'
import { TestMachine, compileChips } from './testing-machine.ts'

const KERNEL_PIC = 0x4 | (0x4 << 4) | (1 << 8)

let module: WebAssembly.Module
let m: TestMachine

beforeAll(async () => {
  module = await compileChips()
}, 60_000)

beforeEach(() => {
  m = new TestMachine(module, 1)
  for (const port of [0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1]) m.mapPort(port, KERNEL_PIC)
  init()
})

const out = (port: number, value: number): void => m.cpu(0).sys_out(port, value, 1)
const inb = (port: number): number => m.cpu(0).sys_in(port, 1)
const irq = (line: number, level: number): void => m.hub.irq_set_gsi(line, level)
const pulse = (line: number): void => {
  irq(line, 1)
  irq(line, 0)
}
function init(icw4 = 1, icw1 = 0x11): void {
  out(0x20, icw1)
  out(0x21, 0x20)
  out(0x21, 4)
  out(0x21, icw4)
  out(0xa0, icw1)
  out(0xa1, 0x28)
  out(0xa1, 2)
  out(0xa1, icw4)
}
const ack = (): number => m.cpu(0).irq_ack()

describe('priorities', () => {
  it('delivers master and slave lines with their vectors', () => {
    pulse(1)
    expect(m.takeRequests(0) & REQ_INTERRUPT).toBe(REQ_INTERRUPT)
    expect(ack()).toBe(0x21)
    out(0x20, 0x20)
    pulse(12)
    expect(ack()).toBe(0x2c)
    out(0xa0, 0x20)
    out(0x20, 0x20)
    expect(m.cpu(0).irq_pending()).toBe(0)
  })

  it('blocks lower lines until EOI and lets higher ones in', () => {
    pulse(5)
    expect(ack()).toBe(0x25)
    pulse(6)
    expect(m.cpu(0).irq_pending()).toBe(0)
    pulse(1)
    expect(ack()).toBe(0x21)
    out(0x20, 0x20) // non-specific: the highest in service
    expect(m.cpu(0).irq_pending()).toBe(0)
    out(0x20, 0x60 | 5) // specific
    expect(ack()).toBe(0x26)
  })

  it('sends a second slave request after the first is finished', () => {
    pulse(9)
    pulse(10)
    expect(ack()).toBe(0x29)
    out(0xa0, 0x20)
    out(0x20, 0x20)
    expect(ack()).toBe(0x2a)
  })

  it('masks by IMR and shows ISR and IRR by OCW3', () => {
    out(0x21, 0xfd)
    pulse(3)
    expect(m.cpu(0).irq_pending()).toBe(0)
    out(0x20, 0x0a)
    expect(inb(0x20)).toBe(8)
    out(0x21, 0)
    expect(ack()).toBe(0x23)
    out(0x20, 0x0b)
    expect(inb(0x20)).toBe(8)
    expect(inb(0x21)).toBe(0)
  })

  it('rotates on command', () => {
    out(0x20, 0xc0 | 3) // line 3 becomes the lowest
    pulse(3)
    pulse(4)
    expect(ack()).toBe(0x24)
    out(0x20, 0xa0) // rotate on non-specific EOI: 4 becomes the lowest
    pulse(4)
    expect(ack()).toBe(0x23)
  })

  it('lets lower lines in under special mask mode', () => {
    pulse(2 + 1)
    expect(ack()).toBe(0x23)
    out(0x21, 8)
    out(0x20, 0x68)
    pulse(6)
    expect(ack()).toBe(0x26)
  })
})

describe('modes', () => {
  it('needs no EOI in automatic mode', () => {
    init(3)
    pulse(4)
    expect(ack()).toBe(0x24)
    pulse(5)
    expect(ack()).toBe(0x25)
    out(0x20, 0x0b)
    expect(inb(0x20)).toBe(0)
  })

  it('answers a poll', () => {
    pulse(6)
    out(0x20, 0x0c)
    expect(inb(0x20)).toBe(0x86)
    out(0x20, 0x0c)
    expect(inb(0x20)).toBe(0)
    expect(m.cpu(0).irq_pending()).toBe(0)
  })

  it('holds a level line by ELCR until it falls', () => {
    out(0x4d0, 0xff)
    out(0x4d1, 0xff)
    expect([inb(0x4d0), inb(0x4d1)]).toEqual([0xf8, 0xde])
    irq(11, 1)
    expect(ack()).toBe(0x2b)
    out(0xa0, 0x20)
    out(0x20, 0x20)
    expect(ack()).toBe(0x2b)
    irq(11, 0)
    out(0xa0, 0x20)
    out(0x20, 0x20)
    expect(m.cpu(0).irq_pending()).toBe(0)
  })

  it('nests slave requests in special fully nested mode', () => {
    init(0x11)
    pulse(12)
    expect(ack()).toBe(0x2c)
    pulse(8)
    expect(ack()).toBe(0x28)
  })
})

describe('wiring', () => {
  it('reaches nobody while LINT0 is masked, and asks when it is unmasked', () => {
    m.lapicWrite(0, 0xf0, 0x1ff)
    m.lapicWrite(0, 0x350, 0x1_0700)
    pulse(1)
    expect(m.cpu(0).irq_pending()).toBe(0)
    m.takeRequests(0)
    m.lapicWrite(0, 0x350, 0x700)
    expect(m.takeRequests(0) & REQ_INTERRUPT).toBe(REQ_INTERRUPT)
    expect(ack()).toBe(0x21)
  })

  it('reaches the processor when the APIC is off', () => {
    m.cpu(0).apic_msr_write(0x1b, 0xfee0_0100n)
    pulse(1)
    expect(ack()).toBe(0x21)
  })

  it('is a local vector when LINT0 is fixed', () => {
    m.lapicWrite(0, 0xf0, 0x1ff)
    m.lapicWrite(0, 0x350, 0x77)
    pulse(1)
    expect(m.drain(0)).toEqual([0x77])
  })

  it('reaches a processor by an ExtINT entry of I/O APIC pin 0', () => {
    m.lapicWrite(0, 0xf0, 0x1ff)
    m.lapicWrite(0, 0x350, 0x1_0700)
    m.mapMmio(0xfec0_0000, 0x1000, 0x4 | (0x4 << 4) | (4 << 8))
    m.cpu(0).mmio_write(0xfec0_0000n, 4, 0x10n)
    m.cpu(0).mmio_write(0xfec0_0010n, 4, 0x700n)
    pulse(1)
    expect(ack()).toBe(0x21)
    pulse(1)
    expect(m.cpu(0).irq_pending()).toBe(0) // the first is in service
    out(0x20, 0x20)
    expect(ack()).toBe(0x21)
  })

  it('is not asked once the line has gone', () => {
    out(0x4d1, 0x08)
    irq(11, 1)
    irq(11, 0)
    expect(m.cpu(0).irq_pending()).toBe(0)
    expect(ack()).toBe(-1)
  })
})
