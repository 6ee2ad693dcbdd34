/**
 * Code that is written all the time: the memory of what is dropped is used again, and nothing that led there leads into what is
 * there now. Random functions in a few pages, written and called by turns, against what they compute.
 */
import { expect, it } from 'vitest'
import {
  CACHE_ARENA,
  CACHE_BYTES,
  CACHE_DROPS,
  CACHE_FLUSHES,
  CACHE_JUMP,
  CACHE_JUMP_ENTRIES,
  CACHE_JUMP_RECORD,
  CACHE_JUMP_SHIFT,
  CACHE_NEXT,
  CACHE_SIZE_MIN,
} from '../abi/code-cache.ts'
import {
  CPU_CODE_CACHE,
  CPU_GPR,
  CPU_JIT_MASK,
  CPU_JIT_STATS,
  EXITREASON_SHUTDOWN,
  EXITREASON_YIELD,
  JIT_STAT_REGIONS,
} from '../abi/layout.ts'
import { REC_OFF } from '../abi/record.ts'
import { Random } from '#testkit/oracle/random.ts'
import { createTestVm, enterLong, gpr } from './testing/test-vm.ts'
import type { TestVm } from './testing/test-vm.ts'

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'))
const [RBX, RSI, RDI] = [3, 6, 7]
const DRIVER = 0x1_0000
const TABLE = 0x8_0000
const ENTRY = 16
const STACK = 0x8000
/** Functions start here: one of each page lies across its end. */
const FUNCTIONS = 0x1_fff4
const FUNCTION = 32
const COUNT = 300

/** rsi .. rdi: {u32 address, u32 0 = call, else write; u64 value}. Sums in ebx. */
const DRIVER_CODE = hex(
  // 1: mov eax,[rsi]; cmp dword [rsi+4],0; jne 2f; call rax; jmp 3f; 2: mov rdx,[rsi+8]; mov [rax],rdx; 3: add rsi,16;
  // cmp rsi,rdi; jb 1b; ud2
  '8b06 837e0400 7504 ffd0 eb07 488b5608 488910 4883c610 4839fe 72e4 0f0b',
)

interface Setup {
  readonly test: TestVm
  readonly cpu: number
  readonly field: (offset: number) => number
}

async function setUp(cacheBytes: number | undefined, jitMask: number | undefined): Promise<Setup> {
  const test = await createTestVm()
  const [cpu = 0] = test.cpus
  const cache = test.view.getUint32(cpu + CPU_CODE_CACHE, true)
  if (cacheBytes !== undefined) test.view.setUint32(cache + CACHE_BYTES, cacheBytes, true)
  if (jitMask !== undefined) test.view.setUint32(cpu + CPU_JIT_MASK, jitMask, true)
  test.write(DRIVER, DRIVER_CODE)
  return { test, cpu, field: (offset) => test.view.getUint32(cache + offset, true) }
}

const addressOf = (index: number): number => FUNCTIONS + index * FUNCTION

/** add ebx,imm32, up to four times; then ret, or a jump to a function further down. */
function makeFunction(random: Random, index: number): Uint8Array {
  const bytes = new Uint8Array(FUNCTION)
  const view = new DataView(bytes.buffer)
  let at = 0
  for (let n = random.below(5); n > 0; n--, at += 6) {
    bytes.set([0x81, 0xc3], at)
    view.setUint32(at + 2, random.below(0x1_0000_0000), true)
  }
  if (index === 0 || random.below(3) === 0) bytes[at] = 0xc3
  else {
    const to = Math.max(0, index - 1 - random.below(40))
    bytes[at] = 0xe9
    view.setInt32(at + 1, addressOf(to) - (addressOf(index) + at + 5), true)
  }
  return bytes
}

/** What a call adds, with the functions as they are in `code`. */
function evaluate(code: DataView, index: number): number {
  let sum = 0
  for (let at = index * FUNCTION; ;) {
    const opcode = code.getUint8(at)
    if (opcode === 0xc3) return sum
    if (opcode === 0xe9) at += 5 + code.getInt32(at + 1, true)
    else {
      sum = (sum + code.getUint32(at + 2, true)) >>> 0
      at += 6
    }
  }
}

/** Rounds of writes and calls; each round is one run of the guest. Before some, another thread writes, a device say. */
function play({ test, cpu }: Setup, rounds: number, steps: number): void {
  const random = new Random('written code')
  const code = new DataView(new ArrayBuffer(COUNT * FUNCTION))
  const renew = (index: number): Uint32Array => {
    const bytes = makeFunction(random, index)
    new Uint8Array(code.buffer).set(bytes, index * FUNCTION)
    return new Uint32Array(bytes.buffer)
  }
  for (let i = 0; i < COUNT; i++) renew(i)
  test.kernel.bind(test.vm, 0)
  test.write(FUNCTIONS, new Uint8Array(code.buffer))
  for (let page = FUNCTIONS >> 12; page <= addressOf(COUNT) >> 12; page++) test.kernel.code_write(page)
  for (let round = 0; round < rounds; round++) {
    if (round % 4 === 3) writeFromElsewhere(test, random.below(COUNT), renew)
    const table: number[] = []
    let sum = 0
    for (let step = 0; step < steps; step++) {
      const index = random.below(COUNT)
      const address = addressOf(index)
      if (random.below(4) === 0) {
        const words = renew(index)
        for (let i = 0; i < words.length; i += 2)
          table.push(address + i * 4, 1, words[i] ?? 0, words[i + 1] ?? 0)
      } else {
        for (let times = random.below(12); times >= 0; times--) {
          table.push(address, 0, 0, 0)
          sum = (sum + evaluate(code, index)) >>> 0
        }
      }
    }
    test.write(TABLE, new Uint8Array(Uint32Array.from(table).buffer))
    enterLong(test, DRIVER, STACK)
    const set = (register: number, value: number): void =>
      test.view.setBigUint64(cpu + CPU_GPR + register * 8, BigInt(value), true)
    set(RBX, 0)
    set(RSI, TABLE)
    set(RDI, TABLE + (table.length / 4) * ENTRY)
    expect(run(test)).toBe(EXITREASON_SHUTDOWN)
    expect(gpr(test, RBX), `round ${round}`).toBe(BigInt(sum))
  }
}

/** A round is far less than what a run() takes at most: a guest that runs astray is not waited for. */
function run(test: TestVm): number | undefined {
  const [engine] = test.engines
  const reason = engine?.run()
  return reason === EXITREASON_YIELD ? engine?.run() : reason
}

function writeFromElsewhere(test: TestVm, index: number, renew: (index: number) => Uint32Array): void {
  const address = addressOf(index)
  test.kernel.bind(test.vm, 0)
  test.write(address, new Uint8Array(renew(index).buffer))
  test.kernel.code_write(address >> 12)
  test.kernel.code_write((address + FUNCTION - 1) >> 12)
}

/** Every entry of the jump table leads to a record of its own place. */
function checkJumpTable({ test, cpu }: Setup): void {
  const cache = test.view.getUint32(cpu + CPU_CODE_CACHE, true)
  let entries = 0
  for (let i = 0; i < CACHE_JUMP_ENTRIES; i++) {
    const slot = cache + CACHE_JUMP + (i << CACHE_JUMP_SHIFT)
    const key = test.view.getBigUint64(slot, true)
    if (key === 0xffff_ffff_ffff_ffffn) continue
    entries++
    const record = test.view.getUint32(slot + CACHE_JUMP_RECORD, true)
    expect(test.view.getUint16(record + REC_OFF, true)).toBe(Number((key >> 8n) & 0xfffn))
  }
  expect(entries).toBeGreaterThan(0)
}

it.each([
  ['in the interpreter', undefined],
  ['compiled early', 3],
  ['compiled at once', 0],
])('computes what is written at the time of each call: %s', async (_, mask) => {
  const setup = await setUp(CACHE_SIZE_MIN, mask)
  play(setup, 40, 200)
  checkJumpTable(setup)
  const regions = setup.test.view.getFloat64(setup.cpu + CPU_JIT_STATS + JIT_STAT_REGIONS, true)
  if (mask === undefined) expect(regions).toBe(0)
  else expect(regions).toBeGreaterThan(50)
})

it.each([
  [5, undefined],
  [8, undefined],
  [8, 0],
  [12, 0],
])('computes it in a cache that is soon full: %d KiB, mask %s', async (kib, mask) => {
  const setup = await setUp(CACHE_ARENA + kib * 1024, mask)
  play(setup, 20, 100)
  checkJumpTable(setup)
  expect(setup.field(CACHE_FLUSHES)).toBeGreaterThan(10)
})

it('uses the memory of what was dropped again', async () => {
  const setup = await setUp(undefined, undefined)
  play(setup, 10, 200)
  const [flushes, used, drops] = [CACHE_FLUSHES, CACHE_NEXT, CACHE_DROPS].map(setup.field)
  play(setup, 100, 200)
  expect(setup.field(CACHE_DROPS)).toBeGreaterThan((drops ?? 0) + 1000)
  expect(setup.field(CACHE_FLUSHES)).toBe(flushes)
  expect(setup.field(CACHE_NEXT)).toBeLessThan((used ?? 0) + 20_000)
})

it.each([undefined, 0])('writes over code of its own page at address 0, mask %s', async (mask) => {
  const { test, cpu } = await setUp(undefined, mask)
  // 1: mov [rsi],cl; mov al,imm8; add ebx,eax; add ecx,1; cmp ecx,32; cmove rsi,rdi (the imm8); cmp ecx,40; jne 1b; ud2
  test.write(0, hex('880e b000 01c3 83c101 83f920 480f44f7 83f928 75eb 0f0b'))
  enterLong(test, 0, STACK)
  test.view.setBigUint64(cpu + CPU_GPR + RSI * 8, BigInt(TABLE), true)
  test.view.setBigUint64(cpu + CPU_GPR + RDI * 8, 3n, true)
  for (const register of [0, 1, RBX]) test.view.setBigUint64(cpu + CPU_GPR + register * 8, 0n, true)
  expect(run(test)).toBe(EXITREASON_SHUTDOWN)
  expect(gpr(test, RBX)).toBe(284n)
  const regions = test.view.getFloat64(cpu + CPU_JIT_STATS + JIT_STAT_REGIONS, true)
  if (mask === 0) expect(regions).toBeGreaterThan(0)
})
