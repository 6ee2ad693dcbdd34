// Objects, closures, typed arrays, strings and sorting, for a JIT in the guest.
class Vector {
  constructor(x, y, z) {
    this.x = x
    this.y = y
    this.z = z
  }
  plus(o) {
    return new Vector(this.x + o.x, this.y + o.y, this.z + o.z)
  }
  dot(o) {
    return this.x * o.x + this.y * o.y + this.z * o.z
  }
}
const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2))
let sum = new Vector(0, 0, 0)
for (let i = 0; i < 300_000; i++) sum = sum.plus(new Vector(i % 7, i % 11, i % 13))
const bytes = new Uint8Array(1 << 20)
for (let i = 0, x = 1; i < bytes.length; i++) {
  x = (x * 1103515245 + 12345) & 0x7fffffff
  bytes[i] = x >> 16
}
let crc = -1
for (let round = 0; round < 1; round++)
  for (const byte of bytes) {
    crc ^= byte
    for (let k = 0; k < 4; k++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  }
const words = new Map()
for (let i = 0; i < 300_000; i++) {
  const word = `w${(i * 7919) % 5003}`
  words.set(word, (words.get(word) ?? 0) + 1)
}
const sorted = [...words].sort(([a], [b]) => (a < b ? -1 : 1))
const json = JSON.stringify(sorted)
console.log(
  fib(24),
  sum.dot(sum),
  crc >>> 0,
  sorted.length,
  json.length,
  JSON.parse(json).length,
  json.replace(/w1/g, '<$&>').length,
)
