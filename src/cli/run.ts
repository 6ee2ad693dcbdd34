/** webkvm run: boots a machine in this process, its console on the terminal. */
import { defineCommand } from 'citty'

import { createNodeHost } from '#host/node/node-host.ts'
import { createMachine } from '#machine/create.ts'
import { ConfigError } from '#machine/config.ts'
import type { DiskOptions, MachineOptions, TraceOptions } from '#machine/config.ts'
import type { Machine } from '#machine/machine.ts'
import { readGuest } from './guest-entry.ts'
import { engineFiles } from './paths.ts'
import { connectTerminal } from './stdio.ts'

/** Exit statuses: the guest's own from isa-debug-exit, 0 for a clean power-off, these for the rest. */
const STATUS_USAGE = 2
const STATUS_CRASHED = 70
const STATUS_SIGINT = 130

const TRACES = ['insn', 'exit', 'int', 'msr'] as const

export const runCommand = defineCommand({
  meta: { name: 'run', description: 'Boot a machine with its console on this terminal' },
  args: {
    guest: {
      type: 'string',
      description: 'Boot a built guest by its id (see npm run setup)',
      valueHint: 'ID',
    },
    kernel: {
      type: 'string',
      description: 'bzImage, ELF (PVH) or multiboot kernel: path or URL',
      valueHint: 'FILE',
    },
    initrd: { type: 'string', description: 'Initial RAM disk', valueHint: 'FILE' },
    append: { type: 'string', description: 'Kernel command line', valueHint: 'TEXT' },
    bios: { type: 'string', description: 'Firmware ROM of 64 KiB to 4 MiB', valueHint: 'FILE' },
    disk: {
      type: 'string',
      description: 'Disk image, several by commas; FILE:ro is read-only, FILE:overlay keeps writes in memory',
      valueHint: 'FILE',
    },
    module: {
      type: 'string',
      description: "Multiboot modules, by commas; text after a blank is the module's command line",
      valueHint: 'FILE',
    },
    cpus: { type: 'string', description: 'Number of vCPUs', default: '2', valueHint: 'N' },
    memory: {
      type: 'string',
      alias: 'm',
      description: 'Guest memory, such as 512M or 1G',
      valueHint: 'SIZE',
    },
    cpu: { type: 'string', description: 'CPU model', valueHint: 'NAME' },
    serial: { type: 'string', description: 'Where the console goes: stdio or none', default: 'stdio' },
    'test-devices': { type: 'boolean', description: 'Add isa-debug-exit, pc-testdev and pci-testdev' },
    'ignore-msrs': { type: 'boolean', description: 'Unknown MSRs read as zero' },
    jit: {
      type: 'string',
      description: 'Compile hot code: on, off, or after so many branches (a power of two)',
      valueHint: 'WHEN',
    },
    trace: { type: 'string', description: `Trace to stderr: ${TRACES.join(',')}`, valueHint: 'LIST' },
    'trace-limit': {
      type: 'string',
      description: 'Lines after which traces end; 0 for no limit',
      default: '100000',
      valueHint: 'LINES',
    },
    timeout: { type: 'string', description: 'Stop after so many seconds', valueHint: 'SECONDS' },
    stats: { type: 'boolean', description: 'Print counters at the end' },
  },
  async run({ args }) {
    process.exitCode = await runMachine(args).catch((error: unknown) => {
      process.stderr.write(`webkvm: ${error instanceof Error ? error.message : String(error)}\n`)
      return error instanceof ConfigError ? STATUS_USAGE : STATUS_CRASHED
    })
    // A worker in the middle of a wait would keep the process; everything that matters is written.
    process.exit()
  },
})

interface RunArguments {
  readonly guest?: string | undefined
  readonly kernel?: string | undefined
  readonly initrd?: string | undefined
  readonly append?: string | undefined
  readonly bios?: string | undefined
  readonly disk?: string | undefined
  readonly module?: string | undefined
  readonly cpus: string
  readonly memory?: string | undefined
  readonly cpu?: string | undefined
  readonly serial: string
  readonly 'test-devices'?: boolean | undefined
  readonly 'ignore-msrs'?: boolean | undefined
  readonly jit?: string | undefined
  readonly trace?: string | undefined
  readonly 'trace-limit': string
  readonly timeout?: string | undefined
  readonly stats?: boolean | undefined
}

async function runMachine(args: RunArguments): Promise<number> {
  const options = await machineOptions(args)
  const machine = await createMachine(options, createNodeHost(engineFiles()))
  machine.on('log', ({ level, text }) => process.stderr.write(`[${level}] ${text}\n`))
  printTrace(machine, Number(args['trace-limit']))
  const disconnect = args.serial === 'stdio' ? connectTerminal(machine) : () => undefined
  const ended = endOf(machine, args.timeout)
  machine.start()
  const status = await ended
  disconnect()
  if (args.stats === true) printStats(machine)
  await machine.stop()
  return status
}

async function machineOptions(args: RunArguments): Promise<MachineOptions> {
  const guest = args.guest === undefined ? {} : await readGuest(args.guest)
  const list = (text: string | undefined): string[] => text?.split(',').filter((item) => item !== '') ?? []
  const chosen: { -readonly [K in keyof MachineOptions]: MachineOptions[K] } = {
    ...guest,
    cpus: Number(args.cpus),
  }
  if (args.kernel !== undefined) chosen.kernel = args.kernel
  if (args.initrd !== undefined) chosen.initrd = args.initrd
  if (args.append !== undefined) chosen.append = args.append
  if (args.bios !== undefined) chosen.bios = args.bios
  if (args.memory !== undefined) chosen.memory = args.memory
  if (args.cpu !== undefined) chosen.cpuModel = args.cpu
  if (args.disk !== undefined) chosen.disks = list(args.disk).map(parseDisk)
  if (args.module !== undefined) {
    chosen.modules = list(args.module).map((text) => {
      const [source = '', ...rest] = text.split(' ')
      return { source, cmdline: rest.join(' ') }
    })
  }
  chosen.testDevices = args['test-devices'] === true
  chosen.ignoreUnknownMsrs = args['ignore-msrs'] === true
  if (args.jit !== undefined) chosen.jit = parseJit(args.jit)
  chosen.trace = parseTrace(list(args.trace))
  return chosen
}

function parseDisk(text: string): DiskOptions {
  const match = /^(.*):(ro|overlay)$/.exec(text)
  const source = match?.[1] ?? text
  if (match?.[2] === 'ro') return { source, readonly: true }
  if (match?.[2] === 'overlay') return { source, mode: 'overlay' }
  return { source }
}

function parseJit(text: string): boolean | { readonly threshold: number } {
  if (text === 'on' || text === 'off') return text === 'on'
  if (!/^\d+$/.test(text)) throw new ConfigError(`--jit "${text}" is unknown: on, off, or a power of two`)
  return { threshold: Number(text) }
}

function parseTrace(items: readonly string[]): TraceOptions {
  const unknown = items.find((item) => !TRACES.some((trace) => trace === item))
  if (unknown !== undefined)
    throw new ConfigError(`--trace "${unknown}" is unknown: choose from ${TRACES.join(', ')}`)
  const has = (name: (typeof TRACES)[number]): boolean => items.includes(name)
  return { instructions: has('insn'), exits: has('exit'), interrupts: has('int'), msrs: has('msr') }
}

/** Resolves with the exit status when the guest powers off, exits or crashes, on Ctrl-C, or at the timeout. */
function endOf(machine: Machine, timeout: string | undefined): Promise<number> {
  return new Promise((resolve) => {
    machine.on('state', ({ state, reason, status }) => {
      if (state === 'stopped') resolve(status ?? 0)
      if (state === 'crashed') {
        process.stderr.write(`\nwebkvm: ${reason ?? 'the machine crashed'}\n`)
        resolve(STATUS_CRASHED)
      }
    })
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.once(signal, () => resolve(STATUS_SIGINT))
    if (timeout !== undefined) {
      const seconds = Number(timeout)
      setTimeout(() => {
        process.stderr.write(`\nwebkvm: stopped after ${seconds} s\n`)
        resolve(124)
      }, seconds * 1000)
    }
  })
}

/** An instruction trace of a second is a gigabyte: it ends by itself unless told otherwise. */
function printTrace(machine: Machine, limit: number): void {
  let lines = 0
  machine.on('trace', ({ text }) => {
    if (limit > 0 && lines >= limit) return
    process.stderr.write(`${text}\n`)
    if (++lines !== limit) return
    machine.trace({})
    process.stderr.write(`webkvm: the trace ends after ${limit} lines (--trace-limit)\n`)
  })
}

function printStats(machine: Machine): void {
  const stats = machine.stats()
  const { jit } = stats
  const lines = [
    `instructions ${stats.instructions}`,
    ...(jit === undefined
      ? []
      : [
          `  compiled     ${jit.instructions}`,
          `regions      ${jit.regions} compiled, ${jit.shared} shared, ${jit.evicted} evicted, ${jit.modules} modules`,
        ]),
    `exits        ${stats.exits}`,
    ...Object.entries(stats.exitsByKind).map(([kind, count]) => `  ${kind.padEnd(12)} ${count}`),
  ]
  process.stderr.write(`${lines.join('\n')}\n`)
}
