/** Runs kernels of the benchmark's programs on a peer, or natively. */
import { execFileSync } from 'node:child_process'

import type { MachineStats } from '#machine/stats.ts'
import { buildProgram } from './guest-image.ts'
import type { ProgramName } from './guest-image.ts'
import type { Bits, Group, Options } from './options.ts'
import type { Peer } from './peer.ts'
import type { KernelResult } from './results.types.ts'

export interface Job {
  readonly name: string
  readonly group: Group
  /** Shell command in the guest; prints "name milliseconds checksum" lines and what ends it. */
  readonly command: string
  readonly done: string
}

const KERNEL_TIMEOUT_MS = 300_000

/** One or two of each kind. */
const QUICK = new Set(
  'sieve crc32 fib bytecode matmul sse-int x87 cold-code smc syscall pipe fork mmap smp:sieve-1 smp:sieve-2 smp:mutex smp:condvar smp:mprotect'.split(
    ' ',
  ),
)

/** Their quotient is a speed-up: neither may be the one that warms the code. */
const WARMED = new Set(['sieve-1', 'sieve-2'])

function commandOf(program: ProgramName, flags: string, name: string): string {
  const command = `${program} ${flags}${name}`
  return program === 'smp' && WARMED.has(name) ? `${command} > /dev/null; ${command}` : command
}

function namesOf(program: ProgramName): [name: string, group: Group][] {
  const list = execFileSync(buildProgram(program, 64), ['-l'], { encoding: 'utf8' })
  return list
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
    .map(([name = '', group = 'smp']) => [name, group as Group])
}

/** What the options choose of the programs' kernels. */
export function kernelJobs(options: Options): Job[] {
  const chosen = (name: string, { group }: Job): boolean =>
    options.kernels === undefined
      ? options.groups.has(group) && (!options.quick || QUICK.has(name))
      : options.kernels.has(name)
  const jobsOf = (program: ProgramName, flags: string): Job[] =>
    namesOf(program)
      .map(([name, group]) => ({
        // Both programs have a kernel "pipe".
        name: program === 'smp' ? `smp:${name}` : name,
        group,
        command: commandOf(program, flags, name),
        done: 'bench-done\r\n',
      }))
      .filter((job) => chosen(job.name, job))
  return [...jobsOf('bench', options.quick ? '-q ' : ''), ...jobsOf('smp', '')]
}

/** Names for --list. */
export const kernelNames = (): string[] => [
  ...namesOf('bench').map((entry) => entry.join(' ')),
  ...namesOf('smp').map(([name, group]) => `smp:${name} ${group}`),
]

interface Measured {
  readonly times: readonly number[]
  readonly checksums: ReadonlySet<string>
  /** All that the program took by the guest's clock. */
  readonly clockMs: number | undefined
  readonly failure: string | undefined
}

export function parseOutput(output: string): Measured {
  const times: number[] = []
  const checksums = new Set<string>()
  for (const [, ms, checksum] of output.matchAll(/^[a-z0-9-]+ ([\d.]+) ([0-9a-f]{8})\r?$/gm)) {
    times.push(Number(ms))
    checksums.add(checksum ?? '')
  }
  const clock = /^bench-clock ([\d.]+)/m.exec(output)?.[1]
  const failure = /^[a-z0-9-]+ (failed: .*?)\r?$/m.exec(output)?.[1]
  return { times, checksums, clockMs: clock === undefined ? undefined : Number(clock), failure }
}

/** What the shell and our program say of a command that is not there. */
const NOT_FOUND = 'failed: status 127'
export const ABSENT = 'not in this guest'

function toResult(group: Group, measured: readonly Measured[], mips?: number): KernelResult {
  const ms = measured.flatMap(({ times }) => times)
  const checksums = [...new Set(measured.flatMap((one) => [...one.checksums]))]
  const failure = measured.find((one) => one.failure !== undefined)?.failure
  return {
    group,
    ms,
    checksum: checksums.join('/'),
    ...(mips === undefined ? {} : { mips }),
    ...(ms.length > 0 && failure === undefined
      ? {}
      : { failure: failure === NOT_FOUND ? ABSENT : (failure ?? 'no result') }),
  }
}

function mipsOf(
  measured: readonly Measured[],
  before: MachineStats | undefined,
  after: MachineStats | undefined,
): number | undefined {
  const ms = measured.flatMap(({ times }) => times).reduce((sum, time) => sum + time, 0)
  if (before === undefined || after === undefined || ms === 0) return undefined
  return (after.instructions - before.instructions) / ms / 1e3
}

export interface Column {
  readonly kernels: Record<string, KernelResult>
  /** Guest ms / host ms of the kernel where they were furthest apart. */
  readonly clock: number
}

/** A command's own cost, which blurs the comparison of clocks. */
const COMMAND_MS = 1000
const CLOCK_TOLERANCE = 0.05

/**
 * Guest ms for each ms of the host, 1 when they agree. A guest that is short of processor time may lose timer ticks:
 * its clock lags and it looks fast. Its times are then corrected, and the report names it.
 */
export function clockOf(guestMs: number | undefined, hostMs: number): number {
  if (guestMs === undefined) return 1
  const apart = Math.abs(guestMs - hostMs)
  return apart < COMMAND_MS || apart < hostMs * CLOCK_TOLERANCE ? 1 : guestMs / hostMs
}

const distance = (ratio: number): number => Math.abs(Math.log(ratio))

/**
 * Runs all jobs, each `repeat` times; cpuTime: what they cost the host instead of what the guest's clock says. A guest
 * that stops answering loses the rest of its jobs.
 */
export async function runJobs(
  peer: Peer,
  jobs: readonly Job[],
  { repeat, cpuTime }: { readonly repeat: number; readonly cpuTime: boolean },
): Promise<Column> {
  const kernels: Record<string, KernelResult> = {}
  let clock = 1
  for (const job of jobs) {
    const measured: Measured[] = []
    const before = await peer.stats?.()
    try {
      for (let i = 0; i < repeat; i++) {
        const started = performance.now()
        const usedMs = peer.cpuMs()
        const one = parseOutput(await peer.run(job.command, job.done, KERNEL_TIMEOUT_MS))
        const hostMs = performance.now() - started
        const rate = clockOf(one.clockMs, hostMs)
        const times = one.times.map((ms) => (cpuTime ? peer.cpuMs() - usedMs : ms / rate))
        measured.push({ ...one, times })
        if (distance(rate) > distance(clock)) clock = rate
      }
    } catch (error) {
      const failure = error instanceof Error ? error.message : String(error)
      kernels[job.name] = { group: job.group, ms: [], checksum: '', failure }
      console.error(`${job.name}: ${failure}`)
      break
    }
    const after = await peer.stats?.()
    kernels[job.name] = toResult(job.group, measured, mipsOf(measured, before, after))
  }
  return { kernels, clock }
}

/** The same on the machine itself. */
export function runNative(jobs: readonly Job[], bits: Bits, repeat: number): Record<string, KernelResult> {
  return Object.fromEntries(
    jobs.map((job) => {
      const [program = 'bench', ...args] = (job.command.split('; ').at(-1) ?? '').split(' ')
      const measured = Array.from({ length: repeat }, () =>
        parseOutput(execFileSync(buildProgram(program as ProgramName, bits), args, { encoding: 'utf8' })),
      )
      return [job.name, toResult(job.group, measured)]
    }),
  )
}
