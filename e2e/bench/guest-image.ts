/** The benchmark program as an initramfs appended to a guest's own: the kernel unpacks archives one after another. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import { encodeCpio } from '../../src/cli/guests/cpio.ts'

export const ROOT = path.resolve(import.meta.dirname, '../..')
export const BENCH_CACHE = path.join(ROOT, '.cache/bench')
const SOURCE = path.join(import.meta.dirname, 'guest/bench.c')

export type Bits = 32 | 64

function buildProgram(bits: Bits): Buffer {
  mkdirSync(BENCH_CACHE, { recursive: true })
  const program = path.join(BENCH_CACHE, `bench${bits}`)
  const age = (file: string): number => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
  if (age(program) < age(SOURCE)) {
    const mode = bits === 32 ? ['-m32', '-msse2', '-mfpmath=sse'] : []
    execFileSync('gcc', ['-O2', '-static', '-pthread', ...mode, '-o', program, SOURCE, '-lm'], {
      stdio: 'inherit',
    })
  }
  return readFileSync(program)
}

/** Path of the guest's initramfs with /bin/bench added. */
export function benchInitrd(guest: 'default' | 'i386', bits: Bits): string {
  const base = readFileSync(path.join(ROOT, '.cache/guests', guest, 'initrd.cpio'))
  const extra = encodeCpio([{ kind: 'file', name: 'bin/bench', mode: 0o755, data: buildProgram(bits) }])
  const padding = Buffer.alloc((4 - (base.length % 4)) % 4)
  const file = path.join(BENCH_CACHE, `initrd-${guest}-${bits}.cpio`)
  writeFileSync(file, Buffer.concat([base, padding, extra]))
  return file
}

export const nativeProgram = (bits: Bits): string => {
  buildProgram(bits)
  return path.join(BENCH_CACHE, `bench${bits}`)
}
