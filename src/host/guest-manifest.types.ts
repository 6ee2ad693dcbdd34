/**
 * What the guest builder leaves beside a guest's files, in `guests/<name>/manifest.json`; read by the page and the
 * command line. `guests/index.json` is a GuestIndex. Paths in it are relative to the file they stand in.
 */

export type GuestFile = {
  readonly file: string
  readonly sizeBytes: number
  /** Hex digest of the file as used, not as transferred. */
  readonly sha256: string
  /** A gzip of the same content, for transfer where that saves time; absent for disk images (read by ranges). */
  readonly gzip?: { readonly file: string; readonly sizeBytes: number }
}

/** One way to boot the guest: what a page lists as a boot entry and the command line as `--guest <id>`. */
export type GuestBoot = {
  readonly id: string
  readonly title: string
  readonly bits: 32 | 64
  /** Names of entries in `files`. */
  readonly kernel: string
  readonly initrd?: string
  /** Disk images in order: virtio-blk, opened read-only with writes kept by the host's overlay. */
  readonly disks: readonly string[]
  readonly append: string
  readonly memoryMiB: number
  /** Text that ends the boot: the shell's prompt on the console that `append` names. */
  readonly prompt: string
}

export type GuestManifest = {
  readonly format: 1
  readonly name: string
  readonly title: string
  /** Debian packages the guest was made from, `name=version`, in order of name. */
  readonly packages: readonly string[]
  /** Digest of the builder's sources at build time: another digest means the guest is stale. */
  readonly inputs: string
  readonly files: Readonly<Record<string, GuestFile>>
  readonly boots: readonly GuestBoot[]
}

export type GuestIndex = {
  readonly format: 1
  /** Folders with a manifest.json, the default guest first. */
  readonly guests: readonly string[]
}
