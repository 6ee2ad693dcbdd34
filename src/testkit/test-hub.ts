/**
 * A hub without a machine around it: real tables and records in shared memory, a vCPU that a test drives by hand,
 * and everything the hub says to the outside written down.
 */
import * as exits from '#abi/exits.ts'
import * as abi from '#abi/layout.ts'
import { Hub, type HubOptions } from '#hub/hub.ts'
import type { MachineEvent } from '#hub/ports.ts'

import { FakeClock } from './fake-clock.ts'
import { FakeMemory } from './fake-memory.ts'

const VM = 0x1_0000
const CPU = VM + abi.VM_SIZE
const SECOND_CPU = CPU + abi.CPU_SIZE
const ARENA = SECOND_CPU + abi.CPU_SIZE
const ARENA_BYTES = 0x4_0000
const SHARED_BYTES = ARENA + ARENA_BYTES
const RAM_BYTES = 0x20_0000
const POSTED_FULL = abi.CPU_POSTED_COUNT

/** How the guest's access would be served, as the kernel reads it from the tables. */
export interface AccessClass {
  readonly read: number
  readonly write: number
  readonly kernelDevice: number
}

export class TestHub {
  readonly memory = new FakeMemory(RAM_BYTES)
  readonly clock = new FakeClock()
  readonly events: MachineEvent[] = []
  readonly logs: string[] = []
  readonly gsiChanges: { gsi: number; level: number }[] = []
  readonly gsiLevels = new Map<number, number>()
  readonly messages: { address: number; data: number }[] = []
  readonly hub: Hub
  /** Sync exits made through this vCPU. */
  syncExits = 0
  readonly #buffer: SharedArrayBuffer
  readonly #u8: Uint8Array
  readonly #view: DataView

  constructor(options: Partial<HubOptions> = {}) {
    this.#buffer = new SharedArrayBuffer(SHARED_BYTES)
    this.#u8 = new Uint8Array(this.#buffer)
    this.#view = new DataView(this.#buffer)
    this.#view.setUint32(VM + abi.VM_VCPU_COUNT, 1, true)
    this.#view.setUint32(VM + abi.VM_CPU_PTRS, CPU, true)
    let arenaNext = ARENA
    this.hub = new Hub({
      buffer: this.#buffer,
      vm: VM,
      memory: this.memory,
      clock: this.clock,
      irqchip: {
        setGsi: (gsi, level) => {
          this.gsiLevels.set(gsi, level)
          this.gsiChanges.push({ gsi, level })
        },
        sendMsi: (address, data) => this.messages.push({ address, data }),
      },
      log: { write: (_level, text) => this.logs.push(text) },
      emit: (event) => this.events.push(event),
      arena: {
        allocate: (bytes) => {
          arenaNext += bytes
          return arenaNext - bytes
        },
      },
      ...options,
    })
  }

  get view(): DataView {
    return this.#view
  }

  get vm(): number {
    return VM
  }

  get cpu(): number {
    return CPU
  }

  /** Adds a second vCPU, for post(); returns its CPU struct. */
  addVcpu(): number {
    this.#view.setUint32(VM + abi.VM_VCPU_COUNT, 2, true)
    this.#view.setUint32(VM + abi.VM_CPU_PTRS + 4, SECOND_CPU, true)
    return SECOND_CPU
  }

  // The vCPU's side: what kernel/exit.ts does ------------------------------------------------------------------------

  #exit(kind: number, address: number, bytes: number, value: bigint): bigint {
    const exit = CPU + abi.CPU_EXIT
    this.syncExits++
    this.#view.setUint32(exit + exits.EXIT_KIND, kind, true)
    this.#view.setUint32(exit + exits.EXIT_SIZE, bytes, true)
    this.#view.setUint32(exit + exits.EXIT_COUNT, 1, true)
    this.#view.setBigUint64(exit + exits.EXIT_ADDRESS, BigInt(address), true)
    this.#view.setBigUint64(exit + exits.EXIT_DATA, value, true)
    this.#view.setUint32(exit + exits.EXIT_STATE, 1, true)
    this.hub.pump()
    if (this.#view.getUint32(exit + exits.EXIT_STATE, true) !== 2)
      throw new Error('the hub did not answer the exit')
    this.#view.setUint32(exit + exits.EXIT_STATE, 0, true)
    return this.#view.getBigUint64(exit + exits.EXIT_DATA, true)
  }

  /** An exit of any kind, for those that are no port or memory access. */
  otherExit(kind: number, address = 0, data = 0): number {
    return Number(this.#exit(kind, address, 4, BigInt(data)))
  }

  portClass(port: number): AccessClass {
    const index = this.#u8[VM + abi.VM_PIO_MAP + port] as number
    return split(this.#view.getUint16(VM + abi.VM_PIO_CLASSES + 2 * index, true))
  }

  mmioClass(gpa: number): AccessClass | undefined {
    const count = this.#view.getUint32(VM + abi.VM_MMIO_COUNT, true)
    for (let index = 0; index < count; index++) {
      const at = VM + abi.VM_MMIO_TABLE + index * exits.MMIO_ENTRY_SIZE
      const start = Number(this.#view.getBigUint64(at + exits.MMIO_START, true))
      const end = Number(this.#view.getBigUint64(at + exits.MMIO_END, true))
      if (gpa >= start && gpa < end) return split(this.#view.getUint32(at + exits.MMIO_CLASS, true))
    }
    return undefined
  }

  /** IN, by the class that the tables say. */
  in(port: number, bytes = 1): number {
    if (this.portClass(port).read === exits.ACCESS_SHADOW) {
      let value = 0
      for (let i = bytes - 1; i >= 0; i--)
        value = value * 256 + (this.#u8[VM + abi.VM_PIO_SHADOW + port + i] as number)
      return value
    }
    return Number(this.#exit(exits.EXIT_KIND_PIO_READ, port, bytes, 0n)) % 2 ** (8 * bytes)
  }

  /** OUT, by the class that the tables say; posted writes are seen by the hub at once unless `hold` is set. */
  out(port: number, value: number, bytes = 1, hold = false): void {
    if (this.portClass(port).write === exits.ACCESS_POSTED) {
      this.post(exits.EXIT_KIND_PIO_WRITE, port, bytes, value)
      if (!hold) this.hub.pump()
    } else this.#exit(exits.EXIT_KIND_PIO_WRITE, port, bytes, BigInt(value >>> 0))
  }

  /** A sync port access whatever the class, as a hostile or odd guest may cause by crossing a class border. */
  inSync(port: number, bytes: number): number {
    return Number(this.#exit(exits.EXIT_KIND_PIO_READ, port, bytes, 0n)) % 2 ** (8 * bytes)
  }

  outSync(port: number, value: number, bytes: number): void {
    this.#exit(exits.EXIT_KIND_PIO_WRITE, port, bytes, BigInt(value >>> 0))
  }

  load(gpa: number, bytes = 4): number {
    const value = this.#exit(exits.EXIT_KIND_MMIO_READ, gpa, bytes, 0n)
    return Number(bytes === 8 ? value : value & ((1n << BigInt(8 * bytes)) - 1n))
  }

  store(gpa: number, value: number | bigint, bytes = 4): void {
    if (this.mmioClass(gpa)?.write === exits.ACCESS_POSTED) {
      this.post(exits.EXIT_KIND_MMIO_WRITE, gpa, bytes, Number(value))
      this.hub.pump()
    } else this.#exit(exits.EXIT_KIND_MMIO_WRITE, gpa, bytes, BigInt(value))
  }

  /** Appends to the posted ring without waking the hub. */
  post(kind: number, address: number, bytes: number, value: number, cpu = CPU): void {
    const ring = cpu + abi.CPU_POSTED
    const tail = this.#view.getUint32(ring + exits.POSTED_TAIL, true)
    if (tail - this.#view.getUint32(ring + exits.POSTED_HEAD, true) >= POSTED_FULL)
      throw new Error('the posted ring is full')
    const at = cpu + abi.CPU_POSTED_ENTRIES + (tail % POSTED_FULL) * exits.POSTED_ENTRY_SIZE
    this.#view.setUint32(at + exits.POSTED_KIND, kind, true)
    this.#view.setUint32(at + exits.POSTED_BYTES, bytes, true)
    this.#view.setBigUint64(at + exits.POSTED_ADDRESS, BigInt(address), true)
    this.#view.setBigUint64(at + exits.POSTED_DATA, BigInt(value), true)
    const sequence = this.#view.getUint32(VM + abi.VM_POSTED_SEQ, true)
    this.#view.setUint32(VM + abi.VM_POSTED_SEQ, sequence + 1, true)
    this.#view.setUint32(at + exits.POSTED_SEQ, sequence, true)
    this.#view.setUint32(ring + exits.POSTED_TAIL, tail + 1, true)
  }

  // PCI configuration mechanism 1; needs an i440fx -------------------------------------------------------------------

  configRead(slot: number, fn: number, at: number, bytes = 4): number {
    this.out(0xcf8, (0x8000_0000 | (slot << 11) | (fn << 8) | (at & 0xfc)) >>> 0, 4)
    return this.in(0xcfc + (at & 3), bytes)
  }

  configWrite(slot: number, fn: number, at: number, value: number, bytes = 4): void {
    this.out(0xcf8, (0x8000_0000 | (slot << 11) | (fn << 8) | (at & 0xfc)) >>> 0, 4)
    this.out(0xcfc + (at & 3), value, bytes)
  }
}

function split(word: number): AccessClass {
  return { read: word & 15, write: (word >> 4) & 15, kernelDevice: word >> 8 }
}
