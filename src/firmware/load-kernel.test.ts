import { describe, expect, test } from 'vitest'

import { FakeBootMemory } from '#testkit/boot-memory.ts'
import { BootError } from './boot.ts'
import type { BootImages } from './boot.ts'
import { ByteWriter } from './byte-writer.ts'
import { loadKernel } from './load-kernel.ts'
import { BOOT_CMDLINE, BOOT_INFO } from './memory-map.ts'

const MIB = 1048576

function images(kernel: Uint8Array, more: Partial<BootImages> = {}): BootImages {
  return { kernel, kernelName: 'vmlinux', cmdline: 'console=ttyS0', rsdp: 0xe0000, ...more }
}

/** ELF64 with one segment of `code` at 1 MiB and, if wanted, a PVH entry note. */
function elf64(options: { pvh?: number; memBytes?: number; gpa?: number } = {}): Uint8Array {
  const headers = options.pvh === undefined ? 1 : 2
  const dataAt = 64 + headers * 56
  const code = [0xf4, 0xeb, 0xfd]
  const gpa = options.gpa ?? MIB
  const out = new ByteWriter().bytes([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).zeros(9).u16(2).u16(62).u32(1)
  out.u64(gpa).u64(64).u64(0).u32(0).u16(64).u16(56).u16(headers).zeros(6)
  out
    .u32(1)
    .u32(5)
    .u64(dataAt)
    .u64(gpa)
    .u64(gpa)
    .u64(code.length)
    .u64(options.memBytes ?? 4096)
    .u64(4096)
  if (options.pvh !== undefined)
    out
      .u32(4)
      .u32(4)
      .u64(dataAt + 4)
      .u64(0)
      .u64(0)
      .u64(20)
      .u64(20)
      .u64(4)
  out.bytes(code).zeros(1)
  if (options.pvh !== undefined) out.u32(4).u32(4).u32(18).text('Xen', 4).u32(options.pvh)
  return out.finish()
}

/** bzImage of protocol 2.15 with `setupSectors` of setup and 4 KiB of kernel. */
function bzImage(options: { xloadflags?: number; initBytes?: number } = {}): Uint8Array {
  const file = new Uint8Array(5 * 512 + 4096)
  const view = new DataView(file.buffer)
  file[0x1f1] = 4
  view.setUint32(0x1f4, 4096 / 16, true)
  view.setUint16(0x1fe, 0xaa55, true)
  file[0x201] = 0x6a
  view.setUint32(0x202, 0x5372_6448, true)
  view.setUint16(0x206, 0x20f, true)
  file[0x211] = 1
  view.setUint32(0x22c, 0x7fff_ffff, true)
  view.setUint16(0x236, options.xloadflags ?? 0, true)
  view.setUint32(0x238, 2047, true)
  view.setBigUint64(0x258, BigInt(MIB), true)
  view.setUint32(0x260, options.initBytes ?? 2 * MIB, true)
  file.fill(0x90, 5 * 512)
  return file
}

describe('PVH', () => {
  test('enters at the note in protected mode with the start_info in EBX', () => {
    const memory = new FakeBootMemory(16 * MIB)
    const state = loadKernel(
      memory,
      images(elf64({ pvh: 0x10_0010 }), { initrd: new Uint8Array(5000).fill(7) }),
    )
    expect(state).toMatchObject({ kind: 'protected', rip: 0x10_0010, gpr: { rbx: BOOT_INFO } })
    expect(memory.u32(BOOT_INFO)).toBe(0x336e_c578)
    expect(memory.text(memory.u32(BOOT_INFO + 24))).toBe('console=ttyS0')
    const initrdAt = memory.u32(memory.u32(BOOT_INFO + 16))
    expect(memory.bytes[initrdAt + 4999]).toBe(7)
  })

  test('a segment outside RAM names the memory it wants', () => {
    const memory = new FakeBootMemory(16 * MIB)
    expect(() => loadKernel(memory, images(elf64({ pvh: 1, memBytes: 64 * MIB })))).toThrow(
      /give it at least 7\d MiB/,
    )
  })

  test('an initrd larger than memory names the memory it wants', () => {
    const memory = new FakeBootMemory(4 * MIB)
    const load = (): unknown =>
      loadKernel(memory, images(elf64({ pvh: 1 }), { initrd: new Uint8Array(5 * MIB) }))
    expect(load).toThrow(/initrd .* does not fit/)
  })
})

describe('bzImage', () => {
  test('enters the 64-bit entry with the zero page in RSI', () => {
    const memory = new FakeBootMemory(32 * MIB)
    const state = loadKernel(memory, images(bzImage({ xloadflags: 1 })))
    expect(state).toMatchObject({ kind: 'long', rip: MIB + 0x200, gpr: { rsi: BOOT_INFO } })
    expect(memory.text(memory.u32(BOOT_INFO + 0x228))).toBe('console=ttyS0')
    expect(memory.bytes[BOOT_INFO + 0x1e8]).toBeGreaterThan(2)
  })

  test('enters the 32-bit entry of a kernel without a 64-bit one', () => {
    const memory = new FakeBootMemory(32 * MIB)
    expect(loadKernel(memory, images(bzImage()))).toMatchObject({ kind: 'protected', rip: MIB })
  })

  test('a truncated file is named as such', () => {
    const memory = new FakeBootMemory(32 * MIB)
    expect(() => loadKernel(memory, images(bzImage().subarray(0, 3000)))).toThrow(
      /vmlinux: truncated.*6656.*3000/,
    )
  })

  test('memory below init_size is refused with a figure', () => {
    const memory = new FakeBootMemory(8 * MIB)
    expect(() => loadKernel(memory, images(bzImage({ initBytes: 20 * MIB })))).toThrow(/at least 29 MiB/)
  })

  test('a command line longer than the kernel takes is refused', () => {
    const memory = new FakeBootMemory(32 * MIB)
    expect(() => loadKernel(memory, images(bzImage(), { cmdline: 'x'.repeat(3000) }))).toThrow(
      /command line has 3000 bytes/,
    )
  })
})

describe('multiboot', () => {
  const header = (flags: number): ByteWriter =>
    new ByteWriter()
      .u32(0x1bad_b002)
      .u32(flags)
      .u32(-(0x1bad_b002 + flags))

  test('loads by address fields, with modules and their command lines', () => {
    const file = header(0x1_0000)
      .u32(MIB)
      .u32(MIB)
      .u32(0)
      .u32(0)
      .u32(MIB + 32)
      .bytes([0xf4])
      .finish()
    const memory = new FakeBootMemory(16 * MIB)
    const modules = [{ bytes: Uint8Array.of(1, 2, 3), cmdline: 'one' }]
    const state = loadKernel(memory, images(file, { modules }))
    expect(state).toMatchObject({ kind: 'protected', rip: MIB + 32, gpr: { rax: 0x2bad_b002 } })
    expect(memory.u32(BOOT_INFO + 20)).toBe(1)
    const list = memory.u32(BOOT_INFO + 24)
    expect([...memory.bytes.subarray(memory.u32(list), memory.u32(list + 4))]).toEqual([1, 2, 3])
    expect(memory.text(memory.u32(list + 8))).toBe('one')
    expect(memory.text(BOOT_CMDLINE)).toBe('vmlinux console=ttyS0')
  })

  test('unknown required features are refused', () => {
    const file = header(0x1_0010).zeros(32).finish()
    expect(() => loadKernel(new FakeBootMemory(MIB), images(file))).toThrow(/unknown features 0x10/)
  })
})

describe('files that are no kernel', () => {
  const reject = (bytes: Uint8Array): string => {
    try {
      loadKernel(new FakeBootMemory(MIB), images(bytes))
    } catch (error) {
      if (error instanceof BootError) return error.message
    }
    return 'accepted'
  }

  test('text, archives, web pages and empty files are told apart', () => {
    const text = (value: string): Uint8Array => new TextEncoder().encode(value)
    expect(reject(text('hello, world\n'))).toMatch(/text file/)
    expect(reject(text('<!doctype html>'))).toMatch(/web page/)
    expect(reject(Uint8Array.of(0x1f, 0x8b, 8, 0))).toMatch(/gzip/)
    expect(reject(new Uint8Array())).toMatch(/empty/)
  })

  test('an ELF cut inside its segment is truncated', () => {
    expect(reject(elf64({ pvh: 1 }).subarray(0, 180))).toMatch(/truncated/)
  })

  test('an ELF for another machine is named', () => {
    const file = elf64()
    file[18] = 183
    expect(reject(file)).toMatch(/machine 183, not for x86/)
  })
})
