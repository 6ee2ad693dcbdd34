/** What transfers read from the current task-state segment: inner stacks and the interrupt stack table. */
import { SEG_ATTR, SEG_BASE, SEG_LIMIT, SEG_TR } from '../abi/layout.ts'
import { ACC_IMPLICIT } from './arch.ts'
import { ext, selector_of } from './descriptor.ts'
import { lin_load, system_load64 } from './mmu.ts'
import { fault_pending, raise_error, seg, VECTOR_TS } from './state.ts'

export let tss_esp: u32 = 0
export let tss_ss: u32 = 0

function beyond_limit(): bool {
  raise_error(VECTOR_TS, (selector_of(SEG_TR) & 0xfffc) | ext)
  return false
}

/** Reads SS:ESP of a level into tss_*; a 16- or 32-bit TSS, as TR's type says. */
export function tss_stack(level: u32): bool {
  const tr = seg(SEG_TR)
  const base = load<u64>(tr, SEG_BASE)
  if (load<u32>(tr, SEG_ATTR) & 8) {
    const at: u32 = 4 + (level << 3)
    if (at + 5 > load<u32>(tr, SEG_LIMIT)) return beyond_limit()
    tss_esp = lin_load<u32>((base + at) & 0xffff_ffff, ACC_IMPLICIT)
    tss_ss = lin_load<u16>((base + at + 4) & 0xffff_ffff, ACC_IMPLICIT)
  } else {
    const at: u32 = 2 + (level << 2)
    if (at + 3 > load<u32>(tr, SEG_LIMIT)) return beyond_limit()
    tss_esp = lin_load<u16>((base + at) & 0xffff_ffff, ACC_IMPLICIT)
    tss_ss = lin_load<u16>((base + at + 2) & 0xffff_ffff, ACC_IMPLICIT)
  }
  return !fault_pending()
}

/** 64-bit TSS: stack pointer of IST entry 1..7, or of a privilege level when ist is 0. Check fault_pending(). */
export function tss_ist(ist: u32, level: u32): u64 {
  const tr = seg(SEG_TR)
  const at: u32 = ist != 0 ? 28 + (ist << 3) : 4 + (level << 3)
  if (at + 7 > load<u32>(tr, SEG_LIMIT)) {
    beyond_limit()
    return 0
  }
  return system_load64(load<u64>(tr, SEG_BASE) + at)
}
