/**
 * Accesses of compiled code that do not lie in the page that they were expected in: those to the stack look it up and remember
 * it for the accesses that follow (CPU_STACK_PAGE), others only look it up.
 *
 *   stack_load{8,16,32,64}, other_load… (cpu, gva, seg)                  the value; check CPU_FAULT
 *   stack_store{8,16,32,64}, other_store… (cpu, gva, value, rip, how)    0 = the code has to be left, as jit_store() of the kernel
 */
import { CPU_STACK_HOST, CPU_STACK_PAGE, TLB_HOST, TLB_READ, TLB_WRITE } from '../../abi/layout.ts'
import type { CodeBuilder } from '../../wasm/code.ts'
import type { ModuleBuilder } from '../../wasm/module.ts'
import { ACCESS, tlbEntry, tlbHit, tlbHost } from './support.ts'
import type { Support } from './support.ts'

const SIZES = [1, 2, 4, 8] as const
type Size = (typeof SIZES)[number]

const [CPU, GVA] = [0, 1]

function remember(code: CodeBuilder, entry: number): void {
  code.get(CPU).get(GVA).i64(-4096).op('i64.and').op('i64.store', CPU_STACK_PAGE)
  code.get(CPU).get(entry).op('i32.load', TLB_HOST).op('i32.store', CPU_STACK_HOST)
}

export function defineElsewhere(module: ModuleBuilder, support: Support): void {
  for (const bytes of SIZES) {
    for (const stack of [true, false]) {
      defineLoad(module, support, bytes, stack)
      defineStore(module, support, bytes, stack)
    }
  }
}

function defineLoad(module: ModuleBuilder, support: Support, bytes: Size, stack: boolean): void {
  const { type, load } = ACCESS[bytes]
  const name = `${stack ? 'stack' : 'other'}_load${bytes * 8}`
  const { code, index } = module.function(['i32', 'i64', 'i32'], [type], name)
  const seg = 2
  const entry = code.local('i32')
  tlbEntry(code, CPU, GVA)
  code.set(entry)
  tlbHit(code, entry, GVA, bytes, TLB_WRITE)
  code.if()
  if (stack) remember(code, entry)
  tlbHost(code, entry, GVA)
  code.op(load).return().end()
  tlbHit(code, entry, GVA, bytes, TLB_READ)
  code.if()
  tlbHost(code, entry, GVA)
  code.op(load).return().end()
  code
    .get(GVA)
    .get(seg)
    .returnCall(support.index(`mem_load${bytes * 8}`))
  code.op('unreachable')
  module.exportFunction(name, index)
}

function defineStore(module: ModuleBuilder, support: Support, bytes: Size, stack: boolean): void {
  const { type, store } = ACCESS[bytes]
  const name = `${stack ? 'stack' : 'other'}_store${bytes * 8}`
  const { code, index } = module.function(['i32', 'i64', type, 'i64', 'i32'], ['i32'], name)
  const [value, rip, how] = [2, 3, 4]
  const entry = code.local('i32')
  tlbEntry(code, CPU, GVA)
  code.set(entry)
  tlbHit(code, entry, GVA, bytes, TLB_WRITE)
  code.if()
  if (stack) remember(code, entry)
  tlbHost(code, entry, GVA)
  code.get(value).op(store).i32(1).return().end()
  code.get(GVA).get(value)
  if (type === 'i32') code.op('i64.extend_i32_u')
  code.get(rip).get(how).returnCall(support.index('jit_store'))
  code.op('unreachable')
  module.exportFunction(name, index)
}
