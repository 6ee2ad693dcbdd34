/**
 * KVM's hypercalls (Linux Documentation/virt/kvm/x86/hypercalls.rst): number in RAX, arguments in RBX, RCX, RDX, RSI,
 * result in RAX. Those that Linux's guest code uses are answered here; the hub is never asked.
 */
import { DELIVERY_FIXED, DELIVERY_LOWEST } from '../abi/irqchip.ts'
import { CPU_CPL, CPU_PV_UNHALTED, CPU_RAX, CPU_RBX, CPU_RCX, CPU_RDX, CPU_RSI, REQ_UNHALT } from '../abi/layout.ts'
import { halt_yield } from './halt.ts'
import { apic_find } from './irqchip/ipi.ts'
import { lapic_accept } from './irqchip/lapic.ts'
import { code64 } from './mode.ts'
import { cpu, cpu_request } from './state.ts'

const KVM_HC_VAPIC_POLL_IRQ: u64 = 1
const KVM_HC_KICK_CPU: u64 = 5
const KVM_HC_SEND_IPI: u64 = 10
const KVM_HC_SCHED_YIELD: u64 = 11

const KVM_EPERM: i64 = 1
const KVM_EINVAL: i64 = 22
const KVM_ENOSYS: i64 = 1000

/** Bits of an ICR that name a destination: here the bitmap does. */
const ICR_DESTINATION: u64 = 0xc_0800

// @ts-ignore: AssemblyScript decorator
@inline
function argument(register: usize, long: bool): u64 {
  return long ? load<u64>(cpu + register) : load<u32>(cpu + register)
}

/** VMCALL and VMMCALL. */
export function sys_vmcall(): void {
  const long = code64()
  let result = -KVM_ENOSYS
  if (load<u32>(cpu, CPU_CPL) != 0) {
    result = -KVM_EPERM
  } else {
    const call = argument(CPU_RAX, long)
    if (call == KVM_HC_KICK_CPU) result = kick(<u32>argument(CPU_RCX, long))
    else if (call == KVM_HC_SEND_IPI) result = send_ipi(long)
    else if (call == KVM_HC_SCHED_YIELD) result = sched_yield()
    else if (call == KVM_HC_VAPIC_POLL_IRQ) result = 0 // interrupts are looked at after every hypercall
  }
  store<u64>(cpu, long ? <u64>result : <u64>result & 0xffff_ffff, CPU_RAX)
}

/** Wakes a vCPU from HLT, or spares it the next one: PV spin locks wait with interrupts disabled. */
function kick(apicId: u32): i64 {
  const target = apic_find(apicId)
  if (target != 0) {
    atomic.store<u32>(target + CPU_PV_UNHALTED, 1)
    cpu_request(target, REQ_UNHALT)
  }
  return 0
}

function sched_yield(): i64 {
  halt_yield()
  return 0
}

/** One interrupt to up to 128 APICs (64 for 32-bit callers); returns how many took it. */
function send_ipi(long: bool): i64 {
  const icr = argument(CPU_RSI, long)
  if (icr & ICR_DESTINATION) return -KVM_EINVAL
  const first = <u32>argument(CPU_RDX, long)
  const low = argument(CPU_RBX, long)
  const high = argument(CPU_RCX, long)
  if (long) return send_to(low, first, icr) + send_to(high, first + 64, icr)
  return send_to(low | (high << 32), first, icr)
}

function send_to(bitmap: u64, first: u32, icr: u64): i64 {
  let mode = <u32>(icr >> 8) & 7
  if (mode == DELIVERY_LOWEST) mode = DELIVERY_FIXED // each destination stands alone
  let taken: i64 = 0
  while (bitmap != 0) {
    const target = apic_find(first + <u32>ctz(bitmap))
    if (target != 0 && lapic_accept(target, mode, <u32>icr & 0xff, false)) taken++
    bitmap &= bitmap - 1
  }
  return taken
}
