/**
 * Compiled code that one vCPU had made and others may use: they run the same programs in the same memory, so that what is hot on one
 * is soon hot on another. V8 shares the machine code of modules whose bytes are equal.
 *
 * The compiler thread keeps the last modules with what they were made from, and enters their places in an index that vCPUs look
 * into (VM_SHARED_CODE). Whoever finds one there fetches it and looks whether its own memory holds the same instructions still.
 */
import { SHARED_BATCH, SHARED_HASH, SHARED_INDEX_BITS, SHARED_KEY, SHARED_SHIFT } from '../../abi/jit.ts'
import { VM_SHARED_CODE } from '../../abi/layout.ts'
import { entryOf } from './batch.ts'
import type { Batch } from './batch.ts'

/** Modules and what they were made from, in bytes: more than a vCPU's limit makes little sense. */
const STORE_BYTES = 32 * 1024 * 1024

/** Of code by (gpa << 8 | mode). */
export class SharedIndex {
  readonly #words: BigUint64Array
  readonly #base: number

  /** @param vm address of the VM struct */
  constructor(memory: WebAssembly.Memory, vm: number) {
    this.#words = new BigUint64Array(memory.buffer)
    this.#base = (vm + VM_SHARED_CODE) / 8
  }

  #placeOf(key: bigint): number {
    const hash = Math.imul(Number((key >> 8n) & 0xffff_ffffn), SHARED_HASH) >>> (32 - SHARED_INDEX_BITS)
    return this.#base + ((hash << SHARED_SHIFT) + SHARED_KEY) / 8
  }

  find(key: bigint): { readonly batch: number; readonly region: number } | undefined {
    const at = this.#placeOf(key)
    if (Atomics.load(this.#words, at) !== key) return undefined
    const found = Atomics.load(this.#words, at + SHARED_BATCH / 8)
    return { batch: Number(found & 0xffff_ffffn), region: Number(found >> 32n) }
  }

  enter(key: bigint, batch: number, region: number): void {
    const at = this.#placeOf(key)
    Atomics.store(this.#words, at, 0n)
    Atomics.store(this.#words, at + SHARED_BATCH / 8, (BigInt(region) << 32n) | BigInt(batch))
    Atomics.store(this.#words, at, key)
  }

  /** What it says of a place is not true any more. */
  remove(key: bigint): void {
    Atomics.compareExchange(this.#words, this.#placeOf(key), key, 0n)
  }

  clear(): void {
    for (let i = 0; i < 1 << SHARED_INDEX_BITS; i++)
      Atomics.store(this.#words, this.#base + ((i << SHARED_SHIFT) + SHARED_KEY) / 8, 0n)
  }
}

export interface StoredBatch {
  readonly words: Int32Array
  readonly module: Uint8Array
}

export class CodeStore {
  readonly #index: SharedIndex
  /** By number, oldest first. */
  readonly #batches = new Map<number, StoredBatch>()
  #bytes = 0
  #next = 1
  #generation = 0

  constructor(index: SharedIndex) {
    this.#index = index
  }

  /**
   * Returns its number, 0 if it is not kept.
   *
   * @param words the batch as words; they and the module are copied
   */
  add({ generation, regions }: Batch, words: Int32Array, module: Uint8Array): number {
    // What has no place any more is of no use to anybody.
    if (generation < this.#generation) return 0
    if (generation > this.#generation) this.#clear(generation)
    const number = this.#next++
    const batch = { words: words.slice(), module: module.slice() }
    this.#batches.set(number, batch)
    this.#bytes += sizeOf(batch)
    for (const [i, { region }] of regions.entries())
      this.#index.enter((entryOf(region) << 8n) | BigInt(region.mode), number, i)
    for (const [oldest, old] of this.#batches) {
      if (this.#bytes <= STORE_BYTES) break
      this.#bytes -= sizeOf(old)
      this.#batches.delete(oldest)
    }
    return number
  }

  #clear(generation: number): void {
    this.#generation = generation
    this.#batches.clear()
    this.#bytes = 0
    this.#index.clear()
  }

  get(number: number): StoredBatch | undefined {
    return this.#batches.get(number)
  }
}

const sizeOf = ({ words, module }: StoredBatch): number => words.byteLength + module.length
