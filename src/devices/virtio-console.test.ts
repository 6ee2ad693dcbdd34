import { beforeEach, describe, expect, it } from 'vitest'

import { TestHub } from '#testkit/test-hub.ts'
import { type DriverQueue, VirtioPciDriver } from '#testkit/virtio-driver.ts'

import { i440fx, virtioConsole } from './catalog.ts'
import { CharPipe } from './char-pipe.ts'

const SLOT = 2
const BAR = 0xe000_0000
const RINGS = 0x1_0000
const RINGS_STRIDE = 0x2000
const BUFFERS = 0x10_0000
const BUFFER_BYTES = 64
const [IN0, OUT0, CONTROL_IN, CONTROL_OUT, IN1, OUT1] = [0, 1, 2, 3, 4, 5] as const
const DEVICE_READY = 0
const PORT_READY = 3
const PORT_OPEN = 6

let test: TestHub
let driver: VirtioPciDriver
let queues: DriverQueue[]
let hvc: CharPipe
let agent: CharPipe
let nextBuffer = BUFFERS

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

beforeEach(() => {
  test = new TestHub()
  hvc = new CharPipe()
  agent = new CharPipe()
  nextBuffer = BUFFERS
  test.hub.addDevice(i440fx, { name: 'bridge', pci: { slot: 0 } })
  test.hub.addDevice(virtioConsole, {
    name: 'console',
    pci: { slot: SLOT },
    config: { channels: ['org.webkvm.agent'] },
    ports: { chars: [hvc, agent] },
  })
  driver = new VirtioPciDriver(test, SLOT, BAR)
  driver.negotiate()
  queues = [IN0, OUT0, CONTROL_IN, CONTROL_OUT, IN1, OUT1].map((index) =>
    driver.setUpQueue(index, RINGS + index * RINGS_STRIDE, 64),
  )
  driver.driverOk()
})

const queue = (index: number): DriverQueue => queues[index] as DriverQueue

/** Gives the device a buffer to fill; returns its address. */
function offer(index: number, bytes = BUFFER_BYTES): number {
  const gpa = nextBuffer
  nextBuffer += bytes
  queue(index).add({ gpa, bytes, writable: true })
  driver.notify(index)
  return gpa
}

function send(index: number, bytes: Uint8Array): void {
  const gpa = nextBuffer
  nextBuffer += bytes.length
  test.memory.write(gpa, bytes)
  queue(index).add({ gpa, bytes: bytes.length })
  driver.notify(index)
}

function control(id: number, event: number, value: number): void {
  const bytes = new Uint8Array(8)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, id, true)
  view.setUint16(4, event, true)
  view.setUint16(6, value, true)
  send(CONTROL_OUT, bytes)
}

/** Control messages from the device: [id, event, value, rest]. */
function messages(): [number, number, number, Uint8Array][] {
  return queue(CONTROL_IN)
    .takeUsed()
    .map(({ head, bytes }) => {
      const gpa = Number(test.memory.loadU64(queue(CONTROL_IN).desc + 16 * head))
      const data = test.memory.read(gpa, bytes)
      const view = new DataView(data.buffer)
      return [view.getUint32(0, true), view.getUint16(4, true), view.getUint16(6, true), data.subarray(8)]
    })
}

function bringUp(): void {
  for (let i = 0; i < 16; i++) offer(CONTROL_IN)
  control(0xffff_ffff, DEVICE_READY, 1)
  control(0, PORT_READY, 1)
  control(1, PORT_READY, 1)
}

describe('virtio-console', () => {
  it('sends guest output to its backend', () => {
    let output = ''
    hvc.onData((bytes) => (output += new TextDecoder().decode(bytes)))
    send(OUT0, text('login: '))

    expect(output).toBe('login: ')
    expect(queue(OUT0).takeUsed()).toHaveLength(1)
  })

  it('delivers input as buffers come, and keeps what does not fit', () => {
    const first = offer(IN0, 4)
    hvc.send(text('abcdefgh'))
    expect(hvc.queuedBytes).toBe(4)

    const second = offer(IN0, 4)
    expect(new TextDecoder().decode(test.memory.read(first, 8))).toBe('abcdefgh')
    expect(second).toBe(first + 4)
    expect(
      queue(IN0)
        .takeUsed()
        .map(({ bytes }) => bytes),
    ).toEqual([4, 4])
    expect(hvc.queuedBytes).toBe(0)
  })

  it('waits with output while the backend is full, mid-buffer', () => {
    let output = ''
    agent.onData((bytes) => (output += new TextDecoder().decode(bytes)))
    agent.hold(true)
    send(OUT1, text('one'))
    send(OUT1, text('two'))
    expect(queue(OUT1).takeUsed()).toEqual([])

    agent.hold(false)
    expect(output).toBe('onetwo')
    expect(queue(OUT1).takeUsed()).toHaveLength(2)
  })

  it('announces its ports, the console, the name and the size', () => {
    hvc.resize(132, 43)
    bringUp()

    const seen = messages().map(([id, event, value, rest]) => [id, event, value, [...rest]])
    expect(seen).toEqual([
      [0, 1, 0, []],
      [1, 1, 0, []],
      [0, 4, 1, []],
      [0, 5, 0, [132, 0, 43, 0]],
      [0, 6, 1, []],
      [1, 7, 0, [...text('org.webkvm.agent')]],
      [1, 6, 1, []],
    ])
    expect(test.load(driver.device, 2)).toBe(132)
    expect(test.load(driver.device + 4)).toBe(2)
  })

  it('tells a new size by a control message and a configuration change', () => {
    bringUp()
    messages()
    driver.takeIsr()
    const generation = test.load(driver.common + 0x15, 1)
    hvc.resize(100, 30)

    expect(messages().map(([id, event, , rest]) => [id, event, [...rest]])).toEqual([[0, 5, [100, 0, 30, 0]]])
    expect(driver.takeIsr() & 2).toBe(2)
    expect(test.load(driver.common + 0x15, 1)).not.toBe(generation)
  })

  it('holds input of a channel until the guest opens it', () => {
    bringUp()
    const states: boolean[] = []
    agent.onOpen((open) => states.push(open))
    const at = offer(IN1)
    agent.send(text('hi'))
    expect(agent.queuedBytes).toBe(2)

    control(1, PORT_OPEN, 1)
    expect(new TextDecoder().decode(test.memory.read(at, 2))).toBe('hi')
    control(1, PORT_OPEN, 0)
    expect(states).toEqual([true, false])
  })

  it('ignores control messages that are short or name no port', () => {
    bringUp()
    send(CONTROL_OUT, text('abc'))
    control(99, PORT_READY, 1)
    control(1, 4242, 1)

    expect(driver.status & 0x40).toBe(0)
  })

  it('needs a reset when the driver never takes control messages', () => {
    control(0, DEVICE_READY, 1)
    for (let i = 0; i < 200; i++) control(1, PORT_READY, 1)

    expect(driver.status & 0x40).toBe(0x40)
  })

  it('prints an emergency character without queues', () => {
    let output = ''
    hvc.onData((bytes) => (output += new TextDecoder().decode(bytes)))
    test.store(driver.device + 8, 0x21)

    expect(output).toBe('!')
  })
})
