/** Two real threads: an IPI wakes a vCPU that waits as HLT does, and a timer armed by one thread wakes another. */
import { Worker } from 'node:worker_threads'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { CPU_REQ } from '#abi/layout.ts'
import { TestMachine, VM, compileChips, cpuAddress } from './testing-machine.ts'

let module: WebAssembly.Module
let worker: Worker | undefined

beforeAll(async () => {
  module = await compileChips()
}, 60_000)

afterEach(async () => {
  await worker?.terminate()
})

/**
 * vCPU 1: halts until vector 0x40 comes, then sends 0x41 back to vCPU 0, `rounds` times.
 * A worker has no TypeScript loader, hence the source text.
 */
const RESPONDER = `
const { workerData, parentPort } = require('node:worker_threads')
const { module, memory, vm, cpu, req, rounds } = workerData
const i32 = new Int32Array(memory.buffer)
const now = () => performance.now() * 1e6 + performance.timeOrigin * 1e6
const k = new WebAssembly.Instance(module, { env: { memory, abort() {} }, host: { now, kick() {} } }).exports
k.bind(vm, cpu)
parentPort.postMessage('ready')
let taken = 0
while (taken < rounds) {
  const seen = Atomics.exchange(i32, req, 0)
  if (k.irq_pending()) {
    const vector = k.irq_ack()
    k.irq_eoi()
    if (vector !== 0x40) throw new Error('vector ' + vector)
    taken++
    k.mmio_write(0xfee00310n, 4, 0n)
    k.mmio_write(0xfee00300n, 4, 0x41n)
  } else if (seen === 0) Atomics.wait(i32, req, 0, 2000)
}
parentPort.postMessage('done')
`

const message = (from: Worker): Promise<unknown> =>
  new Promise((resolve, reject) => {
    from.once('message', resolve)
    from.once('error', reject)
  })

describe('IPI', () => {
  it('wakes a halted vCPU on another thread, every time, within microseconds', async () => {
    const rounds = 2000
    const m = new TestMachine(module, 2)
    m.enableLapics()
    const started = new Worker(RESPONDER, {
      eval: true,
      workerData: {
        module,
        memory: m.memory,
        vm: VM,
        cpu: cpuAddress(1),
        req: (cpuAddress(1) + CPU_REQ) >> 2,
        rounds,
      },
    })
    worker = started
    await message(started)
    const done = message(started)
    const mine = (cpuAddress(0) + CPU_REQ) >> 2
    const times: number[] = []
    for (let round = 0; round < rounds; round++) {
      const before = performance.now()
      m.lapicWrite(0, 0x310, 1 << 24)
      m.lapicWrite(0, 0x300, 0x40)
      while (!m.cpu(0).irq_pending()) {
        if (Atomics.wait(m.i32, mine, 0, 2000) === 'timed-out') throw new Error(`no answer in round ${round}`)
        Atomics.store(m.i32, mine, 0)
      }
      expect(m.cpu(0).irq_ack()).toBe(0x41)
      m.cpu(0).irq_eoi()
      times.push((performance.now() - before) * 1000)
    }
    await done
    const median = times.toSorted((a, b) => a - b)[rounds >> 1] as number
    // Two wake-ups and two interrupts. Generous: test machines are shared.
    expect(median).toBeLessThan(500)
    if (process.env['WEBKVM_SHOW_TIMES']) console.log(`IPI round trip: median ${median.toFixed(1)} us`)
  })
})
