/** The fused operation by the host's operators (PE sticky) against the exact way (PE clear, which refuses rounded results). */
import { beforeAll, describe, expect, it } from 'vitest'
import { CPU_MXCSR } from '#abi/layout.ts'
import { compileKernel } from './testing/compile.ts'
import { CPU, MEM, Machine } from './testing/machine.ts'
import { Random } from './testing/operands.ts'

const CASES = Number(process.env['FMA_CASES'] ?? 40_000)
const MASKED = 0x1f80
const PE = 0x20

let machine: Machine

beforeAll(async () => {
  machine = new Machine(await compileKernel('src/kernel/fp/exports.ts'))
}, 60_000)

/** All ones, a few bits at one end or both, or anything, below the leading bit. */
function fraction(r: Random, bits: bigint): bigint {
  const mask = (1n << bits) - 1n
  const low = BigInt(r.below(8))
  const kinds = [0n, mask, low, mask - low, (1n << (bits - 1n)) | low, r.u64() & mask, r.u64() & mask]
  return r.pick(kinds)
}

interface Shape {
  readonly fraction: bigint
  readonly bias: number
  readonly sign: bigint
  /** Exponents of factors. */
  readonly span: number
  readonly toBits: (value: number) => bigint
  readonly toNumber: (bits: bigint) => number
}

const scratch = new DataView(new ArrayBuffer(8))
const SINGLE: Shape = {
  fraction: 23n,
  bias: 127,
  sign: 31n,
  span: 40,
  toBits: (value) => (scratch.setFloat32(0, value), BigInt(scratch.getUint32(0))),
  toNumber: (bits) => (scratch.setUint32(0, Number(bits)), scratch.getFloat32(0)),
}
const DOUBLE: Shape = {
  fraction: 52n,
  bias: 1023,
  sign: 63n,
  span: 420,
  toBits: (value) => (scratch.setFloat64(0, value), scratch.getBigUint64(0)),
  toNumber: (bits) => (scratch.setBigUint64(0, bits), scratch.getFloat64(0)),
}

function number(r: Random, shape: Shape, exponent: number): bigint {
  const field = BigInt(Math.max(1, Math.min(2 * shape.bias, exponent + shape.bias)))
  return (BigInt(r.below(2)) << shape.sign) | (field << shape.fraction) | fraction(r, shape.fraction)
}

/** Factors, and an addend that overlaps the product, lies just beyond it, or takes nearly all of it away. */
function operands(r: Random, shape: Shape): readonly [bigint, bigint, bigint] {
  const near = r.below(2) === 0 ? 3 : shape.span
  const [x, y] = [r.below(2 * near) - near, r.below(2 * near) - near]
  const [a, b] = [number(r, shape, x), number(r, shape, y)]
  const kind = r.below(4)
  if (kind === 0) {
    const product = shape.toBits(-shape.toNumber(a) * shape.toNumber(b))
    return [a, b, BigInt.asUintN(Number(shape.sign) + 1, product + BigInt(r.below(5) - 2))]
  }
  if (kind === 1 && r.below(4) === 0) return [a, b, 0n]
  const digits = Number(shape.fraction)
  return [a, b, number(r, shape, x + y + r.below(5 * digits) - Math.floor(2.5 * digits))]
}

function fused(format: 'ss' | 'sd', [a, b, c]: readonly bigint[], negate: number, mxcsr: number): string {
  const { view } = machine
  view.setUint32(CPU + CPU_MXCSR, mxcsr, true)
  for (const [i, value] of [a, b, c].entries()) view.setBigUint64(MEM + 16 * (i + 1), value ?? 0n, true)
  view.setBigUint64(MEM, 0n, true)
  machine.call(`sse_fma_${format}`, MEM, MEM + 16, MEM + 32, MEM + 48, negate)
  const flags = view.getUint32(CPU + CPU_MXCSR, true) | PE
  return `${view.getBigUint64(MEM, true).toString(16)} ${flags.toString(16)}`
}

describe('a * b + c with one rounding', () => {
  it.each([
    ['ss', SINGLE],
    ['sd', DOUBLE],
  ] as const)('%s: the host computes what the exact way does', (format, shape) => {
    const r = new Random(7)
    const wrong: string[] = []
    for (let n = 0; n < CASES; n++) {
      const values = operands(r, shape)
      const negate = r.below(4)
      const want = fused(format, values, negate, MASKED)
      const got = fused(format, values, negate, MASKED | PE)
      if (want !== got)
        wrong.push(`${values.map((v) => v.toString(16)).join(' ')} ${negate}: ${want} | ${got}`)
    }
    expect(wrong.slice(0, 5)).toEqual([])
  })
})
