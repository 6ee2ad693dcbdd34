/**
 * Second pass of an emitter: recorded statements become WebAssembly. Knows nothing of x86; guest memory, calls and
 * exits are the back end's.
 */
import type { CodeBuilder, ValueType } from '../../wasm/code.ts'
import { Label } from '../../wasm/code.ts'
import { operandsOf, resolve, wasmType } from './ir.ts'
import type { Node, Statement, Variable } from './ir.ts'

type Of<Kind extends Statement['kind']> = Extract<Statement, { readonly kind: Kind }>

export interface BackEnd {
  exit(g: Generator, statement: Of<'exit'>): void
  call(g: Generator, statement: Of<'call'>): void
  load(g: Generator, statement: Of<'load'>): void
  store(g: Generator, statement: Of<'store'>): void
  rmwBegin(g: Generator, statement: Of<'rmwBegin'>): void
  rmwEnd(g: Generator): void
}

/** Locals of one function, handed out by type; handlers that share a function reuse them. */
export class LocalPool {
  readonly #code: CodeBuilder
  readonly #slots = new Map<ValueType, number[]>()
  readonly #taken = new Map<ValueType, number>()

  constructor(code: CodeBuilder) {
    this.#code = code
  }

  take(type: ValueType): number {
    const slots = this.#slots.get(type) ?? []
    this.#slots.set(type, slots)
    const index = this.#taken.get(type) ?? 0
    this.#taken.set(type, index + 1)
    const known = slots[index]
    if (known !== undefined) return known
    const made = this.#code.local(type)
    slots.push(made)
    return made
  }

  /** All locals are free again. */
  reset(): void {
    this.#taken.clear()
  }
}

export class Generator {
  readonly code: CodeBuilder
  readonly locals: LocalPool
  readonly #backEnd: BackEnd

  constructor(code: CodeBuilder, locals: LocalPool, backEnd: BackEnd) {
    this.code = code
    this.locals = locals
    this.#backEnd = backEnd
  }

  run(statements: readonly Statement[]): void {
    this.#count(statements)
    this.#list(statements)
  }

  // --- pass 1: uses ---

  #use(value: Node): void {
    const target = resolve(value)
    target.uses++
    if (target.uses === 1) for (const arg of target.args) this.#use(arg)
  }

  #count(statements: readonly Statement[]): void {
    for (const statement of statements) {
      for (const operand of operandsOf(statement)) this.#use(operand)
      if (statement.kind === 'if') {
        this.#count(statement.then)
        this.#count(statement.otherwise)
      } else if (statement.kind === 'unless') this.#count(statement.rare)
      else if (statement.kind === 'loop') this.#count(statement.body)
    }
  }

  // --- pass 2: code ---

  #list(statements: readonly Statement[]): void {
    for (const statement of statements) this.#statement(statement)
  }

  #statement(statement: Statement): void {
    const { code } = this
    switch (statement.kind) {
      case 'let':
        this.#bind(statement.node)
        return
      case 'do':
        for (const arg of statement.args) this.value(arg)
        code.op(statement.op, ...statement.immediates)
        return
      case 'set':
        this.value(statement.node)
        code.set(this.slotOf(statement.variable))
        return
      case 'if':
        if (statement.then.length === 0 && statement.otherwise.length === 0) return
        this.value(statement.condition)
        code.if()
        this.#list(statement.then)
        if (statement.otherwise.length > 0) {
          code.else()
          this.#list(statement.otherwise)
        }
        code.end()
        return
      case 'unless': {
        const [rare, end] = [new Label('rare'), new Label('end')]
        code.block(end).block(rare)
        for (const condition of statement.all) {
          this.value(condition)
          code.op('i32.eqz').brIf(rare)
        }
        for (const condition of statement.any) {
          this.value(condition)
          code.brIf(end)
        }
        code.end()
        this.#list(statement.rare)
        code.end()
        return
      }
      case 'loop': {
        const label = new Label('again')
        code.loop(label)
        this.#list(statement.body)
        this.value(statement.again)
        code.brIf(label).end()
        return
      }
      case 'exit':
        return this.#backEnd.exit(this, statement)
      case 'call':
        return this.#backEnd.call(this, statement)
      case 'load':
        return this.#backEnd.load(this, statement)
      case 'store':
        return this.#backEnd.store(this, statement)
      case 'rmwBegin':
        return this.#backEnd.rmwBegin(this, statement)
      case 'rmwEnd':
        return this.#backEnd.rmwEnd(this)
    }
  }

  slotOf(variable: Variable): number {
    if (variable.slot < 0) variable.slot = this.locals.take(wasmType(variable.ty))
    return variable.slot
  }

  #bind(value: Node): void {
    if (value.uses === 0 || (!value.pinned && value.uses === 1)) return
    this.#evaluate(value)
    value.slot = this.locals.take(wasmType(value.ty))
    this.code.set(value.slot)
  }

  #evaluate(value: Node): void {
    if (value.kind === 'var') {
      if (!value.variable) throw new Error('a var node without variable')
      this.code.get(this.slotOf(value.variable))
      return
    }
    for (const arg of value.args) this.value(arg)
    this.code.op(value.op, ...value.immediates)
  }

  /** Pushes a value. */
  value(value: Node): void {
    const target = resolve(value)
    if (target.slot >= 0) this.code.get(target.slot)
    else if (target.kind === 'local') this.code.get(Number(target.value))
    else if (target.kind === 'const') this.code.op(`${wasmType(target.ty)}.const`, target.value)
    else if (target.pinned)
      throw new Error(`a value (${target.op || target.kind}) is used outside the branch that made it`)
    else this.#evaluate(target)
  }

  /** A local that holds the value: its own slot, or a fresh one filled here. */
  inLocal(value: Node): number {
    const target = resolve(value)
    if (target.slot >= 0) return target.slot
    if (target.kind === 'local') return Number(target.value)
    this.value(target)
    const slot = this.locals.take(wasmType(target.ty))
    this.code.set(slot)
    return slot
  }
}
