/**
 * Taking over code that was compiled for another vCPU: what it was made from must still stand in memory, and from now on
 * writes to it must end it here, too, although this vCPU has not decoded all of it.
 */
import { RECF_WARM, REC_DISP, REC_FLAGS, REC_LEN, REC_LINK, REC_OP, REC_SIZE } from '../../abi/record.ts'
import { HANDLER_CROSS, HANDLER_REGION } from '../../isa/handlers.ts'
import { entryOf } from './batch.ts'
import type { EncodedBatch } from './batch.ts'
import { isRelative } from './discover.ts'
import type { CodeRecord, Region } from './discover.ts'

const PAGE = 4096
const CHUNK = 64
/** gfn of a page that there is not. */
const NO_PAGE = 0xffff_ffff

export interface AdoptingKernel {
  code_peek(gpa: bigint, mode: number): number
  code_joins_region(gpa: bigint, mode: number, record: number): number
  code_hold(gfn: number, chunks: bigint): number
  code_decode_aside(gpa: bigint, next: number, mode: number): number
  jit_region(region: number, record: number): number
  jit_region_page(region: number, gfn: number): number
  jit_attach(region: number, index: number): number
  jit_detach(region: number): void
}

/** Address of the record that a region at a place would stand in for, 0 if there cannot be one. */
export function entryRecord(kernel: AdoptingKernel, view: DataView, gpa: bigint, mode: number): number {
  const record = kernel.code_peek(gpa, mode) >>> 0
  if (record === 0) return 0
  const op = view.getUint16(record + REC_OP, true)
  // In front of an instruction that crosses into the next page stands a guard, which must stay.
  if (op === HANDLER_CROSS || op === HANDLER_REGION) return 0
  // The instruction may stand in another block, too, where it has its compiled code.
  return kernel.code_joins_region(gpa, mode, record) === 0 ? record : 0
}

/**
 * Puts a region of a batch, whose module is instantiated, in force for the place `key` (gpa << 8 | mode). False: it does not fit,
 * or not any more.
 */
export function adopt(
  kernel: AdoptingKernel,
  { view, cpu }: { readonly view: DataView; readonly cpu: number },
  batch: EncodedBatch,
  index: number,
  key: bigint,
): boolean {
  if (index >= batch.count) return false
  const { region, struct } = batch.at(index)
  const [gpa, mode] = [key >> 8n, Number(key & 0xffn)]
  if (entryOf(region) !== gpa || region.mode !== mode) return false
  const record = entryRecord(kernel, view, gpa, mode)
  const address = cpu + struct
  if (record === 0 || kernel.jit_region(address, record) === 0) return false
  // Held first, looked at then: whoever writes in between has it dropped.
  if (hold(kernel, region, address) && stands(kernel, view, region))
    return kernel.jit_attach(address, batch.first + index) !== 0
  kernel.jit_detach(address)
  return false
}

function hold(kernel: AdoptingKernel, region: Region, address: number): boolean {
  for (const [distance, chunks] of chunksOf(region)) {
    const gfn = region.pages.get(distance)
    if (gfn === undefined) return false
    if (kernel.code_hold(gfn, chunks) === 0 || kernel.jit_region_page(address, gfn) === 0) return false
  }
  return true
}

/** By page, a bit for each 64 bytes that hold code of a region. */
function chunksOf({ blocks }: Region): Map<number, bigint> {
  const pages = new Map<number, Uint32Array>()
  for (const { records } of blocks) {
    for (const { rip, record } of records) {
      const last = Math.floor((rip + record.getUint8(REC_LEN) - 1) / CHUNK)
      for (let chunk = Math.floor(rip / CHUNK); chunk <= last; chunk++) {
        const page = Math.floor(chunk / (PAGE / CHUNK))
        const bits = pages.get(page) ?? new Uint32Array(2)
        pages.set(page, bits)
        const half = (chunk >> 5) & 1
        bits[half] = (bits[half] ?? 0) | (1 << (chunk & 31))
      }
    }
  }
  return new Map(
    [...pages].map(([page, [low = 0, high = 0]]) => [page, (BigInt(high) << 32n) | BigInt(low)] as const),
  )
}

/** Whether memory decodes to what a region was made from. */
export function stands(kernel: AdoptingKernel, view: DataView, { blocks, pages, mode }: Region): boolean {
  const seen = new Set<number>()
  for (const { records } of blocks) {
    for (const value of records) {
      const { rip } = value
      if (seen.has(rip)) continue
      seen.add(rip)
      const distance = Math.floor(rip / PAGE)
      const gpa = (BigInt(pages.get(distance) ?? 0) << 12n) | BigInt(rip & (PAGE - 1))
      const decoded = kernel.code_decode_aside(gpa, pages.get(distance + 1) ?? NO_PAGE, mode) >>> 0
      if (decoded === 0 || !isSame(view, decoded, value)) return false
    }
  }
  return true
}

/** Whether two records are of the same instruction: counts and links of branches, and what was asked, are of one vCPU. */
function isSame(view: DataView, decoded: number, { handler, record }: CodeRecord): boolean {
  const branch = isRelative(handler)
  for (let at = 0; at < REC_SIZE; at += 4) {
    if (branch && (at === REC_DISP || at === REC_LINK)) continue
    const different = view.getUint32(decoded + at, true) ^ record.getUint32(at, true)
    if (at === 0 ? different & ~(RECF_WARM << (REC_FLAGS * 8)) : different) return false
  }
  return true
}
