/**
 * One random case for a row: an encoding, and a machine state in which it does something worth comparing. Everything follows
 * from the seed.
 */
import { encodingOf } from '#isa/opcode.ts'
import { operandForms } from '#isa/operands.ts'
import { placeOf, type Row } from '#isa/row.ts'
import { assemble, offsetIn, type Assembled, type Shape } from './assemble.ts'
import * as at from './layout.ts'
import {
  codeSizeOf,
  DS,
  ES,
  SELECTORS,
  isSegmented,
  segmentBase,
  SS,
  type CodeSize,
  type Mode,
} from './modes.ts'
import { Random } from './random.ts'
import { float32, float64, float80, integer, pairs32, pairs64, related80, vector } from './values.ts'

export interface Case {
  readonly row: Row
  readonly width: Row['widths'][number]
  readonly seed: string
  readonly mode: Mode
  readonly length: number
  readonly memory: boolean
  /** Linear address that the memory operand was aimed at. */
  readonly target: number
  /** The request of oracle.c. */
  readonly request: Uint8Array
}

const MEMORY_BYTES: Readonly<Record<string, number>> = {
  m80: 10,
  m128: 16,
  xmm_m128: 16,
  m256: 32,
  ymm_m256: 32,
  m: 16,
}
/** Rows whose memory image is larger than their operand column says. */
const FXSAVE_BYTES = 512
/** Legacy region, header, upper halves of YMM: the components asked for are x87, SSE and AVX. */
const XSAVE_BYTES = 832

function imageBytes({ mnemonic }: Row): number | undefined {
  if (/^fx(save|rstor)/.test(mnemonic)) return FXSAVE_BYTES
  if (/^x(save|rstor)/.test(mnemonic)) return XSAVE_BYTES
  if (mnemonic === 'fnstenv' || mnemonic === 'fldenv') return 28
  return mnemonic === 'fnsave' || mnemonic === 'frstor' ? 108 : undefined
}

function memoryBytes(row: Row, width: number): number {
  const image = imageBytes(row)
  if (image) return image
  for (const operand of row.operands) {
    const place = placeOf(operand)
    const known = MEMORY_BYTES[place]
    if (known) return known
    const sized = /^(?:rm|m|xmm_m|mm_m|moffs)(8|16|32|64)$/.exec(place)
    if (sized) return Number(sized[1]) / 8
    if (/^(rm|m|moffs)[vy]$/.test(place)) return width / 8
    if (place === 'm16:v') return 2 + width / 8
  }
  return width / 8 || 8
}

const FLOAT =
  /^v?(f|add[ps]|sub[ps]|mul[ps]|div[ps]|min[ps]|max[ps]|cmp[ps]|sqrt|rcp|rsqrt|cvt|u?comis|round|dpp|h(add|sub)p|addsub)/

function chooseTarget(random: Random, row: Row, bytes: number, bits: CodeSize): bigint {
  // AMD does not check the alignment of SHA operands; an image at the end of the address space may fault either way
  const kind = random.below(row.feature === 'sha' || bytes > 32 ? 98 : 100)
  let target: number
  if (kind < 72)
    target = at.WINDOW_A + random.below(at.WINDOW_A_BYTES - Math.min(bytes, at.WINDOW_A_BYTES - 1))
  else if (kind < 84) target = at.DATA_GVA + 0x1000 - random.between(1, Math.max(1, bytes - 1))
  else if (kind < 89) target = at.DATA_GVA + 0x2000 - Math.min(bytes, at.WINDOW_B_BYTES)
  else if (kind < 92) target = at.DATA_GVA + 0x2000 - random.between(1, Math.max(1, bytes - 1))
  else if (kind < 95) target = at.READ_ONLY_GVA + 64 + random.below(512)
  else if (kind < 98) target = at.DATA_GVA + 0x2000 + random.below(0x800)
  else
    return bits === 64
      ? random.pick([0x8000_0000_0000n, 0xffff_7fff_ffff_ffffn, 0x1234_5678_9abc_def0n])
      : 0x1_0000_0000n - BigInt(Math.max(bytes, 16)) // what wraps around is each vendor's choice
  const aligns = row.faults.includes('GP') && bytes >= 16
  if (aligns && (row.feature === 'sha' || random.chance(0.88))) target &= bytes === 32 ? ~31 : ~15
  return BigInt(target)
}

/** Where an image or a long operand still fits in a window. */
function chooseImage(random: Random, bytes: number): bigint {
  const room = at.WINDOW_A_BYTES - bytes
  const alignment = bytes === FXSAVE_BYTES ? 16 : bytes === XSAVE_BYTES ? 64 : 1
  return BigInt(at.WINDOW_A + Math.floor(random.below(room + 1) / alignment) * alignment)
}

export class CaseBuilder {
  readonly request = new Uint8Array(at.REQUEST_BYTES)
  readonly view = new DataView(this.request.buffer)
  readonly random: Random

  readonly #mode: Mode

  constructor(random: Random, mode: Mode) {
    this.random = random
    this.#mode = mode
  }

  getGpr(i: number): bigint {
    return this.view.getBigUint64(at.STATE_GPR + 8 * i, true)
  }

  setGpr(i: number, value: bigint): void {
    this.view.setBigUint64(at.STATE_GPR + 8 * i, BigInt.asUintN(this.#mode === 64 ? 64 : 32, value), true)
  }

  /** Linear address of the top of the stack. */
  stack(): bigint {
    const pointer = BigInt.asUintN(this.#mode === 16 ? 16 : 64, this.getGpr(4))
    return segmentBase(this.#mode, SS) + pointer
  }

  /** Stores up to 8 bytes at a gva, as far as they lie in a window. */
  poke(gva: bigint, value: bigint, bytes: number): void {
    for (let i = 0; i < bytes; i++) {
      const offset = gva < 0x4000_0000n ? at.windowOffset(Number(gva) + i) : -1
      if (offset >= 0) this.request[at.STATE_WINDOW + offset] = Number((value >> BigInt(8 * i)) & 0xffn)
    }
  }

  peek(gva: bigint, bytes: number): bigint {
    let value = 0n
    for (let i = bytes - 1; i >= 0; i--) {
      const offset = gva < 0x4000_0000n ? at.windowOffset(Number(gva) + i) : -1
      value = (value << 8n) | BigInt(offset >= 0 ? (this.request[at.STATE_WINDOW + offset] ?? 0) : 0)
    }
    return value
  }
}

function fillRegisters(c: CaseBuilder, mode: Mode): void {
  const { random } = c
  for (let i = 0; i < 16; i++) c.setGpr(i, mode === 64 || i < 8 ? integer(random) : 0n)
  const junk = mode === 16 && random.chance(0.5) ? BigInt(random.below(0x1_0000)) << 16n : 0n
  c.setGpr(4, (BigInt(at.WINDOW_A + 128 + 8 * random.below(32)) - segmentBase(mode, SS)) | junk)
  let flags = 0x202n
  for (const bit of [0, 2, 4, 6, 7, 11]) if (random.chance(0.5)) flags |= 1n << BigInt(bit)
  if (random.chance(0.2)) flags |= 0x400n
  c.view.setBigUint64(at.STATE_RFLAGS, flags, true)
}

function fillFloat(c: CaseBuilder, row: Row): void {
  const { random, view } = c
  const floats = FLOAT.test(row.id)
  const fx = at.STATE_FX
  let cw = 0x37f
  if (random.chance(0.4)) cw = (cw & ~0xf00) | (random.pick([0, 2, 3, 3]) << 8) | (random.below(4) << 10)
  if (random.chance(0.15)) cw &= ~(random.bits() & 0x3f)
  view.setUint16(fx + at.FX_CW, cw, true)
  // exceptions found earlier; ES and B as the processor would have them
  let sw = (random.below(8) << 11) | (random.bits() & 0x4700)
  if (random.chance(0.2)) sw |= random.bits() & 0x7f
  if (random.chance(0.95)) sw &= ~(~cw & 0x3f)
  if (sw & ~cw & 0x3f) sw |= 0x8080
  view.setUint16(fx + at.FX_SW, sw, true)
  view.setUint8(fx + at.FX_TAG, random.chance(0.8) ? 0xff : random.bits() & 0xff)
  let mxcsr = 0x1f80
  if (random.chance(0.4)) mxcsr |= random.below(4) << 13
  if (random.chance(0.2)) mxcsr |= random.bits() & 0x8040
  if (random.chance(0.15)) mxcsr &= ~(random.bits() & 0x1f80)
  if (random.chance(0.5)) mxcsr |= random.bits() & 0x3f
  view.setUint32(fx + at.FX_MXCSR, mxcsr, true)
  for (let i = 0; i < 8; i++) {
    const [significand, exponent] = float80(random)
    view.setBigUint64(fx + at.FX_ST + 16 * i, significand, true)
    view.setUint16(fx + at.FX_ST + 16 * i + 8, exponent, true)
  }
  for (let i = 0; i < 16; i++) {
    const [low, high] = vector(random, floats)
    view.setBigUint64(fx + at.FX_XMM + 16 * i, low, true)
    view.setBigUint64(fx + at.FX_XMM + 16 * i + 8, high, true)
    const [third, fourth] = vector(random, floats)
    view.setBigUint64(at.STATE_YMM + 16 * i, third, true)
    view.setBigUint64(at.STATE_YMM + 16 * i + 8, fourth, true)
  }
}

/**
 * Half of the floating-point cases again, with what random choices rarely bring together: PE sticky and the rounding of every
 * program, and operands whose sum, product or quotient is at an edge of the format. From a sequence of its own.
 */
function meet(c: CaseBuilder, row: Row, random: Random, target: bigint, bytes: number): void {
  if (random.chance(0.5)) return
  if (row.mnemonic.startsWith('f')) return meet80(c, row, random, target, bytes)
  const { view } = c
  const fx = at.STATE_FX
  let mxcsr = 0x1fa0
  if (random.chance(0.3)) mxcsr ^= random.pick([0x8000, 0x40, 0x2000, 0x4000, 0x1000, 0x20, 0x800, 0x100, 2])
  if (random.chance(0.3)) mxcsr |= random.bits() & 0x1f
  view.setUint32(fx + at.FX_MXCSR, mxcsr, true)
  const pair = random.chance(0.5) ? pairs32(random) : pairs64(random)
  for (let i = 0; i < 16; i++) {
    view.setBigUint64(fx + at.FX_XMM + 16 * i, pair(i & 1), true)
    view.setBigUint64(fx + at.FX_XMM + 16 * i + 8, pair(i & 1), true)
  }
  if (bytes > 16 || bytes < 4) return
  for (let i = 0; i + 4 <= Math.min(bytes, 16); i += 8)
    c.poke(target + BigInt(i), pair(1), Math.min(bytes, 8))
}

/** The same for the x87: extended precision, ordinary rounding, nothing pending; memory holds one of the numbers or a whole one. */
function meet80(c: CaseBuilder, { id, mnemonic }: Row, random: Random, target: bigint, bytes: number): void {
  const fx = at.STATE_FX
  let cw = 0x37f
  if (random.chance(0.3)) cw ^= random.pick([0x100, 0x300, 0x400, 0x800, 0xc00, 0x20, 1, 8])
  c.view.setUint16(fx + at.FX_CW, cw, true)
  c.view.setUint16(fx + at.FX_SW, (random.below(8) << 11) | (random.bits() & 0x4700), true)
  if (random.chance(0.8)) c.view.setUint8(fx + at.FX_TAG, 0xff >> random.below(2))
  const next = related80(random)
  for (let i = 0; i < 8; i++) {
    const [significand, exponent] = next()
    c.view.setBigUint64(fx + at.FX_ST + 16 * i, significand, true)
    c.view.setUint16(fx + at.FX_ST + 16 * i + 8, exponent, true)
  }
  const [significand, exponent] = next()
  const sign = exponent >> 15
  if (bytes === 10 && mnemonic === 'fld') {
    c.poke(target, significand, 8)
    c.poke(target + 8n, BigInt(exponent), 2)
  } else if ((bytes === 4 || bytes === 8) && !id.includes('int') && !mnemonic.startsWith('fi')) {
    const [bias, shift] = bytes === 4 ? [127, 23n] : [1023, 52n]
    const field = BigInt((exponent & 0x7fff) - 16383 + bias) & BigInt(2 * bias + 1)
    c.poke(
      target,
      (BigInt(sign) << BigInt(8 * bytes - 1)) |
        (field << shift) |
        (((significand << 1n) & ((1n << 64n) - 1n)) >> (64n - shift)),
      bytes,
    )
  }
}

function fillMemory(c: CaseBuilder, row: Row, target: bigint, bytes: number): void {
  const { random } = c
  for (let i = 0; i < at.WINDOW_BYTES; i += 4) c.view.setUint32(at.STATE_WINDOW + i, random.bits(), true)
  const floats = FLOAT.test(row.id)
  if (bytes === 10) {
    const [significand, exponent] =
      row.mnemonic === 'fbld'
        ? [random.u64() & 0x9999_9999_9999_9999n, random.bits() & 0x8099]
        : float80(random)
    c.poke(target, significand, 8)
    c.poke(target + 8n, BigInt(exponent), 2)
  } else if (bytes === 16 || bytes === 32) {
    for (let i = 0; i < bytes; i += 16) {
      const [low, high] = vector(random, floats)
      c.poke(target + BigInt(i), low, 8)
      c.poke(target + BigInt(i + 8), high, 8)
    }
  } else if (
    floats &&
    (bytes === 4 || bytes === 8) &&
    !row.id.includes('int') &&
    !row.mnemonic.startsWith('fi')
  ) {
    c.poke(target, bytes === 4 ? BigInt(float32(random)) : float64(random), bytes)
  } else if (bytes <= 8) c.poke(target, integer(random), bytes)
}

/** What some instructions need to be more than an exception. Runs after the address registers are set. */
function prepare(c: CaseBuilder, row: Row, shape: Shape, made: Assembled, target: bigint): void {
  const { random } = c
  const { width, memory, mode, addressSize } = shape
  const inWindow = (): bigint => BigInt(at.WINDOW_A + 96 + random.below(320))
  // what a 16-bit address or count leaves out of its register
  const junk = (): bigint => (addressSize === 16 ? BigInt(random.bits()) & 0xffff_0000n : 0n)
  const free = (register: number): boolean => register !== made.base && register !== made.index
  const set = (register: number, value: bigint): void => {
    if (free(register)) c.setGpr(register, value)
  }
  const small = (limit: number): bigint => BigInt(random.below(limit))
  const code = BigInt((isSegmented(mode) ? 0 : at.CODE_GVA) + 0xe80 + random.below(0x100))
  const name = row.mnemonic
  const operandBits = BigInt(width || 64)
  const operandMask = (1n << operandBits) - 1n
  const operand = (): bigint =>
    (memory ? c.peek(target, Number(operandBits) / 8) : c.getGpr(made.rm < 0 ? 0 : made.rm)) & operandMask

  if (name === 'div' || name === 'idiv') {
    if (random.chance(0.75)) {
      const rax = c.getGpr(0)
      if (width === 8) set(0, (rax & 0xffn) | (random.chance(0.5) ? 0n : 0x100n))
      else set(2, name === 'idiv' && (rax >> (operandBits - 1n)) & 1n && random.chance(0.7) ? ~0n : small(4))
    }
  } else if (/^(movs|cmps|stos|lods|scas)[bwdqv]?/.test(name) && row.rep) {
    const from = inWindow()
    const to = random.chance(0.1) ? BigInt(at.DATA_GVA + 0x2000 - 24) : inWindow()
    c.setGpr(6, offsetIn(shape, DS, from) | junk())
    c.setGpr(7, offsetIn({ mode, addressSize, segment: ES }, ES, to) | junk())
    c.setGpr(1, small(14) | junk())
    if (random.chance(0.3)) c.setGpr(0, c.peek(to, 8))
    if (name.startsWith('cmps') && random.chance(0.6)) {
      for (let i = -48n; i < 64n; i += 8n) if (random.chance(0.8)) c.poke(from + i, c.peek(to + i, 8), 8)
    }
  } else if (/^loop|^jr?[er]?cxz/.test(name)) {
    if (random.chance(0.6)) c.setGpr(1, small(3) | junk())
  } else if (name === 'ret') {
    if (random.chance(0.9)) c.poke(c.stack(), code, 8)
  } else if (name === 'jmp' || name === 'call') {
    // a push that faults and a target that does: vendors differ in which comes first
    if (random.chance(0.9) || made.base === 4) {
      if (memory) c.poke(target, code, 8)
      else if (made.rm >= 0) c.setGpr(made.rm, code)
    }
  } else if (name === 'leave' || name === 'enter') c.setGpr(5, (inWindow() & ~7n) - segmentBase(mode, SS))
  else if (name === 'popf') c.poke(c.stack(), random.u64() & ~0x4_0100n, 8) // no TF, no AC
  else if (name === 'bound') {
    const low = random.below(100) - 50
    const step = BigInt(width) / 8n
    c.poke(target, BigInt(low), Number(step))
    c.poke(target + step, BigInt(low + random.below(60)), Number(step))
    if (random.chance(0.8)) set(made.reg, BigInt.asUintN(width || 32, BigInt(random.below(140) - 60)))
  } else if (/^bt[src]?$/.test(name) && memory && row.operands.some((o) => placeOf(o) === 'rv')) {
    if (random.chance(0.85)) set(made.reg, BigInt(random.below(1000) - 500))
  } else if (name === 'cmpxchg') {
    if (random.chance(0.5)) set(0, operand())
  } else if (name === 'cmpxchg8b') {
    if (random.chance(0.5)) {
      set(0, c.peek(target, 4))
      set(2, c.peek(target + 4n, 4))
    }
  } else if (name === 'cmpxchg16b') {
    if (random.chance(0.5)) {
      set(0, c.peek(target, 8))
      set(2, c.peek(target + 8n, 8))
    }
  } else if (/^v?pcmpestr/.test(name)) {
    set(0, BigInt.asUintN(64, BigInt(random.below(40) - 20)))
    set(2, BigInt.asUintN(64, BigInt(random.below(40) - 20)))
  } else if (name.startsWith('maskmov') || name === 'vmaskmovdqu') c.setGpr(7, made.offset | junk())
  // bit 17 exists on AMD only
  else if (name === 'ldmxcsr' || name === 'vldmxcsr')
    c.poke(target, BigInt(random.bits() & (random.chance(0.8) ? 0xffff : 0x1_ffff)), 4)
  else if (name === 'xlatb' || name === 'xlat') c.setGpr(3, offsetIn(shape, DS, inWindow() - 64n) | junk())
  if (/^x(save|rstor)/.test(name)) prepareXsave(c, target)
  if (made.vectorIndex >= 0) prepareGather(c, row, made)
  prepareSelectors(c, row, shape, made, target)
  // reserved bits of MXCSR: a few set, to see the fault
  if (name.startsWith('fxrstor'))
    c.poke(target + 24n, BigInt(random.bits() & (random.chance(0.9) ? 0xffff : 0x1_ffff)), 4)
  if (/^v?pcmp[ei]str/.test(name)) similarStrings(c, made, memory, target)
}

/** A far call from a stack with a base into 64-bit code: vendors differ in where it pushes. */
function farSelector(random: Random, row: Row, mode: Mode): number {
  const selector = random.pick(SELECTORS)
  return isSegmented(mode) && row.mnemonic === 'callf' && selector >> 3 === 6 ? 0x23 : selector
}

/** Code offset that exists in a code segment. */
function codeOffset(random: Random, selector: number): bigint {
  const flat = selector >> 3 === 4 || selector >> 3 === 6
  return BigInt((flat ? at.CODE_GVA : 0) + 0xe80 + random.below(0x100))
}

/** Operands of instructions that load or look at selectors, and frames of far returns. */
function prepareSelectors(c: CaseBuilder, row: Row, shape: Shape, made: Assembled, target: bigint): void {
  const { random } = c
  const bytes = shape.width / 8
  const selector = farSelector(random, row, shape.mode)
  const name = row.mnemonic
  if (/^(ver[rw]|lar|lsl)$/.test(name) || row.id === 'mov_sreg_rm16') {
    if (shape.memory) c.poke(target, BigInt(selector), 2)
    else if (made.rm >= 0) c.setGpr(made.rm, (c.getGpr(made.rm) & ~0xffffn) | BigInt(selector))
  } else if (/^l[defgs]s$/.test(name) || row.id === 'jmpf_m' || row.id === 'callf_m') {
    c.poke(target, codeOffset(random, selector), bytes)
    c.poke(target + BigInt(bytes), BigInt(selector), 2)
  } else if (/^pop_[defgs]s$/.test(row.id)) c.poke(c.stack(), BigInt(selector), 8)
  else if (/^(retf|iret)/.test(row.id)) {
    const frame = [codeOffset(random, selector), BigInt(selector)]
    // no TF, no AC, no VM
    if (row.id === 'iret') {
      frame.push((random.u64() & 0xffn) | 2n | (random.u64() & 0x4c00n))
      frame.push(
        BigInt(at.WINDOW_A + 8 * random.below(60)),
        BigInt(random.chance(0.8) ? 0x2b : random.pick(SELECTORS)),
      )
    }
    frame.forEach((value, i) => c.poke(c.stack() + BigInt(i * bytes), value, bytes))
  }
}

/** Indexes that stay near the base, but for a few. */
function prepareGather(c: CaseBuilder, row: Row, made: Assembled): void {
  const { random } = c
  const wide = row.operands.some((operand) => /:vm64[xy]$/.test(operand))
  const put = (from: number, bytes: number): void => {
    for (let i = 0; i < 16; i += bytes) {
      const near = BigInt(random.between(-64, 160) >> made.scale)
      const value = random.chance(0.96)
        ? near
        : random.chance(0.5)
          ? integer(random)
          : BigInt(0x2000 >> made.scale)
      if (bytes === 8) c.view.setBigUint64(from + i, BigInt.asUintN(64, value), true)
      else c.view.setUint32(from + i, Number(BigInt.asUintN(32, value)), true)
    }
  }
  put(at.STATE_FX + at.FX_XMM + 16 * made.vectorIndex, wide ? 8 : 4)
  put(at.STATE_YMM + 16 * made.vectorIndex, wide ? 8 : 4)
}

/** Mask and header of an XSAVE image: components x87, SSE and AVX only, mostly well-formed. */
function prepareXsave(c: CaseBuilder, target: bigint): void {
  const { random } = c
  c.setGpr(0, BigInt(random.below(8)))
  c.setGpr(2, 0n)
  const header = target + BigInt(FXSAVE_BYTES)
  for (let i = 0n; i < 64n; i += 8n) c.poke(header + i, 0n, 8)
  c.poke(header, BigInt(random.below(8)), 8)
  if (random.chance(0.1)) c.poke(header + 8n * BigInt(random.below(4)), random.u64(), 8)
}

/** String comparison finds nothing in random bytes: a small alphabet, ends, and equal parts. */
function similarStrings(c: CaseBuilder, made: Assembled, memory: boolean, target: bigint): void {
  const { random } = c
  const put = (offset: number, byte: number): void => c.view.setUint8(at.STATE_FX + at.FX_XMM + offset, byte)
  const wide = random.chance(0.5)
  for (let i = 0; i < 16; i++) {
    const zero = wide && i % 2 === 1
    const a = zero ? 0 : random.pick([0x61, 0x62, 0x63, 0x80, 0xff, random.chance(0.3) ? 0 : 0x7a])
    const b = zero ? 0 : random.pick([0x61, 0x62, 0x63, 0x80, 0xff, random.chance(0.2) ? 0 : 0x79])
    put(16 * made.reg + i, a)
    if (memory) c.poke(target + BigInt(i), BigInt(b), 1)
    else put(16 * made.rm + i, b)
  }
}

function immediates(
  random: Random,
  row: Row,
  shape: Omit<Shape, 'immediates'>,
  target: bigint,
  toCode: () => bigint,
): Shape['immediates'] {
  const out: { bytes: number; value: bigint }[] = []
  const operandBytes = shape.width === 16 ? 2 : 4
  for (const operand of row.operands) {
    const place = placeOf(operand)
    if (place === 'imm8' || place === 'simm8') {
      let value = random.chance(0.3) ? BigInt(random.below(256)) : integer(random) & 0xffn
      if (row.mnemonic === 'int' && value === 0x80n) value = 3n
      if (row.mnemonic === 'enter') value = BigInt(random.below(random.chance(0.8) ? 4 : 256))
      out.push({ bytes: 1, value })
    } else if (place.endsWith('_is4')) out.push({ bytes: 1, value: BigInt(random.below(256)) })
    else if (place === 'imm16') {
      // AMD's RETF to another level reads the outer stack pointer before it looks at the selector: keep it readable
      const near = row.mnemonic === 'retf' || random.chance(0.6)
      out.push({ bytes: 2, value: near ? BigInt(random.below(64)) : integer(random) & 0xffffn })
    } else if (place === 'imm32') out.push({ bytes: 4, value: integer(random) & 0xffff_ffffn })
    else if (place === 'immz') out.push({ bytes: operandBytes, value: integer(random) & 0xffff_ffffn })
    else if (place === 'immv') out.push({ bytes: shape.width / 8, value: integer(random) })
    else if (place === 'ptr16:v') {
      const selector = farSelector(random, row, shape.mode)
      out.push(
        { bytes: shape.width / 8, value: codeOffset(random, selector) },
        { bytes: 2, value: BigInt(selector) },
      )
    } else if (place === 'rel8') out.push({ bytes: 1, value: toCode() & 0xffn })
    else if (place === 'relz') out.push({ bytes: operandBytes, value: toCode() & 0xffff_ffffn })
    else if (place === 'moffs8' || place === 'moffsv')
      out.push({ bytes: shape.addressSize / 8, value: offsetIn(shape, DS, target) })
  }
  return out
}

/** Registers and memory of a case that aims at nothing in particular; most registers are usable addresses. */
export function fillState(c: CaseBuilder, row: Row, mode: Mode): void {
  fillRegisters(c, mode)
  fillFloat(c, row)
  fillMemory(c, row, BigInt(at.WINDOW_A), 8)
  for (let i = 0; i < (mode === 64 ? 16 : 8); i++) {
    if (c.random.chance(0.7))
      c.setGpr(i, BigInt(at.WINDOW_A + c.random.below(at.WINDOW_A_BYTES)) - segmentBase(mode, DS))
  }
  c.setGpr(1, BigInt(c.random.below(4)))
}

/** The code size and segments to run a row with; undefined when no mode has this width. */
function chooseMode(random: Random, row: Row, width: Row['widths'][number]): Mode | undefined {
  const encoding = encodingOf(row)
  const legacy = random.pick<Mode>([32, 32, 16, 16, 33])
  if (row.modes === 'legacy') return width === 64 && row.widths.length > 1 ? undefined : legacy
  if (encoding.addressSizes === 1) return width === 64 && row.widths.length > 1 ? undefined : legacy
  if (row.modes === 'long' || encoding.addressSizes === 4) {
    return row.osize === 'f64' && row.widths.length > 1 && width !== 64 ? undefined : 64
  }
  if (width === 64 && row.widths.length > 1) return 64
  if (row.operands.some((o) => /:(r|R|rm|o)64$/.test(o)) && encoding.w === 2) return 64
  // pushes and near branches are 64 bits wide in 64-bit code, and 66 in front of a branch means different things to Intel and AMD
  if (row.osize !== 'rex' && row.widths.length > 1 && (width === 32 || row.osize === 'f64')) return legacy
  return random.chance(0.75) ? 64 : legacy
}

function chooseAddressSize(random: Random, row: Row, mode: Mode): 16 | 32 | 64 {
  const sizes = encodingOf(row).addressSizes
  if (sizes === 6 && mode === 16) return 32
  if (sizes !== 7 && sizes !== 6) return sizes === 1 ? 16 : sizes === 2 ? 32 : 64
  if (mode === 64) return random.chance(0.06) ? 32 : 64
  if (mode === 16) return random.chance(0.2) ? 32 : 16
  return mode === 33 && sizes === 7 && random.chance(0.2) ? 16 : 32
}

function chooseSegment(random: Random, mode: Mode): number {
  if (isSegmented(mode)) return random.chance(0.3) ? random.below(6) : -1
  return random.chance(0.06) ? random.below(mode === 64 ? 6 : 4) : -1
}

/** Sets the base register so that the operand lies where it shall. */
function aim(c: CaseBuilder, { mode, addressSize }: Shape, made: Assembled): void {
  if (made.base < 0) return
  const mask = (1n << BigInt(addressSize)) - 1n
  const index = made.index >= 0 ? c.getGpr(made.index) : 0n
  const base = made.offset - made.displacement - (index << BigInt(made.scale))
  // a narrow address ignores the upper part of its registers; a 16-bit stack pointer stays as it is
  const junk = addressSize < codeSizeOf(mode) || addressSize === 16 ? c.random.u64() & ~mask : 0n
  c.setGpr(made.base, (base & mask) | junk)
}

/** Undefined when the row has no such form in the chosen code size. */
export function makeCase(row: Row, width: Row['widths'][number], seed: string): Case | undefined {
  const random = new Random(`${row.id}/${width}/${seed}`)
  const encoding = encodingOf(row)
  const mode = chooseMode(random, row, width)
  if (mode === undefined) return undefined
  // AMD knows no 64-bit offsets in far pointers
  if (width === 64 && row.operands.some((o) => o.endsWith('m16:v'))) return undefined
  const forms = operandForms(row)
  const implicit = row.operands.some((o) => /:(mdi|mbx|moffs8|moffsv)$/.test(o))
  const modrmMemory = encoding.modrm && encoding.memory && !implicit
  const memory = modrmMemory && (!forms.register || !encoding.register || random.chance(0.45))
  const addressSize = chooseAddressSize(random, row, mode)
  // flat 16-bit addresses reach nothing
  if (addressSize === 16 && mode === 32 && memory) return undefined

  const bytes = memoryBytes(row, width)
  const image = bytes > 32 && random.chance(0.85)
  const target = image ? chooseImage(random, bytes) : chooseTarget(random, row, bytes, codeSizeOf(mode))
  const offset = 0x100 + random.below(0xc00)
  const rip = at.CODE_GVA + offset
  const lock = row.lock && memory && row.operands[0]?.startsWith('r:') !== true && random.chance(0.2)
  const repeat = row.rep ? random.pick([0, 0xf2, 0xf3]) : 0
  const segment = chooseSegment(random, mode)
  const draft = { row, width, mode, memory, addressSize, repeat, lock, segment }

  // the displacement counts from the end of the instruction, whose length does not depend on it
  const state = random.bits()
  const build = (relative: bigint): Assembled => {
    const own = new Random(`${seed}/${state}`)
    return assemble(
      own,
      { ...draft, immediates: immediates(own, row, draft, target, () => relative) },
      target,
      rip,
    )
  }
  const length = build(0n).bytes.length
  if (length > 15) return undefined
  const near = row.operands.some((o) => o.endsWith(':rel8'))
  let to = near ? offset + length + random.between(-100, 127) : random.between(16, 4000)
  if (to > offset - 2 && to < offset + 18) to = offset + 20
  const made = build(random.chance(0.97) || near ? BigInt(to - offset - length) : BigInt(random.bits() | 0))

  // EDX:EAX chooses the components: a free choice would reach those that only the host has
  if (
    /^x(save|rstor)/.test(row.mnemonic) &&
    [made.base, made.index].some((register) => register === 0 || register === 2)
  ) {
    return undefined
  }

  // nor do they agree on the width of the stack pointer that a far call to another code size pushes with
  if (row.mnemonic === 'callf' && made.base === 4) return undefined

  const c = new CaseBuilder(random, mode)
  const shape = { ...draft, immediates: [] }
  fillRegisters(c, mode)
  fillFloat(c, row)
  fillMemory(c, row, target, bytes)
  if (FLOAT.test(row.id)) meet(c, row, new Random(`${row.id}/${width}/${seed}/meet`), target, bytes)
  if (memory) aim(c, shape, made)
  prepare(c, row, shape, made, target)
  if (bytes <= 8 && !memory && implicit) c.poke(target, integer(random), bytes)
  c.request.fill(0xcc, at.REQUEST_CODE, at.REQUEST_CODE + 16)
  c.request.set(made.bytes, at.REQUEST_CODE)
  c.view.setUint32(at.REQUEST_OFFSET, offset, true)
  c.view.setUint32(at.REQUEST_MODE, mode, true)
  return { row, width, seed, mode, length, memory, target: Number(target), request: c.request }
}
