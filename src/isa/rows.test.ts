import { describe, expect, it } from 'vitest'
import type { ArithFlag, Emit, FlagsOf, Ty, Val } from './emit.ts'
import { encodingOf } from './opcode.ts'
import { operandForms, operandInfo } from './operands.ts'
import { accessOf, placeOf, row, type Row } from './row.ts'
import { FAMILIES, ROWS } from './rows/index.ts'
import { SEMANTICS } from './semantics/index.ts'
import { buildOpcodeMap, candidateOf, isMoreSpecific, overlap, slotOf, type Candidate } from './tables.ts'

/** Pairs that accept the same bytes although neither is more specific. */
function ambiguities(rows: readonly Row[]): string[] {
  const found: string[] = []
  for (const [key, { candidates }] of buildOpcodeMap(rows)) {
    candidates.forEach((a: Candidate, i) => {
      for (const b of candidates.slice(i + 1)) {
        if (overlap(a, b) && !isMoreSpecific(a, b))
          found.push(`${key.toString(16)}: ${a.row.id} and ${b.row.id}`)
      }
    })
  }
  return found
}

describe('rows', () => {
  it('have unique ids over all families', () => {
    const ids = FAMILIES.flatMap((family) => Object.keys(family))
    expect(ids.filter((id, i) => ids.indexOf(id) !== i)).toEqual([])
    expect(ids.length).toBe(ROWS.length)
  })

  it('have one semantic function each, and no function is left over', () => {
    const ids = new Set(ROWS.map(({ id }) => id))
    expect(ROWS.filter(({ id }) => !SEMANTICS[id]).map(({ id }) => id)).toEqual([])
    expect(Object.keys(SEMANTICS).filter((id) => !ids.has(id))).toEqual([])
  })

  it('never match the same bytes unless one is more specific', () => {
    expect(ambiguities(ROWS)).toEqual([])
  })

  it('are told apart: a planted second ADD is reported', () => {
    const planted: Row = { id: 'planted', ...row('add', '01 /r', ['rw:rmv', 'r:rv'], 'r=- w=- u=- 0=- 1=-') }
    expect(ambiguities([...ROWS, planted])).toEqual(['1: add_rmv_rv and planted'])
  })

  it('accept a register or memory exactly as their operands do', () => {
    const wrong = ROWS.filter((r) => {
      const encoding = encodingOf(r)
      if (!encoding.modrm) return false
      const forms = operandForms(r)
      const hasRm = r.operands.some((operand) => ['rm', 'mem'].includes(slotOf(placeOf(operand))))
      return hasRm && (encoding.register !== forms.register || encoding.memory !== forms.memory)
    })
    expect(wrong.map(({ id }) => id)).toEqual([])
  })

  it('name immediates in the opcode column that the operands have', () => {
    const wrong = ROWS.filter((r) => {
      const named = /\b(i[bwdozv]|c[bwdp]|moffs)\b/.test(r.op.replace(/^(\S+ )*?[0-9A-F]{2}/, ''))
      return named !== r.operands.some((operand) => slotOf(placeOf(operand)) === 'imm')
    })
    expect(wrong.map(({ id, op }) => `${id}: ${op}`)).toEqual([])
  })

  it('put a flag in one column only', () => {
    const wrong = ROWS.filter(({ flags }) => {
      const all = [...flags.w, ...flags.u, ...flags.cleared, ...flags.set]
      return new Set(all).size !== all.length
    })
    expect(wrong.map(({ id }) => id)).toEqual([])
  })

  it('allow LOCK only with a memory destination', () => {
    const wrong = ROWS.filter(
      (r) => r.lock && !(encodingOf(r).memory && r.operands.some((o) => accessOf(o) === 'rw')),
    )
    expect(wrong.map(({ id }) => id)).toEqual([])
  })

  it('end their block where control or mode may change', () => {
    const ids = ['jmp_relz', 'ret', 'popf', 'mov_sreg_rm16', 'mov_cr_r64', 'lgdt_m', 'iret', 'hlt', 'syscall']
    expect(ids.filter((id) => !ROWS.find((r) => r.id === id)?.ends)).toEqual([])
    expect(ROWS.filter((r) => /^j[a-z]+_rel/.test(r.id) && r.mnemonic !== 'jmp' && r.ends)).toEqual([])
  })
})

// --- flags: what the semantic function writes against the row's columns ------------------------------------------

const ALL: readonly ArithFlag[] = ['cf', 'pf', 'af', 'zf', 'sf', 'of']

/** Runs a semantic function on values that know nothing but their type, and records which flags it writes. */
function flagsWritten(r: Row, width: Row['widths'][number], memory: boolean): Set<ArithFlag> | undefined {
  const written = new Set<ArithFlag>()
  let opaque = false
  const val = (ty: Ty): Val => ({ ty })
  const own = ({ 8: 'i8', 16: 'i16', 32: 'i32', 64: 'i64', 0: 'i64' } as const)[width]
  const info = (i: number): ReturnType<typeof operandInfo> => {
    const operand = r.operands[i]
    if (!operand) throw new Error(`${r.id} has no operand ${i}`)
    return operandInfo(operand, width)
  }
  const special: Partial<Record<keyof Emit, unknown>> = {
    width,
    ty: own,
    mem: memory,
    const: (ty: Ty) => val(ty),
    read: (i: number) => val(info(i).ty),
    modify: (i: number, compute: (old: Val) => Val) => {
      const old = val(info(i).ty)
      return { old, value: compute(old) }
    },
    isMemory: () => memory,
    load: (ty: Ty) => val(ty),
    loadAt: (ty: Ty) => val(ty),
    getCpu: (ty: Ty) => val(ty),
    reg: (_: string, ty: Ty = 'i64') => val(ty),
    regHigh: () => val('i8'),
    peek: (ty: Ty) => val(ty),
    pop: (ty: Ty) => val(ty),
    zext: (_: Val, ty: Ty) => val(ty),
    sext: (_: Val, ty: Ty) => val(ty),
    trunc: (_: Val, ty: Ty) => val(ty),
    op: (_: string, ty: Ty) => val(ty),
    select: (_: Val, a: Val) => a,
    flag: () => val('i32'),
    cond: () => val('i32'),
    linear: () => val('i64'),
    offset: () => val('i64'),
    nextRip: () => val('i64'),
    cell: (initial: Val) => ({ get: () => initial, set: () => {} }),
    loop: (body: () => Val) => void body(),
    if_: (_: Val, then: () => void, otherwise?: () => void) => {
      then()
      otherwise?.()
    },
    branchTo: (_: Val, commit?: () => void) => commit?.(),
    branchRel: (_: Val | undefined, commit?: () => void) => commit?.(),
    call: (name: string) => {
      opaque ||=
        !/^(sys_(in|out|rd|sgdt|sidt|sldt|str|smsw|mov_from)|mem_|mul64|pdep|pext|crc32c|cmpxchg16b|sys_ver|sys_lar|sys_lsl)/.test(
          name,
        )
      return val(/64|sys_lar|sys_lsl|sys_rd|sys_sgdt$|sys_sidt$|sys_smsw|mov_from/.test(name) ? 'i64' : 'i32')
    },
    setFlags: (of: FlagsOf) => {
      for (const name of ALL) if (name !== 'cf' || (of.kind !== 'inc' && of.kind !== 'dec')) written.add(name)
    },
    setFlagBits: (bits: object) => {
      for (const name of Object.keys(bits)) written.add(name as ArithFlag)
    },
  }
  const comparisons = new Set<string>([
    'eq',
    'ne',
    'ltU',
    'ltS',
    'leU',
    'leS',
    'isZero',
    'msb',
    'addressOf',
    'scratch',
    'rep',
    'addressBytes',
    'seg',
  ])
  const emit = new Proxy(special, {
    get: (target, name: string) =>
      name in target
        ? target[name as keyof Emit]
        : (a?: Val) => (comparisons.has(name) ? val('i32') : val(a?.ty ?? 'i64')),
  }) as Emit
  SEMANTICS[r.id]?.(emit)
  return opaque ? undefined : written
}

describe('flag columns', () => {
  const integerRows = FAMILIES.slice(0, 8).flatMap((family) => Object.values<Row>(family))

  it('are what the semantic functions write', () => {
    const wrong: string[] = []
    let checked = 0
    for (const r of integerRows) {
      const { register, memory } = operandForms(r)
      for (const width of r.widths) {
        for (const form of [...(register ? [false] : []), ...(memory ? [true] : [])]) {
          const written = flagsWritten(r, width, form)
          if (!written) continue
          checked++
          const must = [...r.flags.w, ...r.flags.cleared, ...r.flags.set].filter((f): f is ArithFlag =>
            ALL.includes(f as ArithFlag),
          )
          const may = new Set<string>([...must, ...r.flags.u])
          const missing = must.filter((f) => !written.has(f))
          const extra = [...written].filter((f) => !may.has(f))
          if (missing.length || extra.length)
            wrong.push(`${r.id}/${width}: missing ${missing.join()} extra ${extra.join()}`)
        }
      }
    }
    expect(wrong).toEqual([])
    expect(checked).toBeGreaterThan(800)
  })
})

describe('candidates', () => {
  it('keep legacy-only rows out of 64-bit code and VEX rows out of real mode', () => {
    const accepts = (id: string): bigint => {
      const found = ROWS.find((r) => r.id === id)
      return found ? candidateOf(found).accepts : 0n
    }
    expect(accepts('daa') & 0x700n).toBe(0x600n)
    expect(accepts('swapgs') & 0x700n).toBe(0x100n)
    expect(accepts('andn_ry_vy_rmy') & 0x700n).toBe(0x300n)
    expect(accepts('lldt_rm16') & 0x700n).toBe(0x300n)
  })
})
