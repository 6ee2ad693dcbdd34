/**
 * A disk whose writes survive a reload: blocks changed by the guest are kept in IndexedDB, over a base that never
 * changes. A flush is durable when its transaction is complete; between flushes writes wait in memory.
 */
import { clear, createStore, getMany, keys, setMany } from 'idb-keyval'
import type { UseStore } from 'idb-keyval'

import type { BlockBackend } from '#devices/virtio-blk.ts'
import { ImageError } from '#machine/host.ts'
import { pieces } from '../common/disks.ts'

/** Bytes per record: small enough for single-sector writes, large enough for few keys. */
const BLOCK_BYTES = 16 * 1024
/** Unflushed writes beyond this are stored without being asked: a guest that never flushes must not fill memory. */
const DIRTY_BLOCKS_MAX = 512

const storeOf = (id: string): UseStore => createStore(`webkvm-disk-${id}`, 'blocks')

/** Forgets every change kept for a disk. */
export async function forgetDiskChanges(id: string): Promise<void> {
  await clear(storeOf(id))
}

export class PersistentDisk implements BlockBackend {
  readonly sizeBytes: number
  readonly readonly = false
  readonly #base: BlockBackend
  readonly #store: UseStore
  readonly #stored: Set<number>
  readonly #dirty = new Map<number, Uint8Array<ArrayBuffer>>()
  /** Writes to one block must not interleave: each read-modify-write waits for the one before it. */
  #order: Promise<void> = Promise.resolve()

  private constructor(base: BlockBackend, store: UseStore, stored: Set<number>) {
    this.#base = base
    this.#store = store
    this.#stored = stored
    this.sizeBytes = base.sizeBytes
  }

  /** id names the disk among those of this origin; changes kept under it are applied over base. */
  static async open(base: BlockBackend, id: string): Promise<PersistentDisk> {
    const store = storeOf(id)
    try {
      return new PersistentDisk(base, store, new Set(await keys<number>(store)))
    } catch (cause) {
      throw new ImageError(
        `${id}: this browser keeps no data for the page (private window, or storage is blocked): allow it, or do not keep disk changes`,
        { cause },
      )
    }
  }

  read(offset: number, target: Uint8Array): Promise<void> {
    return this.#inOrder(async () => {
      await this.#base.read(offset, target)
      for (const { index, from, to } of pieces(offset, target.length, BLOCK_BYTES)) {
        const block = await this.#changed(index)
        if (block !== undefined) target.set(block.subarray(from, to), index * BLOCK_BYTES + from - offset)
      }
    })
  }

  write(offset: number, bytes: Uint8Array): Promise<void> {
    // The caller's buffer is valid until the promise settles, so no copy is needed while waiting.
    return this.#change(offset, bytes.length, (block, from, to, at) =>
      block.set(bytes.subarray(at, at + to - from), from),
    )
  }

  discard(offset: number, lengthBytes: number): Promise<void> {
    return this.writeZeroes(offset, lengthBytes)
  }

  writeZeroes(offset: number, lengthBytes: number): Promise<void> {
    return this.#change(offset, lengthBytes, (block, from, to) => block.fill(0, from, to))
  }

  flush(): Promise<void> {
    return this.#inOrder(() => this.#save())
  }

  async close(): Promise<void> {
    await this.flush()
    await this.#base.close?.()
  }

  #change(
    offset: number,
    lengthBytes: number,
    apply: (block: Uint8Array, from: number, to: number, at: number) => void,
  ): Promise<void> {
    return this.#inOrder(async () => {
      for (const { index, from, to } of pieces(offset, lengthBytes, BLOCK_BYTES)) {
        const block = await this.#own(index)
        apply(block, from, to, index * BLOCK_BYTES + from - offset)
      }
      if (this.#dirty.size > DIRTY_BLOCKS_MAX) await this.#save()
    })
  }

  async #save(): Promise<void> {
    if (this.#dirty.size === 0) return
    try {
      await setMany([...this.#dirty], this.#store)
    } catch (cause) {
      throw new ImageError(
        'the browser has no room left for disk changes: free space in it, then let the guest try again',
        {
          cause,
        },
      )
    }
    for (const index of this.#dirty.keys()) this.#stored.add(index)
    this.#dirty.clear()
  }

  async #changed(index: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const dirty = this.#dirty.get(index)
    if (dirty !== undefined || !this.#stored.has(index)) return dirty
    const [block] = await getMany<Uint8Array<ArrayBuffer>>([index], this.#store)
    return block
  }

  async #own(index: number): Promise<Uint8Array> {
    const known = await this.#changed(index)
    const block = known ?? new Uint8Array(BLOCK_BYTES)
    if (known === undefined) {
      const start = index * BLOCK_BYTES
      await this.#base.read(start, block.subarray(0, Math.min(BLOCK_BYTES, this.sizeBytes - start)))
    }
    this.#dirty.set(index, block)
    return block
  }

  #inOrder(work: () => Promise<void>): Promise<void> {
    const done = this.#order.then(work)
    this.#order = done.catch(() => undefined)
    return done
  }
}
