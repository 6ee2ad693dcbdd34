/**
 * Programs of rows with labels: instructions are encoded when everything has its place. Operands may depend on
 * addresses, lengths may not: immediates and displacements that name a label have a fixed size.
 */
import { encode, type EncodeOptions, type MemoryOperand, type OperandChoice } from '#isa/encode.ts'
import type { Row } from '#isa/row.ts'
import { ROWS } from '#isa/rows/index.ts'

export type Bits = 32 | 64
export type Label = number
export type Options = Omit<EncodeOptions, 'bits'>
/** Where a label lies, and the address behind the instruction itself. */
export type Resolve = (label: Label) => number
type Late = (resolve: Resolve, end: number) => Options

interface Item {
  readonly row: Row | undefined
  readonly options: Late
  readonly length: number
  readonly offset: number
}

const BY_ID: ReadonlyMap<string, Row> = new Map(ROWS.map((row) => [row.id, row]))

export function rowById(id: string): Row {
  const row = BY_ID.get(id)
  if (!row) throw new Error(`there is no row ${id}`)
  return row
}

export const register = (number: number, high = false): OperandChoice =>
  high ? { kind: 'register', number, high } : { kind: 'register', number }

export const immediate = (value: number | bigint): OperandChoice => ({
  kind: 'immediate',
  value: BigInt(value),
})

export const memory = (at: Omit<MemoryOperand, 'kind'>): OperandChoice => ({ kind: 'memory', ...at })

/** [address], not relative to RIP. */
export const absolute = (address: number): OperandChoice =>
  memory({ displacement: address, displacementBytes: 4 })

export class Assembler {
  readonly bits: Bits
  readonly #base: number
  readonly #items: Item[] = []
  readonly #labels: (number | undefined)[] = []
  #size = 0
  /** While set, what is emitted is thrown away. */
  muted = false

  constructor(bits: Bits, base: number) {
    this.bits = bits
    this.#base = base
  }

  /** Bytes of a pointer, and of a push. */
  get word(): number {
    return this.bits / 8
  }

  get size(): number {
    return this.#size
  }

  /** Address of what comes next. */
  get position(): number {
    return this.#base + this.#size
  }

  label(): Label {
    return this.#labels.push(undefined) - 1
  }

  bind(label: Label): void {
    this.#labels[label] = this.#size
  }

  here(): Label {
    const label = this.label()
    this.bind(label)
    return label
  }

  #encode(row: Row, options: Options): Uint8Array {
    return encode(row, { ...options, bits: this.bits })
  }

  /** An instruction whose operands are known. */
  op(id: string, operands: readonly OperandChoice[] = [], rest: Omit<Options, 'operands'> = {}): void {
    this.late(id, () => ({ ...rest, operands }))
  }

  /** An instruction with addresses in it. */
  late(id: string, options: Late): void {
    if (this.muted) return
    const row = rowById(id)
    // Labels may not be bound yet: the length does not depend on where they are.
    const { length } = this.#encode(
      row,
      options(() => this.#base, this.#base),
    )
    this.#items.push({ row, options, length, offset: this.#size })
    this.#size += length
  }

  /** A row of the general registers at the size of a pointer, or another. */
  wide(id: string, operands: readonly OperandChoice[], width: number = this.bits): void {
    this.op(id, operands, { width })
  }

  branch(id: string, target: Label): void {
    this.late(id, (resolve, end) => ({
      width: this.bits,
      operands: [immediate(resolve(target) - end)],
    }))
  }

  /** LOOP and JrCXZ, which have no more than 8 bits: by way of a jump behind it. */
  shortBranch(id: string, target: Label): void {
    const [far, next] = [this.label(), this.label()]
    this.late(id, (resolve, end) => ({ width: this.bits, operands: [immediate(resolve(far) - end)] }))
    this.branch('jmp_relz', next)
    this.bind(far)
    this.branch('jmp_relz', target)
    this.bind(next)
  }

  /** mov register, address of a label */
  address(reg: number, label: Label): void {
    this.late('mov_rmv_immz', (resolve) => ({
      width: this.bits,
      operands: [register(reg), immediate(resolve(label))],
    }))
  }

  /** A pointer to a label in the code itself. */
  pointer(label: Label): void {
    if (this.muted) return
    this.#items.push({
      row: undefined,
      options: (resolve) => ({ operands: [immediate(resolve(label))] }),
      length: this.word,
      offset: this.#size,
    })
    this.#size += this.word
  }

  /** Address of a bound label. */
  resolve(label: Label): number {
    const offset = this.#labels[label]
    if (offset === undefined) throw new Error(`label ${label} is nowhere`)
    return this.#base + offset
  }

  bytes(): Uint8Array {
    const out = new Uint8Array(this.#size)
    for (const { row, options, length, offset } of this.#items) {
      const made = options((label) => this.resolve(label), this.#base + offset + length)
      const bytes = row ? this.#encode(row, made) : little(made, length)
      if (bytes.length !== length) throw new Error(`${row?.id} changed its length with its address`)
      out.set(bytes, offset)
    }
    return out
  }
}

function little({ operands }: Options, length: number): Uint8Array {
  const [operand] = operands ?? []
  const value = operand?.kind === 'immediate' ? operand.value : 0n
  return Uint8Array.from({ length }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn))
}
