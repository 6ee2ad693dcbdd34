/** Runs a program in an engine and tells what it left behind, down to the first trace record that differs. */
import { JIT_OFF } from '#abi/jit.ts'
import * as abi from '#abi/layout.ts'
import { createTestVm, type TestVm } from '../test-vm.ts'
import type { JitLimits } from '../../jit/jit.ts'
import { serveMailbox } from '../../jit/mailbox.ts'
import { createEngine } from '../../vcpu-loop.ts'
import { guestMemory, loadImage } from './machine.ts'
import * as map from './map.ts'
import type { Program } from './program.ts'

/**
 * Yields after which a program is taken to run for ever, which a fault at an odd place can bring about. Where the
 * interpreter came to an end compiled code has to, but slices are not the same.
 */
const YIELDS_MAX = 2
const COMPILED_YIELDS_MAX = 40

export interface ProgramVmOptions {
  readonly mailbox?: SharedArrayBuffer
  readonly limits?: JitLimits
}

/**
 * A VM for programs: one that halts, as one gone astray may, is stopped. With a mailbox modules come later than they were
 * asked for: whenever the VM looks at the clock, which is after so many instructions.
 */
export async function createProgramVm({ mailbox, limits }: ProgramVmOptions = {}): Promise<TestVm> {
  const vm = await createTestVm()
  const { memory, kernelModule: kernel, interp, view } = vm
  const cpu = vm.cpus[0] ?? 0
  let clock = 0
  const now = (): number => {
    if (mailbox && serveMailbox(mailbox, () => clock))
      view.setUint32(cpu + abi.CPU_REQ, view.getUint32(cpu + abi.CPU_REQ, true) | abi.REQ_JIT, true)
    if (view.getUint32(cpu + abi.CPU_RUNSTATE, true) === abi.RUN_HALTED)
      view.setUint32(cpu + abi.CPU_REQ, abi.REQ_STOP, true)
    return (clock += 1000)
  }
  const compiler = mailbox && { compiler: { mailbox, bell: new SharedArrayBuffer(4) } }
  const start = { memory, kernel, interp, vm: vm.vm, cpu, ...compiler }
  const engine = createEngine(start, now, () => undefined, limits)
  return { ...vm, engines: [engine] }
}

export interface Outcome {
  /** It did not end: nothing can be compared. */
  readonly endless: boolean
  readonly registers: readonly string[]
  readonly memory: Uint8Array
  readonly regions: number
  /** Instructions retired, and those of them in compiled code. */
  readonly instructions: number
  readonly compiled: number
  /** Regions dropped because there was too much. */
  readonly evicted: number
  /** Bytes of modules that were alive at the end. */
  readonly bytes: number
}

const GPR_NAMES = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'] // prettier-ignore

const statOf = ({ view, cpus }: TestVm, stat: number): number =>
  view.getFloat64((cpus[0] ?? 0) + abi.CPU_JIT_STATS + stat, true)

/** @param mask CPU_JIT_MASK: JIT_OFF, or compile what is reached by every (mask + 1)th taken branch */
export function runProgram(vm: TestVm, program: Program, mask: number): Outcome {
  const cpu = vm.cpus[0] ?? 0
  loadImage(vm, program)
  vm.view.setUint32(cpu + abi.CPU_JIT_MASK, mask, true)
  const counts = (): Pick<Outcome, 'regions' | 'evicted' | 'instructions' | 'compiled'> => ({
    regions: statOf(vm, abi.JIT_STAT_REGIONS),
    evicted: statOf(vm, abi.JIT_STAT_EVICTED),
    instructions: Number(vm.view.getBigUint64(cpu + abi.CPU_INSNS, true)),
    compiled: statOf(vm, abi.JIT_STAT_INSTRUCTIONS),
  })
  const before = counts()
  const yields = mask === JIT_OFF ? YIELDS_MAX : COMPILED_YIELDS_MAX
  let reason: number = abi.EXITREASON_YIELD
  for (let n = 0; n < yields && reason === abi.EXITREASON_YIELD; n++) reason = vm.engines[0]?.run() ?? reason
  const after = counts()
  return {
    endless: reason !== abi.EXITREASON_SHUTDOWN,
    registers: [`reason=${reason}`, ...registersOf(vm)],
    memory: guestMemory(vm).slice(),
    regions: after.regions - before.regions,
    evicted: after.evicted - before.evicted,
    instructions: after.instructions - before.instructions,
    compiled: after.compiled - before.compiled,
    bytes: statOf(vm, abi.JIT_STAT_BYTES),
  }
}

function registersOf({ view, cpus, kernel }: TestVm): string[] {
  const cpu = cpus[0] ?? 0
  const hex = (offset: number): string => view.getBigUint64(cpu + offset, true).toString(16)
  const list = [
    `rip=${hex(abi.CPU_RIP)}`,
    `flags=${kernel.flags_get().toString(16)}`,
    `cr2=${hex(abi.CPU_CR2)}`,
  ]
  for (let reg = 0; reg < 16; reg++) list.push(`${GPR_NAMES[reg] ?? `r${reg}`}=${hex(abi.CPU_GPR + 8 * reg)}`)
  for (let reg = 0; reg < 16; reg++) {
    const at = abi.CPU_XMM + reg * abi.CPU_XMM_STRIDE
    list.push(`ymm${reg}=${[24, 16, 8, 0].map((i) => hex(at + i)).join('_')}`)
  }
  for (let reg = 0; reg < 8; reg++)
    list.push(`x87.${reg}=${hex(abi.CPU_X87 + reg * 16 + 8)}_${hex(abi.CPU_X87 + reg * 16)}`)
  list.push(
    `x87=${hex(abi.CPU_X87_CW)}_${hex(abi.CPU_X87_TAG)}`,
    `mxcsr=${view.getUint32(cpu + abi.CPU_MXCSR, true).toString(16)}`,
  )
  return list
}

/** Differences between what the interpreter and compiled code made of a program; none is what is wanted. */
export function differences(program: Program, one: Outcome, other: Outcome): string[] {
  if (one.endless) return []
  const list = one.registers.flatMap((text, i) =>
    text === other.registers[i] ? [] : [`${text} | ${other.registers[i]}`],
  )
  const first =
    Buffer.compare(one.memory, other.memory) === 0
      ? -1
      : one.memory.findIndex((byte, i) => byte !== other.memory[i])
  if (first >= 0) list.push(`memory at 0x${(first + map.GDT).toString(16)}`)
  if (list.length === 0) return []
  return [...firstRecord(program, one, other), ...list]
}

/** The first trace record that differs. Of programs that wrap the buffer it may be a later one. */
function firstRecord({ bits }: Program, one: Outcome, other: Outcome): string[] {
  const start = map.TRACE - map.GDT
  for (let at = start; at < start + map.TRACE_BYTES; at += map.RECORD_BYTES) {
    const record = (memory: Uint8Array): Uint8Array => memory.subarray(at, at + map.RECORD_BYTES)
    if (Buffer.compare(record(one.memory), record(other.memory)) === 0) continue
    const words = (memory: Uint8Array): string[] => {
      const view = new DataView(memory.slice(at, at + map.RECORD_BYTES).buffer)
      return Array.from({ length: map.RECORD_BYTES / (bits / 8) }, (_, i) =>
        bits === 64 ? view.getBigUint64(i * 8, true).toString(16) : view.getUint32(i * 4, true).toString(16),
      )
    }
    const right = words(other.memory)
    const differing = words(one.memory).flatMap((word, i) =>
      word === right[i] ? [] : [`[${i}] ${word} | ${right[i]}`],
    )
    return [
      `record ${(at - start) / map.RECORD_BYTES}, called from ${words(one.memory)[17]}: ${differing.slice(0, 8).join(', ')}`,
    ]
  }
  return []
}
