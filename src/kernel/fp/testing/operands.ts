/** Deterministic operands for the floating-point tests: boundaries, patterns and plain random bits. */

export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** mulberry32 */
  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }

  below(limit: number): number {
    return this.u32() % limit
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32())
  }

  pick<T>(from: readonly T[]): T {
    const value = from[this.below(from.length)]
    if (value === undefined) throw new Error('nothing to pick from')
    return value
  }
}

/** Shape of a format: stored fraction bits, exponent bits; f80 also stores its integer bit. */
interface Format {
  readonly fraction: bigint
  readonly exponent: bigint
  readonly explicit: boolean
}

export const F32: Format = { fraction: 23n, exponent: 8n, explicit: false }
export const F64: Format = { fraction: 52n, exponent: 11n, explicit: false }
export const F80: Format = { fraction: 63n, exponent: 15n, explicit: true }

function fractionPattern(r: Random, bits: bigint): bigint {
  const mask = (1n << bits) - 1n
  const random = r.u64() & mask
  const cut = BigInt(r.below(Number(bits)))
  switch (r.below(8)) {
    case 0:
      return 0n
    case 1:
      return mask
    case 2:
      return (1n << cut) & mask
    case 3:
      return mask ^ (1n << cut)
    case 4:
      return (random >> cut) << cut
    case 5:
      return (random | ((1n << cut) - 1n)) & mask
    default:
      return random
  }
}

function encode(f: Format, sign: bigint, field: bigint, fraction: bigint): bigint {
  if (!f.explicit) return (sign << (f.fraction + f.exponent)) | (field << f.fraction) | fraction
  const integer = field === 0n ? 0n : 1n << 63n
  return (sign << 79n) | (field << 64n) | integer | fraction
}

/** Any value of the format; about half the draws sit at or near a boundary. */
export function operand(r: Random, f: Format): bigint {
  const top = (1n << f.exponent) - 1n
  const bias = top >> 1n
  const sign = BigInt(r.below(2))
  const fraction = fractionPattern(r, f.fraction)
  const near = BigInt(r.below(7)) - 3n
  const draw = r.below(20)
  switch (draw) {
    case 0:
      return encode(f, sign, 0n, 0n)
    case 1:
      return encode(f, sign, top, 0n)
    case 2:
      return encode(f, sign, top, fraction | (1n << (f.fraction - 1n)))
    case 3:
      return encode(f, sign, top, (fraction & ((1n << (f.fraction - 1n)) - 1n)) | 1n)
    case 4:
      return encode(f, sign, 0n, fraction)
    case 5:
      return encode(f, sign, 1n, fraction)
    case 6:
      return encode(f, sign, top - 1n, fraction)
    case 7:
      return encode(f, sign, bias, 0n)
    case 8:
    case 9:
    case 10:
    case 11:
      return encode(f, sign, bias + near, fraction)
    case 12:
      return encode(f, sign, bias + BigInt(r.below(70)), fraction)
    case 13:
      return encode(f, sign, bias + 31n + near, fraction)
    case 14:
      return encode(f, sign, (bias + 63n + near) % top, fraction)
    case 15:
      return encode(f, sign, BigInt(r.below(40)), fraction)
    case 16:
      return encode(f, sign, top - 1n - (BigInt(r.below(40)) % bias), fraction)
    case 17:
      return encode(f, sign, bias - f.fraction + near > 0n ? bias - f.fraction + near : 1n, fraction)
    default:
      // f80 also has encodings whose integer bit contradicts the exponent
      if (draw === 18 && f.explicit && r.below(3) === 0)
        return (sign << 79n) | ((BigInt(r.u32()) & 0x7fffn) << 64n) | fraction | (BigInt(r.below(2)) << 63n)
      return encode(f, sign, r.u64() & top, fraction)
  }
}

/** A second operand related to the first, so that cancellation, ties and half-range results occur. */
export function related(r: Random, f: Format, a: bigint): bigint {
  const width = f.explicit ? 80n : f.fraction + f.exponent + 1n
  const signBit = 1n << (width - 1n)
  switch (r.below(8)) {
    case 0:
      return a ^ signBit
    case 1:
      return a
    case 2:
      return a ^ (r.u64() & 3n) ^ (r.below(2) ? signBit : 0n)
    case 3: {
      const shift = f.explicit ? 64n : f.fraction
      const field = (a >> shift) & ((1n << f.exponent) - 1n)
      const moved = field + BigInt(r.below(80)) - 40n
      const top = (1n << f.exponent) - 2n
      const clamped = moved < 1n ? 1n : moved > top ? top : moved
      return encode(f, BigInt(r.below(2)), clamped, fractionPattern(r, f.fraction))
    }
    case 4: {
      // about the inverse: products near 1 and, from the edges, results near the smallest normal
      const shift = f.explicit ? 64n : f.fraction
      const top = (1n << f.exponent) - 1n
      const field = (a >> shift) & top
      const mirrored = (top >> 1n) - field + BigInt(r.below(5)) - 1n
      return encode(
        f,
        BigInt(r.below(2)),
        mirrored < 1n ? 1n : mirrored >= top ? top - 1n : mirrored,
        fractionPattern(r, f.fraction),
      )
    }
    default:
      return operand(r, f)
  }
}
