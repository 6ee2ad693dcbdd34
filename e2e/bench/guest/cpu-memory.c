/* Memory and strings. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>

static uint32_t k_copy(int rounds) {
  static char a[1 << 20], b[1 << 20];
  uint32_t sum = 0;
  for (int r = 0; r < rounds * 10; r++) {
    memset(a, r, sizeof a);
    memcpy(b, a, sizeof b);
    sum += b[r * 8191 & ((1 << 20) - 1)];
  }
  return sum;
}

/* Many small copies and fills of varying length, as most programs make. */
static uint32_t k_small_copies(int rounds) {
  static unsigned char pool[1 << 16];
  uint32_t sum = 0;
  for (int r = 0; r < rounds * 10000; r++) {
    uint32_t x = rnd();
    unsigned char *to = pool + (x & 0x7fff), *from = pool + 0x8000 + (x >> 15 & 0x7fff);
    size_t bytes = x >> 27 & 31;
    if (x & 0x4000) memset(from, x, bytes);
    memmove(to, from, bytes + 1);
    sum += to[bytes];
  }
  return sum;
}

/* The string instructions themselves, whatever the C library prefers. */
static uint32_t k_rep(int rounds) {
  static unsigned char a[1 << 16], b[1 << 16];
  uint32_t sum = 0;
  for (int r = 0; r < rounds * 10; r++) {
    void *d = a, *s = a;
    size_t n = sizeof a - 1;
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(r | 1) : "memory");
    d = b, n = sizeof b / 4;
    __asm__ volatile("rep movsl" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
    for (int k = 0; k < 512; k++) { /* short ones cost their start */
      d = b + k * 128, s = a + k * 64, n = k & 31;
      __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
    }
    d = b, n = sizeof b;
    __asm__ volatile("repne scasb" : "+D"(d), "+c"(n) : "a"(0) : "memory", "cc");
    sum += n + b[r * 251 & 0xffff];
  }
  return sum;
}

static uint32_t k_strings(int rounds) {
  static char text[1 << 16];
  uint32_t sum = 0;
  for (size_t i = 0; i < sizeof text - 1; i++) text[i] = 'a' + rnd() % 26;
  for (int r = 0; r < rounds * 10; r++) {
    sum += strlen(text);
    for (const char *p = text; (p = strchr(p, 'q')); p++) sum++;
    sum += memchr(text, '!', sizeof text) != NULL;
    sum += strstr(text, "qjxz") ? 1 : 0;
    sum += strcmp(text, text + 1) > 0;
  }
  return sum;
}

static uint32_t k_hash(int rounds) {
  enum { SLOTS = 1 << 16 };
  static uint32_t keys[SLOTS], values[SLOTS];
  memset(keys, 0, sizeof keys);
  memset(values, 0, sizeof values);
  uint32_t sum = 0;
  for (int i = 0; i < rounds * 100000; i++) {
    uint32_t key = (rnd() % 40000) + 1, slot = key * 2654435761u >> 16;
    while (keys[slot] && keys[slot] != key) slot = (slot + 1) & (SLOTS - 1);
    keys[slot] = key;
    sum += values[slot]++;
  }
  return sum;
}

static uint32_t k_chase(int rounds) {
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
  for (int i = 0; i < rounds * 100000; i++) p = p->next;
  uint32_t at = p - nodes;
  free(nodes), free(order);
  return at;
}

/* malloc, free and pointers: binary trees made, walked and thrown away. */
struct tree {
  struct tree *left, *right;
};
static struct tree *grow(int depth) {
  struct tree *t = malloc(sizeof *t);
  t->left = depth > 0 ? grow(depth - 1) : NULL;
  t->right = depth > 0 ? grow(depth - 1) : NULL;
  return t;
}
static uint32_t fell(struct tree *t) {
  uint32_t n = 1 + (t->left ? fell(t->left) * 3 + fell(t->right) : 0);
  free(t);
  return n;
}
static uint32_t k_trees(int rounds) {
  uint32_t sum = 0;
  for (int r = 0; r < rounds; r++) sum = sum * 31 + fell(grow(14 + (r & 1)));
  return sum;
}

/* A byte-wise compressor: hash of three bytes, longest match at its last place, literal otherwise. */
static size_t squeeze(const unsigned char *in, size_t bytes, unsigned char *out) {
  static uint32_t last[1 << 13];
  memset(last, 0, sizeof last);
  size_t at = 0, to = 0;
  while (at + 3 < bytes) {
    uint32_t h = ((in[at] << 16 | in[at + 1] << 8 | in[at + 2]) * 2654435761u) >> 19;
    size_t seen = last[h], n = 0;
    last[h] = at;
    if (seen < at && at - seen < 65536)
      while (n < 255 && at + n < bytes && in[seen + n] == in[at + n]) n++;
    if (n >= 4) out[to++] = 0, out[to++] = n, out[to++] = at - seen, out[to++] = (at - seen) >> 8, at += n;
    else out[to++] = in[at++];
  }
  return to;
}
static uint32_t k_compress(int rounds) {
  static unsigned char text[1 << 18], out[1 << 19];
  uint32_t sum = 0;
  for (size_t i = 0; i < sizeof text; i++) text[i] = rnd() % 7 ? "etaoin shrdlu"[rnd() % 13] : text[i / 2];
  for (int r = 0; r < rounds; r++) {
    size_t n = squeeze(text, sizeof text, out);
    sum = sum * 31 + n + out[n / 2];
    text[r * 4099 & ((1 << 18) - 1)] ^= 5;
  }
  return sum;
}

/* Arrays a power of two apart, as matrices often are: what is looked up by low bits of the address collides. */
static uint32_t k_triad(int rounds) {
  enum { COUNT = 1 << 21 };
  static double a[COUNT], b[COUNT], c[COUNT];
  for (int i = 0; i < COUNT; i++) b[i] = i, c[i] = 1;
  for (int r = 0; r < rounds; r++)
    for (int i = 0; i < COUNT; i++) a[i] = b[i] + r * c[i];
  return hash_doubles(a, 1000);
}

const struct kernel memory_kernels[] = {
  {"copy", k_copy, 200},   {"small-copies", k_small_copies, 800}, {"rep", k_rep, 300},
  {"strings", k_strings, 800}, {"hash", k_hash, 300},             {"chase", k_chase, 20},
  {"trees", k_trees, 200},  {"compress", k_compress, 120},          {"triad", k_triad, 20},
  {0},
};
