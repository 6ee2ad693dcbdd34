/**
 * Litmus tests of x86's memory order (e2e/guests/litmus.c) where it counts: V8 in the browser compiles the engine anew,
 * and its optimiser must not reorder what a guest does. bare-metal.e2e.ts runs the same kernel under Node.
 */
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { launchChromium } from './chromium.ts'
import { ScratchDir } from './cli.ts'
import { buildKernel, checks } from './kernel-image.ts'

interface PageGlobals {
  readonly webkvm?: {
    readonly machine?: {
      readonly console: {
        readonly output: string
        waitForText(pattern: RegExp, options: { timeoutMs: number; from: number }): Promise<unknown>
      }
    }
  }
}

const TIMEOUT_MS = 120_000
const scratch = new ScratchDir()
let browser: Browser

beforeAll(async () => {
  browser = await launchChromium()
})
afterAll(async () => {
  scratch.remove()
  await browser?.close()
})

async function start(kernel: string, cpus: number): Promise<Page> {
  const page = await browser.newPage()
  await page.goto(`${inject('pageUrl')}?autostart=0`)
  await page.waitForSelector('#own-start:not([disabled])', { state: 'attached' })
  await page.locator('#own summary').click()
  await page.setInputFiles('#own-kernel', kernel)
  await page.fill('#memory', '64M')
  await page.fill('#cpus', String(cpus))
  await page.click('#own-start')
  await page.waitForFunction(() => (globalThis as PageGlobals).webkvm?.machine !== undefined)
  return page
}

describe.skipIf(process.arch !== 'x64')('memory order in Chromium', () => {
  // Two vCPUs on cores of their own, and more than most test machines have.
  test.each([2, 4])('%i vCPUs see only what x86 allows', async (cpus) => {
    const page = await start(await buildKernel('litmus', 32, scratch.path), cpus)
    const output = await page.evaluate(async (timeoutMs) => {
      const { webkvm } = globalThis as PageGlobals
      await webkvm?.machine?.console.waitForText(/^DONE/m, { timeoutMs, from: 0 })
      return webkvm?.machine?.console.output ?? ''
    }, TIMEOUT_MS)
    const lines = checks(output)
    expect(lines.filter((line) => line.startsWith('FAIL '))).toEqual([])
    expect(lines.filter((line) => line.startsWith('SKIP ')).length).toBe(cpus < 4 ? 4 : 0)
    expect(lines.length).toBeGreaterThan(60)
    for (const line of output.match(/^NOTE .*$/gm) ?? [])
      console.log(`${cpus} vCPUs: ${line.slice(5).trim()}`)
  })
})
