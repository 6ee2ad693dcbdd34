/**
 * Packed SSE arithmetic, comparison, horizontal and dot-product instructions; conventions as in sse-arith.ts.
 */
import { GREATER, LESS, EQUAL } from './nan.ts'
import {
  OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MIN, OP_MAX, sseBegin, sseCommit, sseStepStops, lane32, lane64, sqrt32, sqrt64,
  cmp32, cmp64, holds,
} from './sse-lane.ts'
import { quiet } from './sse-native.ts'

const F32_ABS: u32 = 0x7fff_ffff
const F32_MIN: u32 = 0x0080_0000
const F32_INF: u32 = 0x7f80_0000
const F64_ABS: u64 = 0x7fff_ffff_ffff_ffff
const F64_MIN: u64 = 0x0010_0000_0000_0000
const F64_INF: u64 = 0x7ff0_0000_0000_0000

// The conditions of sse-native.ts on four or two lanes. Here, because asc warns of exported functions of vectors.

function abs32(x: v128): v128 {
  return v128.and(x, i32x4.splat(F32_ABS))
}

function abs64(x: v128): v128 {
  return v128.and(x, i64x2.splat(F64_ABS))
}

/** All lanes zero, normal or infinite. */
function calmLanes32(x: v128): bool {
  const size = abs32(x)
  const plain = i32x4.le_u(i32x4.sub(size, i32x4.splat(F32_MIN)), i32x4.splat(F32_INF - F32_MIN))
  return i32x4.all_true(v128.or(plain, i32x4.eq(size, i32x4.splat(0))))
}

function calmLanes64(x: v128): bool {
  const size = abs64(x)
  const plain = v128.and(i64x2.ge_s(size, i64x2.splat(F64_MIN)), i64x2.le_s(size, i64x2.splat(F64_INF)))
  return i64x2.all_true(v128.or(plain, i64x2.eq(size, i64x2.splat(0))))
}

function calmSums32(x: v128, y: v128, r: v128): bool {
  return i32x4.all_true(i32x4.lt_s(abs32(r), i32x4.splat(F32_INF))) && calmLanes32(x) && calmLanes32(y)
}

function calmSums64(x: v128, y: v128, r: v128): bool {
  return i64x2.all_true(i64x2.lt_s(abs64(r), i64x2.splat(F64_INF))) && calmLanes64(x) && calmLanes64(y)
}

/** All lanes of r in the inner range of the format. */
function inner32(r: v128): bool {
  const size = abs32(r)
  return i32x4.all_true(v128.and(i32x4.gt_s(size, i32x4.splat(F32_MIN)), i32x4.lt_s(size, i32x4.splat(F32_INF))))
}

function inner64(r: v128): bool {
  const size = abs64(r)
  return i64x2.all_true(v128.and(i64x2.gt_s(size, i64x2.splat(F64_MIN)), i64x2.lt_s(size, i64x2.splat(F64_INF))))
}

function calmProducts32(x: v128, y: v128, r: v128): bool {
  return inner32(r) && calmLanes32(x) && calmLanes32(y)
}

function calmProducts64(x: v128, y: v128, r: v128): bool {
  return inner64(r) && calmLanes64(x) && calmLanes64(y)
}

/** Operation `even` on lanes 0 and 2, `odd` on 1 and 3. */
function packed32(even: u32, odd: u32, dst: usize, a: usize, b: usize): void {
  sseBegin()
  const r0 = lane32(even, load<u32>(a), load<u32>(b))
  const r1 = lane32(odd, load<u32>(a, 4), load<u32>(b, 4))
  const r2 = lane32(even, load<u32>(a, 8), load<u32>(b, 8))
  const r3 = lane32(odd, load<u32>(a, 12), load<u32>(b, 12))
  put32(dst, r0, r1, r2, r3)
}

function packed64(even: u32, odd: u32, dst: usize, a: usize, b: usize): void {
  sseBegin()
  const r0 = lane64(even, load<u64>(a), load<u64>(b))
  const r1 = lane64(odd, load<u64>(a, 8), load<u64>(b, 8))
  put64(dst, r0, r1)
}

function put32(dst: usize, r0: u32, r1: u32, r2: u32, r3: u32): void {
  if (!sseCommit()) return
  store<u32>(dst, r0)
  store<u32>(dst, r1, 4)
  store<u32>(dst, r2, 8)
  store<u32>(dst, r3, 12)
}

function put64(dst: usize, r0: u64, r1: u64): void {
  if (!sseCommit()) return
  store<u64>(dst, r0)
  store<u64>(dst, r1, 8)
}

export function sse_add_ps(dst: usize, a: usize, b: usize): void {
  const x = v128.load(a)
  const y = v128.load(b)
  const r = f32x4.add(x, y)
  if (quiet() && calmSums32(x, y, r)) v128.store(dst, r)
  else packed32(OP_ADD, OP_ADD, dst, a, b)
}

export function sse_add_pd(dst: usize, a: usize, b: usize): void {
  const x = v128.load(a)
  const y = v128.load(b)
  const r = f64x2.add(x, y)
  if (quiet() && calmSums64(x, y, r)) v128.store(dst, r)
  else packed64(OP_ADD, OP_ADD, dst, a, b)
}

export function sse_sub_ps(dst: usize, a: usize, b: usize): void {
  const x = v128.load(a)
  const y = v128.load(b)
  const r = f32x4.sub(x, y)
  if (quiet() && calmSums32(x, y, r)) v128.store(dst, r)
  else packed32(OP_SUB, OP_SUB, dst, a, b)
}

export function sse_sub_pd(dst: usize, a: usize, b: usize): void {
  const x = v128.load(a)
  const y = v128.load(b)
  const r = f64x2.sub(x, y)
  if (quiet() && calmSums64(x, y, r)) v128.store(dst, r)
  else packed64(OP_SUB, OP_SUB, dst, a, b)
}

export function sse_mul_ps(dst: usize, a: usize, b: usize): void {
  const x = v128.load(a)
  const y = v128.load(b)
  const r = f32x4.mul(x, y)
  if (quiet() && calmProducts32(x, y, r)) v128.store(dst, r)
  else packed32(OP_MUL, OP_MUL, dst, a, b)
}

export function sse_mul_pd(dst: usize, a: usize, b: usize): void {
  const x = v128.load(a)
  const y = v128.load(b)
  const r = f64x2.mul(x, y)
  if (quiet() && calmProducts64(x, y, r)) v128.store(dst, r)
  else packed64(OP_MUL, OP_MUL, dst, a, b)
}

export function sse_div_ps(dst: usize, a: usize, b: usize): void {
  const x = v128.load(a)
  const y = v128.load(b)
  const r = f32x4.div(x, y)
  if (quiet() && calmProducts32(x, y, r)) v128.store(dst, r)
  else packed32(OP_DIV, OP_DIV, dst, a, b)
}

export function sse_div_pd(dst: usize, a: usize, b: usize): void {
  const x = v128.load(a)
  const y = v128.load(b)
  const r = f64x2.div(x, y)
  if (quiet() && calmProducts64(x, y, r)) v128.store(dst, r)
  else packed64(OP_DIV, OP_DIV, dst, a, b)
}

// wasm's pmin(p, q) is q < p ? q : p, so the second operand goes first
export function sse_min_ps(dst: usize, a: usize, b: usize): void {
  const x = v128.load(a)
  const y = v128.load(b)
  if (calmLanes32(x) && calmLanes32(y)) v128.store(dst, f32x4.pmin(y, x))
  else packed32(OP_MIN, OP_MIN, dst, a, b)
}

export function sse_min_pd(dst: usize, a: usize, b: usize): void {
  const x = v128.load(a)
  const y = v128.load(b)
  if (calmLanes64(x) && calmLanes64(y)) v128.store(dst, f64x2.pmin(y, x))
  else packed64(OP_MIN, OP_MIN, dst, a, b)
}

export function sse_max_ps(dst: usize, a: usize, b: usize): void {
  const x = v128.load(a)
  const y = v128.load(b)
  if (calmLanes32(x) && calmLanes32(y)) v128.store(dst, f32x4.pmax(y, x))
  else packed32(OP_MAX, OP_MAX, dst, a, b)
}

export function sse_max_pd(dst: usize, a: usize, b: usize): void {
  const x = v128.load(a)
  const y = v128.load(b)
  if (calmLanes64(x) && calmLanes64(y)) v128.store(dst, f64x2.pmax(y, x))
  else packed64(OP_MAX, OP_MAX, dst, a, b)
}

export function sse_addsub_ps(dst: usize, a: usize, b: usize): void {
  packed32(OP_SUB, OP_ADD, dst, a, b)
}

export function sse_addsub_pd(dst: usize, a: usize, b: usize): void {
  packed64(OP_SUB, OP_ADD, dst, a, b)
}

function horizontal32(op: u32, dst: usize, a: usize, b: usize): void {
  sseBegin()
  const r0 = lane32(op, load<u32>(a), load<u32>(a, 4))
  const r1 = lane32(op, load<u32>(a, 8), load<u32>(a, 12))
  const r2 = lane32(op, load<u32>(b), load<u32>(b, 4))
  const r3 = lane32(op, load<u32>(b, 8), load<u32>(b, 12))
  put32(dst, r0, r1, r2, r3)
}

function horizontal64(op: u32, dst: usize, a: usize, b: usize): void {
  sseBegin()
  const r0 = lane64(op, load<u64>(a), load<u64>(a, 8))
  const r1 = lane64(op, load<u64>(b), load<u64>(b, 8))
  put64(dst, r0, r1)
}

export function sse_hadd_ps(dst: usize, a: usize, b: usize): void {
  horizontal32(OP_ADD, dst, a, b)
}

export function sse_hadd_pd(dst: usize, a: usize, b: usize): void {
  horizontal64(OP_ADD, dst, a, b)
}

export function sse_hsub_ps(dst: usize, a: usize, b: usize): void {
  horizontal32(OP_SUB, dst, a, b)
}

export function sse_hsub_pd(dst: usize, a: usize, b: usize): void {
  horizontal64(OP_SUB, dst, a, b)
}

export function sse_sqrt_ps(dst: usize, b: usize): void {
  const x = v128.load(b)
  const r = f32x4.sqrt(x)
  if (quiet() && inner32(r) && calmLanes32(x)) {
    v128.store(dst, r)
    return
  }
  sseBegin()
  const r0 = sqrt32(load<u32>(b))
  const r1 = sqrt32(load<u32>(b, 4))
  const r2 = sqrt32(load<u32>(b, 8))
  const r3 = sqrt32(load<u32>(b, 12))
  put32(dst, r0, r1, r2, r3)
}

export function sse_sqrt_pd(dst: usize, b: usize): void {
  const x = v128.load(b)
  const r = f64x2.sqrt(x)
  if (quiet() && inner64(r) && calmLanes64(x)) {
    v128.store(dst, r)
    return
  }
  sseBegin()
  const r0 = sqrt64(load<u64>(b))
  const r1 = sqrt64(load<u64>(b, 8))
  put64(dst, r0, r1)
}

export function sse_cmp_ps(dst: usize, a: usize, b: usize, predicate: u32): void {
  const x = v128.load(a)
  const y = v128.load(b)
  if (calmLanes32(x) && calmLanes32(y)) {
    const less = holds(LESS, predicate) ? f32x4.lt(x, y) : i64x2.splat(0)
    const greater = holds(GREATER, predicate) ? f32x4.gt(x, y) : i64x2.splat(0)
    const equal = holds(EQUAL, predicate) ? f32x4.eq(x, y) : i64x2.splat(0)
    v128.store(dst, v128.or(less, v128.or(greater, equal)))
    return
  }
  sseBegin()
  const r0 = all32(cmp32(load<u32>(a), load<u32>(b), predicate))
  const r1 = all32(cmp32(load<u32>(a, 4), load<u32>(b, 4), predicate))
  const r2 = all32(cmp32(load<u32>(a, 8), load<u32>(b, 8), predicate))
  const r3 = all32(cmp32(load<u32>(a, 12), load<u32>(b, 12), predicate))
  put32(dst, r0, r1, r2, r3)
}

export function sse_cmp_pd(dst: usize, a: usize, b: usize, predicate: u32): void {
  const x = v128.load(a)
  const y = v128.load(b)
  if (calmLanes64(x) && calmLanes64(y)) {
    const less = holds(LESS, predicate) ? f64x2.lt(x, y) : i64x2.splat(0)
    const greater = holds(GREATER, predicate) ? f64x2.gt(x, y) : i64x2.splat(0)
    const equal = holds(EQUAL, predicate) ? f64x2.eq(x, y) : i64x2.splat(0)
    v128.store(dst, v128.or(less, v128.or(greater, equal)))
    return
  }
  sseBegin()
  const r0 = all64(cmp64(load<u64>(a), load<u64>(b), predicate))
  const r1 = all64(cmp64(load<u64>(a, 8), load<u64>(b, 8), predicate))
  put64(dst, r0, r1)
}

/** Dot product: imm bits 4-7 choose the products, bits 0-3 the result lanes. Each step rounds and may fault. */
export function sse_dpps(dst: usize, a: usize, b: usize, imm: u32): void {
  sseBegin()
  const p0 = imm & 0x10 ? lane32(OP_MUL, load<u32>(a), load<u32>(b)) : 0
  const p1 = imm & 0x20 ? lane32(OP_MUL, load<u32>(a, 4), load<u32>(b, 4)) : 0
  const p2 = imm & 0x40 ? lane32(OP_MUL, load<u32>(a, 8), load<u32>(b, 8)) : 0
  const p3 = imm & 0x80 ? lane32(OP_MUL, load<u32>(a, 12), load<u32>(b, 12)) : 0
  let sum: u32 = 0
  if (!sseStepStops()) {
    const low = lane32(OP_ADD, p0, p1)
    const high = lane32(OP_ADD, p2, p3)
    if (!sseStepStops()) sum = lane32(OP_ADD, low, high)
  }
  put32(dst, imm & 1 ? sum : 0, imm & 2 ? sum : 0, imm & 4 ? sum : 0, imm & 8 ? sum : 0)
}

export function sse_dppd(dst: usize, a: usize, b: usize, imm: u32): void {
  sseBegin()
  const p0 = imm & 0x10 ? lane64(OP_MUL, load<u64>(a), load<u64>(b)) : 0
  const p1 = imm & 0x20 ? lane64(OP_MUL, load<u64>(a, 8), load<u64>(b, 8)) : 0
  const sum = sseStepStops() ? 0 : lane64(OP_ADD, p0, p1)
  put64(dst, imm & 1 ? sum : 0, imm & 2 ? sum : 0)
}

function all32(condition: bool): u32 {
  return condition ? 0xffff_ffff : 0
}

function all64(condition: bool): u64 {
  return condition ? 0xffff_ffff_ffff_ffff : 0
}
