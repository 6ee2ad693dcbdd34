// @ts-check
/**
 * `npm test [-- unit|e2e|checks]`: sets up, then runs every check and test, and ends with one line that counts them
 * all: `N passed, N failed`. A check (lint, format, types, unused code) counts as one.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { ROOT_DIR, run, runMain, say } from './progress.mjs'
import {
  ensureCli,
  ensureGuests,
  ensureNode,
  ensureNpmPackages,
  ensureTestPackages,
  ensureWasm,
  tool,
} from './steps.mjs'

const RESULTS_DIR = path.join(ROOT_DIR, '.cache/test')

const CHECKS = [
  { name: 'lint', command: 'oxlint', args: ['--type-aware'] },
  { name: 'format', command: 'oxfmt', args: ['--check'] },
  { name: 'types', command: 'tsc', args: ['--noEmit'] },
  {
    name: 'types of the kernel tests',
    command: 'tsc',
    args: ['--noEmit', '-p', 'tsconfig.kernel-tests.json'],
  },
  { name: 'unused code', command: 'knip', args: [] },
]

await runMain(() => {
  const parts = process.argv.slice(2)
  /** @param {string} part */
  const wanted = (part) => parts.length === 0 || parts.includes(part)
  rmSync(RESULTS_DIR, { recursive: true, force: true })
  mkdirSync(RESULTS_DIR, { recursive: true })
  ensureNode()
  ensureNpmPackages()
  if (wanted('unit') || wanted('e2e')) {
    ensureTestPackages()
    ensureWasm()
    ensureCli()
  }
  const results = []
  if (wanted('checks')) results.push(...CHECKS.map((check) => runCheck(check)))
  if (wanted('unit')) results.push(runTests('unit'))
  if (wanted('e2e')) {
    ensureGuests(['default', 'i386', 'large'])
    results.push(runTests('e2e'))
  }
  report(results)
})

/** @typedef {{ name: string, passed: number, failed: number, skipped: number }} Result */

/** @param {{ name: string, command: string, args: readonly string[] }} check @returns {Result} */
function runCheck({ name, command, args }) {
  say(`» check: ${name}`)
  const ok = run(tool(command), args) === 0
  return { name, passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 }
}

/** @param {'unit' | 'e2e'} project @returns {Result} */
function runTests(project) {
  say(`» tests: ${project}`)
  const file = path.join(RESULTS_DIR, `${project}.json`)
  const status = run(tool('vitest'), [
    'run',
    '--project',
    project,
    '--reporter=default',
    '--reporter=json',
    `--outputFile=${file}`,
  ])
  if (!existsSync(file)) return { name: project, passed: 0, failed: 1, skipped: 0 }
  const { numPassedTests, numFailedTests, numPendingTests, numTotalTests } = JSON.parse(
    readFileSync(file, 'utf8'),
  )
  // A file that does not load, an unhandled error or an empty run fails without any failed test.
  const broken = (status !== 0 || numTotalTests === 0) && numFailedTests === 0 ? 1 : 0
  return { name: project, passed: numPassedTests, failed: numFailedTests + broken, skipped: numPendingTests }
}

/** @param {readonly Result[]} results */
function report(results) {
  /** @param {'passed' | 'failed' | 'skipped'} key */
  const total = (key) => results.reduce((sum, result) => sum + result[key], 0)
  say('')
  for (const { name, passed, failed } of results)
    say(`${failed === 0 ? '✓' : '✗'} ${name}: ${passed} passed, ${failed} failed`)
  const skipped = total('skipped') > 0 ? `, ${total('skipped')} skipped` : ''
  const summary = `${total('passed')} passed, ${total('failed')} failed${skipped}`
  writeFileSync(path.join(RESULTS_DIR, 'summary'), `${summary}\n`)
  say(summary)
  process.exitCode = total('failed') === 0 ? 0 : 1
}
