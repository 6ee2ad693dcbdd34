/**
 * What a virtio device is, apart from any transport: feature bits, queues, configuration space, and a way to serve
 * chains. virtio/core.ts runs it, virtio/pci.ts puts it on a bus; the device knows neither.
 */
import type { ConfigSchema } from '#hub/config-schema.ts'
import type { DevicePorts } from '#hub/device.ts'
import type { StateCodec } from '#snapshot/codec.ts'

import type { Chain } from './chain.ts'

/** What the core offers to a device. */
export interface VirtioPorts extends Pick<
  DevicePorts,
  'name' | 'clock' | 'log' | 'emit' | 'defer' | 'logOnce'
> {
  /**
   * The next chain of a queue, or undefined if there is none (also while the queue is stopped). A driver that broke
   * the rules has its device marked as needing a reset, and sees no further chain served.
   */
  pop(queue: number): Chain | undefined
  /** Puts back the chain that was popped last; pop() gives it again. */
  unpop(queue: number, chain: Chain): void
  /** Returns a chain with the bytes written to it. Ignored if the queue was reset since. */
  push(queue: number, chain: Chain, writtenBytes: number): void
  /** Interrupts the driver if chains were pushed and it wants to know. */
  signal(queue: number): void
  /** False once the queue was reset: asynchronous work asks before it touches a chain's memory. */
  isLive(queue: number, chain: Chain): boolean
  /** Whether a feature bit was negotiated. */
  has(feature: number): boolean
  /** The configuration space changed: bumps its generation and interrupts the driver. */
  configChanged(): void
  /** The driver broke a rule of the device's own protocol: DEVICE_NEEDS_RESET (2.1.2). */
  fail(reason: string): void
}

export interface VirtioDevice<State> {
  /** Device-specific bits that it offers; transport and ring bits are the core's. */
  readonly features: bigint
  /** Greatest size of each queue, a power of two. */
  readonly queueSizes: readonly number[]
  readonly configBytes: number
  /** bytes is 1, 2 or 4; the access lies inside configBytes. */
  readConfig(at: number, bytes: number): number
  writeConfig?(at: number, bytes: number, value: number): void
  /** The driver is ready: DRIVER_OK was set. */
  start?(): void
  /** Chains may be available. */
  notify(queue: number): void
  reset(): void
  state(): State
}

export interface VirtioDefinition<Config, State, Backends> {
  readonly type: string
  /** Virtio device ID (chapter 5). */
  readonly deviceId: number
  /** PCI class code 0xCCSSPP. */
  readonly pciClass: number
  readonly config: ConfigSchema<Config>
  readonly state: StateCodec<State>
  create(ports: VirtioPorts & Backends, config: Config, state?: State): VirtioDevice<State>
}

/** Fixes the types of a definition. Wrap it with virtioPci() to put it on the PCI bus. */
export function defineVirtioDevice<Config, State, Backends = unknown>(
  definition: VirtioDefinition<Config, State, Backends>,
): VirtioDefinition<Config, State, Backends> {
  return definition
}
