/**
 * What a case did, as one line of text: the exception if any, then everything that changed. Two executors agree when
 * their lines are equal. What the architecture leaves undefined is left out, the same way on both sides.
 *
 *   int3 +3 rax=5 fl=cz-o mem[12]=0a0b          ran to the INT3 behind it
 *   #PF 6 20002000 +0                            faulted: error code, CR2, distance of RIP from the instruction
 */
import type { Row } from '#isa/row.ts'
import type { Case } from './generate.ts'
import * as at from './layout.ts'
import { initialSelectors, isSegmented } from './modes.ts'

const GPR = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
]
const VECTORS: Readonly<Record<number, string>> = { 0: '#DE', 1: '#DB', 3: 'int3', 4: '#OF', 5: '#BR', 6: '#UD', 7: '#NM', 10: '#TS', 11: '#NP', 12: '#SS', 13: '#GP', 14: '#PF', 16: '#MF', 17: '#AC', 19: '#XM', 256: 'timeout' } // prettier-ignore
const FLAG_BITS: Readonly<Record<string, number>> = {
  cf: 0,
  pf: 2,
  af: 4,
  zf: 6,
  sf: 7,
  df: 10,
  of: 11,
  nt: 14,
  ac: 18,
  id: 21,
}
/** x87 functions whose last bit, and with it the rounding direction in C1, is each implementation's own (SDM Vol. 1, 8.3.10). */
const TRANSCENDENTAL = new Set(['fsin', 'fcos', 'fsincos', 'fptan', 'fpatan', 'f2xm1', 'fyl2x', 'fyl2xp1'])
const HAS_ERROR = new Set([10, 11, 12, 13, 14, 17])

/** Flags to leave out: the row's undefined column, narrowed by rules that depend on the operands. */
function undefinedFlags(row: Row, request: DataView): number {
  let names: readonly string[] = row.flags.u
  const shift = /^(rol|ror|rcl|rcr|shl|shr|sar|sal|shld|shrd)$/.test(row.mnemonic)
  if (shift && shiftCount(row, request) === 1 && row.mnemonic !== 'shld' && row.mnemonic !== 'shrd')
    names = names.filter((name) => name !== 'of')
  return names.reduce((mask, name) => mask | (1 << (FLAG_BITS[name] ?? 31)), 0)
}

function shiftCount(row: Row, request: DataView): number {
  const last = row.operands.at(-1) ?? ''
  if (last.endsWith(':one')) return 1
  if (last.endsWith(':cl')) return request.getUint8(at.STATE_GPR + 8)
  return -1
}

/** Registers and memory that the manual leaves open. */
function isUndefined(c: Case, request: DataView): boolean {
  const { row } = c
  // BSWAP with a 16-bit operand size
  if (row.mnemonic === 'bswap' && c.mode === 16) return true
  if (row.mnemonic === 'shld' || row.mnemonic === 'shrd') {
    const immediate = request.getUint8(at.REQUEST_CODE + c.length - 1)
    const count =
      (row.id.endsWith('_cl') ? request.getUint8(at.STATE_GPR + 8) : immediate) & (c.width === 64 ? 63 : 31)
    return count > c.width
  }
  return false
}

function hexBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/**
 * First and last byte of the fields in an x87 or FXSAVE image that vendors fill differently: last opcode, instruction and
 * data pointers (AMD keeps them only for exceptions), MXCSR_MASK.
 */
function vendorFields(row: Row, width: number): readonly (readonly [number, number])[] {
  if (/^f?xsave/.test(row.mnemonic)) return [[6, 23], [28, 31]] // prettier-ignore
  if (row.mnemonic === 'fnstenv' || row.mnemonic === 'fnsave') return width === 16 ? [[6, 13]] : [[12, 27]]
  return []
}

/** The result with the vendors' own fields as they were before. */
function maskImage(c: Case, result: Uint8Array): Uint8Array {
  const fields = vendorFields(c.row, c.width)
  if (fields.length === 0) return result
  const masked = result.slice()
  for (const [first, last] of fields) {
    for (let i = first; i <= last; i++) {
      const offset = at.windowOffset(c.target + i)
      if (offset >= 0) masked[at.STATE_WINDOW + offset] = c.request[at.STATE_WINDOW + offset] ?? 0
    }
  }
  return masked
}

/** Runs of changed bytes, joined over gaps below four bytes. */
function changedMemory(request: Uint8Array, result: Uint8Array, parts: string[]): void {
  const end = at.STATE_WINDOW + at.WINDOW_BYTES
  for (let i = at.STATE_WINDOW; i < end; i++) {
    if (request[i] === result[i]) continue
    let last = i
    for (let j = i + 1; j < end && j - last < 5; j++) if (request[j] !== result[j]) last = j
    parts.push(`mem[${i - at.STATE_WINDOW}]=${hexBytes(result.subarray(i, last + 1))}`)
    i = last
  }
}

const toView = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const RSP = 4
const USER_CS64_ENTRY = 6
const X87_SF = 0x40
const X87_C1 = 0x200

/** C1 says which way a result was rounded: for transcendental functions the implementation's own, but for stack faults. */
function maskStatus(row: Row, before: number, after: number): number {
  const stackFault = (after & ~before & X87_SF) !== 0
  return TRANSCENDENTAL.has(row.mnemonic) && !stackFault ? ~X87_C1 : ~0
}

/** `mmxFault`: whether an MMX instruction that faults has entered the MMX state is each vendor's choice. */
function changedFloat(
  row: Row,
  request: DataView,
  result: DataView,
  parts: string[],
  mmxFault: boolean,
): void {
  const fx = at.STATE_FX
  const word = (view: DataView, offset: number): number => view.getUint16(fx + offset, true)
  if (word(request, at.FX_CW) !== word(result, at.FX_CW))
    parts.push(`cw=${word(result, at.FX_CW).toString(16)}`)
  const swMask = maskStatus(row, word(request, at.FX_SW), word(result, at.FX_SW))
  const sw = word(result, at.FX_SW) & swMask
  if (!mmxFault && sw !== (word(request, at.FX_SW) & swMask)) parts.push(`sw=${sw.toString(16)}`)
  const tag = result.getUint8(fx + at.FX_TAG)
  if (!mmxFault && tag !== request.getUint8(fx + at.FX_TAG)) parts.push(`tag=${tag.toString(16)}`)
  const mxcsr = result.getUint32(fx + at.FX_MXCSR, true)
  if (mxcsr !== request.getUint32(fx + at.FX_MXCSR, true)) parts.push(`mxcsr=${mxcsr.toString(16)}`)
  // by physical register, so that a push or pop shows only what it wrote
  const topBefore = (word(request, at.FX_SW) >> 11) & 7
  const topAfter = (word(result, at.FX_SW) >> 11) & 7
  for (let physical = mmxFault ? 8 : 0; physical < 8; physical++) {
    const before = fx + at.FX_ST + 16 * ((physical - topBefore) & 7)
    const after = fx + at.FX_ST + 16 * ((physical - topAfter) & 7)
    const significand = result.getBigUint64(after, true)
    const exponent = result.getUint16(after + 8, true)
    if (
      significand === request.getBigUint64(before, true) &&
      exponent === request.getUint16(before + 8, true) &&
      !TRANSCENDENTAL.has(row.mnemonic)
    )
      continue
    parts.push(`r${physical}=${exponent.toString(16)}:${significand.toString(16)}`)
  }
  for (let i = 0; i < 16; i++) {
    const offset = fx + at.FX_XMM + 16 * i
    const low = result.getBigUint64(offset, true)
    const high = result.getBigUint64(offset + 8, true)
    if (low === request.getBigUint64(offset, true) && high === request.getBigUint64(offset + 8, true))
      continue
    parts.push(`xmm${i}=${high.toString(16)}:${low.toString(16)}`)
  }
  for (let i = 0; i < 16; i++) {
    const offset = at.STATE_YMM + 16 * i
    const low = result.getBigUint64(offset, true)
    const high = result.getBigUint64(offset + 8, true)
    if (low === request.getBigUint64(offset, true) && high === request.getBigUint64(offset + 8, true))
      continue
    parts.push(`ymm${i}h=${high.toString(16)}:${low.toString(16)}`)
  }
}

/** A fuzzed instruction may be anything. */
const wantsAlignment = (c: Case): boolean => c.length === 15 || c.row.faults.includes('GP')

/** The exception, its error code and CR2, and the distance of RIP from the instruction: all that decoding decides. */
export function describeOutcome(c: Case, result: Uint8Array): string {
  const before = toView(c.request)
  const after = toView(result)
  const vector = after.getUint32(at.RESULT_VECTOR, true)
  // misaligned and beyond the limit of SS: which comes first is the vendor's choice
  const name = vector === 12 && isSegmented(c.mode) && wantsAlignment(c) ? '#GP' : VECTORS[vector]
  const parts: string[] = [name ?? `#${vector}`]
  if (HAS_ERROR.has(vector)) {
    const address = after.getBigUint64(at.RESULT_ADDRESS, true)
    // the host kernel's own mappings answer "protection" where the guest has nothing
    const hidden = vector === 14 && address >= 1n << 46n ? 1 : 0
    parts.push((after.getUint32(at.RESULT_ERROR, true) & ~hidden).toString(16))
    // which byte of a whole image is touched first is the implementation's choice
    const image = c.row.operands.some((operand) => operand.endsWith(':m'))
    if (vector === 14) parts.push(image ? 'image' : address.toString(16))
  }
  const start = (isSegmented(c.mode) ? 0 : at.CODE_GVA) + before.getUint32(at.REQUEST_OFFSET, true)
  const rip = after.getBigUint64(at.STATE_RIP, true) - BigInt(start)
  parts.push(rip < 0n ? rip.toString(16) : `+${rip.toString(16)}`)
  return parts.join(' ')
}

const SEGMENT_NAMES = ['es', 'cs', 'ss', 'ds', 'fs', 'gs']

function changedSegments(c: Case, after: DataView, parts: string[]): void {
  const before = initialSelectors(c.mode)
  SEGMENT_NAMES.forEach((name, i) => {
    const loaded = after.getUint16(at.RESULT_SELECTORS + 2 * i, true)
    // the host kernel's return to the signal handler clears null selectors
    const selector = loaded < 4 ? 0 : loaded
    if (selector !== before[i]) parts.push(`${name}=${selector.toString(16)}`)
  })
}

/** One line; result as RESULT_BYTES of layout.ts. */
export function describe(c: Case, result: Uint8Array): string {
  const before = toView(c.request)
  const after = toView(result)
  const vector = after.getUint32(at.RESULT_VECTOR, true)
  const parts = [describeOutcome(c, result)]
  if (isUndefined(c, before)) return `${parts.join(' ')} undefined`
  // the upper half of the stack pointer is nothing in code that is not 64 bits wide
  const narrowStack = after.getUint16(at.RESULT_SELECTORS + 2, true) >> 3 !== USER_CS64_ENTRY
  for (let i = 0; i < 16; i++) {
    const mask = i === RSP && narrowStack ? 0xffff_ffffn : ~0n
    const value = after.getBigUint64(at.STATE_GPR + 8 * i, true) & mask
    if (value !== (before.getBigUint64(at.STATE_GPR + 8 * i, true) & mask))
      parts.push(`${GPR[i]}=${value.toString(16)}`)
  }
  changedSegments(c, after, parts)
  // a fault leaves the flags alone even where success would leave them undefined
  const ignored = vector === 3 || vector === 1 ? undefinedFlags(c.row, before) : 0
  const changed =
    Number(after.getBigUint64(at.STATE_RFLAGS, true) ^ before.getBigUint64(at.STATE_RFLAGS, true)) & ~ignored
  const flags = Object.entries(FLAG_BITS).filter(([, bit]) => (changed >> bit) & 1)
  if (flags.length > 0) parts.push(`fl^${flags.map(([name]) => name).join(',')}`)
  changedFloat(
    c.row,
    before,
    after,
    parts,
    vector !== 3 && c.row.operands.some((operand) => /:mm(_|$)/.test(operand)),
  )
  changedMemory(c.request, maskImage(c, result), parts)
  return parts.join(' ')
}

/** Equal, or for transcendental functions as close as any two processors are. */
export function agree(row: Row, want: string, got: string): boolean {
  if (want === got) return true
  if (!TRANSCENDENTAL.has(row.mnemonic)) return false
  const left = want.split(' ')
  const right = got.split(' ')
  return left.length === right.length && left.every((part, i) => closeEnough(part, right[i] ?? ''))
}

function closeEnough(a: string, b: string): boolean {
  if (a === b) return true
  const [x, y] = [a, b].map((part) => {
    const value = /^r\d=([0-9a-f]+):([0-9a-f]+)$/.exec(part)
    return value
      ? (BigInt(`0x${value[1]}`) << 63n) + (BigInt(`0x${value[2]}`) & ((1n << 63n) - 1n))
      : undefined
  })
  if (x === undefined || y === undefined || a[1] !== b[1]) return false
  const distance = x - y
  return distance >= -1n && distance <= 1n
}
