import { describe, expect, it } from 'vitest'

import { SnapshotError, stateCodec } from './codec.ts'
import { bits, blob, bytes, list, record, upTo } from './fields.ts'

const Timer = stateCodec(
  'timer',
  2,
  {
    control: bits(3),
    deadline: 'f64',
    total: 'u64',
    armed: 'bool',
    slot: upTo(7),
    name: bytes(2),
    data: blob(4),
    rings: list(record({ head: 'u16', tail: 'u32' }), 2),
  },
  {
    migrate: { 1: (old) => ({ ...old, armed: old['deadline'] !== Infinity }) },
    check: (state) =>
      state.armed && state.deadline === Infinity ? 'is armed without a deadline' : undefined,
  },
)

const SAMPLE = {
  control: 3,
  deadline: 1.5,
  total: 0xffff_ffff_ffff_ffffn,
  armed: true,
  slot: 7,
  name: Uint8Array.of(1, 2),
  data: Uint8Array.of(),
  rings: [{ head: 1, tail: 2 }],
}

describe('stateCodec', () => {
  it('gives back what it was given', () => {
    expect(Timer.decode(Timer.encode(SAMPLE))).toEqual(SAMPLE)
  })

  it('refuses every prefix of a section', () => {
    const section = Timer.encode(SAMPLE)

    for (let length = 0; length < section.length; length++) {
      expect(() => Timer.decode(section.subarray(0, length)), String(length)).toThrow(SnapshotError)
    }
  })

  it('names the field that is wrong', () => {
    expect(() => Timer.decode(Timer.encode({ ...SAMPLE, slot: 8 }))).toThrow(
      'snapshot section "timer.slot": is 8, more than 7',
    )
    expect(() => Timer.decode(Timer.encode({ ...SAMPLE, control: 4 }))).toThrow('bits outside 0x3')
    expect(() => Timer.decode(Timer.encode({ ...SAMPLE, name: Uint8Array.of(1) }))).toThrow(
      'ends 1 bytes early',
    )
    expect(() => Timer.decode(Timer.encode({ ...SAMPLE, data: new Uint8Array(5) }))).toThrow('more than 4')
    expect(() => Timer.decode(Timer.encode({ ...SAMPLE, deadline: Number.NaN }))).toThrow('not a number')
  })

  it('checks relations between fields', () => {
    expect(() => Timer.decode(Timer.encode({ ...SAMPLE, deadline: Infinity }))).toThrow(
      'armed without a deadline',
    )
  })

  it('migrates an older version, and refuses a later one', () => {
    const { armed: _armed, ...v1 } = SAMPLE
    const Old = stateCodec('timer', 1, {
      control: bits(3),
      deadline: 'f64',
      total: 'u64',
      slot: upTo(7),
      name: bytes(2),
      data: blob(4),
      rings: list(record({ head: 'u16', tail: 'u32' }), 2),
    })

    expect(Timer.decode(Old.encode(v1))).toEqual(SAMPLE)
    expect(() => Old.decode(Timer.encode(SAMPLE))).toThrow('version 2 is not known here')
  })

  it('encodes states larger than its first buffer', () => {
    const Big = stateCodec('big', 1, { words: list('u32', 5000) })
    const words = Array.from({ length: 5000 }, (_, i) => i)

    expect(Big.decode(Big.encode({ words })).words).toEqual(words)
  })
})
