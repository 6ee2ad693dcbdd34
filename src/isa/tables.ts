/**
 * Compiles the rows into the decoder's binary tables (layout in abi/decoder-tables.ts). Per opcode byte a list of
 * candidates, the most specific first; the kernel's decoder takes the first whose conditions and feature hold.
 */
import * as dt from '#abi/decoder-tables.ts'
import { ISA_TABLES_MAX } from '#abi/layout.ts'
import { featureBit } from './features.ts'
import { HANDLER_UD, type Form, type Handlers } from './handlers.ts'
import { encodingOf, isVsib, type Encoding } from './opcode.ts'
import { placeOf, type Place, type Row } from './row.ts'

export interface Candidate {
  readonly row: Row
  readonly encoding: Encoding
  /** Query bits that the candidate accepts (DT_Q_*). */
  readonly accepts: bigint
}

function modesOf(row: Row, encoding: Encoding): number {
  // VEX is not recognised in real and virtual-8086 mode
  const legacy = dt.DT_Q_PROTECTED | (row.protectedOnly || encoding.map > dt.DT_MAP_VEX ? 0 : dt.DT_Q_REAL)
  return (row.modes === 'legacy' ? 0 : dt.DT_Q_LONG) | (row.modes === 'long' ? 0 : legacy)
}

export function candidateOf(row: Row): Candidate {
  const encoding = encodingOf(row)
  const low =
    encoding.prefixes |
    modesOf(row, encoding) |
    ((encoding.w | (encoding.b << 2) | (encoding.addressSizes << 4)) << 16) |
    (((encoding.register ? 1 : 0) | (encoding.memory ? 2 : 0) | (encoding.l << 2)) << 24)
  // rm is a condition for registers and VSIB only, and other memory forms are never told apart by it
  const rm = encoding.memory && !row.operands.some((operand) => isVsib(placeOf(operand))) ? 0xff : encoding.rm
  const accepts =
    BigInt(low) |
    (BigInt(encoding.reg) << BigInt(dt.DT_Q_REG_SHIFT)) |
    (BigInt(rm) << BigInt(dt.DT_Q_RM_SHIFT))
  return { row, encoding, accepts }
}

/** Fields of the query: each query has exactly one bit in each. */
const FIELDS: readonly bigint[] = [
  0xfn,
  0x700n,
  0x3_0000n,
  0xc_0000n,
  0x70_0000n,
  0x300_0000n,
  0xc00_0000n,
  0xffn << 32n,
  0xffn << 40n,
]

/** Some query matches both. */
export function overlap(a: Candidate, b: Candidate): boolean {
  return FIELDS.every((field) => (a.accepts & b.accepts & field) !== 0n)
}

/** Everything that a accepts b accepts too, but not the reverse. */
export function isMoreSpecific(a: Candidate, b: Candidate): boolean {
  return a.accepts !== b.accepts && (a.accepts & ~b.accepts) === 0n
}

function popcount(value: bigint): number {
  return value.toString(2).replaceAll('0', '').length
}

export interface OpcodeEntry {
  readonly candidates: readonly Candidate[]
  readonly modrm: boolean
  readonly modIgnored: boolean
}

/** Index by map << 8 | opcode byte. */
export type OpcodeMap = ReadonlyMap<number, OpcodeEntry>

export function buildOpcodeMap(rows: readonly Row[]): OpcodeMap {
  const lists = new Map<number, Candidate[]>()
  for (const row of rows) {
    const candidate = candidateOf(row)
    const { map, opcode, lastOpcode } = candidate.encoding
    for (let byte = opcode; byte <= lastOpcode; byte++) {
      const key = (map << 8) | byte
      const list = lists.get(key)
      if (list) list.push(candidate)
      else lists.set(key, [candidate])
    }
  }
  const entries = new Map<number, OpcodeEntry>()
  for (const [key, list] of lists) {
    const candidates = list.toSorted((a, b) => popcount(a.accepts) - popcount(b.accepts))
    const modrm = candidates.some(({ encoding }) => encoding.modrm)
    if (candidates.some(({ encoding }) => encoding.modrm !== modrm)) {
      throw new Error(
        `opcode ${key.toString(16)}: ${candidates.map(({ row }) => row.id).join(', ')} disagree about ModRM`,
      )
    }
    entries.set(key, {
      candidates,
      modrm,
      modIgnored: candidates.some(({ encoding }) => encoding.modIgnored),
    })
  }
  return entries
}

// --- record fields of the operands ------------------------------------------------------------------------------

function registerKind(place: Place): number {
  if (/^[rRo]m?8$/.test(place)) return place === 'o8' ? dt.DT_REG_OPCODE8 : dt.DT_REG_GPR8
  if (place.startsWith('o')) return dt.DT_REG_OPCODE
  if (/^[xy]mm/.test(place)) return dt.DT_REG_XMM
  if (place.startsWith('mm')) return dt.DT_REG_MM
  if (place === 'sti') return dt.DT_REG_STI
  if (place === 'sreg') return dt.DT_REG_SREG
  if (place === 'creg') return dt.DT_REG_CREG
  if (place === 'dreg') return dt.DT_REG_DREG
  return dt.DT_REG_GPR
}

export type Slot = 'rm' | 'reg' | 'vvvv' | 'mem' | 'imm' | 'implied' | 'fixed'

/** Where the encoding keeps an operand. */
export function slotOf(place: Place): Slot {
  if (/^(rm|R)(8|16|32|64|v|y)$/.test(place) || /^([xy]mm|mm)(_m\d+)?$/.test(place) || place === 'sti')
    return 'rm'
  if (/^[ro](8|16|32|64|v|y)$/.test(place) || /^([xy]mm|mm)_r$/.test(place) || /^[scd]reg$/.test(place))
    return 'reg'
  if (/^v(32|64|y)$/.test(place) || place === 'xmm_v' || place === 'ymm_v') return 'vvvv'
  if (place === 'mdi' || place === 'mbx') return 'implied'
  if (/^m(\d+|v|y|16:v)?$/.test(place) || isVsib(place)) return 'mem'
  if (/^(s?imm|rel|moffs|ptr)|_is4$/.test(place)) return 'imm'
  return 'fixed'
}

const IMMEDIATES: Readonly<Partial<Record<Place, number>>> = {
  imm8: dt.DT_IMM_8,
  simm8: dt.DT_IMM_S8,
  imm16: dt.DT_IMM_16,
  immz: dt.DT_IMM_Z,
  immv: dt.DT_IMM_V,
  rel8: dt.DT_IMM_REL8,
  relz: dt.DT_IMM_RELZ,
  moffs8: dt.DT_IMM_MOFFS,
  moffsv: dt.DT_IMM_MOFFS,
  'ptr16:v': dt.DT_IMM_PTR,
  xmm_is4: dt.DT_IMM_IS4,
  ymm_is4: dt.DT_IMM_IS4,
}

export function immediateKind(row: Row): number {
  const places = row.operands.map(placeOf).filter((place) => slotOf(place) === 'imm')
  if (places.length === 0) return dt.DT_IMM_NONE
  if (places.join() === 'imm16,imm8') return dt.DT_IMM_16_8
  const kind = places.length === 1 && places[0] ? IMMEDIATES[places[0]] : undefined
  if (kind === undefined) throw new Error(`row ${row.id}: no encoding for immediates ${places.join()}`)
  return kind
}

const FORM_ORDER: readonly Form[] = ['R', 'M', 'X', 'L']
const OPERAND_SIZES = [16, 32, 64] as const

/** Width of a row's instance for an effective operand size: rows of 16 and 32 bits ignore REX.W, rows of 32 and 64 ignore 66. */
export function instanceWidth(row: Row, operandSize: 16 | 32 | 64): Row['widths'][number] {
  if (row.widths.includes(operandSize)) return operandSize
  const [first] = row.widths
  if (row.widths.length === 1 && first !== undefined) return first
  if (row.widths.includes(32)) return 32
  throw new Error(`row ${row.id} has no instance for operand size ${operandSize}`)
}

function flagsOf(row: Row): number {
  const atomic = row.mnemonic === 'xchg' && row.lock
  return (
    (row.lock ? dt.DT_F_LOCK : 0) |
    (row.ends ? dt.DT_F_END : 0) |
    (row.osize === 'd64' ? dt.DT_F_D64 : 0) |
    (row.osize === 'f64' ? dt.DT_F_F64 : 0) |
    (atomic ? dt.DT_F_ATOMIC : 0)
  )
}

function memoryKind(row: Row): number {
  const places = row.operands.map(placeOf)
  if (places.includes('mdi')) return dt.DT_MEM_RDI
  if (places.includes('mbx')) return dt.DT_MEM_RBX
  if (places.some(isVsib)) return dt.DT_MEM_VSIB
  return row.id === 'pop_rmv' ? dt.DT_MEM_POP : dt.DT_MEM_MODRM
}

function writeCandidate(view: DataView, at: number, { row, accepts }: Candidate, handlers: Handlers): void {
  view.setBigUint64(at, accepts, true)
  view.setUint8(at + dt.DT_FEATURE, featureBit(row.feature) ?? dt.DT_NO_FEATURE)
  view.setUint8(at + dt.DT_FLAGS, flagsOf(row))
  for (const operand of row.operands) {
    const place = placeOf(operand)
    const slot = slotOf(place)
    if (slot === 'rm') view.setUint8(at + dt.DT_RM, registerKind(place))
    else if (slot === 'reg') view.setUint8(at + dt.DT_REG, registerKind(place))
    else if (slot === 'vvvv') view.setUint8(at + dt.DT_VVVV, registerKind(place))
  }
  view.setUint8(at + dt.DT_IMM, immediateKind(row))
  view.setUint8(at + dt.DT_MEM, memoryKind(row))
  for (const [size, operandSize] of OPERAND_SIZES.entries()) {
    for (const [form, name] of FORM_ORDER.entries()) {
      const handler = handlers.find(row, instanceWidth(row, operandSize), name) ?? HANDLER_UD
      view.setUint16(at + dt.DT_HANDLERS + size * dt.DT_HANDLERS_SIZE + form * 2, handler, true)
    }
  }
}

/** The bytes for ISA_TABLES_BASE. */
export function compileTables(rows: readonly Row[], handlers: Handlers): Uint8Array {
  const entries = buildOpcodeMap(rows)
  const count = [...entries.values()].reduce((sum, entry) => sum + entry.candidates.length, 0)
  const bytes = new Uint8Array(dt.DT_CANDIDATES + count * dt.DT_CANDIDATE_SIZE)
  if (bytes.length > ISA_TABLES_MAX) throw new Error(`decoder tables of ${bytes.length} bytes do not fit`)
  const view = new DataView(bytes.buffer)
  let next = 0
  for (const [key, { candidates, modrm, modIgnored }] of entries) {
    const bits = (modrm ? dt.DT_INDEX_MODRM : 0) + (modIgnored ? dt.DT_INDEX_MOD_REGISTER : 0)
    view.setUint32(dt.DT_INDEX + key * 4, next + candidates.length * 0x1_0000 + bits, true)
    for (const candidate of candidates)
      writeCandidate(view, dt.DT_CANDIDATES + next++ * dt.DT_CANDIDATE_SIZE, candidate, handlers)
  }
  return bytes
}
