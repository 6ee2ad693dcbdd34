/**
 * Virtio over PCI, the modern transport (virtio 1.2, section 4.1): vendor capabilities point into one BAR.
 *
 *   BAR 4   0x0000 common configuration | 0x1000 ISR | 0x2000 device configuration   sync reads, posted writes
 *           0x3000 doorbells, one u32 per queue                                      posted writes
 *   BAR 1   MSI-X table and pending bits
 *
 * The legacy interface (transitional devices) is deliberately absent.
 */
import { type DeviceDefinition, type DevicePorts, defineDevice } from '#hub/device.ts'
import type { IoHandler } from '#hub/claims.ts'
import { type ConfigSpace, PCI_CAP_ID_VNDR } from '#hub/pci/config-space.ts'
import type { PciFunction } from '#hub/pci/function.ts'
import { SnapshotError, stateCodec } from '#snapshot/codec.ts'
import { blob, list, upTo } from '#snapshot/fields.ts'
import { allOnes } from '#base/bits.ts'

import { CoreStateField, MAX_QUEUES, VirtioCore } from './core.ts'
import type { VirtioDefinition } from './device.ts'
import { NO_VECTOR, PciCommonConfig } from './pci-common.ts'

export const VIRTIO_PCI_VENDOR = 0x1af4
export const VIRTIO_PCI_DEVICE_BASE = 0x1040
const SUBSYSTEM = 0x1100

const VIRTIO_PCI_CAP_COMMON_CFG = 1
const VIRTIO_PCI_CAP_NOTIFY_CFG = 2
const VIRTIO_PCI_CAP_ISR_CFG = 3
const VIRTIO_PCI_CAP_DEVICE_CFG = 4
const VIRTIO_PCI_CAP_PCI_CFG = 5

const CAP_BAR = 4
const CAP_OFFSET = 8
const CAP_LENGTH = 12
const CAP_BYTES = 16
const CAP_DATA = 16 // pci_cfg_data of the access window; notify_off_multiplier of the notify capability

export const VIRTIO_BAR = 4
const MSIX_BAR = 1
const BAR_BYTES = 0x4000
const COMMON_AT = 0x0000
const ISR_AT = 0x1000
const DEVICE_AT = 0x2000
const NOTIFY_AT = 0x3000
const PAGE = 0x1000
export const NOTIFY_MULTIPLIER = 4

const ISR_QUEUE = 1
const ISR_CONFIG = 2
const DEVICE_STATE_MAX = 1 << 20

/** What a saved virtio PCI device holds beside its configuration space. */
const VirtioPciState = stateCodec('virtio-pci', 1, {
  core: CoreStateField,
  deviceFeatureSelect: 'u32',
  driverFeatureSelect: 'u32',
  queueSelect: 'u16',
  configVector: 'u16',
  queueVectors: list('u16', MAX_QUEUES),
  isr: upTo(ISR_QUEUE | ISR_CONFIG),
  device: blob(DEVICE_STATE_MAX),
})

type VirtioPciStateData = ReturnType<typeof VirtioPciState.decode>

/** Puts a virtio device on the PCI bus. Its type keeps the device's name. */
export function virtioPci<Config, State, Backends>(
  virtio: VirtioDefinition<Config, State, Backends>,
): DeviceDefinition<Config, VirtioPciStateData, Backends> {
  return defineDevice<Config, VirtioPciStateData, Backends>({
    type: virtio.type,
    bus: 'pci',
    config: virtio.config,
    state: VirtioPciState,
    create(ports, config, state) {
      const transport = new VirtioPciTransport(ports, virtio.deviceId, virtio.pciClass)
      const saved = state && virtio.state.decode(state.device)
      // Order matters: the backends are members of ports, the core's own ports win over them.
      const devicePorts = { ...ports, ...transport.core.portsForDevice() }
      const device = virtio.create(devicePorts, config, saved)
      transport.core.attach(device, state?.core)
      transport.attach(state)
      return {
        reset: () => transport.reset(),
        state: () => ({ ...transport.state(), device: virtio.state.encode(device.state()) }),
      }
    },
  })
}

class VirtioPciTransport {
  readonly core: VirtioCore
  readonly #ports: DevicePorts
  readonly #deviceId: number
  readonly #pciClass: number
  #function: PciFunction | undefined
  #common: PciCommonConfig | undefined
  #isr = 0
  #windowAt = 0

  constructor(ports: DevicePorts, deviceId: number, pciClass: number) {
    this.#ports = ports
    this.#deviceId = deviceId
    this.#pciClass = pciClass
    this.core = new VirtioCore(ports, {
      queueInterrupt: (queue) => this.#interrupt(this.#common?.queueVectors[queue] ?? NO_VECTOR, ISR_QUEUE),
      configInterrupt: () => this.#interrupt(this.#common?.configVector ?? NO_VECTOR, ISR_CONFIG),
    })
  }

  attach(saved?: VirtioPciStateData): void {
    const vectors = this.core.queues.length + 1
    const common = new PciCommonConfig(this.core, vectors)
    this.#common = common
    if (saved) {
      if (!common.restore(saved)) throw new SnapshotError(this.#ports.name, 'has vectors it does not offer')
      this.#isr = saved.isr
    }
    this.#function = this.#ports.pci.attach({
      vendor: VIRTIO_PCI_VENDOR,
      device: VIRTIO_PCI_DEVICE_BASE + this.#deviceId,
      classCode: this.#pciClass,
      revision: 1,
      subsystemVendor: VIRTIO_PCI_VENDOR,
      subsystem: SUBSYSTEM,
      interruptPin: 1,
      bars: [
        {
          index: VIRTIO_BAR,
          space: 'mem64',
          bytes: BAR_BYTES,
          prefetchable: true,
          regions: [
            // A driver that has to know what became of a write reads, and the hub serves what was posted first.
            { at: 0, bytes: NOTIFY_AT, write: 'posted', handler: this.#registers(common) },
            { at: NOTIFY_AT, bytes: PAGE, write: 'posted', handler: this.#doorbells() },
          ],
        },
      ],
      msix: { bar: MSIX_BAR, vectors },
      layout: (config) => this.#layOut(config),
      window: { at: () => this.#windowAt + CAP_DATA, bytes: 4, handler: this.#window() },
    })
    this.#updateIntx()
  }

  #layOut(config: ConfigSpace): void {
    const place = (kind: number, at: number, lengthBytes: number, extraBytes = 0): number => {
      const cap = config.addCapability(PCI_CAP_ID_VNDR, CAP_BYTES + extraBytes)
      config.set(cap + 2, 1, CAP_BYTES + extraBytes)
      config.set(cap + 3, 1, kind)
      config.set(cap + CAP_BAR, 1, VIRTIO_BAR)
      config.set(cap + CAP_OFFSET, 4, at)
      config.set(cap + CAP_LENGTH, 4, lengthBytes)
      return cap
    }
    place(VIRTIO_PCI_CAP_COMMON_CFG, COMMON_AT, PAGE)
    place(VIRTIO_PCI_CAP_ISR_CFG, ISR_AT, PAGE)
    place(VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE_AT, PAGE)
    const notify = place(VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY_AT, PAGE, 4)
    config.set(notify + CAP_DATA, 4, NOTIFY_MULTIPLIER)
    // 4.1.4.9: the driver aims this window by writing bar, offset and length.
    this.#windowAt = place(VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 4)
    config.set(this.#windowAt + CAP_BAR, 1, 0)
    config.allow(this.#windowAt + CAP_BAR, 1, 0xff)
    config.allow(this.#windowAt + CAP_OFFSET, 4, 0xffff_ffff)
    config.allow(this.#windowAt + CAP_LENGTH, 4, 0xffff_ffff)
  }

  #registers(common: PciCommonConfig): IoHandler {
    return {
      read: (offset, bytes) => {
        if (offset < ISR_AT) return common.read(offset, bytes)
        if (offset < DEVICE_AT) return offset === ISR_AT ? this.#takeIsr() : undefined
        return this.#readDevice(offset - DEVICE_AT, bytes)
      },
      write: (offset, bytes, value) => {
        if (offset < ISR_AT) {
          const known = common.write(offset, bytes, value)
          this.#afterCommonWrite()
          return known
        }
        if (offset < DEVICE_AT) return false
        return this.#writeDevice(offset - DEVICE_AT, bytes, value)
      },
    }
  }

  #afterCommonWrite(): void {
    if (this.core.status === 0 && this.#isr !== 0) {
      this.#isr = 0
      this.#updateIntx()
    }
  }

  #readDevice(at: number, bytes: number): number | undefined {
    const { device } = this.core
    return at + bytes <= device.configBytes ? device.readConfig(at, bytes) : undefined
  }

  #writeDevice(at: number, bytes: number, value: number): boolean {
    const { device } = this.core
    if (at + bytes > device.configBytes) return false
    device.writeConfig?.(at, bytes, value)
    return true
  }

  #doorbells(): IoHandler {
    return {
      read: (_offset, bytes) => allOnes(bytes),
      // The offset names the queue; the value repeats it (4.1.5.2) and is not trusted.
      write: (offset) => {
        if (this.#function?.busMaster === true) this.core.notify(offset / NOTIFY_MULTIPLIER)
      },
    }
  }

  #window(): IoHandler {
    const target = (): { bar: number; offset: number; bytes: number } | undefined => {
      const config = this.#function?.config
      if (config === undefined) return undefined
      const bytes = config.get(this.#windowAt + CAP_LENGTH, 4)
      const offset = config.get(this.#windowAt + CAP_OFFSET, 4)
      if ((bytes !== 1 && bytes !== 2 && bytes !== 4) || offset % bytes !== 0) return undefined
      return { bar: config.get(this.#windowAt + CAP_BAR, 1), offset, bytes }
    }
    return {
      read: () => {
        const to = target()
        return to && this.#function?.barRead(to.bar, to.offset, to.bytes)
      },
      write: (_offset, _bytes, value) => {
        const to = target()
        if (to) this.#function?.barWrite(to.bar, to.offset, to.bytes, value & allOnes(to.bytes))
      },
    }
  }

  #interrupt(vector: number, isrBit: number): void {
    const fn = this.#function
    if (fn === undefined) return
    if (fn.msixEnabled) {
      if (vector !== NO_VECTOR) fn.signal(vector)
      return
    }
    this.#isr |= isrBit
    this.#updateIntx()
  }

  /** Reading ISR clears it and deasserts INTx (4.1.4.5). */
  #takeIsr(): number {
    const value = this.#isr
    this.#isr = 0
    this.#updateIntx()
    return value
  }

  #updateIntx(): void {
    this.#function?.setIntx(this.#isr !== 0)
  }

  reset(): void {
    this.#common?.reset()
    this.#isr = 0
    this.#function?.reset()
  }

  state(): Omit<VirtioPciStateData, 'device'> {
    const common = this.#common
    return {
      core: this.core.state(),
      deviceFeatureSelect: common?.deviceFeatureSelect ?? 0,
      driverFeatureSelect: common?.driverFeatureSelect ?? 0,
      queueSelect: common?.queueSelect ?? 0,
      configVector: common?.configVector ?? NO_VECTOR,
      queueVectors: [...(common?.queueVectors ?? [])],
      isr: this.#isr,
    }
  }
}
