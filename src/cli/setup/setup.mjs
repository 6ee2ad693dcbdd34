// @ts-check
/** `npm run setup [-- GUEST...]`: everything a page needs, and no more; default guest unless others are named. */
import process from 'node:process'
import { runMain, say } from './progress.mjs'
import { ensureGuests, ensureNode, ensureNpmPackages, ensureWasm } from './steps.mjs'

await runMain(() => {
  const names = process.argv.slice(2)
  ensureNode()
  ensureNpmPackages()
  ensureWasm()
  ensureGuests(names.length > 0 ? names : ['default'])
  say('webkvm: set up')
})
