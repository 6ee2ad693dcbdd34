/** Wrong input gives a clear error where the user looks, and the page lives. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'

import { guestPage, openGuest } from '#playwright.ts'
import { launchChromium, openPage } from './chromium.ts'
import { haltGuest, hammerPortsGuest, tripleFaultGuest } from './tiny-guests.ts'

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
  await page.locator('#own summary').click()
})

async function bootOwn(kernel: Buffer, name: string): Promise<string> {
  await page.setInputFiles('#own-kernel', { name, mimeType: 'application/octet-stream', buffer: kernel })
  await page.click('#own-start')
  await page.waitForSelector('#error:not([hidden])', { timeout: 60_000 })
  return (await page.textContent('#error')) ?? ''
}

describe('the page refuses', () => {
  test('a text file as a kernel', async () => {
    expect(await bootOwn(Buffer.from('just some text\n'), 'notes.txt')).toMatch(
      /not a kernel: it is a text file/,
    )
    expect(await page.isEnabled('#own-start')).toBe(true)
  })

  test('a truncated kernel', async () => {
    const response = await fetch(new URL('guests/default/bzImage', inject('pageUrl')))
    const whole = Buffer.from(await response.arrayBuffer())
    expect(await bootOwn(whole.subarray(0, 100_000), 'bzImage')).toMatch(/bzImage: truncated/)
  })

  test('memory too small for the kernel', async () => {
    const response = await fetch(new URL('guests/default/bzImage', inject('pageUrl')))
    await page.fill('#memory', '8M')
    expect(await bootOwn(Buffer.from(await response.arrayBuffer()), 'bzImage')).toMatch(/at least \d+ MiB/)
  })

  test('an unreachable address', async () => {
    await page.fill('#own-kernel-url', new URL('guests/none/such', inject('pageUrl')).href)
    await page.click('#own-start')
    await page.waitForSelector('#error:not([hidden])')
    expect(await page.textContent('#error')).toMatch(/guests\/none\/such answered 404/)
  })

  test('nonsense for memory', async () => {
    await page.fill('#memory', 'plenty')
    expect(await bootOwn(haltGuest(), 'halt')).toMatch(/memory "plenty" is not understood/)
  })
})

test('the page refuses to boot something else than its address names', async () => {
  const url = inject('pageUrl')
  await expect(openGuest(page, { url, boot: 'nothing' })).rejects.toThrow(
    /could not boot: boot=nothing: there is no such guest image. The address takes one of default,/,
  )
  expect(await guestPage(page).state()).toBe('none')
})

describe('the page survives', () => {
  test('a guest that triple-faults, and shows its registers', async () => {
    const message = await bootOwn(tripleFaultGuest(), 'triple')
    expect(message).toMatch(/triple-faulted/)
    expect(message).toMatch(/rip=.*\n.*rax=/)
    expect(await page.isEnabled('#start')).toBe(true)
  })

  test('a guest that hammers every port', async () => {
    await page.setInputFiles('#own-kernel', {
      name: 'ports',
      mimeType: 'application/octet-stream',
      buffer: hammerPortsGuest(),
    })
    await page.click('#own-start')
    await page.waitForFunction(
      () =>
        (
          globalThis as { webkvm?: { machine?: { stats(): { exitsByKind: Record<string, number> } } } }
        ).webkvm?.machine?.stats().exitsByKind['halt'],
      undefined,
      { timeout: 60_000 },
    )
    expect(await page.textContent('#status-state')).toBe('running')
    expect(await page.isHidden('#error')).toBe(true)
  })
})
