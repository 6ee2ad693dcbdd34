/** What the emitter makes of small semantic functions: the shape of the code, where running it would not show it. */
import { describe, expect, it } from 'vitest'
import type { Emit, Semantics } from '../../isa/emit.ts'
import type { Form } from '../../isa/handlers.ts'
import { ROWS } from '../../isa/rows/index.ts'
import { SEMANTICS } from '../../isa/semantics/index.ts'
import { CodeBuilder } from '../../wasm/code.ts'
import { Generator, LocalPool } from '../emit/generate.ts'
import type { BackEnd } from '../emit/generate.ts'
import { operandsOf, resolve } from '../emit/ir.ts'
import type { Node, Statement } from '../emit/ir.ts'
import { InterpEmit } from './interp-emit.ts'
import { instanceOf } from './record-emit.ts'

type Width = 0 | 8 | 16 | 32 | 64
const rowOf = (id: string): (typeof ROWS)[number] => {
  const row = ROWS.find((candidate) => candidate.id === id)
  if (!row) throw new Error(`no row ${id}`)
  return row
}

function record(id: string, width: Width, form: Form, semantics?: Semantics): readonly Statement[] {
  const emit = new InterpEmit(instanceOf(rowOf(id), width, form))
  const body = semantics ?? SEMANTICS[id]
  if (!body) throw new Error(`no semantics for ${id}`)
  body(emit)
  return emit.statements()
}

/** Operator names that are evaluated or executed, dead values left out. */
function operators(statements: readonly Statement[]): string[] {
  const seen = new Set<Node>()
  const names: string[] = []
  const visit = (value: Node): void => {
    const target = resolve(value)
    if (seen.has(target)) return
    seen.add(target)
    if (target.op) names.push(target.op)
    target.args.forEach(visit)
  }
  const walk = (list: readonly Statement[]): void => {
    for (const statement of list) {
      if (statement.kind === 'do') names.push(statement.op)
      else names.push(statement.kind)
      operandsOf(statement).forEach(visit)
      if (statement.kind === 'if') [statement.then, statement.otherwise].forEach(walk)
      if (statement.kind === 'loop') walk(statement.body)
      if (statement.kind === 'unless') walk(statement.rare)
    }
  }
  walk(statements)
  return names
}

const nowhere = (): never => {
  throw new Error('no back end here')
}
const backEnd: BackEnd = {
  exit: nowhere,
  call: nowhere,
  load: nowhere,
  store: nowhere,
  rmwBegin: nowhere,
  rmwEnd: nowhere,
}

describe('locked read-modify-write', () => {
  it.each([
    ['add_rmv_rv', 32, 'i32.atomic.rmw.add'],
    ['sub_rmv_rv', 64, 'i64.atomic.rmw.sub'],
    ['and_rm8_r8', 8, 'i32.atomic.rmw8.and_u'],
    ['or_rmv_rv', 16, 'i32.atomic.rmw16.or_u'],
    ['xor_rmv_rv', 32, 'i32.atomic.rmw.xor'],
    ['inc_rm8', 8, 'i32.atomic.rmw8.add_u'],
    ['not_rmv', 64, 'i64.atomic.rmw.xor'],
    ['xadd_rmv_rv', 32, 'i32.atomic.rmw.add'],
  ] as const)('%s of %d bits is one atomic, %s', (id, width, operator) => {
    const names = operators(record(id, width, 'L'))
    expect(names).toContain(operator)
    expect(names).not.toContain('loop')
  })

  it.each([
    ['adc_rmv_rv', 32],
    ['neg_rmv', 64],
    ['cmpxchg_rmv_rv', 32],
  ] as const)('%s is a compare-and-swap loop', (id, width) => {
    const names = operators(record(id, width, 'L'))
    expect(names).toContain(`i${width}.atomic.rmw.cmpxchg`)
    expect(names).toContain('loop')
  })

  it('XCHG with memory is atomic without the prefix too', () => {
    expect(operators(record('xchg_rmv_rv', 64, 'X'))).toContain('i64.atomic.rmw.xchg')
  })

  it('an unlocked one is a plain load and store', () => {
    expect(operators(record('add_rmv_rv', 32, 'X')).filter((name) => name.includes('atomic'))).toEqual([])
  })
})

describe('narrow values', () => {
  it('a byte store takes the sum without the mask that its flags need', () => {
    const [store] = record('add_rm8_r8', 8, 'R').filter((s) => s.kind === 'do' && s.op === 'i32.store8')
    expect(store?.kind === 'do' && resolve(store.args[1] as Node).op).toBe('i32.add')
  })

  it('a 32-bit register write zeroes the upper half', () => {
    const statements = record('mov_rmv_rv', 32, 'R')
    expect(statements.some((s) => s.kind === 'do' && s.op === 'i64.store')).toBe(true)
    expect(operators(statements)).toContain('i64.extend_i32_u')
  })
})

describe('floating point', () => {
  const kernelCalls = (statements: readonly Statement[]): string[] =>
    statements.flatMap((s) => (s.kind === 'call' && /^(sse|x87)_/.test(s.name) ? [s.name] : []))

  it.each([
    ['addsd_xmm_xmm_m64', 0, 'f64.add'],
    ['divss_xmm_xmm_m32', 0, 'f32.div'],
    ['mulps_xmm_xmm_m128', 0, 'f32x4.mul'],
    ['sqrtpd_xmm_xmm_m128', 0, 'f64x2.sqrt'],
    ['maxsd_xmm_xmm_m64', 0, 'f64x2.pmax'],
    ['cmpps_xmm_xmm_m128_imm8', 0, 'f32x4.lt'],
    ['ucomisd_xmm_xmm_m64', 0, 'f64.ge'],
    ['cvtsi2sd_xmm_rm32', 32, 'f64.convert_i32_s'],
    ['cvttsd2si_r32_xmm_m64', 32, 'f64.trunc'],
    ['cvtsd2ss_xmm_xmm_m64', 0, 'f32.demote_f64'],
    ['haddpd_xmm_xmm_m128', 0, 'f64x2.add'],
  ] as const)('%s is the operator of the host; the kernel is asked rarely', (id, width, operator) => {
    const statements = record(id, width, 'R')
    expect(operators(statements)).toContain(operator)
    expect(kernelCalls(statements)).toEqual([])
    const rare = statements.flatMap((s) => (s.kind === 'unless' ? kernelCalls(s.rare) : []))
    expect(rare.length).toBe(id === 'cvtsi2sd_xmm_rm32' ? 0 : 1)
  })
})

describe('scopes', () => {
  it('a value read inside a branch cannot be used after it', () => {
    const escape: Semantics = (e: Emit) => {
      const cell: { value?: ReturnType<Emit['read']> } = {}
      e.if_(e.isZero(e.read(1)), () => {
        cell.value = e.reg('rax', 'i32')
        e.setReg('rdx', cell.value)
      })
      if (cell.value) e.setReg('rcx', cell.value)
    }
    // What the branch bound is in a local that the other path never set; the generator cannot see that, but a value that
    // was never bound at all it does.
    const statements = record('mov_rmv_rv', 32, 'R', escape).filter((s) => s.kind !== 'if')
    const code = new CodeBuilder(2)
    expect(() => new Generator(code, new LocalPool(code), backEnd).run(statements)).toThrow(
      'outside the branch that made it',
    )
  })
})
