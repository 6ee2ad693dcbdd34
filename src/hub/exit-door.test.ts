/** The door with real threads on both sides: no exit is lost, none is answered twice, a thread's order is kept. */
import { Worker } from 'node:worker_threads'

import { describe, expect, it } from 'vitest'

import * as exits from '#abi/exits.ts'
import * as abi from '#abi/layout.ts'
import { FakeMemory } from '#testkit/fake-memory.ts'

import { Hub } from './hub.ts'

const VM = 0x1_0000
const CPU = VM + abi.VM_SIZE
const VCPUS = 2
const ROUNDS = 1500
const POSTS_PER_ROUND = 20
/** A waiter that is not woken within this time was forgotten. */
const LOST_MS = 4000

/** What kernel/exit.ts does, in plain JavaScript: each round posts numbered writes, then asks. */
const VCPU = `
  const { workerData: d, parentPort } = require('node:worker_threads')
  const i32 = new Int32Array(d.buffer)
  const view = new DataView(d.buffer)
  const state = d.exit >> 2
  const head = d.posted >> 2
  function ring() {
    Atomics.add(i32, d.doorbell >> 2, 1)
    if (Atomics.compareExchange(i32, d.asleep >> 2, 1, 0) === 1) Atomics.notify(i32, d.doorbell >> 2)
  }
  function wait(index, value) {
    if (Atomics.wait(i32, index, value, d.lostMs) === 'timed-out') throw new Error('a wake-up was lost')
  }
  function post(value) {
    const tail = i32[head + 1]
    for (let at; ((tail - (at = Atomics.load(i32, head))) | 0) >= 256; ) { ring(); wait(head, at) }
    const entry = d.entries + (tail & 255) * 32
    view.setUint32(entry, 2, true)
    view.setUint32(entry + 4, 4, true)
    view.setBigUint64(entry + 8, BigInt(d.port), true)
    view.setBigUint64(entry + 16, BigInt(value), true)
    Atomics.store(i32, head + 1, tail + 1)
    ring()
  }
  function ask() {
    view.setUint32(d.exit + 4, 1, true)
    view.setUint32(d.exit + 8, 4, true)
    view.setUint32(d.exit + 12, 1, true)
    view.setBigUint64(d.exit + 16, BigInt(d.port), true)
    Atomics.store(i32, state, 1)
    ring()
    while (Atomics.load(i32, state) !== 2) wait(state, 1)
    Atomics.store(i32, state, 0)
    return view.getUint32(d.exit + 24, true)
  }
  let sent = 0
  for (let round = 0; round < d.rounds; round++) {
    for (let i = 0; i < round % d.posts; i++) post(sent++)
    const seen = ask()
    if (seen !== sent) throw new Error('asked after ' + sent + ' writes, the device had seen ' + seen)
  }
  parentPort.postMessage(sent)
`

describe('the exit door between threads', () => {
  it('loses nothing and keeps each vCPU in order', async () => {
    const buffer = new SharedArrayBuffer(CPU + VCPUS * abi.CPU_SIZE)
    const view = new DataView(buffer)
    view.setUint32(VM + abi.VM_VCPU_COUNT, VCPUS, true)
    const hub = new Hub({
      buffer,
      vm: VM,
      memory: new FakeMemory(4096),
      irqchip: { setGsi: () => undefined, sendMsi: () => undefined },
      clock: { nowNs: () => performance.now() * 1e6, wallMs: Date.now, setTimer: () => () => undefined },
      log: { write: () => undefined },
      emit: () => undefined,
    })
    const counts: number[] = []
    const jobs = Array.from({ length: VCPUS }, (_, vcpu) => {
      const cpu = CPU + vcpu * abi.CPU_SIZE
      const port = 0x100 + 0x10 * vcpu
      view.setUint32(VM + abi.VM_CPU_PTRS + 4 * vcpu, cpu, true)
      counts.push(0)
      hub.pio.spaceFor(`vcpu${vcpu}`).claim({
        start: port,
        count: 4,
        handler: {
          read: () => counts[vcpu],
          write: (_offset, _bytes, value) => {
            if (value !== counts[vcpu]) throw new Error(`write ${value} came as number ${counts[vcpu]}`)
            counts[vcpu] = value + 1
          },
        },
      })
      return {
        buffer,
        port,
        doorbell: VM + abi.VM_HUB_DOORBELL,
        asleep: VM + abi.VM_HUB_ASLEEP,
        exit: cpu + abi.CPU_EXIT + exits.EXIT_STATE,
        posted: cpu + abi.CPU_POSTED,
        entries: cpu + abi.CPU_POSTED_ENTRIES,
        rounds: ROUNDS,
        posts: POSTS_PER_ROUND,
        lostMs: LOST_MS,
      }
    })
    const running = hub.run()

    const sent = await Promise.all(
      jobs.map((workerData) => finish(new Worker(VCPU, { eval: true, workerData }))),
    )
    hub.stop()
    await running

    expect(counts).toEqual(sent)
    expect(sent[0]).toBeGreaterThan(ROUNDS)
  })
})

function finish(worker: Worker): Promise<number> {
  return new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}
