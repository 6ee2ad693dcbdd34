/**
 * What a device is: one definition with its config schema, its state codec, its bus, and one constructor.
 * Adding a device is one file that ends in defineDevice() and one line in devices/catalog.ts.
 *
 * Life: create(ports, config) claims ports and lines through `ports`; create(ports, config, state) does the same
 * and starts from a saved state ("restoring constructs"). reset() brings a live device back to power-on state
 * and may be called at any time and twice.
 */
import type { StateCodec } from '#snapshot/codec.ts'

import type { ConfigSchema } from './config-schema.ts'
import type { PciSlot } from './pci/function.ts'
import type { Clock, EmitEvent, GuestMemory, Log, SharedArena } from './ports.ts'
import type { MmioSpace } from './mmio-space.ts'
import type { PioSpace } from './pio-space.ts'
import type { IrqLine } from './gsi.ts'

export type Bus = 'system' | 'isa' | 'pci'

/** Everything a device may touch. Backends (disks, chardevs…) that a definition asks for are added as more members. */
export interface DevicePorts {
  /** Unique within the machine: 'com1', 'disk0'. */
  readonly name: string
  readonly pio: PioSpace
  readonly mmio: MmioSpace
  readonly memory: GuestMemory
  readonly clock: Clock
  readonly log: Log
  /** The slot of a device with bus 'pci'. */
  readonly pci: PciSlot
  /** Shared memory for shadow images of MMIO ranges. */
  readonly arena: SharedArena
  /** A line of this device to a global system interrupt. Lines of several devices to one GSI are wired-OR. */
  gsi(gsi: number): IrqLine
  emit: EmitEvent
  /** Runs the callback once, after the exits at hand are served: batches output of many posted writes. */
  defer(callback: () => void): void
  /** Logs a guest-caused fact the first time this device reports this key. */
  logOnce(key: string, text: string): void
}

export interface Device<State> {
  reset(): void
  /** Plain data from which create() makes an equal device. */
  state(): State
  dispose?(): void
}

export interface DeviceDefinition<
  Config,
  State,
  Backends = unknown,
  D extends Device<State> = Device<State>,
> {
  readonly type: string
  readonly bus: Bus
  readonly config: ConfigSchema<Config>
  readonly state: StateCodec<State>
  create(ports: DevicePorts & Backends, config: Config, state?: State): D
}

// A catalogue holds definitions of every shape; a definition is only ever fed what its own schema and codec made.
// oxlint-disable-next-line no-explicit-any
export type AnyDeviceDefinition = DeviceDefinition<any, any, any, any>

/** Fixes the types of a definition; checks what a type cannot say. */
export function defineDevice<Config, State, Backends = unknown, D extends Device<State> = Device<State>>(
  definition: DeviceDefinition<Config, State, Backends, D>,
): DeviceDefinition<Config, State, Backends, D> {
  if (!/^[a-z0-9-]+$/.test(definition.type))
    throw new Error(`device type "${definition.type}" is not kebab-case`)
  return definition
}
