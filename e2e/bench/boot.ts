/** --boot: where the time of a boot goes. One boot for the time, one under Chromium's tracing for its parts. */
import type { MachineStats } from '#machine/stats.ts'
import { breakDown, printNotes, printShares } from './breakdown.ts'
import { kernelsImage } from './guest-image.ts'
import type { Bits, Options } from './options.ts'
import type { BootImage } from './peer.ts'
import { bootQemu } from './qemu-peer.ts'
import { median } from './report.ts'
import { openStage } from './stage.ts'
import type { Stage } from './stage.ts'
import type { Trace } from './trace.ts'
import { traceWhile } from './trace.ts'
import { bootPage, bootWebkvm, openPage } from './webkvm-peer.ts'

const seconds = (ms: number | undefined): string => (ms === undefined ? '-' : `${(ms / 1e3).toFixed(2)} s`)

function printCounters(stats: MachineStats): void {
  const { instructions, busyNs, haltNs, exits, exitWaitNs, exitsByKind, jit } = stats
  console.log(
    `\n${(instructions / 1e6).toFixed(0)} M instructions, ${(instructions / (busyNs / 1e3)).toFixed(0)} MIPS while not asleep; ` +
      `asleep in HLT ${(haltNs / 1e6).toFixed(0)} ms (all vCPUs)`,
  )
  const each = exits === 0 ? '' : `, ${(exitWaitNs / exits / 1e3).toFixed(1)} us each`
  console.log(`${exits} exits waited ${(exitWaitNs / 1e6).toFixed(0)} ms for the hub${each}; by kind:`)
  console.log(
    Object.entries(exitsByKind)
      .map(([kind, count]) => `  ${kind} ${count}`)
      .join('\n'),
  )
  if (jit === undefined) return
  const share =
    jit.instructions === 0
      ? ''
      : `; ${((jit.instructions / instructions) * 100).toFixed(0)} % of the instructions ran compiled`
  console.log(
    `JIT: ${jit.regions} regions in ${jit.modules} modules, ${(jit.bytes / 1024).toFixed(0)} KiB live, ${jit.evicted} evicted; ` +
      `code generation ${jit.codegenMs.toFixed(0)} ms, compilation ${jit.compileMs.toFixed(0)} ms${share}`,
  )
}

function printPage(trace: Trace): void {
  const functions = new Map<string, number>()
  for (const { isWorker, places } of trace.threads) {
    if (isWorker) continue
    for (const { frames, ms } of places) {
      const { functionName = '', url = '' } = frames[0] ?? {}
      if (functionName === '(idle)' || functionName === '(program)') continue
      // Scripts of the test driver have no address.
      if (url === '' && !/^\(|atob|js-to-wasm|wasm-to-js/.test(functionName)) continue
      const name = functionName === 'atob' ? 'handing over the files (not part of a boot)' : functionName
      functions.set(name || '(anonymous)', (functions.get(name || '(anonymous)') ?? 0) + ms)
    }
  }
  console.log("\n### The page's main thread: set-up, devices, terminal (ms)\n")
  printShares(functions, { limit: 12 })
}

async function bootTimes(stage: Stage, image: BootImage, options: Options): Promise<void> {
  const own: number[] = []
  const setups: number[] = []
  const qemu: number[] = []
  for (let i = 0; i < options.repeat; i++) {
    const peer = await bootWebkvm(stage.browser, stage.url, image)
    own.push(peer.bootMs)
    setups.push(peer.setupMs)
    if (i === options.repeat - 1) printCounters(await peer.stats())
    await peer.close()
    if (!options.peers.has('qemu')) continue
    const other = await bootQemu(image)
    qemu.push(other.bootMs)
    await other.close()
  }
  console.log(
    `\nto the prompt: webkvm ${seconds(median(own))}, of that ${seconds(median(setups))} until the guest runs ` +
      `(files read, engine compiled, workers started, kernel placed); QEMU TCG ${seconds(median(qemu))}`,
  )
}

async function bootBreakdown(stage: Stage, image: BootImage): Promise<void> {
  const page = await openPage(stage.browser, stage.url, image)
  const { result: peer, trace } = await traceWhile(stage.browser, () => bootPage(page, image))
  console.log(`\n### Workers, all vCPUs together, in a traced boot of ${seconds(peer.bootMs)}\n`)
  const { kinds, functions } = breakDown(trace.threads)
  printShares(kinds)
  console.log('\n### Functions of the workers\n')
  printShares(functions, { limit: 25 })
  console.log('')
  printNotes(trace.notes)
  printPage(trace)
  await peer.close()
}

export async function measureBoot(options: Options): Promise<void> {
  const stage = await openStage()
  const title = (bits: Bits): string => (bits === 64 ? 'default guest, 64-bit' : 'Debian 686, 32-bit')
  try {
    for (const bits of options.bits) {
      console.log(`\n## Boot of the ${title(bits)}, ${options.cpus} vCPUs`)
      const image = kernelsImage(bits, options.cpus)
      await bootTimes(stage, image, options)
      await bootBreakdown(stage, image)
    }
  } finally {
    await stage.close()
  }
}
