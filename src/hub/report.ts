/**
 * What the guest caused and people should hear of once: unknown ports and MMIO, unknown MSRs, and the kernel's log
 * ring (VM_LOG). Guest-driven, so the memory for "already said" is bounded.
 */
import { hex } from '#base/bits.ts'
import * as abi from '#abi/exits.ts'
import { VM_LOG_DROPPED } from '#abi/irqchip.ts'
import { VM_LOG, VM_LOG_COUNT } from '#abi/layout.ts'

import type { Log } from './ports.ts'
import type { SharedWords } from './shared-words.ts'

const MAX_REMEMBERED = 4096
const RING_HEAD = 0
const RING_TAIL = 4
const RING_ENTRIES = 64

/** One entry of the kernel's log ring. */
export interface KernelLogEntry {
  readonly kind: number
  readonly cpu: number
  readonly a: bigint
  readonly b: bigint
  readonly rip: bigint
}

export class Reporter {
  readonly #log: Log
  readonly #said = new Set<string>()
  readonly #words: SharedWords
  readonly #ring: number
  readonly #view: DataView
  readonly #dropped: number
  /** Gets trace entries (interrupts, exits), which are too many for the log. */
  onTrace: ((entry: KernelLogEntry) => void) | undefined

  constructor(log: Log, words: SharedWords, vm: number) {
    this.#log = log
    this.#words = words
    this.#ring = vm + VM_LOG
    this.#dropped = (vm + VM_LOG_DROPPED) >> 2
    this.#view = new DataView(words.u8.buffer)
  }

  once(key: string, text: string): void {
    if (this.#said.has(key) || this.#said.size >= MAX_REMEMBERED) return
    this.#said.add(key)
    this.#log.write('warn', text)
    if (this.#said.size === MAX_REMEMBERED)
      this.#log.write('warn', 'the guest did too many odd things: no more reports')
  }

  unknownPio = (port: number, bytes: number, isWrite: boolean, value: number, owner: string): void => {
    this.once(`pio ${port} ${isWrite}`, `${describe('port', port, bytes, isWrite, value)} (${owner})`)
  }

  unknownMmio = (gpa: number, bytes: number, isWrite: boolean, value: number, owner: string): void => {
    this.once(`mmio ${gpa} ${isWrite}`, `${describe('MMIO', gpa, bytes, isWrite, value)} (${owner})`)
  }

  /** Takes what the kernel wrote. True if there was something. */
  drain(): boolean {
    const { u32 } = this.#words
    const headAt = (this.#ring + RING_HEAD) >> 2
    let head = u32[headAt] as number
    const tail = Atomics.load(u32, (this.#ring + RING_TAIL) >> 2)
    if (head === tail) return false
    for (let left = VM_LOG_COUNT; left > 0 && head !== tail; left--) {
      this.#entry(this.#ring + RING_ENTRIES + (head % VM_LOG_COUNT) * abi.LOG_ENTRY_SIZE)
      head = (head + 1) >>> 0
      Atomics.store(u32, headAt, head)
    }
    if (u32[this.#dropped] !== 0) {
      const lost = Atomics.exchange(u32, this.#dropped, 0)
      this.once('lost', `${lost} reports were lost: the guest was faster than the log; more may follow`)
    }
    return true
  }

  #entry(at: number): void {
    const entry: KernelLogEntry = {
      kind: this.#view.getUint32(at + abi.LOG_KIND, true),
      cpu: this.#view.getUint32(at + abi.LOG_CPU, true),
      a: this.#view.getBigUint64(at + abi.LOG_A, true),
      b: this.#view.getBigUint64(at + abi.LOG_B, true),
      rip: this.#view.getBigUint64(at + abi.LOG_RIP, true),
    }
    const where = `at rip ${hex(entry.rip)} of vCPU ${entry.cpu}`
    const low = Number(entry.a & 0xffff_ffffn)
    switch (entry.kind) {
      case abi.LOG_UNKNOWN_PIO: {
        const isWrite = low >>> 24 !== 0
        const text = describe(
          'port',
          low & 0xffff,
          (low >>> 16) & 0xff,
          isWrite,
          Number(entry.b & 0xffff_ffffn),
        )
        return this.once(`pio ${low & 0xffff} ${isWrite}`, `${text} ${where} (nobody)`)
      }
      case abi.LOG_UNKNOWN_MMIO: {
        const isWrite = entry.b >> 8n !== 0n
        const bytes = Number(entry.b & 0xffn)
        return this.once(
          `mmio ${entry.a} ${isWrite}`,
          `unknown MMIO ${hex(entry.a)}: ${bytes}-byte ${isWrite ? 'write' : 'read'} ${where}`,
        )
      }
      case abi.LOG_UNKNOWN_MSR: {
        const isWrite = entry.a >> 32n !== 0n
        const text = `unknown MSR ${hex(low)}: ${isWrite ? `write of ${hex(entry.b)}` : 'read'}`
        return this.once(`msr ${low} ${isWrite}`, `${text} ${where}`)
      }
      case abi.LOG_TRIPLE_FAULT:
        return this.#log.write('error', `triple fault ${where}: vector ${entry.a}, error ${hex(entry.b)}`)
      case abi.LOG_BUG:
        return this.#log.write('error', `internal error ${entry.a} (${hex(entry.b)}) ${where}`)
      default:
        this.onTrace?.(entry)
    }
  }
}

function describe(space: string, place: number, bytes: number, isWrite: boolean, value: number): string {
  return `unknown ${space} ${hex(place)}: ${bytes}-byte ${isWrite ? `write of ${hex(value)}` : 'read'}`
}
