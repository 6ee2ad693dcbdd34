/** What a run leaves behind, as --json writes it. */
import type { MachineStats } from '#machine/stats.ts'
import type { Bits, Group, PeerName } from './options.ts'

export interface KernelResult {
  readonly group: Group
  /** One per repetition. */
  readonly ms: readonly number[]
  readonly checksum: string
  /** Guest instructions, where the peer counts them. */
  readonly mips?: number
  /** Why there is no time. */
  readonly failure?: string
}

export interface PeerResult {
  readonly bootMs: readonly number[]
  readonly kernels: Readonly<Record<string, KernelResult>>
  /** Where the guest's clock and the host's were furthest apart: guest ms of a kernel / host ms. */
  readonly clock?: number
  /** Counters at the prompt, and at the end. */
  readonly atPrompt?: MachineStats
  readonly atEnd?: MachineStats
}

export type TableId = `kernels-${Bits}` | 'programs'

export interface Table {
  readonly id: TableId
  readonly title: string
  readonly peers: Readonly<Partial<Record<PeerName, PeerResult>>>
}

export interface Results {
  readonly format: 1
  readonly date: string
  readonly host: string
  readonly browser: string
  readonly quick: boolean
  /** Times are of the host's processors. */
  readonly cpuTime: boolean
  readonly repeat: number
  readonly tables: readonly Table[]
}
