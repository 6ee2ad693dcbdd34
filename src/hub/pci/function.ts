/**
 * One PCI function: configuration space, BARs that place their regions in the port and MMIO spaces, INTx, MSI, MSI-X.
 * PCI Local Bus 3.0, chapter 6. Expansion ROM and power management are absent.
 */
import { isPowerOfTwo, truncate } from '#base/bits.ts'
import { SnapshotError, stateCodec } from '#snapshot/codec.ts'
import { bytes, list } from '#snapshot/fields.ts'

import { ClaimError, type IoHandler, type ReadClass, type WriteClass } from '../claims.ts'
import type { MmioSpace } from '../mmio-space.ts'
import type { PioSpace } from '../pio-space.ts'
import * as cfg from './config-space.ts'
import { ConfigSpace } from './config-space.ts'
import { Msi } from './msi.ts'
import {
  MSIX_CAPABILITY_BYTES,
  MSIX_CONTROL,
  MSIX_CONTROL_ENABLE,
  MSIX_CONTROL_MASK_ALL,
  MSIX_ENTRY_BYTES,
  MSIX_MAX_VECTORS,
  Msix,
} from './msix.ts'

/** A part of a BAR with its own access class; offsets are relative to the region. Gaps read as all ones. */
export interface BarRegion {
  readonly at: number
  readonly bytes: number
  readonly read?: ReadClass
  readonly write?: WriteClass
  readonly width?: 1 | 2 | 4
  readonly handler: IoHandler
}

export interface BarSpec {
  /** 0-5; a mem64 BAR also takes the next index. */
  readonly index: number
  readonly space: 'io' | 'mem32' | 'mem64'
  /** A power of two: at least 4 for I/O, 16 for memory. */
  readonly bytes: number
  readonly prefetchable?: boolean
  readonly regions: readonly BarRegion[]
}

export interface PciFunctionSpec {
  readonly vendor: number
  readonly device: number
  /** Class, subclass, programming interface: 0xCCSSPP. */
  readonly classCode: number
  readonly revision?: number
  readonly subsystemVendor?: number
  readonly subsystem?: number
  /** 1 = INTA … 4 = INTD, 0 = none. */
  readonly interruptPin?: number
  /** Set on function 0 of a slot with several functions. */
  readonly multifunction?: boolean
  readonly bars?: readonly BarSpec[]
  readonly msi?: { readonly vectors: number }
  /** Table and pending bits become regions of a memory BAR of their own. */
  readonly msix?: { readonly bar: number; readonly vectors: number }
  /** Lays out further capabilities and registers before the reset image is taken. */
  readonly layout?: (config: ConfigSpace) => void
  /** A window of configuration space that the device answers itself. */
  readonly window?: { readonly at: () => number; readonly bytes: number; readonly handler: IoHandler }
  /** After a write to [at, at + bytes). */
  readonly onConfigWrite?: (at: number, bytes: number) => void
}

/** A place on a bus, handed to a device with bus 'pci', which attaches its function to it. */
export interface PciSlot {
  readonly slot: number
  readonly fn: number
  /** The bus: for host bridges only. */
  readonly bus: import('./bus.ts').PciBus
  attach(spec: PciFunctionSpec): PciFunction
}

/** 256 bytes of shared memory, at an address that is a multiple of 64. */
export interface SharedConfig {
  readonly address: number
  readonly bytes: Uint8Array
}

export interface PciFunctionPorts {
  readonly name: string
  readonly pio: PioSpace
  readonly mmio: MmioSpace
  /** Where configuration space shall lie; default memory of its own. */
  readonly config?: SharedConfig
  sendMsi(address: number, data: number): void
  /** Pin level, 0 = INTA. */
  setIntx(pin: number, level: boolean): void
  logOnce(key: string, text: string): void
}

interface Bar {
  readonly spec: BarSpec
  /** Where its regions are claimed now; undefined = not decoded. */
  base: number | undefined
  claims: { release(): void }[]
}

const PciState = stateCodec('pci-function', 1, {
  config: bytes(cfg.CONFIG_BYTES),
  msixTable: list('u32', MSIX_MAX_VECTORS * 4),
  msixPending: list('u32', MSIX_MAX_VECTORS / 32),
})

export class PciFunction {
  readonly config: ConfigSpace
  /** Address of the configuration space in shared memory, where it is. */
  readonly configAddress: number | undefined
  readonly spec: PciFunctionSpec
  readonly #ports: PciFunctionPorts
  readonly #bars: Bar[] = []
  readonly #msi: Msi | undefined
  readonly #msix: Msix | undefined
  #msixAt = 0
  #intx = false

  constructor(ports: PciFunctionPorts, spec: PciFunctionSpec, saved?: Uint8Array) {
    this.#ports = ports
    this.spec = spec
    this.config = new ConfigSpace(ports.config?.bytes)
    this.configAddress = ports.config?.address
    this.#layOutHeader()
    spec.layout?.(this.config)
    if (spec.msi) this.#msi = new Msi(this.config, spec.msi.vectors, ports.sendMsi)
    for (const bar of spec.bars ?? []) this.#addBar(bar)
    if (spec.msix) this.#msix = this.#addMsix(spec.msix)
    this.config.seal()
    if (saved) this.#restore(saved)
  }

  #layOutHeader(): void {
    const { config, spec } = this
    config.set(cfg.PCI_VENDOR_ID, 2, spec.vendor)
    config.set(cfg.PCI_DEVICE_ID, 2, spec.device)
    config.set(cfg.PCI_REVISION_ID, 1, spec.revision ?? 0)
    config.set(cfg.PCI_CLASS_PROG, 3, spec.classCode)
    config.set(cfg.PCI_HEADER_TYPE, 1, spec.multifunction ? 0x80 : 0)
    config.set(cfg.PCI_SUBSYSTEM_VENDOR_ID, 2, spec.subsystemVendor ?? 0)
    config.set(cfg.PCI_SUBSYSTEM_ID, 2, spec.subsystem ?? 0)
    config.set(cfg.PCI_INTERRUPT_PIN, 1, spec.interruptPin ?? 0)
    if (spec.interruptPin) config.allow(cfg.PCI_INTERRUPT_LINE, 1, 0xff)
  }

  #addBar(spec: BarSpec): void {
    const smallest = spec.space === 'io' ? 4 : 16
    if (!isPowerOfTwo(spec.bytes) || spec.bytes < smallest) {
      throw new RangeError(
        `${this.#ports.name}: BAR ${spec.index} of ${spec.bytes} bytes is not a power of two from ${smallest}`,
      )
    }
    const at = cfg.PCI_BASE_ADDRESS_0 + 4 * spec.index
    const kind = spec.space === 'io' ? 1 : spec.space === 'mem64' ? 4 : 0
    this.config.set(at, 4, kind | (spec.prefetchable ? 8 : 0))
    const mask = -spec.bytes
    this.config.allow(
      at,
      4,
      (spec.bytes >= 2 ** 32 ? 0 : mask & (spec.space === 'io' ? 0xfffc : 0xffff_fff0)) >>> 0,
    )
    if (spec.space === 'mem64') this.config.allow(at + 4, 4, Math.floor(mask / 2 ** 32) >>> 0)
    this.#bars.push({ spec, base: undefined, claims: [] })
  }

  #addMsix({ bar, vectors }: { bar: number; vectors: number }): Msix {
    const msix = new Msix(vectors, (address, data) => this.#ports.sendMsi(address, data))
    const tableBytes = vectors * MSIX_ENTRY_BYTES
    const pendingAt = 2 ** Math.ceil(Math.log2(tableBytes))
    const pendingBytes = Math.ceil(vectors / 64) * 8
    this.#addBar({
      index: bar,
      space: 'mem32',
      bytes: Math.max(4096, 2 * pendingAt),
      regions: [
        { at: 0, bytes: tableBytes, handler: msix.table },
        { at: pendingAt, bytes: pendingBytes, handler: msix.pendingBits },
      ],
    })
    const at = this.config.addCapability(cfg.PCI_CAP_ID_MSIX, MSIX_CAPABILITY_BYTES)
    this.#msixAt = at
    this.config.set(at + MSIX_CONTROL, 2, vectors - 1)
    this.config.allow(at + MSIX_CONTROL, 2, MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK_ALL)
    this.config.set(at + 4, 4, bar)
    this.config.set(at + 8, 4, pendingAt | bar)
    return msix
  }

  get busMaster(): boolean {
    return (this.config.get(cfg.PCI_COMMAND, 2) & cfg.PCI_COMMAND_MASTER) !== 0
  }

  get msixEnabled(): boolean {
    return this.#msix?.enabled ?? false
  }

  /** MSI or MSI-X is on: the device must not use INTx. */
  get messageInterrupts(): boolean {
    return this.msixEnabled || (this.#msi?.enabled ?? false)
  }

  /** Sends a message-signalled interrupt; nothing happens while neither kind is enabled or mastering is off. */
  signal(vector: number): void {
    if (!this.busMaster) return
    if (this.msixEnabled) this.#msix?.signal(vector)
    else this.#msi?.signal(vector)
  }

  /** The device's level-triggered interrupt request. */
  setIntx(level: boolean): void {
    this.#intx = level
    this.#updateIntx()
  }

  #updateIntx(): void {
    const pin = this.spec.interruptPin ?? 0
    if (pin === 0) return
    const status = this.config.get(cfg.PCI_STATUS, 1)
    this.config.set(
      cfg.PCI_STATUS,
      1,
      this.#intx ? status | cfg.PCI_STATUS_INTERRUPT : status & ~cfg.PCI_STATUS_INTERRUPT,
    )
    const disabled = (this.config.get(cfg.PCI_COMMAND, 2) & cfg.PCI_COMMAND_INTX_DISABLE) !== 0
    this.#ports.setIntx(pin - 1, this.#intx && !disabled && !this.messageInterrupts)
  }

  /** bytes is 1, 2 or 4, and the access does not cross a dword. */
  readConfig(at: number, bytes: number): number {
    const window = this.spec.window
    if (window !== undefined && at >= window.at() && at + bytes <= window.at() + window.bytes) {
      return window.handler.read(at - window.at(), bytes) ?? 0
    }
    return this.config.get(at, bytes)
  }

  writeConfig(at: number, bytes: number, value: number): void {
    const window = this.spec.window
    if (window !== undefined && at >= window.at() && at + bytes <= window.at() + window.bytes) {
      window.handler.write(at - window.at(), bytes, value)
      return
    }
    this.config.write(at, bytes, truncate(value, bytes))
    if (at < cfg.PCI_CAPABILITY_LIST) this.#placeBars()
    if (this.#msix && at + bytes > this.#msixAt && at < this.#msixAt + 4) {
      this.#msix.control(this.config.get(this.#msixAt + MSIX_CONTROL, 2))
    }
    this.#msi?.changed()
    this.#updateIntx()
    this.spec.onConfigWrite?.(at, bytes)
  }

  /** Where a BAR decodes now, or undefined. */
  barBase(index: number): number | undefined {
    return this.#bars.find((bar) => bar.spec.index === index)?.base
  }

  /** Access to a BAR by offset, as the virtio PCI configuration access capability needs it; undefined = no register. */
  barRead(index: number, offset: number, bytes: number): number | undefined {
    const region = this.#region(index, offset, bytes)
    return region?.handler.read(offset - region.at, bytes)
  }

  barWrite(index: number, offset: number, bytes: number, value: number): void {
    const region = this.#region(index, offset, bytes)
    region?.handler.write(offset - region.at, bytes, value)
  }

  #region(index: number, offset: number, bytes: number): BarRegion | undefined {
    const bar = this.#bars.find((one) => one.spec.index === index)
    return bar?.spec.regions.find(
      (region) => offset >= region.at && offset + bytes <= region.at + region.bytes,
    )
  }

  /** All BARs with their sizes, for whoever assigns addresses. */
  get bars(): readonly BarSpec[] {
    return this.#bars.map((bar) => bar.spec)
  }

  #placeBars(): void {
    const command = this.config.get(cfg.PCI_COMMAND, 2)
    // Two passes: a BAR may move to where another one of this function just left.
    const moves = this.#bars.filter((bar) => this.#decodedBase(bar.spec, command) !== bar.base)
    for (const bar of moves) this.#unplace(bar)
    for (const bar of moves) this.#place(bar, this.#decodedBase(bar.spec, command))
  }

  #decodedBase(spec: BarSpec, command: number): number | undefined {
    const enable = spec.space === 'io' ? cfg.PCI_COMMAND_IO : cfg.PCI_COMMAND_MEMORY
    if ((command & enable) === 0) return undefined
    const at = cfg.PCI_BASE_ADDRESS_0 + 4 * spec.index
    if (spec.space === 'io') {
      const port = this.config.get(at, 4) & 0xfffc
      return port === 0 || port + spec.bytes > 0x1_0000 ? undefined : port
    }
    const high = spec.space === 'mem64' ? this.config.get(at + 4, 4) : 0
    const low = (this.config.get(at, 4) & 0xffff_fff0) >>> 0
    // Address 0 is "not assigned"; all ones is a sizing probe with decoding left on.
    const probing = low === (-spec.bytes & 0xffff_fff0) >>> 0
    if ((high === 0 && (low === 0 || probing)) || high >= 0x10_0000) return undefined
    return high * 2 ** 32 + low
  }

  #place(bar: Bar, base: number | undefined): void {
    bar.base = base
    if (base === undefined) return
    for (const region of bar.spec.regions) {
      const { at, bytes: lengthBytes, ...rest } = region
      const claim =
        bar.spec.space === 'io'
          ? this.#ports.pio.tryClaim({ ...rest, start: base + at, count: lengthBytes })
          : this.#ports.mmio.tryClaim({ ...rest, start: base + at, bytes: lengthBytes })
      if (claim instanceof ClaimError) {
        this.#ports.logOnce(
          `bar${bar.spec.index}@${base}`,
          `BAR ${bar.spec.index} is not decoded: ${claim.message}`,
        )
        this.#unplace(bar)
        bar.base = base // remembered, so that the same conflict is not tried again at every write
        return
      }
      bar.claims.push(claim)
    }
  }

  #unplace(bar: Bar): void {
    for (const claim of bar.claims) claim.release()
    bar.claims = []
    bar.base = undefined
  }

  reset(): void {
    this.config.reset()
    this.#msix?.reset()
    this.setIntx(false)
    this.#placeBars()
  }

  save(): Uint8Array<ArrayBuffer> {
    const image = this.config.bytes.slice()
    image[cfg.PCI_STATUS] = (image[cfg.PCI_STATUS] as number) & ~cfg.PCI_STATUS_INTERRUPT // follows from the device's state
    const msix = this.#msix?.state()
    return PciState.encode({ config: image, msixTable: msix?.table ?? [], msixPending: msix?.pending ?? [] })
  }

  #restore(saved: Uint8Array): void {
    const state = PciState.decode(saved)
    const section = `${this.#ports.name}.pci`
    const foreign = this.config.foreignBits(this.#withoutMsiPending(state.config))
    if (foreign !== undefined)
      throw new SnapshotError(section, `configuration byte ${foreign} is not this device's`)
    this.config.bytes.set(state.config)
    if (this.#msix) {
      const control = this.config.get(this.#msixAt + MSIX_CONTROL, 2)
      this.#msix.restore(section, { table: state.msixTable, pending: state.msixPending }, control)
    } else if (state.msixTable.length > 0)
      throw new SnapshotError(section, 'has an MSI-X table that this device lacks')
    this.#placeBars()
  }

  #withoutMsiPending(image: Uint8Array): Uint8Array {
    if (this.#msi === undefined) return image
    const copy = image.slice()
    copy.fill(0, this.#msi.pendingAt, this.#msi.pendingAt + 4)
    return copy
  }
}

export { PciState }
