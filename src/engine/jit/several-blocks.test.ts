/** Instructions that stand in several decoded blocks: branches into the middle of code that another place fell into. */
import { beforeAll, expect, test } from 'vitest'
import { JIT_OFF } from '#abi/jit.ts'
import { CPU_MODE } from '#abi/layout.ts'
import { Assembler, immediate, register } from '../testing/programs/assembler.ts'
import { runCode } from '../testing/run-code.ts'
import { createTestVm } from '../testing/test-vm.ts'
import type { TestVm } from '../testing/test-vm.ts'
import type { JitKernel } from './jit.ts'

const CODE = 0x1_0100
const [RAX, RCX, RDX, RBX] = [0, 1, 2, 3]
const ROUNDS = 3000
/** So long that a batch is compiled for its age (JIT_SLICES_DUE), too. */
const ROUNDS_COMPILED = 200_000
const TURNS = 5

let vm: TestVm
beforeAll(async () => {
  vm = await createTestVm()
}, 300_000)

/** Two loops, one in the other, entered behind the head of the outer one; where the inner one's branch is. */
function program(rounds: number): { bytes: Uint8Array; branch: number } {
  const a = new Assembler(64, CODE)
  const [head, middle] = [a.label(), a.label()]
  a.wide('mov_rmv_immz', [register(RBX), immediate(rounds)], 32)
  a.branch('jmp_relz', middle)
  a.bind(head)
  a.wide('add_rmv_simm8', [register(RDX), immediate(1)], 32)
  a.bind(middle)
  a.wide('mov_rmv_immz', [register(RCX), immediate(TURNS)], 32)
  const inner = a.here()
  a.wide('add_rmv_rv', [register(RAX), register(RCX)], 32)
  a.wide('sub_rmv_simm8', [register(RCX), immediate(1)], 32)
  const branch = CODE + a.bytes().length
  a.branch('jne_relz', inner)
  a.wide('sub_rmv_simm8', [register(RBX), immediate(1)], 32)
  a.branch('jne_relz', head)
  a.op('ud2')
  return { bytes: a.bytes(), branch }
}

test('a branch was taken as often as in all of them together', () => {
  const { bytes, branch } = program(ROUNDS)
  runCode(vm, [{ address: CODE, bytes }], JIT_OFF)
  const { code_taken } = vm.kernel as unknown as Pick<JitKernel, 'code_taken'>
  const mode = vm.view.getUint32((vm.cpus[0] ?? 0) + CPU_MODE, true)
  const taken = code_taken(BigInt(branch), mode) >>> 0
  // The first few, and those at the end of a slice, go another way.
  expect(taken).toBeLessThanOrEqual(ROUNDS * (TURNS - 1))
  expect(taken).toBeGreaterThan(ROUNDS * (TURNS - 1) - 50)
})

test.each([0, 15, 255])('and does the same compiled, with mask %i', (mask) => {
  const parts = [{ address: CODE, bytes: program(ROUNDS_COMPILED).bytes }]
  const interpreted = runCode(vm, parts, JIT_OFF)
  expect(interpreted.compiled).toBe(0)
  const compiled = runCode(vm, parts, mask)
  expect(compiled.registers).toEqual(interpreted.registers)
  expect(compiled.instructions).toBe(interpreted.instructions)
  // All but those in front of the loops, and those until compiled code is there.
  expect(compiled.compiled).toBeLessThan(compiled.instructions)
  expect(compiled.compiled).toBeGreaterThan(0.7 * compiled.instructions)
})
