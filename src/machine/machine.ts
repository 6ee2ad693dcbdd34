/**
 * A virtual machine as its user holds it: life cycle, consoles, events, counters. Built by createMachine() in
 * create.ts, which hands over the assembled parts.
 *
 *   created -> running <-> paused -> stopped
 *                 \-> crashed (triple fault, a bug of ours, memory exhausted)
 */
import { CPU_IN_GUEST, CPU_REQ, REQ_PAUSE, REQ_STOP } from '#abi/layout.ts'
import type { FromVcpu } from '#abi/messages.types.ts'
import type { Hub } from '#hub/hub.ts'
import type { LogLevel, MachineEvent } from '#hub/ports.ts'
import type { ConsoleStream } from './console-stream.ts'
import { describeCrash } from './crash-report.ts'
import type { GuestBytes } from './disassemble.ts'
import type { Emitter } from './emitter.ts'
import type { MachineHost, VcpuThread } from './host.ts'
import { Shell } from './shell.ts'
import type { TraceOptions } from './config.ts'
import { formatTrace, setTrace } from './trace.ts'
import { readStats } from './stats.ts'
import type { MachineStats } from './stats.ts'
import type { GuestTime } from './guest-time.ts'

export type MachineState = 'created' | 'running' | 'paused' | 'stopped' | 'crashed'

export interface StateEvent {
  readonly state: MachineState
  /** Why, for people: "the guest powered off". */
  readonly reason?: string
  /** Exit status from isa-debug-exit, 0 for a power-off. */
  readonly status?: number
}

export type MachineEvents = {
  readonly state: StateEvent
  readonly log: { readonly level: LogLevel; readonly text: string }
  /** Something failed that the user should see. */
  readonly error: { readonly message: string }
  /** A line of a trace (MachineOptions.trace, Machine.trace). */
  readonly trace: { readonly text: string }
  /** The guest asked for a reset, or it was reset. */
  readonly reset: { readonly by: string }
  readonly 'guest-panicked': { readonly bits: number }
}

/** The assembled parts of a machine; made by create.ts. */
export interface MachineParts {
  readonly host: MachineHost
  readonly memory: WebAssembly.Memory
  readonly vm: number
  readonly cpus: readonly number[]
  readonly ramBytes: number
  readonly hub: Hub
  readonly threads: readonly VcpuThread[]
  /** The thread that generates code. */
  readonly compiler: VcpuThread | undefined
  readonly time: GuestTime
  readonly events: Emitter<MachineEvents>
  readonly console: ConsoleStream
  readonly serial: readonly ConsoleStream[]
  readonly channels: ReadonlyMap<string, ConsoleStream>
  request(cpu: number, bits: number): void
  readonly readGuest: GuestBytes
  resizeConsole(columns: number, rows: number): void
  /** Power-on state of CPUs, controllers, devices and firmware data; vCPUs are paused. */
  resetAll(): void
  pressPowerButton(): void
}

/** How long vCPUs may take to leave guest code: a worker that does not is stuck. */
const PAUSE_TIMEOUT_MS = 10_000

export class Machine {
  /** Where the kernel's console is: the first virtio console if the command line names hvc0, else the first serial port. */
  readonly console: ConsoleStream
  readonly serial: readonly ConsoleStream[]
  /** Named virtio console ports (vmchannel). */
  readonly channels: ReadonlyMap<string, ConsoleStream>
  /** Runs commands in a shell on the console. */
  readonly shell: Shell
  readonly #parts: MachineParts
  #state: MachineState = 'created'
  #ended: StateEvent | undefined
  /** vCPUs known to be outside guest code. */
  readonly #parked = new Set<number>()
  #onParked: (() => void) | undefined
  #pausing: Promise<void> | undefined

  constructor(parts: MachineParts) {
    this.#parts = parts
    this.console = parts.console
    this.serial = parts.serial
    this.channels = parts.channels
    this.shell = new Shell(parts.console)
    parts.hub.onTrace = (entry) => {
      const text = formatTrace(entry, parts.readGuest)
      if (text !== undefined) parts.events.emit('trace', { text })
    }
    parts.threads.forEach((thread, vcpu) => {
      thread.onMessage((message) => this.#onMessage(message))
      thread.onFailure((error) => this.#crash(`the worker of vCPU ${vcpu} died: ${error.message}`))
    })
    parts.compiler?.onMessage((message) => this.#onMessage(message))
    parts.compiler?.onFailure((error) => this.#crash(`the compiler's worker died: ${error.message}`))
  }

  get state(): MachineState {
    return this.#state
  }

  on<Name extends keyof MachineEvents>(
    name: Name,
    listener: (event: MachineEvents[Name]) => void,
  ): () => void {
    return this.#parts.events.on(name, listener)
  }

  once<Name extends keyof MachineEvents>(name: Name): Promise<MachineEvents[Name]> {
    return this.#parts.events.once(name)
  }

  /** Resolves with how the machine stopped or crashed, also when that was before. */
  ended(): Promise<StateEvent> {
    return new Promise((resolve) => {
      if (this.#ended) return resolve(this.#ended)
      const stop = this.on('state', (event) => {
        if (event.state !== 'stopped' && event.state !== 'crashed') return
        stop()
        resolve(event)
      })
    })
  }

  /** Begins to execute the guest. */
  start(): void {
    if (this.#state !== 'created') return
    this.#parts.hub.run().catch((error: unknown) => this.#crash(`a device failed: ${describeError(error)}`))
    this.#parts.time.start()
    this.#setState({ state: 'running' })
    this.#release()
  }

  /** Stops guest execution and guest device timers; resolves when every vCPU is outside guest code. */
  async pause(): Promise<void> {
    if (this.#state !== 'running') return this.#pausing
    this.#pausing = this.#park().then(() => {
      this.#parts.time.pause()
      this.#parts.hub.pause()
      this.#setState({ state: 'paused' })
      this.#pausing = undefined
    })
    return this.#pausing
  }

  resume(): void {
    if (this.#state !== 'paused') return
    this.#parts.time.resume()
    this.#parts.hub.resume()
    this.#setState({ state: 'running' })
    this.#release()
  }

  /** Power-cycles the machine: memory of the loaded images is written anew, disks keep their contents. */
  async reset(by = 'user'): Promise<void> {
    if (this.#state !== 'running' && this.#state !== 'paused') return
    const wasPaused = this.#state === 'paused'
    if (!wasPaused) await this.#park()
    this.#parts.resetAll()
    for (const stream of this.#streams()) stream.skipOutput()
    this.#parts.events.emit('reset', { by })
    if (!wasPaused) this.#release()
  }

  /** Presses the ACPI power button; the guest decides what follows. stop() is the plug. */
  powerOff(): void {
    if (this.#state === 'running') this.#parts.pressPowerButton()
  }

  /** Ends the machine and its workers. Safe in every state. */
  async stop(reason = 'the machine was stopped'): Promise<void> {
    if (this.#state === 'stopped') return
    this.#end({ state: 'stopped', reason })
  }

  /** Sends the terminal's size to the guest (virtio console). */
  resizeConsole(columns: number, rows: number): void {
    this.#parts.resizeConsole(columns, rows)
  }

  /** Chooses what is traced from now on; lines come as 'trace' events. */
  trace(options: TraceOptions): void {
    setTrace(this.#parts.memory.buffer, this.#parts.cpus, options)
  }

  stats(): MachineStats {
    const { memory, cpus, ramBytes, host, time, hub } = this.#parts
    return readStats({
      buffer: memory.buffer,
      cpus,
      state: this.#state,
      ramBytes,
      atNs: host.clock.nowNs(),
      elapsedNs: time.elapsedNs(),
      guestNs: hub.clock.nowNs(),
    })
  }

  /** What devices and CPUs ask for; called by the hub. */
  handleEvent(event: MachineEvent): void {
    switch (event.type) {
      case 'poweroff':
        return this.#end({ state: 'stopped', reason: 'the guest powered off', status: 0 })
      case 'exit':
        return this.#end({
          state: 'stopped',
          reason: `the guest exited with status ${event.status}`,
          status: event.status,
        })
      case 'reset':
        void this.reset(event.by)
        return
      case 'shutdown':
        return this.#crash(`vCPU ${event.vcpu} triple-faulted`, event.vcpu)
      case 'guest-panicked':
        this.#parts.events.emit('guest-panicked', { bits: event.bits })
        return
      case 'device-failed':
        this.#parts.events.emit('log', {
          level: 'warn',
          text: `${event.by} stopped working: ${event.reason}`,
        })
        return
      case 'suspend':
      case 'debug':
        this.#parts.events.emit('log', { level: 'info', text: `${event.by} asked for ${event.type}` })
    }
  }

  #onMessage(message: FromVcpu): void {
    switch (message.type) {
      case 'ready':
        return
      case 'paused':
        // From before a resume, on a host that was slow to pass it on: the vCPU runs.
        if (!this.#isParked(message.vcpu)) return
        this.#parked.add(message.vcpu)
        this.#onParked?.()
        return
      case 'stopped':
        return
      case 'shutdown':
        return this.#crash(
          `vCPU ${message.vcpu} triple-faulted: the guest could not handle a fault while handling a fault`,
          message.vcpu,
        )
      case 'out-of-memory':
        return this.#crash(
          'the host has no memory left for the guest: give the machine less memory, or close other tabs',
        )
      case 'crashed':
        return this.#crash(
          `internal error on vCPU ${message.vcpu}: ${message.message}`,
          message.vcpu,
          message.stack,
        )
      case 'kick':
        this.#parts.hub.kick()
    }
  }

  /** Brings every vCPU out of guest code. */
  #isParked(vcpu: number): boolean {
    const { memory, cpus } = this.#parts
    const words = new Int32Array(memory.buffer)
    const word = (offset: number): number => Atomics.load(words, ((cpus[vcpu] ?? 0) + offset) >>> 2)
    return (word(CPU_REQ) & REQ_PAUSE) !== 0 && word(CPU_IN_GUEST) === 0
  }

  #park(): Promise<void> {
    const { cpus, request } = this.#parts
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('a vCPU did not stop within 10 s')), PAUSE_TIMEOUT_MS)
      this.#onParked = () => {
        if (this.#parked.size < cpus.length) return
        this.#onParked = undefined
        clearTimeout(timer)
        resolve()
      }
      for (const cpu of cpus) request(cpu, REQ_PAUSE)
      this.#onParked()
    })
  }

  #release(): void {
    const { memory, cpus } = this.#parts
    const words = new Int32Array(memory.buffer)
    this.#parked.clear()
    for (const cpu of cpus) {
      Atomics.and(words, (cpu + CPU_REQ) >> 2, ~REQ_PAUSE)
      Atomics.notify(words, (cpu + CPU_REQ) >> 2)
    }
  }

  #streams(): ReadonlySet<ConsoleStream> {
    return new Set([this.console, ...this.serial, ...this.channels.values()])
  }

  #setState(event: StateEvent): void {
    this.#state = event.state
    this.#parts.events.emit('state', event)
  }

  #crash(message: string, vcpu?: number, stack?: string): void {
    if (this.#state === 'stopped' || this.#state === 'crashed') return
    const { memory, cpus, events, readGuest } = this.#parts
    const report = vcpu === undefined ? '' : `\n${describeCrash(memory.buffer, cpus, vcpu, readGuest)}`
    const text = `${message}${stack === undefined ? '' : `\n${stack}`}${report}`
    this.#end({ state: 'crashed', reason: text })
    events.emit('error', { message: text })
  }

  #end(event: StateEvent): void {
    if (this.#state === 'stopped' || this.#state === 'crashed') return
    const { cpus, request, hub, threads, compiler } = this.#parts
    this.#ended = event
    for (const cpu of cpus) request(cpu, REQ_STOP)
    hub.dispose()
    for (const thread of threads) thread.terminate()
    compiler?.terminate()
    for (const stream of this.#streams()) stream.close(event.reason ?? 'the machine stopped')
    this.#setState(event)
  }
}

const describeError = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error)
