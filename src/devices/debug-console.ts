/**
 * Write-only debug port: every byte written goes to a chardev. Reads give a value that tells guests it is there:
 * 0xe9 on port 0xe9 (Bochs), and on 0x402 too (SeaBIOS's debug port asks for it).
 */
import { configSchema, int } from '#hub/config-schema.ts'
import { type DevicePorts, defineDevice } from '#hub/device.ts'
import { stateCodec } from '#snapshot/codec.ts'

import type { CharBackend } from './char-backend.ts'

const READBACK = 0xe9
const BATCH_BYTES = 512

export const debugConsole = defineDevice({
  type: 'debug-console',
  bus: 'isa',
  config: configSchema<{ port: number }>({ port: int({ max: 0xffff, fallback: 0xe9 }) }),
  state: stateCodec('debug-console', 1, {}),
  create(ports: DevicePorts & { readonly chardev: CharBackend }, config) {
    const batch = new Uint8Array(BATCH_BYTES)
    let count = 0
    const flush = (): void => {
      // A debug port has no way to wait: what a full backend does not take is lost.
      if (count > 0) ports.chardev.write(batch.subarray(0, count))
      count = 0
    }
    const claim = ports.pio.claim({
      start: config.port,
      count: 1,
      read: 'shadow',
      write: 'posted',
      width: 1,
      handler: {
        read: () => READBACK,
        write: (_offset, _bytes, value) => {
          if (count === 0) ports.defer(flush)
          batch[count++] = value
          if (count === BATCH_BYTES) flush()
        },
      },
    })
    claim.setShadow(0, READBACK)
    ports.chardev.connect({ receive: (bytes) => bytes.length, writable: () => undefined })
    return { reset: () => undefined, state: () => ({}) }
  },
})
