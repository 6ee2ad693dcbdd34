/**
 * Intel 82371AB (PIIX4) power management, function 1.3, with the ACPI fixed hardware (ACPI 6.5, section 4.8):
 *
 *   PM base + 0   PM1 status   u16, write 1 to clear     + 2  PM1 enable  u16
 *           + 4   PM1 control  u16                       + 8  PM timer    u32, in the kernel
 *   0xafe0        GPE0 status u16, enable u16            0xb2 SMI command, 0xb3 APM status
 *
 * One SCI (IRQ 9, level). S5 and S1 are entered through PM1 control; a write of the SMI command port switches ACPI
 * mode, which SMM code does on a real board. SMBus is deliberately absent.
 */
import { KDEV_PMTIMER } from '#abi/exits.ts'
import { NO_CONFIG } from '#hub/config-schema.ts'
import { type Device, type DevicePorts, defineDevice } from '#hub/device.ts'
import type { IrqLine } from '#hub/gsi.ts'
import type { PciFunction } from '#hub/pci/function.ts'
import type { PioClaim } from '#hub/pio-space.ts'
import { registerBlock } from '#hub/registers.ts'
import { stateCodec } from '#snapshot/codec.ts'
import { bits } from '#snapshot/fields.ts'

/** Where PM registers are until a BIOS moves them. */
export const PM_BASE = 0x600
export const GPE0_BASE = 0xafe0
export const SMI_COMMAND = 0xb2
export const ACPI_ENABLE = 0xf1
export const ACPI_DISABLE = 0xf0
export const SCI_IRQ = 9
/** SLP_TYP that the DSDT gives in _S5. */
export const SLP_TYP_S5 = 0

const PM_PORTS = 0x40
const PM_TIMER_AT = 8
const PM_TIMER_END = 12
const PMBASE = 0x40 // configuration register
const PMREGMISC = 0x80
const DEVACTB = 0x58
const APMC_EN = 0x0200_0000

const PM1_TMR = 1
const PM1_GBL = 0x20
const PM1_PWRBTN = 0x100
const PM1_RTC = 0x400
const PM1_WAK = 0x8000
const PM1_ENABLES = PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_RTC
const PM1_CNT_SCI_EN = 1
const PM1_CNT_SLP_TYP_SHIFT = 10
const PM1_CNT_SLP_EN = 0x2000
const PM1_CNT_BITS = 0x1c01 | 6 // SLP_EN is write-only

// oxfmt-ignore
const pm = registerBlock({
  STATUS:  { at: 0, bytes: 2, access: 'w1c', reset: 0, mask: PM1_ENABLES | PM1_WAK | 0x11 },
  ENABLE:  { at: 2, bytes: 2, access: 'rw',  reset: 0, mask: PM1_ENABLES },
  CONTROL: { at: 4, bytes: 2, access: 'rw',  reset: 0, mask: PM1_CNT_BITS },
})
// oxfmt-ignore
const gpe0 = registerBlock({
  STATUS: { at: 0, bytes: 2, access: 'w1c', reset: 0, mask: 0xffff },
  ENABLE: { at: 2, bytes: 2, access: 'rw',  reset: 0, mask: 0xffff },
})
// oxfmt-ignore
const smi = registerBlock({
  COMMAND: { at: 0, bytes: 1, access: 'rw', reset: 0 },
  STATUS:  { at: 1, bytes: 1, access: 'rw', reset: 0 },
})

const State = stateCodec('piix4-pm', 1, {
  status: bits(PM1_ENABLES | PM1_WAK | 0x11),
  enable: bits(PM1_ENABLES),
  control: bits(PM1_CNT_BITS),
  gpeStatus: 'u16',
  gpeEnable: 'u16',
  smiCommand: 'u8',
  apmStatus: 'u8',
})

type PmState = ReturnType<typeof State.decode>

export class Piix4Pm implements Device<PmState> {
  readonly #ports: DevicePorts
  readonly #sci: IrqLine
  readonly #function: PciFunction
  readonly #pm = pm.create()
  readonly #gpe = gpe0.create()
  readonly #smi = smi.create()
  #claims: PioClaim[] = []
  #base = 0

  constructor(ports: DevicePorts, state?: PmState) {
    this.#ports = ports
    this.#sci = ports.gsi(SCI_IRQ)
    this.#function = ports.pci.attach({
      vendor: 0x8086,
      device: 0x7113,
      classCode: 0x068000,
      revision: 3,
      subsystemVendor: 0x1af4,
      subsystem: 0x1100,
      interruptPin: 1,
      layout: (config) => {
        config.set(0x3c, 1, SCI_IRQ)
        // A BIOS would set the base; without one it is there from the start.
        config.set(PMBASE, 4, PM_BASE | 1)
        config.allow(PMBASE, 4, 0xffc0)
        config.set(PMREGMISC, 1, 1)
        config.allow(PMREGMISC, 1, 1)
        // APM enabled says that system management mode is set up: there is none, and firmware would wait for it.
        config.set(DEVACTB, 4, APMC_EN)
        config.allow(DEVACTB, 4, 0xffff_ffff)
      },
      onConfigWrite: () => this.#place(),
    })
    ports.pio.claim({
      start: GPE0_BASE,
      count: 4,
      handler: this.#block(gpe0, this.#gpe, () => this.#updateSci()),
    })
    ports.pio.claim({
      start: SMI_COMMAND,
      count: 2,
      handler: this.#block(smi, this.#smi, (at) => this.#smiWritten(at)),
    })
    if (state) this.#restore(state)
    this.#place()
    this.#updateSci()
  }

  #restore(state: PmState): void {
    this.#pm.STATUS = state.status
    this.#pm.ENABLE = state.enable
    this.#pm.CONTROL = state.control
    this.#gpe.STATUS = state.gpeStatus
    this.#gpe.ENABLE = state.gpeEnable
    this.#smi.COMMAND = state.smiCommand
    this.#smi.STATUS = state.apmStatus
  }

  #block<Specs>(
    block: {
      read(v: Specs, at: number, n: number): number | undefined
      write(v: Specs, at: number, n: number, x: number): unknown
    },
    values: Specs,
    written: (at: number) => void,
  ): {
    read(at: number, bytes: number): number | undefined
    write(at: number, bytes: number, value: number): boolean
  } {
    return {
      read: (at, bytes) => block.read(values, at, bytes),
      write: (at, bytes, value) => {
        if (block.write(values, at, bytes, value) === undefined) return false
        written(at)
        return true
      },
    }
  }

  /** Claims the PM ports where configuration space puts them; the timer's four ports are the kernel's. */
  #place(): void {
    const { config } = this.#function
    const enabled = (config.get(PMREGMISC, 1) & 1) === 1
    const base = enabled ? config.get(PMBASE, 2) & 0xffc0 : 0
    if (base === this.#base) return
    for (const claim of this.#claims) claim.release()
    this.#claims = []
    this.#base = base
    if (base === 0) return
    const requests = [
      {
        start: base,
        count: PM_TIMER_AT,
        handler: { read: (at: number, bytes: number) => pm.read(this.#pm, at, bytes), write: this.#writePm },
      },
      { start: base + PM_TIMER_AT, count: 4, read: 'kernel', write: 'ignore', kernelDevice: KDEV_PMTIMER },
      { start: base + PM_TIMER_END, count: PM_PORTS - PM_TIMER_END, read: 'ignore', write: 'ignore' },
    ] as const
    for (const request of requests) {
      const claim = this.#ports.pio.tryClaim(request)
      if (claim instanceof Error)
        return this.#ports.logOnce(`pm ${base}`, `PM registers are not decoded: ${claim.message}`)
      this.#claims.push(claim)
    }
  }

  readonly #writePm = (at: number, bytes: number, value: number): boolean => {
    if (pm.write(this.#pm, at, bytes, value) === undefined) return false
    // SLP_EN is in the high byte of control: it acts and does not stick (4.8.3.2.1).
    const high = at <= 5 && at + bytes > 5 ? (value >>> (8 * (5 - at))) & 0xff : 0
    this.#updateSci()
    if ((high & (PM1_CNT_SLP_EN >> 8)) !== 0) this.#sleep()
    return true
  }

  #sleep(): void {
    const type = (this.#pm.CONTROL >> PM1_CNT_SLP_TYP_SHIFT) & 7
    if (type === SLP_TYP_S5) {
      this.#ports.emit({ type: 'poweroff', by: this.#ports.name })
      return
    }
    // S1 keeps everything: the machine is awake again at once, which the OS sees by WAK_STS.
    this.#ports.emit({ type: 'suspend', by: this.#ports.name, state: type })
    this.#pm.STATUS |= PM1_WAK
    this.#updateSci()
  }

  #smiWritten(at: number): void {
    if (at !== 0) return
    if (this.#smi.COMMAND === ACPI_ENABLE) this.#pm.CONTROL |= PM1_CNT_SCI_EN
    if (this.#smi.COMMAND === ACPI_DISABLE) this.#pm.CONTROL &= ~PM1_CNT_SCI_EN
    this.#updateSci()
  }

  /** The user presses the power button: the OS gets an SCI and decides. */
  pressPowerButton(): void {
    this.#pm.STATUS |= PM1_PWRBTN
    this.#updateSci()
  }

  /** Raises a general-purpose event (hotplug and the like). */
  raiseGpe(event: number): void {
    this.#gpe.STATUS |= 1 << event
    this.#updateSci()
  }

  #updateSci(): void {
    const fixed = (this.#pm.STATUS & this.#pm.ENABLE & PM1_ENABLES) !== 0
    const general = (this.#gpe.STATUS & this.#gpe.ENABLE) !== 0
    this.#sci.set((this.#pm.CONTROL & PM1_CNT_SCI_EN) !== 0 && (fixed || general))
  }

  reset(): void {
    pm.reset(this.#pm)
    gpe0.reset(this.#gpe)
    smi.reset(this.#smi)
    this.#function.reset()
    this.#place()
    this.#updateSci()
  }

  state(): PmState {
    return {
      status: this.#pm.STATUS,
      enable: this.#pm.ENABLE,
      control: this.#pm.CONTROL,
      gpeStatus: this.#gpe.STATUS,
      gpeEnable: this.#gpe.ENABLE,
      smiCommand: this.#smi.COMMAND,
      apmStatus: this.#smi.STATUS,
    }
  }
}

/** Belongs in slot 1, function 3. */
export const piix4Pm = defineDevice({
  type: 'piix4-pm',
  bus: 'pci',
  config: NO_CONFIG,
  state: State,
  create: (ports: DevicePorts, _config, state) => new Piix4Pm(ports, state),
})
