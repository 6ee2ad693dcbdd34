/**
 * What was replaced in the TLB last. Pages that share a place of a direct-mapped table, those of arrays a power of two apart
 * say, would cost a walk for each access by turns; from here they change places.
 *
 * An entry is here with the address that it was replaced at, which says its slot and bank, too. Whatever drops or protects
 * pages of the TLB drops all of these, so that nothing outlives its flush here.
 */
import { CPU_TLB_BANKS, TLB_EXEC, TLB_READ, TLB_VICTIMS, TLB_VICTIMS_MAX } from '../abi/layout.ts'
import { cpu } from './state.ts'

const NEVER: u64 = 0xffff_ffff_ffff_ffff
/** Before the entries, of 32 bytes each: the addresses that they were replaced at, 0 = none, and which is replaced next. */
const NEXT: usize = TLB_VICTIMS_MAX << 2
const ENTRIES: usize = 64

// @ts-ignore: AssemblyScript decorator
@inline
function victims(): usize {
  return <usize>load<u32>(cpu, CPU_TLB_BANKS) + TLB_VICTIMS
}

// @ts-ignore: AssemblyScript decorator
@inline
function empty(entry: usize): bool {
  return load<u64>(entry, TLB_READ) == NEVER && load<u64>(entry, TLB_EXEC) == NEVER
}

/** Keeps an entry that is about to be filled for `page`. */
// @ts-ignore: AssemblyScript decorator
@inline
export function victims_keep(entry: usize, page: u64): void {
  const read = load<u64>(entry, TLB_READ)
  const known = read != NEVER ? read : load<u64>(entry, TLB_EXEC)
  if (known != NEVER && known != page) keep(entry)
}

function keep(entry: usize): void {
  const base = victims()
  const i = <usize>load<u32>(base, NEXT)
  store<u32>(base, (<u32>i + 1) % <u32>TLB_VICTIMS_MAX, NEXT)
  store<u32>(base + (i << 2), <u32>entry)
  memory.copy(base + ENTRIES + (i << 5), entry, 32)
}

/** Brings the page back that `entry` held before if it has the tag; what is there now takes its place. */
export function victims_take(entry: usize, page: u64, tag: usize): bool {
  const base = victims()
  for (let i: usize = 0; i < <usize>TLB_VICTIMS_MAX; i++) {
    if (load<u32>(base + (i << 2)) != <u32>entry) continue
    const victim = base + ENTRIES + (i << 5)
    if (load<u64>(victim + tag) != page) continue
    const low = v128.load(victim)
    const high = v128.load(victim, 16)
    if (empty(entry)) store<u32>(base + (i << 2), 0)
    v128.store(victim, v128.load(entry))
    v128.store(victim, v128.load(entry, 16), 16)
    v128.store(entry, low)
    v128.store(entry, high, 16)
    return true
  }
  return false
}

export function victims_drop(): void {
  memory.fill(victims(), 0, NEXT)
}
