/**
 * Random programs in the interpreter and as compiled code: everything they leave behind must be equal. The long run:
 *
 *   RANDOM_PROGRAMS=1000 RANDOM_FIRST=5000 npx vitest run src/engine/jit/random-programs.test.ts
 *
 * runs so many seeds from the given one on. A failure names seed, code size and the first trace record that differs;
 * `makeProgram(bits, seed, { omit })` leaves items out to make it smaller.
 */
import process from 'node:process'
import { beforeAll, describe, expect, test } from 'vitest'
import { JIT_MAILBOX_BYTES, JIT_OFF } from '#abi/jit.ts'

import type { TestVm } from '../testing/test-vm.ts'
import { makeProgram } from '../testing/programs/program.ts'
import { createProgramVm, differences, runProgram } from '../testing/programs/run-program.ts'

const PROGRAMS = Number(process.env['RANDOM_PROGRAMS'] ?? 60)
const FIRST = Number(process.env['RANDOM_FIRST'] ?? 0)
/** CPU_JIT_MASK. Compiled at the first branch, regions are small; later they hold what the branches in between reached. */
const MASKS = [0, 3]
/** Of the instructions, at least; the rest runs once or twice, or faults. */
const COMPILED_SHARE = 0.3
const TIMEOUT_MS = 120_000 + PROGRAMS * 4000

let vm: TestVm
let remote: TestVm

beforeAll(async () => {
  vm = await createProgramVm()
  remote = await createProgramVm({ mailbox: new SharedArrayBuffer(JIT_MAILBOX_BYTES) })
}, 300_000)

describe.each([64, 32] as const)('programs of %d-bit code', (bits) => {
  test.each(MASKS)('do the same compiled, with mask %d', { timeout: TIMEOUT_MS }, (mask) => {
    let [regions, compiled, instructions] = [0, 0, 0]
    let ended = 0
    for (let seed = FIRST; seed < FIRST + PROGRAMS; seed++) {
      const program = makeProgram(bits, `p${seed}`)
      const interpreted = runProgram(vm, program, JIT_OFF)
      const outcome = runProgram(vm, program, mask)
      expect(differences(program, interpreted, outcome), `seed ${seed}`).toEqual([])
      expect(interpreted.regions).toBe(0)
      regions += outcome.regions
      compiled += outcome.compiled
      instructions += outcome.instructions
      if (!outcome.endless) ended++
    }
    expect(regions).toBeGreaterThan(PROGRAMS * 5)
    expect(compiled).toBeGreaterThan(instructions * COMPILED_SHARE)
    expect(ended).toBeGreaterThan(PROGRAMS * 0.9)
  })
})

test.each([64, 32] as const)(
  'programs of %d-bit code do the same where modules come late',
  { timeout: TIMEOUT_MS },
  (bits) => {
    let [regions, compiled, instructions] = [0, 0, 0]
    for (let seed = FIRST; seed < FIRST + PROGRAMS; seed++) {
      const program = makeProgram(bits, `p${seed}`)
      const interpreted = runProgram(vm, program, JIT_OFF)
      const outcome = runProgram(remote, program, 0)
      expect(differences(program, interpreted, outcome), `seed ${seed}`).toEqual([])
      regions += outcome.regions
      compiled += outcome.compiled
      instructions += outcome.instructions
    }
    expect(regions).toBeGreaterThan(PROGRAMS / 4)
    expect(compiled).toBeGreaterThan(instructions * COMPILED_SHARE)
  },
)

test.each([
  ['p40', 'an instruction run alone at address 0'],
  ['p3021', 'flags of a helper behind a condition on those that the region was entered with'],
])('%s does the same again: %s', (seed) => {
  const program = makeProgram(64, seed)
  const interpreted = runProgram(vm, program, JIT_OFF)
  for (const mask of MASKS)
    expect(differences(program, interpreted, runProgram(vm, program, mask))).toEqual([])
})

test(
  'compiled code is dropped when there is too much, and programs go on',
  { timeout: TIMEOUT_MS },
  async () => {
    const limits = { regions: 40, bytes: 60_000 }
    const small = await createProgramVm({ limits })
    let evicted = 0
    for (let seed = FIRST; seed < FIRST + 20; seed++) {
      const program = makeProgram(64, `p${seed}`)
      const outcome = runProgram(small, program, 0)
      expect(differences(program, runProgram(vm, program, JIT_OFF), outcome), `seed ${seed}`).toEqual([])
      // What came last may be over the limit, by one module.
      expect(outcome.bytes).toBeLessThan(2 * limits.bytes)
      evicted += outcome.evicted
    }
    expect(evicted).toBeGreaterThan(100)
  },
)

test('a difference is noticed', () => {
  const program = makeProgram(64, 'p1')
  const right = runProgram(vm, program, JIT_OFF)
  const memory = right.memory.slice()
  memory[memory.length - 1] = (memory.at(-1) ?? 0) ^ 1
  expect(differences(program, right, { ...right, memory })).not.toEqual([])
  expect(differences(program, right, { ...right, registers: ['reason=0'] })).not.toEqual([])
})
