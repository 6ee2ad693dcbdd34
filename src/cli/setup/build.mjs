// @ts-check
/** `npm run build`: the page for static hosting (dist/page) and the command line (dist/cli). */
import { must, runMain } from './progress.mjs'
import { ensureCli, ensureGuests, ensureNode, ensureNpmPackages, ensureWasm, tool } from './steps.mjs'

await runMain(() => {
  ensureNode()
  ensureNpmPackages()
  ensureWasm()
  ensureGuests(['default'])
  must('building the page', tool('vite'), ['build'])
  ensureCli()
})
