/**
 * The floating-point functions of kernel.wasm (src/kernel/fp) that generated code calls; same conventions as
 * kernel-imports.types.ts.
 *
 * x87. A waiting instruction is: fpu_check(0) and x87_wait() where CR0 or a pending exception ask for it, the record of the
 * instruction (CPU_X87_FOP, FIP, FCS; with memory FDP, FDS), then its function. FNINIT FNCLEX FNSTCW FNSTSW FNSTENV FNSAVE are not
 * waiting. FLDCW FLDENV FRSTOR FWAIT keep the record. fop is the 11-bit opcode (SDM Vol. 1, 8.1.9). x87 exceptions never fault in the
 * instruction that finds them: they become pending in the status word.
 * `st` is a stack index 0-7, `pops` 0-2, `pop` and `quiet` 0/1.
 *   memory store:  v = x87_store_*(); if (CPU_X87_STORE & 1) store v; x87_store_commit(pops)
 *                  m80 and BCD: low 64 bits returned, the upper 16 in CPU_X87_STORE >> 16
 *   compare+flags: x87_fcomi returns ZF|PF|CF in EFLAGS positions; OF, SF, AF are cleared
 *
 * MMX. fpu_check(1), x87_wait(), operands that can fault, then mmx_enter() before the first register is touched. A
 * write to mm register i stores 8 bytes at CPU_X87 + 16 * i and 0xffff (u16) at + 8. EMMS is mmx_emms().
 *
 * SSE. What generated code calls where its own operators may not answer takes and gives values. The rest: arguments are addresses from addressOf or scratch. dst may equal an operand and is written only if nothing
 * unmasked was found; otherwise CPU_FAULT holds #XM (#UD without CR4.OSXMMEXCPT). Scalar forms touch only the low 4
 * or 8 bytes of each; PS and PD forms 16; CVT forms as their operands are wide (half-width results are zero-extended).
 */
import type { KernelImport, WasmTy } from './kernel-imports.types.ts'

const P: WasmTy = 'i32'
const Q: WasmTy = 'i64'
const S: WasmTy = 'f32'
const D: WasmTy = 'f64'
const fn = (params: readonly WasmTy[], result?: WasmTy): KernelImport =>
  result ? { params, result } : { params }
const faulting = (params: readonly WasmTy[], result?: WasmTy): KernelImport => ({
  ...fn(params, result),
  fault: true,
})
const binary = faulting([P, P, P]) // dst, a, b
const unary = faulting([P, P]) // dst, b
const unaryImm = faulting([P, P, P]) // dst, b, imm
const binaryImm = faulting([P, P, P, P]) // dst, a, b, imm

// prettier-ignore
export const FP_IMPORTS = {
  // x87 frame
  x87_wait: faulting([]),                                                        // FWAIT, and the #MF check of MMX
  // arithmetic. op: 0 dst+src, 1 dst*src, 4 dst-src, 5 src-dst, 6 dst/src, 7 src/dst
  x87_arith_st: fn([P, P, P, P]),                                                // op, dst st, src st, pop
  x87_arith_f32: fn([P, P]), x87_arith_f64: fn([P, Q]), x87_arith_int: fn([P, Q]), // op, bits / sign-extended integer; dst is ST(0)
  // comparisons of ST(0)
  x87_fcom_st: fn([P, P, P]),                                                    // st, pops, quiet (FUCOM)
  x87_fcom_f32: fn([P, P]), x87_fcom_f64: fn([Q, P]), x87_fcom_int: fn([Q, P]),  // value, pops
  x87_fcomi: fn([P, P, P], P), x87_ftst: fn([]), x87_fxam: fn([]),               // st, pop, quiet
  // loads
  x87_fld_st: fn([P]), x87_fld_f32: fn([P]), x87_fld_f64: fn([Q]), x87_fld_f80: fn([Q, P]), // significand, sign and exponent
  x87_fild: fn([Q]), x87_fbld: fn([Q, P]),                                       // sign-extended integer; BCD low, high
  x87_fld_const: fn([P]),                                                        // 0 1.0, 1 log2(10), 2 log2(e), 3 pi, 4 log10(2), 5 ln(2), 6 0.0 (D9 E8+n)
  // stores
  x87_fst_st: fn([P, P]),                                                        // st, pop
  x87_store_f32: fn([], P), x87_store_f64: fn([], Q), x87_store_f80: fn([], Q), x87_store_bcd: fn([], Q),
  x87_store_int: fn([P, P], Q),                                                  // width 16 32 64, truncate (FISTTP)
  x87_store_commit: fn([P]),
  // register file
  x87_fxch: fn([P]), x87_fcmov: fn([P, P]),                                      // st; st, condition 0/1
  x87_ffree: fn([P, P]), x87_fincstp: fn([]), x87_fdecstp: fn([]),               // st, pop (FFREEP)
  x87_fchs: fn([]), x87_fabs: fn([]),
  x87_fsqrt: fn([]), x87_frndint: fn([]), x87_fscale: fn([]), x87_fxtract: fn([]), x87_fprem: fn([]), x87_fprem1: fn([]),
  x87_f2xm1: fn([]), x87_fyl2x: fn([]), x87_fyl2xp1: fn([]), x87_fptan: fn([]), x87_fpatan: fn([]),
  x87_fsin: fn([]), x87_fcos: fn([]), x87_fsincos: fn([]),
  // control
  x87_fninit: fn([]), x87_fnclex: fn([]), x87_fldcw: fn([P]), x87_fnstcw: fn([], P), x87_fnstsw: fn([], P),
  // images in guest memory: whole instructions after fpu_check(0). gva of the first byte (from linear(bytes, write)),
  // record's seg byte, operand bytes 2 or 4. FNSTENV/FLDENV 14 or 28 bytes, FNSAVE/FRSTOR 94 or 108.
  x87_fnstenv: faulting([Q, P, P]), x87_fldenv: faulting([Q, P, P]), x87_fnsave: faulting([Q, P, P]), x87_frstor: faulting([Q, P, P]),
  // FXSAVE family: gva, seg byte, REX.W 0/1. They check alignment, and the XSAVE ones CR4.OSXSAVE; instruction mask in EDX:EAX.
  // FXSAVE/FXRSTOR want fpu_check(0) before, the others do their own #NM check.
  fpu_fxsave: faulting([Q, P, P]), fpu_fxrstor: faulting([Q, P, P]),
  fpu_xsave: faulting([Q, P, P]), fpu_xsaveopt: faulting([Q, P, P]), fpu_xrstor: faulting([Q, P, P]),
  fpu_ldmxcsr: faulting([P]),                                                    // value; #GP on reserved bits
  mmx_enter: fn([]), mmx_emms: fn([]),

  // SSE, one lane by value. op: 0 add, 1 sub, 2 mul, 3 div, 4 min, 5 max, 6 square root of b
  sse_lane_ss: faulting([P, S, S], S), sse_lane_sd: faulting([P, D, D], D),
  sse_order_ss: faulting([S, S, P], S), sse_order_sd: faulting([D, D, P], D),    // a, b, 1 for COMIS: a number that compares with 0 as a does with b
  // SSE arithmetic: dst, a, b
  sse_add_ps: binary, sse_add_pd: binary,
  sse_sub_ps: binary, sse_sub_pd: binary,
  sse_mul_ps: binary, sse_mul_pd: binary,
  sse_div_ps: binary, sse_div_pd: binary,
  sse_min_ps: binary, sse_min_pd: binary,
  sse_max_ps: binary, sse_max_pd: binary,
  sse_addsub_ps: binary, sse_addsub_pd: binary, sse_hadd_ps: binary, sse_hadd_pd: binary, sse_hsub_ps: binary, sse_hsub_pd: binary,
  sse_sqrt_ps: unary, sse_sqrt_pd: unary,
  sse_dpps: binaryImm, sse_dppd: binaryImm,
  sse_cmp_ss: binaryImm, sse_cmp_sd: binaryImm, sse_cmp_ps: binaryImm, sse_cmp_pd: binaryImm, // predicate 0-7 (mask imm8 with 7), 0-31 for VEX
  sse_rcp_ss: fn([P, P]), sse_rcp_ps: fn([P, P]), sse_rsqrt_ss: fn([P, P]), sse_rsqrt_ps: fn([P, P]), // dst, b
  sse_round_ss: unaryImm, sse_round_sd: unaryImm, sse_round_ps: unaryImm, sse_round_pd: unaryImm,
  // dst = a * b + c; last: bit 0 negates the product, bit 1 the addend of even lanes, bit 2 of odd lanes
  sse_fma_ss: faulting([P, P, P, P, P]), sse_fma_sd: faulting([P, P, P, P, P]), sse_fma_ps: faulting([P, P, P, P, P]), sse_fma_pd: faulting([P, P, P, P, P]),
  avx_fma_ps: faulting([P, P, P, P, P]), avx_fma_pd: faulting([P, P, P, P, P]), // of 32 bytes; dst is none of the operands
  // SSE conversions; truncate 1 for the CVTT forms
  sse_cvtss2sd: unary, sse_cvtsd2ss: unary, sse_cvtps2pd: unary, sse_cvtpd2ps: unary, sse_cvtdq2ps: unary, sse_cvtdq2pd: fn([P, P]),
  sse_cvtpi2ps: unary, sse_cvtps2pi: unaryImm, sse_cvtpd2pi: unaryImm,            // CVTPI2PD is sse_cvtdq2pd
  sse_cvtsi2ss: faulting([P, Q]), sse_cvtsi2sd: faulting([P, Q]),                // dst, sign-extended integer
  sse_cvtss2si: faulting([P, P, P], Q), sse_cvtsd2si: faulting([P, P, P], Q),    // b, width 32 or 64, truncate
  sse_cvtps2dq: unaryImm, sse_cvtpd2dq: unaryImm,                                // dst, b, truncate
  sse_cvtph2ps: unary, sse_cvtps2ph: unaryImm,                                   // dst, b, rounding as in VCVTPS2PH's immediate
  // around the halves of a 32-byte operation with an exception unmasked: they fault together, at the end
  sse_pair_begin: fn([]), sse_pair_end: faulting([]),
} as const satisfies Record<string, KernelImport>

export type FpName = keyof typeof FP_IMPORTS
