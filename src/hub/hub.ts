/**
 * The device hub: QEMU's half of the machine. Routes exits to devices, owns the port and MMIO tables that vCPUs read,
 * GSI lines, the PCI bus and guest time for devices. Runs on any thread; needs neither DOM nor Node.
 *
 *   const hub = createHub(options)
 *   hub.addDevice(uart16550, { name: 'com1', config: { port: 0x3f8, irq: 4 }, ports: { chardev } })
 *   await hub.run()      // until hub.stop()
 */
import { SnapshotError } from '#snapshot/codec.ts'
import { EXIT_KIND_DEBUG, EXIT_KIND_HYPERCALL, EXIT_KIND_RESET, EXIT_KIND_SHUTDOWN } from '#abi/exits.ts'
import { VM_HUB_ASLEEP, VM_HUB_DOORBELL, VM_HUB_KICK, VM_PCI_ADDRESS, VM_PCI_FUNCTIONS } from '#abi/layout.ts'

import { VirtualClock } from './clock.ts'
import type { Device, DeviceDefinition, DevicePorts } from './device.ts'
import { ExitDoor } from './exit-door.ts'
import { GsiRouter } from './gsi.ts'
import { MmioTable } from './mmio-space.ts'
import { PCI_FUNCTIONS, PCI_SLOTS, PciBus } from './pci/bus.ts'
import { CONFIG_BYTES } from './pci/config-space.ts'
import { PciFunction, type PciFunctionSpec, type PciSlot, type SharedConfig } from './pci/function.ts'
import { PioTable } from './pio-space.ts'
import type { EmitEvent, GuestMemory, HostClock, Irqchip, Log, SharedArena } from './ports.ts'
import { type KernelLogEntry, Reporter } from './report.ts'
import { sharedWords } from './shared-words.ts'
import { type HubWaiter, createWaiter } from './waiter.ts'

/** -KVM_ENOSYS: what Linux expects of a hypercall that nobody knows. */
const HYPERCALL_UNKNOWN = 0xffff_fc18 // -1000 as u32
/** Entries of VM_PCI_FUNCTIONS keep their low 6 bits for themselves. */
const CONFIG_ALIGN = 64
/** Slot 0 is the host bridge, slot 1 the PIIX. */
const FIRST_FREE_SLOT = 2
/** Uninterrupted work before the host's other tasks get a turn. */
const TURN_NS = 4e6
/**
 * Empty looks at the exit records before going to sleep: guests make exits in bursts. Measured under Node on 2 cores: an
 * exit that finds the hub awake takes 3 us, one that must wake it 30-160 us; 200 looks take about 20 us.
 */
const SPIN_LOOKS = 200

export interface HubOptions {
  /** The one shared WebAssembly.Memory's buffer. */
  readonly buffer: ArrayBufferLike
  /** Address of the VM struct. */
  readonly vm: number
  readonly memory: GuestMemory
  readonly irqchip: Irqchip
  readonly clock: HostClock
  readonly log: Log
  readonly emit: EmitEvent
  /** Answers hypercalls that the kernel passes on: number (low 32 bits of RAX) -> result. */
  readonly hypercall?: (vcpu: number, call: number, argument: number) => number
  readonly waiter?: HubWaiter
  /** Looks before sleeping; 0 where the hub has no core of its own, because it would take the vCPUs'. */
  readonly spinLooks?: number
  /** For devices that keep shadow images; a machine without such devices needs none. */
  readonly arena?: SharedArena
}

export interface DeviceOptions<Config, Backends> {
  readonly name: string
  readonly config?: Partial<Config>
  /** The backends that the definition asks for. */
  readonly ports?: Backends
  /** Where on the PCI bus; default the next empty slot, function 0. */
  readonly pci?: { readonly slot: number; readonly fn?: number }
  /** A section of a snapshot to start from. */
  readonly saved?: DeviceSection
}

/** One device's part of a snapshot. */
export interface DeviceSection {
  readonly name: string
  readonly type: string
  readonly state: Uint8Array<ArrayBuffer>
  /** Configuration space of its PCI function; empty for others. */
  readonly pci: Uint8Array<ArrayBuffer>
}

interface Placed {
  readonly name: string
  readonly definition: DeviceDefinition<unknown, unknown, unknown>
  readonly device: Device<unknown>
  readonly function: PciFunction | undefined
}

export class Hub {
  readonly pci: PciBus
  readonly pio: PioTable
  readonly mmio: MmioTable
  readonly gsi: GsiRouter
  readonly clock: VirtualClock
  readonly #options: HubOptions
  readonly #door: ExitDoor
  readonly #reporter: Reporter
  readonly #waiter: HubWaiter
  readonly #i32: Int32Array
  readonly #devices = new Map<string, Placed>()
  #deferred: (() => void)[] = []
  #running = false

  constructor(options: HubOptions) {
    const words = sharedWords(options.buffer)
    const { vm } = options
    this.#options = options
    this.#i32 = words.i32
    const functions = (vm + VM_PCI_FUNCTIONS) >> 2
    words.i32.fill(0, functions, functions + PCI_SLOTS * PCI_FUNCTIONS)
    const selected = {
      get address() {
        return Atomics.load(words.u32, (vm + VM_PCI_ADDRESS) >> 2)
      },
      set address(value) {
        Atomics.store(words.u32, (vm + VM_PCI_ADDRESS) >> 2, value)
      },
    }
    selected.address = 0
    this.pci = new PciBus((place, device) => {
      Atomics.store(words.i32, functions + place, configEntry(device))
    }, selected)
    this.#reporter = new Reporter(options.log, words, vm)
    this.pio = new PioTable(words, vm, this.#reporter.unknownPio)
    this.mmio = new MmioTable(words, vm, this.#reporter.unknownMmio)
    this.gsi = new GsiRouter(options.irqchip)
    this.clock = new VirtualClock(options.clock, words, vm)
    this.#door = new ExitDoor(words, vm, this.pio, this.mmio, (vcpu, kind, address, data) =>
      this.#otherExit(vcpu, kind, address, data),
    )
    this.#waiter = options.waiter ?? createWaiter(words.i32, (vm + VM_HUB_DOORBELL) >> 2)
    Atomics.store(words.i32, (vm + VM_HUB_KICK) >> 2, this.#waiter.needsKick ? 1 : 0)
  }

  /** Builds a device and connects it. With `saved` it starts where that one stopped. */
  addDevice<Config, State, Backends, D extends Device<State>>(
    definition: DeviceDefinition<Config, State, Backends, D>,
    options: DeviceOptions<Config, Backends>,
  ): D {
    const { name, saved } = options
    if (this.#devices.has(name)) throw new Error(`there are two devices named "${name}"`)
    if (saved && saved.type !== definition.type) {
      throw new SnapshotError(name, `holds a ${saved.type}, but the machine has a ${definition.type} there`)
    }
    const config = definition.config.parse(name, options.config)
    const slot = definition.bus === 'pci' ? this.#slot(name, options) : undefined
    const ports = {
      ...this.#portsFor(name, slot ?? noSlot(name, this.pci)),
      ...options.ports,
    } as DevicePorts & Backends
    const device = definition.create(ports, config, saved && definition.state.decode(saved.state))
    this.#devices.set(name, {
      name,
      definition,
      device,
      function: slot?.attached,
    })
    return device
  }

  #slot<Config, Backends>(name: string, options: DeviceOptions<Config, Backends>): Slot {
    let slot = options.pci?.slot
    for (let at = FIRST_FREE_SLOT; slot === undefined && at < PCI_SLOTS; at++)
      if (this.pci.isFree(at)) slot = at
    if (slot === undefined) throw new Error(`${name}: all ${PCI_SLOTS} PCI slots are taken`)
    return new Slot(slot, options.pci?.fn ?? 0, this.pci, options.saved?.pci, {
      name,
      pio: this.pio.spaceFor(name),
      mmio: this.mmio.spaceFor(name),
      sendMsi: (address, data) => this.#options.irqchip.sendMsi(address, data),
      ...this.#configImage(),
      logOnce: (key, text) => this.#reporter.once(`${name} ${key}`, `${name}: ${text}`),
    })
  }

  /** Configuration space that vCPUs can read without an exit. */
  #configImage(): { config?: SharedConfig } {
    const { arena, buffer } = this.#options
    if (arena === undefined) return {}
    const address = Math.ceil(arena.allocate(CONFIG_BYTES + CONFIG_ALIGN) / CONFIG_ALIGN) * CONFIG_ALIGN
    return { config: { address, bytes: new Uint8Array(buffer, address, CONFIG_BYTES) } }
  }

  #portsFor(name: string, pci: PciSlot): DevicePorts {
    const { memory, log, emit } = this.#options
    return {
      name,
      pio: this.pio.spaceFor(name),
      mmio: this.mmio.spaceFor(name),
      memory,
      clock: this.clock,
      log,
      pci,
      arena: this.#options.arena ?? NO_ARENA,
      gsi: (gsi) => this.gsi.line(gsi),
      emit,
      defer: (callback) => this.#defer(callback),
      logOnce: (key, text) => this.#reporter.once(`${name} ${key}`, `${name}: ${text}`),
    }
  }

  device(name: string): Device<unknown> | undefined {
    return this.#devices.get(name)?.device
  }

  /** Names and types in the order they were added. */
  list(): readonly { readonly name: string; readonly type: string }[] {
    return [...this.#devices.values()].map(({ name, definition }) => ({ name, type: definition.type }))
  }

  // Deferred work -------------------------------------------------------------------------------------------------

  #defer(callback: () => void): void {
    if (this.#deferred.length === 0 && !this.#pumping) queueMicrotask(() => this.#runDeferred())
    this.#deferred.push(callback)
  }

  #runDeferred(): void {
    while (this.#deferred.length > 0) {
      const callbacks = this.#deferred
      this.#deferred = []
      for (const callback of callbacks) callback()
    }
  }

  // The pump ------------------------------------------------------------------------------------------------------

  #pumping = false

  /** Serves everything that waits now; true if there was anything. */
  pump(): boolean {
    this.#pumping = true
    try {
      const served = this.#door.serve()
      const logged = this.#reporter.drain()
      if (this.#deferred.length > 0) this.#runDeferred()
      return served || logged
    } finally {
      this.#pumping = false
    }
  }

  /** Pumps until stop(), sleeping on the doorbell in between. Rejects if a device has a bug. */
  async run(): Promise<void> {
    const { clock, vm } = this.#options
    const doorbell = (vm + VM_HUB_DOORBELL) >> 2
    const asleep = (vm + VM_HUB_ASLEEP) >> 2
    this.#running = true
    let turnEnd = clock.nowNs() + TURN_NS
    while (this.#running) {
      if (this.#pumpAndSpin()) {
        if (clock.nowNs() < turnEnd) continue
        await this.#waiter.breathe()
        turnEnd = clock.nowNs() + TURN_NS
        continue
      }
      const seen = Atomics.load(this.#i32, doorbell)
      Atomics.store(this.#i32, asleep, 1)
      // A vCPU that asked before it saw us asleep rang before `seen` was read, or its question is visible now.
      if (!this.pump()) await this.#waiter.wait(seen)
      Atomics.store(this.#i32, asleep, 0)
      turnEnd = clock.nowNs() + TURN_NS
    }
  }

  #pumpAndSpin(): boolean {
    if (!this.pump()) return false
    const looks = this.#options.spinLooks ?? SPIN_LOOKS
    const end = this.#options.clock.nowNs() + TURN_NS
    for (let left = looks; left > 0; left--) {
      if (!this.pump()) continue
      left = looks
      if (this.#options.clock.nowNs() > end) break
    }
    return true
  }

  /** Lets run() return. */
  stop(): void {
    this.#running = false
    this.clock.stop()
    this.#waiter.kick()
  }

  /** For hosts whose vCPU workers ring by message (VM_HUB_KICK). */
  kick(): void {
    this.#waiter.kick()
  }

  #otherExit(vcpu: number, kind: number, address: number, data: number): number {
    const { emit, hypercall } = this.#options
    switch (kind) {
      case EXIT_KIND_SHUTDOWN:
        emit({ type: 'shutdown', by: `vcpu${vcpu}`, vcpu })
        return 0
      case EXIT_KIND_RESET:
        emit({ type: 'reset', by: `vcpu${vcpu}` })
        return 0
      case EXIT_KIND_HYPERCALL:
        return hypercall?.(vcpu, address, data) ?? HYPERCALL_UNKNOWN
      case EXIT_KIND_DEBUG:
        emit({ type: 'debug', by: `vcpu${vcpu}`, vcpu })
        return 0
      default:
        this.#reporter.once(`exit ${kind}`, `vCPU ${vcpu} made an exit of unknown kind ${kind}`)
        return 0
    }
  }

  /** Entries of the kernel's log ring that are traces. */
  set onTrace(listener: ((entry: KernelLogEntry) => void) | undefined) {
    this.#reporter.onTrace = listener
  }

  // Lifecycle -----------------------------------------------------------------------------------------------------

  /** Power-on state of all devices; vCPUs must be stopped. */
  reset(): void {
    this.pump()
    for (const { device } of this.#devices.values()) device.reset()
  }

  /** Device timers stop; call after VM_PAUSED_AT is set. */
  pause(): void {
    this.clock.stop()
  }

  /** Device timers go on; call after VM_CLOCK_BASE was moved and VM_PAUSED_AT cleared. */
  resume(): void {
    this.clock.reschedule()
  }

  /** The state of all devices, in the order they were added. vCPUs must be paused. */
  save(): DeviceSection[] {
    this.pump()
    return [...this.#devices.values()].map(({ name, definition, device, function: pci }) => ({
      name,
      type: definition.type,
      state: definition.state.encode(device.state()),
      pci: pci?.save() ?? new Uint8Array(),
    }))
  }

  dispose(): void {
    this.stop()
    for (const { device } of this.#devices.values()) device.dispose?.()
  }
}

export function createHub(options: HubOptions): Hub {
  return new Hub(options)
}

class Slot implements PciSlot {
  readonly slot: number
  readonly fn: number
  readonly bus: PciBus
  readonly #saved: Uint8Array | undefined
  readonly #ports: Omit<ConstructorParameters<typeof PciFunction>[0], 'setIntx'>
  attached: PciFunction | undefined

  constructor(
    slot: number,
    fn: number,
    bus: PciBus,
    saved: Uint8Array | undefined,
    ports: Omit<ConstructorParameters<typeof PciFunction>[0], 'setIntx'>,
  ) {
    this.slot = slot
    this.fn = fn
    this.bus = bus
    this.#saved = saved
    this.#ports = ports
  }

  attach(spec: PciFunctionSpec): PciFunction {
    const { slot, fn, bus } = this
    const setIntx = (pin: number, level: boolean): void => bus.setIntx(slot, fn, pin, level)
    const device = new PciFunction({ ...this.#ports, setIntx }, spec, this.#saved)
    bus.attach(slot, fn, device)
    this.attached = device
    return device
  }
}

/** An entry of VM_PCI_FUNCTIONS. */
function configEntry(device: PciFunction | undefined): number {
  if (device === undefined) return 0
  const { configAddress, spec } = device
  if (configAddress === undefined) return 1
  return configAddress | (spec.window === undefined ? 0 : spec.window.at() >> 2)
}

const NO_ARENA: SharedArena = {
  allocate() {
    throw new Error('the hub was created without an arena for shadow images')
  },
}

function noSlot(name: string, bus: PciBus): PciSlot {
  return {
    slot: 0,
    fn: 0,
    bus,
    attach() {
      throw new Error(`${name} is not a PCI device`)
    },
  }
}
