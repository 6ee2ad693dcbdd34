/** What a machine costs its host: memory, and CPU time while the guest has nothing to do. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { guestPage } from '#playwright.ts'
import type { GuestPage } from '#playwright.ts'
import { launchChromium, openPage } from './chromium.ts'
import { browserUsage } from './processes.ts'

const MIB = 1 << 20
const IDLE_SECONDS = 10

let browser: Browser
let page: Page
let guest: GuestPage
let emptyRss: number
let emptyShare: number

const sleep = (seconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, seconds * 1000))

/** Part of a core that the browser takes, all of its processes together. */
async function cpuShare(): Promise<number> {
  const before = browserUsage().cpuSeconds
  await sleep(IDLE_SECONDS)
  return (browserUsage().cpuSeconds - before) / IDLE_SECONDS
}

beforeAll(async () => {
  browser = await launchChromium()
  ;({ page } = await openPage(browser))
  await page.goto(`${inject('pageUrl')}?autostart=0&memory=256M`)
  await page.waitForSelector('#start:not([disabled])')
  await sleep(1)
  emptyRss = browserUsage().rssBytes
  emptyShare = await cpuShare()
  await page.click('#start')
  guest = guestPage(page)
  await guest.waitForState('running')
  await guest.waitForPrompt(undefined, 120_000)
})
afterAll(() => browser?.close())

describe.skipIf(process.platform !== 'linux')('a guest of 256 MiB', () => {
  test(`uses less than 3 % of a core while idle`, async () => {
    await sleep(3) // services of the guest finish, the engine's compilers too
    // The browser now and then collects garbage or compiles: one of three windows has to be free of that.
    const shares: number[] = []
    while (shares.length < 3 && !shares.some((share) => share < 0.03))
      shares.push((await cpuShare()) - emptyShare)
    const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
    console.log(
      `idle: ${shares.map(percent).join(', ')} of a core beside ${percent(emptyShare)} without a guest`,
    )
    expect(Math.min(...shares)).toBeLessThan(0.03)
  })

  test('takes less than 450 MiB of the host, even when it has used all of its memory', async () => {
    const booted = browserUsage().rssBytes - emptyRss
    await guest.check('dd if=/dev/zero of=/dev/shm/fill bs=1M count=100 2>&1; free -m')
    await guest.check('cat /dev/zero | head -c 60M | tail -c 1 > /dev/null')
    const used = browserUsage().rssBytes - emptyRss
    console.log(
      `memory: ${(booted / MIB).toFixed(0)} MiB after boot, ${(used / MIB).toFixed(0)} MiB when full`,
    )
    // The guest has touched this much at least: a measurement that misses shared memory would be below it.
    expect(used).toBeGreaterThan(160 * MIB)
    expect(used).toBeLessThan(450 * MIB)
  })
})
