/* Integer loops. */
#include "bench.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint32_t k_sieve(int rounds) {
  enum { LIMIT = 300000 };
  char *composite = malloc(LIMIT + 1);
  uint32_t count = 0;
  for (int r = 0; r < rounds; r++) {
    memset(composite, 0, LIMIT + 1);
    for (int i = 2; i <= LIMIT; i++) {
      if (composite[i]) continue;
      count++;
      for (int j = i + i; j <= LIMIT; j += i) composite[j] = 1;
    }
  }
  free(composite);
  return count;
}

static void quicksort(int *a, int lo, int hi) {
  while (lo < hi) {
    int pivot = a[(lo + hi) / 2], i = lo, j = hi;
    while (i <= j) {
      while (a[i] < pivot) i++;
      while (a[j] > pivot) j--;
      if (i <= j) {
        int t = a[i];
        a[i++] = a[j];
        a[j--] = t;
      }
    }
    if (j - lo < hi - i) {
      quicksort(a, lo, j);
      lo = i;
    } else {
      quicksort(a, i, hi);
      hi = j;
    }
  }
}
static uint32_t k_quicksort(int rounds) {
  enum { N = 200000 };
  int *a = malloc(N * sizeof *a);
  uint32_t sum = 0;
  for (int r = 0; r < rounds; r++) {
    for (int i = 0; i < N; i++) a[i] = rnd() >> 1;
    quicksort(a, 0, N - 1);
    for (int i = 0; i < N; i += 997) sum = sum * 31 + a[i];
  }
  free(a);
  return sum;
}

static uint32_t k_crc32(int rounds) {
  uint32_t table[256], crc = ~0u;
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    table[i] = c;
  }
  static unsigned char data[1 << 20];
  for (size_t i = 0; i < sizeof data; i++) data[i] = rnd();
  for (int r = 0; r < rounds; r++)
    for (size_t i = 0; i < sizeof data; i++) crc = table[(crc ^ data[i]) & 0xff] ^ (crc >> 8);
  return ~crc;
}

/* Fractional parts of the cube roots of the first 64 primes. */
static void sha256_constants(uint32_t *k) {
  int found = 0;
  for (int p = 2; found < 64; p++) {
    int prime = 1;
    for (int d = 2; d * d <= p; d++) prime &= p % d != 0;
    if (!prime) continue;
    double c = cbrt(p);
    k[found++] = (uint32_t)((c - floor(c)) * 4294967296.0);
  }
}
static uint32_t ror(uint32_t x, int n) { return x >> n | x << (32 - n); }
static void sha256_block(uint32_t *h, const uint32_t *k) {
  uint32_t w[64], v[8];
  for (int i = 0; i < 16; i++) w[i] = h[i & 7] * 2654435761u + i;
  for (int i = 16; i < 64; i++) {
    uint32_t s0 = ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3;
    uint32_t s1 = ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  memcpy(v, h, sizeof v);
  for (int i = 0; i < 64; i++) {
    uint32_t t1 = v[7] + (ror(v[4], 6) ^ ror(v[4], 11) ^ ror(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
    uint32_t t2 = (ror(v[0], 2) ^ ror(v[0], 13) ^ ror(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
    v[7] = v[6], v[6] = v[5], v[5] = v[4], v[4] = v[3] + t1, v[3] = v[2], v[2] = v[1], v[1] = v[0], v[0] = t1 + t2;
  }
  for (int i = 0; i < 8; i++) h[i] += v[i];
}
static uint32_t k_sha256(int rounds) {
  uint32_t k[64], h[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  sha256_constants(k);
  for (int i = 0; i < rounds * 1000; i++) sha256_block(h, k);
  return h[0] ^ h[4];
}

static uint32_t k_mul64(int rounds) {
  uint64_t x = 88172645463325252ull, sum = 0;
  for (int i = 0; i < rounds * 100000; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    sum += (x * 0x9e3779b97f4a7c15ull) >> 29;
  }
  return sum ^ sum >> 32;
}

static uint32_t k_divide(int rounds) {
  uint32_t sum = 0;
  for (int r = 0; r < rounds; r++)
    for (uint32_t i = 1; i < 100000; i++) sum += (0xfffffff1u / (i + r)) ^ (0x12345678u % i);
  return sum;
}

/* Counting, scanning and rotating bits, carries through several words. */
static uint32_t k_bits(int rounds) {
  uint32_t sum = 0, big[8] = {1};
  for (int r = 0; r < rounds * 10000; r++) {
    uint32_t x = rnd();
    sum += __builtin_popcount(x) + __builtin_ctz(x | 0x80000000u) * 3 + __builtin_clz(x | 1) * 5;
    sum = (sum << 7 | sum >> 25) ^ __builtin_bswap32(x);
    uint64_t carry = 0;
    for (int i = 0; i < 8; i++) carry += (uint64_t)big[i] * 3 + x, big[i] = carry, carry >>= 32;
  }
  for (int i = 0; i < 8; i++) sum = sum * 31 + big[i];
  return sum;
}

const struct kernel integer_kernels[] = {
  {"sieve", k_sieve, 200}, {"quicksort", k_quicksort, 14}, {"crc32", k_crc32, 80},   {"sha256", k_sha256, 600},
  {"mul64", k_mul64, 800}, {"divide", k_divide, 500},      {"bits", k_bits, 800}, {0},
};
