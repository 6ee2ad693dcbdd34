/** Code that was dropped because there was too much of it. */
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, expect, test } from 'vitest'
import { CPU_JIT_MASK, CPU_JIT_STATS, EXITREASON_SHUTDOWN, EXITREASON_YIELD, JIT_STAT_EVICTED, JIT_STAT_REGIONS } from '#abi/layout.ts' // prettier-ignore
import { createTestVm, enterLong } from '../testing/test-vm.ts'
import { createEngine } from '../vcpu-loop.ts'

const CODE = 0x1_0000
const LOOPS = 600
const REGIONS_MAX = 64
/** Times that a task is left for V8 to free what was collected, at most. */
const TASKS = 20

const { Instance } = WebAssembly
afterEach(() => {
  WebAssembly.Instance = Instance
})

/** From now on, what there is of instances. */
function watchInstances(): () => number {
  const made: WeakRef<WebAssembly.Instance>[] = []
  WebAssembly.Instance = new Proxy(Instance, {
    construct(target, args: ConstructorParameters<typeof Instance>) {
      const instance = new target(...args)
      made.push(new WeakRef(instance))
      return instance
    },
  })
  return () => made.filter((ref) => ref.deref() !== undefined).length
}

test('leaves nothing in memory', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const vm = await createTestVm()
  const { memory, kernelModule: kernel, interp, view } = vm
  const [cpu = 0] = vm.cpus
  // mov ecx,100; 1: dec ecx; jne 1b …; ud2
  const code = Array.from({ length: LOOPS }, () => [0xb9, 100, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc])
  vm.write(CODE, [...code.flat(), 0x0f, 0x0b])
  enterLong(vm, CODE, 0x8000)
  const living = watchInstances()
  let ns = 0
  const limits = { regions: REGIONS_MAX, bytes: 1 << 20 }
  const engine = createEngine({ memory, kernel, interp, vm: vm.vm, cpu }, () => (ns += 1000), () => undefined, limits) // prettier-ignore
  view.setUint32(cpu + CPU_JIT_MASK, 0, true)
  let reason: number = EXITREASON_YIELD
  while (reason === EXITREASON_YIELD) reason = engine.run()
  expect(reason).toBe(EXITREASON_SHUTDOWN)
  const stat = (offset: number): number => view.getFloat64(cpu + CPU_JIT_STATS + offset, true)
  expect(stat(JIT_STAT_REGIONS)).toBeGreaterThan(LOOPS / 2)
  expect(stat(JIT_STAT_EVICTED)).toBeGreaterThan(LOOPS / 2 - REGIONS_MAX)
  expect(engine.dropped).toBe(stat(JIT_STAT_EVICTED))
  // Besides the regions: kernel and interpreter.
  const most = REGIONS_MAX + 2
  for (let i = 0; i < TASKS && living() > most; i++) {
    await setTimeout(1)
    collect()
  }
  expect(living()).toBeLessThanOrEqual(most)
})
