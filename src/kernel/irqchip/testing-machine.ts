/**
 * A machine of the interrupt controllers alone, for the tests: one compiled instance per vCPU and one for the hub over
 * one shared memory, with a clock that the test moves.
 */
import { createHash } from 'node:crypto'
import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import asc from 'assemblyscript/asc'
import { MMIO_CLASS, MMIO_END, MMIO_ENTRY_SIZE, MMIO_SHADOW, MMIO_START } from '#abi/exits.ts'
import {
  CPU_INDEX,
  CPU_IN_GUEST,
  CPU_MODE,
  CPU_REQ,
  CPU_SIZE,
  CPU_VM,
  MODE_CS64,
  MODE_CS_MASK,
  VM_CPU_PTRS,
  VM_MAXPHYADDR,
  VM_MMIO_COUNT,
  VM_MMIO_SEQ,
  VM_MMIO_TABLE,
  VM_PIO_CLASSES,
  VM_PIO_MAP,
  VM_VCPU_COUNT,
} from '#abi/layout.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const ENTRY = 'src/kernel/irqchip/exports.ts'
/** Modules that would bring the whole kernel in. */
const STUBBED = new Set(
  ['mmu', 'frames', 'tlb', 'shootdown', 'debug', 'mode'].map((name) => `src/kernel/${name}.ts`),
)
/** u32 that counts TLB flushes. */
export const FLUSHES = 0x4000
/** AssemblyScript in their place: guest-physical and linear addresses are addresses of the shared memory. */
const STUBS = `
import { cpu } from './state'
export function gpa_host(gpa: u64, write: bool): usize { return <usize>gpa }
export function lin_load<T>(lin: u64, acc: u32): T { return load<T>(<usize>lin) }
export function flush_everywhere(): void {}
export function tlb_flush_all(): void { store<u32>(${FLUSHES}, load<u32>(${FLUSHES}) + 1) }
export function protect_pending(): void {}
export function lin_probe(lin: u64, bytes: u32, acc: u32): bool { return true }
export function own_access(): u32 { return 0 }
export function code64(): bool { return (load<u32>(cpu, ${CPU_MODE}) & ${MODE_CS_MASK}) == ${MODE_CS64} }
export function io_watch(port: u32, bytes: u32): void {}
`
const PAGES = 48

export const VM = 0x10_0000
export const CPUS = 0x14_0000
/** Guest memory of the tests, outside of the structs. */
export const GUEST = 0x20_0000
/** 2 GHz: not the trivial scale. */
export const TSC_KHZ = 2_000_000
export const WALL_NS = 1_700_000_000e9

export const cpuAddress = (index: number): number => CPUS + index * CPU_SIZE

export interface Chips {
  bind(vm: number, cpu: number): void
  clock_init(tscKhz: number, wallNs: number): void
  clock_ns(): number
  clock_pause(): void
  clock_resume(): void
  tsc_read(): bigint
  tsc_read_near(): bigint
  tsc_write(value: bigint): void
  log_write(kind: number, a: bigint, b: bigint): void
  mmio_read(gpa: bigint, bytes: number): bigint
  mmio_write(gpa: bigint, bytes: number, value: bigint): void
  sys_in(port: number, bytes: number): number
  sys_out(port: number, value: number, bytes: number): void
  io_ins_block(port: number, bytes: number, count: number, buffer: number): void
  io_outs_block(port: number, bytes: number, count: number, buffer: number): void
  kvm_msr_read(index: number): bigint
  kvm_msr_write(index: number, value: bigint): number
  pv_reset(cpu: number): void
  irq_pending(): number
  irq_ack(): number
  irq_eoi(): void
  irq_nmi(): void
  lapic_init(cpu: number): void
  lapic_reset(cpu: number): void
  apic_msr_read(index: number): bigint
  apic_msr_write(index: number, value: bigint): number
  cr8_read(): bigint
  cr8_write(value: bigint): void
  irqchip_reset(): void
  irq_msi(address: number, data: number): void
  irq_route_msi(gsi: number, address: number, data: number): void
  irq_set_gsi(gsi: number, level: number): void
  next_deadline(): number
  timers_run(now: number): void
  sys_hlt(): void
  sys_pause(): void
  sys_vmcall(): void
  halt_wait(pending: number, ns: number): void
  halt_kicked(): void
}

/** Compiles once for all test files: .cache holds the result under a hash of every source that may go in. */
export async function compileChips(): Promise<WebAssembly.Module> {
  const hash = createHash('sha256').update(STUBS)
  for (const folder of ['src/abi', 'src/kernel', 'src/kernel/irqchip']) {
    const names = (await readdir(ROOT + folder)).filter(
      (name) => name.endsWith('.ts') && !name.endsWith('.test.ts'),
    )
    for (const name of names.toSorted()) hash.update(name).update(await readFile(`${ROOT}${folder}/${name}`))
  }
  const cached = `${ROOT}.cache/kernel-tests/irqchip-${hash.digest('hex').slice(0, 16)}.wasm`
  const known = await readFile(cached).catch(() => undefined)
  if (known !== undefined) return new WebAssembly.Module(new Uint8Array(known))
  const binary = await compile()
  await mkdir(dirname(cached), { recursive: true })
  // Test files run side by side: whoever renames last wins, and all write the same.
  const mine = `${cached}.${process.pid}`
  await writeFile(mine, binary)
  await rename(mine, cached)
  return new WebAssembly.Module(binary)
}

async function compile(): Promise<Uint8Array<ArrayBuffer>> {
  let binary: Uint8Array<ArrayBuffer> | undefined
  let complaints = ''
  const { error } = await asc.main(
    [
      ENTRY,
      '--runtime',
      'stub',
      '--importMemory',
      '--sharedMemory',
      '--initialMemory',
      `${PAGES}`,
      '--maximumMemory',
      `${PAGES}`,
      '--memoryBase',
      String(0x1_0000),
      '--enable',
      'threads,simd,bulk-memory,relaxed-simd',
      '--noAssert',
      '-O2',
      '-o',
      'out.wasm',
    ],
    {
      readFile: (name) => (STUBBED.has(name) ? STUBS : readFile(ROOT + name, 'utf8').catch(() => null)),
      writeFile: (name, contents) => {
        if (name.endsWith('.wasm')) binary = contents as Uint8Array<ArrayBuffer>
      },
      listFiles: () => [],
      stderr: { write: (chunk) => void (complaints += String(chunk)) },
    },
  )
  if (error !== null || binary === undefined)
    throw new Error(`asc ${ENTRY}: ${error?.message ?? 'no output'}\n${complaints}`)
  return binary
}

export class TestMachine {
  readonly module: WebAssembly.Module
  readonly memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true })
  readonly view = new DataView(this.memory.buffer)
  readonly i32 = new Int32Array(this.memory.buffer)
  readonly u8 = new Uint8Array(this.memory.buffer)
  /** Host ns. Tests move it. */
  now = 1e9
  /** By how much each look at the clock moves it. */
  tickNs = 0
  kicks = 0
  /** What happens while a vCPU sleeps. */
  onWait: (timeoutMs: number) => void = () => undefined
  readonly hub: Chips
  /** One per vCPU. */
  readonly cpus: readonly Chips[]

  constructor(module: WebAssembly.Module, vcpus = 2) {
    this.module = module
    this.view.setUint32(VM + VM_VCPU_COUNT, vcpus, true)
    this.view.setUint32(VM + VM_MAXPHYADDR, 40, true)
    for (let i = 0; i < vcpus; i++) {
      this.view.setUint32(VM + VM_CPU_PTRS + 4 * i, cpuAddress(i), true)
      this.view.setUint32(cpuAddress(i) + CPU_INDEX, i, true)
      this.view.setUint32(cpuAddress(i) + CPU_VM, VM, true)
      this.view.setUint32(cpuAddress(i) + CPU_IN_GUEST, 1, true)
    }
    this.hub = this.#instance(0)
    this.cpus = Array.from({ length: vcpus }, (_, i) => this.#instance(cpuAddress(i)))
    this.hub.clock_init(TSC_KHZ, WALL_NS)
    this.hub.irqchip_reset()
    this.cpus.forEach((_, i) => {
      this.hub.lapic_reset(cpuAddress(i))
      this.hub.pv_reset(cpuAddress(i))
    })
    for (let i = 0; i < vcpus; i++) this.takeRequests(i)
  }

  #instance(cpu: number): Chips {
    const instance = new WebAssembly.Instance(this.module, {
      env: {
        memory: this.memory,
        abort: () => {
          throw new Error('abort')
        },
      },
      host: {
        now: () => (this.now += this.tickNs),
        kick: () => void this.kicks++,
        wait: (_address: number, _expected: number, timeoutMs: number) => this.onWait(timeoutMs),
      },
    })
    const chips = instance.exports as unknown as Chips
    chips.bind(VM, cpu)
    return chips
  }

  cpu(index: number): Chips {
    const chips = this.cpus[index]
    if (chips === undefined) throw new RangeError(`no vCPU ${index}`)
    return chips
  }

  /** Moves time and lets every vCPU look at its timers. */
  advance(ns: number): void {
    this.now += ns
    for (const chips of this.cpus) chips.timers_run(chips.clock_ns())
  }

  /** Request bits of a vCPU, cleared. */
  takeRequests(index: number): number {
    return Atomics.exchange(this.i32, (cpuAddress(index) + CPU_REQ) >> 2, 0)
  }

  #classes = 1

  /** Gives a port a class word (abi/exits.ts). */
  mapPort(port: number, word: number): void {
    this.view.setUint16(VM + VM_PIO_CLASSES + 2 * this.#classes, word, true)
    this.u8[VM + VM_PIO_MAP + port] = this.#classes++
  }

  #ranges: { start: number; bytes: number; word: number; shadow: number }[] = []

  /** Publishes a range as the hub does. */
  mapMmio(start: number, bytes: number, word: number, shadow = 0): void {
    this.#ranges = [...this.#ranges, { start, bytes, word, shadow }].toSorted((a, b) => a.start - b.start)
    const sequence = (VM + VM_MMIO_SEQ) >> 2
    Atomics.add(this.i32, sequence, 1)
    this.#ranges.forEach((range, i) => {
      const at = VM + VM_MMIO_TABLE + i * MMIO_ENTRY_SIZE
      this.view.setBigUint64(at + MMIO_START, BigInt(range.start), true)
      this.view.setBigUint64(at + MMIO_END, BigInt(range.start + range.bytes), true)
      this.view.setUint32(at + MMIO_CLASS, range.word, true)
      this.view.setUint32(at + MMIO_SHADOW, range.shadow, true)
    })
    this.view.setUint32(VM + VM_MMIO_COUNT, this.#ranges.length, true)
    Atomics.add(this.i32, sequence, 1)
  }

  u32(address: number): number {
    return this.view.getUint32(address, true)
  }

  /** Local APIC register by MMIO. */
  lapicRead(index: number, register: number): number {
    return Number(this.cpu(index).mmio_read(BigInt(0xfee0_0000 + register), 4))
  }

  lapicWrite(index: number, register: number, value: number): void {
    this.cpu(index).mmio_write(BigInt(0xfee0_0000 + register), 4, BigInt(value >>> 0))
  }

  /** Software enables the APICs, spurious vector 0xff. */
  enableLapics(): void {
    this.cpus.forEach((_, i) => this.lapicWrite(i, 0xf0, 0x1ff))
  }

  /** Vectors that a vCPU can take now, in order, each finished with an EOI. */
  drain(index: number): number[] {
    const chips = this.cpu(index)
    const vectors: number[] = []
    while (chips.irq_pending() && vectors.length < 300) {
      const vector = chips.irq_ack()
      if (vector < 0) break
      vectors.push(vector)
      chips.irq_eoi()
    }
    return vectors
  }
}
