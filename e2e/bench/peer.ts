/** What is measured: somebody who boots a kernel with an initramfs and gives a console. */

export interface BootImage {
  readonly kernel: string
  readonly initrd: string
  readonly append: string
  readonly memoryMiB: number
  readonly cpus: number
  readonly prompt: string
}

export interface Peer {
  readonly name: string
  /** Milliseconds from the request to boot until the prompt stood on the console. */
  readonly bootMs: number
  /** Runs a command in the guest's shell until `done` appears; everything printed since. */
  run(command: string, done: string, timeoutMs: number): Promise<string>
  /** Counters, where the peer has them. */
  counters?(): Promise<Readonly<Record<string, number>>>
  close(): Promise<void>
}

export interface KernelTime {
  readonly ms: number
  readonly checksum: string
}

/** "name ms checksum" lines of the benchmark program. */
export function parseTimes(output: string): Map<string, KernelTime> {
  const times = new Map<string, KernelTime>()
  for (const match of output.matchAll(/^([a-z0-9-]+) ([\d.]+) ([0-9a-f]{8})\r?$/gm)) {
    const [, name, ms, checksum] = match
    if (name !== undefined && ms !== undefined && checksum !== undefined)
      times.set(name, { ms: Number(ms), checksum })
  }
  return times
}

/** Collects console output and answers waits; shared by peers whose console is a byte stream. */
export class ConsoleLog {
  #text = ''
  #waits: { readonly from: number; readonly text: string; resolve(output: string): void }[] = []

  get mark(): number {
    return this.#text.length
  }

  add(text: string): void {
    this.#text += text
    this.#waits = this.#waits.filter((wait) => {
      const at = this.#text.indexOf(wait.text, wait.from)
      if (at < 0) return true
      wait.resolve(this.#text.slice(wait.from, at + wait.text.length))
      return false
    })
  }

  wait(text: string, timeoutMs: number, from = this.mark): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(new Error(`no "${text}" within ${timeoutMs} ms; last output:\n${this.#text.slice(-800)}`)),
        timeoutMs,
      )
      this.#waits.push({
        from,
        text,
        resolve: (output) => {
          clearTimeout(timer)
          resolve(output)
        },
      })
      this.add('')
    })
  }
}
