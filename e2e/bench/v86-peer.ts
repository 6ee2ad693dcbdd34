/** v86 from npm, in Chromium: a 32-bit machine with one CPU. */
import { createReadStream, existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import type { Browser } from 'playwright-core'

import { browserUsage } from '../processes.ts'
import { ROOT } from './guest-image.ts'
import { ConsoleLog } from './peer.ts'
import type { BootImage, Peer } from './peer.ts'

const PACKAGE = path.join(ROOT, 'node_modules/v86/build')
const SEABIOS = '/usr/share/seabios'

interface V86Globals {
  readonly V86: new (options: object) => {
    add_listener(name: string, listener: (byte: number) => void): void
    serial0_send(text: string): void
  }
  emulator: { serial0_send(text: string): void }
  onSerial(text: string): void
}

const TYPES: Readonly<Record<string, string>> = { '.js': 'text/javascript', '.wasm': 'application/wasm' }

/** Serves v86, its BIOS and the guest's files on a loopback port. */
function v86Server(image: BootImage): Server {
  const files: Record<string, string> = {
    '/libv86.js': path.join(PACKAGE, 'libv86.js'),
    '/v86.wasm': path.join(PACKAGE, 'v86.wasm'),
    '/bios.bin': path.join(SEABIOS, 'bios.bin'),
    '/vgabios.bin': path.join(SEABIOS, 'vgabios-stdvga.bin'),
    '/kernel': image.kernel,
    '/initrd': image.initrd,
  }
  return createServer((request, response) => {
    const file = files[request.url ?? '']
    if (file !== undefined && existsSync(file)) {
      response.setHeader('content-type', TYPES[path.extname(file)] ?? 'application/octet-stream')
      createReadStream(file).pipe(response)
    } else if (request.url === '/') {
      response.setHeader('content-type', 'text/html')
      response.end('<script src="libv86.js"></script>')
    } else {
      response.statusCode = 404
      response.end()
    }
  })
}

/** Runs in the page. */
function startV86({ append, memoryMiB }: { readonly append: string; readonly memoryMiB: number }): void {
  const globals = globalThis as unknown as V86Globals
  const emulator = new globals.V86({
    wasm_path: 'v86.wasm',
    memory_size: memoryMiB * 1048576,
    bios: { url: 'bios.bin' },
    vga_bios: { url: 'vgabios.bin' },
    bzimage: { url: 'kernel' },
    initrd: { url: 'initrd' },
    cmdline: append,
    acpi: true,
    autostart: true,
    disable_keyboard: true,
    disable_mouse: true,
  })
  globals.emulator = emulator
  let pending = ''
  emulator.add_listener('serial0-output-byte', (byte) => {
    if (pending === '')
      setTimeout(() => {
        globals.onSerial(pending)
        pending = ''
      }, 5)
    pending += String.fromCharCode(byte)
  })
}

export async function bootV86(browser: Browser, image: BootImage): Promise<Peer> {
  const server = v86Server(image)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const page = await browser.newPage()
  const console = new ConsoleLog()
  await page.exposeFunction('onSerial', (text: string) => console.add(text))
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  const started = performance.now()
  await page.evaluate(startV86, { append: image.append, memoryMiB: image.memoryMiB })
  await console.wait(image.prompt, 240_000, 0)
  return {
    bootMs: performance.now() - started,
    cpuMs: () => browserUsage().cpuSeconds * 1000,
    async run(command, done, timeoutMs) {
      const output = console.wait(done, timeoutMs)
      await page.evaluate(
        (text) => (globalThis as unknown as V86Globals).emulator.serial0_send(text),
        `${command}\n`,
      )
      return output
    },
    async close() {
      await page.close()
      server.close()
    },
  }
}
