import { describe, expect, it } from 'vitest'

import { registerBlock } from './registers.ts'

// oxfmt-ignore
const block = registerBlock({
  CTRL:   { at: 0, bytes: 4, access: 'rw',  reset: 0x10, mask: 0xff },
  STATUS: { at: 4, bytes: 2, access: 'w1c', reset: 0x0f, mask: 0x0c },
  ID:     { at: 6, bytes: 1, access: 'ro',  reset: 0x42 },
  COUNT:  { at: 8, bytes: 1, access: 'rc',  reset: 7 },
  KEY:    { at: 9, bytes: 1, access: 'wo',  reset: 0 },
})

describe('registerBlock', () => {
  it('changes only the bits in the mask', () => {
    const values = block.create()

    expect(block.write(values, 0, 4, 0xffff_ff33)).toBe('CTRL')
    expect(block.read(values, 0, 4)).toBe(0x33)
  })

  it('clears by ones, and only where allowed', () => {
    const values = block.create()
    block.write(values, 4, 2, 0xffff)

    expect(values.STATUS).toBe(3)
  })

  it('clears by reading', () => {
    const values = block.create()

    expect([block.read(values, 8, 1), block.read(values, 8, 1)]).toEqual([7, 0])
  })

  it('keeps read-only registers, hides write-only ones', () => {
    const values = block.create()
    block.write(values, 6, 1, 0)
    block.write(values, 9, 1, 0x55)

    expect(block.read(values, 6, 1)).toBe(0x42)
    expect(block.read(values, 9, 1)).toBe(0)
    expect(values.KEY).toBe(0x55)
  })

  it('serves parts of a register and several at once', () => {
    const values = block.create()
    block.write(values, 4, 4, 0x0000_0004)

    expect(block.read(values, 5, 2)).toBe(0x4200)
    expect(block.read(values, 4, 4)).toBe(0xff42_000b)
  })

  it('answers nothing where there is no register', () => {
    const values = block.create()

    expect(block.read(values, 12, 4)).toBeUndefined()
    expect(block.write(values, 12, 4, 1)).toBeUndefined()
  })

  it('refuses overlapping registers at load', () => {
    expect(() =>
      registerBlock({
        A: { at: 0, bytes: 4, access: 'rw', reset: 0 },
        B: { at: 3, bytes: 1, access: 'rw', reset: 0 },
      }),
    ).toThrow('registers A and B overlap at 3')
  })
})
