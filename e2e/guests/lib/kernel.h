/*
 * The tiny runtime of the test kernels: serial output, checks, faults as values, descriptors. One vCPU at a time
 * uses it, except where noted. Every check prints one line, so runs on different machines compare line by line.
 */
#pragma once
#include "layout.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned long word;

enum { DE, DB, NMI_VECTOR, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC, XM = 19, NONE = -1, DONE = 0x30 };

/* The last exception that ended a guarded call. */
struct fault {
  int vector;
  word error, ip, cs, flags, sp, ss, cr2;
  word frame_sp; /* where the handler ran */
};
extern struct fault fault;

/* What the stub pushed, lowest first. */
struct frame {
#ifdef __x86_64__
  word r11, r10, r9, r8, di, si, bp, bx, dx, cx, ax;
#else
  word es, ds, di, si, bp, bx, dx, cx, ax;
#endif
  word vector, error, ip, cs, flags, sp, ss; /* sp, ss: from another privilege level, and always in 64-bit mode */
  word v86_es, v86_ds, v86_fs, v86_gs;
};
/* A handler returns 0 to resume at frame->ip; anything else ends the guarded call. */
typedef int (*handler)(struct frame *);
extern handler handlers[64];

/* Runs f; the vector of the exception that ended it, or NONE. */
int guarded(void (*f)(void));
#define FAULT_OF(...) ({ void body_(void) { __VA_ARGS__; } guarded(body_); })
void call_guarded(void (*f)(void));
/* Runs code at CPL 3; INT DONE there ends it like an exception. */
void enter_user(void (*code)(void), void *stack, word selector, word flags);
int in_user(void (*code)(void));
extern u8 user_stack[4096], interrupt_stack[8192];

void print(const char *text);
void print_hex(u64 value);
void check(const char *name, int good);
void expect(const char *name, u64 got, u64 wanted);
/* Vector and error code of a fault in one line. */
void expect_fault(const char *name, int vector, int wanted, word error);
void skip(const char *name);
void finish(void) __attribute__((noreturn));
void main(void);

extern u64 gdt[];
struct gate { u32 low, high;
#ifdef __x86_64__
  u32 top, zero;
#endif
};
extern struct gate idt[256];
/* A descriptor of 8 bytes; access and flags as SDM Vol. 3A draws them: 0x93, 0xc for 32-bit data in pages. */
u64 descriptor(u32 base, u32 limit, u8 access, u8 flags);
void set_gate(int vector, void *code, u16 selector, u8 access);
void load_tss(void);
void *memset(void *, int, unsigned long);
void *memcpy(void *, const void *, unsigned long);
int same_text(const char *a, const char *b);

struct tss32 {
  u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
  u32 es, cs, ss, ds, fs, gs, ldt;
  u16 trap, io_base;
  u8 redirect[32];
  u8 io_map[8193];
};
struct __attribute__((packed)) tss64 {
  u32 zero;
  u64 rsp[3], reserved, ist[7], reserved2;
  u16 reserved3, io_base;
};
#ifdef __x86_64__
extern struct tss64 tss;
#define CR4_BASE 0x20
#else
#define CR4_BASE 0x10
extern u32 boot_directory[1024];
extern struct tss32 tss;
#endif

static inline void outb(u16 port, u8 value) { asm volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void outw(u16 port, u16 value) { asm volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
static inline void outl(u16 port, u32 value) { asm volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline u8 inb(u16 port) { u8 v; asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline u16 inw(u16 port) { u16 v; asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline u32 inl(u16 port) { u32 v; asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline u64 rdmsr(u32 msr) { u32 a, d; asm volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(msr)); return (u64)d << 32 | a; }
static inline void wrmsr(u32 msr, u64 value) { asm volatile("wrmsr" : : "a"((u32)value), "d"((u32)(value >> 32)), "c"(msr) : "memory"); }
static inline u64 rdtsc(void) { u32 a, d; asm volatile("rdtsc" : "=a"(a), "=d"(d)); return (u64)d << 32 | a; }
static inline void cpuid(u32 leaf, u32 sub, u32 r[4]) { asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub)); }
#define READ_REG(name) ({ word v_; asm volatile("mov %%" #name ", %0" : "=r"(v_)); v_; })
#define WRITE_REG(name, value) asm volatile("mov %0, %%" #name : : "r"((word)(value)) : "memory")
#define FLAGS() ({ word v_; asm volatile("pushf; pop %0" : "=r"(v_)); v_; })
