/**
 * Where compiled code has its functions, structs and links: the same places for all vCPUs of a machine, in their tables and at
 * the same distance from their CPU structs, so that they may use the same code. Each place is used once; when there are no
 * more, a new generation begins, and whoever comes by drops what it has of the old one.
 */
import { LINK_SIZE, REGION_SIZE } from '../../abi/code-cache.ts'
import { CPU_REGIONS, CPU_REGIONS_BYTES, VM_CODE_PLACES } from '../../abi/layout.ts'
import { linksOf } from './batch.ts'
import type { Batch } from './batch.ts'
import type { Region } from './discover.ts'

// The word: next place in units of a cache line, next function, generation.
const UNIT = 64
const FUNCTION_SHIFT = 24n
const GENERATION_SHIFT = 40n
const UNIT_MASK = (1n << FUNCTION_SHIFT) - 1n
const FUNCTION_MASK = (1n << (GENERATION_SHIFT - FUNCTION_SHIFT)) - 1n

export class CodePlaces {
  readonly #words: BigUint64Array
  readonly #at: number
  /** Functions that a generation has. */
  readonly #functions: number

  /** @param vm address of the VM struct */
  constructor(memory: WebAssembly.Memory, vm: number, functions: number) {
    this.#words = new BigUint64Array(memory.buffer)
    this.#at = (vm + VM_CODE_PLACES) / 8
    this.#functions = functions
  }

  get #word(): bigint {
    return Atomics.load(this.#words, this.#at)
  }

  get generation(): number {
    return Number(this.#word >> GENERATION_SHIFT)
  }

  /** Begins a new generation, unless somebody did already. */
  renew(generation: number): void {
    const word = this.#word
    if (Number(word >> GENERATION_SHIFT) !== generation) return
    Atomics.compareExchange(
      this.#words,
      this.#at,
      word,
      ((word >> GENERATION_SHIFT) + 1n) << GENERATION_SHIFT,
    )
  }

  /** Gives regions their places; undefined where a new generation begins for want of them. */
  reserve(regions: readonly Region[]): Batch | undefined {
    const links = regions.map(linksOf)
    const bytes = regions.length * REGION_SIZE + links.reduce((sum, count) => sum + count * LINK_SIZE, 0)
    for (;;) {
      const word = this.#word
      const units = Number(word & UNIT_MASK)
      const first = Number((word >> FUNCTION_SHIFT) & FUNCTION_MASK)
      const generation = Number(word >> GENERATION_SHIFT)
      if (units * UNIT + bytes > CPU_REGIONS_BYTES || first + regions.length > this.#functions) {
        this.renew(generation)
        return undefined
      }
      const next = word + BigInt(Math.ceil(bytes / UNIT)) + (BigInt(regions.length) << FUNCTION_SHIFT)
      if (Atomics.compareExchange(this.#words, this.#at, word, next) !== word) continue
      const structs = CPU_REGIONS + units * UNIT
      const linksAt = structs + regions.length * REGION_SIZE
      let at = linksAt
      const placed = regions.map((region, i) => {
        const linkCount = links[i] ?? 0
        const made = { region, struct: structs + i * REGION_SIZE, links: at, linkCount }
        at += linkCount * LINK_SIZE
        return made
      })
      return { generation, first, links: linksAt, linkBytes: at - linksAt, regions: placed }
    }
  }
}
