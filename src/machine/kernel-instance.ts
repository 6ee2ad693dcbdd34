/**
 * The hub's own instance of kernel.wasm: the same code that vCPU workers run, on the same shared state. It raises GSIs,
 * sends MSIs, resets controllers and CPUs, and never executes guest code.
 */
import type { HostClock, Irqchip } from '#hub/ports.ts'

/** The exports of kernel.wasm that the hub's side calls; addresses are shared-memory addresses. */
export interface KernelExports {
  bind(vm: number, cpu: number): void
  irq_set_gsi(gsi: number, level: number): void
  irq_msi(addressLow: number, data: number): void
  irqchip_reset(): void
  cpu_request(cpu: number, bits: number): void
  cpu_reset(): void
  update_mode(): void
  gfn_frame(gfn: number, write: number): number
  code_store(gfn: number, first: number, last: number): void
  flush_everywhere(): void
}

export interface KernelInstance {
  readonly exports: KernelExports
  readonly irqchip: Irqchip
  request(cpu: number, bits: number): void
  resetIrqchip(): void
  /** Runs `work` as if on that vCPU's thread; the vCPU must be stopped. */
  asCpu(cpu: number, work: (kernel: KernelExports) => void): void
}

export async function instantiateKernel(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  vm: number,
  clock: HostClock,
): Promise<KernelInstance> {
  const instance = await WebAssembly.instantiate(module, {
    env: {
      memory,
      abort: () => {
        throw new Error('kernel.wasm aborted in the hub')
      },
    },
    host: { now: () => clock.nowNs(), kick: () => undefined, wait: () => undefined },
  })
  const kernel = instance.exports as unknown as KernelExports
  kernel.bind(vm, 0)
  return {
    exports: kernel,
    irqchip: {
      setGsi: (gsi, level) => kernel.irq_set_gsi(gsi, level),
      sendMsi: (address, data) => kernel.irq_msi(address >>> 0, data),
    },
    request: (cpu, bits) => kernel.cpu_request(cpu, bits),
    resetIrqchip: () => kernel.irqchip_reset(),
    asCpu(cpu, work) {
      kernel.bind(vm, cpu)
      try {
        work(kernel)
      } finally {
        kernel.bind(vm, 0)
      }
    },
  }
}
