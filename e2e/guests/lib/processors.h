/*
 * Starting the other processors of a 32-bit test kernel (SDM Vol. 3A, MP Initialization): each enters ap_main(number)
 * on a stack of its own, with the descriptors and page tables of the first; and the local APIC's registers.
 */
#pragma once
#include "kernel.h"

#define CPUS_MAX 4
#define LAPIC 0xfee00000ul
enum { ID = 0x20, EOI = 0xb0, SVR = 0xf0, ICR = 0x300, ICR_HIGH = 0x310, LVT_TIMER = 0x320, LVT_LINT0 = 0x350, INITIAL = 0x380, CURRENT = 0x390, DIVIDE = 0x3e0 };
enum { SPURIOUS = 0x3f };
static inline u32 lapic(u32 at) { return *(volatile u32 *)(LAPIC + at); }
static inline void set_lapic(u32 at, u32 value) { *(volatile u32 *)(LAPIC + at) = value; }

extern u8 trampoline[], trampoline_end[];
void ap_main(u32 number) __attribute__((noreturn));
/* Processors that came up besides the first. */
volatile u32 alive;
u8 ap_stacks[CPUS_MAX][4096] __attribute__((aligned(16)));

/* Copied to 0x8000 and started there in real mode: shows that an IPI's vector gives CS and IP = 0. */
asm(".code16\n"
    "trampoline: cli; mov %cs, %ax; mov %ax, %ds; lgdtl trampoline_gdt - trampoline\n"
    "  mov %cr0, %eax; or $1, %al; mov %eax, %cr0; ljmpl $0x8, $ap32\n"
    ".balign 4\n"
    "trampoline_gdt: .word 0x50; .long gdt\n"
    "trampoline_end:\n"
    ".code32\n"
    "ap32: mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss; mov %eax, %fs; mov %eax, %gs\n"
    "  mov $0x10, %eax; mov %eax, %cr4; mov $boot_directory, %eax; mov %eax, %cr3\n"
    "  mov %cr0, %eax; or $0x80000000, %eax; and $0x9fffffff, %eax; mov %eax, %cr0\n"
    "  mov $1, %eax; lock xadd %eax, alive; inc %eax\n"
    "  mov %eax, %ecx; shl $12, %ecx; lea ap_stacks(%ecx), %esp\n"
    "  push %eax; call ap_main\n");

static void load_idt(void) {
  struct __attribute__((packed)) { u16 limit; u32 base; } pointer = {sizeof idt - 1, (u32)idt};
  asm volatile("lidt %0" : : "m"(pointer));
}

static void wait_for(volatile u32 *word, u32 value) {
  for (u64 end = rdtsc() + 20000000000ull; *word != value && rdtsc() < end;) asm volatile("pause");
}

static void delay(u32 ticks) { for (u64 end = rdtsc() + ticks; rdtsc() < end;); }

static void ipi(u32 target, u32 command) {
  set_lapic(ICR_HIGH, target << 24);
  set_lapic(ICR, command);
  while (lapic(ICR) & 0x1000);
}

/* INIT and two start-up IPIs to all others; waits until so many run. */
static void start_processors(u32 others) {
  memcpy((void *)0x8000, trampoline, trampoline_end - trampoline);
  set_lapic(SVR, 0x100 | SPURIOUS);
  ipi(0, 0xc4500);
  delay(10000000);
  ipi(0, 0xc4608); /* at 0x8000 */
  delay(1000000);
  ipi(0, 0xc4608);
  wait_for(&alive, others);
}
