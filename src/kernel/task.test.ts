/** Hardware task switches with 16- and 32-bit TSSs. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import { compileSystem, descriptor, gate, GDT, IDT, SystemMachine, TSS } from './testing/system-machine.ts'

const OLD = 0x28
const NEW = 0x30
const NEW16 = 0x38
const TSS_NEW = 0x4000
const TSS16 = 0x5000
const EIP = 0x40_0000
const NEXT = EIP + 7
const NEW_EIP = 0x1_2345
const BUSY = 1n << 41n

let module: WebAssembly.Module
let m: SystemMachine

beforeAll(async () => {
  module = await compileSystem()
}, 120_000)

const selectors = { es: 0x10, cs: 0x08, ss: 0x10, ds: 0x10, fs: 0, gs: 0x10 }

/** A TSS that resumes in flat segments, registers 0x100 + i. */
function fillTss(at: number, changes: Partial<typeof selectors> = {}, flags = 2): void {
  for (let i = 0; i < 0x80; i += 4) m.write32(at + i, 0)
  m.write32(at + 32, NEW_EIP)
  m.write32(at + 36, flags)
  for (let i = 0; i < 8; i++) m.write32(at + 40 + 4 * i, i === 4 ? 0x1_9000 : 0x100 + i)
  const all = { ...selectors, ...changes }
  ;[all.es, all.cs, all.ss, all.ds, all.fs, all.gs].forEach((selector, i) =>
    m.write32(at + 72 + 4 * i, selector),
  )
  m.write16(at + 102, 0x68)
}

beforeEach(() => {
  m = new SystemMachine(module)
  m.protectedMode(0)
  m.setRip(EIP, NEXT)
  m.write64(GDT + OLD, descriptor(TSS, 0x67, 0x8b))
  m.setSeg(abi.SEG_TR, OLD, TSS, 0x67, 0x8b)
  m.write64(GDT + NEW, descriptor(TSS_NEW, 0x67, 0x89))
  m.write64(GDT + NEW16, descriptor(TSS16, 0x2b, 0x81))
  for (let i = 0; i < 8; i++) m.set64(abi.CPU_GPR + 8 * i, 0x200 + i)
  m.set64(abi.CPU_RSP, 0x1_8000)
  fillTss(TSS_NEW)
})

const gpr = (i: number): number => Number(m.get64(abi.CPU_GPR + 8 * i))
const busy = (selector: number): boolean => (m.read64(GDT + selector) & BUSY) !== 0n

describe('JMP to a TSS', () => {
  it('saves the old task and runs the new one', () => {
    m.setFlags(0x246)
    m.k.sys_jmp_far(NEW, 0n, 4)
    expect(m.takeFault()).toBeUndefined()
    expect([
      m.read32(TSS + 32),
      m.read32(TSS + 36),
      m.read32(TSS + 40),
      m.read32(TSS + 56),
      m.read16(TSS + 76),
    ]).toEqual([NEXT, 0x246, 0x200, 0x1_8000, 0x08])
    expect([m.get64(abi.CPU_NEXT_RIP), gpr(0), gpr(7), gpr(4), m.k.flags_get()]).toEqual([
      BigInt(NEW_EIP),
      0x100,
      0x107,
      0x1_9000,
      2,
    ])
    expect([m.seg(abi.SEG_TR).selector, m.seg(abi.SEG_FS).attr, m.seg(abi.SEG_GS).selector]).toEqual([
      NEW,
      abi.SEG_ATTR_UNUSABLE,
      0x10,
    ])
    expect([busy(OLD), busy(NEW)]).toEqual([false, true])
    expect(m.get64(abi.CPU_CR0) & 8n).toBe(8n)
    expect(m.read16(TSS_NEW)).toBe(0)
  })

  it.each([
    ['busy', () => m.write64(GDT + NEW, descriptor(TSS_NEW, 0x67, 0x8b)), 13, NEW],
    ['not present', () => m.write64(GDT + NEW, descriptor(TSS_NEW, 0x67, 0x09)), 11, NEW],
    ['too short', () => m.write64(GDT + NEW, descriptor(TSS_NEW, 0x66, 0x89)), 10, NEW],
    ['old TSS too short', () => m.setSeg(abi.SEG_TR, OLD, TSS, 0x60, 0x8b), 10, OLD],
  ])('is refused without a trace: %s', (_, spoil, vector, error) => {
    spoil()
    const before = m.visible()
    m.k.sys_jmp_far(NEW, 0n, 4)
    expect(m.takeFault()).toEqual({ vector, error })
    expect(m.visible()).toEqual(before)
  })

  it.each([
    ['null CS', { cs: 0 }, 10, 0],
    ['data as CS', { cs: 0x10 }, 10, 0x10],
    ['SS of another level', { ss: 0x23 }, 10, 0x20],
    ['null SS', { ss: 0 }, 10, 0],
    ['DS not readable', { ds: 0x40 }, 10, 0x40],
    ['DS not present', { ds: 0x48 }, 11, 0x48],
  ])('faults in the new task: %s', (_, changes, vector, error) => {
    m.write64(GDT + 0x40, descriptor(0, 0xf_ffff, 0xc99)) // execute only
    m.write64(GDT + 0x48, descriptor(0, 0xf_ffff, 0xc13))
    fillTss(TSS_NEW, changes)
    m.k.sys_jmp_far(NEW, 0n, 4)
    expect(m.takeFault()).toEqual({ vector, error })
    expect([m.seg(abi.SEG_TR).selector, m.get64(abi.CPU_RIP), gpr(0)]).toEqual([NEW, BigInt(NEW_EIP), 0x100])
  })

  it('a 16-bit TSS saves and loads words', () => {
    for (let i = 0; i < 0x2c; i += 2) m.write16(TSS16 + i, 0)
    m.write16(TSS16 + 14, 0x1234)
    m.write16(TSS16 + 16, 2)
    m.write16(TSS16 + 18, 0x7777)
    ;[0x10, 0x08, 0x10, 0x10].forEach((selector, i) => m.write16(TSS16 + 34 + 2 * i, selector))
    m.k.sys_jmp_far(NEW16, 0n, 4)
    expect(m.takeFault()).toBeUndefined()
    expect([m.get64(abi.CPU_NEXT_RIP), gpr(0), m.seg(abi.SEG_FS).attr]).toEqual([
      0x1234n,
      0x7777,
      abi.SEG_ATTR_UNUSABLE,
    ])
    m.setRip(0x1234, 0x1239)
    m.k.sys_jmp_far(OLD, 0n, 4)
    expect([m.takeFault(), m.read16(TSS16 + 14), m.get64(abi.CPU_NEXT_RIP)]).toEqual([
      undefined,
      0x1239,
      BigInt(NEXT),
    ])
  })
})

describe('nested tasks', () => {
  it('CALL sets NT and the link, IRET returns', () => {
    m.k.sys_call_far(NEW, 0n, 4)
    expect(m.takeFault()).toBeUndefined()
    expect([m.read16(TSS_NEW), m.get32(abi.CPU_EFLAGS) & 0x4000]).toEqual([OLD, 0x4000])
    expect([busy(OLD), busy(NEW)]).toEqual([true, true])
    m.setRip(NEW_EIP, NEW_EIP + 1)
    m.k.sys_iret(4)
    expect(m.takeFault()).toBeUndefined()
    expect([m.seg(abi.SEG_TR).selector, m.get64(abi.CPU_NEXT_RIP), gpr(0)]).toEqual([
      OLD,
      BigInt(NEXT),
      0x200,
    ])
    expect([busy(OLD), busy(NEW)]).toEqual([true, false])
    expect([m.read32(TSS_NEW + 32), m.read32(TSS_NEW + 36) & 0x4000]).toEqual([NEW_EIP + 1, 0])
    expect(m.get32(abi.CPU_EFLAGS) & 0x4000).toBe(0)
  })

  it('IRET to a task that is not busy is #TS', () => {
    m.setFlags(0x4002)
    m.write16(TSS, NEW)
    m.k.sys_iret(4)
    expect(m.takeFault()).toEqual({ vector: 10, error: NEW })
  })

  it('an exception through a task gate pushes its error code on the new stack', () => {
    m.write64(IDT + 13 * 8, gate(NEW, 0, 0x85))
    m.set32(abi.CPU_FAULT, abi.FAULT_VALID | abi.FAULT_HAS_ERROR | 13)
    m.set32(abi.CPU_FAULT_ERROR, 0x42)
    m.k.deliver_fault()
    expect([m.takeFault(), m.get64(abi.CPU_RIP), gpr(4), m.read32(0x1_8ffc)]).toEqual([
      undefined,
      BigInt(NEW_EIP),
      0x1_8ffc,
      0x42,
    ])
    expect([m.read32(TSS + 32), m.read32(TSS + 36) & 0x1_0000]).toEqual([EIP, 0])
  })

  it('CALL through a task gate obeys the DPL of the gate only', () => {
    m.protectedMode(3)
    m.write64(GDT + 0x48, gate(NEW, 0, 0xe5))
    m.k.sys_call_far(0x4b, 0n, 4)
    expect([m.takeFault(), m.seg(abi.SEG_TR).selector, m.get32(abi.CPU_CPL)]).toEqual([undefined, NEW, 0])
    m.protectedMode(3)
    m.k.sys_call_far(OLD, 0n, 4)
    expect(m.takeFault()).toEqual({ vector: 13, error: OLD })
  })

  it('the T bit leaves a debug trap pending in the new task', () => {
    m.write16(TSS_NEW + 100, 1)
    m.k.sys_jmp_far(NEW, 0n, 4)
    expect(m.takeFault()).toEqual({ vector: 1 })
    expect(m.get64(abi.CPU_DR6) & 0x8000n).toBe(0x8000n)
  })

  it('can resume in virtual-8086 mode', () => {
    fillTss(TSS_NEW, { cs: 0x100, ss: 0x200, ds: 0x300, es: 0x400 }, 0x2_3002)
    m.k.sys_jmp_far(NEW, 0n, 4)
    expect(m.takeFault()).toEqual({ vector: 13, error: 0 }) // EIP beyond 64 KiB
    m = new SystemMachine(module)
    m.protectedMode(0)
    m.setSeg(abi.SEG_TR, OLD, TSS, 0x67, 0x8b)
    m.write64(GDT + NEW, descriptor(TSS_NEW, 0x67, 0x89))
    fillTss(TSS_NEW, { cs: 0x100, ss: 0x200, ds: 0x300, es: 0x400 }, 0x2_3002)
    m.write32(TSS_NEW + 32, 0x55)
    m.k.sys_jmp_far(NEW, 0n, 4)
    expect([m.takeFault(), m.seg(abi.SEG_CS).base, m.get32(abi.CPU_CPL)]).toEqual([undefined, 0x1000n, 3])
    expect(m.get32(abi.CPU_MODE) & abi.MODE_VM86).not.toBe(0)
  })
})
