/**
 * The vCPU's side of the door to the hub (abi/exits.ts): sync exits, posted writes, the log ring.
 *
 * A vCPU that waits here is not in the guest: CPU_IN_GUEST is 0, so that nobody waits for it to drop a TLB entry.
 * It keeps looking for REQ_STOP: a hub that is gone must not leave workers hanging.
 */
import {
  EXIT_ADDRESS,
  EXIT_COUNT,
  EXIT_DATA,
  EXIT_FLAGS,
  EXIT_KIND,
  EXIT_KIND_POSTED,
  EXIT_SIZE,
  EXIT_STATE,
  LOG_A,
  LOG_B,
  LOG_CPU,
  LOG_ENTRY_SIZE,
  LOG_EXIT,
  LOG_KIND,
  LOG_RIP,
  POSTED_ADDRESS,
  POSTED_BYTES,
  POSTED_DATA,
  POSTED_ENTRY_SIZE,
  POSTED_HEAD,
  POSTED_KIND,
  POSTED_SEQ,
  POSTED_TAIL,
} from '../abi/exits.ts'
import {
  VM_LOG_DROPPED,
  VM_LOG_ENTRIES,
  VM_LOG_HEAD,
  VM_LOG_PRODUCER,
  VM_LOG_SEEN,
  VM_LOG_SEEN_BITS,
  VM_LOG_TAIL,
} from '../abi/irqchip.ts'
import {
  CPU_EXIT,
  CPU_EXIT_COUNTS,
  CPU_EXIT_WAIT_NS,
  CPU_INDEX,
  CPU_IN_GUEST,
  CPU_POSTED,
  CPU_POSTED_COUNT,
  CPU_POSTED_ENTRIES,
  CPU_REQ,
  CPU_RIP,
  CPU_TRACE,
  CPU_TSC_NEAR,
  REQ_PROTECT,
  REQ_STOP,
  REQ_TLB,
  TRACE_EXIT,
  VM_HUB_ASLEEP,
  VM_HUB_DOORBELL,
  VM_HUB_KICK,
  VM_LOG_COUNT,
  VM_POSTED_SEQ,
} from '../abi/layout.ts'
import { charge, WORK_EXIT } from './budget.ts'
import { protect_pending } from './shootdown.ts'
import { cpu, host_kick, host_now, lock, unlock, vm, wait32 } from './state.ts'
import { tlb_flush_all } from './tlb.ts'

const STATE_IDLE: u32 = 0
const STATE_ASKED: u32 = 1
const STATE_ANSWERED: u32 = 2

/** How long a wait lasts before REQ_STOP is looked at again. */
const SLICE_NS: f64 = 20_000_000
/** How long a traced vCPU waits before it looks at the log ring again. */
const TRACE_WAIT_NS: f64 = 50_000
/** Looks at the answer before sleeping: a hub that is awake on another core answers in 1-3 us, a wake-up costs 5-10. */
const SPIN_LOOKS: u32 = 200

// @ts-ignore: AssemblyScript decorator
@inline
export function count_exit(kind: u32): void {
  const at = cpu + CPU_EXIT_COUNTS + (kind << 2)
  store<u32>(at, load<u32>(at) + 1)
}

/** Tells the hub that there is work. Any thread. */
export function hub_ring(): void {
  atomic.add<u32>(vm + VM_HUB_DOORBELL, 1)
  // The hub says that it goes to sleep before its last look at the work, so one of us sees the other's store.
  if (atomic.load<u32>(vm + VM_HUB_ASLEEP) == 0) return
  if (atomic.cmpxchg<u32>(vm + VM_HUB_ASLEEP, 1, 0) != 1) return
  if (load<u32>(vm, VM_HUB_KICK)) host_kick()
  else atomic.notify(vm + VM_HUB_DOORBELL, -1)
}

export function leave_guest(): void {
  atomic.store<u32>(cpu + CPU_IN_GUEST, 0)
}

/** Whoever asked for a flush while we were out did not wait for it: do it before the next access. */
export function reenter_guest(): void {
  atomic.store<u32>(cpu + CPU_IN_GUEST, 1)
  store<u32>(cpu, 0, CPU_TSC_NEAR) // who knows how long it took
  charge(WORK_EXIT)
  const asked = atomic.load<u32>(cpu + CPU_REQ) & (REQ_TLB | REQ_PROTECT)
  if (asked == 0) return
  atomic.and<u32>(cpu + CPU_REQ, ~(<u32>(REQ_TLB | REQ_PROTECT)))
  if (asked & REQ_TLB) tlb_flush_all()
  if (asked & REQ_PROTECT) protect_pending()
}

/**
 * Asks the hub and waits for the answer. address is a port or a gpa; data the value written; a string exit has
 * count > 1 elements in CPU_EXIT_BUFFER. Returns the hub's data, all ones if the VM is being stopped meanwhile.
 */
export function exit_sync(kind: u32, address: u64, bytes: u32, data: u64, count: u32): u64 {
  const exit = cpu + CPU_EXIT
  store<u32>(exit, kind, EXIT_KIND)
  store<u32>(exit, bytes, EXIT_SIZE)
  store<u32>(exit, count, EXIT_COUNT)
  store<u64>(exit, address, EXIT_ADDRESS)
  store<u64>(exit, data, EXIT_DATA)
  store<u32>(exit, 0, EXIT_FLAGS)
  count_exit(kind)
  const asked = host_now()
  leave_guest()
  atomic.store<u32>(exit + EXIT_STATE, STATE_ASKED)
  hub_ring()
  let looks = SPIN_LOOKS
  let state = atomic.load<u32>(exit + EXIT_STATE)
  while (state != STATE_ANSWERED) {
    if (looks > 0) looks--
    else if (atomic.load<u32>(cpu + CPU_REQ) & REQ_STOP) break
    else wait32(exit + EXIT_STATE, STATE_ASKED, SLICE_NS)
    state = atomic.load<u32>(exit + EXIT_STATE)
  }
  atomic.store<u32>(exit + EXIT_STATE, STATE_IDLE)
  reenter_guest()
  store<f64>(cpu, load<f64>(cpu, CPU_EXIT_WAIT_NS) + (host_now() - asked), CPU_EXIT_WAIT_NS)
  const answer = state == STATE_ANSWERED ? load<u64>(exit, EXIT_DATA) : ~(<u64>0)
  if (load<u32>(cpu, CPU_TRACE)) trace_room()
  if (load<u32>(cpu, CPU_TRACE) & TRACE_EXIT) log_write(LOG_EXIT, address | (<u64>kind << 56), answer)
  return answer
}

/** Hands a write to the hub and goes on. A full ring waits: the hub sees every write, in order. */
export function exit_posted(kind: u32, address: u64, bytes: u32, data: u64): void {
  const ring = cpu + CPU_POSTED
  const tail = load<u32>(ring, POSTED_TAIL)
  if (tail - atomic.load<u32>(ring + POSTED_HEAD) >= <u32>CPU_POSTED_COUNT && !posted_room(ring, tail)) return
  const entry = cpu + CPU_POSTED_ENTRIES + (tail & (CPU_POSTED_COUNT - 1)) * POSTED_ENTRY_SIZE
  store<u32>(entry, kind, POSTED_KIND)
  store<u32>(entry, bytes, POSTED_BYTES)
  store<u64>(entry, address, POSTED_ADDRESS)
  store<u64>(entry, data, POSTED_DATA)
  store<u32>(entry, atomic.add<u32>(vm + VM_POSTED_SEQ, 1), POSTED_SEQ)
  atomic.store<u32>(ring + POSTED_TAIL, tail + 1)
  count_exit(EXIT_KIND_POSTED)
  hub_ring()
  if (load<u32>(cpu, CPU_TRACE)) trace_room()
  if (load<u32>(cpu, CPU_TRACE) & TRACE_EXIT) log_write(LOG_EXIT, address | (<u64>EXIT_KIND_POSTED << 56), data)
}

/** Waits until the hub has taken an entry. False: the VM is being stopped. */
function posted_room(ring: usize, tail: u32): bool {
  leave_guest()
  hub_ring()
  let room = true
  for (;;) {
    const head = atomic.load<u32>(ring + POSTED_HEAD)
    if (tail - head < <u32>CPU_POSTED_COUNT) break
    if (atomic.load<u32>(cpu + CPU_REQ) & REQ_STOP) {
      room = false
      break
    }
    wait32(ring + POSTED_HEAD, head, SLICE_NS)
  }
  reenter_guest()
  return room
}

/**
 * Waits until the log ring is half empty, so that a trace has no gaps. Only where no address of guest memory is held:
 * TLB entries may be dropped meanwhile.
 */
export function trace_room(): void {
  let head = atomic.load<u32>(vm + VM_LOG_HEAD)
  if (atomic.load<u32>(vm + VM_LOG_TAIL) - head < <u32>VM_LOG_COUNT / 2) return
  leave_guest()
  while (atomic.load<u32>(vm + VM_LOG_TAIL) - head >= <u32>VM_LOG_COUNT / 2) {
    if (atomic.load<u32>(cpu + CPU_REQ) & REQ_STOP) break
    hub_ring()
    // Nobody notifies this word: the hub's turn is some microseconds, and a trace is slow anyway.
    wait32(vm + VM_LOG_HEAD, head, TRACE_WAIT_NS)
    head = atomic.load<u32>(vm + VM_LOG_HEAD)
  }
  reenter_guest()
}

/** Appends to the log ring; a full ring loses the entry and counts it. Any thread. */
export function log_write(kind: u32, a: u64, b: u64): void {
  const guard = vm + VM_LOG_PRODUCER
  lock(guard)
  const tail = load<u32>(vm, VM_LOG_TAIL)
  if (tail - atomic.load<u32>(vm + VM_LOG_HEAD) >= <u32>VM_LOG_COUNT) {
    store<u32>(vm, load<u32>(vm, VM_LOG_DROPPED) + 1, VM_LOG_DROPPED)
    unlock(guard)
    return
  }
  const entry = vm + VM_LOG_ENTRIES + (tail & (VM_LOG_COUNT - 1)) * LOG_ENTRY_SIZE
  store<u32>(entry, kind, LOG_KIND)
  store<u32>(entry, cpu ? load<u32>(cpu, CPU_INDEX) : 0, LOG_CPU)
  store<u64>(entry, a, LOG_A)
  store<u64>(entry, b, LOG_B)
  store<u64>(entry, cpu ? load<u64>(cpu, CPU_RIP) : 0, LOG_RIP)
  atomic.store<u32>(vm + VM_LOG_TAIL, tail + 1)
  unlock(guard)
  hub_ring()
}

/** As log_write(), the first time only for each kind and a: a hash bitmap remembers, a collision costs one line. */
export function log_once(kind: u32, a: u64, b: u64): void {
  const hash = <u32>(((a + kind) * 0x9e37_79b9_7f4a_7c15) >> 49) & (VM_LOG_SEEN_BITS - 1)
  const word = vm + VM_LOG_SEEN + ((hash >> 5) << 2)
  const bit: u32 = 1 << (hash & 31)
  if (atomic.load<u32>(word) & bit) return
  if (atomic.or<u32>(word, bit) & bit) return
  log_write(kind, a, b)
}
