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
  readonly group: PageGroup
  readonly displacement: number
}

export class PageGroups {
  /** How often each general register was changed. */
  readonly #changes: number[] = []
  readonly #known = new Map<string, Known>()

  changed(reg: number): void {
    this.#changes[reg] = (this.#changes[reg] ?? 0) + 1
  }

  /** What was found of pages so far is not to be relied on. */
  forget(): void {
    this.#known.clear()
  }

  /** The group of an instruction's memory operand; `page` is that of the instruction. */
  of(record: DataView, page: number, writes: boolean): PageGroup | undefined {
    const base = record.getUint16(REC_BASE, true)
    const index = record.getUint16(REC_INDEX, true)
    if (base === CPU_ZERO) return undefined
    let displacement = record.getInt32(REC_DISP, true)
    let key = `${record.getUint8(REC_SEG)} ${this.#valueOf(base)}`
    if (base === CPU_PCBASE) {
      // It stands for the begin of the instruction's page: which page is meant is known.
      key = `page ${Math.floor((page + displacement) / PAGE)}`
      displacement = 0
    }
    if (index !== CPU_ZERO) key += ` ${this.#valueOf(index)} ${record.getUint8(REC_SCALE)}`
    const known = this.#known.get(key)
    if (!known || Math.abs(displacement - known.displacement) > REACH) {
      const group = { accesses: 1, writes }
      this.#known.set(key, { group, displacement })
      return group
    }
    known.group.accesses++
    known.group.writes ||= writes
    return known.group
  }

  #valueOf(field: number): string {
    const reg = (field - CPU_GPR) >> 3
    return `${field}.${this.#changes[reg] ?? 0}`
  }
}
