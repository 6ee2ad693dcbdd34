import { expect, test } from 'vitest'
import { KeptModules } from './kept-modules.ts'

const EMPTY = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0))

test('keeps the last modules, up to a limit', () => {
  const kept = new KeptModules(100)
  for (const number of [1, 2, 3, 3]) kept.add(number, EMPTY, 40)
  expect([1, 2, 3].map((number) => kept.get(number))).toEqual([undefined, EMPTY, EMPTY])
  kept.add(4, EMPTY, 101)
  expect([3, 4].map((number) => kept.get(number))).toEqual([undefined, undefined])
  kept.add(5, EMPTY, 100)
  expect(kept.get(5)).toBe(EMPTY)
  kept.clear()
  expect(kept.get(5)).toBeUndefined()
})
