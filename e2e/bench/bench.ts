/**
 * npm run bench: webkvm in Chromium beside QEMU TCG (native process) and v86 (Chromium, 32-bit guest), on this
 * machine, in one run, on the same kernels and the same benchmark program.
 *
 *   npm run bench                     boot times, exits by kind, MIPS, all kernels
 *   npm run bench -- --boot           boot times and exits only
 *   npm run bench -- --only sieve,fib those kernels
 *   npm run bench -- --peers qemu     fewer peers (qemu, v86, native)
 */
import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import type { Browser } from 'playwright-core'
import { build, preview } from 'vite'

import { launchChromium } from '../chromium.ts'
import { ROOT, benchInitrd, nativeProgram } from './guest-image.ts'
import type { Bits } from './guest-image.ts'
import { parseTimes } from './peer.ts'
import type { BootImage, KernelTime, Peer } from './peer.ts'
import { bootQemu } from './qemu-peer.ts'
import { bootV86 } from './v86-peer.ts'
import { bootWebkvm } from './webkvm-peer.ts'

const APPEND = 'console=ttyS0 quiet mitigations=off tsc=reliable cryptomgr.notests no_timer_check'
const KERNEL_TIMEOUT_MS = 600_000
/** Kernels whose instruction rate is the headline figure: integer loops without system calls. */
const INTEGER_LOOPS = ['sieve', 'quicksort', 'crc32', 'sha256']

const { values } = parseArgs({
  options: { boot: { type: 'boolean' }, only: { type: 'string' }, peers: { type: 'string' } },
})
const wantedPeers = new Set((values.peers ?? 'qemu,v86,native').split(','))
const program = values.only === undefined ? 'bench' : `bench ${values.only.replaceAll(',', ' ')}`

function image(bits: Bits, cpuCount: number): BootImage {
  const guest = bits === 64 ? 'default' : 'i386'
  return {
    kernel: path.join(ROOT, '.cache/guests', guest, bits === 64 ? 'vmlinux' : 'bzImage-686'),
    initrd: benchInitrd(guest, bits),
    append: APPEND,
    memoryMiB: 256,
    cpus: cpuCount,
    prompt: 'webkvm:~# ',
  }
}

type Times = Map<string, KernelTime>

async function measure(peer: Peer): Promise<Times> {
  if (values.boot === true) return new Map()
  return parseTimes(await peer.run(program, 'bench-done\r\n', KERNEL_TIMEOUT_MS))
}

async function withPeer<T>(boot: () => Promise<Peer>, use: (peer: Peer) => Promise<T>): Promise<T> {
  const peer = await boot()
  try {
    return await use(peer)
  } finally {
    await peer.close()
  }
}

function native(bits: Bits): Times {
  const args = program.split(' ').slice(1)
  return parseTimes(execFileSync(nativeProgram(bits), args, { encoding: 'utf8' }))
}

interface Column {
  readonly name: string
  readonly bootMs: number | undefined
  readonly times: Times
}

function printTable(title: string, columns: readonly Column[]): void {
  const [own, ...peers] = columns
  if (own === undefined) return
  console.log(`\n## ${title}\n`)
  console.log(
    `| | ${columns.map(({ name }) => name).join(' | ')} | ${peers.map(({ name }) => `${name} / webkvm`).join(' | ')} |`,
  )
  console.log(`|---|${columns.map(() => '---:').join('|')}|${peers.map(() => '---:').join('|')}|`)
  const cell = (ms: number | undefined): string => (ms === undefined ? '-' : `${ms.toFixed(1)} ms`)
  const ratio = (ms: number | undefined, mine: number | undefined): string =>
    ms === undefined || mine === undefined ? '-' : (ms / mine).toFixed(2)
  console.log(
    `| boot to the prompt | ${columns.map(({ bootMs }) => cell(bootMs)).join(' | ')} | ${peers.map(({ bootMs }) => ratio(bootMs, own.bootMs)).join(' | ')} |`,
  )
  for (const [name, mine] of own.times) {
    const cells = columns.map(({ times }) => cell(times.get(name)?.ms))
    const ratios = peers.map(({ times }) => ratio(times.get(name)?.ms, mine.ms))
    const wrong = columns.some(({ times }) => (times.get(name)?.checksum ?? mine.checksum) !== mine.checksum)
    console.log(
      `| ${name}${wrong ? ' **checksums differ**' : ''} | ${cells.join(' | ')} | ${ratios.join(' | ')} |`,
    )
  }
  for (const peer of peers) {
    const ratios = [...own.times].flatMap(([name, mine]) => {
      const theirs = peer.times.get(name)
      return theirs === undefined || mine.ms === 0 || theirs.ms === 0 ? [] : [theirs.ms / mine.ms]
    })
    if (ratios.length === 0) continue
    const mean = Math.exp(ratios.reduce((sum, value) => sum + Math.log(value), 0) / ratios.length)
    console.log(
      `\ngeometric mean of ${ratios.length} kernels, ${peer.name} / webkvm: ${mean.toFixed(2)} (above 1: webkvm is faster)`,
    )
  }
}

async function benchOwn(browser: Browser, url: string, bits: Bits): Promise<Column> {
  const peer = await bootWebkvm(browser, url, image(bits, 2))
  try {
    const exits = await peer.counters()
    console.log(`\nwebkvm ${bits}-bit boot: exits by kind ${JSON.stringify(exits)}`)
    if (values.boot !== true) {
      const before = await peer.progress()
      await peer.run(`bench ${INTEGER_LOOPS.join(' ')}`, 'bench-done\r\n', KERNEL_TIMEOUT_MS)
      const after = await peer.progress()
      const mips = (after.instructions - before.instructions) / ((after.atNs - before.atNs) / 1e3)
      console.log(`webkvm ${bits}-bit integer loops (${INTEGER_LOOPS.join(', ')}): ${mips.toFixed(0)} MIPS`)
    }
    return { name: 'webkvm', bootMs: peer.bootMs, times: await measure(peer) }
  } finally {
    await peer.close()
  }
}

async function main(): Promise<void> {
  console.log(`${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores, Node ${process.version}`)
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
    console.log(`Chromium ${browser.version()}`)
    const columns64: Column[] = [await benchOwn(browser, url, 64)]
    const asColumn = async (peer: Peer): Promise<Column> => ({
      name: peer.name,
      bootMs: peer.bootMs,
      times: await measure(peer),
    })
    if (wantedPeers.has('qemu')) columns64.push(await withPeer(() => bootQemu(image(64, 2)), asColumn))
    if (wantedPeers.has('native'))
      columns64.push({
        name: 'native',
        bootMs: undefined,
        times: values.boot === true ? new Map() : native(64),
      })
    printTable('64-bit guest, Debian cloud amd64', columns64)

    const columns32: Column[] = [await benchOwn(browser, url, 32)]
    if (wantedPeers.has('qemu')) columns32.push(await withPeer(() => bootQemu(image(32, 2)), asColumn))
    if (wantedPeers.has('v86')) columns32.push(await withPeer(() => bootV86(browser, image(32, 1)), asColumn))
    printTable('32-bit guest, Debian 686', columns32)
  } finally {
    await browser.close()
    await server.close()
  }
}

await main()
