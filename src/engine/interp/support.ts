/**
 * Functions of the interpreter module that handlers share. All take (cpu, rec, ...) first.
 *
 *   sync(cpu, rec)                     CPU_RIP and CPU_NEXT_RIP of this instruction, before a helper that may fault
 *   effective(cpu, rec, sum, access)   linear address of a form-X operand: truncation, segment base, checks
 *   ld8..ld128, st8..st128             guest memory with the inline TLB check; slow_* are their miss halves
 *   rmw(cpu, rec, gva, bytesAndLock, seg), rmw_end(cpu, rec)
 *   check_taken(cpu, rec)              canonical form or CS limit of this record's direct branch target
 *   rel_target(cpu, rec): i64          that target, truncated to the operand size
 *   near_ok(cpu, rec, rip): i32        1, or 0 with a fault pending
 *   sequential(cpu, rec): i32          1 if a string helper finished its instruction
 */
import {
  CPU_CODE_CACHE,
  CPU_FAULT,
  CPU_MODE,
  CPU_NEXT_RIP,
  CPU_PCBASE,
  CPU_RIP,
  CPU_RMW_ADDR,
  CPU_SCRATCH,
  CPU_SCRATCH_SLOTS,
  CPU_SEG,
  CPU_TLB,
  MODE_CS64,
  MODE_CS_MASK,
  MODE_FLAT,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_HOST,
  TLB_READ,
  TLB_WRITE,
} from '../../abi/layout.ts'
import { CACHE_JUMP, CACHE_JUMP_ENTRIES, CACHE_JUMP_SET, CACHE_JUMP_SHIFT } from '../../abi/code-cache.ts'
import {
  RECF_OPSIZE,
  RECSEG_ADD_BASE,
  RECSEG_ASIZE_SHIFT,
  RECSEG_CHECK,
  REC_FLAGS,
  REC_IMM,
  REC_LEN,
  REC_OFF,
  REC_SEG,
} from '../../abi/record.ts'
import type { CodeBuilder, Label, ValueType } from '../../wasm/code.ts'
import type { ModuleBuilder } from '../../wasm/module.ts'

export const ACCESS_SIZES = [1, 2, 4, 8, 16] as const
export type AccessSize = (typeof ACCESS_SIZES)[number]

/** Value type, load and store operators of an access. */
export const ACCESS: Readonly<
  Record<AccessSize, { readonly type: ValueType; readonly load: string; readonly store: string }>
> = {
  1: { type: 'i32', load: 'i32.load8_u', store: 'i32.store8' },
  2: { type: 'i32', load: 'i32.load16_u', store: 'i32.store16' },
  4: { type: 'i32', load: 'i32.load', store: 'i32.store' },
  8: { type: 'i64', load: 'i64.load', store: 'i64.store' },
  16: { type: 'v128', load: 'v128.load', store: 'v128.store' },
}

const CPU = 0
const REC = 1
const BOUNCE = CPU_SCRATCH + (CPU_SCRATCH_SLOTS - 1) * 16
const ENTRY_MASK = (TLB_ENTRIES - 1) << TLB_ENTRY_SHIFT

/** Pushes the address of the TLB entry of a linear address in a local. */
export function tlbEntry(code: CodeBuilder, cpu: number, gva: number): void {
  tlbEntryIn(code.get(cpu).op('i32.load', CPU_TLB), gva)
}

/** As tlbEntry(), in the bank whose address is on the stack. */
export function tlbEntryIn(code: CodeBuilder, gva: number): void {
  code
    .get(gva)
    .op('i32.wrap_i64')
    .i32(12 - TLB_ENTRY_SHIFT)
    .op('i32.shr_u')
    .i32(ENTRY_MASK)
    .op('i32.and')
  code.op('i32.add')
}

/** Pushes 1 if the entry in a local allows the whole access: the page of its last byte must be the tag. */
export function tlbHit(code: CodeBuilder, entry: number, gva: number, bytes: number, tag: number): void {
  code.get(gva)
  if (bytes > 1) code.i64(bytes - 1).op('i64.add')
  code.i64(-4096).op('i64.and').get(entry).op('i64.load', tag).op('i64.eq')
}

/** Pushes the host address. */
export function tlbHost(code: CodeBuilder, entry: number, gva: number): void {
  code.get(entry).op('i32.load', TLB_HOST).get(gva).op('i32.wrap_i64').op('i32.add')
}

/** Pushes (gpa << 8) | mode, the key of the code cache, from a gpa in a local. */
export function pushKey(code: CodeBuilder, cpu: number, gpa: number): void {
  code.get(gpa).i64(8).op('i64.shl').get(cpu).op('i64.load32_u', CPU_MODE).op('i64.or')
}

/**
 * Leaves the address of the jump table's entry with a key, less CACHE_JUMP, in a local, or goes to `miss`; kernel/code-cache.ts
 * computes the same.
 */
export function findJump(code: CodeBuilder, cpu: number, key: number, entry: number, miss: Label): void {
  const mask = (CACHE_JUMP_ENTRIES << CACHE_JUMP_SHIFT) - CACHE_JUMP_SET
  code.get(cpu).op('i32.load', CPU_CODE_CACHE)
  // offset bits and page bits folded together
  code.get(key).i64(3).op('i64.shr_u').get(key).i64(15).op('i64.shr_u').op('i64.xor')
  code.op('i32.wrap_i64').i32(mask).op('i32.and').op('i32.add')
  code.tee(entry).op('i64.load', CACHE_JUMP).get(key).op('i64.ne').if()
  code
    .get(entry)
    .i32(1 << CACHE_JUMP_SHIFT)
    .op('i32.add')
  code.tee(entry).op('i64.load', CACHE_JUMP).get(key).op('i64.ne').brIf(miss)
  code.end()
}

export interface Support {
  /** Index of a support function or kernel import by name. */
  index(name: string): number
}

/** RIP of the record's instruction on the stack. */
export function pushRip(code: CodeBuilder, cpu: number, rec: number): void {
  code.get(cpu).op('i64.load', CPU_PCBASE).get(rec).op('i64.load16_u', REC_OFF).op('i64.add')
}

export function defineSupport(module: ModuleBuilder, imports: ReadonlyMap<string, number>): Support {
  const own = new Map<string, number>()
  const index = (name: string): number => {
    const found = own.get(name) ?? imports.get(name)
    if (found === undefined) throw new Error(`the interpreter has no function ${name}`)
    return found
  }
  const define = (name: string, params: readonly ValueType[], results: readonly ValueType[]): CodeBuilder => {
    const made = module.function(['i32', 'i32', ...params], results, name)
    own.set(name, made.index)
    return made.code
  }

  const sync = define('sync', [], [])
  const rip = sync.local('i64')
  pushRip(sync, CPU, REC)
  sync.set(rip)
  sync.get(CPU).get(rip).op('i64.store', CPU_RIP)
  sync.get(CPU).get(rip).get(REC).op('i64.load8_u', REC_LEN).op('i64.add').op('i64.store', CPU_NEXT_RIP)

  defineEffective(define('effective', ['i64', 'i32'], ['i64']), index)
  for (const bytes of ACCESS_SIZES) {
    defineSlow(define, index, bytes)
    defineFast(define, index, bytes)
  }
  defineRmw(define, index)
  defineBranches(define, index)

  const sequential = define('sequential', [], ['i32'])
  pushRip(sequential, CPU, REC)
  sequential
    .get(REC)
    .op('i64.load8_u', REC_LEN)
    .op('i64.add')
    .get(CPU)
    .op('i64.load', CPU_NEXT_RIP)
    .op('i64.eq')
  return { index }
}

type Define = (name: string, params: readonly ValueType[], results: readonly ValueType[]) => CodeBuilder
type Index = (name: string) => number

function defineEffective(code: CodeBuilder, index: Index): void {
  const [sum, access] = [2, 3]
  const seg = code.local('i32')
  code.get(REC).op('i32.load8_u', REC_SEG).set(seg)
  // truncate: sum & (-1 >> (64 - (16 << size)))
  code.get(sum).i64(-1).i64(64).i64(16)
  code.get(seg).i32(RECSEG_ASIZE_SHIFT).op('i32.shr_u').i32(3).op('i32.and').op('i64.extend_i32_u')
  code.op('i64.shl').op('i64.sub').op('i64.shr_u').op('i64.and').set(sum)
  code.get(seg).i32(RECSEG_CHECK).op('i32.and').if()
  code.get(CPU).get(REC).call(index('sync'))
  code.get(seg).get(sum).get(access).call(index('seg_linear')).return()
  code.end()
  code.get(seg).i32(RECSEG_ADD_BASE).op('i32.and').if()
  code
    .get(sum)
    .get(CPU)
    .get(seg)
    .i32(7)
    .op('i32.and')
    .i32(5)
    .op('i32.shl')
    .op('i32.add')
    .op('i64.load', CPU_SEG)
  code.op('i64.add').set(sum)
  code.end().get(sum)
}

/** What follows a TLB miss: the kernel's function with the RIPs in place. */
function defineSlow(define: Define, index: Index, bytes: AccessSize): void {
  const { type, load, store } = ACCESS[bytes]
  const bits = bytes * 8
  const ld = define(`slow_ld${bits}`, ['i64', 'i32'], [type])
  ld.get(CPU).get(REC).call(index('sync')).get(2)
  if (bytes === 16) {
    ld.get(CPU).i32(BOUNCE).op('i32.add').get(3).call(index('mem_load128'))
    ld.get(CPU).op(load, BOUNCE)
  } else ld.get(3).call(index(`mem_load${bits}`))

  const st = define(`slow_st${bits}`, ['i64', type, 'i32'], [])
  st.get(CPU).get(REC).call(index('sync'))
  if (bytes === 16) {
    st.get(CPU).get(3).op(store, BOUNCE)
    st.get(2).get(CPU).i32(BOUNCE).op('i32.add').get(4).call(index('mem_store128'))
  } else
    st.get(2)
      .get(3)
      .get(4)
      .call(index(`mem_store${bits}`))
}

function defineFast(define: Define, index: Index, bytes: AccessSize): void {
  const { type, load, store } = ACCESS[bytes]
  const bits = bytes * 8
  const ld = define(`ld${bits}`, ['i64', 'i32'], [type])
  const entry = ld.local('i32')
  tlbEntry(ld, CPU, 2)
  ld.set(entry)
  tlbHit(ld, entry, 2, bytes, TLB_READ)
  ld.if(type)
  tlbHost(ld, entry, 2)
  ld.op(load)
  ld.else()
    .get(CPU)
    .get(REC)
    .get(2)
    .get(3)
    .call(index(`slow_ld${bits}`))
    .end()

  const st = define(`st${bits}`, ['i64', type, 'i32'], [])
  const stEntry = st.local('i32')
  tlbEntry(st, CPU, 2)
  st.set(stEntry)
  tlbHit(st, stEntry, 2, bytes, TLB_WRITE)
  st.if()
  tlbHost(st, stEntry, 2)
  st.get(3).op(store)
  st.else()
    .get(CPU)
    .get(REC)
    .get(2)
    .get(3)
    .get(4)
    .call(index(`slow_st${bits}`))
    .end()
}

function defineRmw(define: Define, index: Index): void {
  const slow = define('slow_rmw', ['i64', 'i32', 'i32'], ['i32'])
  slow.get(CPU).get(REC).call(index('sync'))
  slow.get(2).get(3).get(4).call(index('mem_rmw_begin'))

  const [gva, bytesAndLock, seg] = [2, 3, 4]
  const fast = define('rmw', ['i64', 'i32', 'i32'], ['i32'])
  const entry = fast.local('i32')
  const last = fast.local('i32')
  fast.get(bytesAndLock).i32(0xff).op('i32.and').i32(1).op('i32.sub').set(last)
  tlbEntry(fast, CPU, gva)
  fast.set(entry)
  fast.get(gva).get(last).op('i64.extend_i32_u').op('i64.add').i64(-4096).op('i64.and')
  fast.get(entry).op('i64.load', TLB_WRITE).op('i64.eq')
  // aligned, or not locked
  fast.get(gva).op('i32.wrap_i64').get(last).op('i32.and').op('i32.eqz')
  fast.get(bytesAndLock).i32(0x100).op('i32.lt_u').op('i32.or').op('i32.and')
  fast.if('i32')
  tlbHost(fast, entry, gva)
  fast.else().get(CPU).get(REC).get(gva).get(bytesAndLock).get(seg).call(index('slow_rmw')).end()

  const end = define('rmw_end', [], [])
  end.get(CPU).op('i32.load', CPU_RMW_ADDR).if()
  end.get(CPU).get(REC).call(index('sync')).call(index('mem_rmw_end'))
  end.end()
}

function defineBranches(define: Define, index: Index): void {
  const target = define('rel_target', [], ['i64'])
  const rip = target.local('i64')
  const mode = target.local('i32')
  target.get(CPU).op('i64.load', CPU_PCBASE).get(REC).op('i64.load', REC_IMM).op('i64.add').set(rip)
  target
    .get(CPU)
    .op('i32.load', CPU_MODE)
    .i32(MODE_CS_MASK)
    .op('i32.and')
    .tee(mode)
    .i32(MODE_CS64)
    .op('i32.eq')
    .if()
  target.get(rip).return()
  target.end()
  // operand size 16: 16-bit code without 66, or 32-bit code with it
  target.get(rip).i64(0xffff).i64(0xffff_ffffn)
  target
    .get(REC)
    .op('i32.load8_u', REC_FLAGS)
    .i32(RECF_OPSIZE)
    .op('i32.and')
    .i32(0)
    .op('i32.ne')
    .get(mode)
    .op('i32.eq')
  target.op('select').op('i64.and')

  const ok = define('near_ok', ['i64'], ['i32'])
  ok.get(CPU).op('i32.load', CPU_MODE).i32(MODE_CS_MASK).op('i32.and').i32(MODE_CS64).op('i32.eq').if('i32')
  ok.get(2).i64(16).op('i64.shl').i64(16).op('i64.shr_s').get(2).op('i64.eq')
  ok.else().get(CPU).op('i32.load', CPU_MODE).i32(MODE_FLAT).op('i32.and').end()
  ok.if().i32(1).return().end()
  ok.get(CPU).get(REC).call(index('sync')).get(2).call(index('check_near'))
  ok.get(CPU).op('i32.load', CPU_FAULT).op('i32.eqz')

  const taken = define('check_taken', [], [])
  taken.get(CPU).get(REC).get(CPU).get(REC).call(index('rel_target')).call(index('near_ok')).op('drop')
}
