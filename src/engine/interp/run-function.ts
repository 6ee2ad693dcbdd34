/**
 * run(cpu): the interpreter's loop. One br_table over REC_OP; hot handlers stand in its cases, the others are called
 * through the table and answer with a status. All exits of handlers meet in a few common tails.
 *
 *   local quota = 32 * budget + address of the block's first record
 *
 * so that at any record `quota - rec` is 32 times what would remain of the budget, and counting instructions costs
 * nothing but at block ends: remaining = quota - next, quota = remaining + new head.
 */
import {
  CPU_BUDGET,
  CPU_CC_KIND,
  CPU_CODE_GPA,
  CPU_CODE_VPAGE,
  CPU_EXITREASON,
  CPU_FAULT,
  CPU_JIT_MASK,
  CPU_MODE,
  CPU_NEXT_RIP,
  CPU_PCBASE,
  CPU_REQ,
  CPU_RIP,
  CPU_STRAIGHT,
  FAULT_HAS_ERROR,
  FAULT_VALID,
  CPU_FAULT_ERROR,
  CPU_GRANTED,
  CPU_INSNS,
  CPU_JIT_STATS,
  JIT_STAT_INSTRUCTIONS,
  MODE_FLAT,
  TLB_EXEC,
  TLB_GFN,
} from '../../abi/layout.ts'
import { CACHE_JUMP, CACHE_JUMP_RECORD, CACHE_JUMP_TAKEN } from '../../abi/code-cache.ts'
import { JIT_LOOKS, REGION_NEAR } from '../../abi/jit.ts'
import { REC_IMM, REC_LINK, REC_OFF, REC_OP, REC_SIZE, REC_TAKEN } from '../../abi/record.ts'
import {
  HANDLER_CROSS,
  HANDLER_FIRST,
  HANDLER_GOTO,
  HANDLER_GP,
  HANDLER_REGION,
  HANDLER_STALE,
  HANDLER_SYNC,
  HANDLER_UD,
} from '../../isa/handlers.ts'
import { Label } from '../../wasm/code.ts'
import type { CodeBuilder } from '../../wasm/code.ts'
import { LocalPool } from '../emit/generate.ts'
import { STATUS_NEAR, STATUS_NEXT, STATUS_TAKEN, STATUS_TRANSFER } from './back-end.ts'
import type { RunTails } from './back-end.ts'
import { findJump, pushKey, pushRip, tlbEntry } from './support.ts'
import type { Support } from './support.ts'

const CPU = 0
const REC_SHIFT = 5
/** What no page of code is called. */
const NO_PAGE = 1

export interface InlineCase {
  readonly id: number
  /** Emits the body; must not fall out of it except to mean "next record". */
  emit(code: CodeBuilder, rec: number, tails: RunTails, locals: LocalPool): void
}

export interface RunOptions {
  readonly handlerType: number
  readonly table: number
  /** Type and table of compiled regions. */
  readonly regionType: number
  readonly regions: number
  /** For profiles: address of a u32 per handler that counts its records. */
  readonly countersAt: number | undefined
}

interface Locals {
  readonly rec: number
  readonly quota: number
  readonly next: number
  readonly from: number
  readonly remaining: number
  readonly slot: number
  readonly target: number
  readonly page: number
  readonly retired: number
  readonly gpa: number
  readonly key: number
}

const label = (name: string): Label => new Label(name)

export function emitRun(
  code: CodeBuilder,
  support: Support,
  cases: readonly InlineCase[],
  { handlerType, table, regionType, regions, countersAt }: RunOptions,
): void {
  const l: Locals = {
    rec: code.local('i32'),
    quota: code.local('i32'),
    next: code.local('i32'),
    from: code.local('i32'),
    remaining: code.local('i32'),
    slot: code.local('i32'),
    target: code.local('i64'),
    page: code.local('i64'),
    retired: code.local('i64'),
    gpa: code.local('i64'),
    key: code.local('i64'),
  }
  const pool = new LocalPool(code)
  const loop = label('loop')
  const t = {
    fault: label('fault'),
    transfer: label('transfer'),
    near: label('near'),
    taken: label('taken'),
    goto: label('goto'),
    sync: label('sync'),
    stale: label('stale'),
    far: label('far'),
    follow: label('follow'),
    arrived: label('arrived'),
    miss: label('miss'),
    poll: label('poll'),
    lookup: label('lookup'),
    enter: label('enter'),
    arrive: label('arrive'),
  }
  const tails: RunTails = {
    fault: t.fault,
    taken: t.taken,
    near: t.near,
    transfer: t.transfer,
    target: l.target,
  }

  code.call(support.index('enter')).tee(l.rec).op('i32.eqz').if()
  code.get(CPU).op('i32.load', CPU_EXITREASON).return()
  code.end()
  newQuota(code, l)

  code.loop(loop)
  code.block(t.arrive).block(t.enter).block(t.lookup)
  code.block(t.poll).block(t.miss).block(t.arrived).block(t.follow)
  code.block(t.far)
  code
    .block(t.stale)
    .block(t.sync)
    .block(t.transfer)
    .block(t.fault)
    .block(t.near)
    .block(t.goto)
    .block(t.taken)
  emitDispatch(code, support, cases, {
    l,
    pool,
    tails,
    t,
    loop,
    handlerType,
    table,
    regionType,
    regions,
    countersAt,
  })

  emitTails(code, support, l, t, loop)
  emitFollow(code, support, l, t, loop)

  // arrive: rec came from the kernel
  code.get(l.rec).op('i32.eqz').if()
  code.get(CPU).op('i32.load', CPU_EXITREASON).return()
  code.end()
  newQuota(code, l)
  code.br(loop)
  code.end() // loop
  code.op('unreachable')
}

function newQuota(code: CodeBuilder, l: Locals): void {
  code.get(CPU).op('i32.load', CPU_BUDGET).i32(REC_SHIFT).op('i32.shl').get(l.rec).op('i32.add').set(l.quota)
}

/** Straight to the linked record if it still stands and nothing asks for attention. */
function emitLinked(code: CodeBuilder, support: Support, l: Locals, loop: Label, counted: boolean): void {
  code.get(l.quota).get(l.next).op('i32.sub').tee(l.remaining).i32(0).op('i32.ge_s')
  // Not linked yet is address 0, where the op reads 0 too: HANDLER_STALE.
  code
    .get(l.rec)
    .op('i32.load', REC_LINK)
    .tee(l.slot)
    .op('i32.load16_u', REC_OP)
    .i32(0)
    .op('i32.ne')
    .op('i32.and')
  code.get(CPU).op('i32.load', CPU_REQ).op('i32.eqz').op('i32.and').if()
  if (counted) {
    // taken++; every so often it asks for the target to be compiled
    code.get(l.rec)
    code.get(l.rec).op('i32.load', REC_TAKEN).i32(1).op('i32.add').tee(l.next).op('i32.store', REC_TAKEN)
    isDue(code, l)
    code.get(CPU).op('i64.load', CPU_CODE_GPA).get(l.slot).op('i64.load16_u', REC_OFF).op('i64.or').set(l.gpa)
    code.get(CPU).op('i64.load', CPU_CODE_VPAGE).set(l.page)
    pushKey(code, CPU, l.gpa)
    code.get(l.page).get(l.slot).get(l.next).call(support.index('jit_request'))
    code.end()
  }
  code.get(l.remaining).get(l.slot).op('i32.add').set(l.quota)
  code.get(l.slot).set(l.rec).br(loop)
  code.end()
}

/** An `if` on a branch having been taken, which `next` counts, so often that its target may be due for compilation. */
function isDue(code: CodeBuilder, l: Locals): void {
  code.get(l.next).get(CPU).op('i32.load', CPU_JIT_MASK).op('i32.and')
  code
    .i32(JIT_LOOKS - 1)
    .op('i32.and')
    .op('i32.eqz')
    .if()
}

interface Tails {
  readonly far: Label
  readonly follow: Label
  readonly miss: Label
  readonly poll: Label
  readonly lookup: Label
  readonly enter: Label
  readonly arrive: Label
  readonly fault: Label
}

/** Where the exits of all handlers meet; each ends at a kernel call or at emitFollow(). */
function emitTails(code: CodeBuilder, support: Support, l: Locals, t: Tails, loop: Label): void {
  // taken: the direct branch at rec
  code.end()
  code.get(l.rec).i32(REC_SIZE).op('i32.add').set(l.next)
  code.get(l.rec).set(l.from)
  emitLinked(code, support, l, loop, true)
  code.get(CPU).get(l.rec).call(support.index('rel_target')).set(l.target)
  code.br(t.follow)

  // goto: no instruction, falls through to another place of this page or the next one
  code.end()
  code.get(l.rec).set(l.next)
  code.get(l.rec).set(l.from)
  emitLinked(code, support, l, loop, false)
  code.get(CPU).op('i64.load', CPU_PCBASE).get(l.rec).op('i64.load', REC_IMM).op('i64.add').set(l.target)
  code.br(t.follow)

  // near: target is set
  code.end()
  code.get(l.rec).i32(REC_SIZE).op('i32.add').set(l.next)
  code.i32(0).set(l.from)
  code.br(t.follow)

  // fault: the instruction at rec did nothing
  code.end()
  code.get(CPU)
  pushRip(code, CPU, l.rec)
  code.op('i64.store', CPU_RIP)
  code.get(l.quota).get(l.rec).op('i32.sub').set(l.remaining).br(t.enter)

  // transfer: a helper set CPU_NEXT_RIP, or a fault
  code.end()
  code.get(CPU).op('i32.load', CPU_STRAIGHT).if()
  code.get(l.rec).i32(REC_SIZE).op('i32.add').set(l.next)
  code.br(t.far).end()
  code.get(CPU).op('i32.load', CPU_FAULT).op('i32.eqz').if()
  code.get(CPU).get(CPU).op('i64.load', CPU_NEXT_RIP).op('i64.store', CPU_RIP)
  code.end()
  code.get(l.quota).get(l.rec).i32(REC_SIZE).op('i32.add').op('i32.sub').set(l.remaining).br(t.enter)

  // sync: everything is looked at before page offset REC_IMM
  code.end()
  code
    .get(CPU)
    .get(CPU)
    .op('i64.load', CPU_PCBASE)
    .get(l.rec)
    .op('i64.load', REC_IMM)
    .op('i64.add')
    .op('i64.store', CPU_RIP)
  code.get(l.quota).get(l.rec).op('i32.sub').set(l.remaining).br(t.enter)

  // stale
  code.end()
  code.get(CPU)
  pushRip(code, CPU, l.rec)
  code.op('i64.store', CPU_RIP)
  code.get(l.quota).get(l.rec).op('i32.sub').set(l.remaining).br(t.lookup)
}

/** Near transfer to `target`: TLB and jump table in line, the kernel where they do not know. */
function emitFollow(code: CodeBuilder, support: Support, l: Locals, t: Tails, loop: Label): void {
  code.end() // far
  farTarget(code, l)
  code.end() // follow
  code.get(l.quota).get(l.next).op('i32.sub').set(l.remaining)
  code.end() // arrived: `remaining` is set, too
  code.get(l.remaining).i32(0).op('i32.lt_s')
  code.get(CPU).op('i32.load', CPU_REQ).op('i32.or').brIf(t.poll)
  // Segmented code needs limit checks and CS.base.
  code.get(CPU).op('i32.load', CPU_MODE).i32(MODE_FLAT).op('i32.and').op('i32.eqz').brIf(t.miss)
  code.get(l.target).i64(-4096).op('i64.and').tee(l.page)
  code.get(CPU).op('i64.load', CPU_CODE_VPAGE).op('i64.eq').if()
  code.get(CPU).op('i64.load', CPU_CODE_GPA).set(l.gpa)
  code.else()
  tlbEntry(code, CPU, l.page)
  code.tee(l.slot).op('i64.load', TLB_EXEC).get(l.page).op('i64.ne').brIf(t.miss)
  code.get(l.slot).op('i64.load32_u', TLB_GFN).i64(12).op('i64.shl').set(l.gpa)
  code.end()
  code.get(l.gpa).get(l.target).i64(0xfff).op('i64.and').op('i64.or').set(l.gpa)
  pushKey(code, CPU, l.gpa)
  code.set(l.key)
  findJump(code, CPU, l.key, l.slot, t.miss)
  code
    .get(l.slot)
    .op('i32.load', CACHE_JUMP + CACHE_JUMP_RECORD)
    .tee(l.rec)
  code.get(l.remaining).op('i32.add').set(l.quota)
  code.get(l.slot)
  code
    .get(l.slot)
    .op('i32.load', CACHE_JUMP + CACHE_JUMP_TAKEN)
    .i32(1)
    .op('i32.add')
    .tee(l.next)
    .op('i32.store', CACHE_JUMP + CACHE_JUMP_TAKEN)
  isDue(code, l)
  code.get(l.key).get(l.page).get(l.rec).get(l.next).call(support.index('jit_request')).end()
  code.get(l.page).get(CPU).op('i64.load', CPU_CODE_VPAGE).op('i64.eq').if()
  code.get(l.from).if()
  code.get(l.from).get(l.rec).op('i32.store', REC_LINK)
  code.end()
  code.else()
  code.get(CPU).get(l.page).op('i64.store', CPU_CODE_VPAGE)
  code.get(CPU).get(l.page).op('i64.store', CPU_PCBASE)
  code.get(CPU).get(l.gpa).i64(-4096).op('i64.and').op('i64.store', CPU_CODE_GPA)
  code.end()
  code.br(loop)

  code.end() // miss
  code.get(CPU).get(l.rec).get(l.target).call(support.index('near_ok')).op('i32.eqz').if()
  faultRip(code, l)
  code.br(t.enter).end()
  code.get(CPU).get(l.target).op('i64.store', CPU_RIP)
  code.br(t.lookup)

  code.end() // poll
  code.get(CPU).get(l.rec).get(l.target).call(support.index('near_ok')).op('i32.eqz').if()
  faultRip(code, l)
  code.else()
  code.get(CPU).get(l.target).op('i64.store', CPU_RIP)
  code.end()
  code.br(t.enter)

  code.end() // lookup
  storeBudget(code, l)
  code.call(support.index('lookup')).set(l.rec).br(t.arrive)
  code.end() // enter
  storeBudget(code, l)
  code.call(support.index('enter')).set(l.rec)
  code.end() // arrive
}

/** After a far transfer that needs no run loop: mode, privilege and address space may be others, so no page is known. */
function farTarget(code: CodeBuilder, l: Locals): void {
  code.get(CPU).i32(0).op('i32.store', CPU_STRAIGHT)
  code.get(CPU).i64(NO_PAGE).op('i64.store', CPU_CODE_VPAGE)
  code.get(CPU).op('i64.load', CPU_NEXT_RIP).set(l.target)
  code.i32(0).set(l.from)
}

function faultRip(code: CodeBuilder, l: Locals): void {
  code.get(CPU)
  pushRip(code, CPU, l.rec)
  code.op('i64.store', CPU_RIP)
}

function storeBudget(code: CodeBuilder, l: Locals): void {
  code.get(CPU).get(l.remaining).i32(REC_SHIFT).op('i32.shr_s').op('i32.store', CPU_BUDGET)
}

interface Dispatch {
  readonly l: Locals
  readonly pool: LocalPool
  readonly tails: RunTails
  readonly t: Tails & {
    readonly taken: Label
    readonly near: Label
    readonly transfer: Label
    readonly goto: Label
    readonly sync: Label
    readonly stale: Label
    readonly arrived: Label
  }
  readonly loop: Label
  readonly handlerType: number
  readonly table: number
  readonly regionType: number
  readonly regions: number
  readonly countersAt: number | undefined
}

function emitDispatch(code: CodeBuilder, support: Support, cases: readonly InlineCase[], d: Dispatch): void {
  const { l, t, loop } = d
  const cold = label('cold')
  const cross = label('cross')
  const ud = label('ud')
  const gp = label('gp')
  const region = label('region')
  const labels: Label[] = []
  for (let id = 0; id < HANDLER_FIRST; id++) labels.push(t.stale)
  labels[HANDLER_STALE] = t.stale
  labels[HANDLER_GOTO] = t.goto
  labels[HANDLER_SYNC] = t.sync
  labels[HANDLER_CROSS] = cross
  labels[HANDLER_UD] = ud
  labels[HANDLER_GP] = gp
  labels[HANDLER_REGION] = region
  const caseLabels = cases.map(({ id }) => {
    const made = label(`handler ${id}`)
    labels[id] = made
    return made
  })

  code.block(cold).block(region).block(gp).block(ud).block(cross)
  for (const caseLabel of caseLabels.toReversed()) code.block(caseLabel)
  if (d.countersAt !== undefined) emitCount(code, l, d.countersAt)
  code.get(l.rec).op('i32.load16_u', REC_OP).brTable(labels, cold)
  const next = (): void => {
    code.get(l.rec).i32(REC_SIZE).op('i32.add').set(l.rec).br(loop)
  }
  for (const inline of cases) {
    code.end()
    d.pool.reset()
    inline.emit(code, l.rec, d.tails, d.pool)
    next()
  }
  code.end() // cross
  emitCross(code, l, t, loop)
  code.end() // ud
  raise(code, FAULT_VALID | 6)
  code.br(t.fault)
  code.end() // gp
  code.get(CPU).i32(0).op('i32.store', CPU_FAULT_ERROR)
  raise(code, FAULT_VALID | FAULT_HAS_ERROR | 13)
  code.br(t.fault)

  code.end() // region
  emitRegion(code, support, d)

  code.end() // cold
  // RDTSC tells the time from the instructions retired.
  code.get(CPU).get(l.quota).get(l.rec).op('i32.sub').i32(REC_SHIFT).op('i32.shr_s')
  code.op('i32.store', CPU_BUDGET)
  code
    .get(CPU)
    .get(l.rec)
    .get(l.rec)
    .op('i32.load16_u', REC_OP)
    .callIndirect(d.handlerType, d.table)
    .tee(l.slot)
  code.i32(STATUS_NEXT).op('i32.eq').if()
  next()
  code.end()
  code.get(l.slot).i32(STATUS_TAKEN).op('i32.eq').brIf(t.taken)
  code.get(l.slot).i32(STATUS_NEAR).op('i32.eq').if()
  code.get(CPU).op('i64.load', CPU_NEXT_RIP).set(l.target).br(t.near)
  code.end()
  code.get(l.slot).i32(STATUS_TRANSFER).op('i32.eq').brIf(t.transfer).br(t.fault)
}

const COMPILED = CPU_JIT_STATS + JIT_STAT_INSTRUCTIONS

/** Compiled code: it comes back with a near transfer to make, or with everything to be looked at. */
function emitRegion(code: CodeBuilder, support: Support, { l, t, regionType, regions }: Dispatch): void {
  code.get(l.quota).get(l.rec).op('i32.sub').i32(REC_SHIFT).op('i32.shr_s').set(l.slot)
  pushRetired(code, () => code.get(l.slot))
  code.set(l.retired)
  code.get(CPU).get(CPU).op('i64.load', CPU_PCBASE).get(l.slot).i32(0)
  code.get(l.rec).op('i32.load', REC_IMM).callIndirect(regionType, regions).set(l.slot)
  code.get(CPU).get(CPU).op('f64.load', COMPILED)
  pushRetired(code, () => code.get(CPU).op('i32.load', CPU_BUDGET))
  code.get(l.retired).op('i64.sub').op('f64.convert_i64_s').op('f64.add').op('f64.store', COMPILED)
  code.get(CPU).op('i32.load', CPU_CC_KIND).if()
  code.get(CPU).call(support.index('cc_commit')).end()
  code.get(CPU).op('i32.load', CPU_BUDGET).i32(REC_SHIFT).op('i32.shl').set(l.remaining)
  code.get(l.slot).i32(REGION_NEAR).op('i32.ne').if()
  code.get(CPU).op('i32.load', CPU_STRAIGHT).op('i32.eqz').brIf(t.enter)
  farTarget(code, l)
  code.br(t.arrived).end()
  code.get(CPU).op('i64.load', CPU_NEXT_RIP).set(l.target)
  code.i32(0).set(l.from).br(t.arrived)
}

/** Pushes how many instructions were retired so far, with a number of them left of those that were granted. */
function pushRetired(code: CodeBuilder, left: () => void): void {
  code.get(CPU).op('i64.load', CPU_INSNS)
  code.get(CPU).op('i32.load', CPU_GRANTED)
  left()
  code.op('i32.sub').op('i64.extend_i32_s').op('i64.add')
}

function emitCount(code: CodeBuilder, l: Locals, at: number): void {
  code.get(l.rec).op('i32.load16_u', REC_OP).i32(2).op('i32.shl').tee(l.slot)
  code.get(l.slot).op('i32.load', at).i32(1).op('i32.add').op('i32.store', at)
}

/** Guard of an instruction that crosses into the next page: it must still be the page that was decoded. */
function emitCross(code: CodeBuilder, l: Locals, t: Dispatch['t'], loop: Label): void {
  code.get(CPU).op('i64.load', CPU_CODE_VPAGE).i64(4096).op('i64.add').set(l.page)
  tlbEntry(code, CPU, l.page)
  code.tee(l.slot).op('i64.load', TLB_EXEC).get(l.page).op('i64.eq')
  code
    .get(l.slot)
    .op('i64.load32_u', TLB_GFN)
    .i64(12)
    .op('i64.shl')
    .get(l.rec)
    .op('i64.load', REC_IMM)
    .op('i64.eq')
  code.op('i32.and').op('i32.eqz').brIf(t.stale)
  code.get(l.quota).i32(REC_SIZE).op('i32.add').set(l.quota) // the guard is no instruction
  code.get(l.rec).i32(REC_SIZE).op('i32.add').set(l.rec).br(loop)
}

function raise(code: CodeBuilder, fault: number): void {
  code.get(CPU).i32(fault).op('i32.store', CPU_FAULT)
}
