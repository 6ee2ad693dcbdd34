/*
 * Runs instructions on the host's own CPU and reports what they did. Reads cases from standard input, writes results to
 * standard output; both are arrays of the structures below, little endian, until end of file.
 *
 * A case never runs as a call: the signal handler writes its registers into the signal frame and returns into it, and the
 * next trap brings its result back, so one case costs one trap. Code is one page full of INT3; data is three windows.
 *
 *   0x10000000  code, 1 page, int3 everywhere but at the instruction
 *   0x20000000  data, 2 pages read-write; 0x20002000 is not mapped
 *   0x30000000  data, 1 page read-only
 *
 * Modes 16 and 33 run in segments of the LDT whose bases, limits and types are those of modes.ts; entries 1-6 are the 16-bit
 * ES CS SS DS FS GS, entries 9-14 the 32-bit ones, 15-19 odd ones for instructions that load or look at selectors.
 *
 * Build: gcc -O1 -mno-red-zone -mfsgsbase -fno-stack-protector -o oracle oracle.c (x86-64 Linux). Not for untrusted input.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#define CODE 0x10000000ul
#define DATA 0x20000000ul
#define READ_ONLY 0x30000000ul
#define WINDOW_A (DATA + 0x0f00) /* 1024 bytes around the middle page boundary */
#define WINDOW_A_BYTES 1024
#define WINDOW_B (DATA + 0x1f00) /* the last 256 bytes before the hole */
#define WINDOW_B_BYTES 256
#define WINDOW_BYTES (WINDOW_A_BYTES + WINDOW_B_BYTES)
#define BATCH 512

struct state {
  uint64_t gpr[16]; /* rax rcx rdx rbx rsp rbp rsi rdi r8-r15 */
  uint64_t rip;     /* result: address of the trap, or of the faulting instruction */
  uint64_t rflags;
  uint8_t fx[512];  /* FXSAVE64 image */
  uint8_t ymm[256]; /* bits 255:128 of YMM0-15 */
  uint8_t window[WINDOW_BYTES];
};

struct request {
  struct state in;
  uint8_t code[16];
  uint32_t offset; /* of the instruction in the code page */
  uint32_t mode;   /* 64; 32 flat; 16 and 33: 16- and 32-bit code with the segments of modes.ts */
};

struct result {
  struct state out;
  uint32_t vector;  /* of the exception; 3 = the INT3 behind the instruction was reached; 256 = timeout */
  uint32_t error;
  uint64_t address; /* CR2 of a page fault */
  uint16_t selectors[8]; /* ES CS SS DS FS GS afterwards; CS and SS of the code that trapped */
};

static struct request requests[BATCH];
static struct result results[BATCH];
static int count, current;
static ucontext_t home;
static uint8_t home_fx[4096];
static int running;
static uint64_t home_fs;

#define STRICT_RESTORE_SS 4

struct segment {
  uint32_t base, limit;
  int contents; /* 0 data, 1 expand-down, 2 code */
  int read_only;
};

static const struct segment segments[6] = {
    {DATA + 0x20, 0x10df, 0, 0}, {CODE, 0x0fff, 2, 0},          {DATA + 0x10, 0x1fef, 0, 0},
    {DATA, 0x1fff, 0, 0},        {DATA - 0x1000, 0x1f7f, 1, 0}, {DATA + 0x40, 0x1fbf, 0, 1},
};

static uint16_t selector(uint32_t mode, int segment) { return (uint16_t)(((mode == 16 ? 1 : 9) + segment) * 8 + 7); }

static void make_descriptor(struct user_desc d) {
  d.useable = 1;
  if (syscall(SYS_modify_ldt, 0x11, &d, sizeof d) != 0) {
    perror("modify_ldt");
    exit(1);
  }
}

static void make_segments(void) {
  make_descriptor((struct user_desc){.entry_number = 15, .base_addr = DATA, .limit = 0x1fff, .seg_not_present = 1});
  make_descriptor((struct user_desc){.entry_number = 16, .base_addr = CODE, .limit = 0xfff, .contents = 2, .seg_not_present = 1});
  make_descriptor((struct user_desc){.entry_number = 17, .base_addr = CODE, .limit = 0xfff, .contents = 3, .seg_not_present = 1});
  make_descriptor((struct user_desc){.entry_number = 18, .base_addr = CODE, .limit = 0, .contents = 2, .read_exec_only = 1, .seg_32bit = 1, .limit_in_pages = 1});
  make_descriptor((struct user_desc){.entry_number = 19, .base_addr = DATA, .limit = 0x7ff, .contents = 1, .read_exec_only = 1, .seg_32bit = 1});
  for (int mode = 16; mode <= 33; mode += 17) {
    for (int i = 0; i < 6; i++) {
      make_descriptor((struct user_desc){.entry_number = selector((uint32_t)mode, i) >> 3,
                                         .base_addr = segments[i].base,
                                         .limit = segments[i].limit,
                                         .seg_32bit = mode == 33,
                                         .contents = (unsigned)segments[i].contents,
                                         .read_exec_only = (unsigned)segments[i].read_only});
    }
  }
}

/* FS of the C library; without it nothing of the library that is thread-local works. */
static void restore_fs(void) {
  __asm__ volatile("mov %0, %%fs\n\twrfsbase %1" ::"r"(0), "r"(home_fs));
}

/* sigreturn loads CS and SS, the others are whatever they are when it is called. */
static uint64_t load_segments(uint32_t mode) {
  if (mode == 64 || mode == 32) {
    __asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" ::"r"(0x2b));
    /* null selectors with bases: 64-bit code uses the bases, compatibility mode faults */
    __asm__ volatile("mov %0, %%fs\n\tmov %0, %%gs\n\twrfsbase %1\n\twrgsbase %2" ::"r"(0), "r"(0x30ul), "r"(~0x3ful));
    return (mode == 64 ? 0x33ul : 0x23ul) | 0x2bul << 48;
  }
  __asm__ volatile("mov %0, %%es\n\tmov %1, %%ds\n\tmov %2, %%fs\n\tmov %3, %%gs" ::"r"((uint32_t)selector(mode, 0)),
                   "r"((uint32_t)selector(mode, 3)), "r"((uint32_t)selector(mode, 4)), "r"((uint32_t)selector(mode, 5)));
  return selector(mode, 1) | (uint64_t)selector(mode, 2) << 48;
}

static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                              REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

/* The signal frame's XSAVE area (standard format): header at 512, upper halves of the YMM registers at 576. */
#define FRAME_BYTES (512 + 64 + 256)

static int frame_has_ymm(const uint8_t *fx) {
  uint32_t magic;
  uint64_t features;
  memcpy(&magic, fx + 464, sizeof magic);
  memcpy(&features, fx + 472, sizeof features);
  return magic == 0x46505853u /* FP_XSTATE_MAGIC1 */ && (features & 4);
}

static size_t frame_bytes(const ucontext_t *uc) {
  return frame_has_ymm((const uint8_t *)uc->uc_mcontext.fpregs) ? FRAME_BYTES : 512 + 64;
}

static void enter(ucontext_t *uc) {
  /* sigreturn keeps NT and ID as they are now: forget what the last case left */
  __asm__ volatile("pushfq\n\tandq $~0x204000, (%%rsp)\n\tpopfq" ::: "memory", "cc");
  struct request *r = &requests[current];
  greg_t *g = uc->uc_mcontext.gregs;
  for (int i = 0; i < 16; i++) g[order[i]] = (greg_t)r->in.gpr[i];
  int flat = r->mode == 64 || r->mode == 32;
  g[REG_RIP] = (greg_t)((flat ? CODE : 0) + r->offset);
  g[REG_EFL] = (greg_t)r->in.rflags;
  g[REG_CSGSFS] = (greg_t)load_segments(r->mode);
  uc->uc_flags |= STRICT_RESTORE_SS;
  uint8_t *fx = (uint8_t *)uc->uc_mcontext.fpregs;
  memcpy(fx, r->in.fx, 416); /* bytes 464-511 belong to the kernel */
  *(uint64_t *)(fx + 512) |= 3;
  if (frame_has_ymm(fx)) {
    *(uint64_t *)(fx + 512) |= 4;
    memcpy(fx + 576, r->in.ymm, sizeof r->in.ymm);
  }
  memset((void *)DATA, 0, 8192);
  memcpy((void *)WINDOW_A, r->in.window, WINDOW_A_BYTES);
  memcpy((void *)WINDOW_B, r->in.window + WINDOW_A_BYTES, WINDOW_B_BYTES);
  memcpy((void *)(CODE + r->offset), r->code, 16);
}

static void leave(ucontext_t *uc, int sig) {
  struct result *out = &results[current];
  greg_t *g = uc->uc_mcontext.gregs;
  memset(out, 0, sizeof *out);
  uint16_t *s = out->selectors;
  __asm__ volatile("mov %%es, %0\n\tmov %%ds, %1\n\tmov %%fs, %2\n\tmov %%gs, %3" : "=r"(s[0]), "=r"(s[3]), "=r"(s[4]), "=r"(s[5]));
  s[1] = (uint16_t)g[REG_CSGSFS];
  s[2] = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
  for (int i = 0; i < 16; i++) out->out.gpr[i] = (uint64_t)g[order[i]];
  /* a 16-bit stack leaves bits of the kernel's RSP above the guest's 32 */
  if (requests[current].mode != 64) out->out.gpr[4] &= 0xffffffffu;
  out->vector = sig == SIGALRM ? 256 : (uint32_t)g[REG_TRAPNO];
  out->error = (uint32_t)g[REG_ERR];
  out->address = (uint64_t)g[REG_CR2];
  out->out.rip = (uint64_t)g[REG_RIP] - (out->vector == 3 ? 1 : 0);
  out->out.rflags = (uint64_t)g[REG_EFL];
  const uint8_t *fx = (const uint8_t *)uc->uc_mcontext.fpregs;
  memcpy(out->out.fx, fx, 416);
  if (frame_has_ymm(fx) && *(const uint64_t *)(fx + 512) & 4) memcpy(out->out.ymm, fx + 576, sizeof out->out.ymm);
  memcpy(out->out.window, (void *)WINDOW_A, WINDOW_A_BYTES);
  memcpy(out->out.window + WINDOW_A_BYTES, (void *)WINDOW_B, WINDOW_B_BYTES);
  memset((void *)CODE, 0xcc, 4096); /* all of it: a case may have pushed onto its own page */
}

static void handler(int sig, siginfo_t *info, void *context) {
  (void)info;
  ucontext_t *uc = context;
  if (!running) {
    running = 1;
    home = *uc;
    memcpy(home_fx, uc->uc_mcontext.fpregs, frame_bytes(uc));
    current = 0;
  } else {
    leave(uc, sig);
    current++;
  }
  struct itimerval limit = {{0, 0}, {0, current < count ? 500000 : 0}};
  if (current % 16 == 0 || current == count) setitimer(ITIMER_REAL, &limit, 0);
  if (current < count) {
    enter(uc);
    return;
  }
  running = 0;
  restore_fs();
  uc->uc_flags |= STRICT_RESTORE_SS;
  void *fpregs = uc->uc_mcontext.fpregs;
  memcpy(uc->uc_mcontext.gregs, home.uc_mcontext.gregs, sizeof(gregset_t));
  memcpy(fpregs, home_fx, frame_bytes(uc));
}

static int read_all(void *to, size_t bytes) {
  size_t got = 0;
  while (got < bytes) {
    ssize_t n = read(0, (char *)to + got, bytes - got);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    got += (size_t)n;
  }
  return (int)(got / sizeof(struct request));
}

static void write_all(const void *from, size_t bytes) {
  size_t put = 0;
  while (put < bytes) {
    ssize_t n = write(1, (const char *)from + put, bytes - put);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) exit(1);
    put += (size_t)n;
  }
}

static void *map(unsigned long at, size_t bytes, int protection) {
  void *p = mmap((void *)at, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (p != (void *)at) {
    perror("mmap");
    exit(1);
  }
  return p;
}

int main(void) {
  memset(map(CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC), 0xcc, 4096);
  map(DATA, 8192, PROT_READ | PROT_WRITE);
  /* touched, so that a write faults on protection and not on absence */
  volatile const uint8_t *first = map(READ_ONLY, 4096, PROT_READ);
  (void)*first;
  stack_t stack = {.ss_sp = malloc(1 << 18), .ss_size = 1 << 18, .ss_flags = 0};
  sigaltstack(&stack, 0);
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigfillset(&action.sa_mask);
  const int signals[] = {SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGALRM, SIGUSR1};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, 0);
  make_segments();
  __asm__ volatile("rdfsbase %0" : "=r"(home_fs));
  /* the size word tells the reader that both sides agree on the layout */
  uint32_t hello[2] = {sizeof(struct request), sizeof(struct result)};
  write_all(hello, sizeof hello);
  for (;;) {
    uint32_t n;
    if (read(0, &n, 4) != 4 || n == 0 || n > BATCH) return 0;
    count = read_all(requests, n * sizeof(struct request));
    if (count != (int)n) return 1;
    raise(SIGUSR1);
    write_all(results, n * sizeof(struct result));
  }
}
