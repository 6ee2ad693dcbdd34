/**
 * The functions of src/kernel/simd.ts and simd-memory.ts that generated code calls; conventions as in kernel-imports.types.ts.
 * dst, a, b are addresses of 16 bytes in the CPU struct; dst may equal an operand.
 */
import type { KernelImport, WasmTy } from './kernel-imports.types.ts'

const P: WasmTy = 'i32'
const Q: WasmTy = 'i64'
const fn = (params: readonly WasmTy[], result?: WasmTy): KernelImport =>
  result ? { params, result } : { params }
const unary = fn([P, P]) // dst, b
const unaryImm = fn([P, P, P]) // dst, b, imm
const binary = fn([P, P, P]) // dst, a, b
const binaryImm = fn([P, P, P, P]) // dst, a, b, imm

// prettier-ignore
export const SIMD_IMPORTS = {
  simd_aesenc: binary, simd_aesenclast: binary, simd_aesdec: binary, simd_aesdeclast: binary,
  simd_aesimc: unary, simd_aeskeygenassist: unaryImm,
  simd_pclmulqdq: binaryImm, simd_mpsadbw: binaryImm,
  simd_sha1rnds4: binaryImm, simd_sha1nexte: binary, simd_sha1msg1: binary, simd_sha1msg2: binary,
  simd_sha256rnds2: binaryImm, simd_sha256msg1: binary, simd_sha256msg2: binary, // last argument of rnds2: address of XMM0
  // string comparison: a, b, imm (, lengths): bits 0-15 IntRes2, 16 ZF, 17 SF, 24-28 index
  simd_pcmpistr: fn([P, P, P], P), simd_pcmpestr: fn([P, P, P, Q, Q], P),
  simd_string_mask: fn([P, P], 'v128'),                                          // that word, imm: the mask for XMM0
  simd_masked_store: { params: [Q, P, P, P, P], fault: true },                   // gva, data, mask, 8 or 16 bytes, seg byte
  // masked and scattered memory (src/kernel/avx.ts): registers, offset or base, shape, seg byte
  avx_mask_load: { params: [P, P, Q, P, P], fault: true }, avx_mask_store: { params: [P, P, Q, P, P], fault: true },
  avx_gather: { params: [P, P, P, Q, P, P], fault: true },                       // dst, mask, index; a fault leaves what is done
} as const satisfies Record<string, KernelImport>

export type SimdName = keyof typeof SIMD_IMPORTS
