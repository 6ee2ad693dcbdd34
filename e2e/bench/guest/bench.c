/*
 * The benchmark guest program: fixed work with checksums, static, built for x86-64 and for i386.
 * Prints one line a kernel: "name milliseconds checksum". Equal checksums on every host are part of the measurement.
 *
 *   bench            all kernels
 *   bench NAME...    those
 *   bench -g GROUP   cpu, os or smp
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static const char *self;

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static uint32_t seed;
static uint32_t rnd(void) {
  seed ^= seed << 13;
  seed ^= seed >> 17;
  seed ^= seed << 5;
  return seed;
}

/* --- cpu: integers ------------------------------------------------------------------------------------------- */

static uint32_t sieve_of(int limit, int rounds) {
  char *composite = malloc(limit + 1);
  uint32_t count = 0;
  for (int r = 0; r < rounds; r++) {
    memset(composite, 0, limit + 1);
    for (int i = 2; i <= limit; i++) {
      if (composite[i]) continue;
      count++;
      for (int j = i + i; j <= limit; j += i) composite[j] = 1;
    }
  }
  free(composite);
  return count;
}
static uint32_t k_sieve(void) { return sieve_of(300000, 12); }

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
static uint32_t k_quicksort(void) {
  enum { N = 200000 };
  int *a = malloc(N * sizeof *a);
  uint32_t sum = 0;
  for (int r = 0; r < 3; r++) {
    for (int i = 0; i < N; i++) a[i] = rnd() >> 1;
    quicksort(a, 0, N - 1);
    for (int i = 0; i < N; i += 997) sum = sum * 31 + a[i];
  }
  free(a);
  return sum;
}

static uint32_t k_crc32(void) {
  uint32_t table[256], crc = ~0u;
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    table[i] = c;
  }
  static unsigned char data[1 << 20];
  for (size_t i = 0; i < sizeof data; i++) data[i] = rnd();
  for (int r = 0; r < 12; r++)
    for (size_t i = 0; i < sizeof data; i++) crc = table[(crc ^ data[i]) & 0xff] ^ (crc >> 8);
  return ~crc;
}

static uint32_t ror(uint32_t x, int n) { return x >> n | x << (32 - n); }
static uint32_t k_sha256(void) {
  static uint32_t k[64];
  if (!k[0]) {
    /* fractional parts of the cube roots of the first 64 primes */
    int found = 0;
    for (int p = 2; found < 64; p++) {
      int prime = 1;
      for (int d = 2; d * d <= p; d++) prime &= p % d != 0;
      if (prime) {
        double c = cbrt(p);
        k[found++] = (uint32_t)((c - floor(c)) * 4294967296.0);
      }
    }
  }
  uint32_t h[8] = {1, 2, 3, 4, 5, 6, 7, 8}, w[64];
  for (int block = 0; block < 24000; block++) {
    for (int i = 0; i < 16; i++) w[i] = h[i & 7] * 2654435761u + i;
    for (int i = 16; i < 64; i++) {
      uint32_t s0 = ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3;
      uint32_t s1 = ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10;
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t v[8];
    memcpy(v, h, sizeof v);
    for (int i = 0; i < 64; i++) {
      uint32_t t1 = v[7] + (ror(v[4], 6) ^ ror(v[4], 11) ^ ror(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
      uint32_t t2 = (ror(v[0], 2) ^ ror(v[0], 13) ^ ror(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
      v[7] = v[6], v[6] = v[5], v[5] = v[4], v[4] = v[3] + t1, v[3] = v[2], v[2] = v[1], v[1] = v[0], v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) h[i] += v[i];
  }
  return h[0] ^ h[4];
}

static uint32_t k_mul64(void) {
  uint64_t x = 88172645463325252ull, sum = 0;
  for (int i = 0; i < 8000000; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    sum += (x * 0x9e3779b97f4a7c15ull) >> 29;
  }
  return sum ^ sum >> 32;
}

static uint32_t k_divide(void) {
  uint32_t sum = 0;
  for (uint32_t i = 1; i < 3000000; i++) sum += (0xfffffff1u / i) ^ (0x12345678u % i);
  return sum;
}

/* --- cpu: memory and strings ------------------------------------------------------------------------------------ */

static uint32_t k_copy(void) {
  static char a[1 << 20], b[1 << 20];
  uint32_t sum = 0;
  for (int r = 0; r < 120; r++) {
    memset(a, r, sizeof a);
    memcpy(b, a, sizeof b);
    sum += b[r * 8191];
  }
  return sum;
}

static uint32_t k_strings(void) {
  static char text[1 << 16];
  uint32_t sum = 0;
  for (size_t i = 0; i < sizeof text - 1; i++) text[i] = 'a' + rnd() % 26;
  for (int r = 0; r < 60; r++) {
    sum += strlen(text);
    for (const char *p = text; (p = strchr(p, 'q')); p++) sum++;
    sum += (uintptr_t)(memchr(text, '!', sizeof text) != NULL);
    sum += strstr(text, "qjxz") ? 1 : 0;
    sum += strcmp(text, text + 1) > 0;
  }
  return sum;
}

static uint32_t k_hash(void) {
  enum { SLOTS = 1 << 16 };
  static uint32_t keys[SLOTS], values[SLOTS];
  memset(keys, 0, sizeof keys);
  uint32_t sum = 0;
  for (int i = 0; i < 1500000; i++) {
    uint32_t key = (rnd() % 40000) + 1, slot = key * 2654435761u >> 16;
    while (keys[slot] && keys[slot] != key) slot = (slot + 1) & (SLOTS - 1);
    keys[slot] = key;
    sum += values[slot]++;
  }
  return sum;
}

static uint32_t k_chase(void) {
  enum { N = (16 << 20) / 64 };
  struct node {
    struct node *next;
    char pad[64 - sizeof(void *)];
  } *nodes = malloc(N * sizeof *nodes);
  uint32_t *order = malloc(N * sizeof *order);
  for (uint32_t i = 0; i < N; i++) order[i] = i;
  for (uint32_t i = N - 1; i > 0; i--) {
    uint32_t j = rnd() % (i + 1), t = order[i];
    order[i] = order[j], order[j] = t;
  }
  for (uint32_t i = 0; i < N; i++) nodes[order[i]].next = &nodes[order[(i + 1) % N]];
  struct node *p = nodes;
  for (int i = 0; i < 2500000; i++) p = p->next;
  uint32_t at = p - nodes;
  free(nodes), free(order);
  return at;
}

/* --- cpu: control flow ------------------------------------------------------------------------------------------ */

static __attribute__((noinline)) int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static uint32_t k_fib(void) { return fib(31); }

static uint32_t k_bytecode(void) {
  enum { PUSH, ADD, MUL, XOR, DUP, SWAP, DEC, JNZ, HALT };
  static void *labels[] = {&&push, &&add, &&mul, &&xor, &&dup, &&swap, &&dec, &&jnz, &&halt};
  /* acc, n: acc = (acc * 31 + n) ^ 5 while --n */
  static const int code[] = {SWAP, PUSH, 31, MUL, SWAP, DUP, PUSH, 0, ADD, SWAP, PUSH, 1, XOR, DEC, JNZ, 0, HALT};
  uint32_t stack[16] = {1, 900000};
  int sp = 1;
  const int *pc = code;
#define NEXT goto *labels[*pc++]
  NEXT;
push:
  stack[++sp] = *pc++;
  NEXT;
add:
  sp--, stack[sp] += stack[sp + 1];
  NEXT;
mul:
  sp--, stack[sp] *= stack[sp + 1];
  NEXT;
xor:
  sp--, stack[sp] ^= stack[sp + 1];
  NEXT;
dup:
  stack[sp + 1] = stack[sp], sp++;
  NEXT;
swap: {
  uint32_t t = stack[sp];
  stack[sp] = stack[sp - 1], stack[sp - 1] = t;
}
  NEXT;
dec:
  stack[1] = (stack[1] & 0xffffff) - 1;
  sp = 1;
  NEXT;
jnz:
  if (stack[1] & 0xfffff) pc = code + *pc;
  else pc++;
  NEXT;
halt:
  return stack[0] ^ stack[1];
#undef NEXT
}

typedef uint32_t (*op_fn)(uint32_t);
static uint32_t op_a(uint32_t x) { return x * 3 + 1; }
static uint32_t op_b(uint32_t x) { return x ^ x >> 3; }
static uint32_t op_c(uint32_t x) { return x + (x << 5); }
static uint32_t op_d(uint32_t x) { return ~x; }
static uint32_t k_indirect(void) {
  static const op_fn ops[] = {op_a, op_b, op_c, op_d};
  uint32_t x = 1;
  for (int i = 0; i < 6000000; i++) x = ops[(x >> 7) & 3](x + i);
  return x;
}

static uint32_t k_switch(void) {
  uint32_t x = 12345, n = 0;
  for (int i = 0; i < 6000000; i++) {
    x = x * 1103515245u + 12345u;
    switch (x >> 28) {
    case 0: n += 1; break;
    case 1: n ^= x; break;
    case 2: n -= 7; break;
    case 3: n = n << 3 | n >> 29; break;
    case 4: n *= 5; break;
    case 5: n += x >> 9; break;
    case 6: n ^= 0x55; break;
    case 7: n = ~n; break;
    case 8: n -= x; break;
    case 9: n |= 1; break;
    case 10: n += i; break;
    default: n ^= i;
    }
  }
  return n;
}

/* --- cpu: floating point ---------------------------------------------------------------------------------------- */

static uint32_t hash_doubles(const double *v, int n) {
  uint64_t h = 1469598103934665603ull;
  for (int i = 0; i < n; i++) {
    uint64_t bits;
    memcpy(&bits, v + i, 8);
    h = (h ^ bits) * 1099511628211ull;
  }
  return h ^ h >> 32;
}

static uint32_t k_matmul(void) {
  enum { N = 120 };
  static double a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) a[i][j] = (i * 7 + j) % 13 - 6.0, b[i][j] = 1.0 / (1 + (i + 3 * j) % 17);
  for (int r = 0; r < 3; r++)
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        double s = r;
        for (int k = 0; k < N; k++) s += a[i][k] * b[k][j];
        c[i][j] = s;
      }
  return hash_doubles(&c[0][0], N * N);
}

static uint32_t k_nbody(void) {
  enum { N = 5 };
  double p[N][3], v[N][3], m[N];
  for (int i = 0; i < N; i++) {
    m[i] = 1.0 / (i + 1);
    for (int k = 0; k < 3; k++) p[i][k] = (i + 1) * (k + 2) * 0.37, v[i][k] = (k - i) * 0.011;
  }
  for (int step = 0; step < 60000; step++) {
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

static uint32_t k_float(void) {
  static float a[4096], b[4096];
  float s = 0;
  for (int i = 0; i < 4096; i++) a[i] = i * 0.25f, b[i] = 1.0f / (i + 1);
  for (int r = 0; r < 250; r++)
    for (int i = 0; i < 4096; i++) a[i] = a[i] * 0.999f + b[i];
  for (int i = 0; i < 4096; i++) s += a[i];
  uint32_t bits;
  memcpy(&bits, &s, 4);
  return bits;
}

static uint32_t k_x87(void) {
  volatile long double x = 1.0L, y = 0.5L;
  for (int i = 1; i < 400000; i++) {
    x = x * 1.0000001L + y / i;
    y = y - x * 1e-9L;
  }
  double d[2] = {(double)x, (double)y};
  return hash_doubles(d, 2);
}

#ifdef __SSE2__
static uint32_t k_sse_int(void) {
  static uint8_t a[1 << 16], b[1 << 16];
  for (int i = 0; i < 1 << 16; i++) a[i] = rnd(), b[i] = rnd();
  __m128i sum = _mm_setzero_si128();
  for (int r = 0; r < 120; r++)
    for (int i = 0; i < 1 << 16; i += 16) {
      __m128i x = _mm_loadu_si128((void *)(a + i)), y = _mm_loadu_si128((void *)(b + i));
      sum = _mm_add_epi64(sum, _mm_sad_epu8(_mm_adds_epu8(x, y), _mm_avg_epu8(x, y)));
      _mm_storeu_si128((void *)(b + i), _mm_xor_si128(y, _mm_cmpgt_epi8(x, y)));
    }
  uint32_t out[4];
  _mm_storeu_si128((void *)out, sum);
  return out[0] ^ out[2];
}
static uint32_t k_sse_float(void) {
  __m128 x = _mm_set_ps(1, 2, 3, 4), k = _mm_set1_ps(1.0001f), c = _mm_set1_ps(0.001f);
  for (int i = 0; i < 1500000; i++) x = _mm_sub_ps(_mm_add_ps(_mm_mul_ps(x, k), c), _mm_mul_ps(x, c));
  uint32_t out[4];
  _mm_storeu_ps((void *)out, x);
  return out[0] ^ out[1] ^ out[2] ^ out[3];
}
#endif

/* --- cpu: code ---------------------------------------------------------------------------------------------------- */

/* 2 MB of code, every part run a few times: blocks of "imul eax, eax, K; add eax, K2; ... ret". */
static uint32_t k_cold_code(void) {
  enum { SIZE = 2 << 20, BLOCK = 128 };
  unsigned char *code = mmap(NULL, SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) return 0;
  for (int at = 0; at < SIZE; at += BLOCK) {
    unsigned char *p = code + at;
#ifdef __x86_64__
    *p++ = 0x89, *p++ = 0xf8; /* mov eax, edi */
#else
    *p++ = 0x8b, *p++ = 0x44, *p++ = 0x24, *p++ = 4; /* mov eax, [esp+4] */
#endif
    while (p < code + at + BLOCK - 12) {
      uint32_t c = rnd();
      if (c & 0x10000) *p++ = 0x69, *p++ = 0xc0; /* imul eax, eax, imm32 */
      else *p++ = 0x05;                          /* add eax, imm32 */
      memcpy(p, &c, 4), p += 4;
    }
    *p = 0xc3;
  }
  uint32_t x = 1;
  for (int r = 0; r < 4; r++)
    for (int at = 0; at < SIZE; at += BLOCK) x = ((op_fn)(void *)(code + at))(x);
  munmap(code, SIZE);
  return x;
}

static uint32_t k_smc(void) {
  unsigned char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) return 0;
  uint32_t x = 1;
  for (uint32_t i = 0; i < 20000; i++) {
    unsigned char *p = code;
    *p++ = 0xb8, memcpy(p, &i, 4), p += 4; /* mov eax, i */
    *p = 0xc3;
    x = x * 31 + ((op_fn)(void *)code)(0);
  }
  munmap(code, 4096);
  return x;
}

/* --- os ---------------------------------------------------------------------------------------------------------- */

static uint32_t k_syscall(void) {
  uint32_t n = 0;
  for (int i = 0; i < 200000; i++) n += syscall(SYS_getppid) >= 0;
  return n;
}

static uint32_t k_pipe(void) {
  int a[2], b[2];
  char c = 0;
  if (pipe(a) || pipe(b)) return 0;
  enum { ROUNDS = 10000 };
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < ROUNDS; i++)
      if (read(a[0], &c, 1) != 1 || write(b[1], &c, 1) != 1) _exit(1);
    _exit(0);
  }
  uint32_t n = 0;
  for (int i = 0; i < ROUNDS; i++) {
    c = i;
    if (write(a[1], &c, 1) != 1 || read(b[0], &c, 1) != 1) break;
    n += (unsigned char)c;
  }
  waitpid(child, NULL, 0);
  close(a[0]), close(a[1]), close(b[0]), close(b[1]);
  return n;
}

static uint32_t k_fork(void) {
  uint32_t n = 0;
  for (int i = 0; i < 300; i++) {
    int status;
    pid_t child = fork();
    if (child == 0) _exit(i & 127);
    waitpid(child, &status, 0);
    n += WEXITSTATUS(status);
  }
  return n;
}

static uint32_t k_exec(void) {
  uint32_t n = 0;
  for (int i = 0; i < 100; i++) {
    int status;
    pid_t child = vfork();
    if (child == 0) {
      execl(self, self, "-x", NULL);
      _exit(99);
    }
    waitpid(child, &status, 0);
    n += WEXITSTATUS(status);
  }
  return n;
}

static uint32_t k_mmap(void) {
  uint32_t n = 0;
  for (int r = 0; r < 40; r++) {
    size_t size = 2 << 20;
    unsigned char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return 0;
    for (size_t i = 0; i < size; i += 4096) n += ++p[i];
    munmap(p, size);
  }
  return n;
}

static uint32_t k_file(void) {
  static char buffer[4096];
  uint32_t n = 0;
  int fd = open("/tmp/bench.dat", O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0) return 0;
  for (int r = 0; r < 6; r++) {
    lseek(fd, 0, SEEK_SET);
    for (int i = 0; i < 512; i++) memset(buffer, i, sizeof buffer), n += write(fd, buffer, sizeof buffer) == sizeof buffer;
    lseek(fd, 0, SEEK_SET);
    for (int i = 0; i < 512; i++)
      if (read(fd, buffer, sizeof buffer) == sizeof buffer) n += (unsigned char)buffer[17];
  }
  close(fd);
  unlink("/tmp/bench.dat");
  return n;
}

static volatile sig_atomic_t signals;
static void on_signal(int number) { (void)number, signals++; }
static uint32_t k_signal(void) {
  signals = 0;
  signal(SIGUSR1, on_signal);
  for (int i = 0; i < 20000; i++) raise(SIGUSR1);
  return signals;
}

/* --- smp --------------------------------------------------------------------------------------------------------- */

static void *sieve_thread(void *result) {
  *(uint32_t *)result = sieve_of(300000, 12);
  return NULL;
}
static uint32_t k_sieve2(void) {
  pthread_t t[2];
  uint32_t r[2];
  for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, sieve_thread, &r[i]);
  for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
  return r[0] + r[1];
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint32_t counter;
static void *mutex_thread(void *unused) {
  for (int i = 0; i < 100000; i++) {
    pthread_mutex_lock(&mutex);
    counter++;
    pthread_mutex_unlock(&mutex);
  }
  return unused;
}
static uint32_t k_mutex(void) {
  pthread_t t[2];
  counter = 0;
  for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, mutex_thread, NULL);
  for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
  return counter;
}

static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn;
static void *cond_thread(void *mine) {
  int me = *(int *)mine;
  for (int i = 0; i < 5000; i++) {
    pthread_mutex_lock(&mutex);
    while (turn != me) pthread_cond_wait(&cond, &mutex);
    turn = !me;
    counter++;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}
static uint32_t k_condvar(void) {
  pthread_t t[2];
  int ids[2] = {0, 1};
  counter = 0, turn = 0;
  for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, cond_thread, &ids[i]);
  for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
  return counter;
}

static volatile int shooting;
static void *shoot_thread(void *page) {
  uint32_t n = 0;
  while (shooting) n += *(volatile unsigned char *)page;
  return (void *)(uintptr_t)(n & 1);
}
static uint32_t k_shootdown(void) {
  unsigned char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  pthread_t t;
  shooting = 1;
  p[0] = p[4096] = 1;
  pthread_create(&t, NULL, shoot_thread, p);
  uint32_t n = 0;
  for (int i = 0; i < 3000; i++) {
    mprotect(p + 4096, 4096, i & 1 ? PROT_READ | PROT_WRITE : PROT_READ);
    n++;
  }
  shooting = 0;
  pthread_join(t, NULL);
  munmap(p, 8192);
  return n;
}

static const struct {
  const char *name, *group;
  uint32_t (*run)(void);
} kernels[] = {
  {"sieve", "cpu", k_sieve}, {"quicksort", "cpu", k_quicksort}, {"crc32", "cpu", k_crc32}, {"sha256", "cpu", k_sha256},
  {"mul64", "cpu", k_mul64}, {"divide", "cpu", k_divide}, {"copy", "cpu", k_copy}, {"strings", "cpu", k_strings},
  {"hash", "cpu", k_hash}, {"chase", "cpu", k_chase}, {"fib", "cpu", k_fib}, {"bytecode", "cpu", k_bytecode},
  {"indirect", "cpu", k_indirect}, {"switch", "cpu", k_switch}, {"matmul", "cpu", k_matmul}, {"nbody", "cpu", k_nbody},
  {"float", "cpu", k_float}, {"x87", "cpu", k_x87},
#ifdef __SSE2__
  {"sse-int", "cpu", k_sse_int}, {"sse-float", "cpu", k_sse_float},
#endif
  {"cold-code", "cpu", k_cold_code}, {"smc", "cpu", k_smc},
  {"syscall", "os", k_syscall}, {"pipe", "os", k_pipe}, {"fork", "os", k_fork}, {"exec", "os", k_exec},
  {"mmap", "os", k_mmap}, {"file", "os", k_file}, {"signal", "os", k_signal},
  {"sieve2", "smp", k_sieve2}, {"mutex", "smp", k_mutex}, {"condvar", "smp", k_condvar}, {"shootdown", "smp", k_shootdown},
};

static int wanted(int argc, char **argv, int i) {
  if (argc == 1) return 1;
  if (argc == 3 && !strcmp(argv[1], "-g")) return !strcmp(argv[2], kernels[i].group);
  for (int a = 1; a < argc; a++)
    if (!strcmp(argv[a], kernels[i].name)) return 1;
  return 0;
}

int main(int argc, char **argv) {
  self = "/proc/self/exe"; /* argv[0] may be a name that a shell found in PATH */
  if (argc == 2 && !strcmp(argv[1], "-x")) return 7;
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
    if (!wanted(argc, argv, i)) continue;
    seed = 2463534242u;
    double start = now_ms();
    uint32_t sum = kernels[i].run();
    printf("%s %.1f %08x\n", kernels[i].name, now_ms() - start, sum);
    fflush(stdout);
  }
  puts("bench-done");
  return 0;
}
