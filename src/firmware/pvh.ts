/**
 * PVH direct boot of an uncompressed ELF kernel: the Xen "x86/HVM direct boot ABI" (start_info version 1).
 * Entry in 32-bit protected mode with EBX = gpa of hvm_start_info.
 */
import { BootError, encodeCmdline, placeHigh, requireRam } from './boot.ts'
import type { BootImages, BootMemory, BootState } from './boot.ts'
import { ByteWriter } from './byte-writer.ts'
import type { ElfImage } from './elf.ts'
import { BOOT_CMDLINE, BOOT_CMDLINE_MAX, BOOT_INFO, E820_TYPE, e820Map, ramLayout } from './memory-map.ts'
import { writeBootGdt } from './start-info.ts'

const XEN_ELFNOTE_PHYS32_ENTRY = 18
const START_MAGIC = 0x336e_c578

/** The PVH entry point, or undefined when the kernel was built without CONFIG_PVH. */
export function pvhEntry(elf: ElfImage): number | undefined {
  const note = elf.notes.find(
    (candidate) => candidate.name === 'Xen' && candidate.type === XEN_ELFNOTE_PHYS32_ENTRY,
  )
  if (note === undefined || note.desc.length < 4) return undefined
  return new DataView(note.desc.buffer, note.desc.byteOffset).getUint32(0, true)
}

/** Copies an ELF image's segments; returns the gpa after the last one. */
export function loadSegments(memory: BootMemory, elf: ElfImage, name: string): number {
  let end = 0
  for (const segment of elf.segments) {
    requireRam(memory, segment.gpa, segment.memBytes, name)
    memory.write(segment.gpa, segment.data)
    const padding = segment.memBytes - segment.data.length
    // Fresh RAM is zero, but a reset machine boots into used RAM.
    if (padding > 0) memory.write(segment.gpa + segment.data.length, new Uint8Array(padding))
    end = Math.max(end, segment.gpa + segment.memBytes)
  }
  return end
}

export function loadPvh(memory: BootMemory, elf: ElfImage, images: BootImages): BootState {
  const entry = pvhEntry(elf)
  if (entry === undefined) {
    throw new BootError(
      `${images.kernelName}: ELF kernel without a PVH entry note: use its bzImage, or a kernel built with CONFIG_PVH`,
    )
  }
  const kernelEnd = loadSegments(memory, elf, images.kernelName)
  memory.write(BOOT_CMDLINE, encodeCmdline(images.cmdline, BOOT_CMDLINE_MAX))
  const { low } = ramLayout(memory.ramBytes)

  let initrd: { gpa: number; bytes: number } | undefined
  if (images.initrd !== undefined && images.initrd.length > 0) {
    const gpa = placeHigh(memory, images.initrd.length, kernelEnd, low, 'the initrd')
    memory.write(gpa, images.initrd)
    initrd = { gpa, bytes: images.initrd.length }
  }

  const map = e820Map(memory.ramBytes)
  const moduleAt = BOOT_INFO + 0x40
  const mapAt = moduleAt + 0x20
  const info = new ByteWriter()
    .u32(START_MAGIC)
    .u32(1) // version
    .u32(0) // flags
    .u32(initrd === undefined ? 0 : 1)
    .u64(initrd === undefined ? 0 : moduleAt)
    .u64(BOOT_CMDLINE)
    .u64(images.rsdp)
    .u64(mapAt)
    .u32(map.length)
    .u32(0)
    .align(0x40)
    .u64(initrd?.gpa ?? 0)
    .u64(initrd?.bytes ?? 0)
    .u64(0) // module command line
    .u64(0)
  for (const region of map) info.u64(region.start).u64(region.bytes).u32(E820_TYPE[region.type]).u32(0)
  memory.write(BOOT_INFO, info.finish())
  writeBootGdt(memory, 'protected')
  return { kind: 'protected', rip: entry, gpr: { rbx: BOOT_INFO } }
}
