/** Guests of a few instructions through decoder, code cache, run loop and interpreter. The bytes are GNU as output. */
import { describe, expect, it } from 'vitest'
import { CACHE_BLOCKS, CACHE_BYTES, CACHE_DROPS, CACHE_FLUSHES, CACHE_SIZE_MIN } from '../abi/code-cache.ts'
import {
  CPU_CODE_CACHE,
  CPU_INSNS,
  CPU_REQ,
  CPU_RIP,
  EXITREASON_PAUSE,
  EXITREASON_SHUTDOWN,
  EXITREASON_YIELD,
  REQ_PAUSE,
} from '../abi/layout.ts'
import { runToExit } from './testing/run-to-exit.ts'
import { createTestVm, enterLong, enterReal, gpr, runInThread } from './testing/test-vm.ts'
import type { TestVm } from './testing/test-vm.ts'

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'))
const [RAX, RCX, RDX, RBX, RSP, RSI] = [0, 1, 2, 3, 4, 6]
const BUILD_TIMEOUT_MS = 120_000

async function long(code: string, at = 0x1_0000, rsp = 0x8000): Promise<TestVm> {
  const test = await createTestVm()
  test.write(at, hex(code))
  enterLong(test, at, rsp)
  return test
}

const run = (test: TestVm): number => {
  const [engine] = test.engines
  if (!engine) throw new Error('no vCPU')
  return runToExit(engine)
}
const cpuOf = (test: TestVm): number => test.cpus[0] ?? 0
const insns = (test: TestVm): bigint => test.view.getBigUint64(cpuOf(test) + CPU_INSNS, true)
const rip = (test: TestVm): bigint => test.view.getBigUint64(cpuOf(test) + CPU_RIP, true)
const cache = (test: TestVm, field: number): number =>
  test.view.getUint32(test.view.getUint32(cpuOf(test) + CPU_CODE_CACHE, true) + field, true)

describe('real mode', () => {
  it(
    'runs loops, calls, stack and memory accesses and counts every instruction',
    async () => {
      const test = await createTestVm()
      // mov ax,0; mov cx,100; 1: add ax,cx; loop 1b; mov bx,0x1234; push bx; pop dx; call f; mov [0x600],ax;
      // mov si,[0x600]; ud2; f: inc dx; ret
      test.write(0x7c00, hex('b80000 b96400 01c8 e2fc bb3412 53 5a e80900 a30006 8b360006 0f0b 42 c3'))
      enterReal(test, 0x7c00)
      expect(run(test)).toBe(EXITREASON_SHUTDOWN)
      expect([RAX, RCX, RDX, RBX, RSI].map((r) => gpr(test, r))).toEqual([5050n, 0n, 0x1235n, 0x1234n, 5050n])
      expect(rip(test)).toBe(0x7c19n)
      expect(insns(test)).toBe(210n)
    },
    BUILD_TIMEOUT_MS,
  )
})

describe('long mode', () => {
  it('computes what the same loop computes in JavaScript', async () => {
    // mov ecx,1000; xor eax,eax; mov edi,0x80000; mov edx,1; 1: mov ebx,eax; and ebx,0xfff; add edx,[rdi+rbx*4];
    // imul eax,eax,1103515245; add eax,12345; mov [rdi+8],edx; shr edx,3; xor edx,eax; test dl,1; je 2f; add rsi,7;
    // 2: sub ecx,1; jne 1b; ud2
    const test =
      await long(`b9e8030000 31c0 bf00000800 ba01000000 89c3 81e3ff0f0000 03149f 69c06d4ec641 0539300000
      895708 c1ea03 31c2 f6c201 7404 4883c607 83e901 75d4 0f0b`)
    expect(run(test)).toBe(EXITREASON_SHUTDOWN)
    const memory = new Uint32Array(4096)
    let [a, d, s] = [0, 1, 0]
    for (let i = 0; i < 1000; i++) {
      d = (d + (memory[a & 0xfff] ?? 0)) >>> 0
      a = (Math.imul(a, 1103515245) + 12345) >>> 0
      memory[2] = d
      d = ((d >>> 3) ^ a) >>> 0
      if (d & 1) s += 7
    }
    expect([RAX, RDX, RSI].map((r) => gpr(test, r))).toEqual([BigInt(a), BigInt(d), BigInt(s)])
  })

  it('leaves RSP alone when a push faults', async () => {
    // mov eax,5; cmp eax,5; push rax (rsp is beyond the mapped 1 GiB); ud2
    const test = await long('b805000000 83f805 50 0f0b', 0x1_0000, 0x4000_1000)
    expect(run(test)).toBe(EXITREASON_SHUTDOWN)
    expect([rip(test), gpr(test, RSP)]).toEqual([0x1_0008n, 0x4000_1000n])
  })

  it('leaves RSP alone when a return goes to a non-canonical address', async () => {
    // mov rax,0x8000000000000000; push rax; ret
    const test = await long('48b80000000000000080 50 c3')
    expect(run(test)).toBe(EXITREASON_SHUTDOWN)
    expect([rip(test), gpr(test, RSP)]).toEqual([0x1_000bn, 0x7ff8n])
  })

  it('stops for a pause at a block end and goes on where it was', async () => {
    const test = await long('48ffc0 ebfb') // 1: inc rax; jmp 1b
    const [engine] = test.engines
    expect(engine?.run()).toBe(EXITREASON_YIELD)
    const words = new Int32Array(test.memory.buffer)
    Atomics.or(words, (cpuOf(test) + CPU_REQ) >> 2, REQ_PAUSE)
    expect(engine?.run()).toBe(EXITREASON_PAUSE)
    const before = gpr(test, RAX)
    expect(engine?.run()).toBe(EXITREASON_PAUSE)
    expect(gpr(test, RAX)).toBe(before)
    Atomics.and(words, (cpuOf(test) + CPU_REQ) >> 2, ~REQ_PAUSE)
    expect(engine?.run()).toBe(EXITREASON_YIELD)
    // Two instructions a turn, and the count is exact.
    expect(insns(test) / 2n).toBe(gpr(test, RAX))
  })
})

describe('code that is written', () => {
  it('a store into the next instruction takes effect at once', async () => {
    // mov ecx,100; xor esi,esi; 1: mov [patch+1],cl; patch: mov edx,0; add esi,edx; sub ecx,1; jne 1b; ud2
    const test = await long('b964000000 31f6 880d01000000 ba00000000 01d6 83e901 75ee 0f0b')
    expect(run(test)).toBe(EXITREASON_SHUTDOWN)
    expect(gpr(test, RSI)).toBe(5050n)
  })

  it('looks at the clock as often as the work for it needs, and counts instructions only', async () => {
    // 1: inc rax; jmp 1b
    const plain = await long('48ffc0 ebfb')
    expect(plain.engines[0]?.run()).toBe(EXITREASON_YIELD)
    // 1: inc rax; mov [patch+1],al; patch: mov edx,0; jmp 1b
    const written = await long('48ffc0 880501000000 ba00000000 ebf0')
    expect(written.engines[0]?.run()).toBe(EXITREASON_YIELD)
    expect(insns(written)).toBeLessThan(insns(plain) / 20n)
    // Four instructions a turn, the last one perhaps not over.
    expect((insns(written) + 3n) / 4n).toBe(gpr(written, RAX))
  })

  it('stores beside code in its page drop nothing', async () => {
    // mov ecx,2000; 1: mov [rip+256],ecx; add eax,[rip+250]; sub ecx,1; jne 1b; ud2
    const test = await long('b9d0070000 890d00010000 0305fa000000 83e901 75ef 0f0b')
    expect(run(test)).toBe(EXITREASON_SHUTDOWN)
    expect(gpr(test, RAX)).toBe(2001000n)
    expect(cache(test, CACHE_DROPS)).toBe(0)
    expect(cache(test, CACHE_BLOCKS)).toBeLessThan(5)
  })

  it('an instruction that straddles two pages sees a change of its second half', async () => {
    // at page offset 0xff0: mov ecx,3; 1: add esi,0x100; jmp 2f; 2: nop; mov eax,0x01020304 (straddles); add ebx,eax;
    // add dword [0x11000],1; sub ecx,1; jne 1b; ud2
    const test = await long(
      'b903000000 81c600010000 eb00 90 b804030201 01c3 8304250010010001 83e901 75e3 0f0b',
      0x1_0ff0,
    )
    expect(run(test)).toBe(EXITREASON_SHUTDOWN)
    expect(gpr(test, RBX)).toBe(0x01020304n + 0x01020404n + 0x01020504n)
  })
})

it('drops every page that another thread wrote, however many', async () => {
  const test = await createTestVm()
  const first = 0x1_0000
  for (let page = 0; page < 70; page++) {
    const at = first + page * 0x1000
    test.write(at, hex(page < 69 ? 'ffc0 e9f90f0000' : '0f0b')) // inc eax; jmp to the next page; ud2
  }
  enterLong(test, first, 0x8000)
  expect(run(test)).toBe(EXITREASON_SHUTDOWN)
  expect(gpr(test, RAX)).toBe(69n)
  const [flushes, blocks] = [cache(test, CACHE_FLUSHES), cache(test, CACHE_BLOCKS)]
  test.kernel.bind(test.vm, 0)
  for (let page = 0; page < 69; page++) {
    test.write(first + page * 0x1000, hex('ffc8')) // dec eax
    test.kernel.code_write((first >> 12) + page)
  }
  enterLong(test, first, 0x8000)
  expect(run(test)).toBe(EXITREASON_SHUTDOWN)
  expect(gpr(test, RAX)).toBe(0n)
  expect(cache(test, CACHE_DROPS)).toBe(69)
  expect([cache(test, CACHE_FLUSHES), cache(test, CACHE_BLOCKS)]).toEqual([flushes, blocks + 69])
})

it('starts over when the code cache is full', async () => {
  const test = await createTestVm(0x80_0000)
  const at = test.view.getUint32(cpuOf(test) + CPU_CODE_CACHE, true)
  test.view.setUint32(at + CACHE_BYTES, CACHE_SIZE_MIN, true)
  const [first, pages] = [0x1_0000, 0x700]
  const page = `${'90'.repeat(40)} ffc0 e9d10f0000` // nops; inc eax; jmp to the next page
  for (let i = 0; i < pages; i++) test.write(first + i * 0x1000, hex(page))
  test.write(first + pages * 0x1000, hex('0f0b'))
  const flushes = cache(test, CACHE_FLUSHES)
  enterLong(test, first, 0x8000)
  expect(run(test)).toBe(EXITREASON_SHUTDOWN)
  expect(gpr(test, RAX)).toBe(BigInt(pages))
  expect(cache(test, CACHE_FLUSHES)).toBeGreaterThan(flushes)
})

describe('events between instructions', () => {
  /** A gate in the IDT at gpa 0x12000, to the handler at 0x10080 that lists the return addresses from 0x9008 on. */
  function gate(test: TestVm, vector: number): void {
    const at = test.host(0x1_2000) + vector * 16
    test.view.setBigUint64(at, 0x0001_8e00_0008_0080n, true)
    test.view.setBigUint64(at + 8, 0n, true)
  }
  /** push rax; mov rax,[rsp+8]; mov ecx,[0x9000]; mov [0x9008+rcx*8],rax; add ecx,1; mov [0x9000],ecx; pop rax; iretq */
  const HANDLER = '50 488b442408 8b0c2500900000 488904cd08900000 83c101 890c2500900000 58 48cf'
  /** GDTR, an empty IDTR, IDTR, then the GDT with a 64-bit code segment 8. */
  const TABLES = '1f000001010000000000 00000000000000000000 ff0f0020010000000000'
  const GDT = '0000000000000000 ffff0000009baf00 ffff00000093cf00'
  /** lgdt; lidt; far return to selector 8 */
  const PROLOGUE = '0f011425c0000100 0f011c25d4000100 b808000000 50 488d0503000000 50 48cb'
  async function withHandler(code: string, vectors: readonly number[]): Promise<TestVm> {
    const test = await long(PROLOGUE + code)
    test.write(0x1_0080, hex(HANDLER))
    test.write(0x1_00c0, hex(TABLES))
    test.write(0x1_0100, hex(GDT))
    for (const vector of vectors) gate(test, vector)
    return test
  }
  const returns = (test: TestVm): bigint[] =>
    Array.from({ length: test.view.getUint32(test.host(0x9000), true) }, (_, i) =>
      test.view.getBigUint64(test.host(0x9008 + i * 8), true),
    )

  it('TF traps after every instruction until POPF has cleared it', async () => {
    // pushfq; or qword [rsp],0x100; popfq; nop; nop; pushfq; and qword [rsp],~0x100; popfq; nop; lidt empty; ud2
    const code = '9c 48810c2400010000 9d 90 90 9c 48812424fffeffff 9d 90 0f011c25ca000100 0f0b'
    const test = await withHandler(code, [1])
    expect(run(test)).toBe(EXITREASON_SHUTDOWN)
    expect(returns(test)).toEqual([0x1_002bn, 0x1_002cn, 0x1_002dn, 0x1_0035n, 0x1_0036n])
  })

  it('STI lets one instruction pass before a pending interrupt, and HLT ends when the timer fires', async () => {
    // x2APIC on (MSR 1b), enabled (80f), self IPI 0x40 (83f); nop; sti; nop; nop; cli; TPR 0, divide by 1 (83e), timer
    // vector 0x40 one-shot (832), count 200000 (838); sti; hlt; lidt empty; ud2
    const wrmsr = (msr: string, value: string): string => `b9${msr} b8${value} 0f30`
    const code = `b91b000000 b8000de0fe 31d2 0f30 ${wrmsr('0f080000', 'ff010000')} ${wrmsr('3f080000', '40000000')}
      90 fb 90 90 fa b90b080000 31c0 0f30 ${wrmsr('3e080000', '0b000000')} ${wrmsr('32080000', '40000000')}
      ${wrmsr('38080000', '400d0300')} fb f4 0f011c25ca000100 0f0b`
    const test = await withHandler(code, [0x40])
    // The handler has no EOI: the second interrupt needs the first one's priority class gone.
    test.write(0x1_0080, hex(HANDLER.replace('58 48cf', '52 b90b080000 31c0 31d2 0f30 5a 58 48cf')))
    expect(run(test)).toBe(EXITREASON_SHUTDOWN)
    expect(returns(test)).toEqual([0x1_0049n, 0x1_007an])
  })
})

describe('two vCPUs', () => {
  it('lose no locked increment', async () => {
    const test = await createTestVm(0x20_0000, 2)
    // mov ecx,200000; 1: lock inc dword [0x90000]; lock xadd [0x90008],rdx; mov edx,1; sub ecx,1; jne 1b; ud2
    test.write(0x1_0000, hex('b9400d0300 f0ff042500000900 f0480fc1142508000900 ba01000000 83e901 75e4 0f0b'))
    enterLong(test, 0x1_0000, 0x8000, 0)
    enterLong(test, 0x1_0000, 0x7000, 1)
    const reasons = await Promise.all([runInThread(test, 0), runInThread(test, 1)])
    expect(reasons).toEqual([EXITREASON_SHUTDOWN, EXITREASON_SHUTDOWN])
    expect(test.view.getUint32(test.host(0x9_0000), true)).toBe(400_000)
    expect(test.view.getBigUint64(test.host(0x9_0008), true)).toBe(399_998n)
  })
})
