/** Interpreters and switches: code whose loops go through indirect jumps. */
import { beforeAll, describe, expect, test } from 'vitest'
import { JIT_OFF } from '#abi/jit.ts'
import { Assembler, immediate, memory, register } from '../testing/programs/assembler.ts'
import { runCode } from '../testing/run-code.ts'
import type { CodeOutcome } from '../testing/run-code.ts'
import { createTestVm } from '../testing/test-vm.ts'
import type { TestVm } from '../testing/test-vm.ts'

const CODE = 0x1_0f00
const [RAX, RCX, RDX, RBX] = [0, 1, 2, 3]
/** Compiled at once. */
const WARM = 15

let vm: TestVm
beforeAll(async () => {
  vm = await createTestVm()
}, 300_000)

/** Loads the next of eight opcodes and jumps to its handler. */
function next(a: Assembler, opcodes: number, table: number): void {
  a.late('mov_rv_rmv', (resolve) => ({
    width: 32,
    operands: [
      register(RCX),
      memory({ index: RBX, scale: 4, displacement: resolve(opcodes), displacementBytes: 4 }),
    ],
  }))
  a.wide('lea_rv_m', [register(RBX), memory({ base: RBX, displacement: 1 })], 32)
  a.wide('and_rmv_simm8', [register(RBX), immediate(7)], 32)
  a.late('jmp_rmv', (resolve) => ({
    width: 64,
    operands: [memory({ index: RCX, scale: 8, displacement: resolve(table), displacementBytes: 4 })],
  }))
}

/** A threaded interpreter of `handlers` opcodes, across the end of a page; it stops after `rounds` of its first opcode. */
function threaded(handlers: number, rounds: number): Uint8Array {
  const a = new Assembler(64, CODE)
  const [opcodes, table] = [a.label(), a.label()]
  const places = Array.from({ length: handlers }, () => a.label())
  a.wide('mov_rmv_immz', [register(RAX), immediate(rounds)], 32)
  a.wide('xor_rmv_rv', [register(RBX), register(RBX)], 32)
  a.wide('xor_rmv_rv', [register(RDX), register(RDX)], 32)
  next(a, opcodes, table)
  for (const [i, place] of places.entries()) {
    a.bind(place)
    if (i === 0) {
      const more = a.label()
      a.wide('sub_rmv_simm8', [register(RAX), immediate(1)], 32)
      a.branch('jne_relz', more)
      a.op('ud2')
      a.bind(more)
    } else a.wide(i % 2 ? 'add_rmv_immz' : 'xor_rmv_immz', [register(RDX), immediate(0x1234_5 * i)], 32)
    a.wide('rol_rmv_imm8', [register(RDX), immediate(3)], 32)
    next(a, opcodes, table)
  }
  a.bind(table)
  for (const place of places) a.pointer(place)
  a.bind(opcodes)
  const numbers = Uint32Array.from({ length: 8 }, (_, i) => (i * 5) % handlers)
  return Uint8Array.from([...a.bytes(), ...new Uint8Array(numbers.buffer)])
}

const run = (code: Uint8Array, mask: number): CodeOutcome =>
  runCode(vm, [{ address: CODE, bytes: code }], mask)

describe('a threaded interpreter', () => {
  const ROUNDS = 50_000

  test.each([2, 5, 8])('of %d opcodes stays in one region, with the same results', (handlers) => {
    const code = threaded(handlers, ROUNDS)
    const interpreted = run(code, JIT_OFF)
    const compiled = run(code, WARM)
    expect(compiled.registers).toEqual(interpreted.registers)
    expect(compiled.instructions).toBe(interpreted.instructions)
    expect(compiled.compiled).toBeGreaterThan(0.7 * compiled.instructions)
    expect(interpreted.indirect).toBeGreaterThan(ROUNDS * 0.9)
    expect(compiled.indirect).toBeLessThan(ROUNDS / 10)
  })

  test('is interrupted by requests although its only loop goes through an indirect jump', () => {
    expect(run(threaded(8, 5_000_000), WARM).yields).toBeGreaterThan(1)
  })
})
