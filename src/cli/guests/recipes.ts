/** The guests we make. A recipe returns file contents or paths and the boot entries over them. */
import path from 'node:path'
import type { GuestBoot } from '../../host/guest-manifest.types.ts'
import { AptWorld } from './apt.ts'
import { buildInitramfs } from './initramfs.ts'
import { fetchBusybox, fetchKernel } from './kernels.ts'
import { buildLargeDisk } from './large-disk.ts'

export type RecipeFile = {
  readonly name: string
  /** Content, or the path of a finished file to move into place. */
  readonly content: Buffer | { readonly path: string }
  /** Whether a gzip for transfer is worth its space: not for what is compressed already or read by ranges. */
  readonly gzip: boolean
}

export type RecipeResult = {
  readonly packages: readonly string[]
  readonly files: readonly RecipeFile[]
  readonly boots: readonly GuestBoot[]
}

export type Recipe = {
  readonly name: string
  readonly title: string
  readonly build: (scratch: string) => RecipeResult
}

const PROMPT = 'webkvm:~# '

/**
 * Options of a quick boot. quiet: the serial console is the slowest device. mitigations: a guest of ours shares
 * its CPU with nobody. tsc, no_timer_check: no calibration against timers that a loaded host delays.
 * cryptomgr.notests: half of a 32-bit boot is crypto self-tests. All guests boot without these, too.
 */
const QUICK = 'quiet mitigations=off tsc=reliable cryptomgr.notests no_timer_check'

export const RECIPES: readonly Recipe[] = [
  { name: 'default', title: 'Debian 12, 64-bit', build: buildDefault },
  { name: 'i386', title: 'Debian 12, 32-bit', build: buildI386 },
  { name: 'large', title: 'Debian 12, 64-bit, with compiler and tools on a disk', build: buildLarge },
]

function buildDefault(scratch: string): RecipeResult {
  const world = new AptWorld('amd64')
  const kernel = fetchKernel(world, 'linux-image-cloud-amd64', scratch)
  const busybox = fetchBusybox(world, scratch)
  const boot = {
    initrd: 'initrd.cpio',
    disks: [],
    bits: 64,
    append: `console=ttyS0 ${QUICK}`,
    memoryMiB: 256,
    prompt: PROMPT,
  } as const
  return {
    packages: [kernel.source, busybox.source],
    files: [
      { name: 'vmlinux', content: kernel.vmlinux, gzip: true },
      { name: 'bzImage', content: kernel.bzImage, gzip: false },
      { name: 'initrd.cpio', content: buildInitramfs(busybox.path, [kernel.moduleDir]), gzip: true },
    ],
    boots: [
      { id: 'default', title: 'Debian 12, 64-bit', kernel: 'vmlinux', ...boot },
      { id: 'default-bzimage', title: 'Debian 12, 64-bit, compressed kernel', kernel: 'bzImage', ...boot },
    ],
  }
}

function buildI386(scratch: string): RecipeResult {
  const world = new AptWorld('i386')
  const plain = fetchKernel(world, 'linux-image-686', scratch)
  const pae = fetchKernel(world, 'linux-image-686-pae', scratch)
  const busybox = fetchBusybox(world, scratch)
  const boot = {
    initrd: 'initrd.cpio',
    disks: [],
    bits: 32,
    append: `console=ttyS0 ${QUICK}`,
    memoryMiB: 256,
    prompt: PROMPT,
  } as const
  return {
    packages: [plain.source, pae.source, busybox.source],
    files: [
      { name: 'bzImage-686', content: plain.bzImage, gzip: false },
      { name: 'bzImage-686-pae', content: pae.bzImage, gzip: false },
      { name: 'vmlinux-686-pae', content: pae.vmlinux, gzip: true },
      {
        name: 'initrd.cpio',
        content: buildInitramfs(busybox.path, [plain.moduleDir, pae.moduleDir]),
        gzip: true,
      },
    ],
    boots: [
      { id: 'i386-686', title: 'Debian 12, 32-bit', kernel: 'bzImage-686', ...boot },
      { id: 'i386-686-pae', title: 'Debian 12, 32-bit with PAE', kernel: 'vmlinux-686-pae', ...boot },
      {
        id: 'i386-686-pae-bzimage',
        title: 'Debian 12, 32-bit with PAE, compressed kernel',
        kernel: 'bzImage-686-pae',
        ...boot,
      },
    ],
  }
}

function buildLarge(scratch: string): RecipeResult {
  const world = new AptWorld('amd64')
  const kernel = fetchKernel(world, 'linux-image-cloud-amd64', scratch)
  const busybox = fetchBusybox(world, scratch)
  const image = path.join(scratch, 'root.squashfs')
  const packages = buildLargeDisk(world, {
    busybox: busybox.path,
    moduleDir: kernel.moduleDir,
    scratch,
    image,
  })
  return {
    packages: [kernel.source, busybox.source, ...packages],
    files: [
      { name: 'vmlinux', content: kernel.vmlinux, gzip: true },
      { name: 'initrd.cpio', content: buildInitramfs(busybox.path, [kernel.moduleDir]), gzip: true },
      { name: 'root.squashfs', content: { path: image }, gzip: false },
    ],
    boots: [
      {
        id: 'large',
        title: 'Debian 12, 64-bit: gcc, python3, vim, openssl, stress-ng',
        bits: 64,
        kernel: 'vmlinux',
        initrd: 'initrd.cpio',
        disks: ['root.squashfs'],
        append: `console=ttyS0 root=/dev/vda rootfstype=squashfs ${QUICK}`,
        memoryMiB: 1024,
        prompt: PROMPT,
      },
    ],
  }
}
