/**
 * Taking the write permission of a guest page from the TLBs of all vCPUs, which has to happen before the page's bytes are
 * decoded: from then on every write to it takes the slow path and is reported.
 *
 * FRAME_WRITABLE is set before a TLB gets the first write tag for a page and cleared when a shootdown is over, so a page
 * that nobody ever wrote through a TLB needs none. FRAME_CODE is set first: with it no TLB gets a new write tag. FRAME_CODE
 * without FRAME_WRITABLE therefore says that the page is under watch on every vCPU. While several shootdowns go on at
 * once none but the last clears the flag: one of them may be of the same page, and still under way.
 *
 * The other vCPUs are told the frame, not to drop everything. Each serves its list before its next guest instruction.
 */
import {
  CPU_IN_GUEST,
  CPU_PROTECT,
  CPU_PROTECT_COUNT,
  CPU_PROTECT_MAX,
  CPU_PROTECT_TAKEN,
  CPU_REQ,
  CPU_RMW_ADDR,
  FRAME_CODE,
  FRAME_NUMBER_MASK,
  FRAME_WRITABLE,
  REQ_PROTECT,
  VM_LOCK_MMU,
  VM_SHOOTDOWNS,
  VM_VCPU_COUNT,
} from '../abi/layout.ts'
import { charge, WORK_PROTECT } from './budget.ts'
import { leave_guest, reenter_guest } from './exit.ts'
import { frame_slot } from './frames.ts'
import { cpu, cpu_at, lock, unlock, vm, wait32 } from './state.ts'
import { tlb_flush_all, tlb_protect } from './tlb.ts'

/** True: every write to a page is reported already. */
// @ts-ignore: AssemblyScript decorator
@inline
export function is_watched(gfn: u32): bool {
  return (atomic.load<u32>(frame_slot(gfn)) & (FRAME_CODE | FRAME_WRITABLE)) == FRAME_CODE
}

/**
 * Puts a present page under watch. False: other vCPUs had to be waited for, and this one served requests meanwhile; what was
 * translated before must be translated again.
 */
export function watch_page(gfn: u32): bool {
  const slot = frame_slot(gfn)
  lock(vm + VM_LOCK_MMU)
  const entry = atomic.or<u32>(slot, FRAME_CODE)
  if ((entry & FRAME_WRITABLE) == 0) {
    unlock(vm + VM_LOCK_MMU)
    return true
  }
  const host = (entry & FRAME_NUMBER_MASK) << 12
  store<u32>(vm, load<u32>(vm, VM_SHOOTDOWNS) + 1, VM_SHOOTDOWNS)
  post_to_others(host)
  unlock(vm + VM_LOCK_MMU)
  charge(WORK_PROTECT)
  tlb_protect(host)
  const waited = wait_for_others()
  lock(vm + VM_LOCK_MMU)
  const going = load<u32>(vm, VM_SHOOTDOWNS) - 1
  store<u32>(vm, going, VM_SHOOTDOWNS)
  if (going == 0 && atomic.load<u32>(slot) & FRAME_CODE) atomic.and<u32>(slot, ~(<u32>FRAME_WRITABLE))
  unlock(vm + VM_LOCK_MMU)
  return !waited
}

/** Enters a frame in the lists of the other vCPUs. Under VM_LOCK_MMU. */
function post_to_others(host: u32): void {
  const vcpus = load<u32>(vm, VM_VCPU_COUNT)
  for (let i: u32 = 0; i < vcpus; i++) {
    const target = cpu_at(i)
    if (target == 0 || target == cpu) continue
    const count = load<u32>(target, CPU_PROTECT_COUNT)
    if (count < <u32>CPU_PROTECT_MAX) store<u32>(target + (<usize>count << 2), host, CPU_PROTECT)
    if (count <= <u32>CPU_PROTECT_MAX) store<u32>(target, count + 1, CPU_PROTECT_COUNT)
    // No wake-up: who is out of the guest is not waited for, but serves its list when it comes back (reenter_guest).
    atomic.or<u32>(target + CPU_REQ, REQ_PROTECT)
  }
}

/** Waits until no vCPU is in the guest with its list unread. True: there was one, and this vCPU left the guest meanwhile. */
function wait_for_others(): bool {
  const vcpus = load<u32>(vm, VM_VCPU_COUNT)
  let waited = false
  for (let i: u32 = 0; i < vcpus; i++) {
    const target = cpu_at(i)
    if (target == 0 || target == cpu || atomic.load<u32>(target + CPU_IN_GUEST) == 0) continue
    if (!waited) leave_guest() // so that nobody waits for us: two vCPUs may be here at once
    waited = true
    let looks: u32 = 0
    while (atomic.load<u32>(target + CPU_IN_GUEST) != 0 && (atomic.load<u32>(target + CPU_REQ) & REQ_PROTECT) != 0) {
      // Its thread may not even be running: give the processor away after a while.
      if (++looks > 200) wait32(cpu + CPU_RMW_ADDR, load<u32>(cpu, CPU_RMW_ADDR), 20_000)
    }
  }
  if (waited) reenter_guest()
  return waited
}

/** REQ_PROTECT, which the caller has cleared: serves this vCPU's list. */
export function protect_pending(): void {
  lock(vm + VM_LOCK_MMU)
  const count = load<u32>(cpu, CPU_PROTECT_COUNT)
  store<u32>(cpu, 0, CPU_PROTECT_COUNT)
  memory.copy(cpu + CPU_PROTECT_TAKEN, cpu + CPU_PROTECT, CPU_PROTECT_MAX << 2)
  unlock(vm + VM_LOCK_MMU)
  if (count > <u32>CPU_PROTECT_MAX) {
    tlb_flush_all()
    return
  }
  for (let i: u32 = 0; i < count; i++) tlb_protect(load<u32>(cpu + (<usize>i << 2), CPU_PROTECT_TAKEN))
}
