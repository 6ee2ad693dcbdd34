import { describe, expect, it } from 'vitest'
import { assignHandlers, HANDLER_FIRST } from './handlers.ts'
import { HOT } from './hot.ts'
import { ROWS } from './rows/index.ts'

const handlers = assignHandlers(ROWS)
const rowOf = (id: string): (typeof ROWS)[number] => {
  const row = ROWS.find((candidate) => candidate.id === id)
  if (!row) throw new Error(`no row ${id}`)
  return row
}

describe('handler numbers', () => {
  it('are dense, the inlined ones first', () => {
    expect(handlers.list.map((handler) => handler.id)).toEqual(handlers.list.map((_, i) => HANDLER_FIRST + i))
    expect(handlers.list.every((handler) => handler.hot === handler.id < handlers.hotEnd)).toBe(true)
  })

  it('depend on the rows alone', () => {
    const again = assignHandlers(ROWS)
    expect(again.list.map(({ row, width, form }) => `${row.id}/${width}/${form}`)).toEqual(
      handlers.list.map(({ row, width, form }) => `${row.id}/${width}/${form}`),
    )
  })

  it('use the general memory form where base + displacement has no handler of its own', () => {
    const row = rowOf('daa')
    expect(handlers.find(row, 8, 'X')).toBeUndefined()
    const shift = rowOf('rcl_rmv_imm8')
    expect(handlers.id(shift, 32, 'M')).toBe(handlers.id(shift, 32, 'X'))
    const mov = rowOf('mov_rv_rmv')
    expect(handlers.id(mov, 64, 'M')).not.toBe(handlers.id(mov, 64, 'X'))
  })

  it('refuse a form that the row does not have', () => {
    expect(() => handlers.id(rowOf('cmp_rmv_rv'), 32, 'L')).toThrow('has no L form')
  })
})

describe('the list of inlined handlers', () => {
  it('names only instances that exist', () => {
    const hot = new Set(
      handlers.list.filter((h) => h.hot).map(({ row, width, form }) => `${row.id}/${width}/${form}`),
    )
    const listed = Object.entries(HOT).flatMap(([id, sizes]) =>
      sizes.split(' ').flatMap((size) => {
        const width = Number.parseInt(size, 10)
        return Array.from(size.slice(String(width).length), (form) => `${id}/${width}/${form}`)
      }),
    )
    expect(listed.filter((key) => !hot.has(key))).toEqual([])
  })

  it('stays within what TurboFan compiles fast', () => {
    expect(handlers.hotEnd - HANDLER_FIRST).toBeLessThanOrEqual(350)
  })
})
