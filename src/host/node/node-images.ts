/** Images and disks under Node: paths, file and http URLs, bytes. */
import { open, readFile, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

import type { BlockBackend } from '#devices/virtio-blk.ts'
import type { DiskOptions, ImageSource, LoadProgress } from '#machine/config.ts'
import { ImageError } from '#machine/host.ts'
import { HttpRangeDisk, fetchImage } from '../common/http.ts'
import { BytesDisk, OverlayDisk, isBlockBackend } from '../common/disks.ts'
import { readBlob } from '../common/blobs.ts'

const isHttp = (text: string): boolean => /^https?:/i.test(text)

export async function readNodeImage(
  source: ImageSource,
  what: string,
  onProgress?: (progress: LoadProgress) => void,
): Promise<Uint8Array> {
  if (source instanceof Uint8Array) return source
  if (source instanceof Blob) return readBlob(source, what, onProgress)
  const text = String(source)
  if (isHttp(text)) return fetchImage(text, what, onProgress)
  const path = toPath(text)
  try {
    const bytes = await readFile(path)
    onProgress?.({ what, loadedBytes: bytes.length, totalBytes: bytes.length })
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
  } catch (cause) {
    throw new ImageError(`${what}: cannot read ${path}: ${reason(cause)}`, { cause })
  }
}

export async function openNodeDisk(disk: DiskOptions, name: string): Promise<BlockBackend> {
  const { source } = disk
  if (disk.keepAs !== undefined) {
    throw new ImageError(`${name}: keepAs is for pages; under Node give a file and mode 'write'`)
  }
  if (isBlockBackend(source)) return source
  if (source instanceof Uint8Array) return new OverlayDisk(new BytesDisk(source))
  if (source instanceof Blob) return new OverlayDisk(new BytesDisk(await readBlob(source, name)))
  const text = String(source)
  if (isHttp(text)) return new OverlayDisk(await HttpRangeDisk.open(text, name))
  const path = toPath(text)
  const writable = disk.readonly !== true && disk.mode !== 'overlay'
  try {
    const file = await open(path, writable ? 'r+' : 'r')
    const { size } = await stat(path)
    const backend = new FileDisk(file, size - (size % 512), !writable)
    return writable || disk.readonly === true ? backend : new OverlayDisk(backend)
  } catch (cause) {
    throw new ImageError(`${name}: cannot open ${path}: ${reason(cause)}`, { cause })
  }
}

/** A raw image in a file; the whole device, no header. */
class FileDisk implements BlockBackend {
  readonly sizeBytes: number
  readonly readonly: boolean
  readonly #file: FileHandle

  constructor(file: FileHandle, sizeBytes: number, readonly: boolean) {
    this.#file = file
    this.sizeBytes = sizeBytes
    this.readonly = readonly
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    const { bytesRead } = await this.#file.read(target, 0, target.length, offset)
    if (bytesRead < target.length) target.fill(0, bytesRead)
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#file.write(bytes, 0, bytes.length, offset)
  }

  async flush(): Promise<void> {
    await this.#file.datasync()
  }

  async close(): Promise<void> {
    await this.#file.close()
  }

  async discard(offset: number, lengthBytes: number): Promise<void> {
    await this.writeZeroes(offset, lengthBytes)
  }

  async writeZeroes(offset: number, lengthBytes: number): Promise<void> {
    const zeros = new Uint8Array(Math.min(lengthBytes, 1 << 20))
    for (let at = 0; at < lengthBytes; at += zeros.length) {
      await this.write(offset + at, zeros.subarray(0, Math.min(zeros.length, lengthBytes - at)))
    }
  }
}

const toPath = (text: string): string => (text.startsWith('file:') ? fileURLToPath(text) : text)
const reason = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
