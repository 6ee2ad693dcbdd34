/** Virtio entropy device (virtio 1.2, section 5.4): every available buffer is filled with random bytes. */
import { NO_CONFIG } from '#hub/config-schema.ts'
import { stateCodec } from '#snapshot/codec.ts'
import { type VirtioPorts, defineVirtioDevice } from '#virtio/device.ts'
import { virtioPci } from '#virtio/pci.ts'

/** Where randomness comes from. */
export interface EntropySource {
  fill(target: Uint8Array<ArrayBuffer>): void
}

/** Most bytes per buffer: a guest must not make us produce gigabytes for one descriptor. At least one is due (5.4.6.2). */
const MAX_BYTES = 0x1_0000
const REQUEST_QUEUE = 0

export const virtioRng = virtioPci(
  defineVirtioDevice({
    type: 'virtio-rng',
    deviceId: 4,
    pciClass: 0xff0000,
    config: NO_CONFIG,
    state: stateCodec('virtio-rng', 1, {}),
    create(ports: VirtioPorts & { readonly entropy: EntropySource }) {
      return {
        features: 0n,
        queueSizes: [64],
        configBytes: 0,
        readConfig: () => 0,
        notify() {
          for (let chain = ports.pop(REQUEST_QUEUE); chain !== undefined; chain = ports.pop(REQUEST_QUEUE)) {
            if (chain.writableBytes === 0) return ports.fail('an entropy buffer has no room for a byte')
            const random = new Uint8Array(Math.min(chain.writableBytes, MAX_BYTES))
            // oxlint-disable-next-line unicorn/no-array-fill-with-reference-type -- it is no array
            ports.entropy.fill(random)
            ports.push(REQUEST_QUEUE, chain, chain.writeAt(0, random))
          }
          ports.signal(REQUEST_QUEUE)
        },
        reset: () => undefined,
        state: () => ({}),
      }
    },
  }),
)
