/** Operand values worth trying: boundaries of every width and every class of floating-point number. */
import type { Random } from './random.ts'

const BOUNDARIES = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0x81n,
  0xffn,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x7fff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0xffff_ffff_ffff_ffffn,
  0xffff_ffff_8000_0000n,
  0xffff_ffff_ffff_ff80n,
]

export function integer(random: Random): bigint {
  const kind = random.below(8)
  if (kind < 2) return random.pick(BOUNDARIES)
  if (kind === 2) return BigInt(random.below(32))
  if (kind === 3) return 1n << BigInt(random.below(64))
  if (kind === 4) return BigInt.asUintN(64, -BigInt(random.below(300)))
  if (kind === 5) return BigInt(random.bits())
  return random.u64()
}

const F32 = [0, 0x3f80_0000, 0x4000_0000, 0x7f80_0000, 0x7fc0_0000, 0x7fc1_2345, 0x7f81_2345, 1, 0x007f_ffff, 0x0080_0000, 0x7f7f_ffff,
  0x4b00_0000, 0x4f00_0000, 0x4eff_ffff, 0x5f00_0000, 0x3f00_0000, 0x3f7f_ffff, 0x4b00_0001, 0x0040_0000] // prettier-ignore

export function float32(random: Random): number {
  const sign = random.chance(0.4) ? 0x8000_0000 : 0
  const kind = random.below(6)
  if (kind < 2) return (random.pick(F32) | sign) >>> 0
  if (kind === 2) return random.bits()
  if (kind === 3) return (sign | (random.between(118, 140) << 23) | (random.bits() & 0x7f_ffff)) >>> 0
  if (kind === 4) return (sign | (random.between(120, 136) << 23) | (random.below(8) << 20)) >>> 0
  return (sign | (random.between(0, 3) << 23) | (random.bits() & 0x7f_ffff)) >>> 0
}

const F64 = [
  0n,
  0x3ff0_0000_0000_0000n,
  0x4000_0000_0000_0000n,
  0x7ff0_0000_0000_0000n,
  0x7ff8_0000_0000_0000n,
  0x7ff8_0000_1234_5678n,
  0x7ff0_0000_1234_5678n,
  1n,
  0x000f_ffff_ffff_ffffn,
  0x0010_0000_0000_0000n,
  0x7fef_ffff_ffff_ffffn,
  0x41df_ffff_ffc0_0000n,
  0x41e0_0000_0000_0000n,
  0x43e0_0000_0000_0000n,
  0x3fe0_0000_0000_0000n,
  0x3fef_ffff_ffff_ffffn,
  0x4330_0000_0000_0001n,
  0x36a0_0000_0000_0000n,
  0x3810_0000_0000_0000n,
  0x47ef_ffff_e000_0000n,
  0x3690_0000_0000_0000n,
]

export function float64(random: Random): bigint {
  const sign = random.chance(0.4) ? 1n << 63n : 0n
  const kind = random.below(6)
  if (kind < 2) return random.pick(F64) | sign
  if (kind === 2) return random.u64()
  const fraction = random.u64() & 0xf_ffff_ffff_ffffn
  if (kind === 3) return sign | (BigInt(random.between(1010, 1040)) << 52n) | fraction
  if (kind === 4)
    return sign | (BigInt(random.between(1016, 1030)) << 52n) | (BigInt(random.below(16)) << 48n)
  return sign | (BigInt(random.between(0, 3)) << 52n) | fraction
}

/**
 * 64-bit halves of first (0) and second (1) operands that belong together: exponents whose product or quotient lies about an end
 * of the format, or numbers that nearly cancel. Now and then a lane is anything.
 */
export function pairs64(random: Random): (which: number) => bigint {
  const kind = random.below(7)
  const [low, high] = [random.between(1, 8), random.between(1030, 2046)]
  const base = float64(random)
  const exponent = (which: number): number => {
    if (kind === 0) return which === 0 ? low : 1023 + random.between(-6, 2) // product about 2^-1022
    if (kind === 1) return which === 0 ? high : 2046 + 1023 - high + random.between(-1, 1) // about the largest
    if (kind === 2) return which === 0 ? low + 30 : low + 30 + 1022 + random.between(-1, 1) // quotient about 2^-1022
    return 1023 + random.between(-1, 1)
  }
  const fraction = (): bigint => {
    const shape = random.below(4)
    if (shape === 0) return 0n
    if (shape === 1) return (1n << 52n) - 1n
    return shape === 2 ? BigInt(random.below(4)) : random.u64() & ((1n << 52n) - 1n)
  }
  return (which) => {
    if (random.chance(0.08)) return float64(random)
    const sign = random.chance(0.5) ? 1n << 63n : 0n
    if (kind === 4) return BigInt.asUintN(64, base + BigInt(random.below(3) - 1)) ^ sign // cancels, or nearly
    // halves of numbers just below 2^-1021: tiny, but rounded to the smallest normal
    if (kind === 6)
      return sign | (which === 0 ? 0x0020_0000_0000_0000n - BigInt(random.below(4)) : 0x3fe0_0000_0000_0000n)
    if (kind === 5) return random.pick([0n, 0n, 0x3ff0_0000_0000_0000n, 0x4008_0000_0000_0000n]) | sign
    return sign | (BigInt(Math.min(2046, Math.max(0, exponent(which)))) << 52n) | fraction()
  }
}

/** The same for two 32-bit lanes. */
export function pairs32(random: Random): (which: number) => bigint {
  const kind = random.below(7)
  const [low, high] = [random.between(1, 8), random.between(128, 254)]
  const base = float32(random)
  const exponent = (which: number): number => {
    if (kind === 0) return which === 0 ? low : 127 + random.between(-6, 2)
    if (kind === 1) return which === 0 ? high : 254 + 127 - high + random.between(-1, 1)
    if (kind === 2) return which === 0 ? low + 30 : low + 30 + 126 + random.between(-1, 1)
    return 127 + random.between(-1, 1)
  }
  const lane = (which: number): number => {
    if (random.chance(0.08)) return float32(random)
    const sign = random.chance(0.5) ? 0x8000_0000 : 0
    if (kind === 4) return ((base + random.below(3) - 1) ^ sign) >>> 0
    if (kind === 6) return (sign | (which === 0 ? 0x0100_0000 - random.below(4) : 0x3f00_0000)) >>> 0
    if (kind === 5) return (random.pick([0, 0, 0x3f80_0000, 0x4040_0000]) | sign) >>> 0
    const fraction = random.pick([0, 0x7f_ffff, random.below(4), random.bits() & 0x7f_ffff])
    return (sign | (Math.min(254, Math.max(0, exponent(which))) << 23) | fraction) >>> 0
  }
  return (which) => BigInt(lane(which)) | (BigInt(lane(which)) << 32n)
}

const F80: readonly (readonly [bigint, number])[] = [
  [0n, 0], [1n << 63n, 16383], [1n << 63n, 32767], [3n << 62n, 32767], [(3n << 62n) | 12345n, 32767], [(1n << 63n) | 12345n, 32767],
  [1n, 0], [(1n << 63n) - 1n, 0], [1n << 63n, 0], [1n << 63n, 1], [~0n, 32766], [0xc90f_daa2_2168_c235n, 16384], [1n << 62n, 16383],
  [1n << 63n, 16446], [1n << 63n, 16414], [0n, 16383], [~0n, 16382], [1n << 63n, 16382], [~0n, 16445],
] // prettier-ignore

/** Significand, and sign with exponent. */
export function float80(random: Random): readonly [bigint, number] {
  const sign = random.chance(0.4) ? 0x8000 : 0
  const kind = random.below(8)
  if (kind < 2) {
    const [significand, exponent] = random.pick(F80)
    return [BigInt.asUintN(64, significand), exponent | sign]
  }
  if (kind === 2) return [random.u64(), random.bits() & 0xffff]
  if (kind === 3) return [random.u64(), 0xffff] // what MMX leaves
  if (kind === 4)
    return [(1n << 63n) | (BigInt(random.below(256)) << 55n), sign | random.between(16380, 16390)]
  const exponent =
    kind === 5
      ? random.between(16300, 16460)
      : kind === 6
        ? random.between(16383, 16400)
        : random.between(1, 40)
  return [random.u64() | (1n << 63n), sign | exponent]
}

/** 16 bytes of one kind of lane. */
export function vector(random: Random, floats: boolean): readonly [bigint, bigint] {
  const lane = (): bigint => {
    const kind = random.below(floats ? 4 : 8)
    if (kind < 2) return BigInt(float32(random)) | (BigInt(float32(random)) << 32n)
    if (kind < 4) return float64(random)
    if (kind === 4) return random.u64()
    if (kind === 5) {
      let all = 0n
      for (let i = 0; i < 8; i++)
        all = (all << 8n) | BigInt(random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]))
      return all
    }
    if (kind === 6) {
      let all = 0n
      for (let i = 0; i < 4; i++)
        all = (all << 16n) | BigInt(random.pick([0, 1, 0x7fff, 0x8000, 0xffff, random.below(65536)]))
      return all
    }
    return integer(random)
  }
  return [lane(), lane()]
}

/** 80-bit numbers that belong together: any distance of exponents, ties of every narrower format, whole numbers and a half. */
export function related80(random: Random): () => readonly [bigint, number] {
  const one = 1n << 63n
  const [base] = [random.u64() | one]
  const exponent = random.pick([
    16383,
    16383 + random.below(64),
    16383 - 1022 + random.below(2),
    16383 + 1023,
    5,
    0x7ff8,
  ])
  const distance = random.pick([0, 1, 2, random.below(70), 62 + random.below(6), 126 + random.below(5)])
  return () => {
    if (random.chance(0.06)) return float80(random)
    const sign = random.chance(0.5) ? 0x8000 : 0
    const size = Math.max(1, Math.min(0x7ffe, exponent - (random.chance(0.5) ? distance : 0)))
    const shape = random.below(7)
    let significand = base
    if (shape === 0) significand = one
    else if (shape === 1) significand = BigInt.asUintN(64, base + BigInt(random.below(3) - 1)) | one
    else if (shape === 2) significand = (1n << 64n) - 1n - BigInt(random.below(2))
    else if (shape === 3) significand = (base & ~0x7ffn) | BigInt(random.pick([0x400, 0x3ff, 0x401, 0])) // tie of f64
    else if (shape === 4) significand = (base & ~0xff_ffff_ffffn) | (1n << 39n) // tie of f32
    else if (shape === 5 && size >= 16383 && size < 16383 + 63) {
      const half = 1n << BigInt(16383 + 62 - size) // tie of an integer
      significand = (base & ~(2n * half - 1n)) | half | one
    } else if (random.chance(0.2)) return [0n, sign]
    return [significand, sign | size]
  }
}
