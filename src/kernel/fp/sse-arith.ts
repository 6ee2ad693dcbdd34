/**
 * SSE arithmetic and comparison. Arguments are addresses: dst may equal a or b, and is written only when no unmasked
 * exception was found (the fault is then pending in CPU_FAULT). Scalar forms read and write only the low element; the
 * caller merges the rest. The packed forms are in sse-packed.ts.
 */
import {
  OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MIN, OP_MAX, sseBegin, sseCommit, lane32, lane64, sqrt32, sqrt64, cmp32, cmp64,
  holds, order32, order64,
} from './sse-lane.ts'
import { GREATER, LESS, EQUAL, orderFlags } from './nan.ts'
import { quiet, calm32, calm64, calmSum32, calmSum64, calmProduct32, calmProduct64 } from './sse-native.ts'

// asc takes `.ts` off in `import` but not in `export ... from`
export {
  sse_add_ps,
  sse_add_pd,
  sse_sub_ps,
  sse_sub_pd,
  sse_mul_ps,
  sse_mul_pd,
  sse_div_ps,
  sse_div_pd,
  sse_min_ps,
  sse_min_pd,
  sse_max_ps,
  sse_max_pd,
  sse_addsub_ps,
  sse_addsub_pd,
  sse_hadd_ps,
  sse_hadd_pd,
  sse_hsub_ps,
  sse_hsub_pd,
  sse_sqrt_ps,
  sse_sqrt_pd,
  sse_cmp_ps,
  sse_cmp_pd,
  sse_dpps,
  sse_dppd,
} from './sse-packed'

function scalar32(op: u32, dst: usize, a: usize, b: usize): void {
  sseBegin()
  const r = lane32(op, load<u32>(a), load<u32>(b))
  if (sseCommit()) store<u32>(dst, r)
}

function scalar64(op: u32, dst: usize, a: usize, b: usize): void {
  sseBegin()
  const r = lane64(op, load<u64>(a), load<u64>(b))
  if (sseCommit()) store<u64>(dst, r)
}

const OP_SQRT: u32 = 6

/** One lane by value; what it returns counts unless CPU_FAULT is set. */
export function sse_lane_ss(op: u32, a: f32, b: f32): f32 {
  sseBegin()
  const x = reinterpret<u32>(a)
  const y = reinterpret<u32>(b)
  const r = op == OP_SQRT ? sqrt32(y) : lane32(op, x, y)
  sseCommit()
  return reinterpret<f32>(r)
}

export function sse_lane_sd(op: u32, a: f64, b: f64): f64 {
  sseBegin()
  const x = reinterpret<u64>(a)
  const y = reinterpret<u64>(b)
  const r = op == OP_SQRT ? sqrt64(y) : lane64(op, x, y)
  sseCommit()
  return reinterpret<f64>(r)
}

/** COMISS and UCOMISS (`signalling` 1 and 0): -1, 0, 1 or NaN for a less than, equal to, greater than b, unordered. */
export function sse_order_ss(a: f32, b: f32, signalling: u32): f32 {
  sseBegin()
  const relation = order32(reinterpret<u32>(a), reinterpret<u32>(b), signalling != 0)
  sseCommit()
  return <f32>signOf(relation)
}

export function sse_order_sd(a: f64, b: f64, signalling: u32): f64 {
  sseBegin()
  const relation = order64(reinterpret<u64>(a), reinterpret<u64>(b), signalling != 0)
  sseCommit()
  return signOf(relation)
}

function signOf(relation: u32): f64 {
  if (relation == GREATER) return 1
  if (relation == LESS) return -1
  return relation == EQUAL ? 0 : NaN
}

export function sse_add_ss(dst: usize, a: usize, b: usize): void {
  const x = load<f32>(a)
  const y = load<f32>(b)
  const r = x + y
  if (quiet() && calmSum32(x, y, r)) store<f32>(dst, r)
  else scalar32(OP_ADD, dst, a, b)
}

export function sse_add_sd(dst: usize, a: usize, b: usize): void {
  const x = load<f64>(a)
  const y = load<f64>(b)
  const r = x + y
  if (quiet() && calmSum64(x, y, r)) store<f64>(dst, r)
  else scalar64(OP_ADD, dst, a, b)
}

export function sse_sub_ss(dst: usize, a: usize, b: usize): void {
  const x = load<f32>(a)
  const y = load<f32>(b)
  const r = x - y
  if (quiet() && calmSum32(x, y, r)) store<f32>(dst, r)
  else scalar32(OP_SUB, dst, a, b)
}

export function sse_sub_sd(dst: usize, a: usize, b: usize): void {
  const x = load<f64>(a)
  const y = load<f64>(b)
  const r = x - y
  if (quiet() && calmSum64(x, y, r)) store<f64>(dst, r)
  else scalar64(OP_SUB, dst, a, b)
}

export function sse_mul_ss(dst: usize, a: usize, b: usize): void {
  const x = load<f32>(a)
  const y = load<f32>(b)
  const r = x * y
  if (quiet() && calmProduct32(x, y, r)) store<f32>(dst, r)
  else scalar32(OP_MUL, dst, a, b)
}

export function sse_mul_sd(dst: usize, a: usize, b: usize): void {
  const x = load<f64>(a)
  const y = load<f64>(b)
  const r = x * y
  if (quiet() && calmProduct64(x, y, r)) store<f64>(dst, r)
  else scalar64(OP_MUL, dst, a, b)
}

export function sse_div_ss(dst: usize, a: usize, b: usize): void {
  const x = load<f32>(a)
  const y = load<f32>(b)
  const r = x / y
  if (quiet() && calmProduct32(x, y, r)) store<f32>(dst, r)
  else scalar32(OP_DIV, dst, a, b)
}

export function sse_div_sd(dst: usize, a: usize, b: usize): void {
  const x = load<f64>(a)
  const y = load<f64>(b)
  const r = x / y
  if (quiet() && calmProduct64(x, y, r)) store<f64>(dst, r)
  else scalar64(OP_DIV, dst, a, b)
}

export function sse_min_ss(dst: usize, a: usize, b: usize): void {
  const x = load<f32>(a)
  const y = load<f32>(b)
  if (calm32(x) && calm32(y)) store<f32>(dst, x < y ? x : y)
  else scalar32(OP_MIN, dst, a, b)
}

export function sse_min_sd(dst: usize, a: usize, b: usize): void {
  const x = load<f64>(a)
  const y = load<f64>(b)
  if (calm64(x) && calm64(y)) store<f64>(dst, x < y ? x : y)
  else scalar64(OP_MIN, dst, a, b)
}

export function sse_max_ss(dst: usize, a: usize, b: usize): void {
  const x = load<f32>(a)
  const y = load<f32>(b)
  if (calm32(x) && calm32(y)) store<f32>(dst, x > y ? x : y)
  else scalar32(OP_MAX, dst, a, b)
}

export function sse_max_sd(dst: usize, a: usize, b: usize): void {
  const x = load<f64>(a)
  const y = load<f64>(b)
  if (calm64(x) && calm64(y)) store<f64>(dst, x > y ? x : y)
  else scalar64(OP_MAX, dst, a, b)
}

export function sse_sqrt_ss(dst: usize, b: usize): void {
  sseBegin()
  const r = sqrt32(load<u32>(b))
  if (sseCommit()) store<u32>(dst, r)
}

export function sse_sqrt_sd(dst: usize, b: usize): void {
  sseBegin()
  const r = sqrt64(load<u64>(b))
  if (sseCommit()) store<u64>(dst, r)
}

/** Predicates 0-7 of SSE, 8-31 of AVX. */
export function sse_cmp_ss(dst: usize, a: usize, b: usize, predicate: u32): void {
  const x = load<f32>(a)
  const y = load<f32>(b)
  if (calm32(x) && calm32(y)) {
    const relation = x < y ? LESS : x > y ? GREATER : EQUAL
    store<u32>(dst, all32(holds(relation, predicate)))
    return
  }
  sseBegin()
  const r = all32(cmp32(load<u32>(a), load<u32>(b), predicate))
  if (sseCommit()) store<u32>(dst, r)
}

export function sse_cmp_sd(dst: usize, a: usize, b: usize, predicate: u32): void {
  const x = load<f64>(a)
  const y = load<f64>(b)
  if (calm64(x) && calm64(y)) {
    const relation = x < y ? LESS : x > y ? GREATER : EQUAL
    store<u64>(dst, all64(holds(relation, predicate)))
    return
  }
  sseBegin()
  const r = all64(cmp64(load<u64>(a), load<u64>(b), predicate))
  if (sseCommit()) store<u64>(dst, r)
}

function all32(condition: bool): u32 {
  return condition ? 0xffff_ffff : 0
}

function all64(condition: bool): u64 {
  return condition ? 0xffff_ffff_ffff_ffff : 0
}

export function sse_comi_ss(a: usize, b: usize): u32 {
  const x = load<f32>(a)
  const y = load<f32>(b)
  if (calm32(x) && calm32(y)) return orderFlags(x < y ? LESS : x > y ? GREATER : EQUAL)
  sseBegin()
  const relation = order32(load<u32>(a), load<u32>(b), true)
  sseCommit()
  return orderFlags(relation)
}

export function sse_comi_sd(a: usize, b: usize): u32 {
  const x = load<f64>(a)
  const y = load<f64>(b)
  if (calm64(x) && calm64(y)) return orderFlags(x < y ? LESS : x > y ? GREATER : EQUAL)
  sseBegin()
  const relation = order64(load<u64>(a), load<u64>(b), true)
  sseCommit()
  return orderFlags(relation)
}

export function sse_ucomi_ss(a: usize, b: usize): u32 {
  const x = load<f32>(a)
  const y = load<f32>(b)
  if (calm32(x) && calm32(y)) return orderFlags(x < y ? LESS : x > y ? GREATER : EQUAL)
  sseBegin()
  const relation = order32(load<u32>(a), load<u32>(b), false)
  sseCommit()
  return orderFlags(relation)
}

export function sse_ucomi_sd(a: usize, b: usize): u32 {
  const x = load<f64>(a)
  const y = load<f64>(b)
  if (calm64(x) && calm64(y)) return orderFlags(x < y ? LESS : x > y ? GREATER : EQUAL)
  sseBegin()
  const relation = order64(load<u64>(a), load<u64>(b), false)
  sseCommit()
  return orderFlags(relation)
}
