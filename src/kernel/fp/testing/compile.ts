/**
 * Compiles one AssemblyScript entry of the kernel for a unit test and instantiates it over a memory of its own.
 */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import asc from 'assemblyscript/asc'

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url))

/** Modules outside of the floating-point folder that would bring the whole kernel in. */
const STUBBED = new Set(['src/kernel/mmu.ts', 'src/kernel/irqchip/routing.ts'])
const STUBS = `${ROOT}src/kernel/fp/test-stubs.ts`

export interface CompiledKernel {
  readonly memory: WebAssembly.Memory
  readonly exports: Readonly<Record<string, (...args: never[]) => number | bigint | void>>
}

/** @param entry path from the repository root, e.g. src/kernel/fp/exports.ts */
export async function compileKernel(entry: string, optimise = true): Promise<CompiledKernel> {
  let binary: Uint8Array | undefined
  const args = [
    entry,
    '--runtime',
    'stub',
    '--importMemory',
    '--sharedMemory',
    '--initialMemory',
    '32',
    '--maximumMemory',
    '32',
    '--memoryBase',
    String(0x1_0000),
    '--enable',
    'threads,simd,bulk-memory,relaxed-simd',
    '--noAssert',
    '-o',
    'out.wasm',
    ...(optimise ? ['-O3'] : []),
  ]
  let complaints = ''
  const { error } = await asc.main(args, {
    readFile: async (name) => {
      try {
        return await readFile(STUBBED.has(name) ? STUBS : ROOT + name, 'utf8')
      } catch {
        return null
      }
    },
    writeFile: (name, contents) => {
      if (name.endsWith('.wasm')) binary = contents as Uint8Array
    },
    listFiles: () => [],
    stderr: { write: (chunk) => void (complaints += String(chunk)) },
  })
  if (error !== null || binary === undefined)
    throw new Error(`asc ${entry}: ${error?.message ?? 'no output'}\n${complaints}`)
  const memory = new WebAssembly.Memory({ initial: 32, maximum: 32, shared: true })
  const { instance } = await WebAssembly.instantiate(binary as BufferSource & Uint8Array, {
    env: {
      memory,
      abort: () => {
        throw new Error('kernel abort')
      },
    },
    host: { now: () => performance.now() * 1e6, kick: () => {}, wait: () => {} },
  })
  return { memory, exports: instance.exports as unknown as CompiledKernel['exports'] }
}
