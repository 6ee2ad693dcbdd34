import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { moduleEntries } from './modules.ts'

/** The smallest ELF64 with a .modinfo section. */
function moduleFile(info: readonly string[]): Buffer {
  const names = Buffer.from('\0.shstrtab\0.modinfo\0')
  const body = Buffer.from(info.map((line) => `${line}\0`).join(''))
  const file = Buffer.alloc(0x40 + names.length + body.length + 3 * 0x40)
  file.write('\x7fELF\x02\x01\x01', 'latin1')
  names.copy(file, 0x40)
  body.copy(file, 0x40 + names.length)
  const table = 0x40 + names.length + body.length
  file.writeBigUInt64LE(BigInt(table), 0x28)
  for (const [at, value] of [
    [0x3a, 0x40],
    [0x3c, 3],
    [0x3e, 1],
  ] as const)
    file.writeUInt16LE(value, at)
  const sections = [
    [1, 0x40, names.length],
    [11, 0x40 + names.length, body.length],
  ] as const
  for (const [i, [nameAt, offset, size]] of sections.entries()) {
    file.writeUInt32LE(nameAt, table + (i + 1) * 0x40)
    file.writeBigUInt64LE(BigInt(offset), table + (i + 1) * 0x40 + 0x18)
    file.writeBigUInt64LE(BigInt(size), table + (i + 1) * 0x40 + 0x20)
  }
  return file
}

describe('moduleEntries', () => {
  let dir: string

  beforeAll(() => {
    dir = path.join(mkdtempSync(path.join(tmpdir(), 'modules-')), '6.1.0-test')
    mkdirSync(path.join(dir, 'kernel/drivers/virtio'), { recursive: true })
    const put = (name: string, info: readonly string[]): void =>
      writeFileSync(path.join(dir, 'kernel/drivers/virtio', `${name}.ko`), moduleFile(info))
    put('virtio_ring', ['depends='])
    put('virtio', ['depends=virtio_ring'])
    put('virtio-rng', ['alias=virtio:d00000004v*', 'depends=virtio,virtio_ring'])
    put('unrelated', ['depends='])
  })

  afterAll(() => rmSync(path.dirname(dir), { recursive: true }))

  const text = (name: string): string => {
    const entry = moduleEntries(dir, ['virtio_rng', 'built_in']).find((candidate) =>
      candidate.name.endsWith(name),
    )
    return entry?.kind === 'file' ? Buffer.from(entry.data).toString() : ''
  }

  test('carries a module with what it depends on, and nothing else', () => {
    const files = moduleEntries(dir, ['virtio_rng', 'built_in']).filter((entry) => entry.name.endsWith('.ko'))
    expect(files.map((entry) => path.basename(entry.name)).toSorted()).toEqual([
      'virtio-rng.ko',
      'virtio.ko',
      'virtio_ring.ko',
    ])
    expect(existsSync(path.join(dir, 'kernel/drivers/virtio/unrelated.ko'))).toBe(true)
  })

  test('lists dependencies so that the last is loaded first', () => {
    const base = 'kernel/drivers/virtio'
    expect(text('modules.dep')).toContain(`${base}/virtio-rng.ko: ${base}/virtio.ko ${base}/virtio_ring.ko\n`)
    expect(text('modules.dep')).toContain(`${base}/virtio_ring.ko:\n`)
  })

  test('lists aliases under the name the kernel uses', () => {
    expect(text('modules.alias')).toBe('alias virtio:d00000004v* virtio_rng\n')
  })

  test('lists parents before their content', () => {
    const names = moduleEntries(dir, ['virtio_rng']).map((entry) => entry.name)
    for (const name of names.slice(1))
      expect(names.indexOf(path.dirname(name))).toBeLessThan(names.indexOf(name))
    expect(names[0]).toBe('lib/modules/6.1.0-test')
  })
})
