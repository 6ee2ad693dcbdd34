/** Runs a piece of 64-bit code to its end, a UD2, and says what it left behind. */
import { CACHE_JUMP, CACHE_JUMP_ENTRIES, CACHE_JUMP_SHIFT, CACHE_JUMP_TAKEN } from '#abi/code-cache.ts'
import * as abi from '#abi/layout.ts'
import { enterLong, gpr } from './test-vm.ts'
import type { TestVm } from './test-vm.ts'

const STACK = 0x8000

export interface CodePart {
  readonly address: number
  readonly bytes: Uint8Array
}

export interface CodeOutcome {
  /** RAX to RDI. */
  readonly registers: readonly bigint[]
  readonly instructions: number
  /** Of the instructions, those in compiled code. */
  readonly compiled: number
  /** Indirect branches and returns that the interpreter followed. */
  readonly indirect: number
  readonly yields: number
}

/** From the first byte of the first part, with CPU_JIT_MASK. */
export function runCode(vm: TestVm, parts: readonly CodePart[], mask: number): CodeOutcome {
  const [cpu = 0] = vm.cpus
  const kernel = vm.kernel as unknown as { code_flush(): void; tlb_flush_all(): void }
  vm.kernel.bind(vm.vm, cpu)
  vm.kernel.cpu_reset()
  kernel.code_flush()
  for (const { address, bytes } of parts) vm.write(address, bytes)
  enterLong(vm, parts[0]?.address ?? 0, STACK)
  kernel.tlb_flush_all()
  vm.view.setUint32(cpu + abi.CPU_JIT_QUEUED, 0, true)
  vm.view.setUint32(cpu + abi.CPU_JIT_MASK, mask, true)
  const count = (): number => Number(vm.view.getBigUint64(cpu + abi.CPU_INSNS, true))
  const compiled = (): number => vm.view.getFloat64(cpu + abi.CPU_JIT_STATS + abi.JIT_STAT_INSTRUCTIONS, true)
  const before = { all: count(), compiled: compiled() }
  let yields = 0
  while (vm.engines[0]?.run() === abi.EXITREASON_YIELD) yields++
  const registers = Array.from({ length: 8 }, (_, i) => gpr(vm, i))
  return {
    registers,
    instructions: count() - before.all,
    compiled: compiled() - before.compiled,
    indirect: indirectBranches(vm, cpu),
    yields,
  }
}

function indirectBranches({ view }: TestVm, cpu: number): number {
  const table = view.getUint32(cpu + abi.CPU_CODE_CACHE, true) + CACHE_JUMP
  let sum = 0
  for (let i = 0; i < CACHE_JUMP_ENTRIES; i++) {
    const entry = table + (i << CACHE_JUMP_SHIFT)
    if (view.getInt32(entry, true) !== -1) sum += view.getUint32(entry + CACHE_JUMP_TAKEN, true)
  }
  return sum
}
