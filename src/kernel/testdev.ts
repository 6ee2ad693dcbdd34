/**
 * QEMU's pc-testdev, for the test kernels of the KVM world: a 32-bit latch at 0xe0, byte latches at 0xe8, "flush a page"
 * at 0xe4, and interrupt lines at 0x2000 + n. Its I/O RAM is a kernel-class MMIO range with a shadow image.
 */
import { VM_TESTDEV } from '../abi/layout.ts'
import { flush_everywhere } from './frames.ts'
import { irq_set_gsi } from './irqchip/routing.ts'
import { vm } from './state.ts'

const LATCH: u32 = 0xe0
const FLUSH_PAGE: u32 = 0xe4
const BYTE_LATCH: u32 = 0xe8
const IRQ_LINES: u32 = 0x2000
const IRQ_COUNT: u32 = 24

export function testdev_port_read(port: u32, bytes: u32): u32 {
  if (port >= LATCH && port + bytes <= LATCH + 4) return load<u32>(vm + VM_TESTDEV) >> ((port & 3) << 3)
  if (port >= BYTE_LATCH && port + bytes <= BYTE_LATCH + 4) return load<u32>(vm + VM_TESTDEV + 4) >> ((port & 3) << 3)
  return 0xffff_ffff
}

export function testdev_port_write(port: u32, bytes: u32, value: u32): void {
  if (port >= IRQ_LINES && port < IRQ_LINES + IRQ_COUNT) {
    irq_set_gsi(port - IRQ_LINES, value ? 1 : 0)
  } else if (port >= FLUSH_PAGE && port < FLUSH_PAGE + 4) {
    flush_everywhere() // QEMU remaps the page; what a guest can see of that is a TLB refill
  } else if ((port >= LATCH && port + bytes <= LATCH + 4) || (port >= BYTE_LATCH && port + bytes <= BYTE_LATCH + 4)) {
    const at = vm + VM_TESTDEV + (port >= BYTE_LATCH ? 4 : 0) + (port & 3)
    if (bytes == 1) store<u8>(at, value)
    else if (bytes == 2) store<u16>(at, value)
    else store<u32>(at, value)
  }
}
