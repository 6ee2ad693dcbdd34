/**
 * Virtio independent of the transport: device status, feature negotiation, queues, reset (virtio 1.2, chapters 2 and 3).
 * The transport owns registers and interrupts and calls in here.
 */
import { assert, must } from '#base/assert.ts'
import type { GuestMemory } from '#hub/ports.ts'
import { SnapshotError } from '#snapshot/codec.ts'
import { bits, list, record } from '#snapshot/fields.ts'

import type { Chain } from './chain.ts'
import type { VirtioDevice, VirtioPorts } from './device.ts'
import { QueueStateField, SplitQueue } from './split-queue.ts'
import type { QueueState } from './split-queue.ts'

const VIRTIO_STATUS_ACKNOWLEDGE = 1
const VIRTIO_STATUS_DRIVER = 2
export const VIRTIO_STATUS_DRIVER_OK = 4
export const VIRTIO_STATUS_FEATURES_OK = 8
export const VIRTIO_STATUS_NEEDS_RESET = 0x40
const VIRTIO_STATUS_FAILED = 0x80
/** Bits that a driver writes. */
const STATUS_DRIVER_BITS =
  VIRTIO_STATUS_ACKNOWLEDGE |
  VIRTIO_STATUS_DRIVER |
  VIRTIO_STATUS_DRIVER_OK |
  VIRTIO_STATUS_FEATURES_OK |
  VIRTIO_STATUS_FAILED

export const VIRTIO_F_INDIRECT_DESC = 28
export const VIRTIO_F_EVENT_IDX = 29
export const VIRTIO_F_VERSION_1 = 32
export const VIRTIO_F_RING_RESET = 40

const CORE_FEATURES =
  (1n << BigInt(VIRTIO_F_INDIRECT_DESC)) |
  (1n << BigInt(VIRTIO_F_EVENT_IDX)) |
  (1n << BigInt(VIRTIO_F_VERSION_1)) |
  (1n << BigInt(VIRTIO_F_RING_RESET))

/** Most queues a transport has room for (a page of 4-byte doorbells). */
export const MAX_QUEUES = 64

export interface CoreState {
  status: number
  driverFeatures: bigint
  generation: number
  queues: QueueState[]
}

export const CoreStateField = record({
  status: bits(STATUS_DRIVER_BITS | VIRTIO_STATUS_NEEDS_RESET),
  driverFeatures: 'u64',
  generation: 'u8',
  queues: list(QueueStateField, MAX_QUEUES),
})

/** How the transport tells the driver. */
export interface VirtioInterrupts {
  queueInterrupt(queue: number): void
  configInterrupt(): void
}

type HostPorts = Pick<VirtioPorts, 'name' | 'clock' | 'log' | 'emit' | 'defer' | 'logOnce'> & {
  readonly memory: GuestMemory
}

export class VirtioCore {
  queues: readonly SplitQueue[] = []
  driverFeatures = 0n
  generation = 0
  #status = 0
  #device: VirtioDevice<unknown> | undefined
  readonly #ports: HostPorts
  readonly #interrupts: VirtioInterrupts

  constructor(ports: HostPorts, interrupts: VirtioInterrupts) {
    this.#ports = ports
    this.#interrupts = interrupts
  }

  /** What the device gets; it may use it from its constructor on, though no chain is there before start. */
  portsForDevice(): VirtioPorts {
    const { name, clock, log, emit, defer, logOnce } = this.#ports
    return {
      name,
      clock,
      log,
      emit,
      defer,
      logOnce,
      pop: (queue) => this.#pop(queue),
      unpop: (queue, chain) => this.queue(queue).unpop(chain),
      push: (queue, chain, writtenBytes) => this.queue(queue).push(chain, writtenBytes),
      signal: (queue) => this.#signal(queue),
      isLive: (queue, chain) => this.queue(queue).life === chain.life,
      has: (feature) => ((this.driverFeatures >> BigInt(feature)) & 1n) === 1n,
      configChanged: () => this.#configChanged(),
      fail: (reason) => this.fail(reason),
    }
  }

  /** Connects the device; with a saved state its queues go on where they stopped. */
  attach(device: VirtioDevice<unknown>, saved?: CoreState): void {
    assert(device.queueSizes.length <= MAX_QUEUES, `${device.queueSizes.length} queues are too many`)
    this.#device = device
    this.queues = device.queueSizes.map((size) => new SplitQueue(this.#ports.memory, size))
    if (saved) this.#restore(saved)
  }

  get device(): VirtioDevice<unknown> {
    return must(this.#device, 'virtio core without a device')
  }

  queue(index: number): SplitQueue {
    return must(this.queues[index], `there is no queue ${index}`)
  }

  get deviceFeatures(): bigint {
    return this.device.features | CORE_FEATURES
  }

  get status(): number {
    return this.#status
  }

  get #live(): boolean {
    const wanted = VIRTIO_STATUS_DRIVER_OK
    return (this.#status & (wanted | VIRTIO_STATUS_NEEDS_RESET)) === wanted
  }

  /** The driver writes the status register (2.1). */
  setStatus(value: number): void {
    if (value === 0) return this.reset()
    let status = (value & STATUS_DRIVER_BITS) | (this.#status & VIRTIO_STATUS_NEEDS_RESET)
    const news = status & ~this.#status
    if ((news & VIRTIO_STATUS_FEATURES_OK) !== 0 && !this.#featuresAcceptable())
      status &= ~VIRTIO_STATUS_FEATURES_OK
    this.#status = status
    this.#applyFeatures()
    if ((news & VIRTIO_STATUS_DRIVER_OK) === 0) return
    this.device.start?.()
    // 3.1.1: buffers may have been made available before DRIVER_OK without a notification being acted upon.
    this.queues.forEach((queue, index) => queue.hasPending && this.notify(index))
  }

  #featuresAcceptable(): boolean {
    const known = (this.driverFeatures & ~this.deviceFeatures) === 0n
    return known && ((this.driverFeatures >> BigInt(VIRTIO_F_VERSION_1)) & 1n) === 1n
  }

  #applyFeatures(): void {
    for (const queue of this.queues) {
      queue.eventIdx = ((this.driverFeatures >> BigInt(VIRTIO_F_EVENT_IDX)) & 1n) === 1n
      queue.indirect = ((this.driverFeatures >> BigInt(VIRTIO_F_INDIRECT_DESC)) & 1n) === 1n
    }
  }

  /** Feature bits are frozen once FEATURES_OK is set (3.1.1). */
  setDriverFeatures(word: number, value: number): void {
    if ((this.#status & VIRTIO_STATUS_FEATURES_OK) !== 0 || word > 1) return
    const shift = BigInt(32 * word)
    const others = this.driverFeatures & ~(0xffff_ffffn << shift)
    this.driverFeatures = others | (BigInt(value >>> 0) << shift)
  }

  enableQueue(index: number): void {
    const queue = this.queues[index]
    if (queue === undefined || queue.ready) return
    const fault = queue.enable()
    if (fault !== undefined) this.fail(`queue ${index}: ${fault}`)
  }

  /** The driver rang the doorbell of a queue. */
  notify(index: number): void {
    if (!this.#live || this.queues[index]?.ready !== true) return
    this.device.notify(index)
  }

  #pop(index: number): Chain | undefined {
    if (!this.#live) return undefined
    const queue = this.queue(index)
    let found = queue.pop()
    if (found === undefined && queue.rearm()) found = queue.pop()
    if (typeof found !== 'string') return found
    this.fail(`queue ${index}: ${found}`)
    return undefined
  }

  #signal(index: number): void {
    if (this.queues[index]?.takeInterrupt() === true) this.#interrupts.queueInterrupt(index)
  }

  #configChanged(): void {
    this.generation = (this.generation + 1) & 0xff
    if ((this.#status & VIRTIO_STATUS_DRIVER_OK) !== 0) this.#interrupts.configInterrupt()
  }

  fail(reason: string): void {
    if ((this.#status & VIRTIO_STATUS_NEEDS_RESET) !== 0) return
    this.#status |= VIRTIO_STATUS_NEEDS_RESET
    this.#ports.logOnce(`fail ${reason}`, `the driver broke the rules, the device needs a reset: ${reason}`)
    this.#ports.emit({ type: 'device-failed', by: this.#ports.name, reason })
    if ((this.#status & VIRTIO_STATUS_DRIVER_OK) !== 0) this.#interrupts.configInterrupt()
  }

  reset(): void {
    this.#status = 0
    this.driverFeatures = 0n
    this.generation = 0
    for (const queue of this.queues) queue.reset()
    this.device.reset()
  }

  state(): CoreState {
    return {
      status: this.#status,
      driverFeatures: this.driverFeatures,
      generation: this.generation,
      queues: this.queues.map((queue) => queue.state()),
    }
  }

  #restore(saved: CoreState): void {
    const { name } = this.#ports
    if (saved.queues.length !== this.queues.length) {
      throw new SnapshotError(name, `has ${saved.queues.length} queues, not ${this.queues.length}`)
    }
    if ((saved.driverFeatures & ~this.deviceFeatures) !== 0n)
      throw new SnapshotError(name, 'has features it does not offer')
    this.#status = saved.status
    this.driverFeatures = saved.driverFeatures
    this.generation = saved.generation
    saved.queues.forEach((state, index) => {
      const wrong = this.queue(index).restore(state)
      if (wrong !== undefined) throw new SnapshotError(name, `queue ${index} ${wrong}`)
    })
    this.#applyFeatures()
    this.#ports.defer(() => this.queues.forEach((queue, index) => queue.hasPending && this.notify(index)))
  }
}
