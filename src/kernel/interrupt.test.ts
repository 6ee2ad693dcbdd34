import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import {
  compileSystem,
  CR3,
  descriptor,
  gate,
  GDT,
  IDT,
  SEG_FLAT_CODE32,
  SEG_FLAT_DATA,
  SystemMachine,
  TSS,
} from './testing/system-machine.ts'

const INT32 = 0x8e
const TRAP32 = 0x8f
const INT16 = 0x86
const STACK0 = 0x1_8000
const STACK3 = 0x2_8000
const IF = 0x200
const HANDLER = 0x1234_5678

let module: WebAssembly.Module
let m: SystemMachine

beforeAll(async () => {
  module = await compileSystem()
}, 120_000)

beforeEach(() => {
  m = new SystemMachine(module)
})

const idt = (vector: number, low: bigint, high?: bigint): void => {
  if (high === undefined) return m.write64(IDT + vector * 8, low)
  m.write64(IDT + vector * 16, low)
  m.write64(IDT + vector * 16 + 8, high)
}
const raise = (vector: number, error?: number): void => {
  m.set32(abi.CPU_FAULT, abi.FAULT_VALID | (error === undefined ? 0 : abi.FAULT_HAS_ERROR) | vector)
  m.set32(abi.CPU_FAULT_ERROR, error ?? 0)
}
const rsp = (): number => Number(m.get64(abi.CPU_RSP))
const setRsp = (value: number): void => m.set64(abi.CPU_RSP, value)
const eflags = (): number => m.k.flags_get() >>> 0
/** 32-bit words from the top of the current stack up. */
const words = (count: number, at = rsp()): number[] =>
  Array.from({ length: count }, (_, i) => m.read32(at + 4 * i) >>> 0)
const quads = (count: number, at = rsp()): number[] =>
  Array.from({ length: count }, (_, i) => Number(m.read64(at + 8 * i)))

const tss32 = (): void => {
  m.write64(GDT + 0x28, descriptor(TSS, 0x67, 0x89))
  m.setSeg(abi.SEG_TR, 0x28, TSS, 0x67, 0x8b)
  m.write32(TSS + 4, STACK0)
  m.write32(TSS + 8, 0x10)
}

describe('real mode', () => {
  beforeEach(() => {
    m.setSeg(abi.SEG_CS, 0x100, 0x1000, 0xffff, 0x9b)
    setRsp(0x8000)
    m.setRip(0x20, 0x22)
    m.setFlags(IF | 0x143)
  })

  it('pushes flags, CS and IP and clears IF and TF', () => {
    m.write32(0x21 * 4, 0x0700_1234)
    m.k.sys_int(0x21)
    expect(m.takeFault()).toBeUndefined()
    expect(rsp()).toBe(0x7ffa)
    expect([m.read16(0x7ffa), m.read16(0x7ffc), m.read16(0x7ffe)]).toEqual([0x22, 0x100, IF | 0x143])
    expect([m.seg(abi.SEG_CS).selector, m.seg(abi.SEG_CS).base, m.get64(abi.CPU_NEXT_RIP)]).toEqual([
      0x700,
      0x7000n,
      0x1234n,
    ])
    expect(eflags() & (IF | 0x100)).toBe(0)
  })

  it('pushes no error code for an exception and returns to the instruction', () => {
    m.write32(13 * 4, 0x0700_1234)
    raise(13, 0)
    m.k.deliver_fault()
    expect([rsp(), m.read16(0x7ffa)]).toEqual([0x7ffa, 0x20])
    expect(m.get64(abi.CPU_RIP)).toBe(0x1234n)
  })

  it('shuts down when the table is too short for a fault and for the double fault', () => {
    m.setSeg(abi.SEG_IDTR, 0, 0, 3, 0)
    raise(6)
    m.k.deliver_fault()
    expect([m.get32(abi.CPU_RUNSTATE), m.get32(abi.CPU_EXITREASON)]).toEqual([
      abi.RUN_SHUTDOWN,
      abi.EXITREASON_SHUTDOWN,
    ])
    expect(m.get64(abi.CPU_RIP)).toBe(0x20n)
  })
})

describe('protected mode, 32 bits', () => {
  beforeEach(() => {
    m.protectedMode(3)
    tss32()
    setRsp(STACK3)
    m.setRip(0x40_0000, 0x40_0002)
    m.setFlags(IF | 0x4001)
  })

  it('switches to the stack of the TSS and nests nothing', () => {
    idt(0x80, gate(0x08, HANDLER, TRAP32 | 0x60))
    m.k.sys_int(0x80)
    expect(m.takeFault()).toBeUndefined()
    expect(words(5)).toEqual([0x40_0002, 0x1b, IF | 0x4003, STACK3, 0x23])
    expect([rsp(), m.get32(abi.CPU_CPL), m.seg(abi.SEG_CS).selector, m.seg(abi.SEG_SS).selector]).toEqual([
      STACK0 - 20,
      0,
      8,
      0x10,
    ])
    expect(m.get64(abi.CPU_NEXT_RIP)).toBe(BigInt(HANDLER))
    expect(eflags() & (IF | 0x4000)).toBe(IF) // a trap gate keeps IF, NT goes
  })

  it('an interrupt gate clears IF; an error code is pushed last; RF is set in the image of a fault', () => {
    idt(13, gate(0x08, HANDLER, INT32))
    raise(13, 0x18)
    m.k.deliver_fault()
    expect(words(6)).toEqual([0x18, 0x40_0000, 0x1b, IF | 0x1_4003, STACK3, 0x23])
    expect(eflags() & IF).toBe(0)
  })

  it('stays on its stack at the same level', () => {
    m.protectedMode(0)
    setRsp(STACK0)
    idt(0x20, gate(0x08, HANDLER, INT32))
    m.k.deliver_interrupt(0x20)
    expect(words(3)).toEqual([0x40_0000, 8, IF | 0x4003])
    expect(m.get64(abi.CPU_RIP)).toBe(BigInt(HANDLER))
  })

  it('a 16-bit gate pushes words', () => {
    idt(0x80, gate(0x08, 0x9_1234, INT16 | 0x60))
    m.k.sys_int(0x80)
    expect(rsp()).toBe(STACK0 - 10)
    expect([m.read16(rsp()), m.read16(rsp() + 2), m.read16(rsp() + 6)]).toEqual([2, 0x1b, STACK3 & 0xffff])
    expect(m.get64(abi.CPU_NEXT_RIP)).toBe(0x1234n)
  })

  it.each([
    ['gate DPL below CPL', gate(0x08, HANDLER, INT32), 13, 0x80 * 8 + 2],
    ['not present', gate(0x08, HANDLER, 0x6e), 11, 0x80 * 8 + 2],
    ['no gate type', gate(0x08, HANDLER, 0xe0 | 9), 13, 0x80 * 8 + 2],
    ['null code selector', gate(0, HANDLER, INT32 | 0x60), 13, 0],
    ['data selector', gate(0x10, HANDLER, INT32 | 0x60), 13, 0x10],
    ['selector beyond the GDT', gate(0x1008, HANDLER, INT32 | 0x60), 13, 0x1008],
  ])('INT n refuses: %s', (_, entry, vector, error) => {
    idt(0x80, entry)
    const before = m.visible()
    m.k.sys_int(0x80)
    expect(m.takeFault()).toEqual({ vector, error })
    expect(m.visible()).toEqual(before)
  })

  it('sets EXT in the error code of a fault during an external interrupt', () => {
    idt(0x20, gate(0x10, HANDLER, INT32))
    idt(13, gate(0x08, HANDLER, INT32))
    m.k.deliver_interrupt(0x20)
    expect(words(2)).toEqual([0x11, 0x40_0000])
  })

  it.each([
    ['null', () => m.write32(TSS + 8, 0), 10, 0],
    ['of the wrong level', () => m.write32(TSS + 8, 0x23), 10, 0x20],
    ['a code segment', () => m.write32(TSS + 8, 0x08), 10, 0x08],
    ['not present', () => m.write64(GDT + 0x10, SEG_FLAT_DATA & ~(1n << 47n)), 12, 0x10],
    ['beyond the TSS', () => m.setSeg(abi.SEG_TR, 0x28, TSS, 6, 0x8b), 10, 0x28],
  ])('refuses a new stack segment that is %s', (_, spoil, vector, error) => {
    idt(0x80, gate(0x08, HANDLER, INT32 | 0x60))
    spoil()
    const before = m.visible()
    m.k.sys_int(0x80)
    expect(m.takeFault()).toEqual({ vector, error })
    expect(m.visible()).toEqual(before)
  })

  it('#SS when the frame does not fit the new stack', () => {
    idt(0x80, gate(0x08, HANDLER, INT32 | 0x60))
    m.write64(GDT + 0x10, descriptor(0, 0xfff, 0x493))
    m.write32(TSS + 4, 0x1008)
    m.k.sys_int(0x80)
    expect(m.takeFault()).toEqual({ vector: 12, error: 0x10 })
  })

  it('a conforming handler runs at the CPL of the program', () => {
    m.write64(GDT + 0x30, descriptor(0, 0xf_ffff, 0xc9e))
    idt(0x80, gate(0x30, HANDLER, TRAP32 | 0x60))
    m.k.sys_int(0x80)
    expect(words(3)).toEqual([0x40_0002, 0x1b, IF | 0x4003])
    expect([m.get32(abi.CPU_CPL), m.seg(abi.SEG_CS).selector]).toEqual([3, 0x33])
  })

  it('INT3 honours the DPL, INT1 does not', () => {
    idt(3, gate(0x08, HANDLER, INT32))
    idt(1, gate(0x08, HANDLER, INT32))
    m.k.sys_int3()
    expect(m.takeFault()).toEqual({ vector: 13, error: 3 * 8 + 2 })
    m.k.sys_int1()
    expect(m.takeFault()).toBeUndefined()
    expect(words(1)).toEqual([0x40_0002])
  })
})

describe('double and triple faults', () => {
  beforeEach(() => {
    m.protectedMode(0)
    setRsp(STACK0)
    m.setRip(0x40_0000)
    idt(8, gate(0x08, HANDLER, INT32))
  })

  it.each([
    ['#GP while delivering #NP', 11, 8],
    ['#NP while delivering #PF', 14, 8],
    ['#GP while delivering #UD is served alone', 6, 13],
  ])('%s', (_, first, expected) => {
    idt(first, 0n) // no gate: #GP
    if (expected === 13) idt(13, gate(0x08, HANDLER + 1, INT32))
    raise(first, first === 6 ? undefined : 4)
    m.k.deliver_fault()
    expect(m.get64(abi.CPU_RIP)).toBe(BigInt(expected === 8 ? HANDLER : HANDLER + 1))
    expect(m.read32(rsp())).toBe(expected === 8 ? 0 : first * 8 + 3)
  })

  it('a fault while delivering #DF shuts the vCPU down', () => {
    idt(8, 0n)
    raise(13, 0)
    m.k.deliver_fault()
    expect(m.get32(abi.CPU_RUNSTATE)).toBe(abi.RUN_SHUTDOWN)
    expect(m.get32(abi.CPU_EXITREASON)).toBe(abi.EXITREASON_SHUTDOWN)
  })

  it('#PF while delivering #GP is served alone and sets CR2', () => {
    m.map64(CR3, 0n, 0, 7n) // unused tables: this test pages in 32 bits
    m.write32(0x9_0000, 0x9_1000 | 7)
    for (let i = 0; i < 0x40; i++) m.write32(0x9_1000 + 4 * i, (i << 12) | 7)
    m.write32(0x9_1000 + 4 * ((STACK0 >> 12) - 1), 0) // the page below the stack
    setRsp(STACK0)
    m.set64(abi.CPU_CR3, 0x9_0000)
    m.set64(abi.CPU_CR0, 0x8000_0011n)
    m.k.update_mode()
    m.k.tlb_flush_all()
    m.write64(GDT + 0x28, descriptor(TSS, 0x67, 0x89))
    m.setSeg(abi.SEG_TR, 0x28, TSS, 0x67, 0x8b)
    idt(13, gate(0x08, HANDLER, INT32))
    idt(14, gate(0x08, HANDLER, INT32))
    raise(13, 0)
    m.k.deliver_fault()
    // #PF cannot push either, and #PF after #PF is a double fault, which cannot push: shutdown, CR2 of the first.
    expect(m.get32(abi.CPU_RUNSTATE)).toBe(abi.RUN_SHUTDOWN)
    expect(Number(m.get64(abi.CPU_CR2)) >>> 12).toBe((STACK0 >> 12) - 1)
  })
})

describe('64-bit mode', () => {
  const longGate = (vector: number, access: number, ist = 0, selector = 8): void =>
    idt(vector, gate(selector, 0x8000_1234, access, ist), 0xffff_ff00n)
  const TARGET = 0xffff_ff00_8000_1234n

  beforeEach(() => {
    m.longMode(3)
    m.setSeg(abi.SEG_TR, 0x28, TSS, 0x67, 0x8b)
    m.write64(TSS + 4, BigInt(STACK0))
    m.write64(TSS + 36, 0x1_c008n) // IST1
    setRsp(STACK3)
    m.setRip(0x40_0000, 0x40_0002)
    m.setFlags(IF | 2)
  })

  it('pushes SS:RSP always, and SS becomes null at an inner level', () => {
    longGate(0x20, INT32)
    m.k.deliver_interrupt(0x20)
    expect(quads(5)).toEqual([0x40_0000, 0x1b, IF | 2, STACK3, 0x23])
    expect([m.get64(abi.CPU_RIP), rsp(), m.get32(abi.CPU_CPL)]).toEqual([TARGET, STACK0 - 40, 0])
    expect(m.seg(abi.SEG_SS)).toMatchObject({ selector: 0, attr: abi.SEG_ATTR_UNUSABLE })
    expect(m.get32(abi.CPU_MODE) & (abi.MODE_CS_MASK | abi.MODE_CPL3)).toBe(abi.MODE_CS64)
  })

  it('aligns the stack at the same level', () => {
    m.longMode(0)
    setRsp(0x1_8005)
    longGate(13, INT32)
    raise(13, 0x55)
    m.k.deliver_fault()
    expect(rsp()).toBe(0x1_8000 - 48)
    expect(quads(6)).toEqual([0x55, 0x40_0000, 8, IF | 0x1_0002, 0x1_8005, 0x10])
  })

  it('uses the interrupt stack table at any level', () => {
    m.longMode(0)
    longGate(2, INT32, 1)
    m.k.deliver_nmi()
    expect(rsp()).toBe(0x1_c000 - 40)
    expect(m.get32(abi.CPU_NMI_BLOCKED)).toBe(1)
  })

  it.each([
    ['a code segment that is not 64-bit', () => longGate(0x80, INT32 | 0x60, 0, 0x30), 13, 0x30],
    ['a 16-bit gate', () => longGate(0x80, INT16 | 0x60), 13, 0x80 * 8 + 2],
    ['a task gate', () => longGate(0x80, 0xe5), 13, 0x80 * 8 + 2],
    ['a non-canonical handler', () => idt(0x80, gate(8, 0, INT32 | 0x60), 0x8000n), 13, 0],
    ['a non-canonical stack', () => (longGate(0x80, INT32 | 0x60), m.write64(TSS + 4, 1n << 60n)), 12, 0],
    ['an entry beyond the limit', () => m.setSeg(abi.SEG_IDTR, 0, IDT, 0x80f - 1, 0), 13, 0x80 * 8 + 2],
  ])('refuses %s', (_, spoil, vector, error) => {
    m.write64(GDT + 0x30, SEG_FLAT_CODE32)
    spoil()
    const before = m.visible()
    m.k.sys_int(0x80)
    expect(m.takeFault()).toEqual({ vector, error })
    expect(m.visible()).toEqual(before)
  })

  it('writes nothing of a frame whose lower end faults', () => {
    longGate(0x80, INT32 | 0x60)
    m.write64(TSS + 4, 0x1_9010n)
    m.map64(CR3, 0x1_8000n, 0, 0n)
    m.write64(0x1_9008, 0x5555n)
    m.k.tlb_flush_all()
    m.k.sys_int(0x80)
    expect(m.takeFault()).toMatchObject({ vector: 14, error: 2 })
    expect(m.read64(0x1_9008)).toBe(0x5555n)
  })

  it('carries a frame across two pages there and back', () => {
    longGate(0x80, INT32 | 0x60)
    m.write64(TSS + 4, 0x1_9010n)
    setRsp(0x1_5000)
    m.setRip(0x1111, 0x1113)
    m.k.sys_int(0x80)
    expect(m.takeFault()).toBeUndefined()
    expect(rsp()).toBe(0x1_9010 - 40)
    expect(m.read64(0x1_9008)).toBe(BigInt(m.read16(0x1_9008)))
    m.k.sys_iret(8)
    expect(m.takeFault()).toBeUndefined()
    expect([m.get64(abi.CPU_NEXT_RIP), rsp(), m.get32(abi.CPU_CPL)]).toEqual([0x1113n, 0x1_5000, 3])
  })

  it('IRETQ whose upper values lie in a missing page changes nothing', () => {
    longGate(0x80, INT32 | 0x60)
    m.write64(TSS + 4, 0x1_9010n)
    m.k.sys_int(0x80)
    m.map64(CR3, 0x1_9000n, 0, 0n)
    m.k.tlb_flush_all()
    const before = m.visible()
    m.k.sys_iret(8)
    expect(m.takeFault()).toMatchObject({ vector: 14, error: 0, gva: 0x1_9000n })
    expect(m.visible()).toEqual(before)
  })

  it('takes a page from under watch when a frame is pushed on its code', () => {
    longGate(0x80, INT32 | 0x60)
    m.write64(TSS + 4, 0x1_9800n)
    m.flagFrame(0x19, abi.FRAME_CODE)
    m.k.sys_int(0x80)
    expect(m.takeFault()).toBeUndefined()
    expect(m.frame(0x19) & abi.FRAME_CODE).toBe(0)
  })

  it('#PF on the inner stack leaves the program as it was', () => {
    longGate(0x80, INT32 | 0x60)
    m.write64(TSS + 4, 0x50_0000n)
    const before = m.visible()
    m.k.sys_int(0x80)
    expect(m.takeFault()).toMatchObject({ vector: 14, error: 2 })
    expect(m.visible()).toEqual(before)
  })
})

describe('debug traps', () => {
  it('TF traps after the instruction that ran with it, not after the one that set it', () => {
    m.protectedMode(0)
    m.setFlags(0x102)
    expect(m.get32(abi.CPU_SINGLE)).toBe(1)
    expect(m.k.debug_after()).toBe(0)
    m.setRip(0x1000)
    m.k.debug_before()
    m.setRip(0x1001)
    expect(m.k.debug_after()).toBe(1)
    expect(m.get64(abi.CPU_DR6) & 0x4000n).toBe(0x4000n)
    idt(1, gate(0x08, HANDLER, INT32))
    setRsp(STACK0)
    m.k.deliver_fault()
    expect(words(3)).toEqual([0x1001, 8, 0x102])
    expect(m.get32(abi.CPU_SINGLE)).toBe(0)
  })

  it('an instruction breakpoint is a fault that RF suppresses for one instruction', () => {
    m.protectedMode(0)
    m.set64(abi.CPU_DR0, 0x1000)
    m.set64(abi.CPU_DR7, 0x402)
    m.k.update_mode()
    m.setRip(0x1000)
    expect(m.k.debug_before()).toBe(1)
    expect(m.takeFault()).toEqual({ vector: 1 })
    expect(m.get64(abi.CPU_DR6) & 0xfn).toBe(1n)
    m.setFlags(0x1_0002)
    expect(m.k.debug_before()).toBe(0)
    m.setRip(0x1002)
    expect(m.k.debug_after()).toBe(0)
    expect(eflags() & 0x1_0000).toBe(0)
  })

  it('general detect faults on MOV DR and is cleared when the handler starts', () => {
    m.protectedMode(0)
    m.set64(abi.CPU_DR7, 0x2400)
    expect(m.k.sys_mov_from_dr(0)).toBe(0n)
    expect(m.get64(abi.CPU_DR6) & 0x2000n).toBe(0x2000n)
    idt(1, gate(0x08, HANDLER, INT32))
    setRsp(STACK0)
    m.k.deliver_fault()
    expect(m.get64(abi.CPU_DR7)).toBe(0x400n)
  })
})
