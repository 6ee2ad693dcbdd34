/**
 * Random bytes as instructions: which of them exist, how long they are and how they fault is compared, not what they
 * compute. Left out is what the host cannot judge: encodings of features that our models lack, and what would reach the
 * host's kernel, segments or thread state.
 */
import { ROWS } from '#isa/rows/index.ts'
import type { Row } from '#isa/row.ts'
import { CaseBuilder, fillState, type Case } from './generate.ts'
import * as at from './layout.ts'
import type { Mode } from './modes.ts'
import { Random } from './random.ts'

const PREFIXES = [0x66, 0x66, 0xf2, 0xf3, 0x67, 0x2e, 0x3e, 0x36, 0x26, 0xf0]

/** One-byte opcodes: segment loads, far transfers, software interrupts, string I/O waits, single-step. */
const EXCLUDED = new Set([0x07, 0x17, 0x1f, 0x8e, 0x9a, 0xea, 0xca, 0xcb, 0xcf, 0xcd, 0xce, 0xf1, 0x9d, 0xd6])
/**
 * After 0F: descriptor tables and system calls, sysenter, segment loads, FXSAVE group (images, FS and GS bases), CPUID and
 * clocks, UD1's length, AMD's own (3DNow!, SSE4a, XOP's neighbours), random numbers and CET.
 */
const EXCLUDED_0F = new Set([0x00, 0x01, 0x02, 0x03, 0x05, 0x07, 0x0e, 0x0f, 0x0d, 0x31, 0x33, 0x34, 0x35, 0x37, 0xa1, 0xa2, 0xa9, 0xaa, 0xae, 0xb2, 0xb4, 0xb5, 0xb9, 0xc7, 0xff, 0x78, 0x79, 0x1e, 0x1a, 0x1b, 0x1c, 0x18, 0x19, 0x24, 0x26, 0x09]) // prettier-ignore
const FAR_GROUP = 0xff

function allowed(bytes: readonly number[], mode: Mode): boolean {
  let i = 0
  const isPrefix = (byte: number): boolean =>
    PREFIXES.includes(byte) || byte === 0x64 || byte === 0x65 || (mode === 64 && (byte & 0xf0) === 0x40)
  while (i < bytes.length && isPrefix(bytes[i] ?? 0)) i++
  const opcode = bytes[i] ?? 0
  const modrm = bytes[i + 1] ?? 0
  // VEX has its own; EVEX and XOP; in legacy modes LES, LDS and BOUND, which load segments or are tested by their rows
  if (opcode === 0xc4 || opcode === 0xc5 || opcode === 0x62 || (opcode === 0x8f && (modrm & 0x38) !== 0))
    return false
  if (opcode === FAR_GROUP && ((modrm >> 3) & 7) % 2 === 1 && modrm >> 3 !== 1) return false
  const repeat = bytes.slice(0, i).some((byte) => byte === 0xf2 || byte === 0xf3)
  const small = mode === 64 && bytes.slice(0, i).includes(0x66)
  // AMD: repeat prefixes change LOOPE and LOOPNE, 66 truncates branches of 64-bit code, F2/F3 0F 2B are SSE4a
  if ((opcode === 0xe0 || opcode === 0xe1) && repeat) return false
  if (
    small &&
    (/^(7.|e[0-3]|e[89b]|c[23]|ff)$/.test(opcode.toString(16)) || (opcode === 0x0f && modrm >> 4 === 8))
  )
    return false
  if (opcode === 0x0f && modrm === 0x2b && repeat) return false
  // SHA (AMD does not align its operands) and GFNI
  const third = bytes[i + 2] ?? 0
  if (opcode === 0x0f && modrm === 0x38 && third >= 0xc8 && third <= 0xcf) return false
  if (opcode === 0x0f && modrm === 0x3a && third >= 0xcc && third <= 0xcf) return false
  // which operand of MOVS and CMPS faults first; LOCK MOV CR0 is CR8 on AMD
  if (opcode >= 0xa4 && opcode <= 0xa7) return false
  if (opcode === 0x0f && modrm >= 0x20 && modrm <= 0x23 && bytes.slice(0, i).includes(0xf0)) return false
  if (opcode === 0x0f) return !EXCLUDED_0F.has(modrm)
  return !EXCLUDED.has(opcode)
}

/**
 * VEX opcodes by map that a host may have and our models lack: mask registers of AVX-512; VNNI, AMX, SM4, GFNI, SHA512,
 * CMPCCXADD, IFMA; GFNI, SM3.
 */
const EXCLUDED_VEX: readonly (readonly (readonly [first: number, last: number])[])[] = [
  [],
  [[0x41, 0x4b], [0x90, 0x99]],
  [[0x48, 0x4f], [0x50, 0x53], [0x5c, 0x5f], [0x6c, 0x6f], [0xb0, 0xb5], [0xc8, 0xda], [0xe0, 0xef]],
  [[0x30, 0x33], [0xce, 0xdf]],
] // prettier-ignore
/** AES and PCLMULQDQ of 32 bytes: VAES, VPCLMULQDQ. */
const NARROW_VEX = [[], [], [0xdc, 0xdd, 0xde, 0xdf], [0x44]] as const

function vexAllowed(bytes: readonly number[], at: number): boolean {
  const short = bytes[at] === 0xc5
  const map = short ? 1 : (bytes[at + 1] ?? 0) & 31
  const last = bytes[at + (short ? 1 : 2)] ?? 0
  const opcode = bytes[at + (short ? 2 : 3)] ?? 0
  if (map < 1 || map > 3) return map < 4
  // AMD executes VPERMQ and VPERMPD with W0
  if (map === 3 && opcode < 2 && (last & 0x80) === 0) return false
  if (EXCLUDED_VEX[map]?.some(([low, high]) => opcode >= low && opcode <= high)) return false
  return !((last & 4) !== 0 && NARROW_VEX[map]?.some((narrow) => narrow === opcode))
}

function vexBytes(random: Random, mode: Mode): number[] {
  const bytes: number[] = []
  while (random.chance(0.1) && bytes.length < 2) bytes.push(random.pick([...PREFIXES, 0x64, 0x65]))
  if (mode === 64 && random.chance(0.02)) bytes.push(0x40 | random.below(16))
  const at = bytes.length
  // in the other code sizes bits 7:6 must be set, or it is LES or LDS
  const inverted = mode === 64 ? random.below(256) : 0xc0 | random.below(64)
  const last = random.below(256)
  if (random.chance(0.3)) bytes.push(0xc5, inverted)
  else {
    const map = random.chance(0.03) ? random.below(4) : random.between(1, 3)
    // mostly one without a second source where it must not be named
    bytes.push(0xc4, (inverted & 0xe0) | map, random.chance(0.5) ? last | 0x78 : last)
  }
  while (bytes.length < 15) bytes.push(random.below(256))
  return vexAllowed(bytes, at) ? bytes : vexBytes(random, mode)
}

function randomBytes(random: Random, mode: Mode): number[] {
  const bytes: number[] = []
  while (random.chance(0.3) && bytes.length < 4) bytes.push(random.pick(PREFIXES))
  if (mode === 64 && random.chance(0.4)) bytes.push(0x40 | random.below(16))
  const map = random.below(6)
  if (map >= 2) bytes.push(0x0f)
  if (map === 4) bytes.push(0x38)
  if (map === 5) bytes.push(0x3a)
  while (bytes.length < 15) bytes.push(random.below(256))
  return bytes
}

function allowedBytes(random: Random, mode: Mode): number[] {
  let bytes = randomBytes(random, mode)
  while (!allowed(bytes, mode)) bytes = randomBytes(random, mode)
  return bytes
}

const ANY_ROW: Row | undefined = ROWS[0]

export function makeFuzzCase(seed: string): Case {
  if (!ANY_ROW) throw new Error('there are no rows')
  const random = new Random(`fuzz/${seed}`)
  const mode = random.pick<Mode>([64, 64, 64, 32, 16, 33])
  const bytes = random.chance(0.25) ? vexBytes(random, mode) : allowedBytes(random, mode)
  const c = new CaseBuilder(random, mode)
  fillState(c, ANY_ROW, mode)
  // single-stepped: whatever follows the first instruction is not run
  const flags = c.view.getBigUint64(at.STATE_RFLAGS, true)
  c.view.setBigUint64(at.STATE_RFLAGS, flags | 0x100n, true)
  c.request.fill(0xcc, at.REQUEST_CODE, at.REQUEST_CODE + 16)
  c.request.set(bytes, at.REQUEST_CODE)
  c.view.setUint32(at.REQUEST_OFFSET, 0x800, true)
  c.view.setUint32(at.REQUEST_MODE, mode, true)
  return { row: ANY_ROW, width: 0, seed, mode, length: 15, memory: false, target: 0, request: c.request }
}
