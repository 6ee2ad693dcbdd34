/**
 * The arithmetic flags between instructions of compiled code: not computed, only what they would be computed from. An
 * addition, a subtraction or a logic result is kept as its operands; conditions on them become one comparison.
 */
import { CC_ADD, CC_CANONICAL, CC_NONE, CC_SUB } from '../../abi/jit.ts'
import type { ArithFlag, Cond, Emit, FlagsOf, Val } from '../../isa/emit.ts'
import type { LazyFlags } from '../../isa/flags.ts'

/** The last operation that set all six flags. */
export type Operation = Extract<FlagsOf, { readonly kind: 'add' | 'sub' | 'logic' }>

export type FlagState =
  /** In the locals CC_KIND … CC_RES; the kind if it is known here, and if so whether it is an exact operation. */
  | { readonly at: 'locals'; readonly kind: number | undefined; readonly exact: boolean }
  | { readonly at: 'operation'; readonly of: Operation; readonly exact: boolean }
  /** In their canonical form, and where they come from if that makes some conditions cheaper. */
  | { readonly at: 'canonical'; readonly flags: LazyFlags; readonly of: FlagsOf | undefined }

/** In the CPU struct, as whoever ran before left them. */
export const IN_STRUCT: FlagState = { at: 'locals', kind: CC_NONE, exact: false }
/** In the locals, of a kind that is only known when it runs. */
export const UNKNOWN: FlagState = { at: 'locals', kind: undefined, exact: false }

const LOG_BYTES: Readonly<Record<string, number>> = { i8: 0, i16: 1, i32: 2, i64: 3 }

export function kindOf(of: Operation): number {
  if (of.kind === 'logic') return CC_CANONICAL
  return (of.kind === 'add' ? CC_ADD : CC_SUB) + (LOG_BYTES[of.result.ty] ?? 0)
}

/** CC_A, CC_B and CC_RES of an operation. */
export function valuesOf(e: Emit, of: Operation): readonly Val[] {
  if (of.kind === 'logic') return [e.const('i64', 0), e.const('i64', 0), e.sext(of.result, 'i64')]
  return [e.zext(of.a, 'i64'), e.zext(of.b, 'i64'), e.zext(of.result, 'i64')]
}

const TYPES = ['i8', 'i16', 'i32', 'i64'] as const

/** The operation behind CC_A, CC_B and CC_RES of a known kind; undefined where they hold no operation. */
export function operationOf(
  e: Emit,
  kind: number,
  [a, b, res]: readonly [Val, Val, Val],
): Operation | undefined {
  if (kind < CC_ADD) return undefined
  const ty = TYPES[kind & 3] ?? 'i64'
  return {
    kind: kind < CC_SUB ? 'add' : 'sub',
    a: e.trunc(a, ty),
    b: e.trunc(b, ty),
    result: e.trunc(res, ty),
  }
}

const negative = (e: Emit, value: Val): Val => e.ltS(value, e.const(value.ty, 0))
const isNot = (e: Emit, bit: Val): Val => e.isZero(bit)

/** A condition as one comparison of the operation's operands; undefined where it takes the flags themselves. */
export function conditionOf(e: Emit, of: Operation, exact: boolean, cc: Cond): Val | undefined {
  const { result } = of
  const zero = e.const(result.ty, 0)
  if (cc === 's') return negative(e, result)
  if (cc === 'ns') return isNot(e, negative(e, result))
  if (of.kind === 'logic') {
    switch (cc) {
      case 'e':
      case 'be':
        return e.isZero(result)
      case 'ne':
      case 'a':
        return e.ne(result, zero)
      case 'l':
        return negative(e, result)
      case 'ge':
        return isNot(e, negative(e, result))
      case 'le':
        return e.leS(result, zero)
      case 'g':
        return e.ltS(zero, result)
      case 'o':
      case 'b':
        return e.const('i32', 0)
      case 'no':
      case 'ae':
        return e.const('i32', 1)
      default:
        return undefined
    }
  }
  if (of.kind === 'add') {
    if (cc === 'e') return e.isZero(result)
    if (cc === 'ne') return e.ne(result, zero)
    if (exact && cc === 'b') return e.ltU(result, of.a)
    if (exact && cc === 'ae') return e.leU(of.a, result)
    return undefined
  }
  if (!exact) return cc === 'e' ? e.isZero(result) : cc === 'ne' ? e.ne(result, zero) : undefined
  const { a, b } = of
  switch (cc) {
    case 'e':
      return e.eq(a, b)
    case 'ne':
      return e.ne(a, b)
    case 'b':
      return e.ltU(a, b)
    case 'ae':
      return e.leU(b, a)
    case 'be':
      return e.leU(a, b)
    case 'a':
      return e.ltU(b, a)
    case 'l':
      return e.ltS(a, b)
    case 'ge':
      return e.leS(b, a)
    case 'le':
      return e.leS(a, b)
    case 'g':
      return e.ltS(b, a)
    default:
      return undefined
  }
}

/** As conditionOf() for operations whose flags are computed: only what is a comparison. */
export function cheapCondition(e: Emit, of: FlagsOf, cc: Cond): Val | undefined {
  if (of.kind === 'order') {
    const compare = (operator: string): Val => e.op(`${of.a.ty}.${operator}`, 'i32', [of.a, of.b])
    switch (cc) {
      case 'a':
        return compare('gt')
      case 'ae':
        return compare('ge')
      case 'b':
        return isNot(e, compare('ge'))
      case 'be':
        return isNot(e, compare('gt'))
      // compilers test for equality as "not unordered and equal"
      case 'p':
        return isNot(e, e.or(compare('ge'), compare('le')))
      case 'np':
        return e.or(compare('ge'), compare('le'))
      case 'e':
        return e.eq(compare('ge'), compare('le'))
      case 'ne':
        return e.xor(compare('ge'), compare('le'))
      default:
        return undefined
    }
  }
  switch (cc) {
    case 'e':
      return e.isZero(of.result)
    case 'ne':
      return e.ne(of.result, e.const(of.result.ty, 0))
    case 's':
      return negative(e, of.result)
    case 'ns':
      return isNot(e, negative(e, of.result))
    default:
      return undefined
  }
}

const AS_CONDITION: Readonly<Partial<Record<ArithFlag, Cond>>> = {
  cf: 'b',
  zf: 'e',
  sf: 's',
  of: 'o',
  pf: 'p',
}

export const conditionOfFlag = (name: ArithFlag): Cond | undefined => AS_CONDITION[name]
