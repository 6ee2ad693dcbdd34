/*
 * Floating point and vectors. No function of the C library: glibc chooses versions with FMA where the CPU has it, and
 * those round differently.
 */
#include "bench.h"
#include <emmintrin.h>
#include <math.h>
#include <string.h>

static uint32_t k_matmul(int rounds) {
  enum { N = 120 };
  static double a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) a[i][j] = (i * 7 + j) % 13 - 6.0, b[i][j] = 1.0 / (1 + (i + 3 * j) % 17);
  for (int r = 0; r < rounds; r++)
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        double s = r;
        for (int k = 0; k < N; k++) s += a[i][k] * b[k][j];
        c[i][j] = s;
      }
  return hash_doubles(&c[0][0], N * N);
}

static uint32_t k_nbody(int rounds) {
  enum { N = 5 };
  double p[N][3], v[N][3], m[N];
  for (int i = 0; i < N; i++) {
    m[i] = 1.0 / (i + 1);
    for (int k = 0; k < 3; k++) p[i][k] = (i + 1) * (k + 2) * 0.37, v[i][k] = (k - i) * 0.011;
  }
  for (int step = 0; step < rounds * 10000; step++) {
    for (int i = 0; i < N; i++)
      for (int j = i + 1; j < N; j++) {
        double d[3], r2 = 0.01;
        for (int k = 0; k < 3; k++) d[k] = p[i][k] - p[j][k], r2 += d[k] * d[k];
        double mag = 0.001 / (r2 * sqrt(r2));
        for (int k = 0; k < 3; k++) v[i][k] -= d[k] * m[j] * mag, v[j][k] += d[k] * m[i] * mag;
      }
    for (int i = 0; i < N; i++)
      for (int k = 0; k < 3; k++) p[i][k] += 0.001 * v[i][k];
  }
  return hash_doubles(&p[0][0], N * 3);
}

/* Comparisons, branches on them, conversions to integers and back. */
static uint32_t k_mandelbrot(int rounds) {
  uint32_t sum = 0;
  for (int r = 0; r < rounds; r++)
    for (int y = 0; y < 64; y++)
      for (int x = 0; x < 64; x++) {
        double cr = x / 24.0 - 2 + r * 1e-3, ci = y / 28.0 - 1.2, zr = 0, zi = 0;
        int n = 0;
        while (n < 100 && zr * zr + zi * zi < 4) {
          double t = zr * zr - zi * zi + cr;
          zi = 2 * zr * zi + ci, zr = t, n++;
        }
        sum = sum * 31 + n + (int)(zr * 100);
      }
  return sum;
}

static uint32_t k_float(int rounds) {
  static float a[4096], b[4096];
  float s = 0;
  for (int i = 0; i < 4096; i++) a[i] = i * 0.25f, b[i] = 1.0f / (i + 1);
  for (int r = 0; r < rounds * 10; r++)
    for (int i = 0; i < 4096; i++) a[i] = a[i] * 0.999f + b[i];
  for (int i = 0; i < 4096; i++) s += a[i];
  uint32_t bits;
  memcpy(&bits, &s, 4);
  return bits;
}

static uint32_t k_x87(int rounds) {
  volatile long double x = 1.0L, y = 0.5L;
  for (int i = 1; i < rounds * 10000; i++) {
    x = x * 1.0000001L + y / i;
    y = y - x * 1e-9L;
  }
  double d[2] = {(double)x, (double)y};
  return hash_doubles(d, 2);
}

static uint32_t k_sse_int(int rounds) {
  static uint8_t a[1 << 16], b[1 << 16];
  for (int i = 0; i < 1 << 16; i++) a[i] = rnd(), b[i] = rnd();
  __m128i sum = _mm_setzero_si128();
  for (int r = 0; r < rounds * 10; r++)
    for (int i = 0; i < 1 << 16; i += 16) {
      __m128i x = _mm_loadu_si128((void *)(a + i)), y = _mm_loadu_si128((void *)(b + i));
      sum = _mm_add_epi64(sum, _mm_sad_epu8(_mm_adds_epu8(x, y), _mm_avg_epu8(x, y)));
      _mm_storeu_si128((void *)(b + i), _mm_xor_si128(y, _mm_cmpgt_epi8(x, y)));
    }
  uint32_t out[4];
  _mm_storeu_si128((void *)out, sum);
  return out[0] ^ out[2];
}

/* Shuffles, shifts, multiplications and packs, as in codecs. */
static uint32_t k_sse_shuffle(int rounds) {
  static uint16_t a[4096];
  for (int i = 0; i < 4096; i++) a[i] = rnd();
  __m128i sum = _mm_setzero_si128();
  for (int r = 0; r < rounds * 10; r++)
    for (int i = 0; i < 4096; i += 8) {
      __m128i x = _mm_loadu_si128((void *)(a + i));
      __m128i lo = _mm_unpacklo_epi8(x, sum), hi = _mm_srli_epi16(_mm_shufflelo_epi16(x, 0x1b), 3);
      sum = _mm_add_epi32(sum, _mm_madd_epi16(lo, hi));
      sum = _mm_xor_si128(_mm_shuffle_epi32(sum, 0x4e), _mm_packs_epi32(_mm_srai_epi32(sum, 7), hi));
    }
  uint32_t out[4];
  _mm_storeu_si128((void *)out, sum);
  return out[0] ^ out[1] ^ out[2] ^ out[3];
}

static uint32_t k_sse_float(int rounds) {
  __m128 x = _mm_set_ps(1, 2, 3, 4), k = _mm_set_ps(1.0001f, 0.9997f, 1.0003f, 0.9999f), c = _mm_set1_ps(0.001f);
  for (int i = 0; i < rounds * 10000; i++) x = _mm_sub_ps(_mm_add_ps(_mm_mul_ps(x, k), c), _mm_mul_ps(x, c));
  uint32_t out[4];
  _mm_storeu_ps((void *)out, x);
  return ((out[0] * 31 + out[1]) * 31 + out[2]) * 31 + out[3];
}

const struct kernel float_kernels[] = {
  {"matmul", k_matmul, 150},    {"nbody", k_nbody, 150},      {"mandelbrot", k_mandelbrot, 300},
  {"float", k_float, 6000},     {"x87", k_x87, 400},          {"sse-int", k_sse_int, 3000},
  {"sse-shuffle", k_sse_shuffle, 6000}, {"sse-float", k_sse_float, 4000}, {0},
};
