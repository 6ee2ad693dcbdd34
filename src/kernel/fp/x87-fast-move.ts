/**
 * x87 moves of ordinary numbers, nothing pending; results and status as in x87-move.ts, to which every function here leaves the rest by
 * returning false.
 */
import { CPU_X87, CPU_X87_CW, CPU_X87_STORE, CPU_X87_SW, CPU_X87_TAG, CPU_X87_TOP } from '../../abi/layout.ts'
import { cpu } from '../state.ts'
import { PE, RN, RZ } from './env.ts'
import { J_BIT } from './operand.ts'
import { SW_C1 } from './x87-state.ts'
import {
  NEITHER, TOP_EXPONENT, clearC1, fastPop, hasError, isNormal, put, se32, se64, seOf, sig32, sig64, sigOf, slotOf,
} from './x87-fast.ts'

/** Pushes what needs no flag but C1 = 0. */
export function fastPush(sig: u64, se: u32): bool {
  const c = cpu
  const top = (load<u32>(c, CPU_X87_TOP) + 7) & 7
  const tag = load<u32>(c, CPU_X87_TAG)
  const bit = (<u32>1) << top
  if (tag & bit || hasError(c)) return false
  clearC1(c)
  put(slotOf(c, top), sig, se)
  store<u32>(c, tag | bit, CPU_X87_TAG)
  store<u32>(c, top, CPU_X87_TOP)
  return true
}

export function fastPush64(bits: u64): bool {
  const se = se64(bits)
  return se == NEITHER ? false : fastPush(sig64(bits), se)
}

export function fastPush32(bits: u32): bool {
  const se = se32(bits)
  return se == NEITHER ? false : fastPush(sig32(bits), se)
}

export function fastPushInteger(value: i64): bool {
  if (value == 0) return fastPush(0, 0)
  const size = value < 0 ? 0 - <u64>value : <u64>value
  const shift = clz(size)
  return fastPush(size << shift, (value < 0 ? 0x8000 : 0) | (16383 + 63 - <u32>shift))
}

/** FLD ST(i): any value at all. */
export function fastDuplicate(st: u32): bool {
  const c = cpu
  const s = (load<u32>(c, CPU_X87_TOP) + st) & 7
  if (!((load<u32>(c, CPU_X87_TAG) >> s) & 1)) return false
  const slot = slotOf(c, s)
  return fastPush(sigOf(slot), seOf(slot))
}

/** FXCH */
export function fastExchange(st: u32): bool {
  const c = cpu
  const top = load<u32>(c, CPU_X87_TOP)
  const s = (top + st) & 7
  const tag = load<u32>(c, CPU_X87_TAG)
  if (!((tag >> top) & (tag >> s) & 1) || hasError(c)) return false
  const a = slotOf(c, top)
  const b = slotOf(c, s)
  const sig = sigOf(a)
  const se = seOf(a)
  put(a, sigOf(b), seOf(b))
  put(b, sig, se)
  clearC1(c)
  return true
}

/** FST, FSTP ST(i) */
export function fastCopy(st: u32, pop: u32): bool {
  const c = cpu
  const top = load<u32>(c, CPU_X87_TOP)
  const d = (top + st) & 7
  let tag = load<u32>(c, CPU_X87_TAG)
  if (!((tag >> top) & 1) || hasError(c)) return false
  const from = slotOf(c, top)
  put(slotOf(c, d), sigOf(from), seOf(from))
  clearC1(c)
  tag |= (<u32>1) << d
  store<u32>(c, tag, CPU_X87_TAG)
  if (pop) fastPop(c, top, tag)
  return true
}

/** FCHS, FABS: the sign of ST(0) becomes (sign & keep) ^ flip. */
export function fastSign(keep: u32, flip: u32): bool {
  const c = cpu
  const top = load<u32>(c, CPU_X87_TOP)
  if (!((load<u32>(c, CPU_X87_TAG) >> top) & 1) || hasError(c)) return false
  const slot = slotOf(c, top)
  store<u16>(slot, <u16>((seOf(slot) & keep) ^ flip), CPU_X87 + 8)
  clearC1(c)
  return true
}


// Stores. CPU_X87_STORE says how they went: bit 0 the value goes out, bit 1 it was computed here, then PE and C1 as in the status word.
const STORE_WANTED: u32 = 1
const STORE_FAST: u32 = 2
const CW_PM: u32 = 0x20

/** Address of ST(0) if it is in use, PE is masked and nothing is pending, else 0. */
function storable(): usize {
  const c = cpu
  store<u32>(c, 0, CPU_X87_STORE)
  const top = load<u32>(c, CPU_X87_TOP)
  if (!((load<u32>(c, CPU_X87_TAG) >> top) & 1) || hasError(c) || !(load<u16>(c, CPU_X87_CW) & CW_PM)) return 0
  return slotOf(c, top)
}

function note(inexact: bool, up: bool): void {
  store<u32>(cpu, STORE_WANTED | STORE_FAST | (inexact ? PE : 0) | (up ? SW_C1 : 0), CPU_X87_STORE)
}

/** Whether the last fastStore* computed what it returned. */
export function fastStored(): bool {
  return (load<u32>(cpu, CPU_X87_STORE) & STORE_FAST) != 0
}

/** Second half of a fast store. */
export function fastCommit(pops: u32): bool {
  const c = cpu
  const word = load<u32>(c, CPU_X87_STORE)
  if (!(word & STORE_FAST)) return false
  store<u16>(c, <u16>((<u32>load<u16>(c, CPU_X87_SW) & ~SW_C1) | (word & (PE | SW_C1))), CPU_X87_SW)
  if (pops) fastPop(c, load<u32>(c, CPU_X87_TOP), load<u32>(c, CPU_X87_TAG))
  return true
}

function roundingOf(c: usize): u32 {
  return (<u32>load<u16>(c, CPU_X87_CW) >> 10) & 3
}

export function fastStore64(): u64 {
  const slot = storable()
  if (slot == 0 || roundingOf(cpu) != RN) return 0
  const sig = sigOf(slot)
  const se = seOf(slot)
  const sign = <u64>(se & 0x8000) << 48
  const field = (se & TOP_EXPONENT) - (16383 - 1023)
  if (field - 1 >= 0x7fd || <i64>sig >= 0) {
    if (sig == 0 && (se & TOP_EXPONENT) == 0) note(false, false)
    return sign
  }
  const tail = sig & 0x7ff
  const up = tail > 0x400 || (tail == 0x400 && (sig & 0x800) != 0)
  note(tail != 0, up)
  return sign + (<u64>(field - 1) << 52) + (sig >> 11) + u64(up)
}

export function fastStore32(): u32 {
  const slot = storable()
  if (slot == 0 || roundingOf(cpu) != RN) return 0
  const sig = sigOf(slot)
  const se = seOf(slot)
  const sign = (se & 0x8000) << 16
  const field = (se & TOP_EXPONENT) - (16383 - 127)
  if (field - 1 >= 0xfd || <i64>sig >= 0) {
    if (sig == 0 && (se & TOP_EXPONENT) == 0) note(false, false)
    return sign
  }
  const tail = sig & 0xff_ffff_ffff
  const half: u64 = 0x80_0000_0000
  const up = tail > half || (tail == half && (sig & (half << 1)) != 0)
  note(tail != 0, up)
  return sign + ((field - 1) << 23) + <u32>(sig >> 40) + u32(up)
}

/** As x87_store_int, for values in range, RC nearest or towards zero. */
export function fastStoreInteger(width: i32, truncate: u32): i64 {
  const slot = storable()
  if (slot == 0) return 0
  const mode = truncate ? RZ : roundingOf(cpu)
  const sig = sigOf(slot)
  const se = seOf(slot)
  if (!isNormal(sig, se)) {
    if (sig == 0 && (se & TOP_EXPONENT) == 0) note(false, false)
    return 0
  }
  const exp = <i32>(se & TOP_EXPONENT) - 16383
  if (exp >= width - 1 || (mode != RN && mode != RZ)) return 0
  // what lies behind the point, its first bit at the top
  const rest = exp >= 0 ? sig << <u64>(exp + 1) : exp == -1 ? sig : 1
  let size = exp >= 0 ? sig >> <u64>(63 - exp) : 0
  const up = mode == RN && (rest > J_BIT || (rest == J_BIT && (size & 1) != 0))
  size += u64(up)
  if (size >> <u64>(width - 1)) return 0
  note(rest != 0, up)
  return se & 0x8000 ? 0 - <i64>size : <i64>size
}

export function fastStore80(): u64 {
  const slot = storable()
  if (slot == 0) return 0
  store<u32>(cpu, STORE_WANTED | STORE_FAST | (seOf(slot) << 16), CPU_X87_STORE)
  return sigOf(slot)
}
