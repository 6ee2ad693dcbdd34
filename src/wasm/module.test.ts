import { describe, expect, it } from 'vitest'
import { ByteWriter } from './bytes.ts'
import { Label } from './code.ts'
import type { ValueType } from './code.ts'
import { ModuleBuilder } from './module.ts'
import { OPCODES } from './opcodes.ts'

/** Operand and result types of an operator, read off its name: a second source that the opcode table must agree with. */
function signature(name: string): { params: ValueType[]; results: ValueType[] } | undefined {
  const [type = '', rest = ''] = [name.slice(0, name.indexOf('.')), name.slice(name.indexOf('.') + 1)]
  const scalar: Record<string, ValueType> = {
    i32: 'i32', i64: 'i64', f32: 'f32', f64: 'f64', i8x16: 'i32', i16x8: 'i32', i32x4: 'i32', i64x2: 'i64', f32x4: 'f32', f64x2: 'f64',
  } // prettier-ignore
  const own = scalar[type] as ValueType
  const vector = type.includes('x') || type === 'v128'
  if (rest === 'const') return { params: [], results: [type as ValueType] }
  if (name === 'memory.size') return { params: [], results: ['i32'] }
  if (name === 'memory.grow') return { params: ['i32'], results: ['i32'] }
  if (name === 'memory.copy' || name === 'memory.fill') return { params: ['i32', 'i32', 'i32'], results: [] }
  if (name === 'memory.atomic.notify') return { params: ['i32', 'i32'], results: ['i32'] }
  if (name === 'memory.atomic.wait32') return { params: ['i32', 'i32', 'i64'], results: ['i32'] }
  if (name === 'memory.atomic.wait64') return { params: ['i32', 'i64', 'i64'], results: ['i32'] }
  if (!name.includes('.') || name === 'atomic.fence')
    return name === 'atomic.fence' ? { params: [], results: [] } : undefined
  if (rest.includes('cmpxchg')) return { params: ['i32', own, own], results: [own] }
  if (rest.includes('rmw')) return { params: ['i32', own], results: [own] }
  if (type === 'v128' && /^(load|store)/.test(rest)) {
    if (rest.endsWith('_lane'))
      return { params: ['i32', 'v128'], results: rest.startsWith('load') ? ['v128'] : [] }
    return rest.startsWith('load')
      ? { params: ['i32'], results: ['v128'] }
      : { params: ['i32', 'v128'], results: [] }
  }
  if (/load/.test(rest)) return { params: ['i32'], results: [own] }
  if (/store/.test(rest)) return { params: ['i32', own], results: [] }
  if (vector) {
    if (rest === 'splat') return { params: [own], results: ['v128'] }
    if (rest.startsWith('extract_lane')) return { params: ['v128'], results: [own] }
    if (rest === 'replace_lane') return { params: ['v128', own], results: ['v128'] }
    if (/^(any_true|all_true|bitmask)$/.test(rest)) return { params: ['v128'], results: ['i32'] }
    if (/^sh[lr]/.test(rest) && rest !== 'shuffle') return { params: ['v128', 'i32'], results: ['v128'] }
    if (rest === 'bitselect') return { params: ['v128', 'v128', 'v128'], results: ['v128'] }
    const unary =
      /^(not|abs|neg|popcnt|ceil|floor|trunc|nearest|sqrt|extend_.*|extadd_.*|trunc_sat.*|convert.*|demote.*|promote.*)$/
    return { params: unary.test(rest) ? ['v128'] : ['v128', 'v128'], results: ['v128'] }
  }
  const from = /_(i32|i64|f32|f64)(_[su])?$/.exec(rest)
  if (from) return { params: [from[1] as ValueType], results: [own] }
  if (rest === 'eqz') return { params: [own], results: ['i32'] }
  if (/^(eq|ne|lt|gt|le|ge)(_[su])?$/.test(rest)) return { params: [own, own], results: ['i32'] }
  const unary = /^(clz|ctz|popcnt|abs|neg|ceil|floor|trunc|nearest|sqrt|extend\d+_s)$/
  return { params: unary.test(rest) ? [own] : [own, own], results: [own] }
}

describe('opcode table', () => {
  it('gives every operator the encoding and types that V8 expects of its name', () => {
    const rejected: string[] = []
    for (const [name, { immediate }] of OPCODES) {
      const types = signature(name)
      if (!types) continue
      const module = new ModuleBuilder()
      module.importSharedMemory('env', 'memory', 1, 16)
      const { code } = module.function(types.params, types.results)
      types.params.forEach((_, i) => code.get(i))
      if (immediate.endsWith('16'))
        code.lanes(
          name,
          Array.from({ length: 16 }, (_, i) => i),
        )
      else code.op(name)
      if (!WebAssembly.validate(module.toBytes())) rejected.push(name)
    }
    expect(rejected).toEqual([])
    expect(OPCODES.size).toBeGreaterThan(430)
  })

  it.each([
    ['i32.shr_u', -1, 28, 15],
    ['i32.rotl', 0x80000001, 1, 3],
    ['i32.rem_u', 17, 5, 2],
    ['i32.le_u', 1, -1, 1],
  ])('%s(%d, %d) computes %d', (name, a, b, want) => {
    const module = new ModuleBuilder()
    const { index, code } = module.function(['i32', 'i32'], ['i32'])
    code.get(0).get(1).op(name)
    module.exportFunction('f', index)
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.toBytes()))
    expect((exports['f'] as (a: number, b: number) => number)(a, b)).toBe(want)
  })
})

describe('LEB128', () => {
  it.each([0, 63, 64, -64, -65, 0x7fffffff, -0x80000000])('an i32 constant %d survives', (value) => {
    const module = new ModuleBuilder()
    const { index, code } = module.function([], ['i32'])
    code.i32(value)
    module.exportFunction('f', index)
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.toBytes()))
    expect((exports['f'] as () => number)()).toBe(value)
  })

  it.each([0n, 64n, -65n, (1n << 63n) - 1n, -(1n << 63n), 0xffff_ffff_8000_0000n])(
    'an i64 constant %d survives',
    (value) => {
      const module = new ModuleBuilder()
      const { index, code } = module.function([], ['i64'])
      code.i64(value)
      module.exportFunction('f', index)
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.toBytes()))
      expect((exports['f'] as () => bigint)()).toBe(BigInt.asIntN(64, value))
    },
  )

  it('writes unsigned numbers of five bytes', () => {
    const w = new ByteWriter()
    w.u32(0xffff_ffff)
    expect([...w.toBytes()]).toEqual([0xff, 0xff, 0xff, 0xff, 0x0f])
  })
})

describe('control flow', () => {
  it('branches out of a dispatch table to the labelled block', () => {
    const module = new ModuleBuilder()
    const { index, code } = module.function(['i32'], ['i32'])
    const [zero, one, other] = [new Label('zero'), new Label('one'), new Label('other')]
    code.block(other).block(one).block(zero)
    code.get(0).brTable([zero, one], other)
    code.end().i32(100).return()
    code.end().i32(200).return()
    code.end().i32(300)
    module.exportFunction('f', index)
    const f = new WebAssembly.Instance(new WebAssembly.Module(module.toBytes())).exports['f'] as (
      x: number,
    ) => number
    expect([0, 1, 2, -1].map(f)).toEqual([100, 200, 300, 300])
  })

  it('refuses a label that is out of scope and an unclosed block', () => {
    const module = new ModuleBuilder()
    const { code } = module.function([], [])
    const label = new Label('gone')
    code.block(label).end()
    expect(() => code.br(label)).toThrow('label gone is not in scope')
    code.block()
    expect(() => module.toBytes()).toThrow('still open')
  })

  it('calls through a table filled by an element segment', () => {
    const module = new ModuleBuilder()
    const a = module.function([], ['i32'], 'a')
    a.code.i32(7)
    const main = module.function(['i32'], ['i32'], 'main')
    const table = module.table(3)
    module.elements(table, 2, [a.index])
    main.code.get(0).callIndirect(module.type([], ['i32']), table)
    module.exportFunction('main', main.index)
    const call = new WebAssembly.Instance(new WebAssembly.Module(module.toBytes())).exports['main'] as (
      x: number,
    ) => number
    expect(call(2)).toBe(7)
    expect(() => call(1)).toThrow(WebAssembly.RuntimeError)
  })
})
