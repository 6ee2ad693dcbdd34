/**
 * The disk of the larger guest: a Debian userland with compiler, Python, editors, network and disk tools, as a
 * squashfs that is read on demand. The initramfs puts a tmpfs over it, so the guest may write anywhere.
 *
 * Packages are unpacked, not configured: what their scripts would have left and is needed is made here.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'

import type { AptWorld } from './apt.ts'
import type { CpioEntry } from './cpio.ts'
import { hostTool } from './host-tools.ts'
import { MODULES, USERLAND_FILES } from './initramfs.ts'
import { moduleEntries } from './modules.ts'
import { INITRAMFS_SOURCE_DIR } from './paths.ts'
import { run, say } from './process.ts'

const PACKAGES = [
  'base-files base-passwd bash dash libc-bin ncurses-base ncurses-bin hostname bsdutils',
  'coreutils util-linux mount procps psmisc debianutils',
  'grep sed gawk findutils diffutils tar gzip bzip2 xz-utils zstd file less bc jq',
  'vim nano htop strace kmod',
  'gcc libc6-dev make tcc python3 libpython3.11-testsuite luajit nodejs',
  'iproute2 iputils-ping curl netcat-openbsd ethtool tcpdump openssh-client ca-certificates',
  'e2fsprogs fdisk parted dosfstools squashfs-tools',
  'openssl stress-ng',
].flatMap((line) => line.split(' '))

/** In the dependency closure, but of use only to a system that configures packages or has users. */
const NOT_WANTED =
  /^(?:debconf|dpkg|perl.*|libperl.*|lib.*-perl|usrmerge|passwd|adduser|login|libpam-runtime|tzdata|sensible-utils|dbus.*|systemd.*|init-system-helpers)$/u

/** Removed after unpacking. Copyright files stay: they are the licences' own condition. */
const DROPPED_DIRS = [
  'usr/share/man',
  'usr/share/info',
  'usr/share/locale',
  'usr/share/lintian',
  'usr/share/bug',
  'usr/share/vim/vim90/doc',
]

/** What update-alternatives would have set. */
const ALTERNATIVES = [
  ['usr/bin/sh', 'dash'],
  ['usr/bin/awk', 'gawk'],
  ['usr/bin/cc', 'gcc'],
  ['usr/bin/vi', 'vim'],
  ['usr/bin/vim', 'vim.basic'],
  ['usr/bin/editor', 'vim'],
  ['usr/bin/pager', 'less'],
  ['usr/bin/nc', 'nc.openbsd'],
  ['usr/bin/which', 'which.debianutils'],
] as const

export type LargeDiskOptions = {
  readonly busybox: string
  readonly moduleDir: string
  readonly scratch: string
  /** Where the finished image goes. */
  readonly image: string
}

/** Makes the image; returns its packages as `name=version`. */
export function buildLargeDisk(world: AptWorld, options: LargeDiskOptions): readonly string[] {
  const root = path.join(options.scratch, 'root')
  const names = world.closure(PACKAGES).filter((name) => !NOT_WANTED.test(name))
  const files = world.download(names)
  layDownDirectories(root)
  say(`unpacking ${files.length} packages`)
  for (const file of files) unpackOver(file.path, root)
  configure(root, options)
  prune(root)
  compress(root, options.image)
  return files.map((file) => `${file.name}=${file.version}`)
}

/** Debian 12 has one /usr: these links come before the packages, some of which still name the old places. */
function layDownDirectories(root: string): void {
  const dirs = [
    'usr/bin',
    'usr/sbin',
    'usr/lib',
    'usr/lib64',
    'usr/lib32',
    'dev',
    'proc',
    'sys',
    'run',
    'tmp',
    'root',
    'mnt',
    'var/log',
    'etc',
  ]
  for (const dir of dirs) mkdirSync(path.join(root, dir), { recursive: true })
  for (const name of ['bin', 'sbin', 'lib', 'lib64', 'lib32'])
    symlinkSync(`usr/${name}`, path.join(root, name))
}

function unpackOver(deb: string, root: string): void {
  const script = 'dpkg-deb --fsys-tarfile "$0" | tar -x -f - -C "$1" --keep-directory-symlink --no-same-owner'
  run('bash', ['-o', 'pipefail', '-c', script, deb, root], {})
}

function configure(root: string, options: LargeDiskOptions): void {
  const at = (name: string): string => path.join(root, name)
  for (const name of ['passwd', 'group'])
    copyFileSync(at(`usr/share/base-passwd/${name}.master`), at(`etc/${name}`))
  // The master marks root's password as unset for debconf to fill; there is no login here to ask for it.
  writeFileSync(at('etc/passwd'), readFileSync(at('etc/passwd'), 'utf8').replace(/^root:[^:]*:/mu, 'root:x:'))
  writeFileSync(at('etc/hostname'), 'webkvm\n')
  writeFileSync(at('etc/hosts'), '127.0.0.1 localhost webkvm\n')
  writeFileSync(at('etc/resolv.conf'), '')
  // Escape sequences around every command line would stand in logs and in the way of scripts that read them.
  writeFileSync(at('etc/inputrc'), 'set enable-bracketed-paste off\n')
  for (const [link, target] of ALTERNATIVES) {
    if (existsSync(at(path.join(path.dirname(link), target))) && !existsSync(at(link)))
      symlinkSync(target, at(link))
  }
  writeCertificates(root)
  copyFileSync(options.busybox, at('usr/bin/busybox'))
  for (const [name, source, mode] of USERLAND_FILES) {
    writeEntry(root, {
      kind: 'file',
      name,
      mode,
      data: readFileSync(path.join(INITRAMFS_SOURCE_DIR, source)),
    })
  }
  for (const entry of moduleEntries(options.moduleDir, MODULES))
    writeEntry(root, { ...entry, name: `usr/${entry.name}` })
}

/** What update-ca-certificates makes: all authorities in one file. */
function writeCertificates(root: string): void {
  const source = path.join(root, 'usr/share/ca-certificates/mozilla')
  const all = readdirSync(source)
    .toSorted()
    .map((file) => readFileSync(path.join(source, file), 'utf8'))
  mkdirSync(path.join(root, 'etc/ssl/certs'), { recursive: true })
  writeFileSync(path.join(root, 'etc/ssl/certs/ca-certificates.crt'), all.join(''))
}

function writeEntry(root: string, entry: CpioEntry): void {
  const target = path.join(root, entry.name)
  if (entry.kind === 'directory') mkdirSync(target, { recursive: true, mode: entry.mode })
  if (entry.kind !== 'file') return
  mkdirSync(path.dirname(target), { recursive: true })
  rmSync(target, { force: true })
  writeFileSync(target, entry.data, { mode: entry.mode })
}

function prune(root: string): void {
  for (const dir of DROPPED_DIRS) rmSync(path.join(root, dir), { recursive: true, force: true })
  const doc = path.join(root, 'usr/share/doc')
  for (const file of readdirSync(doc, { recursive: true, encoding: 'utf8' })) {
    const full = path.join(doc, file)
    const stat = statSync(full, { throwIfNoEntry: false })
    if (stat?.isFile() === true && path.basename(file) !== 'copyright') rmSync(full)
  }
}

function compress(root: string, image: string): void {
  say('compressing the disk')
  const tool = hostTool('squashfs-tools', 'usr/bin/mksquashfs')
  // 128 KiB blocks: a read of one guest page costs one range request of about 50 KB, not the 300 KB of 1 MiB blocks.
  const zstd = ['-comp', 'zstd', '-Xcompression-level', '12', '-b', '128K']
  const reproducible = ['-mkfs-time', '0', '-all-time', '0', '-all-root', '-no-xattrs']
  run(tool.command, [root, image, '-noappend', '-quiet', '-no-progress', ...zstd, ...reproducible], {
    env: tool.env,
  })
}
