/**
 * Entry of kernel.wasm: everything that generated code (abi/*-imports.types.ts), the vCPU loop and the hub call.
 * A function that is not listed here is private to the kernel and free to be inlined away.
 * asc takes `.ts` off in `import` but not in `export ... from`, so the names here go without.
 */
export { avx_gather, avx_mask_load, avx_mask_store } from './avx'
export { cmpxchg16b, crc32c, div64, idiv64, pdep64, pext64 } from './arith'
export { clock_init, clock_ns, clock_pause, clock_reset, clock_resume, tsc_read, tsc_write } from './clock'
export {
  code_cache_init,
  code_decode_aside,
  code_flush,
  code_hold,
  code_joins_region,
  code_peek,
  code_store,
  code_taken,
  code_write,
} from './code-cache'
export {
  sys_clts,
  sys_invlpg,
  sys_invpcid,
  sys_lmsw,
  sys_mov_from_cr,
  sys_mov_from_dr,
  sys_mov_to_cr,
  sys_mov_to_dr,
  sys_smsw,
  sys_wbinvd,
  sys_xgetbv,
  sys_xsetbv,
} from './control'
export { sys_cpuid, sys_rdpid, sys_rdpmc, sys_rdrand, sys_rdtsc } from './cpuid'
export { decode_one } from './decoder'
export { check_near, sys_call_far, sys_jmp_far, sys_ret_far } from './far'
export { flags_get, flags_set, sys_clac, sys_cli, sys_popf, sys_pushf, sys_stac, sys_sti } from './flags'
export { fpu_fxrstor, fpu_fxsave, fpu_ldmxcsr, fpu_xrstor, fpu_xsave, fpu_xsaveopt } from './fp/fpu-image'
export { sse_rcp_ps, sse_rcp_ss, sse_rsqrt_ps, sse_rsqrt_ss } from './fp/sse-approx'
export {
  sse_add_pd,
  sse_add_ps,
  sse_addsub_pd,
  sse_addsub_ps,
  sse_cmp_pd,
  sse_cmp_ps,
  sse_cmp_sd,
  sse_cmp_ss,
  sse_div_pd,
  sse_div_ps,
  sse_dppd,
  sse_dpps,
  sse_hadd_pd,
  sse_hadd_ps,
  sse_hsub_pd,
  sse_hsub_ps,
  sse_lane_sd,
  sse_lane_ss,
  sse_max_pd,
  sse_max_ps,
  sse_min_pd,
  sse_min_ps,
  sse_mul_pd,
  sse_mul_ps,
  sse_order_sd,
  sse_order_ss,
  sse_sqrt_pd,
  sse_sqrt_ps,
  sse_sub_pd,
  sse_sub_ps,
} from './fp/sse-arith'
export {
  sse_cvtdq2pd,
  sse_cvtdq2ps,
  sse_cvtpd2dq,
  sse_cvtpd2pi,
  sse_cvtpd2ps,
  sse_cvtpi2ps,
  sse_cvtps2dq,
  sse_cvtps2pd,
  sse_cvtps2pi,
  sse_cvtsd2si,
  sse_cvtsd2ss,
  sse_cvtsi2sd,
  sse_cvtsi2ss,
  sse_cvtss2sd,
  sse_cvtss2si,
  sse_round_pd,
  sse_round_ps,
  sse_round_sd,
  sse_round_ss,
} from './fp/sse-convert'
export { avx_fma_pd, avx_fma_ps, sse_fma_pd, sse_fma_ps, sse_fma_sd, sse_fma_ss } from './fp/sse-fma'
export { sse_cvtph2ps, sse_cvtps2ph } from './fp/sse-half'
export { sse_pair_begin, sse_pair_end } from './fp/sse-lane'
export {
  x87_arith_f32,
  x87_arith_f64,
  x87_arith_int,
  x87_arith_st,
  x87_fcom_f32,
  x87_fcom_f64,
  x87_fcom_int,
  x87_fcom_st,
  x87_fcomi,
  x87_frndint,
  x87_fsqrt,
  x87_ftst,
  x87_fxam,
} from './fp/x87-arith'
export {
  mmx_emms,
  mmx_enter,
  x87_fldcw,
  x87_fldenv,
  x87_fnclex,
  x87_fninit,
  x87_fnsave,
  x87_fnstcw,
  x87_fnstenv,
  x87_fnstsw,
  x87_frstor,
} from './fp/x87-control'
export {
  x87_fabs,
  x87_fbld,
  x87_fchs,
  x87_fcmov,
  x87_fdecstp,
  x87_ffree,
  x87_fild,
  x87_fincstp,
  x87_fld_const,
  x87_fld_f32,
  x87_fld_f64,
  x87_fld_f80,
  x87_fld_st,
  x87_fst_st,
  x87_fxch,
  x87_store_bcd,
  x87_store_commit,
  x87_store_f32,
  x87_store_f64,
  x87_store_f80,
  x87_store_int,
} from './fp/x87-move'
export { x87_fprem, x87_fprem1, x87_fscale, x87_fxtract } from './fp/x87-scale'
export { x87_wait } from './fp/x87-state'
export {
  x87_f2xm1,
  x87_fcos,
  x87_fpatan,
  x87_fptan,
  x87_fsin,
  x87_fsincos,
  x87_fyl2x,
  x87_fyl2xp1,
} from './fp/x87-transcendental'
export { fpu_check } from './fpu-check'
export { flush_everywhere, gfn_frame, gpa_host } from './frames'
export { sys_int, sys_int1, sys_int3, sys_into } from './interrupt'
export { sys_in, sys_out } from './io'
export { sys_iret } from './iret'
export { irq_msi, irq_nmi, irq_route_msi, irq_set_gsi, irqchip_reset } from './irqchip/routing'
export { next_deadline, timers_run } from './irqchip/timers'
export {
  mem_load128,
  mem_load16,
  mem_load32,
  mem_load64,
  mem_load8,
  mem_load_bytes,
  mem_probe,
  mem_store128,
  mem_store16,
  mem_store32,
  mem_store64,
  mem_store8,
  mem_store_bytes,
} from './mmu'
export { update_mode } from './mode'
export { sys_rdmsr, sys_wrmsr } from './msr'
export { cpu_init, cpu_reset, cpu_sipi } from './reset'
export {
  jit_attach,
  jit_detach,
  jit_may_store,
  jit_region,
  jit_region_page,
  jit_request,
  jit_store,
} from './jit'
export { mem_rmw_begin, mem_rmw_end } from './rmw'
export { enter, lookup, run_on } from './run'
export {
  seg_linear,
  sys_lar,
  sys_lgdt,
  sys_lidt,
  sys_lldt,
  sys_load_seg,
  sys_lsl,
  sys_ltr,
  sys_rdfsbase,
  sys_rdgsbase,
  sys_sgdt,
  sys_sgdt_limit,
  sys_sidt,
  sys_sidt_limit,
  sys_sldt,
  sys_str,
  sys_swapgs,
  sys_verr,
  sys_verw,
  sys_wrfsbase,
  sys_wrgsbase,
} from './segments'
export {
  simd_aesdec,
  simd_aesdeclast,
  simd_aesenc,
  simd_aesenclast,
  simd_aesimc,
  simd_aeskeygenassist,
} from './simd-aes'
export { simd_masked_store } from './simd-memory'
export {
  simd_sha1msg1,
  simd_sha1msg2,
  simd_sha1nexte,
  simd_sha1rnds4,
  simd_sha256msg1,
  simd_sha256msg2,
  simd_sha256rnds2,
} from './simd-sha'
export { simd_mpsadbw, simd_pclmulqdq, simd_pcmpestr, simd_pcmpistr, simd_string_mask } from './simd'
export { stack_pop, stack_push, sys_enter_frame, sys_leave, sys_popa, sys_pusha } from './stack'
export { bind, cpu_request } from './state'
export { str_cmps, str_ins, str_lods, str_movs, str_outs, str_scas, str_stos } from './strings'
export { sys_hlt, sys_monitor, sys_mwait, sys_pause } from './halt'
export { sys_vmcall } from './hypercalls'
export { sys_rsm, sys_syscall, sys_sysenter, sys_sysexit, sys_sysret } from './syscall'
export { tlb_flush_all, tlb_init } from './tlb'
