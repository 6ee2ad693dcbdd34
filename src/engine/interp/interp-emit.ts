/**
 * The emitter of the interpreter: one instance per handler (row x width x form). Operands and registers are RecordEmit's;
 * here are guest memory, the stack, calls and control.
 */
import { FP_IMPORTS } from '../../abi/fp-imports.types.ts'
import { KERNEL_IMPORTS } from '../../abi/kernel-imports.types.ts'
import type { KernelImport, WasmTy } from '../../abi/kernel-imports.types.ts'
import { SIMD_IMPORTS } from '../../abi/simd-imports.types.ts'
import {
  CPU_AMASK,
  CPU_CPL,
  CPU_FAULT,
  CPU_FAULT_ERROR,
  CPU_MODE,
  CPU_PCBASE,
  CPU_RSP,
  CPU_SCRATCH_SLOTS,
  CPU_SEG,
  CPU_SMASK,
  FAULT_HAS_ERROR,
  FAULT_VALID,
  MODE_FLAT,
  SEG_SS,
} from '../../abi/layout.ts'
import {
  RECSEG_ADD_BASE,
  RECSEG_ASIZE_SHIFT,
  RECSEG_CHECK,
  RECSEG_REG_MASK,
  REC_IMM,
  REC_LEN,
  REC_LINK,
  REC_OFF,
  REC_REG,
  REC_RM,
} from '../../abi/record.ts'
import type { OperandInfo } from '../../isa/operands.ts'
import type { IntTy, Ty, Val, Vector } from '../../isa/emit.ts'
import { node, variableNode } from '../emit/ir.ts'
import type { Exit, ExitPoint, Node, PageGroup, Statement, Variable } from '../emit/ir.ts'
import { atomicOp, dependsOn, simpleAtomic } from './atomics.ts'
import { RecordEmit, storeOp } from './record-emit.ts'
import type { Instance } from './record-emit.ts'

// prettier-ignore
const VECTOR_NUMBER: Readonly<Record<Vector, number>> = {
  DE: 0, DB: 1, BP: 3, OF: 4, BR: 5, UD: 6, NM: 7, TS: 10, NP: 11, SS: 12, GP: 13, PF: 14, MF: 16, AC: 17, XM: 19,
}
const HAS_ERROR = new Set<Vector>(['TS', 'NP', 'SS', 'GP', 'PF', 'AC'])

/** Every kernel function that generated code may call. */
export const ALL_IMPORTS: Readonly<Record<string, KernelImport>> = {
  ...KERNEL_IMPORTS,
  ...FP_IMPORTS,
  ...SIMD_IMPORTS,
}

export function importOf(name: string): KernelImport {
  const found = ALL_IMPORTS[name]
  if (!found) throw new Error(`the kernel exports no ${name}`)
  return found
}

const BITS: Readonly<Record<Ty, number>> = { i8: 8, i16: 16, i32: 32, i64: 64, f32: 32, f64: 64, v128: 128 }

export class InterpEmit extends RecordEmit {
  /** The next scratch slot for a copy of a memory operand. */
  #slot = CPU_SCRATCH_SLOTS - 1
  #address: { readonly key: string; readonly node: Node } | undefined

  /** @param recLocal local of the record address: 1 in a function of its own */
  constructor(instance: Instance, recLocal = 1, inlined = false) {
    super(instance, recLocal, inlined)
  }

  protected override start(instance: Instance): void {
    super.start(instance)
    this.#slot = CPU_SCRATCH_SLOTS - 1
    this.#address = undefined
  }

  protected override enterScope(): void {
    super.enterScope()
    this.#address = undefined
  }
  protected override leaveScope(): void {
    super.leaveScope()
    this.#address = undefined
  }

  // --- operands ---

  read(i: number): Node {
    const info = this.operand(i)
    if (this.isMemory(i)) return this.load(info.ty, this.#linearOf(info))
    switch (info.place) {
      case 'imm':
        return this.immediate(i, info)
      case 'ptr':
      case 'rel':
        return this.field('i64.load', 'i64', REC_IMM)
      case 'number':
        return this.field('i32.load16_u', 'i32', REC_REG)
      case 'st':
        return info.fixed === undefined
          ? this.field('i32.load16_u', 'i32', REC_RM)
          : this.const('i32', info.fixed)
      default: {
        const [base, offset] = this.location(info)
        return this.loadFrom(this.registerTy(info), base, offset)
      }
    }
  }

  write(i: number, value: Val): void {
    const info = this.operand(i)
    if (this.isMemory(i)) return this.store(this.#linearOf(info), this.#narrowed(value, info))
    const [base, offset] = this.location(info)
    this.writeRegister(base, offset, value, info.bank === 'gpr')
  }

  /** A whole vector stored to a narrower memory operand: its low lane. */
  #narrowed(value: Val, info: OperandInfo): Val {
    if (value.ty !== 'v128' || info.bits === 128 || info.bits === 0) return value
    if (info.bits === 64) return this.op('i64x2.extract_lane', 'i64', [value], [0])
    return this.trunc(this.op('i32x4.extract_lane', 'i32', [value], [0]), info.ty as IntTy)
  }

  addressOf(i: number): Node {
    const info = this.operand(i)
    if (!this.isMemory(i)) {
      const [base, offset] = this.location(info)
      return this.pure('i32.add', 'i32', [base, this.const('i32', offset)])
    }
    if (info.bits === 0) throw new Error(`${this.row.id}: operand ${info.text} has no size to copy`)
    const copy = this.scratch(this.#slot--)
    this.storeAt(copy, this.read(i))
    return copy
  }

  // --- addresses ---

  #linearOf(info: OperandInfo): Node {
    return this.linear(info.bits / 8, info.access !== 'r', undefined)
  }

  linear(bytes: number, write: boolean, displacement?: Val | number): Node {
    const moved =
      typeof displacement === 'number' ? this.const('i64', displacement) : displacement && node(displacement)
    const key = this.form === 'M' ? 'M' : `${bytes} ${write}`
    if (!moved && this.#address?.key === key) return this.#address.node
    const sum = this.sum(moved)
    let made: Node
    if (this.form === 'M') made = this.and(sum, this.getCpu('i64', CPU_AMASK))
    else {
      const variable = this.variable('i64')
      this.current.push({ kind: 'set', variable, node: sum })
      this.#truncate(variable, bytes, write)
      made = this.valueIn(variable)
    }
    if (!moved && this.atTop) this.#address = { key, node: made }
    return made
  }

  /**
   * From the sum of a form-X address to its linear address, in place. 64-bit addresses without segment base need
   * nothing; the rest goes through a function of the module, but in inlined handlers only what needs checks does.
   */
  #truncate(variable: Variable, bytes: number, write: boolean): void {
    const set = (value: Node): void => void this.current.push({ kind: 'set', variable, node: value })
    const special = this.and(
      this.seg(),
      this.const('i32', RECSEG_CHECK | RECSEG_ADD_BASE | (3 << RECSEG_ASIZE_SHIFT)),
    )
    this.if_(this.ne(special, this.const('i32', 2 << RECSEG_ASIZE_SHIFT)), () => {
      const checked = (): void => {
        const access = this.const('i32', bytes | (write ? 0x100 : 0))
        this.internal('effective', [this.valueIn(variable), access], variable)
        this.faultCheck()
      }
      const plain = (): void => {
        set(this.and(this.valueIn(variable), this.sizeMask()))
        this.if_(this.and(this.seg(), this.const('i32', RECSEG_ADD_BASE)), () => {
          const segment = this.and(this.seg(), this.const('i32', RECSEG_REG_MASK))
          const slot = this.shl(segment, this.const('i32', 5)) // CPU_SEG_STRIDE
          set(this.add(this.valueIn(variable), this.loadAt('i64', this.add(this.cpu, slot), CPU_SEG)))
        })
      }
      if (this.inlined) this.if_(this.and(this.seg(), this.const('i32', RECSEG_CHECK)), checked, plain)
      else checked()
    })
  }

  // --- where an instruction may be left ---

  protected leave(exit: Exit, target?: Node): void {
    this.current.push({ kind: 'exit', exit, args: target ? [target] : [], at: this.exitPoint() })
  }

  /** What an engine has to know where it leaves. */
  protected exitPoint(): ExitPoint | undefined {
    return undefined
  }

  // --- guest memory ---

  /** An access is likely to be one to the stack. */
  protected onStack(_seg: Node, _bytes: number): boolean {
    return false
  }

  protected groupOf(_bytes: number, _writes: boolean): PageGroup | undefined {
    return undefined
  }

  load(ty: Ty, gva: Val): Node {
    return this.#loadSeg(ty, node(gva), this.seg())
  }

  #loadSeg(ty: Ty, gva: Node, seg: Node): Node {
    if (ty === 'f32' || ty === 'f64') {
      const bits = this.#loadSeg(ty === 'f32' ? 'i32' : 'i64', gva, seg)
      return this.pure(ty === 'f32' ? 'f32.reinterpret_i32' : 'f64.reinterpret_i64', ty, [bits])
    }
    const result = this.variable(ty)
    const bytes = BITS[ty] / 8
    const stack = this.onStack(seg, bytes)
    const group = stack ? undefined : this.groupOf(bytes, false)
    this.current.push({ kind: 'load', result, bytes, gva, seg, stack, group, at: this.exitPoint() })
    return this.resultIn(result)
  }

  store(gva: Val, value: Val): void {
    this.#storeSeg(node(gva), value, this.seg())
  }

  #storeSeg(gva: Node, value: Val, seg: Node): void {
    let bits = node(value)
    if (value.ty === 'f32') bits = this.pure('i32.reinterpret_f32', 'i32', [bits])
    if (value.ty === 'f64') bits = this.pure('i64.reinterpret_f64', 'i64', [bits])
    const bytes = BITS[value.ty] / 8
    const stack = this.onStack(seg, bytes)
    const group = stack ? undefined : this.groupOf(bytes, true)
    this.current.push({ kind: 'store', value: bits, bytes, gva, seg, stack, group, at: this.exitPoint() })
  }

  modify(
    i: number,
    compute: (old: Val) => Val,
    displacement?: Val,
  ): { readonly old: Node; readonly value: Node } {
    const info = this.operand(i)
    if (!this.isMemory(i)) {
      const old = this.read(i)
      const value = node(compute(old))
      this.write(i, value)
      return { old, value }
    }
    const ty = info.ty as IntTy
    const gva = this.linear(info.bits / 8, true, displacement)
    const address = this.variable('i32')
    // XCHG with memory is locked with and without the prefix (SDM Vol. 2, XCHG).
    const locked = this.form === 'L' || this.row.mnemonic === 'xchg'
    const bytes = info.bits / 8
    const seg = this.seg()
    const group = this.groupOf(bytes, true)
    this.current.push({
      kind: 'rmwBegin',
      result: address,
      bytes,
      gva,
      seg,
      locked,
      group,
      at: this.exitPoint(),
    })
    const host = this.valueIn(address)
    const result = locked ? this.#atomic(ty, host, compute) : this.#plain(ty, host, compute)
    this.current.push({ kind: 'rmwEnd', at: this.exitPoint() })
    return result
  }

  #plain(ty: IntTy, host: Node, compute: (old: Val) => Val): { readonly old: Node; readonly value: Node } {
    const old = this.loadFrom(ty, host, 0)
    const value = node(compute(old))
    this.storeTo(storeOp(ty), host, 0, value)
    return { old, value }
  }

  /** One Wasm atomic where the computation is one, else a compare-and-swap loop. */
  #atomic(ty: IntTy, host: Node, compute: (old: Val) => Val): { readonly old: Node; readonly value: Node } {
    const variable = this.variable(ty)
    const old = variableNode('var', variable)
    const outer = this.current
    const computation: Statement[] = [{ kind: 'let', node: old }]
    this.current = computation
    const value = node(compute(old))
    this.current = outer
    const simple = simpleAtomic(value, old, ty)
    if (simple) {
      // The operand was computed before or is part of the computation: its marks must precede the atomic.
      this.current.push(
        ...computation.filter((s) => s.kind === 'let' && s.node !== old && !dependsOn(s.node, old)),
      )
      const swapped = this.pinned(atomicOp(ty, simple.operation), ty, [host, simple.operand])
      this.current.push({ kind: 'set', variable, node: swapped })
      this.current.push(
        ...computation.filter((s) => s.kind !== 'let' || s.node === old || dependsOn(s.node, old)),
      )
      return { old, value }
    }
    this.current.push({ kind: 'set', variable, node: this.pinned(atomicOp(ty, 'load'), ty, [host]) })
    const body = this.nested(() => {
      this.current.push(...computation)
      const seen = this.pinned(atomicOp(ty, 'cmpxchg'), ty, [host, old, value])
      this.current.push({ kind: 'set', variable, node: seen })
    })
    const again: Node[] = []
    const tail = this.nested(() => again.push(this.ne(this.valueIn(variable), old)))
    const condition = again[0]
    if (!condition) throw new Error('unreachable')
    this.current.push({ kind: 'loop', body: [...body, ...tail], again: condition })
    return { old, value }
  }

  // --- control ---

  raise(vector: Vector, error?: number | Val): void {
    const hasError = error !== undefined || HAS_ERROR.has(vector)
    const code = FAULT_VALID | (hasError ? FAULT_HAS_ERROR : 0) | VECTOR_NUMBER[vector]
    this.storeTo('i32.store', this.cpu, CPU_FAULT, this.const('i32', code))
    if (hasError) {
      const value = typeof error === 'object' ? node(error) : this.const('i32', error ?? 0)
      this.storeTo('i32.store', this.cpu, CPU_FAULT_ERROR, value)
    }
    this.leave('fault')
  }

  protected faultCheck(): void {
    this.if_(this.getCpu('i32', CPU_FAULT), () => this.leave('fault'))
  }

  privileged(): void {
    this.raiseIf(this.getCpu('i32', CPU_CPL), 'GP', 0)
  }

  nextRip(): Node {
    const inPage = this.add(
      this.field('i64.load16_u', 'i64', REC_OFF),
      this.field('i64.load8_u', 'i64', REC_LEN),
    )
    return this.add(this.getCpu('i64', CPU_PCBASE), inPage)
  }

  branchRel(condition?: Val, commit?: () => void): void {
    const taken = (): void => {
      if (commit) {
        // A linked target has been reached before: its check cannot fail.
        this.if_(this.isZero(this.pinned('i32.load', 'i32', [this.rec], [REC_LINK])), () => {
          this.internal('check_taken', [], undefined)
          this.faultCheck()
        })
        commit()
      }
      this.leave('taken')
    }
    if (condition) this.if_(condition, taken)
    else taken()
  }

  branchTo(rip: Val, commit?: () => void): void {
    const target = node(rip)
    if (commit) {
      const suspicious =
        this.width === 64
          ? this.ne(this.sar(this.shl(target, this.const('i32', 16)), this.const('i32', 16)), target)
          : this.isZero(this.and(this.getCpu('i32', CPU_MODE), this.const('i32', MODE_FLAT)))
      this.if_(suspicious, () => this.call('check_near', [target]))
      commit()
    }
    this.leave('near', target)
  }

  // --- stack ---

  /** RSP plus `bytes`, wrapped at the width of the stack pointer; RSP itself, and the offset within SS. */
  #stack(bytes: Node): { readonly rsp: Node; readonly sp: Node } {
    const old = this.reg('rsp')
    const moved = this.add(old, bytes)
    if (this.width === 64) return { rsp: moved, sp: moved }
    const mask = this.getCpu('i64', CPU_SMASK)
    const sp = this.and(moved, mask)
    return { rsp: this.or(this.and(old, this.not(mask)), sp), sp }
  }

  /** Linear address of a stack offset. */
  #stackLinear(sp: Node, bytes: number, write: boolean): Node {
    if (this.width === 64) return sp
    const variable = this.variable('i64')
    this.current.push({ kind: 'set', variable, node: sp })
    this.if_(this.isZero(this.and(this.getCpu('i32', CPU_MODE), this.const('i32', MODE_FLAT))), () => {
      this.call(
        'seg_linear',
        [this.const('i32', SEG_SS), this.valueIn(variable), this.const('i32', bytes | (write ? 0x100 : 0))],
        variable,
      )
    })
    return this.valueIn(variable)
  }

  push(value: Val): void {
    const bytes = BITS[value.ty] / 8
    const { rsp, sp } = this.#stack(this.const('i64', -bytes))
    this.#storeSeg(this.#stackLinear(sp, bytes, true), value, this.const('i32', SEG_SS))
    this.storeTo('i64.store', this.cpu, CPU_RSP, rsp)
  }

  peek(ty: IntTy): Node {
    const { sp } = this.#stack(this.const('i64', 0))
    const bytes = BITS[ty] / 8
    return this.#loadSeg(ty, this.#stackLinear(sp, bytes, false), this.const('i32', SEG_SS))
  }

  adjustStack(bytes: Val | number): void {
    const by = typeof bytes === 'number' ? this.const('i64', bytes) : node(bytes)
    this.storeTo('i64.store', this.cpu, CPU_RSP, this.#stack(by).rsp)
  }

  pop(ty: IntTy): Node {
    const value = this.peek(ty)
    this.adjustStack(BITS[ty] / 8)
    return value
  }

  // --- calls ---

  /** A function of the interpreter module itself; it gets cpu and rec first. */
  protected internal(name: string, args: readonly Node[], result: Variable | undefined): void {
    this.current.push({ kind: 'call', name: `@${name}`, args, result })
  }

  call(name: string, args: readonly Val[], into?: Variable): Node | undefined {
    const entry = importOf(name)
    if (args.length !== entry.params.length)
      throw new Error(`${this.row.id}: ${name} takes ${entry.params.length} arguments`)
    const nodes = args.map((arg, i) => this.argument(arg, entry.params[i] as WasmTy, name))
    if (entry.fault || entry.transfers) this.internal('sync', [], undefined)
    const result = into ?? (entry.result ? this.variable(entry.result) : undefined)
    this.current.push({ kind: 'call', name, args: nodes, result })
    this.forgetFlags()
    if (entry.fault) this.faultCheck()
    if (entry.transfers) {
      const exit = (): void => this.leave('transfer')
      if (name.startsWith('str_')) {
        // A string instruction that is complete goes on in its block.
        const done = this.variable('i32')
        this.internal('sequential', [], done)
        this.if_(this.isZero(this.valueIn(done)), exit)
      } else exit()
    }
    return result && !into ? this.valueIn(result) : undefined
  }

  protected argument(arg: Val, want: WasmTy, name: string): Node {
    const narrow = arg.ty === 'i8' || arg.ty === 'i16' ? 'i32' : arg.ty
    if (narrow !== want) throw new Error(`${this.row.id}: ${name} wants ${want}, got ${arg.ty}`)
    return node(arg)
  }
}
