// @ts-check
/**
 * The steps that turn a fresh checkout on Debian with Node into something that runs. Each checks first and costs
 * milliseconds when there is nothing to do.
 *
 * Plain JavaScript over Node's own modules: this runs before any npm package is there.
 */
import { createHash } from 'node:crypto'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { must, ROOT_DIR, run, say, SetupError } from './progress.mjs'

const STAMPS_DIR = path.join(ROOT_DIR, '.cache/stamps')
const WASM_SOURCES = [
  'src/abi',
  'src/base',
  'src/engine',
  'src/isa',
  'src/kernel',
  'src/wasm',
  'package-lock.json',
]
const WASM_DIR = path.join(ROOT_DIR, 'public/wasm')

/** Debian packages by the command that shows their presence. */
const CHROMIUM = { commands: ['chromium', 'chromium-browser', 'google-chrome'], packages: ['chromium'] }
const COMPILER = { commands: ['gcc'], packages: ['gcc', 'libc6-dev'] }
/** Its objdump judges our disassembler. */
const BINUTILS = { commands: ['objdump'], packages: ['binutils'] }
/** A BIOS to boot. */
const SEABIOS = { files: ['/usr/share/seabios/bios.bin'], packages: ['seabios'] }

export function ensureNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  throw new SetupError(`Node ${process.versions.node} is too old: 20.19 or newer is needed`)
}

/** Installs npm dependencies when node_modules is not what package-lock.json says. */
export function ensureNpmPackages() {
  if (npmPackagesMatch()) return
  must('installing npm packages', 'npm', ['ci', '--no-audit', '--no-fund'])
}

/**
 * npm keeps a copy of the lock file in node_modules that names what it installed. Optional packages are for other
 * platforms as a rule, and may be missing.
 */
function npmPackagesMatch() {
  const installed = readJson('node_modules/.package-lock.json')?.packages
  const wanted = readJson('package-lock.json')?.packages
  if (installed === undefined || wanted === undefined) return false
  return Object.entries(wanted).every(([name, entry]) => {
    if (name === '') return true
    const have = installed[name]
    return have === undefined ? entry.optional === true : have.version === entry.version
  })
}

/** @param {string} file */
function readJson(file) {
  try {
    return JSON.parse(readFileSync(path.join(ROOT_DIR, file), 'utf8'))
  } catch {
    return undefined
  }
}

/** What tests need beyond npm: a browser, a BIOS, and C tools for what runs rows on the host's own CPU. */
export function ensureTestPackages() {
  const browser = process.env['CHROMIUM_PATH'] ? [] : missingOf(CHROMIUM)
  const compiler = process.arch === 'x64' ? [...missingOf(COMPILER), ...missingOf(BINUTILS)] : []
  const bios = SEABIOS.files.every((file) => existsSync(file)) ? [] : SEABIOS.packages
  ensureAptPackages([...browser, ...compiler, ...bios])
}

/** @param {{ commands: readonly string[], packages: readonly string[] }} tool */
function missingOf({ commands, packages }) {
  return commands.some(isInPath) ? [] : packages
}

/** @param {string} command */
export function isInPath(command) {
  return (process.env['PATH'] ?? '').split(path.delimiter).some((dir) => {
    try {
      accessSync(path.join(dir, command), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Installs Debian packages, as root or through sudo. @param {readonly string[]} packages */
export function ensureAptPackages(packages) {
  if (packages.length === 0) return
  const list = packages.join(' ')
  if (!isInPath('apt-get'))
    throw new SetupError(`please install: ${list} (no apt-get on this machine to do it)`)
  const root = process.getuid?.() === 0
  if (!root && !isInPath('sudo')) {
    throw new SetupError(
      `these Debian packages are missing: ${list}\n  As root, run: apt-get update && apt-get install -y --no-install-recommends ${list}`,
    )
  }
  const [command, ...prefix] = root ? ['apt-get'] : ['sudo', 'apt-get']
  const quiet = { DEBIAN_FRONTEND: 'noninteractive' }
  const args = [...prefix, '-q', '-y', 'install', '--no-install-recommends', ...packages]
  say(`» installing Debian packages: ${list}`)
  // An index that failed to refresh may still hold what is needed; install decides.
  if (run(command ?? '', [...prefix, '-q', 'update'], quiet) !== 0)
    say('  apt-get update reported an error, going on')
  if (run(command ?? '', args, quiet) !== 0)
    throw new SetupError(`apt-get could not install ${list}; its output is above`)
}

/** Builds kernel.wasm, the interpreter and the ISA tables when a source of theirs changed. */
export function ensureWasm() {
  const digest = digestOf(WASM_SOURCES)
  const built = existsSync(WASM_DIR) && readdirSync(WASM_DIR).some((file) => file.endsWith('.wasm'))
  if (built && readStamp('wasm') === digest) return
  clearStamp('wasm') // a build that fails half-way must not pass for a finished one
  must('building the CPU (kernel.wasm and the interpreter)', tool('tsx'), ['src/engine/build/build-wasm.ts'])
  writeStamp('wasm', digest)
}

/** Bundles the command line to dist/cli when its sources changed. */
export function ensureCli() {
  const digest = digestOf(['src', 'workers', 'package-lock.json'])
  if (readStamp('cli') === digest && existsSync(path.join(ROOT_DIR, 'dist/cli/webkvm.js'))) return
  clearStamp('cli')
  must('building the command line', process.execPath, ['src/cli/setup/build-cli.mjs'])
  writeStamp('cli', digest)
}

/** Makes guest images. @param {readonly string[]} names */
export function ensureGuests(names) {
  const digest = digestOf(['src/cli/guests'])
  const stale = names.filter(
    (name) => readStamp(`guest-${name}`) !== digest || !existsSync(guestManifest(name)),
  )
  if (stale.length === 0) return
  must(`making guests from Debian packages: ${stale.join(', ')}`, tool('tsx'), [
    'src/cli/guests/build-guest.ts',
    ...stale,
  ])
  for (const name of stale) writeStamp(`guest-${name}`, digest)
}

/** @param {string} name */
function guestManifest(name) {
  return path.join(ROOT_DIR, '.cache/guests', name, 'manifest.json')
}

/** Path of an npm package's command. @param {string} name */
export function tool(name) {
  return path.join(ROOT_DIR, 'node_modules/.bin', name)
}

/** Digest over names and contents; tests are left out, since nothing is made from them. @param {readonly string[]} roots */
function digestOf(roots) {
  const digest = createHash('sha256')
  for (const root of roots) {
    for (const file of filesUnder(root))
      digest.update(`${file}\0`).update(readFileSync(path.join(ROOT_DIR, file)))
  }
  return digest.digest('hex')
}

/** @param {string} root @returns {string[]} */
function filesUnder(root) {
  const full = path.join(ROOT_DIR, root)
  const stat = statSync(full, { throwIfNoEntry: false })
  if (stat === undefined) return []
  if (stat.isFile()) return [root]
  return readdirSync(full, { recursive: true, encoding: 'utf8' })
    .filter((file) => !file.endsWith('.test.ts') && statSync(path.join(full, file)).isFile())
    .map((file) => path.posix.join(root, file))
    .toSorted()
}

/** @param {string} name */
function readStamp(name) {
  const file = path.join(STAMPS_DIR, name)
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined
}

/** @param {string} name @param {string} digest */
function writeStamp(name, digest) {
  mkdirSync(STAMPS_DIR, { recursive: true })
  writeFileSync(path.join(STAMPS_DIR, name), digest)
}

/** @param {string} name */
function clearStamp(name) {
  rmSync(path.join(STAMPS_DIR, name), { force: true })
}
