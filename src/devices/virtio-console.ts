/**
 * Virtio console with several ports (virtio 1.2, section 5.3). Port 0 is a console (hvc0 in Linux), the others are
 * named channels (/dev/virtio-ports/NAME). Queues: port 0 in, out; control in, out; port 1 in, out; …
 */
import { configSchema, int, texts } from '#hub/config-schema.ts'
import { stateCodec } from '#snapshot/codec.ts'
import { list, record, upTo } from '#snapshot/fields.ts'
import type { Chain } from '#virtio/chain.ts'
import { type VirtioPorts, defineVirtioDevice } from '#virtio/device.ts'
import { virtioPci } from '#virtio/pci.ts'

import type { CharBackend, CharDevice } from './char-backend.ts'

const VIRTIO_CONSOLE_F_SIZE = 0
const VIRTIO_CONSOLE_F_MULTIPORT = 1
const VIRTIO_CONSOLE_F_EMERG_WRITE = 2

// Control messages (5.3.6.2): id u32 | event u16 | value u16
const DEVICE_READY = 0
const DEVICE_ADD = 1
const PORT_READY = 3
const CONSOLE_PORT = 4
const RESIZE = 5
const PORT_OPEN = 6
const PORT_NAME = 7
const MESSAGE_BYTES = 8

const CONFIG_BYTES = 12
const QUEUE_SIZE = 128
const CONTROL_IN = 2
const CONTROL_OUT = 3
export const CONSOLE_PORTS_MAX = 16
/** Control messages waiting for a buffer; more means a driver that never takes any. */
const PENDING_MAX = 8 * CONSOLE_PORTS_MAX
/** Output handed to a backend at a time. */
const PIECE_BYTES = 0x1_0000

interface ConsoleConfig {
  /** Names of the ports after port 0. */
  readonly channels: readonly string[]
  /** Size in characters until a backend says otherwise. */
  readonly columns: number
  readonly rows: number
}

const State = stateCodec('virtio-console', 1, {
  columns: 'u16',
  rows: 'u16',
  driverReady: 'bool',
  ports: list(record({ guestOpen: upTo(1), ready: upTo(1), outOffset: 'u32' }), CONSOLE_PORTS_MAX),
  /** Control messages not yet taken by the driver. */
  pending: list(record({ id: 'u32', event: 'u16', value: 'u16' }), PENDING_MAX),
})

type ConsoleState = ReturnType<typeof State.decode>
type ConsolePorts = VirtioPorts & { readonly chars: readonly CharBackend[] }

interface Message {
  readonly id: number
  readonly event: number
  readonly value: number
}

function inQueue(port: number): number {
  return port === 0 ? 0 : 2 + 2 * port
}

/** One port: moves bytes between its queue pair and its backend. */
class Port implements CharDevice {
  readonly id: number
  readonly backend: CharBackend
  /** The guest's driver set the port up. */
  ready = false
  guestOpen = false
  hostOpen = true
  /** Bytes of the chain at hand that the backend took already. */
  outOffset = 0
  readonly #ports: VirtioPorts
  readonly #onResize: (columns: number, rows: number) => void
  readonly #onConnected: (port: Port) => void

  constructor(
    id: number,
    backend: CharBackend,
    ports: VirtioPorts,
    onResize: (columns: number, rows: number) => void,
    onConnected: (port: Port) => void,
  ) {
    this.id = id
    this.backend = backend
    this.#ports = ports
    this.#onResize = onResize
    this.#onConnected = onConnected
  }

  /** Port 0 takes input without being opened: a console has no open. */
  get #takesInput(): boolean {
    return this.id === 0 || this.guestOpen
  }

  receive(bytes: Uint8Array): number {
    if (!this.#takesInput) return 0
    const queue = inQueue(this.id)
    let taken = 0
    while (taken < bytes.length) {
      const chain = this.#ports.pop(queue)
      if (chain === undefined) break
      const count = chain.writeAt(0, bytes.subarray(taken))
      this.#ports.push(queue, chain, count)
      taken += count
    }
    if (taken > 0) this.#ports.signal(queue)
    return taken
  }

  writable(): void {
    this.flush()
  }

  /** Takes output until there is none or the backend is full. */
  flush(): void {
    const queue = inQueue(this.id) + 1
    for (let chain = this.#ports.pop(queue); chain !== undefined; chain = this.#ports.pop(queue)) {
      if (!this.#drain(chain)) {
        this.#ports.unpop(queue, chain)
        break
      }
      this.outOffset = 0
      this.#ports.push(queue, chain, 0)
    }
    this.#ports.signal(queue)
  }

  /** True when the backend took the whole chain. */
  #drain(chain: Chain): boolean {
    while (this.outOffset < chain.readableBytes) {
      const piece = chain.read(this.outOffset, PIECE_BYTES)
      const taken = this.backend.write(piece)
      this.outOffset += taken
      if (taken < piece.length) return false
    }
    return true
  }

  resize(columns: number, rows: number): void {
    if (this.id === 0) this.#onResize(columns, rows)
  }

  connected(yes: boolean): void {
    if (this.hostOpen === yes) return
    this.hostOpen = yes
    this.#onConnected(this)
  }
}

class VirtioConsole {
  readonly configBytes = CONFIG_BYTES
  readonly features: bigint
  readonly queueSizes: readonly number[]
  readonly #ports: ConsolePorts
  readonly #config: ConsoleConfig
  readonly #list: Port[]
  #columns: number
  #rows: number
  #driverReady = false
  #pending: Message[] = []

  constructor(ports: ConsolePorts, config: ConsoleConfig, state?: ConsoleState) {
    this.#ports = ports
    this.#config = config
    this.#columns = state?.columns ?? config.columns
    this.#rows = state?.rows ?? config.rows
    this.features = [VIRTIO_CONSOLE_F_SIZE, VIRTIO_CONSOLE_F_MULTIPORT, VIRTIO_CONSOLE_F_EMERG_WRITE].reduce(
      (bits, bit) => bits | (1n << BigInt(bit)),
      0n,
    )
    const count = 1 + config.channels.length
    if (ports.chars.length !== count) {
      throw new Error(`${ports.name}: ${count} ports need as many backends, not ${ports.chars.length}`)
    }
    this.queueSizes = Array.from({ length: 2 + 2 * count }, () => QUEUE_SIZE)
    this.#list = ports.chars.map((backend, id) => this.#makePort(backend, id))
    if (state) this.#restore(state)
    this.#list.forEach((port) => port.backend.connect(port))
  }

  #makePort(backend: CharBackend, id: number): Port {
    return new Port(
      id,
      backend,
      this.#ports,
      (columns, rows) => this.#resize(columns, rows),
      (port) => port.ready && this.#post({ id, event: PORT_OPEN, value: port.hostOpen ? 1 : 0 }),
    )
  }

  #restore(state: ConsoleState): void {
    this.#driverReady = state.driverReady
    this.#pending = [...state.pending]
    state.ports.forEach((saved, id) => {
      const port = this.#list[id]
      if (port === undefined) return
      port.ready = saved.ready === 1
      port.guestOpen = saved.guestOpen === 1
      port.outOffset = saved.outOffset
    })
  }

  readConfig(at: number, bytes: number): number {
    const space = new DataView(new ArrayBuffer(CONFIG_BYTES))
    space.setUint16(0, this.#columns, true)
    space.setUint16(2, this.#rows, true)
    space.setUint32(4, this.#list.length, true)
    if (bytes === 1) return space.getUint8(at)
    return bytes === 2 ? space.getUint16(at, true) : space.getUint32(at, true)
  }

  /** emerg_wr: one character without any queue, for a guest in trouble. */
  writeConfig(at: number, _bytes: number, value: number): void {
    if (at === 8) this.#list[0]?.backend.write(Uint8Array.of(value & 0xff))
  }

  #resize(columns: number, rows: number): void {
    if (columns === this.#columns && rows === this.#rows) return
    this.#columns = columns
    this.#rows = rows
    if (this.#list[0]?.ready === true) this.#postSize()
    this.#ports.configChanged()
  }

  #postSize(): void {
    // At most one waits: only the last size matters.
    this.#pending = this.#pending.filter((message) => message.event !== RESIZE)
    this.#post({ id: 0, event: RESIZE, value: 0 })
  }

  notify(queue: number): void {
    if (queue === CONTROL_IN) return this.#flushControl()
    if (queue === CONTROL_OUT) return this.#control()
    const port = this.#list[queue < CONTROL_IN ? 0 : (queue - 2) >> 1]
    if ((queue & 1) === 1) port?.flush()
    else port?.backend.receivable()
  }

  #post(message: Message): void {
    if (this.#pending.length >= PENDING_MAX) return this.#ports.fail('the driver takes no control messages')
    this.#pending.push(message)
    this.#flushControl()
  }

  #flushControl(): void {
    for (let message = this.#pending[0]; message !== undefined; message = this.#pending[0]) {
      const chain = this.#ports.pop(CONTROL_IN)
      if (chain === undefined) break
      this.#pending.shift()
      this.#ports.push(CONTROL_IN, chain, chain.writeAt(0, this.#encode(message)))
    }
    this.#ports.signal(CONTROL_IN)
  }

  #encode({ id, event, value }: Message): Uint8Array {
    const name =
      event === PORT_NAME ? new TextEncoder().encode(this.#config.channels[id - 1] ?? '') : new Uint8Array()
    const bytes = new Uint8Array(MESSAGE_BYTES + name.length + (event === RESIZE ? 4 : 0))
    const view = new DataView(bytes.buffer)
    view.setUint32(0, id, true)
    view.setUint16(4, event, true)
    view.setUint16(6, value, true)
    bytes.set(name, MESSAGE_BYTES)
    if (event === RESIZE) {
      // 5.3.6.2: cols, rows. Linux read them the other way round until the stable kernels of 2025; 6.1.192 follows the
      // standard (seen by `stty size` in the guest).
      view.setUint16(8, this.#columns, true)
      view.setUint16(10, this.#rows, true)
    }
    return bytes
  }

  #control(): void {
    for (
      let chain = this.#ports.pop(CONTROL_OUT);
      chain !== undefined;
      chain = this.#ports.pop(CONTROL_OUT)
    ) {
      const bytes = chain.read(0, MESSAGE_BYTES)
      if (bytes.length === MESSAGE_BYTES) {
        const view = new DataView(bytes.buffer)
        this.#receive({
          id: view.getUint32(0, true),
          event: view.getUint16(4, true),
          value: view.getUint16(6, true),
        })
      }
      this.#ports.push(CONTROL_OUT, chain, 0)
    }
    this.#ports.signal(CONTROL_OUT)
  }

  #receive({ id, event, value }: Message): void {
    if (event === DEVICE_READY) {
      this.#driverReady = value === 1
      if (value === 1) for (const port of this.#list) this.#post({ id: port.id, event: DEVICE_ADD, value: 0 })
      return
    }
    const port = this.#list[id]
    if (port === undefined || !this.#driverReady) return
    if (event === PORT_READY) this.#portReady(port, value === 1)
    else if (event === PORT_OPEN) this.#guestOpened(port, value === 1)
  }

  #portReady(port: Port, ready: boolean): void {
    port.ready = ready
    if (!ready) return
    if (port.id === 0) {
      this.#post({ id: 0, event: CONSOLE_PORT, value: 1 })
      this.#postSize()
    } else this.#post({ id: port.id, event: PORT_NAME, value: 0 })
    this.#post({ id: port.id, event: PORT_OPEN, value: port.hostOpen ? 1 : 0 })
  }

  #guestOpened(port: Port, open: boolean): void {
    port.guestOpen = open
    port.backend.guestOpen?.(open)
    if (open) port.backend.receivable()
  }

  reset(): void {
    this.#driverReady = false
    this.#pending = []
    for (const port of this.#list) {
      port.ready = false
      if (port.guestOpen) port.backend.guestOpen?.(false)
      port.guestOpen = false
      port.outOffset = 0
    }
  }

  state(): ConsoleState {
    return {
      columns: this.#columns,
      rows: this.#rows,
      driverReady: this.#driverReady,
      ports: this.#list.map((port) => ({
        guestOpen: port.guestOpen ? 1 : 0,
        ready: port.ready ? 1 : 0,
        outOffset: port.outOffset,
      })),
      pending: this.#pending.map((message) => ({ ...message })),
    }
  }
}

export const virtioConsole = virtioPci(
  defineVirtioDevice({
    type: 'virtio-console',
    deviceId: 3,
    pciClass: 0x078000,
    config: configSchema<ConsoleConfig>({
      channels: texts({ maxCount: CONSOLE_PORTS_MAX - 1, maxLength: 64 }),
      columns: int({ min: 1, max: 0xffff, fallback: 80 }),
      rows: int({ min: 1, max: 0xffff, fallback: 25 }),
    }),
    state: State,
    create: (ports: ConsolePorts, config, state) => new VirtioConsole(ports, config, state),
  }),
)
