import { describe, expect, test } from 'vitest'

import { breakDown } from './breakdown.ts'
import { ABSENT, clockOf, parseOutput } from './kernels.ts'
import { UsageError, parseOptions } from './options.ts'
import { disagreements, geometricMean, median, ratios } from './report.ts'
import type { KernelResult, Results, Table } from './results.types.ts'
import { verdicts } from './targets.ts'

const kernel = (ms: number, checksum = 'aa', group: KernelResult['group'] = 'cpu'): KernelResult => ({
  group,
  ms: [ms],
  checksum,
})

const table = (peers: Table['peers']): Table => ({ id: 'kernels-64', title: '', peers })
const results = (...tables: Table[]): Results => ({
  format: 1,
  date: '',
  host: '',
  browser: '',
  quick: false,
  cpuTime: false,
  repeat: 1,
  tables,
})

describe('parseOutput', () => {
  test('reads what the programs print', () => {
    const output =
      'bench -r 2 sieve\r\nsieve 10.50 0004c29c\r\nsieve 9.50 0004c29c\r\nbench-clock 20.5\r\nbench-done\r\n'
    expect(parseOutput(output)).toEqual({
      times: [10.5, 9.5],
      checksums: new Set(['0004c29c']),
      clockMs: 20.5,
      failure: undefined,
    })
  })

  test('tells a command that failed', () => {
    expect(parseOutput('gcc failed: status 1\r\nbench-done\r\n').failure).toBe('failed: status 1')
  })
})

describe('clockOf', () => {
  test('is one where clocks agree or too little was measured', () => {
    expect(clockOf(undefined, 1000)).toBe(1)
    expect(clockOf(300, 900)).toBe(1)
    expect(clockOf(29_000, 30_200)).toBe(1)
  })

  test('tells how much a guest lags', () => {
    expect(clockOf(5000, 10_000)).toBe(0.5)
  })
})

describe('ratios', () => {
  const both = table({
    webkvm: {
      bootMs: [],
      kernels: { a: kernel(10), b: kernel(20, 'bb', 'os'), c: { ...kernel(1), failure: ABSENT } },
    },
    qemu: { bootMs: [], kernels: { a: kernel(40), b: kernel(10, 'bb', 'os'), c: kernel(5) } },
  })

  test('are above one where webkvm is faster, for what both measured', () => {
    expect(ratios(both, 'qemu')).toEqual([
      { name: 'a', group: 'cpu', ratio: 4 },
      { name: 'b', group: 'os', ratio: 0.5 },
    ])
    expect(ratios(both, 'qemu', 'os').map(({ name }) => name)).toEqual(['b'])
    expect(ratios(both, 'v86')).toEqual([])
  })

  test('have a geometric mean, and repetitions a median', () => {
    expect(geometricMean([4, 0.25, 2, 0.5])).toBeCloseTo(1)
    expect(median([5, 1, 3])).toBe(3)
    expect(median([4, 2])).toBe(3)
    expect(median([])).toBeUndefined()
  })
})

describe('disagreements', () => {
  test('are checksums that differ between peers or between repetitions', () => {
    const kernels = { same: kernel(1), other: kernel(1), unsteady: kernel(1, 'aa/bb'), missing: kernel(1) }
    const theirs = { same: kernel(2), other: kernel(2, 'bb'), missing: kernel(0, '') }
    expect(
      disagreements(table({ webkvm: { bootMs: [], kernels }, native: { bootMs: [], kernels: theirs } })),
    ).toEqual(['other', 'unsteady'])
  })
})

describe('verdicts', () => {
  const run = (ms: number): Results =>
    results(
      table({
        webkvm: { bootMs: [4000], kernels: { a: kernel(ms), b: kernel(100) } },
        qemu: { bootMs: [4000], kernels: { a: kernel(100), b: kernel(400) } },
      }),
    )
  const find = (of: Results, text: string) => verdicts(of).find(({ target }) => target.includes(text))

  test('are met, missed or not measured', () => {
    expect(find(run(100), 'geometric mean against QEMU TCG: at least 2')).toMatchObject({ met: true })
    expect(find(run(200), 'geometric mean against QEMU TCG: at least 2')).toMatchObject({ met: false })
    expect(find(run(100), 'against v86')).toMatchObject({ measured: undefined })
    expect(find(run(100), 'under 5 s')).toMatchObject({ met: true, measured: '4.00 s' })
  })

  test('name the kernels that are too slow', () => {
    expect(find(run(129), 'slower than QEMU TCG')).toMatchObject({ met: true })
    expect(find(run(131), 'slower than QEMU TCG')).toMatchObject({ met: false, measured: 'a 1.31' })
  })
})

describe('parseOptions', () => {
  test('takes parts of everything', () => {
    const options = parseOptions(['--groups', 'os,boot', '--32', '--repeat', '3', '--peers', 'webkvm'])
    expect(options).toMatchObject({ command: 'measure', bits: [32], repeat: 3, quick: false })
    expect([...options.groups]).toEqual(['os', 'boot'])
    expect([...options.peers]).toEqual(['webkvm'])
  })

  test.each([[['--groups', 'gpu']], [['--repeat', 'x']], [['--fast']]])('refuses %j', (args) => {
    expect(() => parseOptions(args)).toThrow(UsageError)
  })
})

describe('breakDown', () => {
  const wasm = (functionName: string, url: string) => ({ functionName, url: `wasm://wasm/${url}` })

  test('tells interpreter, helpers, compiled code and waiting apart', () => {
    const kernelFrame = wasm('src/kernel/decoder/decode', 'k')
    const run = wasm('run', 'i')
    const wait = { functionName: 'wait', url: 'http://x/vcpu.js' }
    const places = [
      { frames: [run], ms: 5 },
      { frames: [wasm('adc_rm8_r8/8/X', 'i'), run], ms: 1 },
      { frames: [kernelFrame, run], ms: 2 },
      { frames: [wasm('wasm-function[3]', 'j'), run], ms: 3 },
      { frames: [wait, wasm('src/kernel/exit/exit_sync', 'k'), run], ms: 4 },
      { frames: [wait, wasm('src/kernel/run/enter', 'k'), run], ms: 6 },
      {
        frames: [{ functionName: '', url: 'http://x/vcpu.js' }, wasm('src/kernel/clock/tsc_read', 'k')],
        ms: 7,
      },
    ]
    const { kinds, functions } = breakDown([{ name: 'worker', isWorker: true, places }])
    expect(Object.fromEntries(kinds)).toEqual({
      interpret: 6,
      decode: 2,
      'compiled guest code': 3,
      "waiting for the hub's answer": 4,
      'asleep (HLT)': 6,
      'JavaScript: clock and other host calls': 7,
    })
    expect(functions.get('js from kernel clock/tsc_read')).toBe(7)
    expect(functions.get('handler adc_rm8_r8/8/X')).toBe(1)
  })
})
