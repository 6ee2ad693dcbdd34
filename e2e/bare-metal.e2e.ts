/**
 * Kernels of our own that run on bare metal: e2e/guests/<name>.c over the tiny runtime of e2e/guests/lib, built by the
 * system's compiler as multiboot images. Each prints PASS or FAIL lines on COM1 and ends by isa-debug-exit, so that
 * the same image runs under QEMU, where installed, and the lines are compared.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { createMachine, createNodeHost } from '#node.ts'
import { Cli, ScratchDir } from './cli.ts'
import { buildKernel, checks } from './kernel-image.ts'

const QEMU = 'qemu-system-x86_64'
const SEABIOS = '/usr/share/seabios'
/** isa-debug-exit makes (0 << 1) | 1 of success. */
const STATUS_PASSED = 1
const STATUS_CRASHED = 70

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

interface Kernel {
  readonly bits: 32 | 64
  readonly cpus: number
  /**
   * Checks on which QEMU's TCG is not a processor, by the start of their name; undefined where it does not survive the
   * kernel: it checks neither segment limits nor reserved bits of MXCSR and control registers, does not know INT1, #XM
   * and #AC, and its faults at addresses that are not canonical differ.
   */
  readonly qemuDiffers: readonly string[] | undefined
}

const KERNELS: Readonly<Record<string, Kernel>> = {
  boot: { bits: 32, cpus: 2, qemuDiffers: [] },
  faults: { bits: 32, cpus: 1, qemuDiffers: undefined },
  tasks: { bits: 32, cpus: 1, qemuDiffers: [] },
  modes: {
    bits: 32,
    cpus: 1,
    // Segment limits; P is clear in the error code of reserved bits; PDPTEs are read at every walk and not checked.
    qemuDiffers: [
      'V86: offsets beyond',
      'real mode: a word across',
      'PAE: reserved bit',
      'PAE: PDPTEs are read',
    ],
  },
  long: { bits: 64, cpus: 1, qemuDiffers: undefined },
  // QEMU's TCG has no PCIDs.
  pcid: { bits: 64, cpus: 1, qemuDiffers: undefined },
  smp: { bits: 32, cpus: 4, qemuDiffers: [] },
  nested: { bits: 32, cpus: 1, qemuDiffers: undefined },
  // QEMU's TCG takes minutes for it.
  litmus: { bits: 32, cpus: 4, qemuDiffers: undefined },
}

const images = new Map<string, string>()
const hasQemu = spawnSync(QEMU, ['--version']).status === 0
describe.skipIf(process.arch !== 'x64')('a kernel on bare metal', () => {
  let modules: string[]

  beforeAll(async () => {
    for (const [name, { bits }] of Object.entries(KERNELS))
      images.set(name, await buildKernel(name, bits, scratch.path))
    const second = Uint8Array.from({ length: 5000 }, (_, i) => i % 251)
    modules = [scratch.file('mod1', 'first file\n'), `${scratch.file('mod2', second)} second line`]
  })

  const imageOf = (name: string): string => images.get(name) ?? ''

  function runKernel(name: string): Cli {
    const machine = [
      '--cpus',
      String(KERNELS[name]?.cpus),
      '--memory',
      '64M',
      '--cpu',
      'max',
      '--test-devices',
    ]
    const boot = ['--kernel', imageOf(name), '--append', 'alpha=1 beta', '--module', modules.join(',')]
    return run(...machine, ...boot, '--timeout', '60')
  }

  function runInQemu(name: string): string[] {
    const machine = [
      '-cpu',
      'max',
      '-smp',
      String(KERNELS[name]?.cpus),
      '-m',
      '64',
      '-display',
      'none',
      '-no-reboot',
    ]
    const devices = ['isa-debug-exit,iobase=0xf4,iosize=4', 'pc-testdev', 'pci-testdev'].flatMap((d) => [
      '-device',
      d,
    ])
    const boot = ['-kernel', imageOf(name), '-append', 'alpha=1 beta', '-initrd', modules.join(',')]
    const { stdout } = spawnSync(QEMU, [...machine, ...devices, ...boot, '-serial', 'stdio'], {
      encoding: 'utf8',
      timeout: 60_000,
    })
    return checks(stdout)
  }

  const passing = Object.keys(KERNELS).filter((name) => name !== 'nested')
  test.each(passing)('%s passes its checks', async (name) => {
    const cli = runKernel(name)
    const { status } = await cli.end(90_000)
    const lines = checks(cli.stdout)
    expect(lines.filter((line) => !line.startsWith('PASS '))).toEqual([])
    expect(cli.stdout, cli.tail()).toMatch(/^DONE$/m)
    expect(lines.length).toBeGreaterThan(15)
    expect(status).toBe(STATUS_PASSED)
  })

  const comparable = passing.filter((name) => KERNELS[name]?.qemuDiffers !== undefined)
  test.skipIf(!hasQemu).each(comparable)('%s says the same under QEMU', async (name) => {
    const cli = runKernel(name)
    const theirs = runInQemu(name)
    await cli.end(90_000)
    const known = KERNELS[name]?.qemuDiffers ?? []
    const nameOf = (line: string): string => line.slice('PASS '.length)
    // What QEMU's processor lacks (VME, x2APIC, TSC deadline) it skips.
    const left = theirs.filter(
      (line) => line.startsWith('SKIP ') || known.some((start) => nameOf(line).startsWith(start)),
    )
    const leftNames = new Set(left.map((line) => nameOf(line).split(': got ')[0]))
    const compared = (lines: string[]): string[] =>
      lines.filter((line) => !leftNames.has(nameOf(line).split(': got ')[0] ?? ''))
    expect(compared(theirs).length).toBeGreaterThan(15)
    expect(compared(checks(cli.stdout))).toEqual(compared(theirs))
  })

  test('nested faults end in a shutdown', async () => {
    const cli = runKernel('nested')
    expect((await cli.end()).status).toBe(STATUS_CRASHED)
    expect(cli.stdout).toBe(
      'PASS a fault with a handler\nPASS two faults make a double fault\nthree do not come back\n',
    )
    expect(cli.stderr).toMatch(/vCPU 0 triple-faulted[\s\S]*ud2/)
  })
})

describe.skipIf(!existsSync(SEABIOS))('SeaBIOS', () => {
  test.each(['bios.bin', 'bios-256k.bin'])('%s looks for something to boot', async (file) => {
    const cli = run('--bios', path.join(SEABIOS, file), '--memory', '256M')
    await cli.waitFor('No bootable device')
    expect(cli.stdout).toMatch(/SeaBIOS \(version/)
    expect(cli.stdout).toMatch(/Booting from Hard Disk/)
    expect(cli.stderr).toMatch(/firmware: Running on QEMU \(i440fx\)/)
    expect(cli.stderr).toMatch(/firmware: Found 2 cpu\(s\)/)
    expect(cli.stderr).toMatch(/3: 0000000000100000 - 000000000fff[0-9a-f]000 = 1 RAM/)
  })

  test('starts again at a reset', async () => {
    const bios = path.join(SEABIOS, 'bios-256k.bin')
    const machine = await createMachine({ bios, memory: '64M' }, createNodeHost())
    try {
      machine.start()
      await machine.console.waitForText('No bootable device')
      await machine.reset()
      await machine.console.waitForText(/SeaBIOS \(version[\s\S]*No bootable device/)
    } finally {
      await machine.stop()
    }
  })
})
