/** Runs the AssemblyScript compiler on the kernel, in this process. */
import asc from 'assemblyscript/asc'
import { KERNEL_DATA_BASE } from '../../abi/layout.ts'
import { MEMORY_MAX_PAGES, MEMORY_MIN_PAGES } from '../interp/build-interp.ts'

/** The kernel does not compile; the message is the compiler's own. */
export class KernelCompileError extends Error {
  override readonly name = 'KernelCompileError'
}

/** @param entry path of the entry file, relative to `root` */
export async function compileKernel(root: string, entry: string): Promise<Uint8Array<ArrayBuffer>> {
  let binary: Uint8Array | undefined
  // --debug keeps function names: crash reports and profiles need them
  const options =
    `--outFile kernel.wasm --runtime stub --importMemory --sharedMemory --enable threads,simd,bulk-memory ` +
    `-O3 --noAssert --debug --memoryBase ${KERNEL_DATA_BASE} ` +
    `--initialMemory ${MEMORY_MIN_PAGES} --maximumMemory ${MEMORY_MAX_PAGES}`
  const flags = [entry, '--baseDir', root, ...options.split(' ')]
  let messages = ''
  const { error } = await asc.main(flags, {
    stderr: {
      write(chunk: string | Uint8Array) {
        messages += typeof chunk === 'string' ? chunk : new TextDecoder().decode(chunk)
      },
    },
    writeFile(name, contents) {
      if (name.endsWith('.wasm') && typeof contents !== 'string') binary = contents
    },
  })
  if (error || !binary) throw new KernelCompileError(`${messages}${error?.message ?? 'no output'}`)
  return Uint8Array.from(binary)
}
