/**
 * 16550A UART (National PC16550D data sheet). Characters take no time: the baud rate is stored and ignored.
 *
 *   offset  read                        write           class of the access
 *   0       RBR (DLAB: DLL)             THR (DLAB: DLL) sync  | posted
 *   1       IER (DLAB: DLM)             IER (DLAB: DLM) shadow| sync
 *   2       IIR                         FCR             shadow, sync while reading it has an effect | sync
 *   3 4 7   LCR MCR SCR                 same            shadow| sync
 *   5       LSR                         -               shadow, sync while reading it has an effect | sync
 *   6       MSR                         -               as LSR
 *
 * So a console that polls LSR and writes THR makes no sync exit. Every write but THR is sync and thus visible in the
 * shadow when the guest goes on; LSR may lag behind THR, which means no more than a fast line.
 */
import { configSchema, int } from '#hub/config-schema.ts'
import { type Device, type DevicePorts, defineDevice } from '#hub/device.ts'
import type { IrqLine } from '#hub/gsi.ts'
import type { PioClaim } from '#hub/pio-space.ts'
import type { IoHandler } from '#hub/claims.ts'
import { stateCodec } from '#snapshot/codec.ts'
import { bits, blob } from '#snapshot/fields.ts'

import type { CharBackend, CharDevice } from './char-backend.ts'

const RBR = 0
const IER = 1
const IIR = 2
const LCR = 3
const MCR = 4
const LSR = 5
const MSR = 6
const SCR = 7

const IER_RDI = 1
const IER_THRI = 2
const IER_RLSI = 4
const IER_MSI = 8
const IIR_NONE = 1
const IIR_THRE = 2
const IIR_RDA = 4
const IIR_RLS = 6
const IIR_TIMEOUT = 0xc
const IIR_MSI = 0
const IIR_FIFO = 0xc0
const FCR_ENABLE = 1
const FCR_CLEAR_RX = 2
const FCR_CLEAR_TX = 4
const LCR_BREAK = 0x40
const LCR_DLAB = 0x80
const MCR_OUT1 = 4
const MCR_OUT2 = 8
const MCR_LOOP = 0x10
const LSR_DR = 1
const LSR_OE = 2
const LSR_BI = 0x10
const LSR_ERRORS = 0x1e
const LSR_THRE = 0x20
const LSR_TEMT = 0x40
const MSR_DELTAS = 0x0f
const MSR_TERI = 4
const MSR_CTS = 0x10
const MSR_DSR = 0x20
const MSR_RI = 0x40
const MSR_DCD = 0x80

const FIFO_BYTES = 16
const TRIGGERS = [1, 4, 8, 14] as const
/** Output waiting for a backend that is full. The posted ring holds 256 more; beyond, characters are lost as on a real line. */
const OUT_BYTES = 4096

const State = stateCodec('uart-16550a', 1, {
  ier: bits(0x0f),
  lcr: 'u8',
  mcr: bits(0x1f),
  fcr: bits(0xc9),
  scr: 'u8',
  divisor: 'u16',
  lineErrors: bits(LSR_ERRORS),
  msr: 'u8',
  thrEmptyPending: 'bool',
  input: blob(FIFO_BYTES),
  output: blob(OUT_BYTES),
})

type UartState = ReturnType<typeof State.decode>
type UartPorts = DevicePorts & { readonly chardev: CharBackend }

class Uart implements Device<UartState>, CharDevice, IoHandler {
  readonly #ports: UartPorts
  readonly #line: IrqLine
  readonly #claim: PioClaim
  #ier = 0
  #lcr = 0
  #mcr = 0
  #fcr = 0
  #scr = 0
  #divisor = 12
  #lineErrors = 0
  #msr = 0
  #thrEmptyPending = false
  /** Received, not yet read. */
  readonly #input = new Uint8Array(FIFO_BYTES)
  #inputCount = 0
  /** Sent, not yet taken by the backend. */
  readonly #output = new Uint8Array(OUT_BYTES)
  #outputCount = 0
  #backendFull = false
  #flushDue = false

  constructor(ports: UartPorts, port: number, irq: number, state?: UartState) {
    this.#ports = ports
    this.#line = ports.gsi(irq)
    this.#claim = ports.pio.claim({
      start: port,
      count: 8,
      read: ['sync', 'shadow', 'shadow', 'shadow', 'shadow', 'shadow', 'shadow', 'shadow'],
      write: ['posted', 'sync', 'sync', 'sync', 'sync', 'sync', 'sync', 'sync'],
      width: 1,
      handler: this,
    })
    if (state) this.#restore(state)
    else this.#clear()
    this.#update()
    ports.chardev.connect(this)
  }

  #restore(state: UartState): void {
    this.#ier = state.ier
    this.#lcr = state.lcr
    this.#mcr = state.mcr
    this.#fcr = state.fcr
    this.#scr = state.scr
    this.#divisor = state.divisor
    this.#lineErrors = state.lineErrors
    this.#msr = state.msr
    this.#thrEmptyPending = state.thrEmptyPending
    this.#input.set(state.input)
    this.#inputCount = state.input.length
    this.#output.set(state.output)
    this.#outputCount = state.output.length
    if (this.#outputCount > 0) this.#scheduleFlush()
  }

  #clear(): void {
    this.#ier = this.#lcr = this.#mcr = this.#fcr = this.#scr = 0
    this.#divisor = 12 // 9600 baud
    this.#lineErrors = 0
    this.#msr = MSR_CTS | MSR_DSR | MSR_DCD
    this.#thrEmptyPending = false
    this.#inputCount = 0
    this.#outputCount = 0
    this.#backendFull = false
  }

  reset(): void {
    this.#clear()
    this.#update()
  }

  state(): UartState {
    return {
      ier: this.#ier,
      lcr: this.#lcr,
      mcr: this.#mcr,
      fcr: this.#fcr,
      scr: this.#scr,
      divisor: this.#divisor,
      lineErrors: this.#lineErrors,
      msr: this.#msr,
      thrEmptyPending: this.#thrEmptyPending,
      input: this.#input.slice(0, this.#inputCount),
      output: this.#output.slice(0, this.#outputCount),
    }
  }

  // Registers -----------------------------------------------------------------------------------------------------

  get #dlab(): boolean {
    return (this.#lcr & LCR_DLAB) !== 0
  }

  read(offset: number): number {
    switch (offset) {
      case RBR:
        return this.#dlab ? this.#divisor & 0xff : this.#readInput()
      case IIR: {
        const value = this.#iir()
        if ((value & 0xf) === IIR_THRE) {
          this.#thrEmptyPending = false
          this.#update()
        }
        return value
      }
      case LSR: {
        const value = this.#lsr()
        this.#lineErrors = 0
        this.#update()
        return value
      }
      case MSR: {
        const value = this.#msrNow()
        this.#msr &= ~MSR_DELTAS
        this.#update()
        return value
      }
      default:
        return this.#plain(offset)
    }
  }

  /** Registers whose reading has no effect. */
  #plain(offset: number): number {
    switch (offset) {
      case IER:
        return this.#dlab ? this.#divisor >> 8 : this.#ier
      case LCR:
        return this.#lcr
      case MCR:
        return this.#mcr
      default:
        return this.#scr
    }
  }

  write(offset: number, _bytes: number, value: number): void {
    switch (offset) {
      case RBR:
        if (this.#dlab) this.#divisor = (this.#divisor & 0xff00) | value
        else return this.#send(value)
        break
      case IER:
        if (this.#dlab) this.#divisor = (this.#divisor & 0xff) | (value << 8)
        else this.#writeIer(value & 0xf)
        break
      case IIR:
        this.#writeFcr(value)
        break
      case LCR:
        if (((this.#lcr ^ value) & LCR_BREAK) !== 0)
          this.#ports.chardev.sendBreak?.((value & LCR_BREAK) !== 0)
        this.#lcr = value
        break
      case MCR:
        this.#writeMcr(value & 0x1f)
        break
      case SCR:
        this.#scr = value
        break
      default:
        return // LSR and MSR are read-only
    }
    this.#update()
  }

  #writeIer(value: number): void {
    // Enabling the THRE interrupt while the holding register is empty raises it at once.
    if ((value & ~this.#ier & IER_THRI) !== 0 && this.#thrEmpty) this.#thrEmptyPending = true
    this.#ier = value
  }

  #writeFcr(value: number): void {
    const toggled = ((value ^ this.#fcr) & FCR_ENABLE) !== 0
    if (toggled || (value & FCR_CLEAR_RX) !== 0) this.#inputCount = 0
    if ((value & FCR_CLEAR_TX) !== 0 && this.#backendFull) this.#outputCount = 0
    this.#fcr = (value & FCR_ENABLE) !== 0 ? value & 0xc9 : 0
    this.#ports.defer(() => this.#ports.chardev.receivable())
  }

  #writeMcr(value: number): void {
    const before = this.#msrNow()
    this.#mcr = value
    const after = this.#msrNow()
    this.#noteModemChange(before, after)
    this.#ports.chardev.modemControl?.(value & 3)
  }

  /** Sets the delta bits of MSR; TERI is set by a falling ring indicator only. */
  #noteModemChange(before: number, after: number): void {
    const changed = (before ^ after) & 0xf0
    this.#msr |= (changed >> 4) & ~MSR_TERI
    if ((changed & before & MSR_RI) !== 0) this.#msr |= MSR_TERI
  }

  #msrNow(): number {
    if ((this.#mcr & MCR_LOOP) === 0) return this.#msr
    const dtr = (this.#mcr & 1) !== 0 ? MSR_DSR : 0
    const rts = (this.#mcr & 2) !== 0 ? MSR_CTS : 0
    const out1 = (this.#mcr & MCR_OUT1) !== 0 ? MSR_RI : 0
    const out2 = (this.#mcr & MCR_OUT2) !== 0 ? MSR_DCD : 0
    return (this.#msr & MSR_DELTAS) | dtr | rts | out1 | out2
  }

  get #thrEmpty(): boolean {
    return !this.#backendFull
  }

  #lsr(): number {
    const ready = this.#inputCount > 0 ? LSR_DR : 0
    return ready | this.#lineErrors | (this.#thrEmpty ? LSR_THRE | LSR_TEMT : 0)
  }

  #iir(): number {
    const fifo = (this.#fcr & FCR_ENABLE) !== 0 ? IIR_FIFO : 0
    return fifo | this.#interruptId()
  }

  /** Highest-priority pending interrupt. A character time is zero, so the timeout of a started FIFO is due at once. */
  #interruptId(): number {
    if ((this.#ier & IER_RLSI) !== 0 && this.#lineErrors !== 0) return IIR_RLS
    if ((this.#ier & IER_RDI) !== 0 && this.#inputCount > 0) {
      const trigger = (this.#fcr & FCR_ENABLE) !== 0 ? (TRIGGERS[this.#fcr >> 6] as number) : 1
      return this.#inputCount >= trigger ? IIR_RDA : IIR_TIMEOUT
    }
    if ((this.#ier & IER_THRI) !== 0 && this.#thrEmptyPending) return IIR_THRE
    if ((this.#ier & IER_MSI) !== 0 && (this.#msr & MSR_DELTAS) !== 0) return IIR_MSI
    return IIR_NONE
  }

  /** Brings line, shadow image and access classes in step. PCs gate the line by OUT2; software does not rely on it. */
  #update(): void {
    const iir = this.#iir()
    const lsr = this.#lsr()
    const msr = this.#msrNow()
    const claim = this.#claim
    for (const offset of [IER, LCR, MCR, SCR]) claim.setShadow(offset, this.#plain(offset))
    claim.setShadow(IIR, iir)
    claim.setShadow(LSR, lsr)
    claim.setShadow(MSR, msr)
    const loop = (this.#mcr & MCR_LOOP) !== 0
    claim.setClass(RBR, 'sync', loop ? 'sync' : 'posted')
    claim.setClass(IIR, loop || (iir & 0xf) === IIR_THRE ? 'sync' : 'shadow', 'sync')
    claim.setClass(LSR, loop || (lsr & LSR_ERRORS) !== 0 ? 'sync' : 'shadow', 'sync')
    claim.setClass(MSR, (msr & MSR_DELTAS) !== 0 ? 'sync' : 'shadow', 'sync')
    this.#line.set((iir & 0xf) !== IIR_NONE)
  }

  // Output --------------------------------------------------------------------------------------------------------

  #send(value: number): void {
    if ((this.#mcr & MCR_LOOP) !== 0) {
      this.#push(value)
      this.#thrEmptyPending = true
      return this.#update()
    }
    if (this.#outputCount < OUT_BYTES) this.#output[this.#outputCount++] = value
    if (this.#thrEmptyPending) {
      this.#thrEmptyPending = false
      this.#update()
    }
    this.#scheduleFlush()
  }

  /** A burst of posted characters becomes one write of the backend and one THRE interrupt. */
  #scheduleFlush(): void {
    if (this.#flushDue) return
    this.#flushDue = true
    this.#ports.defer(() => {
      this.#flushDue = false
      this.#flush()
    })
  }

  #flush(): void {
    const taken =
      this.#outputCount === 0 ? 0 : this.#ports.chardev.write(this.#output.subarray(0, this.#outputCount))
    this.#output.copyWithin(0, taken, this.#outputCount)
    this.#outputCount -= taken
    this.#backendFull = this.#outputCount > 0
    if (!this.#backendFull) this.#thrEmptyPending = true
    this.#update()
  }

  writable(): void {
    if (this.#backendFull) this.#flush()
  }

  // Input ---------------------------------------------------------------------------------------------------------

  get #capacity(): number {
    return (this.#fcr & FCR_ENABLE) !== 0 ? FIFO_BYTES : 1
  }

  receive(data: Uint8Array): number {
    if ((this.#mcr & MCR_LOOP) !== 0) return 0
    const count = Math.min(data.length, this.#capacity - this.#inputCount)
    if (count <= 0) return 0
    this.#input.set(data.subarray(0, count), this.#inputCount)
    this.#inputCount += count
    this.#update()
    return count
  }

  receiveBreak(): void {
    if (this.#inputCount < this.#capacity) this.#input[this.#inputCount++] = 0
    this.#lineErrors |= LSR_BI
    this.#update()
  }

  #push(value: number): void {
    if (this.#inputCount < this.#capacity) this.#input[this.#inputCount++] = value
    else this.#lineErrors |= LSR_OE
  }

  #readInput(): number {
    if (this.#inputCount === 0) return 0
    const value = this.#input[0] as number
    this.#input.copyWithin(0, 1, this.#inputCount)
    this.#inputCount--
    this.#update()
    if (this.#inputCount === 0) this.#ports.defer(() => this.#ports.chardev.receivable())
    return value
  }
}

export const uart16550a = defineDevice({
  type: 'uart-16550a',
  bus: 'isa',
  config: configSchema<{ port: number; irq: number }>({
    port: int({ max: 0xfff8, fallback: 0x3f8 }),
    irq: int({ max: 15, fallback: 4 }),
  }),
  state: State,
  create: (ports: UartPorts, config, state) => new Uart(ports, config.port, config.irq, state),
})

/** Port and IRQ of COM1 to COM4. */
export const COM_PORTS = [
  { port: 0x3f8, irq: 4 },
  { port: 0x2f8, irq: 3 },
  { port: 0x3e8, irq: 4 },
  { port: 0x2e8, irq: 3 },
] as const
