/**
 * A vCPU's side of compilation: of what it queued, regions are formed from its decoded code, a batch of them goes to the
 * compiler (mailbox.ts), and when its module is there each is attached to the record of its first instruction.
 *
 * Memory is bounded: regions live in the vCPU's code cache and die with it; when the table of functions or the bytes of
 * modules reach their limit everything is dropped at once and what is still hot is compiled again.
 */
import { CACHE_FLUSHES } from '../../abi/code-cache.ts'
import { QUEUE_KEY, QUEUE_NEIGHBOURS, QUEUE_NO_PAGE, QUEUE_ENTRY_SHIFT, QUEUE_VPAGE } from '../../abi/jit.ts'
import {
  CPU_CODE_CACHE,
  CPU_JIT_MASK,
  CPU_JIT_QUEUE,
  CPU_JIT_QUEUED,
  CPU_JIT_STATS,
  CPU_TLB,
  JIT_STAT_BYTES,
  JIT_STAT_CODEGEN_NS,
  JIT_STAT_COMPILE_NS,
  JIT_STAT_EVICTED,
  JIT_STAT_MODULES,
  JIT_STAT_REGIONS,
  MODE_CS64,
  MODE_CS_MASK,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_EXEC,
  TLB_GFN,
} from '../../abi/layout.ts'
import { REC_OP } from '../../abi/record.ts'
import { HANDLER_CROSS, HANDLER_REGION } from '../../isa/handlers.ts'
import { knownHandlers, linksOf } from './batch.ts'
import type { BatchRegion } from './batch.ts'
import { formRegion } from './discover.ts'
import type { CodeSource, Place } from './discover.ts'
import type { CompiledModule, Compiler } from './mailbox.ts'

/** The table grows by this: some engines copy it into every module. */
const TABLE_STEP = 512

/** Places of a batch: bounds for how long the guest stands still while regions are formed and a module is instantiated. */
const BATCH_MAX = 24

/** When it is reached, everything that was compiled is dropped. */
export interface JitLimits {
  /** Functions of a vCPU's table. */
  readonly regions: number
  /** Bytes of modules alive: V8 makes 5 to 10 times as much machine code of them. */
  readonly bytes: number
}

export const JIT_LIMITS: JitLimits = { regions: 8192, bytes: 24 * 1024 * 1024 }

export interface JitKernel {
  code_peek(gpa: bigint, mode: number): number
  code_taken(gpa: bigint, mode: number): number
  code_flush(): void
  jit_region(record: number): number
  jit_link(region: number): number
  jit_region_page(region: number, gfn: number): number
  jit_attach(region: number, index: number): number
}

/** What compiled code is instantiated with. */
export interface RegionSpace {
  /** Exports that it may import: the kernel's and interp.wasm's. */
  readonly functions: Readonly<Record<string, WebAssembly.ExportValue>>
  readonly regions: WebAssembly.Table
}

export interface JitOptions {
  readonly memory: WebAssembly.Memory
  readonly cpu: number
  readonly kernel: JitKernel
  readonly space: RegionSpace
  /**
   * A fresh table, with an interp.wasm that uses it: V8 keeps every instance alive that ever imported a table, for as long as the
   * table lives. Absent: the table is only emptied.
   */
  readonly renew?: () => RegionSpace
  readonly compiler: Compiler
  readonly limits: JitLimits
  readonly now: () => number
}

export class Jit {
  readonly #options: JitOptions
  readonly #view: DataView
  readonly #source: CodeSource
  /** What the compiler has: addresses of the regions, the first one's index, and how often the cache was flushed by then. */
  #waiting:
    | { readonly addresses: readonly number[]; readonly first: number; readonly flushes: number }
    | undefined
  #space: RegionSpace
  /** gpas of what the batch at hand has already. */
  readonly #entries = new Set<number>()
  #next = 0
  #bytes = 0
  #dropped = 0
  #flushes: number

  constructor(options: JitOptions) {
    this.#options = options
    this.#space = options.space
    this.#view = new DataView(options.memory.buffer)
    const list = knownHandlers()
    this.#source = {
      view: this.#view,
      handler: (op) => list[op],
      peek: (gpa, mode) => options.kernel.code_peek(gpa, mode) >>> 0,
      taken: (gpa, mode) => options.kernel.code_taken(gpa, mode) >>> 0,
      cache: () => this.#view.getUint32(options.cpu + CPU_CODE_CACHE, true),
    }
    this.#flushes = this.#flushCount
  }

  get #flushCount(): number {
    const cache = this.#view.getUint32(this.#options.cpu + CPU_CODE_CACHE, true)
    return this.#view.getUint32(cache + CACHE_FLUSHES, true)
  }

  /** Regions that were dropped, in all. */
  get dropped(): number {
    return this.#dropped
  }

  #count(stat: number, by: number): void {
    const at = this.#options.cpu + CPU_JIT_STATS + stat
    this.#view.setFloat64(at, this.#view.getFloat64(at, true) + by, true)
  }

  /** Installs what the compiler has ready and gives it what was queued since. */
  serve(): void {
    const { cpu, compiler, memory } = this.#options
    this.#install()
    const queued = this.#view.getUint32(cpu + CPU_JIT_QUEUED, true)
    if (!compiler.idle || queued === 0) return
    const queue = cpu + CPU_JIT_QUEUE
    const count = Math.min(queued, BATCH_MAX)
    const places = Array.from({ length: count }, (_, i) => this.#place(queue + (i << QUEUE_ENTRY_SHIFT)))
    const [first, end] = [queue + (count << QUEUE_ENTRY_SHIFT), queue + (queued << QUEUE_ENTRY_SHIFT)]
    new Uint8Array(memory.buffer).copyWithin(queue, first, end)
    this.#view.setUint32(cpu + CPU_JIT_QUEUED, queued - count, true)
    this.compile(places)
  }

  /** Has what begins at each place compiled, as one module. Returns how many regions that makes. */
  compile(places: readonly Place[]): number {
    const { compiler, kernel, limits, now } = this.#options
    if (this.#flushes !== this.#flushCount) this.#forget()
    if (this.#bytes > limits.bytes || this.#next + places.length > limits.regions) {
      kernel.code_flush()
      this.#forget()
    }
    const start = now()
    this.#entries.clear()
    const regions = places.flatMap((place) => this.#form(place) ?? [])
    this.#count(JIT_STAT_CODEGEN_NS, now() - start)
    const count = regions.length === 0 ? 0 : compiler.submit({ first: this.#next, regions })
    if (count === 0) return 0
    this.#waiting = {
      addresses: regions.slice(0, count).map(({ address }) => address),
      first: this.#next,
      flushes: this.#flushes,
    }
    this.#next += count
    this.#install()
    return count
  }

  /** The code cache was flushed: what was compiled from it can no longer be reached. */
  #forget(): void {
    this.#flushes = this.#flushCount
    this.#count(JIT_STAT_EVICTED, this.#next)
    this.#dropped += this.#next
    const { renew } = this.#options
    const { regions } = this.#space
    if (renew && this.#next > 0) this.#space = renew()
    else for (let i = 0; i < Math.min(this.#next, regions.length); i++) regions.set(i, null)
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
    const mode = Number(key & 0xffn)
    const vpage = view.getBigUint64(entry + QUEUE_VPAGE, true)
    const bits = (mode & MODE_CS_MASK) === MODE_CS64 ? 64 : 32
    const farGfn = (distance: number): number | undefined =>
      this.#gfnOf(BigInt.asUintN(bits, vpage + BigInt(distance) * 4096n))
    return { gpa, mode, gfns, farGfn, entries: this.#entries, rare: Math.ceil((mask + 1) / 64) }
  }

  /** gfn that may be fetched from at a linear page, as far as the TLB knows. */
  #gfnOf(vpage: bigint): number | undefined {
    const view = this.#view
    const index = Number((vpage >> 12n) & BigInt(TLB_ENTRIES - 1))
    const entry = view.getUint32(this.#options.cpu + CPU_TLB, true) + (index << TLB_ENTRY_SHIFT)
    if (view.getBigUint64(entry + TLB_EXEC, true) !== vpage) return undefined
    return view.getUint32(entry + TLB_GFN, true)
  }

  /** A region with its struct and links; from now on a write to one of its pages keeps it from being attached. */
  #form(place: Place): BatchRegion | undefined {
    const { kernel } = this.#options
    const { gpa, mode } = place
    const record = this.#source.peek(gpa, mode)
    if (record === 0) return undefined
    const op = this.#view.getUint16(record + REC_OP, true)
    // In front of an instruction that crosses into the next page stands a guard, which must stay.
    if (op === HANDLER_CROSS || op === HANDLER_REGION) return undefined
    const region = formRegion(this.#source, place)
    if (!region) return undefined
    this.#entries.add(Number(gpa))
    const address = kernel.jit_region(record) >>> 0
    if (address === 0) return undefined
    for (const gfn of region.pages.values()) {
      if (kernel.jit_region_page(address, gfn) === 0) return undefined
    }
    const links: number[] = []
    for (let n = linksOf(region); n > 0; n--) {
      const link = kernel.jit_link(address) >>> 0
      if (link === 0) break
      links.push(link)
    }
    return { region, address, links }
  }

  #install(): void {
    const { compiler, kernel, memory, now } = this.#options
    const { regions, functions } = this.#space
    const made = compiler.take()
    const waiting = this.#waiting
    if (!made || !waiting) return
    this.#waiting = undefined
    this.#count(JIT_STAT_CODEGEN_NS, made.ns)
    // Flushed meanwhile: its regions and links are gone.
    if (made.bytes.length === 0 || waiting.flushes !== this.#flushCount) return
    const { addresses, first } = waiting
    while (first + addresses.length > regions.length) regions.grow(TABLE_STEP)
    const start = now()
    this.#instantiate(made, { env: { memory, regions }, f: functions })
    this.#count(JIT_STAT_COMPILE_NS, now() - start)
    for (const [i, address] of addresses.entries()) kernel.jit_attach(address, first + i)
    this.#count(JIT_STAT_REGIONS, addresses.length)
  }

  #instantiate({ bytes }: CompiledModule, imports: WebAssembly.Imports): void {
    void new WebAssembly.Instance(new WebAssembly.Module(bytes), imports)
    this.#bytes += bytes.length
    this.#count(JIT_STAT_MODULES, 1)
    this.#count(JIT_STAT_BYTES, bytes.length)
  }
}

export const createRegionTable = (): WebAssembly.Table =>
  new WebAssembly.Table({ element: 'anyfunc', initial: TABLE_STEP, maximum: JIT_LIMITS.regions })
