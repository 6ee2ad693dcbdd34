/** System instructions: operands are fetched here, everything else is the kernel's (privilege, mode and register faults included). */
import type { KernelName } from '#abi/kernel-imports.types.ts'
import type { Emit, Semantics, Val } from '../emit.ts'
import type { systemRows } from '../rows/system.ts'
import { callValue, each, type SemanticsOf } from './semantics-of.ts'

const helper =
  (name: KernelName): Semantics =>
  (e) =>
    e.call(name, [])
const bytes = (e: Emit): Val => e.const('i32', e.width / 8)

/** A 64-bit result in the destination register's own width. */
const fit = (e: Emit, value: Val): Val => (e.width === 64 ? value : e.trunc(value, e.ty))

const fromSpecial =
  (name: 'sys_mov_from_cr' | 'sys_mov_from_dr'): Semantics =>
  (e) =>
    e.write(0, fit(e, callValue(e, name, [e.read(1)])))
const toSpecial =
  (name: 'sys_mov_to_cr' | 'sys_mov_to_dr'): Semantics =>
  (e) =>
    e.call(name, [e.read(0), e.zext(e.read(1), 'i64')])

/** A helper without argument whose i64 result goes to operand 0. */
const readInto =
  (name: KernelName): Semantics =>
  (e) =>
    e.write(0, fit(e, callValue(e, name, [])))
const writeFrom =
  (name: KernelName): Semantics =>
  (e) =>
    e.call(name, [e.zext(e.read(0), 'i64')])

/** Privilege comes before the operand is fetched. */
const selectorTo =
  (name: KernelName): Semantics =>
  (e) => {
    e.privileged()
    e.call(name, [e.zext(e.read(0), 'i32')])
  }

/** EDX:EAX := value. */
function setPair(e: Emit, value: Val): void {
  e.setReg('rax', e.trunc(value, 'i32'))
  e.setReg('rdx', e.trunc(e.shr(value, e.const('i32', 32)), 'i32'))
}

const rdtsc: Semantics = (e) => setPair(e, callValue(e, 'sys_rdtsc', []))

const rdtscp: Semantics = (e) => {
  setPair(e, callValue(e, 'sys_rdtsc', []))
  e.setReg('rcx', e.trunc(callValue(e, 'sys_rdpid', []), 'i32'))
}

const random: Semantics = (e) => {
  e.write(0, fit(e, callValue(e, 'sys_rdrand', [])))
  const clear = e.const('i32', 0)
  e.setFlagBits({ cf: e.const('i32', 1), of: clear, sf: clear, zf: clear, af: clear, pf: clear })
}

// --- descriptor tables: 16-bit limit, then the base ------------------------------------------------------------

const storeTable =
  (base: 'sys_sgdt' | 'sys_sidt', limit: 'sys_sgdt_limit' | 'sys_sidt_limit'): Semantics =>
  (e) => {
    const baseBytes = e.width === 64 ? 8 : 4
    const value = callValue(e, base, [])
    const low = callValue(e, limit, [])
    // one check for the whole operand first: a fault in its second half must not leave the first half written
    const gva = e.linear(2 + baseBytes, true)
    e.call('mem_probe', [gva, e.const('i32', 2 + baseBytes), e.const('i32', 1), e.seg()])
    e.store(gva, e.trunc(low, 'i16'))
    const high = e.linear(baseBytes, true, 2)
    e.store(high, baseBytes === 8 ? value : e.trunc(value, 'i32'))
  }

/** A 16-bit operand size loads 24 bits of the base. */
const loadTable =
  (name: 'sys_lgdt' | 'sys_lidt'): Semantics =>
  (e) => {
    e.privileged()
    const baseBytes = e.width === 64 ? 8 : 4
    const limit = e.let(e.zext(e.load('i16', e.linear(2, false)), 'i32'))
    const raw = e.load(baseBytes === 8 ? 'i64' : 'i32', e.linear(baseBytes, false, 2))
    const base = e.zext(e.width === 16 ? e.and(raw, e.const('i32', 0xff_ffff)) : raw, 'i64')
    e.call(name, [limit, e.let(base)])
  }

const storeSelector =
  (name: 'sys_sldt' | 'sys_str'): Semantics =>
  (e) => {
    const selector = callValue(e, name, [])
    if (e.isMemory(0)) e.store(e.linear(2, true), e.trunc(selector, 'i16'))
    else e.write(0, e.ty === 'i16' ? e.trunc(selector, 'i16') : e.zext(selector, e.ty))
  }

/** Memory always gets 16 bits; a register as much of CR0 as the operand size holds. */
const smsw: Semantics = (e) => {
  const value = callValue(e, 'sys_smsw', [])
  if (e.isMemory(0)) e.store(e.linear(2, true), e.trunc(value, 'i16'))
  else e.write(0, fit(e, value))
}

const verify =
  (name: 'sys_verr' | 'sys_verw'): Semantics =>
  (e) =>
    e.setFlagBits({ zf: callValue(e, name, [e.zext(e.read(0), 'i32')]) })

/** -1 stands for "not accessible": ZF is cleared and the destination kept. */
const loadRights =
  (name: 'sys_lar' | 'sys_lsl'): Semantics =>
  (e) => {
    const value = callValue(e, name, [e.zext(e.read(1), 'i32')])
    const valid = e.let(e.ne(value, e.const('i64', -1)))
    e.if_(valid, () => e.write(0, fit(e, value)))
    e.setFlagBits({ zf: valid })
  }

/** RPL of the destination is raised to that of the source. */
const arpl: Semantics = (e) => {
  const three = e.const('i16', 3)
  const rpl = e.let(e.and(e.read(1), three))
  const old = e.let(e.isMemory(0) ? e.load('i16', e.linear(2, false)) : e.read(0))
  const raised = e.let(e.ltU(e.and(old, three), rpl))
  // a selector that stays as it is is not written
  e.if_(raised, () => {
    const value = e.or(e.and(old, e.const('i16', 0xfffc)), rpl)
    if (e.isMemory(0)) e.store(e.linear(2, true), value)
    else e.write(0, value)
  })
  e.setFlagBits({ zf: raised })
}

const invpcid: Semantics = (e) => {
  e.privileged()
  const type = e.zext(e.read(0), 'i64')
  const low = e.load('i64', e.linear(8, false))
  const high = e.load('i64', e.linear(8, false, 8))
  e.call('sys_invpcid', [type, low, high])
}

const nothing: Semantics = (e) => e.privileged()

// prettier-ignore
export const systemSemantics: SemanticsOf<typeof systemRows> = {
  cpuid: helper('sys_cpuid'),
  rdtsc,
  rdtscp,
  rdpmc: helper('sys_rdpmc'),
  ...each(['rdpid_r32', 'rdpid_r64'], readInto('sys_rdpid')),
  ...each(['rdrand_rv', 'rdseed_rv'], random),
  rdmsr: helper('sys_rdmsr'),
  wrmsr: helper('sys_wrmsr'),
  xgetbv: helper('sys_xgetbv'),
  xsetbv: helper('sys_xsetbv'),
  ...each(['mov_r32_cr', 'mov_r64_cr'], fromSpecial('sys_mov_from_cr')),
  ...each(['mov_cr_r32', 'mov_cr_r64'], toSpecial('sys_mov_to_cr')),
  ...each(['mov_r32_dr', 'mov_r64_dr'], fromSpecial('sys_mov_from_dr')),
  ...each(['mov_dr_r32', 'mov_dr_r64'], toSpecial('sys_mov_to_dr')),
  clts: helper('sys_clts'),
  lmsw_rm16: selectorTo('sys_lmsw'),
  smsw_rmv: smsw,
  invd: nothing,
  wbinvd: helper('sys_wbinvd'),
  invlpg_m: (e) => {
    e.privileged()
    e.call('sys_invlpg', [e.linear(0, false)])
  },
  ...each(['invpcid_r32_m128', 'invpcid_r64_m128'], invpcid),
  sgdt_m: storeTable('sys_sgdt', 'sys_sgdt_limit'),
  sidt_m: storeTable('sys_sidt', 'sys_sidt_limit'),
  lgdt_m: loadTable('sys_lgdt'),
  lidt_m: loadTable('sys_lidt'),
  sldt_rmv: storeSelector('sys_sldt'),
  str_rmv: storeSelector('sys_str'),
  lldt_rm16: selectorTo('sys_lldt'),
  ltr_rm16: selectorTo('sys_ltr'),
  verr_rm16: verify('sys_verr'),
  verw_rm16: verify('sys_verw'),
  lar_rv_rm16: loadRights('sys_lar'),
  lsl_rv_rm16: loadRights('sys_lsl'),
  arpl_rm16_r16: arpl,
  cli: helper('sys_cli'),
  sti: helper('sys_sti'),
  clac: helper('sys_clac'),
  stac: helper('sys_stac'),
  hlt: helper('sys_hlt'),
  monitor: (e) => e.call('sys_monitor', [e.reg('rax', 'i64'), e.seg()]),
  mwait: helper('sys_mwait'),
  ...each(['vmcall', 'vmmcall'], helper('sys_vmcall')),
  ...each(['syscall', 'syscall_32'], helper('sys_syscall')),
  sysret: (e) => e.call('sys_sysret', [bytes(e)]),
  sysenter: helper('sys_sysenter'),
  sysexit: (e) => e.call('sys_sysexit', [bytes(e)]),
  swapgs: helper('sys_swapgs'),
  rdfsbase_ry: readInto('sys_rdfsbase'),
  rdgsbase_ry: readInto('sys_rdgsbase'),
  wrfsbase_ry: writeFrom('sys_wrfsbase'),
  wrgsbase_ry: writeFrom('sys_wrgsbase'),
}
