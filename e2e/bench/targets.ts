/** What this project asks of its speed, and whether a run shows it. Ratios are the peer's time / webkvm's. */
import type { Group, PeerName } from './options.ts'
import { PEER_TITLES, geometricMean, median, ratios } from './report.ts'
import type { Results, Table, TableId } from './results.types.ts'

interface Verdict {
  readonly target: string
  /** Undefined: this run did not measure it. */
  readonly measured: string | undefined
  readonly met: boolean
}

const missing = (target: string): Verdict => ({ target, measured: undefined, met: false })

function meanOf(table: Table | undefined, peer: PeerName, group: Group, atLeast: number): Verdict {
  const target = `${group} group, ${peer === 'v86' ? 32 : 64}-bit, geometric mean against ${PEER_TITLES[peer]}: at least ${atLeast}`
  const all = table === undefined ? [] : ratios(table, peer, group).map(({ ratio }) => ratio)
  if (all.length === 0) return missing(target)
  const mean = geometricMean(all)
  return { target, measured: `${mean.toFixed(2)} (${all.length} kernels)`, met: mean >= atLeast }
}

function worstOf(table: Table | undefined, peer: PeerName, group: Group, factor: number): Verdict {
  const target = `no kernel of the ${group} group slower than ${PEER_TITLES[peer]} by more than ${factor}`
  const all = table === undefined ? [] : ratios(table, peer, group)
  if (all.length === 0) return missing(target)
  const slow = all.filter(({ ratio }) => ratio * factor < 1).toSorted((a, b) => a.ratio - b.ratio)
  const lowest = all.reduce((least, entry) => (entry.ratio < least.ratio ? entry : least))
  const measured =
    slow.length === 0
      ? `slowest is ${lowest.name}, ${(1 / lowest.ratio).toFixed(2)} times the peer's time`
      : slow.map(({ name, ratio }) => `${name} ${(1 / ratio).toFixed(2)}`).join(', ')
  return { target, measured, met: slow.length === 0 }
}

/** Kernels of the smp program by what they test. */
const LOCK_KINDS: Readonly<Record<string, readonly string[]>> = {
  mutex: ['mutex', 'mutex-long', 'spinlock', 'atomic'],
  condvar: ['condvar', 'condvar-pinned', 'futex-pinned'],
  shootdown: ['mprotect', 'munmap', 'mprotect-asleep'],
}

function severalCpus(table: Table | undefined): Verdict[] {
  const target = 'two vCPUs: the parallel sieve at least 1.7 times as fast as one'
  const own = table?.peers.webkvm?.kernels
  const one = median(own?.['smp:sieve-1']?.ms ?? [])
  const two = median(own?.['smp:sieve-2']?.ms ?? [])
  const speedUp = one === undefined || two === undefined ? undefined : one / two
  const all = table === undefined ? [] : ratios(table, 'qemu', 'smp')
  return [
    speedUp === undefined ? missing(target) : { target, measured: speedUp.toFixed(2), met: speedUp >= 1.7 },
    ...Object.entries(LOCK_KINDS).map(([kind, names]) => {
      const of = all.filter(({ name }) => names.includes(name.slice('smp:'.length)))
      const wanted = `two vCPUs: ${kind} at least as fast as QEMU TCG`
      if (of.length === 0) return missing(wanted)
      const mean = geometricMean(of.map(({ ratio }) => ratio))
      const each = of.map(({ name, ratio }) => `${name.slice('smp:'.length)} ${ratio.toFixed(2)}`).join(', ')
      return { target: wanted, measured: `${mean.toFixed(2)} (${each})`, met: mean >= 1 }
    }),
  ]
}

function bootVerdicts(of: (id: TableId) => Table | undefined): Verdict[] {
  const boot = (id: TableId, peer: PeerName): number | undefined => median(of(id)?.peers[peer]?.bootMs ?? [])
  const own = boot('kernels-64', 'webkvm')
  const qemu = boot('kernels-64', 'qemu')
  const own32 = boot('kernels-32', 'webkvm')
  const v86 = boot('kernels-32', 'v86')
  const quick = 'boot of the default guest: under 5 s'
  const near = "boot of the default guest: at most 1.2 of QEMU TCG's time"
  const old = 'boot of Debian 686: at least 4 times as fast as v86'
  return [
    own === undefined
      ? missing(quick)
      : { target: quick, measured: `${(own / 1e3).toFixed(2)} s`, met: own < 5000 },
    own === undefined || qemu === undefined
      ? missing(near)
      : { target: near, measured: (own / qemu).toFixed(2), met: own <= 1.2 * qemu },
    own32 === undefined || v86 === undefined
      ? missing(old)
      : { target: old, measured: (v86 / own32).toFixed(2), met: v86 >= 4 * own32 },
  ]
}

function programVerdict(table: Table | undefined): Verdict {
  const target = 'programs: each at least as fast as in QEMU TCG'
  const all = table === undefined ? [] : ratios(table, 'qemu')
  if (all.length === 0) return missing(target)
  const mean = geometricMean(all.map(({ ratio }) => ratio))
  const slow = all.filter(({ ratio }) => ratio < 1).toSorted((a, b) => a.ratio - b.ratio)
  const named = slow.map(({ name, ratio }) => `${name} ${ratio.toFixed(2)}`).join(', ')
  return {
    target,
    measured: `geometric mean ${mean.toFixed(2)} of ${all.length}${slow.length === 0 ? '' : `; below 1: ${named}`}`,
    met: slow.length === 0,
  }
}

export function verdicts({ tables }: Results): Verdict[] {
  const of = (id: TableId): Table | undefined => tables.find((table) => table.id === id)
  const wide = of('kernels-64')
  const narrow = of('kernels-32')
  return [
    meanOf(narrow, 'v86', 'cpu', 5),
    meanOf(wide, 'qemu', 'cpu', 2),
    worstOf(narrow, 'v86', 'cpu', 1.3),
    worstOf(wide, 'qemu', 'cpu', 1.3),
    meanOf(narrow, 'v86', 'os', 3),
    meanOf(wide, 'qemu', 'os', 1),
    ...severalCpus(wide),
    ...bootVerdicts(of),
    programVerdict(of('programs')),
  ]
}

export function printVerdicts(results: Results): void {
  console.log('\n## Targets\n')
  for (const { target, measured, met } of verdicts(results)) {
    const word = measured === undefined ? '  ?   ' : met ? '  met ' : '**not**'
    console.log(`${word} ${target}: ${measured ?? 'not measured'}`)
  }
}
