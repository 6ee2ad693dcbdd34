/**
 * The little of ELF that guest building needs: a named section (module metadata), and a kernel without its padding.
 *
 * A vmlinux is mostly zeros: alignment to 2 MiB, .bss stored as data, .init.scratch. Loaders zero what a segment's
 * memory size has beyond its file size, so segments are cut at long runs of zeros and only the rest is stored.
 * Source: System V ABI, "ELF Header", "Sections", "Program Header". Both classes, little endian only.
 */

const PT_LOAD = 1
const PT_NOTE = 4
/** Shorter runs of zeros stay: each cut costs a program header, and loaders' header tables are small. */
const ZERO_RUN_BYTES = 64 << 10
const PAGE_BYTES = 4096

export class ElfError extends Error {
  override name = 'ElfError'
}

type Segment = {
  readonly type: number
  readonly flags: number
  readonly vaddr: bigint
  readonly paddr: bigint
  readonly memBytes: number
  readonly data: Buffer
}

type Shape = {
  readonly is64: boolean
  readonly ehdrBytes: number
  readonly phdrBytes: number
}

/** The bytes of section `name`, or undefined when the file has none. */
export function elfSection(file: Buffer, name: string): Buffer | undefined {
  const { is64 } = shapeOf(file)
  const tableAt = is64 ? Number(file.readBigUInt64LE(0x28)) : file.readUInt32LE(0x20)
  const entryBytes = file.readUInt16LE(is64 ? 0x3a : 0x2e)
  const count = file.readUInt16LE(is64 ? 0x3c : 0x30)
  const namesIndex = file.readUInt16LE(is64 ? 0x3e : 0x32)
  const body = (index: number): Buffer => {
    const at = tableAt + index * entryBytes
    const start = is64 ? Number(file.readBigUInt64LE(at + 0x18)) : file.readUInt32LE(at + 0x10)
    const lenBytes = is64 ? Number(file.readBigUInt64LE(at + 0x20)) : file.readUInt32LE(at + 0x14)
    return file.subarray(start, start + lenBytes)
  }
  const names = body(namesIndex)
  for (let index = 0; index < count; index++) {
    const nameAt = file.readUInt32LE(tableAt + index * entryBytes)
    if (names.toString('latin1', nameAt, names.indexOf(0, nameAt)) === name) return body(index)
  }
  return undefined
}

/** The same loadable image: equal memory after loading, equal entry point and notes; no sections, no padding. */
export function trimKernelElf(file: Buffer): Buffer {
  const shape = shapeOf(file)
  const segments = readSegments(file, shape)
  const loads = segments.filter((segment) => segment.type === PT_LOAD).flatMap((segment) => cutZeros(segment))
  const notes = segments.filter((segment) => segment.type === PT_NOTE)
  return writeElf(file, shape, [...loads, ...notes])
}

function shapeOf(file: Buffer): Shape {
  if (file.length < 0x40 || file.readUInt32BE(0) !== 0x7f454c46) throw new ElfError('not an ELF file')
  if (file[5] !== 1) throw new ElfError('not a little-endian ELF file')
  return file[4] === 2
    ? { is64: true, ehdrBytes: 0x40, phdrBytes: 0x38 }
    : { is64: false, ehdrBytes: 0x34, phdrBytes: 0x20 }
}

function readSegments(file: Buffer, { is64 }: Shape): readonly Segment[] {
  const tableAt = is64 ? Number(file.readBigUInt64LE(0x20)) : file.readUInt32LE(0x1c)
  const entryBytes = file.readUInt16LE(is64 ? 0x36 : 0x2a)
  const count = file.readUInt16LE(is64 ? 0x38 : 0x2c)
  return Array.from({ length: count }, (_, index) => {
    const at = tableAt + index * entryBytes
    const u32 = (offset: number): number => file.readUInt32LE(at + offset)
    const u64 = (offset: number): bigint => file.readBigUInt64LE(at + offset)
    const fields = is64
      ? {
          flags: u32(4),
          offset: Number(u64(8)),
          vaddr: u64(16),
          paddr: u64(24),
          fileBytes: Number(u64(32)),
          memBytes: Number(u64(40)),
        }
      : {
          flags: u32(24),
          offset: u32(4),
          vaddr: BigInt(u32(8)),
          paddr: BigInt(u32(12)),
          fileBytes: u32(16),
          memBytes: u32(20),
        }
    const data = file.subarray(fields.offset, fields.offset + fields.fileBytes)
    if (data.length !== fields.fileBytes) throw new ElfError(`segment ${index} exceeds the file`)
    return {
      type: u32(0),
      flags: fields.flags,
      vaddr: fields.vaddr,
      paddr: fields.paddr,
      memBytes: fields.memBytes,
      data,
    }
  })
}

/** Splits a segment so that each piece is [data][zeros the loader provides]; page-granular. */
function cutZeros(segment: Segment): Segment[] {
  const pieces: Segment[] = []
  let start = 0
  while (start < segment.memBytes) {
    const { dataEnd, next } = findRun(segment, start)
    const data = segment.data.subarray(start, dataEnd)
    const offset = BigInt(start)
    pieces.push({
      ...segment,
      vaddr: segment.vaddr + offset,
      paddr: segment.paddr + offset,
      memBytes: next - start,
      data,
    })
    start = next
  }
  return pieces
}

/** From `start`: where the data before the next long zero run ends, and where data begins again after it. */
function findRun(segment: Segment, start: number): { dataEnd: number; next: number } {
  let dataEnd = start
  for (let at = start; at < segment.data.length; at += PAGE_BYTES) {
    const page = segment.data.subarray(at, at + PAGE_BYTES)
    if (page.every((byte) => byte === 0)) continue
    if (at - dataEnd >= ZERO_RUN_BYTES && dataEnd > start) return { dataEnd, next: at }
    dataEnd = at + page.length
  }
  return { dataEnd, next: segment.memBytes }
}

function writeElf(source: Buffer, shape: Shape, segments: readonly Segment[]): Buffer {
  const { is64, ehdrBytes, phdrBytes } = shape
  const head = Buffer.alloc(Math.ceil((ehdrBytes + segments.length * phdrBytes) / PAGE_BYTES) * PAGE_BYTES)
  source.copy(head, 0, 0, ehdrBytes)
  if (is64) head.writeBigUInt64LE(BigInt(ehdrBytes), 0x20)
  else head.writeUInt32LE(ehdrBytes, 0x1c)
  head.writeUInt16LE(segments.length, is64 ? 0x38 : 0x2c)
  // No section table: offset, count and name index are zero.
  head.fill(0, is64 ? 0x28 : 0x20, is64 ? 0x30 : 0x24)
  head.fill(0, is64 ? 0x3c : 0x30, ehdrBytes)
  const bodies: Buffer[] = [head]
  let offset = head.length
  for (const [index, segment] of segments.entries()) {
    writePhdr(head.subarray(ehdrBytes + index * phdrBytes), is64, segment, offset)
    // Offset and address stay congruent modulo the page, as the ABI asks of loadable segments.
    const body = Buffer.alloc(Math.ceil(segment.data.length / PAGE_BYTES) * PAGE_BYTES)
    segment.data.copy(body)
    bodies.push(body)
    offset += body.length
  }
  return Buffer.concat(bodies)
}

function writePhdr(out: Buffer, is64: boolean, segment: Segment, offset: number): void {
  const { type, flags, vaddr, paddr, memBytes, data } = segment
  const align = type === PT_NOTE ? 4 : PAGE_BYTES
  if (is64) {
    out.writeUInt32LE(type, 0)
    out.writeUInt32LE(flags, 4)
    const longs = [BigInt(offset), vaddr, paddr, BigInt(data.length), BigInt(memBytes), BigInt(align)]
    for (const [i, value] of longs.entries()) out.writeBigUInt64LE(value, 8 + i * 8)
    return
  }
  const words = [type, offset, Number(vaddr), Number(paddr), data.length, memBytes, flags, align]
  for (const [i, value] of words.entries()) out.writeUInt32LE(value, i * 4)
}
