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
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, watch, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { assignHandlers } from '../../isa/handlers.ts'
import { ROWS } from '../../isa/rows/index.ts'
import { SEMANTICS } from '../../isa/semantics/index.ts'
import { compileTables } from '../../isa/tables.ts'
import { buildInterp } from '../interp/build-interp.ts'
import { compileKernel } from './asc.ts'

const ROOT = path.resolve(import.meta.dirname, '../../..')
const OUT = path.join(ROOT, 'public/wasm')
const STAMPS = path.join(ROOT, '.cache/wasm')
const WATCH_DELAY_MS = 200

interface Part {
  readonly file: string
  readonly sources: readonly string[]
  make(): Promise<Uint8Array> | Uint8Array
}

const GENERATOR = [
  'src/abi',
  'src/isa',
  'src/wasm',
  'src/engine/emit',
  'src/engine/interp',
  'src/engine/build',
]

const PARTS: readonly Part[] = [
  {
    file: 'kernel.wasm',
    sources: ['src/kernel', 'src/abi', 'src/engine/build', 'package-lock.json'],
    make: () => compileKernel(ROOT, 'src/kernel/index.ts'),
  },
  { file: 'interp.wasm', sources: GENERATOR, make: () => buildInterp(ROWS, SEMANTICS).bytes },
  { file: 'isa.bin', sources: GENERATOR, make: () => compileTables(ROWS, assignHandlers(ROWS)) },
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
  writeFileSync(target, bytes)
  writeFileSync(stampFile, stamp)
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

export async function buildAll(): Promise<void> {
  mkdirSync(OUT, { recursive: true })
  mkdirSync(STAMPS, { recursive: true })
  let changed = false
  for (const part of PARTS) changed = (await build(part)) || changed
  if (changed || !existsSync(path.join(OUT, 'build.json'))) report()
}

/** Builds never overlap: a change during one asks for another. The generators are loaded once, so each build is a process. */
async function watchAll(): Promise<void> {
  const { spawnSync } = await import('node:child_process')
  let timer: NodeJS.Timeout | undefined
  const rebuild = (): void => {
    spawnSync(process.execPath, [...process.execArgv, import.meta.filename], { stdio: 'inherit' })
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
    await (process.argv.includes('--watch') ? watchAll() : buildAll())
  } catch (error) {
    console.error(error instanceof Error ? (error.stack ?? error.message) : error)
    if (error instanceof Error && error.cause) console.error(error.cause)
    process.exitCode = 1
  }
}
