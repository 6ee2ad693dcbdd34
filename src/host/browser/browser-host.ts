/** The machine's host in a page: Web Workers, performance clock, fetch. */
import type { FromVcpu, ToCompiler, ToVcpu } from '#abi/messages.types.ts'
import type { BlockBackend } from '#devices/virtio-blk.ts'
import type { HostClock } from '#hub/ports.ts'
import type { DiskOptions, ImageSource, LoadProgress } from '#machine/config.ts'
import { HostFeatureError } from '#machine/host.ts'
import type { EngineModules, MachineHost, VcpuThread } from '#machine/host.ts'
import { readBlob } from '../common/blobs.ts'
import { BlobDisk, BytesDisk, OverlayDisk, isBlockBackend } from '../common/disks.ts'
import { FailureLatch } from '../common/failure-latch.ts'
import { HttpRangeDisk, fetchImage } from '../common/http.ts'
import { missingFeatures } from './features.ts'
import { PersistentDisk } from './persistent-disk.ts'

export interface BrowserHostOptions {
  /** URL of the folder with kernel.wasm, interp.wasm and isa.bin. Default: wasm/ beside the page's base. */
  readonly wasmUrl?: string
}

const clock: HostClock = {
  // Ns since this page's timeOrigin; workers are told that origin and count from it too. Counting from the Unix epoch
  // instead would leave only 256 ns of resolution in a double.
  nowNs: () => performance.now() * 1e6,
  wallMs: () => Date.now(),
  setTimer: (delayMs, callback) => {
    const timer = setTimeout(callback, Math.max(0, delayMs))
    return () => clearTimeout(timer)
  },
}

/** Throws HostFeatureError when this browser or page cannot run a machine. */
export function createBrowserHost(options: BrowserHostOptions = {}): MachineHost {
  const missing = missingFeatures()
  if (missing.length > 0) {
    throw new HostFeatureError(
      missing.map(({ feature, remedy }) => `This page has no ${feature}: ${remedy}.`).join('\n'),
    )
  }
  const wasmUrl = new URL(options.wasmUrl ?? 'wasm/', document.baseURI)
  return {
    clock,
    cores: navigator.hardwareConcurrency,
    wakeByMessage: false,
    loadEngine: () => loadEngine(wasmUrl),
    spawnVcpu: (name) => new BrowserVcpuThread(name),
    randomBytes: (count) => {
      const bytes = new Uint8Array(count)
      // getRandomValues gives at most 65536 bytes a call.
      for (let at = 0; at < count; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536))
      return bytes
    },
    readImage,
    openDisk,
  }
}

async function loadEngine(folder: URL): Promise<EngineModules> {
  const load = async (name: string): Promise<Response> => {
    const url = new URL(name, folder)
    const response = await fetch(url).catch((cause: unknown) => {
      throw new HostFeatureError(
        `the engine's ${url.href} cannot be reached: check the connection and reload`,
        { cause },
      )
    })
    if (!response.ok)
      throw new HostFeatureError(
        `the engine's ${url.href} answered ${response.status}: run npm run build:wasm on the server`,
      )
    return response
  }
  const compile = async (name: string): Promise<WebAssembly.Module> =>
    WebAssembly.compile(await (await load(name)).arrayBuffer())
  const [kernel, interp, isaTables] = await Promise.all([
    compile('kernel.wasm'),
    compile('interp.wasm'),
    load('isa.bin').then((response) => response.arrayBuffer()),
  ])
  return { kernel, interp, isaTables: new Uint8Array(isaTables) }
}

async function readImage(
  source: ImageSource,
  what: string,
  onProgress?: (progress: LoadProgress) => void,
): Promise<Uint8Array> {
  if (source instanceof Uint8Array) return source
  if (source instanceof Blob) return readBlob(source, what, onProgress)
  return fetchImage(new URL(String(source), document.baseURI).href, what, onProgress)
}

async function openDisk(disk: DiskOptions, name: string): Promise<BlockBackend> {
  const { source } = disk
  if (isBlockBackend(source)) return source
  if (source instanceof Uint8Array && disk.mode === 'write') return new BytesDisk(source)
  const base = await openBase(source, name)
  if (disk.readonly === true) return base
  return disk.keepAs === undefined ? new OverlayDisk(base) : PersistentDisk.open(base, disk.keepAs)
}

async function openBase(source: ImageSource, name: string): Promise<BlockBackend> {
  if (source instanceof Uint8Array) return new BytesDisk(source, true)
  if (source instanceof Blob) return new BlobDisk(source)
  return HttpRangeDisk.open(new URL(String(source), document.baseURI).href, name)
}

class BrowserVcpuThread implements VcpuThread {
  readonly #worker: Worker
  readonly #failures = new FailureLatch()

  constructor(name: string) {
    this.#worker = new Worker(new URL('../../../workers/vcpu.ts', import.meta.url), { type: 'module', name })
    this.#worker.addEventListener('error', ({ message }) =>
      this.#failures.report(new Error(message === '' ? 'the worker script could not be loaded' : message)),
    )
    this.#worker.addEventListener('messageerror', () =>
      this.#failures.report(new Error('a message from the worker could not be read')),
    )
  }

  post(message: ToVcpu | ToCompiler): void {
    this.#worker.postMessage(message)
  }

  onMessage(listener: (message: FromVcpu) => void): void {
    this.#worker.addEventListener('message', (event: MessageEvent<FromVcpu>) => listener(event.data))
  }

  onFailure(listener: (error: Error) => void): void {
    this.#failures.listen(listener)
  }

  terminate(): void {
    this.#worker.terminate()
  }
}
