/** SSE3. */
import type { Emit, Semantics, Val } from '../emit.ts'
import type { sse3Rows } from '../rows/sse3.ts'
import { choose, exactVector } from './float.ts'
import { nativeAddSub, nativeHorizontal, type Native } from './float-native.ts'
import { dwords, load128 } from './sse.ts'
import { gateSse, read128, shuffle, low64, splat64 } from './vector.ts'

const duplicate =
  (order: readonly number[]): Semantics =>
  (e) => {
    gateSse(e)
    const b = e.let(read128(e, 1))
    e.write(0, shuffle(e, b, b, order))
  }

/** Of the whole register and an aligned operand. */
const binary =
  (name: string, native: (e: Emit, a: Val, b: Val) => Native): Semantics =>
  (e) => {
    gateSse(e)
    const b = read128(e, 1)
    const a = e.read(0)
    e.write(
      0,
      choose(e, native(e, a, b), () => exactVector(e, name, [a, b])),
    )
  }

const horizontal = (op: 'add' | 'sub', format: 'ps' | 'pd'): Semantics =>
  binary(`sse_h${op}_${format}`, (e, a, b) => nativeHorizontal(e, op, format, a, b))

const alternating = (format: 'ps' | 'pd'): Semantics =>
  binary(`sse_addsub_${format}`, (e, a, b) => nativeAddSub(e, format, a, b))

export const sse3Semantics: Readonly<Record<keyof typeof sse3Rows, Semantics>> = {
  movsldup_xmm_xmm_m128: duplicate(dwords(0, 0, 2, 2)),
  movddup_xmm_xmm_m64: (e) => {
    gateSse(e)
    e.write(0, splat64(e, e.isMemory(1) ? e.read(1) : low64(e, e.read(1))))
  },
  movshdup_xmm_xmm_m128: duplicate(dwords(1, 1, 3, 3)),
  haddpd_xmm_xmm_m128: horizontal('add', 'pd'),
  haddps_xmm_xmm_m128: horizontal('add', 'ps'),
  hsubpd_xmm_xmm_m128: horizontal('sub', 'pd'),
  hsubps_xmm_xmm_m128: horizontal('sub', 'ps'),
  addsubpd_xmm_xmm_m128: alternating('pd'),
  addsubps_xmm_xmm_m128: alternating('ps'),
  lddqu_xmm_m128: load128(false),
}
