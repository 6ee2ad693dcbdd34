/**
 * The tagged TLB and the paging-structure caches: what each invalidation of SDM Vol. 3, "Operations that Invalidate TLBs
 * and Paging-Structure Caches" must drop, and what must survive a change of address space.
 */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import { compileSystem, CR3, SystemMachine } from './testing/system-machine.ts'

const P = 1n
const W = 2n
const U = 4n
const A = 0x20n
const D = 0x40n
const G = 0x100n
const KEEP = 1n << 63n
const CR4_PAE_PGE = 0xa0n
const CR4_PCIDE = 0x2_0000n
const DS = abi.SEG_DS
const LIN = 0x7f_1234_5000n
const KERNEL = -0x7fff_ffff_f000n + 0x4000_0000n
const MARK = 0xff8

let module: WebAssembly.Module
let m: SystemMachine

beforeAll(async () => {
  module = await compileSystem()
}, 120_000)

/** gpa of a data page whose content is its own number. */
const data = (n: number): number => 0x20_0000 + n * 0x1000
const read = (lin: bigint): number => m.k.mem_load32(lin + BigInt(MARK), DS)
const cr3 = (root: number, pcid: number, keep = false): void =>
  m.k.sys_mov_to_cr(3, BigInt.asUintN(64, BigInt(root) | BigInt(pcid) | (keep ? KEEP : 0n)))

function start(): void {
  m = new SystemMachine(module)
  m.longMode(0)
  for (let gpa = 0; gpa < 0x40_0000; gpa += 0x1000)
    if (gpa < 0x1000 || gpa >= 0x4000) m.write32(gpa + MARK, gpa + 1)
  m.k.sys_mov_to_cr(4, CR4_PAE_PGE | CR4_PCIDE)
  expect(m.takeFault()).toBeUndefined()
}

describe('two address spaces', () => {
  const OTHER = 0xf_0000
  beforeEach(() => {
    start()
    for (let at = 0; at < 4096; at += 8) m.write64(OTHER + at, 0n)
    m.map64(CR3, LIN, data(1), P | W | U | A | D)
    m.map64(OTHER, LIN, data(2), P | W | U | A | D)
    m.map64(CR3, KERNEL, data(3), P | W | A | D | G)
    m.map64(OTHER, KERNEL, data(3), P | W | A | D | G)
    cr3(CR3, 1)
    read(LIN)
    read(KERNEL)
    cr3(OTHER, 2)
    read(LIN)
    read(KERNEL)
  })
  /** Points every page at another frame, behind the TLB's back. */
  const remap = (): void => {
    m.map64(CR3, LIN, data(11), P | W | U | A | D)
    m.map64(OTHER, LIN, data(12), P | W | U | A | D)
    m.map64(CR3, KERNEL, data(13), P | W | A | D | G)
    m.map64(OTHER, KERNEL, data(13), P | W | A | D | G)
  }
  /** Numbers of the data pages that the two address spaces see: LIN, KERNEL of PCID 1, then of PCID 2. */
  const seen = (): number[] => {
    const page = (lin: bigint): number => (read(lin) - 1 - 0x20_0000) / 0x1000
    cr3(CR3, 1, true)
    const first = [page(LIN), page(KERNEL)]
    cr3(OTHER, 2, true)
    return [...first, page(LIN), page(KERNEL)]
  }

  it('keeps both over MOV to CR3 with bit 63', () => {
    remap()
    expect(seen()).toEqual([1, 3, 2, 3])
  })

  it('drops the local pages of the PCID that MOV to CR3 without bit 63 names', () => {
    remap()
    cr3(CR3, 1)
    expect(seen()).toEqual([11, 3, 2, 3])
    cr3(OTHER, 2)
    expect(seen()).toEqual([11, 3, 12, 3])
  })

  it('INVLPG drops a local page here and a global one everywhere', () => {
    remap()
    m.k.sys_invlpg(LIN)
    expect(seen()).toEqual([1, 3, 12, 3])
    m.k.sys_invlpg(KERNEL)
    expect(seen()).toEqual([1, 13, 12, 13])
  })

  it.each([
    ['of an address', 0n, 1n, LIN, [11, 3, 2, 3]],
    ['of a PCID', 1n, 1n, 0n, [11, 3, 2, 3]],
    ['of a PCID that is not cached', 1n, 7n, 0n, [1, 3, 2, 3]],
    ['of everything', 2n, 0n, 0n, [11, 13, 12, 13]],
    ['of everything but global pages', 3n, 0n, 0n, [11, 3, 12, 3]],
  ] as const)('INVPCID %s', (_, type, pcid, lin, expected) => {
    remap()
    m.k.sys_invpcid(type, pcid, lin)
    expect(m.takeFault()).toBeUndefined()
    expect(seen()).toEqual(expected)
  })

  it('drops everything when CR4.PGE or CR4.PCIDE changes', () => {
    remap()
    m.k.sys_mov_to_cr(4, 0x20n | CR4_PCIDE)
    expect(seen()).toEqual([11, 13, 12, 13])
    m.k.sys_mov_to_cr(4, CR4_PAE_PGE | CR4_PCIDE)
    cr3(CR3, 1)
    m.map64(CR3, LIN, data(21), P | W | U | A | D)
    m.k.sys_mov_to_cr(4, CR4_PAE_PGE)
    expect(read(LIN)).toBe(data(21) + 1)
    m.map64(CR3, LIN, data(22), P | W | U | A | D)
    m.k.sys_mov_to_cr(3, BigInt(CR3))
    expect(read(LIN)).toBe(data(22) + 1)
  })

  it('takes write permission of a frame in every address space', () => {
    m.map64(CR3, LIN + 0x5000n, data(2), P | W | U | A | D)
    cr3(CR3, 1, true)
    m.k.mem_store32(LIN + 0x5000n, 0, DS)
    cr3(OTHER, 2, true)
    m.k.mem_store32(LIN, 0, DS)
    const writable = (lin: bigint): boolean => {
      const bank = m.get32(abi.CPU_TLB)
      const entry = bank + (Number(lin >> 12n) & (abi.TLB_ENTRIES - 1)) * 32
      return m.view.getBigUint64(entry + abi.TLB_WRITE, true) === lin
    }
    expect(writable(LIN)).toBe(true)
    m.k.tlb_protect(m.k.gpa_host(BigInt(data(2)), 0))
    expect(writable(LIN)).toBe(false)
    cr3(CR3, 1, true)
    expect(writable(LIN + 0x5000n)).toBe(false)
  })

  it('INIT goes back to PCID 0 with nothing cached', () => {
    m.k.cpu_init()
    expect(m.get32(abi.CPU_TLB)).toBe(m.cpu + abi.CPU_SIZE)
  })
})

describe('pages that share a place in the TLB', () => {
  /** The TLB has 4096 places. */
  const SHARING = Array.from({ length: 4 }, (_, i) => LIN + BigInt(i) * 0x100_0000n)
  beforeEach(() => {
    start()
    for (const [i, lin] of SHARING.entries()) m.map64(CR3, lin, data(i), P | W | U | A | D)
    SHARING.forEach(read)
    for (const [i, lin] of SHARING.entries()) m.map64(CR3, lin, data(10 + i), P | W | U | A | D)
  })
  const seen = (): number[] => SHARING.map((lin) => (read(lin) - 1 - 0x20_0000) / 0x1000)
  const writable = (lin: bigint): boolean => {
    const entry = m.get32(abi.CPU_TLB) + (Number(lin >> 12n) & (abi.TLB_ENTRIES - 1)) * 32
    return m.view.getBigUint64(entry + abi.TLB_WRITE, true) === lin
  }

  it('come back without a walk', () => {
    expect(seen()).toEqual([0, 1, 2, 3])
    expect(seen()).toEqual([0, 1, 2, 3])
  })

  it.each([
    ['INVLPG', () => SHARING.forEach((lin) => m.k.sys_invlpg(lin))],
    ['INVPCID', () => m.k.sys_invpcid(1n, 0n, 0n)],
    ['MOV to CR3', () => cr3(CR3, 0)],
  ])('are all dropped by %s', (_, invalidate) => {
    invalidate()
    expect(seen()).toEqual([10, 11, 12, 13])
  })

  it('belong to their own address space', () => {
    const other = 0xf_0000
    for (let at = 0; at < 4096; at += 8) m.write64(other + at, 0n)
    for (const [i, lin] of SHARING.entries()) m.map64(other, lin, data(20 + i), P | W | U | A | D)
    cr3(other, 1)
    expect(seen()).toEqual([20, 21, 22, 23])
    cr3(CR3, 0, true)
    expect(seen()).toEqual([10, 11, 12, 3])
  })

  it('do not come back with a write permission that was taken', () => {
    const [first = 0n, second = 0n] = SHARING
    const code = data(0) / 0x1000
    read(first)
    expect(writable(first)).toBe(true)
    read(second)
    m.map64(CR3, first, data(0), P | W | U | A | D)
    m.setFrame(code, m.frame(code) | abi.FRAME_CODE)
    m.k.tlb_protect(m.k.gpa_host(BigInt(data(0)), 0))
    read(first)
    expect(writable(first)).toBe(false)
    read(second)
    expect(writable(second)).toBe(true)
  })

  it('lose it when they have come back, too', () => {
    const [first = 0n, second = 0n] = SHARING
    read(first)
    // Its place in the list of who writes the frame is given to others meanwhile.
    read(second)
    for (let i = 0n; i < 8n; i++) {
      m.map64(CR3, first + 0x1000n * (i + 1n), data(0), P | W | U | A | D)
      m.k.mem_store32(first + 0x1000n * (i + 1n), 0, DS)
    }
    read(first)
    expect(writable(first)).toBe(true)
    m.k.tlb_protect(m.k.gpa_host(BigInt(data(0)), 0))
    expect(writable(first)).toBe(false)
  })
})

describe('the paging-structure cache', () => {
  const NEAR = LIN + 0x1000n
  beforeEach(() => {
    start()
    m.map64(CR3, LIN, data(1), P | W | U | A | D)
    m.map64(CR3, NEAR, data(2), P | W | U | A | D)
    read(LIN)
  })
  const retarget = (): void => {
    const table = 0xe_0000
    for (let at = 0; at < 4096; at += 8) m.write64(table + at, 0n)
    m.write64(m.entry64(CR3, LIN, 2), BigInt(table) | P | W | U | A)
    m.map64(CR3, LIN, data(5), P | W | U | A | D)
    m.map64(CR3, NEAR, data(6), P | W | U | A | D)
  }

  it('finds a page through a table that a walk found before', () => {
    retarget()
    expect(read(NEAR)).toBe(data(2) + 1)
  })

  it.each([
    ['INVLPG of another address', () => m.k.sys_invlpg(0x1000n)],
    ['INVPCID of another address', () => m.k.sys_invpcid(0n, 0n, 0x1000n)],
    ['INVPCID of the PCID', () => m.k.sys_invpcid(1n, 0n, 0n)],
    ['MOV to CR3', () => cr3(CR3, 0)],
  ])('is emptied by %s', (_, invalidate) => {
    retarget()
    invalidate()
    expect(read(NEAR)).toBe(data(6) + 1)
  })

  it('never makes an access fault that the tables allow', () => {
    const pde = m.entry64(CR3, LIN, 2)
    const old = m.read64(pde)
    m.write64(pde, old & ~W)
    m.k.sys_invlpg(LIN)
    read(LIN)
    m.write64(pde, old)
    m.set64(abi.CPU_CR0, 0x8001_0011n)
    m.k.mem_store32(NEAR, 1, DS)
    expect(m.takeFault()).toBeUndefined()
  })

  it('combines the rights of the levels it stands for', () => {
    const upper = m.entry64(CR3, LIN, 3)
    m.write64(upper, m.read64(upper) & ~U)
    m.k.sys_invlpg(LIN)
    read(LIN)
    m.set32(abi.CPU_CPL, 3)
    m.k.update_mode()
    read(NEAR)
    expect(m.takeFault()).toEqual({ vector: 14, error: 5, gva: NEAR + BigInt(MARK) })
  })
})
