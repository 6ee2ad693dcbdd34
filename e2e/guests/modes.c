/* Virtual-8086 mode, 16-bit protected mode, real mode and PAE, all entered from 32-bit code. */
#include "lib/kernel.h"

enum { VM = 1 << 17, IF = 1 << 9, IOPL3 = 3 << 12, VIF = 1 << 19, VIP = 1 << 20 };
#define V86_AT 0x9000u /* code of the 8086 tasks: segment 0x900 */
static struct frame saved;
static int save_frame(struct frame *frame) { saved = *frame; return 1; }

/* Goes to 0900:0000 in virtual-8086 mode with these flags. */
static u32 v86_flags;
static void enter_v86(void) {
  asm volatile("movl %%esp, %%eax; pushl $0x903; pushl $0x902; pushl $0x901; pushl $0x900; pushl $0x900; pushl $0x800\n"
               "pushl %0; pushl $0x900; pushl $0; movl $0, %%eax; iret" : : "r"(v86_flags) : "eax");
}
static int v86(const u8 *code, int bytes, u32 flags) {
  memcpy((void *)V86_AT, code, bytes);
  v86_flags = flags | VM | 2;
  return guarded(enter_v86);
}
#define V86(flags, ...) ({ static const u8 code_[] = {__VA_ARGS__}; v86(code_, sizeof code_, flags); })

static void virtual_8086(void) {
  handlers[GP] = handlers[UD] = handlers[BP] = handlers[DONE] = save_frame;
  expect_fault("V86: HLT is privileged", V86(0, 0xf4), GP, 0);
  expect("V86: VM in the flags saved", saved.flags & VM, VM);
  expect("V86: CS:IP", saved.cs << 16 | saved.ip, 0x900 << 16);
  expect("V86: SS:SP", (saved.ss & 0xffff) << 16 | saved.sp, 0x900 << 16 | 0x800);
  expect("V86: ES and DS are saved", (saved.v86_es & 0xffff) << 16 | (saved.v86_ds & 0xffff), 0x900 << 16 | 0x901);
  expect("V86: FS and GS are saved", (saved.v86_fs & 0xffff) << 16 | (saved.v86_gs & 0xffff), 0x902 << 16 | 0x903);
  expect_fault("V86: CLI with IOPL 0", V86(0, 0xfa), GP, 0);
  expect_fault("V86: PUSHF with IOPL 0", V86(0, 0x9c), GP, 0);
  expect_fault("V86: INT n with IOPL 0", V86(0, 0xcd, 0x30), GP, 0);
  expect_fault("V86: IRET with IOPL 0", V86(0, 0xcf), GP, 0);
  expect_fault("V86: CLI, PUSHF, POPF with IOPL 3", V86(IOPL3, 0xfa, 0x9c, 0x9d, 0xcd, 0x30), DONE, 0);
  expect("V86: the word PUSHF leaves SP", saved.sp, 0x800);
  expect_fault("V86: INT3 needs no IOPL", V86(0, 0xcc), BP, 0);
  expect_fault("V86: IN looks at the I/O map whatever the IOPL", V86(IOPL3, 0xe4, 0xe0), GP, 0);
  tss.io_base = (u8 *)tss.io_map - (u8 *)&tss;
  memset(tss.io_map, 0xff, sizeof tss.io_map);
  tss.io_map[0xe0 / 8] = 0;
  outl(0xe0, 0x5a);
  expect_fault("V86: IN that the I/O map allows", V86(IOPL3, 0xe4, 0xe0, 0xcd, 0x30), DONE, 0);
  expect("V86: the value read", saved.ax & 0xff, 0x5a);
  expect_fault("V86: LGDT", V86(IOPL3, 0x0f, 0x01, 0x16, 0, 0), GP, 0);
  expect_fault("V86: SLDT is no instruction", V86(IOPL3, 0x0f, 0x00, 0xc0), UD, 0);
  expect_fault("V86: segments are paragraphs", V86(IOPL3, 0xb8, 0x34, 0x12, 0x8e, 0xd8, 0x8c, 0xdb, 0xcd, 0x30), DONE, 0);
  expect("V86: DS loaded without descriptor", (saved.bx & 0xffff) << 16 | (saved.v86_ds & 0xffff), 0x12341234);
  expect_fault("V86: offsets beyond 64 KiB", V86(IOPL3, 0x67, 0x8b, 0x05, 0, 0, 0, 0, 0x66, 0xbf, 0, 0, 1, 0, 0x67, 0x8a, 0x07), GP, 0);
  u32 leaf[4];
  cpuid(1, 0, leaf);
  if (leaf[3] >> 1 & 1) {
    memset(tss.redirect, 0xff, 32);
    WRITE_REG(cr4, CR4_BASE | 1);
    expect_fault("VME: STI sets VIF alone", V86(0, 0xfb, 0xcd, 0x30), GP, 0);
    /* INT with the redirection bit set still traps; clear: goes through the 8086 vector table */
    expect("VME: VIF", saved.flags & (VIF | IF), VIF);
    expect_fault("VME: STI with VIP pending", V86(VIP, 0xfb), GP, 0);
    memset(tss.redirect, 0, 32);
    *(volatile u32 *)(0x30 * 4) = 0x0900 << 16 | 0x20;
    static const u8 code[0x24] = {0xcd, 0x30, 0xf4, [0x20] = 0x5b, 0x59, 0x5a, 0xf4};
    expect_fault("VME: INT n through the 8086 table", v86(code, sizeof code, 0), GP, 0);
    expect("VME: it pushed IP", saved.bx & 0xffff, 2);
    expect("VME: and CS", saved.cx & 0xffff, 0x900);
    expect("VME: and flags with IOPL 3", saved.dx & 0x3000, 0x3000);
    expect("VME: it went on at the vector", saved.ip, 0x23);
    memset(tss.redirect, 0xff, 32);
    WRITE_REG(cr4, CR4_BASE);
  } else {
    static const char *names[] = {"VME: STI sets VIF alone", "VME: VIF", "VME: STI with VIP pending", "VME: INT n through the 8086 table", "VME: it pushed IP", "VME: and CS", "VME: and flags with IOPL 3", "VME: it went on at the vector"};
    for (int i = 0; i < 8; i++) skip(names[i]);
  }
  tss.io_base = sizeof tss;
  handlers[GP] = handlers[UD] = handlers[BP] = handlers[DONE] = 0;
}

/* Results of the 16-bit code below. */
u32 r_push, r_call, r_ip, saved_sp;
asm(".code32\n"
    "to16: pusha; mov %esp, saved_sp; ljmp $0x60, $0\n"
    "back32: mov $0x10, %eax; mov %eax, %ss; mov saved_sp, %esp; popa; ret\n"
    ".code16\n"
    "code16_base: mov $0x68, %ax; mov %ax, %ss; mov $0x800, %esp; mov %esp, %ebp\n"
    "  mov $0x11112222, %eax; push %ax; mov %esp, %ebx; add $2, %sp; sub %ebx, %ebp; addr32 mov %ebp, r_push\n"
    "  call 1f; 1: pop %ax; movzwl %ax, %eax; sub $1b - code16_base, %eax; addr32 mov %eax, r_call\n"
    "  mov $5, %al; addr32 mov %al, r_ip\n"
    "  data32 ljmp $0x08, $back32\n"
    ".code32\n");
static u8 stack16[4096] __attribute__((aligned(16)));
extern char code16_base[], real_start[], real_end[];
void to16(void), to_real(void);

static void protected_16(void) {
  gdt[0x60 / 8] = descriptor((u32)code16_base, 0xffff, 0x9b, 0);
  gdt[0x68 / 8] = descriptor((u32)stack16, 0xffff, 0x93, 0);
  to16();
  expect("16-bit code: PUSH moves SP by 2", r_push, 2);
  expect("16-bit code: CALL pushes a word", r_call, 0);
  expect("16-bit code: 32-bit addresses by prefix", r_ip & 0xff, 5);
  /* A 16-bit stack segment under 32-bit code: only SP counts, the upper half stays */
  u32 esp;
  asm volatile("mov %%esp, %%edi; mov %w1, %%ss; mov $0xabcd0000, %%esp; push %%eax; mov %%esp, %%ebx; mov $0x10, %%ecx; mov %%ecx, %%ss; mov %%edi, %%esp; mov %%ebx, %0"
               : "=r"(esp) : "a"(0x68) : "ebx", "ecx", "edi", "memory");
  expect("16-bit stack: SP wraps, the upper half stays", esp, 0xabcdfffc);
}

/* Copied to 0x8000. Real mode: its own vector table, segments as paragraphs, 64 KiB limits kept from before. */
asm("real_start:\n"
    ".code16\n"
    "  mov %cr0, %eax; and $0x7ffffffe, %eax; mov %eax, %cr0; ljmp $0x800, $1f - real_start\n"
    "1: xor %ax, %ax; mov %ax, %ds; mov %ax, %ss; mov $0x7000, %sp; mov $0x850, %ax; mov %ax, %es\n"
    "  lidtl %cs:real_idt - real_start\n"
    "  movw $real_int - real_start, 0x40*4; movw $0x800, 0x40*4+2\n"
    "  movw $real_gp - real_start, 13*4; movw $0x800, 13*4+2; movw $real_de - real_start, 0; movw $0x800, 2\n"
    "  xor %ebx, %ebx; int $0x40; mov %ebx, 0x6f00\n"
    "  xor %edx, %edx; xor %cx, %cx; mov $1, %ax; div %cx; mov %edx, 0x6f04\n"
    "  movb $0x77, %es:0x10; mov 0x8510, %al; mov %al, 0x6f08\n"
    "  xor %esi, %esi; mov $0xffff, %di; mov (%di), %ax; mov %esi, 0x6f0c\n" /* a word at 0xffff: #GP */
    "  mov $0xffff, %ax; mov %ax, %fs; mov %fs:0x20, %al; mov 0x10, %ah; mov %ax, 0x6f10\n"
    "  smsw %ax; mov %ax, 0x6f14\n"
    "  mov %cr0, %eax; or $1, %al; mov %eax, %cr0; data32 ljmp $8, $real_back\n"
    "real_int: mov $0x1234, %bx; iret\n"
    "real_de: mov $0xde, %edx; push %bp; mov %sp, %bp; addw $2, 2(%bp); pop %bp; iret\n"
    "real_gp: mov $0x0d, %esi; push %bp; mov %sp, %bp; addw $2, 2(%bp); pop %bp; iret\n"
    ".balign 4\n"
    "real_idt: .word 0x3ff; .long 0\n"
    "real_end:\n"
    ".code32\n"
    "to_real: pusha; mov %esp, saved_sp; mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0\n"
    "  mov $0x68, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %fs; mov %eax, %gs; mov %eax, %ss; ljmp $0x70, $0\n"
    "real_back: mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %fs; mov %eax, %gs; mov %eax, %ss\n"
    "  mov saved_sp, %esp; mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0; popa; ret\n");

static void real_mode(void) {
  struct __attribute__((packed)) { u16 limit; u32 base; } pointer;
  asm volatile("sidt %0" : "=m"(pointer));
  memcpy((void *)0x8000, real_start, real_end - real_start);
  gdt[0x68 / 8] = descriptor(0, 0xffff, 0x93, 0);
  gdt[0x70 / 8] = descriptor(0x8000, 0xffff, 0x9b, 0);
  u8 byte = *(volatile u8 *)0x100010;
  to_real();
  asm volatile("lidt %0" : : "m"(pointer));
  expect("real mode: INT through the table at 0", *(u32 *)0x6f00, 0x1234);
  expect("real mode: #DE", *(u32 *)0x6f04, 0xde);
  expect("real mode: segments are paragraphs", *(u8 *)0x6f08, 0x77);
  expect("real mode: a word across 64 KiB is #GP", *(u32 *)0x6f0c, 0x0d);
  expect("real mode: above 1 MiB with A20 open", *(u8 *)0x6f10, byte);
  expect("real mode: SMSW shows PE clear", *(u16 *)0x6f14 & 1, 0);
}

static u64 pdpt[4] __attribute__((aligned(32))), directories[4][512] __attribute__((aligned(4096)));
static u64 table[512] __attribute__((aligned(4096)));
static u8 page[4096] __attribute__((aligned(4096)));
#define PAGE_VA 0x40000000u
#define NX (1ull << 63)
static void map(u64 flags) { table[0] = (u32)page | flags; asm volatile("invlpg (%0)" : : "r"(PAGE_VA) : "memory"); }
static void user_write(void) { asm volatile("movb $1, 0x40000000; int $0x30"); }
static void read_page(void) { (void)*(volatile u8 *)PAGE_VA; }
static void write_page(void) { *(volatile u8 *)PAGE_VA = 0xc3; }
static void call_page(void) { ((void (*)(void))PAGE_VA)(); }

static void pae(void) {
  WRITE_REG(cr0, READ_REG(cr0) & ~0x80000000u);
  for (int i = 0; i < 4; i++) {
    pdpt[i] = (u32)directories[i] | 1;
    for (int k = 0; k < 512; k++) directories[i][k] = ((u64)i << 30 | k << 21) | 0x87;
  }
  directories[1][0] = (u32)table | 7;
  WRITE_REG(cr4, 0x20);
  WRITE_REG(cr3, pdpt);
  wrmsr(0xc0000080, 0x800);
  WRITE_REG(cr0, READ_REG(cr0) | 0x80010000);
  map(3);
  expect_fault("PAE: supervisor page", guarded(write_page), NONE, 0);
  expect("PAE: it is that page", page[0], 0xc3);
  expect_fault("PAE: ring 3 writes a supervisor page", in_user(user_write), PF, 7);
  map(5);
  expect_fault("PAE: WP", guarded(write_page), PF, 3);
  map(7 | NX);
  expect_fault("PAE: NX", guarded(call_page), PF, 0x11);
  map(7);
  expect_fault("PAE: executable", guarded(call_page), NONE, 0);
  map(7 | 1ull << 60);
  expect_fault("PAE: reserved bit", guarded(read_page), PF, 9);
  pdpt[1] = 0;
  map(7);
  expect_fault("PAE: PDPTEs are read with CR3 alone", guarded(read_page), NONE, 0);
  WRITE_REG(cr3, pdpt);
  expect_fault("PAE: not present in the PDPT", guarded(read_page), PF, 0);
  pdpt[2] |= 2;
  expect_fault("PAE: reserved bit of a PDPTE is #GP at MOV CR3", FAULT_OF(WRITE_REG(cr3, pdpt)), GP, 0);
  pdpt[2] &= ~2ull;
  WRITE_REG(cr0, READ_REG(cr0) & ~0x80000000u);
  WRITE_REG(cr4, CR4_BASE);
  WRITE_REG(cr3, boot_directory);
  WRITE_REG(cr0, READ_REG(cr0) | 0x80000000);
  boot_directory[0x100] = 0x40000000 | 0x2087; /* bit 13 is address bit 32 with PSE-36, reserved up to bit 21 */
  asm volatile("invlpg 0x40000000");
  boot_directory[0x100] = (u32)directories | 7;
  *(u32 *)directories = (u32)page | 5;
  WRITE_REG(cr3, boot_directory);
  expect_fault("two levels: WP", guarded(write_page), PF, 3);
  *(u32 *)directories = (u32)page | 3;
  WRITE_REG(cr3, boot_directory);
  expect_fault("two levels: ring 3 writes a supervisor page", in_user(user_write), PF, 7);
  *(u32 *)directories = 0;
  WRITE_REG(cr3, boot_directory);
  expect_fault("two levels: not present", guarded(read_page), PF, 0);
}

void main(void) {
  virtual_8086();
  protected_16();
  real_mode();
  pae();
}
