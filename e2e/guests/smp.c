/* Several vCPUs: INIT and start-up IPIs, contended LOCK, IPIs, code changed by another vCPU; the timers of a PC. */
#include "lib/processors.h"

enum { TIMER_VECTOR = 0x31, IPI_VECTOR = 0x32, IRQ_BASE = 0x20 };

volatile u32 ap_ids, turn, counter, xadd_counter, sum_wrong, go, spun, ap_ipis, bsp_ipis, stage;
volatile u64 counter8;
static u32 cpus;
#define ROUNDS 20000
static void contend(void) {
  for (int i = 0; i < ROUNDS; i++) {
    asm volatile("lock incl %0" : "+m"(counter));
    u32 one = 3;
    asm volatile("lock xaddl %0, %1" : "+r"(one), "+m"(xadd_counter));
    u32 old_low, old_high, low, high, done;
    do {
      u64 old = counter8;
      old_low = old, old_high = old >> 32;
      u64 next = old + 0x100000001ull;
      low = next, high = next >> 32;
      u8 ok;
      asm volatile("lock cmpxchg8b %1; setz %0" : "=q"(ok), "+m"(counter8), "+a"(old_low), "+d"(old_high) : "b"(low), "c"(high));
      done = ok;
    } while (!done);
  }
}

static u32 xchg(volatile u32 *at, u32 value) {
  asm volatile("xchgl %0, %1" : "+r"(value), "+m"(*at) : : "memory");
  return value;
}
static volatile u32 lock, guarded_count;
static void spinlock(void) {
  for (int i = 0; i < 5000; i++) {
    while (xchg(&lock, 1)) asm volatile("pause");
    u32 value = guarded_count;
    guarded_count = value + 1;
    asm volatile("" : : : "memory");
    lock = 0;
  }
}

/* mov eax, imm32; ret: its immediate is changed by the other vCPU */
static u8 code[8] __attribute__((aligned(64))) = {0xb8, 1, 0, 0, 0, 0xc3};
static volatile u32 code_generation, code_seen, code_wrong, straddling[2], straddle_done;
static u8 unaligned[128] __attribute__((aligned(64)));

static void run_code(void) {
  for (u32 generation = 1; generation <= 200; generation++) {
    wait_for(&code_generation, generation);
    if (generation == 0xffffffff) return;
    u32 junk[4];
    cpuid(0, 0, junk); /* serialises, as cross-modifying code asks for (SDM Vol. 3A, Handling Self- and Cross-Modifying Code) */
    u32 got = ((u32(*)(void))(u32)code)();
    if (got != generation * 3) code_wrong++;
    code_seen = generation;
  }
}

static int on_ap_ipi(struct frame *frame) {
  (void)frame;
  if (lapic(ID) >> 24) asm volatile("lock incl %0" : "+m"(ap_ipis));
  else bsp_ipis++;
  set_lapic(EOI, 0);
  return 0;
}

void ap_main(u32 number) {
  load_idt();
  set_lapic(SVR, 0x100 | SPURIOUS);
  asm volatile("lock orl %1, %0" : "+m"(ap_ids) : "r"(1 << (lapic(ID) >> 24)));
  wait_for(&stage, 1);
  contend();
  spinlock();
  for (int i = 0; i < 2000; i++) asm volatile("lock incl %0" : "+m"(*(u32 *)(unaligned + 62)));
  asm volatile("lock incl %0" : "+m"(spun));
  if (number == 1) run_code();
  asm volatile("lock incl %0" : "+m"(go));
  for (;;) asm volatile("sti; hlt");
}

static void start_others(void) {
  handlers[IPI_VECTOR] = on_ap_ipi;
  expect("local APIC: the first vCPU is number 0", lapic(ID) >> 24, 0);
  check("local APIC: version", (lapic(0x30) & 0xf0) == 0x10 && lapic(0x30) >> 16 >= 4);
  expect("IA32_APIC_BASE: boot processor, enabled, address", rdmsr(0x1b) & 0xffffff900, 0xfee00900);
  start_processors(cpus - 1);
  expect("INIT and start-up IPIs: all vCPUs run", alive, cpus - 1);
  for (u64 end = rdtsc() + 5000000000ull; ap_ids != (1u << cpus) - 2 && rdtsc() < end;);
  expect("each has its APIC id", ap_ids, (1u << cpus) - 2);
}

static void contention(void) {
  stage = 1;
  contend();
  spinlock();
  for (int i = 0; i < 2000; i++) asm volatile("lock incl %0" : "+m"(*(u32 *)(unaligned + 62)));
  wait_for(&spun, cpus - 1);
  expect("LOCK INC: no increment is lost", counter, cpus * ROUNDS);
  expect("LOCK XADD: no addition is lost", xadd_counter, cpus * ROUNDS * 3);
  expect("LOCK CMPXCHG8B: no update is lost", counter8, (u64)cpus * ROUNDS * 0x100000001ull);
  expect("XCHG as a spin lock", guarded_count, cpus * 5000);
  expect("LOCK INC across two cache lines", *(u32 *)(unaligned + 62), cpus * 2000);
}

static void cross_modify(void) {
  for (u32 generation = 1; generation <= 200; generation++) {
    *(volatile u32 *)(code + 1) = generation * 3;
    code_generation = generation;
    wait_for(&code_seen, generation);
  }
  expect("code changed by another vCPU: each change was executed", code_seen, 200);
  expect("code changed by another vCPU: never the old code", code_wrong, 0);
  wait_for(&go, cpus - 1);
}

static void ipis(void) {
  for (int i = 0; i < 100; i++) {
    u32 before = ap_ipis;
    ipi(1, IPI_VECTOR);
    wait_for(&ap_ipis, before + 1);
  }
  expect("IPIs to one vCPU that sleeps", ap_ipis, 100);
  ipi(0, 0xc0000 | IPI_VECTOR);
  wait_for(&ap_ipis, 100 + cpus - 1);
  expect("an IPI to all but this one", ap_ipis, 100 + cpus - 1);
  asm volatile("sti");
  ipi(0, 0x80000 | IPI_VECTOR);
  wait_for(&ap_ipis, 100 + 2 * (cpus - 1));
  wait_for(&bsp_ipis, 1);
  expect("an IPI to all: the others", ap_ipis, 100 + 2 * (cpus - 1));
  expect("an IPI to all: this one", bsp_ipis, 1);
  ipi(0, 0x40000 | IPI_VECTOR);
  wait_for(&bsp_ipis, 2);
  expect("an IPI to itself", bsp_ipis, 2);
  set_lapic(0xd0, 1 << 24); /* logical destination 1 */
  ipi(1, 0x800 | IPI_VECTOR);
  wait_for(&bsp_ipis, 3);
  asm volatile("cli");
  expect("an IPI to a logical destination", bsp_ipis, 3);
}

/* The handler sends itself another one, which has to wait for IRET (SDM Vol. 3A, Handling Multiple NMIs). */
static volatile u32 nmis, nmi_depth, nmi_nested;
static int on_nmi(struct frame *frame) {
  (void)frame;
  if (nmi_depth++) nmi_nested = 1;
  if (++nmis == 1) {
    ipi(0, 0x4400);
    delay(1000000);
  }
  nmi_depth--;
  return 0;
}

static void nmi(void) {
  handlers[NMI_VECTOR] = on_nmi;
  asm volatile("cli");
  ipi(0, 0x4400);
  wait_for(&nmis, 2);
  expect("NMI: comes with interrupts off, and again after IRET", nmis, 2);
  expect("NMI: not inside its handler", nmi_nested, 0);
}

static volatile u32 timer_ticks, irq_ticks, irq_vector;
static int on_timer(struct frame *frame) { (void)frame; timer_ticks++; set_lapic(EOI, 0); return 0; }
static int on_irq(struct frame *frame) {
  irq_ticks++;
  irq_vector = frame->vector;
  if (frame->vector >= 0x28) outb(0xa0, 0x20);
  outb(0x20, 0x20);
  return 0;
}
/* A level that stays would interrupt before every instruction: the third time the line falls. */
static int on_ioapic(struct frame *frame) {
  irq_vector = frame->vector;
  if (++irq_ticks == 3) outb(0x2005, 0);
  set_lapic(EOI, 0);
  return 0;
}

static void apic_timer(void) {
  handlers[TIMER_VECTOR] = on_timer;
  set_lapic(DIVIDE, 0xb);
  set_lapic(LVT_TIMER, TIMER_VECTOR);
  set_lapic(INITIAL, 100000);
  asm volatile("sti");
  wait_for(&timer_ticks, 1);
  delay(10000000);
  expect("APIC timer: one-shot fires once", timer_ticks, 1);
  expect("APIC timer: one-shot stops at zero", lapic(CURRENT), 0);
  timer_ticks = 0;
  set_lapic(LVT_TIMER, 0x20000 | TIMER_VECTOR);
  set_lapic(INITIAL, 1000000);
  for (u64 end = rdtsc() + 20000000000ull; timer_ticks < 5 && rdtsc() < end;);
  check("APIC timer: periodic goes on", timer_ticks >= 5);
  set_lapic(LVT_TIMER, 0x10000 | TIMER_VECTOR);
  set_lapic(INITIAL, 0);
  timer_ticks = 0;
  asm volatile("cli");
  u32 leaf[4];
  cpuid(1, 0, leaf);
  if (leaf[2] >> 24 & 1) {
    set_lapic(LVT_TIMER, 0x40000 | TIMER_VECTOR);
    u64 at = rdtsc() + 5000000;
    wrmsr(0x6e0, at);
    asm volatile("sti");
    wait_for(&timer_ticks, 1);
    u64 now = rdtsc();
    asm volatile("cli");
    expect("TSC deadline: fires", timer_ticks, 1);
    check("TSC deadline: not before its time", now >= at);
    expect("TSC deadline: the MSR is zero afterwards", rdmsr(0x6e0), 0);
  } else {
    skip("TSC deadline: fires");
    skip("TSC deadline: not before its time");
    skip("TSC deadline: the MSR is zero afterwards");
  }
  set_lapic(LVT_TIMER, 0x10000 | TIMER_VECTOR);
}

static void legacy_timers(void) {
  outb(0x20, 0x11), outb(0x21, IRQ_BASE), outb(0x21, 4), outb(0x21, 1);
  outb(0xa0, 0x11), outb(0xa1, IRQ_BASE + 8), outb(0xa1, 2), outb(0xa1, 1);
  for (int i = 0; i < 16; i++) handlers[IRQ_BASE + i] = on_irq;
  set_lapic(LVT_LINT0, 0x700); /* ExtINT */
  outb(0x21, 0xfe), outb(0xa1, 0xff);
  outb(0x43, 0x34), outb(0x40, 11932 & 255), outb(0x40, 11932 >> 8); /* 100 Hz */
  asm volatile("sti");
  for (u64 end = rdtsc() + 20000000000ull; irq_ticks < 5 && rdtsc() < end;) asm volatile("hlt");
  asm volatile("cli");
  check("8254: mode 2 through the 8259", irq_ticks >= 5);
  expect("8259: vector of line 0", irq_vector, IRQ_BASE);
  outb(0x43, 0x00);
  u32 first = inb(0x40);
  first |= inb(0x40) << 8;
  delay(300000);
  outb(0x43, 0x00);
  u32 second = inb(0x40);
  second |= inb(0x40) << 8;
  check("8254: the latched count goes", first != second && first <= 11932 && second <= 11932);
  outb(0x43, 0x30), outb(0x40, 0xff), outb(0x40, 0xff);
  outb(0x21, 0xff);
  outb(0x20, 0x20);
  /* channel 2 by the speaker port: the delay loop of every old kernel */
  outb(0x61, (inb(0x61) & ~2) | 1);
  outb(0x43, 0xb0), outb(0x42, 1193 & 255), outb(0x42, 1193 >> 8);
  expect("8254: channel 2 starts low", inb(0x61) & 0x20, 0);
  for (u64 end = rdtsc() + 20000000000ull; !(inb(0x61) & 0x20) && rdtsc() < end;);
  expect("8254: channel 2 ends high", inb(0x61) & 0x20, 0x20);

  volatile u32 *select = (u32 *)0xfec00000, *data = (u32 *)0xfec00010;
  *select = 1;
  expect("I/O APIC: 24 lines", *data >> 16 & 0xff, 23);
  handlers[0x35] = on_ioapic;
  irq_ticks = 0;
  *select = 0x10 + 2 * 5 + 1, *data = 0;
  *select = 0x10 + 2 * 5, *data = 0x35; /* edge, fixed, vCPU 0 */
  asm volatile("sti");
  outb(0x2005, 1);
  wait_for(&irq_ticks, 1);
  outb(0x2005, 0);
  outb(0x2005, 1);
  wait_for(&irq_ticks, 2);
  outb(0x2005, 0);
  expect("I/O APIC: each edge interrupts", irq_ticks, 2);
  asm volatile("cli");
  irq_ticks = 0;
  *select = 0x10 + 2 * 5, *data = 0x8035; /* level */
  outb(0x2005, 1);
  asm volatile("sti");
  for (u64 end = rdtsc() + 20000000000ull; irq_ticks < 3 && rdtsc() < end;);
  delay(1000000);
  asm volatile("cli");
  expect("I/O APIC: a level interrupts until it falls", irq_ticks, 3);
  *select = 0x10 + 2 * 5, *data = 0x10000;
}

static void x2apic(void) {
  u32 leaf[4];
  cpuid(1, 0, leaf);
  const char *names[] = {"x2APIC: id by MSR", "x2APIC: self IPI", "x2APIC: ICR in one write", "x2APIC: #GP for a reserved register", "x2APIC: #GP for a way back to xAPIC mode"};
  if (!(leaf[2] >> 21 & 1)) {
    for (int i = 0; i < 5; i++) skip(names[i]);
    return;
  }
  wrmsr(0x1b, rdmsr(0x1b) | 0xc00);
  expect(names[0], rdmsr(0x802), 0);
  handlers[0x33] = ({ int f_(struct frame *frame) { (void)frame; timer_ticks++; wrmsr(0x80b, 0); return 0; } f_; });
  timer_ticks = 0;
  asm volatile("sti");
  wrmsr(0x83f, 0x33);
  wait_for(&timer_ticks, 1);
  expect(names[1], timer_ticks, 1);
  u32 before = ap_ipis;
  wrmsr(0x830, 1ull << 32 | IPI_VECTOR);
  wait_for(&ap_ipis, before + 1);
  asm volatile("cli");
  expect(names[2], ap_ipis, before + 1);
  expect_fault(names[3], FAULT_OF(rdmsr(0x804)), GP, 0);
  expect_fault(names[4], FAULT_OF(wrmsr(0x1b, rdmsr(0x1b) & ~0x400ull)), GP, 0);
}

void main(void) {
  outw(0x510, 5);
  cpus = inb(0x511);
  cpus |= inb(0x511) << 8;
  start_others();
  contention();
  cross_modify();
  ipis();
  nmi();
  apic_timer();
  legacy_timers();
  x2apic();
}
