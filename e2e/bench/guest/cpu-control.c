/* Calls, returns, indirect branches. */
#include "bench.h"

static __attribute__((noinline)) int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static uint32_t k_fib(int rounds) {
  uint32_t sum = 0;
  for (int r = 0; r < rounds; r++) sum += fib(30 + (r & 1));
  return sum;
}

static uint32_t bytecode(uint32_t count) {
  enum { PUSH, ADD, MUL, XOR, DUP, SWAP, DEC, JNZ, HALT };
  static void *labels[] = {&&push, &&add, &&mul, &&xor, &&dup, &&swap, &&dec, &&jnz, &&halt};
  /* acc, n: acc = (acc * 31 + n) ^ 5 while --n */
  static const int code[] = {SWAP, PUSH, 31, MUL, SWAP, DUP, PUSH, 0, ADD, SWAP, PUSH, 1, XOR, DEC, JNZ, 0, HALT};
  uint32_t stack[16] = {1, count};
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
static uint32_t k_bytecode(int rounds) {
  uint32_t sum = 0;
  for (int r = 0; r < rounds; r++) sum = sum * 31 + bytecode(900000 + r);
  return sum;
}

static uint32_t op_a(uint32_t x) { return x * 3 + 1; }
static uint32_t op_b(uint32_t x) { return x ^ x >> 3; }
static uint32_t op_c(uint32_t x) { return x + (x << 5); }
static uint32_t op_d(uint32_t x) { return ~x; }
static uint32_t k_indirect(int rounds) {
  static const op_fn ops[] = {op_a, op_b, op_c, op_d};
  uint32_t x = 1;
  for (int i = 0; i < rounds * 100000; i++) x = ops[(x >> 7) & 3](x + i);
  return x;
}

static uint32_t k_switch(int rounds) {
  uint32_t x = 12345, n = 0;
  for (int i = 0; i < rounds * 100000; i++) {
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

/* LOCK operations without anybody else: locks and reference counts of programs with threads. */
static uint32_t k_locked(int rounds) {
  static uint32_t lock, count;
  static uint64_t wide;
  lock = count = 0, wide = 0;
  for (int i = 0; i < rounds * 10000; i++) {
    uint32_t expected = 0;
    if (__atomic_compare_exchange_n(&lock, &expected, 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) count += i;
    __atomic_fetch_add(&count, 3, __ATOMIC_ACQ_REL);
    __atomic_fetch_sub(&wide, i, __ATOMIC_ACQ_REL);
    __atomic_exchange_n(&lock, 0, __ATOMIC_ACQ_REL);
  }
  return count ^ wide ^ wide >> 32;
}

const struct kernel control_kernels[] = {
  {"fib", k_fib, 80},      {"bytecode", k_bytecode, 10}, {"indirect", k_indirect, 500},
  {"switch", k_switch, 300}, {"locked", k_locked, 1000},  {0},
};
