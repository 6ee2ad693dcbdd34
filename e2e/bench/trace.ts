/**
 * Chromium's own tracing (the Tracing domain of its DevTools protocol) around a piece of work: CPU samples of the page
 * and its workers with names of Wasm functions, and what V8 compiled meanwhile. Costs some 20 % of speed.
 */
import type { Browser } from 'playwright-core'

const CATEGORIES = [
  '__metadata',
  'v8',
  'v8.wasm',
  'disabled-by-default-v8.cpu_profiler',
  'disabled-by-default-v8.wasm.detailed',
]
const BUFFER_KB = 400_000

interface CallFrame {
  readonly functionName: string
  readonly url?: string
}

interface ProfileNode {
  readonly id: number
  readonly parent?: number
  readonly callFrame: CallFrame
}

interface TraceEvent {
  readonly name: string
  readonly cat: string
  readonly ph: string
  readonly pid: number
  readonly tid: number
  readonly id?: string
  readonly dur?: number
  readonly args: {
    readonly name?: string
    readonly data?: {
      readonly cpuProfile?: { readonly nodes?: readonly ProfileNode[]; readonly samples?: readonly number[] }
      readonly timeDeltas?: readonly number[]
    }
  }
}

/** One sampled place: frames from the innermost outwards, and the time that was found there. */
export interface Place {
  readonly frames: readonly CallFrame[]
  readonly ms: number
}

export interface TracedThread {
  readonly name: string
  readonly isWorker: boolean
  readonly places: readonly Place[]
}

export interface Trace {
  /** The page's main thread and its workers. */
  readonly threads: readonly TracedThread[]
  /** V8's own notes in the page's process: how often, and how long in all. */
  readonly notes: ReadonlyMap<string, { readonly count: number; readonly ms: number }>
}

export async function traceWhile<T>(
  browser: Browser,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly trace: Trace }> {
  const session = await browser.newBrowserCDPSession()
  const events: TraceEvent[] = []
  session.on('Tracing.dataCollected', ({ value }) => {
    for (const event of value) events.push(event as unknown as TraceEvent)
  })
  await session.send('Tracing.start', {
    transferMode: 'ReportEvents',
    traceConfig: {
      recordMode: 'recordAsMuchAsPossible',
      traceBufferSizeInKb: BUFFER_KB,
      includedCategories: CATEGORIES,
    },
  })
  const result = await work()
  const complete = new Promise<void>((resolve) => session.once('Tracing.tracingComplete', () => resolve()))
  await session.send('Tracing.end')
  await complete
  await session.detach()
  return { result, trace: readTrace(events) }
}

interface Profile {
  readonly pid: number
  readonly tid: number
  readonly nodes: Map<number, ProfileNode>
  readonly selfUs: Map<number, number>
}

/** The samples come in chunks that name their profile by process and id. */
function readProfiles(events: readonly TraceEvent[]): Profile[] {
  const profiles = new Map<string, Profile>()
  for (const { name, pid, tid, id } of events) {
    if (name === 'Profile') profiles.set(`${pid}:${id}`, { pid, tid, nodes: new Map(), selfUs: new Map() })
  }
  for (const { name, pid, id, args } of events) {
    const profile = name === 'ProfileChunk' ? profiles.get(`${pid}:${id}`) : undefined
    if (profile === undefined) continue
    for (const node of args.data?.cpuProfile?.nodes ?? []) profile.nodes.set(node.id, node)
    for (const [i, node] of (args.data?.cpuProfile?.samples ?? []).entries()) {
      const us = args.data?.timeDeltas?.[i] ?? 0
      profile.selfUs.set(node, (profile.selfUs.get(node) ?? 0) + us)
    }
  }
  return [...profiles.values()]
}

function framesOf(profile: Profile, id: number): CallFrame[] {
  const frames: CallFrame[] = []
  for (let node = profile.nodes.get(id); node !== undefined; node = profile.nodes.get(node.parent ?? -1))
    frames.push(node.callFrame)
  return frames
}

function readTrace(events: readonly TraceEvent[]): Trace {
  const threadNames = new Map<string, string>()
  for (const { name, pid, tid, args } of events)
    if (name === 'thread_name') threadNames.set(`${pid}:${tid}`, args.name ?? '')
  const nameOf = (pid: number, tid: number): string => threadNames.get(`${pid}:${tid}`) ?? ''
  const profiles = readProfiles(events)
  // Other renderers belong to the browser's own start page: only ours has workers.
  const page = profiles.find(({ pid, tid }) => nameOf(pid, tid).startsWith('DedicatedWorker'))?.pid
  const threads = profiles
    .filter(({ pid }) => pid === page)
    .map((profile) => {
      const isWorker = nameOf(profile.pid, profile.tid).startsWith('DedicatedWorker')
      return {
        name: isWorker ? 'worker' : 'page',
        isWorker,
        places: [...profile.selfUs].map(([id, us]) => ({ frames: framesOf(profile, id), ms: us / 1e3 })),
      }
    })
  const notes = new Map<string, { count: number; ms: number }>()
  for (const { name, pid, ph, dur } of events) {
    if (pid !== page || ph !== 'X' || !/^(wasm\.|MinorGC|MajorGC)/.test(name)) continue
    const note = notes.get(name) ?? { count: 0, ms: 0 }
    notes.set(name, { count: note.count + 1, ms: note.ms + (dur ?? 0) / 1e3 })
  }
  return { threads, notes }
}
