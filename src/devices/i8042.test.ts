import { describe, expect, it } from 'vitest'

import { TestHub } from '#testkit/test-hub.ts'

import { type I8042Ports, i8042 } from './i8042.ts'

const DATA = 0x60
const STATUS = 0x64
const OUTPUT_FULL = 1
const FROM_MOUSE = 0x20
const KEYBOARD_IRQ = 1
const MOUSE_IRQ = 12

function setUp(ports: I8042Ports = {}): { test: TestHub; ask: (command: number) => number } {
  const test = new TestHub()
  test.hub.addDevice(i8042, { name: 'i8042', ports })
  return {
    test,
    ask: (command) => {
      test.out(STATUS, command)
      return test.in(DATA)
    },
  }
}

/** A keyboard that acknowledges everything. */
function keyboard(): {
  received: number[]
  send: (value: number) => void
  device: NonNullable<I8042Ports['keyboard']>
} {
  const received: number[] = []
  let out: (value: number) => void = () => undefined
  return {
    received,
    send: (value) => out(value),
    device: {
      receive(value) {
        received.push(value)
        out(0xfa)
      },
      connect: (send) => (out = send),
      reset: () => undefined,
    },
  }
}

describe('i8042', () => {
  it('passes its self test', () => {
    const { test, ask } = setUp()

    expect(ask(0xaa)).toBe(0x55)
    expect(test.in(STATUS) & OUTPUT_FULL).toBe(0)
  })

  it('keeps its command byte', () => {
    const { test, ask } = setUp()
    test.out(STATUS, 0x60)
    test.out(DATA, 0x43)

    expect(ask(0x20)).toBe(0x43)
  })

  it('echoes through the mouse channel and marks the byte', () => {
    const { test } = setUp()
    test.out(STATUS, 0xd3)
    test.out(DATA, 0x5a)

    expect(test.in(STATUS) & (OUTPUT_FULL | FROM_MOUSE)).toBe(OUTPUT_FULL | FROM_MOUSE)
    expect(test.in(DATA)).toBe(0x5a)
  })

  it('says that nothing is plugged in', () => {
    const { test, ask } = setUp()

    expect(ask(0xab)).toBe(1)
    expect(ask(0xa9)).toBe(1)
    test.out(DATA, 0xf2)
    expect(test.in(DATA)).toBe(0xfe)
  })

  it('passes bytes to and from a keyboard, with an interrupt per byte', () => {
    const { device, received, send } = keyboard()
    const { test } = setUp({ keyboard: device })
    test.out(STATUS, 0x60)
    test.out(DATA, 0x41)
    test.out(DATA, 0xf4)
    expect(received).toEqual([0xf4])
    expect(test.gsiLevels.get(KEYBOARD_IRQ)).toBe(1)
    expect(test.in(DATA)).toBe(0xfa)
    expect(test.gsiLevels.get(KEYBOARD_IRQ)).toBe(0)

    send(0x1c)
    send(0x9c)
    expect([test.in(DATA), test.in(DATA)]).toEqual([0x1c, 0x9c])
    // One edge for each of the three bytes.
    expect(test.gsiChanges.filter(({ gsi, level }) => gsi === KEYBOARD_IRQ && level === 1)).toHaveLength(3)
    expect(test.gsiLevels.get(MOUSE_IRQ) ?? 0).toBe(0)
  })

  it('drops what a disabled keyboard sends', () => {
    const { device, send } = keyboard()
    const { test } = setUp({ keyboard: device })
    test.out(STATUS, 0xad)
    send(0x1c)

    expect(test.in(STATUS) & OUTPUT_FULL).toBe(0)
  })

  it('drives A20 and resets through the output port', () => {
    const a20: boolean[] = []
    const { test } = setUp({ setA20: (enabled) => a20.push(enabled) })
    test.out(STATUS, 0xd1)
    test.out(DATA, 0x01)
    test.out(STATUS, 0xd1)
    test.out(DATA, 0x03)
    expect(a20).toEqual([false, true])

    test.out(STATUS, 0xd1)
    test.out(DATA, 0x02)
    expect(test.events).toEqual([{ type: 'reset', by: 'port 0x64' }])
  })

  it('resets by the pulse that operating systems use', () => {
    const { test } = setUp()
    test.out(STATUS, 0xfe)

    expect(test.events).toEqual([{ type: 'reset', by: 'port 0x64' }])
  })

  it('holds a bounded number of bytes', () => {
    const { test } = setUp()
    for (let i = 0; i < 1000; i++) test.out(STATUS, 0xaa)
    let count = 0
    while ((test.in(STATUS) & OUTPUT_FULL) !== 0) {
      test.in(DATA)
      count++
    }

    expect(count).toBe(64)
  })
})
