/**
 * Guests with the JIT off, on, and from the first branch on: at threshold 1 nearly everything is compiled, most of it to run
 * once.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { Cli, ScratchDir } from './cli.ts'
import { buildKernel, checks } from './kernel-image.ts'
import { kernelTrouble } from './kernel-log.ts'

const BOOT_TIMEOUT_MS = 120_000
const STATUS_PASSED = 1

const scratch = new ScratchDir()
const running: Cli[] = []
afterEach(async () => {
  for (const cli of running.splice(0)) await cli.stop()
})
afterAll(() => scratch.remove())

function run(...args: string[]): Cli {
  const cli = new Cli(['run', ...args])
  running.push(cli)
  return cli
}

/** Work of several kinds, with answers that are known. */
const SCRIPT = [
  'i=0; s=0; while [ $i -lt 20000 ]; do s=$((s + i * i)); i=$((i + 1)); done; echo $s',
  'dd if=/dev/zero bs=64k count=64 2>/dev/null | sha256sum',
  'seq 1 20000 | sort -rn | head -3',
].join('; ')
const ANSWERS = [
  '2666466670000',
  'bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8  -',
  '20000',
  '19999',
  '19998',
  '',
].join('\n')

/** By --jit: of the instructions of boot and script, at least so many in compiled code. */
const COMPILED_SHARES = { off: 0, on: 0.3, 1: 0.7 } as const

/** Of the instructions that --stats prints, those in compiled code. */
function compiledShare(stats: string): number {
  const count = (name: string): number => Number(new RegExp(`^ *${name} +(\\d+)$`, 'm').exec(stats)?.[1] ?? 0)
  return count('compiled') / count('instructions')
}

describe.each(['default', 'i386-686-pae'])('%s', (guest) => {
  test.each(Object.entries(COMPILED_SHARES))('boots and computes with --jit %s', async (jit, share) => {
    const cli = run('--guest', guest, '--jit', jit, '--stats')
    await cli.waitFor('webkvm:~# ', BOOT_TIMEOUT_MS)
    expect(await cli.shell(SCRIPT)).toBe(ANSWERS)
    expect(kernelTrouble(await cli.shell('dmesg'))).toEqual([])
    cli.send('poweroff\n')
    expect((await cli.end()).status).toBe(0)
    const compiled = compiledShare(cli.stderr)
    if (jit === 'off') expect(compiled).toBe(0)
    else expect(compiled).toBeGreaterThan(share)
  })
})

describe.skipIf(process.arch !== 'x64')('a kernel on bare metal, at threshold 1', () => {
  const KERNELS = { boot: [32, 2], faults: [32, 1], tasks: [32, 1], modes: [32, 1], long: [64, 1] } as const
  const images = new Map<string, string>()

  beforeAll(async () => {
    for (const [name, [bits]] of Object.entries(KERNELS))
      images.set(name, await buildKernel(name, bits, scratch.path))
  })

  test.each(Object.entries(KERNELS))('%s passes its checks', async (name, [, cpus]) => {
    const machine = ['--cpus', String(cpus), '--memory', '64M', '--cpu', 'max', '--test-devices']
    const modules = `${scratch.file('mod1', 'first file\n')},${scratch.file(
      'mod2',
      Uint8Array.from({ length: 5000 }, (_, i) => i % 251),
    )} second line`
    const boot = ['--kernel', images.get(name) ?? '', '--append', 'alpha=1 beta', '--module', modules]
    const cli = run(...machine, ...boot, '--jit', '1', '--timeout', '60')
    const { status } = await cli.end(90_000)
    const lines = checks(cli.stdout)
    expect(lines.filter((line) => !line.startsWith('PASS '))).toEqual([])
    expect(cli.stdout, cli.tail()).toMatch(/^DONE$/m)
    expect(lines.length).toBeGreaterThan(15)
    expect(status).toBe(STATUS_PASSED)
  })
})

test('a threshold that is no power of two is refused', async () => {
  const cli = run('--guest', 'default', '--jit', '3')
  expect((await cli.end()).status).toBe(2)
  expect(cli.stderr).toMatch(/jit.threshold: 3 is no power of two/)
})
