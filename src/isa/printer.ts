/** Instructions as text in Intel syntax, spelt as GNU objdump -M intel does wherever the two can agree. */
import type { Instruction, MemoryOperand } from './decode.ts'
import { isVsib } from './opcode.ts'
import { placeOf, type Place } from './row.ts'

const GPR64 = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi']
const GPR8 = ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil']
const HIGH8 = ['al', 'cl', 'dl', 'bl', 'ah', 'ch', 'dh', 'bh']
const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs']
const POINTERS: Readonly<Record<number, string>> = {
  8: 'BYTE PTR ',
  16: 'WORD PTR ',
  32: 'DWORD PTR ',
  48: 'FWORD PTR ',
  64: 'QWORD PTR ',
  80: 'TBYTE PTR ',
  128: 'XMMWORD PTR ',
  256: 'YMMWORD PTR ',
}

export function registerName(number: number, bits: number, rex = true): string {
  if (bits === 8) return number < 8 ? ((rex ? GPR8 : HIGH8)[number] ?? '') : `r${number}b`
  if (number >= 8) return `r${number}${bits === 64 ? '' : bits === 32 ? 'd' : 'w'}`
  const name = GPR64[number] ?? ''
  return bits === 64 ? name : (bits === 32 ? 'e' : '') + name.slice(1)
}

const hex = (value: bigint | number): string => `0x${value.toString(16)}`
const signedHex = (value: number): string => (value < 0 ? `-${hex(-value)}` : `+${hex(value)}`)

/** Size that a place moves, in bits; 0 = only an address. */
function sizeOf(place: Place, width: number): number {
  if (place === 'm16:v') return width + 16
  if (place.endsWith('v')) return width
  if (place.endsWith('y')) return width === 64 ? 64 : 32
  const digits = /(\d+)$/.exec(place)
  return digits ? Number(digits[1]) : 0
}

interface MemoryStyle {
  /** Size of the operand in bits; 0: not shown. */
  readonly bits: number
  /** The index is a vector register of this kind. */
  readonly vector?: 'xmm' | 'ymm'
}

function memoryText(i: Instruction, memory: MemoryOperand, { bits, vector }: MemoryStyle): string {
  const { base, index, scale, displacement } = memory
  const segment = i.prefixes.segment
  const pointer = POINTERS[bits] ?? ''
  const name = (n: number): string => registerName(n, i.addressSize)
  const parts: string[] = []
  if (base === 'rip') parts.push(i.addressSize === 64 ? 'rip' : 'eip')
  else if (base !== undefined) parts.push(name(base))
  if (index !== undefined) {
    const register = vector ? vector + index : name(index)
    parts.push(i.addressSize === 16 ? register : `${register}*${scale}`)
  }
  if (parts.length === 0) {
    const address = BigInt.asUintN(i.addressSize, BigInt(displacement))
    return `${pointer}${SEGMENTS[segment ?? 3]}:${hex(address)}`
  }
  const tail = memory.displacementBytes === 0 ? '' : signedHex(displacement)
  return `${pointer}${segment === undefined ? '' : `${SEGMENTS[segment]}:`}[${parts.join('+')}${tail}]`
}

/** Rows that store 16 bits in memory whatever the operand size of their register form. */
const WORD_IN_MEMORY = new Set(['mov_rmv_sreg', 'smsw_rmv', 'sldt_rmv', 'str_rmv'])

/** Places that are a fixed register by name; es .. gs included. */
const FIXED = new Set<string>([
  'al',
  'ah',
  'ax',
  'eax',
  'rax',
  'cl',
  'cx',
  'ecx',
  'rcx',
  'dx',
  'edx',
  'xmm0',
  ...SEGMENTS,
])

function immediateText(i: Instruction, place: Place, value: bigint): string {
  if (place === 'ptr16:v') return `${hex(value >> 32n)}:${hex(value & 0xffff_ffffn)}`
  if (place === 'immz' || place === 'simm8') return hex(BigInt.asUintN(i.width || 32, value))
  return hex(value)
}

function registerText(i: Instruction, place: Place, number: number): string {
  if (/^[xy]mm/.test(place)) return place.slice(0, 3) + number
  if (place.startsWith('mm')) return `mm${number & 7}`
  if (place === 'sti') return `st(${number & 7})`
  if (place === 'sreg') return SEGMENTS[number & 7] ?? '?'
  if (place === 'creg') return `cr${number}`
  if (place === 'dreg') return `dr${number}`
  return registerName(number, sizeOf(place, i.width), i.prefixes.hasRex || i.prefixes.vex)
}

function operandText(i: Instruction, place: Place, immediates: bigint[]): string {
  if (FIXED.has(place)) return place
  if (place === 'rAXv') return registerName(0, i.width)
  if (place === 'one') return '1'
  if (place === 'st0') return 'st'
  if (place === 'mbx' || place === 'mdi') {
    return `BYTE PTR ${SEGMENTS[i.prefixes.segment ?? 3]}:[${registerName(place === 'mbx' ? 3 : 7, i.addressSize)}]`
  }
  if (place.startsWith('moffs')) {
    return `${SEGMENTS[i.prefixes.segment ?? 3]}:${hex(immediates.shift() ?? 0n)}`
  }
  if (place.endsWith('_is4')) return registerText(i, place, Number(immediates.shift() ?? 0n))
  if (/^(s?imm|rel|ptr)/.test(place)) return immediateText(i, place, immediates.shift() ?? 0n)
  if (isVsib(place) && i.memory) {
    const bits = /([dq]d|ps)$/.test(i.row.mnemonic) ? 32 : 64
    return memoryText(i, i.memory, { bits, vector: place.endsWith('x') ? 'xmm' : 'ymm' })
  }
  if (/^(rm|m$|m\d|mv|my|[xy]mm_m|mm_m)/.test(place)) {
    if (i.memory) {
      const bits = WORD_IN_MEMORY.has(i.row.id) ? 16 : sizeOf(place, i.width)
      return memoryText(i, i.memory, { bits: place === 'm' ? 0 : bits })
    }
    return registerText(i, place, i.rm)
  }
  if (/^v(\d|y)|^[xy]mm_v/.test(place)) return registerText(i, place, i.vvvv)
  if (place.startsWith('R') || place === 'xmm' || place === 'ymm' || place === 'mm' || place === 'sti')
    return registerText(i, place, i.rm)
  return registerText(i, place, i.reg)
}

/** Implicit operands of string instructions: the element at ES:rDI or at rSI, the accumulator, DX. */
const STRINGS: Readonly<Record<string, readonly ('di' | 'si' | 'a' | 'dx')[]>> = {
  movs: ['di', 'si'],
  cmps: ['si', 'di'],
  stos: ['di', 'a'],
  lods: ['a', 'si'],
  scas: ['a', 'di'],
  ins: ['di', 'dx'],
  outs: ['dx', 'si'],
}

function stringOperands(i: Instruction): string[] | undefined {
  if (!i.row.rep) return undefined
  return STRINGS[i.row.mnemonic]?.map((what) => {
    if (what === 'dx') return 'dx'
    if (what === 'a') return registerName(0, i.width)
    const segment = what === 'di' ? 'es' : SEGMENTS[i.prefixes.segment ?? 3]
    return `${POINTERS[i.width]}${segment}:[${registerName(what === 'di' ? 7 : 6, i.addressSize)}]`
  })
}

/** Mnemonics that name their operand size. */
const SIZED: Readonly<Record<string, readonly [string, string, string]>> = {
  cbw: ['cbw', 'cwde', 'cdqe'],
  cwd: ['cwd', 'cdq', 'cqo'],
  pusha: ['pusha', 'pushad', 'pushad'],
  popa: ['popa', 'popad', 'popad'],
  pushf: ['pushf', 'pushfd', 'pushfq'],
  popf: ['popf', 'popfd', 'popfq'],
  iret: ['iret', 'iretd', 'iretq'],
  sysret: ['sysret', 'sysret', 'sysretq'],
  sysexit: ['sysexit', 'sysexit', 'sysexitq'],
}

function mnemonicText(i: Instruction): string {
  const { mnemonic } = i.row
  const sized = SIZED[mnemonic]
  if (sized) return sized[i.width === 16 ? 0 : i.width === 32 ? 1 : 2]
  if (mnemonic === 'jmpf' || mnemonic === 'callf') return mnemonic.slice(0, -1)
  return mnemonic
}

function prefixText(i: Instruction): string {
  const lock = i.prefixes.lock ? 'lock ' : ''
  if (!i.row.rep || !i.prefixes.repeat) return lock
  const conditional = i.row.mnemonic === 'cmps' || i.row.mnemonic === 'scas'
  return lock + (i.prefixes.repeat === 0xf2 ? 'repnz ' : conditional ? 'repz ' : 'rep ')
}

// prettier-ignore
const PREDICATES = [
  'eq', 'lt', 'le', 'unord', 'neq', 'nlt', 'nle', 'ord', 'eq_uq', 'nge', 'ngt', 'false', 'neq_oq', 'ge', 'gt', 'true',
  'eq_os', 'lt_oq', 'le_oq', 'unord_s', 'neq_us', 'nlt_uq', 'nle_uq', 'ord_s', 'eq_us', 'nge_uq', 'ngt_uq', 'false_os', 'neq_os',
  'ge_oq', 'gt_oq', 'true_us',
]
const CLMUL_HALVES: Readonly<Record<number, string>> = { 0: 'lqlq', 1: 'hqlq', 16: 'lqhq', 17: 'hqhq' }

/** Pseudo-ops that spell an immediate in the mnemonic (SDM Vol. 2, CMPPS, PCLMULQDQ). */
function pseudoMnemonic(mnemonic: string, immediate: number): string | undefined {
  const [, v = '', format] = /^(v?)cmp([ps][sd])$/.exec(mnemonic) ?? []
  if (format && immediate < (v ? 32 : 8)) return `${v}cmp${PREDICATES[immediate]}${format}`
  const [, vex] = /^(v?)pclmulqdq$/.exec(mnemonic) ?? []
  const halves = CLMUL_HALVES[immediate]
  return vex === undefined || halves === undefined ? undefined : `${vex}pclmul${halves}dq`
}

export function printInstruction(i: Instruction): string {
  const immediates = [...i.immediates]
  const pseudo =
    immediates.length === 1 && !i.row.rep ? pseudoMnemonic(i.row.mnemonic, Number(immediates[0])) : undefined
  if (pseudo) {
    return `${pseudo} ${i.row.operands.slice(0, -1).map((operand) => operandText(i, placeOf(operand), immediates)).join(',')}` // prettier-ignore
  }
  const operands =
    stringOperands(i) ?? i.row.operands.map((operand) => operandText(i, placeOf(operand), immediates))
  return `${prefixText(i)}${mnemonicText(i)}${operands.length ? ` ${operands.join(',')}` : ''}`
}
