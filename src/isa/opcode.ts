/** Parses the opcode column of a row (notation in row.ts) into the conditions that the decoder tests and the encoder meets. */
import { accessOf, placeOf, type Place, type Row } from './row.ts'

export const PREFIX_NP = 1
export const PREFIX_66 = 2
export const PREFIX_F3 = 4
export const PREFIX_F2 = 8

export interface Encoding {
  /** 0 one byte, 1 0F, 2 0F 38, 3 0F 3A, 4 VEX 0F, 5 VEX 0F 38, 6 VEX 0F 3A. */
  readonly map: number
  /** First and last opcode byte: several when the low bits name a register. */
  readonly opcode: number
  readonly lastOpcode: number
  /** Accepted prefix classes, PREFIX_* bits. */
  readonly prefixes: number
  /** Masks: bit 0 = value 0 accepted, bit 1 = value 1. */
  readonly w: number
  readonly b: number
  readonly l: number
  /** Accepted address sizes: bit 0 = 16, 1 = 32, 2 = 64. */
  readonly addressSizes: number
  readonly modrm: boolean
  /** ModRM.mod is ignored and means a register (MOV to and from control registers). */
  readonly modIgnored: boolean
  readonly register: boolean
  readonly memory: boolean
  /** Accepted ModRM.reg and ModRM.rm values, one bit each; rm matters for registers only. */
  readonly reg: number
  readonly rm: number
}

const PREFIX_TOKENS: Readonly<Record<string, number>> = {
  NP: PREFIX_NP,
  NFx: PREFIX_NP | PREFIX_66,
  '66': PREFIX_66,
  F3: PREFIX_F3,
  F2: PREFIX_F2,
}
const IMMEDIATE_TOKENS = new Set(['ib', 'iw', 'id', 'io', 'iv', 'iz', 'cb', 'cw', 'cd', 'cp', 'moffs'])
const VEX_MAPS: Readonly<Record<string, number>> = { '0F': 4, '0F38': 5, '0F3A': 6 }
const VEX_LENGTHS: Readonly<Record<string, number>> = { '128': 1, LZ: 1, L0: 1, '256': 2, L1: 2, LIG: 3 }

interface Draft {
  map: number
  opcode: number
  lastOpcode: number
  prefixes: number
  w: number
  b: number
  l: number
  addressSizes: number
  modrm: boolean
  modIgnored: boolean
  register: boolean
  memory: boolean
  reg: number
  rm: number
}

function parseVex(draft: Draft, token: string): void {
  const [, length, ...parts] = token.split('.')
  draft.l = VEX_LENGTHS[length ?? ''] ?? 0
  draft.prefixes = PREFIX_NP
  for (const part of parts) {
    if (part in VEX_MAPS) draft.map = VEX_MAPS[part] ?? 0
    else if (part in PREFIX_TOKENS) draft.prefixes = PREFIX_TOKENS[part] ?? 0
    else if (part === 'W0') draft.w = 1
    else if (part === 'W1') draft.w = 2
    else if (part !== 'WIG') throw new Error(`VEX field '${part}'`)
  }
  if (!draft.l || draft.map < 4) throw new Error(`VEX column '${token}'`)
}

/** Tokens in front of the opcode bytes; true when taken. */
function parsePrefix(draft: Draft, token: string): boolean {
  if (token in PREFIX_TOKENS) draft.prefixes = PREFIX_TOKENS[token] ?? 0
  else if (token === 'REX.W' || token === 'W1') draft.w = 2
  else if (token === 'W0' || token === 'REX.W0') draft.w = 1
  else if (token === 'REX.B0') draft.b = 1
  else if (token === 'REX.B1') draft.b = 2
  else if (token === 'A16') draft.addressSizes = 1
  else if (token === 'A32') draft.addressSizes = 2
  else if (token === 'A64') draft.addressSizes = 4
  else if (token.startsWith('VEX.')) parseVex(draft, token)
  else return false
  return true
}

/** Tokens behind the opcode byte. */
function parseSuffix(draft: Draft, token: string): void {
  if (IMMEDIATE_TOKENS.has(token)) return // 'cd' would pass for a byte
  const fixed = /^([0-9A-F]{2})(\+r)?$/i.exec(token)
  if (fixed?.[1]) {
    const modrm = parseInt(fixed[1], 16)
    draft.modrm = true
    draft.memory = false
    draft.reg = 1 << ((modrm >> 3) & 7)
    if (!fixed[2]) draft.rm = 1 << (modrm & 7)
  } else if (/^\/[0-7]$/.test(token)) {
    draft.modrm = true
    draft.reg = 1 << Number(token[1])
  } else if (token === '/r') draft.modrm = true
  else if (token === 'mod=3') draft.memory = false
  else if (token === 'mod=m') draft.register = false
  else if (token === 'mod=any') draft.modIgnored = true
  else throw new Error(`opcode token '${token}'`)
}

/** Memory addressed by a vector of indexes. */
export const isVsib = (place: Place): boolean => /^vm(32|64)[xy]$/.test(place)

/** Mod conditions that follow from the operands: m* needs memory, a register-only rm needs a register. */
function applyOperands(draft: Draft, row: Row): void {
  if (!draft.modrm) return
  for (const operand of row.operands) {
    const place = placeOf(operand)
    if (/^m(\d+|v|y|16:v)?$/.test(place)) draft.register = false
    if (isVsib(place)) {
      draft.register = false
      draft.rm = 1 << 4 // a SIB byte must follow
      draft.addressSizes &= 6
    }
    if (/^(R(\d+|v|y)|xmm|ymm|mm|sti)$/.test(place)) draft.memory = false
    if (accessOf(operand) === 'n' && place === 'm') draft.register = false
  }
}

function parse(row: Row): Encoding {
  const draft: Draft = {
    map: 0,
    opcode: -1,
    lastOpcode: -1,
    prefixes: 15,
    w: 3,
    b: 3,
    l: 3,
    addressSizes: 7,
    modrm: false,
    modIgnored: false,
    register: true,
    memory: true,
    reg: 0xff,
    rm: 0xff,
  }
  const tokens = row.op.split(' ')
  let at = 0
  // a VEX column is the last prefix: F2 and F3 behind it are opcodes
  while (draft.map === 0 && parsePrefix(draft, tokens[at] ?? '')) at++
  if (draft.map === 0 && tokens[at] === '0F') {
    at++
    draft.map = 1
    if (tokens[at] === '38' || tokens[at] === '3A') draft.map = tokens[at++] === '38' ? 2 : 3
  }
  const opcode = /^([0-9A-F]{2})(\+r)?$/i.exec(tokens[at++] ?? '')
  if (!opcode?.[1]) throw new Error(`row ${row.id}: opcode column '${row.op}'`)
  draft.opcode = parseInt(opcode[1], 16)
  draft.lastOpcode = opcode[2] ? draft.opcode | 7 : draft.opcode
  for (const token of tokens.slice(at)) parseSuffix(draft, token)
  applyOperands(draft, row)
  if (!draft.register && !draft.memory) throw new Error(`row ${row.id} accepts neither a register nor memory`)
  return draft
}

const cache = new WeakMap<Row, Encoding>()

/** Throws on a column that row.ts does not describe. */
export function encodingOf(row: Row): Encoding {
  let encoding = cache.get(row)
  if (!encoding) {
    encoding = parse(row)
    cache.set(row, encoding)
  }
  return encoding
}
