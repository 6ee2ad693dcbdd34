/**
 * Every user-mode row of the interpreter and of compiled code against golden answers of a real CPU, and, where the host is
 * one, against the host itself on cases of its own. The long run is `npm run test:isa`.
 */
import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, test } from 'vitest'
import { buildAll } from '#engine/build/build-wasm.ts'
import { agree, describe as describeResult, describeOutcome } from '#testkit/oracle/describe.ts'
import { makeFuzzCase } from '#testkit/oracle/fuzz.ts'
import { makeCase, type Case } from '#testkit/oracle/generate.ts'
import { parseGolden } from '#testkit/oracle/golden.ts'
import { Guest, loadEngine } from '#testkit/oracle/guest.ts'
import { buildOracle, hostFeatures, isReferenceHost, runOnHost } from '#testkit/oracle/host.ts'
import { RESULT_BYTES, STATE_GPR } from '#testkit/oracle/layout.ts'
import { subjects } from '#testkit/oracle/subjects.ts'
import { ROWS } from './rows/index.ts'

const BUILD_TIMEOUT_MS = 300_000
const HOST_CASES = 4
const COMPILED_HOST_CASES = 1
const FUZZ_CASES = 4096

const oracle = isReferenceHost() ? buildOracle() : undefined

let guest: Guest

beforeAll(async () => {
  buildAll()
  guest = new Guest(loadEngine())
}, BUILD_TIMEOUT_MS)

function differencesFromGolden(subject: Guest): string[] {
  const golden = parseGolden(readFileSync(new URL('../testkit/oracle/golden.txt', import.meta.url), 'utf8'))
  expect(golden.length).toBeGreaterThan(3000)
  return golden.flatMap(({ made, want }) => {
    const got = describeResult(made, subject.run(made.request))
    return agree(made.row, want, got) ? [] : [`${made.row.id}/${made.width} ${made.seed}: ${want} | ${got}`]
  })
}

function differencesFromHost(subject: Guest, perWidth: number, seed: string): string[] {
  const cases: Case[] = []
  for (const row of subjects(hostFeatures())) {
    for (const width of row.widths) {
      for (let k = 0; k < perWidth; k++) {
        const made = makeCase(row, width, `${seed}${k}`)
        if (made) cases.push(made)
      }
    }
  }
  const results = runOnHost(
    oracle ?? '',
    cases.map((c) => c.request),
  )
  return cases.flatMap((c, i) => {
    const want = describeResult(c, results.subarray(i * RESULT_BYTES, (i + 1) * RESULT_BYTES))
    const got = describeResult(c, subject.run(c.request))
    return agree(c.row, want, got) ? [] : [`${c.row.id}/${c.width} ${c.seed}: ${want} | ${got}`]
  })
}

describe('interpreter', () => {
  test('answers every golden case as the processor did', { timeout: 120_000 }, () => {
    expect(differencesFromGolden(guest)).toEqual([])
  })

  test.skipIf(oracle === undefined)('answers random cases as the host CPU does', { timeout: 240_000 }, () => {
    expect(differencesFromHost(guest, HOST_CASES, 'host')).toEqual([])
  })
})

// Every case becomes a module of its own: that is where the time goes.
describe('compiled code', () => {
  test('answers every golden case as the processor did', { timeout: 240_000 }, () => {
    const compiled = new Guest(loadEngine(), true)
    expect(differencesFromGolden(compiled)).toEqual([])
    expect(compiled.compiledCases).toBeGreaterThan(4000)
  })

  test.skipIf(oracle === undefined)('answers random cases as the host CPU does', { timeout: 240_000 }, () => {
    const compiled = new Guest(loadEngine(), true)
    expect(differencesFromHost(compiled, COMPILED_HOST_CASES, 'compiled')).toEqual([])
    expect(compiled.compiledCases).toBeGreaterThan(1000)
  })
})

test.skipIf(oracle === undefined)(
  'random bytes are the instructions that the host CPU sees',
  { timeout: 120_000 },
  () => {
    const cases = Array.from({ length: FUZZ_CASES }, (_, i) => makeFuzzCase(`test${i}`))
    const results = runOnHost(
      oracle ?? '',
      cases.map((c) => c.request),
    )
    const differences = cases.flatMap((c, i) => {
      const want = describeOutcome(c, results.subarray(i * RESULT_BYTES, (i + 1) * RESULT_BYTES))
      const got = describeOutcome(c, guest.run(c.request))
      return want === got ? [] : [`${c.seed}, mode ${c.mode}: ${want} | ${got}`]
    })
    expect(differences).toEqual([])
  },
)

test('a wrong result is noticed', () => {
  const add = ROWS.find((row) => row.id === 'add_rmv_rv')
  const made = add && makeCase(add, 64, 'planted')
  if (!made) throw new Error('no case')
  const right = guest.run(made.request).slice()
  const wrong = right.slice()
  wrong[STATE_GPR + 3 * 8] = (wrong[STATE_GPR + 3 * 8] ?? 0) ^ 1
  expect(agree(made.row, describeResult(made, right), describeResult(made, wrong))).toBe(false)
})
