/**
 * KVM's paravirtual MSRs (Linux Documentation/virt/kvm/x86/msr.rst): kvmclock, wall clock, steal time, PV EOI.
 * Guest pages are named by guest-physical address; one that is no RAM is accepted and never written, as under KVM.
 */
import {
  LAPIC_IRR_WORDS,
  LAPIC_PV_EOI,
  LAPIC_TMR,
  MSR_KVM_POLL_CONTROL,
  MSR_KVM_PV_EOI_EN,
  MSR_KVM_STEAL_TIME,
  MSR_KVM_SYSTEM_TIME,
  MSR_KVM_SYSTEM_TIME_NEW,
  MSR_KVM_WALL_CLOCK,
  MSR_KVM_WALL_CLOCK_NEW,
  PV_GUEST_STOPPED,
  PV_STOLEN_NS,
} from '../abi/irqchip.ts'
import {
  CPU_MSR_KVM_POLL_CONTROL,
  CPU_MSR_KVM_PV_EOI,
  CPU_MSR_KVM_STEAL_TIME,
  CPU_MSR_KVM_SYSTEM_TIME,
  CPU_MSR_KVM_WALL_CLOCK,
  CPU_MSR_TSC_ADJUST,
  VM_TSC_BASE,
  VM_TSC_KHZ,
  VM_WALL_BASE,
} from '../abi/layout.ts'
import { gpa_host } from './frames.ts'
import { lapic_eoi } from './irqchip/lapic.ts'
import { cpu, raise_error, VECTOR_GP, vm } from './state.ts'
import { tlb_flush_all } from './tlb.ts'

// struct pvclock_vcpu_time_info, 32 bytes
const PVCLOCK_VERSION: usize = 0
const PVCLOCK_TSC: usize = 8
const PVCLOCK_SYSTEM_TIME: usize = 16
const PVCLOCK_MUL: usize = 24
const PVCLOCK_SHIFT: usize = 28
const PVCLOCK_FLAGS: usize = 29
const PVCLOCK_SIZE: u32 = 32
const PVCLOCK_TSC_STABLE: u8 = 1
const PVCLOCK_GUEST_STOPPED: u8 = 2

// struct kvm_steal_time, 64 bytes
const STEAL_NS: usize = 0
const STEAL_VERSION: usize = 8
const STEAL_PREEMPTED: usize = 16
const STEAL_SIZE: u32 = 64
const KVM_VCPU_PREEMPTED: u8 = 1
const KVM_VCPU_FLUSH_TLB: u8 = 2

/** Resume generation that this vCPU's page has been told of. */
let stoppedSeen: u32 = 0

/** Whether kvm_msr_read and kvm_msr_write answer for an MSR. */
export function kvm_msr_owns(index: u32): bool {
  return index == MSR_KVM_WALL_CLOCK || index == MSR_KVM_SYSTEM_TIME || index >> 8 == MSR_KVM_WALL_CLOCK_NEW >> 8
}

/** RDMSR; raises #GP(0) itself for one that does not exist. */
export function kvm_msr_read(index: u32): u64 {
  if (index == MSR_KVM_SYSTEM_TIME || index == MSR_KVM_SYSTEM_TIME_NEW) return load<u64>(cpu, CPU_MSR_KVM_SYSTEM_TIME)
  if (index == MSR_KVM_WALL_CLOCK || index == MSR_KVM_WALL_CLOCK_NEW) return load<u64>(cpu, CPU_MSR_KVM_WALL_CLOCK)
  if (index == MSR_KVM_STEAL_TIME) return load<u64>(cpu, CPU_MSR_KVM_STEAL_TIME)
  if (index == MSR_KVM_PV_EOI_EN) return load<u64>(cpu, CPU_MSR_KVM_PV_EOI)
  if (index == MSR_KVM_POLL_CONTROL) return load<u64>(cpu, CPU_MSR_KVM_POLL_CONTROL)
  raise_error(VECTOR_GP, 0)
  return 0
}

/** WRMSR: false = the caller raises #GP(0). */
export function kvm_msr_write(index: u32, value: u64): bool {
  if (index == MSR_KVM_SYSTEM_TIME || index == MSR_KVM_SYSTEM_TIME_NEW) {
    store<u64>(cpu, value, CPU_MSR_KVM_SYSTEM_TIME)
    pv_clock_update()
    return true
  }
  if (index == MSR_KVM_WALL_CLOCK || index == MSR_KVM_WALL_CLOCK_NEW) {
    store<u64>(cpu, value, CPU_MSR_KVM_WALL_CLOCK)
    write_wall_clock(value)
    return true
  }
  if (index == MSR_KVM_STEAL_TIME) {
    if (value & 0x3e) return false
    store<u64>(cpu, value, CPU_MSR_KVM_STEAL_TIME)
    write_steal_time()
    return true
  }
  if (index == MSR_KVM_PV_EOI_EN) {
    if (value & 2) return false
    pv_eoi_sync()
    store<u64>(cpu, value, CPU_MSR_KVM_PV_EOI)
    return true
  }
  if (index == MSR_KVM_POLL_CONTROL) {
    if (value & ~(<u64>1)) return false
    store<u64>(cpu, value, CPU_MSR_KVM_POLL_CONTROL)
    return true
  }
  return false
}

/** Power-on values of this vCPU's paravirtual MSRs. */
export function pv_reset(c: usize): void {
  store<u64>(c, 0, CPU_MSR_KVM_SYSTEM_TIME)
  store<u64>(c, 0, CPU_MSR_KVM_WALL_CLOCK)
  store<u64>(c, 0, CPU_MSR_KVM_STEAL_TIME)
  store<u64>(c, 0, CPU_MSR_KVM_PV_EOI)
  store<u64>(c, 1, CPU_MSR_KVM_POLL_CONTROL)
}

/** A structure in guest memory that may be written; 0 if it is not RAM or crosses a page. */
function guest_struct(gpa: u64, bytes: u32): usize {
  if ((<u32>gpa & 0xfff) + bytes > 0x1000) return 0
  return gpa_host(gpa, true)
}

// --- clock -----------------------------------------------------------------------------------------------------------

/**
 * Writes this vCPU's pvclock page. The pair (TSC, time) is guest time 0 on every vCPU, so that all of them compute
 * the same time from the same TSC, as TSC_STABLE promises. An odd version means "being written".
 */
export function pv_clock_update(): void {
  const msr = load<u64>(cpu, CPU_MSR_KVM_SYSTEM_TIME)
  if ((msr & 1) == 0) return
  const page = guest_struct(msr & ~(<u64>1), PVCLOCK_SIZE)
  if (page == 0) return
  const version = begin_write(page + PVCLOCK_VERSION)
  store<u64>(page, load<u64>(vm, VM_TSC_BASE) + load<u64>(cpu, CPU_MSR_TSC_ADJUST), PVCLOCK_TSC)
  store<u64>(page, 0, PVCLOCK_SYSTEM_TIME)
  write_scale(page)
  let flags = PVCLOCK_TSC_STABLE
  const stopped = atomic.load<u32>(vm + PV_GUEST_STOPPED)
  // The guest clears the flag once it has told its watchdogs; one that it has not seen yet stays.
  if (stopped != stoppedSeen) flags |= PVCLOCK_GUEST_STOPPED
  else flags |= load<u8>(page, PVCLOCK_FLAGS) & PVCLOCK_GUEST_STOPPED
  stoppedSeen = stopped
  store<u8>(page, flags, PVCLOCK_FLAGS)
  end_write(page + PVCLOCK_VERSION, version)
}

/** ns = (ticks << shift) * mul >> 32, with mul in [2^31, 2^32). */
function write_scale(page: usize): void {
  let nsPerTick = 1e6 / <f64>load<u32>(vm, VM_TSC_KHZ)
  let shift = 0
  while (nsPerTick >= 1) {
    nsPerTick /= 2
    shift++
  }
  while (nsPerTick < 0.5) {
    nsPerTick *= 2
    shift--
  }
  store<u32>(page, <u32>(nsPerTick * 4294967296), PVCLOCK_MUL)
  store<u8>(page, <u8>shift, PVCLOCK_SHIFT)
}

function begin_write(version: usize): u32 {
  const odd = load<u32>(version) | 1
  atomic.store<u32>(version & ~3, odd)
  return odd
}

function end_write(version: usize, odd: u32): void {
  atomic.store<u32>(version & ~3, odd + 1)
}

/** Wall clock at guest time 0: u32 version, seconds, nanoseconds. */
function write_wall_clock(gpa: u64): void {
  const page = guest_struct(gpa & ~(<u64>3), 12)
  if (page == 0) return
  const wall = load<f64>(vm, VM_WALL_BASE)
  const seconds = Math.floor(wall / 1e9)
  const version = begin_write(page)
  store<u32>(page, <u32>seconds, 4)
  store<u32>(page, <u32>(wall - seconds * 1e9), 8)
  end_write(page, version)
}

/** After a resume: tells this vCPU's guest code that it was stopped. Cheap when it was not. */
export function pv_run(): void {
  if (atomic.load<u32>(vm + PV_GUEST_STOPPED) == stoppedSeen) return
  if (load<u64>(cpu, CPU_MSR_KVM_SYSTEM_TIME) & 1) pv_clock_update()
  else stoppedSeen = atomic.load<u32>(vm + PV_GUEST_STOPPED)
  write_steal_time()
}

function steal_page(): usize {
  const msr = load<u64>(cpu, CPU_MSR_KVM_STEAL_TIME)
  return msr & 1 ? guest_struct(msr & ~(<u64>0x3f), STEAL_SIZE) : 0
}

/**
 * This vCPU gives its core away at an instruction boundary although it has work: the guest's lock holders, scheduler and
 * TLB shootdowns need not wait for it. A halted vCPU is not reported, as under KVM: Linux takes no idle processor
 * for a task to wake up on that it believes preempted.
 */
export function pv_preempted(): void {
  const page = steal_page()
  if (page != 0) atomic.store<u8>(page + STEAL_PREEMPTED, KVM_VCPU_PREEMPTED)
}

/** It runs again: makes up for the shootdowns that others left to it (KVM_FEATURE_PV_TLB_FLUSH). */
export function pv_resumed(): void {
  const page = steal_page()
  if (page != 0 && atomic.xchg<u8>(page + STEAL_PREEMPTED, 0) & KVM_VCPU_FLUSH_TLB) tlb_flush_all()
}

/** Steal time: what the vCPU could not run while guest time went on. */
function write_steal_time(): void {
  const page = steal_page()
  if (page == 0) return
  const version = begin_write(page + STEAL_VERSION)
  store<u64>(page, <u64>load<f64>(vm, PV_STOLEN_NS), STEAL_NS)
  end_write(page + STEAL_VERSION, version)
}

// --- PV EOI ----------------------------------------------------------------------------------------------------------

function pv_eoi_byte(): usize {
  const msr = load<u64>(cpu, CPU_MSR_KVM_PV_EOI)
  return msr & 1 ? guest_struct(msr & ~(<u64>3), 1) : 0
}

/**
 * Lets the guest finish the vector just taken by clearing a bit in its memory, without touching the APIC. Only when
 * nobody needs to hear of the EOI: an edge interrupt, and nothing else requested that it would unblock.
 */
export function pv_eoi_offer(vector: u32): void {
  if ((load<u64>(cpu, CPU_MSR_KVM_PV_EOI) & 1) == 0) return
  if (atomic.load<u32>(cpu + LAPIC_IRR_WORDS) != 0) return
  const tmr = atomic.load<u32>(cpu + LAPIC_TMR + ((vector >> 5) << 4))
  if ((tmr >> (vector & 31)) & 1) return
  const byte = pv_eoi_byte()
  if (byte == 0) return
  store<u8>(byte, load<u8>(byte) | 1)
  store<u32>(cpu, 1, LAPIC_PV_EOI)
}

/** Takes an offer back: if the guest has used it, its EOI happens now; if not, it must make one. */
export function pv_eoi_sync(): void {
  if (load<u32>(cpu, LAPIC_PV_EOI) == 0) return
  store<u32>(cpu, 0, LAPIC_PV_EOI)
  const byte = pv_eoi_byte()
  if (byte != 0 && (load<u8>(byte) & 1) != 0) store<u8>(byte, load<u8>(byte) & 0xfe)
  else lapic_eoi(cpu)
}
