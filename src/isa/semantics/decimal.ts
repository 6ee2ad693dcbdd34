/** BCD adjustment (SDM Vol. 2, DAA, DAS, AAA, AAS, AAM, AAD), from the manual's pseudocode. */
import type { Emit, Semantics, Val } from '../emit.ts'

/** Bit as i8 0/1. */
const asByte = (e: Emit, bit: Val): Val => e.trunc(bit, 'i8')

/** Low digit above 9, or AF: i32 0/1. */
function adjustLow(e: Emit, al: Val): Val {
  const above = e.ltU(e.const('i8', 9), e.and(al, e.const('i8', 15)))
  return e.let(e.or(above, e.flag('af')))
}

function decimal(add: boolean): Semantics {
  return (e) => {
    const al = e.let(e.reg('rax', 'i8'))
    const oldCarry = e.let(e.flag('cf'))
    const low = adjustLow(e, al)
    const high = e.let(e.or(e.ltU(e.const('i8', 0x99), al), oldCarry))
    const correction = e.or(
      e.mul(asByte(e, low), e.const('i8', 6)),
      e.mul(asByte(e, high), e.const('i8', 0x60)),
    )
    const value = e.let(add ? e.add(al, correction) : e.sub(al, correction))
    e.setReg('rax', value)
    // DAS: the borrow of the low adjustment counts too (AL below 6 with AF set)
    const borrow = add ? high : e.or(high, e.and(low, e.ltU(al, e.const('i8', 6))))
    e.setFlags({ kind: 'explicit', result: value, cf: e.let(borrow), of: e.const('i32', 0), af: low })
  }
}

export const daa = decimal(true)
export const das = decimal(false)

/** AX +- 0x106, then the high digit of AL is dropped. */
function ascii(add: boolean): Semantics {
  return (e) => {
    const ax = e.let(e.reg('rax', 'i16'))
    const adjust = adjustLow(e, e.let(e.reg('rax', 'i8')))
    const correction = e.mul(e.trunc(adjust, 'i16'), e.const('i16', 0x106))
    const value = e.let(add ? e.add(ax, correction) : e.sub(ax, correction))
    e.setReg('rax', e.and(value, e.const('i16', 0xff0f)))
    const al = e.let(e.and(e.trunc(value, 'i8'), e.const('i8', 15)))
    e.setFlags({ kind: 'explicit', result: al, cf: adjust, of: e.const('i32', 0), af: adjust })
  }
}

export const aaa = ascii(true)
export const aas = ascii(false)

export const aam: Semantics = (e) => {
  const base = e.let(e.read(0))
  e.raiseIf(e.isZero(base), 'DE')
  const al = e.let(e.reg('rax', 'i8'))
  const rest = e.let(e.remU(al, base))
  e.setRegHigh('rax', e.divU(al, base))
  e.setReg('rax', rest)
  e.setFlags({ kind: 'explicit', result: rest, cf: e.const('i32', 0), of: e.const('i32', 0) })
}

export const aad: Semantics = (e) => {
  const value = e.let(e.add(e.reg('rax', 'i8'), e.mul(e.regHigh('rax'), e.read(0))))
  e.setReg('rax', e.zext(value, 'i16'))
  e.setFlags({ kind: 'explicit', result: value, cf: e.const('i32', 0), of: e.const('i32', 0) })
}
