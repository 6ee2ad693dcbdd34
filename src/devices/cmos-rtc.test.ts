import { describe, expect, it } from 'vitest'

import { TestHub } from '#testkit/test-hub.ts'

import { cmosRtc } from './cmos-rtc.ts'

const IRQ = 8
const B_24H = 2

function setUp(): {
  test: TestHub
  read: (register: number) => number
  write: (register: number, value: number) => void
} {
  const test = new TestHub()
  test.hub.addDevice(cmosRtc, {
    name: 'rtc',
    config: { lowRamBytes: 512 * 2 ** 20, highRamBytes: 2 ** 30, cpus: 4 },
  })
  return {
    test,
    read: (register) => {
      test.out(0x70, register)
      return test.in(0x71)
    },
    write: (register, value) => {
      test.out(0x70, register)
      test.out(0x71, value)
    },
  }
}

describe('RTC', () => {
  it('shows the wall clock in BCD', () => {
    const { read } = setUp() // 2024-02-28 23:59:30, a Wednesday

    expect([0, 2, 4, 6, 7, 8, 9, 0x32].map(read)).toEqual([0x30, 0x59, 0x23, 4, 0x28, 0x02, 0x24, 0x20])
  })

  it('counts over midnight into a leap day', () => {
    const { test, read } = setUp()
    test.clock.advance(30_000)

    expect([0, 2, 4, 7, 8].map(read)).toEqual([0, 0, 0, 0x29, 0x02])
  })

  it.each([
    ['binary, 24 hours', 6, 23],
    ['BCD, 12 hours', 0, 0x91],
    ['binary, 12 hours', 4, 0x8b],
  ])('shows hours in %s', (_form, mode, hour) => {
    const { read, write } = setUp()
    write(0x0b, mode)

    expect(read(4)).toBe(hour)
  })

  it('keeps a time that the guest sets, and goes on from it', () => {
    const { test, read, write } = setUp()
    write(0x0b, 0x80 | B_24H)
    for (const [register, value] of [
      [0, 0x58],
      [2, 0x59],
      [4, 0x12],
      [7, 0x31],
      [8, 0x12],
      [9, 0x99],
      [0x32, 0x19],
    ] as const) {
      write(register, value)
    }
    test.clock.advance(5000)
    expect(read(0)).toBe(0x58) // SET holds the calendar still
    write(0x0b, B_24H)
    test.clock.advance(3000)

    expect([0, 2, 4, 7, 8, 9, 0x32].map(read)).toEqual([0x01, 0x00, 0x13, 0x31, 0x12, 0x99, 0x19])
  })

  it('takes a second setting relative to the first', () => {
    const { test, read, write } = setUp()
    for (const hour of [0x01, 0x02]) {
      write(0x0b, 0x80 | B_24H)
      write(4, hour)
      write(0x0b, B_24H)
    }
    test.clock.advance(1000)

    expect([4, 2, 0].map(read)).toEqual([0x02, 0x59, 0x31])
  })

  it('raises an update interrupt each second until C is read', () => {
    const { test, read, write } = setUp()
    write(0x0b, B_24H | 0x10)
    test.clock.advance(999)
    expect(test.gsiLevels.get(IRQ) ?? 0).toBe(0)
    test.clock.advance(1)
    expect(test.gsiLevels.get(IRQ)).toBe(1)
    expect(read(0x0c) & 0x90).toBe(0x90)
    expect(test.gsiLevels.get(IRQ)).toBe(0)
    expect(read(0x0c)).toBe(0)
  })

  it('raises the alarm when the time matches, and takes bytes from 0xc0 as any', () => {
    const { test, read, write } = setUp()
    write(1, 0x05)
    write(3, 0xff)
    write(5, 0xff)
    write(0x0b, B_24H | 0x20)
    test.clock.advance(34_000)
    expect(test.gsiLevels.get(IRQ) ?? 0).toBe(0)
    test.clock.advance(1000)

    expect(test.gsiLevels.get(IRQ)).toBe(1)
    expect(read(0x0c) & 0xa0).toBe(0xa0)
  })

  it('ticks at the periodic rate and keeps its phase when the host is late', () => {
    const { test, read, write } = setUp()
    write(0x0a, 0x2f) // 2 Hz
    write(0x0b, B_24H | 0x40)
    let ticks = 0
    for (let step = 0; step < 100; step++) {
      test.clock.advance(50)
      if ((read(0x0c) & 0x40) !== 0) ticks++
    }

    expect(ticks).toBe(10)
  })

  it('sets flags without interrupts when they are not enabled', () => {
    const { test, read } = setUp()
    test.clock.advance(1000)

    expect(read(0x0c) & 0x90).toBe(0x10)
    expect(test.gsiChanges).toEqual([])
  })

  it('raises UIP just before the second turns', () => {
    const { test, read } = setUp()
    test.clock.advance(500)
    expect(read(0x0a) & 0x80).toBe(0)
    test.clock.advance(499.9)
    expect(read(0x0a) & 0x80).toBe(0x80)
  })

  it('tells firmware the sizes of memory and the number of CPUs', () => {
    const { read } = setUp()
    const word = (at: number): number => read(at) | (read(at + 1) << 8)

    expect(word(0x15)).toBe(640)
    expect(word(0x34) * 65536 + 16 * 2 ** 20).toBe(512 * 2 ** 20)
    expect(word(0x5b) * 65536).toBe(2 ** 30)
    expect(read(0x5f)).toBe(3)
  })

  it('keeps CMOS bytes over a reset', () => {
    const { test, read, write } = setUp()
    write(0x40, 0x77)
    test.hub.reset()

    expect(read(0x40)).toBe(0x77)
    expect(read(0x0d)).toBe(0x80)
  })
})
