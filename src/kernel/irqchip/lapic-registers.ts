/**
 * Local APIC registers, reached by MMIO (xAPIC) or MSRs (x2APIC): one table of offsets for both
 * (SDM Vol. 3, "Local APIC Register Address Map", "x2APIC Register Address Space").
 */
import {
  LAPIC_ESR,
  LAPIC_ESR_PENDING,
  LAPIC_LVT_MASKED,
  LAPIC_REGS,
  LAPIC_SVR,
  LAPIC_SVR_ENABLE,
} from '../../abi/irqchip.ts'
import { CPU_INDEX } from '../../abi/layout.ts'
import { icr_write, ipi_send } from './ipi.ts'
import { lapic_timer_current, lapic_timer_set_divide, lapic_timer_set_lvt, lapic_timer_start } from './lapic-timer.ts'
import {
  ESR_ILLEGAL_REGISTER,
  lapic_accept,
  lapic_eoi,
  lapic_error,
  lapic_recheck,
  lapic_set_tpr,
  lapic_x2apic,
  mask_lvts,
} from './lapic.ts'
import { lint0_changed } from './pic.ts'

// Register offsets in the page; x2APIC MSR number = 0x800 + offset / 16.
const REG_ID: u32 = 0x20
const REG_VERSION: u32 = 0x30
const REG_TPR: u32 = 0x80
const REG_APR: u32 = 0x90
const REG_PPR: u32 = 0xa0
const REG_EOI: u32 = 0xb0
const REG_RRD: u32 = 0xc0
const REG_LDR: u32 = 0xd0
const REG_DFR: u32 = 0xe0
const REG_SVR: u32 = 0xf0
const REG_ISR: u32 = 0x100
const REG_ESR: u32 = 0x280
const REG_CMCI: u32 = 0x2f0
const REG_ICR_LOW: u32 = 0x300
const REG_ICR_HIGH: u32 = 0x310
const REG_LVT_TIMER: u32 = 0x320
const REG_LVT_THERMAL: u32 = 0x330
const REG_LVT_PERF: u32 = 0x340
const REG_LVT_LINT0: u32 = 0x350
const REG_LVT_LINT1: u32 = 0x360
const REG_LVT_ERROR: u32 = 0x370
const REG_TIMER_INITIAL: u32 = 0x380
const REG_TIMER_CURRENT: u32 = 0x390
const REG_TIMER_DIVIDE: u32 = 0x3e0
const REG_SELF_IPI: u32 = 0x3f0

/** SVR: vector, enable, focus (9), suppress EOI broadcast (12). */
const SVR_WRITABLE: u32 = 0x13ff

/** Whether an MMIO register exists; reading another one is an illegal register access. */
function exists(register: u32): bool {
  if (register >= REG_ISR && register <= REG_ESR) return true
  if (register >= REG_CMCI && register <= REG_TIMER_CURRENT) return true
  return (
    register == REG_ID || register == REG_VERSION || (register >= REG_TPR && register <= REG_SVR) ||
    register == REG_TIMER_DIVIDE
  )
}

/** Bits of an LVT entry that software can set; 0 for what is no LVT entry. */
function lvt_writable(register: u32): u32 {
  if (register == REG_LVT_TIMER) return 0x0007_00ff
  if (register == REG_LVT_LINT0 || register == REG_LVT_LINT1) return 0x0001_a7ff
  if (register == REG_LVT_ERROR) return 0x0001_00ff
  if (register == REG_LVT_THERMAL || register == REG_LVT_PERF || register == REG_CMCI) return 0x0001_07ff
  return 0
}

export function lapic_register_read(c: usize, register: u32): u32 {
  if (register == REG_TIMER_CURRENT) return lapic_timer_current(c)
  if (register == REG_ID && lapic_x2apic(c)) return load<u32>(c, CPU_INDEX)
  if (register == REG_EOI || register == REG_APR || register == REG_RRD) return 0
  return atomic.load<u32>(c + LAPIC_REGS + register)
}

/** Registers that both access forms write alike. Returns false for what cannot be written. */
function register_write(c: usize, register: u32, value: u32): bool {
  if (register == REG_EOI) {
    lapic_eoi(c)
  } else if (register == REG_TPR) {
    lapic_set_tpr(c, value)
  } else if (register == REG_LVT_TIMER) {
    lapic_timer_set_lvt(c, lvt_value(c, register, value))
  } else if (register == REG_TIMER_INITIAL) {
    lapic_timer_start(c, value)
  } else if (register == REG_TIMER_DIVIDE) {
    lapic_timer_set_divide(c, value)
  } else if (register == REG_SVR) {
    svr_write(c, value & SVR_WRITABLE)
  } else if (register == REG_ESR) {
    store<u32>(c, atomic.xchg<u32>(c + LAPIC_ESR_PENDING, 0), LAPIC_ESR)
  } else if (lvt_writable(register) != 0) {
    store<u32>(c + LAPIC_REGS + register, lvt_value(c, register, value))
    if (register == REG_LVT_LINT0) lint0_changed(c)
  } else {
    return false
  }
  return true
}

/** Software disable holds every mask bit (SDM Vol. 3, "Local APIC State After It Has Been Software Disabled"). */
function lvt_value(c: usize, register: u32, value: u32): u32 {
  const masked: u32 = load<u32>(c, LAPIC_SVR) & LAPIC_SVR_ENABLE ? 0 : LAPIC_LVT_MASKED
  // Level-triggered LINT entries keep remote IRR and delivery status clear: their interrupts need no later EOI here.
  return (value & lvt_writable(register)) | masked
}

function svr_write(c: usize, value: u32): void {
  store<u32>(c, value, LAPIC_SVR)
  if ((value & LAPIC_SVR_ENABLE) == 0) mask_lvts(c)
  lapic_recheck(c)
}

/** MMIO read in the APIC page: registers are 32 bits wide, on 16-byte boundaries. */
export function lapic_mmio_read(c: usize, offset: u32, bytes: u32): u64 {
  const register = offset & 0xff0
  if (!exists(register)) {
    lapic_error(c, ESR_ILLEGAL_REGISTER)
    return 0
  }
  const value = <u64>lapic_register_read(c, register) >> ((offset & 3) << 3)
  // Bytes 4..15 of a register's slot read as zero.
  if (offset & 12) return 0
  return bytes >= 8 ? value : value & ((<u64>1 << (bytes << 3)) - 1)
}

export function lapic_mmio_write(c: usize, offset: u32, bytes: u32, value: u64): void {
  // Only aligned 32-bit writes are defined; others are dropped, as KVM drops them.
  if ((offset & 15) != 0 || bytes < 4) return
  const register = offset
  const word = <u32>value
  if (register == REG_ICR_LOW) {
    icr_write(c, word)
  } else if (register == REG_ICR_HIGH) {
    store<u32>(c + LAPIC_REGS + register, word & 0xff00_0000)
  } else if (register == REG_ID || register == REG_LDR) {
    store<u32>(c + LAPIC_REGS + register, word & 0xff00_0000)
  } else if (register == REG_DFR) {
    store<u32>(c + LAPIC_REGS + register, word | 0x0fff_ffff)
  } else if (!register_write(c, register, word) && !exists(register)) {
    lapic_error(c, ESR_ILLEGAL_REGISTER)
  }
}

/** Whether an x2APIC MSR exists and can be read (SDM Vol. 3, table "Local APIC Register Address Map Supported by x2APIC"). */
export function x2apic_readable(register: u32): bool {
  if (register == REG_ICR_HIGH || register == REG_DFR || register == REG_APR || register == REG_RRD) return false
  return register != REG_EOI && exists(register)
}

/** x2APIC write: false = #GP(0), for read-only registers and reserved bits. */
export function x2apic_write(c: usize, register: u32, value: u64): bool {
  if (register == REG_ICR_LOW) {
    const low = <u32>value
    if (low & 0xfff3_2000) return false
    store<u32>(c + LAPIC_REGS + REG_ICR_LOW, low & ~0x1000)
    store<u32>(c + LAPIC_REGS + REG_ICR_HIGH, <u32>(value >> 32))
    ipi_send(c, low, <u32>(value >> 32))
    return true
  }
  if (value >> 32) return false
  const word = <u32>value
  if (register == REG_SELF_IPI) {
    if (word & ~0xff) return false
    lapic_accept(c, 0, word, false)
    return true
  }
  if ((register == REG_EOI || register == REG_ESR) && word != 0) return false
  if (register == REG_TPR && word & ~0xff) return false
  if (register == REG_SVR && word & ~SVR_WRITABLE) return false
  if (register == REG_TIMER_DIVIDE && word & ~0xb) return false
  const writable = lvt_writable(register)
  // Delivery status and remote IRR are read-only, not reserved.
  if (writable != 0 && word & ~(writable | 0x5000)) return false
  return register_write(c, register, word)
}

/** ICR as the 64-bit x2APIC register. */
export function x2apic_icr(c: usize): u64 {
  return (<u64>load<u32>(c + LAPIC_REGS + REG_ICR_HIGH) << 32) | load<u32>(c + LAPIC_REGS + REG_ICR_LOW)
}
