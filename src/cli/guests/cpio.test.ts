import { describe, expect, test } from 'vitest'

import { encodeCpio } from './cpio.ts'

/** Header fields by their place in the format: 6 bytes of magic, then 8 hex digits each. */
const field = (archive: Buffer, at: number, index: number): number =>
  Number.parseInt(archive.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16)

describe('encodeCpio', () => {
  test('writes a file with its mode, size and data on 4-byte bounds', () => {
    const archive = encodeCpio([{ kind: 'file', name: 'init', mode: 0o755, data: Buffer.from('hello') }])

    expect(archive.toString('latin1', 0, 6)).toBe('070701')
    expect(field(archive, 0, 1)).toBe(0o100755)
    expect(field(archive, 0, 6)).toBe(5)
    expect(archive.toString('latin1', 110, 115)).toBe('init\0')
    expect(archive.toString('latin1', 116, 121)).toBe('hello')
    expect(archive.toString('latin1', 124, 130)).toBe('070701')
  })

  test('writes a device node as numbers in the header, without data', () => {
    const archive = encodeCpio([
      { kind: 'char-device', name: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    ])

    expect(field(archive, 0, 1)).toBe(0o020600)
    expect([field(archive, 0, 9), field(archive, 0, 10)]).toEqual([5, 1])
    expect(field(archive, 0, 6)).toBe(0)
  })

  test('writes the target of a link as its data', () => {
    const archive = encodeCpio([{ kind: 'symlink', name: 'sh', target: 'busybox' }])

    expect(field(archive, 0, 1)).toBe(0o120777)
    expect(archive.toString('latin1', 116, 123)).toBe('busybox')
  })

  test('ends with the trailer record', () => {
    const archive = encodeCpio([])

    expect(archive.toString('latin1', 110, 121)).toBe('TRAILER!!!\0')
    expect(archive.length % 4).toBe(0)
  })
})
