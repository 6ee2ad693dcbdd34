/* 64-bit mode: address spaces under PCIDs, global pages, INVLPG, INVPCID, MOV to CR3 with and without bit 63 (SDM Vol. 3A). */
#include "lib/kernel.h"

extern u64 boot_pml4[];
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, G = 0x100 };
enum { SPACES = 20, PAGES = 4, CODE = 3, FRAMES = 64 };
#define OWN 0x8000000000ull     /* slot 1 of the PML4: each space's own */
#define SHARED 0x10000000000ull /* slot 2: the same tables in all spaces, global pages */
#define KEEP (1ull << 63)
#define ALL (P | W | U | A | D)
#define TABLE(name) static u64 name[512] __attribute__((aligned(4096)))
#define TABLES(name) static u64 name[SPACES][512] __attribute__((aligned(4096)))

TABLES(pml4); TABLES(pdpt); TABLES(directory); TABLES(table);
TABLE(shared_pdpt); TABLE(shared_directory); TABLE(shared_table);
/* Frame n holds its number, and code that returns it. */
static struct { u32 number; u8 code[4092]; } frames[FRAMES] __attribute__((aligned(4096)));
static u32 now[SPACES][PAGES], shared_now;

static void cr3(int space, u64 keep) { WRITE_REG(cr3, (u64)pml4[space] | (space + 1) | keep); }
static void invlpg(u64 va) { asm volatile("invlpg (%0)" : : "r"(va) : "memory"); }
static void invpcid(u64 type, u64 pcid, u64 va) {
  u64 d[2] = {pcid, va};
  asm volatile("invpcid %0, %1" : : "m"(d), "r"(type) : "memory");
}
static u64 va(int page) { return OWN + page * 4096; }
static u32 number_at(u64 at) { return *(volatile u32 *)at; }
static u32 run_at(u64 at) { return ((u32 (*)(void))(at + 4))(); }
static void map(int space, int page, u32 frame) {
  table[space][page] = (u64)&frames[frame] | ALL;
  now[space][page] = frame;
}
static void map_shared(u32 frame) {
  shared_table[0] = (u64)&frames[frame] | ALL | G;
  shared_now = frame;
}

static u32 seed = 12345;
static u32 below(u32 n) {
  seed ^= seed << 13, seed ^= seed >> 17, seed ^= seed << 5;
  return seed % n;
}

static void build(void) {
  for (u32 i = 0; i < FRAMES; i++) {
    u8 code[] = {0xb8, i, 0, 0, 0, 0xc3}; /* mov eax, i; ret */
    frames[i].number = i;
    memcpy(frames[i].code, code, sizeof code);
  }
  shared_pdpt[0] = (u64)shared_directory | ALL;
  shared_directory[0] = (u64)shared_table | ALL;
  map_shared(7);
  for (int s = 0; s < SPACES; s++) {
    memcpy(pml4[s], boot_pml4, 4096);
    pml4[s][1] = (u64)pdpt[s] | ALL;
    pml4[s][2] = (u64)shared_pdpt | ALL;
    pdpt[s][0] = (u64)directory[s] | ALL;
    directory[s][0] = (u64)table[s] | ALL;
    for (int p = 0; p < PAGES; p++) map(s, p, (s * PAGES + p) % FRAMES);
  }
}

/* Pages of the space in force that are not what its tables say. */
static u32 wrong(int space) {
  u32 bad = 0;
  for (int p = 0; p < CODE; p++) bad += number_at(va(p)) != now[space][p];
  bad += run_at(va(CODE)) != now[space][CODE];
  return bad + (number_at(SHARED) != shared_now);
}
static u32 wrong_anywhere(void) {
  u32 bad = 0;
  for (int s = 0; s < SPACES; s++) cr3(s, KEEP), bad += wrong(s);
  return bad;
}

static void switching(void) {
  u32 bad = 0;
  for (int i = 0; i < 2000; i++) {
    int s = below(SPACES);
    cr3(s, KEEP);
    bad += wrong(s);
  }
  expect("each space sees its own pages, more spaces than any TLB has tags for", bad, 0);
  cr3(3, KEEP);
  expect("CR3 reads back without bit 63", READ_REG(cr3), (u64)pml4[3] | 4);
}

/* Every kind of invalidation makes the change visible that it covers. */
static void invalidations(void) {
  u32 bad[7] = {0}, all = 0;
  for (int i = 0; i < 3000; i++) {
    int s = below(SPACES), p = below(PAGES), kind = below(7);
    int here = below(SPACES);
    cr3(here, KEEP);
    wrong(here);
    if (kind == 0) map(here, p, below(FRAMES)), invlpg(va(p)), s = here;
    else if (kind == 1) map(s, p, below(FRAMES)), invpcid(0, s + 1, va(p));
    else if (kind == 2) map(s, p, below(FRAMES)), invpcid(1, s + 1, 0);
    else if (kind == 3) {
      for (int t = 0; t < SPACES; t++) map(t, p, below(FRAMES));
      map_shared(below(FRAMES));
      invpcid(2, 0, 0);
    } else if (kind == 4) {
      for (int t = 0; t < SPACES; t++) map(t, p, below(FRAMES));
      invpcid(3, 0, 0);
    } else if (kind == 5) map(s, p, below(FRAMES)), cr3(s, 0);
    else map_shared(below(FRAMES)), invlpg(SHARED), s = below(SPACES);
    cr3(s, KEEP);
    bad[kind] += wrong(s);
    if (i % 100 == 0) all += wrong_anywhere();
  }
  static const char *const names[] = {
    "INVLPG in the space in force", "INVPCID of an address in any space", "INVPCID of one PCID", "INVPCID of everything",
    "INVPCID of everything but global pages", "MOV to CR3 without bit 63", "INVLPG of a global page, seen from all spaces",
  };
  for (int k = 0; k < 7; k++) expect(names[k], bad[k], 0);
  expect("no space sees what belongs to another", all, 0);
}

static void control(void) {
  word cr4 = READ_REG(cr4);
  cr3(1, KEEP);
  wrong(1);
  map(1, 0, 40), map_shared(41);
  WRITE_REG(cr4, cr4 & ~0x80ul);
  expect("clearing CR4.PGE drops everything", wrong(1), 0);
  map(1, 0, 42), map_shared(43);
  invlpg(SHARED);
  WRITE_REG(cr4, cr4);
  expect("and setting it", wrong(1), 0);
  /* another directory: an INVLPG of any address has to make it seen */
  TABLE(other);
  memcpy(other, table[1], 4096);
  other[1] = (u64)&frames[50] | ALL;
  wrong(1);
  directory[1][0] = (u64)other | ALL;
  invlpg(va(1)), invlpg(va(0));
  expect("a page through another table after INVLPG", number_at(va(1)), 50);
  directory[1][0] = (u64)table[1] | ALL;
  invpcid(1, 2, 0);
  map(1, 2, 44);
  table[1][2] &= ~(u64)(A | D);
  invlpg(va(2));
  number_at(va(2));
  expect("a read sets accessed alone", table[1][2] & (A | D), A);
  *(volatile u32 *)(va(2)) = 44;
  expect("a write sets dirty, the TLB filled or not", table[1][2] & (A | D), A | D);
  table[1][2] &= ~(u64)W;
  invlpg(va(2));
  WRITE_REG(cr0, READ_REG(cr0) | 0x10000);
  expect_fault("a page made read-only", FAULT_OF(*(volatile u32 *)(va(2)) = 1), PF, 3);
  table[1][2] = 0;
  invlpg(va(2));
  expect_fault("a page taken away", FAULT_OF(number_at(va(2))), PF, 0);
  map(1, 2, 45);
  expect_fault("a page given back needs no invalidation", FAULT_OF(number_at(va(2))), NONE, 0);
}

static void user_write(void) { asm volatile("movl $9, (%0); int $0x30" : : "r"(va(2))); }

static void users(void) {
  cr3(5, KEEP);
  map(5, 2, 60), invlpg(va(2));
  cr3(6, KEEP);
  map(6, 2, 61), invlpg(va(2));
  expect_fault("ring 3 writes in one space", in_user(user_write), DONE, 0);
  expect("seen there", frames[61].number, 9);
  expect("and not in another", frames[60].number, 60);
  cr3(5, KEEP);
  expect_fault("ring 3 writes in the other", in_user(user_write), DONE, 0);
  expect("seen in the other", frames[60].number, 9);
  frames[60].number = 60, frames[61].number = 61;
}

static void refusals(void) {
  expect_fault("INVPCID of type 4", FAULT_OF(invpcid(4, 0, 0)), GP, 0);
  expect_fault("INVPCID with reserved bits", FAULT_OF(invpcid(1, 1 << 12, 0)), GP, 0);
  expect_fault("INVPCID of an address that is not canonical", FAULT_OF(invpcid(0, 1, 1ull << 48)), GP, 0);
  expect_fault("paging off while CR4.PCIDE is set", FAULT_OF(WRITE_REG(cr0, READ_REG(cr0) & ~0x80000000ul)), GP, 0);
  word cr4 = READ_REG(cr4);
  WRITE_REG(cr4, cr4 & ~0x20000ul);
  expect_fault("INVPCID of a PCID without CR4.PCIDE", FAULT_OF(invpcid(1, 1, 0)), GP, 0);
  expect_fault("bit 63 of CR3 without CR4.PCIDE", FAULT_OF(WRITE_REG(cr3, (u64)pml4[0] | KEEP)), GP, 0);
  WRITE_REG(cr3, (u64)pml4[0] | 0x18);
  expect_fault("CR4.PCIDE while CR3 has a PCID", FAULT_OF(WRITE_REG(cr4, cr4)), GP, 0);
  map(0, 0, 51);
  WRITE_REG(cr3, (u64)pml4[0]);
  expect("without PCIDs MOV to CR3 drops local pages", wrong(0), 0);
}

void main(void) {
  u32 leaf1[4], leaf7[4];
  cpuid(1, 0, leaf1);
  cpuid(7, 0, leaf7);
  if (!(leaf1[2] & 1 << 17) || !(leaf7[1] & 1 << 10)) {
    skip("PCID");
    finish();
  }
  build();
  WRITE_REG(cr3, (u64)pml4[0]);
  WRITE_REG(cr4, READ_REG(cr4) | 0x20080);
  switching();
  invalidations();
  control();
  users();
  refusals();
  finish();
}
