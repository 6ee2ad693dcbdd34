/**
 * Where the indirect jumps of a region lead, as far as the jump table of the code cache remembers: the places in its pages
 * that indirect branches took. Which branch it was is not known, so a region tries all of them for each of its jumps;
 * return addresses, of which there are many, are told by the call in front of them.
 */
import { CACHE_JUMP, CACHE_JUMP_ENTRIES, CACHE_JUMP_SHIFT, CACHE_JUMP_TAKEN } from '../../abi/code-cache.ts'
import { CPU_PCBASE, CPU_ZERO } from '../../abi/layout.ts'
import { REC_BASE, REC_INDEX } from '../../abi/record.ts'
import type { CodeRecord, CodeSource, Place } from './discover.ts'

const PAGE_SHIFT = 12
/** Those taken most often: a dispatch of all the opcodes of an interpreter would be too large to compile. */
const TARGETS_MAX = 32
/** Bytes: what lies farther from a jump is as a rule another function's. */
const REACH = 1536

/** A jump through a register or a table; one through a fixed cell leads elsewhere, as in a procedure linkage table. */
export function isIndirectJump({ handler, record }: CodeRecord): boolean {
  const { mnemonic, operands } = handler.row
  if (mnemonic !== 'jmp' || operands.some((operand) => operand.includes(':rel'))) return false
  if (handler.form === 'R') return true
  const base = record.getUint16(REC_BASE, true)
  return record.getUint16(REC_INDEX, true) !== CPU_ZERO || (base !== CPU_ZERO && base !== CPU_PCBASE)
}

/** Places that indirect branches took, by distance from the first byte of the place's page, most frequent first. */
function indirectlyReached({ view, cache }: CodeSource, { mode, gfns, rare }: Place): readonly number[] {
  const found: { readonly rip: number; readonly taken: number }[] = []
  const pages = new Map([...gfns].map(([distance, gfn]) => [gfn, distance]))
  const table = cache() + CACHE_JUMP
  for (let i = 0; i < CACHE_JUMP_ENTRIES; i++) {
    const entry = table + (i << CACHE_JUMP_SHIFT)
    const low = view.getUint32(entry, true)
    if ((low & 0xff) !== mode) continue
    const taken = view.getUint32(entry + CACHE_JUMP_TAKEN, true)
    if (taken < rare) continue
    // The key is gpa << 8 | mode.
    const high = view.getUint32(entry + 4, true)
    const distance = pages.get(high * 2 ** (24 - PAGE_SHIFT) + (low >>> (8 + PAGE_SHIFT)))
    if (distance === undefined) continue
    found.push({ rip: distance * (1 << PAGE_SHIFT) + ((low >>> 8) & 0xfff), taken })
  }
  return found.toSorted((a, b) => b.taken - a.taken || a.rip - b.rip).map(({ rip }) => rip)
}

/** Targets of the jumps of one region. */
export class JumpTargets {
  readonly #reached: readonly number[]
  readonly #isReturn: (rip: number) => boolean
  readonly #checked = new Map<number, boolean>()
  readonly all = new Set<number>()

  constructor(source: CodeSource, place: Place, isReturn: (rip: number) => boolean) {
    this.#reached = indirectlyReached(source, place)
    this.#isReturn = isReturn
  }

  /** Where the jump at `rip` may go; adds it to what the region has. */
  of(rip: number): readonly number[] {
    const targets: number[] = []
    for (const to of this.#reached) {
      if (Math.abs(to - rip) > REACH) continue
      const known = this.#checked.get(to) ?? !this.#isReturn(to)
      this.#checked.set(to, known)
      if (!known || (this.all.size >= TARGETS_MAX && !this.all.has(to))) continue
      this.all.add(to)
      targets.push(to)
    }
    return targets
  }
}
