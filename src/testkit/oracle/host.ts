/** The host's own CPU as an executor of cases: builds oracle.c with the system compiler and feeds it batches. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { REQUEST_BYTES, RESULT_BYTES } from './layout.ts'

const SOURCE = fileURLToPath(new URL('./oracle.c', import.meta.url))
const CACHE = fileURLToPath(new URL('../../../.cache/oracle/', import.meta.url))
const BATCH = 512
const FLAGS = ['-O1', '-fno-stack-protector', '-mno-red-zone', '-mfsgsbase', '-fcf-protection=none']

/** Undefined where the host is no x86-64 Linux with a C compiler, or its kernel does not let the oracle work. */
export function buildOracle(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined
  const binary = `${CACHE}oracle`
  try {
    if (!existsSync(binary) || statSync(binary).mtimeMs <= statSync(SOURCE).mtimeMs) {
      mkdirSync(CACHE, { recursive: true })
      execFileSync('gcc', [...FLAGS, '-o', binary, SOURCE], { stdio: 'pipe' })
    }
    // it needs an LDT and FSGSBASE, which sandboxes may refuse
    return spawnSync(binary, { input: '' }).stdout.length === 8 ? binary : undefined
  } catch {
    return undefined
  }
}

/**
 * The host is of the make that golden.txt comes from. Where the manuals leave something open, others may answer differently:
 * the long run shows how, the unit tests do not judge them.
 */
export function isReferenceHost(): boolean {
  return (
    process.platform === 'linux' &&
    /^vendor_id\s*:\s*AuthenticAMD$/m.test(readFileSync('/proc/cpuinfo', 'utf8'))
  )
}

/** Runs requests; results come in the same order, RESULT_BYTES each. */
export function runOnHost(binary: string, requests: readonly Uint8Array[]): Uint8Array {
  const batches = Math.ceil(requests.length / BATCH)
  const input = Buffer.alloc(batches * 4 + requests.length * REQUEST_BYTES)
  let at = 0
  for (let i = 0; i < requests.length; i += BATCH) {
    const batch = requests.slice(i, i + BATCH)
    at = input.writeUInt32LE(batch.length, at)
    for (const request of batch) {
      input.set(request, at)
      at += REQUEST_BYTES
    }
  }
  const { stdout, status, signal, error } = spawnSync(binary, {
    input,
    maxBuffer: 8 + requests.length * RESULT_BYTES + 4096,
  })
  if (error) throw new Error('the oracle did not run', { cause: error })
  if (
    stdout.length < 8 ||
    stdout.readUInt32LE(0) !== REQUEST_BYTES ||
    stdout.readUInt32LE(4) !== RESULT_BYTES
  ) {
    throw new Error('oracle.c and layout.ts disagree about the structures')
  }
  if (stdout.length !== 8 + requests.length * RESULT_BYTES) {
    throw new Error(
      `the oracle stopped after ${(stdout.length - 8) / RESULT_BYTES} of ${requests.length} cases (${signal ?? status})`,
    )
  }
  return stdout.subarray(8)
}

/** CPU features of the host by the names of rows, as /proc/cpuinfo spells them. */
export function hostFeatures(): ReadonlySet<string> {
  const line = /^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? ''
  const spelling: Readonly<Record<string, string>> = { pni: 'sse3', sha_ni: 'sha', lahf_lm: 'lahf64', pdpe1gb: 'page1gb', pclmulqdq: 'pclmulqdq', '3dnowprefetch': 'prefetchw' } // prettier-ignore
  const features = line.split(' ').map((name) => spelling[name] ?? name)
  return new Set(['base', 'fpu', ...features])
}
