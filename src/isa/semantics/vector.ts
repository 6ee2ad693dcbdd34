/**
 * Operand access and availability gates shared by x87, MMX and SSE semantics.
 *
 * Order inside an instruction: gate, operands that can fault (alignment before the access), computation that can
 * fault (#XM), then registers. A gate is one load and one branch; the kernel decides which fault it is.
 */
import { CPU_CR0, CPU_CR4, CPU_X87_SW, CPU_X87_TAG, CPU_X87_TOP } from '#abi/layout.ts'
import type { Emit, Val } from '../emit.ts'

const CR0_EM_TS = 0x0c
const CR4_OSFXSR = 0x200
const X87_ES = 0x80

export const FAMILY_X87 = 0
export const FAMILY_MMX = 1
export const FAMILY_SSE = 2

export const i32 = (e: Emit, value: number): Val => e.const('i32', value)
export const i64 = (e: Emit, value: number | bigint): Val => e.const('i64', value)

const blocked = (e: Emit): Val => e.and(e.getCpu('i32', CPU_CR0), i32(e, CR0_EM_TS))

const pending = (e: Emit): Val => e.and(e.zext(e.getCpu('i16', CPU_X87_SW), 'i32'), i32(e, X87_ES))

/** Raises what makes a family unavailable: gateSse, or gateAvx for the VEX forms of the same instruction. */
export type Gate = (e: Emit) => void

/** #UD or #NM of SSE: CR0.EM, CR4.OSFXSR, CR0.TS. */
export function gateSse(e: Emit): void {
  const osfxsr = e.and(e.getCpu('i32', CPU_CR4), i32(e, CR4_OSFXSR))
  e.if_(e.or(blocked(e), e.xor(osfxsr, i32(e, CR4_OSFXSR))), () => e.call('fpu_check', [i32(e, FAMILY_SSE)]))
}

/** #UD, #NM, then the #MF that an earlier x87 instruction left pending. */
export function gateMmx(e: Emit): void {
  e.if_(e.or(blocked(e), pending(e)), () => {
    e.call('fpu_check', [i32(e, FAMILY_MMX)])
    e.call('x87_wait', [])
  })
}

/** #NM of x87; for a waiting instruction also the #MF that an earlier one left pending. */
export function gateX87(e: Emit, waiting: boolean): void {
  e.if_(waiting ? e.or(blocked(e), pending(e)) : blocked(e), () => {
    e.call('fpu_check', [i32(e, FAMILY_X87)])
    if (waiting) e.call('x87_wait', [])
  })
}

/** Every MMX instruction but EMMS marks the whole register file valid and TOP 0 (SDM Vol. 1, 9.6.2). */
export function enterMmx(e: Emit): void {
  e.setCpu(CPU_X87_TOP, i32(e, 0))
  e.setCpu(CPU_X87_TAG, i32(e, 0xff))
}

/** Writes an MMX register: the exponent of the aliased x87 register becomes all ones. */
export function writeMm(e: Emit, i: number, value: Val): void {
  enterMmx(e)
  e.write(i, value)
  e.storeAt(e.addressOf(i), e.const('i16', 0xffff), 8)
}

/** A wasm v128 operator. */
export const v = (e: Emit, name: string, ...args: readonly Val[]): Val => e.op(name, 'v128', args)
export const shuffle = (e: Emit, a: Val, b: Val, lanes: readonly number[]): Val =>
  e.op('i8x16.shuffle', 'v128', [a, b], lanes)

/** v128 constant from 16 bytes, lowest first. */
export const vconst = (e: Emit, bytes: readonly number[]): Val => e.op('v128.const', 'v128', [], bytes)

/** v128 constant from lanes of `bits` bits, lowest first, repeated until 128 bits are full. */
export function lanes(e: Emit, bits: 8 | 16 | 32 | 64, values: readonly (number | bigint)[]): Val {
  return vconst(
    e,
    Array.from({ length: 16 }, (_, i) => {
      const value = BigInt(values[Math.floor((i * 8) / bits) % values.length] ?? 0)
      return Number((BigInt.asUintN(bits, value) >> BigInt((i * 8) % bits)) & 0xffn)
    }),
  )
}

export const low64 = (e: Emit, vector: Val): Val => e.op('i64x2.extract_lane', 'i64', [vector], [0])
export const low32 = (e: Emit, vector: Val): Val => e.op('i32x4.extract_lane', 'i32', [vector], [0])
export const splat64 = (e: Emit, value: Val): Val => e.op('i64x2.splat', 'v128', [value])
/** Low lane set, the rest zero. */
export const only64 = (e: Emit, value: Val): Val =>
  e.op('i64x2.replace_lane', 'v128', [lanes(e, 64, [0]), value], [0])
export const only32 = (e: Emit, value: Val): Val =>
  e.op('i32x4.replace_lane', 'v128', [lanes(e, 64, [0]), value], [0])

/** Immediate operand as i32. */
export const imm = (e: Emit, i: number): Val => e.let(e.zext(e.read(i), 'i32'))

/** #GP(0) unless gva is a multiple of the operand's size. */
export function checkAligned(e: Emit, gva: Val, bytes: 16 | 32 = 16): void {
  e.raiseIf(e.and(e.trunc(gva, 'i32'), i32(e, bytes - 1)), 'GP', 0)
}

/** xmm_m128 or m128 operand. */
export function read128(e: Emit, i: number, aligned = true): Val {
  if (!e.isMemory(i)) return e.read(i)
  const gva = e.linear(16, false)
  if (aligned) checkAligned(e, gva)
  return e.load('v128', gva)
}

export function write128(e: Emit, i: number, value: Val, aligned = true): void {
  if (!e.isMemory(i)) {
    e.write(i, value)
    return
  }
  const gva = e.linear(16, true)
  if (aligned) checkAligned(e, gva)
  e.store(gva, value)
}

/** Address of the register operand, or of a copy of the memory operand in a scratch slot. */
export function sourceAddress(e: Emit, i: number, slot = 0): Val {
  if (!e.isMemory(i)) return e.addressOf(i)
  return spill(e, e.read(i), slot)
}

/** As sourceAddress for 16 bytes, with the alignment check. */
export function sourceAddress128(e: Emit, i: number, slot = 0, aligned = true): Val {
  if (!e.isMemory(i)) return e.addressOf(i)
  return spill(e, read128(e, i, aligned), slot)
}

export function spill(e: Emit, value: Val, slot = 0): Val {
  const address = e.scratch(slot)
  e.storeAt(address, value)
  return address
}

/** Reads an MMX operand (register, m64, or m32 zero-extended) as the low half of a v128. */
export function readMm(e: Emit, i: number): Val {
  return splat64(e, e.zext(e.read(i), 'i64'))
}

/** A kernel function that returns a value. */
export function callValue(e: Emit, name: string, args: readonly Val[]): Val {
  const value = e.call(name, args)
  if (value === undefined) throw new Error(`${name} returns nothing`)
  return value
}
