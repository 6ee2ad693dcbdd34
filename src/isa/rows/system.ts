/** System instructions (SDM Vol. 1, 5.20 to 5.23; SDM Vol. 3). Privilege and mode faults beyond the opcode's own are in the kernel. */
import { NO_FLAGS, defineRows, row } from '../row.ts'

const ends = true
const gp = { faults: ['GP'] } as const
const control = { ends, faults: ['GP'] } as const
const protectedOnly = true
const selector = { protectedOnly, faults: ['UD'] } as const
const long = 'long'
const legacy = 'legacy'
const ZF = 'r=- w=z u=- 0=- 1=-'
const leave = { ends, faults: ['GP', 'UD'] } as const

// prettier-ignore
export const systemRows = defineRows({
  cpuid:        row('cpuid', '0F A2', [], NO_FLAGS, { ends }),
  rdtsc:        row('rdtsc', '0F 31', [], NO_FLAGS, { ...gp, feature: 'tsc' }),
  rdtscp:       row('rdtscp', '0F 01 F9', [], NO_FLAGS, { ...gp, feature: 'rdtscp' }),
  rdpmc:        row('rdpmc', '0F 33', [], NO_FLAGS, gp),
  rdpid_r32:    row('rdpid', 'F3 0F C7 /7 mod=3', ['w:R32'], NO_FLAGS, { modes: legacy, feature: 'rdpid' }),
  rdpid_r64:    row('rdpid', 'F3 0F C7 /7 mod=3', ['w:R64'], NO_FLAGS, { modes: long, feature: 'rdpid' }),
  rdrand_rv:    row('rdrand', 'NFx 0F C7 /6 mod=3', ['w:Rv'], 'r=- w=c u=- 0=oszap 1=-', { feature: 'rdrand' }),
  rdseed_rv:    row('rdseed', 'NFx 0F C7 /7 mod=3', ['w:Rv'], 'r=- w=c u=- 0=oszap 1=-', { feature: 'rdseed' }),
  rdmsr:        row('rdmsr', '0F 32', [], NO_FLAGS, { ...gp, feature: 'msr' }),
  wrmsr:        row('wrmsr', '0F 30', [], NO_FLAGS, { ...gp, feature: 'msr' }),
  xgetbv:       row('xgetbv', 'NP 0F 01 D0', [], NO_FLAGS, { faults: ['GP', 'UD'], feature: 'xsave' }),
  xsetbv:       row('xsetbv', 'NP 0F 01 D1', [], NO_FLAGS, { ...leave, feature: 'xsave' }),

  mov_r32_cr:   row('mov', '0F 20 /r mod=any', ['w:R32', 'r:creg'], 'r=- w=- u=oszapc 0=- 1=-', { modes: legacy, faults: ['GP', 'UD'], cite: 'SDM Vol. 2, MOV (control registers)' }),
  mov_r64_cr:   row('mov', '0F 20 /r mod=any', ['w:R64', 'r:creg'], 'r=- w=- u=oszapc 0=- 1=-', { modes: long, faults: ['GP', 'UD'], cite: 'SDM Vol. 2, MOV (control registers)' }),
  mov_cr_r32:   row('mov', '0F 22 /r mod=any', ['w:creg', 'r:R32'], 'r=- w=- u=oszapc 0=- 1=-', { modes: legacy, ...leave, cite: 'SDM Vol. 2, MOV (control registers)' }),
  mov_cr_r64:   row('mov', '0F 22 /r mod=any', ['w:creg', 'r:R64'], 'r=- w=- u=oszapc 0=- 1=-', { modes: long, ...leave, cite: 'SDM Vol. 2, MOV (control registers)' }),
  mov_r32_dr:   row('mov', '0F 21 /r mod=any', ['w:R32', 'r:dreg'], 'r=- w=- u=oszapc 0=- 1=-', { modes: legacy, faults: ['GP', 'UD', 'DB'], cite: 'SDM Vol. 2, MOV (debug registers)' }),
  mov_r64_dr:   row('mov', '0F 21 /r mod=any', ['w:R64', 'r:dreg'], 'r=- w=- u=oszapc 0=- 1=-', { modes: long, faults: ['GP', 'UD', 'DB'], cite: 'SDM Vol. 2, MOV (debug registers)' }),
  mov_dr_r32:   row('mov', '0F 23 /r mod=any', ['w:dreg', 'r:R32'], 'r=- w=- u=oszapc 0=- 1=-', { modes: legacy, ends, faults: ['GP', 'UD', 'DB'], cite: 'SDM Vol. 2, MOV (debug registers)' }),
  mov_dr_r64:   row('mov', '0F 23 /r mod=any', ['w:dreg', 'r:R64'], 'r=- w=- u=oszapc 0=- 1=-', { modes: long, ends, faults: ['GP', 'UD', 'DB'], cite: 'SDM Vol. 2, MOV (debug registers)' }),
  clts:         row('clts', '0F 06', [], NO_FLAGS, control),
  lmsw_rm16:    row('lmsw', '0F 01 /6', ['r:rm16'], NO_FLAGS, control),
  smsw_rmv:     row('smsw', '0F 01 /4', ['w:rmv'], NO_FLAGS, gp),
  invd:         row('invd', '0F 08', [], NO_FLAGS, gp),
  wbinvd:       row('wbinvd', '0F 09', [], NO_FLAGS, gp),
  invlpg_m:     row('invlpg', '0F 01 /7 mod=m', ['n:m'], NO_FLAGS, { ...control, widths: [0] }),
  invpcid_r32_m128: row('invpcid', '66 0F 38 82 /r', ['r:r32', 'r:m128'], NO_FLAGS, { ...control, modes: legacy, protectedOnly, feature: 'invpcid' }),
  invpcid_r64_m128: row('invpcid', '66 0F 38 82 /r', ['r:r64', 'r:m128'], NO_FLAGS, { ...control, modes: long, feature: 'invpcid' }),

  sgdt_m:       row('sgdt', '0F 01 /0 mod=m', ['w:m'], NO_FLAGS, { ...gp, widths: [16, 32, 64], osize: 'f64' }),
  sidt_m:       row('sidt', '0F 01 /1 mod=m', ['w:m'], NO_FLAGS, { ...gp, widths: [16, 32, 64], osize: 'f64' }),
  lgdt_m:       row('lgdt', '0F 01 /2 mod=m', ['r:m'], NO_FLAGS, { ...control, widths: [16, 32, 64], osize: 'f64' }),
  lidt_m:       row('lidt', '0F 01 /3 mod=m', ['r:m'], NO_FLAGS, { ...control, widths: [16, 32, 64], osize: 'f64' }),
  sldt_rmv:     row('sldt', '0F 00 /0', ['w:rmv'], NO_FLAGS, { protectedOnly, faults: ['GP', 'UD'] }),
  str_rmv:      row('str', '0F 00 /1', ['w:rmv'], NO_FLAGS, { protectedOnly, faults: ['GP', 'UD'] }),
  lldt_rm16:    row('lldt', '0F 00 /2', ['r:rm16'], NO_FLAGS, { protectedOnly, ends, faults: ['GP', 'NP', 'UD'] }),
  ltr_rm16:     row('ltr', '0F 00 /3', ['r:rm16'], NO_FLAGS, { protectedOnly, ends, faults: ['GP', 'NP', 'UD'] }),
  verr_rm16:    row('verr', '0F 00 /4', ['r:rm16'], ZF, { ...selector, cite: 'SDM Vol. 2, VERR/VERW' }),
  verw_rm16:    row('verw', '0F 00 /5', ['r:rm16'], ZF, { ...selector, cite: 'SDM Vol. 2, VERR/VERW' }),
  lar_rv_rm16:  row('lar', '0F 02 /r', ['w:rv', 'r:rm16'], ZF, selector),
  lsl_rv_rm16:  row('lsl', '0F 03 /r', ['w:rv', 'r:rm16'], ZF, selector),
  arpl_rm16_r16: row('arpl', '63 /r', ['rw:rm16', 'r:r16'], ZF, { ...selector, modes: legacy }),

  cli:          row('cli', 'FA', [], 'r=l w=i u=- 0=- 1=-', gp), // nothing becomes deliverable: the block goes on
  sti:          row('sti', 'FB', [], 'r=l w=i u=- 0=- 1=-', gp), // the block goes on unless something is deliverable
  clac:         row('clac', 'NP 0F 01 CA', [], 'r=- w=- u=- 0=k 1=-', { faults: ['UD'], feature: 'smap' }),
  stac:         row('stac', 'NP 0F 01 CB', [], 'r=- w=- u=- 0=- 1=k', { faults: ['UD'], feature: 'smap' }),
  hlt:          row('hlt', 'F4', [], NO_FLAGS, control),
  monitor:      row('monitor', 'NP 0F 01 C8', [], NO_FLAGS, { faults: ['GP', 'UD'], feature: 'monitor' }),
  mwait:        row('mwait', 'NP 0F 01 C9', [], NO_FLAGS, { ends, faults: ['GP', 'UD'], feature: 'monitor' }),
  vmcall:       row('vmcall', 'NP 0F 01 C1', [], NO_FLAGS, { ends, faults: ['UD'] }),
  vmmcall:      row('vmmcall', '0F 01 D9', [], NO_FLAGS, { ends, faults: ['UD'], cite: 'AMD APM Vol. 3, VMMCALL' }),

  syscall:      row('syscall', '0F 05', [], 'r=- w=oszapcditkylnfm u=- 0=- 1=-', { ...leave, modes: long, feature: 'syscall' }),
  syscall_32:   row('syscall', '0F 05', [], 'r=- w=oszapcditkylnfm u=- 0=- 1=-', { ...leave, modes: legacy, feature: 'syscall' }),
  sysret:       row('sysret', '0F 07', [], 'r=- w=oszapcditkylnfm u=- 0=- 1=-', { ...leave, widths: [32, 64], feature: 'syscall' }),
  sysenter:     row('sysenter', '0F 34', [], 'r=- w=- u=- 0=im 1=-', { ...control, feature: 'sep' }),
  sysexit:      row('sysexit', '0F 35', [], NO_FLAGS, { ...control, widths: [32, 64], feature: 'sep' }),
  swapgs:       row('swapgs', '0F 01 F8', [], NO_FLAGS, { ...gp, modes: long }),
  rdfsbase_ry:  row('rdfsbase', 'F3 0F AE /0 mod=3', ['w:Ry'], NO_FLAGS, { modes: long, faults: ['UD'], feature: 'fsgsbase', cite: 'SDM Vol. 2, RDFSBASE/RDGSBASE' }),
  rdgsbase_ry:  row('rdgsbase', 'F3 0F AE /1 mod=3', ['w:Ry'], NO_FLAGS, { modes: long, faults: ['UD'], feature: 'fsgsbase', cite: 'SDM Vol. 2, RDFSBASE/RDGSBASE' }),
  wrfsbase_ry:  row('wrfsbase', 'F3 0F AE /2 mod=3', ['r:Ry'], NO_FLAGS, { modes: long, faults: ['UD', 'GP'], feature: 'fsgsbase', cite: 'SDM Vol. 2, WRFSBASE/WRGSBASE' }),
  wrgsbase_ry:  row('wrgsbase', 'F3 0F AE /3 mod=3', ['r:Ry'], NO_FLAGS, { modes: long, faults: ['UD', 'GP'], feature: 'fsgsbase', cite: 'SDM Vol. 2, WRFSBASE/WRGSBASE' }),
})
