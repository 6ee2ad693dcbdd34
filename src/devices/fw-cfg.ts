/**
 * fw_cfg (QEMU docs/specs/fw_cfg): how firmware and guests read the machine's configuration.
 *
 *   0x510  selector, 16-bit write     0x511  data, 8-bit reads advance
 *   0x514  DMA address, big-endian, high word; 0x518 low word: writing it starts the transfer
 *
 * Items are read-only; a DMA write ends in an error.
 */
import { NO_CONFIG } from '#hub/config-schema.ts'
import { type Device, type DevicePorts, defineDevice } from '#hub/device.ts'
import { extractBytes, insertBytes } from '#base/bits.ts'
import { stateCodec } from '#snapshot/codec.ts'

const SELECTOR_PORT = 0x510
const DMA_PORT = 0x514
const DMA_SIGNATURE = [0x5145_4d55, 0x2043_4647] as const // "QEMU CFG"

const CONTROL_ERROR = 1
const CONTROL_READ = 2
const CONTROL_SKIP = 4
const CONTROL_SELECT = 8
const CONTROL_WRITE = 0x10
const DESCRIPTOR_BYTES = 16
const CHUNK_BYTES = 0x1_0000

/** Where the items come from; FwCfgItems is the usual one. */
export interface FwCfgSource {
  item(selector: number): Uint8Array | undefined
}

const State = stateCodec('fw-cfg', 1, {
  selector: 'u16',
  offset: 'u32',
  dmaHigh: 'u32',
})

type FwCfgState = ReturnType<typeof State.decode>
type FwCfgPorts = DevicePorts & { readonly items: FwCfgSource }

class FwCfg implements Device<FwCfgState> {
  readonly #ports: FwCfgPorts
  #selector: number
  #offset: number
  /** As the bus sees it: first byte lowest. */
  #dmaHigh: number
  #dmaLow = 0

  constructor(ports: FwCfgPorts, state?: FwCfgState) {
    this.#ports = ports
    this.#selector = state?.selector ?? 0
    this.#offset = state?.offset ?? 0
    this.#dmaHigh = state?.dmaHigh ?? 0
    ports.pio.claim({
      start: SELECTOR_PORT,
      count: 2,
      width: 2,
      handler: {
        read: (_at, bytes) => this.#readData(bytes),
        write: (at, bytes, value) => this.#writeSelector(at, bytes, value),
      },
    })
    ports.pio.claim({
      start: DMA_PORT,
      count: 8,
      handler: {
        read: (at, bytes) => readDma(at, bytes),
        write: (at, bytes, value) => this.#writeDma(at, bytes, value),
      },
    })
  }

  #writeSelector(at: number, bytes: number, value: number): boolean {
    if (at !== 0 || bytes !== 2) return at === 1 // data writes are accepted and dropped
    this.#select(value)
    return true
  }

  #select(selector: number): void {
    this.#selector = selector & ~0x4000 // bit 14 asks for writing, which no item allows
    this.#offset = 0
  }

  #readData(bytes: number): number {
    const item = this.#ports.items.item(this.#selector)
    let value = 0
    for (let i = 0; i < bytes; i++) value += (item?.[this.#offset++] ?? 0) * 2 ** (8 * i)
    this.#offset = Math.min(this.#offset, 0xffff_ffff)
    return value
  }

  #writeDma(at: number, bytes: number, value: number): void {
    if (at < 4) {
      this.#dmaHigh = insertBytes(this.#dmaHigh, at, Math.min(bytes, 4 - at), value)
      return
    }
    this.#dmaLow = insertBytes(this.#dmaLow, at - 4, bytes, value)
    if (at - 4 + bytes !== 4) return
    const gpa = swap32(this.#dmaHigh) * 2 ** 32 + swap32(this.#dmaLow)
    this.#dmaHigh = this.#dmaLow = 0
    this.#transfer(gpa)
  }

  /** descriptor: control u32 | length u32 | address u64, big-endian; control is written back as the result. */
  #transfer(gpa: number): void {
    const { memory } = this.#ports
    if (gpa > Number.MAX_SAFE_INTEGER || !memory.contains(gpa, DESCRIPTOR_BYTES)) {
      this.#ports.logOnce('descriptor', `fw_cfg DMA descriptor at 0x${gpa.toString(16)} is not in RAM`)
      return
    }
    const descriptor = new DataView(memory.read(gpa, DESCRIPTOR_BYTES).buffer)
    const control = descriptor.getUint32(0)
    const lengthBytes = descriptor.getUint32(4)
    const target = descriptor.getUint32(8) * 2 ** 32 + descriptor.getUint32(12)
    if ((control & CONTROL_SELECT) !== 0) this.#select(control >>> 16)
    memory.storeU32(gpa, swap32(this.#perform(control, target, lengthBytes) ? 0 : CONTROL_ERROR))
  }

  #perform(control: number, target: number, lengthBytes: number): boolean {
    if ((control & CONTROL_WRITE) !== 0) return false
    if ((control & CONTROL_READ) !== 0 && !this.#copy(target, lengthBytes)) return false
    if ((control & (CONTROL_READ | CONTROL_SKIP)) !== 0) {
      this.#offset = Math.min(this.#offset + lengthBytes, 0xffff_ffff)
    }
    return true
  }

  /** Beyond the item's end zeroes are read. */
  #copy(target: number, lengthBytes: number): boolean {
    const { memory, items } = this.#ports
    if (target > Number.MAX_SAFE_INTEGER || !memory.contains(target, lengthBytes)) return false
    const item = items.item(this.#selector) ?? new Uint8Array()
    const zeroes = new Uint8Array(CHUNK_BYTES)
    for (let done = 0; done < lengthBytes;) {
      const from = Math.min(this.#offset + done, item.length)
      const piece = from < item.length ? item.subarray(from, from + CHUNK_BYTES) : zeroes
      const bytes = Math.min(piece.length, lengthBytes - done)
      memory.write(target + done, piece.subarray(0, bytes))
      done += bytes
    }
    return true
  }

  reset(): void {
    this.#select(0)
    this.#dmaHigh = this.#dmaLow = 0
  }

  state(): FwCfgState {
    return { selector: this.#selector, offset: this.#offset, dmaHigh: this.#dmaHigh }
  }
}

/** The signature is big-endian: its first byte is at the lowest port. */
function readDma(at: number, bytes: number): number {
  return extractBytes(swap32(DMA_SIGNATURE[at < 4 ? 0 : 1]), at & 3, Math.min(bytes, 4 - (at & 3)))
}

function swap32(value: number): number {
  return ((value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0
}

export const fwCfg = defineDevice({
  type: 'fw-cfg',
  bus: 'isa',
  config: NO_CONFIG,
  state: State,
  create: (ports: FwCfgPorts, _config, state) => new FwCfg(ports, state),
})
