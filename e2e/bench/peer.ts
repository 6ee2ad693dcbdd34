/** What is measured: somebody who boots a kernel with an initramfs and gives a console. */
import type { MachineStats } from '#machine/stats.ts'

export interface BootImage {
  readonly kernel: string
  readonly initrd: string
  readonly append: string
  /** Raw images, read-only. */
  readonly disks: readonly string[]
  readonly memoryMiB: number
  readonly cpus: number
  readonly prompt: string
}

export interface Peer {
  /** Milliseconds from the request to boot until the prompt stood on the console. */
  readonly bootMs: number
  /** Runs a command in the guest's shell until `done` appears; everything printed since. */
  run(command: string, done: string, timeoutMs: number): Promise<string>
  /** ms of the host's processors that the peer has used. */
  cpuMs(): number
  /** Counters, where the peer has them. */
  stats?(): Promise<MachineStats>
  close(): Promise<void>
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
