/* Code that is new: run a few times, rewritten all the time, or made by a JIT in the guest. */
#include "bench.h"
#include <string.h>
#include <sys/mman.h>

static unsigned char *map_code(size_t bytes) {
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

/* A function of `bytes` bytes, "imul eax, K; add eax, K2; ...; ret", of its argument. */
static void write_function(unsigned char *p, int bytes) {
  unsigned char *end = p + bytes - 12;
#ifdef __x86_64__
  *p++ = 0x89, *p++ = 0xf8; /* mov eax, edi */
#else
  *p++ = 0x8b, *p++ = 0x44, *p++ = 0x24, *p++ = 4; /* mov eax, [esp+4] */
#endif
  while (p < end) {
    uint32_t c = rnd();
    if (c & 0x10000) *p++ = 0x69, *p++ = 0xc0; /* imul eax, eax, imm32 */
    else *p++ = 0x05;                          /* add eax, imm32 */
    memcpy(p, &c, 4), p += 4;
  }
  *p = 0xc3;
}

/* 2 MB of code, every part run four times; then 2 MB of other code. */
static uint32_t k_cold_code(int rounds) {
  enum { SIZE = 2 << 20, BLOCK = 128 };
  uint32_t x = 1;
  for (int r = 0; r < rounds; r++) {
    unsigned char *code = map_code(SIZE);
    if (!code) return 0;
    for (int at = 0; at < SIZE; at += BLOCK) write_function(code + at, BLOCK);
    for (int pass = 0; pass < 4; pass++)
      for (int at = 0; at < SIZE; at += BLOCK) x = ((op_fn)(void *)(code + at))(x);
    munmap(code, SIZE);
  }
  return x;
}

/* More hot code than a code cache likes to hold: 4 MB, every part run often, in an order that changes. */
static uint32_t k_wide_code(int rounds) {
  enum { SIZE = 4 << 20, BLOCK = 256, COUNT = SIZE / BLOCK };
  unsigned char *code = map_code(SIZE);
  if (!code) return 0;
  for (int at = 0; at < SIZE; at += BLOCK) write_function(code + at, BLOCK);
  uint32_t x = 1;
  for (int r = 0; r < rounds; r++)
    for (uint32_t i = 0; i < COUNT; i++) x = ((op_fn)(void *)(code + (i * 2654435761u + r) % COUNT * BLOCK))(x);
  munmap(code, SIZE);
  return x;
}

/* One instruction's operand rewritten before every run. */
static uint32_t k_smc(int rounds) {
  unsigned char *code = map_code(4096);
  if (!code) return 0;
  uint32_t x = 1;
  for (uint32_t i = 0; i < rounds * 1000u; i++) {
    unsigned char *p = code;
    *p++ = 0xb8, memcpy(p, &i, 4), p += 4; /* mov eax, i */
    *p = 0xc3;
    x = x * 31 + ((op_fn)(void *)code)(0);
  }
  munmap(code, 4096);
  return x;
}

/* As a JIT in the guest does: writes a page of functions, runs them for a while, next to ones that stay. */
static uint32_t k_guest_jit(int rounds) {
  enum { FUNCTION = 256, PAGE = 4096, PAGES = 64 };
  unsigned char *code = map_code(PAGES * PAGE);
  if (!code) return 0;
  uint32_t x = 1;
  for (int r = 0; r < rounds; r++) {
    unsigned char *fresh = code + r % PAGES * PAGE;
    for (int at = 0; at < PAGE; at += FUNCTION) write_function(fresh + at, FUNCTION);
    int first = r < PAGES ? 0 : r % PAGES;
    for (int pass = 0; pass < 200; pass++) {
      unsigned char *stays = code + (first ? (first + pass) % PAGES : r % PAGES) * PAGE;
      for (int at = 0; at < PAGE; at += FUNCTION) x = ((op_fn)(void *)(fresh + at))(x);
      x = ((op_fn)(void *)stays)(x);
    }
  }
  munmap(code, PAGES * PAGE);
  return x;
}

const struct kernel code_kernels[] = {
  {"cold-code", k_cold_code, 30}, {"wide-code", k_wide_code, 100}, {"smc", k_smc, 2000},
  {"guest-jit", k_guest_jit, 1000}, {0},
};
