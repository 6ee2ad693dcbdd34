import { describe, expect, test } from 'vitest'

import { linearToGpa } from './page-walk.ts'
import type { PagingRegisters } from './page-walk.ts'

const PG = 0x8000_0001n
const PRESENT = 1n
const LARGE = 0x80n

/** Guest memory that holds these entries and nothing else. */
function memory(entries: Readonly<Record<number, bigint>>, bytes: 4 | 8): Parameters<typeof linearToGpa>[0] {
  return (gpa, lengthBytes) => {
    const view = new DataView(new ArrayBuffer(8))
    view.setBigUint64(0, entries[gpa] ?? 0n, true)
    return lengthBytes === bytes ? new Uint8Array(view.buffer, 0, bytes) : undefined
  }
}

const registers = (some: Partial<PagingRegisters>): PagingRegisters => ({
  cr0: PG,
  cr3: 0x1000n,
  cr4: 0n,
  efer: 0n,
  ...some,
})

describe('linearToGpa', () => {
  test('takes linear addresses for physical ones without paging', () => {
    expect(linearToGpa(memory({}, 8), registers({ cr0: 1n }), 0x10_0020n)).toBe(0x10_0020n)
  })

  test('walks four levels down to a 4 KiB page', () => {
    const tables = memory(
      {
        [0x1000 + 511 * 8]: 0x2000n | PRESENT,
        [0x2000 + 510 * 8]: 0x3000n | PRESENT,
        [0x3000 + 8 * 8]: 0x4000n | PRESENT,
        [0x4000 + 5 * 8]: (1n << 63n) | 0x1_2345_6000n | PRESENT,
      },
      8,
    )
    const long = registers({ cr4: 0x20n, efer: 0x500n })
    expect(linearToGpa(tables, long, 0xffff_ffff_8100_5abcn)).toBe(0x1_2345_6abcn)
    expect(linearToGpa(tables, long, 0xffff_ffff_8100_6abcn)).toBeUndefined()
  })

  test.each([
    { shift: 30, level: 'PDPT' },
    { shift: 21, level: 'page directory' },
  ])('ends at a large page in the $level', ({ shift }) => {
    const entry = (1n << 32n) | LARGE | PRESENT
    const entries: Record<number, bigint> =
      shift === 30
        ? { 0x1000: 0x2000n | PRESENT, 0x2000: entry }
        : { 0x1000: 0x2000n | PRESENT, 0x2000: 0x3000n | PRESENT, 0x3000: entry }
    const long = registers({ cr4: 0x20n, efer: 0x500n })
    expect(linearToGpa(memory(entries, 8), long, 0x1f_fff1n)).toBe((1n << 32n) | 0x1f_fff1n)
  })

  test('begins with four pointers, 32-byte aligned, under PAE', () => {
    const tables = memory(
      { [0x1020 + 3 * 8]: 0x2000n | PRESENT, 0x2000: 0x3000n | PRESENT, 0x3000: 0x7000n | PRESENT },
      8,
    )
    expect(linearToGpa(tables, registers({ cr3: 0x1020n, cr4: 0x20n }), 0xc000_0123n)).toBe(0x7123n)
  })

  test('walks two levels of 32-bit entries', () => {
    const tables = memory(
      { [0x1000 + 0x300 * 4]: 0x2000n | PRESENT, [0x2000 + 0x101 * 4]: 0x9000n | PRESENT },
      4,
    )
    expect(linearToGpa(tables, registers({}), 0xc010_1234n)).toBe(0x9234n)
  })

  test('knows 4 MiB pages beyond 4 GiB only with CR4.PSE', () => {
    const tables = memory({ 0x1000: 0x40_2000n | LARGE | PRESENT }, 4)
    expect(linearToGpa(tables, registers({ cr4: 0x10n }), 0x12_3456n)).toBe(0x1_0052_3456n)
    expect(linearToGpa(tables, registers({}), 0x12_3456n)).toBeUndefined()
  })
})
