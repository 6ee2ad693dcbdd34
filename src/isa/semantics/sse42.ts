/** SSE4.2 string comparison: the kernel aggregates (src/kernel/simd.ts), what is left is where the result goes. */
import { CPU_XMM } from '#abi/layout.ts'
import type { Emit, Semantics, Val } from '../emit.ts'
import type { sse42Rows } from '../rows/sse42.ts'
import { callValue, gateSse, i32, imm, sourceAddress128, type Gate } from './vector.ts'

/** The result word: bits 0-15 IntRes2, 16 ZF, 17 SF, 24-28 index. */
function compareStrings(e: Emit, explicit: boolean, gate: Gate): Val {
  gate(e)
  const b = sourceAddress128(e, 1, 0, false)
  const args = [e.addressOf(0), b, imm(e, 2)]
  if (!explicit) return callValue(e, 'simd_pcmpistr', args)
  // lengths are signed: EAX and EDX, or RAX and RDX with REX.W
  const length = (name: 'rax' | 'rdx'): Val =>
    e.width === 64 ? e.reg(name) : e.sext(e.reg(name, 'i32'), 'i64')
  return callValue(e, 'simd_pcmpestr', [...args, length('rax'), length('rdx')])
}

function setStringFlags(e: Emit, result: Val): void {
  const bit = (n: number): Val => e.and(e.shr(result, i32(e, n)), i32(e, 1))
  const some = e.ne(e.and(result, i32(e, 0xffff)), i32(e, 0))
  e.setFlagBits({ cf: some, zf: bit(16), sf: bit(17), of: bit(0), af: i32(e, 0), pf: i32(e, 0) })
}

export const toIndex =
  (explicit: boolean, gate: Gate = gateSse): Semantics =>
  (e) => {
    const result = e.let(compareStrings(e, explicit, gate))
    e.setReg('rcx', e.shr(result, i32(e, 24)))
    setStringFlags(e, result)
  }

export const toMask =
  (explicit: boolean, gate: Gate = gateSse): Semantics =>
  (e) => {
    const result = e.let(compareStrings(e, explicit, gate))
    e.setCpu(CPU_XMM, callValue(e, 'simd_string_mask', [result, imm(e, 2)]))
    setStringFlags(e, result)
  }

export const sse42Semantics: Readonly<Record<keyof typeof sse42Rows, Semantics>> = {
  pcmpestrm_xmm_xmm_m128_imm8: toMask(true),
  pcmpestri_xmm_xmm_m128_imm8: toIndex(true),
  pcmpistrm_xmm_xmm_m128_imm8: toMask(false),
  pcmpistri_xmm_xmm_m128_imm8: toIndex(false),
}
