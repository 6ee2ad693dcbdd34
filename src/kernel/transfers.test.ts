/** Far JMP, CALL, RET and IRET, system calls, virtual-8086 mode. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { LAPIC_IRR, LAPIC_IRR_WORDS } from '#abi/irqchip.ts'
import * as abi from '#abi/layout.ts'
import {
  compileSystem,
  CR3,
  descriptor,
  gate,
  GDT,
  IDT,
  SEG_FLAT_CODE32,
  SEG_FLAT_CODE64,
  SystemMachine,
  TSS,
} from './testing/system-machine.ts'

const STACK0 = 0x1_8000
const STACK3 = 0x2_8000
const RIP = 0x40_0000
const GATE = 0x48
const LDT = 0x6000

let module: WebAssembly.Module
let m: SystemMachine

beforeAll(async () => {
  module = await compileSystem()
}, 120_000)

beforeEach(() => {
  m = new SystemMachine(module)
})

const rsp = (): number => Number(m.get64(abi.CPU_RSP))
const cs = (): number => m.seg(abi.SEG_CS).selector
const ss = (): number => m.seg(abi.SEG_SS).selector
const nextRip = (): bigint => m.get64(abi.CPU_NEXT_RIP)
const words = (count: number, at = rsp()): number[] =>
  Array.from({ length: count }, (_, i) => m.read32(at + 4 * i) >>> 0)
const quads = (count: number, at = rsp()): number[] =>
  Array.from({ length: count }, (_, i) => Number(m.read64(at + 8 * i)))
const put32 = (at: number, ...values: number[]): void =>
  values.forEach((value, i) => m.write32(at + 4 * i, value))
const put64 = (at: number, ...values: (number | bigint)[]): void =>
  values.forEach((value, i) => m.write64(at + 8 * i, BigInt(value)))
/** Runs a transfer that must be refused, and checks that nothing changed. */
const refused = (run: () => void, vector: number, error: number): void => {
  const before = m.visible()
  run()
  expect(m.takeFault()).toEqual({ vector, error })
  expect(m.visible()).toEqual(before)
}

function protectedAt(cpl: 0 | 3): void {
  m.setFlags(2)
  m.protectedMode(cpl)
  m.setRip(RIP, RIP + 7)
  m.set64(abi.CPU_RSP, cpl === 0 ? STACK0 : STACK3)
  m.setSeg(abi.SEG_TR, 0x28, TSS, 0x67, 0x8b)
  put32(TSS + 4, STACK0, 0x10)
}

function longAt(cpl: 0 | 3): void {
  m.longMode(cpl)
  m.setRip(RIP, RIP + 7)
  m.set64(abi.CPU_RSP, cpl === 0 ? STACK0 : STACK3)
  m.setSeg(abi.SEG_TR, 0x28, TSS, 0x67, 0x8b)
  m.write64(TSS + 4, BigInt(STACK0))
}

describe('real mode', () => {
  beforeEach(() => {
    m.set64(abi.CPU_RSP, 0x1000)
    m.setRip(0x10, 0x15)
  })

  it('JMP, CALL and RET load CS with the selector and its base', () => {
    m.k.sys_call_far(0x1234, 0x20n, 2)
    expect([cs(), m.seg(abi.SEG_CS).base, nextRip()]).toEqual([0x1234, 0x1_2340n, 0x20n])
    expect([m.read16(0xffc), m.read16(0xffe)]).toEqual([0x15, 0xf000])
    m.k.sys_ret_far(4, 2)
    expect([cs(), nextRip(), rsp()]).toEqual([0xf000, 0x15n, 0x1004])
    m.k.sys_jmp_far(0x50, 0xffffn, 2)
    expect(nextRip()).toBe(0xffffn)
    refused(() => m.k.sys_jmp_far(0x50, 0x1_0000n, 4), 13, 0)
  })

  it('a stack pointer of 1 cannot take a word', () => {
    m.set64(abi.CPU_RSP, 1)
    refused(() => m.k.sys_call_far(0x50, 0n, 2), 12, 0)
  })

  it('IRET pops IP, CS and all flags but VM, VIF and VIP', () => {
    put32(0x1000, 0x33, 0x2000, 0x3a_72d7)
    m.k.sys_iret(4)
    expect([cs(), nextRip(), rsp()]).toEqual([0x2000, 0x33n, 0x100c])
    expect(m.k.flags_get() >>> 0).toBe(0x20_72d7)
  })
})

describe('JMP and CALL in protected mode', () => {
  it('go to a code segment of the same level', () => {
    protectedAt(3)
    m.write64(GDT + 0x30, SEG_FLAT_CODE32 | (3n << 45n))
    m.k.sys_call_far(0x33, 0x1_0000n, 4)
    expect(m.takeFault()).toBeUndefined()
    expect([cs(), nextRip(), rsp()]).toEqual([0x33, 0x1_0000n, STACK3 - 8])
    expect(words(2)).toEqual([RIP + 7, 0x1b])
  })

  it('set the accessed bit', () => {
    protectedAt(0)
    m.write64(GDT + 0x30, SEG_FLAT_CODE32 & ~(1n << 40n))
    m.k.sys_jmp_far(0x30, 0n, 4)
    expect(m.read64(GDT + 0x30)).toBe(SEG_FLAT_CODE32)
  })

  it.each([
    ['null', 0, 0n, 13, 0],
    ['beyond the table', 0x1000, 0n, 13, 0x1000],
    ['data', 0x23, 0n, 13, 0x20],
    ['inner level', 0x0b, 0n, 13, 0x08],
    ['not present', 0x33, 0n, 11, 0x30],
    ['beyond the limit', 0x3b, 0x1_0000n, 13, 0],
    ['no LDT', 0x1f, 0n, 13, 0x1c],
  ])('refuse a selector: %s', (_, selector, offset, vector, error) => {
    protectedAt(3)
    m.setSeg(abi.SEG_LDTR, 0, 0, 0, abi.SEG_ATTR_UNUSABLE)
    m.write64(GDT + 0x30, descriptor(0, 0xf_ffff, 0xc7b)) // code, DPL 3, not present
    m.write64(GDT + 0x38, descriptor(0, 0xffff, 0x4fb)) // 64 KiB
    refused(() => m.k.sys_jmp_far(selector, offset, 4), vector, error)
    refused(() => m.k.sys_call_far(selector, offset, 4), vector, error)
  })

  it('a conforming segment keeps the CPL', () => {
    protectedAt(3)
    m.write64(GDT + 0x30, descriptor(0, 0xf_ffff, 0xc9f))
    m.k.sys_jmp_far(0x30, 5n, 4)
    expect([cs(), m.get32(abi.CPU_CPL), nextRip()]).toEqual([0x33, 3, 5n])
  })

  it('reads LDT descriptors', () => {
    protectedAt(0)
    m.write64(GDT + 0x30, descriptor(LDT, 0xff, 0x82))
    m.k.sys_lldt(0x30)
    m.write64(LDT + 8, SEG_FLAT_CODE32)
    m.k.sys_jmp_far(0x0c, 5n, 4)
    expect([m.takeFault(), cs(), nextRip()]).toEqual([undefined, 0x0c, 5n])
  })

  it('a call gate copies parameters to the inner stack', () => {
    protectedAt(3)
    m.write64(GDT + GATE, gate(0x08, 0x1_2345, 0xec, 3))
    put32(STACK3, 0xa1, 0xa2, 0xa3)
    m.k.sys_call_far(GATE | 3, 0xdeadn, 4)
    expect(m.takeFault()).toBeUndefined()
    expect([cs(), ss(), m.get32(abi.CPU_CPL), nextRip(), rsp()]).toEqual([8, 0x10, 0, 0x1_2345n, STACK0 - 28])
    expect(words(7)).toEqual([RIP + 7, 0x1b, 0xa1, 0xa2, 0xa3, STACK3, 0x23])
    // and back, releasing them on both stacks
    m.k.sys_ret_far(12, 4)
    expect([cs(), ss(), m.get32(abi.CPU_CPL), nextRip(), rsp()]).toEqual([
      0x1b,
      0x23,
      3,
      BigInt(RIP + 7),
      STACK3 + 12,
    ])
  })

  it('a 16-bit call gate pushes words', () => {
    protectedAt(3)
    m.write64(GDT + GATE, gate(0x08, 0x9_2345, 0xe4, 1))
    m.write16(STACK3, 0x77)
    m.k.sys_call_far(GATE | 3, 0n, 4)
    expect([nextRip(), rsp()]).toEqual([0x2345n, STACK0 - 10])
    expect([0, 2, 4, 6, 8].map((at) => m.read16(rsp() + at))).toEqual([7, 0x1b, 0x77, STACK3 & 0xffff, 0x23])
  })

  it.each([
    ['gate DPL below CPL', gate(0x08, 0, 0x8c), GATE | 3, 13, GATE],
    ['gate not present', gate(0x08, 0, 0x6c), GATE | 3, 11, GATE],
    ['null code selector', gate(0, 0, 0xec), GATE | 3, 13, 0],
    ['data selector', gate(0x10, 0, 0xec), GATE | 3, 13, 0x10],
    ['offset beyond the limit', gate(0x38, 0x1_0000, 0xec), GATE | 3, 13, 0],
  ])('a call gate is refused: %s', (_, entry, selector, vector, error) => {
    protectedAt(3)
    m.write64(GDT + 0x38, descriptor(0, 0xffff, 0x49b))
    m.write64(GDT + GATE, entry)
    refused(() => m.k.sys_call_far(selector, 0n, 4), vector, error)
  })

  it('a call gate is refused when a stack is bad', () => {
    protectedAt(3)
    m.write64(GDT + GATE, gate(0x08, 0, 0xec, 2))
    put32(TSS + 8, 0x23)
    refused(() => m.k.sys_call_far(GATE | 3, 0n, 4), 10, 0x20)
    put32(TSS + 8, 0x10)
    m.write64(GDT + 0x20, descriptor(0, STACK3, 0x4f3))
    m.setSeg(abi.SEG_SS, 0x23, 0, STACK3 + 3, 0x4f3) // the second parameter lies beyond
    refused(() => m.k.sys_call_far(GATE | 3, 0n, 4), 12, 0)
  })

  it('JMP through a gate may not change the level', () => {
    protectedAt(3)
    m.write64(GDT + GATE, gate(0x08, 0x55, 0xec))
    refused(() => m.k.sys_jmp_far(GATE | 3, 0n, 4), 13, 0x08)
    m.write64(GDT + GATE, gate(0x18, 0x55, 0xec))
    m.k.sys_jmp_far(GATE | 3, 0n, 4)
    expect([cs(), nextRip()]).toEqual([0x1b, 0x55n])
  })
})

describe('RET and IRET to an outer level', () => {
  beforeEach(() => protectedAt(0))

  it('null data segments that the outer level may not use', () => {
    put32(STACK0, RIP, 0x1b, 0x202, STACK3, 0x23)
    m.setSeg(abi.SEG_DS, 0x10, 0, 0xffff_ffff, 0xc93)
    m.setSeg(abi.SEG_ES, 0x23, 0, 0xffff_ffff, 0xcf3)
    m.k.sys_iret(4)
    expect(m.takeFault()).toBeUndefined()
    expect([cs(), ss(), rsp(), m.get32(abi.CPU_CPL)]).toEqual([0x1b, 0x23, STACK3, 3])
    expect(m.seg(abi.SEG_DS)).toMatchObject({ selector: 0 })
    expect(m.seg(abi.SEG_DS).attr & abi.SEG_ATTR_UNUSABLE).not.toBe(0)
    expect(m.seg(abi.SEG_ES).selector).toBe(0x23)
  })

  it.each([
    ['null CS', [RIP, 0, 2, STACK3, 0x23], 13, 0],
    ['RPL below CPL is impossible, DPL mismatch', [RIP, 0x0b, 2, STACK3, 0x23], 13, 0x08],
    ['data as CS', [RIP, 0x23, 2, STACK3, 0x23], 13, 0x20],
    ['null SS', [RIP, 0x1b, 2, STACK3, 0], 13, 0],
    ['SS of another level', [RIP, 0x1b, 2, STACK3, 0x10], 13, 0x10],
    ['code as SS', [RIP, 0x1b, 2, STACK3, 0x1b], 13, 0x18],
    ['SS not present', [RIP, 0x1b, 2, STACK3, 0x33], 12, 0x30],
    ['CS not present', [RIP, 0x3b, 2, STACK3, 0x23], 11, 0x38],
  ])('IRET is refused: %s', (_, frame, vector, error) => {
    m.write64(GDT + 0x30, descriptor(0, 0xf_ffff, 0xc73))
    m.write64(GDT + 0x38, descriptor(0, 0xf_ffff, 0xc7b))
    put32(STACK0, ...(frame as number[]))
    refused(() => m.k.sys_iret(4), vector as number, error as number)
  })

  it('IRET at CPL 3 changes neither IOPL nor, above IOPL, IF', () => {
    protectedAt(3)
    m.setFlags(0x202)
    put32(STACK3, RIP, 0x1b, 0x3001)
    m.k.sys_iret(4)
    expect(m.k.flags_get() >>> 0).toBe(0x203)
    expect(rsp()).toBe(STACK3 + 12)
  })

  it('a 16-bit outer stack gets the low word only', () => {
    m.write64(GDT + 0x30, descriptor(0x2_0000, 0xffff, 0x0f3))
    put32(STACK0, RIP, 0x1b, 2, 0x8000, 0x33)
    m.k.sys_iret(4)
    expect(m.takeFault()).toBeUndefined()
    expect(rsp()).toBe(((STACK0 & 0xffff_0000) | 0x8000) >>> 0)
    expect(m.get64(abi.CPU_SMASK)).toBe(0xffffn)
  })

  it('unblocks NMIs', () => {
    m.set32(abi.CPU_NMI_BLOCKED, 1)
    put32(STACK0, RIP, 0x08, 2)
    m.k.sys_iret(4)
    expect(m.get32(abi.CPU_NMI_BLOCKED)).toBe(0)
  })
})

describe('64-bit mode', () => {
  it('IRETQ pops SS:RSP at the same level too, and may load a null SS', () => {
    longAt(0)
    put64(STACK0, 0xffff_8000_0000_0000n, 0x08, 0x202, 0x1_2345, 0)
    m.k.sys_iret(8)
    expect([m.takeFault(), nextRip(), rsp(), ss()]).toEqual([undefined, 0xffff_8000_0000_0000n, 0x1_2345, 0])
  })

  it('IRETQ goes to 64-bit and to compatibility code at CPL 3', () => {
    longAt(0)
    put64(STACK0, RIP, 0x1b, 0x202, STACK3, 0x23)
    m.k.sys_iret(8)
    expect([cs(), ss(), rsp(), m.get32(abi.CPU_CPL)]).toEqual([0x1b, 0x23, STACK3, 3])
    longAt(0)
    m.write64(GDT + 0x30, SEG_FLAT_CODE32 | (3n << 45n))
    put64(STACK0, 0x1_2345, 0x33, 0x202, STACK3, 0x23)
    m.k.sys_iret(8)
    expect(m.takeFault()).toBeUndefined()
    expect(m.get32(abi.CPU_MODE) & abi.MODE_CS_MASK).toBe(abi.MODE_CS32)
    expect(m.get32(abi.CPU_MODE) & abi.MODE_LMA).not.toBe(0)
  })

  it.each([
    ['non-canonical RIP', [1n << 50n, 0x08, 2, STACK0, 0x10], 13, 0],
    ['null SS at CPL 3', [RIP, 0x1b, 2, STACK3, 3], 13, 0],
    ['L and D', [RIP, 0x30, 2, STACK0, 0x10], 13, 0x30],
  ])('IRETQ is refused: %s', (_, frame, vector, error) => {
    longAt(0)
    m.write64(GDT + 0x30, SEG_FLAT_CODE64 | (1n << 54n))
    put64(STACK0, ...(frame as (number | bigint)[]))
    refused(() => m.k.sys_iret(8), vector as number, error as number)
  })

  it('IRET with NT set is #GP', () => {
    longAt(0)
    m.setFlags(0x4002)
    refused(() => m.k.sys_iret(8), 13, 0)
  })

  it('a call gate takes 16 bytes, switches the stack and nulls SS', () => {
    longAt(3)
    m.write64(GDT + GATE, gate(0x08, 0x8000_1234, 0xec))
    m.write64(GDT + GATE + 8, 0xffff_ff00n)
    m.k.sys_call_far(GATE | 3, 0n, 8)
    expect(m.takeFault()).toBeUndefined()
    expect([nextRip(), rsp(), ss(), cs()]).toEqual([0xffff_ff00_8000_1234n, STACK0 - 32, 0, 8])
    expect(quads(4)).toEqual([RIP + 7, 0x1b, STACK3, 0x23])
    m.k.sys_ret_far(0, 8)
    expect([nextRip(), rsp(), ss(), cs()]).toEqual([BigInt(RIP + 7), STACK3, 0x23, 0x1b])
    m.write64(GDT + GATE + 8, 0x0100_0000_0000n | 0xffff_ff00n)
    refused(() => m.k.sys_call_far(GATE | 3, 0n, 8), 13, GATE)
  })

  it('refuses TSS and task gates as targets', () => {
    longAt(0)
    m.write64(GDT + 0x30, descriptor(TSS, 0x67, 0x89))
    refused(() => m.k.sys_jmp_far(0x30, 0n, 8), 13, 0x30)
    m.write64(GDT + 0x30, gate(0x28, 0, 0x85))
    refused(() => m.k.sys_call_far(0x30, 0n, 8), 13, 0x30)
  })

  it('a fault on the old stack page leaves CS:RIP and RSP alone', () => {
    longAt(0)
    m.set64(abi.CPU_RSP, 0x7000_0000)
    const before = m.visible()
    m.k.sys_call_far(0x08, 0x1000n, 8)
    expect(m.takeFault()).toMatchObject({ vector: 14, error: 2 })
    expect(m.visible()).toEqual(before)
    expect(CR3).toBe(0x8_0000)
  })
})

describe('fast system calls', () => {
  it('SYSCALL saves RIP and flags, SYSRET brings them back', () => {
    longAt(3)
    m.set64(abi.CPU_MSR_STAR, (0x13n << 48n) | (0x08n << 32n))
    m.set64(abi.CPU_MSR_LSTAR, 0xffff_ffff_8000_0000n)
    m.set64(abi.CPU_MSR_SFMASK, 0x700)
    m.setFlags(0x646)
    m.k.sys_syscall()
    expect([nextRip(), m.get64(abi.CPU_RCX), m.get64(abi.CPU_R11)]).toEqual([
      0xffff_ffff_8000_0000n,
      BigInt(RIP + 7),
      0x646n,
    ])
    expect([cs(), ss(), m.get32(abi.CPU_CPL), m.k.flags_get() >>> 0]).toEqual([8, 0x10, 0, 0x46])
    m.k.sys_sysret(8)
    expect([cs(), ss(), m.get32(abi.CPU_CPL), nextRip(), m.k.flags_get() >>> 0]).toEqual([
      0x23,
      0x1b,
      3,
      BigInt(RIP + 7),
      0x646,
    ])
    expect(m.seg(abi.SEG_CS).attr & 0x200).toBe(0x200)
  })

  it('SYSRET needs the run loop only where something waits for its end', () => {
    const IF = 0x202
    const straight = (prepare: () => void): number => {
      longAt(0)
      m.set64(abi.CPU_MSR_STAR, 0x13n << 48n)
      m.set64(abi.CPU_RCX, 0x1234n)
      m.set64(abi.CPU_R11, IF)
      for (const field of [abi.CPU_REQ, abi.CPU_INHIBIT, abi.CPU_STRAIGHT, abi.CPU_TRACE]) m.set32(field, 0)
      m.set64(abi.CPU_SHADOW_RIP, 0n)
      prepare()
      m.k.sys_sysret(8)
      return m.get32(abi.CPU_STRAIGHT)
    }
    expect(straight(() => undefined)).toBe(1)
    expect(straight(() => m.set32(abi.CPU_REQ, abi.REQ_CODE))).toBe(0)
    expect(straight(() => m.set32(abi.CPU_TRACE, abi.TRACE_INSN))).toBe(0)
    expect(straight(() => m.set64(abi.CPU_R11, IF | 0x100))).toBe(0) // TF
    // the shadow of an STI long ago, and of one whose next instruction is where SYSRET leads
    expect(straight(() => m.set32(abi.CPU_INHIBIT, 1))).toBe(1)
    expect(m.get32(abi.CPU_INHIBIT)).toBe(0)
    const shadowed = (): void => {
      m.set32(abi.CPU_INHIBIT, 1)
      m.set64(abi.CPU_SHADOW_RIP, 0x1234n)
    }
    expect(straight(shadowed)).toBe(0)
    expect(straight(() => m.set32(abi.CPU_INHIBIT, 2))).toBe(0)
    // an interrupt waited for IF
    const pending = (): void => {
      m.set32(LAPIC_IRR_WORDS, 2)
      m.set32(LAPIC_IRR + 16, 1)
    }
    expect(straight(pending)).toBe(0)
    expect(straight(() => m.set64(abi.CPU_R11, 2n))).toBe(1)
  })

  it('SYSRET to compatibility mode', () => {
    longAt(0)
    m.set64(abi.CPU_MSR_STAR, 0x23n << 48n)
    m.set64(abi.CPU_RCX, 0x1_0000_1234n)
    m.k.sys_sysret(4)
    expect([cs(), ss(), nextRip()]).toEqual([0x23, 0x2b, 0x1234n])
    expect(m.get32(abi.CPU_MODE) & abi.MODE_CS_MASK).toBe(abi.MODE_CS32)
  })

  it('SYSCALL without EFER.SCE is #UD; SYSRET needs CPL 0 and a canonical RCX', () => {
    longAt(3)
    m.set64(abi.CPU_EFER, 0xd00)
    m.k.sys_syscall()
    expect(m.takeFault()).toEqual({ vector: 6 })
    m.set64(abi.CPU_EFER, 0xd01)
    refused(() => m.k.sys_sysret(8), 13, 0)
    longAt(0)
    m.set64(abi.CPU_RCX, 1n << 60n)
    refused(() => m.k.sys_sysret(8), 13, 0)
  })

  it('SYSENTER and SYSEXIT in 32 bits', () => {
    protectedAt(3)
    refused(() => m.k.sys_sysenter(), 13, 0)
    m.set64(abi.CPU_MSR_SYSENTER_CS, 0x08)
    m.set64(abi.CPU_MSR_SYSENTER_ESP, STACK0)
    m.set64(abi.CPU_MSR_SYSENTER_EIP, 0xc010_0000)
    m.setFlags(0x202)
    m.k.sys_sysenter()
    expect([cs(), ss(), rsp(), nextRip(), m.get32(abi.CPU_CPL), m.k.flags_get()]).toEqual([
      8,
      0x10,
      STACK0,
      0xc010_0000n,
      0,
      2,
    ])
    m.set64(abi.CPU_RDX, RIP)
    m.set64(abi.CPU_RCX, STACK3)
    m.k.sys_sysexit(4)
    expect([cs(), ss(), rsp(), nextRip(), m.get32(abi.CPU_CPL)]).toEqual([0x1b, 0x23, STACK3, BigInt(RIP), 3])
    refused(() => m.k.sys_sysexit(4), 13, 0)
  })
})

describe('virtual-8086 mode', () => {
  const VM = 0x2_0000
  const IOPL3 = 0x3000

  /** In vm86 at 0x100:0x10 with SS:SP = 0x2000:0x800. */
  const enter = (flags = 0): void => {
    protectedAt(0)
    put32(STACK0, 0x10, 0x100, VM | 2 | flags, 0x800, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000)
    m.k.sys_iret(4)
    expect(m.takeFault()).toBeUndefined()
    m.setRip(0x10, 0x12)
  }

  it('IRET enters it with real-mode segments', () => {
    enter(0x200)
    expect(
      [abi.SEG_CS, abi.SEG_SS, abi.SEG_ES, abi.SEG_DS, abi.SEG_FS, abi.SEG_GS].map((i) => m.seg(i).selector),
    ).toEqual([0x100, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000])
    expect(m.seg(abi.SEG_DS)).toMatchObject({ base: 0x4_0000n, limit: 0xffff })
    expect([m.get32(abi.CPU_CPL), rsp()]).toEqual([3, 0x800])
    expect(m.get32(abi.CPU_MODE) & (abi.MODE_VM86 | abi.MODE_CS_MASK)).toBe(abi.MODE_VM86)
  })

  it('a fault leaves it with all segments on the CPL 0 stack, IRET comes back', () => {
    enter(0x200)
    m.write64(IDT + 13 * 8, gate(0x08, 0x9000, 0x8e))
    m.set32(abi.CPU_FAULT, abi.FAULT_VALID | abi.FAULT_HAS_ERROR | 13)
    m.set32(abi.CPU_FAULT_ERROR, 0)
    m.k.deliver_fault()
    expect(words(10)).toEqual([0, 0x10, 0x100, VM | 0x1_0202, 0x800, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000])
    expect([cs(), ss(), m.get32(abi.CPU_CPL)]).toEqual([8, 0x10, 0])
    expect(m.seg(abi.SEG_DS).attr & abi.SEG_ATTR_UNUSABLE).not.toBe(0)
    m.set64(abi.CPU_RSP, rsp() + 4)
    m.k.sys_iret(4)
    expect([cs(), ss(), nextRip(), rsp()]).toEqual([0x100, 0x2000, 0x10n, 0x800])
  })

  it('the handler must run at CPL 0', () => {
    enter(IOPL3)
    m.write64(IDT + 0x21 * 8, gate(0x1b, 0x9000, 0xee))
    refused(() => m.k.sys_int(0x21), 13, 0x18)
  })

  it('INT n below IOPL 3 is #GP, with IOPL 3 it goes through the IDT', () => {
    enter()
    refused(() => m.k.sys_int(0x21), 13, 0)
    enter(IOPL3)
    m.write64(IDT + 0x21 * 8, gate(0x08, 0x9000, 0xee))
    m.k.sys_int(0x21)
    expect(words(2)).toEqual([0x12, 0x100])
    expect(cs()).toBe(8)
  })

  it('INT3 ignores IOPL', () => {
    enter()
    m.write64(IDT + 3 * 8, gate(0x08, 0x9000, 0xee))
    m.k.sys_int3()
    expect([m.takeFault(), cs()]).toEqual([undefined, 8])
  })

  describe('with VME', () => {
    const vme = (flags: number, redirected: boolean): void => {
      enter(flags)
      m.set64(abi.CPU_CR4, 1)
      m.setSeg(abi.SEG_TR, 0x28, TSS, 0x1ff, 0x8b)
      m.write16(TSS + 102, 0x88 + 32)
      m.write8(TSS + 0x88 + (0x21 >> 3), redirected ? 0 : 2)
      m.write32(0x21 * 4, 0x0700_0123)
    }

    it('a redirected INT stays in the 8086 program and uses the virtual IF', () => {
      vme(0x8_0200, true)
      m.k.sys_int(0x21)
      expect(m.takeFault()).toBeUndefined()
      expect([cs(), nextRip(), rsp()]).toEqual([0x700, 0x123n, 0x7fa])
      expect([m.read16(0x2_07fa), m.read16(0x2_07fc), m.read16(0x2_07fe)]).toEqual([0x12, 0x100, 0x3202])
      expect(m.get32(abi.CPU_EFLAGS) & 0x8_0200).toBe(0x200)
      m.k.sys_iret(2)
      expect([cs(), nextRip(), m.get32(abi.CPU_EFLAGS) & 0x8_3200]).toEqual([0x100, 0x12n, 0x8_0200])
    })

    it('an INT that is not redirected is #GP below IOPL 3', () => {
      vme(0, false)
      refused(() => m.k.sys_int(0x21), 13, 0)
    })

    it('CLI and STI move VIF; STI with VIP pending is #GP; so is POPF setting TF', () => {
      vme(0x200, true)
      m.k.sys_sti()
      expect(m.get32(abi.CPU_EFLAGS) & 0x8_0200).toBe(0x8_0200)
      m.k.sys_cli()
      expect(m.get32(abi.CPU_EFLAGS) & 0x8_0200).toBe(0x200)
      m.set32(abi.CPU_EFLAGS, m.get32(abi.CPU_EFLAGS) | 0x10_0000)
      refused(() => m.k.sys_sti(), 13, 0)
      m.write16(0x2_0800, 0x100)
      refused(() => m.k.sys_popf(2), 13, 0)
      m.k.sys_pushf(2)
      expect(m.read16(0x2_07fe)).toBe(0x3002)
    })
  })

  it('PUSHF, POPF, CLI, STI and IRET below IOPL 3 are #GP without VME', () => {
    enter()
    for (const run of [
      () => m.k.sys_pushf(2),
      () => m.k.sys_popf(2),
      () => m.k.sys_cli(),
      () => m.k.sys_sti(),
      () => m.k.sys_iret(2),
    ]) {
      refused(run, 13, 0)
    }
  })

  it('IRET with IOPL 3 keeps IOPL', () => {
    enter(IOPL3)
    m.write16(0x2_0800, 0x44)
    m.write16(0x2_0802, 0x111)
    m.write16(0x2_0804, 0x0247)
    m.k.sys_iret(2)
    expect([m.takeFault(), cs(), nextRip(), rsp(), m.k.flags_get() >>> 0]).toEqual([
      undefined,
      0x111,
      0x44n,
      0x806,
      VM | 0x3247,
    ])
  })
})
