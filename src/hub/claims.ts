/**
 * Words shared by the port and the MMIO space: access classes (design: "exits") and handlers.
 *
 *   sync    the vCPU waits for the device's answer
 *   posted  the write goes into a ring, the vCPU continues
 *   shadow  the read is answered from a register image that the device keeps in shared memory
 *   kernel  handled inside the vCPU worker by the kernel device named in the claim
 *   ignore  known, without effect: reads all ones, writes dropped, not logged
 */
import { allOnes } from '#base/bits.ts'
import { ACCESS_IGNORE, ACCESS_KERNEL, ACCESS_POSTED, ACCESS_SHADOW, ACCESS_SYNC } from '#abi/exits.ts'

export type ReadClass = 'sync' | 'shadow' | 'kernel' | 'ignore'
export type WriteClass = 'sync' | 'posted' | 'kernel' | 'ignore'

const READ_CODES: Record<ReadClass, number> = {
  sync: ACCESS_SYNC,
  shadow: ACCESS_SHADOW,
  kernel: ACCESS_KERNEL,
  ignore: ACCESS_IGNORE,
}
const WRITE_CODES: Record<WriteClass, number> = {
  sync: ACCESS_SYNC,
  posted: ACCESS_POSTED,
  kernel: ACCESS_KERNEL,
  ignore: ACCESS_IGNORE,
}

/** The class word of abi/exits.ts: read class | write class << 4 | kernel device << 8. */
export function classWord(read: ReadClass, write: WriteClass, kernelDevice: number): number {
  return READ_CODES[read] | (WRITE_CODES[write] << 4) | (kernelDevice << 8)
}

/**
 * The device's side of a claim. `offset` is relative to the claim; `bytes` is 1, 2 or 4 and never more than the
 * claim's width; values are unsigned. A read of undefined or a write of false means "no register there":
 * the hub answers like an undriven bus and logs the place once.
 */
export interface IoHandler {
  read(offset: number, bytes: number): number | undefined
  write(offset: number, bytes: number, value: number): boolean | void
}

/** A claim overlaps another one. Names both owners and prints both ranges. */
export class ClaimError extends Error {
  override readonly name = 'ClaimError'
}

/** For claims that only the kernel or nobody answers. */
export const NO_HANDLER: IoHandler = {
  read: (_offset, bytes) => allOnes(bytes),
  write: () => undefined,
}
