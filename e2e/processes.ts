/** Processes of the host: what a browser uses, and whether a command still runs; from /proc (proc(5)). */
import { readFileSync, readdirSync } from 'node:fs'

export interface Usage {
  /** Resident memory of the renderers: pages with their workers and the memory they share. */
  readonly rssBytes: number
  /** User and system time of all processes of the browser so far. */
  readonly cpuSeconds: number
}

/** USER_HZ: fixed at 100 for what /proc shows on every Linux of x86 and ARM. */
const TICKS_PER_SECOND = 100

interface Process {
  readonly parent: number
  readonly cmdline: string
  readonly cpuSeconds: number
  readonly rssBytes: number
}

function readProcess(pid: number): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in field 2 may hold anything; fields after its closing parenthesis begin with field 3.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const rss = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return {
      parent: Number(fields[1]),
      cmdline: readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '),
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
      rssBytes: Number(rss ?? 0) * 1024,
    }
  } catch {
    return undefined // It ended while we looked.
  }
}

function readProcesses(): Map<number, Process> {
  const processes = new Map<number, Process>()
  for (const name of readdirSync('/proc')) {
    const found = /^\d+$/.test(name) ? readProcess(Number(name)) : undefined
    if (found !== undefined) processes.set(Number(name), found)
  }
  return processes
}

/** Command lines of the processes that were given this argument. */
export function processesWith(argument: string): string[] {
  return [...readProcesses().values()].map(({ cmdline }) => cmdline).filter((line) => line.includes(argument))
}

/** User and system time of one process so far. */
export const cpuSecondsOf = (pid: number): number => readProcess(pid)?.cpuSeconds ?? 0

/** What the browsers that this process started use now. */
export function browserUsage(): Usage {
  const processes = readProcesses()
  const isOurs = (pid: number): boolean => {
    const parent = processes.get(pid)?.parent
    return parent !== undefined && parent !== 0 && (parent === process.pid || isOurs(parent))
  }
  let rssBytes = 0
  let cpuSeconds = 0
  for (const [pid, { cmdline, rssBytes: rss, cpuSeconds: cpu }] of processes) {
    if (!isOurs(pid)) continue
    cpuSeconds += cpu
    if (/--type=renderer/.test(cmdline)) rssBytes += rss
  }
  return { rssBytes, cpuSeconds }
}
