import { describe, expect, test } from 'vitest'

import { extractVmlinux, KernelImageError } from './bzimage.ts'

/** One setup sector after the boot sector, then the payload and the decompressed size. */
function bzImage(payload: Buffer, sizeBytes: number): Buffer {
  const setup = Buffer.alloc(1024)
  setup.writeUInt8(1, 0x1f1)
  setup.write('HdrS', 0x202)
  setup.writeUInt16LE(0x20f, 0x206)
  setup.writeUInt32LE(0, 0x248)
  setup.writeUInt32LE(payload.length + 4, 0x24c)
  const size = Buffer.alloc(4)
  size.writeUInt32LE(sizeBytes)
  return Buffer.concat([setup, payload, size])
}

/** One LZ4 legacy block of literals only. */
function lz4(text: Buffer): Buffer {
  const head = Buffer.from([0x02, 0x21, 0x4c, 0x18, text.length + 1, 0, 0, 0, text.length << 4])
  return Buffer.concat([head, text])
}

describe('extractVmlinux', () => {
  const elf = Buffer.from('\x7fELF and', 'latin1')

  test('unpacks an LZ4 payload', () => {
    expect(extractVmlinux(bzImage(lz4(elf), elf.length)).equals(elf)).toBe(true)
  })

  test.each([
    ['a file without boot header', Buffer.alloc(2048), /no HdrS/u],
    ['a payload that is no ELF file', bzImage(lz4(Buffer.from('text....')), 8), /no ELF/u],
    ['an unknown compression', bzImage(Buffer.from('????????'), 8), /unknown compression/u],
    ['a file that ends early', bzImage(lz4(elf), 8).subarray(0, 1030), /exceeds the image/u],
  ])('rejects %s', (_name, image, message) => {
    expect(() => extractVmlinux(image)).toThrow(KernelImageError)
    expect(() => extractVmlinux(image)).toThrow(message)
  })
})
