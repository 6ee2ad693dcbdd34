/**
 * What of the CPU struct is in locals at the place that is being written.
 *
 * Registers are written through: the struct is right wherever code can be left, and a local is only a copy that saves loads.
 * That costs a store for each write, but nothing where blocks meet, at calls and at ways out: values that have to be kept in
 * step over all edges of a region cost more, in spills, in machine code and in compile time.
 *
 * Flags are the exception, because most are never looked at: what they come from stays in locals (CC_*) and is `pending` until
 * a way leads to where somebody else may look. On the way out of the middle of a block it is stored there, out of line.
 */
import { CC_CANONICAL, CC_NONE } from '../../abi/jit.ts'
import type { CodeBuilder } from '../../wasm/code.ts'
import { exitPointOf } from '../emit/ir.ts'
import type { Statement } from '../emit/ir.ts'
import { loadOp, storeOp } from '../interp/record-emit.ts'
import { CC_A, CC_B, CC_KIND, CC_RES, bit, listed, offsetOf, typeOf } from './registers.ts'

/** Parameter 0 of a region's function. */
const CPU = 0
const FLAGS = bit(CC_KIND) | bit(CC_A) | bit(CC_B) | bit(CC_RES)

export interface State {
  /** Registers whose locals are as the struct is, or newer: a bit each, 0 to 31 and the rest. */
  readonly low: number
  readonly high: number
  /** The struct's CC_* are behind the locals. */
  readonly pending: boolean
  /** CC_KIND of what is pending, as far as it is known. */
  readonly kind: number | undefined
}

/** Where several ways meet: nothing is known but that the flags are in their locals, or if those say CC_NONE in the struct. */
export const MERGED: State = {
  low: 0,
  high: [CC_KIND, CC_A, CC_B, CC_RES].reduce((bits, reg) => bits | (1 << (reg - 32)), 0),
  pending: true,
  kind: undefined,
}

export class KnownState {
  readonly #code: CodeBuilder
  readonly #locals: number[] = []
  #low = 0
  #high = 0
  #pending = false
  #kind: number | undefined
  /** Branches within an instruction that are open. */
  #nested = 0

  constructor(code: CodeBuilder) {
    this.#code = code
  }

  get pending(): boolean {
    return this.#pending
  }

  /** To hand on to a block that is only reached from here. */
  get snapshot(): State {
    return { low: this.#low, high: this.#high, pending: this.#pending, kind: this.#kind }
  }

  /** At the begin of a block; nothing is known of one that is reached from several others. */
  begin(state: State | undefined): void {
    this.#low = state?.low ?? 0
    this.#high = state?.high ?? 0
    this.#pending = state?.pending ?? false
    this.#kind = state?.kind
  }

  /** What runs on one way only: afterwards no more is known than before. */
  aside(body: () => void): void {
    const { low, high, pending, kind } = this.snapshot
    this.#nested++
    body()
    this.#nested--
    this.#low &= low
    this.#high &= high
    this.#pending = pending
    if (this.#kind !== kind) this.#kind = undefined
  }

  local(reg: number): number {
    return (this.#locals[reg] ??= this.#code.local(typeOf(reg)))
  }

  /** The local of a register, loaded if need be. */
  read(reg: number): number {
    const local = this.local(reg)
    if (!this.#has(reg)) {
      this.#load(reg)
      this.know(reg)
    }
    return local
  }

  /** After the local was set. `dead`: the register is set again before anybody could read it from the struct. */
  written({ reg, node }: Extract<Statement, { readonly kind: 'setReg' }>, dead: boolean): void {
    this.know(reg)
    if (reg < CC_KIND || reg > CC_RES) {
      if (!dead) this.#store(reg)
      return
    }
    // On one of two ways that meet again both have to leave the flags in the same place.
    if (this.#nested > 0 && !this.#pending) {
      if (!dead) this.#store(reg)
      return
    }
    if (reg === CC_KIND)
      this.#kind = node.kind === 'const' && this.#nested === 0 ? Number(node.value) : undefined
    // Whoever says CC_NONE has brought the struct up to date.
    this.#pending = this.#nested > 0 || this.#kind !== CC_NONE
  }

  /** Registers that somebody else may have changed in the struct: a local that counts as a copy has to be one again. */
  reload(regs: bigint): void {
    for (const reg of listed(regs)) if (this.#has(reg)) this.#load(reg)
  }

  forgetAll(): void {
    this.begin(undefined)
  }

  /** Brings the flags of the struct up to date. */
  storeFlags(): void {
    if (!this.#pending) return
    if (this.#kind === undefined) this.storeFlagLocals()
    else this.#storeFlagsOf(this.#kind)
    this.#pending = false
  }

  /** Stores the locals of the flags, unless they say that the struct has them. */
  storeFlagLocals(): void {
    const code = this.#code.get(this.local(CC_KIND)).if()
    this.#storeFlagsOf(undefined)
    code.end()
  }

  #storeFlagsOf(kind: number | undefined): void {
    if (kind === undefined) this.#store(CC_KIND)
    else this.#code.get(CPU).i32(kind).op('i32.store', offsetOf(CC_KIND))
    this.#store(CC_A)
    if (kind !== CC_CANONICAL) this.#store(CC_B)
    this.#store(CC_RES)
  }

  /** Towards a block that finds the flags where MERGED says. */
  mergeFlags(): void {
    if (!this.#pending) this.#code.i32(CC_NONE).set(this.local(CC_KIND))
  }

  #has(reg: number): boolean {
    return ((reg < 32 ? this.#low >>> reg : this.#high >>> (reg - 32)) & 1) !== 0
  }

  /** The local is as the struct. */
  know(reg: number): void {
    if (reg < 32) this.#low |= 1 << reg
    else this.#high |= 1 << (reg - 32)
  }

  #load(reg: number): void {
    this.#code
      .get(CPU)
      .op(loadOp(typeOf(reg)), offsetOf(reg))
      .set(this.local(reg))
  }

  #store(reg: number): void {
    this.#code
      .get(CPU)
      .get(this.local(reg))
      .op(storeOp(typeOf(reg)), offsetOf(reg))
  }
}

/** Registers that are set again later, at one place of a block: before the code could be left, and besides before they are read. */
interface Later {
  readonly set: bigint
  readonly unread: bigint
}

/** Writes of registers that nobody could find in the struct, as the block sets them again. */
export function deadWrites(statements: readonly Statement[]): Set<Statement> {
  const dead = new Set<Statement>()
  walk(statements, { set: 0n, unread: 0n }, true, dead)
  return dead
}

function walk(statements: readonly Statement[], behind: Later, top: boolean, dead: Set<Statement>): Later {
  let { set, unread } = behind
  for (let i = statements.length - 1; i >= 0; i--) {
    const statement = statements[i]
    if (!statement) continue
    switch (statement.kind) {
      case 'let': {
        const { node } = statement
        if (node.kind === 'reg') unread &= ~bit(Number(node.value))
        break
      }
      case 'set':
        break
      case 'setReg': {
        const reg = bit(statement.reg)
        // On one way only the local is not known to be right afterwards: who reads it takes it from the struct.
        if ((top ? set : unread) & reg) dead.add(statement)
        set |= reg
        unread |= reg
        break
      }
      case 'if': {
        const then = walk(statement.then, { set, unread }, false, dead)
        const otherwise = walk(statement.otherwise, { set, unread }, false, dead)
        set = then.set & otherwise.set
        unread = then.unread & otherwise.unread
        break
      }
      case 'unless': {
        const rare = walk(statement.rare, { set, unread }, false, dead)
        set &= rare.set
        unread &= rare.unread
        break
      }
      case 'loop':
        walk(statement.body, { set: 0n, unread: 0n }, false, dead)
        set = 0n
        unread = 0n
        break
      default:
        set = 0n
        unread = 0n
    }
  }
  return { set, unread }
}

/** False: flags are set before anybody could look at those that there were. */
export function looksAtFlags(statements: readonly Statement[]): boolean {
  return flagsFate(statements) !== 'set'
}

function flagsFate(statements: readonly Statement[]): 'read' | 'set' | 'kept' {
  for (const statement of statements) {
    switch (statement.kind) {
      case 'let': {
        const { node } = statement
        if (node.kind === 'reg' && FLAGS & bit(Number(node.value))) return 'read'
        break
      }
      case 'setReg':
        if (statement.reg === CC_KIND) return 'set'
        break
      case 'if':
        if (flagsFate(statement.then) === 'read' || flagsFate(statement.otherwise) === 'read') return 'read'
        break
      case 'unless':
        if (flagsFate(statement.rare) === 'read') return 'read'
        break
      case 'loop':
        if (flagsFate(statement.body) === 'read') return 'read'
        break
      case 'goto':
      case 'transfer':
      case 'leave':
        return 'read'
      default: {
        const at = exitPointOf(statement)
        if (at && !at.flags) return 'read'
      }
    }
  }
  return 'kept'
}
