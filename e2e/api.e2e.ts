/** The public API under Node, as a program that has webkvm as a dependency sees it. */
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'

import type { MachineOptions } from '#machine/config.ts'
import type { MachineHost, VcpuThread } from '#machine/host.ts'
import type { Machine } from '#machine/machine.ts'
import { ConfigError, WaitError, createMachine, createNodeHost } from '#node.ts'
import { debugExitGuest, printGuest, spinGuest, tripleFaultGuest } from './tiny-guests.ts'

const ROOT = path.resolve(import.meta.dirname, '..')
const machines: Machine[] = []

async function create(options: MachineOptions): Promise<Machine> {
  const machine = await createMachine({ memory: '16M', cpus: 1, ...options }, createNodeHost())
  machines.push(machine)
  return machine
}

/** A machine whose compiler runs in the thread that `spawn` makes. */
async function createWithCompiler(spawn: (host: MachineHost) => VcpuThread): Promise<Machine> {
  const host = createNodeHost()
  const replaced: MachineHost = {
    ...host,
    spawnVcpu: (name) => (name === 'compiler' ? spawn(host) : host.spawnVcpu(name)),
  }
  const machine = await createMachine({ kernel: spinGuest(), memory: '16M', cpus: 1 }, replaced)
  machines.push(machine)
  return machine
}

afterEach(async () => {
  for (const machine of machines.splice(0)) await machine.stop()
})

describe('the package', () => {
  test('is imported by its name in plain Node', () => {
    const program = `
      import { createMachine, createNodeHost } from 'webkvm/node'
      import { openGuest } from 'webkvm/playwright'
      const kernel = new Uint8Array(Buffer.from('${printGuest('hello').toString('base64')}', 'base64'))
      const machine = await createMachine({ kernel, memory: '16M', cpus: 1 }, createNodeHost())
      machine.start()
      const { text } = await machine.console.waitForText(/hel+o/)
      console.log(typeof openGuest, text)
      await machine.stop()
    `
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd: ROOT,
      encoding: 'utf8',
      timeout: 20_000,
    })
    expect(output).toBe('function hello\n')
  })
})

describe('a machine', () => {
  test('goes through its states and tells of each', async () => {
    const machine = await create({ kernel: spinGuest('.') })
    const states: string[] = []
    machine.on('state', ({ state }) => states.push(state))
    expect(machine.state).toBe('created')
    machine.start()
    await machine.console.waitForText('.')
    await machine.pause()
    const { instructions } = machine.stats()
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(machine.stats().instructions).toBe(instructions)
    machine.resume()
    await expect.poll(() => machine.stats().instructions).toBeGreaterThan(instructions)
    await machine.stop()
    expect(states).toEqual(['running', 'paused', 'running', 'stopped'])
  })

  test('runs its guest anew after a reset, also when paused', async () => {
    const machine = await create({ kernel: printGuest('once ') })
    machine.start()
    await machine.console.waitForText('once ')
    await machine.reset()
    await machine.console.waitForText('once ')
    await machine.pause()
    await machine.reset()
    machine.resume()
    await machine.console.waitForText('once ')
    expect(machine.console.output).toBe('once once once ')
  })

  test('ends with the status that the guest gave', async () => {
    const machine = await create({ kernel: debugExitGuest(3), testDevices: true })
    const ended = machine.ended()
    machine.start()
    expect(await ended).toMatchObject({ state: 'stopped', status: 7 })
  })

  test('crashes with a report of the vCPU after a triple fault', async () => {
    const machine = await create({ kernel: tripleFaultGuest() })
    const error = machine.once('error')
    machine.start()
    expect((await error).message).toMatch(/triple-faulted[\s\S]*rip=0000000000100027[\s\S]*int3/)
    expect(machine.state).toBe('crashed')
  })

  test('stops with a message when its compiler fails', async () => {
    const machine = await createWithCompiler((host) => {
      const thread = host.spawnVcpu('compiler')
      const post = thread.post.bind(thread)
      thread.post = (message) =>
        post(message.type === 'compile' ? { ...message, mailboxes: [new SharedArrayBuffer(0)] } : message)
      return thread
    })
    const error = machine.once('error')
    machine.start()
    expect((await error).message).toMatch(/code generation: /)
    expect(machine.state).toBe('crashed')
  })

  test('stops with a message when the thread of its compiler dies', async () => {
    // No module: importing it throws.
    const vcpuWorker = pathToFileURL(path.join(ROOT, 'package.json'))
    const broken = createNodeHost({ vcpuWorker })
    const machine = await createWithCompiler(() => broken.spawnVcpu('compiler'))
    expect(await machine.ended()).toMatchObject({
      state: 'crashed',
      reason: expect.stringMatching(/the compiler's worker died: /),
    })
  })

  test('sends traces that are switched on while it runs, and stops', async () => {
    const machine = await create({ kernel: spinGuest('.') })
    const lines: string[] = []
    machine.on('trace', ({ text }) => lines.push(text))
    machine.start()
    await machine.console.waitForText('.')
    expect(lines).toEqual([])
    machine.trace({ instructions: true })
    await expect.poll(() => lines.length).toBeGreaterThan(10)
    expect(lines[5]).toMatch(/^cpu0 [0-9a-f]{16} {2}jmp 0x10002/)
    machine.trace({})
    const before = machine.stats().instructions
    // Single-stepped it would take seconds for these.
    await expect.poll(() => machine.stats().instructions - before, { timeout: 5000 }).toBeGreaterThan(20e6)
  })

  test('rejects a wait whose text does not come, and shows what came', async () => {
    const machine = await create({ kernel: printGuest('something else') })
    machine.start()
    const wait = machine.console.waitForText('login:', { timeoutMs: 1000 })
    await expect(wait).rejects.toThrow(WaitError)
    await expect(wait).rejects.toThrow(/no "login:" within 1000 ms[\s\S]*something else/)
  })
})

test.each([
  [{}, /nothing to start/],
  [{ kernel: spinGuest(), memory: '5G' }, /out of range: 1 to 3584 MiB/],
  [{ kernel: spinGuest(), cpus: 0 }, /cpus: 0 is out of range/],
] as const)('a wrong option is a ConfigError (%#)', async (options, message) => {
  const made = createMachine(options, createNodeHost())
  await expect(made).rejects.toThrow(ConfigError)
  await expect(made).rejects.toThrow(message)
})
