import { describe, expect, it } from 'vitest'

import * as exits from '#abi/exits.ts'
import * as abi from '#abi/layout.ts'
import { stateCodec } from '#snapshot/codec.ts'
import { TestHub } from '#testkit/test-hub.ts'

import { ClaimError } from './claims.ts'
import { ConfigError, NO_CONFIG, configSchema, int } from './config-schema.ts'
import { type DevicePorts, defineDevice } from './device.ts'

const NOTHING = stateCodec('nothing', 1, {})

/** A device made of one closure. */
function tiny(build: (ports: DevicePorts) => void): Parameters<TestHub['hub']['addDevice']>[0] {
  return defineDevice({
    type: 'tiny',
    bus: 'isa',
    config: NO_CONFIG,
    state: NOTHING,
    create(ports: DevicePorts) {
      build(ports)
      return { reset: () => undefined, state: () => ({}) }
    },
  })
}

describe('port space', () => {
  it('refuses an overlap and prints both ranges and owners', () => {
    const { hub } = new TestHub()
    hub.addDevice(
      tiny((ports) => ports.pio.claim({ start: 0x3f8, count: 8 })),
      { name: 'com1' },
    )

    expect(() =>
      hub.addDevice(
        tiny((ports) => ports.pio.claim({ start: 0x3f0, count: 9 })),
        { name: 'floppy' },
      ),
    ).toThrow(new ClaimError('floppy: ports 0x3f0-0x3f8 overlap 0x3f8-0x3ff of com1'))
  })

  it('lets go of ports', () => {
    const test = new TestHub()
    const space = test.hub.pio.spaceFor('x')
    const claim = space.claim({ start: 0x100, count: 4 })
    expect(test.portClass(0x103).read).toBe(exits.ACCESS_SYNC)
    claim.release()

    expect(test.portClass(0x103)).toEqual({ read: 0, write: 0, kernelDevice: 0 })
    expect(space.tryClaim({ start: 0x102, count: 8 })).not.toBeInstanceOf(ClaimError)
  })

  it('splits what is wider than the handler and what crosses a border', () => {
    const test = new TestHub()
    const seen: string[] = []
    test.hub.addDevice(
      tiny((ports) => {
        ports.pio.claim({
          start: 0x100,
          count: 4,
          width: 1,
          handler: {
            read: (offset) => 0x10 + offset,
            write: (offset, bytes, value) => void seen.push(`${offset}:${bytes}:${value.toString(16)}`),
          },
        })
      }),
      { name: 'narrow' },
    )

    expect(test.inSync(0x100, 4).toString(16)).toBe('13121110')
    expect(test.inSync(0x102, 4).toString(16)).toBe('ffff1312')
    test.outSync(0x100, 0x0403_0201, 4)
    expect(seen).toEqual(['0:1:1', '1:1:2', '2:1:3', '3:1:4'])
  })

  it('reads all ones from nobody and says so once per port', () => {
    const test = new TestHub()
    for (let i = 0; i < 5; i++) expect(test.inSync(0x1234, 1)).toBe(0xff)

    expect(test.logs).toEqual(['unknown port 0x1234: 1-byte read (nobody)'])
  })

  it('answers a string exit element by element', () => {
    const test = new TestHub()
    let next = 0
    test.hub.addDevice(
      tiny((ports) =>
        ports.pio.claim({ start: 0x1f0, count: 1, handler: { read: () => next++, write: () => undefined } }),
      ),
      { name: 'counter' },
    )
    const { view, cpu } = test
    view.setUint32(cpu + abi.CPU_EXIT + exits.EXIT_KIND, exits.EXIT_KIND_PIO_READ, true)
    view.setUint32(cpu + abi.CPU_EXIT + exits.EXIT_SIZE, 2, true)
    view.setUint32(cpu + abi.CPU_EXIT + exits.EXIT_COUNT, 3, true)
    view.setBigUint64(cpu + abi.CPU_EXIT + exits.EXIT_ADDRESS, 0x1f0n, true)
    view.setUint32(cpu + abi.CPU_EXIT + exits.EXIT_STATE, 1, true)
    test.hub.pump()

    expect([0, 2, 4].map((at) => view.getUint16(cpu + abi.CPU_EXIT_BUFFER + at, true))).toEqual([
      0xff00, 0xff01, 0xff02,
    ])
  })
})

describe('MMIO space', () => {
  it('refuses an overlap and prints both ranges', () => {
    const { hub } = new TestHub()
    hub.mmio.spaceFor('a').claim({ start: 0xf000_0000, bytes: 0x1000 })

    expect(() => hub.mmio.spaceFor('b').claim({ start: 0xf000_0fff, bytes: 1 })).toThrow(
      'b: MMIO 0xf0000fff-0xf0000fff overlaps 0xf0000000-0xf0000fff of a',
    )
  })

  it('serves 8 bytes as two dwords, low one first', () => {
    const test = new TestHub()
    const order: number[] = []
    test.hub.mmio.spaceFor('a').claim({
      start: 0xf000_0000,
      bytes: 16,
      handler: {
        read: (offset) => offset + 1,
        write: (offset) => void order.push(offset),
      },
    })

    test.store(0xf000_0008, 0n, 8)
    expect(order).toEqual([8, 12])
    expect(test.load(0xf000_0000, 8)).toBe(5 * 2 ** 32 + 1)
  })

  it('works above 4 GiB', () => {
    const test = new TestHub()
    test.hub.mmio
      .spaceFor('a')
      .claim({ start: 0x12_3456_7000, bytes: 16, handler: { read: () => 7, write: () => undefined } })

    expect(test.load(0x12_3456_7000)).toBe(7)
    expect(test.mmioClass(0x12_3456_700f)).toBeDefined()
  })

  it('refuses when the table is full', () => {
    const { hub } = new TestHub()
    const space = hub.mmio.spaceFor('a')
    for (let i = 0; i < abi.VM_MMIO_MAX; i++) space.claim({ start: 0xf000_0000 + 16 * i, bytes: 16 })

    expect(space.tryClaim({ start: 0xe000_0000, bytes: 16 })).toBeInstanceOf(ClaimError)
  })
})

describe('exits', () => {
  it('lets a device see one vCPU in program order: posted writes come before the exit that follows them', () => {
    const test = new TestHub()
    const seen: number[] = []
    const handler = {
      read: () => 0,
      write: (_offset: number, _bytes: number, value: number) => void seen.push(value),
    }
    const space = test.hub.pio.spaceFor('x')
    space.claim({ start: 0x100, count: 1, write: 'posted', handler })
    space.claim({ start: 0x101, count: 1, handler })
    for (let i = 0; i < 256; i++) test.out(0x100, i, 1, true)
    test.out(0x101, 999)

    expect(seen).toEqual([...Array.from({ length: 256 }, (_, i) => i), 231])
  })

  it('serves posted writes of several vCPUs in the order they were made', () => {
    const test = new TestHub()
    const seen: number[] = []
    const handler = {
      read: () => 0,
      write: (_offset: number, _bytes: number, value: number) => void seen.push(value),
    }
    test.hub.pio.spaceFor('x').claim({ start: 0x100, count: 1, write: 'posted', handler })
    const second = test.addVcpu()
    // Numbers wrap at 2^32 in the middle.
    test.view.setUint32(test.vm + abi.VM_POSTED_SEQ, 0xffff_fffd, true)
    for (const [value, cpu] of [
      [1, second],
      [2, test.cpu],
      [3, second],
      [4, second],
      [5, test.cpu],
      [6, second],
    ] as const) {
      test.post(exits.EXIT_KIND_PIO_WRITE, 0x100, 1, value, cpu)
    }
    test.hub.pump()

    expect(seen).toEqual([1, 2, 3, 4, 5, 6])
  })

  it('does not answer an exit asked during a drain before the writes posted ahead of it', () => {
    const test = new TestHub()
    const { view, cpu } = test
    const seen: string[] = []
    const space = test.hub.pio.spaceFor('x')
    space.claim({
      start: 0x100,
      count: 1,
      write: 'posted',
      handler: {
        read: () => 0,
        write(_offset, _bytes, value) {
          seen.push(`write ${value}`)
          if (value !== 1) return
          // Meanwhile, on its own thread, the vCPU posts once more and asks.
          test.post(exits.EXIT_KIND_PIO_WRITE, 0x100, 1, 2)
          view.setUint32(cpu + abi.CPU_EXIT + exits.EXIT_KIND, exits.EXIT_KIND_PIO_READ, true)
          view.setUint32(cpu + abi.CPU_EXIT + exits.EXIT_SIZE, 1, true)
          view.setBigUint64(cpu + abi.CPU_EXIT + exits.EXIT_ADDRESS, 0x101n, true)
          view.setUint32(cpu + abi.CPU_EXIT + exits.EXIT_STATE, 1, true)
        },
      },
    })
    space.claim({
      start: 0x101,
      count: 1,
      handler: { read: () => seen.push('read'), write: () => undefined },
    })
    test.out(0x100, 1)
    test.hub.pump()

    expect(seen).toEqual(['write 1', 'write 2', 'read'])
  })

  it('turns shutdown and reset exits into events before the vCPU goes on', () => {
    const test = new TestHub()
    test.otherExit(exits.EXIT_KIND_SHUTDOWN)
    test.otherExit(exits.EXIT_KIND_RESET)

    expect(test.events).toEqual([
      { type: 'shutdown', by: 'vcpu0', vcpu: 0 },
      { type: 'reset', by: 'vcpu0' },
    ])
  })

  it('answers an unknown hypercall as KVM does', () => {
    const test = new TestHub()

    expect(test.otherExit(exits.EXIT_KIND_HYPERCALL, 77)).toBe(2 ** 32 - 1000)
  })

  it('takes the kernel log ring and says each fact once', () => {
    const test = new TestHub()
    const { view, vm } = test
    const log = vm + abi.VM_LOG
    for (let i = 0; i < 3; i++) {
      const entry = log + 64 + i * exits.LOG_ENTRY_SIZE
      view.setUint32(entry + exits.LOG_KIND, exits.LOG_UNKNOWN_MSR, true)
      view.setBigUint64(entry + exits.LOG_A, 0xc001_1029n, true)
      view.setBigUint64(entry + exits.LOG_RIP, 0xffff_ffff_8100_0000n, true)
    }
    view.setUint32(log + 4, 3, true)
    test.hub.pump()

    expect(test.logs).toEqual(['unknown MSR 0xc0011029: read at rip 0xffffffff81000000 of vCPU 0'])
    expect(view.getUint32(log, true)).toBe(3)
  })

  it('wakes up for a doorbell and sleeps again', async () => {
    const test = new TestHub()
    let value = 0
    test.hub.pio.spaceFor('x').claim({
      start: 0x100,
      count: 1,
      write: 'posted',
      handler: { read: () => 0, write: (_offset, _bytes, written) => void (value = written) },
    })
    const running = test.hub.run()
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(test.view.getUint32(test.vm + abi.VM_HUB_ASLEEP, true)).toBe(1)

    test.post(exits.EXIT_KIND_PIO_WRITE, 0x100, 1, 42)
    test.hub.kick()
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(value).toBe(42)
    test.hub.stop()
    await running
  })

  it('stops visibly when a device has a bug', async () => {
    const test = new TestHub()
    test.hub.pio.spaceFor('x').claim({
      start: 0x100,
      count: 1,
      handler: {
        read: () => {
          throw new Error('device bug')
        },
        write: () => undefined,
      },
    })
    test.view.setUint32(test.cpu + abi.CPU_EXIT + exits.EXIT_KIND, exits.EXIT_KIND_PIO_READ, true)
    test.view.setUint32(test.cpu + abi.CPU_EXIT + exits.EXIT_SIZE, 1, true)
    test.view.setBigUint64(test.cpu + abi.CPU_EXIT + exits.EXIT_ADDRESS, 0x100n, true)
    test.view.setUint32(test.cpu + abi.CPU_EXIT + exits.EXIT_STATE, 1, true)

    await expect(test.hub.run()).rejects.toThrow('device bug')
  })
})

describe('devices', () => {
  it('refuses two of one name', () => {
    const { hub } = new TestHub()
    hub.addDevice(
      tiny(() => undefined),
      { name: 'a' },
    )

    expect(() =>
      hub.addDevice(
        tiny(() => undefined),
        { name: 'a' },
      ),
    ).toThrow('two devices named "a"')
  })

  it.each([
    [{ port: 70000 }, 'com9: option "port" wants an integer from 0 to 65535, not 70000'],
    [{ portt: 1 }, 'com9: there is no option "portt" (known: port)'],
    [{}, 'com9: option "port" is missing; it wants an integer from 0 to 65535'],
  ])('refuses config %j and says what is right', (config, message) => {
    const schema = configSchema<{ port: number }>({ port: int({ max: 0xffff }) })

    expect(() => schema.parse('com9', config as { port?: number })).toThrow(new ConfigError(message))
  })

  it('runs deferred work once the exits at hand are served', () => {
    const test = new TestHub()
    const order: string[] = []
    test.hub.addDevice(
      tiny((ports) =>
        ports.pio.claim({
          start: 0x100,
          count: 1,
          write: 'posted',
          handler: {
            read: () => 0,
            write: () => {
              order.push('write')
              ports.defer(() => order.push('deferred'))
            },
          },
        }),
      ),
      { name: 'a' },
    )
    test.out(0x100, 1, 1, true)
    test.out(0x100, 2, 1, true)
    test.hub.pump()

    expect(order).toEqual(['write', 'write', 'deferred', 'deferred'])
  })
})

describe('guest time', () => {
  it('stands still while the VM is paused, and timers with it', () => {
    const test = new TestHub()
    const { view, vm, clock, hub } = test
    let fired = 0
    const timer = hub.clock.timer(() => fired++)
    timer.arm(10e6)
    clock.advance(4)
    view.setFloat64(vm + abi.VM_PAUSED_AT, clock.nowNs(), true)
    hub.pause()
    clock.advance(100)
    expect(hub.clock.nowNs()).toBe(4e6)
    expect(fired).toBe(0)

    view.setFloat64(vm + abi.VM_CLOCK_BASE, 100e6, true)
    view.setFloat64(vm + abi.VM_PAUSED_AT, 0, true)
    hub.resume()
    clock.advance(5)
    expect(fired).toBe(0)
    clock.advance(1)
    expect(fired).toBe(1)
  })

  it('fires timers in order of their deadlines and not after cancel', () => {
    const { hub, clock } = new TestHub()
    const order: string[] = []
    const a = hub.clock.timer(() => order.push('a'))
    const b = hub.clock.timer(() => order.push('b'))
    const c = hub.clock.timer(() => order.push('c'))
    a.arm(3e6)
    b.arm(2e6)
    c.arm(1e6)
    c.cancel()
    clock.advance(10)

    expect(order).toEqual(['b', 'a'])
  })
})

describe('GSI lines', () => {
  it('ors its drivers and is told each change once', () => {
    const { hub, gsiChanges } = new TestHub()
    const [a, b] = [hub.gsi.line(5), hub.gsi.line(5)]
    a.raise()
    a.raise()
    b.raise()
    a.lower()
    b.lower()
    b.lower()

    expect(gsiChanges).toEqual([
      { gsi: 5, level: 1 },
      { gsi: 5, level: 0 },
    ])
  })
})
