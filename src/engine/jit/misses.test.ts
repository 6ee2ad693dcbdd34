/** Accesses whose page compiled code does not find in the TLB: it leaves them to the interpreter, and not for ever. */
import { beforeAll, expect, test } from 'vitest'
import { JIT_OFF } from '#abi/jit.ts'
import { CPU_MODE } from '#abi/layout.ts'
import { RECF_MISSES, REC_FLAGS } from '#abi/record.ts'
import { Assembler, immediate, memory, register } from '../testing/programs/assembler.ts'
import { createProgramVm } from '../testing/programs/run-program.ts'
import { runCode } from '../testing/run-code.ts'
import type { TestVm } from '../testing/test-vm.ts'
import { JIT_LIMITS } from './jit.ts'
import type { JitKernel } from './jit.ts'

const CODE = 0x1_0100
const PAGE_END = 0x9_1000
const [RAX, RCX, RSI] = [0, 1, 6]
const MASK = 15

let vm: TestVm
beforeAll(async () => {
  vm = await createProgramVm({ limits: { ...JIT_LIMITS, slowWays: 'none' } })
}, 300_000)

/** Adds up what lies across the end of a page, so many times; where its loop begins. */
function program(rounds: number): { bytes: Uint8Array; loop: number } {
  const a = new Assembler(64, CODE)
  a.wide('mov_rmv_immz', [register(RCX), immediate(rounds)], 32)
  a.wide('mov_rmv_immz', [register(RSI), immediate(PAGE_END - 3)], 32)
  const loop = CODE + a.bytes().length
  const again = a.here()
  a.wide('add_rv_rmv', [register(RAX), memory({ base: RSI })], 64)
  a.wide('add_rmv_rv', [memory({ base: RSI }), register(RCX)], 64)
  a.wide('sub_rmv_simm8', [register(RCX), immediate(1)], 32)
  a.branch('jne_relz', again)
  a.op('ud2')
  return { bytes: a.bytes(), loop }
}

test.each([
  [400, false],
  [5000, true],
])('%i rounds of it, made again with slow ways: %s', (rounds, slow) => {
  const { bytes, loop } = program(rounds)
  const parts = [
    { address: CODE, bytes },
    { address: PAGE_END - 8, bytes: Uint8Array.from({ length: 16 }, (_, i) => i + 1) },
  ]
  const interpreted = runCode(vm, parts, JIT_OFF)
  const compiled = runCode(vm, parts, MASK)
  expect(compiled.registers).toEqual(interpreted.registers)
  expect(compiled.instructions).toBe(interpreted.instructions)
  const { code_peek } = vm.kernel as unknown as Pick<JitKernel, 'code_peek'>
  const mode = vm.view.getUint32((vm.cpus[0] ?? 0) + CPU_MODE, true)
  const record = code_peek(BigInt(loop), mode) >>> 0
  expect(record).not.toBe(0)
  expect((vm.view.getUint8(record + REC_FLAGS) & RECF_MISSES) !== 0).toBe(slow)
})

test('an instruction alone at address 0 in front of a region', () => {
  const a = new Assembler(64, 0)
  const again = a.here()
  a.wide('add_rmv_rv', [memory({ base: RSI }), register(RCX)], 64)
  a.wide('add_rmv_simm8', [register(RCX), immediate(1)], 32)
  a.wide('cmp_rmv_simm8', [register(RCX), immediate(100)], 32)
  a.branch('jne_relz', again)
  a.op('ud2')
  const start = new Assembler(64, CODE)
  start.wide('mov_rmv_immz', [register(RSI), immediate(PAGE_END - 3)], 32)
  start.wide('mov_rmv_immz', [register(RAX), immediate(0)], 32)
  start.wide('jmp_rmv', [register(RAX)], 64)
  const parts = [
    { address: CODE, bytes: start.bytes() },
    { address: 0, bytes: a.bytes() },
  ]
  const interpreted = runCode(vm, parts, JIT_OFF)
  expect(interpreted.registers[RCX]).toBe(100n)
  expect(runCode(vm, parts, MASK).registers).toEqual(interpreted.registers)
})
