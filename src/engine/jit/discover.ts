/**
 * Which code a region is made of: the decoded blocks that its entry reaches by direct branches, and by indirect jumps as far
 * as their targets are known (jump-targets.ts), within the entry's page and its neighbours as far as their gfns are known.
 * Only what the interpreter has decoded is taken: code that never ran stays outside, and is reached through an exit.
 *
 * Small callees of direct calls are part of it, too, a copy for each call: code is found by context and RIP. Context 0 is the
 * region's own code; another stands for one call, and knows where its returns lead.
 */
import { REGION_SAVED } from '../../abi/code-cache.ts'
import { MODE_CS64, MODE_CS_MASK } from '../../abi/layout.ts'
import { RECF_END, RECF_OPSIZE, REC_FLAGS, REC_IMM, REC_LEN, REC_OP, REC_SIZE } from '../../abi/record.ts'
import { HANDLER_CROSS, HANDLER_FIRST, HANDLER_REGION } from '../../isa/handlers.ts'
import type { SemanticHandler } from './jit-emit.ts'
import { JumpTargets, isIndirectJump } from './jump-targets.ts'

const PAGE = 4096
/** Instructions of a region: bounds what one compilation takes. */
const INSTRUCTIONS_MAX = 300
const BLOCKS_MAX = 80
/** With an indirect jump it may be the loop of an interpreter, which is worth more. */
const JUMPING_INSTRUCTIONS_MAX = 400
const JUMPING_BLOCKS_MAX = 120

/** Instructions of a callee that is taken into the region. */
const CALLEE_MAX = 40
/** With it, region and callees have not more instructions than this: a copy is for small loops and recursion. */
const WITH_CALLEES_MAX = 100
/** What is hardly more than the call is copied into any region, up to so many instructions. */
const TINY_CALLEE_MAX = 16
const TINY_CALLEES_MAX = 48
const CALLEE_BLOCKS_MAX = 60
/** Calls within each other, of a function by itself, too. */
const DEPTH_MAX = 2
/** Pages: a RIP relative to the first page is a signed number of 32 bits. */
const DISTANCE_MAX = 0x7_0000

export interface CodeRecord {
  readonly handler: SemanticHandler
  readonly record: DataView
  /** RIP relative to the region's first page, and its page. */
  readonly rip: number
  readonly page: number
  /** The instruction goes on in the next page. */
  readonly crosses: boolean
}

interface DecodedRecord extends CodeRecord {
  /** Of a direct branch: it is hardly ever taken. */
  readonly rare: boolean
  /** Another region begins here. */
  readonly entry: boolean
}

export interface Context {
  /** Context of the call; -1 of the region's own code. */
  readonly parent: number
  readonly entry: number
  /** Where returns lead, in the parent. */
  readonly returns: number
}

export interface Block {
  readonly context: number
  readonly rip: number
  readonly records: readonly CodeRecord[]
  /** Where it goes if its last instruction does not branch. */
  readonly end: 'next' | 'leave'
  /** Targets relative to the region's first page, whether they are part of the region or not. */
  readonly targets: readonly number[]
  /** Context of the callee if it ends with a call of code that is part of the region, else 0. */
  readonly callee: number
}

export interface Region {
  /** gpa of the entry's page, and the mode. */
  readonly mode: number
  readonly entry: number
  /** In order of discovery; the entry first. */
  readonly blocks: readonly Block[]
  readonly contexts: readonly Context[]
  /** Blocks of context 0, by their RIP, that indirect jumps of the region may lead to. */
  readonly jumped: readonly number[]
  /** gfn by page distance from the entry's page; only pages that hold code of the region. */
  readonly pages: ReadonlyMap<number, number>
}

/** What the former asks the kernel and the shared memory. */
export interface CodeSource {
  readonly view: DataView
  handler(op: number): SemanticHandler | undefined
  /** Address of the record at a gpa, 0 if it is not decoded. */
  peek(gpa: bigint, mode: number): number
  /** How often the direct branch at a gpa was taken, where the interpreter counts it. */
  taken(gpa: bigint, mode: number): number
  /** Address of the code cache. */
  cache(): number
}

export interface Place {
  readonly gpa: bigint
  readonly mode: number
  /** gfn of pages by distance from the entry's page. */
  readonly gfns: ReadonlyMap<number, number>
  /** gfn of any page by distance, if it is known: it may be wrong, compiled code looks. */
  readonly farGfn?: (distance: number) => number | undefined
  /** gpas where regions begin that are not in force yet. */
  readonly entries?: ReadonlySet<number>
  /** A branch taken less often than this is followed only by leaving the region. */
  readonly rare: number
}

/** Of a place in a region. */
export const keyOf = (context: number, rip: number): number => context * 2 ** 33 + rip + 2 ** 32

class Former {
  readonly #source: CodeSource
  readonly #place: Place
  readonly #gfns: Map<number, number>
  readonly #decoded = new Map<number, DecodedRecord | undefined>()
  readonly #contexts: Context[]
  /** Contexts of callees by the place of the call. */
  readonly #callees = new Map<number, number>()
  readonly #sizes = new Map<number, number>()
  readonly #entry: number
  /** Places by key: instructions of the region, and where blocks begin. */
  readonly #taken = new Set<number>()
  readonly #leaders = new Set<number>()
  readonly #waiting: { readonly context: number; readonly rip: number }[] = []
  #own = 0
  /** Instructions of all callees. */
  #called = 0
  /** Known once the region has an indirect jump. */
  #jumps: JumpTargets | undefined

  constructor(source: CodeSource, place: Place) {
    this.#source = source
    this.#place = place
    this.#gfns = new Map(place.gfns)
    this.#entry = Number(place.gpa & 0xfffn)
    this.#contexts = [{ parent: -1, entry: this.#entry, returns: 0 }]
  }

  /** The decoded record at a place. */
  #at(rip: number): DecodedRecord | undefined {
    const known = this.#decoded.get(rip)
    if (known || this.#decoded.has(rip)) return known
    const made = this.#read(rip)
    this.#decoded.set(rip, made)
    return made
  }

  #read(rip: number): DecodedRecord | undefined {
    const distance = Math.floor(rip / PAGE)
    const gfn = this.#gfns.get(distance)
    if (gfn === undefined) return undefined
    const { view } = this.#source
    const gpa = (BigInt(gfn) << 12n) | BigInt(rip & (PAGE - 1))
    let address = this.#source.peek(gpa, this.#place.mode)
    if (address === 0) return undefined
    const crosses = view.getUint16(address + REC_OP, true) === HANDLER_CROSS
    if (crosses) {
      const next = this.#gfns.get(distance + 1)
      if (next === undefined || view.getBigUint64(address + REC_IMM, true) !== BigInt(next) << 12n)
        return undefined
      address += REC_SIZE
    }
    const bytes = new Uint8Array(REC_SIZE)
    bytes.set(new Uint8Array(view.buffer, address, REC_SIZE))
    let record = new DataView(bytes.buffer)
    const compiled = record.getUint16(REC_OP, true) === HANDLER_REGION
    if (compiled) {
      const region = record.getUint32(REC_IMM + 4, true)
      bytes.set(new Uint8Array(view.buffer, region + REGION_SAVED, REC_SIZE))
      record = new DataView(bytes.buffer)
    }
    const op = record.getUint16(REC_OP, true)
    const handler = op < HANDLER_FIRST ? undefined : this.#source.handler(op)
    if (!handler || !compilable(handler, record, this.#place.mode)) return undefined
    const rare = this.#isRare(handler, record, gpa)
    const entry = compiled || this.#place.entries?.has(Number(gpa)) === true
    return { handler, record, rare, entry, rip, page: distance * PAGE, crosses }
  }

  #isRare(handler: SemanticHandler, record: DataView, gpa: bigint): boolean {
    if (!isRelative(handler) || handler.row.mnemonic === 'jmp') return false
    // Only branches within their page are counted.
    const target = Number(record.getBigInt64(REC_IMM, true))
    return target >= 0 && target < PAGE && this.#source.taken(gpa, this.#place.mode) < this.#place.rare
  }

  form(): Region | undefined {
    this.#lead(0, this.#entry)
    for (const { context, rip } of this.#waiting) this.#follow(context, rip)
    const blocks: Block[] = []
    for (const key of this.#leaders) {
      const context = Math.floor(key / 2 ** 33)
      const block = this.#block(context, key - keyOf(context, 0))
      if (block) blocks.push(block)
    }
    const [first] = blocks
    if (first?.context !== 0 || first.rip !== this.#entry) return undefined
    const own = new Set(blocks.flatMap(({ context, rip }) => (context === 0 ? [rip] : [])))
    const jumped = [...(this.#jumps?.all ?? [])].filter((rip) => own.has(rip))
    const { mode } = this.#place
    return {
      mode,
      entry: this.#entry,
      blocks,
      contexts: this.#contexts,
      jumped,
      pages: this.#pagesOf(blocks),
    }
  }

  #pagesOf(blocks: readonly Block[]): Map<number, number> {
    const pages = new Map<number, number>()
    for (const { page, crosses } of blocks.flatMap(({ records }) => records)) {
      for (const distance of crosses ? [page / PAGE, page / PAGE + 1] : [page / PAGE])
        pages.set(distance, this.#gfns.get(distance) ?? 0)
    }
    return pages
  }

  /** Where an indirect jump may go. */
  #jumpTargets(value: CodeRecord): readonly number[] {
    if (!isIndirectJump(value)) return []
    this.#jumps ??= new JumpTargets(this.#source, this.#place, (rip) => this.#followsCall(rip))
    return this.#jumps.of(value.rip)
  }

  #followsCall(rip: number): boolean {
    return CALL_LENGTHS.some((length) => {
      const value = this.#at(rip - length)
      return value?.handler.row.mnemonic === 'call' && value.record.getUint8(REC_LEN) === length
    })
  }

  /** A block begins here, unless there are too many. */
  #lead(context: number, rip: number): void {
    const key = keyOf(context, rip)
    const own = this.#jumps?.all.size ? JUMPING_BLOCKS_MAX : BLOCKS_MAX
    if (this.#leaders.has(key) || this.#leaders.size >= own + (context === 0 ? 0 : CALLEE_BLOCKS_MAX)) return
    this.#leaders.add(key)
    this.#waiting.push({ context, rip })
  }

  /** Code that another region has already is left to it: to go there costs little, to compile it again costs a lot. */
  #isOthers(context: number, { rip, entry }: DecodedRecord): boolean {
    return this.#own >= 64 && entry && context === 0 && rip !== this.#entry && !this.#jumps?.all.has(rip)
  }

  #take(context: number, value: DecodedRecord): boolean {
    const { rip } = value
    const key = keyOf(context, rip)
    if (this.#taken.has(key) || this.#isOthers(context, value)) return false
    if (context === 0) {
      if (this.#own >= (this.#jumps?.all.size ? JUMPING_INSTRUCTIONS_MAX : INSTRUCTIONS_MAX)) return false
      this.#own++
    }
    this.#taken.add(key)
    return true
  }

  /** Takes the instructions from a place on, up to the next branch. */
  #follow(context: number, rip: number): void {
    let at = rip
    for (let value = this.#at(at); value && this.#take(context, value); value = this.#at(at)) {
      const next = at + value.record.getUint8(REC_LEN)
      const callee = this.#inline(context, value, next)
      if (callee) this.#lead(callee, this.#contexts[callee]?.entry ?? 0)
      for (const target of directTargets(value)) this.#lead(context, target)
      if (context === 0) for (const target of this.#jumpTargets(value)) this.#lead(context, target)
      if (isBranch(value.handler)) {
        if (goesOn(value)) this.#lead(context, next)
        return
      }
      if (value.record.getUint8(REC_FLAGS) & RECF_END) return
      // A page is looked at where it is entered.
      if (Math.floor(next / PAGE) !== Math.floor(at / PAGE)) this.#leaders.add(keyOf(context, next))
      at = next
    }
  }

  // --- callees ---

  /** A context for the callee of a call, 0 if it stays outside. */
  #inline(context: number, value: DecodedRecord, returns: number): number {
    const entry = calleeOf(value)
    if (entry === undefined || this.#depth(context) >= DEPTH_MAX) return 0
    const size = this.#sizeOf(entry)
    if (size === 0 || !this.#mayCopy(size)) return 0
    this.#called += size
    const made = this.#contexts.push({ parent: context, entry, returns }) - 1
    this.#callees.set(keyOf(context, value.rip), made)
    return made
  }

  #mayCopy(size: number): boolean {
    const called = this.#called + size
    return this.#own + called <= WITH_CALLEES_MAX || (size <= TINY_CALLEE_MAX && called <= TINY_CALLEES_MAX)
  }

  #depth(context: number): number {
    let depth = 0
    for (let at = context; at > 0; at = this.#contexts[at]?.parent ?? 0) depth++
    return depth
  }

  /** Instructions of a function that is small, returns and is decoded; 0 of any other. */
  #sizeOf(entry: number): number {
    const known = this.#sizes.get(entry)
    if (known !== undefined) return known
    const distance = Math.floor(entry / PAGE)
    this.#learn(distance)
    this.#learn(distance + 1)
    const size = this.#measure(entry)
    this.#sizes.set(entry, size)
    return size
  }

  #learn(distance: number): void {
    if (this.#gfns.has(distance) || Math.abs(distance) > DISTANCE_MAX) return
    const gfn = this.#place.farGfn?.(distance)
    if (gfn !== undefined) this.#gfns.set(distance, gfn)
  }

  #measure(entry: number): number {
    const seen = new Set<number>()
    const waiting = [entry]
    let returns = false
    for (const place of waiting) {
      let at = place
      for (let value = this.#at(at); value && !seen.has(at); value = this.#at(at)) {
        if (seen.add(at).size > CALLEE_MAX) return 0
        const { mnemonic } = value.handler.row
        const next = at + value.record.getUint8(REC_LEN)
        if (mnemonic === 'jmp' && !isRelative(value.handler)) return 0
        if (mnemonic === 'ret') returns = true
        waiting.push(...directTargets(value))
        if (isBranch(value.handler) && !goesOn(value)) break
        if (!isBranch(value.handler) && value.record.getUint8(REC_FLAGS) & RECF_END) return 0
        at = next
      }
    }
    return returns ? seen.size : 0
  }

  #block(context: number, rip: number): Block | undefined {
    const records: CodeRecord[] = []
    let at = rip
    for (;;) {
      const value = this.#taken.has(keyOf(context, at)) ? this.#at(at) : undefined
      if (!value) {
        return records.length === 0
          ? undefined
          : { context, rip, records, end: 'next', targets: [at], callee: 0 }
      }
      records.push(value)
      const next = at + value.record.getUint8(REC_LEN)
      if (isBranch(value.handler)) {
        const targets = [...directTargets(value), ...(goesOn(value) ? [next] : [])]
        const callee = this.#callees.get(keyOf(context, at)) ?? 0
        return { context, rip, records, end: 'next', targets, callee }
      }
      if (value.record.getUint8(REC_FLAGS) & RECF_END)
        return { context, rip, records, end: 'leave', targets: [], callee: 0 }
      if (this.#leaders.has(keyOf(context, next)))
        return { context, rip, records, end: 'next', targets: [next], callee: 0 }
      at = next
    }
  }
}

/** From E8 rel32 to an indirect call with prefixes, SIB byte and displacement. */
const CALL_LENGTHS = [5, 2, 3, 6, 7, 4, 8]

const BRANCH = /^(j|loop|call$|ret$)/

function isBranch({ row }: SemanticHandler): boolean {
  return BRANCH.test(row.mnemonic) && !row.mnemonic.endsWith('f')
}

/** A direct branch: its record counts how often it was taken. */
export function isRelative({ row }: SemanticHandler): boolean {
  return row.operands.some((operand) => operand.includes(':rel'))
}

/** Where a direct branch goes, if the region follows it; not where a call does. */
function directTargets(value: DecodedRecord): number[] {
  const { handler } = value
  if (!isRelative(handler) || handler.row.mnemonic === 'call' || value.rare) return []
  return [targetOf(value)]
}

/** Where a direct call goes. */
function calleeOf(value: DecodedRecord): number | undefined {
  const { handler, rare } = value
  return handler.row.mnemonic === 'call' && isRelative(handler) && !rare ? targetOf(value) : undefined
}

const targetOf = ({ record, page }: CodeRecord): number => page + Number(record.getBigInt64(REC_IMM, true))

/** Execution may go on behind it: conditional branches, and calls that return. */
function goesOn({ handler }: CodeRecord): boolean {
  const { mnemonic } = handler.row
  return mnemonic !== 'jmp' && mnemonic !== 'ret'
}

function compilable({ row, width }: SemanticHandler, record: DataView, mode: number): boolean {
  // Branches of 16 bits truncate RIP.
  const short = (record.getUint8(REC_FLAGS) & RECF_OPSIZE) !== 0 || width === 16
  if (BRANCH.test(row.mnemonic) && short && (mode & MODE_CS_MASK) !== MODE_CS64) return false
  return true
}

export function formRegion(source: CodeSource, place: Place): Region | undefined {
  return new Former(source, place).form()
}
