/**
 * The body of a vCPU worker: instantiates kernel and interpreter over the shared memory and runs the guest until told to
 * stop. Messages are control only (abi/messages.types.ts); REQ_PAUSE and REQ_STOP come through CPU_REQ.
 *
 * The thread blocks for as long as the vCPU runs or sleeps: after 'start' no message is received.
 */
import {
  CPU_FAULT_ERROR,
  CPU_JIT_MASK,
  CPU_REQ,
  CPU_RIP,
  EXITREASON_JIT,
  EXITREASON_OUT_OF_MEMORY,
  EXITREASON_PAUSE,
  EXITREASON_SHUTDOWN,
  EXITREASON_STOP,
  EXITREASON_YIELD,
  REQ_INIT,
  REQ_PAUSE,
  REQ_STOP,
} from '../abi/layout.ts'
import { MESSAGE_PROTOCOL } from '../abi/messages.types.ts'
import type { FromVcpu, ToVcpu } from '../abi/messages.types.ts'
import { JIT_OFF } from '../abi/jit.ts'
import { CACHE_READY } from '../abi/code-cache.ts'
import { CPU_CODE_CACHE } from '../abi/layout.ts'
import { CodePlaces } from './jit/code-places.ts'
import { JIT_LIMITS, Jit, createRegionTable } from './jit/jit.ts'
import type { JitKernel, JitLimits, RegionSpace } from './jit/jit.ts'
import { InlineCompiler, RemoteCompiler } from './jit/mailbox.ts'
import { SharedIndex } from './jit/shared-code.ts'

/** What the thread offers: given by workers/vcpu.ts for a browser Worker or a Node worker thread. */
export interface VcpuPort {
  post(message: FromVcpu): void
  /** Monotonic ns with the epoch of the hub's clock; see ToVcpu.clockOriginMs. */
  clock(clockOriginMs: number): () => number
}

/** The exports of kernel.wasm that this loop calls itself. */
interface KernelExports extends JitKernel {
  bind(vm: number, cpu: number): void
  code_cache_init(): void
}

interface InterpExports {
  run(cpu: number): number
}

/** An engine state that must not occur; the VM stops with it. */
export class EngineError extends Error {
  override readonly name = 'EngineError'
}

export interface Engine {
  /** Runs the guest; returns an EXITREASON_*. */
  run(): number
  /** Compiled code that was dropped, in regions: its memory is free when V8 has collected it and the thread has idled. */
  readonly dropped: number
}

type StartMessage = Extract<ToVcpu, { readonly type: 'start' }>

export type EngineStart = Pick<
  StartMessage,
  'memory' | 'kernel' | 'interp' | 'vm' | 'cpu' | 'jitThreshold' | 'compiler'
>

export function createEngine(
  { memory, kernel, interp, vm, cpu, jitThreshold = 0, compiler }: EngineStart,
  now: () => number,
  kick: () => void,
  limits: JitLimits = JIT_LIMITS,
): Engine {
  const abort = (): never => {
    throw new EngineError('kernel.wasm aborted')
  }
  const words = new Int32Array(memory.buffer)
  const wait = (address: number, expected: number, timeoutMs: number): void =>
    void Atomics.wait(words, address >> 2, expected | 0, timeoutMs)
  const kernelInstance = new WebAssembly.Instance(kernel, {
    env: { memory, abort },
    host: { now, kick, wait },
  })
  const makeSpace = (): RegionSpace & { readonly interp: InterpExports } => {
    const regions = createRegionTable()
    const { exports } = new WebAssembly.Instance(interp, {
      env: { memory, regions },
      kernel: kernelInstance.exports,
    })
    const functions = { ...kernelInstance.exports, ...exports }
    return { regions, functions, interp: exports as unknown as InterpExports }
  }
  let space = makeSpace()
  const kernelExports = kernelInstance.exports as unknown as KernelExports
  const { bind, code_cache_init } = kernelExports
  bind(vm, cpu)
  const view = new DataView(memory.buffer)
  const mask = jitThreshold > 0 ? jitThreshold - 1 : JIT_OFF
  view.setUint32(cpu + CPU_JIT_MASK, mask, true)
  if (view.getUint32(view.getUint32(cpu + CPU_CODE_CACHE, true) + CACHE_READY, true) === 0) code_cache_init()
  const makeJit = (): Jit =>
    new Jit(
      {
        memory,
        cpu,
        kernel: kernelExports,
        renew: () => (space = makeSpace()),
        compiler: compiler ? new RemoteCompiler(compiler.mailbox, compiler.bell) : new InlineCompiler(now),
        places: new CodePlaces(memory, vm, limits.regions),
        ...(compiler ? { index: new SharedIndex(memory, vm) } : {}),
        limits,
        now,
      },
      space,
    )
  let jit: Jit | undefined
  return {
    get dropped() {
      return jit?.dropped ?? 0
    },
    run() {
      for (;;) {
        const reason = space.interp.run(cpu)
        if (reason !== EXITREASON_JIT) return reason
        jit ??= makeJit()
        jit.serve()
      }
    },
  }
}

/** Serves one 'start': returns when the vCPU was stopped. Failures of the engine become a 'crashed' message. */
export function runVcpu(message: StartMessage, port: VcpuPort): void {
  const { vcpu, cpu, memory, protocol } = message
  const crash = (error: unknown): void => {
    const known = error instanceof Error
    port.post({
      type: 'crashed',
      vcpu,
      message: known ? error.message : String(error),
      stack: known ? error.stack : undefined,
    })
  }
  if (protocol !== MESSAGE_PROTOCOL)
    return crash(new EngineError(`message protocol ${protocol}, want ${MESSAGE_PROTOCOL}`))
  try {
    const engine = createEngine(message, port.clock(message.clockOriginMs), () => port.post({ type: 'kick' }))
    port.post({ type: 'ready', vcpu })
    const words = new Int32Array(memory.buffer)
    const idle = new IdleTimes(engine)
    const go = (): void => {
      try {
        if (loop(engine, words, { cpu, vcpu }, port, idle)) setTimeout(go, 0)
      } catch (error) {
        crash(error)
      }
    }
    go()
  } catch (error) {
    crash(error)
  }
}

/**
 * When the thread has to go back to its event loop: V8 frees the memory of modules that nobody reaches any more in tasks of the
 * thread that made them. A while after code was dropped, because it is collected later, and several times.
 */
class IdleTimes {
  readonly #engine: Engine
  #seen = 0
  #left = 0
  #last = 0

  constructor(engine: Engine) {
    this.#engine = engine
  }

  due(): boolean {
    const { dropped } = this.#engine
    if (dropped !== this.#seen) {
      this.#seen = dropped
      this.#left = IDLE_TIMES
    }
    const now = performance.now()
    if (this.#left === 0 || now - this.#last < IDLE_INTERVAL_MS) return false
    this.#left--
    this.#last = now
    return true
  }
}

const IDLE_TIMES = 5
const IDLE_INTERVAL_MS = 500

/** Returns true when the thread has to idle before it goes on, false when the vCPU was stopped. */
function loop(
  engine: Engine,
  words: Int32Array,
  { cpu, vcpu }: { readonly cpu: number; readonly vcpu: number },
  port: VcpuPort,
  idle: IdleTimes,
): boolean {
  for (;;) {
    const reason = engine.run()
    switch (reason) {
      case EXITREASON_YIELD:
        if (idle.due()) return true
        break
      case EXITREASON_PAUSE:
        port.post({ type: 'paused', vcpu })
        sleepWhile(words, cpu, (requests) => (requests & (REQ_PAUSE | REQ_STOP)) === REQ_PAUSE)
        break
      case EXITREASON_SHUTDOWN:
      case EXITREASON_OUT_OF_MEMORY:
        port.post({ type: reason === EXITREASON_SHUTDOWN ? 'shutdown' : 'out-of-memory', vcpu })
        // The machine resets or stops it; a pause ends this sleep so that the machine gets its 'paused'.
        sleepWhile(words, cpu, (requests) => (requests & (REQ_PAUSE | REQ_STOP | REQ_INIT)) === 0)
        break
      case EXITREASON_STOP:
        port.post({ type: 'stopped', vcpu })
        return false
      default:
        throw new EngineError(
          `the run loop left with reason ${reason}, code 0x${hex(words, cpu + CPU_FAULT_ERROR)}, RIP 0x${hex(words, cpu + CPU_RIP + 4)}${hex(words, cpu + CPU_RIP)}`,
        )
    }
  }
}

const hex = (words: Int32Array, address: number): string =>
  ((words[address >>> 2] ?? 0) >>> 0).toString(16).padStart(8, '0')

/** Blocks without CPU time while the requests of the vCPU say so; whoever changes them notifies. */
function sleepWhile(words: Int32Array, cpu: number, asleep: (requests: number) => boolean): void {
  const at = (cpu + CPU_REQ) >>> 2
  for (let requests = Atomics.load(words, at); asleep(requests); requests = Atomics.load(words, at)) {
    Atomics.wait(words, at, requests)
  }
}
