/** tlb_protect() finds every entry that may write a frame, and touches no other: against a look at the whole TLB. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import { Random } from '#testkit/oracle/random.ts'
import { compileSystem, CR3, SystemMachine } from './testing/system-machine.ts'

/** Present, writable, user, accessed, dirty. */
const ALL = 0x67n
const CR4_PAE_PCIDE = 0x2_0020n
const DS = abi.SEG_DS
const NEVER = 0xffff_ffff_ffff_ffffn
const LIN = 0x7f_0000_0000n
const PAGES = 12
const PCIDS = 3
const GFN = 0x200
/** Frames whose numbers fall into the same bucket as that of GFN, behind the machine's memory. */
const FAR_FRAMES = [1, 2].map((high) => (high << 12) | ((0x600 + GFN) ^ high))
const FAR_GFN = 0x900

let module: WebAssembly.Module
let m: SystemMachine

beforeAll(async () => {
  module = await compileSystem()
}, 120_000)

beforeEach(() => {
  m = new SystemMachine(module)
  m.memory.grow(512)
  m.longMode(0)
  for (const [i, frame] of FAR_FRAMES.entries()) {
    m.setFrame(FAR_GFN + i, abi.FRAME_PRESENT | abi.FRAME_RAM | frame)
  }
  m.k.sys_mov_to_cr(4, CR4_PAE_PCIDE)
})

const GFNS = [GFN, GFN + 1, FAR_GFN, FAR_GFN + 1]
const hostOf = (gfn: number): number => (m.frame(gfn) & abi.FRAME_NUMBER_MASK) * 4096
const lin = (page: number): bigint => LIN + BigInt(page) * 0x1000n

/** Maps a page to a frame in the address space in force and writes to it. */
function write(page: number, gfn: number): void {
  m.map64(CR3, lin(page), gfn * 0x1000, ALL)
  m.k.sys_invlpg(lin(page))
  m.k.mem_store32(lin(page), 1, DS)
  expect(m.takeFault()).toBeUndefined()
}

/** "entry: host" of all entries with a write tag that the pages' indices have, in every slot and bank. */
function writable(): string[] {
  const found: string[] = []
  const banks = m.get32(abi.CPU_TLB_BANKS)
  for (let bank = 0; bank < m.get32(abi.CPU_TLB_USED) * abi.TLB_SLOT_BANKS; bank++) {
    for (let page = 0; page < PAGES; page++) {
      const entry = banks + bank * abi.TLB_BANK_SIZE + page * 32
      const tag = m.view.getBigUint64(entry + abi.TLB_WRITE, true)
      const host = m.view.getUint32(entry + abi.TLB_HOST, true) + Number(tag & 0xffff_ffffn)
      if (tag !== NEVER) found.push(`${entry.toString(16)}: ${host >>> 0}`)
    }
  }
  return found
}

function protect(gfn: number): void {
  const rest = writable().filter((item) => !item.endsWith(` ${hostOf(gfn)}`))
  m.k.tlb_protect(hostOf(gfn))
  expect(writable()).toEqual(rest)
}

describe('tlb_protect', () => {
  it('takes the write permission of a frame that is mapped many times', () => {
    for (let page = 0; page < PAGES; page++) write(page, GFN)
    expect(writable()).toHaveLength(PAGES)
    protect(GFN)
    expect(writable()).toEqual([])
  })

  it('knows the frames that share a bucket apart', () => {
    for (let page = 0; page < PAGES; page++) write(page, GFNS[page % 4] ?? GFN)
    protect(FAR_GFN)
    expect(writable()).toHaveLength((PAGES * 3) / 4)
    protect(GFN)
    protect(FAR_GFN + 1)
    expect(writable()).toHaveLength(PAGES / 4)
  })

  it('finds what was mapped, dropped and mapped again, whatever was before', () => {
    const random = new Random('writers')
    let seen = 0
    for (let round = 0; round < 20_000; round++) {
      const what = random.below(20)
      if (what < 14) write(random.below(PAGES), GFNS[random.below(4)] ?? GFN)
      else if (what < 16) m.k.sys_mov_to_cr(3, BigInt(CR3) | BigInt(random.below(PCIDS)) | (1n << 63n))
      else if (what < 17) m.k.tlb_flush_page(lin(random.below(PAGES)))
      else {
        seen += writable().length
        protect(GFNS[random.below(4)] ?? GFN)
      }
    }
    expect(seen).toBeGreaterThan(10_000)
  })
})
