/** The webkvm command as a child process, as a user would start it, with its output collected. */
import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

const ROOT = path.resolve(import.meta.dirname, '..')
/** What `npx webkvm` becomes after its look at what is built, which the tests' set-up has done. */
const COMMAND = path.join(ROOT, 'dist/cli/webkvm.js')

export interface Ended {
  /** Exit status, or undefined when a signal ended the process. */
  readonly status: number | undefined
  readonly signal: string | undefined
}

/** A running command. Always ended by stop() at the latest: a hanging test must not leave a process behind. */
export class Cli {
  readonly child: ChildProcessWithoutNullStreams
  stdout = ''
  stderr = ''
  readonly ended: Promise<Ended>
  #onOutput: (() => void)[] = []

  /** launcher: a program, such as pty.c's, that runs the command it is given as its arguments. */
  constructor(args: readonly string[], launcher?: string) {
    const command = [process.execPath, COMMAND, ...args]
    const [program = '', ...rest] = launcher === undefined ? command : [launcher, ...command]
    this.child = spawn(program, rest, { cwd: ROOT, stdio: 'pipe' })
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
      for (const look of this.#onOutput) look()
    })
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
      for (const look of this.#onOutput) look()
    })
    // Writing to a command that has ended is not an error of the test; its status is.
    this.child.stdin.on('error', () => undefined)
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code, signal) =>
        resolve({ status: code ?? undefined, signal: signal ?? undefined }),
      )
    })
  }

  send(text: string): void {
    this.child.stdin.write(text)
  }

  /** Resolves when standard output has the text after `from`; rejects when the command ends first or time is up. */
  waitFor(text: string, timeoutMs = 60_000, from = 0): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (why: string): void =>
        reject(new Error(`${why} while waiting for "${text}"\n${this.tail()}`))
      const timer = setTimeout(() => fail(`${timeoutMs} ms passed`), timeoutMs)
      const look = (): void => {
        if (!this.stdout.includes(text, from)) return
        clearTimeout(timer)
        this.#onOutput = this.#onOutput.filter((other) => other !== look)
        resolve()
      }
      this.#onOutput.push(look)
      void this.ended.then(({ status }) => {
        clearTimeout(timer)
        fail(`the command ended with ${status}`)
      })
      look()
    })
  }

  /** Runs a command in the guest's shell; what it printed, without the echo. */
  async shell(command: string, timeoutMs = 60_000): Promise<string> {
    const from = this.stdout.length
    // Quotes in the marker keep the echoed line from being taken for the answer.
    this.send(`echo "be""gin"; ${command}; echo "status:""$?:"\n`)
    await this.waitFor('\nstatus:', timeoutMs, from)
    await this.waitFor(':', timeoutMs, this.stdout.indexOf('\nstatus:', from) + 8)
    const [, output = '', status] = /begin\r*\n([\s\S]*?)status:(\d+):/.exec(this.stdout.slice(from)) ?? []
    if (status !== '0') throw new Error(`"${command}" ended with ${status}:\n${output}`)
    return output.replaceAll('\r', '')
  }

  /** How the process ended, or a failure that shows what it had printed. */
  async end(timeoutMs = 30_000): Promise<Ended> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`the command still runs after ${timeoutMs} ms\n${this.tail()}`)),
        timeoutMs,
      )
    })
    return Promise.race([this.ended, late]).finally(() => clearTimeout(timer))
  }

  async stop(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.ended
  }

  tail(): string {
    return `stdout: …${this.stdout.slice(-1500)}\nstderr: …${this.stderr.slice(-1500)}`
  }
}

/** Files of a test in a folder of their own. */
export class ScratchDir {
  readonly path = mkdtempSync(path.join(tmpdir(), 'webkvm-'))

  file(name: string, content: Uint8Array | string): string {
    const file = path.join(this.path, name)
    writeFileSync(file, content)
    return file
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
