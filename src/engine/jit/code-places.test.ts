import { describe, expect, test } from 'vitest'
import { LINK_SIZE, REGION_SIZE } from '#abi/code-cache.ts'
import { CPU_REGIONS, CPU_REGIONS_BYTES, VM_SIZE } from '#abi/layout.ts'
import { CodePlaces } from './code-places.ts'
import type { Region } from './discover.ts'

/** With as many ways out as it has blocks. */
function regionOf(blocks: number): Region {
  return {
    mode: 0,
    entry: 0,
    jumped: [],
    contexts: [],
    pages: new Map(),
    blocks: Array.from({ length: blocks }, (_, i) => ({
      context: 0,
      rip: i,
      records: [],
      end: 'leave' as const,
      targets: [],
      callee: 0,
    })),
  }
}

const placesOf = (
  functions: number,
  memory = new WebAssembly.Memory({ initial: VM_SIZE / 65536 + 1, maximum: 100, shared: true }),
): CodePlaces => new CodePlaces(memory, 0, functions)

describe('places of compiled code', () => {
  test('lie behind each other, whoever takes them', () => {
    const memory = new WebAssembly.Memory({ initial: VM_SIZE / 65536 + 1, maximum: 100, shared: true })
    const one = placesOf(100, memory).reserve([regionOf(3), regionOf(1)])
    const other = placesOf(100, memory).reserve([regionOf(2)])
    expect(one).toMatchObject({
      generation: 0,
      first: 0,
      links: CPU_REGIONS + 2 * REGION_SIZE,
      linkBytes: 4 * LINK_SIZE,
    })
    expect(one?.regions.map(({ struct, links, linkCount }) => [struct, links, linkCount])).toEqual([
      [CPU_REGIONS, CPU_REGIONS + 2 * REGION_SIZE, 3],
      [CPU_REGIONS + REGION_SIZE, CPU_REGIONS + 2 * REGION_SIZE + 3 * LINK_SIZE, 1],
    ])
    expect(other?.first).toBe(2)
    expect(other?.regions[0]?.struct).toBe(CPU_REGIONS + 2 * REGION_SIZE + 4 * LINK_SIZE)
  })

  test('begin anew when there are no functions left', () => {
    const places = placesOf(3)
    places.reserve([regionOf(1), regionOf(1)])
    expect(places.reserve([regionOf(1), regionOf(1)])).toBeUndefined()
    expect(places.generation).toBe(1)
    expect(places.reserve([regionOf(1), regionOf(1)])).toMatchObject({ generation: 1, first: 0 })
  })

  test('begin anew when there is no memory left', () => {
    const places = placesOf(0xffff)
    let end = 0
    while (places.generation === 0) end = places.reserve([regionOf(200)])?.regions[0]?.links ?? end
    expect(end).toBeGreaterThan(CPU_REGIONS + CPU_REGIONS_BYTES - 2 * (REGION_SIZE + 200 * LINK_SIZE))
    expect(end + 128 * LINK_SIZE).toBeLessThanOrEqual(CPU_REGIONS + CPU_REGIONS_BYTES)
  })

  test('begin anew once, however many ask for it', () => {
    const places = placesOf(3)
    places.renew(0)
    places.renew(0)
    expect(places.generation).toBe(1)
  })
})
