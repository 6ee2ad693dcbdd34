// asc takes `.ts` off in `import` but not in `export ... from`: a second copy of the module would come in under that name
export * from './sse-arith'
export * from './sse-convert'
export * from './sse-approx'
export { bind } from '../state'
