/**
 * Two cascaded 8259A interrupt controllers (Intel 8259A data sheet; ELCR: PIIX3 data sheet, "Edge/Level Control").
 * ICW1-4, OCW1-3, automatic EOI, rotation, special mask, special fully nested mode, poll, spurious IR7.
 * All functions want VM_LOCK_IRQ held, except those that say otherwise. Absent: MCS-80 call mode, buffered mode.
 */
import {
  DELIVERY_EXTINT,
  DELIVERY_FIXED,
  LAPIC_EXTINT,
  LAPIC_LVT_LINT0,
  LAPIC_LVT_MASKED,
  PIC_AUTO_EOI,
  PIC_ELCR,
  PIC_ICW4_NEEDED,
  PIC_IMR,
  PIC_INIT_STATE,
  PIC_IRR,
  PIC_ISR,
  PIC_LEVEL,
  PIC_LINES,
  PIC_MASTER,
  PIC_NESTED,
  PIC_OUTPUT,
  PIC_POLL,
  PIC_PRIORITY,
  PIC_READ_ISR,
  PIC_ROTATE_AEOI,
  PIC_SINGLE,
  PIC_SLAVE,
  PIC_SPECIAL_MASK,
  PIC_STRIDE,
  PIC_VECTOR,
} from '../../abi/irqchip.ts'
import { REQ_INTERRUPT, VM_LOCK_IRQ, VM_VCPU_COUNT } from '../../abi/layout.ts'
import { cpu_at, cpu_request, lock, unlock, vm } from '../state.ts'
import { ioapic_set_pin } from './ioapic.ts'
import { lapic_hw_enabled, lapic_local } from './lapic.ts'
import { pit_tick_taken } from './pit.ts'

/** ELCR bits that exist: IRQ 0, 1, 2, 8 and 13 are always edge triggered. */
const ELCR_MASTER: u32 = 0xf8
const ELCR_SLAVE: u32 = 0xde

// @ts-ignore: AssemblyScript decorator
@inline
function get(chip: usize, field: usize): u32 {
  return load<u8>(chip + field)
}

// @ts-ignore: AssemblyScript decorator
@inline
function set(chip: usize, field: usize, value: u32): void {
  store<u8>(chip + field, value)
}

export function pic_reset(): void {
  memory.fill(vm + PIC_MASTER, 0, 2 * PIC_STRIDE)
  atomic.store<u32>(vm + PIC_OUTPUT, 0)
}

/** Rank of the highest-priority bit of a mask, 0 = the chip's highest, 8 = none. */
function highest(chip: usize, mask: u32): u32 {
  if (mask == 0) return 8
  const first = get(chip, PIC_PRIORITY)
  const rotated = ((mask >> first) | (mask << (8 - first))) & 0xff
  return ctz(rotated)
}

/** IR number that the chip asks service for, -1 if none. */
function request(chip: usize): i32 {
  const pending = highest(chip, get(chip, PIC_IRR) & ~get(chip, PIC_IMR))
  if (pending == 8) return -1
  let service = get(chip, PIC_ISR)
  if (get(chip, PIC_SPECIAL_MASK)) service &= ~get(chip, PIC_IMR)
  // Special fully nested mode: a slave in service does not block its own higher-priority requests.
  if (get(chip, PIC_NESTED) && chip == vm + PIC_MASTER) service &= ~4
  if (pending >= highest(chip, service)) return -1
  return (pending + get(chip, PIC_PRIORITY)) & 7
}

/** Recomputes the cascade and INTR, and tells the processors when INTR changes. */
function update(): void {
  const master = vm + PIC_MASTER
  const slave = vm + PIC_SLAVE
  set_line(master, 2, request(slave) >= 0)
  const output: u32 = request(master) >= 0 ? 1 : 0
  if (output == atomic.load<u32>(vm + PIC_OUTPUT)) return
  atomic.store<u32>(vm + PIC_OUTPUT, output)
  drive_lint0(output != 0)
  ioapic_set_pin(0, output != 0) // INTR is wired to pin 0 as well, for ExtINT through the I/O APIC
}

/** INTR is wired to LINT0 of every processor, and to the processor itself where the APIC is off. */
function drive_lint0(high: bool): void {
  const count = load<u32>(vm, VM_VCPU_COUNT)
  for (let i: u32 = 0; i < count; i++) {
    const c = cpu_at(i)
    if (pic_reaches(c)) {
      if (high) cpu_request(c, REQ_INTERRUPT)
    } else if (high && lapic_hw_enabled(c)) {
      lapic_local(c, LAPIC_LVT_LINT0) // fixed, NMI: the rising edge is the interrupt
    }
  }
}

/** Whether this processor takes vectors from the PIC (ExtINT). No lock needed. */
export function pic_reaches(c: usize): bool {
  if (!lapic_hw_enabled(c) || atomic.load<u32>(c + LAPIC_EXTINT) != 0) return true
  const lvt = load<u32>(c, LAPIC_LVT_LINT0)
  return (lvt & LAPIC_LVT_MASKED) == 0 && ((lvt >> 8) & 7) == DELIVERY_EXTINT
}

/** LINT0 of this vCPU was rewritten: a PIC request that was waiting may now reach it. No lock needed. */
export function lint0_changed(c: usize): void {
  if (atomic.load<u32>(vm + PIC_OUTPUT) == 0) return
  const lvt = load<u32>(c, LAPIC_LVT_LINT0)
  if (pic_reaches(c)) cpu_request(c, REQ_INTERRUPT)
  else if (((lvt >> 8) & 7) == DELIVERY_FIXED && (lvt & 0x8000) != 0) lapic_local(c, LAPIC_LVT_LINT0)
}

function set_line(chip: usize, line: u32, high: bool): void {
  const bit: u32 = 1 << line
  const before = get(chip, PIC_LINES)
  const irr = get(chip, PIC_IRR)
  if (is_level(chip, bit)) set(chip, PIC_IRR, high ? irr | bit : irr & ~bit)
  // The data sheet drops a request whose line falls before INTA. Sources here are pulses, so the latch keeps it.
  else if (high && (before & bit) == 0) set(chip, PIC_IRR, irr | bit)
  set(chip, PIC_LINES, high ? before | bit : before & ~bit)
}

// @ts-ignore: AssemblyScript decorator
@inline
function is_level(chip: usize, bit: u32): bool {
  // The cascade follows the slave's output: an edge latch would lose a second request of the slave.
  if (bit == 4 && chip == vm + PIC_MASTER) return true
  return get(chip, PIC_LEVEL) != 0 || (get(chip, PIC_ELCR) & bit) != 0
}

/** ISA IRQ 0..15 changes level. */
export function pic_set_irq(irq: u32, high: bool): void {
  if (irq == 2) return // the cascade
  set_line(irq < 8 ? vm + PIC_MASTER : vm + PIC_SLAVE, irq & 7, high)
  update()
}

/** First INTA: IRR to ISR, or straight through with automatic EOI. */
function acknowledge(chip: usize, line: u32): void {
  const bit: u32 = 1 << line
  if (get(chip, PIC_AUTO_EOI)) {
    if (get(chip, PIC_ROTATE_AEOI)) set(chip, PIC_PRIORITY, (line + 1) & 7)
  } else {
    set(chip, PIC_ISR, get(chip, PIC_ISR) | bit)
  }
  if (!is_level(chip, bit)) set(chip, PIC_IRR, get(chip, PIC_IRR) & ~bit)
}

/** The INTA cycles of processor c: returns the vector, -1 if INTR is no longer up. Takes the lock. */
export function pic_ack(c: usize): i32 {
  atomic.store<u32>(c + LAPIC_EXTINT, 0)
  const guard = vm + VM_LOCK_IRQ
  lock(guard)
  if (atomic.load<u32>(vm + PIC_OUTPUT) == 0) {
    unlock(guard)
    return -1
  }
  const vector = inta()
  update()
  unlock(guard)
  return vector
}

function inta(): u32 {
  const master = vm + PIC_MASTER
  const line = request(master)
  if (line < 0) return get(master, PIC_VECTOR) + 7 // spurious
  acknowledge(master, line)
  if (line == 0) pit_tick_taken()
  if (line != 2 || get(master, PIC_SINGLE)) return get(master, PIC_VECTOR) + line
  const slave = vm + PIC_SLAVE
  const below = request(slave)
  if (below < 0) return get(slave, PIC_VECTOR) + 7 // spurious at the slave: the master's IR2 stays in service
  acknowledge(slave, below)
  return get(slave, PIC_VECTOR) + below
}

/** Port read: 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1. */
export function pic_read(port: u32): u32 {
  if (port >= 0x4d0) return get(vm + PIC_MASTER + (port & 1) * PIC_STRIDE, PIC_ELCR)
  const chip = port & 0x80 ? vm + PIC_SLAVE : vm + PIC_MASTER
  if (get(chip, PIC_POLL)) return poll(chip)
  if (port & 1) return get(chip, PIC_IMR)
  return get(chip, get(chip, PIC_READ_ISR) ? PIC_ISR : PIC_IRR)
}

/** Poll command: the read is the INTA; bit 7 = a request was there, bits 0-2 its number. */
function poll(chip: usize): u32 {
  set(chip, PIC_POLL, 0)
  const line = request(chip)
  if (line < 0) return 0
  acknowledge(chip, line)
  update()
  return 0x80 | line
}

export function pic_write(port: u32, value: u32): void {
  if (port >= 0x4d0) {
    const master = (port & 1) == 0
    set(vm + PIC_MASTER + (port & 1) * PIC_STRIDE, PIC_ELCR, value & (master ? ELCR_MASTER : ELCR_SLAVE))
    update()
    return
  }
  const chip = port & 0x80 ? vm + PIC_SLAVE : vm + PIC_MASTER
  if (port & 1) write_data(chip, value)
  else if (value & 0x10) write_icw1(chip, value)
  else if (value & 8) write_ocw3(chip, value)
  else write_ocw2(chip, value)
  update()
}

function write_icw1(chip: usize, value: u32): void {
  set(chip, PIC_IRR, 0)
  // Edge detection starts anew: a line that is already high must fall before it can ask again.
  set(chip, PIC_IMR, 0)
  set(chip, PIC_ISR, 0)
  set(chip, PIC_PRIORITY, 0)
  set(chip, PIC_READ_ISR, 0)
  set(chip, PIC_POLL, 0)
  set(chip, PIC_SPECIAL_MASK, 0)
  set(chip, PIC_AUTO_EOI, 0)
  set(chip, PIC_ROTATE_AEOI, 0)
  set(chip, PIC_NESTED, 0)
  set(chip, PIC_ICW4_NEEDED, value & 1)
  set(chip, PIC_SINGLE, (value >> 1) & 1)
  set(chip, PIC_LEVEL, (value >> 3) & 1)
  set(chip, PIC_INIT_STATE, 1)
  // Level lines that are up ask again at once.
  set(chip, PIC_IRR, get(chip, PIC_LINES) & (get(chip, PIC_LEVEL) ? 0xff : get(chip, PIC_ELCR)))
}

function write_data(chip: usize, value: u32): void {
  const state = get(chip, PIC_INIT_STATE)
  if (state == 0) {
    set(chip, PIC_IMR, value)
  } else if (state == 1) {
    set(chip, PIC_VECTOR, value & 0xf8)
    set(chip, PIC_INIT_STATE, get(chip, PIC_SINGLE) ? (get(chip, PIC_ICW4_NEEDED) ? 3 : 0) : 2)
  } else if (state == 2) {
    // ICW3 names the cascade line; the board wires IR2, whatever software says.
    set(chip, PIC_INIT_STATE, get(chip, PIC_ICW4_NEEDED) ? 3 : 0)
  } else {
    set(chip, PIC_NESTED, (value >> 4) & 1)
    set(chip, PIC_AUTO_EOI, (value >> 1) & 1)
    set(chip, PIC_INIT_STATE, 0)
  }
}

function write_ocw3(chip: usize, value: u32): void {
  if (value & 4) set(chip, PIC_POLL, 1)
  if (value & 2) set(chip, PIC_READ_ISR, value & 1)
  if (value & 0x40) set(chip, PIC_SPECIAL_MASK, (value >> 5) & 1)
}

/** OCW2: rotate (7), specific (6), EOI (5), level (0-2). */
function write_ocw2(chip: usize, value: u32): void {
  const command = value >> 5
  const level = value & 7
  if (command == 0 || command == 4) {
    set(chip, PIC_ROTATE_AEOI, command >> 2)
  } else if (command == 1 || command == 5) {
    let service = get(chip, PIC_ISR)
    // In special mask mode a non-specific EOI passes over masked lines.
    if (get(chip, PIC_SPECIAL_MASK)) service &= ~get(chip, PIC_IMR)
    const rank = highest(chip, service)
    if (rank == 8) return
    finish(chip, (rank + get(chip, PIC_PRIORITY)) & 7, command == 5)
  } else if (command == 3 || command == 7) {
    finish(chip, level, command == 7)
  } else if (command == 6) {
    set(chip, PIC_PRIORITY, (level + 1) & 7)
  }
}

function finish(chip: usize, line: u32, rotate: bool): void {
  set(chip, PIC_ISR, get(chip, PIC_ISR) & ~(1 << line))
  if (rotate) set(chip, PIC_PRIORITY, (line + 1) & 7)
}
