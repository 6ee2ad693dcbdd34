/* Hardware task switching (SDM Vol. 3A, Task Management): JMP, CALL, IRET, task gates, faults as tasks. */
#include "lib/kernel.h"

static struct tss32 other, fault_task;
static u8 other_stack[4096] __attribute__((aligned(16))), fault_stack[4096] __attribute__((aligned(16)));
#define OTHER GDT_FREE
#define FAULT_TASK (GDT_FREE + 8)
#define GATE (GDT_FREE + 16)
#define LDT (GDT_FREE + 24)

volatile u32 steps;
u32 seen[10];

static void prepare(struct tss32 *task, int slot, void (*code)(void), u8 *stack) {
  memset(task, 0, sizeof *task);
  task->eip = (u32)code;
  task->esp = (u32)stack;
  task->eflags = 2;
  task->cs = KERNEL_CS;
  task->ss = task->ds = task->es = KERNEL_DS;
  task->cr3 = READ_REG(cr3);
  task->eax = 0x11111111, task->edx = 0x33333333, task->ebx = 0x44444444;
  task->io_base = sizeof *task;
  gdt[slot / 8] = descriptor((u32)task, sizeof *task - 1, 0x89, 0);
}

static int busy(int slot) { return gdt[slot / 8] >> 41 & 1; }

/* Notes its registers, then goes back by IRET; each further switch continues after that IRET. */
extern char other_code[];
asm("other_code:\n"
    "  movl %eax, seen; movl %edx, seen+4; movl %ebx, seen+8; str seen+12; pushf; popl seen+16\n"
    "  movl %cr0, %ecx; movl %ecx, seen+20; sldt seen+24\n"
    "1: incl steps; iret; addl $16, steps; jmp 1b\n");

static void calls(void) {
  prepare(&other, OTHER, (void *)other_code, other_stack + sizeof other_stack);
  static u64 ldt[2];
  gdt[LDT / 8] = descriptor((u32)ldt, 15, 0x82, 0);
  other.ldt = LDT;
  u32 ebx_after = 0;
  asm volatile("movl $0x77, %%ebx; lcall %1, $0; movl %%ebx, %0" : "=r"(ebx_after) : "i"(OTHER) : "ebx", "memory");
  expect("CALL TSS: ran", steps, 1);
  expect("CALL TSS: EAX from the TSS", seen[0], 0x11111111);
  expect("CALL TSS: EDX from the TSS", seen[1], 0x33333333);
  expect("CALL TSS: EBX from the TSS", seen[2], 0x44444444);
  expect("CALL TSS: task register", seen[3] & 0xffff, OTHER);
  expect("CALL TSS: NT", seen[4] & 0x4000, 0x4000);
  expect("CALL TSS: CR0.TS", seen[5] & 8, 8);
  expect("CALL TSS: LDTR", seen[6] & 0xffff, LDT);
  expect("CALL TSS: back link", other.link & 0xffff, KERNEL_TSS);
  expect("IRET: EBX of the caller", ebx_after, 0x77);
  expect("IRET: the other task is free", busy(OTHER), 0);
  expect("IRET: this task is busy", busy(KERNEL_TSS), 1);
  expect("IRET: NT is clear here", FLAGS() & 0x4000, 0);
  expect("IRET: NT saved clear there", other.eflags & 0x4000, 0);
  asm volatile("clts; lcall %0, $0" : : "i"(OTHER) : "memory");
  expect("CALL TSS again: continues after its IRET", steps, 18);
}

static void jumps(void) {
  /* The other task jumps back by its JMP */
  extern char jump_code[];
  prepare(&other, OTHER, (void *)jump_code, other_stack + sizeof other_stack);
  asm volatile("jmp 2f; jump_code: incl steps; ljmp %0, $0; 2: ljmp %1, $0" : : "i"(KERNEL_TSS), "i"(OTHER) : "memory");
  expect("JMP TSS: there and back", steps, 19);
  expect("JMP TSS: no back link", other.link & 0xffff, 0);
  expect("JMP TSS: the task left is free", busy(OTHER), 0);
  expect("JMP TSS: no NT", FLAGS() & 0x4000, 0);
}

static void gates(void) {
  prepare(&other, OTHER, (void *)other_code, other_stack + sizeof other_stack);
  gdt[GATE / 8] = (u64)OTHER << 16 | 0x8500ull << 32;
  asm volatile("lcall %0, $0" : : "i"(GATE) : "memory");
  expect("task gate in the GDT", steps, 20);
  idt[0x40].low = OTHER << 16;
  idt[0x40].high = 0x8500;
  asm volatile("int $0x40" : : : "memory");
  expect("task gate in the IDT", steps, 37);
}

static void faults(void) {
  prepare(&other, OTHER, (void *)other_code, other_stack + sizeof other_stack);
  gdt[OTHER / 8] |= 2ull << 40;
  expect_fault("CALL of a busy task", FAULT_OF(asm volatile("lcall %0, $0" : : "i"(OTHER))), GP, OTHER);
  gdt[OTHER / 8] &= ~(0x82ull << 40);
  expect_fault("CALL of a task that is not present", FAULT_OF(asm volatile("lcall %0, $0" : : "i"(OTHER))), NP, OTHER);
  gdt[OTHER / 8] = descriptor((u32)&other, 0x66, 0x89, 0);
  expect_fault("CALL of a TSS too small", FAULT_OF(asm volatile("lcall %0, $0" : : "i"(OTHER))), TS, OTHER);
  expect_fault("IRET with NT and a bad back link", FAULT_OF({
    tss.link = 0x18;
    asm volatile("pushf; orl $0x4000, (%esp); popf; iret");
  }), TS, 0x18);
  asm volatile("pushf; andl $~0x4000, (%esp); popf");
}

/* #DF through a task gate: the usual way to survive a broken stack. */
static void double_fault(void) {
  idt[DF].low = FAULT_TASK << 16;
  idt[DF].high = 0x8500;
  struct gate saved = idt[UD], saved_np = idt[NP];
  idt[UD].high &= ~0x8000, idt[NP].high &= ~0x8000;
  fault.vector = NONE;
  fault.error = 99;
  /* the task resumes UD2 by IRET: repair the gate there by stepping over it in its TSS */
  extern char after_ud2[];
  extern char df_code[];
  prepare(&fault_task, FAULT_TASK, (void *)df_code, fault_stack + sizeof fault_stack - 16);
  asm volatile("jmp 3f\n"
               "df_code: popl fault+4; movl $8, fault; movl $after_ud2, tss+32; iret\n"
               "3: ud2\n"
               "after_ud2:" : : : "memory");
  idt[UD] = saved;
  idt[NP] = saved_np;
  expect("#DF by a task gate", fault.vector, DF);
  expect("#DF by a task gate: error code 0 on the task's stack", fault.error, 0);
  expect("#DF by a task gate: EIP of the faulting instruction", tss.eip, (u32)after_ud2);
}

void main(void) {
  calls();
  jumps();
  gates();
  faults();
  double_fault();
}
