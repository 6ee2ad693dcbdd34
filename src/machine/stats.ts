/** Counters of a machine, read from shared memory at any time. */
import {
  CPU_EXIT_COUNTS,
  CPU_EXIT_WAIT_NS,
  CPU_HALTED_AT,
  CPU_HALT_NS,
  CPU_INSNS,
  CPU_JIT_STATS,
  CPU_RUNSTATE,
  JIT_STAT_BYTES,
  JIT_STAT_CODEGEN_NS,
  JIT_STAT_COMPILE_NS,
  JIT_STAT_EVICTED,
  JIT_STAT_INSTRUCTIONS,
  JIT_STAT_MODULES,
  JIT_STAT_REGIONS,
  JIT_STAT_SHARED,
  RUN_RUNNING,
} from '#abi/layout.ts'
import * as exits from '#abi/exits.ts'

export interface MachineStats {
  readonly state: string
  /** Host monotonic ns of this reading. */
  readonly atNs: number
  readonly vcpus: number
  readonly ramBytes: number
  /** Guest instructions retired by all vCPUs. */
  readonly instructions: number
  /** ns that vCPUs spent not halted, summed over vCPUs. */
  readonly busyNs: number
  /** Exits that waited for the hub. */
  readonly exits: number
  readonly exitsByKind: Readonly<Record<string, number>>
  /** ns that vCPUs waited for the hub's answers, summed over vCPUs. */
  readonly exitWaitNs: number
  /** ns that vCPUs slept in HLT, summed over vCPUs. */
  readonly haltNs: number
  /** vCPUs that are up (not waiting for INIT/SIPI). */
  readonly online: number
  /** Absent until something was compiled. */
  readonly jit?: JitStats
}

/** What the JIT did so far, summed over vCPUs. */
export interface JitStats {
  readonly regions: number
  /** Regions taken over from another vCPU, or from before everything was dropped. */
  readonly shared: number
  readonly modules: number
  /** Of the modules that live. */
  readonly bytes: number
  readonly evicted: number
  /** Forming regions and writing Wasm. */
  readonly codegenMs: number
  /** In new WebAssembly.Module and Instance. */
  readonly compileMs: number
  /** Guest instructions retired in compiled code. */
  readonly instructions: number
}

/** Names of the counters in CPU_EXIT_COUNTS. */
const KINDS: Readonly<Record<string, number>> = {
  'pio-read': exits.EXIT_KIND_PIO_READ,
  'pio-write': exits.EXIT_KIND_PIO_WRITE,
  'mmio-read': exits.EXIT_KIND_MMIO_READ,
  'mmio-write': exits.EXIT_KIND_MMIO_WRITE,
  hypercall: exits.EXIT_KIND_HYPERCALL,
  posted: exits.EXIT_KIND_POSTED,
  shadow: exits.EXIT_KIND_SHADOW,
  kernel: exits.EXIT_KIND_KERNEL,
  halt: exits.EXIT_KIND_HALT,
  interrupt: exits.EXIT_KIND_INTERRUPT,
  fault: exits.EXIT_KIND_FAULT,
}
const ROUND_TRIPS = ['pio-read', 'pio-write', 'mmio-read', 'mmio-write', 'hypercall']

export interface StatsSource {
  readonly buffer: ArrayBufferLike
  readonly cpus: readonly number[]
  readonly state: string
  readonly ramBytes: number
  readonly atNs: number
  /** Guest time, by which vCPUs note when they go to sleep. */
  readonly guestNs: number
  /** Host ns since the machine was created, without pauses. */
  readonly elapsedNs: number
}

/** Time that a vCPU has slept, with the sleep it is in. */
function haltedNs(view: DataView, cpu: number, guestNs: number): number {
  const since = view.getFloat64(cpu + CPU_HALTED_AT, true)
  return view.getFloat64(cpu + CPU_HALT_NS, true) + (since === 0 ? 0 : Math.max(0, guestNs - since))
}

/** Sum of one f64 counter over vCPUs. */
const sumOf = (view: DataView, cpus: readonly number[], offset: number): number =>
  cpus.reduce((sum, cpu) => sum + view.getFloat64(cpu + offset, true), 0)

function readJit(view: DataView, cpus: readonly number[]): JitStats | undefined {
  const sum = (offset: number): number => sumOf(view, cpus, CPU_JIT_STATS + offset)
  const modules = sum(JIT_STAT_MODULES)
  if (modules === 0) return undefined
  return {
    modules,
    regions: sum(JIT_STAT_REGIONS),
    shared: sum(JIT_STAT_SHARED),
    bytes: sum(JIT_STAT_BYTES),
    evicted: sum(JIT_STAT_EVICTED),
    codegenMs: sum(JIT_STAT_CODEGEN_NS) / 1e6,
    compileMs: sum(JIT_STAT_COMPILE_NS) / 1e6,
    instructions: sum(JIT_STAT_INSTRUCTIONS),
  }
}

export function readStats(source: StatsSource): MachineStats {
  const view = new DataView(source.buffer)
  const exitsByKind: Record<string, number> = {}
  let instructions = 0
  let busyNs = 0
  let haltNs = 0
  let online = 0
  for (const cpu of source.cpus) {
    instructions += Number(view.getBigUint64(cpu + CPU_INSNS, true))
    if (view.getUint32(cpu + CPU_RUNSTATE, true) <= RUN_RUNNING + 1) {
      online++
      const slept = haltedNs(view, cpu, source.guestNs)
      haltNs += slept
      busyNs += Math.max(0, source.elapsedNs - slept)
    }
    for (const [kind, index] of Object.entries(KINDS)) {
      exitsByKind[kind] = (exitsByKind[kind] ?? 0) + view.getUint32(cpu + CPU_EXIT_COUNTS + index * 4, true)
    }
  }
  const jit = readJit(view, source.cpus)
  return {
    state: source.state,
    atNs: source.atNs,
    vcpus: source.cpus.length,
    ramBytes: source.ramBytes,
    instructions,
    busyNs,
    exits: ROUND_TRIPS.reduce((sum, kind) => sum + (exitsByKind[kind] ?? 0), 0),
    exitsByKind,
    exitWaitNs: sumOf(view, source.cpus, CPU_EXIT_WAIT_NS),
    haltNs,
    online,
    ...(jit === undefined ? {} : { jit }),
  }
}
