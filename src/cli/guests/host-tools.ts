/**
 * Build tools of the host that a bare Debian lacks (xz, mksquashfs): taken from their packages into the cache and
 * run from there with their own libraries, so that no root and no installation is needed.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { AptWorld } from './apt.ts'
import { CACHE_DIR } from './paths.ts'
import { run, say } from './process.ts'

export type HostTool = {
  readonly command: string
  readonly env: Readonly<Record<string, string>>
}

/** `binary` is the path inside the package. libc comes from the host: mixing loaders and libcs crashes. */
export function hostTool(packageName: string, binary: string): HostTool {
  const dir = path.join(CACHE_DIR, 'tools', packageName)
  const stamp = path.join(dir, '.complete')
  if (!existsSync(stamp)) {
    say(`tools: unpacking ${packageName}`)
    const world = new AptWorld('amd64')
    const names = world
      .closure([packageName])
      .filter((name) => !/^(?:libc6|gcc-\d+-base|libgcc-s1|libcrypt1)$/u.test(name))
    rmSync(dir, { recursive: true, force: true })
    mkdirSync(dir, { recursive: true })
    for (const file of world.download(names)) run('dpkg-deb', ['-x', file.path, dir], {})
    writeFileSync(stamp, '')
  }
  const libs = ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu'].map((sub) => path.join(dir, sub))
  return { command: path.join(dir, binary), env: { LD_LIBRARY_PATH: libs.join(':') } }
}
