/** Sorts CPU samples of vCPU workers by what they were doing, and by function. */
import type { Place, TracedThread } from './trace.ts'

/** Modules of kernel.wasm (src/kernel), by what they are for. */
const KERNEL_PARTS: readonly (readonly [RegExp, string])[] = [
  [/^(decoder|code-cache)/, 'decode'],
  [/^(mmu|paging|tlb|frames|rmw)/, 'page walks and TLB'],
  [/^(irqchip|interrupt|delivery|iret|pv|clock)/, 'interrupts, faults, time'],
  [/^(exit|io|mmio)/, 'exits'],
  [/^fp/, 'floating point helpers'],
  [/^(strings|simd)/, 'string and vector helpers'],
  [/^run/, 'block look-up'],
]

const KERNEL_PREFIX = 'src/kernel/'
const isKernel = (name: string): boolean => name.startsWith(KERNEL_PREFIX)

export interface Breakdown {
  /** ms by kind of work. */
  readonly kinds: ReadonlyMap<string, number>
  /** ms by function, what runs only. */
  readonly functions: ReadonlyMap<string, number>
}

const ASLEEP = 'asleep (HLT)'
const HUB = "waiting for the hub's answer"

const IDLE = 'idle worker'
export const isWaiting = (kind: string): boolean => kind === ASLEEP || kind === HUB || kind === IDLE

const HOST_CALLS = 'JavaScript: clock and other host calls'
const CODEGEN = 'JIT: forming regions, writing Wasm'
const COMPILE = 'JIT: new WebAssembly.Module and Instance'

/** What the kernel calls is the host; what no function of ours called is the JIT, between two runs of the guest. */
function classifyScript({ frames }: Place): readonly [kind: string, name: string] {
  const name = frames[0]?.functionName ?? ''
  const caller = frames.find(({ functionName }) => isKernel(functionName))?.functionName
  if (caller === undefined) return [CODEGEN, `js ${name === '' ? '(anonymous)' : name}`]
  // Most of these have no name of their own.
  return [HOST_CALLS, `js ${name === '' ? '' : `${name} `}from kernel ${caller.slice(KERNEL_PREFIX.length)}`]
}

/** Functions of interp.wasm that compiled code goes through (src/engine/interp/dispatch.ts). */
const BETWEEN_REGIONS = new Set(['dispatch', 'link', 'cc_commit'])

function classifyInterpreter(name: string): readonly [kind: string, name: string] {
  if (BETWEEN_REGIONS.has(name)) return ['going between compiled regions', name]
  return ['interpret', name === 'run' ? 'interpreter loop' : `handler ${name}`]
}

type Classify = (place: Place) => readonly [kind: string, name: string]

/** kernel.wasm and interp.wasm have names; modules that the JIT makes are all the others. */
function classifier(places: readonly Place[]): Classify {
  const known = new Map<string, 'kernel' | 'interpreter'>()
  for (const { frames } of places) {
    for (const { functionName, url = '' } of frames) {
      if (!url.startsWith('wasm://')) continue
      if (isKernel(functionName)) known.set(url, 'kernel')
      else if (functionName === 'run' && known.get(url) === undefined) known.set(url, 'interpreter')
    }
  }
  return (place) => {
    const { frames } = place
    const { functionName: name = '', url = '' } = frames[0] ?? {}
    if (/^(js-to-wasm|wasm-to-js)/.test(name)) return [HOST_CALLS, name.split(':')[0] ?? name]
    if (url.startsWith('wasm://')) {
      const module = known.get(url)
      if (module === 'interpreter') return classifyInterpreter(name)
      if (module === undefined) return ['compiled guest code', 'compiled guest code']
      const part = name.slice(KERNEL_PREFIX.length)
      const kind = KERNEL_PARTS.find(([pattern]) => pattern.test(part))?.[1]
      return [kind ?? 'other helpers of kernel.wasm', `kernel ${part}`]
    }
    if (name === 'wait') {
      const forHub = frames.some((frame) => /exit_sync|posted_room|trace_room/.test(frame.functionName))
      return forHub ? [HUB, HUB] : [ASLEEP, ASLEEP]
    }
    if (name === '(garbage collector)') return ['garbage collection', name]
    if (name === '(idle)') return [IDLE, name]
    if (name === 'Module' || name === 'Instance') return [COMPILE, `new WebAssembly.${name}`]
    if (url !== '' || name === 'now') return classifyScript(place)
    return ['V8 itself: compiling, linking', name]
  }
}

export function breakDown(threads: readonly TracedThread[]): Breakdown {
  const places = threads.filter(({ isWorker }) => isWorker).flatMap((thread) => thread.places)
  const classify = classifier(places)
  const kinds = new Map<string, number>()
  const functions = new Map<string, number>()
  for (const place of places) {
    const [kind, name] = classify(place)
    kinds.set(kind, (kinds.get(kind) ?? 0) + place.ms)
    if (!isWaiting(kind)) functions.set(name, (functions.get(name) ?? 0) + place.ms)
  }
  return { kinds, functions }
}

export interface ShareOptions {
  /** Lines at most; what is below 0.2 % goes into one line, too. */
  readonly limit?: number
  /** Guest instructions: adds a column with ns for each. */
  readonly instructions?: number
}

const LEAST_SHARE = 0.002

/** "| what | ms | share |" lines, the greatest first. */
export function printShares(shares: ReadonlyMap<string, number>, options: ShareOptions = {}): void {
  const { limit = 40, instructions } = options
  const total = [...shares.values()].reduce((sum, ms) => sum + ms, 0)
  const sorted = [...shares].toSorted((a, b) => b[1] - a[1])
  const shown = sorted.filter(([, ms], i) => i < limit && ms >= total * LEAST_SHARE)
  const rest = total - shown.reduce((sum, [, ms]) => sum + ms, 0)
  const line = (name: string, ms: number): void => {
    const each = instructions === undefined ? '' : ` ${((ms * 1e6) / instructions).toFixed(3)} |`
    console.log(`| ${name} | ${ms.toFixed(0)} | ${((ms / total) * 100).toFixed(1)} % |${each}`)
  }
  const [title, rule] = instructions === undefined ? ['', ''] : [' ns per instruction |', '---:|']
  console.log(`| | ms | share |${title}\n|---|---:|---:|${rule}`)
  for (const [name, ms] of shown) line(name, ms)
  if (rest > total * 0.001) line(`${sorted.length - shown.length} more`, rest)
}

/** What V8 notes of its own: a lazy compilation happens inside a guest's instruction, the top tier on other threads. */
const NOTES: Readonly<Record<string, string>> = {
  'wasm.SyncCompile': 'new WebAssembly.Module',
  'wasm.SyncInstantiate': 'new WebAssembly.Instance',
  'wasm.CompileLazy': 'first calls (Liftoff, in the caller)',
  'wasm.TopTierCompilation': 'TurboFan (on other threads)',
  MinorGC: 'garbage collection, young',
  MajorGC: 'garbage collection, old',
}

export function printNotes(
  notes: ReadonlyMap<string, { readonly count: number; readonly ms: number }>,
): void {
  console.log('| V8 | times | ms |\n|---|---:|---:|')
  for (const [name, title] of Object.entries(NOTES)) {
    const note = notes.get(name)
    if (note !== undefined) console.log(`| ${title} | ${note.count} | ${note.ms.toFixed(1)} |`)
  }
}
