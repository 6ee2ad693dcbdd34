/** The PCI transport, driven like a guest drives it, on the smallest device there is. */
import { describe, expect, it } from 'vitest'

import { must } from '#base/assert.ts'
import * as exits from '#abi/exits.ts'
import { i440fx, virtioRng } from '#devices/catalog.ts'
import { TestHub } from '#testkit/test-hub.ts'
import { VirtioPciDriver } from '#testkit/virtio-driver.ts'

const SLOT = 3
const BAR = 0xe000_0000
const MSIX = BAR + 0x10_0000
const RINGS = 0x1_0000
const DATA = 0x8000
const FILLER = 0xa5
const NEEDS_RESET = 0x40

function setUp(): { test: TestHub; driver: VirtioPciDriver } {
  const test = new TestHub()
  test.hub.addDevice(i440fx, { name: 'bridge', pci: { slot: 0 } })
  test.hub.addDevice(virtioRng, {
    name: 'rng',
    pci: { slot: SLOT },
    ports: { entropy: { fill: (bytes) => bytes.fill(FILLER) } },
  })
  return { test, driver: new VirtioPciDriver(test, SLOT, BAR) }
}

describe('virtio PCI transport', () => {
  it('shows a modern device', () => {
    const { test } = setUp()

    expect(test.configRead(SLOT, 0, 0)).toBe(0x1044_1af4)
    expect(test.configRead(SLOT, 0, 8, 1)).toBe(1)
  })

  it('posts all writes and syncs the reads', () => {
    const { test } = setUp()

    expect(test.mmioClass(BAR + 0x3000)?.write).toBe(exits.ACCESS_POSTED)
    expect(test.mmioClass(BAR)).toMatchObject({ read: exits.ACCESS_SYNC, write: exits.ACCESS_POSTED })
  })

  it('serves a buffer and interrupts by INTx until ISR is read', () => {
    const { test, driver } = setUp()
    driver.negotiate()
    const queue = driver.setUpQueue(0, RINGS)
    driver.driverOk()
    queue.add({ gpa: DATA, bytes: 16, writable: true })
    driver.notify(0)

    expect(queue.takeUsed()).toEqual([{ head: 0, bytes: 16 }])
    expect([...test.memory.read(DATA, 17)]).toEqual([...Array.from({ length: 16 }, () => FILLER), 0])
    const status = (): number => test.configRead(SLOT, 0, 6, 2) & 8
    expect(status()).toBe(8)
    expect(driver.takeIsr()).toBe(1)
    expect(status()).toBe(0)
  })

  it('interrupts by MSI-X, holds back masked vectors, and sends them when unmasked', () => {
    const { test, driver } = setUp()
    driver.negotiate(1n << 32n)
    const queue = driver.setUpQueue(0, RINGS)
    test.store(driver.common + 0x1a, 1, 2)
    expect(test.load(driver.common + 0x1a, 2)).toBe(1)
    test.store(MSIX + 16, 0xfee0_0000)
    test.store(MSIX + 24, 0x41)
    test.configWrite(SLOT, 0, msixAt(test), 0x8000, 2)
    driver.driverOk()

    queue.add({ gpa: DATA, bytes: 1, writable: true })
    driver.notify(0)
    expect(test.messages).toEqual([]) // the vector is masked after reset
    expect(test.load(MSIX + pendingAt(test), 4) & 2).toBe(2)

    test.store(MSIX + 28, 0)
    expect(test.messages).toEqual([{ address: 0xfee0_0000, data: 0x41 }])
  })

  it('refuses a vector that it does not have', () => {
    const { test, driver } = setUp()

    test.store(driver.common + 0x10, 77, 2)

    expect(test.load(driver.common + 0x10, 2)).toBe(0xffff)
  })

  it('does not accept FEATURES_OK without VERSION_1 or with bits it did not offer', () => {
    const { driver } = setUp()
    driver.negotiate(0n)
    expect(driver.status & 8).toBe(0)

    driver.negotiate((1n << 32n) | (1n << 5n))
    expect(driver.status & 8).toBe(0)

    driver.negotiate(1n << 32n)
    expect(driver.status & 8).toBe(8)
  })

  it('freezes features once FEATURES_OK is set', () => {
    const { test, driver } = setUp()
    driver.negotiate(1n << 32n)
    driver.features = 0n

    test.store(driver.common + 8, 1)
    expect(test.load(driver.common + 0xc)).toBe(1)
  })

  it('marks itself as needing a reset after a broken ring, serves nothing more, and recovers by reset', () => {
    const { test, driver } = setUp()
    driver.negotiate(1n << 32n)
    const queue = driver.setUpQueue(0, RINGS)
    driver.driverOk()
    queue.publish(9999)
    driver.notify(0)

    expect(driver.status & NEEDS_RESET).toBe(NEEDS_RESET)
    expect(test.events.at(-1)).toMatchObject({ type: 'device-failed', by: 'rng' })
    queue.add({ gpa: DATA, bytes: 1, writable: true })
    driver.notify(0)
    expect(queue.takeUsed()).toEqual([])

    driver.negotiate(1n << 32n)
    expect(driver.status).toBe(11)
    const fresh = driver.setUpQueue(0, RINGS + 0x1_0000)
    driver.driverOk()
    fresh.add({ gpa: DATA, bytes: 1, writable: true })
    driver.notify(0)
    expect(fresh.takeUsed()).toHaveLength(1)
  })

  it('ignores doorbells before DRIVER_OK, without bus mastering, and of queues that do not exist', () => {
    const { test, driver } = setUp()
    driver.negotiate()
    const queue = driver.setUpQueue(0, RINGS)
    queue.add({ gpa: DATA, bytes: 1, writable: true })
    driver.notify(0)
    expect(queue.takeUsed()).toEqual([])

    test.configWrite(SLOT, 0, 4, 2, 2)
    driver.driverOk()
    driver.notify(63)
    expect(driver.status & NEEDS_RESET).toBe(0)
  })

  it('serves what was available before DRIVER_OK', () => {
    const { driver } = setUp()
    driver.negotiate()
    const queue = driver.setUpQueue(0, RINGS)
    queue.add({ gpa: DATA, bytes: 1, writable: true })

    driver.driverOk()

    expect(queue.takeUsed()).toHaveLength(1)
  })

  it('resets one queue and lets it be set up again', () => {
    const { test, driver } = setUp()
    driver.negotiate()
    driver.setUpQueue(0, RINGS)
    driver.driverOk()

    test.store(driver.common + 0x3a, 1, 2)
    expect(test.load(driver.common + 0x1c, 2)).toBe(0)

    const queue = driver.setUpQueue(0, RINGS + 0x1_0000, 16)
    queue.add({ gpa: DATA, bytes: 1, writable: true })
    driver.notify(0)
    expect(queue.takeUsed()).toHaveLength(1)
  })

  it('answers through the PCI configuration access window', () => {
    const { test } = setUp()
    const window = vendorCap(test, 5)
    test.configWrite(SLOT, 0, window + 4, 4, 1)
    test.configWrite(SLOT, 0, window + 8, 0x12) // num_queues
    test.configWrite(SLOT, 0, window + 12, 2)

    expect(test.configRead(SLOT, 0, window + 16, 2)).toBe(1)
  })

  it('goes on after a restore, with requests that came meanwhile', () => {
    const { test, driver } = setUp()
    driver.negotiate()
    const queue = driver.setUpQueue(0, RINGS)
    driver.driverOk()
    const sections = test.hub.save()
    queue.add({ gpa: DATA, bytes: 8, writable: true })

    const again = new TestHub({ memory: test.memory })
    const saved = (name: string) => ({
      saved: must(
        sections.find((section) => section.name === name),
        name,
      ),
    })
    again.hub.addDevice(i440fx, { name: 'bridge', pci: { slot: 0 }, ...saved('bridge') })
    again.hub.addDevice(virtioRng, {
      name: 'rng',
      pci: { slot: SLOT },
      ports: { entropy: { fill: (bytes) => bytes.fill(1) } },
      ...saved('rng'),
    })
    expect(again.mmioClass(BAR + 0x3000)?.write).toBe(exits.ACCESS_POSTED)
    again.store(BAR + 0x3000, 0, 2)

    expect(queue.takeUsed()).toEqual([{ head: 0, bytes: 8 }])
  })
})

function vendorCap(test: TestHub, kind: number): number {
  for (let cap = test.configRead(SLOT, 0, 0x34, 1); cap !== 0; cap = test.configRead(SLOT, 0, cap + 1, 1)) {
    if (test.configRead(SLOT, 0, cap, 1) === 9 && test.configRead(SLOT, 0, cap + 3, 1) === kind) return cap
  }
  throw new Error(`no vendor capability ${kind}`)
}

/** Offset of the MSI-X message control word. */
function msixAt(test: TestHub): number {
  for (let cap = test.configRead(SLOT, 0, 0x34, 1); cap !== 0; cap = test.configRead(SLOT, 0, cap + 1, 1)) {
    if (test.configRead(SLOT, 0, cap, 1) === 0x11) return cap + 2
  }
  throw new Error('no MSI-X capability')
}

/** Where the pending bits are in the MSI-X BAR. */
function pendingAt(test: TestHub): number {
  return test.configRead(SLOT, 0, msixAt(test) + 6) & ~7
}
