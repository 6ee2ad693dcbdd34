/**
 * MSRs of the local APIC: IA32_APIC_BASE, IA32_TSC_DEADLINE, the x2APIC range 0x800-0x8ff; and CR8.
 * SDM Vol. 3, "Local APIC Status and Location", "x2APIC State Transitions".
 */
import {
  APIC_BASE_BSP,
  APIC_BASE_ENABLE,
  APIC_BASE_X2APIC,
  LAPIC_ID,
  LAPIC_TPR,
} from '../../abi/irqchip.ts'
import {
  CPU_INDEX,
  CPU_MSR_APIC_BASE,
  CPU_MSR_TSC_DEADLINE,
  CPU_REQ,
  REQ_INTERRUPT,
  VM_MAXPHYADDR,
} from '../../abi/layout.ts'
import { cpu, raise_error, VECTOR_GP, vm } from '../state.ts'
import { lapic_register_read, x2apic_icr, x2apic_readable, x2apic_write } from './lapic-registers.ts'
import { lapic_timer_set_deadline } from './lapic-timer.ts'
import { lapic_init, lapic_set_tpr, lapic_x2apic, x2apic_set_ldr } from './lapic.ts'

const MSR_APIC_BASE: u32 = 0x1b
const MSR_TSC_DEADLINE: u32 = 0x6e0
const MSR_X2APIC: u32 = 0x800
const REG_ICR: u32 = 0x300

/** Whether apic_msr_read and apic_msr_write answer for an MSR. */
export function apic_msr_owns(index: u32): bool {
  return index == MSR_APIC_BASE || index == MSR_TSC_DEADLINE || index >> 8 == MSR_X2APIC >> 8
}

/** RDMSR of this vCPU. Raises #GP(0) itself for what cannot be read. */
export function apic_msr_read(index: u32): u64 {
  if (index == MSR_APIC_BASE) return load<u64>(cpu, CPU_MSR_APIC_BASE)
  if (index == MSR_TSC_DEADLINE) return load<u64>(cpu, CPU_MSR_TSC_DEADLINE)
  const register = (index & 0xff) << 4
  if (index >> 8 != MSR_X2APIC >> 8 || !lapic_x2apic(cpu) || !x2apic_readable(register)) {
    raise_error(VECTOR_GP, 0)
    return 0
  }
  return register == REG_ICR ? x2apic_icr(cpu) : lapic_register_read(cpu, register)
}

/** WRMSR of this vCPU: false = the caller raises #GP(0). */
export function apic_msr_write(index: u32, value: u64): bool {
  if (index == MSR_APIC_BASE) return apic_base_write(cpu, value)
  if (index == MSR_TSC_DEADLINE) {
    lapic_timer_set_deadline(cpu, value)
    return true
  }
  if (index >> 8 != MSR_X2APIC >> 8 || !lapic_x2apic(cpu)) return false
  return x2apic_write(cpu, (index & 0xff) << 4, value)
}

/** Modes may only go off -> xAPIC -> x2APIC -> off, or xAPIC -> off. */
export function apic_base_write(c: usize, value: u64): bool {
  const addressBits = (<u64>1 << load<u32>(vm, VM_MAXPHYADDR)) - 1
  const allowed = (addressBits & ~0xfff) | APIC_BASE_BSP | APIC_BASE_X2APIC | APIC_BASE_ENABLE
  if (value & ~allowed) return false
  const before = load<u64>(c, CPU_MSR_APIC_BASE)
  const wasOn = (before & APIC_BASE_ENABLE) != 0
  const wasX2 = (before & APIC_BASE_X2APIC) != 0
  const on = (value & APIC_BASE_ENABLE) != 0
  const x2 = (value & APIC_BASE_X2APIC) != 0
  if (x2 && !on) return false
  if (wasX2 && on && !x2) return false
  if (!wasOn && x2) return false
  store<u64>(c, value, CPU_MSR_APIC_BASE)
  if (x2 && !wasX2) x2apic_set_ldr(c)
  if (wasOn && !on) {
    lapic_init(c)
    // Coming back from x2APIC the id register holds the initial id again.
    if (wasX2) store<u32>(c, load<u32>(c, CPU_INDEX) << 24, LAPIC_ID)
  }
  atomic.or<u32>(c + CPU_REQ, REQ_INTERRUPT) // with the APIC off, INTR is the PIC's
  return true
}

/** CR8 is TPR bits 4-7. */
export function cr8_read(): u64 {
  return load<u32>(cpu, LAPIC_TPR) >> 4
}

/** The caller has checked the reserved bits. */
export function cr8_write(value: u64): void {
  lapic_set_tpr(cpu, (<u32>value & 15) << 4)
}
