/**
 * Linear address -> gpa by the guest's own page tables, for reports: permissions are not looked at and nothing is marked
 * accessed. SDM Vol. 3, "Paging": 32-bit, PAE and 4-level. The engine's walk is kernel/paging.ts.
 */
import type { GuestBytes } from './disassemble.ts'

export interface PagingRegisters {
  readonly cr0: bigint
  readonly cr3: bigint
  readonly cr4: bigint
  readonly efer: bigint
}

const CR0_PG = 1n << 31n
const CR4_PSE = 1n << 4n
const CR4_PAE = 1n << 5n
const EFER_LMA = 1n << 10n
const PRESENT = 1n
const LARGE = 1n << 7n
/** Bits 51:12 of a PAE or 4-level entry. */
const FRAME = 0x000f_ffff_ffff_f000n
const ALL_32 = 0xffff_ffffn

/** The gpa, or undefined where the tables map nothing. */
export function linearToGpa(
  readGuest: GuestBytes,
  registers: PagingRegisters,
  linear: bigint,
): bigint | undefined {
  const { cr0, cr3, cr4, efer } = registers
  if ((cr0 & CR0_PG) === 0n) return linear & ALL_32
  const entryAt = (gpa: bigint, bytes: 4 | 8): bigint | undefined => {
    const raw = readGuest(Number(gpa), bytes)
    if (raw === undefined) return undefined
    const value = Uint8Array.from(raw)
      .toReversed()
      .reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
    return (value & PRESENT) === 0n ? undefined : value
  }
  if ((cr4 & CR4_PAE) === 0n) return walk32(entryAt, cr3, (cr4 & CR4_PSE) !== 0n, linear & ALL_32)
  const isLong = (efer & EFER_LMA) !== 0n
  const address = isLong ? linear : linear & ALL_32
  let table = isLong ? cr3 & FRAME : cr3 & 0xffff_ffe0n
  // Bits 47:39, 38:30, 29:21 and 20:12 choose the entries; PAE starts with the four of bits 31:30.
  for (let shift = isLong ? 39n : 30n; shift >= 12n; shift -= 9n) {
    const entry = entryAt(table + ((address >> shift) & 0x1ffn) * 8n, 8)
    if (entry === undefined) return undefined
    const canBeLarge = shift === 21n || (shift === 30n && isLong)
    if (shift === 12n || (canBeLarge && (entry & LARGE) !== 0n)) {
      const offset = (1n << shift) - 1n
      return (entry & FRAME & ~offset) | (address & offset)
    }
    table = entry & FRAME
  }
  return undefined
}

type EntryAt = (gpa: bigint, bytes: 4 | 8) => bigint | undefined

function walk32(entryAt: EntryAt, cr3: bigint, hasLarge: boolean, linear: bigint): bigint | undefined {
  const directory = entryAt((cr3 & 0xffff_f000n) + (linear >> 22n) * 4n, 4)
  if (directory === undefined) return undefined
  if (hasLarge && (directory & LARGE) !== 0n) {
    // PSE-36: bits 20:13 are bits 39:32 of the frame.
    return (((directory >> 13n) & 0xffn) << 32n) | (directory & 0xffc0_0000n) | (linear & 0x3f_ffffn)
  }
  const entry = entryAt((directory & 0xffff_f000n) + ((linear >> 12n) & 0x3ffn) * 4n, 4)
  return entry === undefined ? undefined : (entry & 0xffff_f000n) | (linear & 0xfffn)
}
