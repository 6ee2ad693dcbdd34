/**
 * The run loop's slow half: what happens between blocks. The interpreter calls enter() when a block ended with something
 * to look at, and lookup() when it does not know where the next record is.
 *
 * enter() looks in the order of SDM Vol. 3, "Priority Among Concurrent Events": a fault of the instruction just
 * attempted; requests of other threads (INIT, pause); debug traps of the previous instruction; NMI; interrupts; then the
 * fetch of the next instruction. It returns the record to run, or 0 with CPU_EXITREASON set.
 *
 * Instructions that must run alone (after STI and MOV SS, single-stepped ones, and code whose page the CS limit
 * cuts) are decoded each time into a private record; a budget of 0 brings the loop back here after it.
 */
import { CACHE_STEP } from '../abi/code-cache.ts'
import { JIT_LOOKS, JIT_SLICES_DUE } from '../abi/jit.ts'
import { EXIT_KIND_HALT, LOG_INSN } from '../abi/exits.ts'
import {
  CPU_BUDGET,
  CPU_CODE_CACHE,
  CPU_CODE_GPA,
  CPU_CODE_VPAGE,
  CPU_CS_BASE,
  CPU_DEADLINE,
  CPU_EFLAGS,
  CPU_EXITREASON,
  CPU_FAULT,
  CPU_HALTED_AT,
  CPU_HALT_NS,
  CPU_INHIBIT,
  CPU_IN_GUEST,
  CPU_JIT_MASK,
  CPU_JIT_QUEUED,
  CPU_JIT_SINCE,
  CPU_MODE,
  CPU_NMI_BLOCKED,
  CPU_PCBASE,
  CPU_REQ,
  CPU_RIP,
  CPU_RUNSTATE,
  CPU_SCRATCH,
  CPU_SHADOW_RIP,
  CPU_SEG,
  CPU_SEG_STRIDE,
  CPU_SINGLE,
  CPU_SIPI_VECTOR,
  CPU_STRAIGHT,
  CPU_TRACE,
  CPU_TRACE_RING,
  CPU_TRACE_RING_COUNT,
  EXITREASON_JIT,
  EXITREASON_NONE,
  EXITREASON_PAUSE,
  EXITREASON_SHUTDOWN,
  EXITREASON_STOP,
  EXITREASON_YIELD,
  MODE_CS64,
  MODE_CS_MASK,
  MODE_FLAT,
  REQ_CLOCK,
  REQ_CODE,
  REQ_DEBUG,
  REQ_INIT,
  REQ_JIT,
  REQ_NMI,
  REQ_PAUSE,
  REQ_PROTECT,
  REQ_SIPI,
  REQ_STOP,
  REQ_TLB,
  REQ_UNHALT,
  RUN_HALTED,
  RUN_RUNNING,
  RUN_SHUTDOWN,
  RUN_WAIT_SIPI,
  SEG_CS,
  SEG_LIMIT,
  TRACE_INSN,
} from '../abi/layout.ts'
import { RECF_END, REC_FLAGS, REC_IMM, REC_SIZE } from '../abi/record.ts'
import { EFLAGS_IF } from './arch.ts'
import { grant, grant_next, settle, slice_begin, slice_over } from './budget.ts'
import { clock_ns } from './clock.ts'
import {
  code_arrivals,
  code_decode,
  code_decode_cross,
  code_drop_pending,
  code_find,
  code_gather,
  code_is_cross,
  code_sync,
  DECODE_AGAIN,
} from './code-cache.ts'
import { debug_after, debug_before, update_single } from './debug.ts'
import { decode_one } from './decoder.ts'
import { count_exit, leave_guest, log_write, reenter_guest, trace_room } from './exit.ts'
import { halt_kicked, halt_wait } from './halt.ts'
import { deliver_fault, deliver_interrupt, deliver_nmi } from './interrupt.ts'
import { irq_ack, irq_pending } from './irqchip/irq.ts'
import { next_deadline, timers_run } from './irqchip/timers.ts'
import { jit_request } from './jit.ts'
import { mmu_exec_page } from './mmu.ts'
import { cpu_init, cpu_sipi } from './reset.ts'
import { protect_pending } from './shootdown.ts'
import { cpu, fault_pending, raise_error, VECTOR_GP } from './state.ts'
import { tlb_flush_all } from './tlb.ts'

/** Slices between two returns to JavaScript: V8 swaps in optimised code only when run() is called again. */
const YIELD_SLICES: i32 = 128
const RING_ENTRIES: usize = 16

/** Requests that stay set until somebody else clears them. */
const REQ_STICKY: u32 = REQ_PAUSE | REQ_STOP

let slices: i32 = 0
/** The last record handed out was a private one: debug traps are due when it is done. */
let stepping: bool = false

function look_at_clock(): void {
  const now = clock_ns()
  if (now >= load<f64>(cpu, CPU_DEADLINE)) timers_run(now)
}

function exit(reason: u32): usize {
  leave_guest()
  store<u32>(cpu, reason, CPU_EXITREASON)
  return 0
}

// --- fetch -----------------------------------------------------------------------------------------------------------

/** Linear address of CPU_RIP. */
// @ts-ignore: AssemblyScript decorator
@inline
function code_linear(rip: u64): u64 {
  if ((load<u32>(cpu, CPU_MODE) & MODE_CS_MASK) == MODE_CS64) return rip
  return (load<u64>(cpu, CPU_CS_BASE) + rip) & 0xffff_ffff
}

/** Last RIP that CS allows. */
// @ts-ignore: AssemblyScript decorator
@inline
function code_limit(): u64 {
  const mode = load<u32>(cpu, CPU_MODE)
  if (mode & MODE_FLAT) return ~(<u64>0)
  return load<u32>(cpu + CPU_SEG + SEG_CS * CPU_SEG_STRIDE, SEG_LIMIT)
}

function next_code_page(lin: u64): u64 {
  const next = (lin & ~0xfff) + 0x1000
  return (load<u32>(cpu, CPU_MODE) & MODE_CS_MASK) == MODE_CS64 ? next : next & 0xffff_ffff
}

/** Sets what describes the current code page. */
function enter_page(rip: u64, lin: u64): void {
  store<u64>(cpu, rip - (lin & 0xfff), CPU_PCBASE)
  store<u64>(cpu, lin & ~0xfff, CPU_CODE_VPAGE)
}

function trace_ring(rip: u64, where: u64): void {
  const ring = cpu + CPU_TRACE_RING
  const next = load<u32>(ring)
  const entry = ring + RING_ENTRIES + (<usize>next << 4)
  store<u64>(entry, rip)
  store<u64>(entry, where, 8)
  store<u32>(ring, next + 1 == <u32>CPU_TRACE_RING_COUNT ? 0 : next + 1)
}

/** gpa of the page that follows the code page at lin; ~0 with a fault pending. CPU_CODE_GPA stays the first one's. */
let secondHost: usize = 0
function second_page(lin: u64): u64 {
  const first = load<u64>(cpu, CPU_CODE_GPA)
  secondHost = mmu_exec_page(next_code_page(lin))
  if (secondHost == 0) return ~(<u64>0)
  const second = load<u64>(cpu, CPU_CODE_GPA)
  store<u64>(cpu, first, CPU_CODE_GPA)
  return second
}

/** Up to 15 bytes across the end of the page into scratch; returns how many are within `allowed`. */
function gather(host: usize, off: u32, allowed: u64): u32 {
  code_gather(cpu + CPU_SCRATCH, host, secondHost, off)
  return <u32>min<u64>(15, allowed)
}

/**
 * Where execution goes on at CPU_RIP: the record of a cached block, or with `alone` a private record followed by a SYNC.
 * 0: a fault is pending.
 */
function locate(alone: bool): usize {
  while (true) {
    const rip = load<u64>(cpu, CPU_RIP)
    const lin = code_linear(rip)
    const limit = code_limit()
    if (rip > limit) {
      raise_error(VECTOR_GP, 0)
      return 0
    }
    const host = mmu_exec_page(lin)
    if (host == 0) return 0
    enter_page(rip, lin)
    const off = <u32>lin & 0xfff
    const gpa = load<u64>(cpu, CPU_CODE_GPA) | off
    const mode = load<u32>(cpu, CPU_MODE)
    trace_ring(rip, (gpa << 8) | mode)
    if (load<u32>(cpu, CPU_TRACE) & TRACE_INSN) log_write(LOG_INSN, (gpa << 8) | mode, 0)
    // A page that the limit cuts is not cached: blocks know nothing of limits.
    if (alone || limit - rip < <u64>(0xfff - off)) return step(lin, host, off, limit - rip)
    let rec = code_find(gpa, mode)
    if (rec == 0) rec = code_decode(gpa, host, mode)
    else if (code_is_cross(rec)) {
      const second = second_page(lin)
      if (secondHost == 0) return 0
      if (load<u64>(rec, REC_IMM) == second) return rec + REC_SIZE
      rec = 0
    } else {
      // Faults and interrupts lead to handlers that no branch leads to.
      const arrivals = code_arrivals(gpa, mode)
      if (arrivals != 0 && (arrivals & load<u32>(cpu, CPU_JIT_MASK) & (JIT_LOOKS - 1)) == 0) {
        jit_request((gpa << 8) | mode, lin & ~0xfff, <u32>rec, arrivals)
      }
    }
    if (rec == 0) {
      if (limit - rip < <u64>(0x1000 - off + 14)) return step(lin, host, off, limit - rip)
      const second = second_page(lin)
      if (secondHost == 0) return 0
      rec = code_decode_cross(gpa, second, host, secondHost, mode)
      if (rec != DECODE_AGAIN) return rec + REC_SIZE
    }
    if (rec != DECODE_AGAIN) return rec
    // Requests were served while other vCPUs dropped their TLBs: nothing known of this page holds any more.
  }
}

/** Decodes the one instruction at CPU_RIP into the private records; `left` bytes behind its first are within the CS limit. */
function step(lin: u64, host: usize, off: u32, left: u64): usize {
  // Without a limit, `left` is all ones at RIP 0.
  const allowed = min<u64>(left, 0xffff) + 1
  const rec: usize = load<u32>(cpu, CPU_CODE_CACHE) + CACHE_STEP
  const mode = load<u32>(cpu, CPU_MODE)
  const here = 4096 - off
  let length = decode_one(host + off, <u32>min<u64>(here, allowed), mode, off, rec)
  if (length == 0 && allowed > <u64>here && here < 15) {
    second_page(lin)
    if (secondHost == 0) return 0
    length = decode_one(cpu + CPU_SCRATCH, gather(host, off, allowed), mode, off, rec)
  }
  if (length == 0) {
    raise_error(VECTOR_GP, 0) // the instruction goes beyond the limit
    return 0
  }
  code_sync(rec + REC_SIZE, off + length)
  stepping = true
  return rec
}

// --- events ----------------------------------------------------------------------------------------------------------

/** Sleeps until a request or the next timer. */
function sleep(): void {
  count_exit(EXIT_KIND_HALT)
  const start = clock_ns()
  const left = next_deadline() - start
  const pending = atomic.load<u32>(cpu + CPU_REQ)
  if (left > 0 && (pending & ~(<u32>REQ_NMI)) == 0) {
    store<f64>(cpu, start, CPU_HALTED_AT)
    halt_wait(pending, left)
  }
  const now = clock_ns()
  store<f64>(cpu, 0, CPU_HALTED_AT)
  store<f64>(cpu, load<f64>(cpu, CPU_HALT_NS) + (now - start), CPU_HALT_NS)
  if (now >= load<f64>(cpu, CPU_DEADLINE)) timers_run(now)
}

/** Requests of other threads. False: the loop has to be left, CPU_EXITREASON says why. */
function serve_requests(): bool {
  const taken = atomic.and<u32>(cpu + CPU_REQ, REQ_STICKY | REQ_NMI)
  if (taken & REQ_TLB) tlb_flush_all()
  if (taken & REQ_PROTECT) protect_pending()
  if (taken & REQ_CODE) code_drop_pending()
  if (taken & REQ_INIT) cpu_init()
  if (taken & REQ_SIPI && load<u32>(cpu, CPU_RUNSTATE) == RUN_WAIT_SIPI) cpu_sipi(load<u32>(cpu, CPU_SIPI_VECTOR))
  if (taken & REQ_DEBUG) update_single()
  if (taken & REQ_UNHALT) halt_kicked()
  if (taken & REQ_CLOCK) timers_run(clock_ns())
  if (taken & REQ_JIT && !(taken & (REQ_STOP | REQ_PAUSE))) {
    exit(EXITREASON_JIT)
    return false
  }
  if (taken & REQ_STOP) {
    exit(EXITREASON_STOP)
    return false
  }
  if (taken & REQ_PAUSE) {
    exit(EXITREASON_PAUSE)
    return false
  }
  return true
}

/** CPU_INHIBIT as of this boundary. Blocks go on behind an STI, so that its shadow may be long over. */
function interrupt_shadow(): u32 {
  const shadow = load<u32>(cpu, CPU_INHIBIT)
  if (shadow != 1 || load<u64>(cpu, CPU_RIP) == load<u64>(cpu, CPU_SHADOW_RIP)) return shadow
  store<u32>(cpu, 0, CPU_INHIBIT)
  return 0
}

/** NMI and maskable interrupts at an instruction boundary. */
function interrupt_window(shadow: u32): void {
  if (atomic.load<u32>(cpu + CPU_REQ) & REQ_NMI && !load<u32>(cpu, CPU_NMI_BLOCKED) && shadow != 2) {
    atomic.and<u32>(cpu + CPU_REQ, ~REQ_NMI)
    deliver_nmi()
    return
  }
  if (shadow == 0 && load<u32>(cpu, CPU_EFLAGS) & EFLAGS_IF && irq_pending()) {
    const vector = irq_ack()
    if (vector >= 0) deliver_interrupt(vector)
  }
}

export function enter(): usize {
  settle()
  store<u32>(cpu, EXITREASON_NONE, CPU_EXITREASON)
  store<u32>(cpu, 0, CPU_STRAIGHT)
  if (atomic.load<u32>(cpu + CPU_IN_GUEST) == 0) reenter_guest()
  let traps = stepping && !fault_pending()
  stepping = false
  while (true) {
    if (load<u32>(cpu, CPU_TRACE)) trace_room()
    if (fault_pending()) {
      deliver_fault()
      traps = false
      if (load<u32>(cpu, CPU_EXITREASON) != EXITREASON_NONE) return exit(load<u32>(cpu, CPU_EXITREASON))
    }
    const state = load<u32>(cpu, CPU_RUNSTATE)
    if (state == RUN_SHUTDOWN && !(atomic.load<u32>(cpu + CPU_REQ) & (REQ_INIT | REQ_STOP | REQ_PAUSE))) {
      return exit(EXITREASON_SHUTDOWN)
    }
    if (atomic.load<u32>(cpu + CPU_REQ) != 0 && !serve_requests()) {
      stepping = traps // still due when the vCPU goes on
      return 0
    }
    if (traps) {
      traps = false
      if (debug_after()) {
        if (load<u32>(cpu, CPU_RUNSTATE) == RUN_HALTED) store<u32>(cpu, RUN_RUNNING, CPU_RUNSTATE)
        continue
      }
    }
    if (slice_over(0)) {
      slice_begin()
      look_at_clock()
      if (load<u32>(cpu, CPU_JIT_QUEUED) != 0) {
        const since = load<u32>(cpu, CPU_JIT_SINCE) + 1
        store<u32>(cpu, since, CPU_JIT_SINCE)
        if (since >= <u32>JIT_SLICES_DUE) return exit(EXITREASON_JIT)
      }
      if (++slices >= YIELD_SLICES) {
        slices = 0
        return exit(EXITREASON_YIELD)
      }
    }
    const runState = load<u32>(cpu, CPU_RUNSTATE)
    const shadow = interrupt_shadow()
    if (runState == RUN_RUNNING || runState == RUN_HALTED) interrupt_window(shadow)
    if (load<u32>(cpu, CPU_EXITREASON) != EXITREASON_NONE) return exit(load<u32>(cpu, CPU_EXITREASON))
    if (fault_pending()) continue
    if (load<u32>(cpu, CPU_RUNSTATE) != RUN_RUNNING) {
      if (load<u32>(cpu, CPU_RUNSTATE) != RUN_SHUTDOWN) sleep()
      continue
    }
    const rec = fetch()
    if (rec != 0) return rec
  }
}

/** The next record, private if the instruction must run alone. 0: a fault is pending. */
function fetch(): usize {
  const single = load<u32>(cpu, CPU_SINGLE) != 0
  const alone = single || load<u32>(cpu, CPU_INHIBIT) != 0
  if (single && debug_before()) return 0
  store<u32>(cpu, 0, CPU_INHIBIT)
  const rec = locate(alone)
  if (rec == 0) return 0
  if (stepping) grant(0)
  else grant_next()
  return rec
}

/** Compiled code has used up its budget: the next one, or as it was if it has to leave. */
export function run_on(budget: i32): i32 {
  if (slice_over(budget) || atomic.load<u32>(cpu + CPU_REQ) != 0) return budget
  store<i32>(cpu, budget, CPU_BUDGET)
  settle()
  return grant_next()
}

/** The record at CPU_RIP, without a look at requests while the slice lasts: the budget goes on. */
export function lookup(): usize {
  // Code that is written all the time comes here every few instructions, and they take a hundred times as long as others.
  if (slice_over(load<i32>(cpu, CPU_BUDGET))) return enter()
  const rec = locate(false)
  if (rec == 0) return enter()
  if (stepping) {
    settle()
    grant(0)
  }
  return rec
}
