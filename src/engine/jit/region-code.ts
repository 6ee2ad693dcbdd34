/**
 * One region as one WebAssembly function (cpu, base, budget, depth) -> REGION_*: blocks under structured control flow,
 * registers in locals as far as known-state.ts says.
 *
 * Callees that are part of the region are entered and left by branches: what a return finds on the stack is compared with
 * where the call was.
 *
 * Leaving: a fault, a request and what only the run loop can do go through one common exit; `site` says where it was. Guest
 * calls nest as WebAssembly calls: what comes back goes on here only if it returned to the right place and this code stands.
 */
import { CALL_DEPTH_MAX, REGION_ENTER, REGION_NEAR } from '../../abi/jit.ts'
import { LINK_GFN, LINK_INDEX, LINK_REGION, LINK_SIZE, REGION_VALID } from '../../abi/code-cache.ts'
import {
  CPU_BUDGET,
  CPU_NEXT_RIP,
  CPU_RIP,
  CPU_TLB,
  MODE_CS64,
  MODE_CS_MASK,
  TLB_EXEC,
  TLB_GFN,
} from '../../abi/layout.ts'
import { Label } from '../../wasm/code.ts'
import type { CodeBuilder } from '../../wasm/code.ts'
import { Generator, LocalPool } from '../emit/generate.ts'
import type { BackEnd } from '../emit/generate.ts'
import { readBy } from '../emit/ir.ts'
import type { ExitPoint, Statement } from '../emit/ir.ts'
import { tlbEntryIn } from '../interp/support.ts'
import { keyOf } from './discover.ts'
import type { Region } from './discover.ts'
import { findHash } from './perfect-hash.ts'
import { KnownState, MERGED, deadWrites, looksAtFlags } from './known-state.ts'
import { predecessorsOf, record, successorsOf, transferOf } from './region-blocks.ts'
import type { RecordedBlock } from './region-blocks.ts'
import { RegionMemory } from './region-memory.ts'
import type { Exits, Imports } from './region-memory.ts'
import { structured } from './graph.ts'
import type { Structure } from './graph.ts'
import { CC_A, CC_B, CC_KIND, CC_RES, CR0, XMMS, bit, listed } from './registers.ts'

type Of<Kind extends Statement['kind']> = Extract<Statement, { readonly kind: Kind }>

const [CPU, BASE, BUDGET, DEPTH] = [0, 1, 2, 3]
const PAGE = 4096
// `site`, from bit 0 on: how the region is left; instructions retired in the block; RIP relative to the first page.
/** To other compiled code or the interpreter, the budget is settled. */
const SITE_AWAY = 1n << 0n
/** CPU_RIP and the budget are settled. */
const SITE_OUT = 1n << 1n
const SITE_RETIRED = 2
const SITE_RETIRED_MASK = 1023
const SITE_RIP = 12

export interface RegionTarget {
  readonly code: CodeBuilder
  readonly imports: Imports
  /** Of the region's struct (abi/code-cache.ts, REGION_*), from the CPU struct. */
  readonly struct: number
  /** Of its links (LINK_*), and how many there are. */
  readonly links: number
  readonly linkCount: number
  /** Type of a region's function in the module; its table is number 0. */
  readonly regionType: number
}

class RegionCode implements BackEnd, Exits {
  readonly #region: Region
  readonly #target: RegionTarget
  readonly #code: CodeBuilder
  readonly #byKey: ReadonlyMap<number, number>
  readonly #successors: readonly (readonly number[])[]
  readonly #shape: Structure
  readonly #recorded: readonly RecordedBlock[]
  readonly #known: KnownState
  /** What is known where a block begins that is reached from one place only. */
  readonly #knownAt = new Map<number, KnownState['snapshot']>()
  /** Vector registers that each loop reads, by its header: they stay in locals all the way round. */
  readonly #carried: ReadonlyMap<number, readonly number[]>
  /** How many ways lead to each block. */
  readonly #ways: readonly number[]
  /** Blocks that the junction leads to. */
  readonly #jumpedTo: ReadonlySet<number>
  /** What #meetsWithFlags() said, by block. */
  readonly #meeting: boolean[] = []
  readonly #pool: LocalPool
  readonly #labels = new Map<number, Label>()
  readonly #exit = new Label('exit')
  /** As #exit, for where the flags are in locals that the CPU struct does not know yet. */
  readonly #flagsExit = new Label('exit with flags')
  readonly #site: number
  readonly #tlb: number
  /** Where an indirect jump goes, for the junction. */
  readonly #jump: number
  readonly #memory: RegionMemory
  /** What is emitted at the moment. */
  #block = 0
  #linksUsed = 0
  #dead: ReadonlySet<Statement> = new Set()

  constructor(region: Region, target: RegionTarget) {
    this.#region = region
    this.#target = target
    this.#code = target.code
    this.#byKey = new Map(region.blocks.map(({ context, rip }, index) => [keyOf(context, rip), index]))
    const { successors, shape } = structured({ successors: successorsOf(region, this.#byKey) })
    this.#successors = successors
    this.#shape = shape
    this.#recorded = record(region, this.#shape, this.#successors)
    this.#known = new KnownState(this.#code)
    this.#carried = carriedBy(this.#recorded, this.#shape, this.#successors, this.#junction)
    this.#ways = waysTo(region, this.#successors)
    this.#jumpedTo = new Set(this.#successors[this.#junction])
    this.#site = this.#code.local('i64')
    this.#tlb = this.#code.local('i32')
    this.#memory = new RegionMemory({
      code: this.#code,
      imports: target.imports,
      tlb: this.#tlb,
      exits: this,
    })
    this.#jump = this.#code.local('i64')
    this.#pool = new LocalPool(this.#code)
  }

  emit(): void {
    const code = this.#code
    // Nothing was touched yet.
    this.#ifUsedUp(() => {
      this.#storeRip(this.#region.entry)
      code.get(CPU).get(BUDGET).op('i32.store', CPU_BUDGET).i32(REGION_ENTER).return()
    })
    code.get(CPU).op('i32.load', CPU_TLB).set(this.#tlb)
    for (const reg of this.#carried.get(0) ?? []) this.#known.read(reg)
    code.block(this.#exit).block(this.#flagsExit)
    this.#tree(0)
    code.end() // exit with flags
    this.#known.storeFlagLocals()
    code.end() // exit
    const how = this.#pool.take('i32')
    code.get(this.#site).op('i32.wrap_i64').tee(how)
    code.i32(Number(SITE_AWAY)).op('i32.and').if()
    code.get(CPU)
    this.#pushSite()
    code.get(BUDGET).get(DEPTH).returnCall(this.#target.imports.index('dispatch')).end()
    code.get(how).i32(Number(SITE_OUT)).op('i32.and').op('i32.eqz').if()
    code.get(CPU)
    this.#pushSite()
    code.op('i64.store', CPU_RIP)
    code.get(BUDGET).get(how).i32(SITE_RETIRED).op('i32.shr_u').i32(SITE_RETIRED_MASK).op('i32.and')
    code.op('i32.sub').set(BUDGET)
    code.end()
    code.get(CPU).get(BUDGET).op('i32.store', CPU_BUDGET).i32(REGION_ENTER)
  }

  /** Leaves through the common exit. `flags`: those in the locals are newer than those in the CPU struct. */
  #exitAt(site: bigint, flags = this.#known.pending): void {
    this.#code
      .i64(site)
      .set(this.#site)
      .br(flags ? this.#flagsExit : this.#exit)
  }

  /** Pushes the RIP of `site`. */
  #pushSite(): void {
    this.#code.get(BASE).get(this.#site).i64(SITE_RIP).op('i64.shr_s').op('i64.add')
    this.#truncate()
  }

  get #long(): boolean {
    return (this.#region.mode & MODE_CS_MASK) === MODE_CS64
  }

  #truncate(): void {
    if (!this.#long) this.#code.i64(0xffff_ffffn).op('i64.and')
  }

  /** Pushes base + relative as a RIP. */
  pushRip(relative: number): void {
    this.#code.get(BASE).i64(relative).op('i64.add')
    this.#truncate()
  }

  #storeRip(relative: number): void {
    this.#code.get(CPU)
    this.pushRip(relative)
    this.#code.op('i64.store', CPU_RIP)
  }

  // --- registers ---

  register(reg: number, written: boolean): number {
    return written ? this.#known.local(reg) : this.#known.read(reg)
  }

  registerWritten(statement: Of<'setReg'>): void {
    this.#known.written(statement, this.#dead.has(statement))
  }

  aside(body: () => void): void {
    this.#known.aside(body)
  }

  /** An `if` on what is on the stack, for what hardly ever happens. */
  rarely(body: () => void): void {
    this.#code.expect(false).if()
    this.aside(body)
    this.#code.end()
  }

  // --- control flow ---

  #tree(index: number): void {
    const header = this.#shape.headers.has(index)
    const children = this.#shape.children[index] ?? []
    if (header) {
      const label = new Label(`loop ${index}`)
      this.#labels.set(index, label)
      this.#code.loop(label)
    }
    const inner = header ? this.#labels.get(index) : undefined
    for (const child of children.toReversed()) {
      const label = new Label(`block ${child}`)
      this.#labels.set(child, label)
      this.#code.block(label)
    }
    this.#emitBlock(index)
    for (const child of children) {
      this.#code.end()
      this.#tree(child)
    }
    if (inner) this.#code.end()
  }

  #emitBlock(index: number): void {
    const entry = this.#recorded[index]
    if (!entry) throw new Error('unreachable')
    this.#block = index
    this.#known.begin(this.#meetsWithFlags(index) ? MERGED : this.#knownAt.get(index))
    for (const reg of this.#carried.get(index) ?? []) this.#known.know(reg)
    this.#pool.reset()
    this.#memory.begin()
    if (index === this.#junction) return this.#dispatchJump()
    this.#dead = deadWrites(entry.statements)
    new Generator(this.#code, this.#pool, this).run(entry.statements)
    this.#code.op('unreachable')
  }

  get #count(): number {
    return this.#recorded[this.#block]?.block.records.length ?? 0
  }

  /**
   * Leaves if the budget is used up and the run loop does not give another one at once: only then are requests looked at,
   * which loops so do every few thousand instructions.
   */
  #ifUsedUp(leave: () => void): void {
    const code = this.#code
    code.get(BUDGET).i32(0).op('i32.lt_s').expect(false).if()
    code.get(BUDGET).call(this.#target.imports.index('run_on')).tee(BUDGET).i32(0).op('i32.lt_s').if()
    leave()
    code.end().end()
  }

  /** From the end of the current block to a place in the code. */
  #goto(g: Generator, rip: number): void {
    const { code } = g
    const to = this.#blockAt(rip)
    code.get(BUDGET).i32(this.#count).op('i32.sub').set(BUDGET)
    if (to !== undefined && this.#leadsTo(to)) return this.#enter(to, rip)
    // A way that was hardly ever taken is kept short: what it takes to leave is written once for all of these.
    if (!this.#targets.includes(rip)) this.#exitAt(this.#siteOf(rip, 0) | SITE_AWAY)
    else this.#elsewhere(rip)
  }

  /** Where the current block goes by ways that are worth code of their own. */
  get #targets(): readonly number[] {
    return this.#recorded[this.#block]?.block.targets ?? []
  }

  /** The block at a place in the context of the current one. */
  #blockAt(rip: number): number | undefined {
    return this.#byKey.get(keyOf(this.#region.blocks[this.#block]?.context ?? 0, rip))
  }

  #leadsTo(block: number): boolean {
    return (this.#successors[this.#block] ?? []).includes(block)
  }

  #isBack(to: number): boolean {
    return (this.#shape.position[to] ?? 0) <= (this.#shape.position[this.#block] ?? 0)
  }

  /** Goes on at another block of the region, if nothing speaks against it. The budget is settled. */
  #enter(to: number, rip: number): void {
    const code = this.#code
    // A block that several ways lead to finds everything but the flags in the CPU struct.
    const alone = this.#isAlone(to)
    if (this.#isBack(to)) this.#ifUsedUp(() => this.#exitAt(this.#siteOf(rip, 0)))
    this.#checkPage(rip)
    if (alone) this.#knownAt.set(to, this.#known.snapshot)
    else if (this.#meetsWithFlags(to)) this.#known.mergeFlags()
    for (const reg of this.#carried.get(to) ?? []) this.#known.read(reg)
    code.br(this.#labelOf(to))
  }

  /** Only one way leads to a block. */
  #isAlone(block: number): boolean {
    return block !== 0 && block !== this.#junction && this.#ways[block] === 1 && !this.#jumpedTo.has(block)
  }

  /** Several ways lead to a block, and somebody may look at the flags that they bring. */
  #meetsWithFlags(block: number): boolean {
    return (this.#meeting[block] ??=
      !this.#isAlone(block) &&
      (this.#ways[block] ?? 0) > 0 &&
      (block === this.#junction || looksAtFlags(this.#recorded[block]?.statements ?? [])))
  }

  #labelOf(block: number): Label {
    const label = this.#labels.get(block)
    if (!label) throw new Error(`block ${block} has no label`)
    return label
  }

  // --- indirect jumps within the region ---

  get #junction(): number {
    return this.#region.blocks.length
  }

  /** From an indirect jump, its target in #jump, to the junction. */
  #toJunction(): void {
    const code = this.#code
    if (this.#isBack(this.#junction))
      this.#ifUsedUp(() => {
        code.get(CPU).get(this.#jump).op('i64.store', CPU_RIP)
        this.#exitAt(SITE_OUT)
      })
    if (this.#meetsWithFlags(this.#junction)) this.#known.mergeFlags()
    code.br(this.#labelOf(this.#junction))
  }

  /** The junction: a perfect hash of the target finds the only block that it could be. */
  #dispatchJump(): void {
    const code = this.#code
    const targets = this.#successors[this.#junction] ?? []
    const rips = targets.map((to) => this.#region.blocks[to]?.rip ?? 0)
    const { multiplier, shift, slots } = findHash(rips)
    const miss = new Label('miss')
    const labels = targets.map((to) => new Label(`jump to ${to}`))
    code.block(miss)
    for (const label of labels.toReversed()) code.block(label)
    code.get(this.#jump).get(BASE).op('i64.sub').op('i32.wrap_i64').i32(multiplier).op('i32.mul')
    code.i32(shift).op('i32.shr_u')
    code.brTable(
      slots.map((slot) => labels[slot] ?? miss),
      miss,
    )
    for (const [i, to] of targets.entries()) {
      const rip = rips[i] ?? 0
      code.end()
      code.get(this.#jump)
      this.pushRip(rip)
      code.op('i64.ne').expect(false).brIf(miss)
      this.aside(() => this.#enter(to, rip))
    }
    code.end() // miss
    this.#known.storeFlags()
    code.get(CPU).get(this.#jump).get(BUDGET).get(DEPTH)
    code.returnCall(this.#target.imports.index('dispatch'))
    code.op('unreachable')
  }

  /** Leaves for other compiled code, or the interpreter, at a place outside. The budget is settled. */
  #elsewhere(rip: number): void {
    const code = this.#code
    this.#known.storeFlags()
    const to = this.#pool.take('i64')
    this.pushRip(rip)
    code.set(to)
    this.#linked(to, rip, 'jump')
  }

  /**
   * Goes to a place that this code names: through a link that remembers the region there. A target in the block's own page
   * is where it is; for another page the mapping has to be the same as when the link was made.
   */
  #linked(to: number, rip: number, how: 'call' | 'jump'): void {
    const code = this.#code
    const depth = (): void => {
      code.get(DEPTH)
      if (how === 'call') code.i32(1).op('i32.add')
    }
    const { links, linkCount } = this.#target
    const link = links + this.#linksUsed * LINK_SIZE
    if (this.#linksUsed++ >= linkCount) {
      code.get(CPU).get(to).get(BUDGET)
      depth()
      const dispatch = this.#target.imports.index('dispatch')
      if (how === 'call') code.call(dispatch)
      else code.returnCall(dispatch)
      return
    }
    const page = this.#pool.take('i64')
    code.get(to).i64(-4096).op('i64.and').set(page)
    // Links lead to where structs are in this vCPU's memory.
    code
      .get(CPU)
      .op('i32.load', link + LINK_REGION)
      .op('i32.load', REGION_VALID)
    if (Math.floor(rip / PAGE) !== this.#lastPage) {
      const entry = this.#pool.take('i32')
      this.#entryOf(page)
      code.tee(entry).op('i64.load', TLB_EXEC).get(page).op('i64.eq').op('i32.and')
      code.get(entry).op('i32.load', TLB_GFN)
      code
        .get(CPU)
        .op('i32.load', link + LINK_GFN)
        .op('i32.eq')
        .op('i32.and')
    }
    code.expect(true).if(how === 'call' ? 'i32' : undefined)
    code.get(CPU).get(page).get(BUDGET)
    depth()
    code.get(CPU).op('i32.load', link + LINK_INDEX)
    if (how === 'call') code.callIndirect(this.#target.regionType)
    else code.returnCallIndirect(this.#target.regionType)
    if (how === 'call') code.else()
    else code.end()
    code.get(CPU).get(to).get(BUDGET)
    depth()
    code.get(CPU).i32(link).op('i32.add')
    const search = this.#target.imports.index('link')
    if (how === 'call') code.call(search).end()
    else code.returnCall(search)
  }

  /** Pushes the TLB entry of a linear address in a local. */
  #entryOf(address: number): void {
    tlbEntryIn(this.#code.get(this.#tlb), address)
  }

  /** Page of the block's last instruction. */
  get #lastPage(): number {
    return this.#pageBehind(this.#block)
  }

  #pageBehind(block: number): number {
    return Math.floor((this.#recorded[block]?.block.records.at(-1)?.rip ?? 0) / PAGE)
  }

  /** The page was checked already by whatever leads here. */
  #comesFrom(distance: number): boolean {
    if (this.#block !== this.#junction) return distance === this.#lastPage
    return this.#successors.every(
      (list, from) => !list.includes(this.#junction) || this.#pageBehind(from) === distance,
    )
  }

  /** Another page of the region: it must be mapped where it was. */
  #checkPage(rip: number): void {
    const distance = Math.floor(rip / PAGE)
    if (this.#comesFrom(distance)) return
    const code = this.#code
    this.#pageTest(distance)
    code.op('i32.eqz').expect(false).if()
    this.#exitAt(this.#siteOf(rip, 0))
    code.end()
  }

  /** Pushes 1 if the page at a distance from the first may be fetched from and is the one that was compiled. */
  #pageTest(distance: number): void {
    const code = this.#code
    const page = this.#pool.take('i64')
    const entry = this.#pool.take('i32')
    this.pushRip(distance * PAGE)
    code.set(page)
    this.#entryOf(page)
    code.tee(entry).op('i64.load', TLB_EXEC).get(page).op('i64.eq')
    code
      .get(entry)
      .op('i32.load', TLB_GFN)
      .i32(this.#region.pages.get(distance) ?? -1)
      .op('i32.eq')
      .op('i32.and')
  }

  /** Pushes 1 while this code stands. */
  #pushValid(): void {
    this.#code.get(CPU).op('i32.load', this.#target.struct + REGION_VALID)
  }

  #siteOf(rip: number, retired: number): bigint {
    return (BigInt(rip) << BigInt(SITE_RIP)) | (BigInt(retired) << BigInt(SITE_RETIRED))
  }

  other(g: Generator, statement: Parameters<NonNullable<BackEnd['other']>>[1]): void {
    const { code } = g
    switch (statement.kind) {
      case 'spill':
        return
      case 'reload':
        this.#known.reload(statement.regs)
        if (statement.regs & bit(CR0)) code.get(CPU).op('i32.load', CPU_TLB).set(this.#tlb)
        return
      case 'goto':
        return this.#goto(g, statement.rip)
      case 'leave':
        this.#exitAt(this.#siteOf(statement.rip, this.#count))
        return
      case 'crossing':
        this.#pageTest(statement.page / PAGE)
        code.op('i32.eqz')
        return this.rarely(() => this.leave(g, statement.at))
      case 'valid':
        this.#pushValid()
        code.op('i32.eqz')
        return this.rarely(() => {
          const flags = this.#flagsToLocals(g, statement.at)
          this.#exitAt(this.#siteOf(statement.rip, statement.at.retired + 1), flags)
        })
      case 'transfer':
        return this.#transfer(g, statement)
    }
  }

  // --- calls, returns, indirect jumps ---

  #transfer(g: Generator, { target, rip, how, returns }: Of<'transfer'>): void {
    const { code } = g
    const to = this.#pool.take('i64')
    if (target) g.value(target)
    else this.pushRip(rip)
    code.set(to)
    code.get(BUDGET).i32(this.#count).op('i32.sub').set(BUDGET)
    if (how === 'jump' && this.#leadsTo(this.#junction)) {
      code.get(to).set(this.#jump)
      return this.#toJunction()
    }
    if (how !== 'jump' && this.#withinRegion(to, how)) return
    this.#known.storeFlags()
    if (how === 'jump') {
      code.get(CPU).get(to).get(BUDGET).get(DEPTH).returnCall(this.#target.imports.index('dispatch'))
      return
    }
    if (how === 'call' && returns !== undefined && this.#continues(returns)) {
      code.get(DEPTH).i32(CALL_DEPTH_MAX).op('i32.lt_s').if()
      this.aside(() => this.#callAndReturn(to, target ? undefined : rip, returns))
      code.end()
    }
    code.get(CPU).get(to).op('i64.store', CPU_NEXT_RIP)
    code.get(CPU).get(BUDGET).op('i32.store', CPU_BUDGET)
    code.i32(REGION_NEAR).return()
  }

  /** A call of code of the region, or a return from it if it goes where it should. True: nothing is left to do. */
  #withinRegion(to: number, how: 'call' | 'return'): boolean {
    const code = this.#code
    const region = this.#region
    const block = region.blocks[this.#block]
    const [key] = (block && transferOf(region, block)) ?? []
    const next = key === undefined ? undefined : this.#byKey.get(key)
    if (next === undefined || !this.#leadsTo(next)) return false
    const rip = region.blocks[next]?.rip ?? 0
    if (how === 'call') {
      this.#enter(next, rip)
      return true
    }
    code.get(to)
    this.pushRip(rip)
    code.op('i64.eq').expect(true).if()
    this.aside(() => this.#enter(next, rip))
    code.end()
    return false
  }

  #continues(returns: number): boolean {
    const to = this.#blockAt(returns)
    return to !== undefined && this.#leadsTo(to)
  }

  #callAndReturn(to: number, rip: number | undefined, returns: number): void {
    const code = this.#code
    const wrong = new Label('wrong')
    const status = this.#pool.take('i32')
    code.block(wrong)
    if (rip === undefined) {
      code.get(CPU).get(to).get(BUDGET).get(DEPTH).i32(1).op('i32.add')
      code.call(this.#target.imports.index('dispatch'))
    } else this.#linked(to, rip, 'call')
    code.tee(status)
    code.i32(REGION_NEAR).op('i32.ne').brIf(wrong)
    code.get(CPU).op('i64.load', CPU_NEXT_RIP)
    this.pushRip(returns)
    code.op('i64.ne').brIf(wrong)
    this.#pushValid()
    code.op('i32.eqz').brIf(wrong)
    code.get(CPU).op('i32.load', CPU_BUDGET).set(BUDGET)
    this.#known.forgetAll()
    code.get(CPU).op('i32.load', CPU_TLB).set(this.#tlb)
    this.#enter(this.#blockAt(returns) ?? 0, returns)
    code.end() // wrong
    code.get(status).return()
  }

  // --- leaving within an instruction ---

  /** The flags at a place to the locals of the flags. False: the CPU struct has them already. */
  #flagsToLocals(g: Generator, at: ExitPoint): boolean {
    if (!at.flags) return this.#known.pending
    const { kind, values } = at.flags
    // All are computed before the first is overwritten: they may come from each other.
    for (const value of values) g.rareValue(value)
    for (const reg of [CC_RES, CC_B, CC_A]) g.code.set(this.#known.local(reg))
    g.code.i32(kind).set(this.#known.local(CC_KIND))
    return true
  }

  leave(g: Generator, at: ExitPoint | undefined): void {
    if (!at) throw new Error('an exit without a place')
    const flags = this.#flagsToLocals(g, at)
    this.#exitAt(this.#siteOf(at.rip, at.retired), flags)
  }

  exit(g: Generator, { exit, at }: Of<'exit'>): void {
    if (exit === 'fault') return this.leave(g, at)
    if (exit !== 'transfer' || !at) throw new Error(`an exit ${exit}`)
    // A helper set CPU_NEXT_RIP.
    const flags = this.#flagsToLocals(g, at)
    const { code } = g
    code.get(CPU).get(CPU).op('i64.load', CPU_NEXT_RIP).op('i64.store', CPU_RIP)
    code
      .get(BUDGET)
      .i32(at.retired + 1)
      .op('i32.sub')
      .set(BUDGET)
    this.#exitAt(SITE_OUT, flags)
  }

  // --- guest memory ---

  load(g: Generator, statement: Of<'load'>): void {
    this.#memory.load(g, statement)
  }

  store(g: Generator, statement: Of<'store'>): void {
    this.#memory.store(g, statement)
  }

  rmwBegin(g: Generator, statement: Of<'rmwBegin'>): void {
    this.#memory.rmwBegin(g, statement)
  }

  rmwEnd(g: Generator, statement: Of<'rmwEnd'>): void {
    this.#memory.rmwEnd(g, statement)
  }

  // --- functions ---

  call(g: Generator, { name, args, result }: Of<'call'>): void {
    const internal = name.startsWith('@')
    if (internal) g.code.get(CPU)
    // RDTSC tells the time from the instructions retired.
    if (name === 'sys_rdtsc') g.code.get(CPU).get(BUDGET).op('i32.store', CPU_BUDGET)
    for (const arg of args) g.value(arg)
    g.code.call(this.#target.imports.index(internal ? name.slice(1) : name))
    if (result) g.code.set(g.slotOf(result))
  }

  pureCall(g: Generator, name: string): void {
    g.code.call(this.#target.imports.index(name))
  }
}

/**
 * By header of each loop, the vector registers that its blocks read. What a loop adds up in one would else go through memory
 * each time round; for general registers that makes no difference that can be measured.
 */
function carriedBy(
  recorded: readonly RecordedBlock[],
  { headers, position }: Structure,
  successors: readonly (readonly number[])[],
  junction: number,
): Map<number, number[]> {
  const predecessors = predecessorsOf(successors)
  const carried = new Map<number, number[]>()
  for (const header of headers) {
    // The junction of indirect jumps is entered from everywhere.
    if (header === junction) continue
    const body = new Set([header])
    const waiting = (predecessors[header] ?? []).filter(
      (from) => (position[from] ?? -1) >= (position[header] ?? 0),
    )
    for (let block = waiting.pop(); block !== undefined; block = waiting.pop()) {
      if (body.has(block) || (position[block] ?? -1) < 0) continue
      body.add(block)
      waiting.push(...(predecessors[block] ?? []))
    }
    let read = 0n
    for (const block of body) read |= readBy(recorded[block]?.statements ?? [])
    carried.set(header, listed(read & XMMS))
  }
  return carried
}

/** How many edges lead to each block. A conditional branch to the next instruction has two of them. */
function waysTo({ blocks }: Region, successors: readonly (readonly number[])[]): number[] {
  const ways: number[] = []
  for (const [from, list] of successors.entries()) {
    const targets = blocks[from]?.targets ?? []
    const edges = new Set(targets).size < targets.length ? 2 : 1
    for (const to of list) ways[to] = (ways[to] ?? 0) + edges
  }
  return ways
}

export function emitRegion(region: Region, target: RegionTarget): void {
  new RegionCode(region, target).emit()
}
