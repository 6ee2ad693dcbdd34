import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import { CR3, SystemMachine, compileSystem } from './testing/system-machine.ts'

type StringFunction = (bytes: number, rep: number, addressBytes: number, seg: number) => void
interface Strings {
  str_movs: StringFunction
  str_cmps: StringFunction
  str_stos: StringFunction
  str_lods: StringFunction
  str_scas: StringFunction
  str_ins: StringFunction
  str_outs: StringFunction
}

const NONE = 0
const REP = 1
const REPNE = 2
const DS = abi.SEG_DS
const DF = 0x402
const RIP = 0x7000n
const NEXT = 0x7002n

let module: WebAssembly.Module
let m: SystemMachine
let k: Strings

beforeAll(async () => {
  module = await compileSystem()
}, 120_000)

beforeEach(() => {
  m = new SystemMachine(module)
  k = m.k as unknown as Strings
  m.longMode()
  m.setRip(RIP, NEXT)
  m.setFlags(2)
})

const fill = (at: number, text: string): void => {
  for (let i = 0; i < text.length; i++) m.write8(at + i, text.charCodeAt(i))
}
const text = (at: number, length: number): string =>
  Array.from({ length }, (_, i) => String.fromCharCode(m.read16(at + i) & 255)).join('')

/** rSI, rDI, rCX. */
const set = (rsi: bigint | number, rdi: bigint | number, rcx: bigint | number): void => {
  m.set64(abi.CPU_RSI, rsi)
  m.set64(abi.CPU_RDI, rdi)
  m.set64(abi.CPU_RCX, rcx)
}
const registers = (): bigint[] => [abi.CPU_RSI, abi.CPU_RDI, abi.CPU_RCX].map((offset) => m.get64(offset))
const unmap = (lin: bigint): void => {
  m.write64(m.entry64(CR3, lin), 0n)
  m.k.tlb_flush_all()
}
const finished = (): boolean => m.get64(abi.CPU_NEXT_RIP) === NEXT

describe('MOVS', () => {
  it('copies over page boundaries and leaves the registers behind the last element', () => {
    const data = 'abcdefgh'.repeat(700)
    fill(0x20ff1, data)
    set(0x20ff1, 0x30803, data.length)
    k.str_movs(1, REP, 8, DS)
    expect(m.takeFault()).toBeUndefined()
    expect(text(0x30803, data.length)).toBe(data)
    expect(registers()).toEqual([BigInt(0x20ff1 + data.length), BigInt(0x30803 + data.length), 0n])
    expect(finished()).toBe(true)
  })

  it('stops at the faulting element with the ones before it done', () => {
    fill(0x20ff8, '01234567')
    unmap(0x21000n)
    set(0x20ff8, 0x30000, 4)
    k.str_movs(4, REP, 8, DS)
    expect(m.takeFault()).toEqual({ vector: 14, error: 0, gva: 0x21000n })
    expect(registers()).toEqual([0x21000n, 0x30008n, 2n])
    expect(text(0x30000, 8)).toBe('01234567')
  })

  it('copies nothing of an element that crosses into a missing page', () => {
    fill(0x20ffe, 'abcd')
    unmap(0x21000n)
    set(0x20ffe, 0x30000, 1)
    const before = m.visible()
    k.str_movs(4, REP, 8, DS)
    expect(m.takeFault()?.gva).toBe(0x21000n)
    expect(m.visible()).toEqual(before)
  })

  it.each([1, 2, 4, 8])(
    'repeats the pattern below an overlapping destination, %i bytes at a time',
    (bytes) => {
      fill(0x20000, 'abcdefgh')
      set(0x20000, 0x20000 + bytes, 64 / bytes)
      k.str_movs(bytes, REP, 8, DS)
      expect(text(0x20000, 64 + bytes)).toBe('abcdefgh'.slice(0, bytes).repeat(64 / bytes + 1))
    },
  )

  it('goes down with DF set', () => {
    fill(0x20ffc, '0123456789')
    m.setFlags(DF)
    set(0x21004, 0x31004, 5)
    k.str_movs(2, REP, 8, DS)
    expect(text(0x30ffc, 10)).toBe('0123456789')
    expect(registers()).toEqual([0x20ffan, 0x30ffan, 0n])
  })

  it('does nothing for a count of zero, whatever the addresses', () => {
    set(0x8000_0000_0000n, 0x8000_0000_0000n, 0)
    k.str_movs(8, REP, 8, DS)
    expect(m.takeFault()).toBeUndefined()
  })

  it('raises #GP at a non-canonical source', () => {
    set(0x8000_0000_0000n, 0x20000, 1)
    k.str_movs(8, REP, 8, DS)
    expect(m.takeFault()).toEqual({ vector: 13, error: 0 })
  })

  it('keeps the upper halves with 16-bit addresses and wraps them, and zeroes them with 32-bit ones', () => {
    fill(0x0fffe, 'xy')
    fill(0x00000, 'zw')
    m.protectedMode()
    m.setRip(RIP, NEXT)
    set(0xaaaa_fffen, 0xbbbb_6000n, 0xcccc_0004n)
    k.str_movs(1, REP, 2, DS)
    expect(text(0x6000, 4)).toBe('xyzw')
    expect(registers()).toEqual([0xaaaa_0002n, 0xbbbb_6004n, 0xcccc_0000n])
    m.longMode()
    set(0x1_0000_0000n + 0x6000n, 0x5_0000_7000n, 0x9_0000_0002n)
    k.str_movs(2, REP, 4, DS)
    expect(text(0x7000, 4)).toBe('xyzw')
    expect(registers()).toEqual([0x6004n, 0x7004n, 0n])
  })

  it('stops at a segment limit with the elements inside done', () => {
    m.protectedMode()
    m.setRip(RIP, NEXT)
    m.setSeg(abi.SEG_DS, 0x10, 0x20000, 0x0f, 0x493)
    m.k.update_mode()
    fill(0x20000, '0123456789abcdef')
    set(0x0a, 0x30000, 16)
    k.str_movs(1, REP, 4, DS)
    expect(m.takeFault()).toEqual({ vector: 13, error: 0 })
    expect(text(0x30000, 6)).toBe('abcdef')
    expect(registers()).toEqual([0x10n, 0x30006n, 10n])
  })

  it('gives way to a pending request and goes on where it stopped', () => {
    set(0x20000, 0x100000 + 0x40000, 0x8000)
    fill(0x20000, 'start')
    m.set32(abi.CPU_REQ, abi.REQ_INTERRUPT)
    let calls = 0
    while (m.get64(abi.CPU_RCX) > 0n && calls < 100) {
      m.setRip(RIP, NEXT)
      k.str_movs(1, REP, 8, DS)
      calls++
      if (m.get64(abi.CPU_RCX) > 0n) expect(m.get64(abi.CPU_NEXT_RIP)).toBe(RIP)
    }
    expect(calls).toBeGreaterThan(4)
    expect(finished()).toBe(true)
    expect(text(0x140000, 5)).toBe('start')
  })

  it('does one element at a time while single-stepping', () => {
    fill(0x20000, 'abc')
    set(0x20000, 0x30000, 3)
    m.set32(abi.CPU_SINGLE, 1)
    k.str_movs(1, REP, 8, DS)
    expect(registers()).toEqual([0x20001n, 0x30001n, 2n])
    expect(finished()).toBe(false)
  })
})

describe('STOS and LODS', () => {
  it.each([
    [1, 0x41n, 'A'.repeat(24)],
    [2, 0x4241n, 'AB'.repeat(12)],
    [4, 0x4443_4241n, 'ABCD'.repeat(6)],
    [8, 0x4847_4645_4443_4241n, 'ABCDEFGH'.repeat(3)],
  ])('fills with %i bytes of rAX, over a page boundary and not beyond', (bytes, rax, want) => {
    fill(0x20ff0, '.'.repeat(40))
    m.set64(abi.CPU_RAX, rax)
    set(0, 0x20ff5, 24 / bytes)
    k.str_stos(bytes, REP, 8, DS)
    expect(text(0x20ff4, 26)).toBe(`.${want}.`)
    expect(registers()[1]).toBe(BigInt(0x20ff5 + 24))
  })

  it('reports the write to a read-only page and stops there', () => {
    m.longMode(3)
    m.setRip(RIP, NEXT)
    m.write64(m.entry64(CR3, 0x21000n), 0x21000n | 5n)
    m.k.tlb_flush_all()
    set(0, 0x20ff8, 16)
    k.str_stos(1, REP, 8, DS)
    expect(m.takeFault()).toEqual({ vector: 14, error: 7, gva: 0x21000n })
    expect(registers().slice(1)).toEqual([0x21000n, 8n])
  })

  it('loads into a part of rAX as a move would', () => {
    m.write64(0x20000, 0x8877_6655_4433_2211n)
    m.set64(abi.CPU_RAX, -1n)
    set(0x20000, 0, 0)
    k.str_lods(1, NONE, 8, DS)
    expect(m.get64(abi.CPU_RAX)).toBe(0xffff_ffff_ffff_ff11n)
    set(0x20000, 0, 0)
    k.str_lods(4, NONE, 8, DS)
    expect(m.get64(abi.CPU_RAX)).toBe(0x4433_2211n)
  })
})

describe('SCAS and CMPS', () => {
  const ZF = 0x40
  const CF = 1

  it('finds a byte across pages and stops behind it', () => {
    fill(0x20f00, `${'x'.repeat(0x180)}!${'x'.repeat(16)}`)
    m.set64(abi.CPU_RAX, 0x21)
    set(0, 0x20f00, 0x1000)
    k.str_scas(1, REPNE, 8, DS)
    expect(m.get64(abi.CPU_RDI)).toBe(0x21081n)
    expect(m.get64(abi.CPU_RCX)).toBe(0x1000n - 0x181n)
    expect(m.k.flags_get() & ZF).toBe(ZF)
    expect(finished()).toBe(true)
  })

  it('sets the flags of the last comparison', () => {
    m.write32(0x20000, 5)
    m.write32(0x20004, 5)
    m.write32(0x20008, 9)
    m.set64(abi.CPU_RAX, 5)
    set(0, 0x20000, 10)
    k.str_scas(4, REP, 8, DS)
    expect(m.get64(abi.CPU_RCX)).toBe(7n)
    expect(m.k.flags_get() & (ZF | CF)).toBe(CF) // 5 - 9 borrows
  })

  it('leaves the flags alone for a count of zero', () => {
    m.k.flags_set(CF | ZF)
    set(0, 0, 0)
    k.str_cmps(1, REP, 8, DS)
    expect(m.k.flags_get() & (ZF | CF)).toBe(ZF | CF)
  })

  it('compares two strings until they differ', () => {
    fill(0x20ffa, 'same text, one ending')
    fill(0x30ff0, 'same text, two ending')
    set(0x20ffa, 0x30ff0, 21)
    k.str_cmps(1, REP, 8, DS)
    expect(registers()).toEqual([0x20ffan + 12n, 0x30ff0n + 12n, 9n])
    expect(m.k.flags_get() & (ZF | CF)).toBe(CF) // 'o' - 't'
  })

  it('commits the equal elements before a fault', () => {
    fill(0x20ff8, 'abcdefgh')
    fill(0x30ff8, 'abcdefgh')
    unmap(0x31000n)
    set(0x20ff8, 0x30ff8, 16)
    k.str_cmps(1, REP, 8, DS)
    expect(m.takeFault()?.gva).toBe(0x31000n)
    expect(registers()).toEqual([0x21000n, 0x31000n, 8n])
  })
})

describe('INS and OUTS', () => {
  it('reads ones from a port that nobody has, element by element', () => {
    set(0, 0x20ffc, 4)
    m.set64(abi.CPU_RDX, 0x1234)
    k.str_ins(2, REP, 8, DS)
    expect(m.takeFault()).toBeUndefined()
    expect(m.read64(0x20ffc)).toBe(0xffff_ffff_ffff_ffffn)
    expect(registers()).toEqual([0n, 0x21004n, 0n])
  })

  it('asks no port when the destination faults', () => {
    unmap(0x20000n)
    set(0, 0x20000, 4)
    m.set64(abi.CPU_RDX, 0x1234)
    k.str_ins(1, REP, 8, DS)
    expect(m.takeFault()).toEqual({ vector: 14, error: 2, gva: 0x20000n })
    expect(registers()).toEqual([0n, 0x20000n, 4n])
  })

  it('raises #GP(0) without permission, before touching memory', () => {
    m.longMode(3)
    m.setRip(RIP, NEXT)
    m.setSeg(abi.SEG_TR, 0, 0, 0, abi.SEG_ATTR_UNUSABLE) // no I/O bitmap
    unmap(0x20000n)
    set(0x20000, 0, 1)
    m.set64(abi.CPU_RDX, 0x80)
    k.str_outs(1, NONE, 8, DS)
    expect(m.takeFault()).toEqual({ vector: 13, error: 0 })
  })
})
