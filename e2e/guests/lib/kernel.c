/* The runtime's C half; see kernel.h. */
#include "kernel.h"

struct fault fault;
handler handlers[64];
word guard_stack;
struct gate idt[256] __attribute__((aligned(16)));
u8 user_stack[4096] __attribute__((aligned(16))), interrupt_stack[8192] __attribute__((aligned(16)));
extern word vector_stubs[64];
static int failures;

#ifdef __x86_64__
struct tss64 tss;
#else
struct tss32 tss;
u32 boot_directory[1024] __attribute__((aligned(4096)));
#endif

void *memset(void *to, int value, unsigned long count) {
  void *at = to;
  asm volatile("rep stosb" : "+D"(at), "+c"(count) : "a"(value) : "memory");
  return to;
}

void *memcpy(void *to, const void *from, unsigned long count) {
  void *at = to;
  asm volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(count) : : "memory");
  return to;
}

int same_text(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

void print(const char *text) {
  for (; *text; text++) {
    while (!(inb(0x3fd) & 0x20));
    outb(0x3f8, *text);
  }
}

void print_hex(u64 value) {
  char text[17];
  int at = 16;
  text[16] = 0;
  do text[--at] = "0123456789abcdef"[value & 15];
  while (value >>= 4);
  print("0x");
  print(text + at);
}

void check(const char *name, int good) {
  if (!good) failures++;
  print(good ? "PASS " : "FAIL ");
  print(name);
  print("\n");
}

void expect(const char *name, u64 got, u64 wanted) {
  if (got == wanted) return check(name, 1);
  failures++;
  print("FAIL ");
  print(name);
  print(": got ");
  print_hex(got);
  print(", wanted ");
  print_hex(wanted);
  print("\n");
}

void expect_fault(const char *name, int vector, int wanted, word error) {
  expect(name, (u64)(u32)vector << 32 | (vector == NONE ? 0 : (u32)fault.error), (u64)(u32)wanted << 32 | (u32)error);
}

void skip(const char *name) {
  print("SKIP ");
  print(name);
  print("\n");
}

/* isa-debug-exit makes (v << 1) | 1 of it: 1 for success, 3 for failures. */
void finish(void) {
  print(failures ? "DONE with failures\n" : "DONE\n");
  outb(0xf4, failures ? 1 : 0);
  for (;;) asm volatile("cli; hlt");
}

int on_exception(struct frame *frame) {
  handler own = frame->vector < 64 ? handlers[frame->vector] : 0;
  if (own && own(frame) == 0) return 0;
  fault.vector = frame->vector;
  fault.error = frame->error;
  fault.ip = frame->ip;
  fault.cs = frame->cs;
  fault.flags = frame->flags;
  fault.sp = frame->sp;
  fault.ss = frame->ss;
  fault.cr2 = READ_REG(cr2);
  fault.frame_sp = (word)frame;
  if (guard_stack) return 1;
  failures++;
  print("FAIL unexpected exception ");
  print_hex(frame->vector);
  print(" error ");
  print_hex(frame->error);
  print(" at ");
  print_hex(frame->ip);
  print("\n");
  finish();
}

int guarded(void (*f)(void)) {
  fault.vector = NONE;
  call_guarded(f);
  return fault.vector;
}

static void (*user_code)(void);
static void go_to_user(void) { enter_user(user_code, user_stack + sizeof user_stack - 64, USER_CS, 0x2); }
int in_user(void (*code)(void)) {
  user_code = code;
  return guarded(go_to_user);
}

u64 descriptor(u32 base, u32 limit, u8 access, u8 flags) {
  return (u64)(limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)access << 40 | (u64)(limit >> 16 & 15) << 48 |
         (u64)(flags & 15) << 52 | (u64)(base >> 24) << 56;
}

void set_gate(int vector, void *code, u16 selector, u8 access) {
  word at = (word)code;
  idt[vector].low = (u32)selector << 16 | (at & 0xffff);
  idt[vector].high = (at & 0xffff0000) | (u32)access << 8;
#ifdef __x86_64__
  idt[vector].top = at >> 32;
#endif
}

void load_tss(void) {
  tss.io_base = sizeof tss;
#ifdef __x86_64__
  tss.rsp[0] = (word)interrupt_stack + sizeof interrupt_stack;
#else
  tss.esp0 = (word)interrupt_stack + sizeof interrupt_stack;
  tss.ss0 = KERNEL_DS;
  tss.cr3 = (u32)boot_directory;
#endif
  gdt[KERNEL_TSS / 8] = descriptor((u32)(word)&tss, sizeof tss - 1, 0x89, 0);
  asm volatile("ltr %w0" : : "r"(KERNEL_TSS));
}

void runtime_main(void) {
  for (int vector = 0; vector < 64; vector++) set_gate(vector, (void *)vector_stubs[vector], KERNEL_CS, 0x8e);
  set_gate(BP, (void *)vector_stubs[BP], KERNEL_CS, 0xee);
  set_gate(OF, (void *)vector_stubs[OF], KERNEL_CS, 0xee);
  set_gate(DONE, (void *)vector_stubs[DONE], KERNEL_CS, 0xee);
  struct __attribute__((packed)) { u16 limit; word base; } pointer = {sizeof idt - 1, (word)idt};
  asm volatile("lidt %0" : : "m"(pointer));
#ifndef __x86_64__
  /* Everything is mapped to itself by 4 MiB pages: hypervisors emulate what runs without paging, and less exactly. */
  for (u32 i = 0; i < 1024; i++) boot_directory[i] = i << 22 | 0x87;
  WRITE_REG(cr4, CR4_BASE);
  WRITE_REG(cr3, boot_directory);
  WRITE_REG(cr0, READ_REG(cr0) | 0x80000000);
#endif
  load_tss();
  /* The interrupt controllers of a PC come up with vectors of exceptions: out of the way with them. */
  outb(0x21, 0xff);
  outb(0xa1, 0xff);
  main();
  finish();
}
