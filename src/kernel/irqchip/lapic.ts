/**
 * Local APIC: what is pending, in service and deliverable (SDM Vol. 3, "Advanced Programmable Interrupt Controller").
 *
 * Every function takes the CPU struct of the vCPU whose APIC it works on. IRR, TMR and IRR_WORDS change by atomics
 * from any thread; all the rest belongs to the owner. There is no lock: an IPI is three atomic operations.
 * Absent: APIC bus arbitration, the focus processor, SMIs (accepted and dropped: no SMM code is installed).
 */
import {
  DELIVERY_EXTINT,
  DELIVERY_FIXED,
  DELIVERY_INIT,
  DELIVERY_LOWEST,
  DELIVERY_NMI,
  DELIVERY_SIPI,
  APIC_BASE_BSP,
  APIC_BASE_ENABLE,
  APIC_BASE_X2APIC,
  LAPIC_DFR,
  LAPIC_ESR_PENDING,
  LAPIC_EXTINT,
  LAPIC_GPA,
  LAPIC_ID,
  LAPIC_IRR,
  LAPIC_IRR_WORDS,
  LAPIC_ISR,
  LAPIC_ISR_WORDS,
  LAPIC_LVT_CMCI,
  LAPIC_LVT_ERROR,
  LAPIC_LVT_LINT0,
  LAPIC_LVT_LINT1,
  LAPIC_LVT_MASKED,
  LAPIC_LVT_PERF,
  LAPIC_LVT_THERMAL,
  LAPIC_LVT_TIMER,
  LAPIC_LDR,
  LAPIC_PPR,
  LAPIC_PV_EOI,
  LAPIC_REGS,
  LAPIC_STATE_END,
  LAPIC_SVR,
  LAPIC_SVR_ENABLE,
  LAPIC_SVR_NO_EOI_BROADCAST,
  LAPIC_TIMER_EXPIRES,
  LAPIC_TMR,
  LAPIC_TPR,
  LAPIC_VERSION,
} from '../../abi/irqchip.ts'
import {
  CPU_INDEX,
  CPU_MSR_APIC_BASE,
  CPU_MSR_TSC_DEADLINE,
  CPU_PV_UNHALTED,
  CPU_REQ,
  CPU_SIPI_VECTOR,
  REQ_INIT,
  REQ_INTERRUPT,
  REQ_NMI,
  REQ_SIPI,
} from '../../abi/layout.ts'
import { cpu, cpu_request } from '../state.ts'
import { ioapic_eoi } from './ioapic.ts'
import { pit_vector_taken } from './pit.ts'

/** ESR bits (SDM Vol. 3, "Error Handling"). */
export const ESR_SEND_ILLEGAL_VECTOR: u32 = 0x20
export const ESR_RECEIVE_ILLEGAL_VECTOR: u32 = 0x40
export const ESR_ILLEGAL_REGISTER: u32 = 0x80

/** Version 0x14 with 6 LVT entries, able to suppress the EOI broadcast (bit 24). */
const LAPIC_VERSION_VALUE: u32 = 0x0105_0014

/** Power-on state, APIC base included. */
export function lapic_reset(c: usize): void {
  const bsp: u64 = load<u32>(c, CPU_INDEX) == 0 ? APIC_BASE_BSP : 0
  store<u64>(c, <u64>(<u32>LAPIC_GPA) | APIC_BASE_ENABLE | bsp, CPU_MSR_APIC_BASE)
  store<u32>(c, load<u32>(c, CPU_INDEX) << 24, LAPIC_ID)
  lapic_init(c)
}

/** INIT: all registers but the APIC ID and the APIC base (SDM Vol. 3, "Local APIC State After It Receives an INIT"). */
export function lapic_init(c: usize): void {
  const id = load<u32>(c, LAPIC_ID)
  memory.fill(c + LAPIC_REGS, 0, LAPIC_STATE_END - LAPIC_REGS)
  store<u32>(c, id, LAPIC_ID)
  store<u32>(c, LAPIC_VERSION_VALUE, LAPIC_VERSION)
  store<u32>(c, 0xffff_ffff, LAPIC_DFR)
  store<u32>(c, 0xff, LAPIC_SVR)
  mask_lvts(c)
  // A PC's firmware leaves the boot processor in virtual wire mode: the PIC reaches it through LINT0, NMI through
  // LINT1. Kernels that we start without firmware find it so, as they do under KVM.
  if (load<u32>(c, CPU_INDEX) == 0) {
    store<u32>(c, DELIVERY_EXTINT << 8, LAPIC_LVT_LINT0)
    store<u32>(c, DELIVERY_NMI << 8, LAPIC_LVT_LINT1)
  }
  store<f64>(c, Infinity, LAPIC_TIMER_EXPIRES)
  store<u64>(c, 0, CPU_MSR_TSC_DEADLINE)
  store<u32>(c, 0, CPU_PV_UNHALTED)
  if (lapic_x2apic(c)) x2apic_set_ldr(c)
}

/** Sets the mask bit of every LVT entry: reset, and software disable. */
export function mask_lvts(c: usize): void {
  store<u32>(c, load<u32>(c, LAPIC_LVT_TIMER) | LAPIC_LVT_MASKED, LAPIC_LVT_TIMER)
  store<u32>(c, load<u32>(c, LAPIC_LVT_THERMAL) | LAPIC_LVT_MASKED, LAPIC_LVT_THERMAL)
  store<u32>(c, load<u32>(c, LAPIC_LVT_PERF) | LAPIC_LVT_MASKED, LAPIC_LVT_PERF)
  store<u32>(c, load<u32>(c, LAPIC_LVT_LINT0) | LAPIC_LVT_MASKED, LAPIC_LVT_LINT0)
  store<u32>(c, load<u32>(c, LAPIC_LVT_LINT1) | LAPIC_LVT_MASKED, LAPIC_LVT_LINT1)
  store<u32>(c, load<u32>(c, LAPIC_LVT_ERROR) | LAPIC_LVT_MASKED, LAPIC_LVT_ERROR)
  store<u32>(c, load<u32>(c, LAPIC_LVT_CMCI) | LAPIC_LVT_MASKED, LAPIC_LVT_CMCI)
}

/** x2APIC: the logical id follows from the id (SDM Vol. 3, "Deriving Logical x2APIC ID from the Local x2APIC ID"). */
export function x2apic_set_ldr(c: usize): void {
  const id = load<u32>(c, CPU_INDEX)
  store<u32>(c, ((id >> 4) << 16) | (1 << (id & 15)), LAPIC_LDR)
}

// @ts-ignore: AssemblyScript decorator
@inline
export function lapic_hw_enabled(c: usize): bool {
  return (load<u32>(c, CPU_MSR_APIC_BASE) & APIC_BASE_ENABLE) != 0
}

// @ts-ignore: AssemblyScript decorator
@inline
export function lapic_x2apic(c: usize): bool {
  return (load<u32>(c, CPU_MSR_APIC_BASE) & APIC_BASE_X2APIC) != 0
}

/**
 * An interrupt message arrives at this APIC. Any thread. Returns whether it was taken: level-triggered sources
 * wait for an EOI only then.
 */
export function lapic_accept(c: usize, mode: u32, vector: u32, level: bool): bool {
  if (mode == DELIVERY_FIXED || mode == DELIVERY_LOWEST) return accept_vector(c, vector, level)
  if (!lapic_hw_enabled(c)) return false
  if (mode == DELIVERY_NMI) {
    cpu_request(c, REQ_NMI)
  } else if (mode == DELIVERY_INIT) {
    cpu_request(c, REQ_INIT)
  } else if (mode == DELIVERY_SIPI) {
    atomic.store<u32>(c + CPU_SIPI_VECTOR, vector)
    cpu_request(c, REQ_SIPI)
  } else if (mode == DELIVERY_EXTINT) {
    atomic.store<u32>(c + LAPIC_EXTINT, 1)
    cpu_request(c, REQ_INTERRUPT)
  } else {
    return false
  }
  return true
}

function accept_vector(c: usize, vector: u32, level: bool): bool {
  if ((load<u32>(c, LAPIC_SVR) & LAPIC_SVR_ENABLE) == 0 || !lapic_hw_enabled(c)) return false
  if (vector < 16) {
    lapic_error(c, ESR_RECEIVE_ILLEGAL_VECTOR)
    return false
  }
  const word = vector >> 5
  const bit: u32 = 1 << (vector & 31)
  const tmr = c + LAPIC_TMR + (word << 4)
  if (level) atomic.or<u32>(tmr, bit)
  else if (atomic.load<u32>(tmr) & bit) atomic.and<u32>(tmr, ~bit)
  atomic.or<u32>(c + LAPIC_IRR + (word << 4), bit)
  // The hint comes after the word and is cleared before the word is looked at again: it may be stale, never missing.
  if ((atomic.load<u32>(c + LAPIC_IRR_WORDS) & (1 << word)) == 0) atomic.or<u32>(c + LAPIC_IRR_WORDS, 1 << word)
  if (c == cpu) atomic.or<u32>(c + CPU_REQ, REQ_INTERRUPT)
  else cpu_request(c, REQ_INTERRUPT)
  return true
}

/** Highest vector requested, -1 if none. Owner only. */
function irr_highest(c: usize): i32 {
  let words = atomic.load<u32>(c + LAPIC_IRR_WORDS)
  while (words != 0) {
    const word = 31 - clz(words)
    const irr = atomic.load<u32>(c + LAPIC_IRR + (word << 4))
    if (irr) return (word << 5) | (31 - clz(irr))
    irr_word_empty(c, word)
    words = atomic.load<u32>(c + LAPIC_IRR_WORDS)
  }
  return -1
}

function irr_word_empty(c: usize, word: u32): void {
  atomic.and<u32>(c + LAPIC_IRR_WORDS, ~(1 << word))
  if (atomic.load<u32>(c + LAPIC_IRR + (word << 4))) atomic.or<u32>(c + LAPIC_IRR_WORDS, 1 << word)
}

/** Highest vector in service, -1 if none. */
export function isr_highest(c: usize): i32 {
  const words = load<u32>(c, LAPIC_ISR_WORDS)
  if (words == 0) return -1
  const word = 31 - clz(words)
  return (word << 5) | (31 - clz(load<u32>(c + LAPIC_ISR + (word << 4))))
}

/** PPR = the greater of TPR and the class in service (SDM Vol. 3, "Task and Processor Priorities"). */
export function lapic_update_ppr(c: usize): void {
  const tpr = load<u32>(c, LAPIC_TPR)
  const service = isr_highest(c)
  const isrv: u32 = service < 0 ? 0 : service
  store<u32>(c, (tpr & 0xf0) >= (isrv & 0xf0) ? tpr : isrv & 0xf0, LAPIC_PPR)
}

/** Vector that the APIC would deliver now, -1 if none. Owner only. */
export function lapic_deliverable(c: usize): i32 {
  if (atomic.load<u32>(c + LAPIC_IRR_WORDS) == 0) return -1
  const vector = irr_highest(c)
  if (vector < 0 || <u32>(vector & 0xf0) <= (load<u32>(c, LAPIC_PPR) & 0xf0)) return -1
  return lapic_hw_enabled(c) ? vector : -1
}

/** Moves a vector from IRR to ISR. Owner only. */
export function lapic_take(c: usize, vector: u32): void {
  const word = vector >> 5
  const bit: u32 = 1 << (vector & 31)
  const before = atomic.and<u32>(c + LAPIC_IRR + (word << 4), ~bit)
  if ((before & ~bit) == 0) irr_word_empty(c, word)
  const isr = c + LAPIC_ISR + (word << 4)
  store<u32>(isr, load<u32>(isr) | bit)
  store<u32>(c, load<u32>(c, LAPIC_ISR_WORDS) | (1 << word), LAPIC_ISR_WORDS)
  lapic_update_ppr(c)
  pit_vector_taken(vector)
}

/** EOI: the highest vector in service is finished. Owner only. */
export function lapic_eoi(c: usize): void {
  store<u32>(c, 0, LAPIC_PV_EOI)
  const vector = isr_highest(c)
  if (vector < 0) return
  const word = <u32>vector >> 5
  const bit: u32 = 1 << (vector & 31)
  const isr = c + LAPIC_ISR + (word << 4)
  const left = load<u32>(isr) & ~bit
  store<u32>(isr, left)
  if (left == 0) store<u32>(c, load<u32>(c, LAPIC_ISR_WORDS) & ~(1 << word), LAPIC_ISR_WORDS)
  lapic_update_ppr(c)
  if (atomic.load<u32>(c + LAPIC_TMR + (word << 4)) & bit) {
    if ((load<u32>(c, LAPIC_SVR) & LAPIC_SVR_NO_EOI_BROADCAST) == 0) ioapic_eoi(vector)
  }
  lapic_recheck(c)
}

/** After anything that may unblock a pending interrupt: TPR lowered, EOI. */
export function lapic_recheck(c: usize): void {
  if (lapic_deliverable(c) >= 0) atomic.or<u32>(c + CPU_REQ, REQ_INTERRUPT)
}

export function lapic_set_tpr(c: usize, value: u32): void {
  store<u32>(c, value & 0xff, LAPIC_TPR)
  lapic_update_ppr(c)
  lapic_recheck(c)
}

/** Notes an APIC error; the error LVT fires once per error (SDM Vol. 3, "Error Handling"). */
export function lapic_error(c: usize, bits: u32): void {
  const before = atomic.or<u32>(c + LAPIC_ESR_PENDING, bits)
  if (before & bits) return
  // An illegal vector in the error LVT itself must not recurse.
  if ((load<u32>(c, LAPIC_LVT_ERROR) & 0xff) < 16) return
  lapic_local(c, LAPIC_LVT_ERROR)
}

/** A local source fires: register = LAPIC_LVT_*. Returns whether the interrupt was taken. */
export function lapic_local(c: usize, register: usize): bool {
  if (!lapic_hw_enabled(c)) return false
  const lvt = load<u32>(c + register)
  if (lvt & LAPIC_LVT_MASKED) return false
  const mode = (lvt >> 8) & 7
  // Timer and error have no delivery mode field: always fixed.
  if (register == LAPIC_LVT_TIMER || register == LAPIC_LVT_ERROR || mode == DELIVERY_FIXED) {
    return accept_vector(c, lvt & 0xff, mode == DELIVERY_FIXED && (lvt & 0x8000) != 0)
  }
  return lapic_accept(c, mode, lvt & 0xff, false)
}
