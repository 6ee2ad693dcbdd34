/** Kernels of our own, e2e/guests/<name>.c over the tiny runtime of e2e/guests/lib, and what they print. */
import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'

const GUESTS = path.join(import.meta.dirname, 'guests')
const LIBRARY = ['lib/start.S', 'lib/exceptions.S', 'lib/kernel.c']

/** Compiles a kernel to a flat multiboot image in a folder, by the system's compiler; the path of the image. */
export async function buildKernel(name: string, bits: 32 | 64, folder: string): Promise<string> {
  const image = path.join(folder, name)
  const code = ['-O1', '-ffreestanding', '-mgeneral-regs-only', '-mno-red-zone', '-fno-pic', '-fno-pie']
  const plain = [
    '-fno-stack-protector',
    '-fno-asynchronous-unwind-tables',
    '-fcf-protection=none',
    '-Wall',
    '-Werror',
  ]
  const link = ['-nostdlib', '-static', '-no-pie', '-Wl,--build-id=none', '-Wl,-T,lib/link.ld']
  const args = [`-m${bits}`, ...code, ...plain, ...link, '-o', image, ...LIBRARY, `${name}.c`]
  await promisify(execFile)('gcc', args, { cwd: GUESTS })
  return image
}

/** Lines of checks; serial ports of some machines put carriage returns between them. */
export const checks = (output: string): string[] =>
  output.split(/\r?\n/).filter((line) => /^(PASS|FAIL|SKIP) /.test(line))
