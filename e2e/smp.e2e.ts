/** Four vCPUs, each a worker: they come up, each can run a program, wake each other and see each other's memory. */
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { guestPage } from '#playwright.ts'
import type { GuestPage } from '#playwright.ts'
import { ROOT, benchInitrd, nativeProgram } from './bench/guest-image.ts'
import { parseTimes } from './bench/peer.ts'
import { bootWebkvm } from './bench/webkvm-peer.ts'
import { launchChromium } from './chromium.ts'
import { kernelTrouble } from './kernel-log.ts'

const CPUS = 4

let browser: Browser
let guest: GuestPage

beforeAll(async () => {
  browser = await launchChromium()
  const peer = await bootWebkvm(browser, inject('pageUrl'), {
    kernel: path.join(ROOT, '.cache/guests/default/vmlinux'),
    initrd: benchInitrd('default', 64),
    append: 'console=ttyS0 quiet',
    memoryMiB: 256,
    cpus: CPUS,
    prompt: 'webkvm:~# ',
  })
  guest = guestPage(peer.page)
})
afterAll(() => browser?.close())

// The guest program is compiled on the host.
describe.skipIf(process.arch !== 'x64')(`a guest with ${CPUS} vCPUs`, () => {
  test('has them all', async () => {
    expect(await guest.check('nproc')).toBe(`${CPUS}\n`)
    expect(await guest.check('cat /sys/devices/system/cpu/online')).toBe('0-3\n')
  })

  test.each([0, 1, 2, 3])('runs a program on CPU %i', async (cpu) => {
    // Field 39 of /proc/PID/stat is the CPU that the process last ran on.
    const command = `taskset ${(1 << cpu).toString(16)} sh -c 'cut -d" " -f39 /proc/self/stat'`
    expect(await guest.check(command)).toBe(`${cpu}\n`)
  })

  test('keeps mutexes, condition variables and TLB shootdowns right between threads', async () => {
    const native = parseTimes(execFileSync(nativeProgram(64), ['-g', 'smp'], { encoding: 'utf8' }))
    const own = parseTimes(await guest.check('bench -g smp', 180_000))
    expect([...own.keys()]).toEqual(['sieve2', 'mutex', 'condvar', 'shootdown'])
    for (const [name, { checksum }] of own)
      expect([name, checksum]).toEqual([name, native.get(name)?.checksum])
  })

  test('takes a CPU offline and online again', async () => {
    await guest.check('echo 0 > /sys/devices/system/cpu/cpu3/online')
    expect(await guest.check('nproc')).toBe(`${CPUS - 1}\n`)
    await guest.check('echo 1 > /sys/devices/system/cpu/cpu3/online')
    expect(await guest.check('nproc')).toBe(`${CPUS}\n`)
  })

  test('counts timer and function-call interrupts on every CPU', async () => {
    const lines = (await guest.check('grep -E "LOC|RES|CAL" /proc/interrupts')).trim().split('\n')
    for (const line of lines.filter((text) => /LOC/.test(text)))
      expect(
        line
          .match(/\b\d+\b/g)
          ?.slice(0, CPUS)
          .map(Number)
          .every((count) => count > 0),
      ).toBe(true)
    expect(lines.length).toBe(3)
  })

  test('has a kernel log without trouble', async () => {
    expect(kernelTrouble(await guest.check('dmesg'))).toEqual([])
  })
})
