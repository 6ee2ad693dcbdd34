/**
 * What a machine is made of, as its user states it, and the checks that turn it into a resolved configuration.
 * Errors name the option and what it may be.
 */
import { MIN_RAM_BYTES } from '#firmware/memory-map.ts'
import type { BlockBackend } from '#devices/virtio-blk.ts'
import { CPU_MODEL_NAMES } from './cpu-models.ts'

/** A bad option of createMachine(), with the remedy in its message. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** Where bytes come from: bytes themselves, a Blob or File, a URL, or (under Node) a path. */
export type ImageSource = Uint8Array | Blob | URL | string

export interface DiskOptions {
  /** A backend made by the caller, or a source that the host opens (read on demand where it can). */
  readonly source: ImageSource | BlockBackend
  readonly readonly?: boolean
  /**
   * Where writes go: 'overlay' keeps them in memory and the source untouched (default for URLs, Blobs and bytes),
   * 'write' changes the source (default for paths under Node).
   */
  readonly mode?: 'overlay' | 'write'
  /**
   * In a page: keep the guest's writes in the browser's IndexedDB under this name; a later machine that opens the disk
   * with the same name finds them. The source stays untouched.
   */
  readonly keepAs?: string
  /** Serial number the guest sees; default disk0, disk1, … */
  readonly serial?: string
}

export interface TraceOptions {
  readonly instructions?: boolean
  readonly exits?: boolean
  readonly interrupts?: boolean
  readonly msrs?: boolean
}

export interface MachineOptions {
  /** Bytes, or a number with K, M or G: '512M'. Default 512M. */
  readonly memory?: number | string
  /** Number of vCPUs, each a worker. Default 2. */
  readonly cpus?: number
  /** A name from cpu-models.ts. Default 'x86-64-v2'. */
  readonly cpuModel?: string
  /** bzImage, ELF with PVH note, or multiboot image. */
  readonly kernel?: ImageSource
  readonly initrd?: ImageSource
  readonly append?: string
  /** Multiboot modules: source and command line. */
  readonly modules?: readonly { readonly source: ImageSource; readonly cmdline: string }[]
  /** Firmware ROM of 64 KiB to 4 MiB, started at the reset vector. */
  readonly bios?: ImageSource
  readonly disks?: readonly DiskOptions[]
  /** Names of virtio console ports beside port 0, which is hvc0. */
  readonly channels?: readonly string[]
  /** 16550 UARTs, 0 to 4. Default 1. */
  readonly serialPorts?: number
  /** isa-debug-exit, pc-testdev and pci-testdev, for bare-metal test kernels. Default false. */
  readonly testDevices?: boolean
  /** Unknown MSRs read as zero instead of raising #GP. Default false. */
  readonly ignoreUnknownMsrs?: boolean
  /**
   * Compile hot code to WebAssembly: a threshold says how often a branch is taken before its target is compiled (a power of two
   * up to 2^20; 0 = never), true leaves that to the engine, false keeps everything in the interpreter. Default true.
   */
  readonly jit?: boolean | { readonly threshold: number }
  /** Called with bytes loaded and, if known, bytes in all, per image. */
  readonly onProgress?: (progress: LoadProgress) => void
  readonly trace?: TraceOptions
}

export interface LoadProgress {
  readonly what: string
  readonly loadedBytes: number
  readonly totalBytes: number | undefined
}

export interface ResolvedConfig {
  readonly ramBytes: number
  readonly cpus: number
  readonly cpuModel: string
  readonly serialPorts: number
  /** A power of two, 0 = never. */
  readonly jitThreshold: number
}

/** Times a branch is taken before its target is compiled: lower ones cost a boot more than they give. */
const JIT_THRESHOLD = 32_768
const MAX_JIT_THRESHOLD = 2 ** 20
export const MAX_CPUS = 64
/** The shared memory32 is 4 GiB in all; engine tables and firmware take their part. */
export const MAX_RAM_BYTES = 3584 * 1048576

const UNIT: Record<string, number> = { '': 1, K: 1024, M: 1048576, G: 1073741824 }

/** '512M' -> bytes; plain numbers are bytes. */
export function parseMemory(value: number | string): number {
  if (typeof value === 'number') return value
  const match = /^(\d+(?:\.\d+)?)\s*([KMG]?)i?B?$/i.exec(value.trim())
  const unit = UNIT[match?.[2]?.toUpperCase() ?? '?']
  if (match?.[1] === undefined || unit === undefined) {
    throw new ConfigError(`memory "${value}" is not understood: write a number with K, M or G, such as 512M`)
  }
  return Math.round(Number(match[1]) * unit)
}

function resolveJit(jit: MachineOptions['jit']): number {
  if (jit === false) return 0
  if (jit === undefined || jit === true) return JIT_THRESHOLD
  const { threshold } = jit
  const power = Number.isInteger(threshold) && (threshold & (threshold - 1)) === 0
  if (!power || threshold < 0 || threshold > MAX_JIT_THRESHOLD)
    throw new ConfigError(`jit.threshold: ${threshold} is no power of two up to ${MAX_JIT_THRESHOLD}, nor 0`)
  return threshold
}

export function resolveConfig(options: MachineOptions): ResolvedConfig {
  const ramBytes = Math.ceil(parseMemory(options.memory ?? '512M') / 4096) * 4096
  if (!(ramBytes >= MIN_RAM_BYTES && ramBytes <= MAX_RAM_BYTES)) {
    throw new ConfigError(
      `memory of ${Math.floor(ramBytes / 1048576)} MiB is out of range: 1 to ${MAX_RAM_BYTES / 1048576} MiB`,
    )
  }
  const cpus = options.cpus ?? 2
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAX_CPUS)
    throw new ConfigError(`cpus: ${cpus} is out of range: 1 to ${MAX_CPUS}`)
  const serialPorts = options.serialPorts ?? 1
  if (!Number.isInteger(serialPorts) || serialPorts < 0 || serialPorts > 4) {
    throw new ConfigError(`serialPorts: ${serialPorts} is out of range: 0 to 4`)
  }
  if (options.kernel === undefined && options.bios === undefined) {
    throw new ConfigError('nothing to start: give a kernel or a bios')
  }
  const cpuModel = options.cpuModel ?? 'x86-64-v2'
  if (!CPU_MODEL_NAMES.includes(cpuModel))
    throw new ConfigError(`CPU model "${cpuModel}" is unknown: choose from ${CPU_MODEL_NAMES.join(', ')}`)
  return { ramBytes, cpus, cpuModel, serialPorts, jitThreshold: resolveJit(options.jit) }
}
