/**
 * Linux bzImage, boot protocol 2.02 and later (Linux Documentation/arch/x86/boot.rst, "The Linux/x86 Boot Protocol"
 * and "zero-page"). Enters by the 64-bit entry when the kernel has one, else by the 32-bit one; the 16-bit setup code is
 * not run, the loader fills in what it would have asked the BIOS for.
 */
import { BootError, encodeCmdline, placeHigh, requireRam } from './boot.ts'
import type { BootImages, BootMemory, BootState } from './boot.ts'
import {
  BOOT_CMDLINE,
  BOOT_CMDLINE_MAX,
  BOOT_INFO,
  E820_TYPE,
  HIGH_MEMORY,
  e820Map,
  ramLayout,
} from './memory-map.ts'
import { writeBootGdt, writeIdentityTables } from './start-info.ts'

const HEADER_AT = 0x1f1
const HEADER_MAGIC = 0x5372_6448 // "HdrS"
const LOADED_HIGH = 1
const CAN_USE_HEAP = 0x80
const XLF_KERNEL_64 = 1

export function isBzImage(file: Uint8Array): boolean {
  if (file.length < 0x264) return false
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  return view.getUint16(0x1fe, true) === 0xaa55 && view.getUint32(0x202, true) === HEADER_MAGIC
}

interface SetupHeader {
  readonly setupBytes: number
  readonly version: number
  readonly payloadBytes: number
  readonly initrdMax: number
  readonly cmdlineMax: number
  readonly xloadflags: number
  readonly initBytes: number
  readonly headerEnd: number
  readonly relocatable: boolean
  readonly preferredGpa: number
}

function parseHeader(file: Uint8Array, name: string): SetupHeader {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const version = view.getUint16(0x206, true)
  if (version < 0x202)
    throw new BootError(`${name}: boot protocol ${(version >> 8) + '.' + (version & 255)} is older than 2.02`)
  if ((view.getUint8(0x211) & LOADED_HIGH) === 0)
    throw new BootError(`${name}: a zImage loaded low; only bzImage kernels are supported`)
  const setupSectors = view.getUint8(HEADER_AT) || 4
  const setupBytes = (setupSectors + 1) * 512
  // syssize counts 16-byte paragraphs of the protected-mode part, so truncation shows at once.
  const payloadBytes = view.getUint32(0x1f4, true) * 16
  if (setupBytes + payloadBytes > file.length + 15) {
    throw new BootError(
      `${name}: truncated, its header speaks of ${setupBytes + payloadBytes} bytes but the file has ${file.length}: fetch or copy it again`,
    )
  }
  return {
    setupBytes,
    version,
    payloadBytes: file.length - setupBytes,
    initrdMax: version >= 0x203 ? view.getUint32(0x22c, true) : 0x37ff_ffff,
    cmdlineMax: version >= 0x206 ? view.getUint32(0x238, true) + 1 : 256,
    xloadflags: version >= 0x20c ? view.getUint16(0x236, true) : 0,
    initBytes: version >= 0x20a ? view.getUint32(0x260, true) : 0,
    headerEnd: 0x202 + view.getUint8(0x201),
    relocatable: version >= 0x205 && view.getUint8(0x234) !== 0,
    preferredGpa: version >= 0x20a ? Number(view.getBigUint64(0x258, true)) : HIGH_MEMORY,
  }
}

export function loadBzImage(memory: BootMemory, images: BootImages): BootState {
  const file = images.kernel
  const header = parseHeader(file, images.kernelName)
  const { low, high } = ramLayout(memory.ramBytes)
  const kernelGpa = HIGH_MEMORY
  // The decompressor moves the kernel to its preferred address and needs init_size bytes from there.
  const needed = Math.max(header.payloadBytes, header.initBytes)
  const target = header.relocatable ? Math.max(kernelGpa, header.preferredGpa) : kernelGpa
  requireRam(memory, kernelGpa, header.payloadBytes, images.kernelName)
  requireRam(memory, target, needed, images.kernelName)
  memory.write(kernelGpa, file.subarray(header.setupBytes))

  const zeroPage = new Uint8Array(4096)
  const view = new DataView(zeroPage.buffer)
  const copyEnd = Math.min(header.headerEnd, 0x290)
  zeroPage.set(file.subarray(HEADER_AT, copyEnd), HEADER_AT)
  zeroPage[0x210] = 0xff // type_of_loader: undefined
  zeroPage[0x211] = (zeroPage[0x211] ?? 0) | CAN_USE_HEAP
  view.setUint16(0x224, 0xde00, true) // heap_end_ptr
  view.setUint16(0x1fa, 0xffff, true) // vid_mode: normal
  view.setUint32(0x214, kernelGpa, true)

  memory.write(BOOT_CMDLINE, encodeCmdline(images.cmdline, Math.min(header.cmdlineMax, BOOT_CMDLINE_MAX)))
  view.setUint32(0x228, BOOT_CMDLINE, true)

  if (images.initrd !== undefined && images.initrd.length > 0) {
    const limit = Math.min(low, header.initrdMax + 1)
    const gpa = placeHigh(memory, images.initrd.length, target + needed, limit, 'the initrd')
    memory.write(gpa, images.initrd)
    view.setUint32(0x218, gpa, true)
    view.setUint32(0x21c, images.initrd.length, true)
  }

  const map = e820Map(memory.ramBytes)
  view.setUint8(0x1e8, map.length)
  map.forEach((entry, i) => {
    const at = 0x2d0 + i * 20
    view.setBigUint64(at, BigInt(entry.start), true)
    view.setBigUint64(at + 8, BigInt(entry.bytes), true)
    view.setUint32(at + 16, E820_TYPE[entry.type], true)
  })
  view.setUint16(0x02, Math.min(0xffff, (low - HIGH_MEMORY) >>> 10), true) // ext_mem_k
  view.setUint32(0x1e0, Math.min(0xffff_ffff, (high > 0 ? low + high : low) / 1024 - 1024), true) // alt_mem_k
  view.setBigUint64(0x70, BigInt(images.rsdp), true) // acpi_rsdp_addr
  writeScreenInfo(view)
  memory.write(BOOT_INFO, zeroPage)

  if ((header.xloadflags & XLF_KERNEL_64) !== 0) {
    writeBootGdt(memory, 'long')
    const cr3 = writeIdentityTables(memory)
    return { kind: 'long', rip: kernelGpa + 0x200, cr3, gpr: { rsi: BOOT_INFO } }
  }
  writeBootGdt(memory, 'protected')
  return { kind: 'protected', rip: kernelGpa, gpr: { rsi: BOOT_INFO } }
}

/** screen_info for the 80x25 colour text mode that the setup code would have found (zero page offset 0). */
function writeScreenInfo(view: DataView): void {
  view.setUint8(0x06, 3) // orig_video_mode
  view.setUint8(0x07, 80) // columns
  view.setUint8(0x0e, 25) // lines
  view.setUint8(0x0f, 1) // VGA
  view.setUint16(0x10, 16, true) // font height
}
