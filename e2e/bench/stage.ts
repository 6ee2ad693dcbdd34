/** The page's production build on a loopback port, and a Chromium that has come to rest. */
import type { Browser } from 'playwright-core'
import { build, preview } from 'vite'

import { launchChromium } from '../chromium.ts'
import { browserUsage } from '../processes.ts'
import { ROOT } from './guest-image.ts'

export interface Stage {
  readonly url: string
  readonly browser: Browser
  close(): Promise<void>
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** A browser that has just started still loads its own start page: that would count as the guest's time. */
const REST_CORES = 0.05
const REST_TIMEOUT_MS = 15_000

async function comeToRest(): Promise<void> {
  const until = performance.now() + REST_TIMEOUT_MS
  while (performance.now() < until) {
    const before = browserUsage().cpuSeconds
    await sleep(1000)
    if (browserUsage().cpuSeconds - before < REST_CORES) return
  }
}

export async function openStage(): Promise<Stage> {
  await build({ root: ROOT, logLevel: 'warn' })
  const server = await preview({
    root: ROOT,
    logLevel: 'warn',
    preview: { host: '127.0.0.1', port: 0, open: false },
  })
  const url = server.resolvedUrls?.local[0]
  if (url === undefined) throw new Error('the preview server gives no address')
  const browser = await launchChromium()
  await comeToRest()
  return {
    url,
    browser,
    async close() {
      await browser.close()
      await server.close()
    },
  }
}
