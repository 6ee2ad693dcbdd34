/*
 * Litmus tests of memory order between 2 to 4 vCPUs (SDM Vol. 3A, Memory Ordering; names as in the literature: Alglave,
 * Maranget, Tautschnig, Herding Cats). What the SDM forbids must never be seen; what it allows (a load that passes an
 * older store) may be, and is only reported. Then atomic counters of all sizes and alignments, accesses that must not
 * tear, and code that another vCPU changes.
 *
 * Each vCPU of a test runs its part on BATCH sets of variables in a row, so that the parts meet in every way of which
 * two threads are capable; all meet at a barrier between batches.
 */
#include "lib/processors.h"

enum { BATCH = 128, ROUNDS = 500 };
static u32 cpus;

/* Variables of one instance, lines apart. */
struct vars { volatile u32 x, px[15], y, py[15]; };
static struct vars sets[BATCH] __attribute__((aligned(64)));
/* What the parts loaded: four registers a vCPU. */
static struct { u32 r[4], pad[12]; } out[CPUS_MAX][BATCH] __attribute__((aligned(64)));

#define STORE(where, value) asm volatile("movl %1, %0" : "=m"(where) : "i"(value) : "memory")
#define LOAD(where) ({ u32 v_; asm volatile("movl %1, %0" : "=r"(v_) : "m"(where) : "memory"); v_; })
#define XCHG(where, value) ({ u32 v_ = value; asm volatile("xchgl %0, %1" : "+r"(v_), "+m"(where) : : "memory"); })
#define MFENCE() asm volatile("mfence" : : : "memory")
#define LOCKED() asm volatile("lock orl $0, (%%esp)" : : : "memory", "cc")
#define SERIALISE() ({ u32 junk_[4]; cpuid(0, 0, junk_); asm volatile("" : : : "memory"); })

typedef void (*part)(struct vars *v, u32 *r);
#define PART(name, ...) static void name(struct vars *v, u32 *r) { (void)v, (void)r; __VA_ARGS__; }

PART(x1, STORE(v->x, 1))
PART(y1, STORE(v->y, 1))
PART(x1_y1, STORE(v->x, 1); STORE(v->y, 1))
PART(x1_ry, STORE(v->x, 1); r[0] = LOAD(v->y))
PART(y1_rx, STORE(v->y, 1); r[0] = LOAD(v->x))
PART(x1_f_ry, STORE(v->x, 1); MFENCE(); r[0] = LOAD(v->y))
PART(y1_f_rx, STORE(v->y, 1); MFENCE(); r[0] = LOAD(v->x))
PART(x1_l_ry, STORE(v->x, 1); LOCKED(); r[0] = LOAD(v->y))
PART(y1_l_rx, STORE(v->y, 1); LOCKED(); r[0] = LOAD(v->x))
PART(x1_c_ry, STORE(v->x, 1); SERIALISE(); r[0] = LOAD(v->y))
PART(y1_c_rx, STORE(v->y, 1); SERIALISE(); r[0] = LOAD(v->x))
PART(xx1_ry, XCHG(v->x, 1); r[0] = LOAD(v->y))
PART(xy1_rx, XCHG(v->y, 1); r[0] = LOAD(v->x))
PART(x1_rx_ry, STORE(v->x, 1); r[0] = LOAD(v->x); r[1] = LOAD(v->y))
PART(y1_ry_rx, STORE(v->y, 1); r[0] = LOAD(v->y); r[1] = LOAD(v->x))
PART(ry_rx, r[0] = LOAD(v->y); r[1] = LOAD(v->x))
PART(rx_ry, r[0] = LOAD(v->x); r[1] = LOAD(v->y))
PART(rx_y1, r[0] = LOAD(v->x); STORE(v->y, 1))
PART(ry_x1, r[0] = LOAD(v->y); STORE(v->x, 1))
PART(x2_y1, STORE(v->x, 2); STORE(v->y, 1))
PART(y2_rx, STORE(v->y, 2); r[0] = LOAD(v->x))
PART(y2_f_rx, STORE(v->y, 2); MFENCE(); r[0] = LOAD(v->x))
PART(x1_y2, STORE(v->x, 1); STORE(v->y, 2))
PART(y1_x2, STORE(v->y, 1); STORE(v->x, 2))
PART(x1_x2_x3, STORE(v->x, 1); STORE(v->x, 2); STORE(v->x, 3))
PART(rx_rx_rx, r[0] = LOAD(v->x); r[1] = LOAD(v->x); r[2] = LOAD(v->x))
PART(x1_rx, STORE(v->x, 1); r[0] = LOAD(v->x))
PART(x2, STORE(v->x, 2))
PART(rx_x1, r[0] = LOAD(v->x); STORE(v->x, 1))

/* The outcome of one instance: r(vcpu, n), x and y at the end. */
struct outcome { u32 *r[CPUS_MAX], x, y; };
typedef int (*verdict)(const struct outcome *o);
#define R(vcpu, n) o->r[vcpu][n]
#define VERDICT(name, condition) static int name(const struct outcome *o) { return condition; }

VERDICT(both_old, !R(0, 0) && !R(1, 0))
VERDICT(forwarded_old, R(0, 0) == 1 && R(1, 0) == 1 && !R(0, 1) && !R(1, 1))
VERDICT(own_missed, R(0, 0) != 1 || R(1, 0) != 1)
VERDICT(mp_bad, R(1, 0) == 1 && !R(1, 1))
VERDICT(lb_bad, R(0, 0) == 1 && R(1, 0) == 1)
VERDICT(s_bad, R(1, 0) == 1 && o->x == 2)
VERDICT(r_weak, o->y == 2 && !R(1, 0))
VERDICT(w22_bad, o->x == 1 && o->y == 1)
VERDICT(co_bad, R(1, 0) > R(1, 1) || R(1, 1) > R(1, 2) || o->x != 3)
VERDICT(cowr_bad, !R(0, 0) || (R(0, 0) == 2 && o->x == 1))
VERDICT(corw_bad, R(0, 0) == 1 || (R(0, 0) == 2 && o->x == 2))
VERDICT(wrc_bad, R(1, 0) == 1 && R(2, 0) == 1 && !R(2, 1))
VERDICT(rwc_weak, R(1, 0) == 1 && !R(1, 1) && !R(2, 0))
VERDICT(iriw_bad, R(2, 0) == 1 && !R(2, 1) && R(3, 0) == 1 && !R(3, 1))

struct litmus {
  const char *name;
  u32 vcpus;
  part parts[CPUS_MAX];
  verdict forbidden, allowed;
};
static const struct litmus tests[] = {
  {"SB", 2, {x1_ry, y1_rx}, 0, both_old},
  {"SB with MFENCE", 2, {x1_f_ry, y1_f_rx}, both_old, 0},
  {"SB with a LOCK instruction between", 2, {x1_l_ry, y1_l_rx}, both_old, 0},
  {"SB stored by XCHG", 2, {xx1_ry, xy1_rx}, both_old, 0},
  {"SB with CPUID", 2, {x1_c_ry, y1_c_rx}, both_old, 0},
  {"SB with forwarding", 2, {x1_rx_ry, y1_ry_rx}, own_missed, forwarded_old},
  {"MP", 2, {x1_y1, ry_rx}, mp_bad, 0},
  {"LB", 2, {rx_y1, ry_x1}, lb_bad, 0},
  {"S", 2, {x2_y1, ry_x1}, s_bad, 0},
  {"R", 2, {x1_y1, y2_rx}, 0, r_weak},
  {"R with MFENCE", 2, {x1_y1, y2_f_rx}, r_weak, 0},
  {"2+2W", 2, {x1_y2, y1_x2}, w22_bad, 0},
  {"CoWW and CoRR", 2, {x1_x2_x3, rx_rx_rx}, co_bad, 0},
  {"CoWR", 2, {x1_rx, x2}, cowr_bad, 0},
  {"CoRW", 2, {rx_x1, x2}, corw_bad, 0},
  {"WRC", 3, {x1, rx_y1, ry_rx}, wrc_bad, 0},
  {"RWC", 3, {x1, rx_ry, y1_rx}, 0, rwc_weak},
  {"RWC with MFENCE", 3, {x1, rx_ry, y1_f_rx}, rwc_weak, 0},
  {"IRIW", 4, {x1, y1, rx_ry, ry_rx}, iriw_bad, 0},
};
enum { TESTS = sizeof tests / sizeof *tests };

/* --- running the parts ------------------------------------------------------------------------------------------ */

/* What the vCPUs do next: work(number) on those below crew, all of which meet at barriers. */
static void (*volatile work)(u32 number);
static volatile u32 crew, order, arrived;
static const struct litmus *volatile current;

static void barrier(u32 *meetings) {
  u32 all = ++*meetings * crew;
  asm volatile("lock incl %0" : "+m"(arrived) : : "memory");
  while ((int)(arrived - all) < 0) asm volatile("pause");
}

static u32 seen_forbidden, seen_allowed;
static void judge(void) {
  for (u32 i = 0; i < BATCH; i++) {
    struct outcome o = {{out[0][i].r, out[1][i].r, out[2][i].r, out[3][i].r}, sets[i].x, sets[i].y};
    if (current->forbidden && current->forbidden(&o)) seen_forbidden++;
    if (current->allowed && current->allowed(&o)) seen_allowed++;
    sets[i].x = sets[i].y = 0;
  }
}

static void run_part(u32 number) {
  part body = current->parts[number];
  u32 meetings = 0;
  for (u32 round = 0; round < ROUNDS; round++) {
    barrier(&meetings);
    /* Nobody always comes first. */
    for (u32 wait = (round * (number + 1) * 7) % 64; wait > 0; wait--) asm volatile("");
    for (u32 i = 0; i < BATCH; i++) body(&sets[i], out[number][i].r);
    barrier(&meetings);
    if (number == 0) judge();
  }
}

static volatile u32 finished;
static void together(u32 count, void (*what)(u32)) {
  crew = count;
  arrived = finished = 0;
  work = what;
  asm volatile("lock incl %0" : "+m"(order) : : "memory");
  what(0);
  while (finished != cpus - 1) asm volatile("pause");
}

void ap_main(u32 number) {
  load_idt();
  set_lapic(SVR, 0x100 | SPURIOUS);
  for (u32 done = 0;;) {
    while (order == done) asm volatile("pause");
    done++;
    if (number < crew) work(number);
    asm volatile("lock incl %0" : "+m"(finished) : : "memory");
  }
}

static void say(const char *name, const char *rest) {
  print(name);
  print(rest);
}

static void memory_order(void) {
  for (u32 i = 0; i < TESTS; i++) {
    const struct litmus *test = &tests[i];
    if (test->vcpus > cpus) {
      skip(test->name);
      continue;
    }
    current = test;
    seen_forbidden = seen_allowed = 0;
    together(test->vcpus, run_part);
    if (test->forbidden) expect(test->name, seen_forbidden, 0);
    if (!test->allowed) continue;
    /* Not a check: hardware need not show what it may. */
    say("NOTE ", test->name);
    print(seen_allowed ? ": the weak outcome was seen\n" : ": the weak outcome was not seen\n");
  }
}

/* --- atomic operations ------------------------------------------------------------------------------------------ */

enum { ADDS = 20000 };
static u8 area[8192] __attribute__((aligned(4096)));
static u8 *volatile operand;
static volatile u32 operand_bytes, neighbour_lost;

static void locked_add(u8 *at, u32 bytes) {
  if (bytes == 1) asm volatile("lock addb $3, %0" : "+m"(*at) : : "memory");
  else if (bytes == 2) asm volatile("lock addw $3, %0" : "+m"(*(u16 *)at) : : "memory");
  else if (bytes == 4) asm volatile("lock addl $3, %0" : "+m"(*(u32 *)at) : : "memory");
  else {
    u64 old = *(volatile u64 *)at;
    u32 low = old, high = old >> 32;
    u8 done;
    do {
      u64 next = ((u64)high << 32 | low) + 0x300000003ull;
      asm volatile("lock cmpxchg8b %1; setz %0" : "=q"(done), "+m"(*(u64 *)at), "+a"(low), "+d"(high) : "b"((u32)next), "c"((u32)(next >> 32)) : "memory");
    } while (!done);
  }
}

static void add_part(u32 number) {
  (void)number;
  u32 meetings = 0;
  barrier(&meetings);
  for (u32 i = 0; i < ADDS; i++) locked_add(operand, operand_bytes);
}

/* Additions by each of the others, who go on until the first one has done enough beside them. */
static volatile u32 additions[CPUS_MAX], beside_done;
static void add_beside(u32 number) {
  u32 count = 0;
  for (; !beside_done; count++) locked_add(operand, operand_bytes);
  additions[number] = count;
}

/* The first stores to the bytes beside the operand, which are its own. */
static void neighbour_part(u32 number) {
  u32 meetings = 0;
  barrier(&meetings);
  if (number != 0) {
    add_beside(number);
    return;
  }
  volatile u8 *before = operand - 1, *after = operand + operand_bytes;
  for (u32 i = 0; i < ADDS; i++) {
    *before = i, *after = ~i;
    for (u32 wait = i % 8; wait > 0; wait--) asm volatile("");
    if (*before != (u8)i || *after != (u8)~i) neighbour_lost++;
  }
  beside_done = 1;
}

/* An aligned LOCK of the upper half races LOCKs of all of it: its top bit is one vCPU's to flip, the sum is less. */
static volatile u32 flips_lost;
static void halves_part(u32 number) {
  u32 meetings = 0;
  barrier(&meetings);
  if (number != 0) {
    add_beside(number);
    return;
  }
  volatile u8 *upper = (u8 *)(((u32)operand + 7) & ~7u);
  for (u32 i = 0; i < ADDS; i++) {
    u8 was;
    asm volatile("lock btsl $15, %1; setc %0" : "=q"(was), "+m"(*(volatile u32 *)upper) : : "memory", "cc");
    if (was) flips_lost++;
    asm volatile("lock btrl $15, %1; setc %0" : "=q"(was), "+m"(*(volatile u32 *)upper) : : "memory", "cc");
    if (!was) flips_lost++;
  }
  beside_done = 1;
}

static u64 operand_value(void) {
  u64 value = 0;
  for (u32 i = 0; i < operand_bytes; i++) value |= (u64)operand[i] << (8 * i);
  return value;
}
static u64 sum_of(u64 adds) {
  u64 sum = adds * 3;
  if (operand_bytes == 8) return sum + (sum << 32);
  return sum & ((1ull << (8 * operand_bytes)) - 1);
}
static void place(u32 offset, u32 bytes) {
  memset(area, 0, sizeof area);
  beside_done = 0;
  for (u32 i = 0; i < CPUS_MAX; i++) additions[i] = 0;
  operand = area + offset;
  operand_bytes = bytes;
}

static void atomics(void) {
  static const struct { const char *name; u32 offset, bytes; } cases[] = {
    {"LOCK ADD of a byte", 3, 1}, {"LOCK ADD of a word", 2, 2}, {"LOCK ADD of a word, misaligned", 1, 2},
    {"LOCK ADD of a dword", 8, 4}, {"LOCK ADD of a dword, misaligned by 1", 1, 4},
    {"LOCK ADD of a dword, misaligned by 3", 3, 4}, {"LOCK ADD of a dword across 8 bytes", 6, 4},
    {"LOCK ADD of a word across 8 bytes", 7, 2}, {"LOCK ADD of a dword across two lines", 62, 4},
    {"LOCK ADD of a dword across two pages", 4094, 4}, {"LOCK CMPXCHG8B", 16, 8},
    {"LOCK CMPXCHG8B, misaligned", 20, 8}, {"LOCK CMPXCHG8B across two pages", 4093, 8},
  };
  for (u32 i = 0; i < sizeof cases / sizeof *cases; i++) {
    place(cases[i].offset, cases[i].bytes);
    together(cpus, add_part);
    expect(cases[i].name, operand_value(), sum_of((u64)cpus * ADDS));
    place(cases[i].offset, cases[i].bytes);
    neighbour_lost = 0;
    together(cpus, neighbour_part);
    say(neighbour_lost ? "FAIL " : "PASS ", cases[i].name);
    print(": stores beside it stay\n");
    expect("  and every addition counts", operand_value(), sum_of((u64)additions[1] + additions[2] + additions[3]));
  }
  place(8 - 2, 4);
  flips_lost = 0;
  together(cpus, halves_part);
  expect("LOCK BTS and BTR beside a LOCK ADD across 8 bytes that shares their dword", flips_lost, 0);
  expect("  and every addition counts", operand_value(), sum_of((u64)additions[1] + additions[2] + additions[3]));
}

/* --- accesses that must not tear (SDM Vol. 3A, Guaranteed Atomic Operations) ------------------------------------- */

static volatile u32 torn;
static void tear_part(u32 number) {
  u32 meetings = 0;
  barrier(&meetings);
  for (u32 i = 0; i < 20000; i++) {
    if (operand_bytes == 4) {
      volatile u32 *at = (u32 *)operand;
      u32 got = *at;
      if (number == 0) *at = i & 1 ? 0x11111111 : 0x22222222;
      else if (got != 0 && got != 0x11111111 && got != 0x22222222) torn++;
    } else {
      volatile u16 *at = (u16 *)operand;
      u16 got = *at;
      if (number == 0) *at = i & 1 ? 0x1111 : 0x2222;
      else if (got != 0 && got != 0x1111 && got != 0x2222) torn++;
    }
  }
}
static void tearing(void) {
  static const struct { const char *name; u32 offset, bytes; } cases[] = {
    {"an aligned dword never tears", 4, 4}, {"a dword within 8 bytes never tears", 1, 4},
    {"a word within a line never tears", 7, 2}, {"a dword within a line never tears", 14, 4},
  };
  for (u32 i = 0; i < sizeof cases / sizeof *cases; i++) {
    place(cases[i].offset, cases[i].bytes);
    torn = 0;
    together(2, tear_part);
    expect(cases[i].name, torn, 0);
  }
}

/* --- code that another vCPU changes (SDM Vol. 3A, Handling Self- and Cross-Modifying Code) ------------------------- */

/* mov eax, imm32; ret, with the immediate aligned; and inc eax; ret. */
static u8 answer[16] __attribute__((aligned(64))) = {0x90, 0x90, 0x90, 0xb8, 0x11, 0x11, 0x11, 0x11, 0xc3};
static u8 step[16] __attribute__((aligned(64))) = {0x40, 0xc3};
static volatile u32 generation, executed, stale, mixed;
enum { CHANGES = 2000 };

static void iret_here(void) {
  asm volatile("pushfl; pushl %%cs; pushl $1f; iretl; 1:" : : : "memory");
}

static void flagged_part(u32 number) {
  u32 meetings = 0;
  barrier(&meetings);
  for (u32 i = 1; i <= CHANGES; i++) {
    if (number == 0) {
      *(volatile u32 *)(answer + 4) = i;
      generation = i;
      while (executed != i) asm volatile("pause");
    } else {
      while (generation != i) asm volatile("pause");
      if (i & 1) SERIALISE();
      else iret_here();
      if (((u32(*)(void))(u32)answer)() != i) stale++;
      executed = i;
    }
  }
}

/* Without a word between them the other one executes old or new bytes, never some of each. */
static void racing_part(u32 number) {
  u32 meetings = 0;
  barrier(&meetings);
  if (number == 0) {
    for (u32 i = 1; i <= CHANGES; i++) {
      *(volatile u32 *)(answer + 4) = i & 1 ? 0x22222222 : 0x11111111;
      *(volatile u8 *)step = i & 1 ? 0x48 : 0x40;
      while (i % 64 == 0 && executed < i / 8) asm volatile("pause");
    }
    generation = ~0u;
    return;
  }
  for (u32 count = 1; generation != ~0u; count++) {
    u32 got = ((u32(*)(void))(u32)answer)(), stepped = 100;
    asm volatile("call *%1" : "+a"(stepped) : "r"(step) : "memory", "cc");
    if ((got != 0x11111111 && got != 0x22222222) || (stepped != 99 && stepped != 101)) mixed++;
    executed = count;
  }
}

static void changed_code(void) {
  generation = executed = 0;
  together(2, flagged_part);
  expect("changed code behind a flag and a serialising instruction is new", stale, 0);
  generation = executed = 0;
  *(volatile u32 *)(answer + 4) = 0x11111111;
  together(2, racing_part);
  expect("changed code without them is old or new", mixed, 0);
}

void main(void) {
  outw(0x510, 5);
  cpus = inb(0x511);
  cpus |= inb(0x511) << 8;
  if (cpus > CPUS_MAX) cpus = CPUS_MAX;
  start_processors(cpus - 1);
  expect("the other vCPUs run", alive, cpus - 1);
  memory_order();
  atomics();
  tearing();
  changed_code();
}
