/** Code that is written and executed by turns: it has to settle in the interpreter, not be compiled for ever. */
import { expect, test } from 'vitest'
import { CPU_GPR, CPU_JIT_MASK, CPU_JIT_STATS, EXITREASON_SHUTDOWN, EXITREASON_YIELD, JIT_STAT_REGIONS } from '#abi/layout.ts' // prettier-ignore
import { createTestVm, enterLong } from '../testing/test-vm.ts'

const CODE = 0x1_0000
const ROUNDS = 20_000
/** A page is left alone after 64 writes (kernel/jit.ts); the loop beside it is compiled again meanwhile. */
const REGIONS_MAX = 400

async function run(
  code: string,
  at = CODE,
  rest: readonly (readonly [number, string])[] = [],
): Promise<{ sum: bigint; regions: number }> {
  const vm = await createTestVm()
  const [cpu = 0] = vm.cpus
  const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
  vm.write(at, bytes(code))
  for (const [address, hex] of rest) vm.write(address, bytes(hex))
  enterLong(vm, at, 0x8000)
  vm.view.setUint32(cpu + CPU_JIT_MASK, 0, true)
  let reason: number = EXITREASON_YIELD
  while (reason === EXITREASON_YIELD) reason = vm.engines[0]?.run() ?? EXITREASON_SHUTDOWN
  expect(reason).toBe(EXITREASON_SHUTDOWN)
  return {
    sum: vm.view.getBigUint64(cpu + CPU_GPR + 3 * 8, true),
    regions: vm.view.getFloat64(cpu + CPU_JIT_STATS + JIT_STAT_REGIONS, true),
  }
}

/** The sum of the low bytes of ROUNDS … 1. */
const SUM = Array.from({ length: ROUNDS }, (_, i) => BigInt((i + 1) & 0xff)).reduce((a, b) => a + b, 0n)
const ROUNDS_HEX = Buffer.from(Uint32Array.of(ROUNDS).buffer).toString('hex')

test('an instruction that the loop beside it overwrites', async () => {
  // mov ecx,ROUNDS; xor ebx,ebx; 1: mov [rip+site+1],cl; call site; add rbx,rax; dec ecx; jne 1b; ud2; site: mov eax,0; ret
  const { sum, regions } = await run(
    `b9${ROUNDS_HEX} 31db 880d12000000 e80c000000 4801c3 ffc9 75ee 0f0b 9090 90 b800000000 c3`,
  )
  expect(sum).toBe(SUM)
  expect(regions).toBeLessThan(REGIONS_MAX)
})

test('an instruction in another page', async () => {
  // mov ecx,ROUNDS; xor ebx,ebx; 1: mov [0x20001],cl; call 0x20000; add rbx,rax; dec ecx; jne 1b; ud2
  const { sum, regions } = await run(
    `b9${ROUNDS_HEX} 31db 880c2501000200 e8edff0000 4801c3 ffc9 75ed 0f0b`,
    CODE,
    [[0x2_0000, 'b800000000 c3']],
  )
  expect(sum).toBe(SUM)
  expect(regions).toBeLessThan(REGIONS_MAX)
})
