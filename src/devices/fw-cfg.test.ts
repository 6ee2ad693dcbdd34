import { describe, expect, it } from 'vitest'

import { TestHub } from '#testkit/test-hub.ts'

import { FW_CFG_FILE_DIR, FW_CFG_NB_CPUS, FwCfgItems } from './fw-cfg-items.ts'
import { fwCfg } from './fw-cfg.ts'

const DESCRIPTOR = 0x1000
const TARGET = 0x2000
const READ = 2
const SKIP = 4
const SELECT = 8
const WRITE = 0x10

function setUp(): {
  test: TestHub
  items: FwCfgItems
  read: (count: number) => number[]
  dma: (control: number, length: number, target?: number) => number
} {
  const test = new TestHub()
  const items = new FwCfgItems()
  items.setU16(FW_CFG_NB_CPUS, 2)
  items.setFile('etc/e820', Uint8Array.of(1, 2, 3, 4))
  items.setFile('bootorder', Uint8Array.of(9))
  test.hub.addDevice(fwCfg, { name: 'fw-cfg', ports: { items } })
  const dma = (control: number, length: number, target = TARGET): number => {
    const view = new DataView(test.memory.bytes.buffer)
    view.setUint32(DESCRIPTOR, control)
    view.setUint32(DESCRIPTOR + 4, length)
    view.setBigUint64(DESCRIPTOR + 8, BigInt(target))
    test.out(0x514, 0, 4)
    test.out(0x518, swap(DESCRIPTOR), 4)
    return view.getUint32(DESCRIPTOR)
  }
  return { test, items, read: (count) => Array.from({ length: count }, () => test.in(0x511)), dma }
}

const swap = (value: number): number =>
  new DataView(Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value).buffer).getUint32(0, true)

describe('fw_cfg', () => {
  it('signs as the interface does, and reads zero after the end', () => {
    const { test, read } = setUp()
    test.out(0x510, 0, 2)

    expect(String.fromCharCode(...read(4))).toBe('QEMU')
    expect(read(2)).toEqual([0, 0])
  })

  it('serves items from their start after each selection', () => {
    const { test, read } = setUp()
    test.out(0x510, FW_CFG_NB_CPUS, 2)
    read(1)
    test.out(0x510, FW_CFG_NB_CPUS, 2)

    expect(read(2)).toEqual([2, 0])
  })

  it('lists files in order of name and serves them by selector', () => {
    const { test, read } = setUp()
    test.out(0x510, FW_CFG_FILE_DIR, 2)
    const directory = Uint8Array.from(read(4 + 128))
    const view = new DataView(directory.buffer)

    expect(view.getUint32(0)).toBe(2)
    expect(new TextDecoder().decode(directory.subarray(12, 21))).toBe('bootorder')
    const [size, selector] = [view.getUint32(68), view.getUint16(72)]
    test.out(0x510, selector, 2)
    expect(read(size)).toEqual([1, 2, 3, 4])
  })

  it('tells of its DMA interface and transfers by it', () => {
    const { test, dma } = setUp()
    expect(test.in(0x514, 4)).toBe(swap(0x5145_4d55))

    expect(dma((0x21 << 16) | SELECT | READ, 6)).toBe(0)
    expect([...test.memory.read(TARGET, 6)]).toEqual([1, 2, 3, 4, 0, 0])
  })

  it('skips and goes on', () => {
    const { test, dma } = setUp()
    dma((0x21 << 16) | SELECT | SKIP, 2)
    dma(READ, 2)

    expect([...test.memory.read(TARGET, 2)]).toEqual([3, 4])
  })

  it.each([
    ['writes', WRITE, 4, TARGET],
    ['reads outside RAM', READ, 4, 0x7000_0000],
    ['reads of absurd length', READ, 0xffff_ffff, TARGET],
  ])('refuses %s', (_what, control, length, target) => {
    const { dma } = setUp()

    expect(dma(control, length, target)).toBe(1)
  })

  it('survives a descriptor outside RAM', () => {
    const { test } = setUp()
    test.out(0x514, 0xffff_ffff, 4)
    test.out(0x518, 0xffff_ffff, 4)

    expect(test.logs).toHaveLength(1)
  })
})
