/**
 * Hardware task switching with 16- and 32-bit TSSs (SDM Vol. 3, "Task Management").
 *
 * Up to the commit point nothing of the guest changes: both TSSs are probed and the new one is read whole. After it
 * faults belong to the new task: CPU_RIP is its EIP when they are raised ("Task Switching", steps 11 to 13).
 */
import {
  CPU_CPL,
  CPU_CR0,
  CPU_CR3,
  CPU_DB_PENDING,
  CPU_EFLAGS,
  CPU_FAULT,
  CPU_GPR,
  CPU_NEXT_RIP,
  CPU_RIP,
  CPU_RSP,
  CPU_DR7,
  CPU_DR6,
  FAULT_TRAP,
  FAULT_VALID,
  SEG_ATTR,
  SEG_ATTR_UNUSABLE,
  SEG_BASE,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_LDTR,
  SEG_LIMIT,
  SEG_SELECTOR,
  SEG_SS,
  SEG_TR,
} from '../abi/layout.ts'
import {
  ACC_IMPLICIT,
  ACC_WRITE,
  CR0_PG,
  CR0_TS,
  DR6_BT,
  EFLAGS_ARITH,
  EFLAGS_FIXED,
  EFLAGS_KNOWN,
  EFLAGS_NT,
  EFLAGS_VM,
  TYPE_TSS,
  TYPE_TSS16,
  TYPE_TSS16_BUSY,
  TYPE_TSS_BUSY,
} from './arch.ts'
import { cr3_load } from './control.ts'
import { debug_disarm, debug_keep_rf } from './debug.ts'
import {
  d_address,
  d_attr,
  d_base,
  d_limit,
  descriptor_address,
  descriptor_mark_accessed,
  descriptor_read,
  dpl_of,
  ext,
  is_code,
  is_conforming,
  is_null,
  is_readable,
  is_writable_data,
  present,
  seg_set,
  seg_set_descriptor,
  selector_fault,
  selector_of,
  type_of,
} from './descriptor.ts'
import { flags_get, flags_set } from './flags.ts'
import { frame_push, stack_commit_value, stack_current, stack_reserve } from './frame-stack.ts'
import { lin_and8, lin_load, lin_or8, lin_probe, lin_store } from './mmu.ts'
import { avx_gate_update } from './fpu-check.ts'
import { update_mode } from './mode.ts'
import { load_ldt } from './segments.ts'
import {
  cpu,
  fault_pending,
  raise_error,
  seg,
  VECTOR_DB,
  VECTOR_GP,
  VECTOR_NP,
  VECTOR_SS,
  VECTOR_TS,
} from './state.ts'
import { seg_set_vm86 } from './vm86.ts'

export const SWITCH_JUMP: u32 = 0
export const SWITCH_CALL: u32 = 1
const SWITCH_EVENT: u32 = 2
const SWITCH_IRET: u32 = 3

// Offsets of a 32-bit TSS (SDM Vol. 3, "Task-State Segment (TSS)") …
const TSS_CR3: u32 = 28
const TSS_EIP: u32 = 32
const TSS_EFLAGS: u32 = 36
const TSS_GPR: u32 = 40
const TSS_ES: u32 = 72
const TSS_LDT: u32 = 96
const TSS_TRAP: u32 = 100
const TSS_MIN: u32 = 103
// … and of a 16-bit one ("16-Bit Task-State Segment (TSS)").
const TSS16_IP: u32 = 14
const TSS16_FLAGS: u32 = 16
const TSS16_GPR: u32 = 18
const TSS16_ES: u32 = 34
const TSS16_LDT: u32 = 42
const TSS16_MIN: u32 = 43

// Contents of the new TSS.
let newCr3: u32 = 0
let newEip: u32 = 0
let newFlags: u32 = 0
let newLdt: u32 = 0
let newTrap: bool = false
let newEs: u32 = 0
let newCs: u32 = 0
let newSs: u32 = 0
let newDs: u32 = 0
let newFs: u32 = 0
let newGs: u32 = 0

function read16(lin: u64): u32 {
  return lin_load<u16>(lin & 0xffff_ffff, ACC_IMPLICIT)
}

function read32(lin: u64): u32 {
  return lin_load<u32>(lin & 0xffff_ffff, ACC_IMPLICIT)
}

/** Selectors of the new TSS, from its ES field on; those a 16-bit TSS lacks are null. */
function read_selectors(base: u64, wide: bool): void {
  const at = base + (wide ? TSS_ES : TSS16_ES)
  const step: u32 = wide ? 4 : 2
  newEs = read16(at)
  newCs = read16(at + step)
  newSs = read16(at + 2 * step)
  newDs = read16(at + 3 * step)
  newFs = wide ? read16(at + 4 * step) : 0
  newGs = wide ? read16(at + 5 * step) : 0
  newLdt = read16(base + (wide ? TSS_LDT : TSS16_LDT))
}

function save_old(base: u64, wide: bool, eip: u64, flags: u32): void {
  const size: u32 = wide ? 4 : 2
  put(base + (wide ? TSS_EIP : TSS16_IP), <u32>eip, size)
  put(base + (wide ? TSS_EFLAGS : TSS16_FLAGS), flags, size)
  const registers = base + (wide ? TSS_GPR : TSS16_GPR)
  for (let i: u32 = 0; i < 8; i++) put(registers + i * size, load<u32>(cpu + (<usize>i << 3), CPU_GPR), size)
  const selectors = base + (wide ? TSS_ES : TSS16_ES)
  const count: u32 = wide ? 6 : 4
  for (let i: u32 = 0; i < count; i++) put(selectors + i * size, selector_of(i), 2)
}

function put(lin: u64, value: u32, size: u32): void {
  if (size == 4) lin_store<u32>(lin & 0xffff_ffff, value, ACC_IMPLICIT)
  else lin_store<u16>(lin & 0xffff_ffff, <u16>value, ACC_IMPLICIT)
}

/** Through a task gate: the TSS selector comes from the gate, its RPL does not count. */
export function task_switch_by_gate(selector: u32, reason: u32, eip: u64, hasError: bool, error: u32): bool {
  if (selector & 4 || is_null(selector)) return selector_fault(VECTOR_GP, selector)
  if (!descriptor_read(selector, VECTOR_GP)) return false
  const type = type_of(d_attr)
  if (type != TYPE_TSS && type != TYPE_TSS16) return selector_fault(VECTOR_GP, selector)
  if (!present(d_attr)) return selector_fault(VECTOR_NP, selector)
  return task_switch(selector, reason, eip, hasError, error)
}

/** An exception or interrupt whose IDT entry is a task gate. */
export function task_switch_gate(selector: u32, eip: u64, hasError: bool, error: u32): bool {
  return task_switch_by_gate(selector, SWITCH_EVENT, eip, hasError, error)
}

/** IRET with NT set: back to the task in the link field. */
export function task_return(): void {
  const link = read16(load<u64>(seg(SEG_TR), SEG_BASE))
  if (fault_pending()) return
  if (link & 4 || is_null(link)) {
    selector_fault(VECTOR_TS, link)
    return
  }
  if (!descriptor_read(link, VECTOR_TS)) return
  const type = type_of(d_attr)
  if (type != TYPE_TSS_BUSY && type != TYPE_TSS16_BUSY) {
    selector_fault(VECTOR_TS, link)
    return
  }
  if (!present(d_attr)) {
    selector_fault(VECTOR_NP, link)
    return
  }
  task_switch(link, SWITCH_IRET, load<u64>(cpu, CPU_NEXT_RIP), false, 0)
}

/**
 * Switches to the TSS in d_* (checked for type and presence). eip is what the old task resumes at. True: done, with
 * CPU_NEXT_RIP and CPU_RIP in the new task. False: a fault is pending, of the old task or the new one.
 */
export function task_switch(selector: u32, reason: u32, eip: u64, hasError: bool, error: u32): bool {
  const address = d_address
  const attr = d_attr
  const base = d_base
  const limit = d_limit
  const wide = (type_of(attr) & 8) != 0
  const least = wide ? TSS_MIN : TSS16_MIN
  if (limit < least) return selector_fault(VECTOR_TS, selector)
  const tr = seg(SEG_TR)
  const oldSelector = selector_of(SEG_TR)
  const oldBase = load<u64>(tr, SEG_BASE)
  const oldWide = (load<u32>(tr, SEG_ATTR) & 8) != 0
  const oldLimit = load<u32>(tr, SEG_LIMIT)
  const oldLeast = oldWide ? TSS_MIN : TSS16_MIN
  if (oldLimit < oldLeast) return selector_fault(VECTOR_TS, oldSelector)

  // Everything that can fault on paging, first.
  const nests = reason == SWITCH_CALL || reason == SWITCH_EVENT
  if (!lin_probe(oldBase, oldLeast + 1, ACC_IMPLICIT | ACC_WRITE)) return false
  if (nests && !lin_probe(base, 2, ACC_IMPLICIT | ACC_WRITE)) return false
  if (!lin_probe(address, 8, ACC_IMPLICIT | ACC_WRITE)) return false
  const oldAddress = descriptor_address(oldSelector, 8)
  const clearsBusy = (reason == SWITCH_JUMP || reason == SWITCH_IRET) && oldAddress != ~(<u64>0)
  if (clearsBusy && !lin_probe(oldAddress, 8, ACC_IMPLICIT | ACC_WRITE)) return false
  newEip = wide ? read32(base + TSS_EIP) : read16(base + TSS16_IP)
  newFlags = wide ? read32(base + TSS_EFLAGS) : read16(base + TSS16_FLAGS)
  newCr3 = wide ? read32(base + TSS_CR3) : 0
  newTrap = wide && (read16(base + TSS_TRAP) & 1) != 0
  read_selectors(base, wide)
  if (fault_pending() || !lin_probe(base, least + 1, ACC_IMPLICIT)) return false

  // Commit: the old task's side.
  if (clearsBusy) lin_and8(oldAddress + 5, 0xfd)
  const flags = flags_get()
  save_old(oldBase, oldWide, eip, reason == SWITCH_IRET ? flags & ~EFLAGS_NT : flags)
  if (nests) {
    put(base, oldSelector, 2)
    newFlags |= EFLAGS_NT
  }
  if (reason != SWITCH_IRET) lin_or8(address + 5, 2)

  // The new task's registers; segment registers hold their selectors and nothing else until loaded.
  const step: u32 = wide ? 4 : 2
  const registers = base + (wide ? TSS_GPR : TSS16_GPR)
  for (let i: u32 = 0; i < 8; i++) {
    store<u64>(cpu + (<usize>i << 3), wide ? read32(registers + i * step) : read16(registers + i * step), CPU_GPR)
  }
  seg_set(SEG_TR, selector, base, limit, attr | 2)
  store<u64>(cpu, load<u64>(cpu, CPU_CR0) | CR0_TS, CPU_CR0)
  avx_gate_update()
  store<u64>(cpu, load<u64>(cpu, CPU_DR7) & ~(<u64>0x155), CPU_DR7) // local breakpoints and LE
  store<u64>(cpu, newEip, CPU_RIP)
  store<u64>(cpu, newEip, CPU_NEXT_RIP)
  flags_set(newFlags)
  store<u32>(cpu, (newFlags & EFLAGS_KNOWN & ~EFLAGS_ARITH) | EFLAGS_FIXED, CPU_EFLAGS)
  debug_keep_rf()
  debug_disarm()
  hold(SEG_ES, newEs)
  hold(SEG_CS, newCs)
  hold(SEG_SS, newSs)
  hold(SEG_DS, newDs)
  hold(SEG_FS, newFs)
  hold(SEG_GS, newGs)
  seg_set(SEG_LDTR, newLdt, 0, 0, SEG_ATTR_UNUSABLE)
  let ok = true
  if (wide && load<u32>(cpu, CPU_CR0) & CR0_PG && <u64>newCr3 != load<u64>(cpu, CPU_CR3)) {
    if (!cr3_load(newCr3)) {
      raise_error(VECTOR_TS, (selector & 0xfffc) | ext)
      ok = false
    }
  }
  ok = ok && load_ldt(newLdt, VECTOR_TS, VECTOR_TS)
  if (newFlags & EFLAGS_VM && wide) {
    seg_set_vm86(SEG_ES, newEs)
    seg_set_vm86(SEG_CS, newCs)
    seg_set_vm86(SEG_SS, newSs)
    seg_set_vm86(SEG_DS, newDs)
    seg_set_vm86(SEG_FS, newFs)
    seg_set_vm86(SEG_GS, newGs)
    store<u32>(cpu, 3, CPU_CPL)
  } else {
    store<u32>(cpu, newCs & 3, CPU_CPL)
    ok = ok && load_code() && load_stack()
    ok = ok && load_data(SEG_DS, newDs) && load_data(SEG_ES, newEs) && load_data(SEG_FS, newFs) && load_data(SEG_GS, newGs)
  }
  update_mode()
  if (ok && newEip > load<u32>(seg(SEG_CS), SEG_LIMIT)) {
    raise_error(VECTOR_GP, 0)
    ok = false
  }
  if (ok && hasError) ok = push_error(error, wide ? 4 : 2)
  if (ok && newTrap) {
    store<u64>(cpu, (load<u64>(cpu, CPU_DR6) & ~(<u64>0xf)) | DR6_BT, CPU_DR6)
    store<u32>(cpu, 0, CPU_DB_PENDING)
    // The switch itself succeeded: the trap stays pending for the run loop.
    store<u32>(cpu, <u32>FAULT_VALID | FAULT_TRAP | VECTOR_DB, CPU_FAULT)
  }
  return ok
}

function hold(i: i32, selector: u32): void {
  store<u16>(seg(i), <u16>selector, SEG_SELECTOR)
  store<u32>(seg(i), SEG_ATTR_UNUSABLE, SEG_ATTR)
}

function load_code(): bool {
  if (is_null(newCs)) return selector_fault(VECTOR_TS, newCs)
  if (!descriptor_read(newCs, VECTOR_TS)) return false
  const rpl = newCs & 3
  const dpl = dpl_of(d_attr)
  if (!is_code(d_attr) || (is_conforming(d_attr) ? dpl > rpl : dpl != rpl)) return selector_fault(VECTOR_TS, newCs)
  if (!present(d_attr)) return selector_fault(VECTOR_NP, newCs)
  if (!descriptor_mark_accessed()) return false
  seg_set_descriptor(SEG_CS, newCs)
  return true
}

function load_stack(): bool {
  if (is_null(newSs)) return selector_fault(VECTOR_TS, newSs)
  if (!descriptor_read(newSs, VECTOR_TS)) return false
  const cpl = newCs & 3
  if (!is_writable_data(d_attr) || dpl_of(d_attr) != cpl || (newSs & 3) != cpl) return selector_fault(VECTOR_TS, newSs)
  if (!present(d_attr)) return selector_fault(VECTOR_SS, newSs)
  if (!descriptor_mark_accessed()) return false
  seg_set_descriptor(SEG_SS, newSs)
  return true
}

function load_data(i: i32, selector: u32): bool {
  if (is_null(selector)) return true // held as unusable
  if (!descriptor_read(selector, VECTOR_TS)) return false
  if (!is_readable(d_attr)) return selector_fault(VECTOR_TS, selector)
  const dpl = dpl_of(d_attr)
  if (!is_conforming(d_attr) && (dpl < (newCs & 3) || dpl < (selector & 3))) return selector_fault(VECTOR_TS, selector)
  if (!present(d_attr)) return selector_fault(VECTOR_NP, selector)
  if (!descriptor_mark_accessed()) return false
  seg_set_descriptor(i, selector)
  return true
}

/** The error code goes on the new task's stack. */
function push_error(error: u32, size: u32): bool {
  stack_current()
  if (!stack_reserve(1, size)) return false
  frame_push(error, size)
  if (fault_pending()) return false
  store<u64>(cpu, stack_commit_value(load<u64>(cpu, CPU_RSP)), CPU_RSP)
  return true
}
