/** The comparison itself: every peer boots, then runs all kernels; one table for each width, one for programs. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'

import { kernelsImage, programsImage } from './guest-image.ts'
import { kernelJobs, runJobs, runNative } from './kernels.ts'
import type { Job } from './kernels.ts'
import type { Bits, Options, PeerName } from './options.ts'
import type { BootImage, Peer } from './peer.ts'
import { prepareGuest, programJobs } from './programs.ts'
import { bootQemu } from './qemu-peer.ts'
import { printFailures, printTable } from './report.ts'
import type { PeerResult, Results, Table } from './results.types.ts'
import { openStage } from './stage.ts'
import type { Stage } from './stage.ts'
import { printVerdicts } from './targets.ts'
import { bootV86 } from './v86-peer.ts'
import { bootWebkvm } from './webkvm-peer.ts'

function bootPeer(name: Exclude<PeerName, 'native'>, stage: Stage, image: BootImage): Promise<Peer> {
  switch (name) {
    case 'webkvm':
      return bootWebkvm(stage.browser, stage.url, image)
    case 'qemu':
      return bootQemu(image)
    case 'v86':
      // It has one processor.
      return bootV86(stage.browser, { ...image, cpus: 1 })
  }
}

interface Work {
  readonly image: BootImage
  readonly jobs: readonly Job[]
  readonly repeat: number
  readonly cpuTime: boolean
  /** Boots are worth repeating where they are measured. */
  readonly boots: number
  prepare?(peer: Peer): Promise<void>
}

/** Boots a peer as often as asked, runs the jobs in the last of its guests. */
async function measurePeer(name: Exclude<PeerName, 'native'>, stage: Stage, work: Work): Promise<PeerResult> {
  const bootMs: number[] = []
  for (let boot = 1; ; boot++) {
    const peer = await bootPeer(name, stage, work.image)
    bootMs.push(peer.bootMs)
    console.error(`${name}: at the prompt after ${(peer.bootMs / 1e3).toFixed(2)} s`)
    try {
      if (boot < work.boots) continue
      const atPrompt = await peer.stats?.()
      await work.prepare?.(peer)
      const column = await runJobs(peer, work.jobs, work)
      const atEnd = await peer.stats?.()
      return {
        bootMs,
        ...column,
        ...(atPrompt === undefined ? {} : { atPrompt }),
        ...(atEnd === undefined ? {} : { atEnd }),
      }
    } finally {
      await peer.close()
    }
  }
}

/** One peer's failure costs its column, not the run. */
async function measurePeers(stage: Stage, peers: readonly PeerName[], work: Work): Promise<Table['peers']> {
  const columns: Partial<Record<PeerName, PeerResult>> = {}
  for (const name of peers) {
    if (name === 'native') continue
    try {
      columns[name] = await measurePeer(name, stage, work)
    } catch (error) {
      console.error(`FAILED ${name}: ${error instanceof Error ? error.message : String(error)}`)
      process.exitCode = 1
    }
  }
  return columns
}

async function kernelsTable(stage: Stage, options: Options, bits: Bits): Promise<Table | undefined> {
  // What several processors do to each other does not depend on the width.
  const jobs = kernelJobs(options).filter(({ group }) => bits === 64 || group !== 'smp')
  if (jobs.length === 0 && (options.kernels !== undefined || !options.groups.has('boot'))) return undefined
  const wanted: PeerName[] = (
    bits === 64 ? (['webkvm', 'qemu'] as const) : (['webkvm', 'qemu', 'v86'] as const)
  ).filter((name) => options.peers.has(name))
  const image = kernelsImage(bits, options.cpus)
  const boots = options.groups.has('boot') ? options.repeat : 1
  const peers = await measurePeers(stage, wanted, {
    image,
    jobs,
    repeat: options.repeat,
    cpuTime: options.cpuTime,
    boots,
  })
  const native = options.peers.has('native')
    ? { native: { bootMs: [], kernels: runNative(jobs, bits, options.repeat) } }
    : {}
  const title = bits === 64 ? '64-bit guest: Debian, cloud kernel' : '32-bit guest: Debian 686'
  return { id: `kernels-${bits}`, title, peers: { ...peers, ...native } }
}

async function programsTable(stage: Stage, options: Options): Promise<Table | undefined> {
  const jobs = programJobs(options)
  if (jobs.length === 0 || !options.bits.includes(64)) return undefined
  const wanted = (['webkvm', 'qemu'] as const).filter((name) => options.peers.has(name))
  const peers = await measurePeers(stage, wanted, {
    image: programsImage(options.cpus),
    jobs,
    repeat: options.repeat,
    cpuTime: options.cpuTime,
    boots: 1,
    prepare: prepareGuest,
  })
  return { id: 'programs', title: 'Programs in the large guest', peers }
}

function versionOf(command: string): string {
  try {
    return execFileSync(command, ['--version'], { encoding: 'utf8' }).split('\n')[0] ?? ''
  } catch {
    return `no ${command}`
  }
}

export async function measure(options: Options): Promise<void> {
  const stage = await openStage()
  const tables: Table[] = []
  const results = (): Results => ({
    format: 1,
    date: new Date().toISOString(),
    host: `${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores; ${versionOf('qemu-system-x86_64')}; Node ${process.version}`,
    browser: `Chromium ${stage.browser.version()}`,
    quick: options.quick,
    cpuTime: options.cpuTime,
    repeat: options.repeat,
    tables,
  })
  console.log(`${results().host}; ${results().browser}`)
  if (options.cpuTime) console.log("Times are the host's processor time (native: the clock's).")
  const add = (table: Table | undefined): void => {
    if (table === undefined) return
    tables.push(table)
    printTable(table)
    // What is measured is kept, whatever becomes of the rest.
    if (options.json !== undefined)
      writeFileSync(options.json, `${JSON.stringify(results(), undefined, 1)}\n`)
  }
  try {
    for (const bits of options.bits) add(await kernelsTable(stage, options, bits))
    add(await programsTable(stage, options))
  } finally {
    await stage.close()
  }
  printVerdicts(results())
  if (!printFailures(results())) process.exitCode = 1
}
