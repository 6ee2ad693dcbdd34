/**
 * Writer of the "newc" cpio format, the one the kernel unpacks as initramfs.
 * Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
 * Device nodes are only header fields here, so no root is needed; hard links are deliberately absent.
 */

export type CpioEntry =
  | { readonly kind: 'file'; readonly name: string; readonly mode: number; readonly data: Uint8Array }
  | { readonly kind: 'directory'; readonly name: string; readonly mode: number }
  | { readonly kind: 'symlink'; readonly name: string; readonly target: string }
  | {
      readonly kind: 'char-device'
      readonly name: string
      readonly mode: number
      readonly major: number
      readonly minor: number
    }

const S_IFCHR = 0o020000
const S_IFDIR = 0o040000
const S_IFREG = 0o100000
const S_IFLNK = 0o120000

/** Entries must come parents first; names have no leading slash. Times are zero, so equal input gives equal bytes. */
export function encodeCpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = []
  for (const [index, entry] of entries.entries()) parts.push(...encodeEntry(entry, index + 1))
  parts.push(...record('TRAILER!!!', { ino: 0, mode: 0, nlink: 1, major: 0, minor: 0 }, Buffer.alloc(0)))
  return Buffer.concat(parts)
}

function encodeEntry(entry: CpioEntry, ino: number): Buffer[] {
  const none = Buffer.alloc(0)
  switch (entry.kind) {
    case 'file':
      return record(
        entry.name,
        { ino, mode: S_IFREG | entry.mode, nlink: 1, major: 0, minor: 0 },
        Buffer.from(entry.data),
      )
    case 'directory':
      return record(entry.name, { ino, mode: S_IFDIR | entry.mode, nlink: 2, major: 0, minor: 0 }, none)
    case 'symlink':
      return record(
        entry.name,
        { ino, mode: S_IFLNK | 0o777, nlink: 1, major: 0, minor: 0 },
        Buffer.from(entry.target),
      )
    case 'char-device': {
      const { major, minor } = entry
      return record(entry.name, { ino, mode: S_IFCHR | entry.mode, nlink: 1, major, minor }, none)
    }
  }
}

type Header = { ino: number; mode: number; nlink: number; major: number; minor: number }

function record(name: string, header: Header, data: Buffer): Buffer[] {
  const nameBytes = Buffer.from(`${name}\0`)
  // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check: 8 hex digits each
  const { ino, mode, nlink, major, minor } = header
  const fields = [ino, mode, 0, 0, nlink, 0, data.length, 0, 0, major, minor, nameBytes.length, 0]
  const head = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`)
  return [head, nameBytes, padding(head.length + nameBytes.length), data, padding(data.length)]
}

/** Header plus name, and data, are each padded to 4 bytes. */
function padding(lenBytes: number): Buffer {
  return Buffer.alloc((4 - (lenBytes % 4)) % 4)
}
