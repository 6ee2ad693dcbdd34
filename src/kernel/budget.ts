/**
 * What this vCPU runs before it looks at the clock: a slice, which its instructions use up, and so does what the kernel does for
 * them and takes as long as many instructions. Requests are looked at when a part of it is used up that was granted
 * (CPU_GRANTED, CPU_BUDGET).
 *
 * Only instructions count as retired (CPU_INSNS), which is also what RDTSC tells the time from.
 */
import { CPU_BUDGET, CPU_GRANTED, CPU_INSNS } from '../abi/layout.ts'
import { cpu } from './state.ts'

/** Instructions between two looks at the clock: 0.05-0.2 ms, a host_now() each. */
const SLICE: i32 = 16_384
/** Instructions that are granted at once: compiled code looks at requests only when they are used up, 1-4 us. */
const CHUNK: i32 = 4096

// Work in instructions of 3-4 ns
export const WORK_DECODE: i32 = 16 // an instruction
export const WORK_BLOCK: i32 = 32 // finding and entering a block
export const WORK_DROP: i32 = 64 // decoded code of a page that was written
export const WORK_PROTECT: i32 = 64 // taking the write permission of a page
export const WORK_WALK: i32 = 16 // of the page tables
export const WORK_EXIT: i32 = 2048 // waiting for the hub or another vCPU

/** What is left of the slice, not counting what was granted. */
let slice: i32 = 0

/** Accounts for the instructions run since the last grant. */
export function settle(): void {
  const used = load<i32>(cpu, CPU_GRANTED) - load<i32>(cpu, CPU_BUDGET)
  store<i32>(cpu, 0, CPU_GRANTED)
  store<i32>(cpu, 0, CPU_BUDGET)
  slice -= used
  store<u64>(cpu, load<u64>(cpu, CPU_INSNS) + <u64>used, CPU_INSNS)
}

/** Grants what is next of the slice: none if it is used up, which lets one block pass. */
export function grant_next(): i32 {
  const budget = max<i32>(0, min(slice, CHUNK))
  grant(budget)
  return budget
}

export function grant(budget: i32): void {
  store<i32>(cpu, budget, CPU_GRANTED)
  store<i32>(cpu, budget, CPU_BUDGET)
}

/** Takes work off the slice. */
// @ts-ignore: AssemblyScript decorator
@inline
export function charge(work: i32): void {
  slice -= work
}

/** True: it is time to look at the clock. `budget` is what is left of what was granted. */
export function slice_over(budget: i32): bool {
  return slice - (load<i32>(cpu, CPU_GRANTED) - budget) <= 0
}

export function slice_begin(): void {
  slice = SLICE
}
