/**
 * Our own CPU as an executor of cases: kernel.wasm and the generated interpreter on a small machine in 64-bit mode, with the
 * memory map of oracle.c. The guest runs a case at CPL 3; every exception goes through its IDT to a HLT, where the
 * host clock callback stops the vCPU, so that delivery is tested along with the instruction.
 *
 * Physical: 0x1000 page tables, 0xb000 GDT, 0xc000 IDT, 0xd000 TSS, 0xe000 HLT stubs, 0xf000 ring-0 stack,
 * 0x10000 code, 0x20000 data (2 pages), 0x30000 read-only page.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { CACHE_BYTES, CACHE_SIZE } from '#abi/code-cache.ts'
import * as abi from '#abi/layout.ts'
import { REC_OP } from '#abi/record.ts'
import { CodePlaces } from '#engine/jit/code-places.ts'
import { JIT_LIMITS, Jit, createRegionTable, type JitKernel } from '#engine/jit/jit.ts'
import { InlineCompiler } from '#engine/jit/mailbox.ts'
import { JIT_OFF } from '#abi/jit.ts'
import { HANDLER_REGION } from '#isa/handlers.ts'
import * as at from './layout.ts'
import {
  CS,
  descriptorBytes,
  FLAT_FS_BASE,
  FLAT_GS_BASE,
  isSegmented,
  LDT as LDT_ENTRIES,
  LDT_BYTES,
  SEGMENTS,
  type Mode,
} from './modes.ts'

const MEMORY_PAGES = 1024
const MEMORY_MAX_PAGES = 65536
const GFN_COUNT = 64
const PTE_PRESENT = 1n
const PTE_WRITE = 2n
const PTE_USER = 4n
const PTE_NX = 1n << 63n

const GDT = 0xb000
const LDT = 0xb800
const IDT = 0xc000
const TSS = 0xd000
const STUBS = 0xe000
const STACK_TOP = 0x10000
/** Linear address of physical 0. */
const UPPER = 0xffff_8000_0000_0000n
const CODE = 0x10000
const DATA = 0x20000
const READ_ONLY = 0x30000

const KERNEL_CS = 0x10
const USER_CS32 = 0x23
const USER_DS = 0x2b
const USER_CS64 = 0x33
const ATTR_CODE64 = 0xafb
const ATTR_CODE32 = 0xcfb
const ATTR_DATA = 0xcf3
const ATTR_TSS = 0x8b
const ATTR_LDT = 0x82
const ATTR_DB = 0x400

const CR0 = 0x8005_0033n // PG AM WP NE ET MP PE
const CR4 = 0x5_06a0n // PAE PGE OSFXSR OSXMMEXCPT FSGSBASE OSXSAVE
const EFER = 0xd01n // NXE LMA LME SCE
const HAS_ERROR = new Set([8, 10, 11, 12, 13, 14, 17])
/** Features whose rows do not exist or that change what plain instructions do: LA57, PKU, VMX, SVM. */
const ABSENT_FEATURES = [112, 99, 37, 162]

interface KernelExports {
  bind(vm: number, cpu: number): void
  cpu_reset(): void
  update_mode(): void
  flags_set(flags: number): void
  flags_get(): number
  code_write(gfn: number): void
  irqchip_reset(): void
  tlb_init(): void
  code_cache_init(): void
  lookup(): number
}

export interface Engine {
  readonly kernel: WebAssembly.Module
  readonly interp: WebAssembly.Module
  /** Decoder tables. */
  readonly tables: Uint8Array
}

/** What `npm run build:wasm` made. */
export function loadEngine(): Engine {
  const read = (name: string): Uint8Array<ArrayBuffer> =>
    Uint8Array.from(readFileSync(fileURLToPath(new URL(`../../../public/wasm/${name}`, import.meta.url))))
  return {
    kernel: new WebAssembly.Module(read('kernel.wasm')),
    interp: new WebAssembly.Module(read('interp.wasm')),
    tables: read('isa.bin'),
  }
}

export class Guest {
  readonly #view: DataView
  readonly #bytes: Uint8Array
  readonly #kernel: KernelExports
  readonly #run: (cpu: number) => number
  readonly #vm: number
  readonly #cpu: number
  readonly #frames: number
  #armed = false
  #jit: Jit | undefined
  /** Cases that ran as compiled code. */
  compiledCases = 0

  /** @param compiled the JIT makes code of every case, where it compiles for the case's mode at all */
  constructor({ kernel: kernelModule, interp: interpModule, tables }: Engine, compiled = false) {
    const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MEMORY_MAX_PAGES, shared: true })
    this.#view = new DataView(memory.buffer)
    this.#bytes = new Uint8Array(memory.buffer)
    this.#vm = abi.ARENA_BASE
    this.#cpu = this.#vm + abi.VM_SIZE
    const banks = this.#cpu + abi.CPU_SIZE
    const cache = this.#cpu + abi.CPU_REGIONS + abi.CPU_REGIONS_BYTES
    const frameMap = cache + CACHE_SIZE
    this.#frames = (frameMap + GFN_COUNT * 4 + 0xfff) & ~0xfff
    const kernel = new WebAssembly.Instance(kernelModule, {
      env: { memory, abort: () => { throw new Error('kernel.wasm aborted') } },
      host: { now: () => this.#now(), kick: () => undefined, wait: () => undefined },
    }) // prettier-ignore
    this.#kernel = kernel.exports as unknown as KernelExports
    const regions = createRegionTable()
    const interp = new WebAssembly.Instance(interpModule, {
      env: { memory, regions },
      kernel: kernel.exports,
    })
    this.#run = interp.exports['run'] as (cpu: number) => number

    this.#bytes.set(tables, abi.ISA_TABLES_BASE)
    this.#layOut(banks, cache, frameMap)
    this.#writeTables()
    this.#kernel.bind(this.#vm, this.#cpu)
    this.#kernel.irqchip_reset()
    this.#kernel.tlb_init()
    this.#kernel.code_cache_init()
    this.#kernel.cpu_reset()
    this.#u32(this.#cpu + abi.CPU_REQ, 0)
    this.#u32(this.#cpu + abi.CPU_JIT_MASK, JIT_OFF)
    if (compiled) {
      const functions = { ...kernel.exports, ...interp.exports }
      const exports = kernel.exports as unknown as JitKernel
      const now = (): number => 0
      const compiler = new InlineCompiler(now)
      this.#jit = new Jit(
        {
          memory,
          cpu: this.#cpu,
          kernel: exports,
          compiler,
          places: new CodePlaces(memory, this.#vm, JIT_LIMITS.regions),
          limits: JIT_LIMITS,
          now,
        },
        { functions, regions },
      )
    }
  }

  /** The only moment at which the host sees the guest asleep. */
  #now(): number {
    if (this.#armed && this.#view.getUint32(this.#cpu + abi.CPU_RUNSTATE, true) === abi.RUN_HALTED) {
      this.#u32(this.#cpu + abi.CPU_REQ, abi.REQ_STOP)
    }
    return performance.now() * 1e6
  }

  #u32(address: number, value: number): void {
    this.#view.setUint32(address, value, true)
  }

  #u64(address: number, value: bigint): void {
    this.#view.setBigUint64(address, BigInt.asUintN(64, value), true)
  }

  /** Shared-memory address of a physical one. */
  #host(gpa: number): number {
    return this.#frames + gpa
  }

  #layOut(banks: number, cache: number, frameMap: number): void {
    const vm = this.#vm
    const cpu = this.#cpu
    this.#u32(vm + abi.VM_FRAME_MAP, frameMap)
    this.#u32(vm + abi.VM_GFN_COUNT, GFN_COUNT)
    this.#u32(vm + abi.VM_VCPU_COUNT, 1)
    this.#u32(vm + abi.VM_A20_MASK, 0xffff_ffff)
    this.#u32(vm + abi.VM_MAXPHYADDR, 40)
    this.#u32(vm + abi.VM_TSC_KHZ, 1_000_000)
    this.#u32(vm + abi.VM_CPU_PTRS, cpu)
    this.#u32(cpu + abi.CPU_VM, vm)
    this.#u32(cpu + abi.CPU_TLB_BANKS, banks)
    this.#u32(cpu + abi.CPU_TLB, banks)
    this.#u32(cpu + abi.CPU_CODE_CACHE, cache)
    this.#u32(cache + CACHE_BYTES, CACHE_SIZE)
    this.#view.setFloat64(cpu + abi.CPU_DEADLINE, Number.POSITIVE_INFINITY, true)
    for (let gfn = 0; gfn < GFN_COUNT; gfn++) {
      const frame = (this.#frames >>> abi.PAGE_SHIFT) + gfn
      this.#u32(frameMap + 4 * gfn, (abi.FRAME_PRESENT | abi.FRAME_RAM | abi.FRAME_ACCESSED | frame) >>> 0)
    }
    for (let word = 0; word < 8; word++) this.#u32(cpu + abi.CPU_FEATURES + 4 * word, 0xffff_ffff)
    for (const feature of ABSENT_FEATURES) {
      const address = cpu + abi.CPU_FEATURES + 4 * (feature >> 5)
      this.#u32(address, this.#view.getUint32(address, true) & ~(1 << (feature & 31)))
    }
  }

  #writeTables(): void {
    // one table page per level and region: PML4 at 0x1000, the lower PDPT at 0x2000, its directories and tables from 0x6000
    let nextTable = 0x6000
    const entry = (table: number, index: number, value: bigint): void =>
      this.#u64(this.#host(table) + 8 * index, value)
    const inner = PTE_PRESENT | PTE_WRITE | PTE_USER
    entry(0x1000, 0, 0x2000n | inner)
    const directories = new Map<number, number>()
    const tables = new Map<number, number>()
    const map = (gva: number, gpa: number, flags: bigint): void => {
      const pdpt = Math.floor(gva / 0x4000_0000)
      let directory = directories.get(pdpt)
      if (directory === undefined) {
        directory = nextTable
        nextTable += 0x1000
        directories.set(pdpt, directory)
        entry(0x2000, pdpt, BigInt(directory) | inner)
      }
      const key = Math.floor(gva / 0x20_0000)
      let table = tables.get(key)
      if (table === undefined) {
        table = nextTable
        nextTable += 0x1000
        tables.set(key, table)
        entry(directory, key & 0x1ff, BigInt(table) | inner)
      }
      entry(table, (gva >>> 12) & 0x1ff, BigInt(gpa) | flags | PTE_PRESENT | 0x60n)
    }
    // the guest's own tables lie in the upper half, out of reach of user addresses
    entry(0x1000, 0x100, 0x3000n | inner)
    entry(0x3000, 0, 0x4000n | inner)
    entry(0x4000, 0, 0x5000n | inner)
    for (const gpa of [GDT, IDT, TSS, STUBS, STACK_TOP - 0x1000])
      entry(0x5000, gpa >> 12, BigInt(gpa) | PTE_WRITE | PTE_PRESENT | 0x60n)
    map(at.CODE_GVA, CODE, PTE_USER | PTE_WRITE)
    map(at.DATA_GVA, DATA, PTE_USER | PTE_WRITE | PTE_NX)
    map(at.DATA_GVA + 0x1000, DATA + 0x1000, PTE_USER | PTE_WRITE | PTE_NX)
    map(at.READ_ONLY_GVA, READ_ONLY, PTE_USER | PTE_NX)
    if (nextTable > GDT) throw new Error('page tables run into the GDT')

    const descriptor = (selector: number, value: bigint): void =>
      this.#u64(this.#host(GDT) + (selector & ~7), value)
    descriptor(0x08, 0x00cf_9b00_0000_ffffn)
    descriptor(KERNEL_CS, 0x00af_9b00_0000_ffffn)
    descriptor(0x18, 0x00cf_9300_0000_ffffn)
    for (const entry of LDT_ENTRIES)
      this.#u64(this.#host(LDT) + (entry.selector & ~7), descriptorBytes(entry))
    descriptor(USER_CS32, 0x00cf_fb00_0000_ffffn)
    descriptor(USER_DS, 0x00cf_f300_0000_ffffn)
    descriptor(USER_CS64, 0x00af_fb00_0000_ffffn)
    for (let vector = 0; vector < 32; vector++) {
      const stub = STUBS + 16 * vector
      this.#bytes[this.#host(stub)] = 0xf4 // HLT
      this.#u64(
        this.#host(IDT) + 16 * vector,
        BigInt(stub & 0xffff) | (BigInt(KERNEL_CS) << 16n) | (0xee00n << 32n),
      )
      this.#u64(this.#host(IDT) + 16 * vector + 8, UPPER >> 32n)
    }
    this.#u64(this.#host(TSS) + 4, UPPER | BigInt(STACK_TOP))
    this.#view.setUint16(this.#host(TSS) + 0x66, 0x68, true) // no I/O permission bitmap
    this.#bytes.fill(0xcc, this.#host(CODE), this.#host(CODE) + 4096)
  }

  #segment(index: number, selector: number, attr: number, limit = 0xffff_ffff, base = 0n): void {
    const address = this.#cpu + abi.CPU_SEG + abi.CPU_SEG_STRIDE * index
    this.#u64(address + abi.SEG_BASE, base)
    this.#u32(address + abi.SEG_LIMIT, limit)
    this.#u32(address + abi.SEG_ATTR, attr)
    this.#view.setUint16(address + abi.SEG_SELECTOR, selector, true)
  }

  #loadFlat(mode: Mode): void {
    const long = mode === 64
    this.#segment(CS, long ? USER_CS64 : USER_CS32, long ? ATTR_CODE64 : ATTR_CODE32)
    for (const data of [abi.SEG_SS, abi.SEG_DS, abi.SEG_ES]) this.#segment(data, USER_DS, ATTR_DATA)
    this.#segment(abi.SEG_FS, 0, abi.SEG_ATTR_UNUSABLE, 0, BigInt(FLAT_FS_BASE))
    this.#segment(abi.SEG_GS, 0, abi.SEG_ATTR_UNUSABLE, 0, BigInt(FLAT_GS_BASE))
  }

  #loadSystem(mode: Mode): void {
    const cpu = this.#cpu
    this.#u64(cpu + abi.CPU_CR0, CR0)
    this.#u64(cpu + abi.CPU_CR2, 0n)
    this.#u64(cpu + abi.CPU_CR3, 0x1000n)
    this.#u64(cpu + abi.CPU_CR4, CR4)
    this.#u64(cpu + abi.CPU_EFER, EFER)
    this.#u64(cpu + abi.CPU_XCR0, 7n)
    this.#u32(cpu + abi.CPU_AVX_GATE, 0)
    if (isSegmented(mode)) {
      SEGMENTS.forEach(({ selector, base, limit, type }, i) => {
        this.#segment(
          i,
          mode === 33 ? selector + 64 : selector,
          type | (mode === 33 ? ATTR_DB : 0),
          limit,
          BigInt(base),
        )
      })
    } else this.#loadFlat(mode)
    this.#segment(abi.SEG_LDTR, 0x50, ATTR_LDT, LDT_BYTES - 1, UPPER | BigInt(LDT))
    this.#segment(abi.SEG_TR, 0x40, ATTR_TSS, 0x67, UPPER | BigInt(TSS))
    this.#segment(abi.SEG_GDTR, 0, 0, 0x7f, UPPER | BigInt(GDT))
    this.#segment(abi.SEG_IDTR, 0, 0, 0x1ff, UPPER | BigInt(IDT))
    this.#u32(cpu + abi.CPU_CPL, 3)
    this.#u32(cpu + abi.CPU_FAULT, 0)
    this.#u32(cpu + abi.CPU_INHIBIT, 0)
    this.#u32(cpu + abi.CPU_REQ, 0)
    this.#u32(cpu + abi.CPU_RUNSTATE, abi.RUN_RUNNING)
    this.#u32(cpu + abi.CPU_PREV_DELIVERY, 0)
  }

  #loadState(request: Uint8Array): void {
    const cpu = this.#cpu
    const from = new DataView(request.buffer, request.byteOffset, request.byteLength)
    this.#bytes.set(request.subarray(at.STATE_GPR, at.STATE_GPR + 128), cpu + abi.CPU_GPR)
    const offset = from.getUint32(at.REQUEST_OFFSET, true)
    const flat = !isSegmented(from.getUint32(at.REQUEST_MODE, true) as Mode)
    this.#u64(cpu + abi.CPU_RIP, BigInt((flat ? at.CODE_GVA : 0) + offset))
    const flags = from.getUint32(at.STATE_RFLAGS, true)
    this.#u32(cpu + abi.CPU_EFLAGS, (flags & ~0x8d5) | 2)
    this.#kernel.flags_set(flags)
    const fx = at.STATE_FX
    const sw = from.getUint16(fx + at.FX_SW, true)
    const top = (sw >> 11) & 7
    this.#view.setUint16(cpu + abi.CPU_X87_CW, from.getUint16(fx + at.FX_CW, true), true)
    this.#view.setUint16(cpu + abi.CPU_X87_SW, sw & ~0x3800, true)
    this.#u32(cpu + abi.CPU_X87_TOP, top)
    this.#u32(cpu + abi.CPU_X87_TAG, from.getUint8(fx + at.FX_TAG))
    for (let i = 0; i < 8; i++) {
      const st = fx + at.FX_ST + 16 * i
      this.#bytes.set(request.subarray(st, st + 10), cpu + abi.CPU_X87 + 16 * ((top + i) & 7))
    }
    for (let i = 0; i < 16; i++) {
      const xmm = fx + at.FX_XMM + 16 * i
      this.#bytes.set(request.subarray(xmm, xmm + 16), cpu + abi.CPU_XMM + abi.CPU_XMM_STRIDE * i)
      const upper = at.STATE_YMM + 16 * i
      this.#bytes.set(request.subarray(upper, upper + 16), cpu + abi.CPU_XMM + abi.CPU_XMM_STRIDE * i + 16)
    }
    this.#u32(cpu + abi.CPU_MXCSR, from.getUint32(fx + at.FX_MXCSR, true))
    const window = request.subarray(at.STATE_WINDOW, at.STATE_WINDOW + at.WINDOW_BYTES)
    const data = this.#host(DATA)
    this.#bytes.fill(0, data, data + at.DATA_BYTES)
    this.#bytes.set(window.subarray(0, at.WINDOW_A_BYTES), data + at.WINDOW_A - at.DATA_GVA)
    this.#bytes.set(window.subarray(at.WINDOW_A_BYTES), data + at.WINDOW_B - at.DATA_GVA)
    this.#bytes.set(request.subarray(at.REQUEST_CODE, at.REQUEST_CODE + 16), this.#host(CODE) + offset)
    this.#kernel.code_write(CODE >> abi.PAGE_SHIFT)
  }

  /** Runs one request; the result has RESULT_BYTES and is reused by the next call. */
  run(request: Uint8Array): Uint8Array {
    const mode = new DataView(request.buffer, request.byteOffset).getUint32(at.REQUEST_MODE, true)
    this.#loadSystem(mode as Mode)
    this.#loadState(request)
    this.#kernel.update_mode()
    this.#compile()
    this.#armed = true
    let reason: number = abi.EXITREASON_YIELD
    for (let i = 0; i < 4 && reason === abi.EXITREASON_YIELD; i++) reason = this.#run(this.#cpu)
    this.#armed = false
    const result = this.#readResult(request, reason)
    this.#bytes.fill(0xcc, this.#host(CODE), this.#host(CODE) + 4096)
    return result
  }

  /** Decodes the case and makes compiled code stand for it. */
  #compile(): void {
    if (!this.#jit) return
    const record = this.#kernel.lookup()
    if (record === 0 || this.#view.getUint32(this.#cpu + abi.CPU_FAULT, true) !== 0) return
    const mode = this.#view.getUint32(this.#cpu + abi.CPU_MODE, true)
    const offset = this.#view.getBigUint64(this.#cpu + abi.CPU_RIP, true) & 0xfffn
    if (!(mode & abi.MODE_FLAT) || (mode & abi.MODE_CS_MASK) === abi.MODE_CS16) return
    const gfns = new Map([[0, CODE >> abi.PAGE_SHIFT]])
    this.#jit.compile([{ gpa: BigInt(CODE) | offset, mode, gfns, rare: 0 }])
    if (this.#view.getUint16(record + REC_OP, true) === HANDLER_REGION) this.compiledCases++
  }

  readonly #result = new Uint8Array(at.RESULT_BYTES)

  #readResult(request: Uint8Array, reason: number): Uint8Array {
    const cpu = this.#cpu
    const result = this.#result
    const to = new DataView(result.buffer)
    result.set(request.subarray(0, at.STATE_BYTES))
    const halted = this.#view.getBigUint64(cpu + abi.CPU_RIP, true)
    const vector =
      reason === abi.EXITREASON_STOP
        ? Number(halted - UPPER - BigInt(1 + STUBS)) / 16
        : reason === abi.EXITREASON_YIELD
          ? at.VECTOR_TIMEOUT
          : 1000 + reason
    to.setUint32(at.RESULT_VECTOR, vector, true)
    result.set(this.#bytes.slice(cpu + abi.CPU_GPR, cpu + abi.CPU_GPR + 128), at.STATE_GPR)
    const frame = this.#host(STACK_TOP) - 40
    to.setUint32(at.RESULT_ERROR, 0, true)
    if (HAS_ERROR.has(vector)) {
      to.setUint32(at.RESULT_ERROR, this.#view.getUint32(frame - 8, true), true)
    }
    const rip = this.#view.getBigUint64(frame, true)
    for (let i = 0; i < 6; i++) {
      to.setUint16(
        at.RESULT_SELECTORS + 2 * i,
        this.#view.getUint16(cpu + abi.CPU_SEG + abi.CPU_SEG_STRIDE * i + abi.SEG_SELECTOR, true),
        true,
      )
    }
    // CS and SS of the case are in the frame, those in the CPU are ring 0's
    to.setUint16(at.RESULT_SELECTORS + 2, this.#view.getUint16(frame + 8, true), true)
    to.setUint16(at.RESULT_SELECTORS + 4, this.#view.getUint16(frame + 32, true), true)
    to.setBigUint64(at.STATE_RIP, vector === 3 ? rip - 1n : rip, true)
    to.setBigUint64(at.STATE_RFLAGS, this.#view.getBigUint64(frame + 16, true), true)
    to.setBigUint64(at.STATE_GPR + 8 * 4, this.#view.getBigUint64(frame + 24, true), true)
    to.setBigUint64(at.RESULT_ADDRESS, this.#view.getBigUint64(cpu + abi.CPU_CR2, true), true)
    const fx = at.STATE_FX
    const top = this.#view.getUint32(cpu + abi.CPU_X87_TOP, true)
    to.setUint16(fx + at.FX_CW, this.#view.getUint16(cpu + abi.CPU_X87_CW, true), true)
    to.setUint16(fx + at.FX_SW, this.#view.getUint16(cpu + abi.CPU_X87_SW, true) | (top << 11), true)
    to.setUint8(fx + at.FX_TAG, this.#view.getUint32(cpu + abi.CPU_X87_TAG, true))
    to.setUint32(fx + at.FX_MXCSR, this.#view.getUint32(cpu + abi.CPU_MXCSR, true), true)
    for (let i = 0; i < 8; i++) {
      const st = cpu + abi.CPU_X87 + 16 * ((top + i) & 7)
      result.set(this.#bytes.slice(st, st + 10), fx + at.FX_ST + 16 * i)
    }
    for (let i = 0; i < 16; i++) {
      const xmm = cpu + abi.CPU_XMM + abi.CPU_XMM_STRIDE * i
      result.set(this.#bytes.slice(xmm, xmm + 16), fx + at.FX_XMM + 16 * i)
      result.set(this.#bytes.slice(xmm + 16, xmm + 32), at.STATE_YMM + 16 * i)
    }
    const data = this.#host(DATA)
    const windowA = data + at.WINDOW_A - at.DATA_GVA
    const windowB = data + at.WINDOW_B - at.DATA_GVA
    result.set(this.#bytes.slice(windowA, windowA + at.WINDOW_A_BYTES), at.STATE_WINDOW)
    result.set(this.#bytes.slice(windowB, windowB + at.WINDOW_B_BYTES), at.STATE_WINDOW + at.WINDOW_A_BYTES)
    return result
  }
}
