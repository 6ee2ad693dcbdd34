/**
 * Accesses of a region to guest memory: the TLB is looked at in line, and what it does not know goes to the kernel. Accesses by
 * way of the same registers share the page that the first of them found, those to the stack the one that CPU_STACK_PAGE names.
 */
import {
  CPU_FAULT,
  CPU_INHIBIT,
  CPU_RMW_ADDR,
  CPU_SCRATCH,
  CPU_SCRATCH_SLOTS,
  CPU_SHADOW_RIP,
  CPU_STACK_HOST,
  CPU_STACK_PAGE,
  TLB_HOST,
  TLB_READ,
  TLB_WRITE,
} from '../../abi/layout.ts'
import type { CodeBuilder } from '../../wasm/code.ts'
import type { Generator } from '../emit/generate.ts'
import { resolve } from '../emit/ir.ts'
import type { ExitPoint, Node, PageGroup, Statement } from '../emit/ir.ts'
import { ACCESS, tlbEntryIn, tlbHit, tlbHost } from '../interp/support.ts'
import type { AccessSize } from '../interp/support.ts'

type Of<Kind extends Statement['kind']> = Extract<Statement, { readonly kind: Kind }>

/** Parameter 0 of a region's function. */
const CPU = 0
const BOUNCE = CPU_SCRATCH + (CPU_SCRATCH_SLOTS - 1) * 16

/** Functions that compiled code calls. */
export interface Imports {
  index(name: string): number
}

/** How an access leaves its region. */
export interface Exits {
  /** In front of the instruction, or behind it: as `at` says. */
  leave(g: Generator, at: ExitPoint | undefined): void
  /** An `if` on what is on the stack, for what hardly ever happens. */
  rarely(body: () => void): void
  /** Pushes a RIP given relative to the region's first page. */
  pushRip(relative: number): void
}

interface Parts {
  readonly code: CodeBuilder
  readonly imports: Imports
  /** Local with CPU_TLB. */
  readonly tlb: number
  readonly exits: Exits
}

/** Locals with a page's linear address, all ones = none, and its TLB_HOST. */
interface FoundPage {
  readonly page: number
  readonly host: number
  /** Accesses of the group that are still to come. */
  left: number
}

export class RegionMemory {
  readonly #imports: Imports
  readonly #tlb: number
  readonly #exits: Exits
  /** Local: whether the kernel lent a copy for the read-modify-write at hand. */
  readonly #bounced: number
  /** Pages that accesses of the block at hand found, for the accesses that follow. */
  readonly #pages = new Map<PageGroup, FoundPage>()

  constructor({ code, imports, tlb, exits }: Parts) {
    this.#imports = imports
    this.#tlb = tlb
    this.#exits = exits
    this.#bounced = code.local('i32')
  }

  /** At the begin of a block. */
  begin(): void {
    this.#pages.clear()
  }

  #faultCheck(g: Generator, at: ExitPoint | undefined): void {
    g.code.get(CPU).op('i32.load', CPU_FAULT)
    this.#exits.rarely(() => this.#exits.leave(g, at))
  }

  /** Leaves the address of the entry in a local and 1 on the stack if it allows the access. */
  #lookUp(code: CodeBuilder, gva: number, bytes: number, tag: number, entry: number): void {
    tlbEntryIn(code.get(this.#tlb), gva)
    code.set(entry)
    tlbHit(code, entry, gva, bytes, tag)
  }

  /**
   * Pushes 1 if an access lies in the page that its group found, or where none is given, in that of the last access to the
   * stack. One that is not aligned counts as not: it may reach into the next page.
   */
  #inFound(code: CodeBuilder, gva: number, bytes: number, found: FoundPage | undefined): void {
    const mask = -4096 | (bytes - 1)
    code.get(gva).i64(mask).op('i64.and')
    if (found) code.get(found.page)
    else code.get(CPU).op('i64.load', CPU_STACK_PAGE)
    code.op('i64.eq').expect(true)
  }

  #foundHost(code: CodeBuilder, gva: number, found: FoundPage | undefined): void {
    if (found) code.get(found.host)
    else code.get(CPU).op('i32.load', CPU_STACK_HOST)
    code.get(gva).op('i32.wrap_i64').op('i32.add')
  }

  /** The page that an access of the group before this one found. */
  #foundBy(group: PageGroup | undefined): FoundPage | undefined {
    const found = group && this.#pages.get(group)
    if (found && --found.left === 0) this.#pages.delete(group)
    return found
  }

  /** Behind the first access's test of the TLB: pushes the host address, and keeps the page if more of its group follow. */
  #hostOfFirst(g: Generator, entry: number, gva: number, group: PageGroup | undefined): void {
    const { code } = g
    if (!group || group.accesses < 2) return tlbHost(code, entry, gva)
    const found = { page: g.locals.take('i64'), host: g.locals.take('i32'), left: group.accesses - 1 }
    this.#pages.set(group, found)
    code.get(gva).i64(-4096).op('i64.and').set(found.page)
    code.get(entry).op('i32.load', TLB_HOST).tee(found.host)
    code.get(gva).op('i32.wrap_i64').op('i32.add')
  }

  /** On the slow way everything may have happened. */
  #forgetPages(code: CodeBuilder): void {
    for (const { page } of this.#pages.values()) code.i64(-1n).set(page)
  }

  #loadFound(g: Generator, { result, bytes, gva, seg, at }: Of<'load'>, found: FoundPage | undefined): void {
    const { code } = g
    const address = g.inLocal(gva)
    const slot = g.slotOf(result)
    this.#inFound(code, address, bytes, found)
    code.if()
    this.#foundHost(code, address, found)
    code.op(ACCESS[bytes as AccessSize].load).set(slot)
    code.else()
    code.get(CPU).get(address)
    g.value(seg)
    code.call(this.#imports.index(`${found ? 'other' : 'stack'}_load${bytes * 8}`)).set(slot)
    this.#forgetPages(code)
    this.#faultCheck(g, at)
    code.end()
  }

  #storeFound(g: Generator, { value, bytes, gva, seg, at }: Of<'store'>, found: FoundPage | undefined): void {
    const { code } = g
    const address = g.inLocal(gva)
    const stored = g.inLocal(value)
    this.#inFound(code, address, bytes, found)
    code.if()
    this.#foundHost(code, address, found)
    code.get(stored).op(ACCESS[bytes as AccessSize].store)
    code.else()
    code.get(CPU).get(address).get(stored)
    this.#exits.pushRip(at?.rip ?? 0)
    code.i32(howOf(bytes, seg))
    code.call(this.#imports.index(`${found ? 'other' : 'stack'}_store${bytes * 8}`))
    this.#forgetPages(code)
    code.op('i32.eqz')
    this.#exits.rarely(() => this.#exits.leave(g, at))
    code.end()
  }

  load(g: Generator, statement: Of<'load'>): void {
    const found = this.#foundBy(statement.group)
    if (statement.stack || found) return this.#loadFound(g, statement, found)
    const { result, bytes, gva, seg, group, at } = statement
    const { code } = g
    const address = g.inLocal(gva)
    const entry = g.locals.take('i32')
    const slot = g.slotOf(result)
    const access = ACCESS[bytes as AccessSize]
    // Where a store follows, what may only be read counts as not found.
    const stores = group !== undefined && group.writes && group.accesses > 1
    this.#lookUp(code, address, bytes, stores ? TLB_WRITE : TLB_READ, entry)
    code.expect(true).if()
    this.#hostOfFirst(g, entry, address, group)
    code.op(access.load).set(slot)
    code.else()
    if (bytes === 16) {
      code.get(address).get(CPU).i32(BOUNCE).op('i32.add')
      g.value(seg)
      code.call(this.#imports.index('mem_load128')).get(CPU).op('v128.load', BOUNCE).set(slot)
    } else {
      if (stores) code.get(CPU)
      code.get(address)
      g.value(seg)
      code.call(this.#imports.index(`${stores ? 'other' : 'mem'}_load${bytes * 8}`)).set(slot)
    }
    this.#forgetPages(code)
    this.#faultCheck(g, at)
    code.end()
  }

  store(g: Generator, statement: Of<'store'>): void {
    const found = this.#foundBy(statement.group)
    if (statement.stack || found) return this.#storeFound(g, statement, found)
    const { value, bytes, gva, seg, group, at } = statement
    const { code } = g
    const address = g.inLocal(gva)
    const stored = g.inLocal(value)
    const entry = g.locals.take('i32')
    const access = ACCESS[bytes as AccessSize]
    this.#lookUp(code, address, bytes, TLB_WRITE, entry)
    code.expect(true).if()
    this.#hostOfFirst(g, entry, address, group)
    code.get(stored).op(access.store)
    code.else()
    this.#forgetPages(code)
    if (bytes === 16) this.#storeVector(g, address, stored, seg, at)
    else {
      code.get(address).get(stored)
      if (bytes < 8) code.op('i64.extend_i32_u')
      this.#exits.pushRip(at?.rip ?? 0)
      code.i32(howOf(bytes, seg)).call(this.#imports.index('jit_store'))
      code.op('i32.eqz')
      this.#exits.rarely(() => this.#exits.leave(g, at))
    }
    code.end()
  }

  #storeVector(g: Generator, address: number, stored: number, seg: Node, at: ExitPoint | undefined): void {
    const { code } = g
    this.#mayStore(g, address, 16, at)
    code.get(address).get(CPU).get(stored).op('v128.store', BOUNCE).get(CPU).i32(BOUNCE).op('i32.add')
    g.value(seg)
    code.call(this.#imports.index('mem_store128'))
    this.#faultCheck(g, at)
  }

  /** Before a store on the slow way: over decoded code of this vCPU it is the interpreter that makes it. */
  #mayStore(g: Generator, address: number, bytes: number, at: ExitPoint | undefined): void {
    const { code } = g
    code.get(address).i32(bytes).call(this.#imports.index('jit_may_store')).op('i32.eqz')
    this.#exits.rarely(() => {
      // The instruction runs alone, so that it does not lead back here.
      code.get(CPU).i32(1).op('i32.store', CPU_INHIBIT)
      code.get(CPU)
      this.#exits.pushRip(at?.rip ?? 0)
      code.op('i64.store', CPU_SHADOW_RIP)
      this.#exits.leave(g, at)
    })
  }

  rmwBegin(g: Generator, { result, bytes, gva, seg, locked, group, at }: Of<'rmwBegin'>): void {
    const { code } = g
    const address = g.inLocal(gva)
    const entry = g.locals.take('i32')
    const host = g.slotOf(result)
    const found = this.#foundBy(group)
    code.i32(0).set(this.#bounced)
    if (found) this.#inFound(code, address, bytes, found)
    else this.#lookUp(code, address, bytes, TLB_WRITE, entry)
    if (locked && bytes > 1 && !found) {
      code
        .get(address)
        .op('i32.wrap_i64')
        .i32(bytes - 1)
        .op('i32.and')
        .op('i32.eqz')
        .op('i32.and')
    }
    code.expect(true).if()
    if (found) this.#foundHost(code, address, found)
    else this.#hostOfFirst(g, entry, address, group)
    code.set(host)
    code.else()
    this.#forgetPages(code)
    this.#mayStore(g, address, bytes, at)
    code.get(address).i32(bytes | (locked ? 0x100 : 0))
    g.value(seg)
    code.call(this.#imports.index('mem_rmw_begin')).tee(host).op('i32.eqz')
    this.#exits.rarely(() => this.#exits.leave(g, at))
    code.get(CPU).op('i32.load', CPU_RMW_ADDR).set(this.#bounced)
    code.end()
  }

  rmwEnd(g: Generator, { at }: Of<'rmwEnd'>): void {
    const { code } = g
    code.get(this.#bounced).expect(false).if()
    code.call(this.#imports.index('mem_rmw_end'))
    this.#forgetPages(code)
    this.#faultCheck(g, at)
    code.end()
  }
}

/** Last argument of jit_store(). */
function howOf(bytes: number, seg: Node): number {
  const { kind, value } = resolve(seg)
  if (kind !== 'const') throw new Error('a segment that is no constant of the instruction')
  return bytes | (Number(value) << 8)
}
