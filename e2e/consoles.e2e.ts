/** virtio-console: the kernel's console on hvc0, its size, and a named channel beside it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import type { Machine } from '#machine/machine.ts'
import { BOOT_TIMEOUT_MS, PROMPT, createTestMachine } from './node-machine.ts'

let machine: Machine

beforeAll(async () => {
  machine = await createTestMachine({
    append: 'console=hvc0 quiet mitigations=off tsc=reliable cryptomgr.notests no_timer_check',
    channels: ['org.webkvm.test'],
  })
  machine.start()
  await machine.console.waitForText(PROMPT, { timeoutMs: BOOT_TIMEOUT_MS })
})
afterAll(() => machine?.stop())

describe('the virtio console', () => {
  test("is the machine's console when the command line says hvc0", async () => {
    expect(machine.console.name).toBe('hvc0')
    expect(await machine.shell.check('cat /sys/class/tty/console/active')).toMatch(/hvc0/)
  })

  test('tells the guest the size of the terminal', async () => {
    machine.resizeConsole(132, 43)
    await expect
      .poll(() => machine.shell.check('stty size < /dev/hvc0'), { timeout: 10_000, interval: 500 })
      .toBe('43 132\n')
  })

  test('carries bytes both ways over a named channel', async () => {
    const channel = machine.channels.get('org.webkvm.test')
    if (channel === undefined) throw new Error('the channel is missing')
    const port = (await machine.shell.check('grep -l org.webkvm.test /sys/class/virtio-ports/*/name'))
      .split('/')
      .at(-2)
    await machine.shell.check(`echo from-guest > /dev/${port}`)
    await channel.waitForText('from-guest', { timeoutMs: 10_000 })
    channel.send('from-host\n')
    expect(await machine.shell.check(`head -n 1 /dev/${port}`)).toBe('from-host\n')
  })

  test('moves a megabyte without losing a byte', async () => {
    const received: number[] = []
    const channel = machine.channels.get('org.webkvm.test')
    const stop = channel?.onOutput((bytes) => received.push(bytes.length))
    const port = (await machine.shell.check('grep -l org.webkvm.test /sys/class/virtio-ports/*/name'))
      .split('/')
      .at(-2)
    await machine.shell.check(`dd if=/dev/zero of=/dev/${port} bs=65536 count=16 2>/dev/null`)
    await expect
      .poll(() => received.reduce((sum, count) => sum + count, 0), { timeout: 20_000 })
      .toBe(1048576)
    stop?.()
  })
})
