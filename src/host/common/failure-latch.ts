/** Failures of a thread: one that comes before anybody listens, as when its script cannot be loaded, waits for the listener. */
export class FailureLatch {
  #listener: ((error: Error) => void) | undefined
  #early: Error | undefined

  readonly report = (error: unknown): void => {
    const made = error instanceof Error ? error : new Error(String(error))
    if (this.#listener) this.#listener(made)
    else this.#early ??= made
  }

  listen(listener: (error: Error) => void): void {
    this.#listener = listener
    const early = this.#early
    if (early) queueMicrotask(() => listener(early))
  }
}
