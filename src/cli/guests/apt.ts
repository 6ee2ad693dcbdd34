/**
 * Debian packages without root: a private apt world per architecture under `.cache/apt/<arch>`.
 *
 * Its lists, archives and dpkg status are its own, so nothing here reads or changes the machine's packages, a
 * foreign architecture needs no `dpkg --add-architecture`, and no package "is already installed" (which would
 * drop it from a dependency closure). Sources and keys are the machine's.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { CACHE_DIR } from './paths.ts'
import { run, say, ToolError } from './process.ts'

export type DebianArch = 'amd64' | 'i386'

export type PackageFile = {
  readonly name: string
  readonly version: string
  readonly sizeBytes: number
  readonly path: string
}

/** Package indexes older than this are fetched again before a build: Debian removes superseded kernels. */
const INDEX_MAX_AGE_MS = 12 * 60 * 60 * 1000

export class AptError extends Error {
  override name = 'AptError'
}

export class AptWorld {
  readonly arch: DebianArch
  readonly #dir: string
  readonly #config: string
  #updated = false

  constructor(arch: DebianArch) {
    this.arch = arch
    this.#dir = path.join(CACHE_DIR, 'apt', arch)
    this.#config = path.join(this.#dir, 'apt.conf')
    for (const sub of ['lists/partial', 'archives/partial', 'no-archives/partial', 'state']) {
      mkdirSync(path.join(this.#dir, sub), { recursive: true })
    }
    writeFileSync(path.join(this.#dir, 'status'), '')
    writeFileSync(this.#config, configText(arch, this.#dir))
  }

  /** The closure of `names` over Depends (never Recommends), as names. */
  closure(names: readonly string[]): readonly string[] {
    this.#update()
    // Against an empty archive, since --print-uris leaves out what is downloaded already.
    const empty = `Dir::Cache::archives=${path.join(this.#dir, 'no-archives')}/`
    const args = ['install', '-y', '--print-uris', '--no-install-recommends', '-o', empty, ...names]
    const text = this.#apt('apt-get', args)
    const found = [...text.matchAll(/^'[^']+' (?<name>[^_\s]+)_\S+ \d+/gmu)].map(
      (m) => m.groups?.['name'] ?? '',
    )
    if (found.length === 0)
      throw new AptError(`apt resolves no package for ${names.join(', ')} (${this.arch})`)
    return found.toSorted()
  }

  /** What a metapackage such as linux-image-686 stands for: its first dependency with this prefix. */
  resolveMeta(name: string, prefix: string): string {
    this.#update()
    const text = this.#apt('apt-cache', ['depends', '--no-recommends', '--no-suggests', name])
    const real = [...text.matchAll(/Depends: (?<dep>\S+)/gu)].map((m) => m.groups?.['dep'] ?? '')
    const hit = real.find((dep) => dep.startsWith(prefix))
    if (hit === undefined) throw new AptError(`${name} (${this.arch}) depends on no ${prefix}*`)
    return hit
  }

  /** Downloads what is not in the private archive yet. apt checks every file against the signed index. */
  download(names: readonly string[]): readonly PackageFile[] {
    this.#update()
    try {
      return this.#fetch(names)
    } catch (cause) {
      if (!(cause instanceof ToolError)) throw cause
      // A superseded version leaves the mirror before our index expires: look again once.
      say('apt: a download failed, trying again with a fresh index')
      this.#update(true)
      return this.#fetch(names)
    }
  }

  #fetch(names: readonly string[]): readonly PackageFile[] {
    const wanted = this.#candidates(names)
    const missing = wanted.filter((file) => !existsSync(file.path))
    if (missing.length > 0) {
      const mebibytes = missing.reduce((sum, file) => sum + file.sizeBytes, 0) / (1 << 20)
      say(`apt: downloading ${missing.length} ${this.arch} packages, ${mebibytes.toFixed(1)} MiB`)
      const refs = missing.map((file) => `${file.name}=${file.version}`)
      run('apt-get', ['-q', '-c', this.#config, 'download', ...refs], { cwd: this.#archives, show: true })
    }
    const lost = wanted.filter((file) => !existsSync(file.path))
    if (lost.length > 0)
      throw new AptError(`apt did not deliver ${lost.map((file) => path.basename(file.path)).join(', ')}`)
    return wanted
  }

  get #archives(): string {
    return path.join(this.#dir, 'archives')
  }

  #candidates(names: readonly string[]): readonly PackageFile[] {
    const text = this.#apt('apt-cache', ['show', '--no-all-versions', ...names])
    const files = new Map<string, PackageFile>()
    for (const stanza of text.split('\n\n')) {
      const field = (key: string): string => new RegExp(`^${key}: (.+)$`, 'mu').exec(stanza)?.[1] ?? ''
      const name = field('Package')
      // apt escapes the epoch's colon in file names and nothing else.
      const file = `${name}_${field('Version').replaceAll(':', '%3a')}_${field('Architecture')}.deb`
      files.set(name, {
        name,
        version: field('Version'),
        sizeBytes: Number(field('Size')),
        path: path.join(this.#archives, file),
      })
    }
    return names.map((name) => {
      const file = files.get(name)
      if (file === undefined) throw new AptError(`no package ${name} for ${this.arch}`)
      return file
    })
  }

  #update(force = false): void {
    if (this.#updated && !force) return
    this.#updated = true
    if (!force && Date.now() - newestIndexMs(path.join(this.#dir, 'lists')) < INDEX_MAX_AGE_MS) return
    say(`apt: fetching the ${this.arch} package index`)
    const done = spawnSync('apt-get', ['-q', '-c', this.#config, 'update'], {
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    if (done.error)
      throw new AptError('apt-get cannot be started: the guest builder needs Debian or Ubuntu', {
        cause: done.error,
      })
    // One index of several may be mid-sync on a mirror; the others still serve packages. Whether what is needed
    // is there shows at download, with the package's name.
    if (done.status !== 0) say(`apt: an ${this.arch} index failed to download, going on with the rest`)
    if (newestIndexMs(path.join(this.#dir, 'lists')) === 0)
      throw new AptError(`no package index for ${this.arch} could be fetched`)
  }

  #apt(tool: 'apt-get' | 'apt-cache', args: readonly string[]): string {
    return run(tool, ['-q', '-c', this.#config, ...args], {}).stdout
  }
}

function newestIndexMs(lists: string): number {
  const indexes = readdirSync(lists).filter((file) => file.includes('_Packages'))
  return Math.max(0, ...indexes.map((file) => statSync(path.join(lists, file)).mtimeMs))
}

function configText(arch: DebianArch, dir: string): string {
  // -c files are read last, so #clear also drops the machine's own hooks (cache cleaners, desktop notifiers).
  return [
    '#clear DPkg::Post-Invoke;',
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
    '#clear APT::Architectures;',
    `APT::Architecture "${arch}";`,
    `APT::Architectures { "${arch}"; };`,
    'APT::Install-Recommends "false";',
    'APT::Sandbox::User "root";', // no privileges to drop: everything lands in the cache folder
    'Acquire::Languages "none";',
    'Acquire::Retries "3";',
    `Dir::State "${dir}/state";`,
    `Dir::State::lists "${dir}/lists/";`,
    `Dir::State::status "${dir}/status";`,
    `Dir::Cache "${dir}/";`,
    `Dir::Cache::archives "${dir}/archives/";`,
    '',
  ].join('\n')
}
