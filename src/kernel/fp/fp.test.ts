/**
 * Floating point against a real processor: its recorded answers everywhere, and itself where it can be asked.
 */
import { beforeAll, describe, expect, it } from 'vitest'
import { compileKernel } from './testing/compile.ts'
import {
  CASES_PER_INSTRUCTION,
  EXACT_INSTRUCTIONS,
  TRANSCENDENTAL_INSTRUCTIONS,
  fingerprint,
  longRecord,
  makeCases,
  readGolden,
  tidy,
} from './testing/golden.ts'
import { Machine, type Instruction } from './testing/machine.ts'
import { CASE, CASE_SIZE, hostCanJudge, runOnHost } from './testing/oracle.ts'

let machine: Machine

beforeAll(async () => {
  machine = new Machine(await compileKernel('src/kernel/fp/exports.ts'))
}, 60_000)

function runHere(instruction: Instruction, cases: Uint8Array): Uint8Array {
  const after = new Uint8Array(cases.length)
  for (let at = 0; at < cases.length; at += CASE_SIZE) {
    machine.run(cases.subarray(at, at + CASE_SIZE), after.subarray(at, at + CASE_SIZE), instruction.run)
  }
  return after
}

function state(of: Uint8Array, i: number): Uint8Array {
  return of.subarray(i * CASE_SIZE, (i + 1) * CASE_SIZE)
}

/** A state in words a person can compare. */
function describeState(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, CASE_SIZE)
  const hex = (from: number, count: number): string =>
    Buffer.from(bytes.subarray(from, from + count).toReversed()).toString('hex')
  const registers = [0, 1, 2, 3].map((i) => `st${i}=${hex(CASE.st + 16 * i, 10)}`)
  const vectors = [0, 1].map((i) => `xmm${i}=${hex(CASE.xmm + 16 * i, 16)}`)
  const words = [
    `mxcsr=${hex(CASE.mxcsr, 4)}`,
    `eflags=${hex(CASE.eflags, 4)}`,
    `cw=${hex(CASE.fcw, 2)}`,
    `sw=${hex(CASE.fsw, 2)}`,
    `tags=${hex(CASE.ftw, 1)}`,
    `mem=${hex(CASE.mem, 10)}`,
    `rax=${hex(CASE.rax, 8)}`,
    `trap=${view.getUint32(CASE.trap, true)}`,
  ]
  return [...words, ...registers, ...vectors].join(' ')
}

/** Sign and exponent above the fraction: neighbours differ by 1. The integer bit follows from the exponent. */
function rank(view: DataView, at: number): bigint {
  return (BigInt(view.getUint16(at + 8, true)) << 63n) + (view.getBigUint64(at, true) & ((1n << 63n) - 1n))
}

/** Differences of a transcendental result: status word without C1, ST(0) and ST(1) to one unit in the last place. */
function longDiffers(mine: Uint8Array, golden: Uint8Array): boolean {
  const a = new DataView(mine.buffer, mine.byteOffset)
  const b = new DataView(golden.buffer, golden.byteOffset)
  if (((a.getUint16(0, true) ^ b.getUint16(0, true)) & ~0x200) !== 0) return true
  return [2, 12].some((at) => {
    const distance = rank(a, at) - rank(b, at)
    return distance > 1n || distance < -1n
  })
}

describe('recorded answers of a processor', () => {
  const golden = readGolden()

  it.each(EXACT_INSTRUCTIONS.map((instruction, n) => ({ instruction, n, name: instruction.name })))(
    '$name gives the same state',
    ({ instruction, n }) => {
      const cases = makeCases(instruction, CASES_PER_INSTRUCTION, 0)
      const after = runHere(instruction, cases)
      for (let i = 0; i < CASES_PER_INSTRUCTION; i++) {
        const mine = tidy(instruction, state(after, i))
        const same = fingerprint(mine) === golden.fingerprint(n, i)
        expect(
          same ? 'same' : `case ${i}\n in ${describeState(state(cases, i))}\nout ${describeState(mine)}`,
        ).toBe('same')
      }
    },
  )

  it.each(TRANSCENDENTAL_INSTRUCTIONS.map((instruction, n) => ({ instruction, n, name: instruction.name })))(
    '$name is within one unit in the last place',
    ({ instruction, n }) => {
      const cases = makeCases(instruction, CASES_PER_INSTRUCTION, 0)
      const after = runHere(instruction, cases)
      for (let i = 0; i < CASES_PER_INSTRUCTION; i++) {
        const differs = longDiffers(longRecord(state(after, i)), golden.longRecord(n, i))
        expect(
          differs
            ? `case ${i}\n in ${describeState(state(cases, i))}\nout ${describeState(state(after, i))}`
            : 'same',
        ).toBe('same')
      }
    },
  )

  it('notices a single wrong bit', () => {
    const first = EXACT_INSTRUCTIONS[0]
    if (first === undefined) throw new Error('no instructions')
    const after = state(runHere(first, makeCases(first, 1, 0)), 0)
    const view = new DataView(after.buffer, after.byteOffset)
    view.setUint8(CASE.xmm, view.getUint8(CASE.xmm) ^ 1)
    expect(fingerprint(tidy(first, after))).not.toBe(golden.fingerprint(0, 0))
  })
})

describe.skipIf(!hostCanJudge())('the host processor itself', () => {
  // a new sample every day, reproducible within it
  const seed = Math.floor(Date.now() / 86_400_000)

  it('agrees on every exact instruction', () => {
    const all = EXACT_INSTRUCTIONS.map((instruction) => ({
      instruction,
      cases: makeCases(instruction, 40, seed),
    }))
    const host = runOnHost(Buffer.concat(all.map((x) => x.cases)))
    let at = 0
    for (const { instruction, cases } of all) {
      const mine = runHere(instruction, cases)
      for (let i = 0; i < 40; i++, at++) {
        const a = describeState(tidy(instruction, state(mine, i)))
        const b = describeState(tidy(instruction, state(host, at)))
        expect(`${instruction.name} seed ${seed}: ${a}`, describeState(state(cases, i))).toBe(
          `${instruction.name} seed ${seed}: ${b}`,
        )
      }
    }
  })
})
