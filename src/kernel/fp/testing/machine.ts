/** Runs a test case on kernel.wasm: the state goes into a CPU struct, one function runs, the state comes back. */
import * as abi from '#abi/layout.ts'
import { CASE, CASE_SIZE } from './oracle.ts'
import type { CompiledKernel } from './compile.ts'
import type { Random } from './operands.ts'

export const CPU = 0x10_0000
const VM = 0x11_0000
/** Guest "memory" of a case: the memory stubs of stubs.ts address it directly. */
export const MEM = 0x12_0000

const X87_TOP_SHIFT = 11
const SIGFPE = 8
const SIGILL = 4
const SIGSEGV = 11

/** One instruction under test. */
export interface Instruction {
  readonly name: string
  readonly code: readonly number[]
  readonly fill: (r: Random, c: CaseState) => void
  readonly run: (m: Machine, c: CaseState) => void
  /** Bytes of the case that mean nothing: [offset, count]. */
  readonly ignore?: readonly [offset: number, count: number]
}

type Fn = (...args: (number | bigint)[]) => number | bigint | undefined

export class Machine {
  readonly view: DataView
  readonly #bytes: Uint8Array
  readonly #exports: Readonly<Record<string, Fn>>

  constructor(kernel: CompiledKernel) {
    this.view = new DataView(kernel.memory.buffer)
    this.#bytes = new Uint8Array(kernel.memory.buffer)
    this.#exports = kernel.exports as unknown as Readonly<Record<string, Fn>>
    this.call('bind', VM, CPU)
  }

  call(name: string, ...args: (number | bigint)[]): number | bigint | undefined {
    const fn = this.#exports[name]
    if (fn === undefined) throw new Error(`kernel.wasm has no export ${name}`)
    return fn(...args)
  }

  callU32(name: string, ...args: (number | bigint)[]): number {
    return Number(this.call(name, ...args)) >>> 0
  }

  get faulted(): boolean {
    return this.view.getUint32(CPU + abi.CPU_FAULT, true) !== 0
  }

  xmm(i: number): number {
    return CPU + abi.CPU_XMM + i * abi.CPU_XMM_STRIDE
  }

  mm(i: number): number {
    return CPU + abi.CPU_X87 + i * 16
  }

  /** Before and after are views of CASE_SIZE bytes. */
  run(before: Uint8Array, after: Uint8Array, instruction: (m: Machine, c: CaseState) => void): void {
    after.set(before)
    const c = new CaseState(after)
    this.#loadState(c)
    instruction(this, c)
    this.#storeState(c)
  }

  #loadState(c: CaseState): void {
    const { view } = this
    this.#bytes.fill(0, CPU, CPU + abi.CPU_CPUID)
    view.setUint32(CPU + abi.CPU_CR0, 0x8000_0033, true) // PG NE ET MP PE
    view.setUint32(CPU + abi.CPU_CR4, 0x600, true) // OSFXSR OSXMMEXCPT
    view.setUint32(CPU + abi.CPU_MODE, abi.MODE_CS64 | abi.MODE_PE | abi.MODE_LMA, true)
    view.setUint32(CPU + abi.CPU_MXCSR, c.view.getUint32(CASE.mxcsr, true), true)
    view.setUint16(CPU + abi.CPU_X87_CW, c.view.getUint16(CASE.fcw, true), true)
    const sw = c.view.getUint16(CASE.fsw, true)
    const top = (sw >> X87_TOP_SHIFT) & 7
    view.setUint16(CPU + abi.CPU_X87_SW, sw & ~0x3800, true)
    view.setUint32(CPU + abi.CPU_X87_TOP, top, true)
    view.setUint32(CPU + abi.CPU_X87_TAG, c.view.getUint8(CASE.ftw), true)
    for (let i = 0; i < 8; i++) {
      const slot = CASE.st + 16 * i
      this.#bytes.set(c.bytes.subarray(slot, slot + 10), this.mm((top + i) & 7))
    }
    for (let i = 0; i < 4; i++)
      this.#bytes.set(c.bytes.subarray(CASE.xmm + 16 * i, CASE.xmm + 16 * i + 16), this.xmm(i))
    this.#bytes.set(c.bytes.subarray(CASE.mem, CASE.mem + 32), MEM)
  }

  #storeState(c: CaseState): void {
    const { view } = this
    const fault = view.getUint32(CPU + abi.CPU_FAULT, true)
    const vector = fault & 0xff
    c.view.setUint32(
      CASE.trap,
      fault === 0 ? 0 : vector === 6 ? SIGILL : vector === 13 ? SIGSEGV : SIGFPE,
      true,
    )
    c.view.setUint32(CASE.mxcsr, view.getUint32(CPU + abi.CPU_MXCSR, true), true)
    c.view.setUint16(CASE.fcw, view.getUint16(CPU + abi.CPU_X87_CW, true), true)
    const top = view.getUint32(CPU + abi.CPU_X87_TOP, true)
    c.view.setUint16(CASE.fsw, view.getUint16(CPU + abi.CPU_X87_SW, true) | (top << X87_TOP_SHIFT), true)
    c.bytes[CASE.ftw] = view.getUint32(CPU + abi.CPU_X87_TAG, true)
    for (let i = 0; i < 8; i++) {
      const from = this.mm((top + i) & 7)
      c.bytes.set(this.#bytes.subarray(from, from + 10), CASE.st + 16 * i)
    }
    for (let i = 0; i < 4; i++)
      c.bytes.set(this.#bytes.subarray(this.xmm(i), this.xmm(i) + 16), CASE.xmm + 16 * i)
    c.bytes.set(this.#bytes.subarray(MEM, MEM + 32), CASE.mem)
  }
}

/** A case as its instruction sees it; rax and the flags are written here, not in the CPU struct. */
export class CaseState {
  readonly view: DataView
  readonly bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, CASE_SIZE)
  }

  get rax(): bigint {
    return this.view.getBigUint64(CASE.rax, true)
  }

  set rax(value: bigint) {
    this.view.setBigUint64(CASE.rax, value & 0xffff_ffff_ffff_ffffn, true)
  }

  get eflags(): number {
    return this.view.getUint32(CASE.eflags, true)
  }

  set eflags(value: number) {
    this.view.setUint32(CASE.eflags, value, true)
  }
}
