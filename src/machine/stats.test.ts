import { describe, expect, test } from 'vitest'

import * as abi from '#abi/layout.ts'
import { readStats } from './stats.ts'

const CPUS = [0x1000, 0x1000 + abi.CPU_SIZE]

function stats(write: (view: DataView) => void): ReturnType<typeof readStats> {
  const buffer = new ArrayBuffer(0x1000 + 2 * abi.CPU_SIZE)
  write(new DataView(buffer))
  const common = { state: 'running', ramBytes: 1 << 20, atNs: 0 }
  return readStats({ ...common, buffer, cpus: CPUS, guestNs: 1000, elapsedNs: 1000 })
}

describe('readStats', () => {
  test('sums the counters of all vCPUs', () => {
    const read = stats((view) => {
      for (const [i, cpu] of CPUS.entries()) {
        view.setBigUint64(cpu + abi.CPU_INSNS, 100n + BigInt(i), true)
        view.setFloat64(cpu + abi.CPU_EXIT_WAIT_NS, 10 + i, true)
        view.setFloat64(cpu + abi.CPU_HALT_NS, 200, true)
      }
    })
    expect(read).toMatchObject({ instructions: 201, exitWaitNs: 21, haltNs: 400, busyNs: 1600, online: 2 })
  })

  test('counts the sleep that a vCPU is in', () => {
    const read = stats((view) => view.setFloat64(0x1000 + abi.CPU_HALTED_AT, 400, true))
    expect(read).toMatchObject({ haltNs: 600, busyNs: 1400 })
  })

  test('tells of the JIT once it has compiled', () => {
    expect(stats(() => undefined).jit).toBeUndefined()
    const read = stats((view) => {
      for (const cpu of CPUS) {
        const at = cpu + abi.CPU_JIT_STATS
        view.setFloat64(at + abi.JIT_STAT_MODULES, 2, true)
        view.setFloat64(at + abi.JIT_STAT_BYTES, 4096, true)
        view.setFloat64(at + abi.JIT_STAT_COMPILE_NS, 3e6, true)
      }
    })
    expect(read.jit).toMatchObject({ modules: 4, bytes: 8192, compileMs: 6, regions: 0 })
  })
})
