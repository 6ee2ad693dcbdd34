/** HLT and its polling, PAUSE loops on a crowded host, and KVM's hypercalls. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as abi from '#abi/layout.ts'
import { FLUSHES, GUEST, TestMachine, VM, compileChips, cpuAddress } from './irqchip/testing-machine.ts'

const STEAL_TIME = 0x4b56_4d03
const POLL_CONTROL = 0x4b56_4d05
const STEAL_PREEMPTED = GUEST + 16
const KVM_VCPU_PREEMPTED = 1
const KVM_VCPU_FLUSH_TLB = 2
const KVM_HC_KICK_CPU = 5
const KVM_HC_SEND_IPI = 10
const KVM_HC_SCHED_YIELD = 11
const ENOSYS = -1000n
const EINVAL = -22n
const EPERM = -1n
/** A fault that the run loop takes for "start this instruction over". */
const RETRY = 0xfe

let module: WebAssembly.Module
let m: TestMachine

beforeAll(async () => {
  module = await compileChips()
}, 120_000)

beforeEach(() => {
  m = new TestMachine(module, 4)
  m.enableLapics()
  for (let i = 0; i < 4; i++) {
    m.takeRequests(i)
    set(i, abi.CPU_MODE, abi.MODE_CS64)
  }
})

const get = (vcpu: number, field: number): number => m.u32(cpuAddress(vcpu) + field)
const set = (vcpu: number, field: number, value: number): void =>
  m.view.setUint32(cpuAddress(vcpu) + field, value, true)
const setCores = (cores: number): void => m.view.setUint32(VM + abi.VM_HOST_CORES, cores, true)

/** RAX after VMCALL on vCPU 0. */
function vmcall(call: number, rbx = 0n, rcx = 0n, rdx = 0n, rsi = 0n): bigint {
  const registers = { CPU_RAX: BigInt(call), CPU_RBX: rbx, CPU_RCX: rcx, CPU_RDX: rdx, CPU_RSI: rsi }
  for (const [name, value] of Object.entries(registers))
    m.view.setBigUint64(cpuAddress(0) + abi[name as keyof typeof registers], BigInt.asUintN(64, value), true)
  m.cpu(0).sys_vmcall()
  return m.view.getBigInt64(cpuAddress(0) + abi.CPU_RAX, true)
}

describe('hypercalls', () => {
  it('say ENOSYS to an unknown number and EPERM to a program, in 32 bits zero-extended', () => {
    expect(vmcall(99)).toBe(ENOSYS)
    set(0, abi.CPU_CPL, 3)
    expect(vmcall(KVM_HC_KICK_CPU)).toBe(EPERM)
    set(0, abi.CPU_CPL, 0)
    set(0, abi.CPU_MODE, abi.MODE_CS32)
    expect(vmcall(99)).toBe(BigInt.asUintN(32, ENOSYS))
  })

  it('wake a halted vCPU by a kick, interrupts or not', () => {
    m.cpu(2).sys_hlt()
    expect(get(2, abi.CPU_RUNSTATE)).toBe(abi.RUN_HALTED)
    expect(vmcall(KVM_HC_KICK_CPU, 0n, 2n)).toBe(0n)
    expect(m.takeRequests(2)).toBe(abi.REQ_UNHALT)
    m.cpu(2).halt_kicked()
    expect(get(2, abi.CPU_RUNSTATE)).toBe(abi.RUN_RUNNING)
  })

  it('spare a vCPU the HLT after a kick that came too early, and only that one', () => {
    vmcall(KVM_HC_KICK_CPU, 0n, 1n)
    vmcall(KVM_HC_KICK_CPU, 0n, 1n)
    m.cpu(1).halt_kicked() // it runs: the kick stays for its next HLT
    m.cpu(1).sys_hlt()
    expect(get(1, abi.CPU_RUNSTATE)).toBe(abi.RUN_RUNNING)
    m.cpu(1).sys_hlt()
    expect(get(1, abi.CPU_RUNSTATE)).toBe(abi.RUN_HALTED)
  })

  it('forget a kick at INIT and ignore one for nobody', () => {
    vmcall(KVM_HC_KICK_CPU, 0n, 1n)
    m.hub.lapic_init(cpuAddress(1))
    m.cpu(1).sys_hlt()
    expect(get(1, abi.CPU_RUNSTATE)).toBe(abi.RUN_HALTED)
    expect(vmcall(KVM_HC_KICK_CPU, 0n, 77n)).toBe(0n)
  })

  it('send an IPI to the APICs of a bitmap', () => {
    expect(vmcall(KVM_HC_SEND_IPI, 0b101n, 0n, 1n, 0x41n)).toBe(2n)
    expect([0, 1, 2, 3].map((i) => m.drain(i))).toEqual([[], [0x41], [], [0x41]])
    expect(vmcall(KVM_HC_SEND_IPI, ~0n, ~0n, 0n, 0x42n)).toBe(4n)
    expect([0, 1, 2, 3].map((i) => m.drain(i))).toEqual([[0x42], [0x42], [0x42], [0x42]])
    expect(vmcall(KVM_HC_SEND_IPI, 1n, 0n, 2n, 0x400n)).toBe(1n)
    expect(m.takeRequests(2) & abi.REQ_NMI).toBe(abi.REQ_NMI)
  })

  it('count the upper half of the bitmap from 64, or from 32 for a 32-bit caller', () => {
    const first = 0xffff_ffe0n // -32: bit 32 is APIC 0
    expect(vmcall(KVM_HC_SEND_IPI, 0n, 2n, first, 0x41n)).toBe(0n)
    set(0, abi.CPU_MODE, abi.MODE_CS32)
    expect(vmcall(KVM_HC_SEND_IPI, 0n, 2n, first, 0x41n)).toBe(1n)
    expect(m.drain(1)).toEqual([0x41])
  })

  it('refuse an ICR that names a destination itself', () => {
    expect(vmcall(KVM_HC_SEND_IPI, 1n, 0n, 1n, 0x841n)).toBe(EINVAL)
    expect(vmcall(KVM_HC_SEND_IPI, 1n, 0n, 1n, 0xc_0041n)).toBe(EINVAL)
    expect(m.drain(1)).toEqual([])
  })
})

/** PAUSEs until one starts over or there were `most`. */
function pauseLoop(most: number): number {
  for (let i = 1; i <= most; i++) {
    m.cpu(0).sys_pause()
    if (get(0, abi.CPU_FAULT) === 0) continue
    expect(get(0, abi.CPU_FAULT)).toBe((abi.FAULT_VALID | RETRY) >>> 0)
    set(0, abi.CPU_FAULT, 0)
    return i
  }
  return 0
}

describe('PAUSE', () => {
  beforeEach(() => {
    m.cpu(0).kvm_msr_write(STEAL_TIME, BigInt(GUEST) | 1n)
    m.tickNs = 1000
  })

  it('sleeps in a loop when the vCPUs fill the cores, longer each time', () => {
    setCores(4)
    const slept: number[] = []
    m.onWait = (ms) => {
      slept.push(ms)
      expect([m.view.getUint8(STEAL_PREEMPTED), get(0, abi.CPU_IN_GUEST)]).toEqual([KVM_VCPU_PREEMPTED, 0])
    }
    for (let i = 0; i < 7; i++) expect(pauseLoop(3000 * 256)).toBeGreaterThanOrEqual(256)
    expect(slept).toEqual([0.04, 0.08, 0.16, 0.32, 0.64, 0.64, 0.64])
    expect([m.view.getUint8(STEAL_PREEMPTED), get(0, abi.CPU_IN_GUEST)]).toEqual([0, 1])
    expect(get(0, abi.CPU_PAUSE_YIELDS)).toBe(7)
    expect(get(0, abi.CPU_PAUSE_YIELDS)).toBe(7)
  })

  it('goes on spinning while the guest gets on', () => {
    setCores(4)
    for (let i = 0; i < 300; i++) {
      set(0, abi.CPU_R8, i)
      expect(pauseLoop(1000)).toBe(0)
    }
  })

  it('spins less where vCPUs share cores', () => {
    setCores(4)
    const own = pauseLoop(3000 * 256)
    set(0, abi.CPU_R8, 1) // another loop
    setCores(3)
    const shared = pauseLoop(3000 * 256)
    expect([shared > 256, own > 4 * shared]).toEqual([true, true])
  })

  it('makes up for shootdowns that were left to it meanwhile', () => {
    setCores(1)
    m.onWait = () => m.view.setUint8(STEAL_PREEMPTED, KVM_VCPU_PREEMPTED | KVM_VCPU_FLUSH_TLB)
    const before = m.u32(FLUSHES)
    expect(pauseLoop(100 * 256)).toBeGreaterThan(0)
    expect(m.u32(FLUSHES)).toBe(before + 1)
    expect(m.view.getUint8(STEAL_PREEMPTED)).toBe(0)
  })

  it('goes on spinning where the host has cores to spare, or something waits to be served', () => {
    setCores(5)
    expect(pauseLoop(300 * 256)).toBe(0)
    setCores(4)
    let sleeps = 0
    m.onWait = () => sleeps++
    set(0, abi.CPU_REQ, abi.REQ_INTERRUPT)
    pauseLoop(300 * 256)
    expect(sleeps).toBe(0)
  })

  it('is what KVM_HC_SCHED_YIELD does at once', () => {
    let sleeps = 0
    m.onWait = () => sleeps++
    setCores(8)
    expect([vmcall(KVM_HC_SCHED_YIELD, 1n), sleeps]).toEqual([0n, 0])
    setCores(2)
    expect([vmcall(KVM_HC_SCHED_YIELD, 1n), sleeps]).toEqual([0n, 1])
  })
})

describe('HLT', () => {
  const window = (): number => m.view.getFloat64(cpuAddress(0) + abi.CPU_HALT_POLL_NS, true)
  /** A halt that work ends after so many ns. */
  const halt = (ns: number, limitNs = 1e9): void => {
    m.onWait = () => void (m.now += ns)
    m.cpu(0).halt_wait(0, limitNs)
  }

  beforeEach(() => {
    setCores(4)
    m.tickNs = 100
  })

  it('looks for work before it sleeps once sleeps are short, and no longer when they are long', () => {
    expect(window()).toBe(0)
    halt(20_000)
    expect(window()).toBe(10_000)
    for (let i = 0; i < 3; i++) halt(1000)
    expect(window()).toBe(80_000)
    halt(4e6)
    expect(window()).toBe(0)
  })

  it('goes on without sleeping when work comes in time', () => {
    halt(20_000)
    let sleeps = 0
    m.onWait = () => sleeps++
    set(0, abi.CPU_REQ, abi.REQ_INTERRUPT)
    m.cpu(0).halt_wait(0, 1e9)
    expect([sleeps, get(0, abi.CPU_HALT_POLLED)]).toEqual([0, 1])
  })

  it('keeps its deadline: sleeps for what is left, or not at all', () => {
    halt(20_000)
    const waits: number[] = []
    m.onWait = (ms) => waits.push(ms)
    m.cpu(0).halt_wait(0, 5000)
    expect(waits).toEqual([])
    m.cpu(0).halt_wait(0, 2e6)
    m.cpu(0).halt_wait(0, Infinity)
    expect(waits).toEqual([1.99, Infinity])
  })

  it('never polls on a host with fewer cores than vCPUs, nor when the guest asked not to', () => {
    setCores(3)
    halt(20_000)
    expect(window()).toBe(0)
    setCores(4)
    m.cpu(0).kvm_msr_write(POLL_CONTROL, 0n)
    halt(20_000)
    expect(window()).toBe(0)
  })
})
