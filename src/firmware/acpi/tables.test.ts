import { describe, expect, test } from 'vitest'

import { acpiTables } from './tables.ts'
import { smbiosTables } from '../smbios.ts'

const GPA = 0xe0000
const CONFIG = { apicIds: [0, 1], maxVcpus: 4, uarts: 2, keyboard: true }
const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0)

/** Follows RSDP -> XSDT -> tables as an operating system does. */
function readTables(image: Uint8Array): Map<string, Uint8Array> {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  const at = (gpa: number): Uint8Array =>
    image.subarray(gpa - GPA, gpa - GPA + view.getUint32(gpa - GPA + 4, true))
  const xsdt = at(Number(view.getBigUint64(24, true)))
  const found = new Map<string, Uint8Array>()
  for (let offset = 36; offset < xsdt.length; offset += 8) {
    const table = at(Number(new DataView(xsdt.buffer, xsdt.byteOffset).getBigUint64(offset, true)))
    found.set(new TextDecoder().decode(table.subarray(0, 4)), table)
  }
  return found
}

describe('acpiTables', () => {
  test('every table found from the RSDP has a zero checksum', () => {
    const image = acpiTables(GPA, CONFIG)
    expect(new TextDecoder().decode(image.bytes.subarray(0, 8))).toBe('RSD PTR ')
    expect(sum(image.bytes.subarray(0, 20))).toBe(0)
    expect(sum(image.bytes.subarray(0, 36))).toBe(0)
    const tables = readTables(image.bytes)
    expect([...tables.keys()]).toEqual(['FACP', 'APIC'])
    for (const table of tables.values()) expect(sum(table)).toBe(0)
  })

  test('the MADT lists two enabled and two absent processors', () => {
    const madt = readTables(acpiTables(GPA, CONFIG).bytes).get('APIC') ?? new Uint8Array()
    const flags: (number | undefined)[] = []
    for (let at = 44; at < madt.length; at += madt[at + 1] ?? 1) if (madt[at] === 0) flags.push(madt[at + 4])
    expect(flags).toEqual([1, 1, 0, 0])
  })
})

describe('smbiosTables', () => {
  test('both entry-point checksums are zero and the structures end with type 127', () => {
    const bytes = smbiosTables(0xf0000, {
      ramBytes: 512 << 20,
      vcpus: 2,
      product: 'p',
      machine: 'pc-1.0',
      uuid: new Uint8Array(16),
    })
    expect(sum(bytes.subarray(0, 31))).toBe(0)
    expect(sum(bytes.subarray(16, 31))).toBe(0)
    const length = bytes[0x16]! | (bytes[0x17]! << 8)
    expect([...bytes.subarray(32 + length - 6, 32 + length)]).toEqual([127, 4, 0x00, 0x7f, 0, 0])
  })
})
