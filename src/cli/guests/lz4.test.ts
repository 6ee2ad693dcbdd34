import { describe, expect, test } from 'vitest'

import { decodeLz4Legacy, isLz4Legacy } from './lz4.ts'

function frame(...blocks: readonly (readonly number[])[]): Buffer {
  const parts = blocks.flatMap((block) => {
    const size = Buffer.alloc(4)
    size.writeUInt32LE(block.length)
    return [size, Buffer.from(block)]
  })
  return Buffer.concat([Buffer.from([0x02, 0x21, 0x4c, 0x18]), ...parts])
}

const ascii = (text: string): number[] => [...Buffer.from(text)]
const decode = (input: Buffer, sizeBytes: number): string =>
  Buffer.from(decodeLz4Legacy(input, sizeBytes)).toString()

describe('decodeLz4Legacy', () => {
  test('copies literals', () => {
    expect(decode(frame([0x30, ...ascii('abc')]), 3)).toBe('abc')
  })

  test('repeats the pattern where a match overlaps what it writes', () => {
    // 2 literals, match of 4 + 2 at offset 2, then a last sequence of one literal
    expect(decode(frame([0x22, ...ascii('ab'), 2, 0, 0x10, ...ascii('z')]), 9)).toBe('ababababz')
  })

  test('reads lengths longer than a nibble', () => {
    const text = 'x'.repeat(15 + 255 + 7)
    expect(decode(frame([0xf0, 255, 7, ...ascii(text)]), text.length)).toBe(text)
  })

  test('joins blocks', () => {
    expect(decode(frame([0x10, ...ascii('a')], [0x10, ...ascii('b')]), 2)).toBe('ab')
  })

  test.each([
    ['a match before the start', [0x10, 0x61, 2, 0, 0x00]],
    ['an offset of zero', [0x10, 0x61, 0, 0, 0x00]],
    ['literals beyond the input', [0x50, 0x61]],
    ['a length that never ends', [0xf0, 255, 255]],
  ])('rejects %s', (_name, block) => {
    expect(() => decodeLz4Legacy(frame(block), 64)).toThrow(RangeError)
  })

  test('rejects data that decodes to another size than stated', () => {
    expect(() => decodeLz4Legacy(frame([0x10, 0x61]), 2)).toThrow(/decodes to 1 bytes, want 2/u)
  })

  test('knows its magic', () => {
    expect(isLz4Legacy(frame([0x10, 0x61]))).toBe(true)
    expect(isLz4Legacy(Buffer.from('not an LZ4 frame'))).toBe(false)
  })
})
