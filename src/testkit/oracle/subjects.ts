/** Which rows the host's CPU can judge: user-mode instructions whose outcome depends on nothing but the case. */
import { ROWS } from '#isa/rows/index.ts'
import type { Row } from '#isa/row.ts'

/** Mnemonics left out, by reason. */
const EXCLUDED: Readonly<Record<string, readonly string[]>> = {
  'enters the host kernel': ['syscall', 'sysenter', 'int', 'int1', 'into'],
  'depends on the host model, clock or chance': ['cpuid', 'rdtsc', 'rdtscp', 'rdpid', 'rdpmc', 'rdrand', 'rdseed', 'xgetbv', 'xsetbv', 'sgdt', 'sidt', 'sldt', 'str', 'smsw'], // prettier-ignore
  'returns from system calls': ['sysret', 'sysexit'], // prettier-ignore
  'changes state that the oracle needs': ['wrfsbase', 'wrgsbase', 'rdfsbase', 'rdgsbase', 'swapgs'],
  waits: ['hlt', 'mwait', 'monitor', 'pause'],
  'belongs to a hypervisor': ['vmcall', 'vmmcall', 'rsm', 'vmlaunch', 'vmresume', 'vmrun'],
  "precision is the implementation's own": ['rcpps', 'rcpss', 'rsqrtps', 'rsqrtss', 'vrcpps', 'vrcpss', 'vrsqrtps', 'vrsqrtss'], // prettier-ignore
}
/** Vendors disagree: AMD has #UD where Intel has a NOP. */
const EXCLUDED_ROWS = new Set(['nop_0f0d'])
const EXCLUDED_MNEMONICS = new Set(Object.values(EXCLUDED).flat())

export function subjects(features: ReadonlySet<string>): readonly Row[] {
  return ROWS.filter(
    (row) => features.has(row.feature) && !EXCLUDED_ROWS.has(row.id) && !EXCLUDED_MNEMONICS.has(row.mnemonic),
  )
}
