/**
 * createMachine(): configuration -> shared memory, hub, devices, firmware data, vCPU workers. The only place that
 * knows all the parts.
 */
import * as abi from '#abi/layout.ts'
import { MESSAGE_PROTOCOL } from '#abi/messages.types.ts'
import type { ToVcpu } from '#abi/messages.types.ts'
import type { BlockBackend } from '#devices/virtio-blk.ts'
import { ABOVE_4G, ramLayout } from '#firmware/memory-map.ts'
import { createHub } from '#hub/hub.ts'
import type { Hub } from '#hub/hub.ts'
import type { MachineEvent } from '#hub/ports.ts'
import { createWaiter } from '#hub/waiter.ts'
import { GuestRam } from '#memory/guest-memory.ts'
import { ConfigError, resolveConfig } from './config.ts'
import type { MachineOptions, ResolvedConfig } from './config.ts'
import { writeCpuModel } from './cpu-models.ts'
import { Emitter } from './emitter.ts'
import { placeFirmware } from './firmware.ts'
import type { LoadedImages } from './firmware.ts'
import { GuestTime } from './guest-time.ts'
import { JIT_MAILBOX_BYTES } from '#abi/jit.ts'
import type { EngineModules, MachineHost, VcpuThread } from './host.ts'
import { instantiateKernel } from './kernel-instance.ts'
import type { KernelInstance } from './kernel-instance.ts'
import { Machine } from './machine.ts'
import type { MachineEvents, MachineParts } from './machine.ts'
import { addPcDevices } from './pc.ts'
import type { PcDevices } from './pc.ts'
import { setTrace } from './trace.ts'
import { layOutVm } from './vm-memory.ts'
import type { VmMemory } from './vm-memory.ts'

/** How long a worker may take to compile the engine and answer. */
const WORKER_START_TIMEOUT_MS = 30_000

/** Builds a machine in state 'created'; rejects with ConfigError, BootError, ImageError or HostFeatureError. */
export async function createMachine(options: MachineOptions, host: MachineHost): Promise<Machine> {
  const config = resolveConfig(options)
  const [engine, images, disks] = await Promise.all([
    host.loadEngine(),
    loadImages(options, host),
    Promise.all((options.disks ?? []).map((disk, i) => openDisk(disk, i, host))),
  ])
  const vm = await createVm(config, options, engine, host)
  const events = new Emitter<MachineEvents>()
  // Devices may raise events before the machine exists to hear them: never in practice, but order must not matter.
  let handle: (event: MachineEvent) => void = () => undefined
  const board = createBoard(vm, { config, options, disks, host, events, emit: (event) => handle(event) })
  const powerOn = (): void => {
    resetCpus(vm)
    placeFirmware({ ...vm, hub: board.hub, bootCpu: vm.cpus[0] ?? 0, config, images, options })
  }
  powerOn()
  const machine = new Machine({
    ...machineParts(vm, board, options),
    host,
    ...(await startThreads(vm, engine, host, config.jitThreshold)),
    events,
    ramBytes: config.ramBytes,
    resetAll: () => {
      board.hub.reset()
      powerOn()
    },
  })
  handle = (event) => machine.handleEvent(event)
  void machine.ended().then(async () => {
    for (const { backend } of disks) await backend.close?.()
  })
  return machine
}

/** Shared memory, its structures, and what works on them without devices. */
interface Vm {
  readonly memory: WebAssembly.Memory
  readonly buffer: ArrayBufferLike
  readonly vm: number
  readonly cpus: readonly number[]
  readonly arena: VmMemory['arena']
  readonly kernel: KernelInstance
  readonly guest: GuestRam
  readonly time: GuestTime
}

async function createVm(
  config: ResolvedConfig,
  options: MachineOptions,
  engine: EngineModules,
  host: MachineHost,
): Promise<Vm> {
  const { memory, vm, cpus, arena } = layOutVm(config.ramBytes, config.cpus, engine.isaTables)
  const { buffer } = memory
  const kernel = await instantiateKernel(engine.kernel, memory, vm, host.clock)
  const time = new GuestTime(host.clock, buffer, vm)
  setOptions(buffer, vm, cpus, options)
  new DataView(buffer).setUint32(vm + abi.VM_HOST_CORES, host.cores, true)
  for (const [index, cpu] of cpus.entries()) {
    writeCpuModel(buffer, cpu, config.cpuModel, { index, count: config.cpus, seed: host.randomBytes(32) })
  }
  const { low, high } = ramLayout(config.ramBytes)
  const ram = [{ start: 0, bytes: low }, ...(high > 0 ? [{ start: ABOVE_4G, bytes: high }] : [])]
  const guest = new GuestRam({ buffer, vm, ram, kernel: kernel.exports })
  return { memory, buffer, vm, cpus, arena, kernel, guest, time }
}

interface Board {
  readonly hub: Hub
  readonly devices: PcDevices
}

interface BoardContext {
  readonly config: ResolvedConfig
  readonly options: MachineOptions
  readonly disks: readonly { readonly backend: BlockBackend; readonly serial: string }[]
  readonly host: MachineHost
  readonly events: Emitter<MachineEvents>
  readonly emit: (event: MachineEvent) => void
}

function createBoard(machine: Vm, { config, options, disks, host, events, emit }: BoardContext): Board {
  const { buffer, vm, arena, kernel, guest } = machine
  const hub = createHub({
    buffer,
    vm,
    memory: guest,
    irqchip: kernel.irqchip,
    clock: host.clock,
    arena,
    // Where vCPUs fill the cores, a hub that spins takes the time of the vCPU it waits for.
    ...(host.cores > config.cpus ? {} : { spinLooks: 0 }),
    waiter: createWaiter(new Int32Array(buffer), (vm + abi.VM_HUB_DOORBELL) >> 2, host.wakeByMessage),
    log: { write: (level, text) => events.emit('log', { level, text }) },
    emit,
  })
  const devices = addPcDevices(hub, pcConfig(config, options, disks), host, {
    setPam: (start, end, readable, writable) => guest.setPam(start, end, readable, writable),
    setA20: (enabled) => setA20(buffer, vm, kernel, enabled),
  })
  devices.firmwareLog?.onOutput(
    lineLogger((text) => events.emit('log', { level: 'info', text: `firmware: ${text}` })),
  )
  return { hub, devices }
}

function resetCpus({ kernel, cpus }: Vm): void {
  kernel.resetIrqchip()
  for (const cpu of cpus) kernel.asCpu(cpu, (exports) => exports.cpu_reset())
}

function machineParts(
  { memory, vm, cpus, time, kernel, guest }: Vm,
  { hub, devices }: Board,
  options: MachineOptions,
): Omit<MachineParts, 'host' | keyof Threads | 'events' | 'ramBytes' | 'resetAll'> {
  const usesHvc = /\bconsole=hvc0\b/.test(options.append ?? '')
  return {
    memory,
    vm,
    cpus,
    time,
    hub,
    console: usesHvc ? devices.hvc0 : (devices.serial[0] ?? devices.hvc0),
    serial: devices.serial,
    channels: devices.channels,
    request: kernel.request,
    readGuest: (gpa, lengthBytes) =>
      guest.contains(gpa, lengthBytes) ? guest.read(gpa, lengthBytes) : undefined,
    resizeConsole: devices.resizeHvc0,
    pressPowerButton: devices.pressPowerButton,
  }
}

async function loadImages(options: MachineOptions, host: MachineHost): Promise<LoadedImages> {
  const load = (source: MachineOptions['kernel'], what: string): Promise<Uint8Array> | undefined =>
    source === undefined ? undefined : host.readImage(source, what, options.onProgress)
  const [kernel, initrd, bios, modules] = await Promise.all([
    load(options.kernel, sourceName(options.kernel, 'kernel')),
    load(options.initrd, 'initrd'),
    load(options.bios, sourceName(options.bios, 'bios')),
    Promise.all(
      (options.modules ?? []).map(async ({ source, cmdline }) => ({
        bytes: await host.readImage(source, `module ${cmdline}`, options.onProgress),
        cmdline,
      })),
    ),
  ])
  return { kernel, kernelName: sourceName(options.kernel, 'kernel'), initrd, bios, modules }
}

/** What messages call an image: the file's name where there is one. */
function sourceName(source: MachineOptions['kernel'], fallback: string): string {
  if (source instanceof Uint8Array || source === undefined) return fallback
  const text = source instanceof Blob ? ('name' in source ? String(source.name) : '') : String(source)
  return text.split(/[/\\]/).at(-1)?.split('?')[0] || fallback
}

async function openDisk(
  disk: NonNullable<MachineOptions['disks']>[number],
  index: number,
  host: MachineHost,
): Promise<{ backend: BlockBackend; serial: string }> {
  const name = disk.serial ?? `disk${index}`
  const backend = await host.openDisk(disk, name)
  if (backend.sizeBytes < 512)
    throw new ConfigError(`${name}: the image has ${backend.sizeBytes} bytes, less than one sector`)
  return { backend, serial: name }
}

function pcConfig(
  config: ResolvedConfig,
  options: MachineOptions,
  disks: readonly { backend: BlockBackend; serial: string }[],
): Parameters<typeof addPcDevices>[1] {
  return {
    ramBytes: config.ramBytes,
    cpus: config.cpus,
    serialPorts: config.serialPorts,
    channels: options.channels ?? [],
    disks,
    testDevices: options.testDevices === true,
    firmwareLog: options.bios !== undefined,
  }
}

/** Firmware that never ends its line must not grow ours without bound. */
const LINE_MAX = 1024

/** Takes pieces of output and gives out its lines. */
function lineLogger(log: (line: string) => void): (bytes: Uint8Array) => void {
  let line = ''
  return (bytes) => {
    for (const byte of bytes) {
      if (byte !== 10) line += String.fromCharCode(byte)
      if (byte !== 10 && line.length < LINE_MAX) continue
      if (line !== '') log(line)
      line = ''
    }
  }
}

const A20_OPEN = 0xffff_ffff
const A20_CLOSED = 0xffef_ffff

/** The keyboard controller's A20 gate; port 0x92 does the same inside the kernel. */
function setA20(buffer: ArrayBufferLike, vm: number, kernel: KernelInstance, enabled: boolean): void {
  new DataView(buffer).setUint32(vm + abi.VM_A20_MASK, enabled ? A20_OPEN : A20_CLOSED, true)
  kernel.exports.flush_everywhere()
}

function setOptions(
  buffer: ArrayBufferLike,
  vm: number,
  cpus: readonly number[],
  options: MachineOptions,
): void {
  const view = new DataView(buffer)
  const { trace } = options
  view.setUint32(vm + abi.VM_LOG_UNKNOWN, trace?.msrs === true ? 1 : 0, true)
  view.setUint32(vm + abi.VM_IGNORE_MSRS, options.ignoreUnknownMsrs === true ? 1 : 0, true)
  if (trace !== undefined) setTrace(buffer, cpus, trace)
}

interface Threads {
  readonly threads: readonly VcpuThread[]
  /** Generates code for all of them. */
  readonly compiler: VcpuThread | undefined
}

/** Spawns a worker per vCPU, and one that compiles, and waits until each vCPU is ready; ends them all if one is not. */
async function startThreads(
  { memory, vm, cpus }: Vm,
  { kernel, interp }: EngineModules,
  host: MachineHost,
  jitThreshold: number,
): Promise<Threads> {
  const threads = cpus.map((_, i) => host.spawnVcpu(`vcpu${i}`))
  const shared = { protocol: MESSAGE_PROTOCOL, memory } as const
  const common = { ...shared, type: 'start', kernel, interp, vm, jitThreshold } as const
  const mailboxes = jitThreshold === 0 ? [] : cpus.map(() => new SharedArrayBuffer(JIT_MAILBOX_BYTES))
  const bell = new SharedArrayBuffer(4)
  const compiler = jitThreshold === 0 ? undefined : host.spawnVcpu('compiler')
  compiler?.post({ ...shared, type: 'compile', vm, cpus, mailboxes, bell })
  const clockOriginMs = performance.timeOrigin
  try {
    await Promise.all(
      threads.map((thread, vcpu) => {
        const mailbox = mailboxes[vcpu]
        const link = mailbox ? { compiler: { mailbox, bell } } : {}
        return ready(thread, { ...common, ...link, vcpu, cpu: cpus[vcpu] ?? 0, clockOriginMs })
      }),
    )
  } catch (error) {
    for (const thread of [...threads, ...(compiler ? [compiler] : [])]) thread.terminate()
    throw error
  }
  return { threads, compiler }
}

function ready(thread: VcpuThread, message: ToVcpu): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void =>
      reject(new Error(`vCPU ${message.vcpu} did not start: ${error.message}`, { cause: error }))
    const timer = setTimeout(() => fail(new Error('no answer within 30 s')), WORKER_START_TIMEOUT_MS)
    thread.onFailure(fail)
    thread.onMessage((reply) => {
      if (reply.type === 'crashed') fail(new Error(reply.message))
      if (reply.type !== 'ready') return
      clearTimeout(timer)
      resolve()
    })
    thread.post(message)
  })
}
