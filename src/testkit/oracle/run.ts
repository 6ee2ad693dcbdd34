/**
 * `npm run test:isa -- [row ...]`: the rows named, or every row, against the host's own CPU.
 *
 *   --rows REGEXP   only rows whose id matches
 *   --cases N       cases per row and width (default 720: a little over a million in all)
 *   --seed TEXT     another set of cases
 *   --show N        mismatches printed per row and width (default 2)
 *   --fuzz N        N random byte strings instead: decoding and faults only
 *   --compiled      by code of the JIT instead of the interpreter
 *   --golden        writes golden.txt from the host's results instead of comparing
 *
 * Exit status 1 when something differs.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { buildAll } from '#engine/build/build-wasm.ts'
import type { Row } from '#isa/row.ts'
import { agree, describe, describeOutcome } from './describe.ts'
import { makeFuzzCase } from './fuzz.ts'
import { makeCase, type Case } from './generate.ts'
import { GOLDEN_CASES, GOLDEN_SEED, goldenLine } from './golden.ts'
import { Guest, loadEngine } from './guest.ts'
import { buildOracle, hostFeatures, runOnHost } from './host.ts'
import { REQUEST_CODE, RESULT_BYTES } from './layout.ts'
import { subjects } from './subjects.ts'

const GOLDEN = fileURLToPath(new URL('./golden.txt', import.meta.url))

interface Options {
  readonly rows: RegExp
  readonly cases: number
  readonly seed: string
  readonly show: number
  readonly golden: boolean
  readonly fuzz: number
  readonly compiled: boolean
}

function options(): Options {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rows: { type: 'string', default: '.' },
      cases: { type: 'string', default: '720' },
      seed: { type: 'string', default: 'a' },
      show: { type: 'string', default: '2' },
      golden: { type: 'boolean', default: false },
      fuzz: { type: 'string', default: '0' },
      compiled: { type: 'boolean', default: false },
    },
  })
  return {
    rows: new RegExp(positionals.length > 0 ? `^(${positionals.join('|')})$` : values.rows),
    cases: Number(values.cases),
    seed: values.seed,
    show: Number(values.show),
    golden: values.golden,
    fuzz: Number(values.fuzz),
    compiled: values.compiled,
  }
}

const print = (line: string): boolean => process.stdout.write(`${line}\n`)

function casesOf(row: Row, width: Row['widths'][number], count: number, seed: string): Case[] {
  const cases: Case[] = []
  for (let k = 0; k < count; k++) {
    const made = makeCase(row, width, `${seed}${k}`)
    if (made) cases.push(made)
  }
  return cases
}

function hostLines(oracle: string, cases: readonly Case[]): string[] {
  const results = runOnHost(
    oracle,
    cases.map((c) => c.request),
  )
  return cases.map((c, i) => describe(c, results.subarray(i * RESULT_BYTES, (i + 1) * RESULT_BYTES)))
}

function report(c: Case, want: string, got: string): void {
  const code = Buffer.from(c.request.subarray(REQUEST_CODE, REQUEST_CODE + c.length)).toString('hex')
  print(
    `  ${c.row.id}/${c.width} seed ${c.seed}, mode ${c.mode}: ${code}\n    host  ${want}\n    guest ${got}`,
  )
}

function writeGolden(oracle: string, rows: readonly Row[]): void {
  const lines: string[] = []
  for (const row of rows) {
    for (const width of row.widths) {
      const cases = casesOf(row, width, GOLDEN_CASES, GOLDEN_SEED)
      if (cases.length === 0) continue
      hostLines(oracle, cases).forEach((line, i) => {
        const c = cases[i]
        if (c) lines.push(goldenLine(c, line))
      })
    }
  }
  writeFileSync(GOLDEN, `${lines.join('\n')}\n`)
  print(`golden.txt: ${lines.length} cases`)
}

const FUZZ_BATCH = 4096
const MAX_COMPILED = 2000

function compareFuzz(oracle: string, { fuzz, seed, show }: Options): boolean {
  const guest = new Guest(loadEngine())
  let wrong = 0
  for (let first = 0; first < fuzz; first += FUZZ_BATCH) {
    const cases = Array.from({ length: Math.min(FUZZ_BATCH, fuzz - first) }, (_, i) =>
      makeFuzzCase(`${seed}${first + i}`),
    )
    const results = runOnHost(
      oracle,
      cases.map((c) => c.request),
    )
    cases.forEach((c, i) => {
      const want = describeOutcome(c, results.subarray(i * RESULT_BYTES, (i + 1) * RESULT_BYTES))
      const got = describeOutcome(c, guest.run(c.request))
      if (want !== got && ++wrong <= show) report(c, want, got)
    })
  }
  print(`${fuzz} byte strings, ${wrong} differ`)
  return wrong === 0
}

function compareAll(oracle: string, rows: readonly Row[], chosen: Options): boolean {
  const { cases: count, seed, show, compiled } = chosen
  const engine = loadEngine()
  let guest = new Guest(engine, compiled)
  let executed = 0
  let wrong = 0
  let differing = 0
  let compiledCases = 0
  for (const row of rows) {
    for (const width of row.widths) {
      // compiled code is never given back: a new guest now and then
      if (guest.compiledCases > MAX_COMPILED) {
        compiledCases += guest.compiledCases
        guest = new Guest(engine, compiled)
      }
      const cases = casesOf(row, width, count, seed)
      if (cases.length === 0) continue
      let bad = 0
      hostLines(oracle, cases).forEach((want, i) => {
        const c = cases[i]
        if (!c) return
        let got: string
        try {
          got = describe(c, guest.run(c.request))
        } catch (error) {
          got = error instanceof Error ? error.message : 'no Error was thrown'
          guest = new Guest(engine, compiled)
        }
        if (agree(row, want, got)) return
        if (++bad <= show) report(c, want, got)
      })
      executed += cases.length
      wrong += bad
      if (bad > 0) differing++
      if (bad > 0 || cases.length === count)
        print(`${bad === 0 ? 'ok  ' : 'BAD '} ${row.id}/${width}: ${cases.length} cases, ${bad} differ`)
    }
  }
  if (compiled) print(`${compiledCases + guest.compiledCases} cases ran as compiled code`)
  print(`${executed} cases, ${wrong} differ, in ${differing} rows and widths`)
  return wrong === 0
}

const oracle = buildOracle()
if (oracle === undefined) {
  console.error('the oracle needs an x86-64 Linux host with gcc')
  process.exitCode = 1
} else {
  const chosen = options()
  const rows = subjects(hostFeatures()).filter((row) => chosen.rows.test(row.id))
  if (chosen.golden) writeGolden(oracle, rows)
  else {
    buildAll()
    const same = chosen.fuzz > 0 ? compareFuzz(oracle, chosen) : compareAll(oracle, rows, chosen)
    if (!same) process.exitCode = 1
  }
}
