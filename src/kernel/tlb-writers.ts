/**
 * Which TLB entries may write a frame, so that taking its write permission need not look at all of them: a page that is
 * written and executed by turns loses it each time.
 *
 * A bucket per hash of the frame lists addresses of entries, WRITERS_LISTED at most. Every entry with a write tag is in
 * the bucket of its frame, unless that says that there are more. What a bucket lists need not hold any more: entries that
 * were dropped or filled anew stay until their place is wanted.
 */
import { CPU_TLB_BANKS, TLB_HOST, TLB_WRITE, TLB_WRITERS, TLB_WRITERS_BUCKETS } from '../abi/layout.ts'
import { cpu } from './state.ts'

const NEVER: u64 = 0xffff_ffff_ffff_ffff
const WRITERS_LISTED: usize = 4
const BUCKET_SHIFT: usize = 4
/** In the last place of a bucket: there are more entries than it lists. No entry has this address. */
const MORE: u32 = 1

// @ts-ignore: AssemblyScript decorator
@inline
function number_of(host: u32): u32 {
  const frame = host >> 12
  return (frame ^ (frame >> 12)) & (TLB_WRITERS_BUCKETS - 1)
}

// @ts-ignore: AssemblyScript decorator
@inline
function bucket_of(host: u32): usize {
  return <usize>load<u32>(cpu, CPU_TLB_BANKS) + TLB_WRITERS + (<usize>number_of(host) << BUCKET_SHIFT)
}

// @ts-ignore: AssemblyScript decorator
@inline
function place(bucket: usize, i: usize): usize {
  return bucket + (i << 2)
}

/** Address of the frame that an entry with a write tag maps. */
// @ts-ignore: AssemblyScript decorator
@inline
function host_of(entry: usize): u32 {
  return load<u32>(entry, TLB_HOST) + <u32>load<u64>(entry, TLB_WRITE)
}

// @ts-ignore: AssemblyScript decorator
@inline
function writes(entry: usize): bool {
  return load<u64>(entry, TLB_WRITE) != NEVER
}

/** Forgets all entries; none may have a write tag. */
export function writers_clear(): void {
  memory.fill(<usize>load<u32>(cpu, CPU_TLB_BANKS) + TLB_WRITERS, 0, <usize>TLB_WRITERS_BUCKETS << BUCKET_SHIFT)
}

/** An entry got a write tag for the frame at `host`. */
export function writers_enter(host: u32, entry: usize): void {
  const bucket = bucket_of(host)
  if (load<u32>(place(bucket, WRITERS_LISTED - 1)) == MORE) return
  let free: usize = 0
  for (let i: usize = 0; i < WRITERS_LISTED; i++) {
    const known = load<u32>(place(bucket, i))
    if (known == <u32>entry) return
    if (known == 0 && free == 0) free = place(bucket, i)
  }
  if (free == 0) free = outdated(bucket, host)
  if (free != 0) store<u32>(free, <u32>entry)
  else store<u32>(place(bucket, WRITERS_LISTED - 1), MORE)
}

/** A place of a full bucket whose entry maps no frame of it for writing any more, 0 if there is none. */
function outdated(bucket: usize, host: u32): usize {
  for (let i: usize = 0; i < WRITERS_LISTED; i++) {
    const entry: usize = load<u32>(place(bucket, i))
    if (!writes(entry) || number_of(host_of(entry)) != number_of(host)) return place(bucket, i)
  }
  return 0
}

/**
 * Takes the write tags of a frame from the entries that the bucket lists. False: there are more. The bucket is empty then,
 * and the caller has to show all entries with a write tag to writers_recheck().
 */
export function writers_protect(host: u32): bool {
  const bucket = bucket_of(host)
  if (load<u32>(place(bucket, WRITERS_LISTED - 1)) == MORE) {
    memory.fill(bucket, 0, WRITERS_LISTED << 2)
    return false
  }
  for (let i: usize = 0; i < WRITERS_LISTED; i++) {
    const entry: usize = load<u32>(place(bucket, i))
    if (entry == 0 || !writes(entry) || host_of(entry) != host) continue
    store<u64>(entry, NEVER, TLB_WRITE)
    store<u32>(place(bucket, i), 0)
  }
  return true
}

/** Of an entry with a write tag: takes it if it is of the frame, else lists the entry if it belongs into the same bucket. */
export function writers_recheck(host: u32, entry: usize): void {
  const own = host_of(entry)
  if (own == host) store<u64>(entry, NEVER, TLB_WRITE)
  else if (number_of(own) == number_of(host)) writers_enter(own, entry)
}
