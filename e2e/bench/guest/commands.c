/* What the program measures besides its kernels: other programs, and the guest's stalls. */
#include "bench.h"
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* FNV-1a over what arrives. */
static uint32_t checksum_of(int fd) {
  static unsigned char buffer[65536];
  uint32_t hash = 2166136261u;
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR);)
    for (ssize_t i = 0; i < n; i++) hash = (hash ^ buffer[i]) * 16777619u;
  return hash;
}

/* argv: the name to print, then the command. A command that fails has its status in the checksum's place. */
void measure_command(char **argv, int repeats) {
  for (int r = 0; r < repeats; r++) {
    int out[2], status;
    if (pipe(out)) return;
    double start = now_ms();
    pid_t child = fork();
    if (child == 0) {
      dup2(out[1], 1);
      close(out[0]), close(out[1]);
      execvp(argv[1], argv + 1);
      _exit(127);
    }
    close(out[1]);
    uint32_t sum = checksum_of(out[0]);
    close(out[0]);
    waitpid(child, &status, 0);
    if (status == 0) printf("%s %.2f %08x\n", argv[0], now_ms() - start, sum);
    else printf("%s failed: status %d\n", argv[0], WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status));
    fflush(stdout);
  }
}

/* Text like a natural language's, the same each time. */
int print_text(long bytes) {
  static const char *const words[] = {
    "the",  "of",    "and",  "in",    "a",     "to",     "was",    "that",  "machine", "register", "with",
    "for",  "which", "page", "fault", "table", "memory", "kernel", "clock", "virtual", "is",       "not",
    "they", "every", "host", "guest", "by",    "from",   "this",   "have",  "branch",  "or",
  };
  rnd_seed(12345);
  for (long n = 0, column = 0; n < bytes;) {
    uint32_t x = rnd();
    /* The product makes the first words frequent and the last ones rare. */
    int length = printf("%s", words[((x & 31) * (x >> 5 & 31)) >> 5]);
    if (x >> 27 == 0) length += printf("%u", x >> 10 & 0x3fff);
    column += length;
    putchar(column > 70 ? '\n' : ' ');
    n += length + 1;
    if (column > 70) column = 0;
  }
  return 0;
}

/*
 * Sleeps a millisecond at a time above everything else that runs on this processor, and notes how late each wake-up is.
 * What a loaded guest adds to that is small (a kernel of Debian gives way within a millisecond or so on a real
 * machine); what remains is time in which the virtual processor did not execute the guest.
 */
int measure_lateness(double seconds) {
  static const double bounds[] = {1, 2, 5, 10, 20, 50, 100};
  enum { BOUNDS = sizeof bounds / sizeof *bounds };
  unsigned over[BOUNDS] = {0}, wakes = 0;
  double worst = 0, sum = 0, end = now_ms() + seconds * 1e3;
  struct sched_param highest = {.sched_priority = 90};
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  sched_setaffinity(0, sizeof first, &first);
  if (sched_setscheduler(0, SCHED_FIFO, &highest)) perror("SCHED_FIFO");
  for (double now = now_ms(); now < end; now = now_ms()) {
    struct timespec ms = {0, 1000000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &ms, NULL);
    double late = now_ms() - now - 1;
    wakes++, sum += late;
    if (late > worst) worst = late;
    for (int i = 0; i < BOUNDS; i++) over[i] += late > bounds[i];
  }
  printf("lateness wakes %u mean %.3f worst %.2f", wakes, sum / wakes, worst);
  for (int i = 0; i < BOUNDS; i++) printf(" over-%.0f %u", bounds[i], over[i]);
  printf("\nbench-done\n");
  return 0;
}
