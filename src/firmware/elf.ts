/**
 * ELF32 and ELF64 program headers and notes, as far as boot loaders need them (System V gABI, chapters 4 and 5).
 * The file is untrusted: every offset and size is checked against it.
 */
import { BootError } from './boot.ts'

const PT_LOAD = 1
const PT_NOTE = 4
const EM_386 = 3
const EM_X86_64 = 62

export interface ElfSegment {
  readonly gpa: number
  readonly gva: number
  readonly memBytes: number
  /** The bytes in the file; the rest up to memBytes is zero. */
  readonly data: Uint8Array
}

export interface ElfNote {
  readonly name: string
  readonly type: number
  readonly desc: Uint8Array
}

export interface ElfImage {
  readonly bits: 32 | 64
  readonly entry: number
  readonly segments: readonly ElfSegment[]
  readonly notes: readonly ElfNote[]
}

export function isElf(file: Uint8Array): boolean {
  return file.length >= 52 && file[0] === 0x7f && file[1] === 0x45 && file[2] === 0x4c && file[3] === 0x46
}

/** Virtual addresses of kernels are negative; only their low 53 bits matter to a loader. */
const number53 = (value: bigint): number => Number(BigInt.asUintN(53, value))

export function parseElf(file: Uint8Array, name: string): ElfImage {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const bits = file[4] === 2 ? 64 : 32
  const wide = bits === 64
  if (file[5] !== 1) throw new BootError(`${name}: big-endian ELF, not an x86 image`)
  if (wide && file.length < 64) throw truncated(name, 64, file.length)
  const machine = view.getUint16(18, true)
  if (machine !== (wide ? EM_X86_64 : EM_386)) {
    throw new BootError(
      `${name}: ELF for machine ${machine}, not for x86: use a kernel built for x86 or x86-64`,
    )
  }
  const entry = wide ? number53(view.getBigUint64(24, true)) : view.getUint32(24, true)
  const tableAt = wide ? number53(view.getBigUint64(32, true)) : view.getUint32(28, true)
  const entrySize = view.getUint16(wide ? 54 : 42, true)
  const count = view.getUint16(wide ? 56 : 44, true)
  if (entrySize < (wide ? 56 : 32))
    throw new BootError(`${name}: ELF program headers of ${entrySize} bytes are malformed`)
  if (tableAt + entrySize * count > file.length)
    throw truncated(name, tableAt + entrySize * count, file.length)

  const segments: ElfSegment[] = []
  const notes: ElfNote[] = []
  for (let i = 0; i < count; i++) {
    const at = tableAt + i * entrySize
    const type = view.getUint32(at, true)
    if (type !== PT_LOAD && type !== PT_NOTE) continue
    const header = wide ? readHeader64(view, at) : readHeader32(view, at)
    if (header.offset + header.fileBytes > file.length)
      throw truncated(name, header.offset + header.fileBytes, file.length)
    const data = file.subarray(header.offset, header.offset + header.fileBytes)
    if (type === PT_NOTE) notes.push(...parseNotes(data))
    else if (header.memBytes > 0) {
      if (header.memBytes < header.fileBytes)
        throw new BootError(`${name}: ELF segment ${i} is larger in the file than in memory`)
      segments.push({ gpa: header.gpa, gva: header.gva, memBytes: header.memBytes, data })
    }
  }
  if (segments.length === 0) throw new BootError(`${name}: ELF without loadable segments, nothing to start`)
  return { bits, entry, segments, notes }
}

interface ProgramHeader {
  readonly offset: number
  readonly gva: number
  readonly gpa: number
  readonly fileBytes: number
  readonly memBytes: number
}

const readHeader64 = (view: DataView, at: number): ProgramHeader => ({
  offset: number53(view.getBigUint64(at + 8, true)),
  gva: number53(view.getBigUint64(at + 16, true)),
  gpa: number53(view.getBigUint64(at + 24, true)),
  fileBytes: number53(view.getBigUint64(at + 32, true)),
  memBytes: number53(view.getBigUint64(at + 40, true)),
})

const readHeader32 = (view: DataView, at: number): ProgramHeader => ({
  offset: view.getUint32(at + 4, true),
  gva: view.getUint32(at + 8, true),
  gpa: view.getUint32(at + 12, true),
  fileBytes: view.getUint32(at + 16, true),
  memBytes: view.getUint32(at + 20, true),
})

function parseNotes(data: Uint8Array): ElfNote[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const notes: ElfNote[] = []
  let at = 0
  while (at + 12 <= data.length) {
    const nameBytes = view.getUint32(at, true)
    const descBytes = view.getUint32(at + 4, true)
    const type = view.getUint32(at + 8, true)
    const nameAt = at + 12
    const descAt = nameAt + ((nameBytes + 3) & ~3)
    const end = descAt + descBytes
    if (nameBytes > data.length || end > data.length) break
    const name = new TextDecoder('latin1').decode(data.subarray(nameAt, nameAt + Math.max(0, nameBytes - 1)))
    notes.push({ name, type, desc: data.subarray(descAt, end) })
    at = descAt + ((descBytes + 3) & ~3)
  }
  return notes
}

const truncated = (name: string, wanted: number, have: number): BootError =>
  new BootError(
    `${name}: truncated, its ELF header speaks of ${wanted} bytes but the file has ${have}: fetch or copy it again`,
  )
