/**
 * Global system interrupts: which controllers a line reaches. GSI 0-15 are the ISA IRQs: PIC, and I/O APIC pin of the
 * same number except IRQ 0 on pin 2 (as the MADT says); 16-23 only I/O APIC; from 24 on messages, by a route table.
 * irq_set_gsi() and irq_msi() may be called from any thread, the hub's included.
 */
import {
  GSI_COUNT,
  GSI_ROUTES,
  GSI_ROUTE_COUNT,
  GSI_ROUTE_FIRST,
  GSI_STATS,
  HPET_CONFIG,
  IOAPIC_PINS,
  LAPIC_LVT_LINT1,
  PIC_IMR,
  PIC_MASTER,
  PM_TIMER_MASK,
  PORT92,
} from '../../abi/irqchip.ts'
import { VM_IRQCHIP, VM_LOCK_IRQ, VM_VCPU_COUNT } from '../../abi/layout.ts'
import { clock_reset } from '../clock.ts'
import { cpu_at, lock, unlock, vm } from '../state.ts'
import { hpet_reset } from './hpet.ts'
import { ioapic_pin_vector, ioapic_reset, ioapic_set_pin } from './ioapic.ts'
import { msi_send } from './ipi.ts'
import { lapic_local } from './lapic.ts'
import { pic_reset, pic_set_irq } from './pic.ts'
import { pit_reset } from './pit.ts'

/** Power-on state of everything that belongs to the machine, not to a vCPU. The vCPUs must be stopped. */
export function irqchip_reset(): void {
  memory.fill(vm + VM_IRQCHIP, 0, GSI_STATS + 4 * GSI_COUNT - VM_IRQCHIP)
  pic_reset()
  ioapic_reset()
  pit_reset()
  hpet_reset()
  store<u32>(vm, 0xffff_ffff, PM_TIMER_MASK) // the FADT says TMR_VAL_EXT
  clock_reset()
  store<u32>(vm, 2, PORT92) // A20 enabled, as firmware leaves it
}

/** Sets the level of a GSI. level: 0 or 1 = asserted; several devices on one line are ORed by the caller. */
export function irq_set_gsi(gsi: u32, level: u32): void {
  if (gsi >= <u32>GSI_COUNT) return
  if (level) atomic.add<u32>(vm + GSI_STATS + (gsi << 2), 1)
  if (gsi >= <u32>GSI_ROUTE_FIRST) {
    const route = vm + GSI_ROUTES + ((gsi - GSI_ROUTE_FIRST) << 3)
    const address = atomic.load<u32>(route)
    if (level && address) msi_send(address, load<u32>(route, 4))
    return
  }
  const guard = vm + VM_LOCK_IRQ
  lock(guard)
  gsi_set_locked(gsi, level != 0)
  unlock(guard)
}

/** As irq_set_gsi() for GSI 0-23, with the lock held. Returns whether the I/O APIC delivered something. */
export function gsi_set_locked(gsi: u32, high: bool): bool {
  if (gsi < 16) pic_set_irq(gsi, high)
  if (gsi == 2) return false // the cascade; I/O APIC pin 2 is the timer's
  const pin: u32 = gsi == 0 ? 2 : gsi
  return pin < <u32>IOAPIC_PINS && ioapic_set_pin(pin, high)
}

/** One timer tick on GSI 0. Returns whether any controller listens to it. Lock held. */
export function gsi_pulse_timer(): bool {
  // In legacy replacement mode the HPET drives IRQ 0 and the PIT is cut off.
  if (load<u64>(vm, HPET_CONFIG) & 2) return false
  store<u32>(vm, load<u32>(vm, GSI_STATS) + 1, GSI_STATS)
  gsi_set_locked(0, true)
  gsi_set_locked(0, false)
  return (load<u8>(vm + PIC_MASTER, PIC_IMR) & 1) == 0 || ioapic_pin_vector(2) >= 0
}

/** Message-signalled interrupt. addressLow: bits 0-31 of an address in 0xfee0_0000-0xfeef_ffff. Any thread. */
export function irq_msi(addressLow: u32, data: u32): void {
  msi_send(addressLow, data)
}

/** Routes a GSI of 24 and up to a message; address 0 removes the route. */
export function irq_route_msi(gsi: u32, addressLow: u32, data: u32): void {
  if (gsi < <u32>GSI_ROUTE_FIRST || gsi >= <u32>(GSI_ROUTE_FIRST + GSI_ROUTE_COUNT)) return
  const route = vm + GSI_ROUTES + ((gsi - GSI_ROUTE_FIRST) << 3)
  atomic.store<u32>(route, 0) // never an old address with new data
  store<u32>(route, data, 4)
  atomic.store<u32>(route, addressLow)
}

/** The NMI button: LINT1 of every processor. Any thread. */
export function irq_nmi(): void {
  const count = load<u32>(vm, VM_VCPU_COUNT)
  for (let i: u32 = 0; i < count; i++) lapic_local(cpu_at(i), LAPIC_LVT_LINT1)
}
