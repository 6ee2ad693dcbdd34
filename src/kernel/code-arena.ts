/**
 * The arena of a code cache (abi/code-cache.ts): page structs, blocks and list items. It grows from below; what was given
 * back waits in lists by size, whole or in parts, for whoever takes as much.
 *
 * Dropped code gives its memory back while it may still be running: an instruction may write over its own block. So giving back
 * changes nothing but the first word of a block's head, and taking is for those who know that no record is in execution: the
 * decoder, and the compiler between two run()s.
 */
import {
  ARENA_UNIT,
  ARENA_UNITS_MAX,
  CACHE_ARENA,
  CACHE_BYTES,
  CACHE_FREE,
  CACHE_FREE_NODES,
  CACHE_FREE_SIZES,
  CACHE_NEXT,
  NODE_NEXT,
  NODE_SIZE,
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
  store<u32>(cache, 0, CACHE_FREE_NODES)
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

/** An item of a list, zeroed; 0 if there is none. */
export function node_take(): usize {
  const cache = cache_of(cpu)
  let node: usize = load<u32>(cache, CACHE_FREE_NODES)
  if (node != 0) store<u32>(cache, load<u32>(node, NODE_NEXT), CACHE_FREE_NODES)
  else {
    node = arena_take(1)
    if (node == 0) return 0
    node_give(node + NODE_SIZE)
  }
  memory.fill(node, 0, NODE_SIZE)
  return node
}

export function node_give(node: usize): void {
  const cache = cache_of(cpu)
  store<u32>(node, load<u32>(cache, CACHE_FREE_NODES), NODE_NEXT)
  store<u32>(cache, <u32>node, CACHE_FREE_NODES)
}
