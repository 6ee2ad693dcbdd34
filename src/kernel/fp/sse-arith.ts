/**
 * Scalar SSE arithmetic and comparison: what generated code asks where its own operators may not answer. Lanes and orders by value; CMPSS
 * and CMPSD by address as the packed forms (sse-packed.ts): dst may equal a or b, and is written only when no unmasked exception was
 * found (the fault is then pending in CPU_FAULT).
 */
import { sseBegin, sseCommit, lane32, lane64, sqrt32, sqrt64, cmp32, cmp64, holds, order32, order64 } from './sse-lane.ts'
import { GREATER, LESS, EQUAL } from './nan.ts'
import { calm32, calm64 } from './sse-native.ts'

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

