#!/usr/bin/env node
// @ts-check
/**
 * What `npx webkvm` starts: makes sure that the command is built, then becomes it. Messages of set-up go to
 * standard error, since standard output is the guest's serial line.
 */
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { progressToStderr, ROOT_DIR, runMain } from './progress.mjs'
import { ensureCli, ensureNode, ensureNpmPackages, ensureWasm } from './steps.mjs'

await runMain(async () => {
  progressToStderr()
  ensureNode()
  ensureNpmPackages()
  ensureWasm()
  ensureCli()
  await import(pathToFileURL(path.join(ROOT_DIR, 'dist/cli/webkvm.js')).href)
})
