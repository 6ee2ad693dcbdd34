/**
 * What the machine needs from where it runs: worker threads, the engine's Wasm modules, time, entropy, images.
 * host/browser and host/node implement it; everything above is the same in a page and under Node.
 */
import type { FromVcpu, ToCompiler, ToVcpu } from '#abi/messages.types.ts'
import type { HostClock } from '#hub/ports.ts'
import type { BlockBackend } from '#devices/virtio-blk.ts'
import type { DiskOptions, ImageSource, LoadProgress } from './config.ts'

/** A thread running workers/vcpu.ts. Messages are control only. */
export interface VcpuThread {
  post(message: ToVcpu | ToCompiler): void
  onMessage(listener: (message: FromVcpu) => void): void
  /** The thread died or a message could not be read; no further message comes. */
  onFailure(listener: (error: Error) => void): void
  terminate(): void
}

/** What build:wasm made. */
export interface EngineModules {
  readonly kernel: WebAssembly.Module
  readonly interp: WebAssembly.Module
  /** Decoder tables, copied to ISA_TABLES_BASE. */
  readonly isaTables: Uint8Array
}

export interface MachineHost {
  readonly clock: HostClock
  /** Cores that vCPUs can use. */
  readonly cores: number
  /** vCPU workers wake the hub by a message because Atomics.waitAsync does not wake this host's event loop. */
  readonly wakeByMessage: boolean
  loadEngine(): Promise<EngineModules>
  spawnVcpu(name: string): VcpuThread
  randomBytes(count: number): Uint8Array
  /** The whole image; throws ImageError naming the source. */
  readImage(
    source: ImageSource,
    what: string,
    onProgress?: (progress: LoadProgress) => void,
  ): Promise<Uint8Array>
  openDisk(disk: DiskOptions, name: string): Promise<BlockBackend>
  /** CPU time used by this process or page in ns, undefined where the host cannot tell. */
  cpuTimeNs?(): number
}

/** An image or disk that could not be read. The message names the source, the cause and the remedy. */
export class ImageError extends Error {
  override readonly name = 'ImageError'
}

/** The host lacks something the engine cannot do without. The message names it and the remedy. */
export class HostFeatureError extends Error {
  override readonly name = 'HostFeatureError'
}
