/** One's own kernel, initramfs and disk in the page: picked, dropped or by address; and the terminal's clipboard. */
import path from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'

import { guestPage } from '#playwright.ts'
import { launchChromium, openPage } from './chromium.ts'
import { printGuest } from './tiny-guests.ts'

const INITRD = path.resolve(import.meta.dirname, '../.cache/guests/default/initrd.cpio')
const BOOT_TIMEOUT_MS = 120_000

let browser: Browser
let page: Page

beforeAll(async () => {
  browser = await launchChromium()
})
afterAll(() => browser?.close())
beforeEach(async () => {
  await page?.close()
  ;({ page } = await openPage(browser))
  await page.goto(`${inject('pageUrl')}?autostart=0`)
})

/** Drops files on the page as a file manager would. */
async function drop(files: readonly { readonly name: string; readonly text: string }[]): Promise<void> {
  await page.evaluate((dropped) => {
    const data = new DataTransfer()
    for (const { name, text } of dropped) {
      const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
      data.items.add(new File([bytes], name))
    }
    document.body.dispatchEvent(
      new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }),
    )
  }, files)
}

test('dropped files land in the form by what they are, and boot', async () => {
  const text = printGuest('dropped and booted').toString('base64')
  await drop([
    { name: 'kernel', text },
    { name: 'initrd.img', text: btoa('initrd') },
    { name: 'root.squashfs', text: btoa('x'.repeat(512)) },
  ])
  const names = await page.evaluate(() =>
    ['own-kernel', 'own-initrd', 'own-disk'].map(
      (id) => (document.getElementById(id) as HTMLInputElement).files?.[0]?.name,
    ),
  )
  expect(names).toEqual(['kernel', 'initrd.img', 'root.squashfs'])
  await page.click('#own-start')
  await guestPage(page).waitForPrompt('dropped and booted')
})

test('a kernel and a disk by address boot, with a picked initramfs', async () => {
  const guests = new URL('guests/', inject('pageUrl')).href
  await page.locator('#own summary').click()
  await page.fill('#own-kernel-url', `${guests}large/vmlinux.gz`)
  await page.fill('#own-disk-url', `${guests}large/root.squashfs`)
  await page.setInputFiles('#own-initrd', INITRD)
  await page.fill('#own-append', 'console=ttyS0 quiet root=/dev/vda rootfstype=squashfs')
  await page.fill('#memory', '512M')
  await page.click('#own-start')
  const guest = guestPage(page)
  await guest.waitForState('running')
  await guest.waitForPrompt('webkvm:~# ', BOOT_TIMEOUT_MS)
  expect(await guest.check('which gcc')).toBe('/usr/bin/gcc\n')
})

test('a disk whose server goes away gives an I/O error in the guest and a message on the page, and works again after', async () => {
  const guests = new URL('guests/', inject('pageUrl')).href
  await page.locator('#own summary').click()
  await page.fill('#own-kernel-url', `${guests}default/vmlinux.gz`)
  await page.fill('#own-disk-url', `${guests}default/vmlinux`)
  await page.setInputFiles('#own-initrd', INITRD)
  await page.fill('#own-append', 'console=ttyS0 quiet')
  await page.click('#own-start')
  const guest = guestPage(page)
  await guest.waitForState('running')
  await guest.waitForPrompt('webkvm:~# ', BOOT_TIMEOUT_MS)
  // A place that nothing has read yet, so no cache answers.
  const read = 'dd if=/dev/vda of=/dev/null bs=4096 skip=3000 count=1 2>/dev/null'

  await page.route('**/default/vmlinux', (route) => route.abort('connectionfailed'))
  expect((await guest.run(read)).status).not.toBe(0)
  await page.waitForSelector('#error:not([hidden])')
  expect(await page.textContent('#error')).toMatch(
    /disk0.*cannot reach .*vmlinux: check the address, the connection/,
  )
  expect(await guest.state()).toBe('running')

  await page.unroute('**/default/vmlinux')
  expect((await guest.run(read)).status).toBe(0)
})

describe('the clipboard', () => {
  test('gets selected text by Ctrl+Shift+C and gives it by a paste', async () => {
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
    await page.click('#start')
    const guest = guestPage(page)
    await guest.waitForState('running')
    await guest.waitForPrompt('webkvm:~# ', BOOT_TIMEOUT_MS)
    await guest.check('clear; echo one-word-to-copy')
    const row = page.locator('.xterm-rows > div', { hasText: /^one-word-to-copy/ })
    // The mouse, not the element: xterm.js listens on a layer above its rows.
    const place = (await row.first().boundingBox()) ?? { x: 0, y: 0 }
    await page.mouse.dblclick(place.x + 20, place.y + 8)
    await page.keyboard.press('Control+Shift+C')
    expect(await page.evaluate(() => navigator.clipboard.readText())).toMatch(/^one/)

    await page.evaluate(() => navigator.clipboard.writeText('echo pasted-$((40+2))'))
    await page.locator('#terminal').click()
    await page.keyboard.press('Control+Shift+V')
    await page.keyboard.press('Enter')
    await guest.waitForPrompt('pasted-42')
  })
})
