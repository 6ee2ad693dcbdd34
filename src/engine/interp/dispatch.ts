/**
 * What compiled code and the interpreter share in interp.wasm.
 *
 *   dispatch(cpu, target, budget, depth): i32   goes on at a RIP in compiled code if there is some, else returns REGION_NEAR
 *   link(cpu, target, budget, depth, link): i32 the same, and remembers where it went in the link (abi/code-cache.ts, LINK_*)
 *   cc_commit(cpu)                              flags as compiled code left them -> CPU_FL_RES, CPU_FL_AUX
 */
import { CACHE_JUMP, CACHE_JUMP_RECORD, LINK_GFN, LINK_INDEX, LINK_REGION } from '../../abi/code-cache.ts'
import { CC_CANONICAL, CC_SUB, REGION_NEAR } from '../../abi/jit.ts'
import {
  CPU_BUDGET,
  CPU_CC_A,
  CPU_CC_B,
  CPU_CC_KIND,
  CPU_CC_RES,
  CPU_FL_AUX,
  CPU_FL_RES,
  CPU_NEXT_RIP,
  TLB_EXEC,
  TLB_GFN,
} from '../../abi/layout.ts'
import { REC_IMM, REC_OP } from '../../abi/record.ts'
import { HANDLER_REGION } from '../../isa/handlers.ts'
import { Label } from '../../wasm/code.ts'
import type { CodeBuilder, ValueType } from '../../wasm/code.ts'
import type { ModuleBuilder } from '../../wasm/module.ts'
import { findJump, pushKey, tlbEntry } from './support.ts'

/** Of a region: cpu, RIP of the first byte of its first page, instructions left, nested calls. */
export const REGION_PARAMS: readonly ValueType[] = ['i32', 'i64', 'i32', 'i32']

const CPU = 0

/** Also of link(): the address of the link that led there. */
export const LINK_PARAMS: readonly ValueType[] = [...REGION_PARAMS, 'i32']

/** dispatch(), and link(), which besides remembers the region in a link so that the next time needs no search. */
export function defineDispatch(module: ModuleBuilder, regionType: number, regions: number): void {
  for (const name of ['dispatch', 'link']) {
    const linked = name === 'link'
    const { code, index } = module.function(linked ? LINK_PARAMS : REGION_PARAMS, ['i32'], name)
    emitSearch(code, linked, regionType, regions)
    module.exportFunction(name, index)
  }
}

function emitSearch(code: CodeBuilder, linked: boolean, regionType: number, regions: number): void {
  const [target, budget, depth, link] = [1, 2, 3, 4]
  const page = code.local('i64')
  const gpa = code.local('i64')
  const entry = code.local('i32')
  const key = code.local('i64')
  const miss = new Label('miss')
  code.block(miss)
  code.get(target).i64(-4096).op('i64.and').set(page)
  tlbEntry(code, CPU, page)
  code.tee(entry).op('i64.load', TLB_EXEC).get(page).op('i64.ne').brIf(miss)
  code.get(entry).op('i64.load32_u', TLB_GFN).i64(12).op('i64.shl')
  code.get(target).i64(0xfff).op('i64.and').op('i64.or').set(gpa)
  pushKey(code, CPU, gpa)
  code.set(key)
  findJump(code, CPU, key, entry, miss)
  code
    .get(entry)
    .op('i32.load', CACHE_JUMP + CACHE_JUMP_RECORD)
    .tee(entry)
    .op('i32.load16_u', REC_OP)
  code.i32(HANDLER_REGION).op('i32.ne').brIf(miss)
  if (linked) {
    code.get(link).get(gpa).i64(12).op('i64.shr_u').op('i64.store32', LINK_GFN)
    code.get(link).get(entry).op('i32.load', REC_IMM).op('i32.store', LINK_INDEX)
    code
      .get(link)
      .get(entry)
      .op('i32.load', REC_IMM + 4)
      .op('i32.store', LINK_REGION)
  }
  code.get(CPU).get(page).get(budget).get(depth).get(entry).op('i32.load', REC_IMM)
  code.returnCallIndirect(regionType, regions)
  code.end()
  code.get(CPU).get(target).op('i64.store', CPU_NEXT_RIP)
  code.get(CPU).get(budget).op('i32.store', CPU_BUDGET)
  code.i32(REGION_NEAR)
}

/** isa/flags.ts in numbers: the carry vector of an addition or subtraction, shifted so that its top is bit 31. */
export function defineCommit(module: ModuleBuilder): number {
  const { code, index } = module.function(['i32'], [], 'cc_commit')
  const kind = code.local('i32')
  const [a, b, res, carries] = [code.local('i64'), code.local('i64'), code.local('i64'), code.local('i64')]
  const bits = code.local('i64')
  code.get(CPU).op('i32.load', CPU_CC_KIND).tee(kind).op('i32.eqz').if().return().end()
  code.get(CPU).i32(0).op('i32.store', CPU_CC_KIND)
  code.get(CPU).op('i64.load', CPU_CC_A).set(a)
  code.get(CPU).op('i64.load', CPU_CC_B).set(b)
  code.get(CPU).op('i64.load', CPU_CC_RES).set(res)
  code.get(kind).i32(CC_CANONICAL).op('i32.eq').if()
  code.get(CPU).get(res).op('i64.store', CPU_FL_RES)
  code.get(CPU).get(a).op('i32.wrap_i64').op('i32.store', CPU_FL_AUX)
  code.return().end()
  // sub: borrows = ~a & b | (~a | b) & r; add: carries = a & b | (a | b) & ~r
  code.get(kind).i32(CC_SUB).op('i32.ge_u').if()
  code.get(a).i64(-1).op('i64.xor').set(a)
  code.else()
  code.get(res).i64(-1).op('i64.xor').set(res)
  code.end()
  code.get(a).get(b).op('i64.and').get(a).get(b).op('i64.or').get(res).op('i64.and').op('i64.or').set(carries)
  code.get(CPU).op('i64.load', CPU_CC_RES).set(res)
  code.i64(8).get(kind).i32(3).op('i32.and').op('i64.extend_i32_u').op('i64.shl').set(bits)
  // CF and PO: the top two bits of the operand's width, at bits 31 and 30; AF: bit 3
  code.get(CPU)
  code.get(carries).i64(64).get(bits).op('i64.sub').op('i64.shl').i64(32).op('i64.shr_u').op('i32.wrap_i64')
  code.i32(0xc000_0000).op('i32.and')
  code.get(carries).op('i32.wrap_i64').i32(8).op('i32.and').op('i32.or')
  code.op('i32.store', CPU_FL_AUX)
  code.get(CPU)
  code.get(res).i64(64).get(bits).op('i64.sub').op('i64.shl')
  code.i64(64).get(bits).op('i64.sub').op('i64.shr_s')
  code.op('i64.store', CPU_FL_RES)
  module.exportFunction('cc_commit', index)
  return index
}

/** cc_result, cc_carries (cpu, kind, a, b, res): CPU_FL_RES and CPU_FL_AUX of flags that compiled code holds in locals. */
export function defineReaders(module: ModuleBuilder, commit: number): void {
  const params: readonly ValueType[] = ['i32', 'i32', 'i64', 'i64', 'i64']
  const readers = [
    ['cc_result', 'i64', 'i64.load', CPU_FL_RES],
    ['cc_carries', 'i32', 'i32.load', CPU_FL_AUX],
  ] as const
  for (const [name, type, load, offset] of readers) {
    const { code, index } = module.function(params, [type], name)
    code.get(1).if()
    code.get(CPU).get(1).op('i32.store', CPU_CC_KIND)
    code.get(CPU).get(2).op('i64.store', CPU_CC_A)
    code.get(CPU).get(3).op('i64.store', CPU_CC_B)
    code.get(CPU).get(4).op('i64.store', CPU_CC_RES)
    code.end()
    code.get(CPU).call(commit)
    code.get(CPU).op(load, offset)
    module.exportFunction(name, index)
  }
}
