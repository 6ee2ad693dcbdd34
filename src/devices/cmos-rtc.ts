/**
 * MC146818A real-time clock and PC CMOS memory at ports 0x70/0x71, IRQ 8 (data sheet; Bochs's and SeaBIOS's lists for
 * the bytes above 0x0d). The calendar is not counted up: it is the host's wall clock plus the offset the guest set.
 */
import { configSchema, int } from '#hub/config-schema.ts'
import { type Device, type DevicePorts, defineDevice } from '#hub/device.ts'
import type { IrqLine } from '#hub/gsi.ts'
import type { Timer } from '#hub/ports.ts'
import { stateCodec } from '#snapshot/codec.ts'
import { bytes, upTo } from '#snapshot/fields.ts'

import { RTC_B_24H, calendarMs, isAlarm, toRegisters } from './rtc-calendar.ts'

const PORT = 0x70
const IRQ = 8
const CMOS_BYTES = 128

const REG_A = 0x0a
const REG_B = 0x0b
const REG_C = 0x0c
const REG_D = 0x0d
const A_UIP = 0x80
const A_RATE = 0x0f
const B_SET = 0x80
const B_PIE = 0x40
const B_AIE = 0x20
const B_UIE = 0x10
const C_IRQF = 0x80
const C_PF = 0x40
const C_AF = 0x20
const C_UF = 0x10
const D_VRT = 0x80
const CENTURY = 0x32

/** UIP is high for the last 244 us of a second (data sheet, "Update cycle"). */
const UPDATE_US = 244
/** Alarm seconds looked back at when nobody asked for long: a day, after which every alarm has matched. */
const LOOK_BACK_MAX = 86_400

const State = stateCodec('cmos-rtc', 1, {
  index: upTo(0x7f),
  memory: bytes(CMOS_BYTES),
  /** Guest calendar minus wall clock, ms. */
  offsetMs: 'f64',
  /** Second (since the epoch) up to which update and alarm flags are settled. */
  settledSecond: 'f64',
  /** Guest ns of the last periodic tick. */
  lastPeriodNs: 'f64',
})

type RtcState = ReturnType<typeof State.decode>

interface RtcConfig {
  /** RAM below 4 GiB and above it, for firmware that sizes memory by CMOS. */
  readonly lowRamBytes: number
  readonly highRamBytes: number
  readonly cpus: number
}

class CmosRtc implements Device<RtcState> {
  readonly #ports: DevicePorts
  readonly #config: RtcConfig
  readonly #line: IrqLine
  readonly #periodic: Timer
  readonly #second: Timer
  readonly #memory = new Uint8Array(CMOS_BYTES)
  #index = 0
  #offsetMs = 0
  #settledSecond = 0
  #lastPeriodNs = 0

  constructor(ports: DevicePorts, config: RtcConfig, state?: RtcState) {
    this.#ports = ports
    this.#config = config
    this.#line = ports.gsi(IRQ)
    this.#periodic = ports.clock.timer(() => this.#settlePeriodic())
    this.#second = ports.clock.timer(() => this.#settle())
    ports.pio.claim({
      start: PORT,
      count: 2,
      read: ['ignore', 'sync'],
      write: ['posted', 'sync'],
      width: 1,
      handler: {
        read: (offset) => this.#read(offset),
        write: (offset, _bytes, value) => this.#write(offset, value),
      },
    })
    if (state) this.#restore(state)
    else this.#powerOn()
    this.#schedule()
    this.#updateLine()
  }

  #powerOn(): void {
    this.#memory.fill(0)
    this.#memory[REG_A] = 0x26 // 32768 Hz time base, 1024 Hz
    this.#memory[REG_B] = RTC_B_24H
    this.#memory[REG_D] = D_VRT
    this.#fillMemorySizes()
    this.#index = 0
    this.#offsetMs = 0
    this.#settledSecond = this.#nowSecond
    this.#lastPeriodNs = this.#ports.clock.nowNs()
  }

  #fillMemorySizes(): void {
    const { lowRamBytes, highRamBytes, cpus } = this.#config
    const memory = this.#memory
    const put16 = (at: number, value: number): void => {
      memory[at] = value & 0xff
      memory[at + 1] = value >> 8
    }
    const aboveOne = Math.min(0xffff, Math.max(0, lowRamBytes / 1024 - 1024))
    memory[0x14] = 0x06 // FPU, PS/2 mouse
    put16(0x15, 640)
    put16(0x17, aboveOne)
    put16(0x30, aboveOne)
    put16(0x34, Math.min(0xffff, Math.max(0, (lowRamBytes - 16 * 2 ** 20) / 65536)))
    const high = Math.min(0xff_ffff, highRamBytes / 65536)
    put16(0x5b, high & 0xffff)
    memory[0x5d] = high >> 16
    memory[0x5f] = cpus - 1
  }

  #restore(state: RtcState): void {
    this.#index = state.index
    this.#memory.set(state.memory)
    this.#offsetMs = state.offsetMs
    this.#settledSecond = state.settledSecond
    this.#lastPeriodNs = state.lastPeriodNs
  }

  /** RESET# of the chip: interrupt enables and flags go, calendar and memory stay (data sheet, "RESET"). */
  reset(): void {
    this.#settle()
    this.#memory[REG_B] = this.#reg(REG_B) & ~(B_PIE | B_AIE | B_UIE)
    this.#memory[REG_C] = 0
    this.#memory[0x0f] = 0
    this.#index = 0
    this.#fillMemorySizes()
    this.#schedule()
    this.#updateLine()
  }

  state(): RtcState {
    return {
      index: this.#index,
      memory: this.#memory.slice(),
      offsetMs: this.#offsetMs,
      settledSecond: this.#settledSecond,
      lastPeriodNs: this.#lastPeriodNs,
    }
  }

  #reg(index: number): number {
    return this.#memory[index] as number
  }

  get #nowMs(): number {
    return this.#ports.clock.wallMs() + this.#offsetMs
  }

  get #nowSecond(): number {
    return Math.floor(this.#nowMs / 1000)
  }

  get #setting(): boolean {
    return (this.#reg(REG_B) & B_SET) !== 0
  }

  // Ports ---------------------------------------------------------------------------------------------------------

  #read(offset: number): number {
    if (offset === 0) return 0xff // the index register is write-only
    const index = this.#index
    if (index < REG_A || index === CENTURY) return this.#readTime(index)
    if (index === REG_A) return this.#reg(REG_A) | (this.#updating() ? A_UIP : 0)
    if (index === REG_C) return this.#takeFlags()
    return this.#reg(index)
  }

  #write(offset: number, value: number): void {
    if (offset === 0) {
      this.#index = value & 0x7f // bit 7 masks NMI on some boards; nothing raises one here
      return
    }
    const index = this.#index
    if (index < REG_A || index === CENTURY) return this.#writeTime(index, value)
    switch (index) {
      case REG_A:
        this.#settlePeriodic()
        this.#memory[REG_A] = value & ~A_UIP
        break
      case REG_B:
        this.#writeB(value)
        break
      case REG_C:
      case REG_D:
        return // read-only
      default:
        this.#memory[index] = value
    }
    this.#schedule()
    this.#updateLine()
  }

  #writeB(value: number): void {
    this.#settle()
    const was = this.#setting
    const willSet = (value & B_SET) !== 0
    if (willSet && !was) this.#freeze()
    // SET aborts the update cycle and with it UIE (data sheet, "SET")
    this.#memory[REG_B] = willSet ? value & ~B_UIE : value
    if (was && !willSet) this.#thaw()
  }

  /** Time registers hold still while software sets them. */
  #freeze(): void {
    toRegisters(this.#nowMs, this.#reg(REG_B), this.#memory)
  }

  #thaw(): void {
    this.#offsetMs += calendarMs(this.#memory) - this.#nowSecond * 1000
    this.#settledSecond = this.#nowSecond
  }

  #readTime(index: number): number {
    const isAlarmRegister = index === 1 || index === 3 || index === 5
    if (!isAlarmRegister && !this.#setting) this.#freeze()
    return this.#reg(index)
  }

  #writeTime(index: number, value: number): void {
    const isAlarmRegister = index === 1 || index === 3 || index === 5
    if (isAlarmRegister) this.#settle()
    else if (!this.#setting) this.#freeze()
    this.#memory[index] = value
    if (!isAlarmRegister && !this.#setting) this.#thaw()
    this.#schedule()
  }

  /** A pending update is also shown in the ms that a browser's coarse clock cannot resolve. */
  #updating(): boolean {
    if (this.#setting) return false
    const us = (((this.#nowMs % 1000) + 1000) % 1000) * 1000
    return us >= 1_000_000 - UPDATE_US
  }

  // Interrupts ----------------------------------------------------------------------------------------------------

  /** Sets UF and AF for the seconds that passed. */
  #settle(): void {
    this.#settlePeriodic()
    const now = this.#nowSecond
    if (!this.#setting && now > this.#settledSecond) {
      let flags = C_UF
      for (let second = Math.max(this.#settledSecond + 1, now - LOOK_BACK_MAX); second <= now; second++) {
        if (isAlarm(second, this.#memory, this.#reg(REG_B))) flags |= C_AF
      }
      this.#memory[REG_C] = this.#reg(REG_C) | flags
    }
    this.#settledSecond = now
    this.#schedule()
    this.#updateLine()
  }

  /** ns between periodic ticks, or undefined at rate 0 (data sheet, table 3). */
  get #periodNs(): number | undefined {
    const rate = this.#reg(REG_A) & A_RATE
    if (rate === 0) return undefined
    const shift = rate <= 2 ? rate + 6 : rate - 1
    return (2 ** shift / 32768) * 1e9
  }

  #settlePeriodic(): void {
    const period = this.#periodNs
    const now = this.#ports.clock.nowNs()
    if (period !== undefined && now >= this.#lastPeriodNs + period) {
      this.#lastPeriodNs += Math.floor((now - this.#lastPeriodNs) / period) * period
      this.#memory[REG_C] = this.#reg(REG_C) | C_PF
    }
    this.#schedule()
    this.#updateLine()
  }

  /** Timers run only for interrupts that are enabled; flags that are polled are settled when read. */
  #schedule(): void {
    const b = this.#reg(REG_B)
    const period = this.#periodNs
    // A tick that nobody has read yet says all there is to say: no timer at up to 8 kHz until register C is read.
    const ticked = (this.#reg(REG_C) & C_PF) !== 0
    if ((b & B_PIE) !== 0 && period !== undefined && !ticked) this.#periodic.arm(this.#lastPeriodNs + period)
    else this.#periodic.cancel()
    if ((b & (B_UIE | B_AIE)) !== 0 && (b & B_SET) === 0) {
      const toNextMs = 1000 - (((this.#nowMs % 1000) + 1000) % 1000)
      this.#second.arm(this.#ports.clock.nowNs() + toNextMs * 1e6)
    } else this.#second.cancel()
  }

  #takeFlags(): number {
    this.#settle()
    const value = this.#flags()
    this.#memory[REG_C] = 0
    this.#schedule()
    this.#updateLine()
    return value
  }

  #flags(): number {
    const c = this.#reg(REG_C)
    // The enable bits of B line up with the flags of C.
    return (c & this.#reg(REG_B) & (C_PF | C_AF | C_UF)) !== 0 ? c | C_IRQF : c
  }

  #updateLine(): void {
    this.#line.set((this.#flags() & C_IRQF) !== 0)
  }
}

export const cmosRtc = defineDevice({
  type: 'cmos-rtc',
  bus: 'isa',
  config: configSchema<RtcConfig>({
    lowRamBytes: int({ max: 2 ** 32, fallback: 0 }),
    highRamBytes: int({ max: Number.MAX_SAFE_INTEGER, fallback: 0 }),
    cpus: int({ min: 1, max: 256, fallback: 1 }),
  }),
  state: State,
  create: (ports: DevicePorts, config, state) => new CmosRtc(ports, config, state),
})
