/**
 * Test cases for single floating-point instructions, and the host CPU as their judge.
 *
 * One case is 272 bytes, the same layout before and after (struct test_case of oracle.c):
 *   0 code[15], 15 length | 16 mxcsr | 20 eflags | 24 fcw, 26 fsw | 28 ftw (abridged) | 32 st[8] x 16 (stack order)
 *   160 xmm[4] x 16 | 224 mem[32] | 256 rax | 264 trap: signal number, 0 = none
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const CASE_SIZE = 272
export const CASE = {
  mxcsr: 16,
  eflags: 20,
  fcw: 24,
  fsw: 26,
  ftw: 28,
  st: 32,
  xmm: 160,
  mem: 224,
  rax: 256,
  trap: 264,
} as const

/** True where oracle.c can run, on a processor whose open choices are those of the golden results. */
export function hostCanJudge(): boolean {
  if (process.arch !== 'x64' || process.platform !== 'linux') return false
  try {
    execFileSync('gcc', ['--version'], { stdio: 'ignore' })
    return readFileSync('/proc/cpuinfo', 'utf8').includes('AuthenticAMD')
  } catch {
    return false
  }
}

let oracle: string | undefined

/** Path of the compiled oracle; it lives in a temporary folder until the process ends. */
function compiledOracle(): string {
  if (oracle !== undefined) return oracle
  const folder = mkdtempSync(join(tmpdir(), 'webkvm-fp-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const program = join(folder, 'oracle')
  const source = fileURLToPath(new URL('./oracle.c', import.meta.url))
  execFileSync('gcc', ['-O1', '-o', program, source])
  oracle = program
  return program
}

/** Executes every case on the host and returns the states after. */
export function runOnHost(cases: Uint8Array): Uint8Array {
  const program = compiledOracle()
  writeFileSync(`${program}.in`, cases)
  execFileSync(program, [`${program}.in`, `${program}.out`])
  return new Uint8Array(readFileSync(`${program}.out`))
}
