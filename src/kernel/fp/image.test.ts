/** State images (FNSAVE, FXSAVE, XSAVE) and the approximations, which no recorded results cover. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import { compileKernel } from './testing/compile.ts'
import { CPU, MEM, Machine } from './testing/machine.ts'
import { CASE_SIZE } from './testing/oracle.ts'

const AREA = MEM + 0x1000 // 64-byte aligned
const GVA = BigInt(AREA)
const XCR0_ALL = 7n
const LEGACY32 = abi.MODE_CS32 | abi.MODE_PE | abi.MODE_FLAT

let m: Machine

beforeAll(async () => {
  m = new Machine(await compileKernel('src/kernel/fp/exports.ts'))
}, 60_000)

/** A state with every field different: TOP 5, ST(0) = 1.5, ST(1) = -3, the rest empty. */
beforeEach(() => {
  m.run(new Uint8Array(CASE_SIZE), new Uint8Array(CASE_SIZE), () => {})
  new Uint8Array(m.view.buffer).fill(0xcc, AREA, AREA + 0x400)
  const cpu = (offset: number): number => CPU + offset
  m.view.setUint16(cpu(abi.CPU_X87_CW), 0x27f, true)
  m.view.setUint16(cpu(abi.CPU_X87_SW), 0x4120, true)
  m.view.setUint32(cpu(abi.CPU_X87_TOP), 5, true)
  m.view.setUint32(cpu(abi.CPU_X87_TAG), 0b0110_0000, true)
  setRegister(5, 0xc000_0000_0000_0000n, 0x3fff)
  setRegister(6, 0xc000_0000_0000_0000n, 0xc000)
  m.view.setUint16(cpu(abi.CPU_X87_FOP), 0x5d9, true)
  m.view.setBigUint64(cpu(abi.CPU_X87_FIP), 0x1_2345n, true)
  m.view.setBigUint64(cpu(abi.CPU_X87_FDP), 0x6_789an, true)
  m.view.setUint16(cpu(abi.CPU_X87_FCS), 0x33, true)
  m.view.setUint16(cpu(abi.CPU_X87_FDS), 0x2b, true)
  m.view.setUint32(cpu(abi.CPU_MXCSR), 0x1fa0, true)
  for (let i = 0; i < 16; i++) m.view.setBigUint64(m.xmm(i), 0x1000n + BigInt(i), true)
  m.view.setUint32(cpu(abi.CPU_CR4), 0x4_0600, true) // OSXSAVE
  m.view.setBigUint64(cpu(abi.CPU_XCR0), XCR0_ALL, true)
  m.view.setBigUint64(cpu(abi.CPU_RAX), XCR0_ALL, true)
  m.view.setUint32(cpu(abi.CPU_FAULT), 0, true)
})

function setRegister(physical: number, sig: bigint, se: number): void {
  m.view.setBigUint64(m.mm(physical), sig, true)
  m.view.setUint16(m.mm(physical) + 8, se, true)
}

function words(from: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => m.view.getUint32(from + 4 * i, true).toString(16))
}

function setMode(mode: number): void {
  m.view.setUint32(CPU + abi.CPU_MODE, mode, true)
}

function snapshot(): string {
  return Buffer.from(new Uint8Array(m.view.buffer).slice(CPU + abi.CPU_XMM, CPU + abi.CPU_CPUID)).toString(
    'hex',
  )
}

describe('x87 environment', () => {
  it('has the 32-bit protected format of SDM Vol. 1, figure 8-9', () => {
    m.call('x87_fnstenv', GVA, 0, 4)
    expect(words(AREA, 8)).toEqual([
      'ffff027f',
      'ffff6920',
      'ffffc3ff',
      '12345',
      '5d90033',
      '6789a',
      'ffff002b',
      'cccccccc',
    ])
    expect(m.callU32('x87_fnstcw')).toBe(0x27f)
  })

  it('has the 32-bit real format with linear pointers in real mode', () => {
    setMode(abi.MODE_CS16)
    m.call('x87_fnstenv', GVA, 0, 4)
    // 0x33 * 16 + 0x12345 = 0x12675, 0x2b * 16 + 0x6789a = 0x67b4a
    expect(words(AREA + 12, 4)).toEqual(['ffff2675', '15d9', 'ffff7b4a', '6000'])
  })

  it('has 14 bytes with a 16-bit operand size', () => {
    setMode(abi.MODE_CS16 | abi.MODE_PE)
    m.call('x87_fnstenv', GVA, 0, 2)
    expect(words(AREA, 4)).toEqual(['6920027f', '2345c3ff', '789a0033', 'cccc002b'])
  })

  it('masks everything after FNSTENV and takes ES back', () => {
    m.view.setUint16(CPU + abi.CPU_X87_CW, 0x340, true)
    m.call('x87_fldcw', 0x340)
    expect(m.callU32('x87_fnstsw') & 0x8080).toBe(0x8080)
    m.call('x87_fnstenv', GVA, 0, 4)
    expect(m.callU32('x87_fnstsw') & 0x8080).toBe(0)
    expect(m.callU32('x87_fnstcw')).toBe(0x37f)
  })

  it.each([
    [2, LEGACY32],
    [4, LEGACY32],
    [2, abi.MODE_CS16],
    [4, abi.MODE_CS16],
  ])(
    'FNSAVE initialises and FRSTOR brings registers, tags and status back (size %i, mode %i)',
    (size, mode) => {
      setMode(mode)
      const registers = (): string => [0, 1, 2, 3, 4, 5, 6, 7].map((i) => words(m.mm(i), 3).join()).join(' ')
      const before = [registers(), m.callU32('x87_fnstsw'), m.callU32('x87_fnstcw')]
      m.call('x87_fnsave', GVA, 0, size)
      expect([m.callU32('x87_fnstsw'), m.callU32('x87_fnstcw')]).toEqual([0, 0x37f])
      expect(m.view.getUint32(CPU + abi.CPU_X87_TAG, true)).toBe(0)
      expect(m.view.getUint8(AREA + (size === 4 ? 108 : 94))).toBe(0xcc)
      m.call('x87_frstor', GVA, 0, size)
      expect([registers(), m.callU32('x87_fnstsw'), m.callU32('x87_fnstcw')]).toEqual(before)
      expect(m.view.getUint32(CPU + abi.CPU_X87_TAG, true)).toBe(0b0110_0000)
    },
  )
})

describe('FXSAVE', () => {
  it('lays out the 64-bit image and leaves the last 96 bytes alone', () => {
    m.call('fpu_fxsave', GVA, 0, 1)
    expect(words(AREA, 8)).toEqual(['6920027f', '5d90060', '12345', '0', '6789a', '0', '1fa0', 'ffff'])
    expect(words(AREA + 32, 4)).toEqual(['0', 'c0000000', '3fff', '0'])
    expect(words(AREA + 48, 3)).toEqual(['0', 'c0000000', 'c000'])
    expect(words(AREA + 160 + 15 * 16, 2)).toEqual(['100f', '0'])
    expect(words(AREA + 416, 1)).toEqual(['cccccccc'])
  })

  it('stores selectors without REX.W and only eight XMM registers outside of 64-bit code', () => {
    setMode(LEGACY32)
    m.call('fpu_fxsave', GVA, 0, 0)
    expect(words(AREA + 8, 4)).toEqual(['12345', '33', '6789a', '2b'])
    expect(words(AREA + 160 + 8 * 16, 1)).toEqual(['cccccccc'])
  })

  it('comes back whole', () => {
    const before = snapshot()
    m.call('fpu_fxsave', GVA, 0, 0)
    m.call('x87_fninit')
    for (let i = 0; i < 16; i++) m.view.setBigUint64(m.xmm(i), 0n, true)
    m.call('fpu_fxrstor', GVA, 0, 0)
    expect(snapshot()).toBe(before)
  })

  it('refuses a misaligned area and reserved MXCSR bits with #GP, changing nothing', () => {
    const before = snapshot()
    m.call('fpu_fxsave', GVA + 8n, 0, 0)
    expect(m.view.getUint32(CPU + abi.CPU_FAULT, true) & 0xff).toBe(13)
    m.view.setUint32(CPU + abi.CPU_FAULT, 0, true)
    m.call('fpu_fxrstor', GVA, 0, 0) // filled with 0xcc
    expect(m.view.getUint32(CPU + abi.CPU_FAULT, true) & 0xff).toBe(13)
    expect(snapshot()).toBe(before)
  })
})

describe('XSAVE', () => {
  beforeEach(() => new Uint8Array(m.view.buffer).fill(0, AREA, AREA + 0x400))

  it('marks the components in use and XRSTOR brings them back', () => {
    m.view.setBigUint64(m.xmm(3) + 16, 0x77n, true)
    const before = snapshot()
    m.call('fpu_xsave', GVA, 0, 0)
    expect(words(AREA + 512, 2)).toEqual(['7', '0'])
    expect(words(AREA + 576 + 3 * 16, 1)).toEqual(['77'])
    m.call('x87_fninit')
    for (let i = 0; i < 16; i++) new Uint8Array(m.view.buffer).fill(0, m.xmm(i), m.xmm(i) + 32)
    m.call('fpu_xrstor', GVA, 0, 0)
    expect(snapshot()).toBe(before)
  })

  it('restores the initial state of a component whose bit is clear', () => {
    m.call('fpu_xsave', GVA, 0, 0)
    m.view.setUint32(AREA + 512, 2, true)
    m.call('fpu_xrstor', GVA, 0, 0)
    expect([m.callU32('x87_fnstcw'), m.callU32('x87_fnstsw')]).toEqual([0x37f, 0])
    expect(m.view.getBigUint64(m.xmm(15), true)).toBe(0x100fn)
  })

  it('XSAVEOPT leaves memory of unused components alone, and only requested bits change', () => {
    m.call('x87_fninit')
    for (let i = 0; i < 8; i++) setRegister(i, 0n, 0)
    m.view.setUint32(AREA + 32, 0x5555, true)
    m.view.setUint32(AREA + 512, 4, true)
    m.view.setBigUint64(CPU + abi.CPU_RAX, 3n, true)
    m.call('fpu_xsaveopt', GVA, 0, 0)
    expect(words(AREA + 32, 1)).toEqual(['5555'])
    expect(words(AREA + 512, 1)).toEqual(['6'])
  })

  it.each([
    ['a component that XCR0 lacks', 512, 8],
    ['the compacted format', 524, 0x8000_0000],
    ['a reserved header byte', 528, 1],
  ])('XRSTOR refuses %s with #GP', (_, offset, value) => {
    m.call('fpu_xsave', GVA, 0, 0)
    m.view.setUint32(AREA + offset, value, true)
    m.call('fpu_xrstor', GVA, 0, 0)
    expect(m.view.getUint32(CPU + abi.CPU_FAULT, true) & 0xff).toBe(13)
  })

  it('is #UD without CR4.OSXSAVE and #NM with CR0.TS', () => {
    m.view.setUint32(CPU + abi.CPU_CR0, 0x8000_003b, true)
    m.call('fpu_xsave', GVA, 0, 0)
    expect(m.view.getUint32(CPU + abi.CPU_FAULT, true) & 0xff).toBe(7)
    m.view.setUint32(CPU + abi.CPU_CR4, 0x600, true)
    m.call('fpu_xsave', GVA, 0, 0)
    expect(m.view.getUint32(CPU + abi.CPU_FAULT, true) & 0xff).toBe(6)
  })
})

describe('RCP and RSQRT', () => {
  const LIMIT = 1.5 / 4096

  function each(name: string, exact: (x: number) => number): number {
    let worst = 0
    for (let i = 0; i < 20_000; i++) {
      // every exponent that gives a normal result, significands spread over the binade
      const exponent = 3 + (i % 248)
      m.view.setUint32(m.xmm(1), exponent * 0x80_0000 + ((i * 0x9e3779) & 0x7f_ffff), true)
      m.call(name, m.xmm(0), m.xmm(1))
      const want = exact(m.view.getFloat32(m.xmm(1), true))
      worst = Math.max(worst, Math.abs(m.view.getFloat32(m.xmm(0), true) / want - 1))
    }
    return worst
  }

  it('stay within the documented relative error', () => {
    expect(each('sse_rcp_ss', (x) => 1 / x)).toBeLessThan(LIMIT)
    expect(each('sse_rsqrt_ss', (x) => 1 / Math.sqrt(x))).toBeLessThan(LIMIT)
  })

  it.each([
    ['sse_rcp_ss', 0x0000_0000, 0x7f80_0000],
    ['sse_rcp_ss', 0x8000_0001, 0xff80_0000],
    ['sse_rcp_ss', 0xff80_0000, 0x8000_0000],
    ['sse_rcp_ss', 0x7f80_0001, 0x7fc0_0001],
    ['sse_rcp_ss', 0x7f00_0000, 0x0000_0000],
    ['sse_rsqrt_ss', 0x8000_0000, 0xff80_0000],
    ['sse_rsqrt_ss', 0xbf80_0000, 0xffc0_0000],
    ['sse_rsqrt_ss', 0x7f80_0000, 0],
    ['sse_rsqrt_ss', 0xff80_0000, 0xffc0_0000],
    ['sse_rsqrt_ss', 0x7f80_0001, 0x7fc0_0001],
  ])('%s(%i) is %i', (name, operand, result) => {
    m.view.setUint32(m.xmm(1), operand, true)
    m.call(name, m.xmm(0), m.xmm(1))
    expect(m.view.getUint32(m.xmm(0), true)).toBe(result)
  })
})
