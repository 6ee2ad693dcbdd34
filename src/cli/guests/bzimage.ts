/**
 * Takes the uncompressed kernel out of a bzImage, once at build time, so that a boot need not decompress it.
 *
 * Source: Linux Documentation/arch/x86/boot.rst, "payload_offset" and "payload_length". The payload ends with
 * the decompressed size as u32, which is not part of the compressed stream.
 */
import { spawnSync } from 'node:child_process'
import { hostTool } from './host-tools.ts'
import { decodeLz4Legacy, isLz4Legacy } from './lz4.ts'

const HDRS_MAGIC = 0x53726448 // "HdrS" at 0x202
const MAGICS = [
  { kind: 'xz', bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a] },
  { kind: 'zstd', bytes: [0x28, 0xb5, 0x2f, 0xfd] },
  { kind: 'gzip', bytes: [0x1f, 0x8b] },
] as const

export class KernelImageError extends Error {
  override name = 'KernelImageError'
}

/** The ELF vmlinux inside `image`. */
export function extractVmlinux(image: Buffer): Buffer {
  if (image.length < 0x264 || image.readUInt32LE(0x202) !== HDRS_MAGIC)
    throw new KernelImageError('not a bzImage: no HdrS')
  if (image.readUInt16LE(0x206) < 0x208)
    throw new KernelImageError('boot protocol before 2.08 has no payload field')
  const setupSectors = image.readUInt8(0x1f1) || 4
  const start = (setupSectors + 1) * 512 + image.readUInt32LE(0x248)
  const end = start + image.readUInt32LE(0x24c)
  if (end > image.length || end - start < 8)
    throw new KernelImageError(`payload ${start}..${end} exceeds the image (${image.length} bytes)`)
  const sizeBytes = image.readUInt32LE(end - 4)
  const vmlinux = decompress(image.subarray(start, end - 4), sizeBytes)
  if (vmlinux.length < sizeBytes || vmlinux.readUInt32BE(0) !== 0x7f454c46)
    throw new KernelImageError('payload is no ELF file')
  return vmlinux
}

function decompress(payload: Buffer, sizeBytes: number): Buffer {
  if (isLz4Legacy(payload)) return Buffer.from(decodeLz4Legacy(payload, sizeBytes).buffer)
  const magic = MAGICS.find(({ bytes }) => bytes.every((byte, i) => payload[i] === byte))
  switch (magic?.kind) {
    case 'xz':
      return filter('xz-utils', 'usr/bin/xz', payload)
    case 'zstd':
      return filter('zstd', 'usr/bin/zstd', payload)
    case 'gzip':
      return filter('gzip', 'bin/gzip', payload)
    case undefined:
      throw new KernelImageError(`payload of unknown compression ${payload.subarray(0, 6).toString('hex')}`)
  }
}

function filter(packageName: string, binary: string, input: Buffer): Buffer {
  const tool = hostTool(packageName, binary)
  const done = spawnSync(tool.command, ['-dc'], {
    input,
    env: { ...process.env, ...tool.env },
    maxBuffer: 512 << 20,
  })
  if (done.status !== 0)
    throw new KernelImageError(
      `${binary} could not unpack the kernel: ${done.stderr?.toString() ?? done.error?.message}`,
    )
  return done.stdout
}
