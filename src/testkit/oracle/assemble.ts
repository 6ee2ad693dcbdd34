/**
 * Random encodings of a row: registers, addressing modes and redundant prefixes are chosen freely, as far as the
 * row and the code size allow. The caller fixes where a memory operand shall lie; base and index registers are then set
 * so that it does.
 */
import { encodingOf, isVsib, PREFIX_66, PREFIX_F2, PREFIX_F3 } from '#isa/opcode.ts'
import { placeOf, type Row } from '#isa/row.ts'
import { codeSizeOf, DS, SEGMENT_PREFIXES, segmentBase, SS, type Mode } from './modes.ts'
import type { Random } from './random.ts'

export interface Shape {
  readonly row: Row
  readonly width: Row['widths'][number]
  readonly mode: Mode
  readonly memory: boolean
  /** Immediate operand bytes by operand size, little endian value. */
  readonly immediates: readonly { readonly bytes: number; readonly value: bigint }[]
  readonly addressSize: 16 | 32 | 64
  /** F2 or F3 in front of a string instruction, 0 = none. */
  readonly repeat: number
  readonly lock: boolean
  /** SEG_* number of a segment prefix, -1 = none. */
  readonly segment: number
}

export interface Assembled {
  readonly bytes: Uint8Array
  /** Registers of the address: set base, then index. -1 = none. */
  readonly base: number
  readonly index: number
  /** Vector register that holds the indexes of a gather; -1 = none. */
  readonly vectorIndex: number
  readonly scale: number
  /** Sign-extended; for a RIP-relative or absolute operand already the right one. */
  readonly displacement: bigint
  /** Effective address that the registers have to give. */
  readonly offset: bigint
  readonly reg: number
  readonly rm: number
  readonly vvvv: number
  readonly opcodeRegister: number
}

interface Modrm {
  readonly mod: number
  readonly rm: number
  readonly sib: number
  readonly displacementBytes: number
  readonly displacement: bigint
  readonly offset: bigint
  readonly base: number
  readonly index: number
  readonly vectorIndex?: number
  readonly scale: number
  readonly ripRelative: boolean
}

const firstOf = (mask: number): number => 31 - Math.clz32(mask & -mask)

function registerForm(random: Random, rmMask: number, high: boolean): Modrm {
  const rm = rmMask === 0xff ? random.below(high ? 16 : 8) : firstOf(rmMask)
  return {
    mod: 3,
    rm,
    sib: -1,
    displacementBytes: 0,
    displacement: 0n,
    offset: 0n,
    base: -1,
    index: -1,
    scale: 0,
    ripRelative: false,
  }
}

/** Offset of a linear address in the segment that an operand with this default uses. */
export function offsetIn(
  shape: { readonly mode: Mode; readonly segment: number; readonly addressSize: number },
  fallback: number,
  linear: bigint,
): bigint {
  const base = segmentBase(shape.mode, shape.segment >= 0 ? shape.segment : fallback)
  return BigInt.asUintN(shape.addressSize, linear - base)
}

const BX = 3
const BP = 5
const SI = 6
const DI = 7
/** Base and index of the 16-bit addressing modes by ModRM.rm; 6 is an absolute address with mod 0. */
const ADDRESS16 = [[BX, SI], [BX, DI], [BP, SI], [BP, DI], [SI, -1], [DI, -1], [BP, -1], [BX, -1]] as const // prettier-ignore

function memoryForm16(random: Random, shape: Shape, linear: bigint): Modrm {
  const none = { sib: -1, scale: 0, ripRelative: false }
  const mod = random.below(3)
  const rm = random.below(8)
  if (mod === 0 && rm === 6) {
    const offset = offsetIn(shape, DS, linear)
    return { ...none, mod, rm, displacementBytes: 2, displacement: offset, offset, base: -1, index: -1 }
  }
  const [base, index] = ADDRESS16[rm] ?? [SI, -1]
  const displacement =
    mod === 0 ? 0n : mod === 1 ? BigInt(random.between(-128, 127)) : BigInt(random.below(0x1_0000))
  const offset = offsetIn(shape, base === BP ? SS : DS, linear)
  return { ...none, mod, rm, displacementBytes: mod, displacement, offset, base, index }
}

/** A memory operand at `linear`; registers 0-15 (0-7 outside of 64-bit code). */
function memoryForm(random: Random, shape: Shape, linear: bigint): Modrm {
  if (shape.addressSize === 16) return memoryForm16(random, shape, linear)
  const long = shape.mode === 64
  const limit = long ? 16 : 8
  const none = { sib: -1, index: -1, scale: 0, ripRelative: false }
  const absolute = offsetIn(shape, DS, linear)
  const signed = BigInt.asIntN(64, absolute)
  const reachable = shape.addressSize === 32 || (signed >= -0x8000_0000n && signed < 0x8000_0000n)
  const kind = random.below(10)
  const fixed = { ...none, mod: 0, displacementBytes: 4, displacement: signed, offset: absolute, base: -1 }
  // absolute: in 64-bit code through a SIB byte without base and index
  if (kind === 0 && reachable) return long ? { ...fixed, rm: 4, sib: 0x25 } : { ...fixed, rm: 5 }
  if (kind === 1 && long && reachable) return { ...fixed, rm: 5, ripRelative: true }
  const displacementBytes = random.pick([0, 1, 1, 4])
  const displacement =
    displacementBytes === 0
      ? 0n
      : displacementBytes === 1
        ? BigInt(random.between(-128, 127))
        : BigInt(random.bits() | 0)
  const mod = displacementBytes === 0 ? 0 : displacementBytes === 1 ? 1 : 2
  let base = random.below(limit)
  if (mod === 0 && (base & 7) === 5) base ^= 1
  const offset = offsetIn(shape, base === 4 || base === 5 ? SS : DS, linear)
  const common = { mod, displacementBytes, displacement, offset, base, ripRelative: false }
  if (kind < 6) return { ...none, ...common, rm: base, sib: (base & 7) === 4 ? 0x24 : -1 }
  let index = random.below(limit)
  if (index === 4 || index === base)
    index = (base + 1) % limit === 4 ? (base + 2) % limit : (base + 1) % limit
  const scale = random.below(4)
  return { ...common, rm: 4, sib: (scale << 6) | ((index & 7) << 3) | (base & 7), index, scale }
}

/** base + vector * scale + displacement: only the base can be aimed. */
function vectorForm(random: Random, shape: Shape, linear: bigint): Modrm {
  const limit = shape.mode === 64 ? 16 : 8
  const base = random.below(limit)
  const vectorIndex = random.below(limit)
  const scale = random.below(4)
  const short = random.chance(0.5)
  const displacement = BigInt(short ? random.between(-128, 127) : random.bits() | 0)
  return {
    mod: short ? 1 : 2,
    rm: 4,
    sib: (scale << 6) | ((vectorIndex & 7) << 3) | (base & 7),
    displacementBytes: short ? 1 : 4,
    displacement,
    offset: offsetIn(shape, base === 4 || base === 5 ? SS : DS, linear),
    base,
    index: -1,
    vectorIndex,
    scale,
    ripRelative: false,
  }
}

function pushLittle(out: number[], value: bigint, bytes: number): void {
  for (let i = 0; i < bytes; i++) out.push(Number((value >> BigInt(8 * i)) & 0xffn))
}

/** Whether the operand size needs 66 or REX.W. */
function sizePrefixes(shape: Shape): { readonly operandSize: boolean; readonly w: boolean } {
  const { row, width } = shape
  const several = row.widths.length > 1
  if (!several) return { operandSize: false, w: false }
  if (width === 64) return { operandSize: false, w: row.osize === 'rex' }
  // a row without a 16-bit form does not look at 66
  if (!row.widths.includes(16)) return { operandSize: false, w: false }
  return { operandSize: width !== (codeSizeOf(shape.mode) === 16 ? 16 : 32), w: false }
}

/** `target` is the linear address of the memory operand; `rip` the address of the instruction. */
export function assemble(random: Random, shape: Shape, target: bigint, rip: number): Assembled {
  const { row } = shape
  const bits = codeSizeOf(shape.mode)
  const encoding = encodingOf(row)
  const vex = encoding.map >= 4
  const long = bits === 64
  const places = row.operands.map(placeOf)
  const sizes = sizePrefixes(shape)

  const regFixed = encoding.reg !== 0xff
  let reg = regFixed ? firstOf(encoding.reg) : random.below(long ? 16 : 8)
  if (places.includes('mm_r') || places.includes('sreg')) reg &= 7
  let modrm: Modrm | undefined
  if (encoding.modrm)
    modrm = places.some(isVsib)
      ? vectorForm(random, shape, target)
      : shape.memory
        ? memoryForm(random, shape, target)
        : registerForm(random, encoding.rm, long)
  if (modrm && modrm.mod === 3 && places.some((place) => /^mm(_m\d+)?$/.test(place)))
    modrm = { ...modrm, rm: modrm.rm & 7 }

  const spread = encoding.lastOpcode - encoding.opcode
  let opcodeRegister = -1
  let opcode = encoding.opcode
  if (spread > 0) {
    const low = (encoding.opcode & 7) + random.below(spread + 1)
    opcode = (encoding.opcode & ~7) | low
    opcodeRegister = low | (long && random.chance(0.5) ? 8 : 0)
  }

  let w = sizes.w || (encoding.w === 2 && (long || vex))
  if (encoding.w === 3 && row.widths.length === 1 && long && row.widths[0] === 0 && random.chance(0.1))
    w = true
  if (vex && encoding.w === 3) w = row.widths.length > 1 ? shape.width === 64 : random.chance(0.3)
  if (encoding.w === 1) w = false

  const head: number[] = []
  const segmentPrefix = SEGMENT_PREFIXES[shape.segment]
  if (segmentPrefix !== undefined) head.push(segmentPrefix)
  if (shape.addressSize !== bits) head.push(0x67)
  if (shape.lock) head.push(0xf0)
  if (sizes.operandSize && !vex) head.push(0x66)
  if (!vex) {
    // only one class is accepted where a prefix is mandatory
    if (encoding.prefixes === PREFIX_66 && !sizes.operandSize) head.push(0x66)
    if (encoding.prefixes === PREFIX_F3) head.push(0xf3)
    if (encoding.prefixes === PREFIX_F2) head.push(0xf2)
    if (shape.repeat) head.push(shape.repeat)
  }
  // legacy prefixes come in any order
  for (let i = head.length - 1; i > 0; i--) {
    const j = random.below(i + 1)
    const swapped = head[i] ?? 0
    head[i] = head[j] ?? 0
    head[j] = swapped
  }

  const baseHigh = modrm
    ? modrm.mod === 3
      ? modrm.rm >> 3
      : modrm.base < 0
        ? 0
        : modrm.base >> 3
    : opcodeRegister < 0
      ? 0
      : opcodeRegister >> 3
  const indexHigh = modrm ? Math.max(modrm.index, modrm.vectorIndex ?? 0, 0) >> 3 : 0
  const regHigh = regFixed ? 0 : reg >> 3
  let b = baseHigh
  if (encoding.b === 1) b = 0
  if (encoding.b === 2) b = 1
  let vvvv = 0
  const out = [...head]
  if (vex) {
    if (places.some((place) => /^(v(32|64|y)|[xy]mm_v)$/.test(place))) vvvv = random.below(long ? 16 : 8)
    const pp =
      encoding.prefixes === PREFIX_66
        ? 1
        : encoding.prefixes === PREFIX_F3
          ? 2
          : encoding.prefixes === PREFIX_F2
            ? 3
            : 0
    const l = encoding.l === 3 ? random.below(2) : encoding.l === 2 ? 1 : 0
    const tail = (w ? 0x80 : 0) | ((~vvvv & 15) << 3) | (l << 2) | pp
    if (encoding.map === 4 && !indexHigh && !b && !w && random.chance(0.5)) {
      out.push(0xc5, (regHigh ? 0 : 0x80) | (tail & 0x7f))
    } else {
      out.push(
        0xc4,
        (regHigh ? 0 : 0x80) | (indexHigh ? 0 : 0x40) | (b ? 0 : 0x20) | (encoding.map - 3),
        tail,
      )
    }
  } else {
    const wanted = (w ? 8 : 0) | (regHigh << 2) | (indexHigh << 1) | b
    // a REX prefix that changes no bit still turns AH..BH into SPL..DIL
    if (long && (wanted !== 0 || random.chance(0.2))) out.push(0x40 | wanted)
    if (encoding.map >= 1) out.push(0x0f)
    if (encoding.map === 2) out.push(0x38)
    if (encoding.map === 3) out.push(0x3a)
  }
  out.push(opcode)
  let ripFix = -1
  if (modrm) {
    out.push((modrm.mod << 6) | ((reg & 7) << 3) | (modrm.rm & 7))
    if (modrm.sib >= 0) out.push(modrm.sib)
    if (modrm.ripRelative) ripFix = out.length
    pushLittle(out, modrm.displacement, modrm.displacementBytes)
  }
  for (const { bytes, value } of shape.immediates) pushLittle(out, value, bytes)
  if (ripFix >= 0) {
    const relative = BigInt.asIntN(32, (modrm?.offset ?? 0n) - BigInt(rip + out.length))
    const fixed: number[] = []
    pushLittle(fixed, relative, 4)
    for (let i = 0; i < 4; i++) out[ripFix + i] = fixed[i] ?? 0
  }
  return {
    bytes: Uint8Array.from(out),
    base: modrm?.base ?? -1,
    index: modrm?.index ?? -1,
    vectorIndex: modrm?.vectorIndex ?? -1,
    scale: modrm?.scale ?? 0,
    displacement: modrm?.displacement ?? 0n,
    offset: modrm?.offset ?? offsetIn(shape, DS, target),
    reg: reg | 0,
    rm: modrm && modrm.mod === 3 ? modrm.rm : -1,
    vvvv,
    opcodeRegister,
  }
}
