/**
 * What an emitter records while a semantic function runs: expression nodes and statements in program order.
 *
 * A pure node is evaluated where it is used if it has one use, else once at the place where it was created (every node
 * leaves a `let` mark there). A pinned node reads mutable state and is always evaluated at its mark, if used at all.
 * Nodes that only depend on the parameters of the function are marked in the prologue, so that any branch may use them.
 */
import type { Ty, Val } from '../../isa/emit.ts'
import type { ValueType } from '../../wasm/code.ts'

export function wasmType(ty: Ty): ValueType {
  return ty === 'i8' || ty === 'i16' ? 'i32' : ty
}

export type NodeKind = 'const' | 'op' | 'local' | 'var'

export class Node implements Val {
  readonly kind: NodeKind
  readonly ty: Ty
  /** Operator text name of an op. */
  readonly op: string
  readonly args: readonly Node[]
  readonly immediates: readonly number[]
  /** Value of a const: number for i8..i32 and floats, bigint for i64; index of a local. */
  readonly value: number | bigint
  readonly variable: Variable | undefined
  readonly pinned: boolean
  /** Written by the generator. */
  uses = 0
  slot = -1

  constructor(
    kind: NodeKind,
    ty: Ty,
    rest: {
      readonly op?: string
      readonly args?: readonly Node[]
      readonly immediates?: readonly number[]
      readonly value?: number | bigint
      readonly variable?: Variable
      readonly pinned?: boolean
    },
  ) {
    this.kind = kind
    this.ty = ty
    this.op = rest.op ?? ''
    this.args = rest.args ?? []
    this.immediates = rest.immediates ?? []
    this.value = rest.value ?? 0
    this.variable = rest.variable
    this.pinned = rest.pinned ?? false
  }
}

/** A node seen under another type: no code of its own. */
export class Alias extends Node {
  readonly target: Node
  constructor(ty: Ty, target: Node) {
    super('op', ty, { op: '', args: [target] })
    this.target = resolve(target)
  }
}

export function resolve(value: Node): Node {
  return value instanceof Alias ? value.target : value
}

/** The node behind a value that semantic functions pass around. */
export function node(value: Val): Node {
  if (value instanceof Node) return value
  throw new Error('a value of another emitter')
}

/** A mutable local: cells, results of calls and of memory accesses. */
export interface Variable {
  readonly ty: Ty
  slot: number
}

/** Where an instruction goes instead of the next record. */
export type Exit =
  | 'fault' // CPU_FAULT is set, the instruction did nothing
  | 'taken' // the direct branch of this record is taken
  | 'near' // near transfer to args[0], i64
  | 'transfer' // CPU_NEXT_RIP was set by a helper; mode and more may have changed

export type Statement =
  | { readonly kind: 'let'; readonly node: Node }
  | { readonly kind: 'do'; readonly op: string; readonly args: readonly Node[]; readonly immediates: readonly number[] }
  | { readonly kind: 'set'; readonly variable: Variable; readonly node: Node }
  | { readonly kind: 'if'; readonly condition: Node; readonly then: readonly Statement[]; readonly otherwise: readonly Statement[] }
  /** Runs `rare` unless all of `all` and one of `any` are nonzero, evaluated in order and no further than needed. */
  | { readonly kind: 'unless'; readonly all: readonly Node[]; readonly any: readonly Node[]; readonly rare: readonly Statement[] }
  | { readonly kind: 'loop'; readonly body: readonly Statement[]; readonly again: Node }
  | { readonly kind: 'exit'; readonly exit: Exit; readonly args: readonly Node[] }
  /** Calls a function by name; what it needs around it is the back end's business. */
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Node[]; readonly result: Variable | undefined }
  /** Guest memory through the TLB: `bytes` 1, 2, 4, 8 or 16. */
  | { readonly kind: 'load'; readonly result: Variable; readonly bytes: number; readonly gva: Node; readonly seg: Node }
  | { readonly kind: 'store'; readonly value: Node; readonly bytes: number; readonly gva: Node; readonly seg: Node }
  /** Address to operate on for a read-modify-write, aligned if `locked`; end publishes it. */
  | { readonly kind: 'rmwBegin'; readonly result: Variable; readonly bytes: number; readonly gva: Node; readonly seg: Node; readonly locked: boolean }
  | { readonly kind: 'rmwEnd' } // prettier-ignore

/** Nodes that a statement uses directly, for counting. */
export function operandsOf(statement: Statement): readonly Node[] {
  switch (statement.kind) {
    case 'let':
    case 'rmwEnd':
      return []
    case 'do':
    case 'exit':
    case 'call':
      return statement.args
    case 'set':
      return [statement.node]
    case 'if':
      return [statement.condition]
    case 'unless':
      return [...statement.all, ...statement.any]
    case 'loop':
      return [statement.again]
    case 'load':
    case 'rmwBegin':
      return [statement.gva, statement.seg]
    case 'store':
      return [statement.gva, statement.value, statement.seg]
  }
}
