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
  const args = process.argv.slice(2)
  ensureWasm()
  ensureGuests(['default', 'i386', ...(needsPrograms(args) ? ['large'] : [])])
  must('measuring', tool('tsx'), ['e2e/bench/bench.ts', ...args])
})

/** The large guest takes minutes to make: only for what runs in it. @param {readonly string[]} args */
function needsPrograms(args) {
  if (['--boot', '--compare', '--help', '--list'].some((option) => args.includes(option))) return false
  const groups = args.find((_, i) => args[i - 1] === '--groups')
  return groups === undefined || groups.split(',').includes('programs')
}
