/**
 * Far transfers that the run loop need not see. SYSCALL, SYSRET, SYSENTER, SYSEXIT and IRET leave everything in place: where
 * nothing waits for the end of the instruction, execution goes on at CPU_NEXT_RIP by the jump table, as after a near
 * branch (engine/interp/run-function.ts). That also counts the target, so that it is compiled when it is hot.
 */
import {
  CPU_EFLAGS,
  CPU_INHIBIT,
  CPU_MODE,
  CPU_NEXT_RIP,
  CPU_REQ,
  CPU_SHADOW_RIP,
  CPU_SINGLE,
  CPU_STRAIGHT,
  CPU_TRACE,
  MODE_FLAT,
} from '../abi/layout.ts'
import { EFLAGS_IF } from './arch.ts'
import { irq_pending } from './irqchip/irq.ts'
import { cpu } from './state.ts'

/** The last thing that such an instruction does. Without it the run loop looks at everything. */
export function far_resume(): void {
  if (!(load<u32>(cpu, CPU_MODE) & MODE_FLAT)) return
  if (load<u32>(cpu, CPU_SINGLE) | load<u32>(cpu, CPU_TRACE) | atomic.load<u32>(cpu + CPU_REQ)) return
  if (load<u32>(cpu, CPU_INHIBIT) != 0) {
    // The shadow of an STI is over, unless it was the instruction before this one.
    if (load<u32>(cpu, CPU_INHIBIT) != 1) return
    if (load<u64>(cpu, CPU_NEXT_RIP) == load<u64>(cpu, CPU_SHADOW_RIP)) return
    store<u32>(cpu, 0, CPU_INHIBIT)
  }
  if (load<u32>(cpu, CPU_EFLAGS) & EFLAGS_IF && irq_pending()) return
  store<u32>(cpu, 1, CPU_STRAIGHT)
}
