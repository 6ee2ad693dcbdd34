/** Instructions without an architectural result: NOPs, prefetches, fences, cache hints, and the reserved opcodes that raise #UD. */
import { NO_FLAGS, defineRows, row } from '../row.ts'

const prefetch = { widths: [0], cite: 'SDM Vol. 2, PREFETCHh' } as const
const nop = { cite: 'SDM Vol. 2, NOP' } as const
const ud = { ends: true, faults: ['UD'], cite: 'SDM Vol. 2, UD' } as const
const sse2 = { feature: 'sse2' } as const

// prettier-ignore
export const hintRows = defineRows({
  nop:            row('nop', 'REX.B0 90', [], NO_FLAGS, nop),
  pause:          row('pause', 'F3 REX.B0 90', [], NO_FLAGS),
  // 0F 18-1F is Intel's hint space: whatever has no meaning there is a NOP with a ModRM byte that is not accessed
  nop_0f18:       row('nop', '0F 18 /r', ['n:rmv'], NO_FLAGS, { ...nop, alias: true }),
  nop_0f19:       row('nop', '0F 19 /r', ['n:rmv'], NO_FLAGS, { ...nop, alias: true }),
  nop_0f1a:       row('nop', '0F 1A /r', ['n:rmv'], NO_FLAGS, { ...nop, alias: true }),
  nop_0f1b:       row('nop', '0F 1B /r', ['n:rmv'], NO_FLAGS, { ...nop, alias: true }),
  nop_0f1c:       row('nop', '0F 1C /r', ['n:rmv'], NO_FLAGS, { ...nop, alias: true }),
  nop_0f1d:       row('nop', '0F 1D /r', ['n:rmv'], NO_FLAGS, { ...nop, alias: true }),
  nop_0f1e:       row('nop', '0F 1E /r', ['n:rmv'], NO_FLAGS, { ...nop, alias: true }),
  nop_rmv:        row('nop', '0F 1F /r', ['n:rmv'], NO_FLAGS, nop),
  endbr64:        row('endbr64', 'F3 0F 1E FA', [], NO_FLAGS),
  endbr32:        row('endbr32', 'F3 0F 1E FB', [], NO_FLAGS),
  prefetchnta:    row('prefetchnta', '0F 18 /0 mod=m', ['n:m8'], NO_FLAGS, prefetch),
  prefetcht0:     row('prefetcht0', '0F 18 /1 mod=m', ['n:m8'], NO_FLAGS, prefetch),
  prefetcht1:     row('prefetcht1', '0F 18 /2 mod=m', ['n:m8'], NO_FLAGS, prefetch),
  prefetcht2:     row('prefetcht2', '0F 18 /3 mod=m', ['n:m8'], NO_FLAGS, prefetch),
  prefetchw:      row('prefetchw', '0F 0D /1 mod=m', ['n:m8'], NO_FLAGS, { widths: [0] }),
  prefetch_0f0d:  row('prefetch', '0F 0D /r mod=m', ['n:m8'], NO_FLAGS, { widths: [0], cite: 'AMD APM Vol. 3, PREFETCH/PREFETCHW' }),
  nop_0f0d:       row('nop', '0F 0D /r mod=3', ['n:Rv'], NO_FLAGS, { ...nop, alias: true }),
  lfence:         row('lfence', 'NFx 0F AE /5 mod=3', [], NO_FLAGS, sse2),
  mfence:         row('mfence', 'NFx 0F AE /6 mod=3', [], NO_FLAGS, sse2),
  sfence:         row('sfence', 'NFx 0F AE /7 mod=3', [], NO_FLAGS, { feature: 'sse' }),
  clflush:        row('clflush', 'NP 0F AE /7 mod=m', ['n:m8'], NO_FLAGS, { widths: [0], feature: 'clfsh' }),
  clflushopt:     row('clflushopt', '66 0F AE /7 mod=m', ['n:m8'], NO_FLAGS, { widths: [0], feature: 'clflushopt' }),
  clwb:           row('clwb', '66 0F AE /6 mod=m', ['n:m8'], NO_FLAGS, { widths: [0], feature: 'clwb' }),
  movnti_my_ry:   row('movnti', 'NP 0F C3 /r', ['w:my', 'r:ry'], NO_FLAGS, sse2),
  ud0:            row('ud0', '0F FF /r', ['n:rv', 'n:rmv'], NO_FLAGS, ud),
  ud1:            row('ud1', '0F B9 /r', ['n:rv', 'n:rmv'], NO_FLAGS, ud),
  ud2:            row('ud2', '0F 0B', [], NO_FLAGS, ud),
  rsm:            row('rsm', '0F AA', [], NO_FLAGS, { ends: true, faults: ['UD'] }),
})
