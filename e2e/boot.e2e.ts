/** The main job: a page boots Debian's amd64 kernel to a shell where one can work. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { openGuest } from '#playwright.ts'
import type { GuestPage } from '#playwright.ts'
import { launchChromium, openPage } from './chromium.ts'
import { kernelTrouble } from './kernel-log.ts'

let browser: Browser
let page: Page
let errors: string[]
let guest: GuestPage
let bootMs: number

beforeAll(async () => {
  browser = await launchChromium()
  ;({ page, errors } = await openPage(browser))
  const started = performance.now()
  guest = await openGuest(page, { url: inject('pageUrl') })
  await guest.waitForPrompt(undefined, 120_000)
  bootMs = performance.now() - started
})

afterAll(() => browser?.close())

describe('the page', () => {
  test('has booted in less than 30 s', () => {
    expect(bootMs).toBeLessThan(30_000)
  })

  test('lists what can be booted, the default guest first', async () => {
    expect(await page.locator('#boot-entry option').allTextContents()).toEqual(
      expect.arrayContaining(['Debian 12, 64-bit', 'Debian 12, 64-bit, compressed kernel']),
    )
    expect(await page.inputValue('#boot-entry')).toBe('default')
  })

  test('shows the state, speed and size of the machine', async () => {
    expect(await page.textContent('#status-state')).toBe('running')
    expect(await page.textContent('#status-mips')).toMatch(/^\d+ MIPS$/)
    expect(await page.textContent('#status-cpu')).toMatch(/^host CPU \d+ %$/)
    expect(await page.textContent('#status-exits')).toMatch(/^\d+ exits\/s$/)
    expect(await page.textContent('#status-cpus')).toBe('2 vCPUs, 256 MiB')
  })

  test('has brought up both vCPUs', async () => {
    expect(await guest.check('nproc')).toBe('2\n')
    expect((await guest.check('grep -c ^processor /proc/cpuinfo')).trim()).toBe('2')
  })

  test("runs a 64-bit kernel that is Debian's own", async () => {
    expect(await guest.check('uname -m')).toBe('x86_64\n')
    expect(await guest.check('cat /proc/version')).toMatch(/Debian/)
  })

  test('shows a kernel log without trouble', async () => {
    expect(kernelTrouble(await guest.check('dmesg'))).toEqual([])
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

  test("gives the guest's shell the size of the terminal", async () => {
    const [rows = 0, columns = 0] = (await guest.check('stty size')).split(' ').map(Number)
    const { width, height } = (await page.locator('#terminal').boundingBox()) ?? { width: 0, height: 0 }
    // Cells of a 14 px font are 7 to 10 px wide and 15 to 20 high.
    expect(width / columns).toBeGreaterThan(7)
    expect(width / columns).toBeLessThan(10)
    expect(height / rows).toBeGreaterThan(15)
    expect(height / rows).toBeLessThan(20)
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
    await Promise.all([guest.waitForReset(), page.click('#reset')])
    // Waits for the prompt of the second boot.
    expect(Number((await guest.check('cat /proc/uptime')).split('.')[0])).toBeLessThan(60)
    expect(await guest.check('nproc')).toBe('2\n')
  })

  test('ends cleanly when the guest powers off', async () => {
    await guest.send('poweroff\n')
    await guest.waitForState('stopped')
    expect(await page.textContent('#status-state')).toBe('stopped')
    expect(await guest.screenText()).toContain('[the guest powered off]')
    expect(errors).toEqual([])
  })

  test('starts again', async () => {
    await page.selectOption('#boot-entry', 'default-bzimage')
    await page.click('#start')
    await guest.waitForState('running')
    await guest.waitForPrompt(undefined, 120_000)
    expect(await guest.check('uname -m')).toBe('x86_64\n')
  })

  test('asks the guest to power off when the button is pressed', async () => {
    await page.click('#power-off')
    await guest.waitForState('stopped')
    expect(await page.isEnabled('#start')).toBe(true)
    expect(errors).toEqual([])
  })
})
