import { describe, expect, test } from 'vitest'
import { ConfigError, resolveConfig, type MachineOptions } from './config.ts'

const thresholdOf = (jit: MachineOptions['jit']): number | undefined =>
  resolveConfig({ kernel: new Uint8Array(), ...(jit === undefined ? {} : { jit }) }).jitThreshold

describe('the jit option', () => {
  test('leaves the threshold to the engine unless told', () => {
    expect(thresholdOf(undefined)).toBeUndefined()
    expect(thresholdOf(true)).toBeUndefined()
  })

  test('is off with false and with 0', () => {
    expect(thresholdOf(false)).toBe(0)
    expect(thresholdOf({ threshold: 0 })).toBe(0)
  })

  test.each([1, 2, 4096, 2 ** 20])('takes %d', (threshold) => {
    expect(thresholdOf({ threshold })).toBe(threshold)
  })

  test.each([-1, 3, 1.5, 2 ** 21, Number.NaN, Infinity])('refuses %d', (threshold) => {
    expect(() => thresholdOf({ threshold })).toThrow(ConfigError)
  })
})
