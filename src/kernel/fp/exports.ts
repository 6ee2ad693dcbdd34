export * from './sse-arith.ts'
export * from './sse-convert.ts'
export * from './sse-approx.ts'
export { bind } from '../state.ts'
