/**
 * The chips of a PC that live in the vCPU workers (kernel.wasm): here they only get their places in the port and MMIO
 * spaces, so that nothing else can claim them. Their state is the kernel's.
 */
import {
  KDEV_DELAY,
  KDEV_HPET,
  KDEV_IOAPIC,
  KDEV_LAPIC,
  KDEV_PIC,
  KDEV_PIT,
  KDEV_PORT61,
  KDEV_PORT92,
} from '#abi/exits.ts'
import { HPET_GPA, IOAPIC_GPA, LAPIC_GPA } from '#abi/irqchip.ts'
import { configSchema, flag } from '#hub/config-schema.ts'
import { type DevicePorts, defineDevice } from '#hub/device.ts'
import { stateCodec } from '#snapshot/codec.ts'

// oxfmt-ignore
const PORTS = [
  { start: 0x20,  count: 2, kernelDevice: KDEV_PIC },
  { start: 0xa0,  count: 2, kernelDevice: KDEV_PIC },
  { start: 0x4d0, count: 2, kernelDevice: KDEV_PIC }, // ELCR
  { start: 0x40,  count: 4, kernelDevice: KDEV_PIT },
  { start: 0x61,  count: 1, kernelDevice: KDEV_PORT61 },
  { start: 0x92,  count: 1, kernelDevice: KDEV_PORT92 },
  { start: 0x80,  count: 1, kernelDevice: KDEV_DELAY },
] as const

/** Known to every PC program and without effect here: DMA page registers, second delay port, FPU busy latch, DMA controllers. */
const IGNORED = [
  { start: 0x00, count: 0x10 },
  { start: 0x81, count: 0x0f },
  { start: 0xc0, count: 0x20 },
  { start: 0xed, count: 1 },
  { start: 0xf0, count: 2 },
] as const

const PAGE = 0x1000

export const pcKernelChips = defineDevice({
  type: 'pc-kernel-chips',
  bus: 'system',
  config: configSchema<{ hpet: boolean }>({ hpet: flag(false) }),
  state: stateCodec('pc-kernel-chips', 1, {}),
  create(ports: DevicePorts, config) {
    for (const request of PORTS) ports.pio.claim({ ...request, read: 'kernel', write: 'kernel' })
    for (const request of IGNORED) ports.pio.claim({ ...request, read: 'ignore', write: 'ignore' })
    const chips: [number, number][] = [
      [IOAPIC_GPA, KDEV_IOAPIC],
      [LAPIC_GPA, KDEV_LAPIC],
    ]
    if (config.hpet) chips.push([HPET_GPA, KDEV_HPET])
    for (const [start, kernelDevice] of chips) {
      ports.mmio.claim({ start, bytes: PAGE, read: 'kernel', write: 'kernel', kernelDevice })
    }
    return { reset: () => undefined, state: () => ({}) }
  },
})
