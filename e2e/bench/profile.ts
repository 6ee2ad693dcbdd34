/** --profile KERNEL: where the time of a kernel or program goes, by function of the vCPU workers. */
import { breakDown, isWaiting, printNotes, printShares } from './breakdown.ts'
import { kernelsImage, programsImage } from './guest-image.ts'
import { kernelJobs, parseOutput } from './kernels.ts'
import type { Job } from './kernels.ts'
import { UsageError } from './options.ts'
import type { Options } from './options.ts'
import { prepareGuest, programJobs } from './programs.ts'
import { openStage } from './stage.ts'
import { traceWhile } from './trace.ts'
import { bootWebkvm } from './webkvm-peer.ts'

const TIMEOUT_MS = 300_000

function findJob(options: Options): { readonly job: Job; readonly isProgram: boolean } {
  const wanted = { ...options, kernels: new Set([options.argument]) }
  const [kernel] = kernelJobs(wanted)
  if (kernel !== undefined) return { job: kernel, isProgram: false }
  const [program] = programJobs(wanted)
  if (program !== undefined) return { job: program, isProgram: true }
  throw new UsageError(`--profile: no kernel or program "${options.argument}"; --list names them`)
}

export async function profile(options: Options): Promise<void> {
  const { job, isProgram } = findJob(options)
  const [bits = 64] = options.bits
  const image = isProgram ? programsImage(options.cpus) : kernelsImage(bits, options.cpus)
  const stage = await openStage()
  try {
    const peer = await bootWebkvm(stage.browser, stage.url, image)
    if (isProgram) await prepareGuest(peer)
    const usedMs = peer.cpuMs()
    const quiet = parseOutput(await peer.run(job.command, job.done, TIMEOUT_MS)).times[0] ?? 0
    const cpuMs = peer.cpuMs() - usedMs
    const before = await peer.stats()
    const { result: output, trace } = await traceWhile(stage.browser, () =>
      peer.run(job.command, job.done, TIMEOUT_MS),
    )
    const after = await peer.stats()
    const traced = parseOutput(output).times[0] ?? 0
    const count = after.instructions - before.instructions
    const width = isProgram ? 64 : bits
    console.log(
      `\n## ${job.name}, ${width}-bit: ${quiet.toFixed(0)} ms, ${traced.toFixed(0)} ms traced; ${(count / 1e6).toFixed(0)} M guest instructions`,
    )
    console.log(
      `\nuntraced: ${cpuMs.toFixed(0)} ms of the host's processors, ${((cpuMs / count) * 1e6).toFixed(2)} ns for a guest instruction\n`,
    )
    const { kinds, functions } = breakDown(trace.threads)
    const waited = [...kinds].filter(([kind]) => isWaiting(kind))
    printShares(new Map([...kinds].filter(([kind]) => !isWaiting(kind))), { instructions: count })
    for (const [kind, ms] of waited) console.log(`\nbesides: ${kind} ${ms.toFixed(0)} ms`)
    console.log('\n### By function\n')
    printShares(functions, { limit: 30, instructions: count })
    console.log('')
    printNotes(trace.notes)
    if (after.jit !== undefined) console.log(`\nJIT since power-on: ${JSON.stringify(after.jit)}`)
    await peer.close()
  } finally {
    await stage.close()
  }
}
