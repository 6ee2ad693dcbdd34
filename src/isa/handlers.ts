/**
 * Handler numbers: REC_OP of a decoded record. The table compiler (which writes them into the decoder's tables) and the
 * interpreter generator both get them from assignHandlers(), which is a pure function of the rows.
 *
 *   0 .. 15            special records, below
 *   16 .. hotCount-1   handlers inlined into the interpreter's run function
 *   the rest           functions of their own, reached through the table
 *
 * Forms of an instance (row x width):
 *   R   no memory operand: ModRM.mod = 3, or a row without ModRM.rm operand
 *   M   memory, base + disp only: REC_INDEX is CPU_ZERO, REC_SEG has neither RECSEG_ADD_BASE nor RECSEG_CHECK, and the
 *       address size is the default one of the mode (CPU_AMASK); moffs is never M
 *   X   memory, any effective address
 *   L   memory, any effective address, LOCK prefix (rows with lock: true)
 * An instance without a handler of its own for M uses the one of X: id() takes care of it.
 */
import { HOT } from './hot.ts'
import { operandForms } from './operands.ts'
import type { Row } from './row.ts'

// --- special records -----------------------------------------------------------------------------------------------

/** The page was written, or the arena was never filled here: look the instruction up again. */
export const HANDLER_STALE = 0
/** No instruction: continue at page offset REC_IMM (may be the next page); REC_LINK as for a branch. */
export const HANDLER_GOTO = 1
/** No instruction: RIP = page offset REC_IMM, then enter(): mode, interrupts and requests are looked at. */
export const HANDLER_SYNC = 2
/** No instruction: the next record's instruction crosses into the next page, whose gpa page must still be REC_IMM. */
export const HANDLER_CROSS = 3
/** #UD */
export const HANDLER_UD = 4
/** #GP(0): longer than 15 bytes. */
export const HANDLER_GP = 5
/** Compiled code stands for this record and what follows: function REC_IMM of the table of regions (abi/code-cache.ts, REGION_*). */
export const HANDLER_REGION = 6
export const HANDLER_FIRST = 16

export type Form = 'R' | 'M' | 'X' | 'L'

export interface Handler {
  readonly id: number
  readonly row: Row
  readonly width: Row['widths'][number]
  readonly form: Form
  /** Inlined into run(). */
  readonly hot: boolean
}

export interface Handlers {
  /** Dense from HANDLER_FIRST on, in order of id. */
  readonly list: readonly Handler[]
  /** First id that is not inlined. */
  readonly hotEnd: number
  /** Handler number; throws when the row has no such form or width (M falls back to X). */
  id(row: Row, width: number, form: Form): number
  /** As id(), undefined instead of a throw. */
  find(row: Row, width: number, form: Form): number | undefined
}

const HOT_KEYS = new Set(
  Object.entries(HOT).flatMap(([id, sizes]) =>
    sizes.split(' ').flatMap((size) => {
      const width = Number.parseInt(size, 10)
      return Array.from(size.slice(String(width).length), (form) => `${id}/${width}/${form}`)
    }),
  ),
)

function isHot(row: Row, width: number, form: Form): boolean {
  return HOT_KEYS.has(`${row.id}/${width}/${form}`)
}

function formsOf(row: Row, width: number): Form[] {
  const { register, memory } = operandForms(row)
  const forms: Form[] = []
  if (register) forms.push('R')
  if (memory) {
    if (isHot(row, width, 'M')) forms.push('M')
    forms.push('X')
    if (row.lock) forms.push('L')
  }
  return forms
}

export function assignHandlers(rows: readonly Row[]): Handlers {
  const key = (row: Row, width: number, form: Form): string => `${row.id}/${width}/${form}`
  const instances = rows.flatMap((row) =>
    row.widths.flatMap((width) =>
      formsOf(row, width).map((form) => ({ row, width, form, hot: isHot(row, width, form) })),
    ),
  )
  const ordered = [...instances.filter((i) => i.hot), ...instances.filter((i) => !i.hot)]
  const list = ordered.map((instance, index) => ({ ...instance, id: HANDLER_FIRST + index }))
  if (list.length + HANDLER_FIRST > 0xffff) throw new Error('more handlers than REC_OP can number')
  const ids = new Map<string, number>()
  for (const handler of list) {
    const k = key(handler.row, handler.width, handler.form)
    if (ids.has(k)) throw new Error(`two rows share the id ${handler.row.id}`)
    ids.set(k, handler.id)
  }
  const find = (row: Row, width: number, form: Form): number | undefined =>
    ids.get(key(row, width, form)) ?? (form === 'M' ? ids.get(key(row, width, 'X')) : undefined)
  return {
    list,
    hotEnd: HANDLER_FIRST + list.filter((h) => h.hot).length,
    find,
    id(row, width, form) {
      const id = find(row, width, form)
      if (id === undefined) throw new Error(`row ${row.id} has no ${form} form of width ${width}`)
      return id
    },
  }
}
