/**
 * x87 arithmetic and comparisons on stack registers and memory operands.
 * SDM Vol. 2: FADD, FSUB, FMUL, FDIV and relatives, FSQRT, FRNDINT, FCOM, FUCOM, FCOMI, FTST, FXAM.
 */
import { flags, precision, roundedUp, setRoundedUp } from './env.ts'
import {
  CLS_QNAN, CLS_UNSUPPORTED, CLS_ZERO, CLS_DENORMAL, CLS_INF, aCls, bFromF32, bFromF64, bFromF80, bFromI64, negateB,
  swapAB,
} from './operand.ts'
import { packF80 } from './round.ts'
import { fastArithmetic, fastArithmetic32, fastArithmetic64, fastOrder, fastOrder64, fastSqrt } from './x87-fast-arith.ts'
import { add, mul, div, squareRoot, noteDenormalA } from './arith.ts'
import { GREATER, LESS, EQUAL, UNORDERED, anyNan, compare, nanUnary, nanX87, orderFlags } from './nan.ts'
import { toIntegral } from './convert.ts'
import {
  SW_C0, SW_C1, SW_C2, SW_C3, SW_CC, aFromSt, bFromSt, isEmpty, noteUnderflow, popStack, setConditions, setStResult, stSe, statusWord, SW_SF,
  underflow, x87Begin, x87Commit,
} from './x87-state.ts'

// operation numbers: the reg field of D8 /r
const OP_ADD: u32 = 0
const OP_MUL: u32 = 1
const OP_SUBR: u32 = 5
const OP_DIVR: u32 = 7

/** ST(dst) = A op B, operands loaded and no stack fault. */
function arithmetic(op: u32, dst: u32, pops: u32): void {
  let kind: u32
  if (anyNan()) {
    kind = nanX87()
  } else if (op == OP_ADD) {
    kind = add()
  } else if (op == OP_MUL) {
    kind = mul()
  } else {
    if (op == OP_SUBR || op == OP_DIVR) swapAB()
    if (op <= OP_SUBR) {
      negateB()
      kind = add()
    } else {
      kind = div()
    }
  }
  packF80(kind, precision)
  if (!x87Commit()) return
  setStResult(dst)
  popStack(pops)
}

export function x87_arith_st(op: u32, dst: u32, src: u32, pop: u32): void {
  if (fastArithmetic(op, dst, src, pop)) return
  x87Begin()
  if (isEmpty(dst) || isEmpty(src)) {
    underflow(dst, pop)
    return
  }
  aFromSt(dst)
  bFromSt(src)
  arithmetic(op, dst, pop)
}

function arithmeticWithB(op: u32): void {
  if (isEmpty(0)) {
    underflow(0, 0)
    return
  }
  aFromSt(0)
  arithmetic(op, 0, 0)
}

export function x87_arith_f32(op: u32, bits: u32): void {
  if (fastArithmetic32(op, bits)) return
  x87Begin()
  bFromF32(bits)
  arithmeticWithB(op)
}

export function x87_arith_f64(op: u32, bits: u64): void {
  if (fastArithmetic64(op, bits)) return
  x87Begin()
  bFromF64(bits)
  arithmeticWithB(op)
}

export function x87_arith_int(op: u32, value: i64): void {
  // up to 53 bits are an f64
  if (value + 0x20_0000_0000_0000 < 0x40_0000_0000_0000 && fastArithmetic64(op, reinterpret<u64>(<f64>value))) return
  x87Begin()
  bFromI64(value)
  arithmeticWithB(op)
}

function conditionsOf(relation: u32): u32 {
  if (relation == GREATER) return 0
  if (relation == LESS) return SW_C0
  return relation == EQUAL ? SW_C3 : SW_C0 | SW_C2 | SW_C3
}

function finishCompare(relation: u32, pops: u32): void {
  const counts = x87Commit()
  setConditions(conditionsOf(relation), SW_C0 | SW_C2 | SW_C3)
  if (counts) popStack(pops)
}

/** The comparison of numbers that raises nothing. */
function finishFast(relation: u32, pops: u32): void {
  setConditions(conditionsOf(relation), SW_CC)
  popStack(pops)
}

export function x87_fcom_st(st: u32, pops: u32, quiet: u32): void {
  const order = fastOrder(st)
  if (order != UNORDERED) {
    finishFast(order, pops)
    return
  }
  x87Begin()
  let relation = UNORDERED
  if (isEmpty(0) || isEmpty(st)) {
    noteUnderflow()
  } else {
    aFromSt(0)
    bFromSt(st)
    relation = compare(!quiet)
  }
  finishCompare(relation, pops)
}

function compareWithB(pops: u32): void {
  let relation = UNORDERED
  if (isEmpty(0)) {
    noteUnderflow()
  } else {
    aFromSt(0)
    relation = compare(true)
  }
  finishCompare(relation, pops)
}

export function x87_fcom_f32(bits: u32, pops: u32): void {
  x87Begin()
  bFromF32(bits)
  compareWithB(pops)
}

export function x87_fcom_f64(bits: u64, pops: u32): void {
  const order = fastOrder64(bits)
  if (order != UNORDERED) {
    finishFast(order, pops)
    return
  }
  x87Begin()
  bFromF64(bits)
  compareWithB(pops)
}

export function x87_fcom_int(value: i64, pops: u32): void {
  x87Begin()
  bFromI64(value)
  compareWithB(pops)
}

export function x87_ftst(): void {
  const order = fastOrder64(0)
  if (order != UNORDERED) {
    finishFast(order, 0)
    return
  }
  x87Begin()
  bFromF80(0, 0)
  compareWithB(0)
}

/** ZF|PF|CF in EFLAGS positions. C1 changes only on a stack fault; an unmasked exception keeps only the stack. */
export function x87_fcomi(st: u32, pop: u32, quiet: u32): u32 {
  const order = fastOrder(st)
  if (order != UNORDERED) {
    popStack(pop)
    return orderFlags(order)
  }
  x87Begin()
  let relation = UNORDERED
  const keptC1 = statusWord() & SW_C1
  if (isEmpty(0) || isEmpty(st)) {
    noteUnderflow()
  } else {
    aFromSt(0)
    bFromSt(st)
    relation = compare(!quiet)
  }
  const counts = x87Commit()
  if (!(flags & SW_SF)) setConditions(keptC1, SW_C1)
  if (counts) popStack(pop)
  return orderFlags(relation)
}

export function x87_fxam(): void {
  const sign = stSe(0) & 0x8000 ? SW_C1 : 0
  setConditions(sign | classOf(), SW_CC)
}

/** C3, C2, C0 of FXAM. */
function classOf(): u32 {
  if (isEmpty(0)) return SW_C3 | SW_C0
  aFromSt(0)
  if (aCls == CLS_UNSUPPORTED) return 0
  if (aCls >= CLS_QNAN) return SW_C0
  if (aCls == CLS_INF) return SW_C2 | SW_C0
  if (aCls == CLS_ZERO) return SW_C3
  return aCls == CLS_DENORMAL ? SW_C3 | SW_C2 : SW_C2
}

export function x87_fsqrt(): void {
  if (fastSqrt()) return
  x87Begin()
  if (isEmpty(0)) {
    underflow(0, 0)
    return
  }
  aFromSt(0)
  packF80(aCls >= CLS_QNAN ? nanUnary() : squareRoot(), precision)
  if (x87Commit()) setStResult(0)
}

export function x87_frndint(): void {
  x87Begin()
  if (isEmpty(0)) {
    underflow(0, 0)
    return
  }
  aFromSt(0)
  if (aCls < CLS_QNAN) noteDenormalA()
  const kind = aCls >= CLS_QNAN ? nanUnary() : toIntegral(false)
  const up = roundedUp // packing the integer, which is exact, forgets it
  packF80(kind, 64)
  setRoundedUp(up)
  if (x87Commit()) setStResult(0)
}
