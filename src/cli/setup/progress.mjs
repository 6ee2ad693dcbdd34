// @ts-check
/** Progress lines of set-up, and child processes whose failure ends it with one clear message. */
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import process from 'node:process'

export const ROOT_DIR = path.resolve(import.meta.dirname, '../../..')

/** A condition of the machine that a person has to change; printed without a stack. */
export class SetupError extends Error {
  /** @override */
  name = 'SetupError'
}

/** @type {NodeJS.WriteStream} */
let output = process.stdout

/** For a command whose standard output belongs to someone else. */
export function progressToStderr() {
  output = process.stderr
}

/** @param {string} line */
export function say(line) {
  output.write(`${line}\n`)
}

/**
 * Runs with the terminal attached, so that long steps show their own progress.
 * @param {string} command @param {readonly string[]} args @param {Readonly<Record<string, string>>} [env]
 * @returns {number} exit status; 127 when it cannot be started, 128 + n when signal n ended it
 */
export function run(command, args, env = {}) {
  const done = spawnSync(command, args, {
    cwd: ROOT_DIR,
    stdio: ['ignore', output, 'inherit'],
    env: { ...process.env, ...env },
  })
  if (done.error) return 127
  return done.status ?? 130
}

/** @param {string} what @param {string} command @param {readonly string[]} args @param {Readonly<Record<string, string>>} [env] */
export function must(what, command, args, env = {}) {
  const started = Date.now()
  say(`» ${what}`)
  const status = run(command, args, env)
  if (status !== 0)
    throw new SetupError(`${what} failed (${command} ended with ${status}); its output is above`)
  say(`  done in ${((Date.now() - started) / 1000).toFixed(1)} s`)
}

/** Runs an entry point; a SetupError becomes its message and exit status 1. @param {() => void | Promise<void>} main */
export async function runMain(main) {
  try {
    await main()
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    process.stderr.write(`\nwebkvm: ${error.message}\n`)
    process.exitCode = 1
  }
}
