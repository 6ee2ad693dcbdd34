/** REP MOVS, STOS, CMPS and SCAS in 64-bit code at every length, alignment and overlap against plain loops. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import { Random } from '#testkit/oracle/random.ts'
import { compileSystem, SystemMachine } from './testing/system-machine.ts'

const AREA = 0x20_0000
const BYTES = 0x3000
const WIDTHS = [1, 2, 4, 8] as const
const REP = 1
const REPNE = 2

let module: WebAssembly.Module
let m: SystemMachine
let random: (below: number) => number

interface Strings {
  str_movs(bytes: number, rep: number, addressBytes: number, seg: number): void
  str_stos(bytes: number, rep: number, addressBytes: number, seg: number): void
  str_scas(bytes: number, rep: number, addressBytes: number, seg: number): void
  str_cmps(bytes: number, rep: number, addressBytes: number, seg: number): void
}
const strings = (): Strings => m.k as unknown as Strings

beforeAll(async () => {
  module = await compileSystem()
}, 120_000)

beforeEach(() => {
  m = new SystemMachine(module)
  m.longMode(3)
  const source = new Random('strings')
  random = (below) => source.below(below)
})

const area = (): Uint8Array => Uint8Array.from({ length: BYTES }, (_, i) => m.read16(AREA + i) & 0xff)
/** Few different bytes, so that comparisons go on for a while. */
function scatter(values: number): void {
  for (let i = 0; i < BYTES; i++) m.write8(AREA + i, random(values))
}
const registers = (): number[] => [abi.CPU_RSI, abi.CPU_RDI, abi.CPU_RCX].map((at) => Number(m.get64(at)))
function set(si: number, di: number, count: number): void {
  m.set64(abi.CPU_RSI, AREA + si)
  m.set64(abi.CPU_RDI, AREA + di)
  m.set64(abi.CPU_RCX, count)
  m.setRip(0x1000, 0x1002)
}
/** An offset that is often close to the end of a page. */
const place = (): number => (random(3) === 0 ? 0x1000 - random(40) : random(0x1f00))
const element = (bytes: Uint8Array, at: number, width: number): string =>
  Array.from(bytes.subarray(at, at + width)).join()

describe.each(WIDTHS)('%i-byte elements', (width) => {
  it('MOVS copies as one element after the other does', () => {
    for (let round = 0; round < 600; round++) {
      if (round % 100 === 0) scatter(256)
      const si = place()
      const di = random(2) === 0 ? place() : Math.max(0, si + random(48) - 24)
      const count = random(Math.floor(90 / width))
      const expected = area()
      for (let i = 0; i < count * width; i += width) {
        const moved = expected.slice(si + i, si + i + width)
        expected.set(moved, di + i)
      }
      set(si, di, count)
      strings().str_movs(width, REP, 8, abi.SEG_DS)
      expect(m.takeFault()).toBeUndefined()
      expect({ si, di, count, area: Buffer.compare(area(), expected) }).toEqual({ si, di, count, area: 0 })
      expect(registers()).toEqual([AREA + si + count * width, AREA + di + count * width, 0])
    }
  })

  it('STOS fills nothing but its elements', () => {
    for (let round = 0; round < 300; round++) {
      const [di, count] = [place(), random(Math.floor(200 / width))]
      const value = Uint8Array.from({ length: 8 }, () => random(256))
      if (round % 2) value.fill(round)
      const expected = area()
      for (let i = 0; i < count; i++) expected.set(value.subarray(0, width), di + i * width)
      set(0, di, count)
      new Uint8Array(m.memory.buffer, m.cpu + abi.CPU_RAX, 8).set(value)
      strings().str_stos(width, REP, 8, abi.SEG_DS)
      expect({ di, count, area: Buffer.compare(area(), expected) }).toEqual({ di, count, area: 0 })
      expect(registers().slice(1)).toEqual([AREA + di + count * width, 0])
    }
  })

  it.each([REP, REPNE])('CMPS and SCAS stop at the right element (prefix %i)', (rep) => {
    for (let round = 0; round < 500; round++) {
      if (round % 50 === 0) scatter(round % 100 ? 2 : 1)
      if (round % 5 === 0) m.write8(AREA + random(BYTES), random(4))
      const compares = random(2) === 0
      const [si, di, count] = [place(), place(), 1 + random(Math.floor(120 / width))]
      const bytes = area()
      const value = bytes.slice(random(100), 108)
      let done = 0
      let same = false
      while (done < count) {
        const other = element(bytes, di + done * width, width)
        same = other === (compares ? element(bytes, si + done * width, width) : element(value, 0, width))
        done++
        if (same === (rep === REPNE)) break
      }
      set(si, di, count)
      new Uint8Array(m.memory.buffer, m.cpu + abi.CPU_RAX, 8).set(value.subarray(0, 8))
      if (compares) strings().str_cmps(width, rep, 8, abi.SEG_DS)
      else strings().str_scas(width, rep, 8, abi.SEG_DS)
      const [, after, left] = registers()
      expect([after, left, (m.k.flags_get() & 0x40) !== 0]).toEqual([
        AREA + di + done * width,
        count - done,
        same,
      ])
    }
  })
})

it('watches single steps, DF and breakpoints as before', () => {
  scatter(256)
  m.setFlags(0x102)
  set(0, 0x100, 5)
  strings().str_movs(1, REP, 8, abi.SEG_DS)
  expect(registers()).toEqual([AREA + 1, AREA + 0x101, 4])
  m.setFlags(0x402)
  m.set32(abi.CPU_REQ, 0)
  set(8, 0x108, 5)
  strings().str_movs(1, REP, 8, abi.SEG_DS)
  expect(registers()).toEqual([AREA + 3, AREA + 0x103, 0])
  m.setFlags(2)
  m.set64(abi.CPU_DR0, AREA + 0x102)
  m.set64(abi.CPU_DR7, 0x400n | 1n | (1n << 16n))
  m.k.update_mode()
  m.set32(abi.CPU_REQ, 0)
  set(0, 0x100, 5)
  strings().str_movs(1, REP, 8, abi.SEG_DS)
  expect(registers()[2]).toBe(4)
})
