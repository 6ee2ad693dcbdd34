import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import { compileSystem, CR3, SystemMachine, VM } from './testing/system-machine.ts'

const P = 1n
const W = 2n
const U = 4n
const A = 0x20n
const D = 0x40n
const PS = 0x80n
const G = 0x100n
const NX = 1n << 63n
const LIN = 0x7f_1234_5000n
const PAGE = 0x20_0000
const DS = abi.SEG_DS

let module: WebAssembly.Module
let m: SystemMachine

beforeAll(async () => {
  module = await compileSystem()
}, 120_000)

beforeEach(() => {
  m = new SystemMachine(module)
})

const pf = (error: number, gva = LIN): unknown => ({ vector: 14, error, gva })

describe('4-level paging', () => {
  beforeEach(() => m.longMode(3))

  it('loads through a user page and sets accessed, but not dirty, bits', () => {
    m.map64(CR3, LIN, PAGE, P | W | U)
    m.write32(PAGE + 8, 0xcafe_f00d)
    expect(m.k.mem_load32(LIN + 8n, DS) >>> 0).toBe(0xcafe_f00d)
    expect(m.takeFault()).toBeUndefined()
    expect(m.read64(m.entry64(CR3, LIN)) & (A | D)).toBe(A)
    for (const level of [2, 3, 4]) expect(m.read64(m.entry64(CR3, LIN, level)) & A).toBe(A)
  })

  it('sets the dirty bit at the first store, also after a load filled the TLB', () => {
    m.map64(CR3, LIN, PAGE, P | W | U)
    m.k.mem_load8(LIN, DS)
    m.k.mem_store8(LIN, 0x5a, DS)
    expect(m.read64(m.entry64(CR3, LIN)) & (A | D)).toBe(A | D)
    expect(m.read32(PAGE) & 0xff).toBe(0x5a)
  })

  it.each([
    ['not present', 0n, () => m.k.mem_load8(LIN, DS), 0x4],
    ['not present, write', 0n, () => m.k.mem_store8(LIN, 0, DS), 0x6],
    ['supervisor page', P | W, () => m.k.mem_load8(LIN, DS), 0x5],
    ['read-only page, write', P | U, () => m.k.mem_store8(LIN, 0, DS), 0x7],
    ['no-execute page, fetch', P | U | NX, () => m.k.mmu_exec_page(LIN), 0x15],
    ['not present, fetch', 0n, () => m.k.mmu_exec_page(LIN), 0x14],
    ['reserved address bit', P | W | U | (1n << 45n), () => m.k.mem_load8(LIN, DS), 0xd],
    ['reserved address bit, write', P | W | U | (1n << 45n), () => m.k.mem_store8(LIN, 0, DS), 0xf],
  ])('faults: %s', (_, flags, access, error) => {
    m.map64(CR3, LIN, PAGE, flags)
    access()
    expect(m.takeFault()).toEqual(pf(error))
    expect(m.read64(m.entry64(CR3, LIN)) & (A | D)).toBe(0n)
  })

  it('combines the rights of all levels', () => {
    m.map64(CR3, LIN, PAGE, P | W | U)
    const upper = m.entry64(CR3, LIN, 3)
    m.write64(upper, m.read64(upper) & ~W)
    m.k.mem_store8(LIN, 0, DS)
    expect(m.takeFault()).toEqual(pf(7))
    m.write64(upper, (m.read64(upper) | W) & ~U)
    m.k.mem_load8(LIN, DS)
    expect(m.takeFault()).toEqual(pf(5))
  })

  it('treats XD as reserved while EFER.NXE is clear', () => {
    m.set64(abi.CPU_EFER, 0x501)
    m.map64(CR3, LIN, PAGE, P | W | U | NX)
    m.k.mem_load8(LIN, DS)
    expect(m.takeFault()).toEqual(pf(0xd))
  })

  it('translates 2 MiB and 1 GiB pages', () => {
    const base2m = 0x7f_1220_0000n
    m.map64(CR3, base2m, 0x20_0000, P | W | U | PS, 2)
    m.write32(0x20_0000 + 0x3_4560, 0x1111_2222)
    expect(m.k.mem_load32(base2m + 0x3_4560n, DS)).toBe(0x1111_2222)
    const base1g = 0x40_8000_0000n
    m.map64(CR3, base1g, 0, P | W | U | PS, 3)
    expect(m.k.mem_load32(base1g + 0x23_4560n, DS)).toBe(0x1111_2222)
    expect(m.takeFault()).toBeUndefined()
  })

  it('faults on reserved bits of large pages', () => {
    const base = 0x7f_1220_0000n
    m.map64(CR3, base, 0x20_0000, P | W | U | PS | (1n << 13n), 2)
    m.k.mem_load8(base, DS)
    expect(m.takeFault()).toEqual(pf(0xd, base))
    m.map64(CR3, base, 0x20_0000, P | W | U | PS | (1n << 12n), 2) // PAT
    m.k.mem_load8(base, DS)
    expect(m.takeFault()).toBeUndefined()
  })

  it('answers a non-canonical address with #GP, through SS with #SS', () => {
    m.k.mem_load8(0x8000_0000_0000n, DS)
    expect(m.takeFault()).toEqual({ vector: 13, error: 0 })
    m.k.mem_load8(0x8000_0000_0000n, abi.SEG_SS)
    expect(m.takeFault()).toEqual({ vector: 12, error: 0 })
  })

  it('splits an access across pages, and writes nothing when the second page faults', () => {
    m.map64(CR3, LIN, PAGE, P | W | U)
    m.map64(CR3, LIN + 0x1000n, PAGE + 0x5000, P | U)
    m.write32(PAGE + 0xffc, 0x4433_2211)
    m.write32(PAGE + 0x5000, 0x8877_6655)
    expect(m.k.mem_load32(LIN + 0xffen, DS) >>> 0).toBe(0x6655_4433)
    m.k.mem_store32(LIN + 0xffen, 0, DS)
    expect(m.takeFault()).toEqual(pf(7, LIN + 0x1000n))
    expect(m.read32(PAGE + 0xffc)).toBe(0x4433_2211)
    m.map64(CR3, LIN + 0x1000n, PAGE + 0x5000, P | W | U)
    m.k.tlb_flush_all()
    m.k.mem_store64(LIN + 0xffdn, 0x0807_0605_0403_0201n, DS)
    expect(m.k.mem_load64(LIN + 0xffdn, DS)).toBe(0x0807_0605_0403_0201n)
    expect(m.read32(PAGE + 0x5000) >>> 0).toBe(0x0706_0504)
  })

  it('keeps a stale translation until INVLPG, and drops every piece of a large page with it', () => {
    m.map64(CR3, LIN, PAGE, P | W | U)
    m.write32(PAGE, 1)
    m.write32(PAGE + 0x1000, 2)
    expect(m.k.mem_load32(LIN, DS)).toBe(1)
    m.map64(CR3, LIN, PAGE + 0x1000, P | W | U)
    expect(m.k.mem_load32(LIN, DS)).toBe(1)
    m.k.tlb_flush_page(LIN)
    expect(m.k.mem_load32(LIN, DS)).toBe(2)

    const base = 0x7f_2000_0000n
    m.map64(CR3, base, 0x20_0000, P | W | U | PS, 2)
    m.k.mem_load8(base + 0x5000n, DS)
    m.map64(CR3, base, 0, 0n, 2)
    m.k.tlb_flush_page(base + 0x9000n)
    m.k.mem_load8(base + 0x5000n, DS)
    expect(m.takeFault()).toEqual(pf(4, base + 0x5000n))
  })

  it('keeps global pages over a CR3 write, local ones not', () => {
    m.set64(abi.CPU_CR4, 0xa0)
    m.map64(CR3, LIN, PAGE, P | W | U | G)
    m.map64(CR3, LIN + 0x1000n, PAGE, P | W | U)
    m.k.mem_load8(LIN, DS)
    m.k.mem_load8(LIN + 0x1000n, DS)
    m.map64(CR3, LIN, 0, 0n)
    m.map64(CR3, LIN + 0x1000n, 0, 0n)
    m.set32(abi.CPU_CPL, 0)
    m.k.sys_mov_to_cr(3, BigInt(CR3))
    m.set32(abi.CPU_CPL, 3)
    m.k.mem_load8(LIN, DS)
    expect(m.takeFault()).toBeUndefined()
    m.k.mem_load8(LIN + 0x1000n, DS)
    expect(m.takeFault()).toEqual(pf(4, LIN + 0x1000n))
  })
})

describe('supervisor accesses', () => {
  beforeEach(() => {
    m.longMode(0)
    m.map64(CR3, LIN, PAGE, P | U)
  })
  const setCr = (cr0: bigint, cr4: bigint): void => {
    m.set64(abi.CPU_CR0, cr0)
    m.set64(abi.CPU_CR4, cr4)
    m.k.update_mode()
    m.k.tlb_flush_all()
  }

  it('ignores read-only without CR0.WP and obeys it with', () => {
    m.k.mem_store8(LIN, 1, DS)
    expect(m.takeFault()).toBeUndefined()
    setCr(0x8001_0011n, 0x20n)
    m.k.mem_store8(LIN, 1, DS)
    expect(m.takeFault()).toEqual(pf(3))
  })

  it('SMEP forbids fetching from user pages', () => {
    expect(m.k.mmu_exec_page(LIN)).not.toBe(0)
    setCr(0x8000_0011n, 0x10_0020n)
    expect(m.k.mmu_exec_page(LIN)).toBe(0)
    expect(m.takeFault()).toEqual(pf(0x11))
  })

  it('SMAP forbids user data unless AC is set', () => {
    setCr(0x8000_0011n, 0x20_0020n)
    m.k.mem_load8(LIN, DS)
    expect(m.takeFault()).toEqual(pf(1))
    m.k.sys_stac()
    m.k.mem_load8(LIN, DS)
    expect(m.takeFault()).toBeUndefined()
    m.k.sys_clac()
    m.k.mem_load8(LIN, DS)
    expect(m.takeFault()).toEqual(pf(1))
  })
})

describe('legacy paging', () => {
  const LOW = 0x1234_5000n
  const PDE = CR3 + 0x48 * 4

  beforeEach(() => {
    m.protectedMode(0)
    m.set64(abi.CPU_CR0, 0x8001_0011n)
    m.set64(abi.CPU_CR3, CR3)
    m.set64(abi.CPU_CR4, 0x10)
    m.k.update_mode()
    m.k.tlb_flush_all()
  })

  it('walks two levels and sets bits', () => {
    m.write32(PDE, 0x9_0000 | 7)
    m.write32(0x9_0000 + 0x345 * 4, PAGE | 7)
    m.write32(PAGE + 4, 77)
    expect(m.k.mem_load32(LOW + 4n, DS)).toBe(77)
    m.k.mem_store32(LOW, 1, DS)
    expect(m.read32(PDE) & 0x60).toBe(0x20)
    expect(m.read32(0x9_0000 + 0x345 * 4) & 0x60).toBe(0x60)
  })

  it('reports no fetch bit without NX and SMEP', () => {
    expect(m.k.mmu_exec_page(LOW)).toBe(0)
    expect(m.takeFault()).toEqual(pf(0, LOW))
  })

  it('translates 4 MiB pages and refuses reserved bit 21', () => {
    m.write32(PDE, 0x87)
    m.write32(0x34_5008, 99)
    expect(m.k.mem_load32(LOW + 8n, DS)).toBe(99)
    m.write32(PDE, 0x20_0087)
    m.k.tlb_flush_all()
    m.k.mem_load32(LOW, DS)
    expect(m.takeFault()).toEqual(pf(9, LOW))
  })

  it('PSE-36: bits 20:13 are address bits 39:32', () => {
    m.write32(PDE, 0x87 | (1 << 13))
    m.k.mem_load32(LOW, DS) // 4 GiB and up: nothing there, read as a bus does
    expect(m.takeFault()).toBeUndefined()
    m.view.setUint32(VM + abi.VM_MAXPHYADDR, 32, true)
    m.k.tlb_flush_all()
    m.k.mem_load32(LOW, DS)
    expect(m.takeFault()).toEqual(pf(9, LOW))
  })

  it('PAE: uses the PDPTEs that CR3 was loaded with', () => {
    m.set64(abi.CPU_CR4, 0x20)
    m.write64(CR3, 0x9_0001n)
    m.write64(0x9_0000 + 0x91 * 8, 0xa_0007n)
    m.write64(0xa_0000 + 0x145 * 8, BigInt(PAGE) | 7n)
    m.write32(PAGE, 5)
    m.k.sys_mov_to_cr(3, BigInt(CR3))
    expect(m.takeFault()).toBeUndefined()
    m.write64(CR3, 0n) // no effect until the next load
    expect(m.k.mem_load32(LOW, DS)).toBe(5)
    m.write64(CR3, 0x9_0021n)
    m.k.sys_mov_to_cr(3, BigInt(CR3))
    expect(m.takeFault()).toEqual({ vector: 13, error: 0 })
  })
})

describe('frames', () => {
  const LAZY = 0x500
  beforeEach(() => m.protectedMode(0))

  it('allocates RAM at the first touch, zeroed, and once', () => {
    expect(m.frame(LAZY) & abi.FRAME_PRESENT).toBe(0)
    expect(m.k.mem_load32(BigInt(LAZY * 4096), DS)).toBe(0)
    const entry = m.frame(LAZY)
    expect(entry & abi.FRAME_PRESENT).not.toBe(0)
    m.k.mem_store32(BigInt(LAZY * 4096 + 8), 42, DS)
    expect(m.frame(LAZY)).toBe(entry)
    expect(m.view.getUint32((entry & abi.FRAME_NUMBER_MASK) * 4096 + 8, true)).toBe(42)
  })

  it('zeroes a frame that was used before', () => {
    const frame = m.k.frame_alloc()
    m.view.setUint32(frame * 4096 + 100, 7, true)
    m.k.frame_free(frame)
    expect(m.k.frame_alloc()).toBe(frame)
    expect(m.view.getUint32(frame * 4096 + 100, true)).toBe(0)
  })

  it('leaves the guest with EXITREASON_OUT_OF_MEMORY when the pool is empty, the instruction not executed', () => {
    m.view.setUint32(abi.POOL_FRAME_LIMIT, m.view.getUint32(abi.POOL_FRAME_NEXT, true), true)
    m.setRip(0x1000)
    m.k.mem_store32(BigInt(LAZY * 4096), 1, DS)
    expect(m.get32(abi.CPU_FAULT)).not.toBe(0)
    m.k.deliver_fault()
    expect(m.get32(abi.CPU_EXITREASON)).toBe(abi.EXITREASON_OUT_OF_MEMORY)
    expect(m.get64(abi.CPU_RIP)).toBe(0x1000n)
    expect(m.get32(abi.CPU_FAULT)).toBe(0)
  })

  it('drops writes to ROM', () => {
    m.write32(PAGE, 0x1234)
    m.flagFrame(PAGE / 4096, abi.FRAME_READONLY)
    m.k.mem_store32(BigInt(PAGE), 1, DS)
    expect(m.k.mem_load32(BigInt(PAGE), DS)).toBe(0x1234)
    expect(m.takeFault()).toBeUndefined()
  })

  it('copies a shared frame at the first write', () => {
    const gfn = PAGE / 4096
    m.write32(PAGE, 0x1111)
    m.flagFrame(gfn, abi.FRAME_SHARED)
    const before = m.frame(gfn) & abi.FRAME_NUMBER_MASK
    m.k.mem_load32(BigInt(PAGE), DS)
    m.k.mem_store32(BigInt(PAGE + 4), 0x2222, DS)
    const after = m.frame(gfn)
    expect(after & abi.FRAME_SHARED).toBe(0)
    expect(after & abi.FRAME_NUMBER_MASK).not.toBe(before)
    expect(m.read32(PAGE + 4)).toBe(0)
    expect(m.view.getUint32((after & abi.FRAME_NUMBER_MASK) * 4096, true)).toBe(0x1111)
    expect(m.get32(abi.CPU_REQ) & abi.REQ_TLB).not.toBe(0)
  })

  it('marks a write in the dirty logs that watch the page, once', () => {
    const gfn = PAGE / 4096
    const bitmap = 0x15_f000
    const log = VM + abi.VM_DIRTY_LOGS + 2 * abi.DIRTY_LOG_STRIDE
    m.view.setUint32(log + abi.DIRTY_LOG_FIRST, gfn - 3, true)
    m.view.setUint32(log + abi.DIRTY_LOG_COUNT, 16, true)
    m.view.setUint32(log + abi.DIRTY_LOG_BITMAP, bitmap, true)
    m.flagFrame(gfn, abi.FRAME_DIRTY_LOG)
    m.k.mem_load32(BigInt(PAGE), DS)
    expect(m.view.getUint32(bitmap, true)).toBe(0)
    m.k.mem_store8(BigInt(PAGE), 1, DS)
    expect(m.view.getUint32(bitmap, true)).toBe(1 << 3)
    expect(m.frame(gfn) & abi.FRAME_DIRTY_LOG).toBe(0)
  })

  it('never fills the write tag of a page that holds code', () => {
    m.flagFrame(PAGE / 4096, abi.FRAME_CODE)
    m.k.mem_load8(BigInt(PAGE), DS)
    const entry = m.cpu + abi.CPU_SIZE + ((PAGE / 4096) % abi.TLB_ENTRIES) * 32
    expect(m.view.getBigUint64(entry + abi.TLB_READ, true)).toBe(BigInt(PAGE))
    expect(m.view.getBigUint64(entry + abi.TLB_WRITE, true)).toBe(~0n & 0xffff_ffff_ffff_ffffn)
    m.k.mem_store8(BigInt(PAGE), 9, DS)
    expect(m.read32(PAGE) & 0xff).toBe(9)
  })

  it('masks address bit 20 behind a closed A20 gate', () => {
    m.write32(0, 0xabcd)
    m.view.setUint32(VM + abi.VM_A20_MASK, 0xffef_ffff, true)
    m.k.tlb_flush_all()
    expect(m.k.mem_load32(0x10_0000n, DS)).toBe(0xabcd)
  })
})

describe('read-modify-write', () => {
  beforeEach(() => m.longMode(3))
  const begin = (lin: bigint, bytes: number): number => m.k.mem_rmw_begin(lin, bytes, DS)

  it('works on the frame itself when it may', () => {
    m.map64(CR3, LIN, PAGE, P | W | U)
    const at = begin(LIN + 4n, 4 | 0x100)
    m.view.setUint32(at, 0x77, true)
    expect(m.get32(abi.CPU_RMW_ADDR)).toBe(0)
    expect(m.read32(PAGE + 4)).toBe(0x77)
  })

  it('faults for the write before anything is read', () => {
    m.map64(CR3, LIN, PAGE, P | U)
    expect(begin(LIN, 4)).toBe(0)
    expect(m.takeFault()).toEqual(pf(7))
  })

  it('writes a page-crossing operand back at the end', () => {
    m.map64(CR3, LIN, PAGE, P | W | U)
    m.map64(CR3, LIN + 0x1000n, PAGE + 0x3000, P | W | U)
    const at = begin(LIN + 0xffen, 4 | 0x100)
    m.view.setUint32(at, 0x4433_2211, true)
    expect(m.read32(PAGE + 0xffc)).toBe(0)
    m.k.mem_rmw_end()
    expect(m.read16(PAGE + 0xffe)).toBe(0x2211)
    expect(m.read16(PAGE + 0x3000)).toBe(0x4433)
    expect(m.view.getUint32(VM + abi.VM_LOCK_SPLIT, true)).toBe(0)
  })

  it('starts a misaligned LOCK operation over when another vCPU wrote the word', () => {
    m.map64(CR3, LIN, PAGE, P | W | U)
    m.write64(PAGE, 0x1122_3344_5566_7788n)
    let at = begin(LIN + 1n, 4 | 0x100)
    expect(m.view.getUint32(at, true)).toBe(0x4455_6677)
    m.view.setUint32(at, 0, true)
    m.write8(PAGE, 0x99)
    m.k.mem_rmw_end()
    expect(m.get32(abi.CPU_FAULT)).not.toBe(0)
    expect(m.read64(PAGE)).toBe(0x1122_3344_5566_7799n)
    m.setRip(0x42)
    m.k.deliver_fault()
    expect(m.get64(abi.CPU_RIP)).toBe(0x42n)
    at = begin(LIN + 1n, 4 | 0x100)
    m.view.setUint32(at, 0, true)
    m.k.mem_rmw_end()
    expect(m.read64(PAGE)).toBe(0x1122_3300_0000_0099n)
  })

  // Across 8 bytes of a page, and across two pages that are no neighbours.
  it.each([
    ['lower', 6],
    ['upper', 6],
    ['lower', 0xffe],
    ['upper', 0xffe],
  ])('starts a split LOCK operation over when another vCPU wrote the %s part (offset %i)', (part, offset) => {
    m.map64(CR3, LIN, PAGE, P | W | U)
    m.map64(CR3, LIN + 0x1000n, PAGE + 0x3000, P | W | U)
    const lower = PAGE + (offset & ~7)
    const upper = offset === 6 ? PAGE + 8 : PAGE + 0x3000
    m.write64(lower, 0x2211_0000_0000_0000n)
    m.write64(upper, 0x4433n)
    const add = (value: number): void => {
      const operand = begin(LIN + BigInt(offset), 4 | 0x100)
      m.view.setUint32(operand, m.view.getUint32(operand, true) + value, true)
    }
    add(0x0001_0001)
    m.write8(part === 'lower' ? lower : upper, 0x77)
    const [lowBefore, highBefore] = [m.read64(lower), m.read64(upper)]
    m.k.mem_rmw_end()
    expect(m.get32(abi.CPU_FAULT)).not.toBe(0)
    expect([m.read64(lower), m.read64(upper)]).toEqual([lowBefore, highBefore])
    expect(m.view.getUint32(VM + abi.VM_LOCK_SPLIT, true)).toBe(0)
    m.k.deliver_fault()
    add(0x0001_0001)
    m.k.mem_rmw_end()
    expect(m.get32(abi.CPU_FAULT)).toBe(0)
    expect([m.read64(lower), m.read64(upper)]).toEqual([lowBefore + (1n << 48n), highBefore + 1n])
  })
})

describe('alignment checks and data breakpoints', () => {
  beforeEach(() => {
    m.longMode(3)
    m.map64(CR3, LIN, PAGE, P | W | U)
  })

  it('#AC only at CPL 3 with AM and AC', () => {
    m.set64(abi.CPU_CR0, 0x8004_0011n)
    m.setFlags(0x4_0002)
    m.k.mem_load32(LIN + 2n, DS)
    expect(m.takeFault()).toEqual({ vector: 17, error: 0 })
    m.k.mem_load32(LIN + 4n, DS)
    expect(m.takeFault()).toBeUndefined()
    m.setFlags(2)
    m.k.mem_load32(LIN + 2n, DS)
    expect(m.takeFault()).toBeUndefined()
  })

  it('reports a watched store as a trap after the instruction', () => {
    m.set64(abi.CPU_DR0 + 8, LIN + 4n)
    m.set64(abi.CPU_DR7, 0x400n | (1n << 2n) | (0xdn << 20n)) // DR1: write, 4 bytes
    m.k.update_mode()
    expect(m.get32(abi.CPU_SINGLE)).not.toBe(0)
    m.setRip(0x1000)
    expect(m.k.debug_before()).toBe(0)
    m.k.mem_load32(LIN + 4n, DS)
    expect(m.k.debug_after()).toBe(0)
    m.k.debug_before()
    m.k.mem_store8(LIN + 7n, 1, DS)
    expect(m.read32(PAGE + 4) >>> 24).toBe(1)
    m.setRip(0x1003)
    expect(m.k.debug_after()).toBe(1)
    expect(m.takeFault()).toEqual({ vector: 1 })
    expect(m.get64(abi.CPU_DR6) & 0xfn).toBe(2n)
  })
})
