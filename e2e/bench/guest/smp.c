/*
 * The benchmark program for several processors: fixed work with checksums, static, built for x86-64 and for i386 like
 * bench.c, which it resembles in output: one line a kernel, "name milliseconds checksum", then "bench-done".
 *
 *   smp              all kernels
 *   smp NAME...      those
 *   smp -l           their names
 *
 * Kernels that end in -pinned put their two threads on processors 0 and 1, where there are two: the scheduler would
 * otherwise keep a pair that takes turns on one of them, and nothing would cross.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set); /* with one processor, cpu 1 is refused and nothing changes */
}
static void unpin(void) {
  cpu_set_t set;
  memset(&set, 0xff, sizeof set);
  sched_setaffinity(0, sizeof set, &set);
}

typedef void *(*thread_fn)(void *);
static void run_two(thread_fn first, thread_fn second, void *a, void *b) {
  pthread_t t[2];
  pthread_create(&t[0], NULL, first, a);
  pthread_create(&t[1], NULL, second, b);
  pthread_join(t[0], NULL);
  pthread_join(t[1], NULL);
}

/* --- work without sharing ---------------------------------------------------------------------------------------- */

enum { SIEVE_LIMIT = 300000, SIEVE_ROUNDS = 24 };
static uint32_t sieve(void) {
  char *composite = malloc(SIEVE_LIMIT + 1);
  uint32_t count = 0;
  for (int r = 0; r < SIEVE_ROUNDS; r++) {
    memset(composite, 0, SIEVE_LIMIT + 1);
    for (int i = 2; i <= SIEVE_LIMIT; i++) {
      if (composite[i]) continue;
      count++;
      for (int j = i + i; j <= SIEVE_LIMIT; j += i) composite[j] = 1;
    }
  }
  free(composite);
  return count;
}
enum { SIEVE_PARTS = 8 };
static void *sieve_parts(void *sum) {
  for (int i = 0; i < SIEVE_PARTS / 2; i++) *(uint32_t *)sum += sieve();
  return NULL;
}
/* The same work by one thread and by two: their quotient is the speed-up of a second processor. */
static uint32_t k_sieve_1(void) {
  uint32_t sum = 0;
  sieve_parts(&sum);
  sieve_parts(&sum);
  return sum;
}
static uint32_t k_sieve_2(void) {
  uint32_t sums[2 * 64] = {0}; /* lines apart */
  run_two(sieve_parts, sieve_parts, &sums[0], &sums[64]);
  return sums[0] + sums[64];
}

/* --- locks ------------------------------------------------------------------------------------------------------- */

static _Alignas(64) pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static _Alignas(64) uint32_t counter;
static void *mutex_thread(void *unused) {
  for (int i = 0; i < 1000000; i++) {
    pthread_mutex_lock(&mutex);
    counter++;
    pthread_mutex_unlock(&mutex);
  }
  return unused;
}
static uint32_t k_mutex(void) {
  counter = 0;
  run_two(mutex_thread, mutex_thread, NULL, NULL);
  return counter;
}

/* Holds the lock longer than the other thread spins: most acquisitions sleep in FUTEX_WAIT. */
static void *mutex_long_thread(void *unused) {
  for (int i = 0; i < 30000; i++) {
    pthread_mutex_lock(&mutex);
    for (volatile int j = 0; j < 300; j++) counter += j == 0;
    pthread_mutex_unlock(&mutex);
  }
  return unused;
}
static uint32_t k_mutex_long(void) {
  counter = 0;
  run_two(mutex_long_thread, mutex_long_thread, NULL, NULL);
  return counter;
}

static _Alignas(64) atomic_int spin;
static void *spinlock_thread(void *unused) {
  for (int i = 0; i < 1000000; i++) {
    while (atomic_exchange_explicit(&spin, 1, memory_order_acquire))
      while (atomic_load_explicit(&spin, memory_order_relaxed)) __builtin_ia32_pause();
    counter++;
    atomic_store_explicit(&spin, 0, memory_order_release);
  }
  return unused;
}
static uint32_t k_spinlock(void) {
  counter = 0;
  run_two(spinlock_thread, spinlock_thread, NULL, NULL);
  return counter;
}

static _Alignas(64) atomic_uint shared32;
static _Alignas(64) atomic_ullong shared64;
static void *atomic_thread(void *step) {
  for (int i = 0; i < 2000000; i++) {
    atomic_fetch_add(&shared32, *(uint32_t *)step);
    unsigned long long seen = atomic_load_explicit(&shared64, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&shared64, &seen, seen + 0x100000001ull)) {}
  }
  return NULL;
}
static uint32_t k_atomic(void) {
  uint32_t steps[2] = {1, 3};
  atomic_store(&shared32, 0);
  atomic_store(&shared64, 0);
  run_two(atomic_thread, atomic_thread, &steps[0], &steps[1]);
  return shared32 ^ (uint32_t)shared64 ^ (uint32_t)(shared64 >> 32);
}

/* --- taking turns ------------------------------------------------------------------------------------------------ */

static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn;
static int pinned;
static void *cond_thread(void *mine) {
  int me = *(int *)mine;
  if (pinned) pin(me);
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
static uint32_t condvar(int pins) {
  int ids[2] = {0, 1};
  counter = 0, turn = 0, pinned = pins;
  run_two(cond_thread, cond_thread, &ids[0], &ids[1]);
  return counter;
}
static uint32_t k_condvar(void) { return condvar(0); }
static uint32_t k_condvar_pinned(void) { return condvar(1); }

/* FUTEX_WAKE of a sleeper on the other processor, and back: the shortest way through the kernel that ends in an IPI. */
static _Alignas(64) atomic_int ball;
static void *futex_thread(void *mine) {
  int me = *(int *)mine;
  pin(me);
  for (int i = 0; i < 5000; i++) {
    while (ball != me) syscall(SYS_futex, &ball, FUTEX_WAIT_PRIVATE, !me, NULL, NULL, 0);
    ball = !me;
    syscall(SYS_futex, &ball, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
  }
  return NULL;
}
static uint32_t k_futex_pinned(void) {
  int ids[2] = {0, 1};
  ball = 0;
  run_two(futex_thread, futex_thread, &ids[0], &ids[1]);
  return ball + 5000;
}

static uint32_t pipes(int pins) {
  enum { ROUNDS = 5000 };
  int a[2], b[2];
  char c = 0;
  if (pipe(a) || pipe(b)) return 0;
  pid_t child = fork();
  if (child == 0) {
    if (pins) pin(1);
    for (int i = 0; i < ROUNDS; i++)
      if (read(a[0], &c, 1) != 1 || write(b[1], &c, 1) != 1) _exit(1);
    _exit(0);
  }
  if (pins) pin(0);
  uint32_t n = 0;
  for (int i = 0; i < ROUNDS; i++) {
    c = i;
    if (write(a[1], &c, 1) != 1 || read(b[0], &c, 1) != 1) break;
    n += (unsigned char)c;
  }
  waitpid(child, NULL, 0);
  close(a[0]), close(a[1]), close(b[0]), close(b[1]);
  unpin();
  return n;
}
static uint32_t k_pipe(void) { return pipes(0); }
static uint32_t k_pipe_pinned(void) { return pipes(1); }

/* Two threads that meet 20000 times and spin for the other: no kernel, only cache lines. */
static _Alignas(64) atomic_int arrived;
static void *barrier_thread(void *sum) {
  for (int i = 1; i <= 20000; i++) {
    atomic_fetch_add(&arrived, 1);
    /* Gives way now and then, for a host that cannot run both at once. */
    for (int looks = 1; arrived < 2 * i; looks++) {
      __builtin_ia32_pause();
      if (looks % 4096 == 0) sched_yield();
    }
    *(uint32_t *)sum += i;
  }
  return NULL;
}
static uint32_t k_barrier(void) {
  uint32_t sums[2 * 64] = {0};
  arrived = 0;
  run_two(barrier_thread, barrier_thread, &sums[0], &sums[64]);
  return sums[0] ^ sums[64] * 3;
}

/* --- shootdowns: another thread of the same address space runs meanwhile ------------------------------------------- */

static atomic_int shooting;
static void *shoot_thread(void *page) {
  uint32_t n = 0;
  while (shooting) n += *(volatile unsigned char *)page;
  return (void *)(uintptr_t)(n & 1);
}
static unsigned char *map(size_t bytes) {
  return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static uint32_t beside_a_runner(uint32_t (*work)(void)) {
  unsigned char *page = map(4096);
  pthread_t t;
  shooting = 1;
  page[0] = 1;
  pthread_create(&t, NULL, shoot_thread, page);
  uint32_t n = work();
  shooting = 0;
  pthread_join(t, NULL);
  munmap(page, 4096);
  return n;
}
static int protections;
static uint32_t protect_work(void) {
  unsigned char *p = map(4096);
  uint32_t n = 0;
  for (int i = 0; i < protections; i++) {
    if (i & 1) n += ++p[0]; /* writable now */
    mprotect(p, 4096, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE);
  }
  munmap(p, 4096);
  return n;
}
static uint32_t k_mprotect(void) {
  protections = 3000;
  return beside_a_runner(protect_work);
}

static uint32_t unmap_work(void) {
  uint32_t n = 0;
  for (int i = 0; i < 1500; i++) {
    unsigned char *p = map(16384);
    for (int at = 0; at < 16384; at += 4096) p[at] = i, n += p[at];
    munmap(p, 16384);
  }
  return n;
}
static uint32_t k_munmap(void) { return beside_a_runner(unmap_work); }

/* The runner sleeps instead: a guest with PV TLB flush need not wake it for each. */
static void *sleep_thread(void *unused) {
  while (shooting) syscall(SYS_futex, &shooting, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
  return unused;
}
static uint32_t k_mprotect_asleep(void) {
  protections = 60000;
  pthread_t t;
  shooting = 1;
  pthread_create(&t, NULL, sleep_thread, NULL);
  uint32_t n = protect_work();
  shooting = 0;
  syscall(SYS_futex, &shooting, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
  pthread_join(t, NULL);
  return n;
}

/* --- processes ----------------------------------------------------------------------------------------------------- */

static void *threads_nothing(void *p) { return p; }
static uint32_t k_threads(void) {
  uint32_t n = 0;
  for (int i = 0; i < 500; i++) {
    pthread_t t[2];
    for (int k = 0; k < 2; k++) pthread_create(&t[k], NULL, threads_nothing, (void *)(uintptr_t)(i + k));
    for (int k = 0; k < 2; k++) {
      void *result;
      pthread_join(t[k], &result);
      n += (uint32_t)(uintptr_t)result;
    }
  }
  return n;
}

static void *fork_thread(void *sum) {
  for (int i = 0; i < 100; i++) {
    int status;
    pid_t child = fork();
    if (child == 0) _exit(i & 127);
    waitpid(child, &status, 0);
    *(uint32_t *)sum += WEXITSTATUS(status);
  }
  return NULL;
}
static uint32_t k_fork_2(void) {
  uint32_t sums[2 * 64] = {0};
  run_two(fork_thread, fork_thread, &sums[0], &sums[64]);
  return sums[0] + sums[64];
}

static const struct {
  const char *name;
  uint32_t (*run)(void);
} kernels[] = {
  {"sieve-1", k_sieve_1}, {"sieve-2", k_sieve_2}, {"mutex", k_mutex}, {"mutex-long", k_mutex_long},
  {"spinlock", k_spinlock}, {"atomic", k_atomic}, {"barrier", k_barrier}, {"condvar", k_condvar},
  {"condvar-pinned", k_condvar_pinned}, {"futex-pinned", k_futex_pinned}, {"pipe", k_pipe},
  {"pipe-pinned", k_pipe_pinned}, {"mprotect", k_mprotect}, {"munmap", k_munmap},
  {"mprotect-asleep", k_mprotect_asleep}, {"threads", k_threads}, {"fork-2", k_fork_2},
};

static int wanted(int argc, char **argv, const char *name) {
  if (argc == 1) return 1;
  for (int a = 1; a < argc; a++)
    if (!strcmp(argv[a], name)) return 1;
  return 0;
}

int main(int argc, char **argv) {
  int list = argc == 2 && !strcmp(argv[1], "-l");
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
    if (list) puts(kernels[i].name);
    if (list || !wanted(argc, argv, kernels[i].name)) continue;
    double start = now_ms();
    uint32_t sum = kernels[i].run();
    printf("%s %.1f %08x\n", kernels[i].name, now_ms() - start, sum);
    fflush(stdout);
  }
  if (!list) puts("bench-done");
  return 0;
}
