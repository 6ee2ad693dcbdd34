/**
 * Which code a region is made of: the decoded blocks that its entry reaches by direct branches, and by indirect jumps as far
 * as their targets are known (jump-targets.ts), within the entry's page and its neighbours as far as their gfns are known. Only what the interpreter has decoded is taken: code that never ran
 * stays outside, and is reached through an exit.
 */
import { REGION_SAVED } from '../../abi/code-cache.ts'
import { MODE_CS64, MODE_CS_MASK } from '../../abi/layout.ts'
import {
  RECF_END,
  RECF_OPSIZE,
  REC_FLAGS,
  REC_IMM,
  REC_LEN,
  REC_OP,
  REC_SIZE,
  REC_TAKEN,
} from '../../abi/record.ts'
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

export interface CodeRecord {
  readonly handler: SemanticHandler
  readonly record: DataView
  /** RIP relative to the region's first page, and its page. */
  readonly rip: number
  readonly page: number
  /** The instruction goes on in the next page. */
  readonly crosses: boolean
}

export interface Block {
  readonly rip: number
  readonly records: readonly CodeRecord[]
  /** Where it goes if its last instruction does not branch. */
  readonly end: 'next' | 'leave'
  /** Targets relative to the region's first page, whether they are part of the region or not. */
  readonly targets: readonly number[]
}

export interface Region {
  /** gpa of the entry's page, and the mode. */
  readonly mode: number
  readonly entry: number
  /** In order of discovery; the entry first. */
  readonly blocks: readonly Block[]
  /** Blocks, by their RIP, that indirect jumps of the region may lead to. */
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
  /** Address of the code cache. */
  cache(): number
}

export interface Place {
  readonly gpa: bigint
  readonly mode: number
  /** gfn of pages by distance from the entry's page. */
  readonly gfns: ReadonlyMap<number, number>
  /** A branch taken less often than this is followed only by leaving the region. */
  readonly rare: number
}

class Former {
  readonly #source: CodeSource
  readonly #place: Place
  readonly #records = new Map<number, CodeRecord>()
  readonly #entryOffset: number
  /** Known once the region has an indirect jump. */
  #jumps: JumpTargets | undefined

  constructor(source: CodeSource, place: Place) {
    this.#source = source
    this.#place = place
    this.#entryOffset = Number(place.gpa & 0xfffn)
  }

  /** The decoded record at a place. */
  #at(rip: number): CodeRecord | undefined {
    const distance = Math.floor(rip / PAGE)
    const gfn = this.#place.gfns.get(distance)
    if (gfn === undefined) return undefined
    const { view } = this.#source
    let address = this.#source.peek((BigInt(gfn) << 12n) | BigInt(rip & (PAGE - 1)), this.#place.mode)
    if (address === 0) return undefined
    const crosses = view.getUint16(address + REC_OP, true) === HANDLER_CROSS
    if (crosses) {
      const next = this.#place.gfns.get(distance + 1)
      if (next === undefined || view.getBigUint64(address + REC_IMM, true) !== BigInt(next) << 12n)
        return undefined
      address += REC_SIZE
    }
    const bytes = new Uint8Array(REC_SIZE)
    bytes.set(new Uint8Array(view.buffer, address, REC_SIZE))
    let record = new DataView(bytes.buffer)
    if (record.getUint16(REC_OP, true) === HANDLER_REGION) {
      const region = record.getUint32(REC_IMM + 4, true)
      bytes.set(new Uint8Array(view.buffer, region + REGION_SAVED, REC_SIZE))
      record = new DataView(bytes.buffer)
    }
    const op = record.getUint16(REC_OP, true)
    const handler = op < HANDLER_FIRST ? undefined : this.#source.handler(op)
    if (!handler || !compilable(handler, record, this.#place.mode)) return undefined
    return { handler, record, rip, page: distance * PAGE, crosses }
  }

  form(): Region | undefined {
    const leaders = this.#discover()
    if (this.#records.size === 0) return undefined
    const blocks: Block[] = []
    for (const rip of leaders) {
      const block = this.#block(rip, leaders)
      if (block) blocks.push(block)
    }
    const [first] = blocks
    if (first?.rip !== this.#entryOffset) return undefined
    const pages = new Map<number, number>()
    for (const { page, crosses } of this.#records.values()) {
      for (const distance of crosses ? [page / PAGE, page / PAGE + 1] : [page / PAGE]) {
        pages.set(distance, this.#place.gfns.get(distance) ?? 0)
      }
    }
    const jumped = [...(this.#jumps?.all ?? [])].filter((rip) => blocks.some((block) => block.rip === rip))
    return { mode: this.#place.mode, entry: this.#entryOffset, blocks, jumped, pages }
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

  get #instructionsMax(): number {
    return this.#jumps?.all.size ? JUMPING_INSTRUCTIONS_MAX : INSTRUCTIONS_MAX
  }

  get #blocksMax(): number {
    return this.#jumps?.all.size ? JUMPING_BLOCKS_MAX : BLOCKS_MAX
  }

  /** Reaches records from the entry; returns where blocks begin, the entry first. */
  #discover(): Set<number> {
    const leaders = new Set<number>([this.#entryOffset])
    const waiting = [this.#entryOffset]
    for (let rip = waiting.shift(); rip !== undefined; rip = waiting.shift()) {
      let at = rip
      while (this.#records.size < this.#instructionsMax && !this.#records.has(at)) {
        const value = this.#at(at)
        if (!value) break
        this.#records.set(at, value)
        const next = at + value.record.getUint8(REC_LEN)
        const targets = [...directTargets(value, this.#place.rare), ...this.#jumpTargets(value)]
        for (const target of targets) {
          if (leaders.size >= this.#blocksMax || leaders.has(target)) continue
          leaders.add(target)
          waiting.push(target)
        }
        if (isBranch(value.handler)) {
          if (goesOn(value) && leaders.size < this.#blocksMax && !leaders.has(next)) {
            leaders.add(next)
            waiting.push(next)
          }
          break
        }
        if (value.record.getUint8(REC_FLAGS) & RECF_END) break
        // A page is looked at where it is entered.
        if (Math.floor(next / PAGE) !== Math.floor(at / PAGE)) leaders.add(next)
        at = next
      }
    }
    return leaders
  }

  #block(rip: number, leaders: ReadonlySet<number>): Block | undefined {
    const records: CodeRecord[] = []
    let at = rip
    for (;;) {
      const value = this.#records.get(at)
      if (!value) {
        return records.length === 0 ? undefined : { rip, records, end: 'next', targets: [at] }
      }
      records.push(value)
      const next = at + value.record.getUint8(REC_LEN)
      if (isBranch(value.handler)) {
        const targets = [...directTargets(value, this.#place.rare), ...(goesOn(value) ? [next] : [])]
        return { rip, records, end: 'next', targets }
      }
      if (value.record.getUint8(REC_FLAGS) & RECF_END) return { rip, records, end: 'leave', targets: [] }
      if (leaders.has(next)) return { rip, records, end: 'next', targets: [next] }
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

function isRelative({ row }: SemanticHandler): boolean {
  return row.operands.some((operand) => operand.includes(':rel'))
}

/** Where a direct branch goes; not where a call does, which is another region. */
function directTargets({ handler, record, page }: CodeRecord, rare: number): number[] {
  if (!isRelative(handler) || handler.row.mnemonic === 'call') return []
  const target = Number(record.getBigInt64(REC_IMM, true))
  // Rarely taken within its page, where takes are counted: that way stays with the interpreter.
  const counted = target >= 0 && target < PAGE && handler.row.mnemonic !== 'jmp'
  if (counted && record.getUint32(REC_TAKEN, true) < rare) return []
  return [page + target]
}

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
