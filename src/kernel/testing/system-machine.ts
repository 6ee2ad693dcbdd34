/**
 * One vCPU without an engine, for tests of the MMU, segments, transfers and system registers: kernel.wasm over
 * a memory with flat guest RAM, and builders for page tables, descriptors and gates.
 *
 * RAM is contiguous from gpa 0, so that a test writes guest structures where it likes; frames beyond PRESENT_PAGES appear
 * at their first touch, as in a machine.
 */
import { createHash } from 'node:crypto'
import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as abi from '#abi/layout.ts'
import { compileKernel } from '#engine/build/asc.ts'
import { MEMORY_MAX_PAGES, MEMORY_MIN_PAGES } from '#engine/interp/build-interp.ts'
import { writeCpuModel } from '#machine/cpu-models.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const ENTRY = 'src/kernel/system-exports.ts'

export const VM = 0x10_0000
const FRAME_MAP = 0x14_0000
const CPUS = 0x16_0000
const CPU_STRIDE = abi.CPU_SIZE + abi.TLB_BYTES
/** Address of gpa 0. */
const RAM = 0x60_0000
/** gfns that the map covers: 64 MiB of guest-physical space. */
const GFN_COUNT = 0x4000
const RAM_PAGES = 0x800
const PRESENT_PAGES = 0x400

export interface Kernel {
  bind(vm: number, cpu: number): void
  cpu_reset(): void
  cpu_init(): void
  cpu_sipi(vector: number): void
  update_mode(): void
  flags_get(): number
  flags_set(flags: number): void
  mem_load8(gva: bigint, seg: number): number
  mem_load16(gva: bigint, seg: number): number
  mem_load32(gva: bigint, seg: number): number
  mem_load64(gva: bigint, seg: number): bigint
  mem_store8(gva: bigint, value: number, seg: number): void
  mem_store16(gva: bigint, value: number, seg: number): void
  mem_store32(gva: bigint, value: number, seg: number): void
  mem_store64(gva: bigint, value: bigint, seg: number): void
  mem_load_bytes(gva: bigint, address: number, count: number, seg: number): void
  mem_store_bytes(gva: bigint, address: number, count: number, seg: number): void
  mem_rmw_begin(gva: bigint, bytesAndLock: number, seg: number): number
  mem_rmw_end(): void
  mem_probe(gva: bigint, bytes: number, write: number, seg: number): void
  mmu_exec_page(gva: bigint): number
  gpa_host(gpa: bigint, write: number): number
  gfn_frame(gfn: number, write: number): number
  code_store(gfn: number, first: number, last: number): void
  flush_everywhere(): void
  frame_alloc(): number
  frame_free(frame: number): void
  tlb_flush_all(): void
  tlb_flush_page(gva: bigint): void
  tlb_protect(host: number): void
  is_watched(gfn: number): number
  watch_page(gfn: number): number
  protect_pending(): void
  seg_linear(seg: number, offset: bigint, access: number): bigint
  sys_load_seg(i: number, selector: number): void
  sys_lldt(selector: number): void
  sys_ltr(selector: number): void
  sys_sldt(): number
  sys_lgdt(limit: number, base: bigint): void
  sys_sgdt(): bigint
  sys_lar(selector: number): bigint
  sys_lsl(selector: number): bigint
  sys_verr(selector: number): number
  sys_verw(selector: number): number
  sys_swapgs(): void
  sys_wrfsbase(base: bigint): void
  sys_jmp_far(selector: number, offset: bigint, bytes: number): void
  sys_call_far(selector: number, offset: bigint, bytes: number): void
  sys_ret_far(release: number, bytes: number): void
  sys_iret(bytes: number): void
  sys_int(vector: number): void
  sys_int3(): void
  sys_int1(): void
  sys_syscall(): void
  sys_sysret(bytes: number): void
  sys_sysenter(): void
  sys_sysexit(bytes: number): void
  sys_cli(): void
  sys_sti(): void
  sys_pushf(bytes: number): void
  sys_popf(bytes: number): void
  sys_stac(): void
  sys_clac(): void
  deliver_fault(): void
  deliver_interrupt(vector: number): void
  deliver_nmi(): void
  debug_before(): number
  debug_after(): number
  sys_mov_from_cr(n: number): bigint
  sys_mov_to_cr(n: number, value: bigint): void
  sys_mov_from_dr(n: number): bigint
  sys_mov_to_dr(n: number, value: bigint): void
  sys_lmsw(value: number): void
  sys_smsw(): bigint
  sys_clts(): void
  fpu_check(family: number): void
  sys_invlpg(gva: bigint): void
  sys_invpcid(type: bigint, low: bigint, high: bigint): void
  sys_xsetbv(): void
  sys_xgetbv(): void
  sys_cpuid(): void
  sys_rdmsr(): void
  sys_wrmsr(): void
  sys_rdtsc(): bigint
  sys_rdrand(): bigint
}

export interface Fault {
  readonly vector: number
  /** undefined: this vector pushes none. */
  readonly error?: number
  readonly gva?: bigint
}

/** Compiles once for all test files: .cache holds the result under a hash of every source that goes in. */
export async function compileSystem(): Promise<WebAssembly.Module> {
  const hash = createHash('sha256')
  for (const folder of ['src/abi', 'src/kernel', 'src/kernel/irqchip', 'src/kernel/fp']) {
    const names = (await readdir(ROOT + folder)).filter(
      (name) => name.endsWith('.ts') && !name.endsWith('.test.ts'),
    )
    for (const name of names.toSorted()) hash.update(name).update(await readFile(`${ROOT}${folder}/${name}`))
  }
  const cached = `${ROOT}.cache/kernel-tests/system-${hash.digest('hex').slice(0, 16)}.wasm`
  const known = await readFile(cached).catch(() => undefined)
  if (known !== undefined) return new WebAssembly.Module(new Uint8Array(known))
  const binary = await compileKernel(ROOT, ENTRY)
  await mkdir(dirname(cached), { recursive: true })
  // Test files run side by side: whoever renames last wins, and all write the same.
  const mine = `${cached}.${process.pid}`
  await writeFile(mine, binary)
  await rename(mine, cached)
  return new WebAssembly.Module(binary)
}

export const SEG_FLAT_CODE64 = 0x00af_9b00_0000_ffffn
export const SEG_FLAT_CODE32 = 0x00cf_9b00_0000_ffffn
export const SEG_FLAT_DATA = 0x00cf_9300_0000_ffffn

/** Descriptor of a segment or system object; attr as in SEG_ATTR (access byte, AVL L D/B G from bit 8). */
export function descriptor(base: number, limit: number, attr: number): bigint {
  const low = BigInt((limit & 0xffff) | ((base & 0xffff) << 16)) & 0xffff_ffffn
  const high =
    ((base >>> 16) & 0xff) |
    ((attr & 0xff) << 8) |
    (limit & 0xf_0000) |
    ((attr & 0xf00) << 12) |
    (base & 0xff00_0000)
  return (BigInt(high >>> 0) << 32n) | (low & 0xffff_ffffn)
}

/** Call, interrupt or trap gate; access = P DPL type. */
export function gate(selector: number, offset: number, access: number, count = 0): bigint {
  const low = ((selector << 16) | (offset & 0xffff)) >>> 0
  const high = ((offset & 0xffff_0000) | (access << 8) | count) >>> 0
  return (BigInt(high) << 32n) | BigInt(low)
}

export class SystemMachine {
  readonly memory = new WebAssembly.Memory({
    initial: MEMORY_MIN_PAGES,
    maximum: MEMORY_MAX_PAGES,
    shared: true,
  })
  readonly k: Kernel
  readonly view: DataView
  readonly cpu = CPUS
  /** Host ns. */
  now = 1e9
  /** What the kernel does while it waits. */
  onWait = (): void => undefined

  constructor(module: WebAssembly.Module, cpuModel = 'max') {
    const need = RAM + (RAM_PAGES + 64) * 4096
    const missing = Math.ceil((need - this.memory.buffer.byteLength) / 65_536)
    if (missing > 0) this.memory.grow(missing)
    this.view = new DataView(this.memory.buffer)
    const instance = new WebAssembly.Instance(module, {
      env: {
        memory: this.memory,
        abort: () => {
          throw new Error('kernel.wasm aborted')
        },
      },
      host: { now: () => this.now, kick: () => undefined, wait: () => this.onWait() },
    })
    this.k = instance.exports as unknown as Kernel
    this.#layOut()
    writeCpuModel(this.memory.buffer, this.cpu, cpuModel, {
      index: 0,
      count: 1,
      seed: new Uint8Array(32).fill(7),
    })
    this.k.bind(VM, this.cpu)
    this.k.cpu_reset()
  }

  #layOut(): void {
    const u32 = (at: number, value: number): void => this.view.setUint32(at, value, true)
    u32(abi.POOL_FRAME_FIRST, RAM / 4096)
    u32(abi.POOL_FRAME_NEXT, RAM / 4096 + PRESENT_PAGES)
    u32(abi.POOL_FRAME_LIMIT, RAM / 4096 + RAM_PAGES)
    u32(VM + abi.VM_FRAME_MAP, FRAME_MAP)
    u32(VM + abi.VM_GFN_COUNT, GFN_COUNT)
    u32(VM + abi.VM_VCPU_COUNT, 1)
    u32(VM + abi.VM_CPU_PTRS, this.cpu)
    u32(VM + abi.VM_A20_MASK, 0xffff_ffff)
    u32(VM + abi.VM_MAXPHYADDR, 40)
    u32(VM + abi.VM_TSC_KHZ, 1_000_000)
    for (let gfn = 0; gfn < RAM_PAGES; gfn++) {
      this.setFrame(
        gfn,
        gfn < PRESENT_PAGES ? abi.FRAME_PRESENT | abi.FRAME_RAM | (RAM / 4096 + gfn) : abi.FRAME_RAM,
      )
    }
    u32(this.cpu + abi.CPU_VM, VM)
    u32(this.cpu + abi.CPU_TLB_BANKS, this.cpu + abi.CPU_SIZE)
    u32(this.cpu + CPU_STRIDE, 0)
  }

  frame(gfn: number): number {
    return this.view.getUint32(FRAME_MAP + 4 * gfn, true)
  }

  setFrame(gfn: number, entry: number): void {
    this.view.setUint32(FRAME_MAP + 4 * gfn, entry >>> 0, true)
  }

  /** Adds flags to an entry. */
  flagFrame(gfn: number, flags: number): void {
    this.setFrame(gfn, this.frame(gfn) | flags)
  }

  // --- CPU fields ------------------------------------------------------------------------------------------------------

  get32(offset: number): number {
    return this.view.getUint32(this.cpu + offset, true)
  }

  set32(offset: number, value: number): void {
    this.view.setUint32(this.cpu + offset, value, true)
  }

  get64(offset: number): bigint {
    return this.view.getBigUint64(this.cpu + offset, true)
  }

  set64(offset: number, value: bigint | number): void {
    this.view.setBigUint64(this.cpu + offset, BigInt(value), true)
  }

  seg(i: number): { selector: number; base: bigint; limit: number; attr: number } {
    const at = abi.CPU_SEG + i * abi.CPU_SEG_STRIDE
    return {
      selector: this.view.getUint16(this.cpu + at + abi.SEG_SELECTOR, true),
      base: this.get64(at + abi.SEG_BASE),
      limit: this.get32(at + abi.SEG_LIMIT),
      attr: this.get32(at + abi.SEG_ATTR),
    }
  }

  setSeg(i: number, selector: number, base: number, limit: number, attr: number): void {
    const at = abi.CPU_SEG + i * abi.CPU_SEG_STRIDE
    this.view.setUint16(this.cpu + at + abi.SEG_SELECTOR, selector, true)
    this.set64(at + abi.SEG_BASE, base)
    this.set32(at + abi.SEG_LIMIT, limit)
    this.set32(at + abi.SEG_ATTR, attr)
  }

  /** The pending fault, which is cleared. */
  takeFault(): Fault | undefined {
    const raw = this.get32(abi.CPU_FAULT)
    if (raw === 0) return undefined
    this.set32(abi.CPU_FAULT, 0)
    const vector = raw & 0xff
    const fault: { vector: number; error?: number; gva?: bigint } = { vector }
    if (raw & abi.FAULT_HAS_ERROR) fault.error = this.get32(abi.CPU_FAULT_ERROR)
    if (vector === 14) fault.gva = this.get64(abi.CPU_FAULT_GVA)
    return fault
  }

  setRip(rip: bigint | number, next: bigint | number = rip): void {
    this.set64(abi.CPU_RIP, rip)
    this.set64(abi.CPU_NEXT_RIP, next)
  }

  /** Everything a program can see of registers, to compare before and after a fault. */
  visible(): Uint8Array {
    const state = new Uint8Array(this.memory.buffer, this.cpu, 0x300).slice()
    // RIP is the run loop's, FL_* a representation
    state.fill(0, abi.CPU_PCBASE, abi.CPU_NEXT_RIP + 8)
    return state
  }

  // --- guest RAM, by gpa --------------------------------------------------------------------------------------------------

  read16(gpa: number): number {
    return this.view.getUint16(RAM + gpa, true)
  }

  read32(gpa: number): number {
    return this.view.getUint32(RAM + gpa, true)
  }

  read64(gpa: number): bigint {
    return this.view.getBigUint64(RAM + gpa, true)
  }

  write8(gpa: number, value: number): void {
    this.view.setUint8(RAM + gpa, value)
  }

  write16(gpa: number, value: number): void {
    this.view.setUint16(RAM + gpa, value, true)
  }

  write32(gpa: number, value: number): void {
    this.view.setUint32(RAM + gpa, value >>> 0, true)
  }

  write64(gpa: number, value: bigint): void {
    this.view.setBigUint64(RAM + gpa, value, true)
  }

  // --- modes ------------------------------------------------------------------------------------------------------------

  /** Enters one entry in 4-level tables under cr3; tables are taken from `next`, upper levels allow everything. */
  map64(cr3: number, lin: bigint, gpa: number, flags: bigint, level = 1): void {
    let table = cr3
    for (let l = 4; l > level; l--) {
      const at = table + Number((lin >> BigInt(3 + 9 * l)) & 0x1ffn) * 8
      if ((this.read64(at) & 1n) === 0n) this.write64(at, BigInt(this.#newTable()) | 7n)
      table = Number(this.read64(at) & 0xffff_f000n)
    }
    this.write64(table + Number((lin >> BigInt(3 + 9 * level)) & 0x1ffn) * 8, BigInt(gpa) | flags)
  }

  /** gpa of the level-1 (or given level's) entry of lin. */
  entry64(cr3: number, lin: bigint, level = 1): number {
    let table = cr3
    for (let l = 4; l > level; l--) {
      table = Number(this.read64(table + Number((lin >> BigInt(3 + 9 * l)) & 0x1ffn) * 8) & 0xffff_f000n)
    }
    return table + Number((lin >> BigInt(3 + 9 * level)) & 0x1ffn) * 8
  }

  #tables = 0x10_0000
  #newTable(): number {
    const at = this.#tables
    this.#tables += 0x1000
    for (let i = 0; i < 4096; i += 8) this.write64(at + i, 0n)
    return at
  }

  /** Flat 32-bit protected mode without paging; GDT at 0x1000 with code, data for CPL 0 and 3. */
  protectedMode(cpl: 0 | 3 = 0): void {
    this.standardGdt(SEG_FLAT_CODE32)
    this.set64(abi.CPU_CR0, 0x11)
    this.#enter(cpl)
  }

  /** 64-bit mode; the first 4 MiB identity-mapped for CPL 0 and 3, tables at 0x80000. */
  longMode(cpl: 0 | 3 = 0): void {
    this.standardGdt(SEG_FLAT_CODE64)
    for (let gpa = 0; gpa < 0x40_0000; gpa += 0x1000) this.map64(CR3, BigInt(gpa), gpa, 7n)
    this.set64(abi.CPU_CR0, 0x8000_0011n)
    this.set64(abi.CPU_CR3, CR3)
    this.set64(abi.CPU_CR4, 0x20)
    this.set64(abi.CPU_EFER, 0xd01)
    this.#enter(cpl)
  }

  standardGdt(code: bigint): void {
    this.write64(GDT, 0n)
    this.write64(GDT + 0x08, code)
    this.write64(GDT + 0x10, SEG_FLAT_DATA)
    this.write64(GDT + 0x18, code | (3n << 45n))
    this.write64(GDT + 0x20, SEG_FLAT_DATA | (3n << 45n))
    this.setSeg(abi.SEG_GDTR, 0, GDT, 0xfff, 0)
    this.setSeg(abi.SEG_IDTR, 0, IDT, 0xfff, 0)
  }

  #enter(cpl: 0 | 3): void {
    const code = this.read64(GDT + (cpl === 0 ? 0x08 : 0x18))
    const attr = Number((code >> 40n) & 0xffn) | (Number((code >> 52n) & 0xfn) << 8)
    const dpl = cpl << 5
    this.setSeg(abi.SEG_CS, (cpl === 0 ? 0x08 : 0x18) | cpl, 0, 0xffff_ffff, attr)
    for (const i of [abi.SEG_SS, abi.SEG_DS, abi.SEG_ES, abi.SEG_FS, abi.SEG_GS]) {
      this.setSeg(i, (cpl === 0 ? 0x10 : 0x20) | cpl, 0, 0xffff_ffff, 0xc93 | dpl)
    }
    this.set32(abi.CPU_CPL, cpl)
    this.k.update_mode()
    this.k.tlb_flush_all()
  }

  setFlags(flags: number): void {
    this.k.flags_set(flags)
    this.set32(abi.CPU_EFLAGS, (flags & ~0x8d5) | 2)
    this.k.update_mode()
  }
}

export const GDT = 0x1000
export const IDT = 0x2000
export const TSS = 0x3000
export const CR3 = 0x8_0000
