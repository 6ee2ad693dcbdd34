/**
 * QEMU's pc-testdev, for the test kernels of the KVM world (kernel/testdev.ts answers all of it):
 *
 *   0xe0    32-bit latch            0xe4  flush a page       0xe8  byte latches
 *   0x2000  + n: level of GSI n     0xff000000: 64 KiB of I/O RAM, memory that is reached the way of a device
 */
import { KDEV_TESTDEV } from '#abi/exits.ts'
import { NO_CONFIG } from '#hub/config-schema.ts'
import { type DevicePorts, defineDevice } from '#hub/device.ts'
import { stateCodec } from '#snapshot/codec.ts'

const LATCHES = { start: 0xe0, count: 9 }
/** The rest of the byte latches, unless the debug console sits on 0xe9. */
const MORE_LATCHES = [0xe9, 0xea, 0xeb]
const IRQ_LINES = { start: 0x2000, count: 24 }
const IO_RAM = 0xff00_0000
const IO_RAM_BYTES = 0x1_0000

export const pcTestdev = defineDevice({
  type: 'pc-testdev',
  bus: 'isa',
  config: NO_CONFIG,
  state: stateCodec('pc-testdev', 1, {}),
  create(ports: DevicePorts) {
    const kernel = { read: 'kernel', write: 'kernel', kernelDevice: KDEV_TESTDEV } as const
    ports.pio.claim({ ...LATCHES, ...kernel })
    for (const start of MORE_LATCHES) ports.pio.tryClaim({ start, count: 1, ...kernel })
    ports.pio.claim({ ...IRQ_LINES, ...kernel })
    ports.mmio.claim({
      start: IO_RAM,
      bytes: IO_RAM_BYTES,
      ...kernel,
      shadow: ports.arena.allocate(IO_RAM_BYTES),
    })
    return { reset: () => undefined, state: () => ({}) }
  },
})
