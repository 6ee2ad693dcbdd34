/**
 * A CharBackend for programs: send() queues input for the guest, onData hears its output. This is how serial ports and
 * console channels reach the public API.
 */
import type { CharBackend, CharDevice } from './char-backend.ts'

export class CharPipe implements CharBackend {
  #device: CharDevice | undefined
  #input: Uint8Array[] = []
  #size: { columns: number; rows: number } | undefined
  readonly #listeners = new Set<(bytes: Uint8Array) => void>()
  readonly #openListeners = new Set<(open: boolean) => void>()
  /** While true the guest is held back; set through hold(). */
  #held = false

  /** Queues bytes for the guest; they arrive as fast as it takes them. */
  send(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#input.push(bytes.slice())
    this.receivable()
  }

  /** Bytes queued and not yet taken by the guest. */
  get queuedBytes(): number {
    return this.#input.reduce((sum, bytes) => sum + bytes.length, 0)
  }

  /** Forgets queued input. */
  discardInput(): void {
    this.#input = []
  }

  /** Calls listener with each piece of output (a copy). Returns what ends it. */
  onData(listener: (bytes: Uint8Array) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** The guest opened or closed its end (virtio console ports only). */
  onOpen(listener: (open: boolean) => void): () => void {
    this.#openListeners.add(listener)
    return () => this.#openListeners.delete(listener)
  }

  sendBreakToGuest(): void {
    this.#device?.receiveBreak?.()
  }

  resize(columns: number, rows: number): void {
    this.#size = { columns, rows }
    this.#device?.resize?.(columns, rows)
  }

  /** Stops taking output (a listener is too slow) or goes on: the guest then waits, nothing is lost. */
  hold(yes: boolean): void {
    this.#held = yes
    if (!yes) this.#device?.writable()
  }

  write(bytes: Uint8Array): number {
    if (this.#held) return 0
    const copy = bytes.slice()
    for (const listener of this.#listeners) listener(copy)
    return bytes.length
  }

  connect(device: CharDevice): void {
    this.#device = device
    if (this.#size) device.resize?.(this.#size.columns, this.#size.rows)
    device.connected?.(true)
    this.receivable()
  }

  receivable(): void {
    for (
      let first = this.#input[0];
      first !== undefined && this.#device !== undefined;
      first = this.#input[0]
    ) {
      const taken = this.#device.receive(first)
      if (taken < first.length) {
        this.#input[0] = first.subarray(taken)
        return
      }
      this.#input.shift()
    }
  }

  guestOpen(open: boolean): void {
    for (const listener of this.#openListeners) listener(open)
  }
}
