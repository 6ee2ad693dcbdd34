/**
 * --soak MINUTES: mixed load in the large guest (kernels, processes, self-modifying code, an interpreter, a compiler)
 * while the host's memory is watched: resident memory of the renderer (guest, heaps of all workers, compiled code), the
 * page's heap, what the JIT holds. A table of samples, then how much the last third is above the middle one.
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
const SAMPLE_MIN_MS = 20_000
const SAMPLES_MAX = 60
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
  readonly heapMib: number
  readonly jitMib: number
  readonly modules: number
  readonly evicted: number
  readonly instructions: number
}

/**
 * The heap of the page's own thread. performance.measureUserAgentSpecificMemory() would count the workers', too, but
 * waits for them, and a vCPU's worker never comes back to its event loop.
 */
function pageHeap(page: Page): Promise<number> {
  return page.evaluate(
    () =>
      (performance as Performance & { readonly memory?: { readonly usedJSHeapSize: number } }).memory
        ?.usedJSHeapSize ?? 0,
  )
}

async function takeSample(peer: WebkvmPeer, startedMs: number): Promise<Sample> {
  const { jit, instructions } = await peer.stats()
  return {
    minute: (performance.now() - startedMs) / 60_000,
    rssMib: browserUsage().rssBytes / MIB,
    heapMib: (await pageHeap(peer.page)) / MIB,
    jitMib: (jit?.bytes ?? 0) / MIB,
    modules: jit?.modules ?? 0,
    evicted: jit?.evicted ?? 0,
    instructions,
  }
}

function printSample(sample: Sample): void {
  const { minute, rssMib, heapMib, jitMib, modules, evicted, instructions } = sample
  const cells = [
    minute.toFixed(1),
    rssMib.toFixed(0),
    heapMib.toFixed(1),
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
  const show = (title: string, of: (sample: Sample) => number): void => {
    const values = samples.map((sample) => of(sample))
    const [middle, last] = [mean(values.slice(third, 2 * third)), mean(values.slice(2 * third))]
    const peak = Math.max(...values)
    console.log(
      `${title}: ${middle.toFixed(1)} MiB in the middle third, ${last.toFixed(1)} in the last: ${last >= middle ? '+' : ''}${(last - middle).toFixed(1)}; peak ${peak.toFixed(1)}`,
    )
  }
  console.log('')
  show('renderer, resident', ({ rssMib }) => rssMib)
  show("the page's heap", ({ heapMib }) => heapMib)
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
    console.log('| minute | RSS MiB | page heap MiB | JIT MiB | modules | evicted | G instructions |')
    console.log('|---:|---:|---:|---:|---:|---:|---:|')
    const started = performance.now()
    const samples: Sample[] = []
    const count = Math.max(5, Math.min(SAMPLES_MAX, Math.floor((minutes * 60_000) / SAMPLE_MIN_MS)))
    for (let i = 0; i <= count; i++) {
      await sleep(Math.max(0, started + (i * minutes * 60_000) / count - performance.now()))
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
