/**
 * Regions on their way from the thread of a vCPU, which forms them, to the thread that generates their code: as words. And that
 * generation: one module for a batch.
 *
 *   batch   first, regions;  region  mode, entry, address, links: count and addresses, jumped: count and rips,
 *           pages: count and (distance, gfn), contexts: count and (parent, entry, returns), blocks
 *   block   context, callee, rip, goes on, targets: count and rips, records: count;  record  rip, page, crosses, the 32 bytes
 */
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

export interface BatchRegion {
  readonly region: Region
  /** Address of its struct (abi/code-cache.ts, REGION_*). */
  readonly address: number
  /** Addresses of links (LINK_*) that its code may use. */
  readonly links: readonly number[]
}

export interface Batch {
  /** Index of the first region's function in the vCPU's table; the others follow. */
  readonly first: number
  readonly regions: readonly BatchRegion[]
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

/** Ways out of a region that can be linked, at most. */
export const linksOf = ({ blocks }: Region): number =>
  blocks.reduce((sum, { targets }) => sum + targets.length + 1, 0)

/** As many regions of a batch as there is room for. Returns how many that are. */
export function encodeBatch({ first, regions }: Batch, words: Int32Array): number {
  let at = 2
  let count = 0
  for (const region of regions) {
    const list = wordsOf(region)
    if (at + list.length > words.length) break
    words.set(list, at)
    at += list.length
    count++
  }
  words[0] = first
  words[1] = count
  return count
}

function wordsOf({ region, address, links }: BatchRegion): number[] {
  const { mode, entry, jumped, pages, contexts, blocks } = region
  const list = [mode, entry, address, links.length, ...links, jumped.length, ...jumped, pages.size]
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

  region(): BatchRegion {
    const mode = this.next()
    const entry = this.next()
    const address = unsigned(this)
    const links = this.list(unsigned)
    const jumped = this.list(signed)
    const pages = new Map(this.list((reader) => [reader.next(), reader.next()] as const))
    const contexts = this.list((reader) => ({
      parent: reader.next(),
      entry: reader.next(),
      returns: reader.next(),
    }))
    const blocks = this.list(block)
    return { region: { mode, entry, jumped, pages, contexts, blocks }, address, links }
  }
}

const signed = (reader: Reader): number => reader.next()
const unsigned = (reader: Reader): number => reader.next() >>> 0
const record = (reader: Reader): CodeRecord => reader.record()
const block = (reader: Reader): Block => reader.block()

export function decodeBatch(words: Int32Array): Batch {
  const reader = new Reader(words)
  return { first: reader.next(), regions: reader.list(() => reader.region()) }
}

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
  const bodies = regions.map(({ region, address, links }) => {
    const count = region.blocks.reduce((sum, { records }) => sum + records.length, 0)
    const code = new CodeBuilder(REGION_PARAMS.length, 1024 + count * INSTRUCTION_BYTES)
    let used = 0
    const link = (): number => links[used++] ?? 0
    emitRegion(region, { code, imports: { index }, region: address, link, regionType: 0 })
    return code
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
  const made = bodies.map((code, i) =>
    module.addFunction(REGION_PARAMS, ['i32'], code, `region ${first + i}`),
  )
  module.elements(table, first, made)
  return module.toBytes()
}
