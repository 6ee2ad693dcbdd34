/**
 * QEMU's pci-testdev (docs/specs/pci-testdev): counts writes that a test kernel makes to a memory and an I/O BAR.
 *
 *   first half of each BAR: test u8 (write: select) | width u8 | pad u16 | offset u32 | data u32 | count u32 | name…
 *   second half: the place to write to
 */
import { NO_CONFIG } from '#hub/config-schema.ts'
import type { IoHandler } from '#hub/claims.ts'
import { type Device, type DevicePorts, defineDevice } from '#hub/device.ts'
import type { PciFunction } from '#hub/pci/function.ts'
import { stateCodec } from '#snapshot/codec.ts'
import { list, upTo } from '#snapshot/fields.ts'

const TYPES = ['mmio', 'portio'] as const
const TESTS = ['no-eventfd', 'wildcard-eventfd', 'datamatch-eventfd'] as const
/** Bytes of the header half: memory BAR, I/O BAR. */
const HALVES = [2048, 128] as const
const ACCESS_BYTES = 1
const DATA_MATCH = 0xfa
const DATA_ANY = 0xce
const HEADER_BYTES = 16
const OFFSET = 4
const DATA = 8
const COUNT = 12
const NONE = TYPES.length * TESTS.length

const State = stateCodec('pci-testdev', 1, {
  current: upTo(NONE),
  counts: list('u32', NONE),
})

type TestState = ReturnType<typeof State.decode>

class PciTestdev implements Device<TestState> {
  readonly #function: PciFunction
  readonly #headers: DataView[] = []
  /** Test selected, NONE at first. */
  #current: number

  constructor(ports: DevicePorts, state?: TestState) {
    this.#current = state?.current ?? NONE
    TYPES.forEach((type, typeIndex) => {
      TESTS.forEach((test, testIndex) => this.#addTest(`${type}-${test}`, typeIndex, testIndex))
    })
    state?.counts.forEach((count, index) => this.#headers[index]?.setUint32(COUNT, count, true))
    this.#function = ports.pci.attach({
      vendor: 0x1b36,
      device: 0x0005,
      classCode: 0xff0000,
      subsystemVendor: 0x1af4,
      subsystem: 0x1100,
      bars: [
        {
          index: 0,
          space: 'mem32',
          bytes: 2 * HALVES[0],
          regions: [{ at: 0, bytes: 2 * HALVES[0], handler: this.#handler(0) }],
        },
        {
          index: 1,
          space: 'io',
          bytes: 2 * HALVES[1],
          regions: [{ at: 0, bytes: 2 * HALVES[1], handler: this.#handler(1) }],
        },
      ],
    })
  }

  #addTest(name: string, type: number, test: number): void {
    const header = new DataView(new ArrayBuffer(HEADER_BYTES + name.length + 1))
    const index = type * TESTS.length + test
    header.setUint8(0, index)
    header.setUint8(1, ACCESS_BYTES)
    header.setUint32(OFFSET, (HALVES[type] as number) + index * ACCESS_BYTES, true)
    header.setUint32(DATA, TESTS[test] === 'wildcard-eventfd' ? DATA_ANY : DATA_MATCH, true)
    for (let i = 0; i < name.length; i++) header.setUint8(HEADER_BYTES + i, name.charCodeAt(i))
    this.#headers.push(header)
  }

  #handler(type: number): IoHandler {
    return {
      read: (offset, bytes) => {
        const header = this.#headers[this.#current]
        let value = 0
        for (let i = bytes - 1; i >= 0; i--) {
          const at = offset + i
          value = value * 256 + (header !== undefined && at < header.byteLength ? header.getUint8(at) : 0)
        }
        return value
      },
      write: (offset, bytes, value) => {
        if (offset === 0) this.#select(type, value)
        else this.#count(offset, bytes, value)
      },
    }
  }

  #select(type: number, test: number): void {
    this.#current = test < TESTS.length ? type * TESTS.length + test : NONE
    this.#headers[this.#current]?.setUint32(COUNT, 0, true)
  }

  #count(offset: number, bytes: number, value: number): void {
    const header = this.#headers[this.#current]
    if (header === undefined || offset !== header.getUint32(OFFSET, true)) return
    const data = header.getUint32(DATA, true)
    if (data !== DATA_ANY && (bytes !== ACCESS_BYTES || value !== data)) return
    header.setUint32(COUNT, header.getUint32(COUNT, true) + 1, true)
  }

  reset(): void {
    this.#current = NONE
    for (const header of this.#headers) header.setUint32(COUNT, 0, true)
    this.#function.reset()
  }

  state(): TestState {
    return { current: this.#current, counts: this.#headers.map((header) => header.getUint32(COUNT, true)) }
  }
}

export const pciTestdev = defineDevice({
  type: 'pci-testdev',
  bus: 'pci',
  config: NO_CONFIG,
  state: State,
  create: (ports: DevicePorts, _config, state) => new PciTestdev(ports, state),
})
