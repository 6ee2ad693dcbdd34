/**
 * A VM of one or more vCPUs and a little RAM, without hub or devices, for tests and benchmarks of the engine. Guests end
 * by a triple fault (UD2 with an empty IDT): run() then returns EXITREASON_SHUTDOWN with the registers in place.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { Worker } from 'node:worker_threads'
import { CACHE_BYTES, CACHE_SIZE } from '../../abi/code-cache.ts'
import * as abi from '../../abi/layout.ts'
import { buildAll } from '../build/build-wasm.ts'
import { MEMORY_MAX_PAGES } from '../interp/build-interp.ts'
import { createEngine } from '../vcpu-loop.ts'
import type { Engine, EngineStart } from '../vcpu-loop.ts'

const WASM = path.resolve(import.meta.dirname, '../../../public/wasm')
const WASM_PAGE = 0x1_0000

export interface TestKernel {
  bind(vm: number, cpu: number): void
  cpu_reset(): void
  update_mode(): void
  clock_init(tscKhz: number, wallNs: number): void
  irqchip_reset(): void
  decode_one(code: number, avail: number, mode: number, pageOff: number, rec: number): number
  flags_get(): number
  cpu_request(cpu: number, bits: number): void
  code_write(gfn: number): void
}

export interface TestVm {
  readonly memory: WebAssembly.Memory
  readonly view: DataView
  readonly kernel: TestKernel
  readonly interp: WebAssembly.Module
  readonly kernelModule: WebAssembly.Module
  readonly vm: number
  readonly cpus: readonly number[]
  readonly engines: readonly Engine[]
  /** Host address of a gpa. */
  host(gpa: number): number
  write(gpa: number, bytes: Uint8Array | readonly number[]): void
}

const now = (): number => Number(process.hrtime.bigint())

let modules:
  | Promise<{ kernel: WebAssembly.Module; interp: WebAssembly.Module; tables: Uint8Array }>
  | undefined

async function load(): Promise<{
  kernel: WebAssembly.Module
  interp: WebAssembly.Module
  tables: Uint8Array
}> {
  buildAll()
  const read = (name: string): Uint8Array<ArrayBuffer> => Uint8Array.from(readFileSync(path.join(WASM, name)))
  return {
    kernel: await WebAssembly.compile(read('kernel.wasm')),
    interp: await WebAssembly.compile(read('interp.wasm')),
    tables: read('isa.bin'),
  }
}

export async function createTestVm(ramBytes = 0x20_0000, cpuCount = 1): Promise<TestVm> {
  modules ??= load()
  const { kernel: kernelModule, interp, tables } = await modules
  const vm = abi.ARENA_BASE
  const firstCpu = vm + abi.VM_SIZE
  const cpuBytes = abi.CPU_REGIONS + abi.CPU_REGIONS_BYTES + CACHE_SIZE
  const frameMap = firstCpu + cpuCount * cpuBytes
  const gfnCount = ramBytes / abi.PAGE_SIZE
  const framesAt = Math.ceil((frameMap + gfnCount * 4) / WASM_PAGE) * WASM_PAGE
  const pages = (framesAt + ramBytes) >>> 16
  const memory = new WebAssembly.Memory({ initial: pages, maximum: MEMORY_MAX_PAGES, shared: true })
  const view = new DataView(memory.buffer)
  new Uint8Array(memory.buffer, abi.ISA_TABLES_BASE).set(tables)
  const frames = framesAt / abi.PAGE_SIZE
  for (let gfn = 0; gfn < gfnCount; gfn++) {
    view.setUint32(frameMap + gfn * 4, (abi.FRAME_PRESENT | abi.FRAME_RAM | (frames + gfn)) >>> 0, true)
  }
  const set = (address: number, value: number): void => view.setUint32(address, value, true)
  set(abi.POOL_ARENA_NEXT, framesAt)
  set(vm + abi.VM_FRAME_MAP, frameMap)
  set(vm + abi.VM_GFN_COUNT, gfnCount)
  set(vm + abi.VM_VCPU_COUNT, cpuCount)
  set(vm + abi.VM_A20_MASK, 0xffff_ffff)
  set(vm + abi.VM_MAXPHYADDR, 40)
  const cpus = Array.from({ length: cpuCount }, (_, i) => firstCpu + i * cpuBytes)
  const instance = new WebAssembly.Instance(kernelModule, {
    env: { memory, abort: () => { throw new Error('abort') } },
    host: { now, kick: () => undefined, wait: () => undefined },
  }) // prettier-ignore
  const kernel = instance.exports as unknown as TestKernel
  cpus.forEach((cpu, i) => {
    const banks = cpu + abi.CPU_SIZE
    const cache = cpu + abi.CPU_REGIONS + abi.CPU_REGIONS_BYTES
    set(vm + abi.VM_CPU_PTRS + i * 4, cpu)
    set(cpu + abi.CPU_VM, vm)
    set(cpu + abi.CPU_INDEX, i)
    set(cpu + abi.CPU_TLB_BANKS, banks)
    set(cpu + abi.CPU_CODE_CACHE, cache)
    set(cache + CACHE_BYTES, CACHE_SIZE)
    for (let word = 0; word < 8; word++) set(cpu + abi.CPU_FEATURES + word * 4, 0xffff_ffff)
  })
  kernel.bind(vm, 0)
  kernel.clock_init(1_000_000, 0)
  kernel.irqchip_reset()
  for (const cpu of cpus) {
    kernel.bind(vm, cpu)
    kernel.cpu_reset()
  }
  const engines = cpus.map((cpu) =>
    createEngine({ memory, kernel: kernelModule, interp, vm, cpu }, now, () => undefined),
  )
  return {
    memory, view, kernel, interp, kernelModule, vm, cpus, engines,
    host: (gpa) => framesAt + gpa,
    write: (gpa, bytes) => new Uint8Array(memory.buffer, framesAt + gpa, bytes.length).set(bytes),
  } // prettier-ignore
}

/** Runs a vCPU in a thread of its own; resolves with the reason why it left. */
export function runInThread(test: TestVm, vcpu: number): Promise<number> {
  const { memory, kernelModule, interp, vm, cpus } = test
  const start: EngineStart = { memory, kernel: kernelModule, interp, vm, cpu: cpus[vcpu] ?? 0 }
  // Node 20 applies --import to the main thread only: the thread registers the TypeScript loader itself.
  const entry = new URL('./vcpu-thread.ts', import.meta.url).href
  const boot = `import('tsx/esm/api').then(({ register }) => (register(), import(${JSON.stringify(entry)})))`
  const worker = new Worker(boot, { eval: true, workerData: start })
  return new Promise((resolve, reject) => {
    worker.once('message', (reason: number) => resolve(reason))
    worker.once('error', reject)
  })
}

export const gpr = ({ view, cpus }: TestVm, number: number, vcpu = 0): bigint =>
  view.getBigUint64((cpus[vcpu] ?? 0) + abi.CPU_GPR + number * 8, true)

/** Real mode at 0:offset, with an empty IDT so that any fault ends the run. */
export function enterReal({ view, cpus, kernel, vm }: TestVm, offset: number, vcpu = 0): void {
  const cpu = cpus[vcpu] ?? 0
  const segment = (i: number, field: number): number => cpu + abi.CPU_SEG + i * abi.CPU_SEG_STRIDE + field
  view.setBigUint64(segment(abi.SEG_CS, abi.SEG_BASE), 0n, true)
  view.setUint16(segment(abi.SEG_CS, abi.SEG_SELECTOR), 0, true)
  view.setUint32(segment(abi.SEG_IDTR, abi.SEG_LIMIT), 0, true)
  view.setBigUint64(cpu + abi.CPU_RIP, BigInt(offset), true)
  view.setBigUint64(cpu + abi.CPU_RSP, 0x7000n, true)
  view.setUint32(cpu + abi.CPU_RUNSTATE, abi.RUN_RUNNING, true)
  kernel.bind(vm, cpu)
  kernel.update_mode()
}

const CR0_PG_WP_NE_ET_PE = 0x8001_0031
const CR4_OSXMMEXCPT_OSFXSR_PGE_PAE = 0x6a0
const EFER_NXE_LMA_LME_SCE = 0xd01
const PTE_TABLE = 0x27n // present, writable, user, accessed
const PTE_LARGE = 0x1e7n // and dirty, global, 2 MiB

/** 64-bit code at `rip`, CPL 0, RAM mapped one to one by 2 MiB pages; the tables take gpa 0x1000..0x3fff. */
export function enterLong(test: TestVm, rip: number, rsp: number, vcpu = 0): void {
  const { view, cpus, kernel, vm } = test
  const cpu = cpus[vcpu] ?? 0
  view.setBigUint64(test.host(0x1000), 0x2000n | PTE_TABLE, true)
  view.setBigUint64(test.host(0x2000), 0x3000n | PTE_TABLE, true)
  for (let i = 0; i < 512; i++)
    view.setBigUint64(test.host(0x3000 + i * 8), (BigInt(i) << 21n) | PTE_LARGE, true)
  const segment = (i: number, attr: number): void => {
    const at = cpu + abi.CPU_SEG + i * abi.CPU_SEG_STRIDE
    view.setBigUint64(at + abi.SEG_BASE, 0n, true)
    view.setUint32(at + abi.SEG_LIMIT, 0xffff_ffff, true)
    view.setUint32(at + abi.SEG_ATTR, attr, true)
  }
  segment(abi.SEG_CS, 0xa9b) // execute, read, accessed, S, P, L, G
  for (const i of [abi.SEG_ES, abi.SEG_SS, abi.SEG_DS, abi.SEG_FS, abi.SEG_GS]) segment(i, 0xc93)
  view.setUint32(cpu + abi.CPU_SEG + abi.SEG_IDTR * abi.CPU_SEG_STRIDE + abi.SEG_LIMIT, 0, true)
  view.setBigUint64(cpu + abi.CPU_CR0, BigInt(CR0_PG_WP_NE_ET_PE), true)
  view.setBigUint64(cpu + abi.CPU_CR3, 0x1000n, true)
  view.setBigUint64(cpu + abi.CPU_CR4, BigInt(CR4_OSXMMEXCPT_OSFXSR_PGE_PAE), true)
  view.setBigUint64(cpu + abi.CPU_EFER, BigInt(EFER_NXE_LMA_LME_SCE), true)
  view.setBigUint64(cpu + abi.CPU_RIP, BigInt(rip), true)
  view.setBigUint64(cpu + abi.CPU_RSP, BigInt(rsp), true)
  view.setUint32(cpu + abi.CPU_CPL, 0, true)
  view.setUint32(cpu + abi.CPU_RUNSTATE, abi.RUN_RUNNING, true)
  kernel.bind(vm, cpu)
  kernel.update_mode()
}
