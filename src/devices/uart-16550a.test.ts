import { describe, expect, it } from 'vitest'

import * as exits from '#abi/exits.ts'
import { TestHub } from '#testkit/test-hub.ts'

import { CharPipe } from './char-pipe.ts'
import { uart16550a } from './uart-16550a.ts'

const COM1 = 0x3f8
const IRQ = 4
const IER = COM1 + 1
const IIR = COM1 + 2
const LCR = COM1 + 3
const MCR = COM1 + 4
const LSR = COM1 + 5
const MSR = COM1 + 6
const SCR = COM1 + 7

function setUp(): { test: TestHub; pipe: CharPipe; sent: () => string } {
  const test = new TestHub()
  const pipe = new CharPipe()
  let output = ''
  pipe.onData((bytes) => (output += new TextDecoder().decode(bytes)))
  test.hub.addDevice(uart16550a, { name: 'com1', ports: { chardev: pipe } })
  return { test, pipe, sent: () => output }
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

describe('16550A', () => {
  it('prints a polled line without a sync exit', () => {
    const { test, sent } = setUp()

    for (const byte of text('Hello, world\n')) {
      while ((test.in(LSR) & 0x20) === 0) expect.fail('the holding register is never empty')
      test.out(COM1, byte)
    }

    expect(sent()).toBe('Hello, world\n')
    expect(test.syncExits).toBe(0)
  })

  it('hands a burst of posted characters to the backend at once', () => {
    const { test, pipe } = setUp()
    const pieces: number[] = []
    pipe.onData((bytes) => pieces.push(bytes.length))
    for (const byte of text('0123456789')) test.out(COM1, byte, 1, true)

    test.hub.pump()

    expect(pieces).toEqual([10])
  })

  it('is detected as a 16550A with a scratch register and a working FIFO', () => {
    const { test } = setUp()
    test.out(SCR, 0x5a)
    test.out(IIR, 1)
    test.out(IER, 0xff)

    expect(test.in(SCR)).toBe(0x5a)
    expect(test.in(IIR) & 0xc0).toBe(0xc0)
    expect(test.in(IER)).toBe(0x0f)
  })

  it('keeps the divisor behind DLAB', () => {
    const { test, sent } = setUp()
    test.out(LCR, 0x83)
    test.out(COM1, 1)
    test.out(IER, 2)
    expect([test.in(COM1), test.in(IER)]).toEqual([1, 2])

    test.out(LCR, 3)
    expect(test.in(IER)).toBe(0)
    expect(sent()).toBe('')
  })

  it('interrupts for received data until it is read', () => {
    const { test, pipe } = setUp()
    test.out(IIR, 1)
    test.out(IER, 1)
    pipe.send(text('ab'))

    expect(test.gsiLevels.get(IRQ)).toBe(1)
    expect(test.in(IIR) & 0xf).toBe(4)
    expect(test.in(LSR) & 1).toBe(1)
    expect(test.in(COM1)).toBe(0x61)
    expect(test.in(COM1)).toBe(0x62)
    expect(test.in(LSR) & 1).toBe(0)
    expect(test.gsiLevels.get(IRQ)).toBe(0)
  })

  it('tells the receive timeout from the trigger level', () => {
    const { test, pipe } = setUp()
    test.out(IIR, 0xc1) // trigger at 14
    test.out(IER, 1)
    pipe.send(text('x'))
    expect(test.in(IIR) & 0xf).toBe(0xc)

    pipe.send(text('0123456789abc'))
    expect(test.in(IIR) & 0xf).toBe(4)
  })

  it('takes input only as fast as the guest reads it', () => {
    const { test, pipe } = setUp()
    test.out(IIR, 1)
    const line = 'the quick brown fox jumps over the lazy dog'
    pipe.send(text(line))

    let read = ''
    while ((test.in(LSR) & 1) === 1) read += String.fromCharCode(test.in(COM1))

    expect(read).toBe(line)
    expect(pipe.queuedBytes).toBe(0)
  })

  it('raises and acknowledges the transmitter interrupt as Linux tests for it', () => {
    const { test } = setUp()
    test.out(IER, 2)
    expect(test.in(IIR) & 0xf).toBe(2)
    expect(test.in(IIR) & 0xf).toBe(1) // reading it acknowledged it
    test.out(IER, 0)
    test.out(IER, 2)
    expect(test.in(IIR) & 0xf).toBe(2)

    expect(test.gsiLevels.get(IRQ)).toBe(0)
    test.out(COM1, 0x41)
    expect(test.gsiLevels.get(IRQ)).toBe(1)
  })

  it('holds the guest back while the backend is full, and loses nothing', () => {
    const { test, pipe, sent } = setUp()
    pipe.hold(true)
    test.out(COM1, 0x41)
    test.out(COM1, 0x42)
    expect(test.in(LSR) & 0x60).toBe(0)

    pipe.hold(false)
    expect(test.in(LSR) & 0x60).toBe(0x60)
    expect(sent()).toBe('AB')
  })

  it('loops data and modem lines back', () => {
    const { test, sent } = setUp()
    test.out(MCR, 0x1f)
    expect(test.in(MSR) & 0xf0).toBe(0xf0)
    test.out(MCR, 0x12)
    expect(test.in(MSR) & 0xf0).toBe(0x10)

    test.out(COM1, 0x55)
    expect(test.in(LSR) & 1).toBe(1)
    expect(test.in(COM1)).toBe(0x55)
    expect(sent()).toBe('')
  })

  it('reports an overrun in loopback once', () => {
    const { test } = setUp()
    test.out(MCR, 0x10)
    test.out(COM1, 1)
    test.out(COM1, 2)

    expect(test.in(LSR) & 2).toBe(2)
    expect(test.in(LSR) & 2).toBe(0)
  })

  it('delivers a break as a line status interrupt', () => {
    const { test, pipe } = setUp()
    test.out(IER, 4)
    pipe.sendBreakToGuest()

    expect(test.portClass(LSR).read).toBe(exits.ACCESS_SYNC)
    expect(test.in(IIR) & 0xf).toBe(6)
    expect(test.in(LSR) & 0x11).toBe(0x11)
    expect(test.gsiLevels.get(IRQ)).toBe(0)
    expect(test.portClass(LSR).read).toBe(exits.ACCESS_SHADOW)
  })

  it('clears modem deltas by reading them', () => {
    const { test } = setUp()
    test.out(MCR, 0x10) // loopback drops CTS, DSR, DCD
    expect(test.in(MSR) & 0xf).toBe(0xb)
    expect(test.in(MSR) & 0xf).toBe(0)
  })
})
