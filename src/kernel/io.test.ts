import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  EXIT_ADDRESS,
  EXIT_COUNT,
  EXIT_DATA,
  EXIT_KIND,
  EXIT_KIND_MMIO_WRITE,
  EXIT_KIND_PIO_READ,
  EXIT_KIND_PIO_WRITE,
  EXIT_SIZE,
  LOG_A,
  LOG_KIND,
  LOG_UNKNOWN_MMIO,
  LOG_UNKNOWN_PIO,
  POSTED_ADDRESS,
  POSTED_BYTES,
  POSTED_DATA,
  POSTED_ENTRY_SIZE,
  POSTED_HEAD,
  POSTED_KIND,
  POSTED_TAIL,
} from '#abi/exits.ts'
import { VM_LOG_ENTRIES, VM_LOG_TAIL } from '#abi/irqchip.ts'
import {
  CPU_CPL,
  CPU_EFLAGS,
  CPU_EXIT,
  CPU_EXIT_BUFFER,
  CPU_EXIT_COUNTS,
  CPU_FAULT,
  CPU_IN_GUEST,
  CPU_MODE,
  CPU_POSTED,
  CPU_POSTED_COUNT,
  CPU_POSTED_ENTRIES,
  CPU_REQ,
  CPU_SEG,
  CPU_SEG_STRIDE,
  MODE_PE,
  MODE_VM86,
  REQ_STOP,
  SEG_ATTR,
  SEG_BASE,
  SEG_LIMIT,
  SEG_TR,
  VM_HUB_ASLEEP,
  VM_HUB_DOORBELL,
  VM_HUB_KICK,
  VM_PCI_FUNCTIONS,
  VM_PIO_SHADOW,
} from '#abi/layout.ts'
import { GUEST, TestMachine, VM, compileChips, cpuAddress } from './irqchip/testing-machine.ts'

const SYNC = 1 | (1 << 4)
const POSTED = 3 | (2 << 4) // shadow reads
const IGNORE = 5 | (5 << 4)
const kernel = (device: number): number => 0x4 | (0x4 << 4) | (device << 8)
const CPU = cpuAddress(0)

let module: WebAssembly.Module
let m: TestMachine

beforeAll(async () => {
  module = await compileChips()
}, 60_000)

beforeEach(() => {
  m = new TestMachine(module, 1)
})

/** The exit record of a vCPU that nobody answers: REQ_STOP makes it give up, the record stays. */
const unanswered = (
  access: () => void,
): { kind: number; address: bigint; size: number; count: number; data: bigint } => {
  m.view.setUint32(CPU + CPU_REQ, REQ_STOP, true)
  access()
  m.view.setUint32(CPU + CPU_REQ, 0, true)
  const at = CPU + CPU_EXIT
  return {
    kind: m.u32(at + EXIT_KIND),
    address: m.view.getBigUint64(at + EXIT_ADDRESS, true),
    size: m.u32(at + EXIT_SIZE),
    count: m.u32(at + EXIT_COUNT),
    data: m.view.getBigUint64(at + EXIT_DATA, true),
  }
}
const logged = (): { kind: number; a: bigint }[] =>
  Array.from({ length: m.u32(VM + VM_LOG_TAIL) }, (_, i) => ({
    kind: m.u32(VM + VM_LOG_ENTRIES + 32 * i + LOG_KIND),
    a: m.view.getBigUint64(VM + VM_LOG_ENTRIES + 32 * i + LOG_A, true),
  }))

describe('port classes', () => {
  it('asks the hub for a sync port and gives up with all ones when stopped', () => {
    m.mapPort(0x3f8, SYNC)
    let value = 0
    const record = unanswered(() => (value = m.cpu(0).sys_in(0x3f8, 2)))
    expect(record).toMatchObject({ kind: EXIT_KIND_PIO_READ, address: 0x3f8n, size: 2, count: 1 })
    expect(value).toBe(0xffff)
    expect(m.u32(CPU + CPU_IN_GUEST)).toBe(1)
    const written = unanswered(() => m.cpu(0).sys_out(0x3f8, 0x1234_5678, 1))
    expect(written).toMatchObject({ kind: EXIT_KIND_PIO_WRITE, data: 0x78n })
  })

  it('answers shadow reads from memory and posts writes in order', () => {
    m.mapPort(0x60, POSTED)
    m.u8[VM + VM_PIO_SHADOW + 0x60] = 0x5a
    expect(m.cpu(0).sys_in(0x60, 1)).toBe(0x5a)
    for (let i = 0; i < 3; i++) m.cpu(0).sys_out(0x60, 0x70 + i, 1)
    expect(m.u32(CPU + CPU_POSTED + POSTED_TAIL)).toBe(3)
    const entry = CPU + CPU_POSTED_ENTRIES + 2 * POSTED_ENTRY_SIZE
    expect(m.u32(entry + POSTED_KIND)).toBe(EXIT_KIND_PIO_WRITE)
    expect(m.u32(entry + POSTED_BYTES)).toBe(1)
    expect(m.u32(entry + POSTED_ADDRESS)).toBe(0x60)
    expect(m.u32(entry + POSTED_DATA)).toBe(0x72)
  })

  it('drops a posted write instead of hanging when the ring is full and the VM stops', () => {
    m.mapPort(0x60, POSTED)
    for (let i = 0; i < CPU_POSTED_COUNT; i++) m.cpu(0).sys_out(0x60, i, 1)
    m.view.setUint32(CPU + CPU_REQ, REQ_STOP, true)
    m.cpu(0).sys_out(0x60, 1, 1)
    expect(m.u32(CPU + CPU_POSTED + POSTED_TAIL)).toBe(CPU_POSTED_COUNT)
    m.view.setUint32(CPU + CPU_POSTED + POSTED_HEAD, 1, true)
    m.cpu(0).sys_out(0x60, 0x99, 1)
    expect(m.u32(CPU + CPU_POSTED_ENTRIES + POSTED_DATA)).toBe(0x99)
  })

  it('reads nobody’s ports as ones and logs each once', () => {
    expect(m.cpu(0).sys_in(0x1234, 4)).toBe(-1)
    expect(m.cpu(0).sys_in(0x1234, 4)).toBe(-1)
    m.cpu(0).sys_out(0x1234, 1, 1)
    m.mapPort(0x80, IGNORE)
    expect(m.cpu(0).sys_in(0x80, 1)).toBe(0xff)
    expect(logged()).toEqual([
      { kind: LOG_UNKNOWN_PIO, a: 0x1234n | (4n << 16n) },
      { kind: LOG_UNKNOWN_PIO, a: 0x1234n | (1n << 16n) | (1n << 24n) },
    ])
  })

  it('splits a wide access to byte-wide and mixed ports', () => {
    m.mapPort(0x20, kernel(1))
    m.mapPort(0x21, kernel(1))
    m.cpu(0).sys_out(0x20, 0xab0b, 2) // OCW3 to 0x20, IMR to 0x21
    expect(m.cpu(0).sys_in(0x20, 2)).toBe(0xab00)
    m.mapPort(0x400, POSTED)
    m.u8[VM + VM_PIO_SHADOW + 0x400] = 0x11
    expect(m.cpu(0).sys_in(0x400, 2)).toBe(0xff11)
    m.mapPort(0xffff, POSTED)
    m.u8[VM + VM_PIO_SHADOW + 0xffff] = 0x22
    expect(m.cpu(0).sys_in(0xffff, 2)).toBe(0xff22)
  })

  it('moves a REP run in one exit', () => {
    m.mapPort(0x1f0, SYNC)
    for (let i = 0; i < 512; i++) m.u8[GUEST + i] = i
    const before = m.u32(CPU + CPU_EXIT_COUNTS + 4 * EXIT_KIND_PIO_WRITE)
    const record = unanswered(() => m.cpu(0).io_outs_block(0x1f0, 2, 256, GUEST))
    expect(record).toMatchObject({ kind: EXIT_KIND_PIO_WRITE, address: 0x1f0n, size: 2, count: 256 })
    expect(m.u8.slice(CPU + CPU_EXIT_BUFFER, CPU + CPU_EXIT_BUFFER + 512)).toEqual(
      m.u8.slice(GUEST, GUEST + 512),
    )
    expect(m.u32(CPU + CPU_EXIT_COUNTS + 4 * EXIT_KIND_PIO_WRITE)).toBe(before + 1)
    m.u8.fill(0x77, CPU + CPU_EXIT_BUFFER, CPU + CPU_EXIT_BUFFER + 8)
    unanswered(() => m.cpu(0).io_ins_block(0x1f0, 4, 2, GUEST + 0x1000))
    expect(m.view.getBigUint64(GUEST + 0x1000, true)).toBe(0x7777_7777_7777_7777n)
  })

  it('answers PCI configuration reads from images, asks the hub only for what has none', () => {
    for (let port = 0xcf8; port < 0xd00; port++)
      m.mapPort(port, 4 | (port < 0xcfc ? 4 << 4 : 1 << 4) | (12 << 8))
    const functions = VM + VM_PCI_FUNCTIONS
    const image = GUEST + 0x100
    m.view.setUint32(functions + 4 * (3 * 8 + 1), image | 5, true) // 3.1; dword 5 is the hub's
    m.view.setUint32(functions + 4 * (4 * 8), 1, true) // 4.0 has no image
    m.view.setUint32(image + 0x10, 0x4433_2211, true)
    const read = (address: number, port: number, bytes: number): number => {
      m.cpu(0).sys_out(0xcf8, address | 0x8000_0000, 4)
      return m.cpu(0).sys_in(port, bytes) >>> 0
    }
    const asked = (): number => m.u32(CPU + CPU_EXIT_COUNTS + 4 * EXIT_KIND_PIO_READ)
    expect(read(0x1910, 0xcfc, 4)).toBe(0x4433_2211)
    expect([read(0x1910, 0xcfd, 1), read(0x1910, 0xcfe, 2)]).toEqual([0x22, 0x4433])
    expect([read(0x1a10, 0xcfc, 4), read(0x1_1910, 0xcfc, 2)]).toEqual([0xffff_ffff, 0xffff])
    expect(m.cpu(0).sys_in(0xcf8, 4) >>> 0).toBe(0x8001_1910)
    m.cpu(0).sys_out(0xcf8, 0x7f00_1913, 4) // not enabled
    expect([m.cpu(0).sys_in(0xcfc, 4) >>> 0, m.cpu(0).sys_in(0xcf8, 4)]).toEqual([0xffff_ffff, 0x1910])
    expect([asked(), m.u32(CPU + CPU_POSTED + POSTED_TAIL)]).toEqual([0, 0])
    Atomics.or(m.i32, (CPU + CPU_REQ) >> 2, REQ_STOP) // nobody answers here
    read(0x1914, 0xcfc, 4)
    read(0x2000, 0xcfc, 4)
    m.cpu(0).sys_in(0xcf8, 1) // the ISA bus's
    expect(asked()).toBe(3)
  })

  it('reads the PM timer at 3.58 MHz', () => {
    m.mapPort(0x608, kernel(5))
    const before = m.cpu(0).sys_in(0x608, 4)
    m.now += 1e9
    expect(m.cpu(0).sys_in(0x608, 4) - before).toBe(3_579_545)
  })
})

describe('hub', () => {
  it('is kicked once while asleep, and always finds the doorbell moved', () => {
    m.mapPort(0x60, POSTED)
    m.view.setUint32(VM + VM_HUB_KICK, 1, true)
    m.view.setUint32(VM + VM_HUB_ASLEEP, 1, true)
    const bell = m.u32(VM + VM_HUB_DOORBELL)
    m.cpu(0).sys_out(0x60, 1, 1)
    m.cpu(0).sys_out(0x60, 2, 1)
    expect(m.kicks).toBe(1)
    expect(m.u32(VM + VM_HUB_DOORBELL)).toBe(bell + 2)
  })
})

describe('permission', () => {
  const TSS = GUEST + 0x2000
  beforeEach(() => {
    m.mapPort(0x70, POSTED)
    m.mapPort(0x71, POSTED)
    const tr = CPU + CPU_SEG + SEG_TR * CPU_SEG_STRIDE
    m.view.setUint32(CPU + CPU_MODE, MODE_PE, true)
    m.view.setUint32(CPU + CPU_CPL, 3, true)
    m.view.setBigUint64(tr + SEG_BASE, BigInt(TSS), true)
    m.view.setUint32(tr + SEG_LIMIT, 0x68 + 0x20, true)
    m.view.setUint32(tr + SEG_ATTR, 0x8b, true)
    m.view.setUint16(TSS + 0x66, 0x68, true)
    m.u8.fill(0, TSS + 0x68, TSS + 0x100)
  })
  const faults = (access: () => void): number => {
    m.view.setUint32(CPU + CPU_FAULT, 0, true)
    access()
    return m.u32(CPU + CPU_FAULT) & 0xff
  }

  it('follows IOPL, then the bitmap, to its limit', () => {
    expect(faults(() => m.cpu(0).sys_in(0x70, 1))).toBe(0)
    m.u8[TSS + 0x68 + 0xe] = 2 // port 0x71
    expect(faults(() => m.cpu(0).sys_in(0x70, 1))).toBe(0)
    expect(faults(() => m.cpu(0).sys_in(0x70, 2))).toBe(13)
    expect(faults(() => m.cpu(0).sys_out(0x71, 0, 1))).toBe(13)
    expect(faults(() => m.cpu(0).sys_in(0x100, 1))).toBe(13) // both bytes of the bitmap must lie inside the limit
    m.view.setUint32(CPU + CPU_EFLAGS, 0x3000, true)
    expect(faults(() => m.cpu(0).sys_in(0x71, 1))).toBe(0)
    expect(m.u32(CPU + CPU_POSTED + POSTED_TAIL)).toBe(0)
  })

  it('always asks the bitmap in virtual-8086 mode', () => {
    m.view.setUint32(CPU + CPU_EFLAGS, 0x3000, true)
    m.view.setUint32(CPU + CPU_MODE, MODE_PE | MODE_VM86, true)
    m.u8[TSS + 0x68 + 0xe] = 1
    expect(faults(() => m.cpu(0).sys_in(0x70, 1))).toBe(13)
  })

  it('refuses without a 32-bit TSS', () => {
    m.view.setUint32(CPU + CPU_SEG + SEG_TR * CPU_SEG_STRIDE + SEG_ATTR, 0x83, true)
    expect(faults(() => m.cpu(0).sys_in(0x70, 1))).toBe(13)
  })
})

describe('MMIO', () => {
  it('searches the ranges and follows their changes', () => {
    m.mapMmio(0xd000_0000, 0x1000, POSTED, GUEST)
    m.view.setUint32(GUEST + 8, 0xfeed_f00d, true)
    expect(m.cpu(0).mmio_read(0xd000_0008n, 4)).toBe(0xfeed_f00dn)
    expect(m.cpu(0).mmio_read(0xd000_000an, 2)).toBe(0xfeedn)
    m.mapMmio(0xc000_0000, 0x1000, SYNC)
    m.mapMmio(0xe000_0000, 0x10, IGNORE)
    expect(m.cpu(0).mmio_read(0xd000_0008n, 4)).toBe(0xfeed_f00dn)
    const record = unanswered(() => m.cpu(0).mmio_write(0xc000_0ff8n, 8, 0x1122_3344_5566_7788n))
    expect(record).toMatchObject({
      kind: EXIT_KIND_MMIO_WRITE,
      address: 0xc000_0ff8n,
      size: 8,
      data: 0x1122_3344_5566_7788n,
    })
    expect(m.cpu(0).mmio_read(0xe000_0000n, 1)).toBe(0xffn)
    expect(logged()).toEqual([])
    expect(m.cpu(0).mmio_read(0xe000_0010n, 8)).toBe(-1n)
    m.cpu(0).mmio_read(0xe000_0010n, 8)
    expect(logged()).toEqual([{ kind: LOG_UNKNOWN_MMIO, a: 0xe000_0010n }])
  })

  it('finds the APIC page where APIC_BASE says, per vCPU', () => {
    m = new TestMachine(module, 2)
    expect(m.lapicRead(1, 0x20)).toBe(1 << 24)
    m.cpu(1).apic_msr_write(0x1b, 0xfed1_0800n)
    expect(m.lapicRead(1, 0x20)).toBe(-1 >>> 0)
    expect(m.cpu(1).mmio_read(0xfed1_0020n, 4)).toBe(1n << 24n)
    expect(m.lapicRead(0, 0x30)).toBe(0x0105_0014)
  })

  it('keeps pc-testdev’s latches and I/O RAM', () => {
    for (let port = 0xe0; port < 0xec; port++) m.mapPort(port, kernel(7))
    m.mapPort(0x2009, kernel(7))
    m.mapMmio(0xff00_0000, 0x1_0000, kernel(7), GUEST)
    m.cpu(0).sys_out(0xe0, 0x1234_5678, 4)
    m.cpu(0).sys_out(0xe1, 0xaa, 1)
    expect(m.cpu(0).sys_in(0xe0, 4)).toBe(0x1234_aa78)
    expect(m.cpu(0).sys_in(0xe2, 2)).toBe(0x1234)
    m.cpu(0).mmio_write(0xff00_0010n, 2, 0xbeefn)
    expect(m.cpu(0).mmio_read(0xff00_0010n, 8)).toBe(0xbeefn)
    m.cpu(0).sys_out(0x2009, 1, 1)
    m.mapPort(0xa0, kernel(1))
    m.cpu(0).sys_out(0xa0, 0x0a, 1)
    expect(m.cpu(0).sys_in(0xa0, 1)).toBe(2)
  })
})
