/**
 * I/O APIC with 24 pins, version 0x20 (82093AA data sheet, plus the EOI register of later versions).
 * VM_LOCK_IRQ must be held, except where a function takes it. A line's level means "asserted": the polarity bit is
 * kept for software to read, devices do not speak in volts.
 */
import {
  DELIVERY_EXTINT,
  DELIVERY_NMI,
  DELIVERY_SMI,
  IOAPIC_ENTRIES,
  IOAPIC_ID,
  IOAPIC_LINES,
  IOAPIC_PINS,
  IOAPIC_SELECT,
} from '../../abi/irqchip.ts'
import { VM_LOCK_IRQ } from '../../abi/layout.ts'
import { lock, unlock, vm } from '../state.ts'
import { irq_message } from './ipi.ts'

const ENTRY_LOGICAL: u64 = 0x800
const ENTRY_REMOTE_IRR: u64 = 0x4000
const ENTRY_LEVEL: u64 = 0x8000
const ENTRY_MASKED: u64 = 0x1_0000
/** What software cannot write: delivery status (12), remote IRR (14). */
const ENTRY_READ_ONLY: u64 = 0x5000
/** Reserved bits 17-55 read as zero. */
const ENTRY_MASK: u64 = 0xff00_0000_0001_ffff

const IOAPIC_VERSION: u32 = ((IOAPIC_PINS - 1) << 16) | 0x20

// @ts-ignore: AssemblyScript decorator
@inline
function entry_address(pin: u32): usize {
  return vm + IOAPIC_ENTRIES + (pin << 3)
}

export function ioapic_reset(): void {
  store<u32>(vm, 0, IOAPIC_ID)
  store<u32>(vm, 0, IOAPIC_SELECT)
  store<u32>(vm, 0, IOAPIC_LINES)
  for (let pin: u32 = 0; pin < <u32>IOAPIC_PINS; pin++) store<u64>(entry_address(pin), ENTRY_MASKED)
}

/** A pin's line is asserted or released. Returns whether an interrupt was delivered. */
export function ioapic_set_pin(pin: u32, asserted: bool): bool {
  const bit: u32 = 1 << pin
  const before = load<u32>(vm, IOAPIC_LINES)
  store<u32>(vm, asserted ? before | bit : before & ~bit, IOAPIC_LINES)
  if (!asserted) return false
  const entry = load<u64>(entry_address(pin))
  // An edge on a masked pin is lost; a level stays and is delivered at unmasking.
  if ((entry & ENTRY_LEVEL) == 0 && (before & bit) != 0) return false
  return deliver(pin)
}

/** Sends a pin's message if it is unmasked and not waiting for an EOI. */
function deliver(pin: u32): bool {
  const at = entry_address(pin)
  const entry = load<u64>(at)
  if (entry & ENTRY_MASKED) return false
  const mode = (<u32>entry >> 8) & 7
  // NMI, SMI and ExtINT are edges whatever the entry says.
  const level = (entry & ENTRY_LEVEL) != 0 && mode != DELIVERY_NMI && mode != DELIVERY_SMI && mode != DELIVERY_EXTINT
  if (level && (entry & ENTRY_REMOTE_IRR) != 0) return false
  const taken = irq_message(
    <u32>(entry >> 56), (entry & ENTRY_LOGICAL) != 0, false, mode, <u32>entry & 0xff, level, 0,
  )
  if (taken && level) store<u64>(at, entry | ENTRY_REMOTE_IRR)
  return taken
}

/** EOI broadcast of a local APIC. Takes the lock. */
export function ioapic_eoi(vector: u32): void {
  const guard = vm + VM_LOCK_IRQ
  lock(guard)
  eoi(vector)
  unlock(guard)
}

function eoi(vector: u32): void {
  const lines = load<u32>(vm, IOAPIC_LINES)
  for (let pin: u32 = 0; pin < <u32>IOAPIC_PINS; pin++) {
    const at = entry_address(pin)
    const entry = load<u64>(at)
    if ((<u32>entry & 0xff) != vector || (entry & ENTRY_LEVEL) == 0 || (entry & ENTRY_REMOTE_IRR) == 0) continue
    store<u64>(at, entry & ~ENTRY_REMOTE_IRR)
    if (lines & (1 << pin)) deliver(pin)
  }
}

/** The vector that a pin sends, -1 when it is masked: to recognise the EOI of an edge interrupt. */
export function ioapic_pin_vector(pin: u32): i32 {
  const entry = load<u64>(entry_address(pin))
  return entry & ENTRY_MASKED ? -1 : <i32>entry & 0xff
}

/** MMIO: IOREGSEL 0x00, IOWIN 0x10, EOI 0x40. Takes the lock. */
export function ioapic_read(offset: u32): u32 {
  const guard = vm + VM_LOCK_IRQ
  let value: u32 = 0
  lock(guard)
  if (offset == 0) value = load<u32>(vm, IOAPIC_SELECT)
  else if (offset == 0x10) value = window_read(load<u32>(vm, IOAPIC_SELECT))
  unlock(guard)
  return value
}

export function ioapic_write(offset: u32, value: u32): void {
  const guard = vm + VM_LOCK_IRQ
  lock(guard)
  if (offset == 0) store<u32>(vm, value & 0xff, IOAPIC_SELECT)
  else if (offset == 0x10) window_write(load<u32>(vm, IOAPIC_SELECT), value)
  else if (offset == 0x40) eoi(value & 0xff)
  unlock(guard)
}

function window_read(select: u32): u32 {
  if (select == 0 || select == 2) return load<u32>(vm, IOAPIC_ID) // arbitration id follows the id
  if (select == 1) return IOAPIC_VERSION
  const pin = (select - 0x10) >> 1
  if (select < 0x10 || pin >= <u32>IOAPIC_PINS) return 0xffff_ffff
  const entry = load<u64>(entry_address(pin))
  return select & 1 ? <u32>(entry >> 32) : <u32>entry
}

function window_write(select: u32, value: u32): void {
  if (select == 0) {
    store<u32>(vm, value & 0x0f00_0000, IOAPIC_ID)
    return
  }
  const pin = (select - 0x10) >> 1
  if (select < 0x10 || pin >= <u32>IOAPIC_PINS) return
  const at = entry_address(pin)
  const before = load<u64>(at)
  let entry: u64
  if (select & 1) {
    entry = (before & 0xffff_ffff) | (<u64>value << 32)
  } else {
    entry = (before & ~(<u64>0xffff_ffff)) | (<u64>value & ~ENTRY_READ_ONLY) | (before & ENTRY_READ_ONLY)
    // Switching to edge drops remote IRR: that is how software without an EOI register clears it.
    if ((entry & ENTRY_LEVEL) == 0) entry &= ~ENTRY_REMOTE_IRR
  }
  store<u64>(at, entry & ENTRY_MASK)
  if ((entry & ENTRY_LEVEL) != 0 && load<u32>(vm, IOAPIC_LINES) & (1 << pin)) deliver(pin)
}
