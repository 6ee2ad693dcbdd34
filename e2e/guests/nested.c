/* A fault while handling a fault while handling a fault: shutdown (SDM Vol. 3A, Interrupt 8). */
#include "lib/kernel.h"

void main(void) {
  expect_fault("a fault with a handler", FAULT_OF(asm volatile("ud2")), UD, 0);
  idt[UD].high &= ~0x8000;
  idt[NP].high &= ~0x8000;
  expect_fault("two faults make a double fault", FAULT_OF(asm volatile("ud2")), DF, 0);
  idt[DF].high &= ~0x8000;
  print("three do not come back\n");
  asm volatile("ud2");
  check("still here", 0);
}
