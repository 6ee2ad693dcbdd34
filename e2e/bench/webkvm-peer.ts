/** webkvm itself: the production page in Chromium, through the "own kernel" form as a user would. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { Browser, Page } from 'playwright-core'

import type { MachineStats } from '#machine/stats.ts'
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
  counters(): Promise<Readonly<Record<string, number>>>
  /** Guest instructions retired so far, and host ns. */
  progress(): Promise<{ instructions: number; atNs: number }>
}

/** Fills in the form for one's own kernel; the Start button is left to the caller. */
async function fillForm(page: Page, url: string, image: BootImage): Promise<void> {
  await page.goto(`${url}?autostart=0`)
  await page.waitForSelector('#own-start:not([disabled])', { state: 'attached' })
  await page.locator('#own summary').click()
  const file = (name: string): { name: string; mimeType: string; buffer: Buffer } => ({
    name: path.basename(name),
    mimeType: 'application/octet-stream',
    buffer: readFileSync(name),
  })
  await page.setInputFiles('#own-kernel', file(image.kernel))
  await page.setInputFiles('#own-initrd', file(image.initrd))
  await page.fill('#own-append', image.append)
  await page.fill('#memory', `${image.memoryMiB}M`)
  await page.fill('#cpus', String(image.cpus))
}

export async function bootWebkvm(browser: Browser, url: string, image: BootImage): Promise<WebkvmPeer> {
  const page = await browser.newPage()
  await fillForm(page, url, image)
  const started = performance.now()
  await page.click('#own-start')
  await page.waitForFunction(
    () =>
      (globalThis as PageGlobals).webkvm?.machine?.state === 'running' ||
      !(document.getElementById('error')?.hidden ?? true),
    undefined,
    { timeout: 60_000, polling: 20 },
  )
  const failure = await page.evaluate(() =>
    document.getElementById('error')?.hidden === false ? document.getElementById('error')?.textContent : null,
  )
  if (failure !== null && failure !== undefined) throw new Error(`the page could not boot: ${failure}`)
  await page.evaluate(
    (prompt) =>
      (globalThis as PageGlobals).webkvm?.machine?.console.waitForText(prompt, { timeoutMs: 180_000 }),
    image.prompt,
  )
  const bootMs = performance.now() - started
  return {
    name: 'webkvm',
    page,
    bootMs,
    run: (command, done, timeoutMs) =>
      page.evaluate(
        async (job) => {
          const { machine } = (globalThis as PageGlobals).webkvm ?? {}
          if (machine === undefined) throw new Error('no machine runs in this page')
          const from = machine.console.mark
          const kept = machine.console.output.length
          machine.console.send(`${job.command}\n`)
          await machine.console.waitForText(job.done, { timeoutMs: job.timeoutMs, from })
          return machine.console.output.slice(kept)
        },
        { command, done, timeoutMs },
      ),
    counters: () =>
      page.evaluate(() => (globalThis as PageGlobals).webkvm?.machine?.stats().exitsByKind ?? {}),
    progress: () =>
      page.evaluate(() => {
        const stats = (globalThis as PageGlobals).webkvm?.machine?.stats()
        return { instructions: stats?.instructions ?? 0, atNs: stats?.atNs ?? 0 }
      }),
    close: () => page.close(),
  }
}
