/** The built page on a host that sends no special headers: the service worker makes it cross-origin isolated. */
import { createReadStream, existsSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { launchChromium, openPage } from './chromium.ts'

const PAGE = path.resolve(import.meta.dirname, '../dist/page')
const TYPES: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
}

let server: Server
let browser: Browser
let url: string

beforeAll(async () => {
  server = createServer((request, response) => {
    const name = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname)
    const file = path.join(PAGE, name.endsWith('/') ? `${name}index.html` : name)
    if (!file.startsWith(PAGE) || !existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404).end()
      return
    }
    response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' })
    createReadStream(file).pipe(response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  browser = await launchChromium()
})
afterAll(async () => {
  await browser?.close()
  server?.close()
})

test('the page reloads itself once and is then isolated and ready', async () => {
  const { page, errors } = await openPage(browser)
  await page.goto(`${url}?autostart=0`)
  await page.waitForFunction(() => globalThis.crossOriginIsolated, undefined, { timeout: 30_000 })
  await page.waitForSelector('#start:not([disabled])', { timeout: 30_000 })
  expect(await page.isHidden('#error')).toBe(true)
  expect(errors).toEqual([])
})

test('without service workers the page names what is missing and the remedy', async () => {
  const context = await browser.newContext({ serviceWorkers: 'block' })
  const page = await context.newPage()
  await page.goto(`${url}?autostart=0`)
  await page.waitForSelector('#error:not([hidden])', { timeout: 30_000 })
  expect(await page.textContent('#error')).toMatch(/SharedArrayBuffer[\s\S]*Cross-Origin-Opener-Policy/)
  await context.close()
})
