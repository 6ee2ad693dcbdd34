/**
 * What a processor answered to the test cases, small enough to commit: golden/fp.bin.
 * Exact instructions: 16 bits of a hash per case. Transcendental ones: status word, ST(0) and ST(1) of every case.
 * `npx tsx src/kernel/fp/testing/golden.ts` makes it anew on an x86-64 host, after a change of the case generators.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Instruction } from './machine.ts'
import { Random } from './operands.ts'
import { CASE, CASE_SIZE, runOnHost } from './oracle.ts'
import { SSE_INSTRUCTIONS, fillSseCases } from './sse.ts'
import { TRANSCENDENTAL_INSTRUCTIONS, X87_INSTRUCTIONS, fillX87Cases } from './x87.ts'

export const CASES_PER_INSTRUCTION = 150
export const LONG_RECORD = 22 // u16 status word, then ST(0) and ST(1) as 10 bytes each

const GOLDEN = fileURLToPath(new URL('../golden/fp.bin', import.meta.url))

export const EXACT_INSTRUCTIONS: readonly Instruction[] = [...SSE_INSTRUCTIONS, ...X87_INSTRUCTIONS]
export { TRANSCENDENTAL_INSTRUCTIONS }

/** The cases of one instruction; the same for the same seed, everywhere. */
export function makeCases(instruction: Instruction, count: number, seed: number): Uint8Array {
  const cases = new Uint8Array(count * CASE_SIZE)
  const random = new Random(hashText(`${instruction.name}:${seed}`))
  if (SSE_INSTRUCTIONS.includes(instruction)) fillSseCases(random, instruction, cases)
  else fillX87Cases(random, instruction, cases)
  return cases
}

function hashText(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/** Clears what means nothing in a state after the instruction: ignored bytes, and rax of instructions without it. */
export function tidy(instruction: Instruction, after: Uint8Array): Uint8Array {
  if (instruction.ignore) after.fill(0, instruction.ignore[0], instruction.ignore[0] + instruction.ignore[1])
  return after
}

/** FNV-1a over the state, folded to 16 bits. */
export function fingerprint(after: Uint8Array): number {
  let hash = 0x811c9dc5
  for (const byte of after) hash = Math.imul(hash ^ byte, 0x01000193)
  return (hash ^ (hash >>> 16)) & 0xffff
}

export function longRecord(after: Uint8Array): Uint8Array {
  const record = new Uint8Array(LONG_RECORD)
  record.set(after.subarray(CASE.fsw, CASE.fsw + 2))
  record.set(after.subarray(CASE.st, CASE.st + 10), 2)
  record.set(after.subarray(CASE.st + 16, CASE.st + 26), 12)
  return record
}

export interface Golden {
  /** Fingerprint of case i of exact instruction n. */
  readonly fingerprint: (n: number, i: number) => number
  readonly longRecord: (n: number, i: number) => Uint8Array
}

const HASHES_BYTES = EXACT_INSTRUCTIONS.length * CASES_PER_INSTRUCTION * 2

export function readGolden(): Golden {
  const bytes = readFileSync(GOLDEN)
  const expected = HASHES_BYTES + TRANSCENDENTAL_INSTRUCTIONS.length * CASES_PER_INSTRUCTION * LONG_RECORD
  if (bytes.length !== expected)
    throw new Error(`${GOLDEN}: ${bytes.length} bytes, want ${expected}; make it anew`)
  return {
    fingerprint: (n, i) => bytes.readUInt16LE((n * CASES_PER_INSTRUCTION + i) * 2),
    longRecord: (n, i) => {
      const at = HASHES_BYTES + (n * CASES_PER_INSTRUCTION + i) * LONG_RECORD
      return new Uint8Array(bytes.subarray(at, at + LONG_RECORD))
    },
  }
}

function writeGolden(): void {
  const parts: Uint8Array[] = []
  for (const instruction of EXACT_INSTRUCTIONS) {
    const after = runOnHost(makeCases(instruction, CASES_PER_INSTRUCTION, 0))
    const hashes = new DataView(new ArrayBuffer(CASES_PER_INSTRUCTION * 2))
    for (let i = 0; i < CASES_PER_INSTRUCTION; i++) {
      const state = tidy(instruction, after.subarray(i * CASE_SIZE, (i + 1) * CASE_SIZE))
      hashes.setUint16(i * 2, fingerprint(state), true)
    }
    parts.push(new Uint8Array(hashes.buffer))
  }
  for (const instruction of TRANSCENDENTAL_INSTRUCTIONS) {
    const after = runOnHost(makeCases(instruction, CASES_PER_INSTRUCTION, 0))
    for (let i = 0; i < CASES_PER_INSTRUCTION; i++)
      parts.push(longRecord(after.subarray(i * CASE_SIZE, (i + 1) * CASE_SIZE)))
  }
  writeFileSync(GOLDEN, Buffer.concat(parts))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeGolden()
