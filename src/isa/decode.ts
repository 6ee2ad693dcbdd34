/**
 * Decoder for people: bytes to a row with its operands spelt out, for the printer, the debugger and traces. It matches by the
 * same candidates as the tables of the kernel's decoder, which the decoder test compares it with.
 */
import * as dt from '#abi/decoder-tables.ts'
import { placeOf, type Row } from './row.ts'
import { ROWS } from './rows/index.ts'
import { isVsib } from './opcode.ts'
import { buildOpcodeMap, immediateKind, instanceWidth, type Candidate, type OpcodeMap } from './tables.ts'

export interface CodeMode {
  readonly bits: 16 | 32 | 64
  /** Real or virtual-8086 mode: what #UDs there is not decoded. */
  readonly real?: boolean
  /** CPUID features; default: all of them. */
  readonly has?: (feature: Row['feature']) => boolean
}

export interface Prefixes {
  lock: boolean
  /** 0, F2 or F3: the last one. */
  repeat: number
  operandSize: boolean
  addressSize: boolean
  /** SEG_* number, overrides ignored in 64-bit code left out. */
  segment: number | undefined
  /** Low 4 bits of REX, or those of VEX. */
  rex: number
  hasRex: boolean
  vex: boolean
}

export interface MemoryOperand {
  readonly base: number | 'rip' | undefined
  /** General register, or the vector register of a VSIB operand. */
  readonly index: number | undefined
  readonly scale: 1 | 2 | 4 | 8
  readonly displacement: number
  readonly displacementBytes: 0 | 1 | 2 | 4
}

export interface Instruction {
  readonly row: Row
  readonly width: Row['widths'][number]
  readonly length: number
  readonly bits: 16 | 32 | 64
  readonly operandSize: 16 | 32 | 64
  readonly addressSize: 16 | 32 | 64
  readonly prefixes: Readonly<Prefixes>
  readonly memory: MemoryOperand | undefined
  /** Register numbers of ModRM.rm, ModRM.reg (or the opcode byte) and VEX.vvvv. */
  readonly rm: number
  readonly reg: number
  readonly vvvv: number
  /** As encoded, sign-extended where the row says so. Branches: the target. */
  readonly immediates: readonly bigint[]
}

/** 'invalid': #UD. 'truncated': more bytes are needed. 'overlong': #GP, longer than 15 bytes. */
export type DecodeFailure = 'invalid' | 'truncated' | 'overlong'

const MAX_BYTES = 15

class Truncated extends Error {}

/** Cursor over the bytes; reads past the end throw Truncated. */
class Reader {
  readonly #bytes: Uint8Array
  at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  peek(): number {
    const byte = this.#bytes[this.at]
    if (byte === undefined) throw new Truncated()
    return byte
  }

  byte(): number {
    const byte = this.peek()
    this.at++
    return byte
  }

  unsigned(bytes: number): bigint {
    let value = 0n
    for (let i = 0; i < bytes; i++) value |= BigInt(this.byte()) << BigInt(8 * i)
    return value
  }

  signed(bytes: number): bigint {
    return BigInt.asIntN(8 * bytes, this.unsigned(bytes))
  }
}

function readPrefixes(reader: Reader, long: boolean): Prefixes {
  const p: Prefixes = {
    lock: false,
    repeat: 0,
    operandSize: false,
    addressSize: false,
    segment: undefined,
    rex: 0,
    hasRex: false,
    vex: false,
  }
  while (reader.at < MAX_BYTES) {
    const byte = reader.peek()
    const isRex = long && byte >> 4 === 4
    if (byte === 0xf0) p.lock = true
    else if (byte === 0xf2 || byte === 0xf3) p.repeat = byte
    else if (byte === 0x66) p.operandSize = true
    else if (byte === 0x67) p.addressSize = true
    else if (byte === 0x64 || byte === 0x65) p.segment = byte - 0x60
    else if ((byte & 0xe7) === 0x26) {
      if (!long) p.segment = (byte >> 3) & 3
    } else if (!isRex) break
    p.hasRex = isRex
    p.rex = isRex ? byte & 15 : 0
    reader.at++
  }
  return p
}

interface Opcode {
  readonly map: number
  readonly byte: number
  readonly vvvv: number
  readonly l: number
  readonly prefixClass: number
}

function legacyClass(p: Prefixes): number {
  if (p.repeat) return p.repeat === 0xf3 ? dt.DT_Q_F3 : dt.DT_Q_F2
  return p.operandSize ? dt.DT_Q_66 : dt.DT_Q_NP
}

function readVex(reader: Reader, escape: number, p: Prefixes, long: boolean): Opcode | undefined {
  if (p.hasRex || p.lock || p.repeat || p.operandSize) return undefined
  const first = reader.byte()
  let bits = first & 0x80 ? 0 : 4
  let selector = 1
  let last = first
  if (escape === 0xc4) {
    bits |= (first & 0x40 ? 0 : 2) | (first & 0x20 ? 0 : 1)
    selector = first & 31
    last = reader.byte()
    bits |= last & 0x80 ? 8 : 0
  }
  if (selector < 1 || selector > 3) return undefined
  p.vex = true
  // outside 64-bit code there are 8 registers, but W is part of the opcode still
  p.rex = long ? bits : bits & 8
  const vvvv = (~last >> 3) & 15
  return {
    map: dt.DT_MAP_VEX + selector,
    byte: reader.byte(),
    vvvv,
    l: (last >> 2) & 1,
    prefixClass: 1 << (last & 3),
  }
}

function readOpcode(reader: Reader, p: Prefixes, long: boolean): Opcode | undefined {
  const byte = reader.byte()
  const plain = { vvvv: 0, l: 0, prefixClass: legacyClass(p) }
  if ((byte === 0xc4 || byte === 0xc5) && (long || reader.peek() >= 0xc0))
    return readVex(reader, byte, p, long)
  if (byte !== 0x0f) return { ...plain, map: 0, byte }
  const second = reader.byte()
  if (second === 0x38) return { ...plain, map: 2, byte: reader.byte() }
  if (second === 0x3a) return { ...plain, map: 3, byte: reader.byte() }
  return { ...plain, map: 1, byte: second }
}

const PAIRS_16 = [[3, 6], [3, 7], [5, 6], [5, 7], [6], [7], [5], [3]] as const // prettier-ignore

function readMemory16(reader: Reader, modrm: number): MemoryOperand {
  const mod = modrm >> 6
  if (mod === 0 && (modrm & 7) === 6) {
    return {
      base: undefined,
      index: undefined,
      scale: 1,
      displacement: Number(reader.unsigned(2)),
      displacementBytes: 2,
    }
  }
  const [base, index] = PAIRS_16[modrm & 7] ?? [0]
  const displacementBytes = mod as 0 | 1 | 2
  return {
    base,
    index,
    scale: 1,
    displacement: mod === 0 ? 0 : Number(reader.signed(mod)),
    displacementBytes,
  }
}

function readMemory(
  reader: Reader,
  modrm: number,
  rex: number,
  long: boolean,
  vectorIndex: boolean,
): MemoryOperand {
  const mod = modrm >> 6
  const displacementBytes = mod === 0 ? 0 : mod === 1 ? 1 : 4
  let base = modrm & 7
  let index: number | undefined
  let scale: 1 | 2 | 4 | 8 = 1
  if (base === 4) {
    const sib = reader.byte()
    scale = (1 << (sib >> 6)) as 1 | 2 | 4 | 8
    const number = ((sib >> 3) & 7) | ((rex & 2) << 2)
    if (vectorIndex || number !== 4) index = number
    base = sib & 7
    if (base === 5 && mod === 0)
      return { base: undefined, index, scale, displacement: Number(reader.signed(4)), displacementBytes: 4 }
  } else if (base === 5 && mod === 0) {
    return {
      base: long ? 'rip' : undefined,
      index,
      scale,
      displacement: Number(reader.signed(4)),
      displacementBytes: 4,
    }
  }
  const displacement = displacementBytes === 0 ? 0 : Number(reader.signed(displacementBytes))
  return { base: base | ((rex & 1) << 3), index, scale, displacement, displacementBytes }
}

function readImmediates(
  reader: Reader,
  row: Row,
  operandSize: number,
  addressSize: number,
  address: bigint,
  bits: number,
): bigint[] {
  const near = (offset: bigint): bigint =>
    BigInt.asUintN(operandSize === 16 ? 16 : bits === 64 ? 64 : 32, address + BigInt(reader.at) + offset)
  switch (immediateKind(row)) {
    case dt.DT_IMM_8:
      return [reader.unsigned(1)]
    case dt.DT_IMM_IS4:
      return [(reader.unsigned(1) >> 4n) & (bits === 64 ? 15n : 7n)]
    case dt.DT_IMM_S8:
      return [reader.signed(1)]
    case dt.DT_IMM_16:
      return [reader.unsigned(2)]
    case dt.DT_IMM_Z:
      return [reader.signed(operandSize === 16 ? 2 : 4)]
    case dt.DT_IMM_V:
      return [reader.unsigned(operandSize / 8)]
    case dt.DT_IMM_REL8: {
      const offset = reader.signed(1)
      return [near(offset)]
    }
    case dt.DT_IMM_RELZ: {
      const offset = reader.signed(operandSize === 16 ? 2 : 4)
      return [near(offset)]
    }
    case dt.DT_IMM_MOFFS:
      return [reader.unsigned(addressSize / 8)]
    case dt.DT_IMM_PTR: {
      const offset = reader.unsigned(operandSize / 8)
      return [offset | (reader.unsigned(2) << 32n)]
    }
    case dt.DT_IMM_16_8:
      return [reader.unsigned(2), reader.unsigned(1)]
    default:
      return []
  }
}

function operandSizeOf(row: Row, p: Prefixes, bits: 16 | 32 | 64): 16 | 32 | 64 {
  if (bits !== 64) return (bits === 32) !== p.operandSize ? 32 : 16
  if (row.osize === 'f64' || p.rex & 8) return 64
  if (p.operandSize) return 16
  return row.osize === 'd64' ? 64 : 32
}

function usesVvvv(row: Row): boolean {
  return row.operands.some((operand) => /^(v\d|vy|[xy]mm_v)/.test(placeOf(operand)))
}

/** Special registers that exist, by place. */
function registersExist(row: Row, reg: number): boolean {
  for (const operand of row.operands) {
    const place = placeOf(operand)
    if (place === 'creg' && !((0x11d >> reg) & 1)) return false
    if (place === 'dreg' && reg > 7) return false
    if (place === 'sreg' && (reg & 7) > 5) return false
  }
  return true
}

/** Decoder over a set of rows. */
export class Decoder {
  readonly #opcodes: OpcodeMap

  constructor(rows: readonly Row[] = ROWS) {
    this.#opcodes = buildOpcodeMap(rows)
  }

  /** @param address of the first byte, in RIP space, for branch targets. */
  decode(bytes: Uint8Array, mode: CodeMode, address = 0n): Instruction | DecodeFailure {
    const reader = new Reader(bytes)
    try {
      const result = this.#read(reader, mode, address)
      return reader.at > MAX_BYTES ? 'overlong' : result
    } catch (error) {
      if (error instanceof Truncated) return bytes.length >= MAX_BYTES ? 'overlong' : 'truncated'
      throw error
    }
  }

  #match(
    opcode: Opcode,
    p: Prefixes,
    modrm: number,
    addressSize: number,
    mode: CodeMode,
  ): Candidate | undefined {
    const entry = this.#opcodes.get((opcode.map << 8) | opcode.byte)
    const modeBit = mode.bits === 64 ? dt.DT_Q_LONG : mode.real ? dt.DT_Q_REAL : dt.DT_Q_PROTECTED
    const low =
      opcode.prefixClass |
      modeBit |
      (p.rex & 8 ? dt.DT_Q_W1 : dt.DT_Q_W0) |
      (p.rex & 1 ? dt.DT_Q_B1 : dt.DT_Q_B0) |
      (addressSize === 16 ? dt.DT_Q_A16 : addressSize === 32 ? dt.DT_Q_A32 : dt.DT_Q_A64) |
      (modrm >= 0xc0 ? dt.DT_Q_REGISTER : dt.DT_Q_MEMORY) |
      (opcode.l ? dt.DT_Q_L1 : dt.DT_Q_L0)
    const query =
      BigInt(low) |
      (1n << BigInt(dt.DT_Q_REG_SHIFT + ((modrm >> 3) & 7))) |
      (1n << BigInt(dt.DT_Q_RM_SHIFT + (modrm & 7)))
    return entry?.candidates.find(
      ({ accepts, row }) => (accepts & query) === query && (mode.has?.(row.feature) ?? true),
    )
  }

  #read(reader: Reader, mode: CodeMode, address: bigint): Instruction | DecodeFailure {
    const { bits } = mode
    const long = bits === 64
    const prefixes = readPrefixes(reader, long)
    if (reader.at >= MAX_BYTES) return 'overlong'
    const opcode = readOpcode(reader, prefixes, long)
    if (!opcode) return 'invalid'
    const addressSize = prefixes.addressSize ? (bits === 32 ? 16 : 32) : bits
    const entry = this.#opcodes.get((opcode.map << 8) | opcode.byte)
    const modrm = entry?.modrm ? reader.byte() | (entry.modIgnored ? 0xc0 : 0) : 0xc0
    const row = this.#match(opcode, prefixes, modrm, addressSize, mode)?.row
    if (!row) return 'invalid'
    const operandSize = operandSizeOf(row, prefixes, bits)
    let memory: MemoryOperand | undefined
    if (modrm < 0xc0)
      memory =
        addressSize === 16
          ? readMemory16(reader, modrm)
          : readMemory(
              reader,
              modrm,
              prefixes.rex,
              long,
              row.operands.some((o) => isVsib(placeOf(o))),
            )
    const reg = entry?.modrm
      ? ((modrm >> 3) & 7) | ((prefixes.rex & 4) << 1)
      : (opcode.byte & 7) | ((prefixes.rex & 1) << 3)
    if ((opcode.vvvv && !usesVvvv(row)) || !registersExist(row, reg)) return 'invalid'
    if (prefixes.lock && !(row.lock && memory)) return 'invalid'
    const immediates = readImmediates(reader, row, operandSize, addressSize, address, bits)
    const rm = (modrm & 7) | ((prefixes.rex & 1) << 3)
    const width = instanceWidth(row, operandSize)
    return {
      row,
      width,
      length: reader.at,
      bits,
      operandSize,
      addressSize,
      prefixes,
      memory,
      rm,
      reg,
      vvvv: opcode.vvvv & (long ? 15 : 7),
      immediates,
    }
  }
}
