/**
 * All floating-point functions under one roof, for the unit tests. What generated code may call, with signatures and
 * calling rules, is src/abi/fp-imports.types.ts; the kernel's own entry exports exactly those.
 *
 *   wide, env, operand, round        128-bit steps, flags and rounding mode, unpacking, rounding and packing
 *   arith, nan, convert              operations on unpacked operands, one body for f32, f64 and f80
 *   sse-lane, -arith, -convert, -approx   SSE, MXCSR, #XM; fma-fast for ordinary numbers
 *   x87-state, -arith, -move, -scale, -control   the register stack and everything exact
 *   x87-fast, -fast-arith, -fast-move                       the same for ordinary numbers
 *   transcendental, x87-transcendental    sin, tan, atan, 2^x, log2
 *   fpu-image                        FXSAVE and XSAVE
 *
 * Where the SDM leaves a bit open (C1 after FCOMI, C0-C3 after FFREE, a denormal load with DE unmasked, ...) the answer is
 * that of the AMD processor the golden results were made on.
 */
import { CPU_FAULT } from '../../abi/layout.ts'
import { cpu } from '../state.ts'
import { sse_lane_sd, sse_lane_ss, sse_order_sd, sse_order_ss } from './sse-arith.ts'

// asc takes `.ts` off in `import` but not in `export ... from`: a second copy of the module would come in under that name
export * from './sse-arith'
export * from './sse-convert'
export * from './sse-fma'
export * from './sse-half'
export { sse_pair_begin, sse_pair_end } from './sse-lane'
export * from './sse-approx'
export * from './x87-arith'
export * from './x87-move'
export * from './x87-scale'
export * from './x87-transcendental'
export * from './x87-control'
export { x87_wait } from './x87-state'
export * from './fpu-image'
export { bind } from '../state'

// By address: a NaN on its way through JavaScript would lose its payload.

export function lane_ss(op: u32, dst: usize, a: usize, b: usize): void {
  const r = sse_lane_ss(op, load<f32>(a), load<f32>(b))
  if (load<u32>(cpu, CPU_FAULT) == 0) store<f32>(dst, r)
}

export function lane_sd(op: u32, dst: usize, a: usize, b: usize): void {
  const r = sse_lane_sd(op, load<f64>(a), load<f64>(b))
  if (load<u32>(cpu, CPU_FAULT) == 0) store<f64>(dst, r)
}

export function order_ss(a: usize, b: usize, signalling: u32): f64 {
  return sse_order_ss(load<f32>(a), load<f32>(b), signalling)
}

export function order_sd(a: usize, b: usize, signalling: u32): f64 {
  return sse_order_sd(load<f64>(a), load<f64>(b), signalling)
}
