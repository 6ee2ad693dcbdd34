/** The difference of two runs, for before and after a change. */
import { readFileSync } from 'node:fs'

import { UsageError } from './options.ts'
import type { PeerName } from './options.ts'
import { PEER_TITLES, geometricMean, median } from './report.ts'
import type { PeerResult, Results } from './results.types.ts'

/** Changes below this are noise on a machine that does other things, too. */
const NOTABLE = 0.05

function read(file: string): Results {
  const results = JSON.parse(readFileSync(file, 'utf8')) as Partial<Results>
  if (results.format !== 1) throw new UsageError(`${file} is not a result of "npm run bench -- --json"`)
  return results as Results
}

function change(before: number, after: number): string {
  const factor = before / after
  const arrow = Math.abs(Math.log(factor)) < NOTABLE ? '' : factor > 1 ? ' faster' : ' SLOWER'
  return `${factor.toFixed(2)}${arrow}`
}

function comparePeer(title: string, before: PeerResult, after: PeerResult): void {
  const factors = new Map<string, number[]>()
  console.log(`\n## ${title}\n\n| | before | after | before / after |\n|---|---:|---:|---:|`)
  const show = (name: string, group: string, old: number | undefined, fresh: number | undefined): void => {
    if (old === undefined && fresh === undefined) return
    const cells = [old, fresh].map((ms) => (ms === undefined ? '-' : `${ms.toFixed(1)} ms`))
    const both = old !== undefined && fresh !== undefined && old > 0 && fresh > 0
    console.log(`| ${name} | ${cells.join(' | ')} | ${both ? change(old, fresh) : '-'} |`)
    if (both) factors.set(group, [...(factors.get(group) ?? []), old / fresh])
  }
  show('boot', 'boot', median(before.bootMs), median(after.bootMs))
  for (const name of new Set([...Object.keys(before.kernels), ...Object.keys(after.kernels)])) {
    const [old, fresh] = [before.kernels[name], after.kernels[name]]
    show(name, fresh?.group ?? old?.group ?? '', median(old?.ms ?? []), median(fresh?.ms ?? []))
  }
  console.log('')
  for (const [group, all] of factors)
    console.log(`${group}: geometric mean ${geometricMean(all).toFixed(3)} of ${all.length}`)
}

/** "OLD,NEW": for every peer, so that a machine that has become slower shows in those that did not change. */
export function compareFiles(pair: string): void {
  const [oldFile, newFile, ...more] = pair.split(',')
  if (oldFile === undefined || newFile === undefined || more.length > 0)
    throw new UsageError('--compare wants two files: OLD,NEW')
  const [before, after] = [read(oldFile), read(newFile)]
  if (before.quick !== after.quick)
    throw new UsageError('one of the runs was a --quick one: their work differs')
  if (before.cpuTime !== after.cpuTime) throw new UsageError('one of the runs measured processor time')
  for (const [name, { host, browser, date }] of [
    ['before', before],
    ['after', after],
  ] as const)
    console.log(`${name}: ${date}; ${host}; ${browser}`)
  for (const table of after.tables) {
    const old = before.tables.find(({ id }) => id === table.id)
    if (old === undefined) continue
    for (const peer of Object.keys(table.peers) as PeerName[]) {
      const [was, is] = [old.peers[peer], table.peers[peer]]
      if (was !== undefined && is !== undefined) comparePeer(`${PEER_TITLES[peer]}: ${table.title}`, was, is)
    }
  }
}
