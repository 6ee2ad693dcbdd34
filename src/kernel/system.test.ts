/** Segment loads and checks, control registers, MSRs, CPUID, reset states, flags. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import { PIC_OUTPUT } from '#abi/irqchip.ts'
import { CPU_MODEL_NAMES } from '#machine/cpu-models.ts'
import {
  compileSystem,
  CR3,
  descriptor,
  GDT,
  SEG_FLAT_CODE32,
  SEG_FLAT_DATA,
  SystemMachine,
  TSS,
  VM,
} from './testing/system-machine.ts'

const GP0 = { vector: 13, error: 0 }

let module: WebAssembly.Module
let m: SystemMachine

beforeAll(async () => {
  module = await compileSystem()
}, 120_000)

beforeEach(() => {
  m = new SystemMachine(module)
})

const rdmsr = (index: number): bigint => {
  m.set64(abi.CPU_RCX, index)
  m.k.sys_rdmsr()
  return (m.get64(abi.CPU_RDX) << 32n) | m.get64(abi.CPU_RAX)
}
const wrmsr = (index: number, value: bigint): void => {
  m.set64(abi.CPU_RCX, index)
  m.set64(abi.CPU_RAX, value & 0xffff_ffffn)
  m.set64(abi.CPU_RDX, value >> 32n)
  m.k.sys_wrmsr()
}
const cpuid = (leaf: number, subleaf = 0): number[] => {
  m.set64(abi.CPU_RAX, leaf)
  m.set64(abi.CPU_RCX, subleaf)
  m.k.sys_cpuid()
  return [abi.CPU_RAX, abi.CPU_RBX, abi.CPU_RCX, abi.CPU_RDX].map((at) => Number(m.get64(at)))
}

describe('reset', () => {
  it('starts at the reset vector in real mode', () => {
    expect([m.seg(abi.SEG_CS).selector, m.seg(abi.SEG_CS).base, m.get64(abi.CPU_RIP)]).toEqual([
      0xf000,
      0xffff_0000n,
      0xfff0n,
    ])
    expect([m.get64(abi.CPU_CR0), m.k.flags_get(), m.get64(abi.CPU_RDX)]).toEqual([0x6000_0010n, 2, 0x106a3n])
    expect([m.get32(abi.CPU_MXCSR), m.get64(abi.CPU_XCR0), m.get32(abi.CPU_RUNSTATE)]).toEqual([
      0x1f80,
      1n,
      abi.RUN_RUNNING,
    ])
  })

  it('INIT keeps MSRs and the x87 state; a second vCPU waits for SIPI', () => {
    wrmsr(0xc000_0082, 0x1234n)
    m.set32(abi.CPU_MXCSR, 0x1fa0)
    m.set32(abi.CPU_INDEX, 1)
    m.set64(abi.CPU_CR4, 0x20)
    m.k.cpu_init()
    expect([rdmsr(0xc000_0082), m.get32(abi.CPU_MXCSR), m.get64(abi.CPU_CR4)]).toEqual([0x1234n, 0x1fa0, 0n])
    expect(m.get32(abi.CPU_RUNSTATE)).toBe(abi.RUN_WAIT_SIPI)
    m.k.cpu_sipi(0x9a)
    expect([m.seg(abi.SEG_CS).selector, m.seg(abi.SEG_CS).base, m.get64(abi.CPU_RIP)]).toEqual([
      0x9a00,
      0x9_a000n,
      0n,
    ])
    expect(m.get32(abi.CPU_RUNSTATE)).toBe(abi.RUN_RUNNING)
    m.k.cpu_sipi(0x10)
    expect(m.seg(abi.SEG_CS).selector).toBe(0x9a00)
  })
})

describe('flags', () => {
  it('survive the lazy form in every combination', () => {
    const bits = [1, 4, 0x10, 0x40, 0x80, 0x800]
    for (let i = 0; i < 64; i++) {
      const flags = bits.reduce((value, bit, n) => (i & (1 << n) ? value | bit : value), 0)
      m.k.flags_set(flags)
      expect(m.k.flags_get()).toBe(flags | 2)
    }
  })

  it('STI opens the window one instruction later, once', () => {
    m.k.sys_sti()
    expect([m.get32(abi.CPU_EFLAGS) & 0x200, m.get32(abi.CPU_INHIBIT)]).toEqual([0x200, 1])
    m.set32(abi.CPU_INHIBIT, 0)
    m.k.sys_sti()
    expect(m.get32(abi.CPU_INHIBIT)).toBe(0)
  })

  it('STI leaves the block only when an interrupt waits', () => {
    m.setRip(0x1000, 0x1001)
    m.k.sys_sti()
    expect([m.takeFault(), m.get64(abi.CPU_SHADOW_RIP)]).toEqual([undefined, 0x1001n])
    m.k.sys_cli()
    m.view.setUint32(VM + PIC_OUTPUT, 1, true)
    m.k.sys_sti()
    expect(m.get32(abi.CPU_FAULT) & (0xff | abi.FAULT_TRAP)).toBe(0xfe | abi.FAULT_TRAP)
    m.k.deliver_fault()
    expect([m.get64(abi.CPU_RIP), m.get32(abi.CPU_INHIBIT)]).toEqual([0x1001n, 1])
  })

  it('CLI above IOPL is #GP, with PVI it clears VIF', () => {
    m.protectedMode(3)
    m.k.sys_cli()
    expect(m.takeFault()).toEqual(GP0)
    m.set64(abi.CPU_CR4, 2)
    m.setFlags(0x8_0202)
    m.k.sys_cli()
    expect(m.get32(abi.CPU_EFLAGS) & 0x8_0200).toBe(0x200)
  })

  it('POPF at CPL 3 leaves IOPL and IF', () => {
    m.protectedMode(3)
    m.set64(abi.CPU_RSP, 0x8000)
    m.write32(0x8000, 0x24_7fd5)
    m.k.sys_popf(4)
    expect(m.k.flags_get() >>> 0).toBe(0x24_4dd7)
    expect(m.get64(abi.CPU_RSP)).toBe(0x8004n)
  })
})

describe('segments', () => {
  beforeEach(() => m.protectedMode(3))

  it('loads a data segment, marks it accessed and drops the flat mode', () => {
    m.write64(GDT + 0x30, descriptor(0x1_0000, 0xfff, 0x4f2))
    expect(m.get32(abi.CPU_MODE) & abi.MODE_FLAT).not.toBe(0)
    m.k.sys_load_seg(abi.SEG_DS, 0x33)
    expect(m.seg(abi.SEG_DS)).toEqual({ selector: 0x33, base: 0x1_0000n, limit: 0xfff, attr: 0x4f3 })
    expect(m.read64(GDT + 0x30)).toBe(descriptor(0x1_0000, 0xfff, 0x4f3))
    expect(m.get32(abi.CPU_MODE) & abi.MODE_FLAT).toBe(0)
    expect(m.k.seg_linear(abi.SEG_DS, 0xffcn, 4)).toBe(0x1_0ffcn)
    m.k.seg_linear(abi.SEG_DS, 0xffdn, 4)
    expect(m.takeFault()).toEqual(GP0)
  })

  it.each([
    ['DPL below CPL', abi.SEG_DS, 0x10, 13, 0x10],
    ['execute-only code', abi.SEG_DS, 0x33, 13, 0x30],
    ['not present', abi.SEG_DS, 0x3b, 11, 0x38],
    ['system descriptor', abi.SEG_DS, 0x43, 13, 0x40],
    ['null SS', abi.SEG_SS, 0, 13, 0],
    ['SS of another RPL', abi.SEG_SS, 0x20, 13, 0x20],
    ['read-only SS', abi.SEG_SS, 0x4b, 13, 0x48],
    ['SS not present', abi.SEG_SS, 0x3b, 12, 0x38],
  ])('refuses a load: %s', (_, i, selector, vector, error) => {
    m.write64(GDT + 0x30, descriptor(0, 0xf_ffff, 0xcf9))
    m.write64(GDT + 0x38, descriptor(0, 0xf_ffff, 0xc73))
    m.write64(GDT + 0x40, descriptor(TSS, 0x67, 0xe9))
    m.write64(GDT + 0x48, descriptor(0, 0xf_ffff, 0xcf1))
    const before = m.visible()
    m.k.sys_load_seg(i, selector)
    expect(m.takeFault()).toEqual({ vector, error })
    expect(m.visible()).toEqual(before)
  })

  it('null in a data segment loads, and every use faults', () => {
    m.k.sys_load_seg(abi.SEG_ES, 3)
    expect(m.takeFault()).toBeUndefined()
    m.k.seg_linear(abi.SEG_ES, 0n, 1)
    expect(m.takeFault()).toEqual(GP0)
  })

  it('MOV SS holds interrupts off', () => {
    m.k.sys_load_seg(abi.SEG_SS, 0x23)
    expect(m.get32(abi.CPU_INHIBIT)).toBe(2)
  })

  it('expand-down segments are valid above the limit', () => {
    m.setSeg(abi.SEG_SS, 0x33, 0, 0xfff, 0x4f7)
    expect(m.k.seg_linear(abi.SEG_SS, 0x1000n, 4)).toBe(0x1000n)
    m.k.seg_linear(abi.SEG_SS, 0xfffn, 4)
    expect(m.takeFault()).toEqual({ vector: 12, error: 0 })
    m.setSeg(abi.SEG_SS, 0x33, 0, 0xfff, 0x0f7)
    m.k.seg_linear(abi.SEG_SS, 0xfffdn, 4)
    expect(m.takeFault()).toEqual({ vector: 12, error: 0 })
  })

  it('writes need a writable segment, code is never writable', () => {
    m.setSeg(abi.SEG_DS, 0x33, 0, 0xffff_ffff, 0xcf1)
    m.k.seg_linear(abi.SEG_DS, 0n, 0x101)
    expect(m.takeFault()).toEqual(GP0)
    m.k.seg_linear(abi.SEG_CS, 0n, 0x101)
    expect(m.takeFault()).toEqual(GP0)
    m.k.seg_linear(abi.SEG_CS, 0n, 1)
    expect(m.takeFault()).toBeUndefined()
  })

  it('LAR, LSL, VERR and VERW see what the program may', () => {
    m.write64(GDT + 0x30, descriptor(0, 0x12, 0xcf1))
    m.write64(GDT + 0x38, descriptor(TSS, 0x67, 0xe9))
    expect(m.k.sys_lar(0x33)).toBe(0xc0_f100n)
    expect(m.k.sys_lsl(0x33)).toBe(0x12fffn)
    expect([m.k.sys_verr(0x33), m.k.sys_verw(0x33), m.k.sys_verw(0x23)]).toEqual([1, 0, 1])
    expect([m.k.sys_lar(0x10), m.k.sys_lsl(0), m.k.sys_verr(0x08)]).toEqual([-1n, -1n, 0])
    expect(m.k.sys_lsl(0x3b)).toBe(0x67n)
  })

  it('UMIP hides descriptor tables from CPL 3', () => {
    expect(m.k.sys_sgdt()).toBe(BigInt(GDT))
    m.set64(abi.CPU_CR4, 0x800)
    m.k.sys_sgdt()
    expect(m.takeFault()).toEqual(GP0)
    m.k.sys_smsw()
    expect(m.takeFault()).toEqual(GP0)
  })

  it('LTR marks the TSS busy and refuses a busy one', () => {
    m.protectedMode(0)
    m.write64(GDT + 0x30, descriptor(TSS, 0x67, 0x89))
    m.k.sys_ltr(0x30)
    expect([m.takeFault(), m.seg(abi.SEG_TR).attr]).toEqual([undefined, 0x8b])
    expect(m.read64(GDT + 0x30)).toBe(descriptor(TSS, 0x67, 0x8b))
    m.k.sys_ltr(0x30)
    expect(m.takeFault()).toEqual({ vector: 13, error: 0x30 })
  })

  it('in 64-bit mode SS may be null, only FS and GS have bases, offsets must be canonical', () => {
    m.longMode(0)
    m.k.sys_load_seg(abi.SEG_SS, 0)
    expect(m.takeFault()).toBeUndefined()
    m.set64(abi.CPU_FS_BASE, 0x1000)
    expect([m.k.seg_linear(abi.SEG_FS, 8n, 8), m.k.seg_linear(abi.SEG_DS, 8n, 8)]).toEqual([0x1008n, 8n])
    m.k.seg_linear(abi.SEG_SS, 0x7fff_ffff_fffcn, 8)
    expect(m.takeFault()).toEqual({ vector: 12, error: 0 })
    m.k.sys_load_seg(abi.SEG_GS, 0x10)
    m.set64(abi.CPU_MSR_KERNEL_GS_BASE, 0x5555)
    m.k.sys_swapgs()
    expect([m.get64(abi.CPU_GS_BASE), m.get64(abi.CPU_MSR_KERNEL_GS_BASE)]).toEqual([0x5555n, 0n])
  })
})

describe('control registers', () => {
  it.each([
    ['PG without PE', 0, 0x8000_0000n],
    ['NW without CD', 0, 0x2000_0011n],
    ['upper half', 0, 1n << 32n],
    ['unknown CR4 bit', 4, 1n << 22n],
    ['PCIDE outside long mode', 4, 1n << 17n],
  ])('refuse: %s', (_, n, value) => {
    m.protectedMode(0)
    const before = m.visible()
    m.k.sys_mov_to_cr(n, value)
    expect(m.takeFault()).toEqual(GP0)
    expect(m.visible()).toEqual(before)
  })

  it('are for CPL 0, and CR1 is none', () => {
    m.protectedMode(3)
    m.k.sys_mov_to_cr(3, 0n)
    expect(m.takeFault()).toEqual(GP0)
    m.k.sys_mov_from_cr(0)
    expect(m.takeFault()).toEqual(GP0)
    m.protectedMode(0)
    m.k.sys_mov_from_cr(1)
    expect(m.takeFault()).toEqual({ vector: 6 })
  })

  it('the way into long mode and back', () => {
    m.protectedMode(0)
    m.setSeg(abi.SEG_TR, 0x28, TSS, 0x67, 0x8b)
    m.k.sys_mov_to_cr(4, 0x20n)
    wrmsr(0xc000_0080, 0x100n)
    m.k.sys_mov_to_cr(3, BigInt(CR3))
    m.k.sys_mov_to_cr(0, 0x8000_0011n)
    expect([m.takeFault(), m.get64(abi.CPU_EFER)]).toEqual([undefined, 0x500n])
    expect(m.get32(abi.CPU_MODE) & (abi.MODE_LMA | abi.MODE_CS_MASK)).toBe(abi.MODE_LMA | abi.MODE_CS32)
    wrmsr(0xc000_0080, 0n)
    expect(m.takeFault()).toEqual(GP0)
    m.k.sys_mov_to_cr(4, 0n)
    expect(m.takeFault()).toEqual(GP0)
    m.k.sys_mov_to_cr(0, 0x11n)
    expect([m.takeFault(), m.get64(abi.CPU_EFER)]).toEqual([undefined, 0x100n])
  })

  it('long mode needs PAE and a 32-bit TSS', () => {
    m.protectedMode(0)
    m.setSeg(abi.SEG_TR, 0x28, TSS, 0x67, 0x8b)
    wrmsr(0xc000_0080, 0x100n)
    m.k.sys_mov_to_cr(0, 0x8000_0011n)
    expect(m.takeFault()).toEqual(GP0)
    m.set64(abi.CPU_CR4, 0x20)
    m.setSeg(abi.SEG_TR, 0x28, TSS, 0x67, 0x83)
    m.k.sys_mov_to_cr(0, 0x8000_0011n)
    expect(m.takeFault()).toEqual(GP0)
  })

  it('CR3 with PCIDE: bit 63 is a hint, address bits beyond MAXPHYADDR are #GP', () => {
    m.longMode(0)
    m.k.sys_mov_to_cr(4, 0x2_0020n)
    m.k.sys_mov_to_cr(3, (1n << 63n) | BigInt(CR3 | 5))
    expect([m.takeFault(), m.get64(abi.CPU_CR3)]).toEqual([undefined, BigInt(CR3 | 5)])
    m.k.sys_mov_to_cr(3, 1n << 45n)
    expect(m.takeFault()).toEqual(GP0)
    m.k.sys_invpcid(0n, 0x1000n, 0n)
    expect(m.takeFault()).toEqual(GP0)
    m.k.sys_invpcid(4n, 0n, 0n)
    expect(m.takeFault()).toEqual(GP0)
    m.k.sys_invpcid(2n, 0n, 0n)
    expect(m.takeFault()).toBeUndefined()
  })

  it('LMSW sets PE but does not clear it; CLTS clears TS', () => {
    m.k.sys_lmsw(9)
    expect(m.get64(abi.CPU_CR0) & 9n).toBe(9n)
    m.k.sys_lmsw(0)
    expect(m.get64(abi.CPU_CR0) & 9n).toBe(1n)
    m.k.sys_lmsw(8)
    m.k.sys_clts()
    expect(m.get64(abi.CPU_CR0) & 8n).toBe(0n)
  })

  it('XSETBV takes x87 always and SSE with it', () => {
    const xsetbv = (value: number): void => {
      m.set64(abi.CPU_RCX, 0)
      m.set64(abi.CPU_RAX, value)
      m.set64(abi.CPU_RDX, 0)
      m.k.sys_xsetbv()
    }
    xsetbv(3)
    expect(m.takeFault()).toEqual({ vector: 6 })
    m.k.sys_mov_to_cr(4, 1n << 18n)
    xsetbv(3)
    expect([m.takeFault(), m.get64(abi.CPU_XCR0)]).toEqual([undefined, 3n])
    for (const bad of [0, 2, 5, 9]) {
      xsetbv(bad)
      expect(m.takeFault()).toEqual(GP0)
    }
  })

  it('AVX wants OSXSAVE and its state in XCR0, and honours CR0.TS', () => {
    const check = (): unknown => {
      m.k.fpu_check(3)
      return m.takeFault()
    }
    const gate = (): number => m.get32(abi.CPU_AVX_GATE)
    expect([gate(), check()]).toEqual([1, { vector: 6 }])
    m.k.sys_mov_to_cr(4, 1n << 18n)
    expect([gate(), check()]).toEqual([1, { vector: 6 }])
    m.set64(abi.CPU_RAX, 7)
    m.set64(abi.CPU_RCX, 0)
    m.set64(abi.CPU_RDX, 0)
    m.k.sys_xsetbv()
    expect([gate(), check()]).toEqual([0, undefined])
    m.k.sys_lmsw(8)
    expect([gate(), check()]).toEqual([1, { vector: 7 }])
    m.k.sys_clts()
    expect(gate()).toBe(0)
    m.k.sys_mov_to_cr(4, 0n)
    expect([gate(), check()]).toEqual([1, { vector: 6 }])
  })

  it('DR4 and DR5 are aliases unless CR4.DE', () => {
    m.k.sys_mov_to_dr(7, 0x455n)
    expect(m.k.sys_mov_from_dr(5)).toBe(0x455n)
    m.k.sys_mov_to_cr(4, 8n)
    m.k.sys_mov_from_dr(5)
    expect(m.takeFault()).toEqual({ vector: 6 })
    m.k.sys_mov_to_dr(6, 0n)
    expect(m.k.sys_mov_from_dr(6)).toBe(0xffff_0ff0n)
    m.k.sys_mov_to_dr(6, 1n << 32n)
    expect(m.takeFault()).toEqual(GP0)
  })
})

describe('MSRs', () => {
  it('unknown ones are #GP, or ignored on request', () => {
    rdmsr(0x9999)
    expect(m.takeFault()).toEqual(GP0)
    wrmsr(0x9999, 0n)
    expect(m.takeFault()).toEqual(GP0)
    m.view.setUint32(VM + abi.VM_IGNORE_MSRS, 1, true)
    expect([rdmsr(0x9999), m.takeFault()]).toEqual([0n, undefined])
  })

  it.each([
    [0xc000_0082, 1n << 60n], // LSTAR not canonical
    [0x277, 2n], // PAT type 2
    [0xc000_0080, 2n], // EFER reserved
    [0xc000_0103, 1n << 32n], // TSC_AUX
    [0x2ff, 0x400n << 2n], // MTRR default type reserved
    [0x3a, 0n], // feature control is locked
  ])('MSR %i refuses %s', (index, value) => {
    wrmsr(index, value)
    expect(m.takeFault()).toEqual(GP0)
  })

  it('hold what was written', () => {
    for (const [index, value] of [
      [0xc000_0102, 0xffff_8000_1234_0000n],
      [0x277, 0x0606_0606_0606_0606n],
      [0x174, 0x10n],
      [0x200, 0xc000_0006n],
      [0x26f, 0x0606_0606_0606_0606n],
    ] as const) {
      wrmsr(index, value)
      expect([index, rdmsr(index), m.takeFault()]).toEqual([index, value, undefined])
    }
  })

  it('are for CPL 0', () => {
    m.protectedMode(3)
    rdmsr(0x10)
    expect(m.takeFault()).toEqual(GP0)
  })

  it('the TSC runs and can be set', () => {
    const before = m.k.sys_rdtsc()
    m.now += 1e6
    m.set32(abi.CPU_TSC_NEAR, 0)
    expect(Number(m.k.sys_rdtsc() - before)).toBeGreaterThanOrEqual(1e6)
    wrmsr(0x10, 0x1234_5678_9abcn)
    expect(m.k.sys_rdtsc() >> 32n).toBe(0x1234n)
    m.set64(abi.CPU_CR4, 4)
    m.protectedMode(3)
    m.k.sys_rdtsc()
    expect(m.takeFault()).toEqual(GP0)
  })
})

describe('CPUID', () => {
  it('tells the vendor, the last leaf and the topology', () => {
    const [last = 0, ebx = 0, ecx = 0, edx = 0] = cpuid(0)
    const text = String.fromCharCode(
      ...[ebx, edx, ecx].flatMap((word) => [0, 8, 16, 24].map((shift) => (word >>> shift) & 0xff)),
    )
    expect([last, text]).toEqual([13, 'GenuineIntel'])
    expect(cpuid(0x1234)).toEqual(cpuid(13))
    expect(cpuid(11, 1).slice(0, 3)).toEqual([0, 1, 0x201])
    expect(cpuid(0x4000_0000).slice(1)).toEqual([0x4b4d_564b, 0x564b_4d56, 0x4d])
  })

  it('OSXSAVE follows CR4, the XSAVE size XCR0', () => {
    expect((cpuid(1)[2] ?? 0) & (1 << 27)).toBe(0)
    m.set64(abi.CPU_CR4, 1 << 18)
    expect((cpuid(1)[2] ?? 0) & (1 << 27)).not.toBe(0)
    expect(cpuid(13).slice(0, 3)).toEqual([7, 576, 832])
    m.set64(abi.CPU_XCR0, 7)
    expect(cpuid(13).slice(0, 3)).toEqual([7, 832, 832])
    expect(cpuid(13, 2)).toEqual([256, 576, 0, 0])
  })

  it.each(CPU_MODEL_NAMES)('model %s allows exactly the CR4 bits it announces', (name) => {
    m = new SystemMachine(module, name)
    const ebx7 = cpuid(7)[1] ?? 0
    m.longMode(0)
    m.k.sys_mov_to_cr(4, 0x20n | (1n << 20n))
    expect(m.takeFault() === undefined).toBe((ebx7 & (1 << 7)) !== 0)
    m.k.sys_mov_to_cr(4, 0x20n | (1n << 21n))
    expect(m.takeFault() === undefined).toBe((ebx7 & (1 << 20)) !== 0)
  })

  it.each([
    ['x86-64-v2', 0],
    ['x86-64-v3', 1],
    ['IvyBridge', 0],
    ['Haswell', 1],
    ['max', 1],
  ])('model %s has level 3: %i', (name, level3) => {
    m = new SystemMachine(module, name)
    const ecx1 = cpuid(1)[2] ?? 0
    const ebx7 = cpuid(7)[1] ?? 0
    const bits = [
      ...[12, 22, 26, 28, 29].map((bit) => ecx1 >>> bit), // FMA MOVBE XSAVE AVX F16C
      ...[3, 5, 8].map((bit) => ebx7 >>> bit), // BMI1 AVX2 BMI2
      (cpuid(0x8000_0001)[2] ?? 0) >>> 5, // LZCNT
    ]
    expect(bits.every((bit) => bit & 1) ? 1 : 0).toBe(level3)
  })

  it('random numbers differ from each other', () => {
    const seen = new Set(Array.from({ length: 64 }, () => m.k.sys_rdrand()))
    expect(seen.size).toBe(64)
  })
})

it('flat segments are what the tests take them for', () => {
  expect(descriptor(0, 0xf_ffff, 0xc9b)).toBe(SEG_FLAT_CODE32)
  expect(descriptor(0, 0xf_ffff, 0xc93)).toBe(SEG_FLAT_DATA)
})
