/** Instructions without a result. Prefetches and NOPs never access their operand; cache flushes check it as a load would. */
import type { Semantics } from '../emit.ts'
import type { hintRows } from '../rows/hints.ts'
import { each, type SemanticsOf } from './semantics-of.ts'

const nothing: Semantics = () => {}
const undefinedOpcode: Semantics = (e) => e.raise('UD')

/** CLFLUSH of a line: its address is translated, memory has no caches here. */
const flush: Semantics = (e) => {
  const gva = e.linear(1, false)
  e.call('mem_probe', [gva, e.const('i32', 1), e.const('i32', 0), e.seg()])
}

// prettier-ignore
export const hintSemantics: SemanticsOf<typeof hintRows> = {
  ...each(['nop', 'nop_0f18', 'nop_0f19', 'nop_0f1a', 'nop_0f1b', 'nop_0f1c', 'nop_0f1d', 'nop_0f1e', 'nop_rmv', 'endbr64', 'endbr32',
    'prefetchnta', 'prefetcht0', 'prefetcht1', 'prefetcht2', 'prefetchw', 'prefetch_0f0d', 'nop_0f0d', 'lfence', 'sfence'], nothing),
  pause: (e) => e.call('sys_pause', []),
  mfence: (e) => e.fence(),
  ...each(['clflush', 'clflushopt', 'clwb'], flush),
  movnti_my_ry: (e) => e.write(0, e.read(1)),
  ...each(['ud0', 'ud1', 'ud2', 'rsm'], undefinedOpcode),
}
