/**
 * Stack accesses of single instructions (SDM Vol. 2, PUSH, POP, PUSHA, POPA, ENTER, LEAVE). RSP moves only when nothing
 * can fault any more. Frames of transfers are in frame-stack.ts.
 */
import { CPU_GPR, CPU_RBP, CPU_RSP, CPU_SMASK, SEG_SS, TLB_READ, TLB_WRITE } from '../abi/layout.ts'
import { mem_load16, mem_load32, mem_load64, mem_probe, mem_store16, mem_store32, mem_store64 } from './mmu.ts'
import { code64 } from './mode.ts'
import { seg_linear } from './segments.ts'
import { cpu, fault_pending } from './state.ts'
import { tlb_hit } from './tlb.ts'

const WRITE: u32 = 0x100

// @ts-ignore: AssemblyScript decorator
@inline
function stack_mask(): u64 {
  return load<u64>(cpu, CPU_SMASK)
}

/** RSP or RBP with a new value in the bits that the stack size covers; a 32-bit one zeroes the upper half. */
// @ts-ignore: AssemblyScript decorator
@inline
function merge(old: u64, value: u64, mask: u64): u64 {
  return mask == 0xffff ? (old & ~mask) | (value & mask) : value & mask
}

function store_slot(offset: u64, value: u64, bytes: u32): void {
  const gva = seg_linear(SEG_SS, offset, bytes | WRITE)
  if (fault_pending()) return
  if (bytes == 8) mem_store64(gva, value, SEG_SS)
  else if (bytes == 4) mem_store32(gva, <u32>value, SEG_SS)
  else mem_store16(gva, <u32>value & 0xffff, SEG_SS)
}

function load_slot(offset: u64, bytes: u32): u64 {
  const gva = seg_linear(SEG_SS, offset, bytes)
  if (fault_pending()) return 0
  if (bytes == 8) return mem_load64(gva, SEG_SS)
  if (bytes == 4) return mem_load32(gva, SEG_SS)
  return mem_load16(gva, SEG_SS)
}

function probe_slot(offset: u64, bytes: u32): void {
  const gva = seg_linear(SEG_SS, offset, bytes | WRITE)
  if (!fault_pending()) mem_probe(gva, bytes, 1, SEG_SS)
}

export function stack_push(value: u64, bytes: u32): void {
  if (bytes == 8 && code64()) {
    const at = load<u64>(cpu, CPU_RSP) - 8
    const host = tlb_hit(at, 8, TLB_WRITE)
    if (host) {
      store<u64>(host, value)
      store<u64>(cpu, at, CPU_RSP)
      return
    }
  }
  const mask = stack_mask()
  const rsp = load<u64>(cpu, CPU_RSP)
  const top = (rsp - bytes) & mask
  store_slot(top, value, bytes)
  if (!fault_pending()) store<u64>(cpu, merge(rsp, top, mask), CPU_RSP)
}

export function stack_pop(bytes: u32): u64 {
  if (bytes == 8 && code64()) {
    const at = load<u64>(cpu, CPU_RSP)
    const host = tlb_hit(at, 8, TLB_READ)
    if (host) {
      store<u64>(cpu, at + 8, CPU_RSP)
      return load<u64>(host)
    }
  }
  const mask = stack_mask()
  const rsp = load<u64>(cpu, CPU_RSP)
  const value = load_slot(rsp & mask, bytes)
  if (!fault_pending()) store<u64>(cpu, merge(rsp, rsp + bytes, mask), CPU_RSP)
  return value
}

/** Top of the stack; RSP stays. */
export function stack_peek(bytes: u32): u64 {
  return load_slot(load<u64>(cpu, CPU_RSP) & stack_mask(), bytes)
}

/** A register as PUSHA and POPA number them, in the operand size. */
// @ts-ignore: AssemblyScript decorator
@inline
function set_register(number: u32, value: u64, bytes: u32): void {
  const at = cpu + CPU_GPR + (number << 3)
  if (bytes == 2) store<u16>(at, <u16>value)
  else store<u64>(at, value & 0xffff_ffff)
}

/** AX CX DX BX, the old SP, BP SI DI: all eight slots are checked before the first is written. */
export function sys_pusha(bytes: u32): void {
  const mask = stack_mask()
  const rsp = load<u64>(cpu, CPU_RSP)
  for (let i: u32 = 1; i <= 8; i++) {
    probe_slot((rsp - i * bytes) & mask, bytes)
    if (fault_pending()) return
  }
  for (let i: u32 = 0; i < 8; i++) {
    store_slot((rsp - (i + 1) * bytes) & mask, load<u64>(cpu + CPU_GPR + (i << 3)), bytes)
  }
  store<u64>(cpu, merge(rsp, rsp - 8 * bytes, mask), CPU_RSP)
}

/** The slot of SP is skipped. The first pass only finds faults: guest memory may change under the second, rights may not. */
export function sys_popa(bytes: u32): void {
  const mask = stack_mask()
  const rsp = load<u64>(cpu, CPU_RSP)
  for (let i: u32 = 0; i < 8; i++) {
    load_slot((rsp + i * bytes) & mask, bytes)
    if (fault_pending()) return
  }
  for (let i: u32 = 0; i < 8; i++) {
    const number = 7 - i
    if (number != 4) set_register(number, load_slot((rsp + i * bytes) & mask, bytes), bytes)
  }
  store<u64>(cpu, merge(rsp, rsp + 8 * bytes, mask), CPU_RSP)
}

/**
 * ENTER size, level. Nothing is committed until the last access succeeded; the final stack pointer is probed for
 * writing, as the manual's pseudocode does.
 */
export function sys_enter_frame(size: u32, level: u32, bytes: u32): void {
  level &= 31
  const mask = stack_mask()
  const rsp = load<u64>(cpu, CPU_RSP)
  const rbp = load<u64>(cpu, CPU_RBP)
  let sp = (rsp - bytes) & mask
  store_slot(sp, rbp, bytes)
  if (fault_pending()) return
  const frame = sp
  if (level > 0) {
    let from = rbp
    for (let i: u32 = 1; i < level; i++) {
      from -= bytes
      const link = load_slot(from & mask, bytes)
      if (fault_pending()) return
      sp = (sp - bytes) & mask
      store_slot(sp, link, bytes)
      if (fault_pending()) return
    }
    sp = (sp - bytes) & mask
    store_slot(sp, merge(rsp, frame, mask), bytes)
    if (fault_pending()) return
  }
  sp = (sp - size) & mask
  probe_slot(sp, bytes)
  if (fault_pending()) return
  if (bytes == 2) store<u16>(cpu, <u16>frame, CPU_RBP)
  else store<u64>(cpu, bytes == 4 ? merge(rsp, frame, mask) & 0xffff_ffff : frame, CPU_RBP)
  store<u64>(cpu, merge(rsp, sp, mask), CPU_RSP)
}

export function sys_leave(bytes: u32): void {
  const mask = stack_mask()
  const rsp = load<u64>(cpu, CPU_RSP)
  const rbp = load<u64>(cpu, CPU_RBP)
  const frame = load_slot(rbp & mask, bytes)
  if (fault_pending()) return
  store<u64>(cpu, merge(rsp, rbp + bytes, mask), CPU_RSP)
  if (bytes == 2) store<u16>(cpu, <u16>frame, CPU_RBP)
  else store<u64>(cpu, frame, CPU_RBP)
}
