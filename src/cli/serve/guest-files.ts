/**
 * Serves `.cache/guests` under /guests/, with byte ranges: a disk image is read block by block, never as a whole.
 * Source: RFC 9110, "Range Requests". One range per request; anything else is answered with the whole file,
 * which the RFC allows.
 */
import { createReadStream, statSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import path from 'node:path'

export type ByteRange = { readonly start: number; readonly end: number }

/**
 * The range a header asks for, `end` inclusive; undefined for none or one we do not serve; 'unsatisfiable' for
 * one that lies outside the file.
 */
export function parseRange(
  header: string | undefined,
  sizeBytes: number,
): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=(?<first>\d*)-(?<last>\d*)$/u.exec(header?.trim() ?? '')
  const { first = '', last = '' } = match?.groups ?? {}
  if (match === null || (first === '' && last === '')) return undefined
  if (first === '') {
    const lenBytes = Math.min(Number(last), sizeBytes)
    return lenBytes === 0 ? 'unsatisfiable' : { start: sizeBytes - lenBytes, end: sizeBytes - 1 }
  }
  const start = Number(first)
  const end = last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1)
  if (start >= sizeBytes) return 'unsatisfiable'
  return end < start ? undefined : { start, end }
}

type Next = () => void

/** Middleware for paths below the prefix (which the server has stripped from `request.url`). */
export function guestFiles(
  rootDir: string,
): (request: IncomingMessage, response: ServerResponse, next: Next) => void {
  return (request, response, next) => {
    const file = resolveInside(rootDir, request.url ?? '/')
    const stat = file === undefined ? undefined : statSync(file, { throwIfNoEntry: false })
    if (file === undefined || !stat?.isFile()) {
      // Never the page's own HTML under a 200, which a fetch for a kernel would take for the kernel.
      response.writeHead(404, { 'Content-Type': 'text/plain' }).end('no such guest file\n')
      return
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      next()
      return
    }
    sendFile(request, response, file, stat.size, stat.mtimeMs)
  }
}

function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  file: string,
  sizeBytes: number,
  mtimeMs: number,
): void {
  const etag = `"${sizeBytes.toString(16)}-${Math.trunc(mtimeMs).toString(16)}"`
  response.setHeader('Content-Type', file.endsWith('.json') ? 'application/json' : 'application/octet-stream')
  response.setHeader('Accept-Ranges', 'bytes')
  response.setHeader('ETag', etag)
  response.setHeader('Cache-Control', 'no-cache') // kept, but asked for each time: guests are rebuilt in place
  if (request.headers['if-none-match'] === etag) {
    response.writeHead(304).end()
    return
  }
  const ifRange = request.headers['if-range']
  const range =
    ifRange === undefined || ifRange === etag ? parseRange(request.headers.range, sizeBytes) : undefined
  if (range === 'unsatisfiable') {
    response.writeHead(416, { 'Content-Range': `bytes */${sizeBytes}` }).end()
    return
  }
  const { start, end } = range ?? { start: 0, end: sizeBytes - 1 }
  if (range !== undefined) response.setHeader('Content-Range', `bytes ${start}-${end}/${sizeBytes}`)
  response.writeHead(range === undefined ? 200 : 206, { 'Content-Length': end - start + 1 })
  if (request.method === 'HEAD' || sizeBytes === 0) {
    response.end()
    return
  }
  const stream = createReadStream(file, { start, end })
  stream.on('error', (error) => response.destroy(error))
  response.on('close', () => stream.destroy())
  stream.pipe(response)
}

function resolveInside(rootDir: string, url: string): string | undefined {
  const name = decodeSafely(url.replace(/[?#].*$/u, ''))
  if (name === undefined || name.includes('\0')) return undefined
  const file = path.join(rootDir, name)
  return file.startsWith(rootDir + path.sep) ? file : undefined
}

function decodeSafely(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
