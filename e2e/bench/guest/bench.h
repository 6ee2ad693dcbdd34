/*
 * The benchmark guest program: fixed work with checksums, static, built for x86-64 and for i386.
 * A kernel does `rounds` of its work and returns a checksum of it; equal checksums on every host are part of the
 * measurement. The rounds of the tables take about 0.2 s natively (less where emulators are slow), so that a JIT
 * settles: a kernel is a second and more for an emulator.
 */
#ifndef BENCH_H
#define BENCH_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdint.h>

struct kernel {
  const char *name;
  uint32_t (*run)(int rounds);
  int rounds;
};

/* Each ends with a kernel without a name. */
extern const struct kernel integer_kernels[], memory_kernels[], control_kernels[], float_kernels[], code_kernels[],
  os_kernels[];

typedef uint32_t (*op_fn)(uint32_t);

/* The same sequence in every kernel: it is seeded before each. */
uint32_t rnd(void);
void rnd_seed(uint32_t value);
uint32_t hash_doubles(const double *values, int count);
double now_ms(void);

/* commands.c: what the program does besides kernels */
void measure_command(char **argv, int repeats);
int measure_lateness(double seconds);
int print_text(long bytes);

#endif
