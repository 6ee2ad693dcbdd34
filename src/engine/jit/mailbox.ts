/**
 * Where a vCPU and the thread that generates code exchange a batch and its module: a SharedArrayBuffer for each vCPU, one batch
 * at a time. The vCPU never waits: it looks when the other side has set REQ_JIT, or when it has more to compile.
 *
 *   0 i32 MAIL_IDLE, MAIL_BATCH (the vCPU's turn is over), MAIL_MODULE (the compiler's is)
 *   4 i32 bytes of the module, 0 = there was no room for it
 *   8 f64 ns that generating it took
 *  16     the batch (batch.ts), later the module
 */
import { compileBatch, decodeBatch, encodeBatch } from './batch.ts'
import type { Batch } from './batch.ts'

const MAIL_IDLE = 0
const MAIL_BATCH = 1
const MAIL_MODULE = 2
const MAIL_STATE = 0
const MAIL_BYTES = 1
const MAIL_NS = 1 // in f64
const MAIL_BODY = 16

export interface CompiledModule {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Time that generating it took, ns. */
  readonly ns: number
}

/** Whoever turns batches into modules. */
export interface Compiler {
  readonly idle: boolean
  /** Takes as many regions as fit; returns how many. Only while idle. */
  submit(batch: Batch): number
  /** The module of the last batch if it is ready, empty if it could not be made; then the compiler is idle again. */
  take(): CompiledModule | undefined
}

/** In this thread, at once. */
export class InlineCompiler implements Compiler {
  readonly #now: () => number
  #made: CompiledModule | undefined

  constructor(now: () => number) {
    this.#now = now
  }

  get idle(): boolean {
    return this.#made === undefined
  }

  submit(batch: Batch): number {
    const start = this.#now()
    const bytes = compileBatch(batch)
    this.#made = { bytes, ns: this.#now() - start }
    return batch.regions.length
  }

  take(): CompiledModule | undefined {
    const made = this.#made
    this.#made = undefined
    return made
  }
}

/** The vCPU's end of a mailbox. */
export class RemoteCompiler implements Compiler {
  readonly #mailbox: SharedArrayBuffer
  readonly #head: Int32Array
  readonly #bell: Int32Array

  constructor(mailbox: SharedArrayBuffer, bell: SharedArrayBuffer) {
    this.#mailbox = mailbox
    this.#head = new Int32Array(mailbox, 0, MAIL_BODY / 4)
    this.#bell = new Int32Array(bell)
  }

  get idle(): boolean {
    return Atomics.load(this.#head, MAIL_STATE) === MAIL_IDLE
  }

  submit(batch: Batch): number {
    const count = encodeBatch(batch, new Int32Array(this.#mailbox, MAIL_BODY))
    if (count === 0) return 0
    Atomics.store(this.#head, MAIL_STATE, MAIL_BATCH)
    Atomics.add(this.#bell, 0, 1)
    Atomics.notify(this.#bell, 0)
    return count
  }

  take(): CompiledModule | undefined {
    if (Atomics.load(this.#head, MAIL_STATE) !== MAIL_MODULE) return undefined
    const bytes = new Uint8Array(this.#mailbox, MAIL_BODY, this.#head[MAIL_BYTES] ?? 0).slice()
    const ns = new Float64Array(this.#mailbox, 0, 2)[MAIL_NS] ?? 0
    Atomics.store(this.#head, MAIL_STATE, MAIL_IDLE)
    // A copy: what V8 compiles must not be shared.
    return { bytes: Uint8Array.from(bytes), ns }
  }
}

/** The compiler's end of a mailbox: true if there was a batch. */
export function serveMailbox(mailbox: SharedArrayBuffer, nowNs: () => number): boolean {
  const head = new Int32Array(mailbox, 0, MAIL_BODY / 4)
  if (Atomics.load(head, MAIL_STATE) !== MAIL_BATCH) return false
  const start = nowNs()
  const made = compileBatch(decodeBatch(new Int32Array(mailbox, MAIL_BODY)))
  const room = mailbox.byteLength - MAIL_BODY
  head[MAIL_BYTES] = made.length <= room ? made.length : 0
  if (made.length <= room) new Uint8Array(mailbox, MAIL_BODY).set(made)
  new Float64Array(mailbox, 0, 2)[MAIL_NS] = nowNs() - start
  Atomics.store(head, MAIL_STATE, MAIL_MODULE)
  return true
}
