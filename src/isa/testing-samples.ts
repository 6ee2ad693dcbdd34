/** Encodings of every row in every code size, width and form, with operands drawn from a fixed sequence: for tests. */
import { encode, type MemoryOperand, type OperandChoice } from './encode.ts'
import { encodingOf, isVsib } from './opcode.ts'
import { placeOf, type Place, type Row } from './row.ts'
import { ROWS } from './rows/index.ts'
import { slotOf } from './tables.ts'

export interface Sample {
  readonly row: Row
  readonly width: Row['widths'][number]
  readonly bits: 16 | 32 | 64
  readonly memory: boolean
  readonly bytes: Uint8Array
}

/** Park and Miller's generator: the same corpus everywhere. */
export class Sequence {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  below(limit: number): number {
    this.#state = (this.#state * 48271) % 0x7fff_ffff
    return this.#state % limit
  }
}

type Address = Omit<MemoryOperand, 'kind'>

const ADDRESSES_16: readonly Address[] = [
  { base: 3, index: 6 },
  { base: 5, displacement: 0x10 },
  { displacement: 0x1234 },
  { base: 7, displacement: -0x80 },
  { base: 6, displacement: 0x1234 },
]

const addresses = (long: boolean): readonly Address[] => [
  { base: 0 },
  { base: 4, displacement: 8 },
  { base: 5, index: 1, scale: 4, displacement: -0x1_2345 },
  { base: long ? 13 : 3 },
  { displacement: 0x1234 },
  { base: long ? 'rip' : 1, displacement: 0x77 },
  { index: long ? 10 : 2, scale: 8, displacement: 0x10 },
]

function registerOperand(place: Place, row: Row, long: boolean, sequence: Sequence): OperandChoice {
  let limit = long ? 16 : 8
  if (place === 'sreg') limit = 6
  else if (place === 'creg') limit = 5
  else if (/^(mm|sti|dreg)/.test(place)) limit = 8
  let number = sequence.below(limit)
  if (place === 'creg' && number === 1) number = 2
  if (row.id === 'mov_sreg_rm16' && place === 'sreg' && number === 1) number = 3
  if (row.id === 'xchg_ov_rAXv' && (number & 7) === 0) number++ // 90 is NOP
  const isByte = /^(rm|R|r|o)8$/.test(place)
  return !long && isByte && number > 3
    ? { kind: 'register', number, high: true }
    : { kind: 'register', number }
}

/** A gather wants three different registers. */
function gatherOperands(row: Row, long: boolean, sequence: Sequence): OperandChoice[] {
  const limit = long ? 16 : 8
  const first = sequence.below(limit)
  return row.operands.map((operand, i): OperandChoice => {
    const number = (first + i) % limit
    return isVsib(placeOf(operand))
      ? { kind: 'memory', base: sequence.below(8), index: number, scale: 4, displacement: 0x20 }
      : { kind: 'register', number }
  })
}

function operandsOf(row: Row, bits: 16 | 32 | 64, memory: boolean, sequence: Sequence): OperandChoice[] {
  if (row.operands.some((operand) => isVsib(placeOf(operand))))
    return gatherOperands(row, bits === 64, sequence)
  return row.operands.map((operand): OperandChoice => {
    const place = placeOf(operand)
    const slot = slotOf(place)
    if (place.endsWith('_is4')) return registerOperand(place, row, bits === 64, sequence)
    if (slot === 'imm') return { kind: 'immediate', value: BigInt(sequence.below(256)) }
    if (slot === 'fixed' || slot === 'implied') return undefined
    if (memory && (slot === 'rm' || slot === 'mem')) {
      const choices = bits === 16 ? ADDRESSES_16 : addresses(bits === 64)
      return { kind: 'memory', ...choices[sequence.below(choices.length)] }
    }
    return registerOperand(place, row, bits === 64, sequence)
  })
}

/** All of them; combinations that do not exist (64-bit operands in 32-bit code) are left out. */
export function samples(seed = 1, rows: readonly Row[] = ROWS): Sample[] {
  const sequence = new Sequence(seed)
  const found: Sample[] = []
  for (const bits of [64, 32, 16] as const) {
    for (const row of rows) {
      if (row.modes === (bits === 64 ? 'legacy' : 'long')) continue
      const encoding = encodingOf(row)
      for (const width of row.widths) {
        for (const memory of [false, true]) {
          const exists = encoding.modrm ? (memory ? encoding.memory : encoding.register) : !memory
          if (!exists) continue
          const operands = operandsOf(row, bits, memory, sequence)
          try {
            found.push({ row, width, bits, memory, bytes: encode(row, { bits, width, operands }) })
          } catch (error) {
            if (!(error instanceof Error) || !/64-bit code|-bit form|-bit addresses/.test(error.message))
              throw error
          }
        }
      }
    }
  }
  return found
}
