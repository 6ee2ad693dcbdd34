/** SHA-1 and SHA-256 steps (FIPS 180-4; SDM Vol. 2, SHA1RNDS4 and following). Dword 3 is the first word: A, or W0. */

// @ts-ignore: AssemblyScript decorator
@inline
function word(address: usize, i: usize): u32 {
  return load<u32>(address + (i << 2))
}

function put(dst: usize, w3: u32, w2: u32, w1: u32, w0: u32): void {
  store<u32>(dst, w0)
  store<u32>(dst, w1, 4)
  store<u32>(dst, w2, 8)
  store<u32>(dst, w3, 12)
}

function f1(kind: u32, b: u32, c: u32, d: u32): u32 {
  if (kind == 0) return (b & c) ^ (~b & d)
  if (kind == 2) return (b & c) ^ (b & d) ^ (c & d)
  return b ^ c ^ d
}

export function simd_sha1rnds4(dst: usize, state: usize, words: usize, kind: u32): void {
  const k: u32 = kind == 0 ? 0x5a82_7999 : kind == 1 ? 0x6ed9_eba1 : kind == 2 ? 0x8f1b_bcdc : 0xca62_c1d6
  let a = word(state, 3)
  let b = word(state, 2)
  let c = word(state, 1)
  let d = word(state, 0)
  // E is already added to the first word (SHA1NEXTE)
  let e: u32 = 0
  for (let i: i32 = 3; i >= 0; i--) {
    const next = f1(kind, b, c, d) + rotl<u32>(a, 5) + word(words, <usize>i) + e + k
    e = d
    d = c
    c = rotl<u32>(b, 30)
    b = a
    a = next
  }
  put(dst, a, b, c, d)
}

export function simd_sha1nexte(dst: usize, a: usize, b: usize): void {
  put(dst, word(b, 3) + rotl<u32>(word(a, 3), 30), word(b, 2), word(b, 1), word(b, 0))
}

export function simd_sha1msg1(dst: usize, a: usize, b: usize): void {
  put(dst, word(a, 1) ^ word(a, 3), word(a, 0) ^ word(a, 2), word(b, 3) ^ word(a, 1), word(b, 2) ^ word(a, 0))
}

export function simd_sha1msg2(dst: usize, a: usize, b: usize): void {
  const w16 = rotl<u32>(word(a, 3) ^ word(b, 2), 1)
  const w17 = rotl<u32>(word(a, 2) ^ word(b, 1), 1)
  const w18 = rotl<u32>(word(a, 1) ^ word(b, 0), 1)
  const w19 = rotl<u32>(word(a, 0) ^ w16, 1)
  put(dst, w16, w17, w18, w19)
}

/** Two rounds. state1 = C D G H, state2 = A B E F (dword 3 first), words = W + K in the low two dwords of XMM0. */
export function simd_sha256rnds2(dst: usize, state1: usize, state2: usize, words: usize): void {
  let a = word(state2, 3)
  let b = word(state2, 2)
  let c = word(state1, 3)
  let d = word(state1, 2)
  let e = word(state2, 1)
  let f = word(state2, 0)
  let g = word(state1, 1)
  let h = word(state1, 0)
  for (let i: usize = 0; i < 2; i++) {
    const choose = (e & f) ^ (~e & g)
    const t = choose + (rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25)) + word(words, i) + h
    const majority = (a & b) ^ (a & c) ^ (b & c)
    const next = t + majority + (rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22))
    h = g
    g = f
    f = e
    e = t + d
    d = c
    c = b
    b = a
    a = next
  }
  put(dst, a, b, e, f)
}

function sigma0(x: u32): u32 {
  return rotr<u32>(x, 7) ^ rotr<u32>(x, 18) ^ (x >> 3)
}

function sigma1(x: u32): u32 {
  return rotr<u32>(x, 17) ^ rotr<u32>(x, 19) ^ (x >> 10)
}

/** W0 is dword 0 here. */
export function simd_sha256msg1(dst: usize, a: usize, b: usize): void {
  put(
    dst,
    word(a, 3) + sigma0(word(b, 0)),
    word(a, 2) + sigma0(word(a, 3)),
    word(a, 1) + sigma0(word(a, 2)),
    word(a, 0) + sigma0(word(a, 1)),
  )
}

export function simd_sha256msg2(dst: usize, a: usize, b: usize): void {
  const w16 = word(a, 0) + sigma1(word(b, 2))
  const w17 = word(a, 1) + sigma1(word(b, 3))
  const w18 = word(a, 2) + sigma1(w16)
  const w19 = word(a, 3) + sigma1(w17)
  put(dst, w19, w18, w17, w16)
}
