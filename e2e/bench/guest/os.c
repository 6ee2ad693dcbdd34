/* What the guest's kernel does for programs. */
#include "bench.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint32_t k_syscall(int rounds) {
  uint32_t n = 0;
  for (int i = 0; i < rounds * 10000; i++) n += syscall(SYS_getppid) >= 0;
  return n;
}

static uint32_t k_pipe(int rounds) {
  int a[2], b[2], trips = rounds * 1000;
  char c = 0;
  if (pipe(a) || pipe(b)) return 0;
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < trips; i++)
      if (read(a[0], &c, 1) != 1 || write(b[1], &c, 1) != 1) _exit(1);
    _exit(0);
  }
  uint32_t n = 0;
  for (int i = 0; i < trips; i++) {
    c = i;
    if (write(a[1], &c, 1) != 1 || read(b[0], &c, 1) != 1) break;
    n += (unsigned char)c;
  }
  waitpid(child, NULL, 0);
  close(a[0]), close(a[1]), close(b[0]), close(b[1]);
  return n;
}

static uint32_t k_fork(int rounds) {
  uint32_t n = 0;
  for (int i = 0; i < rounds * 10; i++) {
    int status;
    pid_t child = fork();
    if (child == 0) _exit(i & 127);
    waitpid(child, &status, 0);
    n += WEXITSTATUS(status);
  }
  return n;
}

static uint32_t k_exec(int rounds) {
  volatile uint32_t n = 0; /* survive vfork */
  for (volatile int i = 0; i < rounds * 10; i++) {
    int status;
    pid_t child = vfork();
    if (child == 0) {
      execl("/proc/self/exe", "bench", "-x", NULL); /* argv[0] may be a name that a shell found in PATH */
      _exit(99);
    }
    waitpid(child, &status, 0);
    n += WEXITSTATUS(status);
  }
  return n;
}

static uint32_t k_mmap(int rounds) {
  uint32_t n = 0;
  for (int r = 0; r < rounds; r++) {
    size_t size = 2 << 20;
    unsigned char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return 0;
    madvise(p, size, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < size; i += 4096) n += ++p[i];
    munmap(p, size);
  }
  return n;
}

/* Pages of a file that is in memory, read and then written: minor faults and copies. */
static uint32_t k_map_file(int rounds) {
  enum { PAGES = 256 };
  static char page[4096];
  uint32_t n = 0;
  int fd = open("/tmp/bench.map", O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0) return 0;
  for (int i = 0; i < PAGES; i++) memset(page, i, sizeof page), n += write(fd, page, sizeof page) == sizeof page;
  for (int r = 0; r < rounds * 10; r++) {
    unsigned char *p = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) return 0;
    for (int i = 0; i < PAGES; i++) n += p[i * 4096];
    for (int i = 0; i < PAGES; i += 8) n += ++p[i * 4096];
    munmap(p, PAGES * 4096);
  }
  close(fd);
  unlink("/tmp/bench.map");
  return n;
}

static uint32_t k_file(int rounds) {
  static char buffer[4096];
  uint32_t n = 0;
  int fd = open("/tmp/bench.dat", O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0) return 0;
  for (int r = 0; r < rounds; r++) {
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

/* Names: make, look up, open, remove. */
static uint32_t k_names(int rounds) {
  uint32_t n = 0;
  char name[40];
  mkdir("/tmp/bench.dir", 0700);
  for (int r = 0; r < rounds * 100; r++) {
    struct stat about;
    snprintf(name, sizeof name, "/tmp/bench.dir/%d", r % 97);
    int fd = open(name, O_RDWR | O_CREAT, 0600);
    if (fd < 0) return 0;
    n += write(fd, name, 5);
    close(fd);
    if (stat(name, &about) == 0) n += about.st_size;
    n += stat("/tmp/bench.dir/none", &about) != 0;
    unlink(name);
  }
  rmdir("/tmp/bench.dir");
  return n;
}

static volatile sig_atomic_t signals;
static void on_signal(int number) { (void)number, signals++; }
static uint32_t k_signal(int rounds) {
  signals = 0;
  signal(SIGUSR1, on_signal);
  for (int i = 0; i < rounds * 1000; i++) raise(SIGUSR1);
  return signals;
}

const struct kernel os_kernels[] = {
  {"syscall", k_syscall, 60}, {"pipe", k_pipe, 20},    {"fork", k_fork, 60},   {"exec", k_exec, 30},
  {"mmap", k_mmap, 100},      {"map-file", k_map_file, 40}, {"file", k_file, 60}, {"names", k_names, 100},
  {"signal", k_signal, 60},   {0},
};
