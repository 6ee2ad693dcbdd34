/** The command line: `npx webkvm run` boots, ends with the right status, never hangs, and says what went wrong. */
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { Cli, ScratchDir } from './cli.ts'
import { processesWith } from './processes.ts'
import {
  babbleGuest,
  debugExitGuest,
  haltGuest,
  hammerPortsGuest,
  printGuest,
  spinGuest,
  tripleFaultGuest,
} from './tiny-guests.ts'

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

const kernel = (name: string, image: Buffer): string[] => ['--kernel', scratch.file(name, image)]

describe('the default guest', () => {
  test('boots to a shell and ends with status 0 at poweroff', async () => {
    const cli = run('--guest', 'default', '--stats')
    await cli.waitFor('webkvm:~# ', 120_000)
    expect(await cli.shell('nproc')).toBe('2\n')
    cli.send('poweroff\n')
    expect(await cli.end()).toEqual({ status: 0, signal: undefined })
    expect(cli.stderr).toMatch(/instructions +\d{8,}/)
  })
})

describe('exit status', () => {
  test('is what the guest wrote to isa-debug-exit', async () => {
    const cli = run(...kernel('exit', debugExitGuest(0x10)), '--test-devices')
    expect((await cli.end()).status).toBe(0x21)
  })

  test('is 124 when the time is up', async () => {
    const cli = run(...kernel('spin', spinGuest()), '--timeout', '1')
    expect((await cli.end()).status).toBe(124)
    expect(cli.stderr).toMatch(/stopped after 1 s/)
  })

  test('is 70 after a triple fault, with registers and the last instructions', async () => {
    const cli = run(...kernel('triple', tripleFaultGuest()))
    expect((await cli.end()).status).toBe(70)
    expect(cli.stderr).toMatch(/triple-faulted/)
    expect(cli.stderr).toMatch(/rip=0000000000100027/)
    expect(cli.stderr).toMatch(/IDTR.*limit=00000000/i)
    expect(cli.stderr).toMatch(/code at rip:\n {2}0000000000100027 {2}cc 00 00/)
    expect(cli.stderr).toMatch(/stack at rsp:\n {2}0000000000000000 {2}00 00/)
    expect(cli.stderr).toMatch(/last blocks[\s\S]*100020 +lidt[\s\S]*100027 +int3/)
  })
})

describe('a command that has to end', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('ends at %s while the guest spins', async (signal) => {
    const cli = run(...kernel('spin', spinGuest('.')))
    await cli.waitFor('.')
    cli.child.kill(signal)
    expect((await cli.end(5000)).status).toBe(130)
  })

  test('ends at SIGINT while the guest sleeps', async () => {
    const cli = run(...kernel('hello', printGuest('hello\n')))
    await cli.waitFor('hello')
    cli.child.kill('SIGINT')
    expect((await cli.end(5000)).status).toBe(130)
  })

  test('ends when nobody reads its output any more', async () => {
    const cli = run(...kernel('babble', babbleGuest('x')))
    await cli.waitFor('xx')
    cli.child.stdout.destroy()
    expect(await cli.end(5000)).toEqual({ status: 0, signal: undefined })
  })

  test('ends at SIGINT while nobody reads what the guest babbles', async () => {
    const cli = run(...kernel('babble', babbleGuest('x')))
    await cli.waitFor('xx')
    cli.child.stdout.pause()
    await new Promise((resolve) => setTimeout(resolve, 1000))
    cli.child.kill('SIGINT')
    cli.child.stdout.resume()
    expect((await cli.end(5000)).status).toBe(130)
  })

  test('goes on when standard input ends', async () => {
    const cli = run(...kernel('exit', printGuest('still here\n')), '--timeout', '3')
    cli.child.stdin.end()
    await cli.waitFor('still here')
    expect((await cli.end()).status).toBe(124)
  })
})

// The terminal is a C program, compiled by what the tests' set-up installs on x86-64.
describe.skipIf(process.arch !== 'x64')('on a terminal', () => {
  const pty = path.join(scratch.path, 'pty')
  beforeAll(() => {
    execFileSync('gcc', [
      '-O1',
      '-Wall',
      '-Werror',
      '-o',
      pty,
      path.join(import.meta.dirname, 'pty.c'),
      '-lutil',
    ])
  })

  function runOnTerminal(...args: string[]): Cli {
    const cli = new Cli(['run', ...args], pty)
    running.push(cli)
    return cli
  }

  test('Ctrl-C goes to the guest, Ctrl-A x ends the machine', async () => {
    const cli = runOnTerminal('--guest', 'default')
    await cli.waitFor('webkvm:~# ', 120_000)
    cli.send('sleep 1000\n')
    await cli.waitFor('sleep 1000')
    // The shell switches its terminal from editing to running, where Ctrl-C is a signal.
    await new Promise((resolve) => setTimeout(resolve, 1000))
    cli.send('\u0003')
    await cli.waitFor('^C')
    expect(await cli.shell('echo alive')).toBe('alive\n')
    cli.send('\u0001x')
    expect((await cli.end(5000)).status).toBe(0)
  })

  test('a virtio console has the size of the terminal', async () => {
    const cli = runOnTerminal('--guest', 'default', '--append', 'console=hvc0 quiet no_timer_check')
    await cli.waitFor('webkvm:~# ', 120_000)
    expect(await cli.shell('stty size')).toBe('30 100\n')
  })

  test('the machine ends with its terminal', async () => {
    const cli = runOnTerminal(...kernel('pid', spinGuest('.')))
    await cli.waitFor('.')
    const ours = (): string[] => processesWith(`${scratch.path}/pid`).filter((line) => !line.startsWith(pty))
    expect(ours()).toHaveLength(1)
    await cli.stop() // kills the terminal, not the command
    await expect.poll(ours, { timeout: 5000 }).toEqual([])
  })
})

describe('--trace', () => {
  test('prints disassembled instructions, on standard error', async () => {
    const cli = run(...kernel('hello', printGuest('hi')), '--trace', 'insn', '--cpus', '1', '--timeout', '2')
    await cli.end()
    expect(cli.stdout).toBe('hi')
    expect(cli.stderr).toMatch(/cpu0 0000000000100020  mov edx,0x3f8\n/)
    expect(cli.stderr).toMatch(/out dx,al\n/)
    expect(cli.stderr).toMatch(/cli\n.*hlt\n/)
  })

  test('prints exits with their kind, address and value', async () => {
    const cli = run(
      ...kernel('ports', hammerPortsGuest()),
      '--trace',
      'exit',
      '--cpus',
      '1',
      '--timeout',
      '4',
    )
    await cli.end()
    expect(cli.stderr).toMatch(/cpu0 exit pio-read 0x71 = 0x/)
  })

  test('prints interrupts and faults by name', async () => {
    const cli = run(...kernel('triple', tripleFaultGuest()), '--trace', 'int')
    await cli.end()
    expect(cli.stderr).toMatch(/cpu0 int #BP by INT vector 3 rip=0000000000100027\n/)
  })

  test('stops at its limit', async () => {
    const cli = run(
      ...kernel('spin', spinGuest()),
      '--trace',
      'insn',
      '--trace-limit',
      '50',
      '--timeout',
      '3',
    )
    await cli.end()
    expect(cli.stderr.match(/^cpu0 .*/gm)?.length).toBe(50)
    expect(cli.stderr).toMatch(/jmp/)
    expect(cli.stderr).toMatch(/--trace-limit/)
  })
})

describe('bad input', () => {
  test.each([
    ['no kernel', ['--cpus', '1'], 2, /nothing to start: give a kernel or a bios/],
    ['a missing file', ['--kernel', '/none/vmlinuz'], 70, /cannot read \/none\/vmlinuz.*ENOENT/],
    ['an unknown guest', ['--guest', 'beos'], 2, /guest "beos" is unknown: choose from default/],
    [
      'an unknown trace',
      ['--kernel', 'x', '--trace', 'all'],
      2,
      /--trace "all" is unknown: choose from insn/,
    ],
    ['a bad size', ['--kernel', 'x', '--memory', 'lots'], 2, /memory "lots" is not understood/],
    ['too many vCPUs', ['--kernel', 'x', '--cpus', '1000'], 2, /cpus: 1000 is out of range: 1 to 64/],
    ['an unknown CPU model', ['--kernel', 'x', '--cpu', 'z80'], 2, /CPU model "z80" is unknown: choose from/],
  ] as const)('%s gets a message and a status', async (_, args, status, message) => {
    const cli = run(...args)
    expect((await cli.end()).status).toBe(status)
    expect(cli.stderr).toMatch(message)
    expect(cli.stderr).not.toMatch(/\n +at /)
  })

  test('a text file as a kernel gets a message', async () => {
    const cli = run('--kernel', scratch.file('notes.txt', 'just some text\n'))
    expect((await cli.end()).status).toBe(70)
    expect(cli.stderr).toMatch(/notes.txt.*not a kernel: it is a text file/)
  })

  test('a guest that touches every port is survived', async () => {
    const cli = run(...kernel('ports', hammerPortsGuest()), '--timeout', '5', '--stats')
    expect((await cli.end()).status).toBe(124)
    expect(cli.stderr).toMatch(/halt +[1-9]/)
    expect(cli.stderr.split('\n').length).toBeLessThan(5000)
  })
})

describe('memory', () => {
  test('the smallest machine runs a small guest', async () => {
    const cli = run(...kernel('halt', haltGuest()), '--memory', '2M', '--cpus', '1', '--timeout', '1')
    expect((await cli.end()).status).toBe(124)
  })
})
