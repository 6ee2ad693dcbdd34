/** Child processes and progress lines of the guest builder: output is kept and shown only when it matters. */
import { spawnSync } from 'node:child_process'

export type RunOptions = {
  readonly cwd?: string
  /** Lets the child write to the terminal: for downloads, whose progress a person wants to see. */
  readonly show?: boolean
  readonly env?: Readonly<Record<string, string>>
}

export class ToolError extends Error {
  override name = 'ToolError'
}

export function say(line: string): void {
  process.stdout.write(`  ${line}\n`)
}

/** Runs to completion; throws ToolError with the end of stderr when the command fails or does not exist. */
export function run(command: string, args: readonly string[], options: RunOptions): { stdout: string } {
  const done = spawnSync(command, args, {
    cwd: options.cwd,
    env: { ...process.env, LC_ALL: 'C', ...options.env },
    encoding: 'utf8',
    maxBuffer: 256 << 20,
    stdio: ['ignore', options.show ? 'inherit' : 'pipe', options.show ? 'inherit' : 'pipe'],
  })
  if (done.error)
    throw new ToolError(`${command} cannot be started: ${done.error.message}`, { cause: done.error })
  if (done.status !== 0) {
    const tail = (done.stderr ?? '').trim().split('\n').slice(-8).join('\n')
    throw new ToolError(
      `${command} ${args.slice(0, 6).join(' ')} ended with ${done.status ?? done.signal}\n${tail}`,
    )
  }
  return { stdout: done.stdout ?? '' }
}
