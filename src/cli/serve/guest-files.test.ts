import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { guestFiles, parseRange } from './guest-files.ts'

describe('parseRange', () => {
  test.each([
    ['bytes=0-3', { start: 0, end: 3 }],
    ['bytes=4-', { start: 4, end: 9 }],
    ['bytes=-3', { start: 7, end: 9 }],
    ['bytes=-99', { start: 0, end: 9 }],
    ['bytes=8-99', { start: 8, end: 9 }],
    ['bytes=10-', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=5-2', undefined],
    ['bytes=0-1,4-5', undefined],
    ['lines=0-1', undefined],
    [undefined, undefined],
  ])('%s of ten bytes', (header, want) => {
    expect(parseRange(header, 10)).toEqual(want)
  })
})

describe('guestFiles', () => {
  let server: Server
  let dir: string
  let base: string

  beforeAll(async () => {
    dir = mkdtempSync(path.join(tmpdir(), 'guest-files-'))
    writeFileSync(path.join(dir, 'disk.img'), '0123456789')
    const serve = guestFiles(dir)
    server = createServer((request, response) =>
      serve(request, response, () => response.writeHead(405).end()),
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })

  afterAll(() => {
    server.close()
    rmSync(dir, { recursive: true })
  })

  test('serves a whole file and says that it takes ranges', async () => {
    const response = await fetch(`${base}/disk.img`)
    expect(response.status).toBe(200)
    expect(response.headers.get('accept-ranges')).toBe('bytes')
    expect(await response.text()).toBe('0123456789')
  })

  test('serves a range as 206 with its place in the file', async () => {
    const response = await fetch(`${base}/disk.img`, { headers: { Range: 'bytes=2-4' } })
    expect(response.status).toBe(206)
    expect(response.headers.get('content-range')).toBe('bytes 2-4/10')
    expect(await response.text()).toBe('234')
  })

  test('refuses a range beyond the end', async () => {
    const response = await fetch(`${base}/disk.img`, { headers: { Range: 'bytes=10-' } })
    expect(response.status).toBe(416)
    expect(response.headers.get('content-range')).toBe('bytes */10')
  })

  test('answers the whole file when If-Range names another version', async () => {
    const headers = { Range: 'bytes=2-4', 'If-Range': '"other"' }
    expect((await fetch(`${base}/disk.img`, { headers })).status).toBe(200)
  })

  test.each(['/nothing', '/%2e%2e/secret', '/..%2f..%2fetc/passwd', '/%', '/'])(
    'answers 404 for %s',
    async (name) => {
      const response = await fetch(base + name)
      expect(response.status).toBe(404)
    },
  )
})
