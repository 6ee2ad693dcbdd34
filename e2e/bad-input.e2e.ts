/** Wrong input gives a clear error where the user looks, and the page lives. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'

import { launchChromium, openPage } from './chromium.ts'

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

/** Multiboot image whose code runs at 1 MiB in protected mode. */
function multiboot(code: readonly number[]): Buffer {
  const magic = 0x1bad_b002
  const flags = 0x1_0000
  const load = 0x10_0000
  const words = [magic, flags, -(magic + flags) >>> 0, load, load, 0, 0, load + 32]
  const image = Buffer.alloc(32 + code.length)
  words.forEach((word, i) => image.writeUInt32LE(word >>> 0, i * 4))
  Buffer.from(code).copy(image, 32)
  return image
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
    expect(await bootOwn(multiboot([0xf4]), 'halt')).toMatch(/memory "plenty" is not understood/)
  })
})

describe('the page survives', () => {
  test('a guest that triple-faults, and shows its registers', async () => {
    // lidt [zero limit]; int3
    const message = await bootOwn(
      multiboot([0x0f, 0x01, 0x1d, 0x30, 0x00, 0x10, 0x00, 0xcc, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
      'triple',
    )
    expect(message).toMatch(/triple-faulted/)
    expect(message).toMatch(/rip=.*\n.*rax=/)
    expect(await page.isEnabled('#start')).toBe(true)
  })

  test('a guest that hammers every port', async () => {
    // xor edx,edx; loop: mov al,dl; cmp dx,0x64/0xcf9/0x92 are reset ports: skipped; out; in; inc dx; jnz; hlt
    const code = [
      0x31,
      0xd2, // xor edx, edx
      0x66,
      0x81,
      0xfa,
      0x64,
      0x00,
      0x74,
      0x16, // cmp dx, 0x64; je next
      0x66,
      0x81,
      0xfa,
      0xf9,
      0x0c,
      0x74,
      0x0f, // cmp dx, 0xcf9; je next
      0x66,
      0x81,
      0xfa,
      0x92,
      0x00,
      0x74,
      0x08, // cmp dx, 0x92; je next
      0x31,
      0xc0, // xor eax, eax
      0xee, // out dx, al
      0xec, // in al, dx
      0xef, // out dx, eax
      0xed, // in eax, dx
      0x90,
      0x90,
      0x66,
      0x42, // next: inc dx
      0x75,
      0xdf, // jnz loop
      0xb0,
      0x2a,
      0xba,
      0xe9,
      0x00,
      0x00,
      0x00,
      0xee, // mov al,'*'; out 0xe9
      0xf4,
      0xeb,
      0xfd, // hlt
    ]
    await page.setInputFiles('#own-kernel', {
      name: 'ports',
      mimeType: 'application/octet-stream',
      buffer: multiboot(code),
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
