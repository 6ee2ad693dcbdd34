/**
 * RFLAGS: the lazy form of the six arithmetic flags (abi/layout.ts, CPU_FL_RES), and the instructions that move
 * the others under the rules of IOPL, VME and PVI (SDM Vol. 2, POPF, PUSHF, CLI, STI; Vol. 3, "Virtual-8086 Mode
 * Extensions").
 */
import {
  CPU_CPL,
  CPU_CR4,
  CPU_EFLAGS,
  CPU_FL_AUX,
  CPU_FL_RES,
  CPU_INHIBIT,
  CPU_MODE,
  CPU_NEXT_RIP,
  CPU_RSP,
  CPU_SHADOW_RIP,
  CPU_SINGLE,
  FAULT_TRAP,
  MODE_PE,
  MODE_VM86,
} from '../abi/layout.ts'
import {
  CR4_PVI,
  CR4_VME,
  EFLAGS_AC,
  EFLAGS_AF,
  EFLAGS_ARITH,
  EFLAGS_CF,
  EFLAGS_DF,
  EFLAGS_FIXED,
  EFLAGS_ID,
  EFLAGS_IF,
  EFLAGS_IOPL,
  EFLAGS_IOPL_SHIFT,
  EFLAGS_NT,
  EFLAGS_OF,
  EFLAGS_PF,
  EFLAGS_RF,
  EFLAGS_SF,
  EFLAGS_TF,
  EFLAGS_VIF,
  EFLAGS_VIP,
  EFLAGS_VM,
  EFLAGS_ZF,
  VECTOR_RETRY,
} from './arch.ts'
import { irq_pending } from './irqchip/irq.ts'
import { update_bank } from './mode.ts'
import { update_single } from './debug.ts'
import { cpu, fault_pending, raise, raise_error, VECTOR_GP, VECTOR_UD } from './state.ts'
import { stack_pop, stack_push } from './stack.ts'

/** The whole of EFLAGS, RF and VM included. */
export function flags_get(): u32 {
  const res = load<u64>(cpu, CPU_FL_RES)
  const aux = load<u32>(cpu, CPU_FL_AUX)
  let flags = load<u32>(cpu, CPU_EFLAGS)
  flags |= aux >> 31 // CF
  if ((popcnt<u32>((<u32>res ^ (aux >> 8)) & 0xff) & 1) == 0) flags |= EFLAGS_PF
  if (aux & 8) flags |= EFLAGS_AF
  if (res == 0) flags |= EFLAGS_ZF
  if (<u32>(res >> 63) ^ (aux & 1)) flags |= EFLAGS_SF
  if ((aux ^ (aux << 1)) >> 31) flags |= EFLAGS_OF
  return flags
}

/** Sets CF PF AF ZF SF OF from a flags image; other bits are ignored. */
export function flags_set(flags: u32): void {
  let aux: u32 = 0
  const carry = flags & EFLAGS_CF
  aux |= carry << 31
  aux |= (carry ^ (flags & EFLAGS_OF ? 1 : 0)) << 30
  if (flags & EFLAGS_AF) aux |= 8
  if (!(flags & EFLAGS_PF)) aux |= 0x100
  if (flags & EFLAGS_SF) aux |= 1
  store<u64>(cpu, flags & EFLAGS_ZF ? 0 : 0x100, CPU_FL_RES)
  store<u32>(cpu, aux, CPU_FL_AUX)
}

/** Loads the bits of EFLAGS that `mask` names, arithmetic ones always; the derived state follows. */
function flags_load(value: u32, mask: u32): void {
  flags_set(value)
  mask &= ~EFLAGS_ARITH
  const before = load<u32>(cpu, CPU_EFLAGS)
  const after = (before & ~mask) | (value & mask) | EFLAGS_FIXED
  store<u32>(cpu, after, CPU_EFLAGS)
  const changed = before ^ after
  if (changed & EFLAGS_AC) update_bank()
  if (changed & (EFLAGS_TF | EFLAGS_RF)) update_single()
}

// @ts-ignore: AssemblyScript decorator
@inline
export function iopl(): u32 {
  return (load<u32>(cpu, CPU_EFLAGS) & EFLAGS_IOPL) >> EFLAGS_IOPL_SHIFT
}

/** Interrupt flag handling of this program: its own IF, the virtual one, or none. */
const IF_REAL: u32 = 0
const IF_VIRTUAL: u32 = 1
const IF_FORBIDDEN: u32 = 2

function interrupt_flag(): u32 {
  const mode = load<u32>(cpu, CPU_MODE)
  if (!(mode & MODE_PE) || load<u32>(cpu, CPU_CPL) <= iopl()) return IF_REAL
  const cr4 = load<u32>(cpu, CPU_CR4)
  if (mode & MODE_VM86) return cr4 & CR4_VME ? IF_VIRTUAL : IF_FORBIDDEN
  return cr4 & CR4_PVI && load<u32>(cpu, CPU_CPL) == 3 ? IF_VIRTUAL : IF_FORBIDDEN
}

export function sys_cli(): void {
  const rule = interrupt_flag()
  const flags = load<u32>(cpu, CPU_EFLAGS)
  if (rule == IF_REAL) store<u32>(cpu, flags & ~EFLAGS_IF, CPU_EFLAGS)
  else if (rule == IF_VIRTUAL) store<u32>(cpu, flags & ~EFLAGS_VIF, CPU_EFLAGS)
  else raise_error(VECTOR_GP, 0)
}

export function sys_sti(): void {
  const rule = interrupt_flag()
  const flags = load<u32>(cpu, CPU_EFLAGS)
  if (rule == IF_REAL) {
    if (!(flags & EFLAGS_IF)) {
      store<u32>(cpu, flags | EFLAGS_IF, CPU_EFLAGS)
      store<u32>(cpu, 1, CPU_INHIBIT)
      store<u64>(cpu, load<u64>(cpu, CPU_NEXT_RIP), CPU_SHADOW_RIP)
      // The block goes on, unless the run loop has something to deliver: the window may close before the block ends.
      if (!load<u32>(cpu, CPU_SINGLE) && irq_pending()) {
        raise(VECTOR_RETRY | FAULT_TRAP)
      }
    }
  } else if (rule == IF_VIRTUAL && !(flags & EFLAGS_VIP)) store<u32>(cpu, flags | EFLAGS_VIF, CPU_EFLAGS)
  else raise_error(VECTOR_GP, 0)
}

/** The image that PUSHF and a virtual-8086 INT push: with VME below IOPL 3 the virtual IF, and IOPL reads 3. */
export function flags_image_vme(flags: u32): u32 {
  return (flags & ~EFLAGS_IF) | (flags & EFLAGS_VIF ? EFLAGS_IF : 0) | EFLAGS_IOPL
}

export function sys_pushf(bytes: u32): void {
  let image = flags_get() & ~(EFLAGS_RF | EFLAGS_VM)
  if (load<u32>(cpu, CPU_MODE) & MODE_VM86 && iopl() < 3) {
    if (bytes != 2 || !(load<u32>(cpu, CPU_CR4) & CR4_VME)) {
      raise_error(VECTOR_GP, 0)
      return
    }
    image = flags_image_vme(image)
  }
  stack_push(image, bytes)
}

/** Bits of EFLAGS that POPF and IRET of this CPL may change, arithmetic ones included. */
export function flags_mask(bytes: u32): u32 {
  let mask = EFLAGS_ARITH | EFLAGS_TF | EFLAGS_DF | EFLAGS_NT
  if (bytes != 2) mask |= EFLAGS_AC | EFLAGS_ID
  if (load<u32>(cpu, CPU_CPL) <= iopl()) mask |= EFLAGS_IF
  if (load<u32>(cpu, CPU_CPL) == 0) mask |= EFLAGS_IOPL
  return mask
}

export function sys_popf(bytes: u32): void {
  const vm86 = (load<u32>(cpu, CPU_MODE) & MODE_VM86) != 0
  const virtual = vm86 && iopl() < 3
  if (virtual && (bytes != 2 || !(load<u32>(cpu, CPU_CR4) & CR4_VME))) {
    raise_error(VECTOR_GP, 0)
    return
  }
  const sp = load<u64>(cpu, CPU_RSP)
  let value = <u32>stack_pop(bytes)
  if (fault_pending()) return
  if (virtual) {
    if ((value & EFLAGS_IF && load<u32>(cpu, CPU_EFLAGS) & EFLAGS_VIP) || value & EFLAGS_TF) {
      store<u64>(cpu, sp, CPU_RSP)
      raise_error(VECTOR_GP, 0)
      return
    }
    flags_load(value, EFLAGS_ARITH | EFLAGS_DF | EFLAGS_NT)
    const flags = load<u32>(cpu, CPU_EFLAGS) & ~EFLAGS_VIF
    store<u32>(cpu, value & EFLAGS_IF ? flags | EFLAGS_VIF : flags, CPU_EFLAGS)
    return
  }
  // In virtual-8086 mode CPL is 3: IOPL stays, IF follows because IOPL is 3. POPF clears RF (SDM Vol. 2, POPF).
  flags_load(value & ~EFLAGS_RF, flags_mask(bytes) | (bytes != 2 ? EFLAGS_RF : 0))
}

export function sys_clac(): void {
  set_ac(0)
}

export function sys_stac(): void {
  set_ac(EFLAGS_AC)
}

function set_ac(bit: u32): void {
  if (load<u32>(cpu, CPU_CPL) != 0 || !(load<u32>(cpu, CPU_MODE) & MODE_PE)) {
    raise(VECTOR_UD)
    return
  }
  store<u32>(cpu, (load<u32>(cpu, CPU_EFLAGS) & ~EFLAGS_AC) | bit, CPU_EFLAGS)
  update_bank()
}
