import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TestMachine, compileChips } from './testing-machine.ts'

const kernel = (device: number): number => 0x4 | (0x4 << 4) | (device << 8)
const HPET = 0xfed0_0000
const CONFIG = 0x10
const STATUS = 0x20
const COUNTER = 0xf0
const ENABLE = 1
const LEGACY = 2
const TIMER_ENABLE = 4
const TIMER_PERIODIC = 8
const TIMER_SET_VALUE = 0x40
const route = (pin: number): number => pin << 9

let module: WebAssembly.Module
let m: TestMachine

beforeAll(async () => {
  module = await compileChips()
}, 60_000)

beforeEach(() => {
  m = new TestMachine(module, 1)
  m.enableLapics()
  m.lapicWrite(0, 0x350, 0x1_0000)
  m.mapMmio(0xfec0_0000, 0x1000, kernel(4))
  m.mapMmio(HPET, 0x1000, kernel(6))
  pin(2, 0x32)
  pin(20, 0x44)
})

const pin = (number: number, low: number): void => {
  m.cpu(0).mmio_write(0xfec0_0000n, 4, BigInt(0x10 + 2 * number))
  m.cpu(0).mmio_write(0xfec0_0010n, 4, BigInt(low))
}
const read = (at: number, bytes = 8): bigint =>
  BigInt.asUintN(64, m.cpu(0).mmio_read(BigInt(HPET + at), bytes))
const write = (at: number, value: number | bigint, bytes = 4): void =>
  m.cpu(0).mmio_write(BigInt(HPET + at), bytes, BigInt(value))
const timer = (i: number, at: number): number => 0x100 + 0x20 * i + at
/** 10 ns each. */
const ticks = (n: number): void => m.advance(n * 10)

describe('counter', () => {
  it('says what it is and counts only while enabled', () => {
    expect(read(0)).toBe((10_000_000n << 32n) | 0x8086_a201n)
    expect(read(4, 4)).toBe(10_000_000n)
    ticks(1000)
    expect(read(COUNTER)).toBe(0n)
    write(CONFIG, ENABLE)
    ticks(1000)
    expect(read(COUNTER)).toBe(1000n)
    write(CONFIG, 0)
    ticks(1000)
    write(COUNTER, 0x1_0000_0000n, 8)
    write(COUNTER, 7)
    expect(read(COUNTER)).toBe(0x1_0000_0007n)
    expect(read(COUNTER + 4, 4)).toBe(1n)
  })
})

describe('timers', () => {
  it('fires one-shot on the routed pin', () => {
    write(CONFIG, ENABLE)
    write(timer(1, 0), TIMER_ENABLE | route(20))
    write(timer(1, 8), 500, 8)
    ticks(499)
    expect(m.drain(0)).toEqual([])
    expect(m.cpu(0).next_deadline() - m.cpu(0).clock_ns()).toBe(10)
    ticks(1)
    expect(m.drain(0)).toEqual([0x44])
    ticks(10_000)
    expect(m.drain(0)).toEqual([])
  })

  it('repeats timer 0 and cuts the PIT off in legacy mode', () => {
    write(CONFIG, ENABLE | LEGACY)
    write(timer(0, 0), TIMER_ENABLE | TIMER_PERIODIC | TIMER_SET_VALUE)
    write(timer(0, 8), 100_000)
    write(timer(0, 8), 100_000)
    let fired = 0
    for (let i = 0; i < 50; i++) {
      ticks(100_000)
      fired += m.drain(0).length
    }
    expect(fired).toBe(50)
    for (const [port, value] of [
      [0x43, 0x34],
      [0x40, 0],
      [0x40, 1],
    ] as const) {
      m.mapPort(port, kernel(2))
      m.cpu(0).sys_out(port, value, 1)
    }
    write(timer(0, 0), 0)
    ticks(1_000_000)
    expect(m.drain(0)).toEqual([])
  })

  it('holds a level line until its status bit is cleared', () => {
    pin(20, 0x8044)
    write(CONFIG, ENABLE)
    write(timer(2, 0), TIMER_ENABLE | 2 | route(20))
    write(timer(2, 8), 500, 8)
    ticks(500)
    expect(read(STATUS)).toBe(4n)
    expect(m.cpu(0).irq_ack()).toBe(0x44)
    write(STATUS, 4)
    m.cpu(0).irq_eoi()
    expect(m.cpu(0).irq_pending()).toBe(0)
  })

  it('sends FSB messages', () => {
    write(CONFIG, ENABLE)
    write(timer(1, 0x10), (0xfee0_0000n << 32n) | 0x61n, 8)
    write(timer(1, 0), TIMER_ENABLE | 0x4000)
    write(timer(1, 8), 500, 8)
    ticks(500)
    expect(m.drain(0)).toEqual([0x61])
  })

  it('matches again after a wrap in 32-bit mode', () => {
    write(timer(1, 0), TIMER_ENABLE | 0x100 | route(20))
    write(timer(1, 8), 10)
    write(COUNTER, 0xffff_fff0)
    write(CONFIG, ENABLE)
    ticks(26)
    expect(m.drain(0)).toEqual([0x44])
  })
})
