/*
 *   bench                 all kernels
 *   bench NAME...         those
 *   bench -g GROUP        cpu or os
 *   bench -l              "name group" of each
 *   bench -c NAME COMMAND ARGUMENT...   measures a command; the checksum is of its output
 *   bench -t BYTES        prints a text
 *   bench -w SECONDS      how late a sleeper of highest priority wakes
 * Before these: -q a tenth of the work, -r N every kernel N times.
 * Prints "name milliseconds checksum" for each, and at the end the ms that all took by the guest's clock, so that
 * the clock can be compared with the host's: "bench-clock milliseconds", "bench-done".
 */
#include "bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint32_t seed;

void rnd_seed(uint32_t value) { seed = value; }

uint32_t rnd(void) {
  seed ^= seed << 13;
  seed ^= seed >> 17;
  seed ^= seed << 5;
  return seed;
}

double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

uint32_t hash_doubles(const double *values, int count) {
  uint64_t h = 1469598103934665603ull;
  for (int i = 0; i < count; i++) {
    uint64_t bits;
    memcpy(&bits, values + i, 8);
    h = (h ^ bits) * 1099511628211ull;
  }
  return h ^ h >> 32;
}

static const struct {
  const char *name;
  const struct kernel *kernels;
} groups[] = {
  {"cpu", integer_kernels}, {"cpu", memory_kernels}, {"cpu", control_kernels},
  {"cpu", float_kernels},   {"cpu", code_kernels},   {"os", os_kernels},
};

static int wanted(int argc, char **argv, const char *name, const char *group) {
  if (argc == 0) return 1;
  if (argc == 2 && !strcmp(argv[0], "-g")) return !strcmp(argv[1], group);
  for (int a = 0; a < argc; a++)
    if (!strcmp(argv[a], name)) return 1;
  return 0;
}

static void measure(const struct kernel *kernel, int quick, int repeats) {
  int rounds = quick ? (kernel->rounds + 9) / 10 : kernel->rounds;
  for (int r = 0; r < repeats; r++) {
    rnd_seed(2463534242u);
    double start = now_ms();
    uint32_t sum = kernel->run(rounds);
    printf("%s %.2f %08x\n", kernel->name, now_ms() - start, sum);
    fflush(stdout);
  }
}

int main(int argc, char **argv) {
  if (argc == 2 && !strcmp(argv[1], "-x")) return 7; /* the exec kernel's program */
  int quick = 0, repeats = 1;
  double start = now_ms();
  for (argc--, argv++; argc > 0; argc--, argv++) {
    if (!strcmp(*argv, "-q")) quick = 1;
    else if (!strcmp(*argv, "-r") && argc > 1) repeats = atoi(argv[1]), argc--, argv++;
    else break;
  }
  if (argc == 2 && !strcmp(*argv, "-t")) return print_text(atol(argv[1]));
  if (argc == 2 && !strcmp(*argv, "-w")) return measure_lateness(atof(argv[1]));
  int list = argc == 1 && !strcmp(*argv, "-l");
  if (argc > 2 && !strcmp(*argv, "-c")) measure_command(argv + 1, repeats);
  else for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
    for (const struct kernel *k = groups[g].kernels; k->name; k++) {
      if (list) printf("%s %s\n", k->name, groups[g].name);
      else if (wanted(argc, argv, k->name, groups[g].name)) measure(k, quick, repeats);
    }
  if (!list) printf("bench-clock %.1f\nbench-done\n", now_ms() - start);
  return 0;
}
