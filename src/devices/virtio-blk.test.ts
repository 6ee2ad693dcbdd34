import { beforeEach, describe, expect, it } from 'vitest'

import { must } from '#base/assert.ts'
import { MemoryDisk } from '#testkit/sample-backends.ts'
import { TestHub } from '#testkit/test-hub.ts'
import { type DriverQueue, VirtioPciDriver } from '#testkit/virtio-driver.ts'

import { i440fx, virtioBlk } from './catalog.ts'

const SLOT = 4
const BAR = 0xe000_0000
const RINGS = 0x1_0000
const HEADER = 0x8000
const DATA = 0x10_0000
const STATUS = 0x9000
const UNSET = 0xee
const T_IN = 0
const T_OUT = 1
const T_FLUSH = 4
const T_GET_ID = 8
const T_DISCARD = 11
const T_WRITE_ZEROES = 13
const OK = 0
const IOERR = 1
const UNSUPP = 2

let test: TestHub
let driver: VirtioPciDriver
let queue: DriverQueue
let disk: MemoryDisk
let requests = 0

function setUp(options: { readonly sizeBytes?: number; readonly readonly?: boolean } = {}): void {
  test = new TestHub()
  disk = new MemoryDisk(options.sizeBytes ?? 0x10_0000, { readonly: options.readonly ?? false })
  test.hub.addDevice(i440fx, { name: 'bridge', pci: { slot: 0 } })
  test.hub.addDevice(virtioBlk, {
    name: 'disk0',
    pci: { slot: SLOT },
    config: { serial: 'webkvm-0' },
    ports: { disk },
  })
  driver = new VirtioPciDriver(test, SLOT, BAR)
  driver.negotiate()
  queue = driver.setUpQueue(0, RINGS)
  driver.driverOk()
  requests = 0
}

/** Queues a request; returns where its status byte will be. */
function request(
  type: number,
  sector: number,
  data: { bytes: number; writable: boolean; gpa?: number } | undefined,
): number {
  const header = HEADER + 16 * requests
  const status = STATUS + requests
  requests++
  test.memory.storeU32(header, type)
  test.memory.storeU64(header + 8, BigInt(sector))
  test.memory.storeU8(status, UNSET)
  const middle =
    data === undefined ? [] : [{ gpa: data.gpa ?? DATA, bytes: data.bytes, writable: data.writable }]
  queue.add({ gpa: header, bytes: 16 }, ...middle, { gpa: status, bytes: 1, writable: true })
  driver.notify(0)
  return status
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0))

describe('virtio-blk', () => {
  beforeEach(() => setUp())

  it('tells its size and topology', () => {
    expect(test.load(driver.device, 8)).toBe(0x10_0000 / 512)
    expect(test.load(driver.device + 20)).toBe(512)
    expect(test.load(driver.device + 24, 1)).toBe(3)
  })

  it('reads and writes sectors', async () => {
    test.memory.write(DATA, new Uint8Array(1024).fill(0x77))
    const wrote = request(T_OUT, 3, { bytes: 1024, writable: false })
    await settle()
    const read = request(T_IN, 4, { bytes: 512, writable: true, gpa: DATA + 0x1000 })
    await settle()

    expect([test.memory.loadU8(wrote), test.memory.loadU8(read)]).toEqual([OK, OK])
    expect(disk.bytes.subarray(3 * 512, 5 * 512).every((byte) => byte === 0x77)).toBe(true)
    expect(test.memory.read(DATA + 0x1000, 512).every((byte) => byte === 0x77)).toBe(true)
    expect(queue.takeUsed().map(({ bytes }) => bytes)).toEqual([1, 513])
    expect(driver.takeIsr()).toBe(1)
  })

  it('completes requests in the order the image finishes them', async () => {
    disk.holding = true
    const first = request(T_IN, 0, { bytes: 512, writable: true })
    const second = request(T_IN, 1, { bytes: 512, writable: true, gpa: DATA + 512 })
    disk.release(1)
    await settle()
    expect([test.memory.loadU8(first), test.memory.loadU8(second)]).toEqual([UNSET, OK])

    disk.release()
    await settle()
    expect(test.memory.loadU8(first)).toBe(OK)
  })

  it('takes requests larger than its staging in slices', async () => {
    setUp({ sizeBytes: 4 * 2 ** 20 })
    const half = 0x8_0000
    test.memory.storeU32(HEADER, T_IN)
    const parts = [DATA, DATA + half].map((gpa) => ({ gpa, bytes: half, writable: true }))
    queue.add({ gpa: HEADER, bytes: 16 }, ...parts, { gpa: STATUS, bytes: 1, writable: true })
    disk.bytes[2 * half - 1] = 0x42
    driver.notify(0)
    await settle()

    expect(disk.calls).toEqual(['read 0+524288', 'read 524288+524288'])
    expect(test.memory.loadU8(DATA + 2 * half - 1)).toBe(0x42)
  })

  it('accepts any layout: header in pieces, status behind data in one buffer', async () => {
    test.memory.storeU32(HEADER, T_IN)
    queue.add(
      { gpa: HEADER, bytes: 5 },
      { gpa: HEADER + 5, bytes: 11 },
      { gpa: DATA, bytes: 513, writable: true },
    )
    test.memory.storeU8(DATA + 512, UNSET)
    driver.notify(0)
    await settle()

    expect(test.memory.loadU8(DATA + 512)).toBe(OK)
  })

  it.each([
    ['beyond the end', T_IN, 2048, 512],
    ['across the end', T_IN, 2047, 1024],
    ['of half a sector', T_IN, 0, 100],
    ['at an absurd sector', T_OUT, Number.MAX_SAFE_INTEGER, 512],
  ])('fails a request %s', async (_where, type, sector, bytes) => {
    const status = request(type, sector, { bytes, writable: type === T_IN })
    await settle()

    expect(test.memory.loadU8(status)).toBe(IOERR)
    expect(disk.calls).toEqual([])
  })

  it('reports a failing image as an I/O error and goes on', async () => {
    disk.failWith = new Error('connection lost')
    const failed = request(T_IN, 0, { bytes: 512, writable: true })
    const fine = request(T_IN, 0, { bytes: 512, writable: true })
    await settle()

    expect([test.memory.loadU8(failed), test.memory.loadU8(fine)]).toEqual([IOERR, OK])
    expect(test.logs.join()).toContain('connection lost')
  })

  it('knows FLUSH, GET_ID and no type it has not heard of', async () => {
    const flush = request(T_FLUSH, 0, undefined)
    const id = request(T_GET_ID, 0, { bytes: 20, writable: true })
    const odd = request(99, 0, undefined)
    await settle()

    expect([flush, id, odd].map((at) => test.memory.loadU8(at))).toEqual([OK, OK, UNSUPP])
    expect(new TextDecoder().decode(test.memory.read(DATA, 8))).toBe('webkvm-0')
    expect(disk.calls).toContain('flush')
  })

  it('discards and zeroes ranges, and refuses bad ones', async () => {
    disk.bytes.fill(1)
    const range = (
      sector: bigint,
      sectors: number,
      flags: number,
    ): { bytes: number; writable: boolean; gpa: number } => {
      const gpa = DATA + 16 * requests
      test.memory.storeU64(gpa, sector)
      test.memory.storeU32(gpa + 8, sectors)
      test.memory.storeU32(gpa + 12, flags)
      return { gpa, bytes: 16, writable: false }
    }
    const statuses = [
      request(T_DISCARD, 0, range(8n, 8, 0)),
      request(T_WRITE_ZEROES, 0, range(0n, 2, 1)),
      request(T_DISCARD, 0, range(0n, 1, 1)),
      request(T_WRITE_ZEROES, 0, range(2048n, 1, 0)),
      request(T_DISCARD, 0, { bytes: 15, writable: false }),
    ]
    await settle()

    expect(statuses.map((at) => test.memory.loadU8(at))).toEqual([OK, OK, UNSUPP, IOERR, IOERR])
    expect(disk.calls).toEqual(['discard 4096+4096', 'zero 0+1024'])
    expect([disk.bytes[1023], disk.bytes[1024]]).toEqual([0, 1])
  })

  it('does not write to a read-only image, and says so beforehand', async () => {
    setUp({ readonly: true })
    expect((driver.features >> 5n) & 1n).toBe(1n)
    const status = request(T_OUT, 0, { bytes: 512, writable: false })
    await settle()

    expect(test.memory.loadU8(status)).toBe(IOERR)
    expect(disk.calls).toEqual([])
  })

  it('touches nothing after a device reset', async () => {
    disk.holding = true
    const status = request(T_IN, 0, { bytes: 512, writable: true })
    driver.status = 0
    disk.bytes.fill(0xff)
    disk.release()
    await settle()

    expect(test.memory.loadU8(status)).toBe(UNSET)
    expect(test.memory.loadU8(DATA)).toBe(0)
    expect(queue.takeUsed()).toEqual([])
  })

  it('serves requests in flight again after a restore', async () => {
    disk.holding = true
    const status = request(T_IN, 0, { bytes: 512, writable: true })
    const sections = test.hub.save()
    const saved = (name: string) => ({
      saved: must(
        sections.find((section) => section.name === name),
        name,
      ),
    })

    const again = new TestHub({ memory: test.memory })
    const other = new MemoryDisk(0x10_0000)
    other.bytes.fill(0x33)
    again.hub.addDevice(i440fx, { name: 'bridge', pci: { slot: 0 }, ...saved('bridge') })
    again.hub.addDevice(virtioBlk, {
      name: 'disk0',
      pci: { slot: SLOT },
      config: { serial: 'webkvm-0' },
      ports: { disk: other },
      ...saved('disk0'),
    })
    await settle()

    expect(test.memory.loadU8(status)).toBe(OK)
    expect(test.memory.loadU8(DATA)).toBe(0x33)
    expect(queue.takeUsed()).toHaveLength(1)
  })

  it('needs a reset after a request without room for a status', () => {
    queue.add({ gpa: HEADER, bytes: 16 })
    driver.notify(0)

    expect(driver.status & 0x40).toBe(0x40)
  })
})
