/** The contract of every device: iterates the catalogue, so a new device is under it by its one line there. */
import { describe, expect, it } from 'vitest'

import type { AnyDeviceDefinition, Device } from '#hub/device.ts'
import type { DeviceSection } from '#hub/hub.ts'
import { ByteWriter } from '#snapshot/bytes.ts'
import { SnapshotError, type StateCodec } from '#snapshot/codec.ts'
import { MemoryDisk, seededRandom } from '#testkit/sample-backends.ts'
import { TestHub } from '#testkit/test-hub.ts'

import { CATALOG, i440fx } from './catalog.ts'
import { CharPipe } from './char-pipe.ts'
import { FwCfgItems } from './fw-cfg-items.ts'

const SLOT = 5
const BAR_BASE = 0xe000_0000
const IO_BASE = 0xc000

interface Sample {
  readonly config?: object
  readonly ports?: () => object
}

const SAMPLES: Readonly<Record<string, Sample>> = {
  'debug-console': { ports: () => ({ chardev: new CharPipe() }) },
  'fw-cfg': { ports: () => ({ items: new FwCfgItems() }) },
  'uart-16550a': { ports: () => ({ chardev: new CharPipe() }) },
  'virtio-blk': { ports: () => ({ disk: new MemoryDisk(0x1_0000) }) },
  'virtio-console': {
    config: { channels: ['agent'] },
    ports: () => ({ chars: [new CharPipe(), new CharPipe()] }),
  },
  'virtio-rng': { ports: () => ({ entropy: { fill: (bytes: Uint8Array) => bytes.fill(0x5a) } }) },
}

function build(
  definition: AnyDeviceDefinition,
  saved?: DeviceSection,
): { test: TestHub; device: Device<unknown> } {
  const test = new TestHub()
  const isBridge = definition.type === 'i440fx'
  if (!isBridge) test.hub.addDevice(i440fx, { name: 'bridge', pci: { slot: 0 } })
  const sample = SAMPLES[definition.type]
  const device = test.hub.addDevice(definition, {
    name: 'subject',
    ...(sample?.config && { config: sample.config }),
    ...(sample?.ports && { ports: sample.ports() }),
    ...(definition.bus === 'pci' && { pci: { slot: isBridge ? 0 : SLOT } }),
    ...(saved && { saved }),
  })
  return { test, device: device as Device<unknown> }
}

/** Turns BARs on, so that the device's registers can be reached. */
function placeBars(test: TestHub): void {
  const fn = test.hub.pci.at(SLOT, 0)
  for (const bar of fn?.bars ?? []) {
    const base = bar.space === 'io' ? IO_BASE + 0x100 * bar.index : BAR_BASE + 0x1_0000 * bar.index
    fn?.writeConfig(0x10 + 4 * bar.index, 4, base)
  }
  fn?.writeConfig(4, 2, 7)
}

/** Ranges that the subject claimed: [first, last]. */
function claimed(lines: readonly string[]): [number, number][] {
  return lines
    .filter((line) => line.endsWith(' subject'))
    .map((line) => line.split(' ')[0]?.split('-').map(Number) as [number, number])
}

/** Reads and writes all over the device's registers, in every width, also across its borders. */
function hammer(test: TestHub, rounds: number): void {
  const random = seededRandom(42)
  placeBars(test)
  const ports = claimed(test.hub.pio.list())
  const mmio = claimed(test.hub.mmio.list())
  const spots = [
    ...ports.map((range) => ({ range, isPort: true })),
    ...mmio.map((range) => ({ range, isPort: false })),
  ]
  if (spots.length === 0) return
  for (let round = 0; round < rounds; round++) {
    const spot = spots[random() % spots.length]
    if (spot === undefined) continue
    const [first, last] = spot.range
    const at = first + (random() % Math.min(last - first + 1, 0x1_0000))
    const bytes = [1, 2, 4][random() % 3] as number
    const value = [0, 0xffff_ffff, random()][random() % 3] as number
    const cut = bytes === 4 ? value : value % 2 ** (8 * bytes)
    if (spot.isPort) {
      test.inSync(at, bytes)
      test.outSync(at, cut, bytes)
    } else {
      test.load(at, random() % 4 === 0 ? 8 : bytes)
      test.store(at, cut, bytes)
    }
    const fn = test.hub.pci.at(SLOT, 0)
    const register = random() % 256
    fn?.readConfig(register & ~3, 4)
    // BARs stay where they are: what is behind them is to be hammered too.
    if (register >= 0x40) fn?.writeConfig(register & ~3, 4, random())
  }
}

function section(test: TestHub): DeviceSection {
  const found = test.hub.save().find(({ name }) => name === 'subject')
  if (found === undefined) throw new Error('the subject has no section')
  return found
}

/** The state with one field's payload replaced by one outside its domain. */
function corrupt(codec: StateCodec<unknown>, state: Record<string, unknown>, victim: string): Uint8Array {
  const out = new ByteWriter()
  out.u16(codec.version)
  out.u16(Object.keys(codec.fields).length)
  for (const [key, field] of Object.entries(codec.fields)) {
    const payload = new ByteWriter()
    if (key === victim) field.encodeOutside?.(payload)
    else field.encode(payload, state[key])
    out.name(key)
    out.block(payload.bytes())
  }
  return out.bytes()
}

describe.each(CATALOG.map((definition) => [definition.type, definition] as const))(
  '%s',
  (_type, definition) => {
    it('resets to the same state twice', () => {
      const { test, device } = build(definition)
      hammer(test, 300)

      device.reset()
      const once = section(test)
      device.reset()

      expect(section(test)).toEqual(once)
    })

    it('saves, restores and saves the same bytes', () => {
      const { test } = build(definition)
      hammer(test, 300)
      const saved = section(test)

      const again = build(definition, saved)

      expect(section(again.test)).toEqual(saved)
    })

    it('survives accesses to every offset in every width', () => {
      const { test } = build(definition)

      expect(() => hammer(test, 4000)).not.toThrow()
    })

    it('refuses a section that is cut, too long, or of a later version', () => {
      const { test } = build(definition)
      const { state } = section(test)
      const longer = new Uint8Array([...state, 0])
      const later = state.slice()
      later[0] = 0xfe

      for (const bytes of [state.subarray(0, state.length - 1), longer, later, new Uint8Array()]) {
        expect(() => definition.state.decode(bytes)).toThrow(SnapshotError)
      }
    })

    it('refuses each field outside its domain', () => {
      const { test } = build(definition)
      const codec = definition.state as StateCodec<Record<string, unknown>>
      const state = codec.decode(section(test).state)

      for (const [key, field] of Object.entries(codec.fields)) {
        if (field.encodeOutside === undefined) continue
        expect(() => codec.decode(corrupt(codec, state, key)), key).toThrow(SnapshotError)
      }
    })

    it('refuses the section of another type', () => {
      const { test } = build(definition)
      const saved = { ...section(test), type: 'something-else' }

      expect(() => build(definition, saved)).toThrow(/something-else/)
    })
  },
)

describe('the catalogue', () => {
  it('has every type once', () => {
    const types = CATALOG.map(({ type }) => type)

    expect(new Set(types).size).toBe(types.length)
  })

  it('answers a guest that reads every port', () => {
    const test = new TestHub()
    for (const definition of CATALOG) {
      const sample = SAMPLES[definition.type]
      test.hub.addDevice(definition, {
        name: definition.type,
        ...(sample?.config && { config: sample.config }),
        ...(sample?.ports && { ports: sample.ports() }),
        ...(definition.type === 'i440fx' && { pci: { slot: 0 } }),
      })
    }

    for (let port = 0; port < 0x1_0000; port++) test.inSync(port, 1)

    expect(test.logs.length).toBeLessThanOrEqual(4097)
  })
})
