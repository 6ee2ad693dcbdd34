/**
 * A vCPU's side of compilation: of what it queued, regions are formed from its decoded code, a batch of them goes to the
 * compiler (mailbox.ts), and when its module is there each is attached to the record of its first instruction.
 *
 * What another vCPU had compiled is taken over (shared-code.ts) long before it would be worth compiling here.
 *
 * Memory is bounded: regions die with the vCPU's code cache; when there are no places left (code-places.ts), or the bytes of modules reach
 * their limit, everything is dropped at once and what is still hot is compiled again.
 */
import { CACHE_FLUSHES } from '../../abi/code-cache.ts'
import {
  CPU_CODE_CACHE,
  CPU_JIT_STATS,
  JIT_STAT_BYTES,
  JIT_STAT_CODEGEN_NS,
  JIT_STAT_COMPILE_NS,
  JIT_STAT_EVICTED,
  JIT_STAT_MODULES,
  JIT_STAT_REGIONS,
  JIT_STAT_SHARED,
} from '../../abi/layout.ts'
import { adopt, entryRecord, stands } from './adopt.ts'
import type { AdoptingKernel } from './adopt.ts'
import { EncodedBatch, knownHandlers } from './batch.ts'
import type { Batch } from './batch.ts'
import type { CodePlaces } from './code-places.ts'
import { formRegion } from './discover.ts'
import type { CodeSource, Place, Region } from './discover.ts'
import { KeptModules } from './kept-modules.ts'
import type { CompiledModule, Compiler } from './mailbox.ts'
import { JitQueue } from './queue.ts'
import type { QueueEntry } from './queue.ts'
import type { SharedIndex } from './shared-code.ts'

/** The table grows by this: some engines copy it into every module. */
const TABLE_STEP = 512

/** Places of a batch: bounds for how long the guest stands still while regions are formed and a module is instantiated. */
const BATCH_MAX = 24

/** When it is reached, everything that was compiled is dropped, on each vCPU as soon as it compiles again. */
export interface JitLimits {
  /** Functions of all vCPUs together: each has its place in all of their tables. */
  readonly regions: number
  /** Bytes of modules alive on a vCPU: V8 makes 5 to 10 times as much machine code of them. */
  readonly bytes: number
}

export const JIT_LIMITS: JitLimits = { regions: 8192, bytes: 24 * 1024 * 1024 }

export interface JitKernel extends AdoptingKernel {
  code_taken(gpa: bigint, mode: number): number
  code_flush(): void
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
  /**
   * A fresh table, with an interp.wasm that uses it: V8 keeps every instance alive that ever imported a table, for as long as the
   * table lives. Absent: the table is only emptied.
   */
  readonly renew?: () => RegionSpace
  readonly compiler: Compiler
  /** Where code goes: those of the machine. */
  readonly places: CodePlaces
  /** Of code that was compiled for any vCPU; absent: there is none but this one's. */
  readonly index?: SharedIndex
  readonly limits: JitLimits
  readonly now: () => number
}

/** What the compiler has been asked for. */
type Waiting =
  | {
      readonly kind: 'batch'
      readonly batch: Batch
      /** How often the cache was flushed by then. */
      readonly flushes: number
    }
  | { readonly kind: 'fetch'; readonly batch: number; readonly region: number; readonly key: bigint }

export class Jit {
  readonly #options: JitOptions
  readonly #view: DataView
  readonly #source: CodeSource
  readonly #queue: JitQueue
  #waiting: Waiting | undefined
  /** Fetched modules by number. */
  readonly #fetched = new Map<number, EncodedBatch>()
  readonly #kept: KeptModules
  #space: RegionSpace
  /** Of the modules that live. */
  #functions = 0
  #generation: number
  #bytes = 0
  #dropped = 0
  #flushes: number

  /** @param space to begin with; it is not kept longer than what is compiled for it */
  constructor(options: JitOptions, space: RegionSpace) {
    this.#options = options
    this.#space = space
    this.#view = new DataView(options.memory.buffer)
    const list = knownHandlers()
    this.#source = {
      view: this.#view,
      handler: (op) => list[op],
      peek: (gpa, mode) => options.kernel.code_peek(gpa, mode) >>> 0,
      taken: (gpa, mode) => options.kernel.code_taken(gpa, mode) >>> 0,
      cache: () => this.#view.getUint32(options.cpu + CPU_CODE_CACHE, true),
    }
    this.#queue = new JitQueue(options.memory, options.cpu)
    this.#kept = new KeptModules(options.limits.bytes / 2)
    this.#flushes = this.#flushCount
    this.#generation = options.places.generation
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
    this.#install()
    const { compiler, kernel } = this.#options
    if (!compiler.idle) return
    const queue = this.#queue.entries
    if (queue.length === 0) return
    this.#keepUp()
    const fetching: QueueEntry[] = []
    const compiling: QueueEntry[] = []
    for (const entry of queue) {
      // Asked for again while it was being compiled.
      if (entryRecord(kernel, this.#view, entry.key >> 8n, Number(entry.key & 0xffn)) === 0) continue
      const found = this.#useShared(entry)
      if (found === 'fetch') fetching.push(entry)
      else if (found === 'none' && entry.hot) compiling.push(entry)
    }
    const [first] = fetching
    const now = first ? [] : compiling.slice(0, BATCH_MAX)
    this.#queue.keep([...fetching, ...compiling.slice(now.length)])
    if (first) this.#fetch(first)
    else this.compile(now.map((entry) => this.#queue.placeOf(entry)))
  }

  // --- code that was compiled already ---

  /** Has a place run code that was compiled for it. 'fetch': its module is not here yet; 'none': there is none that can be used. */
  #useShared({ key }: QueueEntry): 'done' | 'fetch' | 'none' {
    const { index, kernel } = this.#options
    const found = index?.find(key)
    if (!index || !found) return 'none'
    const batch = this.#fetched.get(found.batch)
    if (!batch) return 'fetch'
    const memory = { view: this.#view, cpu: this.#options.cpu }
    const adopted = adopt(kernel, memory, batch, found.region, key)
    if (adopted) this.#count(JIT_STAT_SHARED, 1)
    else index.remove(key)
    return adopted ? 'done' : 'none'
  }

  #fetch({ key }: QueueEntry): void {
    const { compiler, index } = this.#options
    const found = index?.find(key)
    if (!found) return
    compiler.fetch(found.batch)
    this.#waiting = { kind: 'fetch', ...found, key }
  }

  // --- code of this vCPU ---

  /** Has what begins at each place compiled, as one module. Returns how many regions that makes. */
  compile(places: readonly Place[]): number {
    const { compiler, now, places: codePlaces } = this.#options
    this.#keepUp()
    const start = now()
    const entries = new Set<number>()
    const formed = places.flatMap((place) => this.#form(place, entries) ?? [])
    if (formed.length === 0) return 0
    const batch = codePlaces.reserve(formed.map(({ region }) => region))
    if (batch?.generation !== this.#generation) return 0
    for (const [i, { region, struct }] of batch.regions.entries())
      this.#begin(struct, region, formed[i]?.record ?? 0)
    this.#count(JIT_STAT_CODEGEN_NS, now() - start)
    const count = compiler.submit(batch)
    if (count === 0) return 0
    const regions = batch.regions.slice(0, count)
    this.#waiting = { kind: 'batch', batch: { ...batch, regions }, flushes: this.#flushes }
    this.#install()
    return count
  }

  /** Drops what was compiled if there is too much of it, the code cache was flushed, or a new generation has begun. */
  #keepUp(): void {
    const { kernel, limits, places } = this.#options
    if (this.#bytes > limits.bytes) places.renew(this.#generation)
    const { generation } = places
    if (generation !== this.#generation) {
      kernel.code_flush()
      this.#kept.clear()
    }
    if (this.#flushes !== this.#flushCount) this.#forget()
    this.#generation = generation
  }

  /** The code cache was flushed: what was compiled from it can no longer be reached. */
  #forget(): void {
    this.#flushes = this.#flushCount
    this.#count(JIT_STAT_EVICTED, this.#functions)
    this.#dropped += this.#functions
    const { renew } = this.#options
    const { regions } = this.#space
    if (renew && this.#functions > 0) this.#space = renew()
    else for (let i = 0; i < regions.length; i++) regions.set(i, null)
    this.#count(JIT_STAT_BYTES, -this.#bytes)
    this.#functions = 0
    this.#bytes = 0
    this.#fetched.clear()
  }

  /** The region of a place, with the record that it is to stand in for. `entries`: where others of its batch begin. */
  #form(
    place: Place,
    entries: Set<number>,
  ): { readonly region: Region; readonly record: number } | undefined {
    const { kernel } = this.#options
    const record = entryRecord(kernel, this.#view, place.gpa, place.mode)
    if (record === 0) return undefined
    const region = formRegion(this.#source, { ...place, entries })
    if (!region) return undefined
    entries.add(Number(place.gpa))
    return { region, record }
  }

  /** From now on a write to one of its pages keeps a region from being attached. */
  #begin(struct: number, { pages }: Region, record: number): void {
    const { kernel, cpu } = this.#options
    const address = cpu + struct
    if (kernel.jit_region(address, record) === 0) return
    for (const gfn of pages.values())
      if (kernel.jit_region_page(address, gfn) === 0) kernel.jit_detach(address)
  }

  #install(): void {
    const { compiler, cpu, index, kernel } = this.#options
    const made = compiler.take()
    const waiting = this.#waiting
    if (!made || !waiting) return
    this.#waiting = undefined
    this.#count(JIT_STAT_CODEGEN_NS, made.ns)
    if (waiting.kind === 'fetch') {
      if (made.words) this.#installFetched(waiting, made, made.words)
      if (!this.#fetched.has(waiting.batch)) index?.remove(waiting.key)
      return
    }
    // Flushed meanwhile: its regions are gone.
    if (made.bytes.length === 0 || waiting.flushes !== this.#flushCount) return
    const { batch } = waiting
    this.#instantiate(made, batch, batch.regions.length)
    for (const [i, { struct }] of batch.regions.entries()) kernel.jit_attach(cpu + struct, batch.first + i)
    this.#count(JIT_STAT_REGIONS, batch.regions.length)
  }

  #installFetched(
    { batch: number, region }: Extract<Waiting, { readonly kind: 'fetch' }>,
    made: CompiledModule,
    words: Int32Array,
  ): void {
    const { index, kernel } = this.#options
    const batch = new EncodedBatch(words)
    this.#keepUp()
    // Nothing of what the index knows has a place any more.
    if (batch.generation !== this.#generation) return index?.clear()
    // Code that is written now and then: to make its module costs more than to look.
    if (region >= batch.count || !stands(kernel, this.#view, batch.at(region).region)) return
    this.#instantiate(made, batch, batch.count)
    this.#bytes += words.byteLength
    this.#count(JIT_STAT_BYTES, words.byteLength)
    this.#fetched.set(number, batch)
  }

  /** Gives a module its places in this vCPU. */
  #instantiate(
    { bytes, number }: CompiledModule,
    { first, links, linkBytes }: Omit<Batch, 'regions'>,
    count: number,
  ): void {
    const { cpu, memory, now } = this.#options
    const { regions, functions } = this.#space
    new Uint8Array(memory.buffer, cpu + links, linkBytes).fill(0)
    while (first + count > regions.length) regions.grow(TABLE_STEP)
    const start = now()
    const known = this.#kept.get(number)
    const module = known ?? new WebAssembly.Module(bytes)
    void new WebAssembly.Instance(module, { env: { memory, regions }, f: functions })
    if (!known && number > 0) this.#kept.add(number, module, bytes.length)
    this.#count(JIT_STAT_COMPILE_NS, now() - start)
    this.#functions += count
    this.#bytes += bytes.length
    if (!known) this.#count(JIT_STAT_MODULES, 1)
    this.#count(JIT_STAT_BYTES, bytes.length)
  }
}

export const createRegionTable = (): WebAssembly.Table =>
  new WebAssembly.Table({ element: 'anyfunc', initial: TABLE_STEP, maximum: JIT_LIMITS.regions })
