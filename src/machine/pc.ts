/** The devices of machine type pc-1.0 and how they are wired: an i440FX board with virtio devices. */
import { CharPipe } from '#devices/char-pipe.ts'
import * as catalog from '#devices/catalog.ts'
import type { BlockBackend } from '#devices/virtio-blk.ts'
import {
  FW_CFG_E820_TABLE,
  FW_CFG_MAX_CPUS,
  FW_CFG_NB_CPUS,
  FW_CFG_NOGRAPHIC,
  FW_CFG_RAM_SIZE,
  FwCfgItems,
} from '#devices/fw-cfg-items.ts'
import { COM_PORTS } from '#devices/uart-16550a.ts'
import { ByteWriter } from '#firmware/byte-writer.ts'
import { E820_TYPE, e820Map, ramLayout } from '#firmware/memory-map.ts'
import type { Hub } from '#hub/hub.ts'
import { ConsoleStream } from './console-stream.ts'
import type { MachineHost } from './host.ts'

export const MACHINE_TYPE = 'pc-1.0'

export interface PcConfig {
  readonly ramBytes: number
  readonly cpus: number
  readonly serialPorts: number
  readonly channels: readonly string[]
  readonly disks: readonly { readonly backend: BlockBackend; readonly serial: string }[]
  readonly testDevices: boolean
  /** A BIOS runs: give it the port where it tells its progress. */
  readonly firmwareLog: boolean
}

export interface PcDevices {
  readonly serial: readonly ConsoleStream[]
  /** virtio console port 0. */
  readonly hvc0: ConsoleStream
  readonly channels: ReadonlyMap<string, ConsoleStream>
  /** What a BIOS writes to its debug port. */
  readonly firmwareLog: ConsoleStream | undefined
  readonly resizeHvc0: (columns: number, rows: number) => void
  readonly pressPowerButton: () => void
}

/** Adds every device of the board; slots are fixed because guests remember them. */
export function addPcDevices(
  hub: Hub,
  config: PcConfig,
  host: MachineHost,
  firmware: FirmwarePorts,
): PcDevices {
  const pm = addBoard(hub, config, firmware)
  const serial = COM_PORTS.slice(0, config.serialPorts).map(({ port, irq }, i) => {
    const { pipe, stream } = connectPipe(`com${i + 1}`)
    hub.addDevice(catalog.uart16550a, {
      name: `com${i + 1}`,
      config: { port, irq },
      ports: { chardev: pipe },
    })
    return stream
  })

  const hvc0 = connectPipe('hvc0')
  const named = config.channels.map((name) => ({ name, ...connectPipe(name) }))
  hub.addDevice(catalog.virtioConsole, {
    name: 'console',
    pci: { slot: 2 },
    config: { channels: config.channels },
    ports: { chars: [hvc0.pipe, ...named.map(({ pipe }) => pipe)] },
  })
  hub.addDevice(catalog.virtioRng, {
    name: 'rng',
    pci: { slot: 3 },
    ports: {
      entropy: { fill: (target: Uint8Array<ArrayBuffer>) => target.set(host.randomBytes(target.length)) },
    },
  })
  config.disks.forEach(({ backend, serial: id }, i) => {
    hub.addDevice(catalog.virtioBlk, {
      name: `disk${i}`,
      pci: { slot: 4 + i },
      config: { serial: id },
      ports: { disk: backend },
    })
  })
  if (config.testDevices) {
    hub.addDevice(catalog.isaDebugExit, { name: 'debug-exit' })
    hub.addDevice(catalog.pcTestdev, { name: 'testdev' })
    hub.addDevice(catalog.pciTestdev, { name: 'pci-testdev' })
  }
  const firmwareLog = config.firmwareLog ? addFirmwareLog(hub) : undefined
  return {
    serial,
    firmwareLog,
    hvc0: hvc0.stream,
    channels: new Map(named.map(({ name, stream }) => [name, stream])),
    resizeHvc0: (columns, rows) => hvc0.pipe.resize(columns, rows),
    pressPowerButton: () => pm.pressPowerButton(),
  }
}

/** Chipset and what sits on the board beside it; returns power management. */
function addBoard(hub: Hub, config: PcConfig, firmware: FirmwarePorts): { pressPowerButton(): void } {
  const { low, high } = ramLayout(config.ramBytes)
  hub.addDevice(catalog.pcKernelChips, { name: 'chips' })
  hub.addDevice(catalog.i440fx, { name: 'pci-host', pci: { slot: 0 }, ports: firmware })
  hub.addDevice(catalog.piix3, { name: 'isa-bridge', pci: { slot: 1, fn: 0 } })
  const pm = hub.addDevice(catalog.piix4Pm, { name: 'acpi-pm', pci: { slot: 1, fn: 3 } })
  hub.addDevice(catalog.cmosRtc, {
    name: 'rtc',
    config: { lowRamBytes: low, highRamBytes: high, cpus: config.cpus },
  })
  hub.addDevice(catalog.i8042, { name: 'i8042', ports: firmware })
  hub.addDevice(catalog.fwCfg, { name: 'fw-cfg', ports: { items: fwCfgItems(config) } })
  hub.addDevice(catalog.pvpanic, { name: 'pvpanic' })
  return pm
}

/** SeaBIOS and OVMF write to this port, once a read has told them that somebody listens. */
const FIRMWARE_DEBUG_PORT = 0x402

function addFirmwareLog(hub: Hub): ConsoleStream {
  const { pipe, stream } = connectPipe('firmware')
  hub.addDevice(catalog.debugConsole, {
    name: 'firmware-log',
    config: { port: FIRMWARE_DEBUG_PORT },
    ports: { chardev: pipe },
  })
  return stream
}

/** What chipset devices ask of memory: shadow RAM for firmware, the A20 gate. */
export interface FirmwarePorts {
  setPam(start: number, end: number, readable: boolean, writable: boolean): void
  setA20(enabled: boolean): void
}

/** What firmware and test kernels ask first: memory and processors. */
function fwCfgItems(config: PcConfig): FwCfgItems {
  const items = new FwCfgItems()
  items.setU64(FW_CFG_RAM_SIZE, BigInt(config.ramBytes))
  items.setU16(FW_CFG_NB_CPUS, config.cpus)
  items.setU16(FW_CFG_MAX_CPUS, config.cpus)
  items.setU16(FW_CFG_NOGRAPHIC, 1)
  const map = new ByteWriter()
  for (const entry of e820Map(config.ramBytes))
    map.u64(entry.start).u64(entry.bytes).u32(E820_TYPE[entry.type])
  items.setFile('etc/e820', map.finish())
  items.setItem(FW_CFG_E820_TABLE, new Uint8Array(4))
  return items
}

function connectPipe(name: string): { pipe: CharPipe; stream: ConsoleStream } {
  const pipe = new CharPipe()
  const stream = new ConsoleStream(name)
  pipe.onData((bytes) => stream.receive(bytes))
  stream.connect((bytes) => pipe.send(bytes))
  return { pipe, stream }
}
