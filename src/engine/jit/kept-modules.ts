/**
 * Modules that a vCPU keeps although what it had of them was dropped: when the code cache is full everything is, and what is hot comes
 * back at once. V8 keeps the machine code of a module that is kept; of one that it has to make again it loses about 1 KiB for ever.
 */
export class KeptModules {
  /** By number of the batch, oldest first. */
  readonly #modules = new Map<number, { readonly module: WebAssembly.Module; readonly bytes: number }>()
  readonly #most: number
  #bytes = 0

  /** @param bytes of modules, at most: their machine code takes 5 to 10 times as much */
  constructor(bytes: number) {
    this.#most = bytes
  }

  get(number: number): WebAssembly.Module | undefined {
    return this.#modules.get(number)?.module
  }

  add(number: number, module: WebAssembly.Module, bytes: number): void {
    if (this.#modules.has(number)) return
    this.#modules.set(number, { module, bytes })
    this.#bytes += bytes
    for (const [oldest, old] of this.#modules) {
      if (this.#bytes <= this.#most) break
      this.#modules.delete(oldest)
      this.#bytes -= old.bytes
    }
  }

  clear(): void {
    this.#modules.clear()
    this.#bytes = 0
  }
}
