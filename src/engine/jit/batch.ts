/**
 * Regions on their way from the thread of a vCPU, which forms them, to the thread that generates their code: as words. And that
 * generation: one module for a batch.
 *
 *   batch   regions: count; generation, first, links, linkBytes, where each region begins;  region  mode, entry, struct, links, linkCount,
 *           jumped: count and rips, pages: count and (distance, gfn), contexts: count and (parent, entry, returns), blocks
 *   block   context, callee, rip, goes on, targets: count and rips, records: count;  record  rip, page, crosses, the 32 bytes
 *
 * The module knows no address, only places that are the same for every vCPU (code-places.ts), so that all may use it.
 */
import { LINKS_MAX } from '../../abi/code-cache.ts'
import { REC_OP, REC_SIZE } from '../../abi/record.ts'
import type { Semantics } from '../../isa/emit.ts'
import { assignHandlers } from '../../isa/handlers.ts'
import { ROWS } from '../../isa/rows/index.ts'
import { SEMANTICS } from '../../isa/semantics/index.ts'
import { CodeBuilder } from '../../wasm/code.ts'
import { ModuleBuilder } from '../../wasm/module.ts'
import { MEMORY_MAX_PAGES, MEMORY_MIN_PAGES } from '../interp/build-interp.ts'
import { REGION_PARAMS } from '../interp/dispatch.ts'
import { ALL_IMPORTS } from '../interp/interp-emit.ts'
import { instanceOf } from '../interp/record-emit.ts'
import { keyOf } from './discover.ts'
import type { Block, CodeRecord, Region } from './discover.ts'
import type { SemanticHandler } from './jit-emit.ts'
import { emitRegion } from './region-code.ts'

interface FunctionType {
  readonly params: readonly ('i32' | 'i64')[]
  readonly result?: 'i32' | 'i64'
}

/** interp/elsewhere.ts */
function accesses(kind: 'stack' | 'other'): Record<string, FunctionType> {
  const types: Record<string, FunctionType> = {}
  for (const bits of [8, 16, 32, 64]) {
    const value = bits === 64 ? 'i64' : 'i32'
    types[`${kind}_load${bits}`] = { params: ['i32', 'i64', 'i32'], result: value }
    types[`${kind}_store${bits}`] = { params: ['i32', 'i64', value, 'i64', 'i32'], result: 'i32' }
  }
  return types
}

/** The exports of interp.wasm that compiled code calls. */
const SHARED: Readonly<Record<string, FunctionType>> = {
  dispatch: { params: ['i32', 'i64', 'i32', 'i32'], result: 'i32' },
  link: { params: ['i32', 'i64', 'i32', 'i32', 'i32'], result: 'i32' },
  cc_commit: { params: ['i32'] },
  cc_result: { params: ['i32', 'i32', 'i64', 'i64', 'i64'], result: 'i64' },
  cc_carries: { params: ['i32', 'i32', 'i64', 'i64', 'i64'], result: 'i32' },
  ...accesses('stack'), ...accesses('other'),
} // prettier-ignore

/** Of the code of an instruction, as a rule not more. */
const INSTRUCTION_BYTES = 112

const RECORD_WORDS = REC_SIZE / 4

/** A region with its places, as distances from the CPU struct. */
export interface PlacedRegion {
  readonly region: Region
  /** abi/code-cache.ts, REGION_* */
  readonly struct: number
  /** LINK_*, one behind the other. */
  readonly links: number
  readonly linkCount: number
}

export interface Batch {
  /** Of code-places.ts. */
  readonly generation: number
  /** Index of the first region's function in the vCPU's table; the others follow. */
  readonly first: number
  /** Where the links of all its regions begin, and how long they are. */
  readonly links: number
  readonly linkBytes: number
  readonly regions: readonly PlacedRegion[]
}

let handlers: readonly (SemanticHandler | undefined)[] | undefined

/** Handlers by number, with what they mean. */
export function knownHandlers(): readonly (SemanticHandler | undefined)[] {
  if (handlers) return handlers
  const list: (SemanticHandler | undefined)[] = []
  for (const handler of assignHandlers(ROWS).list) {
    const semantics = (SEMANTICS as Readonly<Record<string, Semantics>>)[handler.row.id]
    if (!semantics) throw new Error(`row ${handler.row.id} has no semantic function`)
    const { row, width, form } = handler
    list[handler.id] = { ...handler, semantics, instance: instanceOf(row, width, form) }
  }
  handlers = list
  return list
}

/** Ways out of a region that can be linked: each target outside, and each call, as far as there is room. */
export function linksOf({ blocks }: Region): number {
  const own = new Set(blocks.map(({ context, rip }) => keyOf(context, rip)))
  let count = 0
  for (const { context, targets } of blocks)
    count += 1 + targets.filter((rip) => !own.has(keyOf(context, rip))).length
  return Math.min(count, LINKS_MAX)
}

const HEAD_WORDS = 5

/** As many regions of a batch as there is room for. Returns how many words that takes, and puts the number of regions first. */
export function encodeBatch(
  { generation, first, links, linkBytes, regions }: Batch,
  words: Int32Array,
): number {
  let at = HEAD_WORDS + regions.length
  let count = 0
  for (const region of regions) {
    const list = wordsOf(region)
    if (at + list.length > words.length) break
    words.set(list, at)
    words[HEAD_WORDS + count++] = at
    at += list.length
  }
  words.set([count, generation, first, links, linkBytes])
  return at
}

function wordsOf({ region, struct, links, linkCount }: PlacedRegion): number[] {
  const { mode, entry, jumped, pages, contexts, blocks } = region
  const list = [mode, entry, struct, links, linkCount, jumped.length, ...jumped, pages.size]
  for (const [distance, gfn] of pages) list.push(distance, gfn)
  list.push(contexts.length)
  for (const context of contexts) list.push(context.parent, context.entry, context.returns)
  list.push(blocks.length)
  for (const { context, callee, rip, end, targets, records } of blocks) {
    list.push(context, callee, rip, end === 'next' ? 1 : 0, targets.length, ...targets, records.length)
    for (const { record, rip: at, page, crosses } of records) {
      list.push(at, page, crosses ? 1 : 0)
      for (let i = 0; i < REC_SIZE; i += 4) list.push(record.getInt32(i, true))
    }
  }
  return list
}

class Reader {
  /** Records are views of it. */
  readonly #words: Int32Array
  readonly #handlers = knownHandlers()
  #at = 0

  constructor(words: Int32Array) {
    this.#words = words
  }

  next(): number {
    const value = this.#words[this.#at++]
    if (value === undefined) throw new Error('a batch that ends early')
    return value
  }

  /** As many items as the next word says. */
  list<Item>(read: (reader: Reader) => Item): Item[] {
    const list: Item[] = []
    for (let left = this.next(); left > 0; left--) list.push(read(this))
    return list
  }

  record(): CodeRecord {
    const rip = this.next()
    const page = this.next()
    const crosses = this.next() === 1
    const record = new DataView(this.#words.buffer, this.#words.byteOffset + this.#at * 4, REC_SIZE)
    this.#at += RECORD_WORDS
    const handler = this.#handlers[record.getUint16(REC_OP, true)]
    if (!handler) throw new Error(`a batch with a record of handler ${record.getUint16(REC_OP, true)}`)
    return { handler, record, rip, page, crosses }
  }

  block(): Block {
    const context = this.next()
    const callee = this.next()
    const rip = this.next()
    const end = this.next() === 1 ? 'next' : 'leave'
    const targets = this.list(signed)
    return { context, callee, rip, end, targets, records: this.list(record) }
  }

  region(): PlacedRegion {
    const mode = this.next()
    const entry = this.next()
    const struct = this.next()
    const links = this.next()
    const linkCount = this.next()
    const jumped = this.list(signed)
    const pages = new Map(this.list((reader) => [reader.next(), reader.next()] as const))
    const contexts = this.list((reader) => ({
      parent: reader.next(),
      entry: reader.next(),
      returns: reader.next(),
    }))
    const blocks = this.list(block)
    return { region: { mode, entry, jumped, pages, contexts, blocks }, struct, links, linkCount }
  }
}

const signed = (reader: Reader): number => reader.next()
const record = (reader: Reader): CodeRecord => reader.record()
const block = (reader: Reader): Block => reader.block()

/** A batch, its regions read when they are asked for; their records are views of `words`. */
export class EncodedBatch implements Omit<Batch, 'regions'> {
  readonly #words: Int32Array

  constructor(words: Int32Array) {
    this.#words = words
  }

  #head(word: number): number {
    return this.#words[word] ?? 0
  }

  get count(): number {
    return this.#head(0)
  }

  get generation(): number {
    return this.#head(1)
  }

  get first(): number {
    return this.#head(2)
  }

  get links(): number {
    return this.#head(3)
  }

  get linkBytes(): number {
    return this.#head(4)
  }

  at(index: number): PlacedRegion {
    if (index >= this.count) throw new Error(`a batch without region ${index}`)
    return new Reader(this.#words.subarray(this.#head(HEAD_WORDS + index))).region()
  }

  get all(): Batch {
    const regions = Array.from({ length: this.count }, (_, i) => this.at(i))
    const { generation, first, links, linkBytes } = this
    return { generation, first, links, linkBytes, regions }
  }
}

/** gpa of its first instruction. */
export const entryOf = ({ pages, entry }: Region): bigint =>
  (BigInt(pages.get(0) ?? 0) << 12n) | BigInt(entry)

/** The module of a batch: instantiated, it puts its functions into the vCPU's table. */
export function compileBatch({ first, regions }: Batch): Uint8Array<ArrayBuffer> {
  // Bodies first: a module imports only what they call, in the order of first use.
  const imports = new Map<string, number>()
  const index = (name: string): number => {
    const known = imports.get(name)
    if (known !== undefined) return known
    imports.set(name, imports.size)
    return imports.size - 1
  }
  const bodies = regions.map(({ region, ...places }) => {
    const count = region.blocks.reduce((sum, { records }) => sum + records.length, 0)
    const code = new CodeBuilder(REGION_PARAMS.length, 1024 + count * INSTRUCTION_BYTES)
    emitRegion(region, { code, imports: { index }, ...places, regionType: 0 })
    return { code, name: `region ${entryOf(region).toString(16)}` }
  })
  const module = new ModuleBuilder()
  module.type(REGION_PARAMS, ['i32']) // type 0
  for (const name of imports.keys()) {
    const type = ALL_IMPORTS[name] ?? SHARED[name]
    if (!type) throw new Error(`compiled code has no function ${name}`)
    module.importFunction('f', name, type.params, type.result ? [type.result] : [])
  }
  module.importSharedMemory('env', 'memory', MEMORY_MIN_PAGES, MEMORY_MAX_PAGES)
  const table = module.importTable('env', 'regions', 0)
  const made = bodies.map(({ code, name }) => module.addFunction(REGION_PARAMS, ['i32'], code, name))
  module.elements(table, first, made)
  return module.toBytes()
}
