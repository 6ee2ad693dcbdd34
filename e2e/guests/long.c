/* 64-bit mode: page fault error codes, NX, WP, SMEP, SMAP, large pages, SYSCALL, SYSENTER, IST, compatibility mode. */
#include "lib/kernel.h"

extern u64 boot_pml4[], boot_pdpt[], boot_pd[];
static u64 table[512] __attribute__((aligned(4096))), giant[512] __attribute__((aligned(4096)));
static u8 page[4096] __attribute__((aligned(4096)));
#define VA 0x8000000000ull /* slot 1 of the PML4: the tests' own */
#define PT_VA (VA + 0x40000000)
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, LARGE = 0x80 };
#define NX (1ull << 63)
static u64 directory[512] __attribute__((aligned(4096)));

static void invalidate(u64 va) { asm volatile("invlpg (%0)" : : "r"(va) : "memory"); }
static void map(u64 flags) {
  table[0] = (u64)page | flags;
  invalidate(PT_VA);
}
#define READ(va) (void)*(volatile u8 *)(va)
#define WRITE(va) (*(volatile u8 *)(va) = 1)
#define EXPECT_PF(name, error, ...) do { expect_fault(name, FAULT_OF(__VA_ARGS__), PF, error); } while (0)
#define EXPECT_NONE(name, ...) expect_fault(name, FAULT_OF(__VA_ARGS__), NONE, 0)

static void user_read(void) { asm volatile("movb (%0), %%al; int $0x30" : : "r"(PT_VA) : "eax"); }
static void user_write(void) { asm volatile("movb $1, (%0); int $0x30" : : "r"(PT_VA)); }
static void user_run(void) { asm volatile("jmp *%0" : : "r"(PT_VA)); }
static void call_page(void) { ((void (*)(void))PT_VA)(); }

static u8 ist_stack[4096] __attribute__((aligned(16)));
static void use_ist(int vector, int ist) { idt[vector].high = (idt[vector].high & ~7u) | ist; }

static void paging(void) {
  tss.ist[0] = (u64)ist_stack + sizeof ist_stack;
  boot_pml4[1] = (u64)giant | 7;
  giant[1] = (u64)directory | 7;
  directory[0] = (u64)table | 7;
  page[0] = 0xc3; /* ret */
  map(0);
  EXPECT_PF("#PF: read of a page not present", 0, READ(PT_VA));
  expect("#PF: CR2", fault.cr2, PT_VA);
  EXPECT_PF("#PF: write of a page not present", 2, WRITE(PT_VA + 5));
  expect("#PF: CR2 to the byte", fault.cr2, PT_VA + 5);
  expect_fault("#PF: ring 3 reads a page not present", in_user(user_read), PF, 4);
  expect_fault("#PF: ring 3 writes a page not present", in_user(user_write), PF, 6);
  expect_fault("#PF: ring 3 fetches from a page not present", in_user(user_run), PF, 0x14);
  map(P | W);
  EXPECT_NONE("supervisor page: ring 0", WRITE(PT_VA + 1));
  expect("accessed and dirty", table[0] & (A | D), A | D);
  expect_fault("supervisor page: ring 3 reads", in_user(user_read), PF, 5);
  expect_fault("supervisor page: ring 3 fetches", in_user(user_run), PF, 0x15);
  map(P | U);
  READ(PT_VA);
  expect("a read sets accessed alone", table[0] & (A | D), A);
  EXPECT_NONE("read-only page: ring 0 writes without WP", WRITE(PT_VA + 1));
  WRITE_REG(cr0, READ_REG(cr0) | 0x10000);
  map(P | U);
  EXPECT_PF("read-only page: ring 0 writes with WP", 3, WRITE(PT_VA));
  expect("a refused write leaves dirty clear", table[0] & D, 0);
  expect_fault("read-only page: ring 3 writes", in_user(user_write), PF, 7);
  expect_fault("read-only page: ring 3 reads", in_user(user_read), DONE, 0);
  map(P | W | U | NX);
  EXPECT_PF("NX: fetch", 0x11, call_page());
  expect("NX: IP of the fault", fault.ip, PT_VA);
  EXPECT_NONE("NX: read and write", READ(PT_VA); WRITE(PT_VA + 1));
  map(P | W | U);
  EXPECT_NONE("fetch without NX", call_page());
  directory[0] |= NX;
  invalidate(PT_VA);
  EXPECT_PF("NX in the directory", 0x11, call_page());
  directory[0] = (u64)table | 7;
  map(P | W | 1ull << 51);
  EXPECT_PF("reserved bit", 9, READ(PT_VA));
  directory[0] = 0x200000 | P | W | LARGE | 0x2000; /* bit 13 of a 2 MiB page */
  invalidate(PT_VA);
  EXPECT_PF("reserved bit of a 2 MiB page", 9, READ(PT_VA));
  directory[0] = 0 | P | W | LARGE;
  invalidate(PT_VA);
  expect("a 2 MiB page", *(volatile u32 *)(PT_VA + (u64)page), *(u32 *)page);
  directory[0] = (u64)table | 7;
  giant[2] = 0 | P | W | LARGE;
  u32 leaf[4];
  cpuid(0x80000001, 0, leaf);
  if (leaf[3] >> 26 & 1) {
    expect("a 1 GiB page", *(volatile u32 *)(VA + 0x80000000 + (u64)page), *(u32 *)page);
    giant[2] |= 0x2000;
    invalidate(VA + 0x80000000);
    EXPECT_PF("reserved bit of a 1 GiB page", 9, READ(VA + 0x80000000));
  } else {
    skip("a 1 GiB page");
    skip("reserved bit of a 1 GiB page");
  }
  giant[2] = 0;
  EXPECT_NONE("the TLB may keep a page until INVLPG", { map(P | W); READ(PT_VA); });
  map(0);
  EXPECT_PF("INVLPG drops it", 0, READ(PT_VA));
  expect_fault("#GP: an address that is not canonical", FAULT_OF(READ(0x800000000000ull)), GP, 0);
  use_ist(SS, 1); /* RSP is of no use to the handler */
  expect_fault("#SS: the same by RSP", FAULT_OF(asm volatile("mov %0, %%rsp; pop %%rax" : : "r"(0x800000000000ull))), SS, 0);
  use_ist(SS, 0);
  EXPECT_PF("#PF: the highest canonical address of the lower half", 0, READ(0x7fffffffffffull));
  /* an access across two pages, the second not present: nothing is written */
  map(P | W);
  table[1] = 0;
  invalidate(PT_VA + 4096);
  page[4095] = 0x77;
  EXPECT_PF("a write across pages faults at the second", 2, *(volatile u32 *)(PT_VA + 4095) = 0);
  expect("CR2 is the second page", fault.cr2, PT_VA + 4096);
  expect("and nothing is written", page[4095], 0x77);
}

/* The lower half becomes the supervisor's; PT_VA stays a user page. */
static void smep_smap(void) {
  u32 leaf[4];
  cpuid(7, 0, leaf);
  map(P | W | U);
  page[0] = 0xc3;
  boot_pml4[0] &= ~(u64)U;
  WRITE_REG(cr3, READ_REG(cr3));
  EXPECT_NONE("user page without SMEP and SMAP: ring 0", call_page(); WRITE(PT_VA + 1));
  if (leaf[1] >> 7 & 1) {
    WRITE_REG(cr4, READ_REG(cr4) | 1 << 20);
    EXPECT_PF("SMEP: ring 0 fetches from a user page", 0x11, call_page());
    EXPECT_NONE("SMEP: ring 0 reads it", READ(PT_VA));
    WRITE_REG(cr4, READ_REG(cr4) & ~(1 << 20));
  } else {
    skip("SMEP: ring 0 fetches from a user page");
    skip("SMEP: ring 0 reads it");
  }
  if (leaf[1] >> 20 & 1) {
    WRITE_REG(cr4, READ_REG(cr4) | 1 << 21);
    EXPECT_PF("SMAP: ring 0 reads a user page", 1, READ(PT_VA));
    EXPECT_PF("SMAP: ring 0 writes a user page", 3, WRITE(PT_VA));
    EXPECT_NONE("SMAP: ring 0 fetches from it", call_page());
    EXPECT_NONE("SMAP: STAC allows it", asm volatile("stac"); WRITE(PT_VA + 1); asm volatile("clac"));
    EXPECT_PF("SMAP: CLAC forbids it", 1, asm volatile("stac; clac"); READ(PT_VA));
    WRITE_REG(cr4, READ_REG(cr4) & ~(1 << 21));
    expect_fault("SMAP: #UD of STAC never comes in ring 0", FAULT_OF(asm volatile("stac; clac")), NONE, 0);
  } else {
    skip("SMAP");
  }
  boot_pml4[0] |= U;
  WRITE_REG(cr3, READ_REG(cr3));
}

extern char syscall_entry[], syscall_user[], sysenter_entry[], sysenter_user[], compat_user[], compat_stack_end[];
u64 sys_rcx, sys_r11, sys_cs, sys_ss, sys_flags, user_rsp, kernel_rsp;
asm(".code64\n"
    "syscall_entry: mov %rcx, sys_rcx; mov %r11, sys_r11; mov %cs, sys_cs; mov %ss, sys_ss\n"
    "  mov %rsp, user_rsp; mov $interrupt_stack + 8192, %rsp; pushfq; pop sys_flags; mov user_rsp, %rsp\n"
    "  or $0x10000, %r11; sysretq\n"
    "syscall_user: stc; syscall; pushfq; pop %rdi; mov %cs, %esi; int $0x30\n"
    "sysenter_entry: mov %rsp, kernel_rsp; mov %cs, sys_cs; mov %ss, sys_ss\n"
    "  mov $sysexit_back, %edx; mov %rbp, %rcx; rex.w sysexit\n"
    "sysenter_user: mov %rsp, %rbp; sysenter; ud2\n"
    "sysexit_back: mov %cs, %esi; int $0x30\n"
    ".code32\n"
    "compat_user: mov $0xffffffff, %eax; inc %eax; .byte 0x40; mov %eax, %ebx; mov %cs, %esi; int $0x30\n"
    ".code64\n");

static struct frame saved;
static int save_frame(struct frame *frame) { saved = *frame; return 1; }

static void system_calls(void) {
  handlers[DONE] = save_frame;
  wrmsr(0xc0000081, (u64)(USER_CS32 - 0) << 48 | (u64)KERNEL_CS32 << 32);
  wrmsr(0xc0000082, (u64)syscall_entry);
  wrmsr(0xc0000084, 0x1);
  /* SYSCALL's CS is KERNEL_CS32's slot; its descriptor is not looked at in 64-bit mode */
  expect_fault("SYSCALL: there and back", in_user((void *)syscall_user), DONE, 0);
  expect("SYSCALL: RCX is the address behind", sys_rcx, (u64)syscall_user + 3);
  expect("SYSCALL: R11 has the flags", sys_r11 & 1, 1);
  expect("SYSCALL: IA32_FMASK clears CF", sys_flags & 1, 0);
  expect("SYSCALL: CS", sys_cs & 0xffff, KERNEL_CS32);
  expect("SYSCALL: SS", sys_ss & 0xffff, KERNEL_CS32 + 8);
  expect("SYSRET: CS", saved.cs, USER_CS64);
  expect("SYSRET: SS", saved.ss, USER_DS);
  expect("SYSRET: flags come back without RF", saved.di & 0x10001, 1);
  wrmsr(0xc0000080, rdmsr(0xc0000080) & ~1ull);
  expect_fault("SYSCALL without EFER.SCE", in_user((void *)syscall_user), UD, 0);
  wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
  wrmsr(0x174, 0);
  expect_fault("SYSENTER with a null IA32_SYSENTER_CS", in_user((void *)sysenter_user), GP, 0);
  wrmsr(0x174, KERNEL_CS32);
  wrmsr(0x175, (u64)interrupt_stack + sizeof interrupt_stack);
  wrmsr(0x176, (u64)sysenter_entry);
  expect_fault("SYSENTER: there and back", in_user((void *)sysenter_user), DONE, 0);
  expect("SYSENTER: CS and SS", sys_cs << 16 | sys_ss, KERNEL_CS32 << 16 | (KERNEL_CS32 + 8));
  expect("SYSENTER: RSP", kernel_rsp, (u64)interrupt_stack + sizeof interrupt_stack);
  expect("SYSEXIT: CS and SS of 64-bit mode", saved.cs << 16 | saved.ss, (KERNEL_CS32 + 32 + 3) << 16 | (KERNEL_CS32 + 40 + 3));
  expect("SYSEXIT: RSP", saved.sp, (u64)user_stack + sizeof user_stack - 64);
  handlers[DONE] = 0;
}

static void user_nop(void) { asm volatile("int $0x30"); }
static void interrupts(void) {
  use_ist(UD, 1);
  expect_fault("IST: #UD", FAULT_OF(asm volatile("ud2")), UD, 0);
  check("IST: runs on its stack", fault.frame_sp > (u64)ist_stack && fault.frame_sp < (u64)ist_stack + sizeof ist_stack);
  check("IST: the frame has RSP and SS in ring 0 too", fault.ss == KERNEL_DS && fault.sp < 0x200000);
  use_ist(UD, 0);
  expect_fault("a stack that is not aligned", FAULT_OF(asm volatile("sub $5, %rsp; ud2")), UD, 0);
  expect("the frame is aligned", fault.frame_sp & 7, 0);
  expect_fault("INT from ring 3", in_user(user_nop), DONE, 0);
  expect("INT from ring 3: SS of the caller", fault.ss, USER_DS);
  expect_fault("#UD: PUSH ES", FAULT_OF(asm volatile(".byte 0x06")), UD, 0);
  expect_fault("#UD: AAM", FAULT_OF(asm volatile(".byte 0xd4, 10")), UD, 0);
  expect_fault("#UD: far call by immediate", FAULT_OF(asm volatile(".byte 0x9a; .long 0; .word 0")), UD, 0);
  expect_fault("#GP: CR4.PAE cleared in long mode", FAULT_OF(WRITE_REG(cr4, READ_REG(cr4) & ~0x20ull)), GP, 0);
  expect_fault("#GP: CR0.PG cleared in 64-bit mode", FAULT_OF(WRITE_REG(cr0, READ_REG(cr0) & ~0x80000000ull)), GP, 0);
  expect_fault("#GP: EFER.LME cleared while paging", FAULT_OF(wrmsr(0xc0000080, rdmsr(0xc0000080) & ~0x100ull)), GP, 0);
  expect_fault("#GP: a base that is not canonical", FAULT_OF(wrmsr(0xc0000100, 0x800000000000ull)), GP, 0);
  expect_fault("#GP: CR3 beyond the physical addresses", FAULT_OF(WRITE_REG(cr3, 1ull << 60)), GP, 0);
  wrmsr(0xc0000101, (u64)page - 0x10);
  page[8] = 0x42;
  u8 byte;
  asm volatile("movb %%gs:0x18, %0" : "=r"(byte));
  expect("GS base by MSR", byte, 0x42);
  wrmsr(0xc0000102, 0x1234);
  asm volatile("swapgs");
  expect("SWAPGS", rdmsr(0xc0000101), 0x1234);
}

static u8 low_stack[512] __attribute__((aligned(16)));
static void enter_compat(void) { enter_user((void *)compat_user, low_stack + sizeof low_stack, USER_CS32, 2); }
static void compatibility(void) {
  handlers[DONE] = save_frame;
  expect_fault("compatibility mode: INT", guarded(enter_compat), DONE, 0);
  expect("compatibility mode: 0x40 is INC", saved.bx, 1);
  expect("compatibility mode: CS", saved.cs, USER_CS32);
  handlers[DONE] = 0;
}

void main(void) {
  paging();
  smep_smap();
  system_calls();
  interrupts();
  compatibility();
}
