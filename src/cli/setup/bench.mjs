// @ts-check
/** `npm run bench`: also installs the peers that it measures against, which nothing else needs. */
import { existsSync } from 'node:fs'
import process from 'node:process'
import { must, runMain } from './progress.mjs'
import {
  ensureAptPackages,
  ensureGuests,
  ensureNode,
  ensureNpmPackages,
  ensureTestPackages,
  ensureWasm,
  isInPath,
  tool,
} from './steps.mjs'

await runMain(() => {
  ensureNode()
  ensureNpmPackages()
  ensureTestPackages()
  ensureAptPackages([
    ...(isInPath('qemu-system-x86_64') ? [] : ['qemu-system-x86']),
    ...(existsSync('/usr/share/seabios/bios.bin') ? [] : ['seabios']),
    // The 32-bit guest's program is compiled here, too.
    ...(existsSync('/usr/lib32/libc.a') ? [] : ['gcc-multilib']),
  ])
  ensureWasm()
  ensureGuests(['default', 'i386'])
  must('measuring', tool('tsx'), ['e2e/bench/bench.ts', ...process.argv.slice(2)])
})
