/** Built guests by id, from the manifests that set-up left. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

import type { GuestIndex, GuestManifest } from '#host/guest-manifest.types.ts'
import { ConfigError } from '#machine/config.ts'
import type { MachineOptions } from '#machine/config.ts'
import { guestsFolder } from './paths.ts'

const readJson = async <T>(url: URL): Promise<T> => JSON.parse(await readFile(url, 'utf8')) as T

/** The options that boot guest `id`; ConfigError listing the known ids otherwise. */
export async function readGuest(id: string, root = guestsFolder()): Promise<MachineOptions> {
  const index = await readJson<GuestIndex>(new URL('index.json', root)).catch((cause: unknown) => {
    throw new ConfigError('no guest is built: run npm run setup', { cause })
  })
  const known: string[] = []
  for (const name of index.guests) {
    const folder = new URL(`${name}/`, root)
    const manifest = await readJson<GuestManifest>(new URL('manifest.json', folder))
    const path = (file: string): string => fileURLToPath(new URL(manifest.files[file]?.file ?? file, folder))
    for (const boot of manifest.boots) {
      known.push(boot.id)
      if (boot.id !== id) continue
      return {
        kernel: path(boot.kernel),
        ...(boot.initrd === undefined ? {} : { initrd: path(boot.initrd) }),
        disks: boot.disks.map((file) => ({ source: path(file), mode: 'overlay' as const })),
        append: boot.append,
        memory: boot.memoryMiB * 1048576,
      }
    }
  }
  throw new ConfigError(`guest "${id}" is unknown: choose from ${known.join(', ')}`)
}
