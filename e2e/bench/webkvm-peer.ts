/** webkvm itself: the production page in Chromium, through the "own kernel" form as a user would. */
import type { Browser, Page } from 'playwright-core'

import type { MachineStats } from '#machine/stats.ts'
import { browserUsage } from '../processes.ts'
import type { BootImage, Peer } from './peer.ts'

interface PageGlobals {
  readonly webkvm?: {
    readonly machine?: {
      readonly state: string
      readonly console: {
        readonly mark: number
        readonly output: string
        send(text: string): void
        waitForText(text: string, options: { timeoutMs: number; from?: number }): Promise<unknown>
      }
      stats(): MachineStats
    }
  }
}

export interface WebkvmPeer extends Peer {
  readonly page: Page
  /** Part of bootMs: until the vCPUs ran. */
  readonly setupMs: number
  stats(): Promise<MachineStats>
}

/** Files take their time where other work fills the cores. */
const PAGE_TIMEOUT_MS = 120_000

/** A page whose form is filled in for these images; pressing Start is left to bootPage(). */
export async function openPage(browser: Browser, url: string, image: BootImage): Promise<Page> {
  const page = await browser.newPage()
  page.setDefaultTimeout(PAGE_TIMEOUT_MS)
  await page.goto(`${url}?autostart=0`)
  await page.waitForSelector('#own-start:not([disabled])', { state: 'attached' })
  await page.locator('#own summary').click()
  await page.setInputFiles('#own-kernel', image.kernel)
  await page.setInputFiles('#own-initrd', image.initrd)
  const [disk, ...more] = image.disks
  if (more.length > 0) throw new Error("the page's form takes one disk")
  if (disk !== undefined) {
    await page.setInputFiles('#own-disk', disk)
    await page.uncheck('#own-keep')
  }
  await page.fill('#own-append', image.append)
  await page.fill('#memory', `${image.memoryMiB}M`)
  await page.fill('#cpus', String(image.cpus))
  return page
}

/** A terminal out of sight paints nothing; neither does a hidden status line. */
const QUIET = '#terminal { position: fixed; left: -20000px } #status { display: none }'

export async function bootPage(page: Page, image: BootImage): Promise<WebkvmPeer> {
  const started = performance.now()
  await page.click('#own-start')
  await page.waitForFunction(
    () =>
      (globalThis as PageGlobals).webkvm?.machine?.state === 'running' ||
      !(document.getElementById('error')?.hidden ?? true),
    undefined,
    { timeout: 60_000, polling: 10 },
  )
  const failure = await page.evaluate(() =>
    document.getElementById('error')?.hidden === false ? document.getElementById('error')?.textContent : null,
  )
  const setupMs = performance.now() - started
  if (failure !== null && failure !== undefined) throw new Error(`the page could not boot: ${failure}`)
  await page.evaluate(
    (prompt) =>
      (globalThis as PageGlobals).webkvm?.machine?.console.waitForText(prompt, { timeoutMs: 180_000 }),
    image.prompt,
  )
  const bootMs = performance.now() - started
  await page.addStyleTag({ content: QUIET })
  return {
    page,
    bootMs,
    setupMs,
    cpuMs: () => browserUsage().cpuSeconds * 1000,
    run: (command, done, timeoutMs) =>
      page.evaluate(
        async (job) => {
          const { machine } = (globalThis as PageGlobals).webkvm ?? {}
          if (machine === undefined) throw new Error('no machine runs in this page')
          const from = machine.console.mark
          machine.console.send(`${job.command}\n`)
          await machine.console.waitForText(job.done, { timeoutMs: job.timeoutMs, from })
          const { output, mark } = machine.console
          // The kept history may have lost its beginning meanwhile.
          return output.slice(Math.max(0, output.length - (mark - from)))
        },
        { command, done, timeoutMs },
      ),
    stats: () =>
      page.evaluate(() => {
        const { machine } = (globalThis as PageGlobals).webkvm ?? {}
        if (machine === undefined) throw new Error('no machine runs in this page')
        return machine.stats()
      }),
    close: () => page.close(),
  }
}

export async function bootWebkvm(browser: Browser, url: string, image: BootImage): Promise<WebkvmPeer> {
  return bootPage(await openPage(browser, url, image), image)
}
