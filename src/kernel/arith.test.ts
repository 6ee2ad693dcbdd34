import { beforeAll, describe, expect, it } from 'vitest'
import { CPU_RAX, CPU_RBX, CPU_RCX, CPU_RDX } from '#abi/layout.ts'
import { SystemMachine, compileSystem } from './testing/system-machine.ts'

interface Arith {
  div64(divisor: bigint): void
  idiv64(divisor: bigint): void
  pdep64(source: bigint, mask: bigint): bigint
  pext64(source: bigint, mask: bigint): bigint
  crc32c(crc: number, data: bigint, bytes: number): number
  cmpxchg16b(gva: bigint, seg: number): number
}

const DE = { vector: 0 }
const u64 = (value: bigint): bigint => BigInt.asUintN(64, value)
const s64 = (value: bigint): bigint => BigInt.asIntN(64, value)

let m: SystemMachine
let k: Arith

beforeAll(async () => {
  m = new SystemMachine(await compileSystem())
  k = m.k as unknown as Arith
}, 120_000)

/** A fixed sequence of 64-bit values with many of the boundary ones. */
function* values(count: number, seed: bigint): Generator<bigint> {
  const edges = [
    0n,
    1n,
    2n,
    0x7fff_ffff_ffff_ffffn,
    1n << 63n,
    (1n << 64n) - 1n,
    0xffff_ffffn,
    1n << 32n,
    (1n << 32n) + 1n,
  ]
  let state = seed
  for (let i = 0; i < count; i++) {
    state = u64(state * 6364136223846793005n + 1442695040888963407n)
    const pick = Number(state >> 60n)
    if (pick < 3) yield edges[Number((state >> 32n) % 9n)] ?? 0n
    else yield u64(state ^ (state >> 29n)) >> BigInt(pick < 8 ? pick * 7 : 0)
  }
}

describe('128-bit quotients', () => {
  it('divides RDX:RAX like integers without bound, or raises #DE and changes nothing', () => {
    const wrong: string[] = []
    const lows = values(8000, 3n)
    const divisors = values(8000, 4n)
    for (const raw of values(8000, 5n)) {
      const low = lows.next().value ?? 0n
      const divisor = divisors.next().value ?? 0n
      for (const signed of [false, true]) {
        const high = divisor === 0n ? raw : signed ? u64(s64(raw) >> (raw & 63n)) : raw % divisor
        m.set64(CPU_RDX, high)
        m.set64(CPU_RAX, low)
        if (signed) k.idiv64(divisor)
        else k.div64(divisor)
        const n = signed ? BigInt.asIntN(128, (high << 64n) | low) : (high << 64n) | low
        const d = signed ? s64(divisor) : divisor
        const fits = d !== 0n && (signed ? s64(n / d) === n / d : n / d < 1n << 64n)
        const fault = m.takeFault()
        const want = fits ? [u64(n / d), u64(n % d)] : [low, high]
        if (m.get64(CPU_RAX) !== want[0] || m.get64(CPU_RDX) !== want[1] || (fault === undefined) !== fits) {
          wrong.push(`${signed ? 's' : 'u'} ${high}:${low} / ${divisor}`)
        }
      }
    }
    expect(wrong).toEqual([])
  })

  it.each([
    [1n << 63n, (1n << 64n) - 1n, -1n], // quotient 2^63 has no signed form
    [0n, 0n, 0n],
  ])('raises #DE for %i:%i / %i', (low, high, divisor) => {
    m.set64(CPU_RDX, high)
    m.set64(CPU_RAX, low)
    k.idiv64(divisor)
    expect(m.takeFault()).toEqual(DE)
  })
})

describe('bit deposit and extract', () => {
  it('are inverse on the bits of the mask', () => {
    const masks = values(500, 9n)
    for (const source of values(500, 8n)) {
      const mask: bigint = masks.next().value ?? 0n
      const ones = mask.toString(2).replaceAll('0', '').length
      const deposited = u64(k.pdep64(source, mask))
      expect(deposited & ~mask).toBe(0n)
      expect(u64(k.pext64(deposited, mask))).toBe(source & ((1n << BigInt(ones)) - 1n))
    }
  })
})

describe('CRC-32C', () => {
  it('has the check value of "123456789"', () => {
    let crc = 0xffff_ffff
    for (const digit of '123456789') crc = k.crc32c(crc, BigInt(digit.charCodeAt(0)), 1)
    expect(~crc >>> 0).toBe(0xe306_9283)
  })

  it('takes 8 bytes at once like 8 single ones', () => {
    let crc = 0x1234
    for (let i = 0n; i < 8n; i++) crc = k.crc32c(crc, (0x8877_6655_4433_2211n >> (8n * i)) & 255n, 1)
    expect(k.crc32c(0x1234, BigInt.asIntN(64, 0x8877_6655_4433_2211n), 8)).toBe(crc)
  })
})

describe('CMPXCHG16B', () => {
  const at = 0x5000
  const prepare = (low: bigint): void => {
    m.write64(at, 1n)
    m.write64(at + 8, 2n)
    m.set64(CPU_RAX, low)
    m.set64(CPU_RDX, 2n)
    m.set64(CPU_RBX, 3n)
    m.set64(CPU_RCX, 4n)
  }
  beforeAll(() => m.longMode())

  it('stores RCX:RBX when RDX:RAX matches', () => {
    prepare(1n)
    expect(k.cmpxchg16b(BigInt(at), 3)).toBe(1)
    expect([m.read64(at), m.read64(at + 8)]).toEqual([3n, 4n])
  })

  it('loads RDX:RAX when it does not', () => {
    prepare(7n)
    expect(k.cmpxchg16b(BigInt(at), 3)).toBe(0)
    expect([m.read64(at), m.read64(at + 8), m.get64(CPU_RAX), m.get64(CPU_RDX)]).toEqual([1n, 2n, 1n, 2n])
  })

  it('raises #GP(0) for an unaligned operand', () => {
    prepare(1n)
    k.cmpxchg16b(BigInt(at + 8), 3)
    expect(m.takeFault()).toEqual({ vector: 13, error: 0 })
  })
})
