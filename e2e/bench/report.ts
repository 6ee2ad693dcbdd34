/** Tables and means of a run. */
import { ABSENT } from './kernels.ts'
import type { Group, PeerName } from './options.ts'
import type { KernelResult, PeerResult, Results, Table } from './results.types.ts'

export const PEER_TITLES: Readonly<Record<PeerName, string>> = {
  webkvm: 'webkvm',
  qemu: 'QEMU TCG',
  v86: 'v86',
  native: 'native',
}

export function median(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const high = sorted[middle]
  if (high === undefined) return undefined
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? high)) / 2
}

export const geometricMean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length)

export interface Ratio {
  readonly name: string
  readonly group: Group
  /** How many times as long the peer takes as webkvm: above 1, webkvm is faster. */
  readonly ratio: number
}

const timeOf = (kernel: KernelResult | undefined): number | undefined =>
  kernel === undefined || kernel.failure !== undefined ? undefined : median(kernel.ms)

/** Kernels that both measured. */
export function ratios(table: Table, peer: PeerName, group?: Group): Ratio[] {
  const own = table.peers.webkvm
  const theirs = table.peers[peer]
  if (own === undefined || theirs === undefined) return []
  return Object.entries(own.kernels).flatMap(([name, kernel]) => {
    if (group !== undefined && kernel.group !== group) return []
    const mine = timeOf(kernel)
    const other = timeOf(theirs.kernels[name])
    if (mine === undefined || other === undefined || mine === 0 || other === 0) return []
    return [{ name, group: kernel.group, ratio: other / mine }]
  })
}

/** Names of kernels whose checksum is not the same everywhere, or not the same each time. */
export function disagreements(table: Table): string[] {
  const columns = Object.values(table.peers)
  const names = new Set(columns.flatMap(({ kernels }) => Object.keys(kernels)))
  return [...names].filter((name) => {
    const sums = new Set(
      columns.map(({ kernels }) => kernels[name]?.checksum ?? '').filter((sum) => sum !== ''),
    )
    return sums.size > 1 || [...sums].some((sum) => sum.includes('/'))
  })
}

const times = (ms: number | undefined): string =>
  ms === undefined ? '-' : ms >= 100 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`
const quotient = (value: number | undefined): string => (value === undefined ? '-' : value.toFixed(2))
const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`

function printKernels(table: Table, peers: readonly (readonly [PeerName, PeerResult])[]): void {
  const others = peers.filter(([peer]) => peer !== 'webkvm')
  const names = new Set(peers.flatMap(([, { kernels }]) => Object.keys(kernels)))
  if (names.size === 0) return
  const withMips = peers.some(([, { kernels }]) =>
    Object.values(kernels).some(({ mips }) => mips !== undefined),
  )
  const own = table.peers.webkvm
  console.log(
    row([
      'kernel',
      'group',
      ...peers.map(([peer]) => PEER_TITLES[peer]),
      ...(own === undefined ? [] : others.map(([peer]) => `${PEER_TITLES[peer]} / webkvm`)),
      ...(withMips ? ['MIPS'] : []),
    ]),
  )
  const columns = peers.length + (own === undefined ? 0 : others.length) + (withMips ? 1 : 0)
  console.log(row(['---', '---', ...Array.from({ length: columns }, () => '---:')]))
  const wrong = new Set(disagreements(table))
  const quotients = new Map(
    others.map(([peer]) => [peer, new Map(ratios(table, peer).map(({ name, ratio }) => [name, ratio]))]),
  )
  for (const name of names) {
    const group = peers.map(([, { kernels }]) => kernels[name]?.group).find((found) => found !== undefined)
    console.log(
      row([
        `${name}${wrong.has(name) ? ' **checksums differ**' : ''}`,
        group ?? '',
        ...peers.map(([, { kernels }]) => times(timeOf(kernels[name]))),
        ...(own === undefined ? [] : others.map(([peer]) => quotient(quotients.get(peer)?.get(name)))),
        ...(withMips ? [own?.kernels[name]?.mips?.toFixed(0) ?? '-'] : []),
      ]),
    )
  }
}

function printMeans(table: Table, peers: readonly (readonly [PeerName, PeerResult])[]): void {
  for (const [peer] of peers) {
    if (peer === 'webkvm') continue
    const all = ratios(table, peer)
    for (const group of new Set(all.map((entry) => entry.group))) {
      const of = all.filter((entry) => entry.group === group)
      const worst = of.toSorted((a, b) => a.ratio - b.ratio).slice(0, 3)
      const mean = geometricMean(of.map(({ ratio }) => ratio))
      const slowest = worst.map(({ name, ratio }) => `${name} ${ratio.toFixed(2)}`).join(', ')
      console.log(
        `${group}, geometric mean of ${of.length}, ${PEER_TITLES[peer]} / webkvm: ${mean.toFixed(2)}; lowest: ${slowest}`,
      )
    }
  }
}

export function printTable(table: Table): void {
  const peers = Object.entries(table.peers) as [PeerName, PeerResult][]
  console.log(`\n## ${table.title}\n`)
  printKernels(table, peers)
  console.log('')
  printMeans(table, peers)
  for (const [peer, { bootMs, clock }] of peers) {
    const boot = median(bootMs)
    if (boot !== undefined) console.log(`boot to the prompt, ${PEER_TITLES[peer]}: ${times(boot)}`)
    if (clock !== undefined && clock !== 1)
      console.log(
        `**${PEER_TITLES[peer]}'s guest clock ran at ${clock.toFixed(2)} of the host's; its times are corrected**`,
      )
  }
  const { webkvm } = table.peers
  if (webkvm?.atPrompt !== undefined) {
    const { instructions, exitsByKind } = webkvm.atPrompt
    console.log(
      `webkvm at the prompt: ${(instructions / 1e9).toFixed(2)} G instructions, exits ${JSON.stringify(exitsByKind)}`,
    )
  }
  if (webkvm?.atEnd?.jit !== undefined) console.log(`webkvm's JIT: ${JSON.stringify(webkvm.atEnd.jit)}`)
}

/** Says what failed; false if anything did. */
export function printFailures({ tables }: Results): boolean {
  let sound = true
  for (const table of tables) {
    for (const name of disagreements(table)) {
      sound = false
      const sums = Object.entries(table.peers).map(
        ([peer, { kernels }]) => `${peer} ${kernels[name]?.checksum ?? '-'}`,
      )
      console.error(`FAILED ${table.id}: ${name}: checksums differ: ${sums.join(', ')}`)
    }
    for (const [peer, { kernels }] of Object.entries(table.peers)) {
      for (const [name, { failure }] of Object.entries(kernels)) {
        if (failure === undefined || failure === ABSENT) continue
        sound = false
        console.error(`FAILED ${table.id}: ${name} on ${peer}: ${failure}`)
      }
    }
  }
  return sound
}
