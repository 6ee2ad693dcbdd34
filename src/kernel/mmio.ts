/**
 * Accesses to guest-physical addresses that are no RAM: the local APIC page of this vCPU, then the range table that the
 * hub keeps (VM_MMIO_TABLE). The table may be rewritten at any time; VM_MMIO_SEQ tells (odd = in progress).
 */
import {
  ACCESS_IGNORE,
  ACCESS_KERNEL,
  ACCESS_NONE,
  ACCESS_POSTED,
  ACCESS_SHADOW,
  ACCESS_SYNC,
  EXIT_KIND_KERNEL,
  EXIT_KIND_MMIO_READ,
  EXIT_KIND_MMIO_WRITE,
  EXIT_KIND_SHADOW,
  KDEV_HPET,
  KDEV_IOAPIC,
  KDEV_TESTDEV,
  LOG_UNKNOWN_MMIO,
  MMIO_CLASS,
  MMIO_END,
  MMIO_ENTRY_SIZE,
  MMIO_SHADOW,
  MMIO_START,
} from '../abi/exits.ts'
import { APIC_BASE_ENABLE, APIC_BASE_X2APIC } from '../abi/irqchip.ts'
import { CPU_MSR_APIC_BASE, VM_MMIO_COUNT, VM_MMIO_MAX, VM_MMIO_SEQ, VM_MMIO_TABLE } from '../abi/layout.ts'
import { count_exit, exit_posted, exit_sync, log_once } from './exit.ts'
import { hpet_read, hpet_write } from './irqchip/hpet.ts'
import { ioapic_read, ioapic_write } from './irqchip/ioapic.ts'
import { lapic_mmio_read, lapic_mmio_write } from './irqchip/lapic-registers.ts'
import { cpu, vm } from './state.ts'

// The range found last, valid while the sequence number is hitSeq. hitSeq is odd when there is none.
let hitSeq: u32 = 1
let hitStart: u64 = 0
let hitEnd: u64 = 0
let hitClass: u32 = 0
let hitShadow: u32 = 0

// @ts-ignore: AssemblyScript decorator
@inline
function ones(bytes: u32): u64 {
  return bytes >= 8 ? ~(<u64>0) : (<u64>1 << (bytes << 3)) - 1
}

/** Finds the range of an address; false = nobody's. */
function find(gpa: u64): bool {
  for (;;) {
    const seq = atomic.load<u32>(vm + VM_MMIO_SEQ)
    if (seq == hitSeq && gpa >= hitStart && gpa < hitEnd) return true
    if (seq & 1) continue
    hitSeq = 1
    const found = search(gpa)
    if (atomic.load<u32>(vm + VM_MMIO_SEQ) != seq) continue
    if (found) hitSeq = seq
    return found
  }
}

function search(gpa: u64): bool {
  let low: u32 = 0
  let high = min(load<u32>(vm, VM_MMIO_COUNT), VM_MMIO_MAX)
  while (low < high) {
    const middle = (low + high) >> 1
    const entry = vm + VM_MMIO_TABLE + middle * MMIO_ENTRY_SIZE
    if (gpa < load<u64>(entry, MMIO_START)) {
      high = middle
    } else if (gpa >= load<u64>(entry, MMIO_END)) {
      low = middle + 1
    } else {
      hitStart = load<u64>(entry, MMIO_START)
      hitEnd = load<u64>(entry, MMIO_END)
      hitClass = load<u32>(entry, MMIO_CLASS)
      hitShadow = load<u32>(entry, MMIO_SHADOW)
      return true
    }
  }
  return false
}

// @ts-ignore: AssemblyScript decorator
@inline
function is_lapic(gpa: u64): bool {
  const base = load<u64>(cpu, CPU_MSR_APIC_BASE)
  if ((gpa ^ base) >> 12) return false
  return (<u32>base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == APIC_BASE_ENABLE
}

/** A read of 1, 2, 4 or 8 bytes within one page. */
export function mmio_read(gpa: u64, bytes: u32): u64 {
  if (is_lapic(gpa)) {
    count_exit(EXIT_KIND_KERNEL)
    return lapic_mmio_read(cpu, <u32>gpa & 0xfff, bytes)
  }
  const kind = find(gpa) ? hitClass & 15 : ACCESS_NONE
  if (kind == ACCESS_SYNC) return exit_sync(EXIT_KIND_MMIO_READ, gpa, bytes, 0, 1) & ones(bytes)
  if (kind == ACCESS_SHADOW && hitShadow != 0 && gpa + bytes <= hitEnd) {
    count_exit(EXIT_KIND_SHADOW)
    return load_sized(<usize>hitShadow + <usize>(gpa - hitStart), bytes)
  }
  if (kind == ACCESS_KERNEL) {
    count_exit(EXIT_KIND_KERNEL)
    return device_read(hitClass >> 8, gpa, bytes) & ones(bytes)
  }
  if (kind != ACCESS_IGNORE) log_once(LOG_UNKNOWN_MMIO, gpa, bytes)
  return ones(bytes)
}

export function mmio_write(gpa: u64, bytes: u32, value: u64): void {
  value &= ones(bytes)
  if (is_lapic(gpa)) {
    count_exit(EXIT_KIND_KERNEL)
    lapic_mmio_write(cpu, <u32>gpa & 0xfff, bytes, value)
    return
  }
  const kind = find(gpa) ? (hitClass >> 4) & 15 : ACCESS_NONE
  if (kind == ACCESS_SYNC) {
    exit_sync(EXIT_KIND_MMIO_WRITE, gpa, bytes, value, 1)
  } else if (kind == ACCESS_POSTED) {
    exit_posted(EXIT_KIND_MMIO_WRITE, gpa, bytes, value)
  } else if (kind == ACCESS_KERNEL) {
    count_exit(EXIT_KIND_KERNEL)
    device_write(hitClass >> 8, gpa, bytes, value)
  } else if (kind == ACCESS_NONE) {
    log_once(LOG_UNKNOWN_MMIO, gpa, bytes | 0x100)
  }
}

function load_sized(at: usize, bytes: u32): u64 {
  if (bytes == 1) return load<u8>(at)
  if (bytes == 2) return load<u16>(at)
  return bytes == 4 ? load<u32>(at) : load<u64>(at)
}

function store_sized(at: usize, bytes: u32, value: u64): void {
  if (bytes == 1) store<u8>(at, <u8>value)
  else if (bytes == 2) store<u16>(at, <u16>value)
  else if (bytes == 4) store<u32>(at, <u32>value)
  else store<u64>(at, value)
}

function device_read(device: u32, gpa: u64, bytes: u32): u64 {
  const offset = <u32>(gpa - hitStart)
  if (device == KDEV_IOAPIC) return <u64>ioapic_read(offset & ~3) >> ((offset & 3) << 3)
  if (device == KDEV_HPET) return hpet_read(offset & ~7) >> ((offset & 7) << 3)
  // pc-testdev's I/O RAM: memory that is reached the way of a device.
  if (device == KDEV_TESTDEV && hitShadow != 0 && gpa + bytes <= hitEnd) return load_sized(<usize>hitShadow + offset, bytes)
  return ~(<u64>0)
}

function device_write(device: u32, gpa: u64, bytes: u32, value: u64): void {
  const offset = <u32>(gpa - hitStart)
  if (device == KDEV_IOAPIC) {
    if ((offset & 3) == 0) ioapic_write(offset, <u32>value)
  } else if (device == KDEV_HPET) {
    hpet_write(offset, bytes, value)
  } else if (device == KDEV_TESTDEV && hitShadow != 0 && gpa + bytes <= hitEnd) {
    store_sized(<usize>hitShadow + offset, bytes, value)
  }
}
