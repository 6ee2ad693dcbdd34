/** AES-NI, PCLMULQDQ, SHA: rounds in src/kernel/simd.ts, on addresses; the destination may equal a source. */
import { CPU_XMM } from '#abi/layout.ts'
import type { Semantics } from '../emit.ts'
import type { cryptoRows } from '../rows/crypto.ts'
import { gateSse, i32, imm, sourceAddress128, spill } from './vector.ts'

/** dst = f(dst, src) */
const binary =
  (name: string): Semantics =>
  (e) => {
    gateSse(e)
    const b = sourceAddress128(e, 1)
    e.call(name, [e.addressOf(0), e.addressOf(0), b])
  }

const binaryImm =
  (name: string): Semantics =>
  (e) => {
    gateSse(e)
    const b = sourceAddress128(e, 1)
    e.call(name, [e.addressOf(0), e.addressOf(0), b, imm(e, 2)])
  }

export const cryptoSemantics: Readonly<Record<keyof typeof cryptoRows, Semantics>> = {
  aesimc_xmm_xmm_m128: (e) => {
    gateSse(e)
    e.call('simd_aesimc', [e.addressOf(0), sourceAddress128(e, 1)])
  },
  aesenc_xmm_xmm_m128: binary('simd_aesenc'),
  aesenclast_xmm_xmm_m128: binary('simd_aesenclast'),
  aesdec_xmm_xmm_m128: binary('simd_aesdec'),
  aesdeclast_xmm_xmm_m128: binary('simd_aesdeclast'),
  aeskeygenassist_xmm_xmm_m128_imm8: (e) => {
    gateSse(e)
    e.call('simd_aeskeygenassist', [e.addressOf(0), sourceAddress128(e, 1), imm(e, 2)])
  },
  pclmulqdq_xmm_xmm_m128_imm8: binaryImm('simd_pclmulqdq'),
  sha1nexte_xmm_xmm_m128: binary('simd_sha1nexte'),
  sha1msg1_xmm_xmm_m128: binary('simd_sha1msg1'),
  sha1msg2_xmm_xmm_m128: binary('simd_sha1msg2'),
  sha256rnds2_xmm_xmm_m128: (e) => {
    gateSse(e)
    const b = sourceAddress128(e, 1)
    // XMM0 holds the message words; the copy keeps them readable when XMM0 is the destination
    const words = spill(e, e.getCpu('v128', CPU_XMM), 1)
    e.call('simd_sha256rnds2', [e.addressOf(0), e.addressOf(0), b, words])
  },
  sha256msg1_xmm_xmm_m128: binary('simd_sha256msg1'),
  sha256msg2_xmm_xmm_m128: binary('simd_sha256msg2'),
  sha1rnds4_xmm_xmm_m128_imm8: (e) => {
    gateSse(e)
    const b = sourceAddress128(e, 1)
    e.call('simd_sha1rnds4', [e.addressOf(0), e.addressOf(0), b, e.and(imm(e, 2), i32(e, 3))])
  },
}
