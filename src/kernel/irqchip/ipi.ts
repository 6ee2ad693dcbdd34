/**
 * Interrupt messages: who receives them. IPIs from the ICR, messages of the I/O APIC, and MSIs
 * (SDM Vol. 3, "Determining IPI Destination", "Message Signalled Interrupts").
 */
import {
  DELIVERY_FIXED,
  DELIVERY_INIT,
  DELIVERY_LOWEST,
  IRQ_ARBITER,
  LAPIC_DFR,
  LAPIC_ICR_HIGH,
  LAPIC_ICR_LOW,
  LAPIC_ID,
  LAPIC_LDR,
  LAPIC_PPR,
  LAPIC_SVR,
  LAPIC_SVR_ENABLE,
} from '../../abi/irqchip.ts'
import { CPU_INDEX, VM_VCPU_COUNT } from '../../abi/layout.ts'
import { cpu_at, vm } from '../state.ts'
import { ESR_SEND_ILLEGAL_VECTOR, lapic_accept, lapic_error, lapic_hw_enabled, lapic_x2apic } from './lapic.ts'

/** Destination that means every processor: 8 bits in messages of xAPIC form, 32 bits in x2APIC's ICR. */
const BROADCAST8: u32 = 0xff
const BROADCAST32: u32 = 0xffff_ffff

/** Whether a destination field names this APIC. wide: the message carries a 32-bit x2APIC destination. */
function matches(c: usize, destination: u32, logical: bool, wide: bool): bool {
  if (!lapic_hw_enabled(c)) return false
  if (destination == (wide ? BROADCAST32 : BROADCAST8)) return true
  const x2 = lapic_x2apic(c)
  if (!logical) return destination == (x2 ? load<u32>(c, CPU_INDEX) : load<u32>(c, LAPIC_ID) >> 24)
  const ldr = load<u32>(c, LAPIC_LDR)
  if (x2) return ldr >> 16 == destination >> 16 && (ldr & destination & 0xffff) != 0
  if (destination > 0xff) return false
  const id = ldr >> 24
  // DFR: all ones in bits 28-31 is the flat model, zero the cluster model.
  if (load<u32>(c, LAPIC_DFR) >> 28 == 0xf) return (id & destination) != 0
  return id >> 4 == destination >> 4 && (id & destination & 0xf) != 0
}

/** CPU struct of the enabled APIC with this id, 0 if there is none. Ids are indexes unless the guest rewrote them. */
export function apic_find(id: u32): usize {
  const c = cpu_at(id)
  if (c != 0 && matches(c, id, false, true)) return c
  const count = load<u32>(vm, VM_VCPU_COUNT)
  for (let i: u32 = 0; i < count; i++) if (id != BROADCAST32 && matches(cpu_at(i), id, false, true)) return cpu_at(i)
  return 0
}

/**
 * Sends a message to every APIC that it names, or to one of them for lowest priority.
 * except: CPU struct left out, 0 = none. Returns whether anyone took it. Any thread, no lock needed.
 */
export function irq_message(
  destination: u32,
  logical: bool,
  wide: bool,
  mode: u32,
  vector: u32,
  level: bool,
  except: usize,
): bool {
  // One physical destination is the common case: ids are indexes unless the guest rewrote them.
  if (!logical && destination < BROADCAST8 && mode != DELIVERY_LOWEST) {
    const c = cpu_at(destination)
    if (c != 0 && matches(c, destination, false, wide)) return c != except && lapic_accept(c, mode, vector, level)
  }
  const count = load<u32>(vm, VM_VCPU_COUNT)
  if (mode == DELIVERY_LOWEST) {
    const c = arbitrate(destination, logical, wide, count)
    return c != 0 && lapic_accept(c, DELIVERY_FIXED, vector, level)
  }
  let taken = false
  for (let i: u32 = 0; i < count; i++) {
    const c = cpu_at(i)
    if (c == except || !matches(c, destination, logical, wide)) continue
    if (lapic_accept(c, mode, vector, level)) taken = true
  }
  return taken
}

/** Lowest priority: the least PPR class among the enabled candidates, taken in turn where equal. */
function arbitrate(destination: u32, logical: bool, wide: bool, count: u32): usize {
  const first = atomic.add<u32>(vm + IRQ_ARBITER, 1)
  let best: usize = 0
  let bestPriority: u32 = 0x100
  for (let i: u32 = 0; i < count; i++) {
    const c = cpu_at((first + i) % count)
    if (!matches(c, destination, logical, wide)) continue
    if ((load<u32>(c, LAPIC_SVR) & LAPIC_SVR_ENABLE) == 0) continue
    const priority = load<u32>(c, LAPIC_PPR) & 0xf0
    if (priority < bestPriority) {
      best = c
      bestPriority = priority
    }
  }
  return best
}

/** A write of ICR by vCPU c. destination is 8 bits wide in xAPIC mode. */
export function ipi_send(c: usize, low: u32, destination: u32): void {
  const mode = (low >> 8) & 7
  const vector = low & 0xff
  if ((mode == DELIVERY_FIXED || mode == DELIVERY_LOWEST) && vector < 16) {
    lapic_error(c, ESR_SEND_ILLEGAL_VECTOR)
    return
  }
  // INIT level de-assert only synchronises arbitration ids, which no processor since the Pentium 4 has.
  if (mode == DELIVERY_INIT && (low & 0x8000) != 0 && (low & 0x4000) == 0) return
  const shorthand = (low >> 18) & 3
  const wide = lapic_x2apic(c)
  if (shorthand == 0) {
    irq_message(destination, (low & 0x800) != 0, wide, mode, vector, false, 0)
  } else if (shorthand == 1) {
    if (mode == DELIVERY_FIXED) lapic_accept(c, mode, vector, false)
  } else {
    irq_message(wide ? BROADCAST32 : BROADCAST8, false, wide, mode, vector, false, shorthand == 3 ? c : 0)
  }
}

/** ICR of xAPIC mode, written low half last. */
export function icr_write(c: usize, low: u32): void {
  store<u32>(c, low & ~0x1000, LAPIC_ICR_LOW) // delivery status: idle, messages arrive at once
  ipi_send(c, low, load<u32>(c, LAPIC_ICR_HIGH) >> 24)
}

/** MSI: address and data as a device writes them (SDM Vol. 3, "Message Address/Data Register Format"). Any thread. */
export function msi_send(address: u32, data: u32): bool {
  const destination = (address >> 12) & 0xff
  const mode = (data >> 8) & 7
  // RH asks for redirection to one processor; with a physical destination there is only one.
  const lowest = (address & 0xc) == 0xc && mode == DELIVERY_FIXED ? DELIVERY_LOWEST : mode
  return irq_message(destination, (address & 4) != 0, false, lowest, data & 0xff, (data & 0x8000) != 0, 0)
}
