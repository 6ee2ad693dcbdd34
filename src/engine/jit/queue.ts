/** The places that a vCPU's kernel queued for compilation (abi/jit.ts, QUEUE_*), and what was known of their surroundings. */
import {
  QUEUE_ENTRY_SHIFT,
  QUEUE_HOT,
  QUEUE_KEY,
  QUEUE_NEIGHBOURS,
  QUEUE_NO_PAGE,
  QUEUE_VPAGE,
} from '../../abi/jit.ts'
import {
  CPU_JIT_MASK,
  CPU_JIT_QUEUE,
  CPU_JIT_QUEUED,
  CPU_JIT_SINCE,
  CPU_TLB,
  MODE_CS64,
  MODE_CS_MASK,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_EXEC,
  TLB_GFN,
} from '../../abi/layout.ts'
import type { Place } from './discover.ts'

const PAGE = 4096n
const ENTRY_BYTES = 1 << QUEUE_ENTRY_SHIFT

export interface QueueEntry {
  /** gpa << 8 | mode */
  readonly key: bigint
  /** Reached often enough to be compiled. */
  readonly hot: boolean
  readonly bytes: DataView
}

export class JitQueue {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #cpu: number

  constructor(memory: WebAssembly.Memory, cpu: number) {
    this.#bytes = new Uint8Array(memory.buffer)
    this.#view = new DataView(memory.buffer)
    this.#cpu = cpu
  }

  get #queue(): number {
    return this.#cpu + CPU_JIT_QUEUE
  }

  /** Copies of the entries. */
  get entries(): QueueEntry[] {
    return Array.from({ length: this.#view.getUint32(this.#cpu + CPU_JIT_QUEUED, true) }, (_, i) => {
      const at = this.#queue + i * ENTRY_BYTES
      const bytes = new DataView(this.#bytes.slice(at, at + ENTRY_BYTES).buffer)
      const hot = bytes.getUint32(QUEUE_HOT, true) !== 0
      return { key: bytes.getBigUint64(QUEUE_KEY, true), hot, bytes }
    })
  }

  /** Leaves these entries in the queue, and waits for a while before it is due again. */
  keep(entries: readonly QueueEntry[]): void {
    for (const [i, { bytes }] of entries.entries())
      this.#bytes.set(new Uint8Array(bytes.buffer), this.#queue + i * ENTRY_BYTES)
    this.#view.setUint32(this.#cpu + CPU_JIT_QUEUED, entries.length, true)
    this.#view.setUint32(this.#cpu + CPU_JIT_SINCE, 0, true)
  }

  placeOf({ key, bytes }: QueueEntry): Place {
    const gpa = key >> 8n
    const gfns = new Map<number, number>([[0, Number(gpa >> 12n)]])
    for (const [i, distance] of [-1, 1, 2].entries()) {
      const gfn = bytes.getUint32(QUEUE_NEIGHBOURS + i * 4, true)
      if (gfn !== QUEUE_NO_PAGE) gfns.set(distance, gfn)
    }
    const mask = this.#view.getUint32(this.#cpu + CPU_JIT_MASK, true)
    const mode = Number(key & 0xffn)
    const vpage = bytes.getBigUint64(QUEUE_VPAGE, true)
    const bits = (mode & MODE_CS_MASK) === MODE_CS64 ? 64 : 32
    const farGfn = (distance: number): number | undefined =>
      this.#gfnOf(BigInt.asUintN(bits, vpage + BigInt(distance) * PAGE))
    return { gpa, mode, gfns, farGfn, rare: Math.ceil((mask + 1) / 64) }
  }

  /** gfn that may be fetched from at a linear page, as far as the TLB knows. */
  #gfnOf(vpage: bigint): number | undefined {
    const view = this.#view
    const index = Number((vpage / PAGE) & BigInt(TLB_ENTRIES - 1))
    const entry = view.getUint32(this.#cpu + CPU_TLB, true) + (index << TLB_ENTRY_SHIFT)
    if (view.getBigUint64(entry + TLB_EXEC, true) !== vpage) return undefined
    return view.getUint32(entry + TLB_GFN, true)
  }
}
