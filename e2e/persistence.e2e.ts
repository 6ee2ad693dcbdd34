/** Disks that survive a reload: what a guest writes is kept in the browser and found again by the next machine. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'

import { guestPage } from '#playwright.ts'
import type { GuestPage } from '#playwright.ts'
import { launchChromium, openPage } from './chromium.ts'

const GUEST = path.resolve(import.meta.dirname, '../.cache/guests/default')
const APPEND = 'console=ttyS0 quiet mitigations=off tsc=reliable cryptomgr.notests no_timer_check'

let browser: Browser
let page: Page

beforeAll(async () => {
  browser = await launchChromium()
  ;({ page } = await openPage(browser))
})
afterAll(() => browser?.close())

/** Loads the page anew and boots the default kernel with an 8 MiB disk made of one byte value. */
async function boot(): Promise<GuestPage> {
  await page.goto(`${inject('pageUrl')}?autostart=0`)
  await page.locator('#own summary').click()
  const file = (name: string, buffer: Buffer): { name: string; mimeType: string; buffer: Buffer } => ({
    name,
    mimeType: 'application/octet-stream',
    buffer,
  })
  await page.setInputFiles('#own-kernel', file('vmlinux', readFileSync(path.join(GUEST, 'vmlinux'))))
  await page.setInputFiles('#own-initrd', file('initrd', readFileSync(path.join(GUEST, 'initrd.cpio'))))
  await page.setInputFiles('#own-disk', file('scratch.img', Buffer.alloc(8 * 1048576, 0x41)))
  await page.fill('#own-append', APPEND)
  await page.click('#own-start')
  const guest = guestPage(page)
  await guest.waitForState('running')
  await guest.waitForPrompt('webkvm:~# ', 120_000)
  return guest
}

test('a file written to a disk is there after the page was reloaded, until it is forgotten', async () => {
  const first = await boot()
  await first.check(
    'mke2fs -q /dev/vda && mount -t ext4 /dev/vda /mnt && seq 1 5000 > /mnt/kept && umount /mnt',
  )

  const second = await boot()
  await second.check('mount -t ext4 /dev/vda /mnt')
  expect(await second.check('md5sum < /mnt/kept')).toBe(await second.check('seq 1 5000 | md5sum'))
  await second.check('umount /mnt')

  await page.click('#power-off')
  await second.waitForState('stopped')
  await page.click('#own-forget')
  const third = await boot()
  expect(await third.check('head -c 4 /dev/vda')).toBe('AAAA')
})
