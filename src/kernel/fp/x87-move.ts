/**
 * x87 loads, stores and register moves. SDM Vol. 2: FLD, FILD, FBLD, FLD1 family, FST, FIST, FISTTP, FBSTP, FXCH,
 * FCMOVcc, FFREE, FINCSTP, FDECSTP, FCHS, FABS.
 *
 * A store to memory has two halves, because the memory access may fault between them: x87_store_* computes the value
 * and leaves status and stack alone, x87_store_commit writes flags and pops.
 */
import { IE, DE, OE, UE, PE, ZE, RN, RD, RU, RZ, flags, masks, rm, setFlags, setRoundedUp, setRounding } from './env.ts'
import {
  CLS_DENORMAL, CLS_INF, CLS_QNAN, CLS_ZERO, J_BIT, aCls, aExp, aFromF32, aFromF64, aFromF80, aFromI64, aFromMagnitude, aSig, aSign,
} from './operand.ts'
import { packF32, packF64, packF80, setFinite, setInf, setZero, zSe, zSig } from './round.ts'
import { CPU_X87_STORE } from '../../abi/layout.ts'
import { cpu } from '../state.ts'
import { nanUnary } from './nan.ts'
import {
  fastCommit, fastCopy, fastDuplicate, fastExchange, fastPush, fastPush32, fastPush64, fastPushInteger, fastSign, fastStore32, fastStore64,
  fastStore80, fastStored, fastStoreInteger,
} from './x87-fast-move.ts'
import { decodeBcd, encodeBcd, toBcdMagnitude, toInteger } from './convert.ts'
import {
  INDEFINITE_SE, INDEFINITE_SIG, aFromSt, freeSt, isEmpty, moveTop, noteOverflow, noteUnderflow, popStack, pushStack, setSt,
  setStatus, statusWord, stSe, stSig, underflow, x87Begin, x87Commit, setConditions, SW_C1,
} from './x87-state.ts'

/** A as it is. */
function same(): u32 {
  if (aCls >= CLS_QNAN) return nanUnary()
  if (aCls == CLS_ZERO) return setZero(aSign)
  if (aCls == CLS_INF) return setInf(aSign)
  return setFinite(aSign, aExp, aSig, 0)
}

/** Pushes (sig, se) after the checks of every load. */
function push(sig: u64, se: u32): void {
  if (!isEmpty(7)) {
    noteOverflow()
    sig = INDEFINITE_SIG
    se = INDEFINITE_SE
  }
  if (x87Commit()) pushStack(sig, se)
}

/** Pushes A, which came from a shorter format. */
function pushA(): void {
  if (!isEmpty(7)) {
    push(0, 0)
    return
  }
  packF80(same(), 64)
  if (!x87Commit()) return
  pushStack(zSig, zSe)
  if (aCls == CLS_DENORMAL) setStatus(statusWord() | DE) // even unmasked, the value has been pushed
}

export function x87_fld_st(st: u32): void {
  if (fastDuplicate(st)) return
  x87Begin()
  if (isEmpty(st)) {
    noteUnderflow()
    if (x87Commit()) pushStack(INDEFINITE_SIG, INDEFINITE_SE)
    return
  }
  push(stSig(st), stSe(st))
}

export function x87_fld_f32(bits: u32): void {
  if (fastPush32(bits)) return
  x87Begin()
  aFromF32(bits)
  pushA()
}

export function x87_fld_f64(bits: u64): void {
  if (fastPush64(bits)) return
  x87Begin()
  aFromF64(bits)
  pushA()
}

export function x87_fld_f80(sig: u64, se: u32): void {
  if (fastPush(sig, se)) return
  x87Begin()
  push(sig, se)
}

export function x87_fild(value: i64): void {
  if (fastPushInteger(value)) return
  x87Begin()
  aFromI64(value)
  pushA()
}

/** Packed BCD: 18 digits, sign in bit 15 of `high`. */
export function x87_fbld(low: u64, high: u32): void {
  x87Begin()
  const magnitude = decodeBcd(high & 0xff, 2) * 10_000_000_000_000_000 + decodeBcd(low, 16)
  aFromMagnitude((high >> 15) & 1, magnitude)
  pushA()
}

// log2(10), log2(e), pi, log10(2), ln(2) rounded down to 64 bits, and the next bit: SDM Vol. 2, FLD1 family, rounds by RC
const CONST_L2T: u64 = 0xd49a_784b_cd1b_8afe
const CONST_L2E: u64 = 0xb8aa_3b29_5c17_f0bb
const CONST_PI: u64 = 0xc90f_daa2_2168_c234
const CONST_LG2: u64 = 0x9a20_9a84_fbcf_f798
const CONST_LN2: u64 = 0xb172_17f7_d1cf_79ab

function inexactConstant(sig: u64, se: u32, tailAboveHalf: bool): void {
  const up = rm == RU || (rm == RN && tailAboveHalf)
  push(up ? sig + 1 : sig, se)
}

/** D9 E8+n. */
export function x87_fld_const(n: u32): void {
  if (n == 0 && fastPush(J_BIT, 0x3fff)) return
  if (n == 6 && fastPush(0, 0)) return
  x87Begin()
  if (n == 0) push(J_BIT, 0x3fff)
  else if (n == 1) inexactConstant(CONST_L2T, 0x4000, false)
  else if (n == 2) inexactConstant(CONST_L2E, 0x3fff, true)
  else if (n == 3) inexactConstant(CONST_PI, 0x4000, true)
  else if (n == 4) inexactConstant(CONST_LG2, 0x3ffd, true)
  else if (n == 5) inexactConstant(CONST_LN2, 0x3ffe, true)
  else push(0, 0)
}

export function x87_fst_st(st: u32, pop: u32): void {
  if (fastCopy(st, pop)) return
  x87Begin()
  if (isEmpty(0)) {
    underflow(st, pop)
    return
  }
  if (!x87Commit()) return
  setSt(st, stSig(0), stSe(0))
  popStack(pop)
}

let storeWanted: bool = false

/** What generated code looks at between the halves. */
function publish(high: u32): void {
  store<u32>(cpu, u32(storeWanted) | (high << 16), CPU_X87_STORE)
}

/** Sets up a store; false when ST(0) is empty, and the indefinite value goes out if at all. */
function beginStore(): bool {
  x87Begin()
  storeWanted = true
  if (!isEmpty(0)) {
    publish(0)
    return true
  }
  noteUnderflow()
  storeWanted = (masks & IE) != 0
  publish(0xffff) // of the indefinite number, ten bytes or BCD
  return false
}

/** An unmasked overflow or underflow delivers nothing to memory, so nothing was rounded either. */
function endStore(): void {
  if (flags & ~masks & (OE | UE)) {
    setFlags(flags & ~PE)
    setRoundedUp(false)
  }
  storeWanted = (flags & ~masks & (IE | DE | ZE | OE | UE)) == 0
  publish(0)
}

export function x87_store_f32(): u32 {
  const fast = fastStore32()
  if (fastStored()) return fast
  if (!beginStore()) return 0xffc0_0000
  aFromSt(0)
  const bits = packF32(same())
  endStore()
  return bits
}

export function x87_store_f64(): u64 {
  const fast = fastStore64()
  if (fastStored()) return fast
  if (!beginStore()) return 0xfff8_0000_0000_0000
  aFromSt(0)
  const bits = packF64(same())
  endStore()
  return bits
}

export function x87_store_f80(): u64 {
  const fast = fastStore80()
  if (fastStored()) return fast
  if (!beginStore()) return INDEFINITE_SIG
  publish(stSe(0))
  return stSig(0)
}

/** Sign-extended; width 16, 32 or 64. */
export function x87_store_int(width: i32, truncate: u32): i64 {
  const fast = fastStoreInteger(width, truncate)
  if (fastStored()) return fast
  if (!beginStore()) return 0 - <i64>((<u64>1) << <u64>(width - 1))
  aFromSt(0)
  if (truncate) setRounding(RZ)
  const value = toInteger(width)
  endStore()
  return value
}

export function x87_store_bcd(): u64 {
  if (!beginStore()) return INDEFINITE_SIG
  aFromSt(0)
  const magnitude = toBcdMagnitude()
  endStore()
  publish(flags & IE ? 0xffff : (aSign << 15) | <u32>encodeBcd(magnitude / 10_000_000_000_000_000, 2))
  return flags & IE ? INDEFINITE_SIG : encodeBcd(magnitude % 10_000_000_000_000_000, 16)
}

export function x87_store_commit(pops: u32): void {
  if (fastCommit(pops)) return
  x87Commit()
  if (storeWanted) popStack(pops)
}

export function x87_fxch(st: u32): void {
  if (fastExchange(st)) return
  x87Begin()
  const aEmpty = isEmpty(0)
  const bEmpty = isEmpty(st)
  if (aEmpty || bEmpty) noteUnderflow()
  if (!x87Commit()) return
  const sig = aEmpty ? INDEFINITE_SIG : stSig(0)
  const se = aEmpty ? INDEFINITE_SE : stSe(0)
  setSt(0, bEmpty ? INDEFINITE_SIG : stSig(st), bEmpty ? INDEFINITE_SE : stSe(st))
  setSt(st, sig, se)
}

export function x87_fcmov(st: u32, condition: u32): void {
  x87Begin()
  if (isEmpty(0) || isEmpty(st)) {
    underflow(0, 0)
    return
  }
  if (condition) setSt(0, stSig(st), stSe(st))
}

export function x87_ffree(st: u32, pop: u32): void {
  setConditions(0, SW_C1)
  freeSt(st)
  if (pop) popStack(1)
}

export function x87_fincstp(): void {
  setConditions(0, SW_C1)
  moveTop(1)
}

export function x87_fdecstp(): void {
  setConditions(0, SW_C1)
  moveTop(7)
}

export function x87_fchs(): void {
  if (fastSign(0xffff, 0x8000)) return
  x87Begin()
  if (isEmpty(0)) {
    underflow(0, 0)
    return
  }
  if (x87Commit()) setSt(0, stSig(0), stSe(0) ^ 0x8000)
}

export function x87_fabs(): void {
  if (fastSign(0x7fff, 0)) return
  x87Begin()
  if (isEmpty(0)) {
    underflow(0, 0)
    return
  }
  if (x87Commit()) setSt(0, stSig(0), stSe(0) & 0x7fff)
}
