/**
 * Multiboot 1 (Multiboot Specification 0.6.96): ELF and address-field ("a.out kludge") images, modules, command line,
 * memory map. Entry in 32-bit protected mode with EAX = magic, EBX = gpa of the information structure.
 */
import { BootError, encodeCmdline, requireRam } from './boot.ts'
import type { BootImages, BootMemory, BootState } from './boot.ts'
import { ByteWriter } from './byte-writer.ts'
import { isElf, parseElf } from './elf.ts'
import {
  BOOT_CMDLINE,
  BOOT_CMDLINE_MAX,
  BOOT_INFO,
  BOOT_MODULES,
  E820_TYPE,
  EBDA,
  HIGH_MEMORY,
  e820Map,
  ramLayout,
} from './memory-map.ts'
import { loadSegments } from './pvh.ts'
import { writeBootGdt } from './start-info.ts'

const HEADER_MAGIC = 0x1bad_b002
const BOOTLOADER_MAGIC = 0x2bad_b002
const SEARCH_BYTES = 8192
const FLAG_ADDRESSES = 0x1_0000
/** Flags 0-15 are requirements; those we meet: page-aligned modules, memory information, video (ignored with text mode). */
const SUPPORTED_REQUIREMENTS = 0x7
const LOADER_NAME_AT = BOOT_CMDLINE + BOOT_CMDLINE_MAX

interface MultibootHeader {
  readonly at: number
  readonly flags: number
}

export function findMultibootHeader(file: Uint8Array): MultibootHeader | undefined {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const end = Math.min(file.length, SEARCH_BYTES) - 12
  for (let at = 0; at <= end; at += 4) {
    if (view.getUint32(at, true) !== HEADER_MAGIC) continue
    const flags = view.getUint32(at + 4, true)
    if (((HEADER_MAGIC + flags + view.getUint32(at + 8, true)) & 0xffff_ffff) === 0) return { at, flags }
  }
  return undefined
}

export function loadMultiboot(memory: BootMemory, header: MultibootHeader, images: BootImages): BootState {
  const unsupported = header.flags & 0xffff & ~SUPPORTED_REQUIREMENTS
  if (unsupported !== 0) {
    throw new BootError(
      `${images.kernelName}: multiboot header requires unknown features 0x${unsupported.toString(16)}`,
    )
  }
  const { entry, end } =
    (header.flags & FLAG_ADDRESSES) !== 0 ? loadByAddresses(memory, header, images) : loadElf(memory, images)
  const { low } = ramLayout(memory.ramBytes)
  memory.write(BOOT_CMDLINE, encodeCmdline(`${images.kernelName} ${images.cmdline}`.trim(), BOOT_CMDLINE_MAX))
  memory.write(LOADER_NAME_AT, encodeCmdline('webkvm', 16))

  // An initrd is the first module, as with QEMU's -initrd.
  const modules = [
    ...(images.initrd === undefined ? [] : [{ bytes: images.initrd, cmdline: 'initrd' }]),
    ...(images.modules ?? []),
  ]
  const list = new ByteWriter()
  let at = (end + 4095) & ~4095
  let textAt = BOOT_MODULES + modules.length * 16
  for (const module of modules) {
    requireRam(memory, at, module.bytes.length, `multiboot module "${module.cmdline}"`)
    memory.write(at, module.bytes)
    const text = encodeCmdline(module.cmdline, BOOT_CMDLINE_MAX)
    if (textAt + text.length > EBDA)
      throw new BootError('the command lines of the multiboot modules are too long together')
    memory.write(textAt, text)
    list
      .u32(at)
      .u32(at + module.bytes.length)
      .u32(textAt)
      .u32(0)
    textAt += text.length
    at = (at + module.bytes.length + 4095) & ~4095
  }
  memory.write(BOOT_MODULES, list.finish())

  const map = e820Map(memory.ramBytes)
  const mapAt = BOOT_INFO + 128
  const info = new ByteWriter()
    .u32(0x1 | 0x4 | (modules.length > 0 ? 0x8 : 0) | 0x40 | 0x200)
    .u32(EBDA >>> 10) // mem_lower, KiB
    .u32((low - HIGH_MEMORY) >>> 10) // mem_upper up to the first hole, KiB
    .u32(0) // boot_device
    .u32(BOOT_CMDLINE)
    .u32(modules.length)
    .u32(BOOT_MODULES)
    .zeros(16) // syms
    .u32(map.length * 24)
    .u32(mapAt)
    .zeros(12) // drives, config table
    .u32(LOADER_NAME_AT)
    .align(128)
  for (const region of map) info.u32(20).u64(region.start).u64(region.bytes).u32(E820_TYPE[region.type])
  memory.write(BOOT_INFO, info.finish())
  writeBootGdt(memory, 'protected')
  return { kind: 'protected', rip: entry, gpr: { rax: BOOTLOADER_MAGIC, rbx: BOOT_INFO } }
}

function loadElf(memory: BootMemory, images: BootImages): { entry: number; end: number } {
  if (!isElf(images.kernel)) {
    throw new BootError(`${images.kernelName}: multiboot header without addresses in a file that is no ELF`)
  }
  const elf = parseElf(images.kernel, images.kernelName)
  const end = loadSegments(memory, elf, images.kernelName)
  // 64-bit ELF images with a 32-bit multiboot entry give a virtual entry; map it back through its segment.
  const home = elf.segments.find(
    (segment) => elf.entry >= segment.gva && elf.entry < segment.gva + segment.memBytes,
  )
  return { entry: home === undefined ? elf.entry : elf.entry - home.gva + home.gpa, end }
}

function loadByAddresses(
  memory: BootMemory,
  header: MultibootHeader,
  images: BootImages,
): { entry: number; end: number } {
  const file = images.kernel
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  if (header.at + 32 > file.length)
    throw new BootError(`${images.kernelName}: truncated inside its multiboot header`)
  const [headerGpa, loadGpa, loadEnd, bssEnd, entry] = [12, 16, 20, 24, 28].map((o) =>
    view.getUint32(header.at + o, true),
  ) as [number, number, number, number, number]
  const from = header.at - (headerGpa - loadGpa)
  const bytes = loadEnd === 0 ? file.length - from : loadEnd - loadGpa
  if (from < 0 || bytes < 0 || from + bytes > file.length) {
    throw new BootError(
      `${images.kernelName}: truncated, its multiboot header speaks of ${bytes} bytes from offset ${from}, the file has ${file.length}`,
    )
  }
  const end = Math.max(loadGpa + bytes, bssEnd)
  requireRam(memory, loadGpa, end - loadGpa, images.kernelName)
  memory.write(loadGpa, file.subarray(from, from + bytes))
  if (end > loadGpa + bytes) memory.write(loadGpa + bytes, new Uint8Array(end - loadGpa - bytes))
  return { entry, end }
}
