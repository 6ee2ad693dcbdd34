/**
 * `npm run build:wasm`: makes what the engine runs from.
 *
 *   public/wasm/kernel.wasm   src/kernel, compiled by asc
 *   public/wasm/interp.wasm   the interpreter, generated from src/isa
 *   public/wasm/isa.bin       decoder tables, generated from src/isa
 *   public/wasm/build.json    sizes and content hashes
 *
 * A part is made again only when one of its sources changed (stamps in .cache/wasm). --watch does so on every change.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  watch,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import process from 'node:process'

const ROOT = path.resolve(import.meta.dirname, '../../..')
const OUT = path.join(ROOT, 'public/wasm')
const STAMPS = path.join(ROOT, '.cache/wasm')
const WATCH_DELAY_MS = 200

interface Part {
  readonly file: string
  readonly sources: readonly string[]
  make(): Promise<Uint8Array>
}

const GENERATOR = [
  'src/abi',
  'src/isa',
  'src/wasm',
  'src/engine/emit',
  'src/engine/interp',
  'src/engine/build',
]

// The generators are loaded after their sources were hashed: a stamp must never be newer than the code that earned it.
const PARTS: readonly Part[] = [
  {
    file: 'kernel.wasm',
    sources: ['src/kernel', 'src/abi', 'src/engine/build', 'package-lock.json'],
    make: async () => (await import('./asc.ts')).compileKernel(ROOT, 'src/kernel/index.ts'),
  },
  {
    file: 'interp.wasm',
    sources: GENERATOR,
    make: async () => (await import('./generated.ts')).makeInterp(),
  },
  { file: 'isa.bin', sources: GENERATOR, make: async () => (await import('./generated.ts')).makeTables() },
]

/** Files of a source entry, sorted; tests and their helpers are no sources. */
function filesOf(entry: string): string[] {
  const full = path.join(ROOT, entry)
  if (!existsSync(full)) return []
  if (path.extname(entry) !== '') return [entry]
  return readdirSync(full, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|json)$/.test(name) && !/\.test\.ts$|\btesting\b/.test(name))
    .map((name) => path.join(entry, name))
    .toSorted()
}

function hashOf(sources: readonly string[]): string {
  const hash = createHash('sha256')
  for (const file of sources.flatMap(filesOf))
    hash
      .update(file)
      .update('\0')
      .update(readFileSync(path.join(ROOT, file)))
      .update('\0')
  return hash.digest('hex')
}

async function build(part: Part): Promise<boolean> {
  const stampFile = path.join(STAMPS, `${part.file}.stamp`)
  const target = path.join(OUT, part.file)
  const stamp = hashOf(part.sources)
  if (existsSync(target) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return false
  const start = performance.now()
  const bytes = await part.make()
  // Readers and other builds at the same time see the old file or the new one, never half of one.
  const fresh = `${target}.${process.pid}`
  writeFileSync(fresh, bytes)
  renameSync(fresh, target)
  // A source that was edited meanwhile: no stamp, so that the next build makes it again.
  if (hashOf(part.sources) === stamp) writeFileSync(stampFile, stamp)
  else rmSync(stampFile, { force: true })
  console.log(`${part.file}: ${bytes.length} bytes in ${Math.round(performance.now() - start)} ms`)
  return true
}

function report(): void {
  const entries = PARTS.map(({ file }) => {
    const bytes = readFileSync(path.join(OUT, file))
    return [file, { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }] as const
  })
  writeFileSync(
    path.join(OUT, 'build.json'),
    `${JSON.stringify(Object.fromEntries(entries), undefined, 2)}\n`,
  )
}

async function buildParts(): Promise<void> {
  mkdirSync(OUT, { recursive: true })
  mkdirSync(STAMPS, { recursive: true })
  let changed = false
  for (const part of PARTS) changed = (await build(part)) || changed
  if (changed || !existsSync(path.join(OUT, 'build.json'))) report()
}

/** Runs this script in a process of its own: the caller's may have loaded older generators. Throws if it fails. */
export function buildAll(): void {
  const node = [...process.execArgv.filter((flag) => !flag.startsWith('--inspect')), '--import', 'tsx']
  const { status } = spawnSync(process.execPath, [...node, import.meta.filename], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status !== 0) throw new Error(`build:wasm failed with status ${status}`)
}

/** Rebuilds after every change of a source. */
function watchAll(): void {
  let timer: NodeJS.Timeout | undefined
  const rebuild = (): void => {
    try {
      buildAll()
    } catch (error) {
      console.error(error instanceof Error ? error.message : error) // the next change tries again
    }
  }
  for (const area of ['abi', 'isa', 'wasm', 'engine', 'kernel']) {
    watch(path.join(ROOT, 'src', area), { recursive: true }, () => {
      clearTimeout(timer)
      timer = setTimeout(rebuild, WATCH_DELAY_MS)
    })
  }
  rebuild()
}

if (process.argv[1] === import.meta.filename) {
  try {
    if (process.argv.includes('--watch')) watchAll()
    else await buildParts()
  } catch (error) {
    console.error(error instanceof Error ? (error.stack ?? error.message) : error)
    if (error instanceof Error && error.cause) console.error(error.cause)
    process.exitCode = 1
  }
}
