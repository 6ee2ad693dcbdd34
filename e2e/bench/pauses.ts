/**
 * --pauses: how long a vCPU does not execute its guest. In the guest a process of the highest real-time priority sleeps
 * a millisecond at a time on processor 0 and notes how late it wakes, while kernels and programs run there, too. What
 * a compiler or collector of ours takes in the vCPU's own thread is lateness; so is what the host gives to others, and
 * QEMU, which compiles in small pieces, shows how much that is.
 */
import { SCRIPTS_IN_GUEST, programsImage } from './guest-image.ts'
import type { Options } from './options.ts'
import type { Peer } from './peer.ts'
import { prepareGuest } from './programs.ts'
import { bootQemu } from './qemu-peer.ts'
import { openStage } from './stage.ts'
import { bootWebkvm } from './webkvm-peer.ts'

const BENCH = `${SCRIPTS_IN_GUEST}/bench`

/** Loads on processor 0: code of every kind, so that much is compiled. */
const LOADS: readonly { readonly name: string; readonly command: string }[] = [
  { name: 'idle', command: 'sleep 1' },
  { name: 'all kernels', command: `${BENCH} -q` },
  { name: 'new code', command: `${BENCH} cold-code wide-code guest-jit` },
  { name: 'self-modifying code', command: `${BENCH} smc` },
  { name: 'python3', command: `python3 ${SCRIPTS_IN_GUEST}/json_load.py` },
  { name: 'gcc', command: `gcc -O2 -S -o /dev/null ${SCRIPTS_IN_GUEST}/compile.c` },
]
const SECONDS = 20
const QUICK_SECONDS = 5

async function lateness(peer: Peer, command: string, seconds: number): Promise<string> {
  // An interactive shell gives a background job a process group of its own.
  const load = `( while :; do ${command}; done ) > /dev/null 2>&1 & load=$!`
  // Both on one processor, whatever the guest has.
  const line = `taskset -p 1 $$ > /dev/null; ${load}; ${BENCH} -w ${seconds}; kill -9 -- -$load; taskset -p ff $$ > /dev/null; echo measure"d"`
  const output = await peer.run(line, 'measured\r\n', (seconds + 120) * 1000)
  return /^lateness (.*?)\r?$/m.exec(output)?.[1] ?? `no result:\n${output}`
}

/** "wakes 4700 mean 0.14 worst 22.1 over-1 40 ..." as cells. */
function printRow(peer: string, load: string, result: string): void {
  const field = (name: string): string => new RegExp(`\\b${name} ([\\d.]+)`).exec(result)?.[1] ?? '-'
  const over = [1, 2, 5, 10, 20, 50, 100].map((ms) => field(`over-${ms}`))
  console.log(`| ${[peer, load, field('wakes'), field('mean'), field('worst'), ...over].join(' | ')} |`)
}

export async function measurePauses(options: Options): Promise<void> {
  const seconds = options.quick ? QUICK_SECONDS : SECONDS
  const stage = await openStage()
  const image = programsImage(options.cpus)
  const peers = {
    webkvm: () => bootWebkvm(stage.browser, stage.url, image),
    qemu: () => bootQemu(image),
  }
  console.log(
    `## Lateness of a 1 ms sleeper of highest priority, ${options.cpus} vCPUs (ms; then how often more)\n`,
  )
  console.log('| peer | load | wakes | mean | worst | > 1 | > 2 | > 5 | > 10 | > 20 | > 50 | > 100 |')
  console.log('|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|')
  try {
    for (const name of ['webkvm', 'qemu'] as const) {
      if (!options.peers.has(name)) continue
      const peer: Peer = await peers[name]()
      await prepareGuest(peer)
      for (const { name: load, command } of LOADS)
        printRow(name, load, await lateness(peer, command, seconds))
      await peer.close()
    }
  } finally {
    await stage.close()
  }
}
