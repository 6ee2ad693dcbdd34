/** Which computations of a locked read-modify-write WebAssembly has an atomic for. */
import type { IntTy } from '../../isa/emit.ts'
import type { Node } from '../emit/ir.ts'
import { resolve } from '../emit/ir.ts'

/** "i32.atomic.rmw8.add_u" and relatives. */
export function atomicOp(ty: IntTy, operation: string): string {
  if (operation === 'load')
    return ty === 'i8' ? 'i32.atomic.load8_u' : ty === 'i16' ? 'i32.atomic.load16_u' : `${ty}.atomic.load`
  if (ty === 'i8') return `i32.atomic.rmw8.${operation}_u`
  if (ty === 'i16') return `i32.atomic.rmw16.${operation}_u`
  return `${ty}.atomic.rmw.${operation}`
}

/** True if the value is computed from `source`. */
export function dependsOn(value: Node, source: Node): boolean {
  const target = resolve(value)
  return target === source || target.args.some((arg) => dependsOn(arg, source))
}

const COMMUTATIVE = new Set(['add', 'and', 'or', 'xor'])

/** old op x, or a value that does not depend on old: what Wasm has an atomic for. */
export function simpleAtomic(
  value: Node,
  old: Node,
  ty: IntTy,
): { readonly operation: string; readonly operand: Node } | undefined {
  let target = resolve(value)
  if (!dependsOn(target, old)) return { operation: 'xchg', operand: value }
  // the mask of a narrow addition
  if (
    (ty === 'i8' || ty === 'i16') &&
    target.op === 'i32.and' &&
    target.args[1]?.kind === 'const' &&
    target.args[0]
  ) {
    const inner = resolve(target.args[0])
    if (Number(target.args[1].value) === (ty === 'i8' ? 0xff : 0xffff) && /\.(add|sub)$/.test(inner.op))
      target = inner
  }
  const operation = /^i(?:32|64)\.(add|sub|and|or|xor)$/.exec(target.op)?.[1]
  const [a, b] = target.args
  if (!operation || !a || !b) return undefined
  if (resolve(a) === old && !dependsOn(b, old)) return { operation, operand: b }
  if (COMMUTATIVE.has(operation) && resolve(b) === old && !dependsOn(a, old)) return { operation, operand: a }
  return undefined
}
