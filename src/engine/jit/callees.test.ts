/** Small functions that become part of the code which calls them. */
import { beforeAll, describe, expect, test } from 'vitest'
import { JIT_OFF } from '#abi/jit.ts'
import { CPU_CODE_CACHE, CPU_MODE } from '#abi/layout.ts'
import { Assembler, immediate, memory, register } from '../testing/programs/assembler.ts'
import { runCode } from '../testing/run-code.ts'
import type { CodePart } from '../testing/run-code.ts'
import { createTestVm } from '../testing/test-vm.ts'
import type { TestVm } from '../testing/test-vm.ts'
import { knownHandlers } from './batch.ts'
import { formRegion } from './discover.ts'
import type { JitKernel } from './jit.ts'
import type { Region } from './discover.ts'

const CODE = 0x1_0f80
const FAR = 0x6_0ff0
const [RAX, RCX, RDX, RBX, RSP] = [0, 1, 2, 3, 4]
/** Compiled at once. */
const WARM = 15
const ROUNDS = 30_000

let vm: TestVm
beforeAll(async () => {
  vm = await createTestVm()
}, 300_000)

/** `body` once for each round, in a loop whose first instruction is LOOP; then what `functions` emits. */
function looping(body: (a: Assembler) => void, functions: (a: Assembler) => void): CodePart {
  const a = new Assembler(64, CODE)
  a.wide('mov_rmv_immz', [register(RBX), immediate(ROUNDS)], 32)
  const again = a.here()
  body(a)
  a.wide('sub_rmv_simm8', [register(RBX), immediate(1)], 32)
  a.branch('jne_relz', again)
  a.op('ud2')
  functions(a)
  return { address: CODE, bytes: a.bytes() }
}
const LOOP = CODE + 6

/** The region of the loop, with everything that it knows of its surroundings. */
function regionOf(): Region | undefined {
  const [cpu = 0] = vm.cpus
  const kernel = vm.kernel as unknown as Pick<JitKernel, 'code_peek' | 'code_taken'>
  const source = {
    view: vm.view,
    handler: (op: number) => knownHandlers()[op],
    peek: (gpa: bigint, mode: number) => kernel.code_peek(gpa, mode) >>> 0,
    taken: (gpa: bigint, mode: number) => kernel.code_taken(gpa, mode) >>> 0,
    cache: () => vm.view.getUint32(cpu + CPU_CODE_CACHE, true),
  }
  const page = LOOP >> 12
  return formRegion(source, {
    gpa: BigInt(LOOP),
    mode: vm.view.getUint32(cpu + CPU_MODE, true),
    gfns: new Map([
      [0, page],
      [1, page + 1],
    ]),
    farGfn: (distance) => page + distance,
    rare: 1,
  })
}

function check(parts: readonly CodePart[], contexts: number): void {
  const interpreted = runCode(vm, parts, JIT_OFF)
  expect(regionOf()?.contexts).toHaveLength(contexts)
  const compiled = runCode(vm, parts, WARM)
  expect(compiled.registers).toEqual(interpreted.registers)
  expect(compiled.instructions).toBe(interpreted.instructions)
  expect(compiled.compiled).toBeGreaterThan(0.7 * compiled.instructions)
}

/** rdx = rdx * 5 + rcx, by way of the stack. */
function small(a: Assembler): void {
  a.op('push_ov', [register(RCX)], { width: 64 })
  a.wide('lea_rv_m', [register(RDX), memory({ base: RDX, index: RDX, scale: 4 })], 32)
  a.op('pop_ov', [register(RAX)], { width: 64 })
  a.wide('add_rmv_rv', [register(RDX), register(RAX)], 32)
  a.op('ret', [], { width: 64 })
}

describe('a callee', () => {
  test('beside its caller, called twice', () => {
    const a0: { f: number } = { f: 0 }
    const call = (a: Assembler): void => {
      a.wide('add_rmv_simm8', [register(RCX), immediate(3)], 32)
      a0.f ||= a.label()
      a.branch('call_relz', a0.f)
      a.branch('call_relz', a0.f)
    }
    check([looping(call, (a) => (a.bind(a0.f), small(a)))], 3)
  })

  test('in pages far away, across the end of one', () => {
    const far = new Assembler(64, FAR)
    small(far)
    small(far)
    const call = (a: Assembler): void =>
      a.late('call_relz', (_, end) => ({ width: 64, operands: [immediate(FAR - end)] }))
    check([looping(call, () => undefined), { address: FAR, bytes: far.bytes() }], 2)
  })

  test('that does not return to its caller', () => {
    let [f, elsewhere] = [0, 0]
    const call = (a: Assembler): void => {
      ;[f, elsewhere] = [a.label(), a.label()]
      a.wide('add_rmv_simm8', [register(RCX), immediate(3)], 32)
      a.branch('call_relz', f)
      a.op('ud2')
      a.bind(elsewhere)
    }
    const functions = (a: Assembler): void => {
      a.bind(f)
      a.address(RAX, elsewhere)
      a.wide('mov_rmv_rv', [memory({ base: RSP }), register(RAX)])
      a.op('ret', [], { width: 64 })
    }
    check([looping(call, functions)], 2)
  })

  test('that calls itself, deeper than it is taken in', () => {
    let f = 0
    const call = (a: Assembler): void => {
      f = a.label()
      a.wide('mov_rmv_immz', [register(RCX), immediate(7)], 32)
      a.branch('call_relz', f)
    }
    const functions = (a: Assembler): void => {
      const out = a.label()
      a.bind(f)
      a.wide('lea_rv_m', [register(RDX), memory({ base: RDX, index: RCX, scale: 2 })], 32)
      a.wide('sub_rmv_simm8', [register(RCX), immediate(1)], 32)
      a.branch('je_relz', out)
      a.branch('call_relz', f)
      a.wide('rol_rmv_imm8', [register(RDX), immediate(3)], 32)
      a.bind(out)
      a.op('ret', [], { width: 64 })
    }
    check([looping(call, functions)], 3)
  })
})
