/** Devices of one or a few ports: debug console, debug exit, pvpanic, the places of the kernel's chips. */
import { describe, expect, it } from 'vitest'

import * as exits from '#abi/exits.ts'
import { TestHub } from '#testkit/test-hub.ts'

import { debugConsole, isaDebugExit, pcKernelChips, pcTestdev, pvpanic } from './catalog.ts'
import { CharPipe } from './char-pipe.ts'

describe('debug console', () => {
  it('prints without a sync exit, long output in pieces', () => {
    const test = new TestHub()
    const pipe = new CharPipe()
    let output = ''
    pipe.onData((bytes) => (output += new TextDecoder().decode(bytes)))
    test.hub.addDevice(debugConsole, { name: 'debug', config: { port: 0x402 }, ports: { chardev: pipe } })
    const line = 'SeaBIOS '.repeat(200)
    for (const char of line) test.out(0x402, char.charCodeAt(0))

    expect(output).toBe(line)
    expect(test.in(0x402)).toBe(0xe9)
    expect(test.syncExits).toBe(0)
  })
})

describe('isa-debug-exit', () => {
  it.each([
    [0, 1],
    [0x10, 0x21],
    [0xffff_ffff, 0x1_ffff_ffff],
  ])('ends the machine for %i with status %i', (value, status) => {
    const test = new TestHub()
    test.hub.addDevice(isaDebugExit, { name: 'exit' })
    test.out(0xf4, value, 4)

    expect(test.events).toEqual([{ type: 'exit', by: 'exit', status }])
  })
})

describe('pvpanic', () => {
  it('reports a panic, and says which events it knows', () => {
    const test = new TestHub()
    test.hub.addDevice(pvpanic, { name: 'pvpanic' })
    expect(test.in(0x505)).toBe(7)
    test.out(0x505, 1)

    expect(test.events).toEqual([{ type: 'guest-panicked', by: 'pvpanic', bits: 1 }])
  })
})

describe('chips in the kernel', () => {
  it('get their ports and pages', () => {
    const test = new TestHub()
    test.hub.addDevice(pcKernelChips, { name: 'chips', config: { hpet: true } })
    const kernel = (device: number): object => ({
      read: exits.ACCESS_KERNEL,
      write: exits.ACCESS_KERNEL,
      kernelDevice: device,
    })

    expect(test.portClass(0x21)).toEqual(kernel(exits.KDEV_PIC))
    expect(test.portClass(0x4d1)).toEqual(kernel(exits.KDEV_PIC))
    expect(test.portClass(0x43)).toEqual(kernel(exits.KDEV_PIT))
    expect(test.portClass(0x61)).toEqual(kernel(exits.KDEV_PORT61))
    expect(test.portClass(0x92)).toEqual(kernel(exits.KDEV_PORT92))
    expect(test.portClass(0x80)).toEqual(kernel(exits.KDEV_DELAY))
    expect(test.mmioClass(0xfec0_0000)).toEqual(kernel(exits.KDEV_IOAPIC))
    expect(test.mmioClass(0xfed0_0fff)).toEqual(kernel(exits.KDEV_HPET))
    expect(test.portClass(0x87).read).toBe(exits.ACCESS_IGNORE)
  })

  it('leave room for the test devices and the debug console', () => {
    const test = new TestHub()
    test.hub.addDevice(pcKernelChips, { name: 'chips' })
    test.hub.addDevice(debugConsole, { name: 'debug', ports: { chardev: new CharPipe() } })
    test.hub.addDevice(isaDebugExit, { name: 'exit' })
    test.hub.addDevice(pcTestdev, { name: 'testdev' })

    expect(test.portClass(0xe9).write).toBe(exits.ACCESS_POSTED)
    expect(test.portClass(0xe4).kernelDevice).toBe(exits.KDEV_TESTDEV)
    expect(test.portClass(0x2017).kernelDevice).toBe(exits.KDEV_TESTDEV)
    expect(test.mmioClass(0xff00_ffff)?.kernelDevice).toBe(exits.KDEV_TESTDEV)
  })
})
