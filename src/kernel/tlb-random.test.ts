/**
 * Random changes of page tables under more PCIDs than the TLB has slots, against a model of what may be cached: every
 * access must return what the tables say, or said since the last invalidation that covers it (SDM Vol. 3, "Operations
 * that Invalidate TLBs and Paging-Structure Caches").
 */
import { beforeAll, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import { Random } from '#testkit/oracle/random.ts'
import { compileSystem, SystemMachine } from './testing/system-machine.ts'

const P = 1n
const W = 2n
const U = 4n
const A = 0x20n
const D = 0x40n
const PS = 0x80n
const G = 0x100n
const KEEP = 1n << 63n
const CR4_PAE_PGE = 0xa0n
const CR4_PCIDE = 0x2_0000n
const DS = abi.SEG_DS
/** Shares its place in the TLB with a page of the first and the last region. */
const GLOBAL = -0x8000_0000_0000n + 0x5000n
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

describe('random remapping under twelve PCIDs', () => {
  const PCIDS = 12
  const PAGES = [5, 9] // indices within a 2 MiB region
  const REGIONS = [0x4000_0000n, 0x4020_0000n, 0x4100_0000n]
  const TABLES = 2

  interface Space {
    readonly root: number
    /** gpa of page tables to choose from, per region. */
    readonly tables: number[][]
    /** Per region: the tables that may be cached for it since the last invalidation, the present one included. */
    readonly mayTables: Set<number>[]
    /** Per region and page: translations that may be cached ("L" behind the gpa: piece of a large page). */
    readonly may: Set<string>[][]
  }
  const FLAGS = P | W | U | A | D
  let source: Random
  const random = (below: number): number => source.below(below)
  let spaces: Space[]
  let current: number
  let next: number
  /** The global page. */
  let mayGlobal: Set<string>

  const table = (): number => {
    const at = next
    next += 0x1000
    for (let i = 0; i < 4096; i += 8) m.write64(at + i, 0n)
    return at
  }
  const lin = (region: number, page: number): bigint =>
    (REGIONS[region] ?? 0n) + BigInt((PAGES[page] ?? 0) << 12)
  const pde = (s: Space, region: number): number => m.entry64(s.root, REGIONS[region] ?? 0n, 2)

  /** What the tables say now. */
  function truth(s: Space, region: number, page: number): string | undefined {
    const entry = m.read64(pde(s, region))
    if ((entry & P) === 0n) return undefined
    const index = PAGES[page] ?? 0
    if (entry & PS) return `${Number(entry & 0xffe0_0000n) + index * 0x1000}L`
    const pte = m.read64(Number(entry & 0xffff_f000n) + index * 8)
    return pte & P ? String(Number(pte & 0xffff_f000n)) : undefined
  }
  /** After a change of tables: what they say now may be cached from now on. */
  function note(s: Space): void {
    for (const region of REGIONS.keys()) {
      const entry = m.read64(pde(s, region))
      if (entry & P && !(entry & PS)) s.mayTables[region]?.add(Number(entry & 0xffff_f000n))
      for (const page of PAGES.keys()) {
        const now = truth(s, region, page)
        if (now !== undefined) s.may[region]?.[page]?.add(now)
        for (const at of s.mayTables[region] ?? []) {
          const pte = m.read64(at + (PAGES[page] ?? 0) * 8)
          if (pte & P) s.may[region]?.[page]?.add(String(Number(pte & 0xffff_f000n)))
        }
      }
    }
  }
  function forgetTables(s: Space): void {
    s.mayTables.forEach((tables) => tables.clear())
  }
  function forgetAll(s: Space): void {
    forgetTables(s)
    s.may.forEach((region) => region.forEach((set) => set.clear()))
    note(s)
  }
  function forgetPage(s: Space, region: number, page: number): void {
    forgetTables(s)
    const large = [...(s.may[region]?.[page] ?? [])].some((item) => item.endsWith('L'))
    s.may[region]?.[page]?.clear()
    if (large)
      s.may[region]?.forEach((set) => {
        for (const item of set) if (item.endsWith('L')) set.delete(item)
      })
    note(s)
  }

  const space = (i: number): Space => {
    const found = spaces[i]
    if (found === undefined) throw new Error(`no space ${i}`)
    return found
  }

  function build(): void {
    next = 0x14_0000 // behind the tables of the machine itself
    const shared = table()
    spaces = Array.from({ length: PCIDS }, () => {
      const root = table()
      const [pdpt, pd] = [table(), table()]
      m.write64(root, BigInt(pdpt) | FLAGS)
      m.write64(pdpt + 8, BigInt(pd) | FLAGS)
      m.write64(root + 256 * 8, BigInt(shared) | FLAGS)
      const tables = REGIONS.map(() => Array.from({ length: TABLES }, () => table()))
      REGIONS.forEach((lin, region) =>
        m.write64(pd + Number((lin >> 21n) & 511n) * 8, BigInt(tables[region]?.[0] ?? 0) | FLAGS),
      )
      return {
        root,
        tables,
        mayTables: REGIONS.map(() => new Set<number>()),
        may: REGIONS.map(() => PAGES.map(() => new Set<string>())),
      }
    })
    m.map64(space(0).root, GLOBAL, data(0), P | W | A | D | G)
    mayGlobal = new Set([String(data(0))])
    current = 0
    m.set64(abi.CPU_CR4, CR4_PAE_PGE)
    m.k.sys_mov_to_cr(3, BigInt(space(0).root))
    m.k.sys_mov_to_cr(4, CR4_PAE_PGE | CR4_PCIDE)
  }

  let stale = 0
  function access(): void {
    const s = space(current)
    const [region, page] = [random(REGIONS.length), random(PAGES.length)]
    m.set32(abi.CPU_CPL, random(2) * 3)
    m.k.update_mode()
    const got = read(lin(region, page))
    const fault = m.takeFault()
    m.set32(abi.CPU_CPL, 0)
    m.k.update_mode()
    const now = truth(s, region, page)
    const found = fault ? undefined : got - 1
    if (now !== undefined && found === Number.parseInt(now, 10)) return
    if (now === undefined && found === undefined) return
    stale++
    const allowed = [...(s.may[region]?.[page] ?? [])].map((item) => Number.parseInt(item, 10))
    expect(allowed, `pcid ${current} region ${region} page ${page}, now ${now}`).toContain(found)
  }
  function accessGlobal(): void {
    const got = read(GLOBAL)
    expect(m.takeFault()).toBeUndefined()
    expect([...mayGlobal]).toContain(String(got - 1))
  }
  function change(): void {
    const s = space(random(PCIDS))
    const [region, page] = [random(REGIONS.length), random(PAGES.length)]
    const what = random(10)
    if (what < 6) {
      const at = (s.tables[region]?.[random(TABLES)] ?? 0) + (PAGES[page] ?? 0) * 8
      m.write64(at, random(4) === 0 ? 0n : BigInt(data(random(16))) | FLAGS)
    } else if (what < 8) m.write64(pde(s, region), BigInt(s.tables[region]?.[random(TABLES)] ?? 0) | FLAGS)
    else if (what < 9) m.write64(pde(s, region), BigInt(random(2) * 0x20_0000) | FLAGS | PS)
    else {
      const gpa = data(random(16))
      m.write64(m.entry64(space(0).root, GLOBAL), BigInt(gpa) | P | W | A | D | G)
      mayGlobal.add(String(gpa))
    }
    note(s)
  }
  function globalNow(): void {
    const pte = m.read64(m.entry64(space(0).root, GLOBAL))
    mayGlobal = new Set([String(Number(pte & 0xffff_f000n))])
  }
  function invalidate(): void {
    const what = random(12)
    const pcid = random(PCIDS)
    const [region, page] = [random(REGIONS.length), random(PAGES.length)]
    if (what < 4) {
      m.k.sys_invlpg(lin(region, page))
      forgetPage(space(current), region, page)
    } else if (what < 5) {
      m.k.sys_invlpg(GLOBAL)
      forgetTables(space(current))
      globalNow()
    } else if (what < 7) {
      m.k.sys_invpcid(0n, BigInt(pcid), lin(region, page))
      forgetPage(space(pcid), region, page)
    } else if (what < 9) {
      m.k.sys_invpcid(1n, BigInt(pcid), 0n)
      forgetAll(space(pcid))
    } else if (what < 10) {
      m.k.sys_invpcid(3n, 0n, 0n)
      spaces.forEach(forgetAll)
    } else if (what < 11) {
      m.k.sys_invpcid(2n, 0n, 0n)
      spaces.forEach(forgetAll)
      globalNow()
    } else {
      m.k.tlb_flush_all()
      spaces.forEach(forgetAll)
      globalNow()
    }
    // what another space may have cached of its tables comes back with the next walk
    spaces.forEach(note)
    expect(m.takeFault()).toBeUndefined()
  }
  function switchSpace(): void {
    current = random(PCIDS)
    const keep = random(8) !== 0
    cr3(space(current).root, current, keep)
    if (!keep) forgetAll(space(current))
    expect(m.takeFault()).toBeUndefined()
  }

  it('returns what the tables say, or said since the last invalidation that covers it', () => {
    start()
    source = new Random('tlb')
    build()
    spaces.forEach(note)
    for (let round = 0; round < 60_000; round++) {
      const what = random(40)
      if (what < 20) access()
      else if (what < 24) accessGlobal()
      else if (what < 31) change()
      else if (what < 32) invalidate()
      else switchSpace()
    }
    // the TLB did keep what it may keep
    expect(stale).toBeGreaterThan(250)
  })
})
