/**
 * The hub's side of the door between the halves (abi/exits.ts): answers exit records, drains posted rings and the
 * log ring. Runs for every exit, so it allocates nothing per access.
 */
import { truncate } from '#base/bits.ts'
import {
  EXIT_ADDRESS,
  EXIT_COUNT,
  EXIT_DATA,
  EXIT_KIND,
  EXIT_KIND_MMIO_READ,
  EXIT_KIND_MMIO_WRITE,
  EXIT_KIND_PIO_READ,
  EXIT_KIND_PIO_WRITE,
  EXIT_SIZE,
  EXIT_STATE,
  POSTED_ADDRESS,
  POSTED_BYTES,
  POSTED_DATA,
  POSTED_ENTRY_SIZE,
  POSTED_HEAD,
  POSTED_KIND,
  POSTED_SEQ,
  POSTED_TAIL,
} from '#abi/exits.ts'
import {
  CPU_EXIT,
  CPU_EXIT_BUFFER,
  CPU_EXIT_BUFFER_SIZE,
  CPU_POSTED,
  CPU_POSTED_COUNT,
  CPU_POSTED_ENTRIES,
  VM_CPU_PTRS,
  VM_VCPU_COUNT,
} from '#abi/layout.ts'

import type { MmioTable } from './mmio-space.ts'
import type { PioTable } from './pio-space.ts'
import type { SharedWords } from './shared-words.ts'

/** Entries of VM_CPU_PTRS. */
const VCPUS_MAX = 256
const STATE_ASKED = 1
const STATE_ANSWERED = 2

/** An exit that is not a port or memory access: hypercall, shutdown, reset, debug. Returns the answer. */
export type OtherExit = (vcpu: number, kind: number, address: number, data: number) => number

export class ExitDoor {
  readonly #words: SharedWords
  readonly #vm: number
  readonly #pio: PioTable
  readonly #mmio: MmioTable
  readonly #other: OtherExit
  // By vCPU, filled anew by each serve().
  readonly #cpus = new Uint32Array(VCPUS_MAX)
  readonly #asked = new Uint8Array(VCPUS_MAX)
  readonly #heads = new Uint32Array(VCPUS_MAX)
  readonly #tails = new Uint32Array(VCPUS_MAX)

  constructor(words: SharedWords, vm: number, pio: PioTable, mmio: MmioTable, other: OtherExit) {
    this.#words = words
    this.#vm = vm
    this.#pio = pio
    this.#mmio = mmio
    this.#other = other
  }

  /** Serves every vCPU once. True if there was anything to do. */
  serve(): boolean {
    const { u32, i32 } = this.#words
    const count = u32[(this.#vm + VM_VCPU_COUNT) >> 2] as number
    let questions = 0
    for (let vcpu = 0; vcpu < count; vcpu++) {
      const cpu = u32[(this.#vm + VM_CPU_PTRS + 4 * vcpu) >> 2] as number
      this.#cpus[vcpu] = cpu
      // Questions are looked at before the rings: entries posted before one was asked, by whichever vCPU, are then in view.
      const asked = cpu !== 0 && Atomics.load(i32, (cpu + CPU_EXIT + EXIT_STATE) >> 2) === STATE_ASKED
      this.#asked[vcpu] = asked ? 1 : 0
      if (asked) questions++
    }
    const drained = this.#drain(count)
    const worked = drained || questions > 0
    for (let vcpu = 0; vcpu < count && questions > 0; vcpu++) {
      if (this.#asked[vcpu] === 0) continue
      questions--
      const cpu = this.#cpus[vcpu] as number
      const state = (cpu + CPU_EXIT + EXIT_STATE) >> 2
      this.#answer(vcpu, cpu)
      Atomics.store(i32, state, STATE_ANSWERED)
      Atomics.notify(i32, state)
    }
    return worked
  }

  /**
   * Serves what the rings hold, in the order of POSTED_SEQ: a device that several vCPUs write under a guest lock (a UART's
   * FIFO) must see the writes as the lock ordered them. At most what was there at one moment, so that no vCPU can keep the
   * hub from its other work.
   */
  #drain(count: number): boolean {
    if (!this.#snapshot(count)) return false
    for (let next = this.#oldest(count); next >= 0; next = this.#oldest(count)) {
      const ring = (this.#cpus[next] as number) + CPU_POSTED
      const head = this.#heads[next] as number
      this.#serveEntry(
        (this.#cpus[next] as number) + CPU_POSTED_ENTRIES + (head % CPU_POSTED_COUNT) * POSTED_ENTRY_SIZE,
      )
      // A vCPU sleeps only on a full ring.
      const wasFull = ((this.#tails[next] as number) - head) >>> 0 >= CPU_POSTED_COUNT
      this.#heads[next] = head + 1
      Atomics.store(this.#words.u32, (ring + POSTED_HEAD) >> 2, this.#heads[next] as number)
      if (wasFull) Atomics.notify(this.#words.i32, (ring + POSTED_HEAD) >> 2)
    }
    return true
  }

  /**
   * Heads and tails of all rings at one moment; true if there is an entry. Read again until nothing changed: a ring read
   * early could miss an entry older than one seen in a ring read late. Ends, since rings fill up while nobody drains them.
   */
  #snapshot(count: number): boolean {
    const { u32 } = this.#words
    let any = false
    for (let changed = true; changed;) {
      changed = false
      any = false
      for (let vcpu = 0; vcpu < count; vcpu++) {
        const cpu = this.#cpus[vcpu] as number
        if (cpu === 0) continue
        const tail = Atomics.load(u32, (cpu + CPU_POSTED + POSTED_TAIL) >> 2)
        if (tail !== this.#tails[vcpu]) changed = true
        this.#tails[vcpu] = tail
        this.#heads[vcpu] = u32[(cpu + CPU_POSTED + POSTED_HEAD) >> 2] as number
        if (this.#heads[vcpu] !== tail) any = true
      }
    }
    return any
  }

  /** The vCPU whose next entry has the smallest number; -1 if all rings are served. */
  #oldest(count: number): number {
    const { u32 } = this.#words
    let found = -1
    let least = 0
    for (let vcpu = 0; vcpu < count; vcpu++) {
      const head = this.#heads[vcpu] as number
      const cpu = this.#cpus[vcpu] as number
      if (cpu === 0 || head === this.#tails[vcpu]) continue
      const sequence = u32[
        (cpu + CPU_POSTED_ENTRIES + (head % CPU_POSTED_COUNT) * POSTED_ENTRY_SIZE + POSTED_SEQ) >> 2
      ] as number
      // Numbers wrap: the signed difference decides.
      if (found >= 0 && ((sequence - least) | 0) >= 0) continue
      found = vcpu
      least = sequence
    }
    return found
  }

  #serveEntry(at: number): void {
    const { u32 } = this.#words
    const bytes = u32[(at + POSTED_BYTES) >> 2] as number
    const low = u32[(at + POSTED_DATA) >> 2] as number
    if (u32[(at + POSTED_KIND) >> 2] === EXIT_KIND_PIO_WRITE) {
      this.#pio.write(u32[(at + POSTED_ADDRESS) >> 2] as number, bytes, low)
    } else
      this.#writeMmio(this.#u64(at + POSTED_ADDRESS), bytes, low, u32[(at + POSTED_DATA + 4) >> 2] as number)
  }

  /** A u64 as a number; beyond 2^53 it loses low bits, and no claim lies there. */
  #u64(at: number): number {
    const { u32 } = this.#words
    return (u32[(at + 4) >> 2] as number) * 2 ** 32 + (u32[at >> 2] as number)
  }

  #answer(vcpu: number, cpu: number): void {
    const { u32 } = this.#words
    const exit = cpu + CPU_EXIT
    const kind = u32[(exit + EXIT_KIND) >> 2] as number
    const bytes = u32[(exit + EXIT_SIZE) >> 2] as number
    const low = (exit + EXIT_DATA) >> 2
    switch (kind) {
      case EXIT_KIND_PIO_READ:
      case EXIT_KIND_PIO_WRITE:
        return this.#answerPio(cpu, kind === EXIT_KIND_PIO_WRITE, bytes)
      case EXIT_KIND_MMIO_READ: {
        const gpa = this.#u64(exit + EXIT_ADDRESS)
        u32[low] = this.#mmio.read(gpa, Math.min(bytes, 4))
        u32[low + 1] = bytes > 4 ? this.#mmio.read(gpa + 4, 4) : 0
        return
      }
      case EXIT_KIND_MMIO_WRITE:
        return this.#writeMmio(
          this.#u64(exit + EXIT_ADDRESS),
          bytes,
          u32[low] as number,
          u32[low + 1] as number,
        )
      default:
        u32[low] = this.#other(vcpu, kind, this.#u64(exit + EXIT_ADDRESS), u32[low] as number)
        u32[low + 1] = 0
    }
  }

  #writeMmio(gpa: number, bytes: number, low: number, high: number): void {
    this.#mmio.write(gpa, Math.min(bytes, 4), truncate(low, bytes))
    if (bytes > 4) this.#mmio.write(gpa + 4, 4, high)
  }

  #answerPio(cpu: number, isWrite: boolean, bytes: number): void {
    const { u32 } = this.#words
    const exit = cpu + CPU_EXIT
    const port = u32[(exit + EXIT_ADDRESS) >> 2] as number
    const count = u32[(exit + EXIT_COUNT) >> 2] as number
    const data = (exit + EXIT_DATA) >> 2
    if (count > 1) return this.#answerString(cpu, port, isWrite, bytes, count)
    if (isWrite) this.#pio.write(port, bytes, truncate(u32[data] as number, bytes))
    else {
      u32[data] = this.#pio.read(port, bytes)
      u32[data + 1] = 0
    }
  }

  /** REP INS/OUTS: the elements lie in CPU_EXIT_BUFFER. */
  #answerString(cpu: number, port: number, isWrite: boolean, bytes: number, count: number): void {
    const { u8 } = this.#words
    const start = cpu + CPU_EXIT_BUFFER
    const end = start + Math.min(count * bytes, CPU_EXIT_BUFFER_SIZE)
    for (let at = start; at + bytes <= end; at += bytes) {
      if (isWrite) {
        let value = 0
        for (let i = bytes - 1; i >= 0; i--) value = ((value << 8) | (u8[at + i] as number)) >>> 0
        this.#pio.write(port, bytes, value)
      } else {
        const value = this.#pio.read(port, bytes)
        for (let i = 0; i < bytes; i++) u8[at + i] = value >>> (8 * i)
      }
    }
  }
}
