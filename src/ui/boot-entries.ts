/** The boot entries that the guest builder left for this page, read from guests/index.json and the manifests. */
import type { GuestBoot, GuestIndex, GuestManifest } from '#host/guest-manifest.types.ts'
import type { MachineOptions } from '#machine/config.ts'

export interface BootEntry {
  readonly id: string
  readonly title: string
  readonly prompt: string
  readonly options: MachineOptions
}

async function fetchJson<T>(url: URL): Promise<T> {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url.pathname} answered ${response.status}`)
  return (await response.json()) as T
}

/** All entries, the default guest first; empty when no guest was built. */
export async function loadBootEntries(base: URL): Promise<BootEntry[]> {
  const index = await fetchJson<GuestIndex>(new URL('index.json', base)).catch(
    () => ({ format: 1, guests: [] }) as const,
  )
  const entries: BootEntry[] = []
  for (const name of index.guests) {
    const folder = new URL(`${name}/`, base)
    const manifest = await fetchJson<GuestManifest>(new URL('manifest.json', folder))
    entries.push(...manifest.boots.map((boot) => toEntry(boot, manifest, folder)))
  }
  return entries
}

function toEntry(boot: GuestBoot, manifest: GuestManifest, folder: URL): BootEntry {
  const url = (file: string): string => {
    const entry = manifest.files[file]
    if (entry === undefined) throw new Error(`guest ${manifest.name}: the manifest lists no file "${file}"`)
    return new URL(entry.gzip?.file ?? entry.file, folder).href
  }
  return {
    id: boot.id,
    title: boot.title,
    prompt: boot.prompt,
    options: {
      kernel: url(boot.kernel),
      ...(boot.initrd === undefined ? {} : { initrd: url(boot.initrd) }),
      disks: boot.disks.map((file) => ({ source: url(file) })),
      append: boot.append,
      memory: boot.memoryMiB * 1048576,
    },
  }
}
