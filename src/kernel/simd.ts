/**
 * SIMD operations that are too long for an emitter: string comparison, carry-less multiplication, MPSADBW. Pure functions on
 * 16-byte addresses; dst may equal an operand. AES and SHA stand in their own files.
 */
// asc takes `.ts` off in `import` but not in `export ... from`
export * from './simd-aes'
export * from './simd-sha'

// --- PCLMULQDQ ---------------------------------------------------------------------------------------------------

const M0: u64 = 0x1111_1111_1111_1111
const M1: u64 = 0x2222_2222_2222_2222
const M2: u64 = 0x4444_4444_4444_4444
const M3: u64 = 0x8888_8888_8888_8888

/**
 * Low 64 bits of the carry-less product, by integer multiplications of operands with holes: bits four apart
 * leave room for the carries of 16 additions, which are masked away.
 */
function carrylessLow(a: u64, b: u64): u64 {
  const a0 = a & M0
  const a1 = a & M1
  const a2 = a & M2
  const a3 = a & M3
  const b0 = b & M0
  const b1 = b & M1
  const b2 = b & M2
  const b3 = b & M3
  const r0 = (a0 * b0) ^ (a1 * b3) ^ (a2 * b2) ^ (a3 * b1)
  const r1 = (a0 * b1) ^ (a1 * b0) ^ (a2 * b3) ^ (a3 * b2)
  const r2 = (a0 * b2) ^ (a1 * b1) ^ (a2 * b0) ^ (a3 * b3)
  const r3 = (a0 * b3) ^ (a1 * b2) ^ (a2 * b1) ^ (a3 * b0)
  return (r0 & M0) | (r1 & M1) | (r2 & M2) | (r3 & M3)
}

function reverseBits(x: u64): u64 {
  x = ((x >> 1) & 0x5555_5555_5555_5555) | ((x & 0x5555_5555_5555_5555) << 1)
  x = ((x >> 2) & 0x3333_3333_3333_3333) | ((x & 0x3333_3333_3333_3333) << 2)
  x = ((x >> 4) & 0x0f0f_0f0f_0f0f_0f0f) | ((x & 0x0f0f_0f0f_0f0f_0f0f) << 4)
  return bswap<u64>(x)
}

export function simd_pclmulqdq(dst: usize, a: usize, b: usize, imm: u32): void {
  const x = load<u64>(a + (imm & 1 ? 8 : 0))
  const y = load<u64>(b + (imm & 0x10 ? 8 : 0))
  const low = carrylessLow(x, y)
  // the reversed product of the reversed operands is the product shifted by one: its high half
  const high = reverseBits(carrylessLow(reverseBits(x), reverseBits(y))) >> 1
  store<u64>(dst, low)
  store<u64>(dst, high, 8)
}

// --- MPSADBW -----------------------------------------------------------------------------------------------------

/** Eight sums of absolute differences: a block of four bytes of b against a sliding window of a. */
export function simd_mpsadbw(dst: usize, a: usize, b: usize, imm: u32): void {
  const window = a + (imm & 4 ? 4 : 0)
  const block = b + <usize>((imm & 3) << 2)
  let low: u64 = 0
  let high: u64 = 0
  for (let i: usize = 0; i < 8; i++) {
    let sum: u32 = 0
    for (let j: usize = 0; j < 4; j++) {
      const x = <i32>load<u8>(window + i + j)
      const y = <i32>load<u8>(block + j)
      sum += <u32>(x > y ? x - y : y - x)
    }
    if (i < 4) low |= (<u64>sum) << <u64>(i << 4)
    else high |= (<u64>sum) << <u64>((i - 4) << 4)
  }
  store<u64>(dst, low)
  store<u64>(dst, high, 8)
}

// --- PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM --------------------------------------------------------------------

/** Element i of 16 bytes or 8 words, extended by the format bits of imm. */
// @ts-ignore: AssemblyScript decorator
@inline
function element(a: usize, i: u32, format: u32): i32 {
  if (format == 0) return <i32>load<u8>(a + <usize>i)
  if (format == 1) return <i32>load<u16>(a + (<usize>i << 1))
  if (format == 2) return <i32>load<i8>(a + <usize>i)
  return <i32>load<i16>(a + (<usize>i << 1))
}

/** Elements before the first zero. */
function implicitLength(a: usize, format: u32): u32 {
  const count: u32 = format & 1 ? 8 : 16
  let i: u32 = 0
  while (i < count && element(a, i, format) != 0) i++
  return i
}

function explicitLength(length: i64, format: u32): u32 {
  const limit: u64 = format & 1 ? 8 : 16
  const size: u64 = length < 0 ? 0 - <u64>length : <u64>length
  return <u32>(size > limit ? limit : size)
}

/** a is the set or the needle (operand 1), b the text (operand 2): bit j of IntRes1 speaks of element j of b. */
function equalAny(a: usize, la: u32, b: usize, lb: u32, format: u32): u32 {
  let result: u32 = 0
  for (let j: u32 = 0; j < lb; j++) {
    const x = element(b, j, format)
    for (let i: u32 = 0; i < la; i++) {
      if (element(a, i, format) == x) {
        result |= 1 << j
        break
      }
    }
  }
  return result
}

/** Pairs of a are closed ranges. */
function ranges(a: usize, la: u32, b: usize, lb: u32, format: u32): u32 {
  let result: u32 = 0
  for (let j: u32 = 0; j < lb; j++) {
    const x = element(b, j, format)
    for (let i: u32 = 0; i + 1 < la; i += 2) {
      if (x >= element(a, i, format) && x <= element(a, i + 1, format)) {
        result |= 1 << j
        break
      }
    }
  }
  return result
}

/** Beyond both ends counts as equal, beyond one as different. */
function equalEach(a: usize, la: u32, b: usize, lb: u32, format: u32): u32 {
  const count: u32 = format & 1 ? 8 : 16
  let result: u32 = 0
  for (let j: u32 = 0; j < count; j++) {
    const equal = j < la && j < lb ? element(a, j, format) == element(b, j, format) : j >= la && j >= lb
    if (equal) result |= 1 << j
  }
  return result
}

/** Where a occurs in b; an occurrence may run over the end of the register, not of a shorter text. */
function equalOrdered(a: usize, la: u32, b: usize, lb: u32, format: u32): u32 {
  const count: u32 = format & 1 ? 8 : 16
  let result: u32 = 0
  for (let j: u32 = 0; j < count; j++) {
    let match = true
    for (let i: u32 = 0; i < la && j + i < count; i++) {
      if (j + i >= lb || element(a, i, format) != element(b, j + i, format)) {
        match = false
        break
      }
    }
    if (match) result |= 1 << j
  }
  return result
}

/** SDM Vol. 2, "Aggregation Operation", "Polarity", "Output Selection". Result word: see abi/simd-imports.types.ts. */
function compareStrings(a: usize, la: u32, b: usize, lb: u32, imm: u32): u32 {
  const format = imm & 3
  const count: u32 = format & 1 ? 8 : 16
  const all: u32 = ((<u32>1) << count) - 1
  const aggregation = (imm >> 2) & 3
  let result: u32
  if (aggregation == 0) result = equalAny(a, la, b, lb, format)
  else if (aggregation == 1) result = ranges(a, la, b, lb, format)
  else if (aggregation == 2) result = equalEach(a, la, b, lb, format)
  else result = equalOrdered(a, la, b, lb, format)
  // polarity 1 inverts everything, 3 only the valid elements of b
  if (imm & 0x10) result ^= imm & 0x20 ? ((<u32>1) << lb) - 1 : all
  let index = count
  if (result != 0) index = imm & 0x40 ? 31 - <u32>clz<u32>(result) : <u32>ctz<u32>(result)
  return result | (u32(lb < count) << 16) | (u32(la < count) << 17) | (index << 24)
}

export function simd_pcmpistr(a: usize, b: usize, imm: u32): u32 {
  return compareStrings(a, implicitLength(a, imm & 3), b, implicitLength(b, imm & 3), imm)
}

export function simd_pcmpestr(a: usize, b: usize, imm: u32, la: i64, lb: i64): u32 {
  return compareStrings(a, explicitLength(la, imm & 3), b, explicitLength(lb, imm & 3), imm)
}

/** IntRes2 as bits, or widened to all-ones elements. */
export function simd_string_mask(result: u32, imm: u32): v128 {
  const bits = result & 0xffff
  if (!(imm & 0x40)) return i32x4.replace_lane(i32x4.splat(0), 0, bits)
  if (imm & 1) {
    const numbers = i16x8(1, 2, 4, 8, 16, 32, 64, 128)
    return i16x8.eq(v128.and(i16x8.splat(<i16>bits), numbers), numbers)
  }
  const numbers = i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128)
  const spread = v128.shuffle<i8>(i16x8.splat(<i16>bits), i16x8.splat(<i16>bits), 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
  return i8x16.eq(v128.and(spread, numbers), numbers)
}
