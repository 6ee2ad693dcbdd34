/** 32-bit guests: Debian's 686 kernel without PAE paging and 686-pae, in the page and under Node. */
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { openGuest } from '#playwright.ts'
import { launchChromium, openPage } from './chromium.ts'
import { Cli } from './cli.ts'
import { kernelTrouble } from './kernel-log.ts'

const BOOT_TIMEOUT_MS = 180_000

let browser: Browser

beforeAll(async () => {
  browser = await launchChromium()
})
afterAll(() => browser?.close())

describe('in Chromium', () => {
  // 686 comes as a compressed bzImage, entered in 32-bit mode; 686-pae as vmlinux by PVH.
  test.each([
    { boot: 'i386-686', release: /-686\n$/, pae: '0' },
    { boot: 'i386-686-pae', release: /-686-pae\n$/, pae: '1' },
  ])('$boot boots to a shell on 2 vCPUs', async ({ boot, release, pae }) => {
    const { page, errors } = await openPage(browser)
    try {
      const guest = await openGuest(page, { url: inject('pageUrl'), boot })
      await guest.waitForPrompt(undefined, BOOT_TIMEOUT_MS)
      expect(await guest.check('uname -m')).toBe('i686\n')
      expect(await guest.check('uname -r')).toMatch(release)
      expect(await guest.check('nproc')).toBe('2\n')
      expect(await guest.check('cat /proc/cmdline')).toContain('no_timer_check')
      // "NX (Execute Disable) protection: active" needs PAE page tables.
      expect((await guest.check('dmesg | grep -c "protection: active" || true')).trim()).toBe(pae)
      expect(kernelTrouble(await guest.check('dmesg'))).toEqual([])
      await guest.send('poweroff\n')
      await guest.waitForState('stopped')
      expect(errors).toEqual([])
    } finally {
      await page.close()
    }
  })
})

describe('under Node', () => {
  test('686-pae boots from its compressed image and powers off with status 0', async () => {
    const cli = new Cli(['run', '--guest', 'i386-686-pae-bzimage', '--cpus', '1'])
    try {
      await cli.waitFor('webkvm:~# ', BOOT_TIMEOUT_MS)
      expect(await cli.shell('uname -m; nproc')).toBe('i686\n1\n')
      cli.send('poweroff\n')
      expect((await cli.end()).status).toBe(0)
    } finally {
      await cli.stop()
    }
  })
})
