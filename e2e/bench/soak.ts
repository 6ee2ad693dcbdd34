/**
 * --soak MINUTES: mixed load in the large guest (kernels, processes, self-modifying code, an interpreter, a compiler)
 * while the host's memory is watched: resident memory of the renderer, the page's own account of it, what the JIT
 * holds. A table of samples, then how much the last third is above the middle one.
 */
import type { Page } from 'playwright-core'

import { browserUsage } from '../processes.ts'
import { SCRIPTS_IN_GUEST, programsImage } from './guest-image.ts'
import { UsageError } from './options.ts'
import type { Options } from './options.ts'
import { prepareGuest } from './programs.ts'
import { openStage, sleep } from './stage.ts'
import { bootWebkvm } from './webkvm-peer.ts'
import type { WebkvmPeer } from './webkvm-peer.ts'

const MIB = 1 << 20
const SAMPLES = 60
const BENCH = `${SCRIPTS_IN_GUEST}/bench`

/** Each processor of the guest has one of these for ever; a turn is some seconds. */
const LOADS = [
  `${BENCH} -q sieve fib bytecode matmul nbody x87 sse-int trees cold-code wide-code guest-jit smc`,
  `${BENCH} -q syscall pipe fork exec mmap file signal; python3 ${SCRIPTS_IN_GUEST}/json_load.py; gcc -O1 -c -o /tmp/soak.o ${SCRIPTS_IN_GUEST}/compile.c`,
]

interface Sample {
  readonly minute: number
  /** Resident memory of the page with its workers. */
  readonly rssMib: number
  /** What JavaScript and Wasm of the page hold, by the browser's own count; the guest's memory is in it. */
  readonly ownMib: number | undefined
  readonly jitMib: number
  readonly modules: number
  readonly evicted: number
  readonly instructions: number
}

/** The collector runs before this answers, so it is not only garbage that is counted. */
function ownMemory(page: Page): Promise<number | undefined> {
  return page.evaluate(async () => {
    const { measureUserAgentSpecificMemory: measure } = performance as Performance & {
      readonly measureUserAgentSpecificMemory?: () => Promise<{ readonly bytes: number }>
    }
    return (await measure?.call(performance))?.bytes
  })
}

/** The page's count is left out when it takes longer: the browser waits for a quiet moment. */
const OWN_TIMEOUT_MS = 30_000

async function takeSample(peer: WebkvmPeer, startedMs: number): Promise<Sample> {
  const own = await Promise.race([ownMemory(peer.page), sleep(OWN_TIMEOUT_MS).then(() => undefined)])
  const { jit, instructions } = await peer.stats()
  return {
    minute: (performance.now() - startedMs) / 60_000,
    rssMib: browserUsage().rssBytes / MIB,
    ownMib: own === undefined ? undefined : own / MIB,
    jitMib: (jit?.bytes ?? 0) / MIB,
    modules: jit?.modules ?? 0,
    evicted: jit?.evicted ?? 0,
    instructions,
  }
}

function printSample(sample: Sample): void {
  const { minute, rssMib, ownMib, jitMib, modules, evicted, instructions } = sample
  const cells = [
    minute.toFixed(1),
    rssMib.toFixed(0),
    ownMib?.toFixed(0) ?? '-',
    jitMib.toFixed(2),
    modules,
    evicted,
    (instructions / 1e9).toFixed(1),
  ]
  console.log(`| ${cells.join(' | ')} |`)
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)

/** What is filled once (the guest's memory, code caches) is filled in the first third. */
function printGrowth(samples: readonly Sample[]): void {
  const third = Math.floor(samples.length / 3)
  const show = (title: string, of: (sample: Sample) => number | undefined): void => {
    const values = samples.map((sample) => of(sample) ?? 0)
    const [middle, last] = [mean(values.slice(third, 2 * third)), mean(values.slice(2 * third))]
    const peak = Math.max(...values)
    console.log(
      `${title}: ${middle.toFixed(1)} MiB in the middle third, ${last.toFixed(1)} in the last: ${last >= middle ? '+' : ''}${(last - middle).toFixed(1)}; peak ${peak.toFixed(1)}`,
    )
  }
  console.log('')
  show('renderer, resident', ({ rssMib }) => rssMib)
  show('page, own count', ({ ownMib }) => ownMib)
  show('JIT, live modules', ({ jitMib }) => jitMib)
}

export async function soak(options: Options): Promise<void> {
  const minutes = Number(options.argument)
  if (!(minutes > 0)) throw new UsageError(`--soak wants minutes, not "${options.argument}"`)
  const stage = await openStage()
  try {
    const peer = await bootWebkvm(stage.browser, stage.url, programsImage(options.cpus))
    await prepareGuest(peer)
    const jobs = LOADS.map((load) => `( while :; do ${load}; done ) > /tmp/soak.log 2>&1 &`).join(' ')
    await peer.run(`${jobs} echo soakin"g"`, 'soaking\r\n', 60_000)
    console.log('| minute | RSS MiB | own count MiB | JIT MiB | modules | evicted | G instructions |')
    console.log('|---:|---:|---:|---:|---:|---:|---:|')
    const started = performance.now()
    const samples: Sample[] = []
    for (let i = 0; i <= SAMPLES; i++) {
      await sleep(Math.max(0, started + (i * minutes * 60_000) / SAMPLES - performance.now()))
      const sample = await takeSample(peer, started)
      samples.push(sample)
      printSample(sample)
    }
    printGrowth(samples)
    // Load that went wrong would have made this a measurement of nothing.
    const trouble = await peer.run(
      'dmesg | grep -cE "BUG|Oops|segfault|oom-kill"; grep -c failed /tmp/soak.log; echo checke"d"',
      'checked\r\n',
      60_000,
    )
    console.log(`lines of trouble in the guest's logs: ${trouble.match(/^\d+/gm)?.join(' and ') ?? '?'}`)
    await peer.close()
  } finally {
    await stage.close()
  }
}
