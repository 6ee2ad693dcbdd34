/**
 * Intel 82441FX host bridge: PCI configuration mechanism 1 (PCI Local Bus 3.0, section 3.2.2.3.2) and function 0:0.0.
 *
 *   0xcf8  address: enable bit 31 | bus 23-16 | slot 15-11 | function 10-8 | register 7-2   (32-bit access only)
 *   0xcf9  reset control of the PIIX3, byte access: a rising bit 2 resets
 *   0xcfc  data window of 4 bytes
 *
 * PAM registers are stored and passed on to whoever maps RAM behind the BIOS; SMRAM is stored only.
 */
import { KDEV_PCI } from '#abi/exits.ts'
import { allOnes } from '#base/bits.ts'
import { NO_CONFIG } from '#hub/config-schema.ts'
import { type Device, type DevicePorts, defineDevice } from '#hub/device.ts'
import type { PciBus } from '#hub/pci/bus.ts'
import type { PciFunction } from '#hub/pci/function.ts'
import { stateCodec } from '#snapshot/codec.ts'
import { bits } from '#snapshot/fields.ts'

const CONFIG_ADDRESS = 0xcf8
const CONFIG_PORTS = 8
const ADDRESS_BYTES = 4
const RESET_OFFSET = 1 // 0xcf9
const RESET_CPU = 4
const RESET_BITS = 0x0e
const ENABLE = 0x8000_0000
const ADDRESS_BITS = 0x80ff_fffc

const PAM = 0x59 // 7 registers, two 4-bit fields each but for the first
const PAM_COUNT = 7
const SMRAM = 0x72

/** What the host bridge controls of memory: reads and writes of [start, end) go to RAM (true) or to ROM and PCI (false). */
export interface ShadowRam {
  setPam?(start: number, end: number, readRam: boolean, writeRam: boolean): void
}

const State = stateCodec('i440fx', 1, {
  address: bits(ADDRESS_BITS),
  resetControl: bits(RESET_BITS),
})

type BridgeState = ReturnType<typeof State.decode>

class I440fx implements Device<BridgeState> {
  readonly #ports: DevicePorts & ShadowRam
  readonly #bus: PciBus
  readonly #function: PciFunction
  #resetControl: number

  constructor(ports: DevicePorts & ShadowRam, state?: BridgeState) {
    this.#ports = ports
    this.#bus = ports.pci.bus
    if (state) this.#bus.selected.address = state.address
    this.#resetControl = state?.resetControl ?? 0
    this.#function = ports.pci.attach({
      vendor: 0x8086,
      device: 0x1237,
      classCode: 0x060000,
      revision: 2,
      subsystemVendor: 0x1af4,
      subsystem: 0x1100,
      layout: (config) => {
        config.allow(PAM, PAM_COUNT, 0)
        for (let at = PAM; at < PAM + PAM_COUNT; at++) config.allow(at, 1, at === PAM ? 0x30 : 0x33)
        config.set(SMRAM, 1, 2)
        config.allow(SMRAM, 1, 0x70)
      },
      onConfigWrite: (at, bytes) => {
        if (at < PAM + PAM_COUNT && at + bytes > PAM) this.#applyPam()
      },
    })
    ports.pio.claim({
      start: CONFIG_ADDRESS,
      count: CONFIG_PORTS,
      // The kernel keeps the address and answers reads from the images of configuration space: half of a boot's exits.
      read: ['kernel', 'sync', 'sync', 'sync', 'kernel', 'kernel', 'kernel', 'kernel'],
      write: ['kernel', 'sync', 'sync', 'sync', 'sync', 'sync', 'sync', 'sync'],
      kernelDevice: KDEV_PCI,
      handler: {
        read: (offset, bytes) => this.#read(offset, bytes),
        write: (offset, bytes, value) => this.#write(offset, bytes, value),
      },
    })
    this.#applyPam()
  }

  #read(offset: number, bytes: number): number {
    if (offset >= ADDRESS_BYTES) return this.#readData(offset - ADDRESS_BYTES, bytes)
    if (offset === RESET_OFFSET && bytes === 1) return this.#resetControl
    // Narrower accesses go to the ISA bus, where nobody is; every operating system tries one to find mechanism 1.
    return offset === 0 && bytes === 4 ? this.#bus.selected.address : allOnes(bytes)
  }

  #write(offset: number, bytes: number, value: number): void {
    if (offset >= ADDRESS_BYTES) this.#writeData(offset - ADDRESS_BYTES, bytes, value)
    else if (offset === RESET_OFFSET && bytes === 1) this.#writeReset(value)
    else if (offset === 0 && bytes === 4) this.#bus.selected.address = (value & ADDRESS_BITS) >>> 0
  }

  #writeReset(value: number): void {
    const rising = value & ~this.#resetControl & RESET_CPU
    this.#resetControl = value & RESET_BITS
    if (rising !== 0) this.#ports.emit({ type: 'reset', by: 'port 0xcf9' })
  }

  get #selected(): { slot: number; fn: number; at: number } | undefined {
    const address = this.#bus.selected.address
    // Only bus 0 exists: a cycle to another one ends in master abort.
    if ((address & ENABLE) === 0 || ((address >>> 16) & 0xff) !== 0) return undefined
    return { slot: (address >>> 11) & 31, fn: (address >>> 8) & 7, at: address & 0xfc }
  }

  #readData(byte: number, bytes: number): number {
    const to = this.#selected
    return to ? this.#bus.configRead(to.slot, to.fn, to.at + byte, bytes) : allOnes(bytes)
  }

  #writeData(byte: number, bytes: number, value: number): void {
    const to = this.#selected
    if (to) this.#bus.configWrite(to.slot, to.fn, to.at + byte, bytes, value)
  }

  /** PAM0 high nibble: 0xf0000-0xfffff; then 16 KiB per nibble from 0xc0000. Bit 0 of a nibble: reads, bit 1: writes. */
  #applyPam(): void {
    const { setPam } = this.#ports
    if (setPam === undefined) return
    const nibble = (at: number, high: boolean): number =>
      (this.#function.config.get(at, 1) >> (high ? 4 : 0)) & 3
    const apply = (start: number, end: number, value: number): void =>
      setPam.call(this.#ports, start, end, (value & 1) !== 0, (value & 2) !== 0)
    apply(0xf_0000, 0x10_0000, nibble(PAM, true))
    for (let index = 0; index < 12; index++) {
      const start = 0xc_0000 + index * 0x4000
      apply(start, start + 0x4000, nibble(PAM + 1 + (index >> 1), (index & 1) === 1))
    }
  }

  reset(): void {
    this.#bus.selected.address = 0
    this.#resetControl = 0
    this.#function.reset()
    this.#applyPam()
  }

  state(): BridgeState {
    return { address: this.#bus.selected.address, resetControl: this.#resetControl }
  }
}

/** Belongs in slot 0, function 0. */
export const i440fx = defineDevice({
  type: 'i440fx',
  bus: 'pci',
  config: NO_CONFIG,
  state: State,
  create: (ports: DevicePorts & ShadowRam, _config, state) => new I440fx(ports, state),
})
