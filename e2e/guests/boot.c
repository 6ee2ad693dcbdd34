/* What a loader hands over and what a machine for test kernels offers: multiboot, fw_cfg, pc-testdev, pci-testdev. */
#include "lib/kernel.h"

extern u32 boot_magic;
extern u32 *boot_info;

static void multiboot(void) {
  u32 flags = boot_info[0];
  expect("multiboot: magic", boot_magic, 0x2badb002);
  check("multiboot: memory sizes, command line, modules and memory map", (flags & 0x4d) == 0x4d);
  expect("multiboot: lower memory in KiB", boot_info[1] >= 600 && boot_info[1] <= 640, 1);
  check("multiboot: upper memory of 64 MiB", boot_info[2] > 60 * 1024 && boot_info[2] <= 63 * 1024);
  const char *line = (const char *)boot_info[4];
  while (*line && *line != ' ') line++; /* the kernel's name comes first */
  check("multiboot: command line", same_text(line, " alpha=1 beta"));
  expect("multiboot: number of modules", boot_info[5], 2);
  u32 *module = (u32 *)boot_info[6];
  expect("multiboot: bytes of module 1", module[1] - module[0], 11);
  check("multiboot: text of module 1", same_text((char *)module[0], "first file") || *(char *)module[0] == 'f');
  expect("multiboot: module 2 is page-aligned", module[4] & 4095, 0);
  expect("multiboot: bytes of module 2", module[5] - module[4], 5000);
  expect("multiboot: last byte of module 2", *(u8 *)(module[5] - 1), 4999 % 251);
  const char *text = (const char *)module[6];
  while (*text && *text != ' ') text++;
  check("multiboot: command line of module 2", same_text(text, " second line") || same_text((char *)module[6], "second line"));
  u64 ram = 0;
  for (u32 at = boot_info[12]; at < boot_info[12] + boot_info[11]; at += *(u32 *)at + 4) {
    struct { u32 size; u64 start, bytes; u32 type; } __attribute__((packed)) *entry = (void *)at;
    if (entry->type == 1) ram += entry->bytes;
  }
  check("multiboot: the memory map has 64 MiB of RAM", ram > 63ull << 20 && ram <= 64ull << 20);
}

static void entry_state(void) {
  extern u32 boot_cr0;
  expect("entry: CR0 has PE and no PG", boot_cr0 & 0x80000001, 1);
  u8 byte = *(volatile u8 *)0x100000;
  *(volatile u8 *)0x300000 = byte ^ 0xff;
  expect("entry: A20 is open", *(volatile u8 *)0x100000, byte);
}

static u64 fw_cfg_read(u16 selector, int bytes) {
  u64 value = 0;
  if (selector != 0xffff) outw(0x510, selector);
  for (int i = 0; i < bytes; i++) value |= (u64)inb(0x511) << (8 * i);
  return value;
}

static u32 big_endian(int bytes) {
  u32 value = 0;
  while (bytes--) value = value << 8 | inb(0x511);
  return value;
}

static void fw_cfg(void) {
  expect("fw_cfg: signature", fw_cfg_read(0, 4), 0x554d4551);
  expect("fw_cfg: id says traditional and DMA", fw_cfg_read(1, 4), 3);
  expect("fw_cfg: RAM size", fw_cfg_read(3, 8), 64 << 20);
  expect("fw_cfg: number of CPUs", fw_cfg_read(5, 2), 2);
  expect("fw_cfg: most CPUs", fw_cfg_read(15, 2), 2);
  expect("fw_cfg: an item ends in zeros", fw_cfg_read(0xffff, 2), 0);
  outw(0x510, 0x19);
  u32 files = big_endian(4), found = 0, ordered = 1;
  u16 selector = 0;
  u32 size = 0;
  char last[56] = {0};
  for (u32 i = 0; i < files && i < 100; i++) {
    char name[56];
    u32 bytes = big_endian(4);
    u16 select = big_endian(2);
    big_endian(2);
    for (int k = 0; k < 56; k++) name[k] = inb(0x511);
    for (int k = 0; k < 56; k++)
      if (name[k] != last[k]) { ordered &= (u8)name[k] > (u8)last[k]; break; }
    memcpy(last, name, 56);
    if (same_text(name, "etc/e820")) found++, selector = select, size = bytes;
  }
  check("fw_cfg: the directory is sorted", ordered);
  expect("fw_cfg: etc/e820 is there", found, 1);
  expect("fw_cfg: etc/e820 has entries of 20 bytes", size % 20, 0);
  u64 ram = 0;
  outw(0x510, selector);
  for (u32 at = 0; at < size; at += 20) {
    fw_cfg_read(0xffff, 8);
    u64 bytes = fw_cfg_read(0xffff, 8);
    if (fw_cfg_read(0xffff, 4) == 1) ram += bytes;
  }
  check("fw_cfg: etc/e820 has the RAM", ram >= 63ull << 20 && ram <= 64ull << 20);
  expect("fw_cfg: DMA signature", inl(0x514), 0x554d4551);
  static struct { u32 control, length; u64 address; } dma;
  static char target[8];
  dma.control = __builtin_bswap32(0 << 16 | 8 | 2); /* select item 0 and read */
  dma.length = __builtin_bswap32(4);
  dma.address = __builtin_bswap64((word)target);
  outl(0x514, 0);
  outl(0x518, __builtin_bswap32((u32)&dma));
  while (__builtin_bswap32(*(volatile u32 *)&dma.control) & ~1);
  check("fw_cfg: DMA reads the signature", same_text(target, "QEMU"));
}

static volatile int irqs;
static int on_irq(struct frame *frame) {
  irqs++;
  outb(0x20, 0x20);
  if (frame->vector >= 0x28) outb(0xa0, 0x20);
  return 0;
}

/* Under a hypervisor an interrupt may come some instructions late. */
static void wait_for_irq(void) {
  int before = irqs;
  asm volatile("sti");
  for (int i = 0; i < 1000000 && irqs == before; i++) asm volatile("pause");
  asm volatile("cli");
}

static void pc_testdev(void) {
  outl(0xe0, 0x12345678);
  expect("pc-testdev: 32-bit latch", inl(0xe0), 0x12345678);
  expect("pc-testdev: its second byte", inb(0xe1), 0x56);
  outb(0xe8, 0xa5);
  expect("pc-testdev: byte latch", inb(0xe8), 0xa5);
  volatile u8 *ram = (u8 *)0xff000000;
  *(volatile u32 *)(ram + 0x100) = 0xcafebabe;
  expect("pc-testdev: I/O RAM by words", *(volatile u16 *)(ram + 0x102), 0xcafe);
  for (int i = 0; i < 16; i++) ram[i] = i * 3;
  u8 copy[16];
  const void *from = (const void *)ram;
  void *to = copy;
  int count = 16;
  asm volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
  expect("pc-testdev: REP MOVS from I/O RAM", copy[15], 45);
  asm volatile("lock addl $2, %0" : "+m"(*(volatile u32 *)(ram + 0x100)));
  expect("pc-testdev: a locked operation in I/O RAM", *(volatile u32 *)(ram + 0x100), 0xcafebac0);
  *(volatile u32 *)(ram + 0xfffc) = 7;
  expect("pc-testdev: the end of I/O RAM", *(volatile u32 *)(ram + 0xfffc), 7);

  outb(0x20, 0x11), outb(0x21, 0x20), outb(0x21, 4), outb(0x21, 1);
  outb(0xa0, 0x11), outb(0xa1, 0x28), outb(0xa1, 2), outb(0xa1, 1);
  outb(0x21, 0xdb), outb(0xa1, 0xdf); /* lines 5, 2 and 13 */
  handlers[0x25] = handlers[0x2d] = on_irq;
  outb(0x2005, 1);
  outb(0x20, 0x0a);
  expect("pc-testdev: line 5 raises the request bit", inb(0x20) & 0x20, 0x20);
  wait_for_irq();
  expect("pc-testdev: line 5 interrupts once", irqs, 1);
  outb(0x2005, 0);
  outb(0x200d, 1);
  wait_for_irq();
  expect("pc-testdev: line 13 comes through the second 8259", irqs, 2);
  outb(0x200d, 0);
  outb(0x21, 0xff), outb(0xa1, 0xff);
}

static void pci_testdev(void) {
  u32 base = 0;
  for (u32 slot = 0; slot < 32; slot++) {
    outl(0xcf8, 0x80000000 | slot << 11);
    if (inl(0xcfc) == 0x00051b36) base = 0x80000000 | slot << 11;
  }
  check("pci-testdev: found", base != 0);
  if (!base) return;
  outl(0xcf8, base | 0x10);
  outl(0xcfc, 0xffffffff);
  expect("pci-testdev: memory BAR of 4 KiB", inl(0xcfc), 0xfffff000);
  outl(0xcfc, 0xe8000000);
  outl(0xcf8, base | 0x14);
  outl(0xcfc, 0xffffffff);
  /* PCI 3.0 section 6.2.5.1 leaves the upper half to the device where I/O space has 16 bits */
  expect("pci-testdev: I/O BAR of 256 bytes", inl(0xcfc) & 0xffff, 0xff01);
  outl(0xcfc, 0xd000);
  outl(0xcf8, base | 4);
  outw(0xcfc, 3);
  volatile u8 *bar = (u8 *)0xe8000000;
  bar[0] = 0;
  expect("pci-testdev: width of test 0", bar[1], 1);
  u32 offset = *(volatile u32 *)(bar + 4), data = *(volatile u32 *)(bar + 8);
  expect("pci-testdev: no write counted yet", *(volatile u32 *)(bar + 12), 0);
  for (int i = 0; i < 5; i++) bar[offset] = data;
  expect("pci-testdev: five memory writes counted", *(volatile u32 *)(bar + 12), 5);
  check("pci-testdev: name of test 0", bar[16] == 'm' && bar[17] == 'm');
  outb(0xd000, 0);
  u32 port = inl(0xd004);
  data = inl(0xd008);
  for (int i = 0; i < 3; i++) outb(0xd000 + port, data);
  expect("pci-testdev: three port writes counted", inl(0xd00c), 3);
}

void main(void) {
  multiboot();
  entry_state();
  fw_cfg();
  pc_testdev();
  pci_testdev();
}
