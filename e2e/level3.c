/*
 * Instructions of level x86-64-v3 at work: vectors of 32 bytes, fused multiply-add, half precision, gathers, bit manipulation, and
 * the string and mathematical functions that a C library chooses on such a processor. Prints one checksum a line.
 *
 * Build: gcc -O2 -march=x86-64-v3 -static -o level3 level3.c -lm
 */
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT 1024

static uint64_t seed = 1;
static uint32_t next(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 32);
}

static uint64_t sum_of(const void *data, size_t bytes) {
  const uint8_t *p = data;
  uint64_t sum = 14695981039346656037u;
  for (size_t i = 0; i < bytes; i++) sum = (sum ^ p[i]) * 1099511628211u;
  return sum;
}

static void print(const char *name, const void *data, size_t bytes) {
  printf("%-12s %016llx\n", name, (unsigned long long)sum_of(data, bytes));
}

static uint8_t bytes[COUNT * 8] __attribute__((aligned(32)));
static float singles[COUNT] __attribute__((aligned(32)));
static double doubles[COUNT] __attribute__((aligned(32)));

/* Every operation on every 32 bytes of the inputs, at all alignments. */
#define EACH_INTEGER(name, expression)                                             \
  static void name(void) {                                                         \
    static __m256i out[COUNT / 8];                                                 \
    for (int i = 0; i < COUNT / 8; i++) {                                          \
      const __m256i a = _mm256_loadu_si256((const __m256i *)(bytes + i * 33));     \
      const __m256i b = _mm256_loadu_si256((const __m256i *)(bytes + i * 31 + 7)); \
      out[i] = (expression);                                                       \
    }                                                                              \
    print(#name, out, sizeof out);                                                 \
  }
EACH_INTEGER(arithmetic, _mm256_add_epi16(_mm256_mullo_epi32(a, b), _mm256_maddubs_epi16(a, b)))
EACH_INTEGER(saturate, _mm256_subs_epi8(_mm256_adds_epu8(a, b), _mm256_packs_epi32(a, b)))
EACH_INTEGER(compare, _mm256_blendv_epi8(a, b, _mm256_cmpgt_epi64(a, b)))
EACH_INTEGER(shuffle, _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(a, b), b))
EACH_INTEGER(across, _mm256_permute2x128_si256(_mm256_permute4x64_epi64(a, 0x6c), _mm256_alignr_epi8(a, b, 5), 0x21))
EACH_INTEGER(shift, _mm256_xor_si256(_mm256_sllv_epi32(a, _mm256_and_si256(b, _mm256_set1_epi32(37))),
                                     _mm256_srav_epi32(b, _mm256_and_si256(a, _mm256_set1_epi32(35)))))
EACH_INTEGER(widen, _mm256_add_epi64(_mm256_cvtepi8_epi64(_mm256_castsi256_si128(a)), _mm256_cvtepu32_epi64(_mm256_extracti128_si256(b, 1))))
EACH_INTEGER(absolute, _mm256_sad_epu8(_mm256_abs_epi8(a), _mm256_mulhrs_epi16(a, b)))
EACH_INTEGER(gather, _mm256_mask_i32gather_epi32(a, (const int *)bytes, _mm256_and_si256(b, _mm256_set1_epi32(COUNT - 1)), a, 4))

static void masked(void) {
  static int32_t out[COUNT];
  for (int i = 0; i + 8 <= COUNT; i += 8) {
    const __m256i mask = _mm256_loadu_si256((const __m256i *)(bytes + i));
    const __m256i value = _mm256_maskload_epi32((const int *)bytes + i, mask);
    _mm256_maskstore_epi32(out + i, _mm256_xor_si256(mask, _mm256_set1_epi8(-1)), _mm256_add_epi32(value, mask));
  }
  print("masked", out, sizeof out);
}

static void floating(void) {
  static float single[COUNT];
  static double precise[COUNT];
  for (int i = 0; i + 8 <= COUNT; i += 8) {
    const __m256 a = _mm256_load_ps(singles + i), b = _mm256_load_ps(singles + COUNT - 8 - i);
    const __m256 fused = _mm256_fmsub_ps(a, b, _mm256_fnmadd_ps(b, b, a));
    const __m256 rest = _mm256_div_ps(_mm256_sqrt_ps(_mm256_mul_ps(a, a)), _mm256_hadd_ps(a, b));
    _mm256_storeu_ps(single + i, _mm256_blendv_ps(fused, rest, _mm256_cmp_ps(a, b, _CMP_NGE_UQ)));
  }
  for (int i = 0; i + 4 <= COUNT; i += 4) {
    const __m256d a = _mm256_load_pd(doubles + i), b = _mm256_load_pd(doubles + COUNT - 4 - i);
    const __m256d fused = _mm256_fmaddsub_pd(a, b, _mm256_round_pd(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
    _mm256_storeu_pd(precise + i, _mm256_shuffle_pd(fused, _mm256_permute_pd(_mm256_max_pd(a, b), 6), 9));
  }
  print("singles", single, sizeof single);
  print("doubles", precise, sizeof precise);
}

static void halves(void) {
  static __m128i half[COUNT / 8];
  static __m256 back[COUNT / 8];
  for (int i = 0; i < COUNT / 8; i++) {
    half[i] = _mm256_cvtps_ph(_mm256_load_ps(singles + 8 * i), _MM_FROUND_TO_NEAREST_INT);
    back[i] = _mm256_cvtph_ps(half[i]);
  }
  print("to half", half, sizeof half);
  print("from half", back, sizeof back);
}

static void bits(void) {
  uint64_t sum = 0;
  for (int i = 0; i < 4096; i++) {
    const uint64_t a = (uint64_t)next() << 32 | next(), b = (uint64_t)next() << 32 | next();
    sum = sum * 31 + _pdep_u64(a, b) + _pext_u64(b, a) + _lzcnt_u64(a >> (i & 63)) + _tzcnt_u64(b << (i & 63));
    sum ^= _blsr_u64(a) + _bzhi_u64(b, (unsigned)i) + _andn_u64(a, b) + __builtin_bswap64(a);
  }
  print("bits", &sum, sizeof sum);
}

/* The compiler's own vectors, and fused multiply-add by contraction. */
static void loops(void) {
  static double matrix[3][32][32];
  for (int i = 0; i < 32; i++)
    for (int j = 0; j < 32; j++) matrix[0][i][j] = doubles[i + j], matrix[1][i][j] = doubles[i * 32 + j];
  for (int i = 0; i < 32; i++)
    for (int k = 0; k < 32; k++)
      for (int j = 0; j < 32; j++) matrix[2][i][j] += matrix[0][i][k] * matrix[1][k][j];
  print("matrix", matrix[2], sizeof matrix[2]);
}

static void strings(void) {
  static char text[4096], copy[4096];
  uint64_t sum = 0;
  for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + next() % 20);
  for (size_t from = 0; from < 300; from += 7) {
    for (size_t length = 0; length < 900; length += 61) {
      memcpy(copy + from, text + length, length);
      memmove(copy + from + 3, copy + from, length);
      copy[from + length] = 0;
      sum = sum * 31 + strlen(copy + from) + (size_t)(memchr(text, 'q', length) != 0);
      sum = sum * 31 + (size_t)(strchr(copy + from, 'm') ? strchr(copy + from, 'm') - copy : 0);
      sum = sum * 31 + (unsigned)(memcmp(copy + from, text + length, length) > 0) + (unsigned)(strcmp(copy + from, text) < 0);
      memset(copy + from, (int)length, length / 2);
    }
  }
  sum ^= sum_of(copy, sizeof copy);
  print("strings", &sum, sizeof sum);
}

static void mathematics(void) {
  double sum[6] = {0};
  for (int i = 0; i < 400; i++) {
    const double x = (double)next() / 4e7;
    sum[0] += sin(x), sum[1] += cos(x), sum[2] += exp(-x), sum[3] += log(x + 1), sum[4] += pow(x, 1.25), sum[5] += atan(x);
  }
  print("mathematics", sum, sizeof sum);
}

int main(void) {
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)next();
  for (int i = 0; i < COUNT; i++) {
    /* ordinary numbers, and every 16th of any kind */
    const uint32_t any = next();
    memcpy(&singles[i], &any, 4);
    if (i % 16 != 0) singles[i] = (float)(int32_t)any / 65536.0f;
    const uint64_t wide = (uint64_t)any << 32 | next();
    memcpy(&doubles[i], &wide, 8);
    if (i % 16 != 0) doubles[i] = (double)(int64_t)wide / 1e12;
  }
  arithmetic(), saturate(), compare(), shuffle(), across(), shift(), widen(), absolute(), gather(), masked();
  floating(), halves(), bits(), loops(), strings(), mathematics();
  return 0;
}
