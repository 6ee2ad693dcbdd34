/**
 * Test assembler: one row, its operands and a code size to bytes. Prefixes, REX, VEX, ModRM and SIB follow from the row's
 * opcode column; nothing is chosen at random. Throws where the row has no such encoding.
 */
import { encodingOf, isVsib, PREFIX_66, PREFIX_F2, PREFIX_F3, type Encoding } from './opcode.ts'
import { placeOf, type Place, type Row } from './row.ts'
import { slotOf } from './tables.ts'

export interface RegisterOperand {
  readonly kind: 'register'
  /** Encoding number; AH, CH, DH, BH are 4-7 with `high`. */
  readonly number: number
  readonly high?: true
}

export interface MemoryOperand {
  readonly kind: 'memory'
  /** General register number, or 'rip' in 64-bit code. Absent: absolute. */
  readonly base?: number | 'rip'
  readonly index?: number
  readonly scale?: 1 | 2 | 4 | 8
  readonly displacement?: number
  /** Bytes of displacement to use at least (1 or 4; 2 with 16-bit addresses). */
  readonly displacementBytes?: 1 | 2 | 4
}

export interface ImmediateOperand {
  readonly kind: 'immediate'
  /** Branches: distance from the end of the instruction. Far pointers: offset | selector << 32. */
  readonly value: bigint
}

export type OperandChoice = RegisterOperand | MemoryOperand | ImmediateOperand | undefined

export interface EncodeOptions {
  readonly bits: 16 | 32 | 64
  /** One of the row's widths; default: the last. */
  readonly width?: number
  /** By position in row.operands; fixed operands are undefined. */
  readonly operands?: readonly OperandChoice[]
  readonly addressSize?: 16 | 32 | 64
  /** Segment override, SEG_* number. */
  readonly segment?: number
  readonly lock?: boolean
  readonly repeat?: 'rep' | 'repne'
}

const SEGMENT_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65] as const

interface Parts {
  reg: number
  rm: number
  mod: number
  vvvv: number
  opcodeRegister: number
  x: number
  w: boolean
  rexNeeded: boolean
  rexForbidden: boolean
  tail: number[]
}

function littleEndian(value: bigint, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn))
}

function immediateBytes(place: Place, width: number, addressSize: number): number {
  if (place.startsWith('moffs')) return addressSize / 8
  if (place === 'imm16') return 2
  if (place === 'immz' || place === 'relz') return width === 16 ? 2 : 4
  if (place === 'immv') return width / 8
  if (place === 'ptr16:v') return width / 8 + 2
  return 1
}

/** mod, rm and what follows ModRM for 16-bit addresses. */
function address16(parts: Parts, memory: MemoryOperand): void {
  const { base, index, displacement = 0 } = memory
  const pairs = [[3, 6], [3, 7], [5, 6], [5, 7], [6], [7], [5], [3]] // prettier-ignore
  if (base === undefined) {
    parts.mod = 0
    parts.rm = 6
    parts.tail.push(...littleEndian(BigInt(displacement), 2))
    return
  }
  const rm = pairs.findIndex((pair) => pair[0] === base && pair[1] === index)
  if (rm < 0) throw new Error('no such 16-bit address')
  const bytes =
    memory.displacementBytes ??
    (displacement === 0 && rm !== 6 ? 0 : displacement >= -128 && displacement < 128 ? 1 : 2)
  parts.mod = bytes === 0 ? 0 : bytes === 1 ? 1 : 2
  parts.rm = rm
  parts.tail.push(...littleEndian(BigInt(displacement), bytes))
}

/** mod, rm, SIB and displacement for 32- and 64-bit addresses. */
function address(parts: Parts, memory: MemoryOperand, bits: number, vectorIndex: boolean): void {
  const { base, index, displacement = 0, scale = 1 } = memory
  const disp = (bytes: number): void => void parts.tail.push(...littleEndian(BigInt(displacement), bytes))
  const log = Math.log2(scale)
  if (index === 4 && !vectorIndex) throw new Error('RSP cannot be an index')
  if (base === 'rip') {
    parts.mod = 0
    parts.rm = 5
    return disp(4)
  }
  if (base === undefined) {
    parts.mod = 0
    if (index === undefined && bits !== 64) {
      parts.rm = 5
      return disp(4)
    }
    parts.rm = 4
    parts.x = (index ?? 4) >> 3
    parts.tail.push((log << 6) | (((index ?? 4) & 7) << 3) | 5)
    return disp(4)
  }
  const short = displacement >= -128 && displacement < 128
  const bytes = memory.displacementBytes ?? (displacement === 0 && (base & 7) !== 5 ? 0 : short ? 1 : 4)
  parts.mod = bytes === 0 ? 0 : bytes === 1 ? 1 : 2
  if (index !== undefined || (base & 7) === 4) {
    parts.rm = 4 | (base & 8)
    parts.x = (index ?? 4) >> 3
    parts.tail.push((log << 6) | (((index ?? 4) & 7) << 3) | (base & 7))
  } else parts.rm = base
  disp(bytes)
}

const BYTE_PLACES: ReadonlySet<Place> = new Set(['rm8', 'R8', 'r8', 'o8'])

function placeRegister(parts: Parts, place: Place, operand: RegisterOperand): void {
  const { number, high } = operand
  if (BYTE_PLACES.has(place) && number >= 4 && number < 8) {
    if (high) parts.rexForbidden = true
    else parts.rexNeeded = true
  }
  const slot = slotOf(place)
  if (place.startsWith('o')) parts.opcodeRegister = number
  else if (slot === 'reg') parts.reg = number
  else if (slot === 'vvvv') parts.vvvv = number
  else if (slot === 'rm') {
    parts.mod = 3
    parts.rm = number
  } else throw new Error(`'${place}' takes no register`)
}

function lowestBit(mask: number): number {
  return 31 - Math.clz32(mask & -mask)
}

/** Prefixes that the width asks for. */
function sizePrefix(
  row: Row,
  encoding: Encoding,
  bits: number,
  width: number,
): { readonly prefix66: boolean; readonly w: boolean } {
  const single = row.widths.length === 1
  const byRex = row.widths.length === 2 && row.widths[0] === 32 && row.widths[1] === 64
  if (bits !== 64 && ((encoding.w === 2 && encoding.map <= 3) || (!single && width === 64)))
    throw new Error(`${row.id}: 64-bit operands need 64-bit code`)
  if (single || byRex || encoding.map > 3) return { prefix66: false, w: !single && width === 64 }
  if (width === 64) return { prefix66: false, w: row.osize === 'rex' }
  if (bits === 64) {
    const impossible = row.osize === 'f64' || (row.osize === 'd64' && width === 32)
    if (impossible) throw new Error(`${row.id}: no ${width}-bit form in 64-bit code`)
    return { prefix66: width === 16, w: false }
  }
  return { prefix66: width !== bits, w: false }
}

function opcodeBytes(encoding: Encoding, register: number): number[] {
  const opcode =
    encoding.lastOpcode > encoding.opcode ? (encoding.opcode & 0xf8) | (register & 7) : encoding.opcode
  if (encoding.map === 0 || encoding.map > 3) return [opcode]
  return encoding.map === 1 ? [0x0f, opcode] : [0x0f, encoding.map === 2 ? 0x38 : 0x3a, opcode]
}

function vexBytes(encoding: Encoding, parts: Parts): number[] {
  const b = (parts.rm >> 3) & 1
  const pp = { [PREFIX_66]: 1, [PREFIX_F3]: 2, [PREFIX_F2]: 3 }[encoding.prefixes] ?? 0
  const l = encoding.l === 2 ? 4 : 0
  const second =
    (~((parts.reg >> 1) & 4 ? 0x80 : 0) & 0x80) | (parts.x ? 0 : 0x40) | (b ? 0 : 0x20) | (encoding.map - 3)
  return [0xc4, second, (parts.w ? 0x80 : 0) | ((~parts.vvvv & 15) << 3) | l | pp]
}

/** The address size of rows that are made for one (LOOP, JCXZ). */
function onlyAddressSize(encoding: Encoding): 16 | 32 | 64 | undefined {
  return ({ 1: 16, 2: 32, 4: 64 } as const)[encoding.addressSizes]
}

/** Gathers know no 16-bit addresses. */
const usualAddressSize = (encoding: Encoding, bits: 16 | 32 | 64): 16 | 32 | 64 =>
  bits === 16 && !(encoding.addressSizes & 1) ? 32 : bits

export function encode(row: Row, options: EncodeOptions): Uint8Array {
  const encoding = encodingOf(row)
  const { bits, operands = [] } = options
  const addressSize = options.addressSize ?? onlyAddressSize(encoding) ?? usualAddressSize(encoding, bits)
  const width = options.width ?? row.widths.at(-1) ?? 0
  if (!row.widths.includes(width as Row['widths'][number])) throw new Error(`${row.id} has no width ${width}`)
  const size = sizePrefix(row, encoding, bits, width)
  if ((addressSize === 64) !== (bits === 64) && addressSize !== 32)
    throw new Error(`${row.id}: no ${addressSize}-bit addresses here`)
  const parts: Parts = {
    reg: encoding.reg === 0xff ? 0 : lowestBit(encoding.reg),
    rm: encoding.rm === 0xff ? 0 : lowestBit(encoding.rm),
    mod: 3,
    vvvv: 0,
    opcodeRegister: 0,
    x: 0,
    w: size.w || encoding.w === 2,
    rexNeeded: encoding.b === 2,
    rexForbidden: false,
    tail: [],
  }
  const immediates: number[] = []
  for (const [i, operand] of row.operands.entries()) {
    const place = placeOf(operand)
    const choice = operands[i]
    if (choice?.kind === 'register' && slotOf(place) === 'imm') immediates.push(choice.number << 4)
    else if (choice?.kind === 'register') placeRegister(parts, place, choice)
    else if (choice?.kind === 'memory') {
      if (addressSize === 16) address16(parts, choice)
      else address(parts, choice, bits, isVsib(place))
    } else if (choice?.kind === 'immediate')
      immediates.push(...littleEndian(choice.value, immediateBytes(place, width, addressSize)))
    else if (slotOf(place) === 'imm')
      immediates.push(...littleEndian(0n, immediateBytes(place, width, addressSize)))
  }

  const out: number[] = []
  if (options.segment !== undefined) out.push(SEGMENT_PREFIXES[options.segment] ?? 0x3e)
  if (addressSize !== bits) out.push(0x67)
  if (options.lock) out.push(0xf0)
  if (options.repeat) out.push(options.repeat === 'rep' ? 0xf3 : 0xf2)
  const vex = encoding.map > 3
  if (size.prefix66 || (!vex && encoding.prefixes === PREFIX_66)) out.push(0x66)
  if (!vex && encoding.prefixes === PREFIX_F3) out.push(0xf3)
  if (!vex && encoding.prefixes === PREFIX_F2) out.push(0xf2)
  if (vex) out.push(...vexBytes(encoding, parts))
  else {
    const b = encoding.b === 2 ? 1 : ((parts.rm | parts.opcodeRegister) >> 3) & 1
    const rex = (parts.w ? 8 : 0) | ((parts.reg >> 3) << 2) | (parts.x << 1) | b
    if (rex || parts.rexNeeded) {
      if (bits !== 64 || parts.rexForbidden) throw new Error(`${row.id}: operands cannot be encoded together`)
      out.push(0x40 | rex)
    }
  }
  out.push(...opcodeBytes(encoding, parts.opcodeRegister))
  if (encoding.modrm) out.push((parts.mod << 6) | ((parts.reg & 7) << 3) | (parts.rm & 7), ...parts.tail)
  return Uint8Array.from([...out, ...immediates])
}
