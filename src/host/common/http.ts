/** Images over HTTP: whole downloads with progress, and disks read by byte range as the guest asks. Page and Node. */
import type { BlockBackend } from '#devices/virtio-blk.ts'
import type { LoadProgress } from '#machine/config.ts'
import { ImageError } from '#machine/host.ts'
import { ChunkCache } from './chunk-cache.ts'

type Progress = ((progress: LoadProgress) => void) | undefined

async function request(url: string, what: string, init?: RequestInit): Promise<Response> {
  let response: Response
  try {
    response = await fetch(url, init)
  } catch (cause) {
    throw new ImageError(
      `${what}: cannot reach ${url}: check the address, the connection, and that the server allows this page (CORS)`,
      { cause },
    )
  }
  if (!response.ok)
    throw new ImageError(`${what}: ${url} answered ${response.status} ${response.statusText}`.trim())
  return response
}

/** Downloads a whole image; reports bytes as they arrive. An address that ends in .gz is unpacked on the way in. */
export async function fetchImage(url: string, what: string, onProgress?: Progress): Promise<Uint8Array> {
  const bytes = await download(url, what, onProgress)
  if (!new URL(url).pathname.endsWith('.gz')) return bytes
  return gunzip(bytes).catch((cause: unknown) => {
    throw new ImageError(`${what}: ${url} is not a whole gzip archive: fetch or build it again`, { cause })
  })
}

async function gunzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))
  return new Uint8Array(await new Response(stream).arrayBuffer())
}

async function download(url: string, what: string, onProgress?: Progress): Promise<Uint8Array<ArrayBuffer>> {
  const response = await request(url, what)
  const length = response.headers.get('content-length')
  // With a content encoding the length counts compressed bytes, which the reader does not see.
  const encoded = (response.headers.get('content-encoding') ?? 'identity') !== 'identity'
  const totalBytes = length === null || encoded ? undefined : Number(length)
  if (response.body === null) return new Uint8Array(await response.arrayBuffer())
  const chunks: Uint8Array[] = []
  let loadedBytes = 0
  try {
    for (const reader = response.body.getReader(); ;) {
      const { done, value } = await reader.read()
      if (done) break
      chunks.push(value)
      loadedBytes += value.length
      onProgress?.({ what, loadedBytes, totalBytes })
    }
  } catch (cause) {
    throw new ImageError(`${what}: the connection to ${url} broke after ${loadedBytes} bytes: try again`, {
      cause,
    })
  }
  if (totalBytes !== undefined && loadedBytes !== totalBytes) {
    throw new ImageError(`${what}: ${url} sent ${loadedBytes} of ${totalBytes} bytes: try again`)
  }
  const bytes = new Uint8Array(loadedBytes)
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.length
  }
  return bytes
}

/** Bytes fetched by one range request: a seek-heavy boot reads many small files, a round trip costs more than 128 KiB. */
const CHUNK_BYTES = 128 * 1024
const CACHED_CHUNKS = 512

/** A read-only disk that fetches what is read, with a cache of chunks. */
export class HttpRangeDisk implements BlockBackend {
  readonly readonly = true
  readonly sizeBytes: number
  readonly #url: string
  readonly #name: string
  readonly #cache: ChunkCache

  private constructor(url: string, name: string, sizeBytes: number) {
    this.#url = url
    this.#name = name
    this.sizeBytes = sizeBytes - (sizeBytes % 512)
    this.#cache = new ChunkCache(CHUNK_BYTES, CACHED_CHUNKS, (at, length) => this.#fetchRange(at, length))
  }

  /** Asks the server for the size and for support of ranges. */
  static async open(url: string, name: string): Promise<HttpRangeDisk> {
    const response = await request(url, name, { headers: { range: 'bytes=0-0' } })
    await response.body?.cancel()
    const total = /\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1]
    if (response.status !== 206 || total === undefined) {
      throw new ImageError(
        `${name}: the server of ${url} does not answer byte ranges: host the image on one that does, or load it as a file`,
      )
    }
    return new HttpRangeDisk(url, name, Number(total))
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    await this.#cache.read(offset, target, this.sizeBytes)
  }

  write(): Promise<void> {
    return Promise.reject(new ImageError(`${this.#name}: ${this.#url} is read-only`))
  }

  async flush(): Promise<void> {}

  async #fetchRange(at: number, lengthBytes: number): Promise<Uint8Array> {
    let last: unknown
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        const response = await request(this.#url, this.#name, {
          headers: { range: `bytes=${at}-${at + lengthBytes - 1}` },
        })
        const bytes = new Uint8Array(await response.arrayBuffer())
        if (response.status === 206 && bytes.length === lengthBytes) return bytes
        last = new ImageError(
          `${this.#name}: ${this.#url} sent ${bytes.length} bytes for a range of ${lengthBytes}`,
        )
      } catch (error) {
        last = error
      }
      await new Promise((resolve) => setTimeout(resolve, 250 << attempt))
    }
    throw last
  }
}
