/** QEMU's isa-debug-exit: a write of v ends the machine with exit status (v << 1) | 1. For bare-metal test kernels. */
import { configSchema, int } from '#hub/config-schema.ts'
import { type DevicePorts, defineDevice } from '#hub/device.ts'
import { stateCodec } from '#snapshot/codec.ts'

export const isaDebugExit = defineDevice({
  type: 'isa-debug-exit',
  bus: 'isa',
  config: configSchema<{ port: number }>({ port: int({ max: 0xfffc, fallback: 0xf4 }) }),
  state: stateCodec('isa-debug-exit', 1, {}),
  create(ports: DevicePorts, config) {
    ports.pio.claim({
      start: config.port,
      count: 4,
      handler: {
        read: () => 0,
        write: (_offset, _bytes, value) => {
          // An exit status of a process has 8 bits; the event carries what was written.
          ports.emit({ type: 'exit', by: ports.name, status: value * 2 + 1 })
        },
      },
    })
    return { reset: () => undefined, state: () => ({}) }
  },
})
