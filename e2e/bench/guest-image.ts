/**
 * What the benchmark adds to a guest: programs, as an initramfs appended to the guest's own (the kernel unpacks
 * archives one after another, and a later file replaces an earlier one of its name).
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import { encodeCpio } from '../../src/cli/guests/cpio.ts'
import type { CpioEntry } from '../../src/cli/guests/cpio.ts'
import type { GuestManifest } from '../../src/host/guest-manifest.types.ts'
import type { Bits } from './options.ts'
import type { BootImage } from './peer.ts'

export const ROOT = path.resolve(import.meta.dirname, '../..')
const CACHE = path.join(ROOT, '.cache/bench')
const GUESTS = path.join(ROOT, '.cache/guests')
const SOURCES = path.join(import.meta.dirname, 'guest')
const SCRIPTS = path.join(SOURCES, 'programs')

/** Where the large guest finds the programs' files: a tmpfs that outlives its initramfs. */
export const SCRIPTS_IN_GUEST = '/dev/shm/bench'

const PROGRAMS = { bench: (file: string) => file !== 'smp.c', smp: (file: string) => file === 'smp.c' }
export type ProgramName = keyof typeof PROGRAMS

const ageOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0

/** Compiles a benchmark program, if its sources changed; its path. */
export function buildProgram(name: ProgramName, bits: Bits): string {
  const sources = readdirSync(SOURCES).filter((file) => file.endsWith('.c') && PROGRAMS[name](file))
  const program = path.join(CACHE, `${name}${bits}`)
  const newest = Math.max(...[...sources, 'bench.h'].map((file) => ageOf(path.join(SOURCES, file))))
  if (ageOf(program) < newest) {
    mkdirSync(CACHE, { recursive: true })
    const mode = bits === 32 ? ['-m32', '-msse2', '-mfpmath=sse'] : []
    const files = sources.map((file) => path.join(SOURCES, file))
    execFileSync('gcc', ['-O2', '-static', '-pthread', ...mode, '-o', program, ...files, '-lm'], {
      stdio: 'inherit',
    })
  }
  return program
}

const asFile = (name: string, source: string, mode = 0o755): CpioEntry => ({
  kind: 'file',
  name,
  mode,
  data: readFileSync(source),
})

const programEntries = (bits: Bits): CpioEntry[] => [
  asFile('bin/bench', buildProgram('bench', bits)),
  asFile('bin/smp', buildProgram('smp', bits)),
]

/** The large guest leaves its initramfs for a disk, so that a script which it reads on its way takes the files along. */
function scriptEntries(): CpioEntry[] {
  const drivers = path.join(ROOT, 'src/cli/guests/initramfs/drivers.sh')
  const takeAlong = `mkdir -p ${SCRIPTS_IN_GUEST}\ncp /bench/* /bin/bench /bin/smp ${SCRIPTS_IN_GUEST}/\n`
  return [
    { kind: 'directory', name: 'bench', mode: 0o755 },
    ...readdirSync(SCRIPTS).map((file) => asFile(`bench/${file}`, path.join(SCRIPTS, file))),
    {
      kind: 'file',
      name: 'etc/webkvm/drivers.sh',
      mode: 0o644,
      data: Buffer.concat([readFileSync(drivers), Buffer.from(takeAlong)]),
    },
  ]
}

function appendTo(guest: string, entries: readonly CpioEntry[]): string {
  const base = readFileSync(path.join(GUESTS, guest, 'initrd.cpio'))
  const padding = Buffer.alloc((4 - (base.length % 4)) % 4)
  mkdirSync(CACHE, { recursive: true })
  const file = path.join(CACHE, `initrd-${guest}.cpio`)
  writeFileSync(file, Buffer.concat([base, padding, encodeCpio(entries)]))
  return file
}

function manifestOf(guest: string): GuestManifest {
  const file = path.join(GUESTS, guest, 'manifest.json')
  if (!existsSync(file)) throw new Error(`the guest "${guest}" is not built: run "npm run setup -- ${guest}"`)
  return JSON.parse(readFileSync(file, 'utf8')) as GuestManifest
}

/** The boot entry of a guest with the benchmark's programs added. */
function guestImage(guest: string, id: string, entries: readonly CpioEntry[], cpus: number): BootImage {
  const boot = manifestOf(guest).boots.find((entry) => entry.id === id)
  if (boot === undefined) throw new Error(`the guest "${guest}" has no boot entry "${id}"`)
  const inFolder = (file: string): string => path.join(GUESTS, guest, file)
  return {
    kernel: inFolder(boot.kernel),
    initrd: appendTo(guest, entries),
    append: boot.append,
    disks: boot.disks.map(inFolder),
    memoryMiB: boot.memoryMiB,
    prompt: boot.prompt,
    cpus,
  }
}

/** The default guest, or for 32 bits Debian 686: what v86 can boot. */
export const kernelsImage = (bits: Bits, cpus: number): BootImage =>
  bits === 64
    ? guestImage('default', 'default', programEntries(64), cpus)
    : guestImage('i386', 'i386-686', programEntries(32), cpus)

export const programsImage = (cpus: number): BootImage =>
  guestImage('large', 'large', [...programEntries(64), ...scriptEntries()], cpus)
