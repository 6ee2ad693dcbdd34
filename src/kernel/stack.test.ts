import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import { CR3, SystemMachine, compileSystem } from './testing/system-machine.ts'

interface Stack {
  stack_push(value: bigint, bytes: number): void
  stack_pop(bytes: number): bigint
  sys_pusha(bytes: number): void
  sys_popa(bytes: number): void
  sys_enter_frame(size: number, level: number, bytes: number): void
  sys_leave(bytes: number): void
}

let module: WebAssembly.Module
let m: SystemMachine
let k: Stack

beforeAll(async () => {
  module = await compileSystem()
}, 120_000)

beforeEach(() => {
  m = new SystemMachine(module)
  k = m.k as unknown as Stack
})

/** A 16-bit stack segment at 0x40000 in 32-bit code. */
const smallStack = (): void => {
  m.protectedMode()
  m.setSeg(abi.SEG_SS, 0x10, 0x40000, 0xffff, 0x093)
  m.k.update_mode()
}

describe('PUSH and POP', () => {
  it('wrap a 16-bit stack pointer and keep the upper half of RSP', () => {
    smallStack()
    m.set64(abi.CPU_RSP, 0x1234_0002)
    k.stack_push(0x1111n, 2)
    expect(m.get64(abi.CPU_RSP)).toBe(0x1234_0000n)
    k.stack_push(0x2222_3333n, 4)
    expect(m.get64(abi.CPU_RSP)).toBe(0x1234_fffcn)
    expect(m.read32(0x4fffc)).toBe(0x2222_3333)
    expect(k.stack_pop(4)).toBe(0x2222_3333n)
    expect(k.stack_pop(2)).toBe(0x1111n)
    expect(m.get64(abi.CPU_RSP)).toBe(0x1234_0002n)
  })

  it('leave RSP alone when the slot faults', () => {
    m.longMode()
    m.write64(m.entry64(CR3, 0x40000n), 0n)
    m.k.tlb_flush_all()
    m.set64(abi.CPU_RSP, 0x40010)
    k.stack_push(1n, 8)
    expect(m.takeFault()).toEqual({ vector: 14, error: 2, gva: 0x40008n })
    k.stack_pop(8)
    expect(m.takeFault()).toEqual({ vector: 14, error: 0, gva: 0x40010n })
    expect(m.get64(abi.CPU_RSP)).toBe(0x40010n)
  })

  it('raise #SS outside of the segment and at non-canonical addresses', () => {
    smallStack()
    m.setSeg(abi.SEG_SS, 0x10, 0x40000, 0xff, 0x093)
    m.set64(abi.CPU_RSP, 0x200)
    k.stack_push(1n, 2)
    expect(m.takeFault()).toEqual({ vector: 12, error: 0 })
    m.longMode()
    m.set64(abi.CPU_RSP, 0x8000_0000_0008n)
    k.stack_push(1n, 8)
    expect(m.takeFault()).toEqual({ vector: 12, error: 0 })
  })
})

describe('PUSHA and POPA', () => {
  it('restore every register except the stack pointer', () => {
    m.protectedMode()
    for (let i = 0; i < 8; i++) m.set64(abi.CPU_GPR + 8 * i, 0x1111_1111 * i)
    m.set64(abi.CPU_RSP, 0x50000)
    k.sys_pusha(4)
    expect(m.get64(abi.CPU_RSP)).toBe(0x50000n - 32n)
    expect(m.read32(0x50000 - 4)).toBe(0)
    expect(m.read32(0x50000 - 20)).toBe(0x50000) // the old ESP
    expect(m.read32(0x50000 - 32)).toBe(0x7777_7777)
    for (let i = 0; i < 8; i++) if (i !== 4) m.set64(abi.CPU_GPR + 8 * i, 0)
    k.sys_popa(4)
    const want = [0, 1, 2, 3, 0x50000 / 0x1111_1111, 5, 6, 7].map((i, n) =>
      BigInt(n === 4 ? 0x50000 : 0x1111_1111 * i),
    )
    expect(Array.from({ length: 8 }, (_, i) => m.get64(abi.CPU_GPR + 8 * i))).toEqual(want)
  })

  it('write nothing when one of the eight slots faults', () => {
    m.protectedMode()
    m.setSeg(abi.SEG_SS, 0x10, 0x40000, 0xffff, 0x497) // expand-down: offsets above 0xffff
    m.k.update_mode()
    m.set64(abi.CPU_RSP, 0x10010)
    m.write32(0x40000 + 0x1000c, 0xabcd)
    k.sys_pusha(4)
    expect(m.takeFault()).toEqual({ vector: 12, error: 0 })
    expect(m.read32(0x40000 + 0x1000c)).toBe(0xabcd)
    expect(m.get64(abi.CPU_RSP)).toBe(0x10010n)
  })
})

describe('ENTER and LEAVE', () => {
  it('make a frame with copies of the outer frame pointers and take it away', () => {
    m.longMode()
    m.set64(abi.CPU_RSP, 0x50000)
    m.set64(abi.CPU_RBP, 0x51000)
    m.write64(0x51000 - 8, 0xaaaan)
    m.write64(0x51000 - 16, 0xbbbbn)
    k.sys_enter_frame(0x20, 3, 8)
    expect(m.takeFault()).toBeUndefined()
    expect([0, 8, 16, 24].map((d) => m.read64(0x50000 - 8 - d))).toEqual([
      0x51000n,
      0xaaaan,
      0xbbbbn,
      0x50000n - 8n,
    ])
    expect(m.get64(abi.CPU_RBP)).toBe(0x50000n - 8n)
    expect(m.get64(abi.CPU_RSP)).toBe(0x50000n - 32n - 0x20n)
    k.sys_leave(8)
    expect(m.get64(abi.CPU_RBP)).toBe(0x51000n)
    expect(m.get64(abi.CPU_RSP)).toBe(0x50000n)
  })

  it('ENTER changes no register when the new stack pointer is not writable', () => {
    m.longMode()
    m.write64(m.entry64(CR3, 0x4f000n), 0n)
    m.k.tlb_flush_all()
    m.set64(abi.CPU_RSP, 0x50010)
    m.set64(abi.CPU_RBP, 0x51000)
    k.sys_enter_frame(0x800, 0, 8)
    expect(m.takeFault()?.vector).toBe(14)
    expect([m.get64(abi.CPU_RSP), m.get64(abi.CPU_RBP)]).toEqual([0x50010n, 0x51000n])
  })
})
