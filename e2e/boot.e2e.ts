/** The main job: a page boots Debian's amd64 kernel to a shell where one can work. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { openGuest } from '#playwright.ts'
import type { GuestPage } from '#playwright.ts'
import { launchChromium, openPage } from './chromium.ts'

/** What a kernel prints when something is wrong with the machine under it. */
const KERNEL_TROUBLE =
  /WARNING:|BUG:|Oops|Call Trace|rcu_sched|soft lockup|unchecked MSR|segfault|TSC.*unstable/

let browser: Browser
let page: Page
let errors: string[]
let guest: GuestPage

beforeAll(async () => {
  browser = await launchChromium()
  ;({ page, errors } = await openPage(browser))
  guest = await openGuest(page, { url: inject('pageUrl') })
  await guest.waitForPrompt(undefined, 120_000)
})

afterAll(() => browser?.close())

describe('the page', () => {
  test('has brought up both vCPUs', async () => {
    expect(await guest.check('nproc')).toBe('2\n')
    expect((await guest.check('grep -c ^processor /proc/cpuinfo')).trim()).toBe('2')
  })

  test("runs a 64-bit kernel that is Debian's own", async () => {
    expect(await guest.check('uname -m')).toBe('x86_64\n')
    expect(await guest.check('cat /proc/version')).toMatch(/Debian/)
  })

  test('shows a kernel log without trouble', async () => {
    const log = await guest.check('dmesg')
    expect(log).toMatch(/Linux version/)
    expect(log.split('\n').filter((line) => KERNEL_TROUBLE.test(line))).toEqual([])
  })

  test('uses kvm-clock', async () => {
    expect(await guest.check('cat /sys/devices/system/clocksource/clocksource0/current_clocksource')).toBe(
      'kvm-clock\n',
    )
  })

  test('shows what is typed and what the guest answers', async () => {
    await page.locator('#terminal').click()
    await page.keyboard.type('echo typed-$((6*7))\n')
    await guest.waitForPrompt('typed-42')
    await expect.poll(() => guest.screenText()).toContain('typed-42')
  })

  test('keeps real time across a pause of 5 s', async () => {
    const clock = async (): Promise<number> => Number(await guest.check('date +%s'))
    const skewBefore = (await clock()) - Date.now() / 1000
    await page.click('#pause')
    await guest.waitForState('paused')
    await new Promise((resolve) => setTimeout(resolve, 5000))
    await page.click('#resume')
    await guest.waitForState('running')
    const skewAfter = (await clock()) - Date.now() / 1000
    expect(Math.abs(skewAfter - skewBefore)).toBeLessThan(1.5)
  })

  test('resets into a second boot', async () => {
    await page.click('#reset')
    await guest.waitForPrompt(undefined, 120_000)
    expect(Number((await guest.check('cat /proc/uptime')).split('.')[0])).toBeLessThan(60)
    expect(await guest.check('nproc')).toBe('2\n')
  })

  test('ends cleanly when the guest powers off', async () => {
    await guest.send('poweroff\n')
    await guest.waitForState('stopped')
    expect(await page.textContent('#status-state')).toBe('stopped')
    expect(errors).toEqual([])
  })
})
