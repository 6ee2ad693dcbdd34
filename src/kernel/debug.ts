/**
 * Debug exceptions: TF, breakpoint registers DR0-DR7, alignment checks (SDM Vol. 3, "Debug, Branch Profile…",
 * "Debug Exceptions"). While any of it is armed, CPU_SINGLE makes the run loop stop at every instruction boundary:
 *
 *   debug_before()   the instruction at CPU_RIP is about to be fetched: instruction breakpoints, arms the TF trap
 *   debug_after()    CPU_RIP is the next instruction: data breakpoints and single step, as traps
 *
 * Both return true when #DB is pending. Data accesses get here because the TLB bank in force never matches.
 */
import {
  CPU_CPL,
  CPU_CR0,
  CPU_CR4,
  CPU_CS_BASE,
  CPU_DB_PENDING,
  CPU_DR0,
  CPU_DR6,
  CPU_DR7,
  CPU_EFLAGS,
  CPU_FAULT,
  CPU_INHIBIT,
  CPU_MODE,
  CPU_NEXT_RIP,
  CPU_REQ,
  CPU_RIP,
  CPU_SINGLE,
  CPU_TF_ARMED,
  CPU_TRACE,
  FAULT_TRAP,
  FAULT_VALID,
  MODE_CS64,
  MODE_CS_MASK,
  REQ_DEBUG,
  TRACE_INSN,
} from '../abi/layout.ts'
import { CR0_AM, CR4_DE, DR6_BS, DR7_ENABLES, EFLAGS_AC, EFLAGS_RF, EFLAGS_TF } from './arch.ts'
import { cpu, raise, raise_error, VECTOR_AC, VECTOR_DB } from './state.ts'

const RW_EXECUTE: u32 = 0
const RW_WRITE: u32 = 1
const RW_IO: u32 = 2

/** IRET and task switches load an RF that has to last for the next instruction. */
let keepRf: bool = false

export function debug_keep_rf(): void {
  keepRf = true
}

/** Recomputes CPU_SINGLE after a change of TF, DR7 or the trace switches. */
export function update_single(): void {
  const flags = load<u32>(cpu, CPU_EFLAGS)
  const armed =
    (flags & EFLAGS_TF) | (load<u32>(cpu, CPU_DR7) & DR7_ENABLES) | (load<u32>(cpu, CPU_TRACE) & TRACE_INSN)
  if (armed) {
    if (!load<u32>(cpu, CPU_SINGLE)) {
      store<u32>(cpu, 1, CPU_SINGLE)
      atomic.or<u32>(cpu + CPU_REQ, REQ_DEBUG)
    }
  } else {
    // RF means nothing without breakpoints; dropped here because only debug_after() would clear it.
    if (flags & EFLAGS_RF) store<u32>(cpu, flags & ~EFLAGS_RF, CPU_EFLAGS)
    // An armed trap stays: TF counts as it was when the instruction began, also for the POPF that clears it.
    store<u32>(cpu, 0, CPU_SINGLE)
  }
}

/** The instruction in progress leaves the program that TF or a breakpoint belongs to: no single-step trap after it. */
// @ts-ignore: AssemblyScript decorator
@inline
export function debug_disarm(): void {
  store<u32>(cpu, 0, CPU_TF_ARMED)
}

// @ts-ignore: AssemblyScript decorator
@inline
function enabled(dr7: u32, i: u32): bool {
  return ((dr7 >> (i << 1)) & 3) != 0
}

/** Breakpoints of one kind that [address, address + bytes) touches, as DR6 bits. */
function matches(address: u64, bytes: u32, kinds: u32): u32 {
  const dr7 = load<u32>(cpu, CPU_DR7)
  let hit: u32 = 0
  for (let i: u32 = 0; i < 4; i++) {
    if (!enabled(dr7, i) || !((kinds >> ((dr7 >> (16 + (i << 2))) & 3)) & 1)) continue
    const code = (dr7 >> (18 + (i << 2))) & 3
    const length: u64 = code == 0 ? 1 : code == 1 ? 2 : code == 2 ? 8 : 4
    const start = load<u64>(cpu + (<usize>i << 3), CPU_DR0) & ~(length - 1)
    if (address < start + length && start < address + bytes) hit |= 1 << i
  }
  return hit
}

/** Data breakpoints of an access that is about to be made; reported as a trap after the instruction. */
export function watch(lin: u64, bytes: u32, write: bool): void {
  const hit = matches(lin, bytes, write ? (1 << RW_WRITE) | 8 : 8)
  if (hit) store<u32>(cpu, load<u32>(cpu, CPU_DB_PENDING) | hit, CPU_DB_PENDING)
}

/** I/O breakpoints (CR4.DE): call before a port access that will be made. */
export function io_watch(port: u32, bytes: u32): void {
  if (!(load<u32>(cpu, CPU_DR7) & DR7_ENABLES) || !(load<u32>(cpu, CPU_CR4) & CR4_DE)) return
  const hit = matches(port, bytes, 1 << RW_IO)
  if (hit) store<u32>(cpu, load<u32>(cpu, CPU_DB_PENDING) | hit, CPU_DB_PENDING)
}

/** Raises #AC(0) if alignment checks are on and the operand is not aligned to its size. */
export function misaligned(lin: u64, bytes: u32): bool {
  if (load<u32>(cpu, CPU_CPL) != 3 || !alignment_checks()) return false
  // Far pointers and x87 operands align to their widest part (SDM Vol. 3, "Alignment Check Exception").
  const align: u32 = bytes == 10 ? 8 : bytes == 6 ? 4 : bytes
  if (align > 16 || (align & (align - 1)) != 0 || (<u32>lin & (align - 1)) == 0) return false
  raise_error(VECTOR_AC, 0)
  return true
}

export function alignment_checks(): bool {
  return (load<u32>(cpu, CPU_CR0) & CR0_AM) != 0 && (load<u32>(cpu, CPU_EFLAGS) & EFLAGS_AC) != 0
}

/** Linear address of the instruction at CPU_RIP. */
function instruction_address(): u64 {
  const rip = load<u64>(cpu, CPU_RIP)
  if ((load<u32>(cpu, CPU_MODE) & MODE_CS_MASK) == MODE_CS64) return rip
  return (load<u64>(cpu, CPU_CS_BASE) + rip) & 0xffff_ffff
}

function report(bits: u32): void {
  // B0-B3 are those of this exception; the rest accumulates until software clears it.
  store<u64>(cpu, (load<u64>(cpu, CPU_DR6) & ~(<u64>0xf)) | bits, CPU_DR6)
}

export function debug_before(): bool {
  const flags = load<u32>(cpu, CPU_EFLAGS)
  if (!(flags & EFLAGS_RF) && load<u32>(cpu, CPU_DR7) & DR7_ENABLES && load<u32>(cpu, CPU_INHIBIT) != 2) {
    const hit = matches(instruction_address(), 1, 1 << RW_EXECUTE)
    if (hit) {
      report(hit)
      raise(VECTOR_DB)
      return true
    }
  }
  store<u32>(cpu, flags & EFLAGS_TF ? 1 : 0, CPU_TF_ARMED)
  keepRf = false
  return false
}

export function debug_after(): bool {
  if (!keepRf) store<u32>(cpu, load<u32>(cpu, CPU_EFLAGS) & ~EFLAGS_RF, CPU_EFLAGS)
  let pending = load<u32>(cpu, CPU_DB_PENDING)
  // After MOV SS debug traps wait for one more instruction; the single step is simply lost.
  if (load<u32>(cpu, CPU_INHIBIT) == 2) return false
  if (load<u32>(cpu, CPU_TF_ARMED)) pending |= DR6_BS
  store<u32>(cpu, 0, CPU_TF_ARMED)
  if (!pending) return false
  store<u32>(cpu, 0, CPU_DB_PENDING)
  report(pending)
  store<u64>(cpu, load<u64>(cpu, CPU_RIP), CPU_NEXT_RIP)
  store<u32>(cpu, <u32>FAULT_VALID | FAULT_TRAP | VECTOR_DB, CPU_FAULT)
  return true
}
