/**
 * What kernel.wasm exports of the MMU, segments, transfers, interrupts and system registers, for the tests: the whole
 * kernel (index.ts) takes longer to compile.
 * Paths without `.ts`: asc takes it off in `import` only, and would compile a second copy of each module.
 */
export { bind } from './state'
export { code_store } from './code-cache'
export {
  sys_clts, sys_invlpg, sys_invpcid, sys_lmsw, sys_mov_from_cr, sys_mov_from_dr, sys_mov_to_cr, sys_mov_to_dr, sys_smsw,
  sys_wbinvd, sys_xgetbv, sys_xsetbv,
} from './control'
export { sys_cpuid, sys_rdpid, sys_rdpmc, sys_rdrand, sys_rdtsc } from './cpuid'
export { debug_after, debug_before, update_single } from './debug'
export { fpu_check } from './fpu-check'
export { check_near, sys_call_far, sys_jmp_far, sys_ret_far } from './far'
export { flags_get, flags_set, sys_clac, sys_cli, sys_popf, sys_pushf, sys_stac, sys_sti } from './flags'
export { dirty_mark, flush_everywhere, frame_alloc, frame_free, gfn_frame, gpa_host } from './frames'
export { deliver_fault, deliver_interrupt, deliver_nmi, sys_int, sys_int1, sys_int3, sys_into } from './interrupt'
export { sys_iret } from './iret'
export {
  lin_probe, mem_load128, mem_load16, mem_load32, mem_load64, mem_load8, mem_load_bytes, mem_probe, mem_store128, mem_store16, mem_store32, mem_store64, mem_store8, mem_store_bytes, mmu_exec_page,
} from './mmu'
export { update_mode } from './mode'
export { msr_read, msr_write, sys_rdmsr, sys_wrmsr } from './msr'
export { cpu_init, cpu_reset, cpu_sipi } from './reset'
export { mem_rmw_begin, mem_rmw_end } from './rmw'
export {
  seg_linear, sys_lar, sys_lgdt, sys_lidt, sys_lldt, sys_load_seg, sys_lsl, sys_ltr, sys_rdfsbase, sys_rdgsbase, sys_sgdt,
  sys_sgdt_limit, sys_sidt, sys_sidt_limit, sys_sldt, sys_str, sys_swapgs, sys_verr, sys_verw, sys_wrfsbase, sys_wrgsbase,
} from './segments'
export { sys_hlt, sys_monitor, sys_mwait } from './halt'
export { sys_vmcall } from './hypercalls'
export { sys_rsm, sys_syscall, sys_sysenter, sys_sysexit, sys_sysret } from './syscall'
export { is_watched, protect_pending, watch_page } from './shootdown'
export { tlb_flush_all, tlb_flush_local, tlb_flush_page, tlb_protect } from './tlb'
export { cmpxchg16b, crc32c, div64, idiv64, pdep64, pext64 } from './arith'
export { stack_pop, stack_push, sys_enter_frame, sys_leave, sys_popa, sys_pusha } from './stack'
export { str_cmps, str_ins, str_lods, str_movs, str_outs, str_scas, str_stos } from './strings'
