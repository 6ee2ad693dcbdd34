/** Disk backends that need nothing but memory: bytes, Blobs, and an overlay that keeps writes off its base. */
import type { BlockBackend } from '#devices/virtio-blk.ts'

export function isBlockBackend(source: unknown): source is BlockBackend {
  return (
    typeof source === 'object' &&
    source !== null &&
    'sizeBytes' in source &&
    'read' in source &&
    'flush' in source
  )
}

/** A disk held in memory; changes stay in the given bytes. */
export class BytesDisk implements BlockBackend {
  readonly sizeBytes: number
  readonly readonly: boolean
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array, readonly = false) {
    this.#bytes = bytes
    this.sizeBytes = bytes.length - (bytes.length % 512)
    this.readonly = readonly
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    target.set(this.#bytes.subarray(offset, offset + target.length))
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.#bytes.set(bytes, offset)
  }

  async flush(): Promise<void> {}

  async discard(offset: number, lengthBytes: number): Promise<void> {
    await this.writeZeroes(offset, lengthBytes)
  }

  async writeZeroes(offset: number, lengthBytes: number): Promise<void> {
    this.#bytes.fill(0, offset, offset + lengthBytes)
  }
}

/** A read-only disk over a picked file; only what is read is loaded. */
export class BlobDisk implements BlockBackend {
  readonly sizeBytes: number
  readonly readonly = true
  readonly #blob: Blob

  constructor(blob: Blob) {
    this.#blob = blob
    this.sizeBytes = blob.size - (blob.size % 512)
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    target.set(new Uint8Array(await this.#blob.slice(offset, offset + target.length).arrayBuffer()))
  }

  write(): Promise<void> {
    return Promise.reject(new Error('a picked file is read-only: open it with an overlay'))
  }

  async flush(): Promise<void> {}
}

/** Unit of copy-on-write: the ext4 and page size of nearly every guest. */
const OVERLAY_BLOCK = 4096

/** Keeps writes in memory, block by block, over a base that never changes. */
export class OverlayDisk implements BlockBackend {
  readonly sizeBytes: number
  readonly readonly = false
  readonly #base: BlockBackend
  readonly #blocks = new Map<number, Uint8Array>()

  constructor(base: BlockBackend) {
    this.#base = base
    this.sizeBytes = base.sizeBytes
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    if (!this.#covers(offset, target.length)) await this.#base.read(offset, target)
    for (const { index, from, to } of pieces(offset, target.length, OVERLAY_BLOCK)) {
      const block = this.#blocks.get(index)
      if (block !== undefined) target.set(block.subarray(from, to), index * OVERLAY_BLOCK + from - offset)
    }
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    for (const { index, from, to } of pieces(offset, bytes.length, OVERLAY_BLOCK)) {
      const block = await this.#own(index, to - from === OVERLAY_BLOCK)
      const at = index * OVERLAY_BLOCK + from - offset
      block.set(bytes.subarray(at, at + to - from), from)
    }
  }

  async flush(): Promise<void> {}

  async discard(offset: number, lengthBytes: number): Promise<void> {
    await this.writeZeroes(offset, lengthBytes)
  }

  async writeZeroes(offset: number, lengthBytes: number): Promise<void> {
    for (const { index, from, to } of pieces(offset, lengthBytes, OVERLAY_BLOCK)) {
      const block = await this.#own(index, to - from === OVERLAY_BLOCK)
      block.fill(0, from, to)
    }
  }

  async close(): Promise<void> {
    await this.#base.close?.()
  }

  /** Bytes that writes have taken so far. */
  get overlayBytes(): number {
    return this.#blocks.size * OVERLAY_BLOCK
  }

  #covers(offset: number, lengthBytes: number): boolean {
    for (const { index } of pieces(offset, lengthBytes, OVERLAY_BLOCK))
      if (!this.#blocks.has(index)) return false
    return true
  }

  async #own(index: number, whole: boolean): Promise<Uint8Array> {
    const known = this.#blocks.get(index)
    if (known !== undefined) return known
    const block = new Uint8Array(OVERLAY_BLOCK)
    if (!whole) {
      const start = index * OVERLAY_BLOCK
      const base = new Uint8Array(Math.min(OVERLAY_BLOCK, this.sizeBytes - start))
      await this.#base.read(start, base)
      // Another write may have created the block while the base was read.
      const raced = this.#blocks.get(index)
      if (raced !== undefined) return raced
      block.set(base)
    }
    this.#blocks.set(index, block)
    return block
  }
}

/** Cuts a range at multiples of blockBytes: the block's number, and the part of it in the range. */
export function* pieces(
  offset: number,
  lengthBytes: number,
  blockBytes: number,
): Generator<{ index: number; from: number; to: number }> {
  const end = offset + lengthBytes
  for (let at = offset; at < end;) {
    const index = Math.floor(at / blockBytes)
    const next = Math.min(end, (index + 1) * blockBytes)
    yield { index, from: at - index * blockBytes, to: next - index * blockBytes }
    at = next
  }
}
