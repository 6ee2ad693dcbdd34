/**
 * Second pass of an emitter: recorded statements become WebAssembly. Knows nothing of x86; guest memory, calls and
 * exits are the back end's.
 */
import type { CodeBuilder, ValueType } from '../../wasm/code.ts'
import { Label } from '../../wasm/code.ts'
import { exitPointOf, operandsOf, resolve, wasmType, writtenBy } from './ir.ts'
import type { Node, Statement, Variable } from './ir.ts'

type Of<Kind extends Statement['kind']> = Extract<Statement, { readonly kind: Kind }>

export interface BackEnd {
  exit(g: Generator, statement: Of<'exit'>): void
  call(g: Generator, statement: Of<'call'>): void
  load(g: Generator, statement: Of<'load'>): void
  store(g: Generator, statement: Of<'store'>): void
  rmwBegin(g: Generator, statement: Of<'rmwBegin'>): void
  rmwEnd(g: Generator, statement: Of<'rmwEnd'>): void
  /** Statements of engines that keep registers in locals. */
  other?(
    g: Generator,
    statement: Of<'spill' | 'reload' | 'goto' | 'transfer' | 'leave' | 'valid' | 'crossing'>,
  ): void
  /** Calls a function without effects; its arguments are on the stack. */
  pureCall?(g: Generator, name: string): void
  /** The local of a register, before it is written there if `written`. */
  register?(reg: number, written: boolean): number
  /** After a register was written to its local. */
  registerWritten?(statement: Of<'setReg'>): void
  /** Around statements that run on one way only. */
  aside?(body: () => void): void
}

const NO_VALUES: readonly Node[] = []

/** Locals of one function, handed out by type; handlers that share a function reuse them. */
export class LocalPool {
  readonly #code: CodeBuilder
  readonly #i32 = new Slots()
  readonly #i64 = new Slots()
  readonly #f32 = new Slots()
  readonly #f64 = new Slots()
  readonly #v128 = new Slots()

  constructor(code: CodeBuilder) {
    this.#code = code
  }

  #of(type: ValueType): Slots {
    switch (type) {
      case 'i32':
        return this.#i32
      case 'i64':
        return this.#i64
      case 'f32':
        return this.#f32
      case 'f64':
        return this.#f64
      case 'v128':
        return this.#v128
    }
  }

  take(type: ValueType): number {
    const slots = this.#of(type)
    const known = slots.made[slots.taken++]
    if (known !== undefined) return known
    const made = this.#code.local(type)
    slots.made.push(made)
    return made
  }

  /** All locals are free again. */
  reset(): void {
    for (const slots of [this.#i32, this.#i64, this.#f32, this.#f64, this.#v128]) slots.taken = 0
  }
}

/** The locals of a type, and how many of them are in use. */
class Slots {
  readonly made: number[] = []
  taken = 0
}

export class Generator {
  readonly code: CodeBuilder
  readonly locals: LocalPool
  readonly #backEnd: BackEnd
  #rare = false
  /** Reads of a register that may still be used; they get a local of their own when the register is written. */
  readonly #reads = new Map<number, Node[]>()

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

  /** What is only evaluated on the way out is computed there, from values that must be at hand. */
  #useRarely(value: Node): void {
    const target = resolve(value)
    if (target.kind === 'reg' || target.pinned) this.#use(target)
    else for (const arg of target.args) this.#useRarely(arg)
  }

  /** #useRarely() taken back: the statement that could have left is written. */
  #releaseRarely(value: Node): void {
    const target = resolve(value)
    if (target.kind === 'reg') target.uses--
    else if (!target.pinned) for (const arg of target.args) this.#releaseRarely(arg)
  }

  #count(statements: readonly Statement[]): void {
    for (const statement of statements) {
      switch (statement.kind) {
        case 'let':
          break
        case 'set':
        case 'setReg':
          this.#use(statement.node)
          break
        case 'if':
          this.#use(statement.condition)
          this.#count(statement.then)
          this.#count(statement.otherwise)
          break
        default:
          for (const value of exitPointOf(statement)?.flags?.values ?? NO_VALUES) this.#useRarely(value)
          for (const operand of operandsOf(statement)) this.#use(operand)
          if (statement.kind === 'unless') this.#count(statement.rare)
          else if (statement.kind === 'loop') this.#count(statement.body)
      }
    }
  }

  // --- pass 2: code ---

  #list(statements: readonly Statement[]): void {
    for (const statement of statements) {
      this.#statement(statement)
      for (const value of exitPointOf(statement)?.flags?.values ?? NO_VALUES) this.#releaseRarely(value)
    }
  }

  #statement(statement: Statement): void {
    const { code } = this
    switch (statement.kind) {
      case 'let':
        this.#bind(statement.node)
        return
      case 'do':
        for (const arg of statement.args) this.value(arg)
        this.#operator(statement.op, statement.immediates)
        return
      case 'set':
        this.value(statement.node)
        code.set(this.slotOf(statement.variable))
        return
      case 'if':
        if (statement.then.length === 0 && statement.otherwise.length === 0) return
        this.value(statement.condition)
        this.#keepReads(writtenBy(statement.then) | writtenBy(statement.otherwise))
        code.if()
        this.#aside(() => this.#list(statement.then))
        if (statement.otherwise.length > 0) {
          code.else()
          this.#aside(() => this.#list(statement.otherwise))
        }
        code.end()
        return
      case 'unless': {
        const [rare, end] = [new Label('rare'), new Label('end')]
        this.#keepReads(writtenBy(statement.rare))
        code.block(end).block(rare)
        this.#aside(() => {
          for (const condition of statement.all) {
            this.value(condition)
            code.op('i32.eqz').brIf(rare)
          }
          for (const condition of statement.any) {
            this.value(condition)
            code.brIf(end)
          }
        })
        code.end()
        this.#aside(() => this.#list(statement.rare))
        code.end()
        return
      }
      case 'loop': {
        const label = new Label('again')
        this.#keepReads(writtenBy(statement.body))
        code.loop(label)
        this.#aside(() => {
          this.#list(statement.body)
          this.value(statement.again)
        })
        code.brIf(label).end()
        return
      }
      case 'exit':
        return this.#backEnd.exit(this, statement)
      case 'call':
        this.#settleReads()
        return this.#backEnd.call(this, statement)
      case 'load':
        return this.#backEnd.load(this, statement)
      case 'store':
        return this.#backEnd.store(this, statement)
      case 'rmwBegin':
        return this.#backEnd.rmwBegin(this, statement)
      case 'rmwEnd':
        return this.#backEnd.rmwEnd(this, statement)
      case 'setReg':
        this.value(statement.node)
        this.#keepReadsOf(statement.reg)
        code.set(this.#registerLocal(statement.reg, true))
        this.#backEnd.registerWritten?.(statement)
        return
      case 'reload':
        this.#keepReads(statement.regs)
        return this.#backEnd.other?.(this, statement)
      case 'spill':
      case 'goto':
      case 'transfer':
      case 'leave':
      case 'valid':
      case 'crossing':
        return this.#backEnd.other?.(this, statement)
    }
  }

  #aside(body: () => void): void {
    if (this.#backEnd.aside) this.#backEnd.aside(body)
    else body()
  }

  /** Before registers may change behind the code's back: what was read of them and is still wanted has to be in its local. */
  #settleReads(): void {
    for (const [reg, reads] of this.#reads) {
      if (reads.some((read) => read.uses > 0 && read.slot < 0)) this.#registerLocal(reg, false)
    }
  }

  #registerLocal(reg: number, written: boolean): number {
    const local = this.#backEnd.register?.(reg, written)
    if (local === undefined) throw new Error(`this engine keeps no register ${reg} in a local`)
    return local
  }

  /** Before these registers change: what was read of them and is still wanted moves to locals of its own. */
  #keepReads(registers: bigint): void {
    if (this.#reads.size === 0 || registers === 0n) return
    for (const reg of this.#reads.keys()) if (((registers >> BigInt(reg)) & 1n) !== 0n) this.#keepReadsOf(reg)
  }

  #keepReadsOf(reg: number): void {
    const reads = this.#reads.get(reg)
    if (!reads) return
    let kept = -1
    for (const read of reads) {
      if (read.uses <= 0 || read.slot >= 0) continue
      if (kept < 0) {
        kept = this.locals.take(wasmType(read.ty))
        this.code.get(this.#registerLocal(reg, false)).set(kept)
      }
      read.slot = kept
    }
    this.#reads.delete(reg)
  }

  slotOf(variable: Variable): number {
    if (variable.slot < 0) variable.slot = this.locals.take(wasmType(variable.ty))
    return variable.slot
  }

  #bind(value: Node): void {
    if (value.kind === 'reg') {
      const reads = this.#reads.get(Number(value.value))
      if (reads) reads.push(value)
      else this.#reads.set(Number(value.value), [value])
      return
    }
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
    if (value.op.startsWith('call:')) this.#backEnd.pureCall?.(this, value.op.slice(5))
    else this.#operator(value.op, value.immediates)
  }

  #constant({ ty, value }: Node): void {
    if (ty === 'i64') this.code.i64(value)
    else if (ty === 'f32' || ty === 'f64') this.code.op(`${ty}.const`, value)
    else this.code.i32(Number(value))
  }

  #operator(op: string, immediates: readonly number[]): void {
    if (immediates.length > 2) this.code.lanes(op, immediates)
    else this.code.op(op, immediates[0], immediates[1])
  }

  /** Pushes a value on the way out of the code: it may be computed here several times. */
  rareValue(value: Node): void {
    this.#rare = true
    this.value(value)
    this.#rare = false
  }

  /** Pushes a value. */
  value(value: Node): void {
    const target = resolve(value)
    if (target.slot >= 0) this.code.get(target.slot)
    else if (target.kind === 'reg') {
      if (!this.#rare) target.uses--
      this.code.get(this.#registerLocal(Number(target.value), false))
    } else if (target.kind === 'once' && target.variable) this.code.get(this.slotOf(target.variable))
    else if (target.kind === 'local') this.code.get(Number(target.value))
    else if (target.kind === 'const') this.#constant(target)
    else if (target.pinned)
      throw new Error(`a value (${target.op || target.kind}) is used outside the branch that made it`)
    else this.#evaluate(target)
  }

  /** A local that holds the value: its own slot, or a fresh one filled here. */
  inLocal(value: Node): number {
    const target = resolve(value)
    if (target.slot >= 0) return target.slot
    if (target.kind === 'local') return Number(target.value)
    if (target.kind === 'once' && target.variable) return this.slotOf(target.variable)
    if (target.kind === 'reg') {
      target.uses--
      return this.#registerLocal(Number(target.value), false)
    }
    this.value(target)
    const slot = this.locals.take(wasmType(target.ty))
    this.code.set(slot)
    return slot
  }
}
