/** The queue core against drivers that follow the rules and drivers that do not. */
import { describe, expect, it } from 'vitest'

import { FakeMemory } from '#testkit/fake-memory.ts'
import { seededRandom } from '#testkit/sample-backends.ts'
import { DriverQueue } from '#testkit/virtio-driver.ts'

import { Chain } from './chain.ts'
import { SplitQueue } from './split-queue.ts'

const RAM_BYTES = 0x10_0000
const RINGS = 0x1000
const DATA = 0x8000
const SIZE = 8
const NEXT = 1
const WRITE = 2
const INDIRECT = 4

function setUp(size = SIZE): { memory: FakeMemory; driver: DriverQueue; queue: SplitQueue } {
  const memory = new FakeMemory(RAM_BYTES)
  const driver = new DriverQueue(memory, RINGS, size)
  const queue = new SplitQueue(memory, size)
  queue.desc = BigInt(driver.desc)
  queue.avail = BigInt(driver.avail)
  queue.used = BigInt(driver.used)
  queue.indirect = true
  expect(queue.enable()).toBeUndefined()
  return { memory, driver, queue }
}

function popChain(queue: SplitQueue): Chain {
  const chain = queue.pop()
  if (!(chain instanceof Chain)) throw new Error(`pop gave ${String(chain)}`)
  return chain
}

describe('SplitQueue', () => {
  it('gives nothing while nothing is available', () => {
    const { queue } = setUp()

    expect(queue.pop()).toBeUndefined()
  })

  it('walks a chain of readable and writable buffers', () => {
    const { memory, driver, queue } = setUp()
    memory.write(DATA, Uint8Array.of(1, 2, 3, 4, 5))
    driver.add(
      { gpa: DATA, bytes: 3 },
      { gpa: DATA + 3, bytes: 2 },
      { gpa: DATA + 0x100, bytes: 4, writable: true },
    )

    const chain = popChain(queue)
    chain.writeAt(1, Uint8Array.of(7, 8, 9, 10))

    expect([...chain.read(1, 100)]).toEqual([2, 3, 4, 5])
    expect(chain.writableBytes).toBe(4)
    expect([...memory.read(DATA + 0x100, 4)]).toEqual([0, 7, 8, 9])
  })

  it('returns heads through the used ring across the wrap of idx', () => {
    const { driver, queue } = setUp()
    const heads: number[] = []

    for (let round = 0; round < 0x1_0000 + 5; round++) {
      driver.add({ gpa: DATA, bytes: 4, writable: true })
      queue.push(popChain(queue), 4)
      const [used] = driver.takeUsed()
      if (used !== undefined) heads.push(used.head)
    }

    expect(heads).toHaveLength(0x1_0000 + 5)
    expect(heads.slice(0, 9)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 0])
  })

  it('walks an indirect table', () => {
    const { memory, driver, queue } = setUp()
    driver.writeDescAt(DATA, 0x9000, 16, NEXT, 1)
    driver.writeDescAt(DATA + 16, 0x9100, 32, WRITE, 0)
    driver.writeDesc(0, DATA, 32, INDIRECT, 0)
    driver.publish(0)
    memory.storeU32(0x9000, 0x1234_5678)

    const chain = popChain(queue)

    expect(chain.readableBytes).toBe(16)
    expect(chain.writableBytes).toBe(32)
    expect(chain.read(0, 1)[0]).toBe(0x78)
  })

  it('refuses more heads than the queue holds', () => {
    const { driver, queue } = setUp()
    driver.setAvailIdx(SIZE + 1)

    expect(queue.pop()).toBe('avail-overrun')
  })

  it('refuses a head outside the table', () => {
    const { driver, queue } = setUp()
    driver.publish(SIZE)

    expect(queue.pop()).toBe('bad-head')
  })

  it('refuses a next outside the table', () => {
    const { driver, queue } = setUp()
    driver.writeDesc(0, DATA, 4, NEXT, 0xffff)
    driver.publish(0)

    expect(queue.pop()).toBe('bad-head')
  })

  it('refuses a chain that loops', () => {
    const { driver, queue } = setUp()
    driver.writeDesc(0, DATA, 4, NEXT, 1)
    driver.writeDesc(1, DATA, 4, NEXT, 0)
    driver.publish(0)

    expect(queue.pop()).toBe('chain-loop')
  })

  it.each([
    ['beyond RAM', BigInt(RAM_BYTES), 1],
    ['straddling the end of RAM', BigInt(RAM_BYTES - 4), 8],
    ['wrapping around 2^64', 0xffff_ffff_ffff_fff0n, 0x20],
    ['beyond 2^53', 1n << 60n, 4],
  ])('refuses a buffer %s', (_where, gpa, bytes) => {
    const { driver, queue } = setUp()
    driver.writeDesc(0, gpa, bytes, 0, 0)
    driver.publish(0)

    expect(queue.pop()).toBe('bad-address')
  })

  it('refuses a readable buffer after a writable one', () => {
    const { driver, queue } = setUp()
    driver.writeDesc(0, DATA, 4, NEXT | WRITE, 1)
    driver.writeDesc(1, DATA, 4, 0, 0)
    driver.publish(0)

    expect(queue.pop()).toBe('order')
  })

  it.each([
    ['empty', 0, INDIRECT],
    ['of half a descriptor', 24, INDIRECT],
    ['that continues the chain', 16, INDIRECT | NEXT],
  ])('refuses an indirect table %s', (_what, bytes, flags) => {
    const { driver, queue } = setUp()
    driver.writeDesc(0, DATA, bytes, flags, 1)
    driver.publish(0)

    expect(queue.pop()).toBe('bad-indirect')
  })

  it('refuses an indirect table inside another', () => {
    const { driver, queue } = setUp()
    driver.writeDescAt(DATA, DATA, 16, INDIRECT, 0)
    driver.writeDesc(0, DATA, 16, INDIRECT, 0)
    driver.publish(0)

    expect(queue.pop()).toBe('bad-indirect')
  })

  it('refuses an indirect table that was not negotiated', () => {
    const { driver, queue } = setUp()
    queue.indirect = false
    driver.writeDesc(0, DATA, 16, INDIRECT, 0)
    driver.publish(0)

    expect(queue.pop()).toBe('bad-indirect')
  })

  it('refuses a loop inside an indirect table', () => {
    const { driver, queue } = setUp()
    driver.writeDescAt(DATA, 0x9000, 16, NEXT, 0)
    driver.writeDesc(0, DATA, 16, INDIRECT, 0)
    driver.publish(0)

    expect(queue.pop()).toBe('chain-loop')
  })

  it('refuses a head that the device still holds', () => {
    const { driver, queue } = setUp()
    driver.writeDesc(0, DATA, 4, 0, 0)
    driver.publish(0)
    popChain(queue)
    driver.publish(0)

    expect(queue.pop()).toBe('head-in-flight')
  })

  it('refuses chains of more than 2^32 bytes', () => {
    const memory = new FakeMemory(RAM_BYTES)
    memory.contains = () => true
    const driver = new DriverQueue(memory, RINGS, SIZE)
    const queue = new SplitQueue(memory, SIZE)
    queue.desc = BigInt(driver.desc)
    queue.avail = BigInt(driver.avail)
    queue.used = BigInt(driver.used)
    queue.enable()
    driver.writeDesc(0, 0, 0xffff_ffff, NEXT, 1)
    driver.writeDesc(1, 0, 2, 0, 0)
    driver.publish(0)

    expect(queue.pop()).toBe('chain-too-long')
  })

  it.each([
    ['size 0', { size: 0 }, 'bad-size'],
    ['a size that is no power of two', { size: 6 }, 'bad-size'],
    ['a size above the maximum', { size: 16 }, 'bad-size'],
    ['misaligned descriptors', { desc: 0x1008n }, 'bad-ring-address'],
    ['a misaligned used ring', { used: 0x1002n }, 'bad-ring-address'],
    ['rings outside RAM', { avail: BigInt(RAM_BYTES - 4) }, 'bad-ring-address'],
    ['rings beyond 2^53', { used: 1n << 63n }, 'bad-ring-address'],
  ])('does not start with %s', (_what, change, fault) => {
    const queue = new SplitQueue(new FakeMemory(RAM_BYTES), SIZE)
    Object.assign(queue, { desc: 0x1000n, avail: 0x2000n, used: 0x3000n }, change)

    expect(queue.enable()).toBe(fault)
    expect(queue.pop()).toBeUndefined()
  })

  it('ignores a chain that is returned after a reset', () => {
    const { memory, driver, queue } = setUp()
    driver.add({ gpa: DATA, bytes: 4, writable: true })
    const chain = popChain(queue)

    queue.reset()
    queue.push(chain, 4)

    expect(memory.loadU16(driver.used + 2)).toBe(0)
  })

  it('serves a chain that was put back again, and after a restore those in flight', () => {
    const { memory, driver, queue } = setUp()
    const head = driver.add({ gpa: DATA, bytes: 4, writable: true })
    queue.unpop(popChain(queue))
    expect(queue.hasPending).toBe(true)
    expect(popChain(queue).head).toBe(head)

    const again = new SplitQueue(memory, SIZE)
    expect(again.restore(queue.state())).toBeUndefined()
    expect(popChain(again).head).toBe(head)
    expect(again.pop()).toBeUndefined()
  })

  it.each([
    ['size', { size: 7 }],
    ['ring address', { desc: 3n }],
    ['head in flight', { inFlight: [SIZE] }],
  ])('does not restore a state with a wrong %s', (_what, change) => {
    const { memory, queue } = setUp()

    expect(new SplitQueue(memory, SIZE).restore({ ...queue.state(), ...change })).toBeTypeOf('string')
  })

  it('never throws and always ends on random rings', () => {
    const random = seededRandom(7)
    for (let round = 0; round < 3000; round++) {
      const { memory, driver, queue } = setUp()
      for (let at = driver.desc; at < driver.end; at++) memory.storeU8(at, random())
      // Plausible addresses and lengths half of the time, so that the walk goes beyond the first check.
      const plausible = round % 2 === 0 ? SIZE : 0
      for (let index = 0; index < plausible; index++) {
        driver.writeDesc(index, random() % RAM_BYTES, random() % 64, random() & 7, random() % (SIZE + 1))
      }
      driver.setAvailIdx(random() % (SIZE + 1))
      for (let pops = 0; pops < 2 * SIZE; pops++) {
        const chain = queue.pop()
        if (!(chain instanceof Chain)) break
        queue.push(chain, 0)
      }
    }
  })
})

describe('SplitQueue interrupts', () => {
  it('interrupts unless the driver asked not to', () => {
    const { memory, driver, queue } = setUp()
    driver.add({ gpa: DATA, bytes: 4, writable: true })
    queue.push(popChain(queue), 0)
    expect(queue.takeInterrupt()).toBe(true)
    expect(queue.takeInterrupt()).toBe(false)

    memory.storeU16(driver.avail, 1)
    driver.add({ gpa: DATA, bytes: 4, writable: true })
    queue.push(popChain(queue), 0)
    expect(queue.takeInterrupt()).toBe(false)
  })

  it('interrupts with event indices exactly when used_event is passed, for every distance and wrap', () => {
    for (const start of [0, 1, 0x7fff, 0xfffd, 0xffff]) {
      for (let pushed = 1; pushed <= 4; pushed++) {
        for (let event = -6; event <= 6; event++) {
          const { memory, driver, queue } = setUp()
          const state = { ...queue.state(), nextAvail: start, nextUsed: start, signalled: start }
          const fresh = new SplitQueue(memory, SIZE)
          fresh.restore(state)
          fresh.eventIdx = true
          for (let i = 0; i < pushed; i++) {
            driver.writeDesc(i, DATA, 4, WRITE, 0)
            memory.storeU16(driver.avail + 4 + 2 * ((start + i) % SIZE), i)
          }
          driver.setAvailIdx((start + pushed) & 0xffff)
          driver.setUsedEvent((start + event) & 0xffff)
          for (let i = 0; i < pushed; i++) fresh.push(popChain(fresh), 0)

          // Oracle: one of the entries pushed had index used_event.
          expect(fresh.takeInterrupt(), `${start} ${pushed} ${event}`).toBe(event >= 0 && event < pushed)
        }
      }
    }
  })

  it('publishes avail_event when it runs dry', () => {
    const { driver, queue } = setUp()
    queue.eventIdx = true
    driver.add({ gpa: DATA, bytes: 4, writable: true })
    popChain(queue)

    expect(queue.rearm()).toBe(false)
    expect(driver.availEvent).toBe(1)
  })
})
