import { describe, expect, test } from 'vitest'
import { ConfigError, resolveConfig, type MachineOptions } from './config.ts'

const thresholdOf = (jit: MachineOptions['jit']): number =>
  resolveConfig({ kernel: new Uint8Array(), ...(jit === undefined ? {} : { jit }) }).jitThreshold

describe('the jit option', () => {
  test('has a threshold of its own', () => {
    expect(thresholdOf(true)).toBe(32_768)
    expect(thresholdOf(undefined)).toBe(32_768)
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
