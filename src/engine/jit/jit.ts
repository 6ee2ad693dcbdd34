/**
 * Compiles what the vCPU queued: regions are formed from its decoded code, a batch of them becomes one module, and each is
 * attached to the record of its first instruction.
 *
 * Memory is bounded: regions live in the vCPU's code cache and die with it; when the table of functions or the bytes of
 * modules reach their limit everything is dropped at once and what is still hot is compiled again.
 */
import { CACHE_FLUSHES } from '../../abi/code-cache.ts'
import { QUEUE_KEY, QUEUE_NEIGHBOURS, QUEUE_NO_PAGE, QUEUE_ENTRY_SHIFT } from '../../abi/jit.ts'
import {
  CPU_CODE_CACHE,
  CPU_JIT_MASK,
  CPU_JIT_QUEUE,
  CPU_JIT_QUEUED,
  CPU_JIT_STATS,
  JIT_STAT_BYTES,
  JIT_STAT_CODEGEN_NS,
  JIT_STAT_COMPILE_NS,
  JIT_STAT_EVICTED,
  JIT_STAT_MODULES,
  JIT_STAT_REGIONS,
} from '../../abi/layout.ts'
import { REC_OP } from '../../abi/record.ts'
import type { Semantics } from '../../isa/emit.ts'
import { HANDLER_CROSS, assignHandlers } from '../../isa/handlers.ts'
import { ROWS } from '../../isa/rows/index.ts'
import { SEMANTICS } from '../../isa/semantics/index.ts'
import { CodeBuilder } from '../../wasm/code.ts'
import { ModuleBuilder } from '../../wasm/module.ts'
import { MEMORY_MAX_PAGES, MEMORY_MIN_PAGES } from '../interp/build-interp.ts'
import { REGION_PARAMS } from '../interp/dispatch.ts'
import { ALL_IMPORTS } from '../interp/interp-emit.ts'
import { formRegion } from './discover.ts'
import type { CodeSource, Place, Region } from './discover.ts'
import type { SemanticHandler } from './jit-emit.ts'
import { emitRegion } from './region-code.ts'

/** Functions of a vCPU's table; all are dropped when it is full. */
const REGIONS_MAX = 8192
/** The table grows by this: some engines copy it into every module. */
const TABLE_STEP = 512
/** Bytes of modules alive: V8 makes 5 to 10 times as much machine code of them. */
const BYTES_MAX = 24 * 1024 * 1024

export interface JitKernel {
  code_peek(gpa: bigint, mode: number): number
  code_flush(): void
  jit_region(record: number): number
  jit_link(): number
  jit_region_page(region: number, gfn: number): number
  jit_attach(region: number, index: number): void
}

/** The exports of interp.wasm that compiled code calls. */
const SHARED: Readonly<Record<string, { readonly params: readonly ('i32' | 'i64')[]; readonly result?: 'i32' | 'i64' }>> = {
  dispatch: { params: ['i32', 'i64', 'i32', 'i32'], result: 'i32' },
  link: { params: ['i32', 'i64', 'i32', 'i32', 'i32'], result: 'i32' },
  cc_commit: { params: ['i32'] },
  cc_result: { params: ['i32', 'i32', 'i64', 'i64', 'i64'], result: 'i64' },
  cc_carries: { params: ['i32', 'i32', 'i64', 'i64', 'i64'], result: 'i32' },
} // prettier-ignore

export interface JitOptions {
  readonly memory: WebAssembly.Memory
  readonly cpu: number
  readonly kernel: JitKernel
  /** Exports that compiled code may import: the kernel's and interp.wasm's. */
  readonly functions: Readonly<Record<string, WebAssembly.ExportValue>>
  readonly regions: WebAssembly.Table
  readonly now: () => number
}

interface Formed {
  readonly region: Region
  readonly address: number
}

let handlers: readonly (SemanticHandler | undefined)[] | undefined

/** Handlers by number, with what they mean. */
function knownHandlers(): readonly (SemanticHandler | undefined)[] {
  if (handlers) return handlers
  const list: (SemanticHandler | undefined)[] = []
  for (const handler of assignHandlers(ROWS).list) {
    const semantics = (SEMANTICS as Readonly<Record<string, Semantics>>)[handler.row.id]
    if (!semantics) throw new Error(`row ${handler.row.id} has no semantic function`)
    list[handler.id] = { ...handler, semantics }
  }
  handlers = list
  return list
}

export class Jit {
  readonly #options: JitOptions
  readonly #view: DataView
  readonly #source: CodeSource
  #next = 0
  #bytes = 0
  #flushes: number

  constructor(options: JitOptions) {
    this.#options = options
    this.#view = new DataView(options.memory.buffer)
    const list = knownHandlers()
    this.#source = {
      view: this.#view,
      handler: (op) => list[op],
      peek: (gpa, mode) => options.kernel.code_peek(gpa, mode) >>> 0,
    }
    this.#flushes = this.#flushCount
  }

  get #flushCount(): number {
    const cache = this.#view.getUint32(this.#options.cpu + CPU_CODE_CACHE, true)
    return this.#view.getUint32(cache + CACHE_FLUSHES, true)
  }

  #count(stat: number, by: number): void {
    const at = this.#options.cpu + CPU_JIT_STATS + stat
    this.#view.setFloat64(at, this.#view.getFloat64(at, true) + by, true)
  }

  /** Everything that was queued. */
  compileQueue(): void {
    const { cpu, now } = this.#options
    if (this.#flushes !== this.#flushCount) this.#forget()
    if (this.#bytes > BYTES_MAX || this.#next + 64 > REGIONS_MAX) {
      this.#options.kernel.code_flush()
      this.#forget()
    }
    const queued = this.#view.getUint32(cpu + CPU_JIT_QUEUED, true)
    this.#view.setUint32(cpu + CPU_JIT_QUEUED, 0, true)
    const start = now()
    this.compile(
      Array.from({ length: queued }, (_, i) => this.#place(cpu + CPU_JIT_QUEUE + (i << QUEUE_ENTRY_SHIFT))),
    )
    this.#count(JIT_STAT_CODEGEN_NS, now() - start)
  }

  /** Compiles what begins at each place into one module. Returns how many regions that makes. */
  compile(places: readonly Place[]): number {
    const formed = places.flatMap((place) => this.#form(place) ?? [])
    if (formed.length > 0) this.#compile(formed)
    return formed.length
  }

  /** The code cache was flushed: what was compiled from it can no longer be reached. */
  #forget(): void {
    this.#flushes = this.#flushCount
    this.#count(JIT_STAT_EVICTED, this.#next)
    for (let i = 0; i < this.#next; i++) this.#options.regions.set(i, null)
    this.#count(JIT_STAT_BYTES, -this.#bytes)
    this.#next = 0
    this.#bytes = 0
  }

  /** A queue entry. */
  #place(entry: number): Place {
    const view = this.#view
    const key = view.getBigUint64(entry + QUEUE_KEY, true)
    const gpa = key >> 8n
    const gfns = new Map<number, number>([[0, Number(gpa >> 12n)]])
    for (const [i, distance] of [-1, 1, 2].entries()) {
      const gfn = view.getUint32(entry + QUEUE_NEIGHBOURS + i * 4, true)
      if (gfn !== QUEUE_NO_PAGE) gfns.set(distance, gfn)
    }
    const mask = view.getUint32(this.#options.cpu + CPU_JIT_MASK, true)
    return { gpa, mode: Number(key & 0xffn), gfns, rare: Math.ceil((mask + 1) / 64) }
  }

  #form(place: Place): Formed | undefined {
    const { kernel } = this.#options
    const { gpa, mode } = place
    const record = this.#source.peek(gpa, mode)
    // In front of an instruction that crosses into the next page stands a guard, which must stay.
    if (record === 0 || this.#view.getUint16(record + REC_OP, true) === HANDLER_CROSS) return undefined
    const region = formRegion(this.#source, place)
    if (!region) return undefined
    const address = kernel.jit_region(record) >>> 0
    return address === 0 ? undefined : { region, address }
  }

  #compile(formed: readonly Formed[]): void {
    const { memory, regions, functions, kernel, now } = this.#options
    // Bodies first: a module imports only what they call, in the order of first use.
    const imports = new Map<string, number>()
    const index = (name: string): number => {
      const known = imports.get(name) ?? imports.size
      imports.set(name, known)
      return known
    }
    const bodies = formed.map(({ region, address }) => {
      const code = new CodeBuilder(REGION_PARAMS.length)
      emitRegion(region, {
        code,
        imports: { index },
        region: address,
        link: () => kernel.jit_link() >>> 0,
        regionType: 0,
      })
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
      module.addFunction(REGION_PARAMS, ['i32'], code, `region ${this.#next + i}`),
    )
    module.elements(table, this.#next, made)
    const bytes = module.toBytes()
    if (this.#next + formed.length > regions.length) regions.grow(TABLE_STEP)
    const start = now()
    const compiled = new WebAssembly.Module(bytes)
    void new WebAssembly.Instance(compiled, { env: { memory, regions }, f: functions })
    const took = now() - start
    this.#count(JIT_STAT_COMPILE_NS, took)
    this.#count(JIT_STAT_CODEGEN_NS, -took)
    for (const [i, { region, address }] of formed.entries()) {
      const whole = Array.from(region.pages.values()).every(
        (gfn) => kernel.jit_region_page(address, gfn) !== 0,
      )
      if (whole) kernel.jit_attach(address, this.#next + i)
    }
    this.#next += formed.length
    this.#bytes += bytes.length
    this.#count(JIT_STAT_REGIONS, formed.length)
    this.#count(JIT_STAT_MODULES, 1)
    this.#count(JIT_STAT_BYTES, bytes.length)
  }
}

export const createRegionTable = (): WebAssembly.Table =>
  new WebAssembly.Table({ element: 'anyfunc', initial: TABLE_STEP, maximum: REGIONS_MAX })
