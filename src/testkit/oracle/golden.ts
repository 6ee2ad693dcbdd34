/** The host's answers to a fixed sample of cases, kept so that every host can compare: one line a case. */
import { ROWS } from '#isa/rows/index.ts'
import type { Row } from '#isa/row.ts'
import { makeCase, type Case } from './generate.ts'

export const GOLDEN_SEED = 'golden'
export const GOLDEN_CASES = 3

/** row/width seed | what the host did */
export function goldenLine(c: Case, line: string): string {
  return `${c.row.id}/${c.width} ${c.seed} | ${line}`
}

export interface GoldenCase {
  readonly made: Case
  readonly want: string
}

/** Throws when a line names a case that cannot be made any more: golden.txt is then older than the rows. */
export function parseGolden(text: string): GoldenCase[] {
  const byId = new Map(ROWS.map((row) => [row.id, row]))
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const parts = /^(\w+)\/(\d+) (\S+) \| (.*)$/.exec(line)
      const row = byId.get(parts?.[1] ?? '')
      const made = row && makeCase(row, Number(parts?.[2]) as Row['widths'][number], parts?.[3] ?? '')
      if (!made) throw new Error(`golden.txt is out of date (npm run test:isa -- --golden): ${line}`)
      return { made, want: parts?.[4] ?? '' }
    })
}
