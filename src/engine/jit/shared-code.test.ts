/** Code that one vCPU had compiled, on another one. */
import { beforeEach, describe, expect, test } from 'vitest'
import { JIT_MAILBOX_BYTES } from '#abi/jit.ts'
import * as abi from '#abi/layout.ts'
import { REC_IMM, REC_OP } from '#abi/record.ts'
import { HANDLER_REGION } from '#isa/handlers.ts'
import { createTestVm, enterLong } from '../testing/test-vm.ts'
import type { TestVm } from '../testing/test-vm.ts'
import { createEngine } from '../vcpu-loop.ts'
import type { AdoptingKernel } from './adopt.ts'
import { CodePlaces } from './code-places.ts'
import { JIT_LIMITS } from './jit.ts'
import { serveMailbox } from './mailbox.ts'
import { CodeStore, SharedIndex } from './shared-code.ts'

const CODE = 0x1_0000
const ROUNDS = 300_000
const [RDX, RBX] = [2, 3]
/** CPU_JIT_MASK: compiled soon, and never in so many rounds. */
const [SOON, NEVER] = [15, 0xf_ffff]

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const ROUNDS_HEX = Buffer.from(Uint32Array.of(ROUNDS).buffer).toString('hex')
/** mov ecx,ROUNDS; xor ebx,ebx; 1: test edx,ecx; jnz 3f; add rbx,1; 2: dec ecx; jne 1b; ud2 … 3: add rbx,2; jmp 2b */
const LOOP = hex(`b9${ROUNDS_HEX} 31db 85ca 7575 4883c301 ffc9 75f4 0f0b`)
const ODD = hex('4883c302 eb89')
const [LOOP_AT, STEP_AT, ODD_AT] = [CODE + 7, CODE + 14, CODE + 0x80]

let vm: TestVm
let index: SharedIndex

/** A VM whose vCPUs share a compiler, which works whenever one looks at the clock. */
beforeEach(async () => {
  const made = await createTestVm(0x20_0000, 2)
  const { memory, kernelModule: kernel, interp, view } = made
  index = new SharedIndex(memory, made.vm)
  const store = new CodeStore(index)
  const mailboxes = made.cpus.map(() => new SharedArrayBuffer(JIT_MAILBOX_BYTES))
  const bell = new SharedArrayBuffer(4)
  let clock = 0
  const now = (): number => {
    for (const [i, cpu] of made.cpus.entries()) {
      const mailbox = mailboxes[i]
      if (mailbox && serveMailbox(mailbox, () => clock, store))
        view.setUint32(cpu + abi.CPU_REQ, view.getUint32(cpu + abi.CPU_REQ, true) | abi.REQ_JIT, true)
    }
    return (clock += 1000)
  }
  const engines = made.cpus.map((cpu, i) => {
    const compiler = { mailbox: mailboxes[i] ?? bell, bell }
    return createEngine({ memory, kernel, interp, vm: made.vm, cpu, compiler }, now, () => undefined)
  })
  vm = { ...made, engines }
  vm.write(CODE, LOOP)
  vm.write(ODD_AT, ODD)
}, 300_000)

const stat = (vcpu: number, offset: number): number =>
  vm.view.getFloat64((vm.cpus[vcpu] ?? 0) + abi.CPU_JIT_STATS + offset, true)

/** Runs the loop: with `odd` every other round takes the way at ODD_AT. Returns RBX. */
function run(vcpu: number, mask: number, odd: boolean): number {
  const cpu = vm.cpus[vcpu] ?? 0
  enterLong(vm, CODE, 0x8000, vcpu)
  vm.view.setBigUint64(cpu + abi.CPU_GPR + RDX * 8, odd ? 1n : 0n, true)
  vm.view.setUint32(cpu + abi.CPU_JIT_MASK, mask, true)
  let reason: number = abi.EXITREASON_YIELD
  while (reason === abi.EXITREASON_YIELD) reason = vm.engines[vcpu]?.run() ?? 0
  expect(reason).toBe(abi.EXITREASON_SHUTDOWN)
  return Number(vm.view.getBigUint64(cpu + abi.CPU_GPR + RBX * 8, true))
}

/** As the hub or another vCPU writes to memory. */
function write(at: number, byte: number): void {
  vm.write(at, [byte])
  const kernel = vm.kernel as unknown as { code_store(gfn: number, first: number, last: number): void }
  kernel.code_store(at >> 12, at & 0xfff, at & 0xfff)
}

const opAt = (record: number): number => vm.view.getUint16(record + REC_OP, true)

/** gpa << 8 | mode of the loop. */
function loopKey(): bigint {
  const mode = vm.view.getUint32((vm.cpus[0] ?? 0) + abi.CPU_MODE, true)
  return (BigInt(LOOP_AT) << 8n) | BigInt(mode)
}

describe('compiled code', () => {
  test('is used by another vCPU before its own would be worth compiling', () => {
    expect(run(0, SOON, true)).toBe(ROUNDS * 1.5)
    expect(stat(0, abi.JIT_STAT_REGIONS)).toBeGreaterThan(0)
    expect(run(1, NEVER, true)).toBe(ROUNDS * 1.5)
    expect(stat(1, abi.JIT_STAT_SHARED)).toBeGreaterThan(0)
    expect(stat(1, abi.JIT_STAT_REGIONS)).toBe(0)
  })

  test('is used again by the same vCPU after everything was dropped', () => {
    run(0, SOON, true)
    const kernel = vm.kernel as unknown as { code_flush(): void }
    vm.kernel.bind(vm.vm, vm.cpus[0] ?? 0)
    kernel.code_flush()
    const modules = stat(0, abi.JIT_STAT_MODULES)
    expect(run(0, NEVER, true)).toBe(ROUNDS * 1.5)
    expect(stat(0, abi.JIT_STAT_SHARED)).toBeGreaterThan(0)
    expect(stat(0, abi.JIT_STAT_MODULES)).toBe(modules)
  })

  test('is not used where memory has changed since', () => {
    run(0, SOON, true)
    expect(index.find(loopKey())).toBeDefined()
    write(STEP_AT, 5)
    expect(run(1, NEVER, true)).toBe(ROUNDS * 3.5)
    expect(stat(1, abi.JIT_STAT_SHARED)).toBe(0)
    expect(index.find(loopKey())).toBeUndefined()
  })

  test('ends with a write to a part that the other vCPU has never run', () => {
    run(0, SOON, true)
    expect(run(1, NEVER, false)).toBe(ROUNDS)
    expect(stat(1, abi.JIT_STAT_SHARED)).toBeGreaterThan(0)
    write(ODD_AT + 3, 4)
    expect(run(1, NEVER, true)).toBe(ROUNDS * 2.5)
  })

  test('leaves its record when its struct is given to another', () => {
    run(0, SOON, true)
    run(1, NEVER, true)
    const kernel = vm.kernel as unknown as AdoptingKernel
    vm.kernel.bind(vm.vm, vm.cpus[1] ?? 0)
    const mode = Number(loopKey() & 0xffn)
    const at = (gpa: number): number => kernel.code_peek(BigInt(gpa), mode) >>> 0
    const entry = [LOOP_AT, CODE + 15, ODD_AT].map(at).find((record) => opAt(record) === HANDLER_REGION) ?? 0
    expect(entry).toBeGreaterThan(0)
    const struct = vm.view.getUint32(entry + REC_IMM + 4, true)
    expect(kernel.jit_region(struct, at(STEP_AT - 3))).toBe(1)
    expect(opAt(entry)).not.toBe(HANDLER_REGION)
  })

  test('of a new generation takes the places of the old one, and no vCPU mixes them', () => {
    run(0, SOON, true)
    run(1, NEVER, true)
    const shared = stat(1, abi.JIT_STAT_SHARED)
    const places = new CodePlaces(vm.memory, vm.vm, JIT_LIMITS.regions)
    places.renew(0)
    write(STEP_AT, 5)
    expect(run(0, SOON, true)).toBe(ROUNDS * 3.5)
    expect(places.reserve([])).toMatchObject({ generation: 1 })
    expect(run(1, NEVER, true)).toBe(ROUNDS * 3.5)
    expect(stat(0, abi.JIT_STAT_EVICTED)).toBeGreaterThan(0)
    expect(stat(1, abi.JIT_STAT_EVICTED)).toBeGreaterThan(0)
    expect(stat(1, abi.JIT_STAT_SHARED)).toBeGreaterThan(shared)
  })

  test('that is not kept any more is forgotten', () => {
    run(0, NEVER, true)
    index.enter(loopKey(), 99, 0)
    expect(run(1, NEVER, true)).toBe(ROUNDS * 1.5)
    expect(index.find(loopKey())).toBeUndefined()
  })

  test('of a place that the index has wrong is not used', () => {
    run(0, SOON, true)
    const places = [LOOP_AT, CODE + 15, ODD_AT].map((at) => (BigInt(at) << 8n) | (loopKey() & 0xffn))
    const found = places.map((place) => index.find(place))
    // Each leads to another's code; the last one to none.
    for (const [i, place] of places.entries()) {
      const { batch, region } = found[(i + 1) % places.length] ?? { batch: 0, region: 0 }
      expect(batch).toBeGreaterThan(0)
      index.enter(place, batch, place === places.at(-1) ? 23 : region)
    }
    expect(run(1, NEVER, true)).toBe(ROUNDS * 1.5)
    expect(stat(1, abi.JIT_STAT_SHARED)).toBe(0)
  })
})

test('a store keeps the last modules, up to a limit', () => {
  const store = new CodeStore(index)
  const module = new Uint8Array(9 * 1024 * 1024)
  const batch = { generation: 0, first: 0, links: 0, linkBytes: 0, regions: [] }
  for (let i = 0; i < 5; i++) store.add(batch, new Int32Array(8), module)
  expect([1, 2, 3, 4, 5].map((number) => store.get(number) !== undefined)).toEqual([
    false,
    false,
    true,
    true,
    true,
  ])
})
