/** Places that share a set of the jump table keep their counts: what is followed often would never be compiled otherwise. */
import { expect, test } from 'vitest'
import { JIT_OFF } from '#abi/jit.ts'
import { runCode } from './testing/run-code.ts'
import { createTestVm } from './testing/test-vm.ts'

const ROUNDS = 100
const DRIVER = 0x1_0800
/** Their keys fall into the same set: gpa ^ (gpa >> 12) has the same low 14 bits. */
const [FIRST, SECOND] = [0x1_0100, 0x2_0130]

test('two functions of one set, called by turns', async () => {
  const vm = await createTestVm()
  const driver = new Uint8Array(26)
  // mov ebx,ROUNDS; mov eax,FIRST; mov edx,SECOND; 1: call rax; call rdx; sub ebx,1; jne 1b; ud2
  driver.set([0xbb, 0, 0, 0, 0, 0xb8, 0, 0, 0, 0, 0xba])
  driver.set([0xff, 0xd0, 0xff, 0xd2, 0x83, 0xeb, 0x01, 0x75, 0xf7, 0x0f, 0x0b], 15)
  const view = new DataView(driver.buffer)
  view.setUint32(1, ROUNDS, true)
  view.setUint32(6, FIRST, true)
  view.setUint32(11, SECOND, true)
  const ret = Uint8Array.of(0xc3)
  const parts = [
    { address: DRIVER, bytes: driver },
    { address: FIRST, bytes: ret },
    { address: SECOND, bytes: ret },
  ]
  const { instructions, indirect } = runCode(vm, parts, JIT_OFF)
  expect(instructions).toBeGreaterThan(ROUNDS * 6)
  // Two calls and two returns each time round, all but the first of which the table knows.
  expect(indirect).toBeGreaterThan(4 * (ROUNDS - 5))
}, 60_000)
