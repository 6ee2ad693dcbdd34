import { EXITREASON_YIELD } from '../../abi/layout.ts'
import type { Engine } from '../vcpu-loop.ts'

/** Runs a vCPU until it leaves for another reason than a yield. */
export function runToExit(engine: Engine): number {
  for (;;) {
    const reason = engine.run()
    if (reason !== EXITREASON_YIELD) return reason
  }
}
