/**
 * Makes guests from Debian packages: `tsx src/cli/guests/build-guest.ts [--force] NAME...` (default: `default`).
 *
 * Result: `.cache/guests/<name>/` with the files and a manifest.json (format: src/host/guest-manifest.types.ts):
 *   { format, name, title, packages: ["name=version"], inputs,
 *     files: { "vmlinux": { file, sizeBytes, sha256, gzip?: { file, sizeBytes } } },
 *     boots: [{ id, title, bits, kernel, initrd?, disks, append, memoryMiB, prompt }] }
 * and `.cache/guests/index.json`: { format, guests: [names] }.
 *
 * A guest is rebuilt when the sources in this folder change (`inputs` in the manifest) or a file is missing. A
 * newer package alone rebuilds nothing: `--force` does. A failed build leaves the old guest as it was.
 */
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import type { GuestFile, GuestIndex, GuestManifest } from '../../host/guest-manifest.types.ts'
import { CACHE_DIR, GUESTS_DIR } from './paths.ts'
import { say } from './process.ts'
import { RECIPES, type Recipe, type RecipeFile } from './recipes.ts'

function main(args: readonly string[]): void {
  const force = args.includes('--force')
  const names = args.filter((arg) => !arg.startsWith('--'))
  const inputs = sourcesDigest()
  for (const name of names.length > 0 ? names : ['default']) {
    const recipe = RECIPES.find((candidate) => candidate.name === name)
    if (recipe === undefined)
      throw new Error(`no guest ${name}; there are ${RECIPES.map((known) => known.name).join(', ')}`)
    if (!force && isCurrent(recipe, inputs)) say(`guest ${name}: up to date`)
    else build(recipe, inputs)
  }
  writeIndex()
}

function build(recipe: Recipe, inputs: string): void {
  const started = Date.now()
  say(`guest ${recipe.name}: building`)
  // Names of their own per process, so that two builds at once cannot tear each other's files.
  const scratch = path.join(CACHE_DIR, 'guest-scratch', `${recipe.name}-${process.pid}`)
  const staging = path.join(GUESTS_DIR, `.${recipe.name}-${process.pid}`)
  try {
    for (const dir of [scratch, staging]) mkdirSync(dir, { recursive: true })
    const result = recipe.build(scratch)
    const files = Object.fromEntries(result.files.map((file) => [file.name, storeFile(file, staging)]))
    const packages = [...new Set(result.packages)].toSorted()
    const manifest: GuestManifest = {
      format: 1,
      name: recipe.name,
      title: recipe.title,
      packages,
      inputs,
      files,
      boots: result.boots,
    }
    writeFileSync(path.join(staging, 'manifest.json'), `${JSON.stringify(manifest, undefined, 2)}\n`)
    const final = path.join(GUESTS_DIR, recipe.name)
    rmSync(final, { recursive: true, force: true })
    renameSync(staging, final)
  } finally {
    for (const dir of [scratch, staging]) rmSync(dir, { recursive: true, force: true })
  }
  say(`guest ${recipe.name}: done in ${((Date.now() - started) / 1000).toFixed(1)} s`)
}

function storeFile(file: RecipeFile, dir: string): GuestFile {
  const target = path.join(dir, file.name)
  if (Buffer.isBuffer(file.content)) writeFileSync(target, file.content)
  else copyFileSync(file.content.path, target)
  const content = readFileSync(target)
  const sha256 = createHash('sha256').update(content).digest('hex')
  const entry = { file: file.name, sizeBytes: content.length, sha256 }
  if (!file.gzip) {
    say(`  ${file.name} ${mebibytes(content.length)}`)
    return entry
  }
  const packed = gzipSync(content, { level: 9 })
  writeFileSync(`${target}.gz`, packed)
  say(`  ${file.name} ${mebibytes(content.length)}, ${mebibytes(packed.length)} as .gz`)
  return { ...entry, gzip: { file: `${file.name}.gz`, sizeBytes: packed.length } }
}

function isCurrent(recipe: Recipe, inputs: string): boolean {
  const manifest = readManifest(recipe.name)
  if (manifest?.inputs !== inputs) return false
  return Object.values(manifest.files).every(
    (file) => hasSize(recipe.name, file) && (file.gzip === undefined || hasSize(recipe.name, file.gzip)),
  )
}

function hasSize(name: string, file: { readonly file: string; readonly sizeBytes: number }): boolean {
  const stat = statSync(path.join(GUESTS_DIR, name, file.file), { throwIfNoEntry: false })
  return stat?.size === file.sizeBytes
}

function readManifest(name: string): GuestManifest | undefined {
  const file = path.join(GUESTS_DIR, name, 'manifest.json')
  // The file is our own output; a format other than ours only makes the guest stale.
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as GuestManifest) : undefined
}

/** Everything here decides what a guest contains, scripts and recipes alike. */
function sourcesDigest(): string {
  const digest = createHash('sha256')
  const files = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })
  for (const file of files.filter((name) => !name.endsWith('.test.ts')).toSorted()) {
    const full = path.join(import.meta.dirname, file)
    if (statSync(full).isFile()) digest.update(`${file}\0`).update(readFileSync(full))
  }
  return digest.digest('hex')
}

function writeIndex(): void {
  const guests = RECIPES.map((recipe) => recipe.name).filter((name) => readManifest(name) !== undefined)
  const index: GuestIndex = { format: 1, guests }
  writeFileSync(path.join(GUESTS_DIR, 'index.json'), `${JSON.stringify(index, undefined, 2)}\n`)
}

function mebibytes(lenBytes: number): string {
  return `${(lenBytes / (1 << 20)).toFixed(1)} MiB`
}

main(process.argv.slice(2))
