/**
 * The functions of kernel.wasm that generated code (interpreter, JIT) and hosts call: one line each.
 * The interpreter generator reads this table to declare its imports; kernel.wasm must export every name.
 *
 *   params, result   WebAssembly types
 *   fault            after the call CPU_FAULT must be looked at: nonzero means the instruction is abandoned, nothing changed
 *   transfers        the helper sets CPU_NEXT_RIP (and perhaps mode, CPL, CR3): continue with enter()
 *
 * Before a `fault` or `transfers` helper generated code stores CPU_RIP and CPU_NEXT_RIP of the instruction.
 * Helpers read registers from the CPU struct: generated code that keeps them in locals spills before the call.
 */
export type WasmTy = 'i32' | 'i64' | 'f32' | 'f64' | 'v128'

export interface KernelImport {
  readonly params: readonly WasmTy[]
  readonly result?: WasmTy
  readonly fault?: true
  readonly transfers?: true
}

const P: WasmTy = 'i32'
const Q: WasmTy = 'i64'
const fn = (params: readonly WasmTy[], result?: WasmTy): KernelImport =>
  result ? { params, result } : { params }
const faulting = (params: readonly WasmTy[], result?: WasmTy): KernelImport => ({
  ...fn(params, result),
  fault: true,
})
const transfer = (params: readonly WasmTy[]): KernelImport => ({ params, fault: true, transfers: true })

// prettier-ignore
export const KERNEL_IMPORTS = {
  // run loop (kernel/run.ts). enter(): handle pending fault, requests, interrupts, HLT; decode at CPU_RIP; returns the
  // record to run next, or 0 with CPU_EXITREASON set. lookup(): the same without looking at requests.
  enter: fn([], P), lookup: fn([], P),
  run_on: fn([P], P),                                                            // budget used up: the next one, negative = leave
  jit_store: fn([Q, Q, Q, P], P),                                                // gva, value, rip, bytes | seg << 8: 0 = leave the code
  jit_may_store: fn([Q, P], P),                                                  // gva, bytes: 0 = over code of this vCPU
  jit_request: fn([Q, Q, P, P]),                                                 // key, linear page, record: a branch went there so many times

  // memory, slow path (kernel/mmu.ts). gva is linear; seg is the record's seg byte (low 3 bits pick #SS or #GP).
  // Loads zero-extend. *128 copies through an address in the CPU struct.
  mem_load8: faulting([Q, P], P), mem_load16: faulting([Q, P], P), mem_load32: faulting([Q, P], P), mem_load64: faulting([Q, P], Q),
  mem_store8: faulting([Q, P, P]), mem_store16: faulting([Q, P, P]), mem_store32: faulting([Q, P, P]), mem_store64: faulting([Q, Q, P]),
  mem_load128: faulting([Q, P, P]), mem_store128: faulting([Q, P, P]),           // gva, address of 16 bytes, seg
  mem_load_bytes: faulting([Q, P, P, P]), mem_store_bytes: faulting([Q, P, P, P]), // gva, address, byte count <= 4096, seg
  // read-modify-write: begin returns the address to operate on (guest frame, or CPU_BOUNCE for page-crossing, MMIO
  // and code pages; CPU_RMW_ADDR is then nonzero and end() must be called to write it back); 0 = fault.
  mem_rmw_begin: faulting([Q, P, P], P), mem_rmw_end: faulting([]),              // gva, bytes (| 0x100 = LOCK), seg
  // linear address of seg:offset with limit, type and canonical checks; seg = record's seg byte, access = bytes | 0x100 for write
  seg_linear: faulting([P, Q, P], Q),
  mem_probe: faulting([Q, P, P, P]),                                             // gva, bytes, write 0/1, seg: raise what an access would, access nothing

  // stack with the current operand size and SS (kernel/stack.ts): value, bytes; pop returns the value, both move RSP only on success
  stack_push: faulting([Q, P]), stack_pop: faulting([P], Q),
  sys_enter_frame: faulting([P, P, P]), sys_leave: faulting([P]),                // size, level, operand bytes
  sys_pusha: faulting([P]), sys_popa: faulting([P]),

  // flags
  sys_pushf: faulting([P]), sys_popf: faulting([P]), sys_cli: faulting([]), sys_sti: faulting([]),
  flags_get: fn([], P), flags_set: fn([P]),                                      // full EFLAGS <-> lazy form (arithmetic bits only in set)

  // far control transfers (kernel/far.ts): selector, offset, operand bytes
  sys_jmp_far: transfer([P, Q, P]), sys_call_far: transfer([P, Q, P]), sys_ret_far: transfer([P, P]), sys_iret: transfer([P]),
  sys_int: transfer([P]), sys_int3: transfer([]), sys_into: transfer([]), sys_int1: transfer([]),
  sys_syscall: transfer([]), sys_sysret: transfer([P]), sys_sysenter: transfer([]), sys_sysexit: transfer([P]),
  sys_hlt: transfer([]), sys_mwait: transfer([]), sys_monitor: faulting([Q, P]), sys_vmcall: transfer([]), sys_rsm: transfer([]),
  sys_pause: faulting([]),                                                       // may sleep; pretends a fault to start over after it
  // near transfers check the limit or canonical form of the target: value is the new RIP, already truncated
  check_near: faulting([Q]),

  // segments (kernel/segments.ts)
  sys_load_seg: faulting([P, P]),                                                // SEG_*, selector; sets the MOV SS shadow; ends the block
  sys_lldt: faulting([P]), sys_ltr: faulting([P]), sys_sldt: faulting([], P), sys_str: faulting([], P),
  sys_lgdt: faulting([P, Q]), sys_lidt: faulting([P, Q]),                        // limit, base
  sys_sgdt: faulting([], Q), sys_sgdt_limit: fn([], P), sys_sidt: faulting([], Q), sys_sidt_limit: fn([], P), // UMIP checked in the first
  sys_lar: faulting([P], Q), sys_lsl: faulting([P], Q),                          // -1 = ZF clear; reading the descriptor may fault
  sys_verr: faulting([P], P), sys_verw: faulting([P], P),
  sys_swapgs: faulting([]), sys_rdfsbase: faulting([], Q), sys_rdgsbase: faulting([], Q), sys_wrfsbase: faulting([Q]), sys_wrgsbase: faulting([Q]),

  // system registers (kernel/system.ts). All that may change mode end their block.
  sys_mov_from_cr: faulting([P], Q), sys_mov_to_cr: faulting([P, Q]), sys_mov_from_dr: faulting([P], Q), sys_mov_to_dr: faulting([P, Q]),
  sys_clts: faulting([]), sys_lmsw: faulting([P]), sys_smsw: faulting([], Q),
  sys_invlpg: faulting([Q]), sys_invpcid: faulting([Q, Q, Q]),                   // type, descriptor low, high
  sys_wbinvd: faulting([]), sys_cpuid: faulting([]), sys_rdmsr: faulting([]), sys_wrmsr: faulting([]),
  sys_rdtsc: faulting([], Q), sys_rdpmc: faulting([]), sys_rdpid: fn([], Q), sys_xgetbv: faulting([]), sys_xsetbv: faulting([]),
  sys_clac: faulting([]), sys_stac: faulting([]), sys_rdrand: fn([], Q),

  // ports (kernel/io.ts): port, bytes
  sys_in: faulting([P, P], P), sys_out: faulting([P, P, P]),                     // out: port, value, bytes

  // string instructions: bytes, REP kind (0 none, 1 REP/REPE, 2 REPNE), address size bytes, seg byte. They may stop early
  // (fault, interrupt) with registers updated and CPU_NEXT_RIP = CPU_RIP, hence transfers.
  str_movs: transfer([P, P, P, P]), str_cmps: transfer([P, P, P, P]), str_stos: transfer([P, P, P, P]), str_lods: transfer([P, P, P, P]),
  str_scas: transfer([P, P, P, P]), str_ins: transfer([P, P, P, P]), str_outs: transfer([P, P, P, P]),

  // wide arithmetic (kernel/arith.ts): 128/64 division works on RDX:RAX and raises #DE
  div64: faulting([Q]), idiv64: faulting([Q]),
  pdep64: fn([Q, Q], Q), pext64: fn([Q, Q], Q), crc32c: fn([P, Q, P], P),        // crc, data, bytes
  cmpxchg16b: faulting([Q, P], P),                                               // gva, seg: compares RDX:RAX, result is ZF; #GP if unaligned

  // #NM / #UD gate of x87, MMX, SSE (CR0.EM, TS, CR4.OSFXSR): family 0 x87, 1 MMX, 2 SSE, 3 AVX (XCR0)
  fpu_check: faulting([P]),
} as const satisfies Record<string, KernelImport>

export type KernelName = keyof typeof KERNEL_IMPORTS
