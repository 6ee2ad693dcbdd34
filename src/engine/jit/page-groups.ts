/**
 * Which accesses of a block are likely to lie in the same page: those by way of the same registers as long as these keep their
 * values, as to the fields of a structure. A guess: compiled code compares the page.
 */
import { CPU_GPR, CPU_PCBASE, CPU_ZERO } from '../../abi/layout.ts'
import { REC_BASE, REC_DISP, REC_INDEX, REC_SCALE, REC_SEG } from '../../abi/record.ts'
import type { PageGroup } from '../emit/ir.ts'

const PAGE = 4096
/** Bytes from the first of them: with farther ones the page is often another. */
const REACH = 256

interface Known {
  group: PageGroup
  displacement: number
  readonly base: number
  readonly index: number
  readonly scale: number
  /** The segment; of what is relative to the instruction, the page meant. */
  readonly where: number
  /** How often the registers had been changed. */
  readonly baseChanges: number
  readonly indexChanges: number
}

export class PageGroups {
  /** How often each general register was changed. */
  readonly #changes: number[] = []
  /** The latest group of each way to an address. There are few: looking at them is faster than making keys for a map. */
  readonly #known: Known[] = []

  changed(reg: number): void {
    this.#changes[reg] = (this.#changes[reg] ?? 0) + 1
  }

  /** What was found of pages so far is not to be relied on. */
  forget(): void {
    this.#known.length = 0
  }

  /** The group of an instruction's memory operand; `page` is that of the instruction. */
  of(record: DataView, page: number, writes: boolean): PageGroup | undefined {
    const base = record.getUint16(REC_BASE, true)
    if (base === CPU_ZERO) return undefined
    const index = record.getUint16(REC_INDEX, true)
    const scale = index === CPU_ZERO ? 0 : record.getUint8(REC_SCALE)
    const indexChanges = index === CPU_ZERO ? 0 : this.#changesOf(index)
    let baseChanges = this.#changesOf(base)
    let displacement = record.getInt32(REC_DISP, true)
    let where = record.getUint8(REC_SEG)
    if (base === CPU_PCBASE) {
      // It stands for the begin of the instruction's page: which page is meant is known.
      where = Math.floor((page + displacement) / PAGE)
      displacement = 0
      baseChanges = 0
    }
    const known = this.#known.find(
      (other) =>
        other.base === base &&
        other.baseChanges === baseChanges &&
        other.where === where &&
        other.index === index &&
        other.indexChanges === indexChanges &&
        other.scale === scale,
    )
    if (known && Math.abs(displacement - known.displacement) <= REACH) {
      known.group.accesses++
      known.group.writes ||= writes
      return known.group
    }
    const group = { accesses: 1, writes }
    if (known) {
      known.group = group
      known.displacement = displacement
    } else this.#known.push({ group, displacement, base, index, scale, where, baseChanges, indexChanges })
    return group
  }

  #changesOf(field: number): number {
    return this.#changes[(field - CPU_GPR) >> 3] ?? 0
  }
}
