/**
 * Shifts and rotates (SDM Vol. 2, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD). Counts are masked to 5 bits (6 for
 * 64-bit operands); a masked count of zero writes the destination back and leaves every flag alone. OF, undefined
 * for counts above one, follows the same formula at every count.
 */
import type { Emit, Semantics, Val } from '../emit.ts'
import type { shiftRows } from '../rows/shift.ts'
import { each, type SemanticsOf } from './semantics-of.ts'

const i32 = (e: Emit, value: number): Val => e.const('i32', value)

/** The masked count, i32. */
function maskedCount(e: Emit, operand: Val): Val {
  return e.let(e.and(e.zext(operand, 'i32'), i32(e, e.width === 64 ? 63 : 31)))
}

/** Bit 0 of a value as i32. */
function bit0(e: Emit, value: Val): Val {
  return e.and(value.ty === 'i64' ? e.trunc(value, 'i32') : e.zext(value, 'i32'), i32(e, 1))
}

/** Widths below 64 shift in i32, where counts up to 31 are legal: extended by zeros, or by the sign for SAR. */
function widen(e: Emit, value: Val, signed: boolean): Val {
  if (e.width >= 32) return value
  return signed ? e.sext(value, 'i32') : e.zext(value, 'i32')
}

const narrow = (e: Emit, value: Val): Val => (e.width >= 32 ? value : e.trunc(value, e.ty))

const shl: Semantics = (e) => {
  const count = maskedCount(e, e.read(1))
  const { old, value } = e.modify(0, (a) => narrow(e, e.shl(widen(e, a, false), count)))
  e.if_(count, () => {
    // bit `width` of the unbounded result; for counts beyond the operand that is zero
    const last =
      e.width >= 32
        ? e.shr(old, e.sub(i32(e, e.width), count))
        : e.shr(e.shl(widen(e, old, false), count), i32(e, e.width))
    const cf = e.let(bit0(e, last))
    e.setFlags({ kind: 'explicit', result: value, cf, of: e.let(e.xor(e.msb(value), cf)) })
  })
}

function shiftRight(signed: boolean): Semantics {
  return (e) => {
    const count = maskedCount(e, e.read(1))
    const shift = signed ? e.sar : e.shr
    const { old, value } = e.modify(0, (a) => narrow(e, shift.call(e, widen(e, a, signed), count)))
    e.if_(count, () => {
      const cf = e.let(bit0(e, shift.call(e, widen(e, old, signed), e.sub(count, i32(e, 1)))))
      e.setFlags({ kind: 'explicit', result: value, cf, of: signed ? i32(e, 0) : e.let(e.msb(old)) })
    })
  }
}

// --- rotates: CF and OF only ---------------------------------------------------------------------------------

function rotate(left: boolean): Semantics {
  return (e) => {
    const count = maskedCount(e, e.read(1))
    const within = e.width >= 32 ? count : e.let(e.and(count, i32(e, e.width - 1)))
    const { value } = e.modify(0, (a) => (left ? e.rotl(a, within) : e.rotr(a, within)))
    e.if_(count, () => {
      const top = e.let(e.msb(value))
      const cf = left ? e.let(bit0(e, value)) : top
      const other = left ? top : bit0(e, e.shr(value, i32(e, e.width - 2)))
      e.setFlagBits({ cf, of: e.let(e.xor(cf, other)) })
    })
  }
}

/**
 * Rotation of width + 1 bits. Up to 32 bits the carry sits above the operand in one i64; for 64 the three parts
 * are put together, with shifts of at most 63.
 */
function rotateCarry(left: boolean): Semantics {
  return (e) => (e.width === 64 ? rotateCarry64(e, left) : rotateCarryNarrow(e, left))
}

function rotateCarryNarrow(e: Emit, left: boolean): void {
  const masked = maskedCount(e, e.read(1))
  const count = e.width === 32 ? masked : e.let(e.remU(masked, i32(e, e.width + 1)))
  const carryIn = e.let(e.shl(e.zext(e.flag('cf'), 'i64'), i32(e, e.width)))
  const rest = e.let(e.sub(i32(e, e.width + 1), count))
  const turn = (a: Val): Val => {
    const x = e.or(e.zext(a, 'i64'), carryIn)
    return left ? e.or(e.shl(x, count), e.shr(x, rest)) : e.or(e.shr(x, count), e.shl(x, rest))
  }
  const { old, value } = e.modify(0, (a) => e.trunc(turn(a), e.ty))
  e.if_(count, () => {
    const cf = e.let(bit0(e, e.shr(turn(old), i32(e, e.width))))
    setRotateCarryFlags(e, left, value, cf)
  })
}

function rotateCarry64(e: Emit, left: boolean): void {
  const count = maskedCount(e, e.read(1))
  const carryIn = e.let(e.zext(e.flag('cf'), 'i64'))
  // count 0 is selected away; 63 & keeps the unused shifts in range
  const before = e.let(e.and(e.sub(count, i32(e, 1)), i32(e, 63)))
  const rest = e.let(e.and(e.sub(i32(e, 64), count), i32(e, 63)))
  const one = i32(e, 1)
  const turned = (a: Val): Val =>
    left
      ? e.or(e.or(e.shl(a, count), e.shl(carryIn, before)), e.shr(e.shr(a, one), rest))
      : e.or(e.or(e.shr(a, count), e.shl(carryIn, rest)), e.shl(e.shl(a, one), rest))
  const { old, value } = e.modify(0, (a) => e.select(count, turned(a), a))
  e.if_(count, () => {
    const out = left ? e.shr(old, rest) : e.shr(old, before)
    setRotateCarryFlags(e, left, value, e.let(bit0(e, out)))
  })
}

function setRotateCarryFlags(e: Emit, left: boolean, value: Val, cf: Val): void {
  const top = e.msb(value)
  const other = left ? cf : bit0(e, e.shr(value, i32(e, e.width - 2)))
  e.setFlagBits({ cf, of: e.let(e.xor(top, other)) })
}

// --- double precision shifts -----------------------------------------------------------------------------------

/** 16-bit operands with counts above 16 are undefined; dst:src:dst is shifted, as processors do. */
function doubleShift16(e: Emit, left: boolean, count: Val): void {
  const fill = e.let(e.zext(e.read(1), 'i64'))
  const joined = (a: Val): Val => {
    const wide = e.zext(a, 'i64')
    return e.or(e.or(e.shl(wide, i32(e, 32)), e.shl(fill, i32(e, 16))), wide)
  }
  const turned = (a: Val): Val =>
    left ? e.shr(e.shl(joined(a), count), i32(e, 32)) : e.shr(joined(a), count)
  const { old, value } = e.modify(0, (a) => e.trunc(turned(a), 'i16'))
  e.if_(count, () => {
    const before = e.sub(count, i32(e, 1))
    const cf = bit0(e, left ? e.shr(e.shl(joined(old), before), i32(e, 47)) : e.shr(joined(old), before))
    setDoubleShiftFlags(e, old, value, e.let(cf))
  })
}

function doubleShift(left: boolean): Semantics {
  return (e) => {
    const count = maskedCount(e, e.read(2))
    if (e.width === 16) return doubleShift16(e, left, count)
    const fill = e.let(e.read(1))
    const rest = e.let(e.and(e.sub(i32(e, e.width), count), i32(e, e.width - 1)))
    const before = e.let(e.and(e.sub(count, i32(e, 1)), i32(e, e.width - 1)))
    const turned = (a: Val): Val =>
      left ? e.or(e.shl(a, count), e.shr(fill, rest)) : e.or(e.shr(a, count), e.shl(fill, rest))
    const { old, value } = e.modify(0, (a) => e.select(count, turned(a), a))
    e.if_(count, () => {
      const cf = e.let(bit0(e, left ? e.shr(old, rest) : e.shr(old, before)))
      setDoubleShiftFlags(e, old, value, cf)
    })
  }
}

/** OF: the sign changed. */
function setDoubleShiftFlags(e: Emit, old: Val, value: Val, cf: Val): void {
  e.setFlags({ kind: 'explicit', result: value, cf, of: e.let(e.xor(e.msb(old), e.msb(value))) })
}

// --- BMI2: no flags --------------------------------------------------------------------------------------------

function shiftX(operation: 'shl' | 'shr' | 'sar'): Semantics {
  return (e) => {
    const low = e.read(2)
    const count = e.and(e.ty === 'i64' ? e.trunc(low, 'i32') : low, i32(e, e.width - 1))
    e.write(0, e[operation](e.read(1), e.let(count)))
  }
}

const rorx: Semantics = (e) =>
  e.write(0, e.rotr(e.read(1), e.and(e.zext(e.read(2), 'i32'), i32(e, e.width - 1))))

const FORMS = ['rm8_imm8', 'rmv_imm8', 'rm8_1', 'rmv_1', 'rm8_cl', 'rmv_cl'] as const

function group<Name extends string>(
  name: Name,
  semantics: Semantics,
): Record<`${Name}_${(typeof FORMS)[number]}`, Semantics> {
  return each(
    FORMS.map((form) => `${name}_${form}` as const),
    semantics,
  )
}

export const shiftSemantics: SemanticsOf<typeof shiftRows> = {
  ...group('rol', rotate(true)),
  ...group('ror', rotate(false)),
  ...group('rcl', rotateCarry(true)),
  ...group('rcr', rotateCarry(false)),
  ...group('shl', shl),
  ...group('shl6', shl),
  ...group('shr', shiftRight(false)),
  ...group('sar', shiftRight(true)),
  ...each(['shld_rmv_rv_imm8', 'shld_rmv_rv_cl'], doubleShift(true)),
  ...each(['shrd_rmv_rv_imm8', 'shrd_rmv_rv_cl'], doubleShift(false)),
  sarx_ry_rmy_vy: shiftX('sar'),
  shlx_ry_rmy_vy: shiftX('shl'),
  shrx_ry_rmy_vy: shiftX('shr'),
  rorx_ry_rmy_imm8: rorx,
}
