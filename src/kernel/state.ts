/**
 * Per-instance globals and the primitives that every kernel module uses. One kernel.wasm instance runs in each
 * vCPU worker and one in the hub (cpu = 0 there); all share the memory, none shares globals.
 *
 * Who provides what inside the kernel:
 *   state.ts       globals, locks, requests to other vCPUs, raise()
 *   mmu.ts         page walks, TLB, mem_*; mmu_exec_page, gpa_host, tlb_flush_*
 *   mode.ts        update_mode(): recomputes CPU_MODE, CPU_AMASK, CPU_SMASK, CPU_TLB after any change of state they depend on
 *   interrupt.ts   deliver_fault(), deliver_interrupt(vector), deliver_nmi(); double and triple faults
 *   reset.ts       cpu_reset(), cpu_init(), cpu_sipi(vector)
 *   code-cache.ts  code_write(gfn): a page holding decoded code is about to be written; code_flush()
 *   run.ts         enter(), lookup()
 *   io.ts          sys_in/out, mmio_read/mmio_write, exits, posted ring, log ring
 *   irqchip/       LAPIC, I/O APIC, PIC, PIT, PM timer; irq_pending(), irq_ack(), irq_set_gsi(), irq_msi(), timers_run()
 *   clock.ts       clock_ns(), tsc_read(), kvmclock
 */
import {
  CPU_FAULT,
  CPU_FAULT_ERROR,
  CPU_FAULT_GVA,
  CPU_IN_GUEST,
  CPU_REQ,
  CPU_SEG,
  CPU_SEG_STRIDE,
  FAULT_HAS_ERROR,
  FAULT_VALID,
  VM_CPU_PTRS,
  VM_VCPU_COUNT,
} from '../abi/layout.ts'

/** Host monotonic time in ns, one epoch for all threads of the VM. */
// @ts-ignore: AssemblyScript decorator
@external('host', 'now')
export declare function host_now(): f64
/** Wakes a hub that cannot wait on shared memory. */
// @ts-ignore: AssemblyScript decorator
@external('host', 'kick')
export declare function host_kick(): void

/**
 * Atomics.wait on the word at address while it reads expected, for timeoutMs at most (Infinity = for ever). Not
 * memory.atomic.wait32: Liftoff of V8 11.3 (Node 20) loses locals across it and the caller spins on a wrong address.
 */
// @ts-ignore: AssemblyScript decorator
@external('host', 'wait')
export declare function host_wait(address: u32, expected: u32, timeoutMs: f64): void

/** Sleeps while the word reads expected, ns at most. vCPU workers only: the hub's thread may not block. */
// @ts-ignore: AssemblyScript decorator
@inline
export function wait32(address: usize, expected: u32, ns: f64): void {
  host_wait(<u32>address, expected, ns / 1e6)
}

/** Address of this vCPU's CPU struct; 0 in the hub's instance. */
export let cpu: usize = 0
/** Address of the VM struct. */
export let vm: usize = 0

/** Must be called once per instance before anything else. */
export function bind(vmAddress: u32, cpuAddress: u32): void {
  vm = vmAddress
  cpu = cpuAddress
}

/** Address of segment register i (SEG_*) of this vCPU. */
// @ts-ignore: AssemblyScript decorator
@inline
export function seg(i: i32): usize {
  return cpu + CPU_SEG + i * CPU_SEG_STRIDE
}

/** Makes a fault pending; the caller returns at once and nothing of the instruction takes effect. */
export function raise(vector: u32): void {
  store<u32>(cpu, <u32>FAULT_VALID | vector, CPU_FAULT)
}

/** As raise(), with an error code. */
export function raise_error(vector: u32, error: u32): void {
  store<u32>(cpu, <u32>FAULT_VALID | FAULT_HAS_ERROR | vector, CPU_FAULT)
  store<u32>(cpu, error, CPU_FAULT_ERROR)
}

/** #PF: gva becomes CR2 at delivery. */
export function raise_page_fault(gva: u64, error: u32): void {
  store<u64>(cpu, gva, CPU_FAULT_GVA)
  raise_error(14, error)
}

// @ts-ignore: AssemblyScript decorator
@inline
export function fault_pending(): bool {
  return load<u32>(cpu, CPU_FAULT) != 0
}

// Vectors (SDM Vol. 3, "Exception and Interrupt Reference")
export const VECTOR_DE: u32 = 0
export const VECTOR_DB: u32 = 1
export const VECTOR_NMI: u32 = 2
export const VECTOR_BP: u32 = 3
export const VECTOR_OF: u32 = 4
export const VECTOR_BR: u32 = 5
export const VECTOR_UD: u32 = 6
export const VECTOR_NM: u32 = 7
export const VECTOR_DF: u32 = 8
export const VECTOR_TS: u32 = 10
export const VECTOR_NP: u32 = 11
export const VECTOR_SS: u32 = 12
export const VECTOR_GP: u32 = 13
export const VECTOR_PF: u32 = 14
export const VECTOR_MF: u32 = 16
export const VECTOR_AC: u32 = 17
export const VECTOR_MC: u32 = 18
export const VECTOR_XM: u32 = 19

/** Spin lock for short sections; the hub's thread may not block, so nobody sleeps on it. */
export function lock(address: usize): void {
  while (atomic.cmpxchg<u32>(address, 0, 1) != 0) {}
}

export function unlock(address: usize): void {
  atomic.store<u32>(address, 0)
}

/** CPU struct of vCPU i, 0 if there is none. */
export function cpu_at(i: u32): usize {
  if (i >= load<u32>(vm, VM_VCPU_COUNT)) return 0
  return load<u32>(vm + (i << 2), VM_CPU_PTRS)
}

/** Sets request bits of a vCPU and wakes it if it halts. Callable from any thread. */
export function cpu_request(target: usize, bits: u32): void {
  const before = atomic.or<u32>(target + CPU_REQ, bits)
  // A sleeper leaves the guest before its sleep compares the word: it sees the bits, or we see it gone.
  if ((before & bits) != bits && atomic.load<u32>(target + CPU_IN_GUEST) == 0) atomic.notify(target + CPU_REQ, -1)
}
