/**
 * Far JMP, CALL and RET: direct, through call gates (16, 32, 64 bits), task gates and TSS descriptors, with stack
 * switches. SDM Vol. 2, JMP, CALL, RET; Vol. 3, "Program Control Transfers".
 */
import {
  CPU_CPL,
  CPU_MODE,
  CPU_NEXT_RIP,
  CPU_RSP,
  CPU_SCRATCH,
  MODE_LMA,
  SEG_ATTR_UNUSABLE,
  SEG_CS,
  SEG_LIMIT,
  SEG_SS,
} from '../abi/layout.ts'
import {
  ACC_IMPLICIT,
  ATTR_DB,
  ATTR_L,
  ATTR_S,
  TYPE_CALL,
  TYPE_CALL16,
  TYPE_TASK_GATE,
  TYPE_TSS,
  TYPE_TSS16,
} from './arch.ts'
import {
  d_address,
  d_attr,
  d_base,
  d_high,
  d_limit,
  d_low,
  descriptor_address,
  descriptor_mark_accessed,
  descriptor_read,
  dpl_of,
  is_code,
  is_conforming,
  is_null,
  present,
  seg_set,
  selector_fault,
  selector_of,
  type_of,
} from './descriptor.ts'
import {
  frame_pop,
  frame_push,
  frame_skip,
  frame_sp,
  stack_commit_value,
  stack_current,
  stack_inner,
  stack_long,
  stack_reserve,
} from './frame-stack.ts'
import { check_stack_for, mark_accessed } from './delivery.ts'
import { outer_rsp } from './iret.ts'
import { canonical, lin_load } from './mmu.ts'
import { code64, protected_mode, update_mode } from './mode.ts'
import { check_stack, drop_inner_segments, seg_set_real } from './segments.ts'
import { cpu, fault_pending, raise_error, seg, VECTOR_GP, VECTOR_NP } from './state.ts'
import { SWITCH_CALL, SWITCH_JUMP, task_switch, task_switch_by_gate } from './task.ts'
import { tss_esp, tss_ist, tss_ss, tss_stack } from './tss.ts'

function general_protection(): bool {
  raise_error(VECTOR_GP, 0)
  return false
}

// @ts-ignore: AssemblyScript decorator
@inline
function lma(): bool {
  return (load<u32>(cpu, CPU_MODE) & MODE_LMA) != 0
}

/** A near transfer's target: canonical in 64-bit code, within the CS limit elsewhere. */
export function check_near(rip: u64): void {
  if (code64() ? !canonical(rip) : rip > <u64>load<u32>(seg(SEG_CS), SEG_LIMIT)) raise_error(VECTOR_GP, 0)
}

/** Is the offset a possible RIP in the code segment of d_*? */
export function check_target(rip: u64): bool {
  if (lma() && d_attr & ATTR_L) return canonical(rip) || general_protection()
  return rip <= <u64>d_limit || general_protection()
}

/** L and D together are reserved in long mode. */
function check_code_size(selector: u32): bool {
  if (lma() && (d_attr & (ATTR_L | ATTR_DB)) == (ATTR_L | ATTR_DB)) return selector_fault(VECTOR_GP, selector)
  return true
}

/** Code segment of a direct JMP or CALL; d_* was read. */
function check_direct(selector: u32): bool {
  const cpl = load<u32>(cpu, CPU_CPL)
  const dpl = dpl_of(d_attr)
  if (is_conforming(d_attr) ? dpl > cpl : dpl != cpl || (selector & 3) > cpl) {
    return selector_fault(VECTOR_GP, selector)
  }
  return check_code_size(selector) && (present(d_attr) || selector_fault(VECTOR_NP, selector))
}

/** Code segment of a RET or IRET: reads the descriptor and checks it against the selector's RPL. */
export function check_return_code(selector: u32): bool {
  if (is_null(selector)) return general_protection()
  if (!descriptor_read(selector, VECTOR_GP)) return false
  const rpl = selector & 3
  const dpl = dpl_of(d_attr)
  if (!is_code(d_attr) || rpl < load<u32>(cpu, CPU_CPL) || (is_conforming(d_attr) ? dpl > rpl : dpl != rpl)) {
    return selector_fault(VECTOR_GP, selector)
  }
  return check_code_size(selector) && (present(d_attr) || selector_fault(VECTOR_NP, selector))
}

/** Loads CS from d_* at a privilege level and goes there. */
function enter_code(selector: u32, cpl: u32, rip: u64): void {
  seg_set(SEG_CS, (selector & 0xfffc) | cpl, d_base, d_limit, d_attr)
  store<u32>(cpu, cpl, CPU_CPL)
  store<u64>(cpu, rip, CPU_NEXT_RIP)
  update_mode()
}

// --- gates -------------------------------------------------------------------------------------------------------------

let gateSelector: u32 = 0
let gateOffset: u64 = 0
let gateCount: u32 = 0
let gateBytes: u32 = 0

/** Takes the call gate in d_* apart, upper half included in long mode. */
function read_gate(selector: u32): bool {
  const cpl = load<u32>(cpu, CPU_CPL)
  const dpl = dpl_of(d_attr)
  if (dpl < cpl || dpl < (selector & 3)) return selector_fault(VECTOR_GP, selector)
  gateSelector = d_low >> 16
  gateOffset = (d_low & 0xffff) | (d_high & 0xffff_0000)
  gateCount = d_high & 0x1f
  gateBytes = type_of(d_attr) == TYPE_CALL16 ? 2 : lma() ? 8 : 4
  if (gateBytes == 2) gateOffset &= 0xffff
  if (lma()) {
    if (descriptor_address(selector, 16) == ~(<u64>0)) return selector_fault(VECTOR_GP, selector)
    const upper = lin_load<u64>(d_address + 8, ACC_IMPLICIT)
    if (fault_pending()) return false
    if (upper & 0x1f00_0000_0000) return selector_fault(VECTOR_GP, selector)
    gateOffset |= upper << 32
  }
  return present(d_attr) || selector_fault(VECTOR_NP, selector)
}

/** Reads and checks the code segment a gate leads to; `jump` forbids a change of level. */
function check_gate_code(jump: bool): bool {
  const selector = gateSelector
  const cpl = load<u32>(cpu, CPU_CPL)
  if (is_null(selector)) return general_protection()
  if (!descriptor_read(selector, VECTOR_GP)) return false
  const dpl = dpl_of(d_attr)
  if (!is_code(d_attr) || dpl > cpl || (jump && !is_conforming(d_attr) && dpl != cpl)) {
    return selector_fault(VECTOR_GP, selector)
  }
  if (lma() && (d_attr & (ATTR_L | ATTR_DB)) != ATTR_L) return selector_fault(VECTOR_GP, selector)
  return present(d_attr) || selector_fault(VECTOR_NP, selector)
}

/** Kinds of system descriptor a far JMP or CALL accepts. */
function is_call_gate(type: u32): bool {
  return type == TYPE_CALL || (type == TYPE_CALL16 && !lma())
}

/** JMP or CALL to a TSS or task gate, d_* read. */
function switch_task(selector: u32, reason: u32): void {
  const type = type_of(d_attr)
  const cpl = load<u32>(cpu, CPU_CPL)
  if (lma() || (type != TYPE_TSS && type != TYPE_TSS16 && type != TYPE_TASK_GATE)) {
    selector_fault(VECTOR_GP, selector)
    return
  }
  if (dpl_of(d_attr) < cpl || dpl_of(d_attr) < (selector & 3)) selector_fault(VECTOR_GP, selector)
  else if (!present(d_attr)) selector_fault(VECTOR_NP, selector)
  else if (type == TYPE_TASK_GATE) task_switch_by_gate(d_low >> 16, reason, load<u64>(cpu, CPU_NEXT_RIP), false, 0)
  else task_switch(selector, reason, load<u64>(cpu, CPU_NEXT_RIP), false, 0)
}

// --- JMP -----------------------------------------------------------------------------------------------------------------

export function sys_jmp_far(selector: u32, offset: u64, _bytes: u32): void {
  selector &= 0xffff
  if (!protected_mode()) {
    if (offset > <u64>load<u32>(seg(SEG_CS), SEG_LIMIT)) {
      general_protection()
      return
    }
    seg_set_real(SEG_CS, selector)
    store<u64>(cpu, offset, CPU_NEXT_RIP)
    update_mode()
    return
  }
  if (is_null(selector)) {
    general_protection()
    return
  }
  if (!descriptor_read(selector, VECTOR_GP)) return
  if (is_code(d_attr)) {
    if (!check_direct(selector) || !check_target(offset) || !descriptor_mark_accessed()) return
    enter_code(selector, load<u32>(cpu, CPU_CPL), offset)
  } else if (d_attr & ATTR_S) {
    selector_fault(VECTOR_GP, selector)
  } else if (is_call_gate(type_of(d_attr))) {
    if (!read_gate(selector) || !check_gate_code(true) || !check_target(gateOffset)) return
    if (!descriptor_mark_accessed()) return
    enter_code(gateSelector, load<u32>(cpu, CPU_CPL), gateOffset)
  } else switch_task(selector, SWITCH_JUMP)
}

// --- CALL ----------------------------------------------------------------------------------------------------------------

/** Pushes CS:RIP on the current stack. */
function push_return(bytes: u32): bool {
  stack_current()
  if (!stack_reserve(2, bytes)) return false
  frame_push(selector_of(SEG_CS), bytes)
  frame_push(load<u64>(cpu, CPU_NEXT_RIP), bytes)
  if (fault_pending()) return false
  store<u64>(cpu, stack_commit_value(load<u64>(cpu, CPU_RSP)), CPU_RSP)
  return true
}

export function sys_call_far(selector: u32, offset: u64, bytes: u32): void {
  selector &= 0xffff
  if (!protected_mode()) {
    if (offset > <u64>load<u32>(seg(SEG_CS), SEG_LIMIT)) {
      general_protection()
      return
    }
    if (!push_return(bytes)) return
    seg_set_real(SEG_CS, selector)
    store<u64>(cpu, offset, CPU_NEXT_RIP)
    update_mode()
    return
  }
  if (is_null(selector)) {
    general_protection()
    return
  }
  if (!descriptor_read(selector, VECTOR_GP)) return
  if (is_code(d_attr)) {
    if (!check_direct(selector) || !check_target(offset) || !descriptor_mark_accessed() || !push_return(bytes)) return
    enter_code(selector, load<u32>(cpu, CPU_CPL), offset)
  } else if (d_attr & ATTR_S) {
    selector_fault(VECTOR_GP, selector)
  } else if (is_call_gate(type_of(d_attr))) {
    if (!read_gate(selector) || !check_gate_code(false) || !check_target(gateOffset)) return
    const cpl = load<u32>(cpu, CPU_CPL)
    if (is_conforming(d_attr) || dpl_of(d_attr) == cpl) {
      if (!descriptor_mark_accessed() || !push_return(gateBytes)) return
      enter_code(gateSelector, cpl, gateOffset)
    } else if (lma()) call_inner_long(dpl_of(d_attr))
    else call_inner(dpl_of(d_attr))
  } else switch_task(selector, SWITCH_CALL)
}

/** Call gate to an inner level of 64-bit code: the stack comes from the TSS, SS becomes null, no parameters. */
function call_inner_long(newCpl: u32): void {
  if (!descriptor_mark_accessed()) return
  const rsp = tss_ist(0, newCpl)
  if (fault_pending()) return
  stack_long(rsp, newCpl)
  if (!stack_reserve(4, 8)) return
  frame_push(selector_of(SEG_SS), 8)
  frame_push(load<u64>(cpu, CPU_RSP), 8)
  frame_push(selector_of(SEG_CS), 8)
  frame_push(load<u64>(cpu, CPU_NEXT_RIP), 8)
  if (fault_pending()) return
  store<u64>(cpu, frame_sp, CPU_RSP)
  seg_set(SEG_SS, newCpl, 0, 0, SEG_ATTR_UNUSABLE)
  enter_code(gateSelector, newCpl, gateOffset)
}

/** Call gate to an inner level of legacy code: copies up to 31 parameters to the new stack. */
function call_inner(newCpl: u32): void {
  const size = gateBytes
  const selector = gateSelector
  if (!tss_stack(newCpl) || !check_stack_for(tss_ss, newCpl)) return
  const ssBase = d_base
  const ssLimit = d_limit
  const ssAttr = d_attr
  stack_inner(ssBase, ssLimit, ssAttr, tss_esp, newCpl, tss_ss)
  if (!stack_reserve(4 + gateCount, size)) return
  if (!mark_accessed(tss_ss) || !mark_accessed(selector)) return // leaves the code segment in d_*
  // The parameters are read before anything is written: the old stack may fault too.
  stack_current()
  const params = cpu + CPU_SCRATCH
  for (let i: u32 = 0; i < gateCount; i++) {
    store<u32>(params + (<usize>i << 2), <u32>frame_pop(size))
  }
  if (fault_pending()) return
  const oldRsp = load<u64>(cpu, CPU_RSP)
  stack_inner(ssBase, ssLimit, ssAttr, tss_esp, newCpl, tss_ss)
  frame_push(selector_of(SEG_SS), size)
  frame_push(oldRsp, size)
  for (let i = gateCount; i > 0; i--) frame_push(load<u32>(params + (<usize>(i - 1) << 2)), size)
  frame_push(selector_of(SEG_CS), size)
  frame_push(load<u64>(cpu, CPU_NEXT_RIP), size)
  if (fault_pending()) return
  store<u64>(cpu, stack_commit_value(tss_esp), CPU_RSP)
  seg_set(SEG_SS, tss_ss, ssBase, ssLimit, ssAttr | 1)
  enter_code(selector, newCpl, gateOffset)
}

// --- RET -----------------------------------------------------------------------------------------------------------------

export function sys_ret_far(release: u32, bytes: u32): void {
  stack_current()
  const rip = frame_pop(bytes)
  const selector = <u32>frame_pop(bytes) & 0xffff
  if (fault_pending()) return
  const cpl = load<u32>(cpu, CPU_CPL)
  if (!protected_mode()) {
    if (rip > <u64>load<u32>(seg(SEG_CS), SEG_LIMIT)) {
      general_protection()
      return
    }
    frame_skip(release)
    store<u64>(cpu, stack_commit_value(load<u64>(cpu, CPU_RSP)), CPU_RSP)
    seg_set_real(SEG_CS, selector)
    store<u64>(cpu, rip, CPU_NEXT_RIP)
    update_mode()
    return
  }
  if (!check_return_code(selector) || !check_target(rip)) return
  frame_skip(release)
  const newCpl = selector & 3
  if (newCpl == cpl) {
    if (!descriptor_mark_accessed()) return
    store<u64>(cpu, stack_commit_value(load<u64>(cpu, CPU_RSP)), CPU_RSP)
    enter_code(selector, cpl, rip)
    return
  }
  // To an outer level: SS:RSP lie above the released parameters.
  const rsp = frame_pop(bytes)
  const ss = <u32>frame_pop(bytes) & 0xffff
  if (fault_pending()) return
  const long = lma() && (d_attr & ATTR_L) != 0
  if (is_null(ss)) {
    if (!long || newCpl == 3 || (ss & 3) != newCpl) {
      general_protection()
      return
    }
    if (!descriptor_mark_accessed()) return
    store<u64>(cpu, rsp + release, CPU_RSP)
    seg_set(SEG_SS, ss, 0, 0, SEG_ATTR_UNUSABLE)
  } else {
    if (!check_stack(ss, newCpl, VECTOR_GP) || !descriptor_mark_accessed()) return
    const ssBase = d_base
    const ssLimit = d_limit
    const ssAttr = d_attr
    if (!mark_accessed(selector)) return // back to the code segment in d_*
    store<u64>(cpu, outer_rsp(rsp + release, long, ssAttr), CPU_RSP)
    seg_set(SEG_SS, ss, ssBase, ssLimit, ssAttr)
  }
  drop_inner_segments(newCpl)
  enter_code(selector, newCpl, rip)
}
