/** Stands in for mmu.ts and irqchip/routing.ts in the unit tests: a linear address is an address of the test's memory. */

export function mem_load_bytes(gva: u64, address: u32, count: u32, seg: u32): void {
  memory.copy(address, <usize>gva, count)
}

export function mem_store_bytes(gva: u64, address: u32, count: u32, seg: u32): void {
  memory.copy(<usize>gva, address, count)
}

export function mem_probe(gva: u64, bytes: u32, write: u32, seg: u32): void {}

export function irq_set_gsi(gsi: u32, level: u32): void {}
