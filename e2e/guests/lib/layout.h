/* Selectors of the boot GDT, for C and assembler. SYSRET's layout (base, +8 data, +16 code) starts at USER_CS32. */
#define KERNEL_CS32 0x08
#define KERNEL_DS 0x10
#define USER_CS32 0x23
#define USER_DS 0x2b
#define USER_CS64 0x33
#define KERNEL_CS64 0x38
#define KERNEL_TSS 0x40
#define GDT_FREE 0x50
#define GDT_FREE_COUNT 40
#ifdef __x86_64__
#define KERNEL_CS KERNEL_CS64
#define USER_CS USER_CS64
#else
#define KERNEL_CS KERNEL_CS32
#define USER_CS USER_CS32
#endif
