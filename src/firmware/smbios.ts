/** SMBIOS 2.8 entry point and structures (DSP0134): types 0, 1, 3, 4, 16, 17, 19, 32, 127. */
import { ByteWriter, checksum } from './byte-writer.ts'
import { ramLayout } from './memory-map.ts'

export interface SmbiosConfig {
  readonly ramBytes: number
  readonly vcpus: number
  readonly product: string
  /** Machine type version, e.g. pc-1.0. */
  readonly machine: string
  /** 16 bytes. */
  readonly uuid: Uint8Array
}

const ENTRY_BYTES = 31
const MANUFACTURER = 'webkvm'

class Structures {
  readonly out = new ByteWriter()
  count = 0
  largest = 0

  add(type: number, handle: number, body: ByteWriter, strings: readonly string[] = []): void {
    const start = this.out.length
    const formatted = body.finish()
    this.out
      .u8(type)
      .u8(4 + formatted.length)
      .u16(handle)
      .bytes(formatted)
    for (const text of strings) this.out.text(text).u8(0)
    this.out.u8(0)
    if (strings.length === 0) this.out.u8(0)
    this.count++
    this.largest = Math.max(this.largest, this.out.length - start)
  }
}

/** Entry point and structures as one image for placement at gpa (16-byte aligned, below 1 MiB). */
export function smbiosTables(gpa: number, config: SmbiosConfig): Uint8Array {
  const structures = new Structures()
  addSystem(structures, config)
  addProcessors(structures, config)
  addMemory(structures, config)
  structures.add(32, 0x2000, new ByteWriter().zeros(6).u8(0))
  structures.add(127, 0x7f00, new ByteWriter())
  const body = structures.out.finish()
  const tableAt = gpa + 32
  const entry = new ByteWriter()
    .text('_SM_')
    .u8(0)
    .u8(ENTRY_BYTES)
    .u8(2)
    .u8(8)
    .u16(structures.largest)
    .u8(0)
    .zeros(5)
    .text('_DMI_')
    .u8(0)
    .u16(body.length)
    .u32(tableAt)
    .u16(structures.count)
    .u8(0x28)
    .finish()
  entry[0x15] = checksum(entry.subarray(0x10))
  entry[4] = checksum(entry)
  return new ByteWriter().bytes(entry).align(32).bytes(body).finish()
}

function addSystem(structures: Structures, config: SmbiosConfig): void {
  const bios = new ByteWriter()
    .u8(1)
    .u8(2)
    .u16(0xe800)
    .u8(3)
    .u8(0)
    .u64(8) // characteristics not supported
    .u8(0)
    .u8(0x14) // virtual machine, targeted content
    .u8(0)
    .u8(0)
    .u8(0xff)
    .u8(0xff)
  structures.add(0, 0x0000, bios, [MANUFACTURER, config.machine, '11/01/2026'])
  const system = new ByteWriter().u8(1).u8(2).u8(3).u8(0).bytes(config.uuid).u8(6).u8(0).u8(0)
  structures.add(1, 0x0100, system, [MANUFACTURER, config.product, config.machine])
  const chassis = new ByteWriter()
    .u8(1)
    .u8(1)
    .u8(2)
    .u8(0)
    .u8(0)
    .u8(3)
    .u8(3)
    .u8(3)
    .u8(2)
    .u32(0)
    .u8(0)
    .u8(0)
    .u8(0)
    .u8(0)
    .u8(0)
  structures.add(3, 0x0300, chassis, [MANUFACTURER, config.machine])
}

function addProcessors(structures: Structures, config: SmbiosConfig): void {
  const cpu = new ByteWriter()
    .u8(1)
    .u8(3) // central processor
    .u8(1)
    .u8(2)
    .u64(0)
    .u8(3)
    .u8(0)
    .u16(0)
    .u16(2000)
    .u16(2000)
    .u8(0x41) // populated, enabled
    .u8(1)
    .u16(0xffff)
    .u16(0xffff)
    .u16(0xffff)
    .u8(0)
    .u8(0)
    .u8(0)
    .u8(config.vcpus)
    .u8(config.vcpus)
    .u8(1)
    .u16(2)
    .u16(1)
  structures.add(4, 0x0400, cpu, ['CPU 0', MANUFACTURER, config.machine])
}

function addMemory(structures: Structures, config: SmbiosConfig): void {
  const kib = config.ramBytes / 1024
  structures.add(
    16,
    0x1000,
    new ByteWriter().u8(1).u8(3).u8(6).u32(Math.min(kib, 0x8000_0000)).u16(0xfffe).u16(1).u64(0),
  )
  const dimm = new ByteWriter()
    .u16(0x1000)
    .u16(0xfffe)
    .u16(0xffff)
    .u16(0xffff)
    .u16(Math.min(0x7ffe, Math.floor(kib / 1024)))
    .u8(9)
    .u8(0)
    .u8(1)
    .u8(0)
    .u8(7)
    .u16(2)
    .u16(0)
    .u8(2)
    .u8(0)
    .u8(0)
    .u8(0)
    .u8(0)
  structures.add(17, 0x1100, dimm, ['DIMM 0', MANUFACTURER])
  const { low, high } = ramLayout(config.ramBytes)
  structures.add(
    19,
    0x1300,
    new ByteWriter()
      .u32(0)
      .u32(low / 1024 - 1)
      .u16(0x1000)
      .u8(1)
      .zeros(16),
  )
  if (high > 0) {
    const start = 0x40_0000
    structures.add(
      19,
      0x1301,
      new ByteWriter()
        .u32(start)
        .u32(start + high / 1024 - 1)
        .u16(0x1000)
        .u8(1)
        .zeros(16),
    )
  }
}
