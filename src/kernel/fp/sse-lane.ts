/**
 * One lane of an SSE floating-point operation, and the frame around all lanes of an instruction: sseBegin reads
 * MXCSR, sseCommit writes the flags back and raises #XM (SDM Vol. 1, 11.5; Vol. 3, "Interrupt 19").
 *
 * A lane first asks the host's own FPU when that cannot be told apart: default rounding, everything masked, no DAZ or FTZ, a result
 * far from every special case, and PE already sticky or the result exact (a program that counts in doubles never sets PE).
 */
import { CPU_CR4, CPU_MXCSR } from '../../abi/layout.ts'
import { CR4_OSXMMEXCPT } from '../arch.ts'
import { cpu, raise as raiseFault, VECTOR_UD, VECTOR_XM } from '../state.ts'
import { ALL_EXCEPTIONS, DE, IE, PRE_COMPUTATION, beginSse, clearFlags, flags, masks, raise, daz, setFlags } from './env.ts'
import {
  CLS_QNAN, aFromF32, bFromF32, cFromF32, aFromF64, bFromF64, cFromF64, aCls, cCls,
  negateB, negateC,
} from './operand.ts'
import { packF32, packF64 } from './round.ts'
import { fastFma32, fastFma64, fmaDone } from './fma-fast.ts'
import { add, mul, div, squareRoot, fusedMulAdd, noteDenormalsAB } from './arith.ts'
import { LESS, GREATER, anyNan, nanSse, nanSse3, nanUnary, compare, order } from './nan.ts'

export const OP_ADD: u32 = 0
export const OP_SUB: u32 = 1
export const OP_MUL: u32 = 2
export const OP_DIV: u32 = 3
export const OP_MIN: u32 = 4
export const OP_MAX: u32 = 5

/** Masks all set, RC = nearest, FTZ = DAZ = 0, PE sticky; and the same without PE. */
const NATIVE_MASK: u32 = 0xffe0
const NATIVE_VALUE: u32 = 0x1fa0
const EXACT_VALUE: u32 = 0x1f80

const F32_MIN: u32 = 0x0080_0000
const F32_INF: u32 = 0x7f80_0000
const F64_MIN: u64 = 0x0010_0000_0000_0000
const F64_INF: u64 = 0x7ff0_0000_0000_0000
const F64_ABS: u64 = 0x7fff_ffff_ffff_ffff

/** The host may compute a lane. */
let native: bool = false
/** The host may compute a lane whose result is exact: PE would tell the difference. */
let nativeExact: bool = false
/** DE is sticky already, so denormal operands change nothing. */
let denormalsSeen: bool = false
/** Flags of the steps of this instruction that are done (DPPS works in steps). */
let earlier: u32 = 0

export function sseBegin(): void {
  const mxcsr = load<u32>(cpu, CPU_MXCSR)
  beginSse(mxcsr)
  earlier = 0
  step = 0
  native = (mxcsr & NATIVE_MASK) == NATIVE_VALUE
  nativeExact = (mxcsr & NATIVE_MASK) == EXACT_VALUE
  denormalsSeen = (mxcsr & DE) != 0
}

/** Both halves of a 32-byte operation are in progress: what was found so far. */
let pairing: bool = false
/** Flags of both, 6 bits for each step. */
let pairSteps: u32 = 0
/** The step of a sequence such as DPPS that is in progress. */
let step: u32 = 0

/** The next operations are halves of one instruction: they fault together, at sse_pair_end. */
export function sse_pair_begin(): void {
  pairing = true
  pairSteps = 0
}

export function sse_pair_end(): void {
  pairing = false
  sseBegin()
  let later = pairSteps
  while (later > ALL_EXCEPTIONS && (later & ALL_EXCEPTIONS & ~masks) == 0) {
    earlier |= later & ALL_EXCEPTIONS
    later >>= 6
  }
  setFlags(later & ALL_EXCEPTIONS)
  sseCommit()
}

/** Writes the flags to MXCSR; false and a pending fault when one of them is unmasked: then nothing is written. */
export function sseCommit(): bool {
  if (pairing) {
    pairSteps |= flags << (6 * step)
    return true
  }
  let found = flags
  if (found & PRE_COMPUTATION & ~masks) found &= PRE_COMPUTATION
  found |= earlier
  if (found == 0) return true
  store<u32>(cpu, load<u32>(cpu, CPU_MXCSR) | found, CPU_MXCSR)
  if ((found & ~masks) == 0) return true
  raiseFault(load<u32>(cpu, CPU_CR4) & CR4_OSXMMEXCPT ? VECTOR_XM : VECTOR_UD)
  return false
}

/** Ends a step of a sequence such as DPPS; true when an exception found in it will fault, so that the next must not run. */
export function sseStepStops(): bool {
  if (flags & ~masks) return true
  if (pairing) pairSteps |= flags << (6 * step++)
  earlier |= flags
  clearFlags()
  return false
}

function tame32(op: u32, a: u32, b: u32, result: u32): bool {
  const size = result & ~0x8000_0000
  // sums below twice the smallest normal are exact; products and quotients near zero go the exact way
  const fine = op <= OP_SUB ? size < F32_INF : size - (F32_MIN + 1) < F32_INF - F32_MIN - 1
  if (!fine) return false
  return denormalsSeen || !(isDenormal32(a) || isDenormal32(b))
}

function tame64(op: u32, a: u64, b: u64, result: u64): bool {
  const size = result & F64_ABS
  const fine = op <= OP_SUB ? size < F64_INF : size - (F64_MIN + 1) < F64_INF - F64_MIN - 1
  if (!fine) return false
  return denormalsSeen || !(isDenormal64(a) || isDenormal64(b))
}

export function isDenormal32(bits: u32): bool {
  return (bits & 0x7fff_ffff) - 1 < F32_MIN - 1
}

export function isDenormal64(bits: u64): bool {
  return (bits & F64_ABS) - 1 < F64_MIN - 1
}

/** Whether r, finite and not tiny, is x op y and not a rounding of it. Sums: the error term of Knuth's TwoSum. */
function isExact32(op: u32, x: f32, y: f32, r: f32): bool {
  if (op <= OP_SUB) {
    const z = op == OP_ADD ? y : -y
    const part = r - x
    return x - (r - part) + (z - part) == 0
  }
  // products of singles are exact doubles
  return op == OP_MUL ? <f64>x * <f64>y == <f64>r : <f64>r * <f64>y == <f64>x
}

function isExact64(op: u32, x: f64, y: f64, r: f64): bool {
  if (op <= OP_SUB) {
    const z = op == OP_ADD ? y : -y
    const part = r - x
    return x - (r - part) + (z - part) == 0
  }
  return op == OP_MUL ? shortBits(x) + shortBits(y) >= 53 : shortBits(r) + shortBits(y) >= 53 && r * y == x
}

/** Zero bits at the end of a normal significand: with 53 of them in two factors the product is exact. */
function shortBits(x: f64): u64 {
  return ctz(reinterpret<u64>(x) | F64_MIN)
}

export function lane32(op: u32, a: u32, b: u32): u32 {
  if ((native || nativeExact) && op <= OP_DIV) {
    const x = reinterpret<f32>(a)
    const y = reinterpret<f32>(b)
    const r = op == OP_ADD ? x + y : op == OP_SUB ? x - y : op == OP_MUL ? x * y : x / y
    const result = reinterpret<u32>(r)
    if (tame32(op, a, b, result) && (native || isExact32(op, x, y, r))) return result
  }
  aFromF32(a)
  bFromF32(b)
  if (op >= OP_MIN) return pickFirst(op) ? flushed32(a) : flushed32(b)
  return packF32(arithmetic(op))
}

export function lane64(op: u32, a: u64, b: u64): u64 {
  if ((native || nativeExact) && op <= OP_DIV) {
    const x = reinterpret<f64>(a)
    const y = reinterpret<f64>(b)
    const r = op == OP_ADD ? x + y : op == OP_SUB ? x - y : op == OP_MUL ? x * y : x / y
    const result = reinterpret<u64>(r)
    if (tame64(op, a, b, result) && (native || isExact64(op, x, y, r))) return result
  }
  aFromF64(a)
  bFromF64(b)
  if (op >= OP_MIN) return pickFirst(op) ? flushed64(a) : flushed64(b)
  return packF64(arithmetic(op))
}

function arithmetic(op: u32): u32 {
  if (anyNan()) return nanSse()
  if (op == OP_ADD) return add()
  if (op == OP_SUB) {
    negateB()
    return add()
  }
  return op == OP_MUL ? mul() : div()
}

/** MIN and MAX return the second operand when the two are equal or unordered; any NaN is invalid (SDM Vol. 2, MINPS). */
function pickFirst(op: u32): bool {
  if (anyNan()) {
    raise(IE)
    return false
  }
  noteDenormalsAB()
  return order() == (op == OP_MIN ? LESS : GREATER)
}

/** MIN and MAX under DAZ return the flushed operand. */
function flushed32(bits: u32): u32 {
  return daz && isDenormal32(bits) ? bits & 0x8000_0000 : bits
}

function flushed64(bits: u64): u64 {
  return daz && isDenormal64(bits) ? bits & ~F64_ABS : bits
}

export function sqrt32(a: u32): u32 {
  if (native) {
    const result = reinterpret<u32>(sqrt<f32>(reinterpret<f32>(a)))
    if (tame32(OP_MUL, a, a, result)) return result
  }
  aFromF32(a)
  return packF32(aCls >= CLS_QNAN ? nanUnary() : squareRoot())
}

export function sqrt64(a: u64): u64 {
  if (native) {
    const result = reinterpret<u64>(sqrt<f64>(reinterpret<f64>(a)))
    if (tame64(OP_MUL, a, a, result)) return result
  }
  aFromF64(a)
  return packF64(aCls >= CLS_QNAN ? nanUnary() : squareRoot())
}

/**
 * a * b + c with one rounding. negate: bit 0 the product, bit 1 the addend (a NaN keeps its sign).
 */
export function fma32(a: u32, b: u32, c: u32, negate: u32): u32 {
  if (native) {
    const x = reinterpret<f32>(negate & 1 ? a ^ 0x8000_0000 : a)
    const z = reinterpret<f32>(negate & 2 ? c ^ 0x8000_0000 : c)
    const r = fastFma32(x, reinterpret<f32>(b), z)
    if (fmaDone) return reinterpret<u32>(r)
  }
  aFromF32(a)
  bFromF32(b)
  cFromF32(c)
  return packF32(fma(negate))
}

export function fma64(a: u64, b: u64, c: u64, negate: u32): u64 {
  if (native) {
    const x = reinterpret<f64>(negate & 1 ? a ^ ~F64_ABS : a)
    const z = reinterpret<f64>(negate & 2 ? c ^ ~F64_ABS : c)
    const r = fastFma64(x, reinterpret<f64>(b), z)
    if (fmaDone) return reinterpret<u64>(r)
  }
  aFromF64(a)
  bFromF64(b)
  cFromF64(c)
  return packF64(fma(negate))
}

function fma(negate: u32): u32 {
  if (anyNan() || cCls >= CLS_QNAN) return nanSse3()
  if (negate & 1) negateB()
  if (negate & 2) negateC()
  return fusedMulAdd()
}

/** Relation sets of predicates 0-15, one nibble each: bit 0 greater, 1 less, 2 equal, 3 unordered (SDM Vol. 2, CMPPD). */
const CMP_RELATIONS: u64 = 0xf153_0eac_79db_8624
/** Bit p: predicate p (0-15) signals on quiet NaNs; predicates 16-31 do the opposite. */
const CMP_SIGNALLING: u32 = 0x6666

export function holds(relation: u32, predicate: u32): bool {
  return ((CMP_RELATIONS >> <u64>((predicate & 15) * 4 + relation)) & 1) != 0
}

function signalling(predicate: u32): bool {
  return (((CMP_SIGNALLING >> (predicate & 15)) ^ (predicate >> 4)) & 1) != 0
}

/** Predicate 0-31 on one lane. */
export function cmp32(a: u32, b: u32, predicate: u32): bool {
  aFromF32(a)
  bFromF32(b)
  return holds(compare(signalling(predicate)), predicate)
}

export function cmp64(a: u64, b: u64, predicate: u32): bool {
  aFromF64(a)
  bFromF64(b)
  return holds(compare(signalling(predicate)), predicate)
}

/** GREATER, LESS, EQUAL or UNORDERED. */
export function order32(a: u32, b: u32, signal: bool): u32 {
  aFromF32(a)
  bFromF32(b)
  return compare(signal)
}

export function order64(a: u64, b: u64, signal: bool): u32 {
  aFromF64(a)
  bFromF64(b)
  return compare(signal)
}
