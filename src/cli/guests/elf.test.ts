import { describe, expect, test } from 'vitest'

import { ElfError, elfSection, trimKernelElf } from './elf.ts'

const KIB = 1024

/** An ELF64 with one loadable segment at `paddr` whose file part is `data` and whose memory part is `memBytes`. */
function elf64(data: Buffer, memBytes: number, paddr = 0x100_0000n): Buffer {
  const head = Buffer.alloc(4 * KIB)
  head.write('\x7fELF\x02\x01\x01', 'latin1')
  head.writeBigUInt64LE(0xabcdn, 0x18) // entry
  head.writeBigUInt64LE(0x40n, 0x20) // program headers
  head.writeUInt16LE(0x38, 0x36)
  head.writeUInt16LE(1, 0x38)
  head.writeUInt32LE(1, 0x40) // PT_LOAD
  const longs = [BigInt(head.length), 0xffff_ffff_8100_0000n, paddr, BigInt(data.length), BigInt(memBytes)]
  for (const [i, value] of longs.entries()) head.writeBigUInt64LE(value, 0x48 + i * 8)
  return Buffer.concat([head, data])
}

/** What a loader puts into memory from `paddr` on. */
function load(file: Buffer, paddr: bigint, memBytes: number): Buffer {
  const memory = Buffer.alloc(memBytes, 0xee)
  for (let i = 0; i < file.readUInt16LE(0x38); i++) {
    const at = Number(file.readBigUInt64LE(0x20)) + i * 0x38
    const [offset = 0, , physical = 0, fileBytes = 0, segmentBytes = 0] = [8, 16, 24, 32, 40].map((field) =>
      Number(file.readBigUInt64LE(at + field)),
    )
    const to = physical - Number(paddr)
    memory.fill(0, to, to + segmentBytes)
    file.copy(memory, to, offset, offset + fileBytes)
  }
  return memory
}

describe('trimKernelElf', () => {
  const data = Buffer.alloc(1024 * KIB)
  data.write('first', 0)
  data.write('second', 700 * KIB)
  const whole = elf64(data, 2048 * KIB)

  test('loads to the same memory', () => {
    const trimmed = trimKernelElf(whole)
    expect(load(trimmed, 0x100_0000n, 2048 * KIB).equals(load(whole, 0x100_0000n, 2048 * KIB))).toBe(true)
  })

  test('stores no long run of zeros', () => {
    expect(trimKernelElf(whole).length).toBeLessThan(32 * KIB)
  })

  test('keeps the entry point', () => {
    expect(trimKernelElf(whole).readBigUInt64LE(0x18)).toBe(0xabcdn)
  })

  test('keeps short runs of zeros inside one segment', () => {
    const near = Buffer.alloc(64 * KIB)
    near.write('a', 0)
    near.write('b', 40 * KIB)
    expect(trimKernelElf(elf64(near, near.length)).readUInt16LE(0x38)).toBe(1)
  })

  test('rejects what is no ELF file and what ends early', () => {
    expect(() => trimKernelElf(Buffer.alloc(100))).toThrow(ElfError)
    expect(() => trimKernelElf(whole.subarray(0, 64 * KIB))).toThrow(/exceeds the file/u)
  })
})

describe('elfSection', () => {
  test('finds a section by name', () => {
    const file = elfWithSection('.modinfo', 'depends=virtio\0')
    expect(elfSection(file, '.modinfo')?.toString()).toBe('depends=virtio\0')
    expect(elfSection(file, '.text')).toBeUndefined()
  })
})

function elfWithSection(name: string, content: string): Buffer {
  const head = Buffer.alloc(0x40)
  head.write('\x7fELF\x02\x01\x01', 'latin1')
  const names = Buffer.from(`\0.shstrtab\0${name}\0`)
  const body = Buffer.from(content)
  const headers = Buffer.alloc(3 * 0x40)
  const put = (index: number, nameAt: number, offset: number, size: number): void => {
    headers.writeUInt32LE(nameAt, index * 0x40)
    headers.writeBigUInt64LE(BigInt(offset), index * 0x40 + 0x18)
    headers.writeBigUInt64LE(BigInt(size), index * 0x40 + 0x20)
  }
  put(1, 1, 0x40, names.length)
  put(2, 11, 0x40 + names.length, body.length)
  head.writeBigUInt64LE(BigInt(0x40 + names.length + body.length), 0x28)
  head.writeUInt16LE(0x40, 0x3a)
  head.writeUInt16LE(3, 0x3c)
  head.writeUInt16LE(1, 0x3e)
  return Buffer.concat([head, names, body, headers])
}
