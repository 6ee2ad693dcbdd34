/**
 * Single instructions with random operands, drawn from the rows. Memory operands stay within the data pages whatever the
 * registers hold: their bases are two registers that no instruction writes.
 */
import type { OperandChoice } from '#isa/encode.ts'
import { encodingOf } from '#isa/opcode.ts'
import { placeOf, type Row } from '#isa/row.ts'
import { arithRows } from '#isa/rows/arith.ts'
import { avxFloatRows } from '#isa/rows/avx-float.ts'
import { avxMoveRows } from '#isa/rows/avx-move.ts'
import { avxPackedRows } from '#isa/rows/avx-packed.ts'
import { bitsRows } from '#isa/rows/bits.ts'
import { floatRows } from '#isa/rows/float.ts'
import { mmxRows } from '#isa/rows/mmx.ts'
import { moveRows } from '#isa/rows/move.ts'
import { packedRows } from '#isa/rows/packed.ts'
import { shiftRows } from '#isa/rows/shift.ts'
import { sseRows } from '#isa/rows/sse.ts'
import { sse2Rows } from '#isa/rows/sse2.ts'
import { sse3Rows } from '#isa/rows/sse3.ts'
import { sse41Rows } from '#isa/rows/sse41.ts'
import { x87Rows } from '#isa/rows/x87.ts'
import { slotOf } from '#isa/tables.ts'
import type { Random } from '#testkit/oracle/random.ts'
import { absolute, immediate, memory, register, rowById } from './assembler.ts'
import type { Assembler, Label, Options } from './assembler.ts'
import * as map from './map.ts'

/** What the stack, control flow, string and system instructions need is given by the program's own patterns. */
const EXCLUDED =
  /^(push|pop|pusha|popa|pushf|popf|enter|leave|l[defgs]s|lss|xlat|v?maskmov.*|v?ldmxcsr|fldcw|fldenv|frstor|fnsave|vpmaskmov.*|movntdqa)$/
/** Its memory operand lies where the register says. */
const BIT_STRING = /^bt[crs]?_rmv_rv$/

function rowsOf(families: readonly object[]): readonly Row[] {
  return families
    .flatMap((family) => Object.keys(family).map(rowById))
    .filter(
      ({ mnemonic, operands, alias }) =>
        !alias &&
        !EXCLUDED.test(mnemonic) &&
        !operands.some((operand) => /sreg|vm\d|mdi|mbx|creg|dreg/.test(operand)),
    )
}

const GENERAL = [arithRows, moveRows, shiftRows, bitsRows].map((family) => rowsOf([family]))
const SSE = [[sseRows, sse2Rows, sse3Rows], [floatRows], [packedRows], [sse41Rows]].map(rowsOf)
const VEX = [[avxFloatRows], [avxMoveRows], [avxPackedRows]].map(rowsOf)
const RARE = [[x87Rows], [mmxRows]].map(rowsOf)
const LOCKABLE = GENERAL.flat().filter(({ lock }) => lock)
/** They leave the flags alone, as what stands between a comparison and its reader often does. */
const FLAGLESS = rowsOf([moveRows]).filter(({ mnemonic }) => /^(mov|lea|bswap|xchg)/.test(mnemonic))
const FLAG_READERS = GENERAL.flat().filter(({ flags: { r } }) => r.length > 0)

const RSP = 4
const POINTERS_64 = [3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
const POINTERS_32 = [3, 5, 6, 7]

/** Registers that instructions may use as addresses, and what they hold. */
export interface Pointer {
  readonly reg: number
  readonly value: number
}

export type Kind = 'any' | 'general' | 'lock' | 'flagless' | 'reader'

export class Instructions {
  readonly a: Assembler
  readonly random: Random
  readonly pointers: Pointer[] = []
  /** Registers that nothing may write at the moment. */
  readonly kept = new Set<number>()

  constructor(a: Assembler, random: Random) {
    this.a = a
    this.random = random
  }

  get #registers(): number {
    return this.a.bits === 64 ? 16 : 8
  }

  choosePointer(slot: number): void {
    const taken = this.pointers.map(({ reg }, i) => (i === slot ? -1 : reg))
    const reg = this.random.pick((this.a.bits === 64 ? POINTERS_64 : POINTERS_32).filter((r) => !taken.includes(r))) // prettier-ignore
    this.pointers[slot] = { reg, value: map.DATA + this.random.below(map.DATA_PAGES * map.PAGE) }
    this.anchor(slot)
  }

  /** Loads a pointer again, after something that may have changed it. */
  anchor(slot: number): void {
    const pointer = this.pointers[slot]
    if (pointer) this.a.wide('mov_rmv_immz', [register(pointer.reg), immediate(pointer.value)])
  }

  get #pinned(): ReadonlySet<number> {
    return new Set([RSP, ...this.kept, ...this.pointers.map(({ reg }) => reg)])
  }

  /** A general register that may be written. */
  free(limit = this.#registers): number {
    const pinned = this.#pinned
    return this.random.pick(Array.from({ length: limit }, (_, i) => i).filter((reg) => !pinned.has(reg)))
  }

  #byteRegister(written: boolean): OperandChoice {
    const { random } = this
    const pinned = this.#pinned
    const long = this.a.bits === 64
    const number = random.below(long ? 16 : 8)
    const high = number >= 4 && number < 8 && (!long || random.chance(0.5))
    if (written && pinned.has(high ? number - 4 : number)) return this.#byteRegister(written)
    return register(number, high)
  }

  #register(place: string, written: boolean): OperandChoice {
    const { random } = this
    if (/^(rm|R|r|o)8$/.test(place)) return this.#byteRegister(written)
    if (/^(sti|mm)/.test(place)) return register(random.below(8))
    if (/^[xy]mm/.test(place)) return register(random.below(this.#registers))
    return register(written ? this.free() : random.below(this.#registers))
  }

  /** Address of an operand of up to 64 bytes in the data pages, often across the end of one. */
  target(align: number): number {
    const { random } = this
    const across = random.chance(0.2)
    const page = map.DATA + random.below(map.DATA_PAGES - 1) * map.PAGE
    const address = across
      ? page + map.PAGE - 1 - random.below(16)
      : page + random.below(map.PAGE) + (random.chance(0.3) ? 0x800 : 0)
    return address & -align
  }

  /** A memory operand at an address, with what has to be emitted before it; undefined: take another. */
  address(target: number): { readonly operand: (end: number) => OperandChoice; readonly rest: Options } {
    const { random, a } = this
    const pointer = random.pick(this.pointers)
    const long = a.bits === 64
    const form = random.below(9)
    if (form === 0) return { operand: () => absolute(target), rest: {} }
    if (form === 1 && long)
      return { operand: (end) => memory({ base: 'rip', displacement: target - end }), rest: {} }
    const segment = random.chance(0.05) ? { segment: 4 } : {}
    const displacement = target - pointer.value - (segment.segment ? map.FS_BASE : 0)
    const rest: Options = long && random.chance(0.05) ? { ...segment, addressSize: 32 } : segment
    if (form > 3)
      return { operand: () => memory({ base: pointer.reg, displacement, displacementBytes: short(displacement) }), rest } // prettier-ignore
    // an index of known value: a byte of anything
    const index = this.free()
    const scale = random.pick([1, 2, 4, 8] as const)
    const value = random.below(256)
    a.wide('mov_rmv_immz', [register(index), immediate(value)])
    const off = displacement - value * scale
    return { operand: () => memory({ base: pointer.reg, index, scale, displacement: off, displacementBytes: 4 }), rest } // prettier-ignore
  }

  #row(kind: Kind): Row {
    const { random } = this
    if (kind === 'lock') return random.pick(LOCKABLE)
    if (kind === 'flagless') return random.pick(FLAGLESS)
    if (kind === 'reader') return random.pick(FLAG_READERS)
    const dice = random.below(100)
    if (kind === 'general' || dice < 66) return random.pick(random.pick(GENERAL))
    return random.pick(random.pick(dice < 92 ? SSE : dice < 96 ? VEX : RARE))
  }

  /** Emits an instruction of a kind. */
  emit(kind: Kind = 'any'): void {
    for (;;) {
      const row = this.#row(kind)
      const width = this.random.pick(row.widths)
      if (row.modes === (this.a.bits === 64 ? 'legacy' : 'long')) continue
      if (this.#emitRow(row, width, kind)) return
    }
  }

  #operand(row: Row, index: number, useMemory: boolean): OperandChoice | 'memory' {
    const { random } = this
    const operand = row.operands[index] ?? 'r:one'
    const place = placeOf(operand)
    const slot = slotOf(place)
    if (place.endsWith('_is4')) return register(random.below(this.#registers))
    if (place.startsWith('moffs')) return immediate(this.target(1))
    if (slot === 'imm') return immediate(random.chance(0.5) ? random.below(256) : random.bits() & 0x7fff_ffff)
    if (slot === 'fixed' || slot === 'implied') return undefined
    if (useMemory && (slot === 'rm' || slot === 'mem')) return 'memory'
    return this.#register(place, /w/.test(operand.split(':')[0] ?? ''))
  }

  #emitRow(row: Row, width: Row['widths'][number], kind: Kind): boolean {
    const { random, a } = this
    const encoding = encodingOf(row)
    const useMemory = encoding.memory && (!encoding.register || kind === 'lock' || random.chance(0.4))
    if (kind === 'lock' && !useMemory) return false
    if (useMemory && BIT_STRING.test(row.id)) return false
    const operands = row.operands.map((_, i) => this.#operand(row, i, useMemory))
    const size = /ymm|256/.test(row.operands.join()) ? 32 : /xmm|128/.test(row.operands.join()) ? 16 : 1
    const align = random.chance(0.85) ? size : 1
    const readOnly = row.operands.every((operand) => /^[rn]:/.test(operand) || !/m\d*$|rm|_m/.test(operand))
    const special = readOnly && random.chance(0.3)
    const target = special ? map.CELL_VALUES + 16 * random.below(30) : this.target(align)
    // Registers that the operands name must not become the index.
    for (const operand of operands)
      if (typeof operand === 'object' && operand.kind === 'register') this.kept.add(operand.number & 15)
    const { operand, rest } =
      special || !useMemory ? { operand: () => absolute(target), rest: {} } : this.address(target)
    this.kept.clear()
    const lock = kind === 'lock' && useMemory ? { lock: true } : {}
    const options = (end: number): Options => ({
      width, ...rest, ...lock,
      operands: operands.map((choice) => (choice === 'memory' ? operand(end) : choice)),
    }) // prettier-ignore
    const faults = /^(div|idiv|aam)$/.test(row.mnemonic) || (align < size && row.faults.includes('GP'))
    try {
      if (faults) this.#protected(row.id, options)
      else a.late(row.id, (_, end) => options(end))
    } catch (error) {
      if (
        error instanceof Error &&
        /encoded together|-bit form|-bit addresses|64-bit code/.test(error.message)
      )
        return false
      throw error
    }
    return true
  }

  #protected(id: string, options: (end: number) => Options): void {
    const after = this.a.label()
    this.fixup(after)
    try {
      this.a.late(id, (_, end) => options(end))
    } finally {
      this.a.bind(after)
    }
  }

  /** A fault goes on at a label. */
  fixup(after: Label): void {
    this.a.late('mov_rmv_immz', (resolve) => ({
      width: this.a.bits,
      operands: [absolute(map.CELL_FIXUP), immediate(resolve(after))],
    }))
  }
}

const short = (displacement: number): 1 | 4 => (displacement >= -128 && displacement < 128 ? 1 : 4)
