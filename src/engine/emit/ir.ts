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

/** An operator of integers at both its types; names are not put together each time, which takes longer than to use them. */
export interface IntOperator {
  /** "add" */
  readonly name: string
  readonly i32: string
  readonly i64: string
}

/** 'address': an op, the i32 sum of the address of the CPU struct and the constant in `value`. 'alias': a node seen under another type. */
export type NodeKind = 'const' | 'op' | 'local' | 'var' | 'once' | 'reg' | 'address' | 'alias'

const NO_NODES: readonly Node[] = []
export const NO_IMMEDIATES: readonly number[] = []

/** One class for all of them, with the same fields set in the same order: a dozen are made and looked at for each instruction. */
export class Node implements Val {
  readonly kind: NodeKind
  readonly ty: Ty
  /** Operator text name of an op. */
  readonly op: string
  readonly args: readonly Node[]
  readonly immediates: readonly number[]
  readonly pinned: boolean
  /**
   * Value of a const, in one form only: of an i64 a number if that has at most 32 bits, else a bigint, signed; of other
   * types a number. Index of a local, number of a reg.
   */
  value: number | bigint
  variable: Variable | undefined
  /** Written by the generator. */
  uses: number
  slot: number

  constructor(
    kind: NodeKind,
    ty: Ty,
    op = '',
    args: readonly Node[] = NO_NODES,
    immediates: readonly number[] = NO_IMMEDIATES,
    pinned = false,
  ) {
    this.kind = kind
    this.ty = ty
    this.op = op
    this.args = args
    this.immediates = immediates
    this.pinned = pinned
    this.value = 0
    this.variable = undefined
    this.uses = 0
    this.slot = -1
  }
}

/** A const, local or reg. */
export function valueNode(kind: 'const' | 'local' | 'reg', ty: Ty, value: number | bigint): Node {
  const made = new Node(kind, ty)
  made.value = value
  return made
}

/** What a variable holds: a var at its mark, once wherever it is used. */
export function variableNode(kind: 'var' | 'once', variable: Variable): Node {
  const made = new Node(kind, variable.ty, '', NO_NODES, NO_IMMEDIATES, kind === 'var')
  made.variable = variable
  return made
}

/** A node seen under another type: no code of its own. */
export const alias = (ty: Ty, target: Node): Node => new Node('alias', ty, '', [resolve(target)])

export function resolve(value: Node): Node {
  return value.kind === 'alias' ? (value.args[0] ?? value) : value
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

/**
 * Where an engine that keeps registers in locals leaves its code: enough to say what the state was. Its flags are looked at
 * only on the way out, so their nodes are computed there.
 */
export interface ExitPoint {
  /** RIP of the instruction relative to the region's first page. */
  readonly rip: number
  /** Instructions of the block that were finished before it. */
  readonly retired: number
  /** CC_* and its three values, i64; undefined: the locals of the flags are right as they are. */
  readonly flags: { readonly kind: number; readonly values: readonly Node[] } | undefined
}

/** Where an instruction goes instead of the next record. */
export type Exit =
  | 'fault' // CPU_FAULT is set, the instruction did nothing
  | 'taken' // the direct branch of this record is taken
  | 'near' // near transfer to args[0], i64
  | 'transfer' // CPU_NEXT_RIP was set by a helper; mode and more may have changed

/** Accesses of a block that are likely to lie in one page: what the first finds of it serves the others. */
export interface PageGroup {
  accesses: number
  /** One of them stores. */
  writes: boolean
}

export type Statement =
  | { readonly kind: 'let'; readonly node: Node }
  | { readonly kind: 'do'; readonly op: string; readonly args: readonly Node[]; readonly immediates: readonly number[] }
  | { readonly kind: 'set'; readonly variable: Variable; readonly node: Node }
  | { readonly kind: 'if'; readonly condition: Node; readonly then: readonly Statement[]; readonly otherwise: readonly Statement[] }
  /** Runs `rare` unless all of `all` and one of `any` are nonzero, evaluated in order and no further than needed. */
  | { readonly kind: 'unless'; readonly all: readonly Node[]; readonly any: readonly Node[]; readonly rare: readonly Statement[] }
  | { readonly kind: 'loop'; readonly body: readonly Statement[]; readonly again: Node }
  | { readonly kind: 'exit'; readonly exit: Exit; readonly args: readonly Node[]; readonly at: ExitPoint | undefined }
  /** Calls a function by name; what it needs around it is the back end's business. */
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Node[]; readonly result: Variable | undefined }
  /** Guest memory through the TLB: `bytes` 1, 2, 4, 8 or 16; `stack`: likely in the page where the last access to the stack was. */
  | { readonly kind: 'load'; readonly result: Variable; readonly bytes: number; readonly gva: Node; readonly seg: Node; readonly stack: boolean; readonly group: PageGroup | undefined; readonly at: ExitPoint | undefined }
  | { readonly kind: 'store'; readonly value: Node; readonly bytes: number; readonly gva: Node; readonly seg: Node; readonly stack: boolean; readonly group: PageGroup | undefined; readonly at: ExitPoint | undefined }
  /** Address to operate on for a read-modify-write, aligned if `locked`; end publishes it. */
  | { readonly kind: 'rmwBegin'; readonly result: Variable; readonly bytes: number; readonly gva: Node; readonly seg: Node; readonly locked: boolean; readonly group: PageGroup | undefined; readonly at: ExitPoint | undefined }
  | { readonly kind: 'rmwEnd'; readonly at: ExitPoint | undefined }
  /** Writes a register that lives in a local. */
  | { readonly kind: 'setReg'; readonly reg: number; readonly node: Node }
  /** The copies of registers in the CPU struct are looked at, or were changed: a bit per number. */
  | { readonly kind: 'spill' | 'reload'; readonly regs: bigint }
  /** The end of a block: to a place in the code, relative to the region's first page. */
  | { readonly kind: 'goto'; readonly rip: number }
  /** Near transfer to a RIP; `returns` is where a call comes back to, relative to the region's first page. */
  | { readonly kind: 'transfer'; readonly target: Node | undefined; readonly rip: number; readonly how: 'call' | 'jump' | 'return'; readonly returns: number | undefined }
  /** Leaves in front of `rip` if this code was written over meanwhile. */
  | { readonly kind: 'valid'; readonly rip: number; readonly at: ExitPoint }
  /** The instruction goes on in this page, relative to the region's first. */
  | { readonly kind: 'crossing'; readonly page: number; readonly at: ExitPoint }
  /** Leaves for the run loop in front of the instruction at `rip`. */
  | { readonly kind: 'leave'; readonly rip: number } // prettier-ignore

/** Registers that a list of statements writes, nested ones included. */
export function writtenBy(statements: readonly Statement[]): bigint {
  let written = 0n
  for (const statement of statements) {
    if (statement.kind === 'setReg') written |= 1n << BigInt(statement.reg)
    else if (statement.kind === 'reload') written |= statement.regs
    else if (statement.kind === 'if') written |= writtenBy(statement.then) | writtenBy(statement.otherwise)
    else if (statement.kind === 'unless') written |= writtenBy(statement.rare)
    else if (statement.kind === 'loop') written |= writtenBy(statement.body)
  }
  return written
}

/** Where a statement may leave, if the engine has to know. */
export function exitPointOf(statement: Statement): ExitPoint | undefined {
  switch (statement.kind) {
    case 'load':
    case 'store':
    case 'exit':
    case 'rmwBegin':
    case 'rmwEnd':
    case 'valid':
    case 'crossing':
      return statement.at
    default:
      return undefined
  }
}

/** Registers that a list of statements reads, nested ones included. */
export function readBy(statements: readonly Statement[]): bigint {
  let read = 0n
  for (const statement of statements) {
    if (statement.kind === 'let' && statement.node.kind === 'reg') read |= 1n << BigInt(statement.node.value)
    else if (statement.kind === 'if') read |= readBy(statement.then) | readBy(statement.otherwise)
    else if (statement.kind === 'unless') read |= readBy(statement.rare)
    else if (statement.kind === 'loop') read |= readBy(statement.body)
  }
  return read
}

/** Nodes that a statement uses directly, for counting. */
export function operandsOf(statement: Statement): readonly Node[] {
  switch (statement.kind) {
    case 'let':
    case 'rmwEnd':
    case 'spill':
    case 'reload':
    case 'goto':
    case 'leave':
    case 'valid':
    case 'crossing':
      return NO_NODES
    case 'transfer':
      return statement.target ? [statement.target] : NO_NODES
    case 'do':
    case 'exit':
    case 'call':
      return statement.args
    case 'set':
    case 'setReg':
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
