/**
 * Where a vCPU and the thread that generates code exchange a batch, or the number of one that was made already, and its module: a
 * SharedArrayBuffer for each vCPU, one batch at a time. The vCPU never waits: it looks when the other side has set REQ_JIT, or
 * when it has more to compile.
 *
 *   0 i32 MAIL_IDLE; MAIL_BATCH, MAIL_FETCH (the vCPU's turn is over); MAIL_MODULE (the compiler's is)
 *   4 i32 bytes of the module, 0 = there was no room for it, or it is not kept any more
 *   8 f64 ns that generating it took
 *  16 i32 words of the batch, if it was fetched
 *  20 i32 its number, 0 = it is not kept
 *  32     the batch (batch.ts), later the module and, if it was fetched, at the next multiple of 4, the batch
 */
import { EncodedBatch, compileBatch, encodeBatch } from './batch.ts'
import type { Batch } from './batch.ts'
import type { CodeStore } from './shared-code.ts'

const MAIL_IDLE = 0
const MAIL_BATCH = 1
const MAIL_MODULE = 2
const MAIL_FETCH = 3
const MAIL_STATE = 0
const MAIL_BYTES = 1
const MAIL_NS = 1 // in f64
const MAIL_WORDS = 4
const MAIL_NUMBER = 5
const MAIL_BODY = 32

export interface CompiledModule {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Time that generating it took, ns. */
  readonly ns: number
  /** In the store; 0 = it is not kept. */
  readonly number: number
  /** What it was made from, if it was fetched. */
  readonly words?: Int32Array
}

/** Whoever turns batches into modules. */
export interface Compiler {
  readonly idle: boolean
  /** Takes as many regions as fit; returns how many. Only while idle. */
  submit(batch: Batch): number
  /** Asks for a batch that was made already (shared-code.ts). Only while idle. */
  fetch(number: number): void
  /** The module of the last batch if it is ready, empty if there is none; then the compiler is idle again. */
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
    this.#made = { bytes, ns: this.#now() - start, number: 0 }
    return batch.regions.length
  }

  fetch(): void {
    throw new Error('a thread that compiles for itself keeps no modules')
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
    const words = new Int32Array(this.#mailbox, MAIL_BODY)
    this.#head[MAIL_WORDS] = encodeBatch(batch, words)
    const { count } = new EncodedBatch(words)
    if (count > 0) this.#hand(MAIL_BATCH)
    return count
  }

  fetch(number: number): void {
    this.#head[MAIL_NUMBER] = number
    this.#hand(MAIL_FETCH)
  }

  #hand(state: number): void {
    Atomics.store(this.#head, MAIL_STATE, state)
    Atomics.add(this.#bell, 0, 1)
    Atomics.notify(this.#bell, 0)
  }

  take(): CompiledModule | undefined {
    if (Atomics.load(this.#head, MAIL_STATE) !== MAIL_MODULE) return undefined
    const length = this.#head[MAIL_BYTES] ?? 0
    // Copies: what V8 compiles must not be shared.
    const bytes = Uint8Array.from(new Uint8Array(this.#mailbox, MAIL_BODY, length))
    const words = Int32Array.from(
      new Int32Array(this.#mailbox, MAIL_BODY + aligned(length), this.#head[MAIL_WORDS] ?? 0),
    )
    const ns = new Float64Array(this.#mailbox, 0, 2)[MAIL_NS] ?? 0
    const number = this.#head[MAIL_NUMBER] ?? 0
    Atomics.store(this.#head, MAIL_STATE, MAIL_IDLE)
    return words.length > 0 ? { bytes, ns, number, words } : { bytes, ns, number }
  }
}

const aligned = (bytes: number): number => (bytes + 3) & ~3

/**
 * The compiler's end of a mailbox: true if there was something to do.
 *
 * @param store keeps what is made, for other vCPUs
 */
export function serveMailbox(mailbox: SharedArrayBuffer, nowNs: () => number, store?: CodeStore): boolean {
  const head = new Int32Array(mailbox, 0, MAIL_BODY / 4)
  const state = Atomics.load(head, MAIL_STATE)
  if (state !== MAIL_BATCH && state !== MAIL_FETCH) return false
  const start = nowNs()
  const count = head[MAIL_WORDS] ?? 0
  head[MAIL_WORDS] = 0
  head[MAIL_BYTES] = 0
  if (state === MAIL_BATCH) makeModule(mailbox, head, count, store)
  else hand(mailbox, head, store)
  new Float64Array(mailbox, 0, 2)[MAIL_NS] = nowNs() - start
  Atomics.store(head, MAIL_STATE, MAIL_MODULE)
  return true
}

function makeModule(mailbox: SharedArrayBuffer, head: Int32Array, count: number, store?: CodeStore): void {
  const words = new Int32Array(mailbox, MAIL_BODY, count)
  const batch = new EncodedBatch(words).all
  const made = compileBatch(batch)
  if (made.length > mailbox.byteLength - MAIL_BODY) return
  head[MAIL_NUMBER] = store?.add(batch, words, made) ?? 0
  new Uint8Array(mailbox, MAIL_BODY).set(made)
  head[MAIL_BYTES] = made.length
}

function hand(mailbox: SharedArrayBuffer, head: Int32Array, store?: CodeStore): void {
  const found = store?.get(head[MAIL_NUMBER] ?? 0)
  if (!found) return
  const { module, words } = found
  const behind = MAIL_BODY + aligned(module.length)
  if (behind + words.byteLength > mailbox.byteLength) return
  new Uint8Array(mailbox, MAIL_BODY).set(module)
  new Int32Array(mailbox, behind).set(words)
  head[MAIL_BYTES] = module.length
  head[MAIL_WORDS] = words.length
}
