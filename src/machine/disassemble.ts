/** Instructions at a place in guest memory as text, for crash reports and traces. */
import { MODE_CS_MASK, MODE_PE, MODE_VM86 } from '#abi/layout.ts'
import { Decoder } from '#isa/decode.ts'
import { printInstruction } from '#isa/printer.ts'

/** What stands in guest memory at a gpa, or undefined outside RAM. */
export type GuestBytes = (gpa: number, lengthBytes: number) => Uint8Array | undefined

const MODE_BITS = [16, 32, 64] as const
export const LONGEST_INSTRUCTION = 15

export interface DisassembledLine {
  readonly rip: bigint
  readonly text: string
}

const decoder = new Decoder()

/** At most `count` instructions from bytes that the CPU would run in this mode (MODE_* bits) at rip; ends at a jump. */
export function disassemble(bytes: Uint8Array, mode: number, rip: bigint, count: number): DisassembledLine[] {
  const bits = MODE_BITS[mode & MODE_CS_MASK] ?? 16
  const real = (mode & MODE_PE) === 0 || (mode & MODE_VM86) !== 0
  const lines: DisassembledLine[] = []
  for (let at = 0, left = count; left > 0 && at < bytes.length; left--) {
    const address = rip + BigInt(at)
    const instruction = decoder.decode(bytes.subarray(at), { bits, real }, address)
    const isOdd = typeof instruction === 'string'
    lines.push({ rip: address, text: isOdd ? `(${instruction})` : printInstruction(instruction) })
    if (isOdd || instruction.row.ends) break
    at += instruction.length
  }
  return lines
}
