/** Debian kernels: fetched, unpacked, and turned into the files a boot entry names. */
import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import type { AptWorld } from './apt.ts'
import { extractVmlinux } from './bzimage.ts'
import { trimKernelElf } from './elf.ts'
import { run } from './process.ts'

export type Kernel = {
  /** `name=version` of the package that holds the image. */
  readonly source: string
  readonly bzImage: Buffer
  /** Uncompressed and without padding; the same memory image as the ELF inside bzImage. */
  readonly vmlinux: Buffer
  readonly moduleDir: string
}

/** @param meta a metapackage such as linux-image-cloud-amd64; `scratch` receives the unpacked package. */
export function fetchKernel(world: AptWorld, meta: string, scratch: string): Kernel {
  const real = world.resolveMeta(meta, 'linux-image-')
  const [file] = world.download([real])
  if (file === undefined) throw new Error(`no file for ${real}`)
  const dir = path.join(scratch, real)
  unpack(file.path, dir)
  const [release] = readdirSync(path.join(dir, 'lib/modules'))
  if (release === undefined) throw new Error(`${real} has no modules`)
  const bzImage = readFileSync(path.join(dir, 'boot', `vmlinuz-${release}`))
  return {
    source: `${file.name}=${file.version}`,
    bzImage,
    vmlinux: trimKernelElf(extractVmlinux(bzImage)),
    moduleDir: path.join(dir, 'lib/modules', release),
  }
}

export type Busybox = { readonly source: string; readonly path: string }

export function fetchBusybox(world: AptWorld, scratch: string): Busybox {
  const [file] = world.download(['busybox-static'])
  if (file === undefined) throw new Error('no file for busybox-static')
  const dir = path.join(scratch, `busybox-${world.arch}`)
  unpack(file.path, dir)
  return { source: `${file.name}=${file.version}`, path: path.join(dir, 'bin/busybox') }
}

function unpack(deb: string, dir: string): void {
  rmSync(dir, { recursive: true, force: true })
  mkdirSync(dir, { recursive: true })
  run('dpkg-deb', ['-x', deb, dir], {})
}
