/** SSE3. */
import type { Semantics } from '../emit.ts'
import type { sse3Rows } from '../rows/sse3.ts'
import { dwords, load128 } from './sse.ts'
import { gateSse, read128, shuffle, sourceAddress128, low64, splat64 } from './vector.ts'

const duplicate =
  (order: readonly number[]): Semantics =>
  (e) => {
    gateSse(e)
    const b = e.let(read128(e, 1))
    e.write(0, shuffle(e, b, b, order))
  }

const binary =
  (name: string): Semantics =>
  (e) => {
    gateSse(e)
    const b = sourceAddress128(e, 1)
    e.call(name, [e.addressOf(0), e.addressOf(0), b])
  }

export const sse3Semantics: Readonly<Record<keyof typeof sse3Rows, Semantics>> = {
  movsldup_xmm_xmm_m128: duplicate(dwords(0, 0, 2, 2)),
  movddup_xmm_xmm_m64: (e) => {
    gateSse(e)
    e.write(0, splat64(e, e.isMemory(1) ? e.read(1) : low64(e, e.read(1))))
  },
  movshdup_xmm_xmm_m128: duplicate(dwords(1, 1, 3, 3)),
  haddpd_xmm_xmm_m128: binary('sse_hadd_pd'),
  haddps_xmm_xmm_m128: binary('sse_hadd_ps'),
  hsubpd_xmm_xmm_m128: binary('sse_hsub_pd'),
  hsubps_xmm_xmm_m128: binary('sse_hsub_ps'),
  addsubpd_xmm_xmm_m128: binary('sse_addsub_pd'),
  addsubps_xmm_xmm_m128: binary('sse_addsub_ps'),
  lddqu_xmm_m128: load128(false),
}
