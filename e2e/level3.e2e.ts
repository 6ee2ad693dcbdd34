/**
 * A guest of level x86-64-v3: the kernel saves the upper halves of the vector registers, the C library chooses its AVX2 functions,
 * and a program compiled for that level prints in the guest what it prints on the host.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

import type { GuestManifest } from '#host/guest-manifest.types.ts'
import type { Machine } from '#machine/machine.ts'
import { ScratchDir } from './cli.ts'
import { kernelTrouble } from './kernel-log.ts'
import { BOOT_TIMEOUT_MS, createTestMachine, PROMPT } from './node-machine.ts'

const GUEST = path.resolve(import.meta.dirname, '../.cache/guests/large')
const SOURCE = path.join(import.meta.dirname, 'level3.c')
const SECTOR_BYTES = 512

/** Whether the host can run the program too. */
const hostHasLevel3 =
  process.arch === 'x64' &&
  process.platform === 'linux' &&
  / avx2 /.test(readFileSync('/proc/cpuinfo', 'utf8'))

const scratch = new ScratchDir()
const program = path.join(scratch.path, 'level3')
let machine: Machine

beforeAll(async () => {
  execFileSync('gcc', ['-O2', '-march=x86-64-v3', '-static', '-o', program, SOURCE, '-lm'])
  const bytes = readFileSync(program)
  const disk = new Uint8Array(Math.ceil(bytes.length / SECTOR_BYTES) * SECTOR_BYTES)
  disk.set(bytes)
  const manifest = JSON.parse(readFileSync(path.join(GUEST, 'manifest.json'), 'utf8')) as GuestManifest
  const boot = manifest.boots.find(({ id }) => id === 'large')
  if (boot === undefined) throw new Error('the larger guest has no boot entry "large"')
  machine = await createTestMachine({
    kernel: path.join(GUEST, boot.kernel),
    initrd: path.join(GUEST, 'initrd.cpio'),
    append: boot.append,
    disks: [{ source: path.join(GUEST, 'root.squashfs'), readonly: true }, { source: disk }],
    cpuModel: 'Haswell',
    cpus: 2,
    memory: '512M',
  })
  machine.start()
  await machine.console.waitForText(PROMPT, { timeoutMs: BOOT_TIMEOUT_MS })
})
afterAll(async () => {
  await machine?.stop()
  scratch.remove()
})

test('Linux and the C library take it for a Haswell', async () => {
  const flags = (await machine.shell.check('grep -m1 ^flags /proc/cpuinfo')).trim().split(/\s+/)
  expect(flags).toEqual(
    expect.arrayContaining([
      'avx',
      'avx2',
      'fma',
      'f16c',
      'bmi1',
      'bmi2',
      'abm',
      'movbe',
      'xsave',
      'xsaveopt',
    ]),
  )
  expect(await machine.shell.check('dmesg | grep x86/fpu:')).toContain('context size is 832 bytes')
  expect(await machine.shell.check('/lib64/ld-linux-x86-64.so.2 --help')).toMatch(/x86-64-v3 \(supported/)
})

test.skipIf(!hostHasLevel3)(
  'a program for level 3 prints what it prints on the host, beside another of its kind',
  async () => {
    const want = execFileSync(program, { encoding: 'utf8' })
    expect(want.split('\n').length).toBeGreaterThan(15)
    await machine.shell.check('cp /dev/vdb /tmp/level3; chmod +x /tmp/level3')
    // three on two vCPUs, so that the registers of each are switched away
    const copies = [0, 1, 2].map((n) => `/tmp/level3 > /tmp/out${n} & `).join('')
    await machine.shell.check(`${copies} wait`, { timeoutMs: 60_000 })
    for (const n of [0, 1, 2]) expect(await machine.shell.check(`cat /tmp/out${n}`)).toBe(want)
  },
)

test('python3 and openssl compute as on the host', async () => {
  const text = 'x86-64-v3\n'.repeat(20_000)
  await machine.shell.check('yes x86-64-v3 | head -n 20000 > /tmp/text')
  for (const name of ['sha1', 'sha256', 'sha512']) {
    expect(await machine.shell.check(`openssl dgst -r -${name} /tmp/text | cut -d' ' -f1`)).toBe(
      `${createHash(name).update(text).digest('hex')}\n`,
    )
  }
  let sum = 0
  for (let i = 0; i < 20_000; i++) sum += Math.sqrt(i) / (i + 1)
  const python = 'import math; s = 0.0\nfor i in range(20000): s += math.sqrt(i) / (i + 1)\nprint(s)'
  const encoded = Buffer.from(python).toString('base64')
  expect(await machine.shell.check(`echo ${encoded} | base64 -d | python3`)).toBe(`${sum}\n`)
})

test('leaves a kernel log without trouble', async () => {
  expect(kernelTrouble(await machine.shell.check('dmesg'))).toEqual([])
})
