/**
 * The 8042 keyboard controller's own commands (PC/AT Technical Reference, "Keyboard controller"): self test, command byte,
 * output port with A20 and reset. Keyboard and mouse plug in as Ps2Ports; without one the port answers like an empty socket.
 */
import { NO_CONFIG } from '#hub/config-schema.ts'
import { type Device, type DevicePorts, defineDevice } from '#hub/device.ts'
import type { IrqLine } from '#hub/gsi.ts'
import type { PioClaim } from '#hub/pio-space.ts'
import { stateCodec } from '#snapshot/codec.ts'
import { blob, upTo } from '#snapshot/fields.ts'

const DATA = 0x60
const STATUS = 0x64
const KEYBOARD_IRQ = 1
const MOUSE_IRQ = 12

const STATUS_OUTPUT_FULL = 1
const STATUS_SYSTEM = 4
const STATUS_COMMAND = 8
const STATUS_UNLOCKED = 0x10
const STATUS_FROM_MOUSE = 0x20

const BYTE_KEYBOARD_IRQ = 1
const BYTE_MOUSE_IRQ = 2
const BYTE_SYSTEM = 4
const BYTE_KEYBOARD_OFF = 0x10
const BYTE_MOUSE_OFF = 0x20
const BYTE_TRANSLATE = 0x40

const OUT_RUN = 1 // 0 holds the CPU in reset
const OUT_A20 = 2
const QUEUE_MAX = 64

/** Something with a PS/2 plug. */
export interface Ps2Device {
  /** A byte from the controller. */
  receive(value: number): void
  /** Where the device sends; set by the controller. */
  connect(send: (value: number) => void): void
  reset(): void
}

/** The A20 line as the controller drives it; the machine ands it with port 92's. */
export interface I8042Ports {
  readonly setA20?: (enabled: boolean) => void
  readonly keyboard?: Ps2Device
  readonly mouse?: Ps2Device
}

const State = stateCodec('i8042', 1, {
  commandByte: upTo(0x7f),
  outputPort: 'u8',
  /** Command that waits for its data byte; 0 = none. */
  pendingCommand: 'u8',
  lastWasCommand: 'bool',
  /** Answers and device bytes not yet read; two bytes each: value, 1 = from the mouse. */
  queue: blob(2 * QUEUE_MAX),
})

type KbcState = ReturnType<typeof State.decode>

class I8042 implements Device<KbcState> {
  readonly #ports: DevicePorts & I8042Ports
  readonly #keyboardLine: IrqLine
  readonly #mouseLine: IrqLine
  readonly #statusClaim: PioClaim
  #commandByte = BYTE_SYSTEM | BYTE_TRANSLATE
  #outputPort = OUT_RUN | OUT_A20
  #pendingCommand = 0
  #lastWasCommand = false
  #queue: { value: number; fromMouse: boolean }[] = []

  constructor(ports: DevicePorts & I8042Ports, state?: KbcState) {
    this.#ports = ports
    this.#keyboardLine = ports.gsi(KEYBOARD_IRQ)
    this.#mouseLine = ports.gsi(MOUSE_IRQ)
    ports.pio.claim({
      start: DATA,
      count: 1,
      width: 1,
      handler: { read: () => this.#readData(), write: (_offset, _bytes, value) => this.#writeData(value) },
    })
    this.#statusClaim = ports.pio.claim({
      start: STATUS,
      count: 1,
      width: 1,
      // Drivers poll it. Every write is sync, so the image is right when the guest goes on.
      read: 'shadow',
      handler: { read: () => this.#status(), write: (_offset, _bytes, value) => this.#command(value) },
    })
    ports.keyboard?.connect((value) => this.#fromDevice(value, false))
    ports.mouse?.connect((value) => this.#fromDevice(value, true))
    if (state) this.#restore(state)
    this.#update()
  }

  #restore(state: KbcState): void {
    this.#commandByte = state.commandByte
    this.#outputPort = state.outputPort
    this.#pendingCommand = state.pendingCommand
    this.#lastWasCommand = state.lastWasCommand
    for (let at = 0; at + 1 < state.queue.length; at += 2) {
      this.#queue.push({ value: state.queue[at] as number, fromMouse: state.queue[at + 1] === 1 })
    }
  }

  reset(): void {
    this.#commandByte = BYTE_SYSTEM | BYTE_TRANSLATE
    this.#outputPort = OUT_RUN | OUT_A20
    this.#pendingCommand = 0
    this.#lastWasCommand = false
    this.#queue = []
    this.#ports.keyboard?.reset()
    this.#ports.mouse?.reset()
    this.#update()
  }

  state(): KbcState {
    const queue = new Uint8Array(this.#queue.flatMap(({ value, fromMouse }) => [value, fromMouse ? 1 : 0]))
    return {
      commandByte: this.#commandByte,
      outputPort: this.#outputPort,
      pendingCommand: this.#pendingCommand,
      lastWasCommand: this.#lastWasCommand,
      queue,
    }
  }

  #status(): number {
    const first = this.#queue[0]
    let status =
      STATUS_UNLOCKED | (this.#commandByte & STATUS_SYSTEM) | (this.#lastWasCommand ? STATUS_COMMAND : 0)
    if (first !== undefined) status |= STATUS_OUTPUT_FULL | (first.fromMouse ? STATUS_FROM_MOUSE : 0)
    return status
  }

  #readData(): number {
    const first = this.#queue.shift()
    this.#keyboardLine.lower()
    this.#mouseLine.lower()
    this.#update()
    return first?.value ?? 0
  }

  #reply(value: number, fromMouse = false): void {
    if (this.#queue.length < QUEUE_MAX) this.#queue.push({ value: value & 0xff, fromMouse })
    this.#update()
  }

  #fromDevice(value: number, fromMouse: boolean): void {
    if ((this.#commandByte & (fromMouse ? BYTE_MOUSE_OFF : BYTE_KEYBOARD_OFF)) === 0)
      this.#reply(value, fromMouse)
  }

  /** Brings the interrupt lines and the status image in step. */
  #update(): void {
    this.#statusClaim.setShadow(0, this.#status())
    const first = this.#queue[0]
    const byte = this.#commandByte
    this.#keyboardLine.set(first?.fromMouse === false && (byte & BYTE_KEYBOARD_IRQ) !== 0)
    this.#mouseLine.set(first?.fromMouse === true && (byte & BYTE_MOUSE_IRQ) !== 0)
  }

  #command(value: number): void {
    this.#lastWasCommand = true
    this.#pendingCommand = 0
    this.#update()
    switch (value) {
      case 0x20:
        return this.#reply(this.#commandByte)
      case 0xa7:
        return this.#setByte(this.#commandByte | BYTE_MOUSE_OFF)
      case 0xa8:
        return this.#setByte(this.#commandByte & ~BYTE_MOUSE_OFF)
      case 0xa9: // test mouse port: 0 = fine, 1 = clock line stuck low, as of a socket with nothing in it
        return this.#reply(this.#ports.mouse ? 0 : 1)
      case 0xaa:
        this.#setByte(this.#commandByte | BYTE_SYSTEM)
        return this.#reply(0x55)
      case 0xab:
        return this.#reply(this.#ports.keyboard ? 0 : 1)
      case 0xad:
        return this.#setByte(this.#commandByte | BYTE_KEYBOARD_OFF)
      case 0xae:
        return this.#setByte(this.#commandByte & ~BYTE_KEYBOARD_OFF)
      case 0xc0:
        return this.#reply(0x80) // input port: keyboard not locked
      case 0xd0:
        return this.#reply(this.#outputPort | (this.#queue.length > 0 ? 0x10 : 0))
      case 0x60:
      case 0xd1:
      case 0xd2:
      case 0xd3:
      case 0xd4:
        this.#pendingCommand = value
        return
      default:
        // 0xf0-0xff pulse output bits 0-3 low where the operand bit is 0; bit 0 resets the CPU.
        if (value >= 0xf0 && (value & OUT_RUN) === 0) this.#resetMachine()
    }
  }

  #setByte(value: number): void {
    this.#commandByte = value & 0x7f
    this.#update()
  }

  #writeData(value: number): void {
    const command = this.#pendingCommand
    this.#lastWasCommand = false
    this.#pendingCommand = 0
    this.#update()
    switch (command) {
      case 0x60:
        return this.#setByte(value)
      case 0xd1:
        return this.#writeOutputPort(value)
      case 0xd2:
        return this.#reply(value)
      case 0xd3:
        return this.#reply(value, true)
      case 0xd4:
        return this.#ports.mouse ? this.#ports.mouse.receive(value) : this.#noDevice(true)
      default:
        return this.#ports.keyboard ? this.#ports.keyboard.receive(value) : this.#noDevice(false)
    }
  }

  /** Nobody clocks the byte out: the controller reports a timeout (0xfe, "resend"). */
  #noDevice(isMouse: boolean): void {
    this.#reply(0xfe, isMouse)
  }

  #writeOutputPort(value: number): void {
    this.#outputPort = value
    this.#ports.setA20?.((value & OUT_A20) !== 0)
    if ((value & OUT_RUN) === 0) this.#resetMachine()
  }

  #resetMachine(): void {
    this.#ports.emit({ type: 'reset', by: 'port 0x64' })
  }
}

export const i8042 = defineDevice({
  type: 'i8042',
  bus: 'isa',
  config: NO_CONFIG,
  state: State,
  create: (ports: DevicePorts & I8042Ports, _config, state) => new I8042(ports, state),
})
