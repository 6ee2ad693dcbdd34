/** Chooses the loader by what the file is, not by its name. */
import { BootError, formatBytes } from './boot.ts'
import type { BootImages, BootMemory, BootState } from './boot.ts'
import { isBzImage, loadBzImage } from './bzimage.ts'
import { isElf, parseElf } from './elf.ts'
import { findMultibootHeader, loadMultiboot } from './multiboot.ts'
import { loadPvh, loadSegments, pvhEntry } from './pvh.ts'
import { writeBootGdt } from './start-info.ts'

/** Puts the kernel and its companions into guest memory; throws BootError when the file cannot be started. */
export function loadKernel(memory: BootMemory, images: BootImages): BootState {
  const file = images.kernel
  if (isBzImage(file)) return loadBzImage(memory, images)
  const multiboot = findMultibootHeader(file)
  if (isElf(file)) {
    const elf = parseElf(file, images.kernelName)
    if (pvhEntry(elf) !== undefined) return loadPvh(memory, elf, images)
    if (multiboot !== undefined) return loadMultiboot(memory, multiboot, images)
    if (elf.bits === 64)
      throw new BootError(
        `${images.kernelName}: 64-bit ELF without a PVH note or multiboot header: no way to enter it`,
      )
    loadSegments(memory, elf, images.kernelName)
    writeBootGdt(memory, 'protected')
    return { kind: 'protected', rip: elf.entry, gpr: {} }
  }
  if (multiboot !== undefined) return loadMultiboot(memory, multiboot, images)
  throw new BootError(
    `${images.kernelName}: not a kernel: ${describe(file)}. Expected a bzImage, an ELF kernel (PVH) or a multiboot image`,
  )
}

function describe(file: Uint8Array): string {
  if (file.length === 0) return 'the file is empty'
  const head = file.subarray(0, 512)
  if (head[0] === 0x1f && head[1] === 0x8b) return 'a gzip archive; unpack it first'
  if (head[0] === 0xfd && head[1] === 0x37) return 'an xz archive; unpack it first'
  if (head[0] === 0x28 && head[1] === 0xb5) return 'a zstd archive; unpack it first'
  if (head[0] === 0x3c) return 'it looks like a web page (perhaps an error page behind the URL)'
  if (head.every((byte) => byte === 9 || byte === 10 || byte === 13 || (byte >= 32 && byte < 127)))
    return 'it is a text file'
  if (file.length < 1024) return `only ${formatBytes(file.length)} long`
  return 'unknown format'
}
