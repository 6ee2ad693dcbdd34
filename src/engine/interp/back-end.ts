/**
 * How recorded statements of a handler become code: inlined into run(), where exits are branches to its common tails and
 * the TLB check stands in line, or as a function of its own, where exits are return values and memory goes through the
 * shared accessors.
 */
import { CPU_FAULT, CPU_NEXT_RIP, CPU_RMW_ADDR, TLB_READ, TLB_WRITE } from '../../abi/layout.ts'
import type { CodeBuilder, Label } from '../../wasm/code.ts'
import type { BackEnd, Generator } from '../emit/generate.ts'
import type { Exit, Statement } from '../emit/ir.ts'
import { ACCESS, tlbEntry, tlbHit, tlbHost } from './support.ts'
import type { AccessSize, Support } from './support.ts'

type Of<Kind extends Statement['kind']> = Extract<Statement, { readonly kind: Kind }>

/** What a handler function returns. */
export const STATUS_FAULT = 0
export const STATUS_NEXT = 1
/** Near transfer to CPU_NEXT_RIP. */
export const STATUS_NEAR = 2
/** CPU_NEXT_RIP, and perhaps the mode, were set by a helper. */
export const STATUS_TRANSFER = 3
export const STATUS_TAKEN = 4

const CPU = 0

abstract class InterpBackEnd implements BackEnd {
  protected readonly support: Support
  protected readonly rec: number

  constructor(support: Support, rec: number) {
    this.support = support
    this.rec = rec
  }

  /** Leaves the handler; what the exit takes is on the stack. */
  protected abstract leave(code: CodeBuilder, exit: Exit): void

  exit(g: Generator, { exit, args }: Of<'exit'>): void {
    if (exit === 'near') this.near(g, args[0] as Parameters<Generator['value']>[0])
    else this.leave(g.code, exit)
  }

  protected abstract near(g: Generator, target: Parameters<Generator['value']>[0]): void

  call(g: Generator, { name, args, result }: Of<'call'>): void {
    const internal = name.startsWith('@')
    if (internal) g.code.get(CPU).get(this.rec)
    for (const arg of args) g.value(arg)
    g.code.call(this.support.index(internal ? name.slice(1) : name))
    if (result) g.code.set(g.slotOf(result))
  }

  protected faultCheck(code: CodeBuilder): void {
    code.get(CPU).op('i32.load', CPU_FAULT).if()
    this.leave(code, 'fault')
    code.end()
  }

  abstract load(g: Generator, statement: Of<'load'>): void
  abstract store(g: Generator, statement: Of<'store'>): void

  rmwBegin(g: Generator, { result, bytes, gva, seg, locked }: Of<'rmwBegin'>): void {
    const { code } = g
    code.get(CPU).get(this.rec)
    g.value(gva)
    code.i32(bytes | (locked ? 0x100 : 0))
    g.value(seg)
    code.call(this.support.index('rmw')).tee(g.slotOf(result)).op('i32.eqz').if()
    this.leave(code, 'fault')
    code.end()
  }

  rmwEnd(g: Generator): void {
    const { code } = g
    code.get(CPU).op('i32.load', CPU_RMW_ADDR).if()
    code.get(CPU).get(this.rec).call(this.support.index('rmw_end'))
    this.faultCheck(code)
    code.end()
  }
}

/** A handler that is a function (cpu, rec) -> status. */
export class FunctionBackEnd extends InterpBackEnd {
  constructor(support: Support) {
    super(support, 1)
  }

  protected leave(code: CodeBuilder, exit: Exit): void {
    code.i32(exit === 'fault' ? STATUS_FAULT : exit === 'taken' ? STATUS_TAKEN : STATUS_TRANSFER).return()
  }

  protected near(g: Generator, target: Parameters<Generator['value']>[0]): void {
    g.code.get(CPU)
    g.value(target)
    g.code.op('i64.store', CPU_NEXT_RIP).i32(STATUS_NEAR).return()
  }

  load(g: Generator, { result, bytes, gva, seg }: Of<'load'>): void {
    const { code } = g
    code.get(CPU).get(this.rec)
    g.value(gva)
    g.value(seg)
    code.call(this.support.index(`ld${bytes * 8}`)).set(g.slotOf(result))
    this.faultCheck(code)
  }

  store(g: Generator, { value, bytes, gva, seg }: Of<'store'>): void {
    const { code } = g
    code.get(CPU).get(this.rec)
    g.value(gva)
    g.value(value)
    g.value(seg)
    code.call(this.support.index(`st${bytes * 8}`))
    this.faultCheck(code)
  }
}

export interface RunTails {
  readonly fault: Label
  readonly taken: Label
  readonly near: Label
  readonly transfer: Label
  /** Local that `near` takes its target from, i64. */
  readonly target: number
}

/** A handler inlined into run(). */
export class InlineBackEnd extends InterpBackEnd {
  readonly #tails: RunTails

  constructor(support: Support, rec: number, tails: RunTails) {
    super(support, rec)
    this.#tails = tails
  }

  protected leave(code: CodeBuilder, exit: Exit): void {
    code.br(this.#tails[exit])
  }

  protected near(g: Generator, target: Parameters<Generator['value']>[0]): void {
    g.value(target)
    g.code.set(this.#tails.target).br(this.#tails.near)
  }

  #entry(g: Generator, gva: number): number {
    const entry = g.locals.take('i32')
    tlbEntry(g.code, CPU, gva)
    g.code.set(entry)
    return entry
  }

  load(g: Generator, { result, bytes, gva, seg }: Of<'load'>): void {
    const { code } = g
    const address = g.inLocal(gva)
    const entry = this.#entry(g, address)
    const slot = g.slotOf(result)
    const access = ACCESS[bytes as AccessSize]
    tlbHit(code, entry, address, bytes, TLB_READ)
    code.if()
    tlbHost(code, entry, address)
    code.op(access.load).set(slot)
    code.else().get(CPU).get(this.rec).get(address)
    g.value(seg)
    code.call(this.support.index(`slow_ld${bytes * 8}`)).set(slot)
    this.faultCheck(code)
    code.end()
  }

  store(g: Generator, { value, bytes, gva, seg }: Of<'store'>): void {
    const { code } = g
    const address = g.inLocal(gva)
    const stored = g.inLocal(value)
    const entry = this.#entry(g, address)
    tlbHit(code, entry, address, bytes, TLB_WRITE)
    code.if()
    tlbHost(code, entry, address)
    code.get(stored).op(ACCESS[bytes as AccessSize].store)
    code.else().get(CPU).get(this.rec).get(address).get(stored)
    g.value(seg)
    code.call(this.support.index(`slow_st${bytes * 8}`))
    this.faultCheck(code)
    code.end()
  }

  override rmwBegin(g: Generator, statement: Of<'rmwBegin'>): void {
    if (statement.locked) return super.rmwBegin(g, statement)
    const { result, bytes, gva, seg } = statement
    const { code } = g
    const address = g.inLocal(gva)
    const entry = this.#entry(g, address)
    const host = g.slotOf(result)
    tlbHit(code, entry, address, bytes, TLB_WRITE)
    code.if()
    tlbHost(code, entry, address)
    code.set(host)
    code.else().get(CPU).get(this.rec).get(address).i32(bytes)
    g.value(seg)
    code.call(this.support.index('slow_rmw')).tee(host).op('i32.eqz').brIf(this.#tails.fault)
    code.end()
  }
}
