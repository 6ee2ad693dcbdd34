/**
 * Intel 82371SB (PIIX3) ISA bridge, function 1.0: routes PCI interrupts to ISA IRQs (data sheet, PIRQRC[A:D]).
 * ELCR, 8259, 8254 and port 92 live in the kernel; reset control 0xcf9 in the host bridge's port range (i440fx.ts).
 */
import { NO_CONFIG } from '#hub/config-schema.ts'
import { type Device, type DevicePorts, defineDevice } from '#hub/device.ts'
import type { IrqLine } from '#hub/gsi.ts'
import { PIRQ_COUNT } from '#hub/pci/bus.ts'
import type { PciFunction } from '#hub/pci/function.ts'
import { stateCodec } from '#snapshot/codec.ts'

const PIRQRC = 0x60
const PIRQRC_DISABLE = 0x80
const PIRQRC_IRQ = 0x0f
/** IRQs that a PIRQ may be routed to; the data sheet reserves the others. */
const ROUTABLE = 0b1101_1110_1111_1000
const XBCS = 0x4e

const State = stateCodec('piix3', 1, {})

class Piix3 implements Device<object> {
  readonly #function: PciFunction
  readonly #ports: DevicePorts
  readonly #lines: (IrqLine | undefined)[] = Array.from({ length: PIRQ_COUNT }, () => undefined)
  readonly #levels: boolean[] = Array.from({ length: PIRQ_COUNT }, () => false)

  constructor(ports: DevicePorts) {
    this.#ports = ports
    this.#function = ports.pci.attach({
      vendor: 0x8086,
      device: 0x7000,
      classCode: 0x060100,
      multifunction: true,
      subsystemVendor: 0x1af4,
      subsystem: 0x1100,
      layout: (config) => {
        config.set(0x04, 2, 7) // always decodes and masters
        config.set(0x4c, 1, 0x4d) // ISA I/O recovery timer
        config.set(XBCS, 2, 0x0003)
        config.allow(XBCS, 2, 0xffff)
        config.set(PIRQRC, 4, 0x8080_8080)
        config.allow(PIRQRC, 4, 0x8f8f_8f8f)
        config.set(0x69, 1, 0x02) // top of memory
        config.allow(0x69, 1, 0xf7)
      },
      onConfigWrite: (at, bytes) => {
        if (at < PIRQRC + PIRQ_COUNT && at + bytes > PIRQRC) this.#route()
      },
    })
    this.#route()
    ports.pci.bus.routePirq((pirq, level) => {
      this.#levels[pirq] = level
      this.#lines[pirq]?.set(level)
    })
  }

  /** Connects each PIRQ to the IRQ that its register names; a line that moves lets go of the old IRQ first. */
  #route(): void {
    for (let pirq = 0; pirq < PIRQ_COUNT; pirq++) {
      const register = this.#function.config.get(PIRQRC + pirq, 1)
      const irq = register & PIRQRC_IRQ
      const routed = (register & PIRQRC_DISABLE) === 0 && ((ROUTABLE >> irq) & 1) === 1
      if (this.#lines[pirq]?.gsi === (routed ? irq : undefined)) continue
      this.#lines[pirq]?.lower()
      this.#lines[pirq] = routed ? this.#ports.gsi(irq) : undefined
      this.#lines[pirq]?.set(this.#levels[pirq] === true)
    }
  }

  reset(): void {
    this.#function.reset()
    this.#route()
  }

  state(): object {
    return {} // all of it is configuration space
  }
}

/** Belongs in slot 1, function 0. */
export const piix3 = defineDevice({
  type: 'piix3',
  bus: 'pci',
  config: NO_CONFIG,
  state: State,
  create: (ports: DevicePorts) => new Piix3(ports),
})
