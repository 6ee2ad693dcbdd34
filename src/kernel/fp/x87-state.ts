/**
 * The x87 register stack, status word and exception reporting (SDM Vol. 1, 8.1 and 8.6).
 *
 * CPU_X87_SW holds the status word without TOP; CPU_X87_TAG has one bit per physical register, set = not empty.
 * An operation begins with x87Begin, collects flags in env.ts, and ends with x87Commit, which decides whether its
 * result counts: an unmasked IE, DE or ZE leaves registers and stack as they were.
 */
import { CPU_CR0, CPU_X87, CPU_X87_CW, CPU_X87_SW, CPU_X87_TAG, CPU_X87_TOP } from '../../abi/layout.ts'
import { CR0_NE } from '../arch.ts'
import { irq_set_gsi } from '../irqchip/routing.ts'
import { cpu, raise as raiseFault, VECTOR_MF } from '../state.ts'
import { ALL_EXCEPTIONS, IE, PE, PRE_COMPUTATION, beginX87, flags, masks, raise, roundedUp, setRoundedUp } from './env.ts'
import { aFromF80, bFromF80 } from './operand.ts'
import { zSe, zSig } from './round.ts'

export const SW_SF: u32 = 0x40
export const SW_ES: u32 = 0x80
export const SW_C0: u32 = 0x100
export const SW_C1: u32 = 0x200
export const SW_C2: u32 = 0x400
export const SW_C3: u32 = 0x4000
export const SW_B: u32 = 0x8000
export const SW_CC: u32 = SW_C0 | SW_C1 | SW_C2 | SW_C3

const FERR_GSI: u32 = 13
let ferrAsserted: bool = false

export const INDEFINITE_SIG: u64 = 0xc000_0000_0000_0000
export const INDEFINITE_SE: u32 = 0xffff

/** Address of ST(st). */
export function stAddress(st: u32): usize {
  return cpu + CPU_X87 + (((load<u32>(cpu, CPU_X87_TOP) + st) & 7) << 4)
}

function tagBit(st: u32): u32 {
  return (<u32>1) << ((load<u32>(cpu, CPU_X87_TOP) + st) & 7)
}

export function isEmpty(st: u32): bool {
  return (load<u32>(cpu, CPU_X87_TAG) & tagBit(st)) == 0
}

export function stSig(st: u32): u64 {
  return load<u64>(stAddress(st))
}

export function stSe(st: u32): u32 {
  return load<u16>(stAddress(st), 8)
}

export function setSt(st: u32, sig: u64, se: u32): void {
  const slot = stAddress(st)
  store<u64>(slot, sig)
  store<u16>(slot, <u16>se, 8)
  store<u32>(cpu, load<u32>(cpu, CPU_X87_TAG) | tagBit(st), CPU_X87_TAG)
}

/** The packed result becomes ST(st). */
export function setStResult(st: u32): void {
  setSt(st, zSig, zSe)
}

export function aFromSt(st: u32): void {
  aFromF80(stSig(st), stSe(st))
}

export function bFromSt(st: u32): void {
  bFromF80(stSig(st), stSe(st))
}

export function freeSt(st: u32): void {
  store<u32>(cpu, load<u32>(cpu, CPU_X87_TAG) & ~tagBit(st), CPU_X87_TAG)
}

export function moveTop(by: u32): void {
  store<u32>(cpu, (load<u32>(cpu, CPU_X87_TOP) + by) & 7, CPU_X87_TOP)
}

export function popStack(count: u32): void {
  while (count != 0) {
    freeSt(0)
    moveTop(1)
    count--
  }
}

export function pushStack(sig: u64, se: u32): void {
  moveTop(7)
  setSt(0, sig, se)
}

export function controlWord(): u32 {
  return load<u16>(cpu, CPU_X87_CW)
}

export function statusWord(): u32 {
  return load<u16>(cpu, CPU_X87_SW)
}

/** Stores status bits (TOP excluded) with the summary bits that follow from them and the control word. */
export function setStatus(sw: u32): void {
  sw &= ~(SW_ES | SW_B | 0x3800)
  if (sw & ~controlWord() & ALL_EXCEPTIONS) sw |= SW_ES | SW_B
  else if (ferrAsserted) lowerFerr()
  store<u16>(cpu, <u16>sw, CPU_X87_SW)
}

export function setConditions(cc: u32, which: u32): void {
  store<u16>(cpu, <u16>((statusWord() & ~which) | cc), CPU_X87_SW)
}

export function x87Begin(): void {
  beginX87(controlWord())
}

/** Writes the flags found, C1 and the summary; false when the instruction has no result. */
export function x87Commit(): bool {
  let found = flags
  const stop = (found & PRE_COMPUTATION & ~masks) != 0
  if (stop) found &= PRE_COMPUTATION | SW_SF
  let sw = statusWord() & ~SW_C1
  if (roundedUp && (found & (PE | SW_SF)) != 0) sw |= SW_C1
  setStatus(sw | found)
  return !stop
}

/** An operand register is empty: C1 = 0. */
export function noteUnderflow(): void {
  raise(IE | SW_SF)
  setRoundedUp(false)
}

/** A push onto a register in use: C1 = 1. */
export function noteOverflow(): void {
  raise(IE | SW_SF)
  setRoundedUp(true)
}

/** Stack underflow of an operation with result ST(dst): the masked answer is the indefinite NaN. */
export function underflow(dst: u32, pops: u32): void {
  noteUnderflow()
  if (!x87Commit()) return
  setSt(dst, INDEFINITE_SIG, INDEFINITE_SE)
  popStack(pops)
}

/** Reports a pending unmasked exception. */
function pendingError(): void {
  if (!(statusWord() & SW_ES)) return
  if (load<u32>(cpu, CPU_CR0) & CR0_NE) {
    raiseFault(VECTOR_MF)
    return
  }
  // PC/AT wiring: FERR# is IRQ 13. The instruction goes on as with IGNNE#, the handler finds the same status word.
  ferrAsserted = true
  irq_set_gsi(FERR_GSI, 1)
}

function lowerFerr(): void {
  ferrAsserted = false
  irq_set_gsi(FERR_GSI, 0)
}

/** FWAIT, and the check at the head of every waiting instruction. */
export function x87_wait(): void {
  pendingError()
}
