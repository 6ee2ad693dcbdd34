/** Write permission is taken from the TLBs that may have it, and from no others. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import { compileSystem, SystemMachine, VM } from './testing/system-machine.ts'

const GFN = 0x200
const LIN = 0x20_0000n
const OTHER_CPU = 0x4f_0000
const DS = abi.SEG_DS

let module: WebAssembly.Module
let m: SystemMachine

beforeAll(async () => {
  module = await compileSystem()
}, 120_000)

beforeEach(() => {
  m = new SystemMachine(module)
  m.protectedMode(0)
})

const flags = (gfn = GFN): number => m.frame(gfn) & (abi.FRAME_CODE | abi.FRAME_WRITABLE)
const writable = (lin: bigint): boolean => {
  const entry = m.get32(abi.CPU_TLB) + (Number(lin >> 12n) & (abi.TLB_ENTRIES - 1)) * 32
  return m.view.getBigUint64(entry + abi.TLB_WRITE, true) === lin
}
const hostOf = (gfn: number): number => (m.frame(gfn) & abi.FRAME_NUMBER_MASK) * 4096

describe('one vCPU', () => {
  it('marks a page when the TLB gets its first write tag, not before', () => {
    m.k.mem_load8(LIN, DS)
    // identity mapping allows everything, so a read enters the write tag as well
    expect([writable(LIN), flags()]).toEqual([true, abi.FRAME_WRITABLE])
    m.flagFrame(GFN + 1, abi.FRAME_CODE)
    m.k.mem_load8(LIN + 0x1000n, DS)
    expect([writable(LIN + 0x1000n), flags(GFN + 1)]).toEqual([false, abi.FRAME_CODE])
  })

  it('takes the write tag, and says that the page is watched', () => {
    m.k.mem_store8(LIN, 1, DS)
    expect(m.k.is_watched(GFN)).toBe(0)
    expect(m.k.watch_page(GFN)).toBe(1)
    expect([writable(LIN), flags(), m.k.is_watched(GFN)]).toEqual([false, abi.FRAME_CODE, 1])
  })

  it('leaves the TLB alone when nobody may write the page', () => {
    m.k.mem_store8(LIN + 0x1000n, 1, DS)
    expect(m.k.watch_page(GFN)).toBe(1)
    expect([flags(), writable(LIN + 0x1000n)]).toEqual([abi.FRAME_CODE, true])
  })

  it('a write reports the code and makes the page writable again', () => {
    m.k.mem_store8(LIN, 1, DS)
    m.k.watch_page(GFN)
    m.k.mem_store8(LIN, 2, DS)
    m.k.mem_store8(LIN, 3, DS)
    expect([writable(LIN), flags()]).toEqual([true, abi.FRAME_WRITABLE])
  })

  it('serves the list of frames, and drops everything when it was too short', () => {
    for (const page of [0n, 1n, 2n]) m.k.mem_store8(LIN + page * 0x1000n, 1, DS)
    m.set32(abi.CPU_PROTECT_COUNT, 2)
    m.set32(abi.CPU_PROTECT, hostOf(GFN))
    m.set32(abi.CPU_PROTECT + 4, hostOf(GFN + 2))
    m.k.protect_pending()
    expect([0n, 1n, 2n].map((page) => writable(LIN + page * 0x1000n))).toEqual([false, true, false])
    m.set32(abi.CPU_PROTECT_COUNT, abi.CPU_PROTECT_MAX + 1)
    m.k.protect_pending()
    expect(writable(LIN + 0x1000n)).toBe(false)
    expect(m.get32(abi.CPU_PROTECT_COUNT)).toBe(0)
  })
})

describe('two vCPUs', () => {
  const other = (offset: number): number => m.view.getUint32(OTHER_CPU + offset, true)
  beforeEach(() => {
    m.view.setUint32(VM + abi.VM_VCPU_COUNT, 2, true)
    m.view.setUint32(VM + abi.VM_CPU_PTRS + 4, OTHER_CPU, true)
    m.k.mem_store8(LIN, 1, DS)
  })

  it('tells the other one the frame, and does not wait while it is out of the guest', () => {
    expect(m.k.watch_page(GFN)).toBe(1)
    expect(other(abi.CPU_REQ)).toBe(abi.REQ_PROTECT)
    expect([other(abi.CPU_PROTECT_COUNT), other(abi.CPU_PROTECT)]).toEqual([1, hostOf(GFN)])
    expect(flags()).toBe(abi.FRAME_CODE)
  })

  it('asks nobody when the page was never written', () => {
    expect(m.k.watch_page(GFN + 1)).toBe(1)
    expect(other(abi.CPU_REQ)).toBe(0)
  })

  it('waits for one that runs, and is itself out of the guest meanwhile', () => {
    m.view.setUint32(OTHER_CPU + abi.CPU_IN_GUEST, 1, true)
    m.set32(abi.CPU_IN_GUEST, 1)
    let waits = 0
    m.onWait = () => {
      waits++
      expect([m.get32(abi.CPU_IN_GUEST), m.k.is_watched(GFN)]).toEqual([0, 0])
      if (waits === 3) m.view.setUint32(OTHER_CPU + abi.CPU_REQ, 0, true)
    }
    expect(m.k.watch_page(GFN)).toBe(0)
    expect([waits, m.get32(abi.CPU_IN_GUEST), m.k.is_watched(GFN)]).toEqual([3, 1, 1])
  })

  it('does not take the page for watched while another shootdown goes on', () => {
    m.view.setUint32(VM + abi.VM_SHOOTDOWNS, 1, true)
    m.k.watch_page(GFN)
    expect(m.k.is_watched(GFN)).toBe(0)
    m.view.setUint32(VM + abi.VM_SHOOTDOWNS, 0, true)
    m.k.watch_page(GFN)
    expect(m.k.is_watched(GFN)).toBe(1)
  })

  it('drops everything on a list that overflows', () => {
    for (let i = 0; i < 40; i++) {
      m.k.mem_store8(LIN + BigInt(i) * 0x1000n, 1, DS)
      m.k.watch_page(GFN + i)
    }
    expect(other(abi.CPU_PROTECT_COUNT)).toBe(abi.CPU_PROTECT_MAX + 1)
  })

  it('serves its own list when it comes back from waiting', () => {
    m.k.mem_store8(LIN + 0x1000n, 1, DS)
    m.view.setUint32(OTHER_CPU + abi.CPU_IN_GUEST, 1, true)
    m.onWait = () => {
      m.set32(abi.CPU_PROTECT_COUNT, 1)
      m.set32(abi.CPU_PROTECT, hostOf(GFN + 1))
      m.set32(abi.CPU_REQ, m.get32(abi.CPU_REQ) | abi.REQ_PROTECT)
      m.view.setUint32(OTHER_CPU + abi.CPU_REQ, 0, true)
    }
    m.k.watch_page(GFN)
    expect([writable(LIN + 0x1000n), m.get32(abi.CPU_REQ) & abi.REQ_PROTECT]).toEqual([false, 0])
  })
})
