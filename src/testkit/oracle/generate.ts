/**
 * One random case for a row: an encoding, and a machine state in which it does something worth comparing. Everything follows
 * from the seed.
 */
import { encodingOf } from '#isa/opcode.ts'
import { operandForms } from '#isa/operands.ts'
import { placeOf, type Row } from '#isa/row.ts'
import { assemble, type Assembled, type Shape } from './assemble.ts'
import * as at from './layout.ts'
import { Random } from './random.ts'
import { float32, float64, float80, integer, vector } from './values.ts'

export interface Case {
  readonly row: Row
  readonly width: Row['widths'][number]
  readonly seed: string
  readonly bits: 32 | 64
  readonly length: number
  readonly memory: boolean
  /** The request of oracle.c. */
  readonly request: Uint8Array
}

const MEMORY_BYTES: Readonly<Record<string, number>> = { m80: 10, m128: 16, xmm_m128: 16, m: 16 }
/** Rows whose memory image is larger than their operand column says. */
const IMAGE_BYTES: Readonly<Record<string, number>> = { fnstenv_m: 28, fldenv_m: 28, fnsave_m: 108, frstor_m: 108, fxsave_m: 512, fxsave64_m: 512, fxrstor_m: 512, fxrstor64_m: 512 } // prettier-ignore

function memoryBytes(row: Row, width: number): number {
  const image = IMAGE_BYTES[row.id]
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
  /^(f|add[ps]|sub[ps]|mul[ps]|div[ps]|min[ps]|max[ps]|cmp[ps]|sqrt|rcp|rsqrt|cvt|u?comis|round|dpp|h(add|sub)p|addsub)/

function chooseTarget(random: Random, row: Row, bytes: number, bits: 32 | 64): bigint {
  const kind = random.below(100)
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
      : 0xffff_fff0n
  const aligns = row.faults.includes('GP') && bytes >= 16
  // AMD does not check the alignment of SHA operands
  if (aligns && (row.feature === 'sha' || random.chance(0.88))) target &= ~15
  return BigInt(target)
}

/** Where an image or a long operand still fits in a window. */
function chooseImage(random: Random, bytes: number): bigint {
  const room = at.WINDOW_A_BYTES - bytes
  return BigInt(at.WINDOW_A + (room > 0 ? random.below(room + 1) & ~(bytes === 512 ? 15 : 0) : 0))
}

export class CaseBuilder {
  readonly request = new Uint8Array(at.REQUEST_BYTES)
  readonly view = new DataView(this.request.buffer)
  readonly random: Random

  readonly #bits: number

  constructor(random: Random, bits: 32 | 64) {
    this.random = random
    this.#bits = bits
  }

  getGpr(i: number): bigint {
    return this.view.getBigUint64(at.STATE_GPR + 8 * i, true)
  }

  setGpr(i: number, value: bigint): void {
    this.view.setBigUint64(at.STATE_GPR + 8 * i, BigInt.asUintN(this.#bits, value), true)
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

function fillRegisters(c: CaseBuilder, bits: 32 | 64): void {
  const { random } = c
  for (let i = 0; i < 16; i++)
    c.setGpr(i, bits === 64 ? integer(random) : i < 8 ? integer(random) & 0xffff_ffffn : 0n)
  c.setGpr(4, BigInt(at.WINDOW_A + 128 + 8 * random.below(32)))
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
  } else if (bytes === 16) {
    const [low, high] = vector(random, floats)
    c.poke(target, low, 8)
    c.poke(target + 8n, high, 8)
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
  const { width, memory } = shape
  const inWindow = (): bigint => BigInt(at.WINDOW_A + 96 + random.below(320))
  const free = (register: number): boolean => register !== made.base && register !== made.index
  const set = (register: number, value: bigint): void => {
    if (free(register)) c.setGpr(register, value)
  }
  const small = (limit: number): bigint => BigInt(random.below(limit))
  const code = BigInt(at.CODE_GVA + 0xe80 + random.below(0x100))
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
    set(6, inWindow())
    set(7, random.chance(0.1) ? BigInt(at.DATA_GVA + 0x2000 - 24) : inWindow())
    c.setGpr(1, small(14))
    if (random.chance(0.3)) c.setGpr(0, c.peek(c.getGpr(7) & 0xffff_ffffn, 8))
    if (name.startsWith('cmps') && random.chance(0.6)) {
      for (let i = -48n; i < 64n; i += 8n)
        if (random.chance(0.8)) c.poke(c.getGpr(6) + i, c.peek(c.getGpr(7) + i, 8), 8)
    }
  } else if (/^loop|^jr?[er]?cxz/.test(name)) {
    if (random.chance(0.6)) c.setGpr(1, small(3))
  } else if (name === 'ret') {
    if (random.chance(0.9)) c.poke(c.getGpr(4), code, 8)
  } else if (name === 'jmp' || name === 'call') {
    if (random.chance(0.9)) {
      if (memory) c.poke(target, code, 8)
      else if (made.rm >= 0) c.setGpr(made.rm, code)
    }
  } else if (name === 'leave' || name === 'enter') c.setGpr(5, inWindow() & ~7n)
  else if (name === 'popf') c.poke(c.getGpr(4), random.u64() & ~0x4_0100n, 8) // no TF, no AC
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
  } else if (name.startsWith('pcmpestr')) {
    set(0, BigInt.asUintN(64, BigInt(random.below(40) - 20)))
    set(2, BigInt.asUintN(64, BigInt(random.below(40) - 20)))
  } else if (name.startsWith('maskmov')) c.setGpr(7, target)
  // bit 17 exists on AMD only
  else if (name === 'ldmxcsr')
    c.poke(target, BigInt(random.bits() & (random.chance(0.8) ? 0xffff : 0x1_ffff)), 4)
  else if (name === 'xlatb' || name === 'xlat') c.setGpr(3, inWindow() - 64n)
  if (/^pcmp[ei]str/.test(name)) similarStrings(c, made, memory, target)
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
  shape: { readonly width: number; readonly bits: 32 | 64; readonly addressSize: number },
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
    } else if (place === 'imm16') {
      out.push({ bytes: 2, value: random.chance(0.6) ? BigInt(random.below(64)) : integer(random) & 0xffffn })
    } else if (place === 'imm32') out.push({ bytes: 4, value: integer(random) & 0xffff_ffffn })
    else if (place === 'immz') out.push({ bytes: operandBytes, value: integer(random) & 0xffff_ffffn })
    else if (place === 'immv') out.push({ bytes: shape.width / 8, value: integer(random) })
    else if (place === 'rel8') out.push({ bytes: 1, value: toCode() & 0xffn })
    else if (place === 'relz') out.push({ bytes: operandBytes, value: toCode() & 0xffff_ffffn })
    else if (place === 'moffs8' || place === 'moffsv')
      out.push({ bytes: shape.addressSize / 8, value: target })
  }
  return out
}

/** Undefined when the row has no such form in the chosen code size. */
export function makeCase(row: Row, width: Row['widths'][number], seed: string): Case | undefined {
  const random = new Random(`${row.id}/${width}/${seed}`)
  const encoding = encodingOf(row)
  let bits: 32 | 64 = row.modes === 'legacy' ? 32 : row.modes === 'long' || random.chance(0.85) ? 64 : 32
  if (width === 64 && row.widths.length > 1) {
    if (row.modes === 'legacy') return undefined
    bits = 64
  }
  if (row.operands.some((o) => /:(r|R|rm|o)64$/.test(o)) && encoding.w === 2) bits = 64
  // near branches and pushes are 64 bits wide in 64-bit code: no 32-bit form, and 66 means different things to Intel and AMD
  if (bits === 64 && row.osize !== 'rex' && row.widths.length > 1) {
    if (width === 32 || (width === 16 && row.osize === 'f64')) bits = 32
  }
  if (bits === 32 && row.modes === 'long') return undefined
  const forms = operandForms(row)
  const implicit = row.operands.some((o) => /:(mdi|mbx|moffs8|moffsv)$/.test(o))
  const modrmMemory = encoding.modrm && encoding.memory && !implicit
  const memory = modrmMemory && (!forms.register || !encoding.register || random.chance(0.45))
  let addressSize: 32 | 64 = bits
  if (bits === 64 && random.chance(0.06) && encoding.addressSizes === 7) addressSize = 32
  if (encoding.addressSizes === 2) addressSize = 32
  if (encoding.addressSizes === 4) addressSize = 64
  if (encoding.addressSizes === 1 || (addressSize === 64 && bits === 32)) return undefined

  const bytes = memoryBytes(row, width)
  const touches = memory || implicit
  let target = bytes > 32 ? chooseImage(random, bytes) : chooseTarget(random, row, bytes, bits)
  if (addressSize === 32) target &= 0xffff_ffffn
  const offset = 0x100 + random.below(0xc00)
  const rip = at.CODE_GVA + offset
  const lock = row.lock && memory && row.operands[0]?.startsWith('r:') !== true && random.chance(0.2)
  const repeat = row.rep ? random.pick([0, 0xf2, 0xf3]) : 0
  const segment = random.chance(0.04) && !row.op.includes('3E') ? random.between(1, 4) : 0

  // the displacement counts from the end of the instruction, whose length does not depend on it
  const draft = { row, width, bits, memory, addressSize, repeat, lock, segment }
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

  const c = new CaseBuilder(random, bits)
  fillRegisters(c, bits)
  fillFloat(c, row)
  fillMemory(c, row, target, bytes)
  if (memory && made.base >= 0) {
    const width64 = (1n << BigInt(addressSize)) - 1n
    const index = made.index >= 0 ? c.getGpr(made.index) : 0n
    const base = target - made.displacement - (index << BigInt(made.scale))
    // a 32-bit address ignores the upper half of its registers
    const junk = addressSize < bits ? random.u64() & ~width64 : 0n
    c.setGpr(made.base, (base & width64) | junk)
  }
  prepare(c, row, { ...draft, immediates: [] }, made, target)
  if (touches && bytes <= 8 && !memory && implicit) c.poke(target, integer(random), bytes)
  c.request.fill(0xcc, at.REQUEST_CODE, at.REQUEST_CODE + 16)
  c.request.set(made.bytes, at.REQUEST_CODE)
  c.view.setUint32(at.REQUEST_OFFSET, offset, true)
  c.view.setUint32(at.REQUEST_BITS, bits, true)
  return { row, width, seed, bits, length, memory, request: c.request }
}
