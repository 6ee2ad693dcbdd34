/**
 * The host's way to a fused multiply-add against exact integers: random numbers, cancellation, and sums near the middle between two
 * results, where a second rounding would show.
 */
import { beforeAll, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import { compileKernel } from './testing/compile.ts'
import { CPU, Machine } from './testing/machine.ts'
import { CASE_SIZE } from './testing/oracle.ts'
import { Random } from './testing/operands.ts'

/** Everything masked, precision sticky: where the host's operators may answer. */
const QUIET = 0x1fa0
const CASES = 20_000

let m: Machine

beforeAll(async () => {
  m = new Machine(await compileKernel('src/kernel/fp/exports.ts'))
  m.run(new Uint8Array(CASE_SIZE), new Uint8Array(CASE_SIZE), () => {})
  m.view.setUint32(CPU + abi.CPU_MXCSR, QUIET, true)
}, 60_000)

const scratch = new DataView(new ArrayBuffer(8))

/** A finite double as an integer of 2^-1074. */
function exactly(x: number): bigint {
  scratch.setFloat64(0, x)
  const bits = scratch.getBigUint64(0)
  const field = (bits >> 52n) & 0x7ffn
  const fraction = bits & 0xf_ffff_ffff_ffffn
  const size = field === 0n ? fraction : (fraction | (1n << 52n)) << (field - 1n)
  return bits >> 63n ? -size : size
}

/** A nonzero multiple of 2^-2148 rounded to `precision` bits, nearest and even; for results in the normal range. */
function rounded(value: bigint, precision: number): number {
  const size = value < 0n ? -value : value
  const excess = size.toString(2).length - precision
  let kept = size
  if (excess > 0) {
    const shift = BigInt(excess)
    const rest = size & ((1n << shift) - 1n)
    const middle = 1n << (shift - 1n)
    kept = size >> shift
    if (rest > middle || (rest === middle && (kept & 1n) === 1n)) kept += 1n
  }
  const scale = (excess > 0 ? excess : 0) - 2148
  // in two steps, because 2^scale alone may be too small
  const result = Number(kept) * 2 ** Math.ceil(scale / 2) * 2 ** Math.floor(scale / 2)
  return value < 0n ? -result : result
}

const fused = (a: number, b: number, c: number, precision: number): number =>
  rounded(exactly(a) * exactly(b) + (exactly(c) << 1074n), precision)

function run(form: 'sd' | 'ss', [a, b, c]: readonly [number, number, number]): number {
  const put = (slot: number, x: number): void =>
    form === 'sd' ? m.view.setFloat64(m.xmm(slot), x, true) : m.view.setFloat32(m.xmm(slot), x, true)
  put(1, a)
  put(2, b)
  put(3, c)
  m.call(`sse_fma_${form}`, m.xmm(0), m.xmm(1), m.xmm(2), m.xmm(3), 0)
  return form === 'sd' ? m.view.getFloat64(m.xmm(0), true) : m.view.getFloat32(m.xmm(0), true)
}

/** A number of `bits` significant bits between 2^-range and 2^range. */
function number(r: Random, bits: number, range: number): number {
  const high = r.below(2 ** 21)
  const fraction = (high * 2 ** 32 + r.below(2 ** 32)) / 2 ** 53
  const significand = Math.round((1 + fraction) * 2 ** (bits - 1)) / 2 ** (bits - 1)
  return (r.below(2) ? -1 : 1) * significand * 2 ** (r.below(2 * range + 1) - range)
}

const bitsOf: Readonly<Record<'sd' | 'ss', number>> = { sd: 53, ss: 24 }
const round: Readonly<Record<'sd' | 'ss', (x: number) => number>> = { sd: (x) => x, ss: Math.fround }

type Triple = readonly [number, number, number]
const KINDS: Readonly<Record<string, (r: Random, form: 'sd' | 'ss') => Triple>> = {
  'random numbers': (r, form) => {
    const one = (): number => number(r, bitsOf[form], 40)
    return [one(), one(), one()]
  },
  'few bits': (r) => [
    number(r, 1 + r.below(12), 30),
    number(r, 1 + r.below(12), 30),
    number(r, 1 + r.below(12), 60),
  ],
  'an addend near the product': (r, form) => {
    const [a, b] = [number(r, bitsOf[form], 20), number(r, bitsOf[form], 20)]
    const near = 1 + (r.below(5) - 2) * 2 ** (1 - bitsOf[form])
    return [a, b, -round[form](a * b * near)]
  },
  'a product in the middle of two results, and a little': (r, form) => {
    const half = Math.floor(bitsOf[form] / 2) + 1
    const [a, b] = [number(r, half, 10), number(r, half, 10)]
    const little = (r.below(3) - 1) * Math.abs(a * b) * 2 ** -(bitsOf[form] + 2 + r.below(40))
    return [a, b, round[form](little)]
  },
  'a small product beside the addend': (r, form) => {
    const [a, b] = [number(r, bitsOf[form], 20), number(r, bitsOf[form], 20)]
    return [a, b, round[form](a * b * 2 ** (bitsOf[form] - 4 + r.below(8)) * number(r, 4, 1))]
  },
}

describe.each(['sd', 'ss'] as const)('sse_fma_%s', (form) => {
  it.each(Object.keys(KINDS))('rounds once: %s', (kind) => {
    const r = new Random(7)
    const wrong: string[] = []
    for (let i = 0; i < CASES; i++) {
      const triple = KINDS[kind]?.(r, form) ?? [0, 0, 0]
      if (exactly(triple[0]) * exactly(triple[1]) + (exactly(triple[2]) << 1074n) === 0n) continue
      const [want, got] = [fused(...triple, bitsOf[form]), run(form, triple)]
      if (want !== got) wrong.push(`${triple.join(' ')}: ${want}, not ${got}`)
    }
    expect(wrong.slice(0, 5)).toEqual([])
  })

  it.each([
    [2, 3, -6, 0],
    [-0, 5, -0, -0],
    [-0, 5, 0, 0],
    [0, -5, 0, 0],
    [0, 5, 7, 7],
    [3, 1, -0, 3],
  ])('%d * %d + %d is %d', (a, b, c, want) => {
    expect(Object.is(run(form, [a, b, c]), want)).toBe(true)
  })
})
