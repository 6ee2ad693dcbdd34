/** Puts an initramfs together: busybox, the drivers of the kernels it serves, and the scripts of `initramfs/`. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { encodeCpio, type CpioEntry } from './cpio.ts'
import { moduleEntries } from './modules.ts'
import { INITRAMFS_SOURCE_DIR } from './paths.ts'

/** Modules every guest carries; loaded only where the hardware is there or a file system is asked for. */
export const MODULES = [
  'virtio_pci',
  'virtio_mmio',
  'virtio_blk',
  'virtio_console',
  'virtio_rng',
  'virtio_net',
  'virtio_balloon',
  'virtio_scsi',
  'virtio_input',
  'virtiofs',
  'vmw_vsock_virtio_transport',
  'ata_piix',
  'ata_generic',
  'sd_mod',
  'sr_mod',
  'nvme',
  'ext4',
  'squashfs',
  'overlay',
  'erofs',
  'isofs',
  'vfat',
  'nls_ascii',
  'nls_cp437',
  'loop',
  'button',
  'evdev',
  'e1000',
  '8139cp',
  'af_packet',
] as const

const DIRECTORIES = [
  'bin', 'dev', 'etc', 'etc/acpi', 'etc/acpi/PWRF', 'etc/webkvm', 'lib', 'lib/modules', 'mnt', 'proc', 'root', 'run', 'sbin', 'sys', 'tmp',
  'usr', 'usr/bin', 'usr/sbin', 'var', 'var/log',
] // prettier-ignore

/** Settings of the userland, shared by the initramfs and by disk images: [path in the guest, source, mode]. */
export const USERLAND_FILES = [
  ['etc/webkvm/start', 'start', 0o755],
  ['etc/webkvm/services', 'services', 0o755],
  ['etc/webkvm/console', 'console', 0o755],
  ['etc/webkvm/udhcpc', 'udhcpc', 0o755],
  ['etc/webkvm/inittab', 'inittab', 0o644],
  ['etc/acpi/PWRF/00000080', 'power-button', 0o755],
  ['etc/profile', 'profile', 0o644],
] as const

const BOOT_FILES = [
  ['init', 'init', 0o755],
  ['etc/webkvm/drivers.sh', 'drivers.sh', 0o644],
  ['etc/webkvm/root.sh', 'root.sh', 0o644],
] as const

const ACCOUNTS = [
  ['etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n'],
  ['etc/group', 'root:x:0:\n'],
  ['etc/hosts', '127.0.0.1 localhost webkvm\n'],
] as const

/** @param moduleDirs one `lib/modules/<release>` folder per kernel that boots with this image. */
export function buildInitramfs(busybox: string, moduleDirs: readonly string[]): Buffer {
  const entries: CpioEntry[] = [
    ...DIRECTORIES.map(
      (name) => ({ kind: 'directory', name, mode: name === 'tmp' ? 0o1777 : 0o755 }) as const,
    ),
    // The kernel opens /dev/console for process 1 before devtmpfs is mounted.
    { kind: 'char-device', name: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { kind: 'char-device', name: 'dev/null', mode: 0o666, major: 1, minor: 3 },
    { kind: 'file', name: 'bin/busybox', mode: 0o755, data: readFileSync(busybox) },
    { kind: 'symlink', name: 'bin/sh', target: 'busybox' },
    ...['poweroff', 'reboot', 'halt', 'init', 'modprobe'].map(
      (name) => ({ kind: 'symlink', name: `sbin/${name}`, target: '../bin/busybox' }) as const,
    ),
    ...[...BOOT_FILES, ...USERLAND_FILES].map(([name, source, mode]) => {
      const data = readFileSync(path.join(INITRAMFS_SOURCE_DIR, source))
      return { kind: 'file', name, mode, data } as const
    }),
    ...ACCOUNTS.map(
      ([name, text]) => ({ kind: 'file', name, mode: 0o644, data: Buffer.from(text) }) as const,
    ),
    ...moduleDirs.flatMap((dir) => moduleEntries(dir, MODULES)),
  ]
  return encodeCpio(entries)
}
