/* Exceptions of every class with their error codes, segmentation, call gates, debug registers (SDM Vol. 3A). */
#include "lib/kernel.h"

#define SLOT(n) (GDT_FREE + 8 * (n))
u8 area[8192] __attribute__((aligned(4096)));

static void set_slot(int n, u32 base, u32 limit, u8 access, u8 flags) { gdt[SLOT(n) / 8] = descriptor(base, limit, access, flags); }
#define LOAD_FS(sel) asm volatile("movw %w0, %%fs" : : "r"(sel))
#define READ_FS(at) ({ u32 v_; asm volatile("movl %%fs:(%1), %0" : "=r"(v_) : "r"(at)); v_; })
#define READ_FS8(at) ({ u8 v_; asm volatile("movb %%fs:(%1), %0" : "=q"(v_) : "r"(at)); v_; })
#define WRITE_FS(at, value) asm volatile("movl %1, %%fs:(%0)" : : "r"(at), "r"(value) : "memory")
#define EXPECT_FAULT(name, wanted, error, ...) expect_fault(name, FAULT_OF(__VA_ARGS__), wanted, error)

static void classes(void) {
  EXPECT_FAULT("#DE: division by zero", DE, 0, asm volatile("xor %%edx, %%edx; xor %%ecx, %%ecx; mov $1, %%eax; div %%ecx" : : : "eax", "ecx", "edx"));
  EXPECT_FAULT("#DE: quotient of IDIV too large", DE, 0, asm volatile("mov $0x80000000, %%eax; cdq; mov $-1, %%ecx; idiv %%ecx" : : : "eax", "ecx", "edx"));
  EXPECT_FAULT("#DE: AAM 0", DE, 0, asm volatile(".byte 0xd4, 0" : : : "eax"));
  EXPECT_FAULT("#DB: INT1", DB, 0, asm volatile(".byte 0xf1"));
  static word at;
  EXPECT_FAULT("#BP: INT3", BP, 0, asm volatile("movl $1f, %0; int3; 1:" : "=m"(at)));
  expect("#BP: IP is after INT3", fault.ip - at, 0);
  EXPECT_FAULT("#OF: INTO", OF, 0, asm volatile("mov $0x7fffffff, %%eax; inc %%eax; into" : : : "eax"));
  EXPECT_FAULT("INTO without overflow does nothing", NONE, 0, asm volatile("xor %%eax, %%eax; into" : : : "eax"));
  static int bounds[2] = {-5, 5};
  EXPECT_FAULT("#BR: BOUND above", BR, 0, asm volatile("bound %0, %1" : : "r"(6), "m"(bounds)));
  EXPECT_FAULT("BOUND at its bounds does nothing", NONE, 0, asm volatile("bound %0, %1; bound %2, %1" : : "r"(5), "m"(bounds), "r"(-5)));
  EXPECT_FAULT("#UD: UD2", UD, 0, asm volatile("movl $1f, %0; 1: ud2" : "=m"(at)));
  expect("#UD: IP is at UD2", fault.ip - at, 0);
  EXPECT_FAULT("#UD: LOCK of a register", UD, 0, asm volatile(".byte 0xf0, 0x01, 0xc0" : : : "eax"));
  EXPECT_FAULT("#UD: MOV to CS", UD, 0, asm volatile(".byte 0x8e, 0xc8"));
  EXPECT_FAULT("#UD: RSM outside SMM", UD, 0, asm volatile("rsm"));
  EXPECT_FAULT("#GP: an instruction of 16 bytes", GP, 0, asm volatile(".fill 15, 1, 0x3e; nop"));
  word cr0 = READ_REG(cr0);
  WRITE_REG(cr0, cr0 | 8);
  EXPECT_FAULT("#NM: x87 with CR0.TS", NM, 0, asm volatile("fnop"));
  WRITE_REG(cr0, (cr0 & ~8) | 4);
  EXPECT_FAULT("#NM: x87 with CR0.EM", NM, 0, asm volatile("fninit"));
  EXPECT_FAULT("#UD: MMX with CR0.EM", UD, 0, asm volatile("emms"));
  WRITE_REG(cr0, (cr0 & ~12) | 0x20);
  EXPECT_FAULT("#MF: pending x87 division by zero", MF, 0, {
    static u16 control = 0x37b;
    asm volatile("fninit; fldcw %0; fld1; fldz; fdivrp; fwait" : : "m"(control));
  });
  asm volatile("fninit");
  EXPECT_FAULT("#UD: SSE without CR4.OSFXSR", UD, 0, asm volatile("xorps %xmm0, %xmm0"));
  WRITE_REG(cr4, CR4_BASE | 0x600);
  EXPECT_FAULT("#XM: SSE division by zero", XM, 0, {
    static u32 mxcsr = 0x1d80;
    static float numbers[8] __attribute__((aligned(16))) = {1, 1, 1, 1};
    asm volatile("ldmxcsr %0; movaps %1, %%xmm0; divps %2, %%xmm0" : : "m"(mxcsr), "m"(numbers[0]), "m"(numbers[4]));
  });
  WRITE_REG(cr4, CR4_BASE | 0x200);
  EXPECT_FAULT("#UD: the same without CR4.OSXMMEXCPT", UD, 0, {
    static float numbers[8] __attribute__((aligned(16))) = {1, 1, 1, 1};
    asm volatile("movaps %0, %%xmm0; divps %1, %%xmm0" : : "m"(numbers[0]), "m"(numbers[4]));
  });
  EXPECT_FAULT("#GP: MOVAPS of an odd address", GP, 0, asm volatile("movaps (%0), %%xmm0" : : "r"(area + 8)));
  EXPECT_FAULT("#GP: reserved bits of MXCSR", GP, 0, { static u32 bad = 0xffffffff; asm volatile("ldmxcsr %0" : : "m"(bad)); });
  WRITE_REG(cr4, CR4_BASE);
  EXPECT_FAULT("#GP: an MSR that does not exist", GP, 0, rdmsr(0xdeadbeef));
  EXPECT_FAULT("#GP: CR0.PG without PE", GP, 0, WRITE_REG(cr0, 0x80000010));
  EXPECT_FAULT("#GP: CR0.NW without CD", GP, 0, WRITE_REG(cr0, cr0 | 0x20000000));
  EXPECT_FAULT("#GP: reserved bit of CR4", GP, 0, WRITE_REG(cr4, CR4_BASE | 0x80000000));
  EXPECT_FAULT("#UD: CR1", UD, 0, asm volatile(".byte 0x0f, 0x20, 0xc8" : : : "eax"));
}

static void user_cli(void) { asm volatile("cli"); }
static void user_int(void) { asm volatile("int $0x40"); }
static void user_int_20(void) { asm volatile("int $0x20"); }
static void user_in(void) { inb(0xe0); }
static void user_in_allowed(void) { inb(0xe0); asm volatile("int $0x30"); }
static void user_done(void) { asm volatile("int $0x30"); }
static void user_misaligned(void) { asm volatile("pushf; orl $0x40000, (%esp); popf; movl area+1, %eax"); }
static void user_popf(void) { asm volatile("pushl $0x3202; popf; pushf; popl %ebx; int $0x30"); }
static void user_kernel_ds(void) { asm volatile("mov $0x10, %eax; mov %eax, %ds"); }
static void user_lgdt(void) { asm volatile("lgdt area"); }
static void user_smsw(void) { asm volatile("smsw %%eax; int $0x30" : : : "eax"); }
static int popf_flags;
static int save_ebx(struct frame *frame) { popf_flags = frame->bx; return 1; }

static void privilege(void) {
  expect_fault("ring 3: INT through a gate of DPL 3", in_user(user_done), DONE, 0);
  expect("ring 3: CS of the frame", fault.cs, USER_CS);
  expect("ring 3: the stack of the TSS", fault.frame_sp > (word)interrupt_stack && fault.frame_sp < (word)interrupt_stack + sizeof interrupt_stack, 1);
  expect_fault("ring 3: CLI", in_user(user_cli), GP, 0);
  expect_fault("ring 3: INT through a gate of DPL 0", in_user(user_int_20), GP, 0x20 * 8 + 2);
  expect_fault("ring 3: INT through an empty gate", in_user(user_int), GP, 0x40 * 8 + 2);
  expect_fault("ring 3: IN without permission", in_user(user_in), GP, 0);
  tss.io_base = (u8 *)tss.io_map - (u8 *)&tss;
  memset(tss.io_map, 0xff, sizeof tss.io_map);
  tss.io_map[0xe0 / 8] = 0xfe;
  expect_fault("ring 3: IN that the I/O map allows", in_user(user_in_allowed), DONE, 0);
  tss.io_map[0xe0 / 8] = 0xff;
  expect_fault("ring 3: IN that the I/O map forbids", in_user(user_in_allowed), GP, 0);
  tss.io_base = sizeof tss;
  handlers[DONE] = save_ebx;
  in_user(user_popf);
  handlers[DONE] = 0;
  expect("ring 3: POPF leaves IOPL and IF", popf_flags & 0x3200, 0);
  expect_fault("ring 3: kernel's data segment", in_user(user_kernel_ds), GP, 0x10);
  expect_fault("ring 3: LGDT", in_user(user_lgdt), GP, 0);
  u32 leaf[4];
  cpuid(7, 0, leaf);
  if (leaf[2] & 4) {
    WRITE_REG(cr4, CR4_BASE | 0x800);
    expect_fault("ring 3: SMSW with UMIP", in_user(user_smsw), GP, 0);
    WRITE_REG(cr4, CR4_BASE);
  } else skip("ring 3: SMSW with UMIP");
  expect_fault("ring 3: SMSW without UMIP", in_user(user_smsw), DONE, 0);
  word cr0 = READ_REG(cr0);
  WRITE_REG(cr0, cr0 | 0x40000);
  expect_fault("#AC: misaligned read in ring 3", in_user(user_misaligned), AC, 0);
  EXPECT_FAULT("no #AC in ring 0", NONE, 0, asm volatile("pushf; orl $0x40000, (%%esp); popf; movl area+1, %%eax; pushf; andl $~0x40000, (%%esp); popf" : : : "eax"));
  WRITE_REG(cr0, cr0);
}

static void user_push(void) { asm volatile("movw %w0, %%ss; movl $0x104, %%esp; pushl %%eax" : : "r"(SLOT(14) + 3)); }
static void user_ebp(void) { asm volatile("movw %w0, %%ss; movl $0x100, %%ebp; movl (%%ebp), %%eax" : : "r"(SLOT(14) + 3) : "eax"); }
static void segments(void) {
  set_slot(0, (u32)area, 0xff, 0x93, 4);
  set_slot(1, (u32)area, 0xfff, 0x97, 4);  /* expand-down, 4 GiB */
  set_slot(2, (u32)area, 0xfff, 0x97, 0);  /* expand-down, 64 KiB */
  set_slot(3, (u32)area, 0xff, 0x91, 4);   /* read-only */
  set_slot(4, (u32)area, 0xff, 0x99, 4);   /* execute-only */
  set_slot(5, (u32)area, 0xff, 0x13, 4);   /* not present */
  set_slot(6, (u32)area, 1, 0x93, 0xc);    /* two pages */
  set_slot(7, (u32)area, 0xff, 0x92, 4);   /* not yet accessed */
  area[0xff] = 0x5a;
  EXPECT_FAULT("limit: the last byte", NONE, 0, LOAD_FS(SLOT(0)); if (READ_FS8(0xff) != 0x5a) asm volatile("ud2"));
  EXPECT_FAULT("limit: a byte beyond", GP, 0, LOAD_FS(SLOT(0)); READ_FS8(0x100));
  EXPECT_FAULT("limit: an access across it", GP, 0, LOAD_FS(SLOT(0)); READ_FS(0xfd));
  EXPECT_FAULT("limit: offsets wrap behind 4 GiB", GP, 0, LOAD_FS(SLOT(0)); READ_FS(0xfffffffe));
  EXPECT_FAULT("limit: counted in pages", NONE, 0, LOAD_FS(SLOT(6)); READ_FS(0x1ffc));
  EXPECT_FAULT("limit: beyond its pages", GP, 0, LOAD_FS(SLOT(6)); READ_FS(0x1ffd));
  EXPECT_FAULT("expand-down: below", GP, 0, LOAD_FS(SLOT(1)); READ_FS(0xfff));
  EXPECT_FAULT("expand-down: above", NONE, 0, LOAD_FS(SLOT(1)); READ_FS(0x1000));
  EXPECT_FAULT("expand-down of 64 KiB: its end", NONE, 0, LOAD_FS(SLOT(2)); READ_FS(0xfffc));
  EXPECT_FAULT("expand-down of 64 KiB: beyond", GP, 0, LOAD_FS(SLOT(2)); READ_FS(0xfffd));
  EXPECT_FAULT("read-only: read", NONE, 0, LOAD_FS(SLOT(3)); READ_FS(0));
  EXPECT_FAULT("read-only: write", GP, 0, LOAD_FS(SLOT(3)); WRITE_FS(0, 1));
  EXPECT_FAULT("execute-only: load", GP, SLOT(4), LOAD_FS(SLOT(4)));
  EXPECT_FAULT("code segment: write", GP, 0, asm volatile("movl %%eax, %%cs:area" : : : "memory"));
  EXPECT_FAULT("#NP: segment not present", NP, SLOT(5), LOAD_FS(SLOT(5)));
  EXPECT_FAULT("#SS: stack segment not present", SS, SLOT(5), asm volatile("movw %w0, %%ss" : : "r"(SLOT(5))));
  EXPECT_FAULT("null selector: load", NONE, 0, LOAD_FS(0));
  EXPECT_FAULT("null selector: RPL 3 is null too", NONE, 0, LOAD_FS(3));
  EXPECT_FAULT("null selector: use", GP, 0, LOAD_FS(0); READ_FS(0));
  EXPECT_FAULT("null selector: into SS", GP, 0, asm volatile("movw %w0, %%ss" : : "r"(0)));
  EXPECT_FAULT("SS: read-only", GP, SLOT(3), asm volatile("movw %w0, %%ss" : : "r"(SLOT(3))));
  EXPECT_FAULT("SS: RPL is not CPL", GP, SLOT(0), asm volatile("movw %w0, %%ss" : : "r"(SLOT(0) + 3)));
  EXPECT_FAULT("selector beyond the GDT", GP, 0xfff8, LOAD_FS(0xfffb));
  EXPECT_FAULT("selector of an LDT when there is none", GP, 0x14, LOAD_FS(0x14));
  EXPECT_FAULT("selector of a system segment", GP, KERNEL_TSS, LOAD_FS(KERNEL_TSS));
  LOAD_FS(SLOT(7));
  LOAD_FS(0);
  expect("loading sets the accessed bit", gdt[SLOT(7) / 8] >> 40 & 1, 1);
  set_slot(14, (u32)area, 0xff, 0xf3, 4);
  expect_fault("#SS: push beyond the stack's limit", in_user(user_push), SS, 0);
  expect_fault("#SS: access by EBP beyond the limit", in_user(user_ebp), SS, 0);
  /* LAR, LSL, VERR, VERW */
  u32 rights, limit;
  u8 zf;
  asm volatile("lar %2, %0; setz %1" : "=r"(rights), "=q"(zf) : "r"(SLOT(0)));
  expect("LAR", (u64)zf << 32 | rights, 1ull << 32 | 0x409300);
  asm volatile("lsl %2, %0; setz %1" : "=r"(limit), "=q"(zf) : "r"(SLOT(6)));
  expect("LSL of pages", (u64)zf << 32 | limit, 1ull << 32 | 0x1fff);
  asm volatile("verw %w1; setz %0" : "=q"(zf) : "r"(SLOT(3)));
  expect("VERW of a read-only segment", zf, 0);
  asm volatile("verr %w1; setz %0" : "=q"(zf) : "r"(SLOT(4)));
  expect("VERR of an execute-only segment", zf, 0);
  /* an LDT */
  static u64 ldt[2];
  ldt[1] = descriptor((u32)area, 0xff, 0x93, 4);
  set_slot(8, (u32)ldt, 15, 0x82, 0);
  asm volatile("lldt %w0" : : "r"(SLOT(8)));
  EXPECT_FAULT("LDT: segment", NONE, 0, LOAD_FS(0xc); READ_FS(0));
  EXPECT_FAULT("LDT: beyond its limit", GP, 0x14, LOAD_FS(0x14));
  asm volatile("lldt %w0" : : "r"(0));
}

u32 gate_frame[8];
extern char gate_entry[], user_gate_call[], user_gate_conforming[], user_gate_denied[];
asm("gate_entry:\n"
    "  pushl %edi; pushl %ecx; pushl %ds; movl $0x10, %ecx; movl %ecx, %ds\n"
    "  lea 12(%esp), %esi; movl $gate_frame, %edi; movl $6, %ecx\n"
    "1: movl (%esi), %eax; movl %eax, (%edi); addl $4, %esi; addl $4, %edi; loop 1b\n"
    "  popl %ds; popl %ecx; popl %edi; lret $8\n"
    "user_gate_call: pushl $0x1111; pushl $0x2222; lcall $0x98+3, $0; movl %esp, %eax; int $0x30\n"
    "user_gate_denied: lcall $0xa0+3, $0\n"
    "conforming_entry: movw %cs, %ax; lret\n"
    "user_gate_conforming: lcall $0xb0, $conforming_entry; int $0x30\n");

static u32 user_eax;
static int save_eax(struct frame *frame) { user_eax = frame->ax; return 1; }
static void call_gates(void) {
  /* slots 9 to 12: gates at 0x98, 0xa0, 0xa8; conforming code at 0xb0 */
  u32 to = (u32)gate_entry;
  u64 gate = (u64)(to & 0xffff) | (u64)KERNEL_CS << 16 | 2ull << 32 | 0xec00ull << 32 | (u64)(to >> 16) << 48;
  gdt[0x98 / 8] = gate;
  gdt[0xa0 / 8] = gate & ~(0x6000ull << 32);
  gdt[0xa8 / 8] = gate & ~(0x8000ull << 32);
  gdt[0xb0 / 8] = descriptor(0, 0xfffff, 0x9f, 0xc);
  handlers[DONE] = save_eax;
  expect_fault("call gate: to ring 0 and back", in_user((void *)user_gate_call), DONE, 0);
  u32 top = (u32)user_stack + sizeof user_stack - 64;
  expect("call gate: CS of the caller", gate_frame[1] & 0xffff, USER_CS);
  expect("call gate: parameters are copied in order", (u64)gate_frame[2] << 32 | gate_frame[3], 0x222200001111ull);
  expect("call gate: ESP of the caller", gate_frame[4], top - 8);
  expect("call gate: SS of the caller", gate_frame[5] & 0xffff, USER_DS);
  expect("call gate: RET drops the parameters of both stacks", user_eax, top);
  expect_fault("call gate: DPL", in_user((void *)user_gate_denied), GP, 0xa0);
  EXPECT_FAULT("call gate: not present", NP, 0xa8, asm volatile("lcall $0xa8, $0"));
  expect_fault("conforming code: called from ring 3", in_user((void *)user_gate_conforming), DONE, 0);
  expect("conforming code: runs with the caller's CPL", user_eax & 0xffff, 0xb3);
  handlers[DONE] = 0;
  EXPECT_FAULT("far jump: to a data segment", GP, KERNEL_DS, asm volatile("ljmp $0x10, $0"));
  EXPECT_FAULT("far jump: to a null selector", GP, 0, asm volatile("ljmp $0, $0"));
  EXPECT_FAULT("far jump: beyond the limit", GP, 0, { set_slot(13, 0, 0xfff, 0x9b, 4); asm volatile("ljmp $0xb8, $0x1000"); });
}

static void *dont_inline(void *p) { asm volatile("" : "+r"(p)); return p; }
static word db_dr6[8], db_ip[8];
static int db_count;
static int on_db(struct frame *frame) {
  if (db_count < 8) db_dr6[db_count] = READ_REG(dr6), db_ip[db_count] = frame->ip;
  db_count++;
  WRITE_REG(dr6, 0xffff0ff0);
  if (frame->flags & 0x100 && db_count >= 3) frame->flags &= ~0x100;
  frame->flags |= 0x10000; /* RF: an instruction breakpoint must not hit again */
  return 0;
}

extern char db_here[], db_tf[];
static volatile u32 watched[2];
static void debug(void) {
  handlers[DB] = on_db;
  WRITE_REG(dr6, 0xffff0ff0);
  asm volatile("pushf; orl $0x100, (%%esp); popf; db_tf: nop; nop; nop; nop; nop" : : : "memory");
  expect("TF: one trap for each instruction", db_count, 3);
  expect("TF: DR6 says BS", db_dr6[0] & 0xe00f, 0x4000);
  expect("TF: the first trap comes after the first instruction", db_ip[0] - (word)db_tf, 1);
  db_count = 0;
  asm volatile("movl $0x10, %%eax; pushf; orl $0x100, (%%esp); popf; movw %%ax, %%ss; nop; nop; nop; nop" : : : "eax");
  expect("TF: MOV to SS holds the trap back for one instruction", db_ip[1] - db_ip[0], 1);
  db_count = 0;
  WRITE_REG(dr0, db_here);
  WRITE_REG(dr7, 0x2);
  asm volatile("nop; db_here: nop; nop");
  expect("DR0: instruction breakpoint hits once", db_count, 1);
  expect("DR0: before the instruction", db_ip[0] - (word)db_here, 0);
  expect("DR0: DR6", db_dr6[0] & 0xe00f, 1);
  WRITE_REG(dr7, 0);
  db_count = 0;
  WRITE_REG(dr1, &watched[0]);
  WRITE_REG(dr7, 0x8 | 0xdu << 20); /* DR1: write, 4 bytes */
  watched[0] = 5;
  expect("DR1: a write", db_count, 1);
  expect("DR1: DR6", db_dr6[0] & 0xe00f, 2);
  (void)watched[0];
  watched[1] = 1;
  expect("DR1: neither a read nor its neighbour", db_count, 1);
  ((volatile u8 *)dont_inline((void *)watched))[3] = 1;
  expect("DR1: a byte inside", db_count, 2);
  WRITE_REG(dr7, 0x8 | 0xfu << 20); /* read or write */
  (void)watched[0];
  expect("DR1: a read", db_count, 3);
  db_count = 0;
  WRITE_REG(cr4, CR4_BASE | 8);
  WRITE_REG(dr2, 0xe0);
  WRITE_REG(dr7, 0x20 | 0x2u << 24);
  outb(0xe0, 1);
  expect("DR2: an I/O port", db_count, 1);
  WRITE_REG(dr7, 0);
  EXPECT_FAULT("#UD: DR4 with CR4.DE", UD, 0, asm volatile(".byte 0x0f, 0x21, 0xe0" : : : "eax"));
  WRITE_REG(cr4, CR4_BASE);
  handlers[DB] = 0;
  WRITE_REG(dr7, 0x2000);
  EXPECT_FAULT("GD: a move of a debug register", DB, 0, asm volatile("mov %%dr0, %%eax" : : : "eax"));
  expect("GD: DR6 says BD", READ_REG(dr6) & 0x2000, 0x2000);
  WRITE_REG(dr7, 0);
  WRITE_REG(dr6, 0xffff0ff0);
}

static void gates(void) {
  struct gate saved = idt[UD];
  idt[UD].high &= ~0x8000;
  EXPECT_FAULT("#NP: a gate that is not present", NP, UD * 8 + 2 + 1, asm volatile("ud2"));
  EXPECT_FAULT("#NP: the same by INT n has no EXT", NP, UD * 8 + 2, asm volatile("int $6"));
  idt[UD] = saved;
  idt[UD].low = (idt[UD].low & 0xffff) | 0x0010 << 16;
  EXPECT_FAULT("#GP: a gate to a data segment", GP, 0x10 + 1, asm volatile("ud2"));
  idt[UD].low = (idt[UD].low & 0xffff);
  EXPECT_FAULT("#GP: a gate to a null selector", GP, 1, asm volatile("ud2"));
  idt[UD] = saved;
  idt[UD].high &= ~0x8000;
  idt[NP].high &= ~0x8000;
  EXPECT_FAULT("#DF: a fault on the way to a fault", DF, 0, asm volatile("ud2"));
  idt[UD] = saved;
  idt[NP].high |= 0x8000;
  set_gate(0x30, (void *)(((word *)0)), 0, 0); /* a vector without a handler */
  EXPECT_FAULT("#GP: an empty gate", GP, 0x30 * 8 + 2, asm volatile("int $0x30"));
}

void main(void) {
  classes();
  privilege();
  segments();
  call_gates();
  debug();
  gates();
}
