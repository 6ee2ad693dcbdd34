/** Four vCPUs, each a worker: they come up, each can run a program, wake each other and see each other's memory. */
import { execFileSync } from 'node:child_process'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { guestPage } from '#playwright.ts'
import type { GuestPage } from '#playwright.ts'
import { buildProgram, kernelsImage } from './bench/guest-image.ts'
import { bootWebkvm } from './bench/webkvm-peer.ts'
import { launchChromium } from './chromium.ts'
import { kernelTrouble } from './kernel-log.ts'

const CPUS = 4
/** Of the benchmark program for several processors; it knows more. */
const KERNELS = ['sieve-2', 'mutex', 'spinlock', 'condvar', 'mprotect', 'munmap', 'fork-2']

const checksums = (output: string): string[] =>
  [...output.matchAll(/^([a-z0-9-]+) [\d.]+ ([0-9a-f]{8})\r?$/gm)].map(([, name, sum]) => `${name} ${sum}`)

let browser: Browser
let guest: GuestPage

beforeAll(async () => {
  browser = await launchChromium()
  const peer = await bootWebkvm(browser, inject('pageUrl'), {
    ...kernelsImage(64, CPUS),
    append: 'console=ttyS0 quiet',
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
    const native = checksums(execFileSync(buildProgram('smp', 64), KERNELS, { encoding: 'utf8' }))
    expect(native.length).toBe(KERNELS.length)
    expect(checksums(await guest.check(`smp ${KERNELS.join(' ')}`, 180_000))).toEqual(native)
  })

  test('lets Linux use what KVM offers several vCPUs', async () => {
    const log = await guest.check('dmesg')
    for (const line of [
      'KVM setup pv remote TLB flush',
      'setup PV sched yield',
      'PV spinlocks enabled',
      'setup PV IPIs',
    ])
      expect(log).toContain(line)
  })

  // Twelve threads that spin or take turns on four vCPUs, which most test machines have too few cores for: whoever
  // holds a lock gets to run all the same. What goes wrong shows in the kernel log, below.
  test('gets through spinning threads, more than it has vCPUs', async () => {
    const kernels = ['spinlock', 'barrier', 'mutex-long', 'futex-pinned', 'mprotect']
    const six = `for i in 1 2 3 4 5 6; do smp ${kernels.join(' ')} > /tmp/smp$i & done; wait; cat /tmp/smp?`
    const done = checksums(await guest.check(six, 200_000))
    expect(done.length).toBe(6 * kernels.length)
    expect(new Set(done).size).toBe(kernels.length)
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
