/**
 * pvpanic (QEMU docs/specs/pvpanic): the guest's kernel reports that it panicked. Reading gives the events understood.
 */
import { configSchema, int } from '#hub/config-schema.ts'
import { type DevicePorts, defineDevice } from '#hub/device.ts'
import { stateCodec } from '#snapshot/codec.ts'

export const PVPANIC_PANICKED = 1
export const PVPANIC_CRASH_LOADED = 2
export const PVPANIC_SHUTDOWN = 4
const EVENTS = PVPANIC_PANICKED | PVPANIC_CRASH_LOADED | PVPANIC_SHUTDOWN

export const pvpanic = defineDevice({
  type: 'pvpanic',
  bus: 'isa',
  config: configSchema<{ port: number }>({ port: int({ max: 0xffff, fallback: 0x505 }) }),
  state: stateCodec('pvpanic', 1, {}),
  create(ports: DevicePorts, config) {
    const claim = ports.pio.claim({
      start: config.port,
      count: 1,
      read: 'shadow',
      width: 1,
      handler: {
        read: () => EVENTS,
        write: (_offset, _bytes, value) => {
          if ((value & ~EVENTS) !== 0) ports.logOnce(`event ${value}`, `unknown pvpanic event ${value}`)
          if ((value & PVPANIC_SHUTDOWN) !== 0) ports.emit({ type: 'poweroff', by: ports.name })
          const bits = value & (PVPANIC_PANICKED | PVPANIC_CRASH_LOADED)
          if (bits !== 0) ports.emit({ type: 'guest-panicked', by: ports.name, bits })
        },
      },
    })
    claim.setShadow(0, EVENTS)
    return { reset: () => undefined, state: () => ({}) }
  },
})
