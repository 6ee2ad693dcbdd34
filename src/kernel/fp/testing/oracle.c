/*
 * Runs single x87, MMX or SSE instructions on the host's own CPU and reports the state afterwards.
 * usage: oracle IN OUT; both are arrays of struct test_case, see oracle.ts.
 * The memory operand of an instruction is [rdx], its integer register operand rax.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

struct test_case {
  uint8_t code[15], len;
  uint32_t mxcsr, eflags;
  uint16_t fcw, fsw;
  uint8_t ftw, pad[3];
  uint8_t st[8][16];
  uint8_t xmm[4][16];
  uint8_t mem[32];
  uint64_t rax;
  uint32_t trap, pad2;
};

/* FXSAVE image (SDM Vol. 1, 10.5.1) followed by the integer state that the stub exchanges. */
struct image {
  uint16_t fcw, fsw;
  uint8_t ftw, rsvd;
  uint16_t fop;
  uint64_t fip, fdp;
  uint32_t mxcsr, mxcsr_mask;
  uint8_t st[8][16];
  uint8_t xmm[16][16];
  uint8_t rest[96];
  uint64_t eflags, rax;
} __attribute__((aligned(64)));

static const uint8_t PROLOGUE[] = {
  0x48, 0x0f, 0xae, 0x0f,                         /* fxrstor64 [rdi] */
  0x48, 0x8b, 0x87, 0x00, 0x02, 0x00, 0x00,       /* mov rax, [rdi+512] */
  0x50, 0x9d,                                     /* push rax; popfq */
  0x48, 0x8b, 0x87, 0x08, 0x02, 0x00, 0x00,       /* mov rax, [rdi+520] */
};
static const uint8_t EPILOGUE[] = {
  0x9c, 0x41, 0x58,                               /* pushfq; pop r8 */
  0x4c, 0x89, 0x81, 0x00, 0x02, 0x00, 0x00,       /* mov [rcx+512], r8 */
  0x48, 0x89, 0x81, 0x08, 0x02, 0x00, 0x00,       /* mov [rcx+520], rax */
  0x48, 0x0f, 0xae, 0x01,                         /* fxsave64 [rcx] */
  0xdb, 0xe3, 0xc3,                               /* fninit; ret */
};

static uint64_t landing;
static volatile uint32_t trapped;

static void on_signal(int sig, siginfo_t *info, void *context) {
  (void)info;
  ucontext_t *uc = context;
  if (trapped) abort();
  trapped = (uint32_t)sig;
  uc->uc_mcontext.gregs[REG_RIP] = (greg_t)landing;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
  if (!in || !out) return 2;
  uint8_t *page = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return 2;
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGFPE, &action, 0);
  sigaction(SIGILL, &action, 0);
  sigaction(SIGSEGV, &action, 0);

  struct test_case c;
  static struct image before, after;
  static uint8_t mem[64] __attribute__((aligned(64)));
  while (fread(&c, sizeof c, 1, in) == 1) {
    memset(&before, 0, sizeof before);
    before.fcw = c.fcw;
    before.fsw = c.fsw;
    before.ftw = c.ftw;
    before.mxcsr = c.mxcsr;
    memcpy(before.st, c.st, sizeof c.st);
    memcpy(before.xmm, c.xmm, sizeof c.xmm);
    before.eflags = (c.eflags & 0x8d5) | 0x202;
    before.rax = c.rax;
    memcpy(mem, c.mem, sizeof c.mem);
    uint8_t *p = page;
    memcpy(p, PROLOGUE, sizeof PROLOGUE);
    p += sizeof PROLOGUE;
    memcpy(p, c.code, c.len);
    p += c.len;
    landing = (uint64_t)p;
    memcpy(p, EPILOGUE, sizeof EPILOGUE);
    trapped = 0;
    __builtin___clear_cache((char *)page, (char *)page + 4096);
    ((void (*)(void *, void *, void *, void *))(uintptr_t)page)(&before, 0, mem, &after);
    c.fcw = after.fcw;
    c.fsw = after.fsw;
    c.ftw = after.ftw;
    c.mxcsr = after.mxcsr;
    memcpy(c.st, after.st, sizeof c.st);
    memcpy(c.xmm, after.xmm, sizeof c.xmm);
    c.eflags = (uint32_t)after.eflags & 0x8d5;
    c.rax = after.rax;
    memcpy(c.mem, mem, sizeof c.mem);
    c.trap = trapped;
    if (fwrite(&c, sizeof c, 1, out) != 1) return 2;
  }
  return fclose(out);
}
