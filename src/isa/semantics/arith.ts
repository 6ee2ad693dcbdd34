/** Integer arithmetic and logic. Where the manual leaves flags undefined, the result's own ZF, SF and PF and a zero AF are used. */
import type { Emit, Semantics, Val } from '../emit.ts'
import type { arithRows } from '../rows/arith.ts'
import { highSigned, highUnsigned } from './product.ts'
import { callValue, each, type SemanticsOf } from './semantics-of.ts'
import { aaa, aad, aam, aas, daa, das } from './decimal.ts'

const carry = (e: Emit): Val => {
  const cf = e.flag('cf')
  return e.let(e.ty === 'i32' ? cf : e.ty === 'i64' ? e.zext(cf, 'i64') : e.trunc(cf, e.ty))
}

const add: Semantics = (e) => {
  const b = e.read(1)
  const { old, value } = e.modify(0, (a) => e.add(a, b))
  e.setFlags({ kind: 'add', a: old, b, result: value })
}

const adc: Semantics = (e) => {
  const b = e.read(1)
  const cf = carry(e)
  const { old, value } = e.modify(0, (a) => e.add(e.add(a, b), cf))
  e.setFlags({ kind: 'add', a: old, b, result: value })
}

const sub: Semantics = (e) => {
  const b = e.read(1)
  const { old, value } = e.modify(0, (a) => e.sub(a, b))
  e.setFlags({ kind: 'sub', a: old, b, result: value })
}

const sbb: Semantics = (e) => {
  const b = e.read(1)
  const cf = carry(e)
  const { old, value } = e.modify(0, (a) => e.sub(e.sub(a, b), cf))
  e.setFlags({ kind: 'sub', a: old, b, result: value })
}

const cmp: Semantics = (e) => {
  const a = e.let(e.read(0))
  const b = e.let(e.read(1))
  e.setFlags({ kind: 'sub', a, b, result: e.let(e.sub(a, b)) })
}

function logic(operation: 'and' | 'or' | 'xor'): Semantics {
  return (e) => {
    const b = e.read(1)
    const { value } = e.modify(0, (a) => e[operation](a, b))
    e.setFlags({ kind: 'logic', result: value })
  }
}

const test: Semantics = (e) => e.setFlags({ kind: 'logic', result: e.let(e.and(e.read(0), e.read(1))) })

const inc: Semantics = (e) => {
  const { value } = e.modify(0, (a) => e.add(a, e.const(e.ty, 1)))
  e.setFlags({ kind: 'inc', result: value })
}

const dec: Semantics = (e) => {
  const { value } = e.modify(0, (a) => e.sub(a, e.const(e.ty, 1)))
  e.setFlags({ kind: 'dec', result: value })
}

const not: Semantics = (e) => {
  e.modify(0, (a) => e.not(a))
}

const neg: Semantics = (e) => {
  const { old, value } = e.modify(0, (a) => e.neg(a))
  e.setFlags({ kind: 'sub', a: e.const(e.ty, 0), b: old, result: value })
}

// --- multiplication: CF = OF = the high half is not the extension of the low half -------------------------------

interface Product {
  readonly low: Val
  readonly high: Val
  readonly overflow: Val
}

function multiply(e: Emit, a: Val, b: Val, signed: boolean): Product {
  if (e.ty === 'i64') {
    const low = e.let(e.mul(a, b))
    const high = signed ? highSigned(e, a, b) : highUnsigned(e, a, b)
    const sign = signed ? e.sar(low, e.const('i32', 63)) : e.const('i64', 0)
    return { low, high, overflow: e.let(e.ne(high, sign)) }
  }
  const wide = (v: Val): Val => (signed ? e.sext(v, 'i64') : e.zext(v, 'i64'))
  const product = e.let(e.mul(wide(a), wide(b)))
  const low = e.let(e.trunc(product, e.ty))
  const high = e.let(e.trunc(e.shr(product, e.const('i32', e.width)), e.ty))
  return { low, high, overflow: e.let(e.ne(product, wide(low))) }
}

const setProductFlags = (e: Emit, { low, overflow }: Product): void =>
  e.setFlags({ kind: 'explicit', result: low, cf: overflow, of: overflow })

function multiplyAccumulator(signed: boolean): Semantics {
  return (e) => {
    const b = e.let(e.read(0))
    const product = multiply(e, e.reg('rax', e.ty), b, signed)
    e.setReg('rax', product.low)
    if (e.width === 8) e.setRegHigh('rax', product.high)
    else e.setReg('rdx', product.high)
    setProductFlags(e, product)
  }
}

function imul(first: number, second: number): Semantics {
  return (e) => {
    const a = e.let(e.read(first))
    const b = e.let(e.read(second))
    const product = multiplySigned(e, a, b)
    e.write(0, product.low)
    setProductFlags(e, product)
  }
}

const multiplySigned = (e: Emit, a: Val, b: Val): Product => multiply(e, a, b, true)

// --- division --------------------------------------------------------------------------------------------------

/** The dividend of widths below 64: rDX:rAX, or AX for bytes, as i64. */
function dividend(e: Emit, signed: boolean): Val {
  if (e.width === 8) return signed ? e.sext(e.reg('rax', 'i16'), 'i64') : e.zext(e.reg('rax', 'i16'), 'i64')
  const low = e.zext(e.reg('rax', e.ty), 'i64')
  const high = signed ? e.sext(e.reg('rdx', e.ty), 'i64') : e.zext(e.reg('rdx', e.ty), 'i64')
  return e.or(e.shl(high, e.const('i32', e.width)), low)
}

function divide(signed: boolean): Semantics {
  return (e) => {
    const operand = e.let(e.read(0))
    if (e.width === 64) {
      e.call(signed ? 'idiv64' : 'div64', [operand])
      return
    }
    const divisor = e.let(signed ? e.sext(operand, 'i64') : e.zext(operand, 'i64'))
    e.raiseIf(e.isZero(divisor), 'DE')
    const n = e.let(dividend(e, signed))
    // -2^63 / -1 overflows the host's own division; only 32-bit operands can reach it
    if (signed && e.width === 32) {
      const lowest = e.eq(n, e.const('i64', -(1n << 63n)))
      e.raiseIf(e.and(lowest, e.eq(divisor, e.const('i64', -1))), 'DE')
    }
    const quotient = e.let(signed ? e.divS(n, divisor) : e.divU(n, divisor))
    const remainder = e.let(signed ? e.remS(n, divisor) : e.remU(n, divisor))
    const fits = e.let(e.trunc(quotient, e.ty))
    e.raiseIf(e.ne(quotient, signed ? e.sext(fits, 'i64') : e.zext(fits, 'i64')), 'DE')
    e.setReg('rax', fits)
    const rest = e.trunc(remainder, e.ty)
    if (e.width === 8) e.setRegHigh('rax', rest)
    else e.setReg('rdx', rest)
  }
}

// --- exchange --------------------------------------------------------------------------------------------------

/** The register gets the old value first and the destination the sum last: XADD r, r of one register leaves the sum. */
const xadd: Semantics = (e) => {
  const b = e.let(e.read(1))
  if (e.isMemory(0)) {
    const { old, value } = e.modify(0, (a) => e.add(a, b))
    e.write(1, old)
    e.setFlags({ kind: 'add', a: old, b, result: value })
    return
  }
  const a = e.let(e.read(0))
  const sum = e.let(e.add(a, b))
  e.write(1, a)
  e.write(0, sum)
  e.setFlags({ kind: 'add', a, b, result: sum })
}

/**
 * Memory is always written, the old value back on failure. Registers are written only where they change: a 32-bit write of
 * the same value would zero the upper half, which processors do not do.
 */
const cmpxchg: Semantics = (e) => {
  const expected = e.let(e.reg('rax', e.ty))
  const source = e.let(e.read(1))
  const memory = e.isMemory(0)
  const old = memory ? e.modify(0, (a) => e.select(e.eq(a, expected), source, a)).old : e.let(e.read(0))
  const difference = e.let(e.sub(expected, old))
  const differs = e.let(e.ne(difference, e.const(e.ty, 0)))
  const replace = memory ? undefined : (): void => e.write(0, source)
  e.if_(differs, () => e.setReg('rax', old), replace)
  e.setFlags({ kind: 'sub', a: expected, b: old, result: difference })
}

const cmpxchg8b: Semantics = (e) => {
  const pair = (high: 'rdx' | 'rcx', low: 'rax' | 'rbx'): Val =>
    e.let(
      e.or(e.shl(e.zext(e.reg(high, 'i32'), 'i64'), e.const('i32', 32)), e.zext(e.reg(low, 'i32'), 'i64')),
    )
  const expected = pair('rdx', 'rax')
  const desired = pair('rcx', 'rbx')
  const { old } = e.modify(0, (a) => e.select(e.eq(a, expected), desired, a))
  const equal = e.let(e.eq(old, expected))
  e.if_(e.isZero(equal), () => {
    e.setReg('rax', e.trunc(old, 'i32'))
    e.setReg('rdx', e.trunc(e.shr(old, e.const('i32', 32)), 'i32'))
  })
  e.setFlagBits({ zf: equal })
}

/** Wasm has no 128-bit atomic: the kernel does it under its lock. */
const cmpxchg16b: Semantics = (e) => {
  const gva = e.linear(16, true)
  e.setFlagBits({ zf: callValue(e, 'cmpxchg16b', [gva, e.seg()]) })
}

// --- ADX -------------------------------------------------------------------------------------------------------

function addWith(flag: 'cf' | 'of'): Semantics {
  return (e) => {
    const a = e.let(e.read(0))
    const b = e.let(e.read(1))
    const bit = e.flag(flag)
    const extended = e.ty === 'i64' ? e.zext(bit, 'i64') : bit
    const partial = e.let(e.add(a, b))
    const sum = e.let(e.add(partial, extended))
    const out = e.let(e.or(e.ltU(partial, a), e.ltU(sum, partial)))
    e.write(0, sum)
    e.setFlagBits({ [flag]: out })
  }
}

const FORMS = [
  'rm8_r8',
  'rmv_rv',
  'r8_rm8',
  'rv_rmv',
  'al_imm8',
  'rAXv_immz',
  'rm8_imm8',
  'rmv_immz',
  'rmv_simm8',
  'rm8_imm8_82',
] as const

function alu<Name extends string>(
  name: Name,
  semantics: Semantics,
): Record<`${Name}_${(typeof FORMS)[number]}`, Semantics> {
  return each(
    FORMS.map((form) => `${name}_${form}` as const),
    semantics,
  )
}

// prettier-ignore
export const arithSemantics: SemanticsOf<typeof arithRows> = {
  ...alu('add', add),
  ...alu('or', logic('or')),
  ...alu('adc', adc),
  ...alu('sbb', sbb),
  ...alu('and', logic('and')),
  ...alu('sub', sub),
  ...alu('xor', logic('xor')),
  ...alu('cmp', cmp),
  ...each(['test_rm8_r8', 'test_rmv_rv', 'test_al_imm8', 'test_rAXv_immz', 'test_rm8_imm8', 'test_rmv_immz', 'test_rm8_imm8_1', 'test_rmv_immz_1'], test),
  ...each(['inc_ov', 'inc_rm8', 'inc_rmv'], inc),
  ...each(['dec_ov', 'dec_rm8', 'dec_rmv'], dec),
  ...each(['not_rm8', 'not_rmv'], not),
  ...each(['neg_rm8', 'neg_rmv'], neg),
  ...each(['mul_rm8', 'mul_rmv'], multiplyAccumulator(false)),
  ...each(['imul_rm8', 'imul_rmv'], multiplyAccumulator(true)),
  imul_rv_rmv: imul(0, 1),
  ...each(['imul_rv_rmv_immz', 'imul_rv_rmv_simm8'], imul(1, 2)),
  ...each(['div_rm8', 'div_rmv'], divide(false)),
  ...each(['idiv_rm8', 'idiv_rmv'], divide(true)),
  ...each(['xadd_rm8_r8', 'xadd_rmv_rv'], xadd),
  ...each(['cmpxchg_rm8_r8', 'cmpxchg_rmv_rv'], cmpxchg),
  cmpxchg8b_m64: cmpxchg8b,
  cmpxchg16b_m128: cmpxchg16b,
  adcx_ry_rmy: addWith('cf'),
  adox_ry_rmy: addWith('of'),
  daa,
  das,
  aaa,
  aas,
  aam_imm8: aam,
  aad_imm8: aad,
}
