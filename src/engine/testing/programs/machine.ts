/**
 * A test VM in the state in which random programs start: CPL 0, flat segments, 4 KiB pages, gates for every exception. 64-bit
 * programs run in long mode, 32-bit ones in protected mode with two-level paging.
 */
import * as abi from '#abi/layout.ts'
import { enterLong, type TestVm } from '../test-vm.ts'
import type { Bits } from './assembler.ts'
import * as map from './map.ts'
import { Random } from '#testkit/oracle/random.ts'

const CS64 = 0x08
const CS32 = 0x10
const DATA_SELECTOR = 0x18
const DESCRIPTORS = [0n, 0x00af_9b00_0000_ffffn, 0x00cf_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn]
const ATTR_CODE64 = 0xa9b
const ATTR_CODE32 = 0xc9b
const CR0 = 0x8001_0033n // PG WP NE ET MP PE
const PRESENT = 1
const WRITE = 2
const ACCESSED_DIRTY = 0x60
const PAGES = 0x180

/** What the exports of kernel.wasm offer beyond the test VM's own needs. */
interface ProgramKernel {
  code_flush(): void
  cpu_reset(): void
  tlb_flush_all(): void
  update_mode(): void
  bind(vm: number, cpu: number): void
}

const pageTable = (bits: Bits): number => (bits === 64 ? map.TABLES + 0x3000 : map.TABLES + 0x1000)

/** Address of the page-table entry of a page, for programs that change it. */
export const entryOf = (bits: Bits, page: number): number => pageTable(bits) + (page / map.PAGE) * (bits / 8)

function writeTables({ view, host }: TestVm, bits: Bits): void {
  const size = bits / 8
  const entry = (address: number, value: number): void => {
    view.setUint32(host(address), value, true)
    if (size === 8) view.setUint32(host(address) + 4, 0, true)
  }
  const chain = bits === 64 ? [0, 1, 2, 3] : [0, 1]
  for (const level of chain.slice(0, -1))
    entry(map.TABLES + level * map.PAGE, (map.TABLES + (level + 1) * map.PAGE) | PRESENT | WRITE | 0x20)
  for (let page = 0; page < PAGES * map.PAGE; page += map.PAGE) {
    const flags = ACCESSED_DIRTY | (page === map.READ_ONLY ? 0 : WRITE) | (page === map.LAZY ? 0 : PRESENT)
    entry(entryOf(bits, page), map.physical(page) | flags)
  }
}

function writeGates({ view, host }: TestVm, bits: Bits, handlers: readonly number[]): void {
  for (const [i, value] of DESCRIPTORS.entries()) view.setBigUint64(host(map.GDT) + i * 8, value, true)
  const selector = bits === 64 ? CS64 : CS32
  for (const [vector, handler] of handlers.entries()) {
    const at = host(map.IDT) + vector * (bits === 64 ? 16 : 8)
    view.setUint32(at, (handler & 0xffff) | (selector << 16), true)
    view.setUint32(at + 4, (handler & 0xffff_0000) | 0x8e00, true)
    if (bits === 64) view.setBigUint64(at + 8, 0n, true)
  }
}

function setSegments({ view, cpus }: TestVm, bits: Bits): void {
  const cpu = cpus[0] ?? 0
  const segment = (i: number, selector: number, attr: number, limit: number, base = 0): void => {
    const at = cpu + abi.CPU_SEG + i * abi.CPU_SEG_STRIDE
    view.setBigUint64(at + abi.SEG_BASE, BigInt(base), true)
    view.setUint32(at + abi.SEG_LIMIT, limit, true)
    view.setUint32(at + abi.SEG_ATTR, attr, true)
    view.setUint16(at + abi.SEG_SELECTOR, selector, true)
  }
  if (bits === 64) segment(abi.SEG_CS, CS64, ATTR_CODE64, 0xffff_ffff)
  else segment(abi.SEG_CS, CS32, ATTR_CODE32, 0xffff_ffff)
  for (const i of [abi.SEG_ES, abi.SEG_SS, abi.SEG_DS, abi.SEG_GS])
    segment(i, DATA_SELECTOR, 0xc93, 0xffff_ffff)
  segment(abi.SEG_FS, DATA_SELECTOR, 0xc93, 0xffff_ffff, map.FS_BASE)
  segment(abi.SEG_GDTR, 0, 0, DESCRIPTORS.length * 8 - 1, map.GDT)
  segment(abi.SEG_IDTR, 0, 0, 32 * (bits === 64 ? 16 : 8) - 1, map.IDT)
}

function fillData({ view, host }: TestVm, random: Random): void {
  for (let i = 0; i < 5 * map.PAGE; i += 4) view.setUint32(host(map.DATA) + i, random.bits(), true)
  for (let i = 0; i < map.PAGE; i += 4) view.setUint32(host(map.READ_ONLY) + i, random.bits(), true)
}

function writeCells({ view, host }: TestVm, random: Random): void {
  const cell = (address: number, value: number): void => view.setUint32(host(address), value, true)
  cell(map.CELL_TRACE, map.TRACE)
  cell(map.CELL_FAULTS, 300)
  for (const [i, value] of map.MXCSR_VALUES.entries()) cell(map.CELL_MXCSR + 4 * i, value)
  const special = [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x3f80_0000, 0x3ff0_0000, 0x7f80_0000, 0x7ff0_0000, 0x7fc0_0001, 0x0080_0000] // prettier-ignore
  for (let i = 0; i < 512; i += 4)
    cell(map.CELL_VALUES + i, random.chance(0.5) ? random.pick(special) : random.bits())
}

export interface Loaded {
  readonly address: number
  readonly bytes: Uint8Array
}

export interface Image {
  readonly bits: Bits
  readonly entry: number
  readonly seed: string
  readonly parts: readonly Loaded[]
  /** Addresses of the fault handlers by vector. */
  readonly handlers: readonly number[]
}

/** Bytes of guest memory that a program may change. */
export const RAM_BYTES = map.TRACE + map.TRACE_BYTES

/** Everything but the program's own page tables: which of their accessed bits are set may depend on the engine. */
export function guestMemory({ memory, host }: TestVm): Uint8Array {
  return new Uint8Array(memory.buffer, host(map.GDT), RAM_BYTES - map.GDT)
}

/** Puts an image into a VM; the same image gives the same state. */
export function loadImage(vm: TestVm, { bits, entry, seed, parts, handlers }: Image): void {
  const kernel = vm.kernel as unknown as ProgramKernel
  const cpu = vm.cpus[0] ?? 0
  const random = new Random(`state/${seed}`)
  kernel.bind(vm.vm, cpu)
  kernel.cpu_reset()
  kernel.code_flush()
  new Uint8Array(vm.memory.buffer, vm.host(0), RAM_BYTES).fill(0)
  enterLong(vm, entry, map.STACK_TOP)
  writeTables(vm, bits)
  writeGates(vm, bits, handlers)
  fillData(vm, random)
  writeCells(vm, random)
  for (const { address, bytes } of parts) {
    for (const [i, byte] of bytes.entries()) {
      const gva = address + i
      const gpa = map.physical(gva & ~(map.PAGE - 1)) + (gva & (map.PAGE - 1))
      vm.view.setUint8(vm.host(gpa), byte)
    }
  }
  setSegments(vm, bits)
  const set = (offset: number, value: bigint): void => vm.view.setBigUint64(cpu + offset, value, true)
  set(abi.CPU_CR0, CR0)
  set(abi.CPU_CR3, BigInt(map.TABLES))
  set(abi.CPU_CR4, bits === 64 ? 0x4_06a0n : 0x4_0680n) // PAE PGE OSFXSR OSXMMEXCPT OSXSAVE; PAE in long mode only
  set(abi.CPU_XCR0, 7n)
  set(abi.CPU_EFER, bits === 64 ? 0xd01n : 0n)
  for (let reg = 0; reg < 16; reg++) {
    const value = random.chance(0.3) ? BigInt(random.below(256)) : random.u64()
    if (reg !== 4) set(abi.CPU_GPR + 8 * reg, bits === 64 ? value : reg < 8 ? value & 0xffff_ffffn : 0n)
    set(abi.CPU_XMM + reg * abi.CPU_XMM_STRIDE, random.u64())
    set(abi.CPU_XMM + reg * abi.CPU_XMM_STRIDE + 8, random.u64())
  }
  vm.view.setUint32(cpu + abi.CPU_CC_KIND, 0, true)
  vm.view.setUint32(cpu + abi.CPU_FAULT, 0, true)
  vm.view.setUint32(cpu + abi.CPU_INHIBIT, 0, true)
  vm.view.setUint32(cpu + abi.CPU_REQ, 0, true)
  vm.view.setUint32(cpu + abi.CPU_JIT_QUEUED, 0, true)
  kernel.bind(vm.vm, cpu)
  kernel.tlb_flush_all()
  kernel.update_mode()
}
