/**
 * Guest MIPS of the bare engine under Node, without machine or devices: `tsx src/engine/testing/bench.ts [seconds]`.
 * Prints one line per loop and engine; the first figures include Liftoff code, the last is what V8's optimised code does.
 */
import process from 'node:process'
import { JIT_OFF } from '../../abi/jit.ts'
import { CPU_INSNS, CPU_JIT_MASK, EXITREASON_YIELD } from '../../abi/layout.ts'
import { createTestVm, enterLong } from './test-vm.ts'

const LOOPS: readonly { readonly name: string; readonly code: string }[] = [
  // 1: add rax,rcx; xor rdx,rax; rol rdx,7; sub rcx,1; jmp 1b
  { name: 'registers', code: '4801c8 4831c2 48c1c207 4883e901 ebf0' },
  // mov edi,0x80000; 1: mov ebx,eax; and ebx,0xfff; add edx,[rdi+rbx*4]; imul eax,eax,1103515245; add eax,12345;
  // mov [rdi+8],edx; shr edx,3; xor edx,eax; test dl,1; je 2f; add rsi,7; 2: jmp 1b
  {
    name: 'memory',
    code: 'bf00000800 89c3 81e3ff0f0000 03149f 69c06d4ec641 0539300000 895708 c1ea03 31c2 f6c201 7404 4883c607 ebd9',
  },
  // 1: call f; jmp 1b; f: push rbx; lea rbx,[rax+1]; mov rax,rbx; pop rbx; ret
  { name: 'calls', code: 'e802000000 ebf9 53 488d5801 4889d8 5b c3' },
  // 1: mov edi,20; call fib; jmp 1b; fib: push rbp; push rbx; mov ebx,edi; sub rsp,8; cmp edi,1; jle 2f; lea edi,[rbx-1];
  // call fib; mov ebp,eax; lea edi,[rbx-2]; call fib; lea ebx,[rbp+rax]; 2: mov eax,ebx; add rsp,8; pop rbx; pop rbp; ret
  {
    name: 'fib',
    code: 'bf14000000 e802000000 ebf4 55 53 89fb 4883ec08 83ff01 7e16 8d7bff e8ebffffff 89c5 8d7bfe e8e1ffffff 8d5c0500 89d8 4883c408 5b 5d c3',
  },
]

const seconds = Number(process.argv[2] ?? 3)

async function measure(code: string, mask: number): Promise<number[]> {
  const test = await createTestVm()
  test.write(0x1_0000, Uint8Array.from(Buffer.from(code.replaceAll(' ', ''), 'hex')))
  enterLong(test, 0x1_0000, 0x8000)
  const [engine] = test.engines
  const [cpu = 0] = test.cpus
  test.view.setUint32(cpu + CPU_JIT_MASK, mask, true)
  const count = (): number => Number(test.view.getBigUint64(cpu + CPU_INSNS, true))
  const figures: number[] = []
  for (let i = 0; i < seconds; i++) {
    const [start, before] = [performance.now(), count()]
    while (performance.now() - start < 1000) {
      const reason = engine?.run()
      if (reason !== EXITREASON_YIELD) throw new Error(`the loop left with reason ${reason}`)
    }
    figures.push((count() - before) / (performance.now() - start) / 1000)
  }
  return figures
}

for (const { name, code } of LOOPS) {
  for (const [engine, mask] of [
    ['interpreted', JIT_OFF],
    ['compiled', 1023],
  ] as const) {
    const figures = await measure(code, mask)
    const list = figures.map((mips) => mips.toFixed(0)).join(' ')
    process.stdout.write(`${name.padEnd(10)} ${engine.padEnd(12)} ${list} guest MIPS\n`)
  }
}
