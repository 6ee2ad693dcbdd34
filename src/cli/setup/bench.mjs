// @ts-check
/** `npm run bench`: also installs the peers that it measures against, which nothing else needs. */
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
  ensureAptPackages(isInPath('qemu-system-x86_64') ? [] : ['qemu-system-x86', 'seabios'])
  ensureWasm()
  ensureGuests(['default', 'i386'])
  must('measuring', tool('tsx'), ['e2e/bench/bench.ts', ...process.argv.slice(2)])
})
