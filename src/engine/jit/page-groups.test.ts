/** Accesses that rely on the page which one before them found: at the ends of pages that do not lie side by side. */
import { beforeAll, describe, expect, test } from 'vitest'
import { JIT_OFF } from '#abi/jit.ts'
import { CPU_PCBASE, CPU_ZERO, VM_FRAME_MAP } from '#abi/layout.ts'
import { REC_BASE, REC_DISP, REC_INDEX, REC_SIZE } from '#abi/record.ts'
import { Assembler, immediate, memory, register } from '../testing/programs/assembler.ts'
import { runCode } from '../testing/run-code.ts'
import { createTestVm } from '../testing/test-vm.ts'
import type { TestVm } from '../testing/test-vm.ts'
import { PageGroups } from './page-groups.ts'

const CODE = 0x1_0f80
const DATA = 0x9_0000
const PAGES = 4
const [RAX, RCX, RDX, RBX, RSP, RSI] = [0, 1, 2, 3, 4, 6]
const WARM = 15
const ROUNDS = 2500

describe('the group', () => {
  const operand = (base: number, displacement: number, index = CPU_ZERO): DataView => {
    const view = new DataView(new ArrayBuffer(REC_SIZE))
    view.setUint16(REC_BASE, base, true)
    view.setUint16(REC_INDEX, index, true)
    view.setInt32(REC_DISP, displacement, true)
    return view
  }

  test('is that of the registers as long as they keep their values', () => {
    const groups = new PageGroups()
    const first = groups.of(operand(RSI * 8, 8), 0, false)
    expect(groups.of(operand(RSI * 8, 16), 0, true)).toBe(first)
    expect(first).toEqual({ accesses: 2, writes: true })
    expect(groups.of(operand(RSI * 8, 8, RCX * 8), 0, false)).not.toBe(first)
    groups.changed(RSI)
    expect(groups.of(operand(RSI * 8, 8), 0, false)).not.toBe(first)
  })

  test('ends after a while, and where everything may have happened', () => {
    const groups = new PageGroups()
    const first = groups.of(operand(RSI * 8, 0), 0, false)
    expect(groups.of(operand(RSI * 8, 2000), 0, false)).not.toBe(first)
    groups.forget()
    expect(groups.of(operand(RSI * 8, 0), 0, false)).not.toBe(first)
  })

  test('is that of the page where only RIP is added', () => {
    const groups = new PageGroups()
    const first = groups.of(operand(CPU_PCBASE, 0x1010), 0x1000, false)
    expect(groups.of(operand(CPU_PCBASE, 0x1ff0), 0x1000, false)).toBe(first)
    expect(groups.of(operand(CPU_PCBASE, 0x1ff0), 0x2000, false)).not.toBe(first)
  })

  test('does not exist for an address without registers', () => {
    expect(new PageGroups().of(operand(CPU_ZERO, 0x1000), 0, false)).toBeUndefined()
  })
})

describe('compiled code at the ends of pages', () => {
  let vm: TestVm
  beforeAll(async () => {
    vm = await createTestVm()
    // Neighbours of the guest are no neighbours in memory.
    const map = vm.view.getUint32(vm.vm + VM_FRAME_MAP, true)
    const frames = Array.from({ length: PAGES }, (_, i) => map + ((DATA >> 12) + i) * 4)
    const entries = frames.map((at) => vm.view.getUint32(at, true))
    for (const [i, at] of frames.entries()) vm.view.setUint32(at, entries[PAGES - 1 - i] ?? 0, true)
  }, 300_000)

  /** All registers and the data, after ROUNDS turns with RSI 4 bytes farther each time. */
  function outcome(body: (a: Assembler) => void, mask: number): unknown {
    const a = new Assembler(64, CODE)
    a.wide('mov_rmv_immz', [register(RBX), immediate(ROUNDS)], 32)
    a.wide('mov_rmv_immz', [register(RSI), immediate(DATA + 0x100)], 32)
    const again = a.here()
    body(a)
    a.wide('add_rmv_simm8', [register(RSI), immediate(4)])
    a.wide('sub_rmv_simm8', [register(RBX), immediate(1)], 32)
    a.branch('jne_relz', again)
    a.op('ud2')
    const data = {
      address: DATA,
      bytes: Uint8Array.from({ length: PAGES * 4096 }, (_, i) => (i * 37) ^ (i >> 5)),
    }
    for (let page = 0; page < PAGES; page++) {
      // The last page of the guest is the first in memory.
      const bytes = data.bytes.subarray(page * 4096, (page + 1) * 4096)
      vm.write(DATA + (PAGES - 1 - page) * 4096, bytes)
    }
    const { registers, instructions, compiled } = runCode(vm, [{ address: CODE, bytes: a.bytes() }], mask)
    if (mask === WARM) expect(compiled).toBeGreaterThan(0.7 * instructions)
    const after = new Uint8Array(vm.memory.buffer, vm.host(DATA), PAGES * 4096).slice()
    return { registers, instructions, after: Buffer.from(after).toString('base64') }
  }

  const check = (body: (a: Assembler) => void): void =>
    expect(outcome(body, WARM)).toEqual(outcome(body, JIT_OFF))

  const field = (displacement: number) => memory({ base: RSI, displacement, displacementBytes: 4 })

  test('fields that are read', () => {
    check((a) => {
      a.wide('mov_rv_rmv', [register(RAX), field(0x10)])
      a.wide('add_rv_rmv', [register(RCX), field(0x18)])
      a.wide('add_rv_rmv', [register(RDX), field(0x60)], 32)
      a.wide('add_rv_rmv', [register(RDX), field(0x3e)])
      a.wide('add_rmv_rv', [register(RDX), register(RAX)])
    })
  })

  test('fields that are written and changed', () => {
    check((a) => {
      a.wide('add_rv_rmv', [register(RAX), field(0x10)])
      a.wide('mov_rmv_rv', [field(0x40), register(RAX)])
      a.wide('add_rmv_rv', [field(0x44), register(RDX)], 32)
      a.wide('mov_rmv_rv', [field(0x31), register(RCX)])
      a.wide('add_rv_rmv', [register(RDX), field(0x7c)])
    })
  })

  test('the stack', () => {
    check((a) => {
      a.wide('lea_rv_m', [register(RSP), field(0x80)])
      a.op('push_ov', [register(RAX)], { width: 64 })
      a.wide('add_rv_rmv', [register(RDX), memory({ base: RSP, displacement: -4, displacementBytes: 1 })])
      a.op('push_ov', [register(RDX)], { width: 64 })
      a.op('pop_ov', [register(RAX)], { width: 64 })
      a.wide('add_rmv_rv', [memory({ base: RSP, displacement: 0x18, displacementBytes: 1 }), register(RAX)])
      a.wide('mov_rmv_rv', [memory({ base: RSP, displacement: 6, displacementBytes: 1 }), register(RAX)], 32)
    })
  })
})
