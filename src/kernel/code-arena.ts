/**
 * The arena of a code cache (abi/code-cache.ts): page structs, blocks, regions and links. It grows from below; what was given
 * back waits in lists by size, whole or in parts, for whoever takes as much.
 *
 * Dropped code gives its memory back while it may still be running: an instruction may write over its own block, and compiled
 * code looks at its region's links once more. So giving back changes nothing but the first word of a block's head, or the last
 * one of a link, and taking is for those who know that no record and no compiled code is in execution: the decoder, and the
 * compiler between two run()s.
 */
import {
  ARENA_UNIT,
  ARENA_UNITS_MAX,
  CACHE_ARENA,
  CACHE_BYTES,
  CACHE_FREE,
  CACHE_FREE_LINKS,
  CACHE_FREE_SIZES,
  CACHE_NEXT,
  LINK_NEXT,
  LINK_SIZE,
} from '../abi/code-cache.ts'
import { CPU_CODE_CACHE } from '../abi/layout.ts'
import { cpu } from './state.ts'

// @ts-ignore: AssemblyScript decorator
@inline
function cache_of(c: usize): usize {
  return load<u32>(c, CPU_CODE_CACHE)
}

/** Everything is free. */
export function arena_clear(cache: usize): void {
  store<u32>(cache, <u32>cache + CACHE_ARENA, CACHE_NEXT)
  store<u64>(cache, 0, CACHE_FREE_SIZES)
  store<u32>(cache, 0, CACHE_FREE_LINKS)
  memory.fill(cache + CACHE_FREE, 0, ARENA_UNITS_MAX << 2)
}

/** Memory of 1 .. ARENA_UNITS_MAX units of 32 bytes, 0 if there is none. */
export function arena_take(units: u32): usize {
  const cache = cache_of(cpu)
  const enough = (load<u64>(cache, CACHE_FREE_SIZES) >> (units - 1)) << (units - 1)
  if (enough == 0) return grow(cache, units)
  const size = <u32>ctz(enough) + 1
  const list = list_of(cache, size)
  const at: usize = load<u32>(list)
  const next = load<u32>(at)
  store<u32>(list, next)
  if (next == 0) store<u64>(cache, load<u64>(cache, CACHE_FREE_SIZES) & ~(<u64>1 << (size - 1)), CACHE_FREE_SIZES)
  if (size > units) arena_give(at + <usize>units * ARENA_UNIT, size - units)
  return at
}

function grow(cache: usize, units: u32): usize {
  const at = load<u32>(cache, CACHE_NEXT)
  const end = at + units * ARENA_UNIT
  if (end > <u32>cache + load<u32>(cache, CACHE_BYTES)) return 0
  store<u32>(cache, end, CACHE_NEXT)
  return at
}

// @ts-ignore: AssemblyScript decorator
@inline
function list_of(cache: usize, units: u32): usize {
  return cache + CACHE_FREE + (<usize>(units - 1) << 2)
}

/** Gives memory back, which nobody enters any more. */
export function arena_give(at: usize, units: u32): void {
  const cache = cache_of(cpu)
  const list = list_of(cache, units)
  store<u32>(at, load<u32>(list))
  store<u32>(list, <u32>at)
  store<u64>(cache, load<u64>(cache, CACHE_FREE_SIZES) | (<u64>1 << (units - 1)), CACHE_FREE_SIZES)
}

/** LINK_SIZE bytes, zeroed; 0 if there are none. Also for the links of a page to the regions made from it. */
export function link_take(): usize {
  const cache = cache_of(cpu)
  let link: usize = load<u32>(cache, CACHE_FREE_LINKS)
  if (link != 0) store<u32>(cache, load<u32>(link, LINK_NEXT), CACHE_FREE_LINKS)
  else {
    link = arena_take(1)
    if (link == 0) return 0
    link_give(link + LINK_SIZE)
  }
  memory.fill(link, 0, LINK_SIZE)
  return link
}

export function link_give(link: usize): void {
  const cache = cache_of(cpu)
  store<u32>(link, load<u32>(cache, CACHE_FREE_LINKS), LINK_NEXT)
  store<u32>(cache, <u32>link, CACHE_FREE_LINKS)
}
