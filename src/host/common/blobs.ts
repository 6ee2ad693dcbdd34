/** Files that a user picked or dropped. */
import type { LoadProgress } from '#machine/config.ts'
import { ImageError } from '#machine/host.ts'

export async function readBlob(
  blob: Blob,
  what: string,
  onProgress?: (progress: LoadProgress) => void,
): Promise<Uint8Array> {
  try {
    const bytes = new Uint8Array(await blob.arrayBuffer())
    onProgress?.({ what, loadedBytes: bytes.length, totalBytes: bytes.length })
    return bytes
  } catch (cause) {
    throw new ImageError(
      `${what}: the file could not be read: it may have been moved or changed since it was picked; pick it again`,
      { cause },
    )
  }
}
