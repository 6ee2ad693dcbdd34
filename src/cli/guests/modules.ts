/**
 * Kernel modules for an initramfs: a choice by name, closed over dependencies, with the index files that modprobe
 * reads. Debian's packages come without them, since depmod runs when the package is installed.
 * Source: modules.dep(5), depmod(8); module metadata is the `.modinfo` section, NUL-separated `key=value`.
 */
import { readFileSync, readdirSync } from 'node:fs'
import path from 'node:path'
import type { CpioEntry } from './cpio.ts'
import { elfSection } from './elf.ts'

type Module = {
  readonly name: string
  /** Relative to lib/modules/<release>. */
  readonly file: string
  readonly data: Buffer
  readonly depends: readonly string[]
  readonly aliases: readonly string[]
}

/** Entries below lib/modules/<release>. Wanted modules that the kernel has built in or lacks are left out. */
export function moduleEntries(moduleDir: string, wanted: readonly string[]): readonly CpioEntry[] {
  const release = path.basename(moduleDir)
  const files = new Map(findModules(moduleDir).map((file) => [moduleName(file), file]))
  const modules = new Map<string, Module>()
  for (const name of wanted) collect(name, moduleDir, files, modules)
  const chosen = [...modules.values()].toSorted((a, b) => (a.file < b.file ? -1 : 1))
  const base = `lib/modules/${release}`
  const indexes = {
    'modules.dep': chosen.map(
      (module) =>
        `${module.file}:${closure(module, modules)
          .map((file) => ` ${file}`)
          .join('')}`,
    ),
    'modules.alias': chosen.flatMap((module) =>
      module.aliases.map((alias) => `alias ${alias} ${module.name}`),
    ),
  }
  return [
    { kind: 'directory', name: base, mode: 0o755 },
    ...directories(chosen.map((module) => module.file)).map(
      (dir) => ({ kind: 'directory', name: `${base}/${dir}`, mode: 0o755 }) as const,
    ),
    ...chosen.map(
      ({ file, data }) => ({ kind: 'file', name: `${base}/${file}`, mode: 0o644, data }) as const,
    ),
    ...Object.entries(indexes).map(
      ([name, lines]) =>
        ({
          kind: 'file',
          name: `${base}/${name}`,
          mode: 0o644,
          data: Buffer.from(`${lines.join('\n')}\n`),
        }) as const,
    ),
  ]
}

function findModules(moduleDir: string): readonly string[] {
  return readdirSync(moduleDir, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ko'))
}

/** The kernel treats '-' and '_' in module names as one. */
function moduleName(file: string): string {
  return path.basename(file, '.ko').replaceAll('-', '_')
}

function collect(
  name: string,
  dir: string,
  files: ReadonlyMap<string, string>,
  into: Map<string, Module>,
): void {
  const file = files.get(name)
  if (file === undefined || into.has(name)) return
  const data = readFileSync(path.join(dir, file))
  const info = (elfSection(data, '.modinfo') ?? Buffer.alloc(0)).toString('latin1').split('\0')
  const values = (key: string): string[] =>
    info.filter((line) => line.startsWith(`${key}=`)).map((line) => line.slice(key.length + 1))
  const depends = values('depends')
    .flatMap((list) => list.split(','))
    .filter((dep) => dep !== '')
    .map((dep) => dep.replaceAll('-', '_'))
  into.set(name, { name, file, data, depends, aliases: values('alias') })
  for (const dep of [...depends, ...values('softdep').flatMap((text) => softDependencies(text))])
    collect(dep, dir, files, into)
}

/** `pre: a b post: c`: loaded by modprobe on its own where it knows softdep; carried along in any case. */
function softDependencies(text: string): string[] {
  return text
    .split(/\s+/u)
    .filter((word) => word !== '' && !word.endsWith(':'))
    .map((name) => name.replaceAll('-', '_'))
}

/** Dependencies in modules.dep order: the last one is to be loaded first. */
function closure(module: Module, modules: ReadonlyMap<string, Module>): string[] {
  const order: string[] = []
  const visit = (name: string): void => {
    const dep = modules.get(name)
    if (dep === undefined || order.includes(dep.file)) return
    for (const below of dep.depends) visit(below)
    order.push(dep.file)
  }
  for (const name of module.depends) visit(name)
  return order.toReversed()
}

function directories(files: readonly string[]): readonly string[] {
  const dirs = new Set<string>()
  for (const file of files) {
    for (let dir = path.dirname(file); dir !== '.'; dir = path.dirname(dir)) dirs.add(dir)
  }
  return [...dirs].toSorted((a, b) => a.length - b.length || (a < b ? -1 : 1))
}
