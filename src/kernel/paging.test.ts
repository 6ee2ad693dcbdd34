/**
 * Random page tables and control bits against a second, slow reading of SDM Vol. 3, "Paging": verdict, error code,
 * accessed and dirty bits, for 4-level, PAE and 2-level paging.
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
const XD = 1n << 63n
const ROUNDS = 6000
const DATA = 0x20_0000
const TABLES = [0x8_0000, 0x8_1000, 0x8_2000, 0x8_3000] as const

type Access = 'read' | 'write' | 'fetch'

interface Setting {
  readonly levels: 2 | 3 | 4
  readonly user: boolean
  readonly wp: boolean
  readonly smep: boolean
  readonly smap: boolean
  readonly ac: boolean
  readonly nxe: boolean
  readonly pse: boolean
  readonly access: Access
}

interface Verdict {
  readonly error: number | undefined
  /** Entries after the access, top level first. */
  readonly entries: readonly bigint[]
}

/** What the SDM says about an access through these entries (top level first; PAE without its PDPTE). */
function judge(entries: readonly bigint[], s: Setting): Verdict {
  const write = s.access === 'write'
  const fetch = s.access === 'fetch'
  const flags = (write ? 2 : 0) | (s.user ? 4 : 0) | (fetch && (s.smep || (s.levels !== 2 && s.nxe)) ? 16 : 0)
  const faults = (error: number): Verdict => ({ error: error | flags, entries })
  let [writable, user, executable] = [true, true, true]
  let used = 0
  for (const entry of entries) {
    const level = entries.length - used
    used++
    if ((entry & P) === 0n) return faults(0)
    const large = level > 1 && (entry & PS) !== 0n && (s.levels !== 2 || s.pse)
    if (s.levels !== 2) {
      const high = s.levels === 4 ? ((1n << 12n) - 1n) << 40n : ((1n << 23n) - 1n) << 40n
      if ((entry & high) !== 0n || ((entry & XD) !== 0n && !s.nxe) || (level === 4 && (entry & PS) !== 0n))
        return faults(9)
      if (large && (entry & ((1n << BigInt(3 + 9 * level)) - 0x2000n)) !== 0n) return faults(9)
    } else if (large && (entry & (1n << 21n)) !== 0n) return faults(9)
    writable &&= (entry & W) !== 0n
    user &&= (entry & U) !== 0n
    executable &&= s.levels === 2 || (entry & XD) === 0n
    if (large || level === 1) break
  }
  const allowed = s.user
    ? user && (!write || writable) && (!fetch || executable)
    : fetch
      ? executable && !(user && s.smep)
      : !(user && s.smap && !s.ac) && (!write || writable || !s.wp)
  if (!allowed) return faults(1)
  const after = entries.map((entry, i) =>
    i >= used ? entry : entry | A | (write && i === used - 1 ? D : 0n),
  )
  return { error: undefined, entries: after }
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => a.every((byte, i) => byte === b[i])

let module: WebAssembly.Module

beforeAll(async () => {
  module = await compileSystem()
}, 120_000)

describe.each([
  { levels: 4 as const, lin: 0x1234_5678_9abcn & 0x7fff_ffff_f000n },
  { levels: 3 as const, lin: 0x5678_9000n },
  { levels: 2 as const, lin: 0x5678_9000n },
])('$levels levels', ({ levels, lin }) => {
  it('agrees with the model', () => {
    const m = new SystemMachine(module)
    const source = new Random(`paging ${levels}`)
    const random = (below: number): number => source.below(below)
    const coin = (odds = 2): boolean => random(odds) === 0
    const count = levels === 3 ? 2 : levels
    const seen = new Map<string, number>()
    for (let round = 0; round < ROUNDS; round++) {
      const setting: Setting = {
        levels,
        user: coin(), wp: coin(), smep: coin(), smap: coin(), ac: coin(), nxe: coin(), pse: coin(),
        access: (['read', 'write', 'fetch'] as const)[random(3)] ?? 'read',
      } // prettier-ignore
      const large = coin(3) ? 1 + random(count - 1) : 0 // levels from the leaf table at which a large page sits
      const entries = Array.from({ length: count }, (_, i) => {
        const level = count - i
        const leaf = i === count - 1 || (level === large + 1 && (levels !== 2 || setting.pse))
        const target = leaf ? (level > 1 ? 0 : DATA) : (TABLES[i + 1] ?? 0)
        let entry = BigInt(target)
        if (!coin(12)) entry |= P
        if (!coin(4)) entry |= W
        if (!coin(3)) entry |= U
        if (coin()) entry |= A
        if (coin(3)) entry |= D
        if (level > 1 && level === large + 1) entry |= PS
        if (levels !== 2 && coin(6)) entry |= XD
        if (levels !== 2 && coin(25)) entry |= 1n << BigInt(40 + random(12))
        if (levels === 3 && coin(40)) entry |= 1n << BigInt(52 + random(10))
        if (leaf && (entry & PS) !== 0n && coin(10)) entry |= 1n << BigInt(levels === 2 ? 21 : 13 + random(4))
        return entry
      })
      place(m, setting, entries, lin)
      const expected = judge(entries, setting)
      const before = m.visible()
      perform(m, setting.access, lin)
      const fault = m.takeFault()
      // Large pages may lead out of RAM, where a fetch finds no instruction: translated all the same.
      const error = fault?.vector === 14 ? fault.error : undefined
      const got = collect(m, entries.length)
      const same = error === expected.error && got.every((entry, i) => entry === expected.entries[i])
      if (!same) expect({ round, setting, error, entries: got }).toEqual({ round, setting, ...expected })
      if (error !== undefined && (fault?.gva !== lin || !equal(before, m.visible()))) {
        expect({ round, setting, gva: fault?.gva }).toEqual({
          round,
          setting,
          gva: lin,
          visible: 'unchanged',
        })
      }
      const kind = String(expected.error)
      seen.set(kind, (seen.get(kind) ?? 0) + 1)
    }
    // the cases reach success and each kind of fault
    expect(seen.size).toBeGreaterThan(levels === 2 ? 8 : 14)
  })

  const slot = (i: number): number => {
    const level = (levels === 3 ? 2 : levels) - i
    const bits = levels === 2 ? 10n : 9n
    const index = (lin >> (12n + bits * BigInt(level - 1))) & ((1n << bits) - 1n)
    return (TABLES[i] ?? 0) + Number(index) * (levels === 2 ? 4 : 8)
  }

  function place(m: SystemMachine, s: Setting, entries: readonly bigint[], at: bigint): void {
    entries.forEach((entry, i) =>
      levels === 2 ? m.write32(slot(i), Number(entry)) : m.write64(slot(i), entry),
    )
    m.set64(abi.CPU_CR0, 0x8000_0011n | (s.wp ? 1n << 16n : 0n))
    m.set64(abi.CPU_CR3, TABLES[0])
    const cr4 =
      (levels === 2 ? (s.pse ? 0x10n : 0n) : 0x20n) | (s.smep ? 1n << 20n : 0n) | (s.smap ? 1n << 21n : 0n)
    m.set64(abi.CPU_CR4, cr4)
    m.set64(abi.CPU_EFER, (levels === 4 ? 0x500 : 0) | (s.nxe ? 0x800 : 0))
    m.set64(abi.CPU_PDPTE + 8 * Number((at >> 30n) & 3n), BigInt(TABLES[0]) | 1n)
    m.setSeg(abi.SEG_CS, 8, 0, 0xffff_ffff, levels === 4 ? 0xa9b : 0xc9b)
    m.set32(abi.CPU_CPL, s.user ? 3 : 0)
    m.set32(abi.CPU_EFLAGS, 2 | (s.ac ? 1 << 18 : 0))
    m.k.update_mode()
    m.k.tlb_flush_all()
  }

  function perform(m: SystemMachine, access: Access, at: bigint): void {
    if (access === 'read') m.k.mem_load8(at, abi.SEG_DS)
    else if (access === 'write') m.k.mem_store8(at, 1, abi.SEG_DS)
    else m.k.mmu_exec_page(at)
  }

  function collect(m: SystemMachine, count: number): bigint[] {
    return Array.from({ length: count }, (_, i) =>
      levels === 2 ? BigInt(m.read32(slot(i)) >>> 0) : m.read64(slot(i)),
    )
  }
})
