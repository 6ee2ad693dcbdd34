/**
 * One character stream of a machine (a serial port or a virtio console port) as its user sees it: bytes out to
 * listeners, bytes in to the guest, and waiting for text. The recent output is kept so that a wait that starts after
 * the text came still finds it.
 */

/** How much recent output is kept for waitForText and for late listeners: a boot log fits. */
const HISTORY_CHARS = 256 * 1024

export interface WaitOptions {
  /** Milliseconds until the wait fails; default 60 000. */
  readonly timeoutMs?: number
  /** Search only output after this mark (see ConsoleStream.mark); default: everything kept and not yet matched. */
  readonly from?: number
}

export interface TextMatch {
  readonly text: string
  readonly groups: readonly (string | undefined)[]
  /** Mark after the match. */
  readonly end: number
}

/** waitForText ran out of time, or the machine stopped first. The message ends with the last lines of output. */
export class WaitError extends Error {
  override readonly name = 'WaitError'
}

interface Waiter {
  readonly pattern: string | RegExp
  readonly from: number
  resolve(match: TextMatch): void
  reject(error: Error): void
  readonly timer: ReturnType<typeof setTimeout>
}

export class ConsoleStream {
  readonly name: string
  readonly #decoder = new TextDecoder('utf-8')
  readonly #listeners = new Set<(bytes: Uint8Array) => void>()
  readonly #waiters = new Set<Waiter>()
  #history = ''
  /** Characters dropped from the front of the history. */
  #dropped = 0
  #consumed = 0
  /** Where the output since the machine's start or reset begins. */
  #start = 0
  #sink: ((bytes: Uint8Array) => void) | undefined
  #pendingInput: Uint8Array[] = []

  constructor(name: string) {
    this.name = name
  }

  /** Position after the last character of output so far, for WaitOptions.from. */
  get mark(): number {
    return this.#dropped + this.#history.length
  }

  /** A wait has found its text since the machine was started or reset. */
  get matched(): boolean {
    return this.#consumed > this.#start
  }

  /** Recent output as text, ANSI sequences included. */
  get output(): string {
    return this.#history
  }

  /** Calls back with each piece of output; returns what stops it. `replay` first delivers the kept history. */
  onOutput(listener: (bytes: Uint8Array) => void, options: { readonly replay?: boolean } = {}): () => void {
    if (options.replay === true && this.#history !== '') listener(new TextEncoder().encode(this.#history))
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Sends text or bytes to the guest, as if typed. */
  send(input: string | Uint8Array): void {
    const bytes = typeof input === 'string' ? new TextEncoder().encode(input) : input
    if (bytes.length === 0) return
    if (this.#sink === undefined) this.#pendingInput.push(bytes)
    else this.#sink(bytes)
  }

  /** Resolves at the first match of a string or regular expression in the output. */
  waitForText(pattern: string | RegExp, options: WaitOptions = {}): Promise<TextMatch> {
    const from = options.from ?? this.#consumed
    const timeoutMs = options.timeoutMs ?? 60_000
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter)
        reject(
          new WaitError(
            `${this.name}: no ${describe(pattern)} within ${timeoutMs} ms. Last output:\n${this.tail()}`,
          ),
        )
      }, timeoutMs)
      const waiter: Waiter = { pattern, from, resolve, reject, timer }
      if (!this.#tryMatch(waiter)) this.#waiters.add(waiter)
    })
  }

  /** Waits that begin from now on see only later output: the machine starts anew. */
  skipOutput(): void {
    this.#consumed = this.mark
    this.#start = this.mark
  }

  /** The last lines of output, for messages. */
  tail(lines = 12): string {
    return this.#history.split('\n').slice(-lines).join('\n')
  }

  /** The device's side: output from the guest. */
  receive(bytes: Uint8Array): void {
    for (const listener of this.#listeners) listener(bytes)
    // A shared buffer cannot be decoded in place.
    const copy = bytes.buffer instanceof ArrayBuffer ? bytes : Uint8Array.from(bytes)
    this.#history += this.#decoder.decode(copy, { stream: true })
    if (this.#history.length > HISTORY_CHARS * 2) {
      const excess = this.#history.length - HISTORY_CHARS
      this.#history = this.#history.slice(excess)
      this.#dropped += excess
    }
    for (const waiter of this.#waiters) if (this.#tryMatch(waiter)) this.#waiters.delete(waiter)
  }

  /** The device's side: where input goes. Input sent before the device existed is delivered now. */
  connect(sink: ((bytes: Uint8Array) => void) | undefined): void {
    this.#sink = sink
    if (sink === undefined) return
    for (const bytes of this.#pendingInput.splice(0)) sink(bytes)
  }

  /** Fails every wait: the machine is gone. */
  close(reason: string): void {
    for (const waiter of this.#waiters) {
      clearTimeout(waiter.timer)
      waiter.reject(
        new WaitError(
          `${this.name}: ${reason} while waiting for ${describe(waiter.pattern)}. Last output:\n${this.tail()}`,
        ),
      )
    }
    this.#waiters.clear()
  }

  #tryMatch(waiter: Waiter): boolean {
    const start = Math.max(0, waiter.from - this.#dropped)
    const text = this.#history.slice(start)
    const found =
      typeof waiter.pattern === 'string' ? indexMatch(text, waiter.pattern) : regexMatch(text, waiter.pattern)
    if (found === undefined) return false
    clearTimeout(waiter.timer)
    const end = this.#dropped + start + found.end
    this.#consumed = Math.max(this.#consumed, end)
    waiter.resolve({ text: found.text, groups: found.groups, end })
    return true
  }
}

interface Found {
  readonly text: string
  readonly groups: readonly (string | undefined)[]
  readonly end: number
}

function indexMatch(text: string, wanted: string): Found | undefined {
  const at = text.indexOf(wanted)
  return at < 0 ? undefined : { text: wanted, groups: [], end: at + wanted.length }
}

function regexMatch(text: string, wanted: RegExp): Found | undefined {
  // A sticky or global expression carries state between calls; a wait must not.
  const match = new RegExp(wanted.source, wanted.flags.replaceAll(/[gy]/g, '')).exec(text)
  if (match === null) return undefined
  return { text: match[0], groups: match.slice(1), end: match.index + match[0].length }
}

const describe = (pattern: string | RegExp): string =>
  typeof pattern === 'string' ? JSON.stringify(pattern) : String(pattern)
