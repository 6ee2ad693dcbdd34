/**
 * npm run screenshot: boots the larger guest in Chromium, runs a few commands as a user would type them, and writes
 * docs/screenshot.png.
 */
import { statSync } from 'node:fs'
import path from 'node:path'
import { build, preview } from 'vite'

import { openGuest } from '#playwright.ts'
import { launchChromium } from './chromium.ts'

const ROOT = path.resolve(import.meta.dirname, '..')
const FILE = path.join(ROOT, 'docs/screenshot.png')
const MAX_BYTES = 200_000

const COMMANDS = [
  'uname -srvm',
  'grep -m1 "model name" /proc/cpuinfo; nproc; free -m | head -2',
  'cat /sys/devices/system/clocksource/clocksource0/current_clocksource',
  'lsblk -o NAME,SIZE,FSTYPE,MOUNTPOINTS 2>/dev/null | head -4',
  'python3 -c "print(2 ** 200)"',
  `printf '#include <stdio.h>\\nint main(){puts("compiled in a browser tab");}' > a.c && gcc a.c && ./a.out`,
]

await build({ root: ROOT, logLevel: 'warn' })
const server = await preview({
  root: ROOT,
  logLevel: 'warn',
  preview: { host: '127.0.0.1', port: 0, open: false },
})
const url = server.resolvedUrls?.local[0]
if (url === undefined) throw new Error('the preview server gives no address')
const browser = await launchChromium()
try {
  const page = await browser.newPage({ viewport: { width: 1100, height: 640 } })
  const guest = await openGuest(page, { url, boot: 'large' })
  await guest.waitForPrompt(undefined, 180_000)
  await page.locator('#terminal').click()
  for (const command of COMMANDS) {
    await page.keyboard.type(`${command}\n`)
    await guest.waitForPrompt(/webkvm:~# $/, 120_000)
  }
  await page.waitForTimeout(1500) // the status line shows the rates of a whole interval
  await page.screenshot({ path: FILE })
  const { size } = statSync(FILE)
  if (size > MAX_BYTES) throw new Error(`${FILE} has ${size} bytes, more than ${MAX_BYTES}`)
  console.log(`${FILE}: ${size} bytes`)
} finally {
  await browser.close()
  await server.close()
}
