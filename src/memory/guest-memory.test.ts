import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import { compileSystem, SystemMachine, VM } from '../kernel/testing/system-machine.ts'
import { FramePoolError, GuestRam } from './guest-memory.ts'

const PAGE = 4096
const RAM_BYTES = 0x80_0000
/** A gfn without a frame yet. */
const LAZY = 0x60_0000
const ROM = 0xf_0000

let module: WebAssembly.Module
let m: SystemMachine
let ram: GuestRam

beforeAll(async () => {
  module = await compileSystem()
}, 120_000)

beforeEach(() => {
  m = new SystemMachine(module)
  m.protectedMode(0)
  for (let gfn = 0; gfn < RAM_BYTES / PAGE; gfn++) m.setFrame(gfn, 0)
  ram = new GuestRam({
    buffer: m.memory.buffer,
    vm: VM,
    ram: [
      { start: 0, bytes: 0xa_0000 },
      { start: 0xc_0000, bytes: RAM_BYTES - 0xc_0000 },
    ],
    kernel: {
      gfn_frame: (gfn, write) => m.k.gfn_frame(gfn, write),
      code_store: (gfn, first, last) => m.k.code_store(gfn, first, last),
      flush_everywhere: () => m.k.flush_everywhere(),
    },
  })
})

const load = (gpa: number): number => m.k.mem_load32(BigInt(gpa), abi.SEG_DS) >>> 0
const store = (gpa: number, value: number): void => m.k.mem_store32(BigInt(gpa), value, abi.SEG_DS)

describe('ranges', () => {
  it.each([
    [0, 1, true],
    [0x9_ffff, 1, true],
    [0x9_ffff, 2, false],
    [0xb_ffff, 2, false],
    [RAM_BYTES - 8, 8, true],
    [RAM_BYTES - 8, 9, false],
    [-1, 1, false],
    [2 ** 60, 1, false],
    [Number.NaN, 1, false],
    [2 ** 60, 0, true],
  ])('%d + %d is RAM: %s', (gpa, bytes, expected) => {
    expect(ram.contains(gpa, bytes)).toBe(expected)
    const read = (): unknown => ram.read(gpa, bytes)
    if (expected) expect(read).not.toThrow()
    else expect(read).toThrow(RangeError)
  })
})

describe('transfers', () => {
  it('cross pages whose frames are apart, and are what the vCPU sees', () => {
    m.k.gfn_frame(LAZY / PAGE + 1, 1)
    m.k.frame_alloc()
    const bytes = Uint8Array.from({ length: 3 * PAGE }, (_, i) => (i * 7) & 0xff)
    ram.write(LAZY + 5, bytes)
    expect(ram.read(LAZY + 5, bytes.length)).toEqual(bytes)
    expect(load(LAZY + 5 + 2 * PAGE)).toBe(new DataView(bytes.buffer).getUint32(2 * PAGE, true))
    const into = new Uint8Array(100)
    ram.readInto(LAZY + 5 + 4000, into)
    expect(into).toEqual(bytes.subarray(4000, 4100))
  })

  it('single accesses, aligned and not', () => {
    ram.storeU64(LAZY + PAGE - 3, 0x1122_3344_5566_7788n)
    expect(ram.loadU64(LAZY + PAGE - 3)).toBe(0x1122_3344_5566_7788n)
    expect([ram.loadU8(LAZY + PAGE - 3), ram.loadU16(LAZY + PAGE - 1), ram.loadU32(LAZY + PAGE)]).toEqual([
      0x88,
      0x5566,
      0x22_3344 * 256 + 0x55,
    ])
    ram.storeU16(LAZY + 2, 0xbeef)
    ram.storeU32(LAZY + 4, 0xdead_beef)
    ram.storeU8(LAZY + 1, 0x7f)
    expect(load(LAZY)).toBe(0xbeef_7f00)
    expect(load(LAZY + 4)).toBe(0xdead_beef)
  })

  it('a view is the frame itself, within one page only', () => {
    const view = ram.view(LAZY + 8, 16, 'write')
    view?.set([1, 2, 3, 4])
    expect(load(LAZY + 8)).toBe(0x0403_0201)
    expect(ram.view(LAZY + PAGE - 1, 2, 'read')).toBeUndefined()
  })

  it('reports writes to pages of code', () => {
    ram.storeU8(LAZY, 0)
    m.flagFrame(LAZY / PAGE, abi.FRAME_CODE)
    ram.write(LAZY + 0x10, new Uint8Array(4))
    // FRAME_CODE goes once nobody holds decoded code of the page, and here nobody does.
    expect(m.frame(LAZY / PAGE) & abi.FRAME_CODE).toBe(0)
  })

  it('marks dirty logs and copies shared frames like a vCPU', () => {
    ram.storeU32(LAZY, 0x55)
    const before = m.frame(LAZY / PAGE)
    m.flagFrame(LAZY / PAGE, abi.FRAME_SHARED | abi.FRAME_DIRTY_LOG)
    ram.storeU32(LAZY + 4, 1)
    const after = m.frame(LAZY / PAGE)
    expect(after & (abi.FRAME_SHARED | abi.FRAME_DIRTY_LOG)).toBe(0)
    expect(after & abi.FRAME_NUMBER_MASK).not.toBe(before & abi.FRAME_NUMBER_MASK)
    expect(ram.loadU32(LAZY)).toBe(0x55)
  })

  it('names the pool when it is empty', () => {
    m.view.setUint32(abi.POOL_FRAME_LIMIT, m.view.getUint32(abi.POOL_FRAME_NEXT, true), true)
    expect(() => ram.storeU8(LAZY, 1)).toThrow(FramePoolError)
  })
})

describe('ROM and shadow RAM', () => {
  const image = Uint8Array.from({ length: 2 * PAGE }, (_, i) => (i >> 4) & 0xff)
  const word = new DataView(image.buffer).getUint32(0x100, true)

  beforeEach(() => {
    store(ROM + 0x100, 0x1111_1111)
    ram.mapRom(ROM, image)
    m.k.tlb_flush_all()
  })

  it('reads the image, drops guest writes, and is no place for DMA', () => {
    expect(load(ROM + 0x100)).toBe(word)
    store(ROM + 0x100, 0)
    expect(load(ROM + 0x100)).toBe(word)
    expect(ram.contains(ROM, 4)).toBe(false)
    expect(m.get32(abi.CPU_REQ) & abi.REQ_TLB).not.toBe(0)
  })

  it('switches to the RAM behind it and back, each keeping its contents', () => {
    const switchTo = (read: boolean, write: boolean): void => {
      ram.setPam(ROM, ROM + 2 * PAGE, read, write)
      m.k.tlb_flush_all()
    }
    switchTo(true, true)
    expect(load(ROM + 0x100)).toBe(0x1111_1111)
    store(ROM + 0x100, 0x2222_2222)
    switchTo(true, false)
    store(ROM + 0x100, 0x3333_3333)
    expect(load(ROM + 0x100)).toBe(0x2222_2222)
    switchTo(false, false)
    expect(load(ROM + 0x100)).toBe(word)
    switchTo(true, true)
    expect(load(ROM + 0x100)).toBe(0x2222_2222)
  })

  it('read ROM, write RAM: the RAM begins as a copy of the ROM', () => {
    ram.setPam(ROM, ROM + 2 * PAGE, false, true)
    m.k.tlb_flush_all()
    expect(load(ROM + 0x100)).toBe(word)
    store(ROM + 0x104, 0x4444_4444)
    ram.setPam(ROM, ROM + 2 * PAGE, true, true)
    m.k.tlb_flush_all()
    expect([load(ROM + 0x100), load(ROM + 0x104)]).toEqual([word, 0x4444_4444])
  })

  it('leaves RAM without a ROM alone', () => {
    ram.setPam(0xc_0000, 0xc_4000, false, false)
    store(0xc_0000, 7)
    expect(load(0xc_0000)).toBe(7)
  })

  it('may be mapped again with other contents', () => {
    ram.mapRom(ROM, new Uint8Array(2 * PAGE).fill(0xaa))
    m.k.tlb_flush_all()
    expect(load(ROM + 0x100)).toBe(0xaaaa_aaaa)
  })
})
