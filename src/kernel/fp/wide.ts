/**
 * 128-bit integer steps for the floating-point core. WebAssembly has no multi-value result in
 * AssemblyScript, so a result of two words is left in (wHi, wLo) and read at once by the caller.
 *
 * "Jam" means: bits shifted out are ORed into bit 0, so that rounding still sees that they were not all zero.
 */

export let wHi: u64 = 0
export let wLo: u64 = 0

const LOW32: u64 = 0xffff_ffff

/** (wHi, wLo) = a * b */
export function mul64(a: u64, b: u64): void {
  const a0 = a & LOW32
  const a1 = a >> 32
  const b0 = b & LOW32
  const b1 = b >> 32
  const p00 = a0 * b0
  const p01 = a0 * b1
  const p10 = a1 * b0
  const mid = (p00 >> 32) + (p01 & LOW32) + (p10 & LOW32)
  wLo = (p00 & LOW32) | (mid << 32)
  wHi = a1 * b1 + (p01 >> 32) + (p10 >> 32) + (mid >> 32)
}

/** High 64 bits of a * b. */
export function mulHigh(a: u64, b: u64): u64 {
  const a0 = a & LOW32
  const a1 = a >> 32
  const b0 = b & LOW32
  const b1 = b >> 32
  const p01 = a0 * b1
  const p10 = a1 * b0
  const mid = ((a0 * b0) >> 32) + (p01 & LOW32) + (p10 & LOW32)
  return a1 * b1 + (p01 >> 32) + (p10 >> 32) + (mid >> 32)
}

/** (wHi, wLo) = (hi, lo) >> n with jam, n >= 0. */
export function shiftRightJam(hi: u64, lo: u64, n: i32): void {
  if (n == 0) {
    wHi = hi
    wLo = lo
    return
  }
  if (n < 64) {
    const s = <u64>n
    const lost = lo << (64 - s)
    wLo = (hi << (64 - s)) | (lo >> s) | u64(lost != 0)
    wHi = hi >> s
    return
  }
  if (n == 64) {
    wLo = hi | u64(lo != 0)
    wHi = 0
    return
  }
  if (n < 128) {
    const s = <u64>(n - 64)
    const lost = lo | (hi << (64 - s))
    wLo = (hi >> s) | u64(lost != 0)
    wHi = 0
    return
  }
  wLo = u64((hi | lo) != 0)
  wHi = 0
}

/** (wHi, wLo) = (hi, lo) << n, 0 <= n < 128. */
export function shiftLeft(hi: u64, lo: u64, n: i32): void {
  const s = <u64>n
  if (n == 0) {
    wHi = hi
    wLo = lo
  } else if (n < 64) {
    wHi = (hi << s) | (lo >> (64 - s))
    wLo = lo << s
  } else {
    wHi = lo << (s - 64)
    wLo = 0
  }
}

/** Leading zeros of (hi, lo); 128 for zero. */
export function clz128(hi: u64, lo: u64): i32 {
  return hi != 0 ? <i32>clz(hi) : 64 + <i32>clz(lo)
}

/** (wHi, wLo) = (hi, lo) + (hi2, lo2) modulo 2^128; true when it carried out. */
export function add128(hi: u64, lo: u64, hi2: u64, lo2: u64): bool {
  const low = lo + lo2
  const carry = u64(low < lo)
  const high = hi + hi2
  const out = high < hi
  wLo = low
  wHi = high + carry
  return out || wHi < carry
}

export function set128(hi: u64, lo: u64): void {
  wHi = hi
  wLo = lo
}

/** (wHi, wLo) = (hi, lo) - (hi2, lo2) modulo 2^128. */
export function sub128(hi: u64, lo: u64, hi2: u64, lo2: u64): void {
  wLo = lo - lo2
  wHi = hi - hi2 - u64(lo < lo2)
}

/**
 * Quotient of (hi, lo) / d with hi < d and bit 63 of d set: wHi = quotient, wLo = remainder.
 * Two steps of schoolbook division in base 2^32 (Knuth, TAOCP Vol. 2, 4.3.1 algorithm D).
 */
export function div128(hi: u64, lo: u64, d: u64): void {
  const d1 = d >> 32
  const d0 = d & LOW32
  const n1 = lo >> 32
  const n0 = lo & LOW32

  let q1 = hi / d1
  let r = hi - q1 * d1
  while (q1 > LOW32 || q1 * d0 > ((r << 32) | n1)) {
    q1--
    r += d1
    if (r > LOW32) break
  }
  const mid = ((hi << 32) | n1) - q1 * d

  let q0 = mid / d1
  r = mid - q0 * d1
  while (q0 > LOW32 || q0 * d0 > ((r << 32) | n0)) {
    q0--
    r += d1
    if (r > LOW32) break
  }
  wHi = (q1 << 32) | q0
  wLo = ((mid << 32) | n0) - q0 * d
}

/**
 * wHi = floor(sqrt(hi, lo)) for (hi, lo) >= 2^126, wLo = 1 when the remainder exceeds the root (the next bit
 * of the root is 1) + 2 when the remainder is not zero.
 */
export function sqrt128(hi: u64, lo: u64): void {
  // 53 good bits from the host, one Newton step for the rest, then at most a few units of correction.
  let root = <u64>(Math.min(sqrt<f64>(<f64>hi) * 4294967296.0, 18446744073709549568.0))
  mul64(root, root)
  sub128(hi, lo, wHi, wLo)
  const error = <f64>(<i64>wHi) * 18446744073709551616.0 + <f64>wLo
  const step = <i64>(error / (2.0 * <f64>root))
  const moved = root + <u64>step
  if (step >= 0 && moved < root) root = ~(<u64>0)
  else root = moved
  // (asc drops what follows an endless `for` whose exits are `continue` and a last `break`, hence this form)
  mul64(root, root)
  while (wHi > hi || (wHi == hi && wLo > lo)) {
    root--
    mul64(root, root)
  }
  sub128(hi, lo, wHi, wLo)
  // remainder > 2 * root: the root was too small
  while (wHi > root >> 63 || (wHi == root >> 63 && wLo > root << 1)) {
    root++
    mul64(root, root)
    sub128(hi, lo, wHi, wLo)
  }
  const next = u64(wHi != 0 || wLo > root)
  const rest = u64((wHi | wLo) != 0)
  wHi = root
  wLo = next | (rest << 1)
}
