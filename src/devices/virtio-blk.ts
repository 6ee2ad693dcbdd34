/**
 * Virtio block device (virtio 1.2, section 5.2). Requests run side by side and complete in any order; data goes
 * through staging buffers of bounded size, so a request may be as long as the driver likes.
 *
 *   request: type u32 | reserved u32 | sector u64 | data… | status u8 (the last writable byte)
 */
import { defineVirtioDevice, type VirtioPorts } from '#virtio/device.ts'
import { virtioPci } from '#virtio/pci.ts'
import type { Chain } from '#virtio/chain.ts'
import { configSchema, flag, int, text } from '#hub/config-schema.ts'
import { stateCodec } from '#snapshot/codec.ts'

/**
 * A disk image. Offsets and lengths are in bytes and multiples of 512; ranges lie inside sizeBytes. A rejection is
 * reported to the guest as an I/O error. Buffers are valid until the promise settles.
 */
export interface BlockBackend {
  readonly sizeBytes: number
  readonly readonly: boolean
  /** Fills target from offset. */
  read(offset: number, target: Uint8Array): Promise<void> | void
  write(offset: number, bytes: Uint8Array): Promise<void> | void
  /** Settles when all completed writes are durable. */
  flush(): Promise<void> | void
  /** The range's contents do not matter any more. */
  discard?(offset: number, lengthBytes: number): Promise<void> | void
  /** Default: zeroes are written. */
  writeZeroes?(offset: number, lengthBytes: number): Promise<void> | void
  /** The machine is gone: release what the host holds for it. No call follows. */
  close?(): Promise<void> | void
}

export const SECTOR_BYTES = 512
const HEADER_BYTES = 16
const QUEUE_SIZE = 256
const SEGMENTS_MAX = QUEUE_SIZE - 2 // beside header and status
/** Staging per request in flight; larger requests go in slices of this. */
const SLICE_BYTES = 512 * 1024
/** 4 GiB - 512 in sectors would fit u32; bounded so that one request cannot occupy a backend for minutes. */
const DISCARD_SECTORS_MAX = (256 * 1024 * 1024) / SECTOR_BYTES
const DISCARD_SEGMENTS_MAX = 32
const RANGE_BYTES = 16
const RANGE_UNMAP = 1

const VIRTIO_BLK_F_SEG_MAX = 2
const VIRTIO_BLK_F_RO = 5
const VIRTIO_BLK_F_BLK_SIZE = 6
const VIRTIO_BLK_F_FLUSH = 9
const VIRTIO_BLK_F_TOPOLOGY = 10
const VIRTIO_BLK_F_MQ = 12
const VIRTIO_BLK_F_DISCARD = 13
const VIRTIO_BLK_F_WRITE_ZEROES = 14

const VIRTIO_BLK_T_IN = 0
const VIRTIO_BLK_T_OUT = 1
const VIRTIO_BLK_T_FLUSH = 4
const VIRTIO_BLK_T_GET_ID = 8
const VIRTIO_BLK_T_DISCARD = 11
const VIRTIO_BLK_T_WRITE_ZEROES = 13

const VIRTIO_BLK_S_OK = 0
const VIRTIO_BLK_S_IOERR = 1
const VIRTIO_BLK_S_UNSUPP = 2

const SERIAL_BYTES = 20
const CONFIG_BYTES = 60

interface BlkConfig {
  readonly serial: string
  /** Logical block size the guest is told. */
  readonly blockBytes: number
  /** log2 of physical blocks per logical block. */
  readonly physicalBlockExp: number
  /** Preferred transfer sizes, in logical blocks; 0 = none. */
  readonly minIoBlocks: number
  readonly optIoBlocks: number
  readonly queues: number
  readonly discard: boolean
}

type BlkPorts = VirtioPorts & { readonly disk: BlockBackend }

/** A request that cannot be done; the status byte tells the guest. */
class RequestError extends Error {
  override readonly name = 'RequestError'
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

class VirtioBlk {
  readonly configBytes = CONFIG_BYTES
  readonly features: bigint
  readonly queueSizes: readonly number[]
  readonly #ports: BlkPorts
  readonly #config: BlkConfig
  readonly #space: DataView
  readonly #sectors: number

  constructor(ports: BlkPorts, config: BlkConfig) {
    this.#ports = ports
    this.#config = config
    this.#sectors = Math.floor(ports.disk.sizeBytes / SECTOR_BYTES)
    this.queueSizes = Array.from({ length: config.queues }, () => QUEUE_SIZE)
    this.features = this.#offer()
    this.#space = this.#layOutConfig()
  }

  #offer(): bigint {
    const { disk } = this.#ports
    const offered = [VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_TOPOLOGY]
    if (this.#config.queues > 1) offered.push(VIRTIO_BLK_F_MQ)
    if (disk.readonly) offered.push(VIRTIO_BLK_F_RO)
    else offered.push(VIRTIO_BLK_F_WRITE_ZEROES)
    if (!disk.readonly && disk.discard !== undefined && this.#config.discard)
      offered.push(VIRTIO_BLK_F_DISCARD)
    return offered.reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n)
  }

  /** struct virtio_blk_config, 5.2.4. */
  #layOutConfig(): DataView {
    const { blockBytes, physicalBlockExp, minIoBlocks, optIoBlocks, queues } = this.#config
    const space = new DataView(new ArrayBuffer(CONFIG_BYTES))
    space.setBigUint64(0, BigInt(this.#sectors), true) // capacity
    space.setUint32(12, SEGMENTS_MAX, true)
    space.setUint32(20, blockBytes, true)
    space.setUint8(24, physicalBlockExp)
    space.setUint16(26, minIoBlocks, true)
    space.setUint32(28, optIoBlocks, true)
    space.setUint16(34, queues, true)
    space.setUint32(36, DISCARD_SECTORS_MAX, true)
    space.setUint32(40, DISCARD_SEGMENTS_MAX, true)
    space.setUint32(44, blockBytes / SECTOR_BYTES, true) // discard_sector_alignment
    space.setUint32(48, DISCARD_SECTORS_MAX, true) // max_write_zeroes_sectors
    space.setUint32(52, DISCARD_SEGMENTS_MAX, true)
    space.setUint8(56, 1) // write_zeroes_may_unmap
    return space
  }

  readConfig(at: number, bytes: number): number {
    if (bytes === 1) return this.#space.getUint8(at)
    return bytes === 2 ? this.#space.getUint16(at, true) : this.#space.getUint32(at, true)
  }

  notify(queue: number): void {
    for (let chain = this.#ports.pop(queue); chain !== undefined; chain = this.#ports.pop(queue)) {
      if (chain.readableBytes < HEADER_BYTES || chain.writableBytes < 1) {
        return this.#ports.fail('a block request lacks its header or its status byte')
      }
      void this.#serve(queue, chain)
    }
  }

  /** Never rejects: every outcome is a status byte. */
  async #serve(queue: number, chain: Chain): Promise<void> {
    const header = new DataView(chain.read(0, HEADER_BYTES).buffer)
    let status = VIRTIO_BLK_S_OK
    let written = 0
    try {
      written = await this.#perform(
        queue,
        chain,
        header.getUint32(0, true),
        Number(header.getBigUint64(8, true)),
      )
    } catch (error) {
      status = error instanceof RequestError ? error.status : VIRTIO_BLK_S_IOERR
      if (!(error instanceof RequestError)) {
        this.#ports.log.write('error', `${this.#ports.name}: the disk image failed: ${String(error)}`)
      }
    }
    if (!this.#ports.isLive(queue, chain)) return
    chain.writeAt(chain.writableBytes - 1, Uint8Array.of(status))
    // 2.7.8: length counts from the first writable byte; with a gap before the status only data before it counts.
    this.#ports.push(queue, chain, written === chain.writableBytes - 1 ? written + 1 : written)
    this.#ports.signal(queue)
  }

  /** Returns the number of data bytes written to the guest. */
  #perform(queue: number, chain: Chain, type: number, sector: number): Promise<number> | number {
    switch (type) {
      case VIRTIO_BLK_T_IN:
        return this.#read(queue, chain, sector)
      case VIRTIO_BLK_T_OUT:
        return this.#write(queue, chain, sector)
      case VIRTIO_BLK_T_FLUSH:
        return this.#flush()
      case VIRTIO_BLK_T_GET_ID:
        return this.#getId(chain)
      case VIRTIO_BLK_T_DISCARD:
      case VIRTIO_BLK_T_WRITE_ZEROES:
        return this.#ranges(chain, type === VIRTIO_BLK_T_DISCARD)
      default:
        throw new RequestError(VIRTIO_BLK_S_UNSUPP, `request type ${type}`)
    }
  }

  #checkRange(sector: number, bytes: number): void {
    const sectors = bytes / SECTOR_BYTES
    if (!Number.isInteger(sectors) || !(sector <= this.#sectors && sectors <= this.#sectors - sector)) {
      throw new RequestError(VIRTIO_BLK_S_IOERR, `sectors ${sector}+${sectors} are not on the disk`)
    }
  }

  #checkWritable(): void {
    if (this.#ports.disk.readonly) throw new RequestError(VIRTIO_BLK_S_IOERR, 'the disk is read-only')
  }

  async #read(queue: number, chain: Chain, sector: number): Promise<number> {
    const bytes = chain.writableBytes - 1
    this.#checkRange(sector, bytes)
    for (let done = 0; done < bytes;) {
      const slice = new Uint8Array(Math.min(SLICE_BYTES, bytes - done))
      await this.#ports.disk.read(sector * SECTOR_BYTES + done, slice)
      if (!this.#ports.isLive(queue, chain)) return 0
      chain.writeAt(done, slice)
      done += slice.length
    }
    return bytes
  }

  async #write(queue: number, chain: Chain, sector: number): Promise<number> {
    this.#checkWritable()
    const bytes = chain.readableBytes - HEADER_BYTES
    this.#checkRange(sector, bytes)
    for (let done = 0; done < bytes;) {
      if (!this.#ports.isLive(queue, chain)) return 0
      const slice = chain.read(HEADER_BYTES + done, Math.min(SLICE_BYTES, bytes - done))
      await this.#ports.disk.write(sector * SECTOR_BYTES + done, slice)
      done += slice.length
    }
    return 0
  }

  async #flush(): Promise<number> {
    await this.#ports.disk.flush()
    return 0
  }

  #getId(chain: Chain): number {
    const id = new Uint8Array(Math.min(SERIAL_BYTES, chain.writableBytes - 1))
    id.set(new TextEncoder().encode(this.#config.serial).subarray(0, id.length))
    return chain.writeAt(0, id)
  }

  /** DISCARD and WRITE_ZEROES: ranges of sector u64, sectors u32, flags u32. */
  async #ranges(chain: Chain, isDiscard: boolean): Promise<number> {
    this.#checkWritable()
    const bytes = chain.readableBytes - HEADER_BYTES
    if (bytes % RANGE_BYTES !== 0 || bytes === 0 || bytes > DISCARD_SEGMENTS_MAX * RANGE_BYTES) {
      throw new RequestError(VIRTIO_BLK_S_IOERR, `${bytes} bytes of ranges`)
    }
    const data = new DataView(chain.read(HEADER_BYTES, bytes).buffer)
    const ranges: { sector: number; bytes: number }[] = []
    for (let at = 0; at < bytes; at += RANGE_BYTES) {
      const sector = Number(data.getBigUint64(at, true))
      const sectors = data.getUint32(at + 8, true)
      const flags = data.getUint32(at + 12, true)
      // 5.2.6.2: unknown flags, and unmap in a discard, are unsupported
      if ((flags & ~RANGE_UNMAP) !== 0 || (isDiscard && flags !== 0))
        throw new RequestError(VIRTIO_BLK_S_UNSUPP, 'flags')
      if (sectors > DISCARD_SECTORS_MAX) throw new RequestError(VIRTIO_BLK_S_IOERR, 'too many sectors')
      this.#checkRange(sector, sectors * SECTOR_BYTES)
      ranges.push({ sector, bytes: sectors * SECTOR_BYTES })
    }
    for (const range of ranges) {
      if (isDiscard) await this.#ports.disk.discard?.(range.sector * SECTOR_BYTES, range.bytes)
      else await this.#zero(range.sector * SECTOR_BYTES, range.bytes)
    }
    return 0
  }

  async #zero(offset: number, bytes: number): Promise<void> {
    const { disk } = this.#ports
    if (disk.writeZeroes !== undefined) return disk.writeZeroes(offset, bytes)
    const zeroes = new Uint8Array(Math.min(SLICE_BYTES, bytes))
    for (let done = 0; done < bytes; done += zeroes.length) {
      await disk.write(offset + done, zeroes.subarray(0, Math.min(zeroes.length, bytes - done)))
    }
  }

  // Requests in flight are the queues' state; the device itself has none.
  reset(): void {}

  state(): object {
    return {}
  }
}

export const virtioBlk = virtioPci(
  defineVirtioDevice({
    type: 'virtio-blk',
    deviceId: 2,
    pciClass: 0x010000,
    config: configSchema<BlkConfig>({
      serial: text({ maxLength: SERIAL_BYTES, fallback: '' }),
      blockBytes: int({ min: 512, max: 4096, fallback: 512 }),
      physicalBlockExp: int({ max: 7, fallback: 3 }),
      minIoBlocks: int({ max: 0xffff, fallback: 0 }),
      optIoBlocks: int({ max: 0xffff, fallback: 0 }),
      queues: int({ min: 1, max: 16, fallback: 1 }),
      discard: flag(true),
    }),
    state: stateCodec('virtio-blk', 1, {}),
    create: (ports: BlkPorts, config) => new VirtioBlk(ports, config),
  }),
)
