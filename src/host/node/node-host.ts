/** The machine's host under Node: worker_threads, hrtime, files. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'

import type { FromVcpu, ToCompiler, ToVcpu } from '#abi/messages.types.ts'
import type { HostClock } from '#hub/ports.ts'
import type { EngineModules, MachineHost, VcpuThread } from '#machine/host.ts'
import { HostFeatureError } from '#machine/host.ts'
import { FailureLatch } from '../common/failure-latch.ts'
import { openNodeDisk, readNodeImage } from './node-images.ts'

export interface NodeHostOptions {
  /** Folder with kernel.wasm, interp.wasm and isa.bin. */
  readonly wasmFolder: URL
  /** The bundled vCPU worker: worker threads of Node 20 run no TypeScript. */
  readonly vcpuWorker: URL
}

const clock: HostClock = {
  // One epoch for all threads of the process, so that vCPU workers and the hub agree.
  nowNs: () => Number(process.hrtime.bigint()),
  wallMs: () => Date.now(),
  setTimer: (delayMs, callback) => {
    const timer = setTimeout(callback, Math.max(0, delayMs))
    return () => clearTimeout(timer)
  },
}

export function createNodeHost(options: NodeHostOptions): MachineHost {
  const { wasmFolder, vcpuWorker } = options
  if (!existsSync(vcpuWorker)) {
    throw new HostFeatureError(`${fileURLToPath(vcpuWorker)} is missing: run npm run build:cli`)
  }
  return {
    clock,
    cores: availableParallelism(),
    wakeByMessage: true,
    loadEngine: () => loadEngine(wasmFolder),
    spawnVcpu: (name) => new NodeVcpuThread(vcpuWorker, name),
    randomBytes: (count) => Uint8Array.from(randomBytes(count)),
    readImage: readNodeImage,
    openDisk: openNodeDisk,
    cpuTimeNs: () => {
      const { user, system } = process.cpuUsage()
      return (user + system) * 1000
    },
  }
}

async function loadEngine(folder: URL): Promise<EngineModules> {
  const load = async (name: string): Promise<Uint8Array<ArrayBuffer>> => {
    try {
      return Uint8Array.from(await readFile(new URL(name, folder)))
    } catch (cause) {
      throw new HostFeatureError(
        `${fileURLToPath(new URL(name, folder))} is missing: run npm run build:wasm`,
        { cause },
      )
    }
  }
  const [kernel, interp, isaTables] = await Promise.all([
    load('kernel.wasm'),
    load('interp.wasm'),
    load('isa.bin'),
  ])
  return { kernel: await WebAssembly.compile(kernel), interp: await WebAssembly.compile(interp), isaTables }
}

class NodeVcpuThread implements VcpuThread {
  readonly #worker: Worker
  readonly #failures = new FailureLatch()

  constructor(file: URL, name: string) {
    // Without the parent's own flags: some, such as --input-type, make a worker fail.
    this.#worker = new Worker(file, { name, execArgv: [] })
    this.#worker.on('error', this.#failures.report)
    this.#worker.on('messageerror', this.#failures.report)
    this.#worker.unref()
  }

  post(message: ToVcpu | ToCompiler): void {
    this.#worker.postMessage(message)
  }

  onMessage(listener: (message: FromVcpu) => void): void {
    this.#worker.on('message', listener)
  }

  onFailure(listener: (error: Error) => void): void {
    this.#failures.listen(listener)
  }

  terminate(): void {
    void this.#worker.terminate()
  }
}
