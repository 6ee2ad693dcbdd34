/** Counters of a machine, read from shared memory at any time. */
import {
  CPU_EXIT_COUNTS,
  CPU_HALTED_AT,
  CPU_HALT_NS,
  CPU_INSNS,
  CPU_RUNSTATE,
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
  /** vCPUs that are up (not waiting for INIT/SIPI). */
  readonly online: number
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

export function readStats(source: StatsSource): MachineStats {
  const view = new DataView(source.buffer)
  const exitsByKind: Record<string, number> = {}
  let instructions = 0
  let busyNs = 0
  let online = 0
  for (const cpu of source.cpus) {
    instructions += Number(view.getBigUint64(cpu + CPU_INSNS, true))
    if (view.getUint32(cpu + CPU_RUNSTATE, true) <= RUN_RUNNING + 1) {
      online++
      busyNs += Math.max(0, source.elapsedNs - haltedNs(view, cpu, source.guestNs))
    }
    for (const [kind, index] of Object.entries(KINDS)) {
      exitsByKind[kind] = (exitsByKind[kind] ?? 0) + view.getUint32(cpu + CPU_EXIT_COUNTS + index * 4, true)
    }
  }
  return {
    state: source.state,
    atNs: source.atNs,
    vcpus: source.cpus.length,
    ramBytes: source.ramBytes,
    instructions,
    busyNs,
    exits: ROUND_TRIPS.reduce((sum, kind) => sum + (exitsByKind[kind] ?? 0), 0),
    exitsByKind,
    online,
  }
}
