/**
 * Runs commands in a POSIX shell at the far end of a console and reads their output and exit status, for scripts and
 * tests. Works with any shell whose echo expands $?; the console may echo input and wrap long lines.
 */
import type { ConsoleStream, WaitOptions } from './console-stream.ts'

export interface CommandResult {
  /** What the command printed, without echo and prompt; lines end in \n. */
  readonly output: string
  readonly status: number
}

export class Shell {
  readonly #console: Pick<ConsoleStream, 'send' | 'waitForText' | 'mark'>
  #sequence = 0

  constructor(console: Pick<ConsoleStream, 'send' | 'waitForText' | 'mark'>) {
    this.#console = console
  }

  /** Runs one command line to its end; WaitError after options.timeoutMs. */
  async run(command: string, options: WaitOptions = {}): Promise<CommandResult> {
    const id = ++this.#sequence
    const from = this.#console.mark
    // The quotes inside the markers keep the echoed input from looking like output; eval keeps it one line, so that no
    // prompt and no echo stand between the markers whatever the command is.
    this.#console.send(
      `echo "wk""begin:${id}"; eval '${command.replaceAll("'", String.raw`'\''`)}'; echo "wk""end:$?:${id}"\n`,
    )
    const pattern = new RegExp(`wkbegin:${id}\\r?\\n([\\s\\S]*?)wkend:(\\d+):${id}`)
    const match = await this.#console.waitForText(pattern, { ...options, from })
    const [raw = '', status = '255'] = match.groups
    return { output: cleanOutput(raw), status: Number(status) }
  }

  /** The output alone; throws when the command fails. */
  async check(command: string, options: WaitOptions = {}): Promise<string> {
    const { output, status } = await this.run(command, options)
    if (status !== 0) throw new Error(`guest command failed with status ${status}: ${command}\n${output}`)
    return output
  }
}

/** Drops escape sequences that the command or its terminal settings sent, and carriage returns. */
function cleanOutput(raw: string): string {
  return (
    raw
      // CSI and OSC sequences.
      // oxlint-disable-next-line no-control-regex
      .replaceAll(/\u001b(\[[0-9;?]*[ -/]*[@-~]|\][^\u0007]*\u0007|[=>78])/g, '')
      .replaceAll('\r', '')
  )
}
