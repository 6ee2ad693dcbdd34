/**
 * The part of the emitter that no engine differs in: pure operations become WebAssembly operators over ir nodes, flags
 * go through isa/flags.ts, control structure becomes statements. Subclasses say where operands, registers, flags and
 * guest memory are.
 *
 * i8 and i16 are i32 with zero upper bits. Operations that may dirty them are followed by a mask; masks that the
 * consumer does not see (a narrow store, a sign extension, another mask) are stripped again.
 */
import { INT_TY } from '../../isa/operands.ts'
import { encodeFlags, readCond, readFlag, setFlagBits } from '../../isa/flags.ts'
import type { LazyFlags } from '../../isa/flags.ts'
import type {
  ArithFlag,
  Cell,
  Cond,
  Emit,
  FlagsOf,
  IntTy,
  Reg64,
  Ty,
  Val,
  Vector,
  Vsib,
} from '../../isa/emit.ts'
import type { Width } from '../../isa/row.ts'
import { NO_IMMEDIATES, Node, alias, node, resolve, valueNode, variableNode, wasmType } from './ir.ts'
import type { IntOperator, Statement, Variable } from './ir.ts'

const BITS: Readonly<Record<IntTy, number>> = { i8: 8, i16: 16, i32: 32, i64: 64 }
const maskOf = (ty: Ty): number | undefined => (ty === 'i8' ? 0xff : ty === 'i16' ? 0xffff : undefined)

/** All ones, in the form of a const's value. */
const ONES: Readonly<Record<IntTy, number>> = { i8: 0xff, i16: 0xffff, i32: -1, i64: -1 }

const ADD: IntOperator = { name: 'add', i32: 'i32.add', i64: 'i64.add' }
const SUB: IntOperator = { name: 'sub', i32: 'i32.sub', i64: 'i64.sub' }
const MUL: IntOperator = { name: 'mul', i32: 'i32.mul', i64: 'i64.mul' }
const AND: IntOperator = { name: 'and', i32: 'i32.and', i64: 'i64.and' }
const OR: IntOperator = { name: 'or', i32: 'i32.or', i64: 'i64.or' }
const XOR: IntOperator = { name: 'xor', i32: 'i32.xor', i64: 'i64.xor' }
const SHL: IntOperator = { name: 'shl', i32: 'i32.shl', i64: 'i64.shl' }
const SHR_U: IntOperator = { name: 'shr_u', i32: 'i32.shr_u', i64: 'i64.shr_u' }
const SHR_S: IntOperator = { name: 'shr_s', i32: 'i32.shr_s', i64: 'i64.shr_s' }
const ROTL: IntOperator = { name: 'rotl', i32: 'i32.rotl', i64: 'i64.rotl' }
const ROTR: IntOperator = { name: 'rotr', i32: 'i32.rotr', i64: 'i64.rotr' }
const DIV_U: IntOperator = { name: 'div_u', i32: 'i32.div_u', i64: 'i64.div_u' }
const DIV_S: IntOperator = { name: 'div_s', i32: 'i32.div_s', i64: 'i64.div_s' }
const REM_U: IntOperator = { name: 'rem_u', i32: 'i32.rem_u', i64: 'i64.rem_u' }
const REM_S: IntOperator = { name: 'rem_s', i32: 'i32.rem_s', i64: 'i64.rem_s' }
const EQ: IntOperator = { name: 'eq', i32: 'i32.eq', i64: 'i64.eq' }
const NE: IntOperator = { name: 'ne', i32: 'i32.ne', i64: 'i64.ne' }
const LT_U: IntOperator = { name: 'lt_u', i32: 'i32.lt_u', i64: 'i64.lt_u' }
const LT_S: IntOperator = { name: 'lt_s', i32: 'i32.lt_s', i64: 'i64.lt_s' }
const LE_U: IntOperator = { name: 'le_u', i32: 'i32.le_u', i64: 'i64.le_u' }
const LE_S: IntOperator = { name: 'le_s', i32: 'i32.le_s', i64: 'i64.le_s' }
const SIGNED = new Set([LT_S, LE_S])
const EQZ: IntOperator = { name: 'eqz', i32: 'i32.eqz', i64: 'i64.eqz' }
const CLZ: IntOperator = { name: 'clz', i32: 'i32.clz', i64: 'i64.clz' }
const CTZ: IntOperator = { name: 'ctz', i32: 'i32.ctz', i64: 'i64.ctz' }
const POPCNT: IntOperator = { name: 'popcnt', i32: 'i32.popcnt', i64: 'i64.popcnt' }

/** Its name at a type; i8 and i16 travel as i32. */
const at = (operator: IntOperator, ty: Ty): string => (ty === 'i64' ? operator.i64 : operator.i32)

const isInt = (ty: Ty): ty is IntTy => ty === 'i8' || ty === 'i16' || ty === 'i32' || ty === 'i64'

/** Operators whose result is 0 or 1, whatever the operands. */
const BOOLEAN = new Set(
  ['i8x16', 'i16x8', 'i32x4', 'i64x2', 'v128', 'i32', 'i64', 'f32', 'f64'].flatMap((type) =>
    [
      'eqz',
      'eq',
      'ne',
      'lt_s',
      'lt_u',
      'le_s',
      'le_u',
      'gt_s',
      'gt_u',
      'ge_s',
      'ge_u',
      'lt',
      'le',
      'gt',
      'ge',
    ]
      .map((name) => `${type}.${name}`)
      .concat(`${type}.any_true`, `${type}.all_true`),
  ),
)

/** Operators that op() has seen. */
const PURE = new Set<string>()

export abstract class PureEmit implements Emit {
  width: Width = 0
  ty: IntTy = 'i32'
  abstract readonly mem: boolean

  /** Marks of nodes that depend on parameters only. */
  protected readonly prologue: Statement[] = []
  protected body: Statement[] = []
  protected current: Statement[] = this.body

  protected setWidth(width: Width): void {
    this.width = width
    this.ty = width === 0 ? 'i32' : INT_TY[width]
  }

  /** Everything recorded, in order. */
  statements(): readonly Statement[] {
    return [...this.prologue, ...this.body]
  }

  // --- building blocks ---

  protected mark(made: Node): Node {
    this.current.push({ kind: 'let', node: made })
    return made
  }

  /** A pure operator. */
  protected pure(op: string, ty: Ty, args: readonly Node[], immediates = NO_IMMEDIATES): Node {
    return this.mark(new Node('op', ty, op, args, immediates))
  }

  /** A read of mutable state: evaluated exactly here. */
  protected pinned(op: string, ty: Ty, args: readonly Node[], immediates = NO_IMMEDIATES): Node {
    return this.mark(new Node('op', ty, op, args, immediates, true))
  }

  /** A pure operator over parameters only. */
  protected early(op: string, ty: Ty, args: readonly Node[], immediates = NO_IMMEDIATES): Node {
    const made = new Node('op', ty, op, args, immediates)
    this.prologue.push({ kind: 'let', node: made })
    return made
  }

  protected do(op: string, args: readonly Node[], immediates = NO_IMMEDIATES): void {
    this.current.push({ kind: 'do', op, args, immediates })
  }

  /** A store to `address` + `offset`: not of the guest's memory. */
  protected storeTo(op: string, address: Node, offset: number, value: Node): void {
    this.do(op, [address, this.#stripFor(op, value)], [offset])
  }

  protected variable(ty: Ty): Variable {
    return { ty, slot: -1 }
  }

  protected valueIn(variable: Variable): Node {
    return this.mark(variableNode('var', variable))
  }

  /** The value of a variable that is set once, before this. */
  protected resultIn(variable: Variable): Node {
    return this.valueIn(variable)
  }

  /** Records into another list: a branch or a loop body. */
  protected nested(fill: () => void): Statement[] {
    const outer = this.current
    const list: Statement[] = []
    this.current = list
    this.enterScope()
    fill()
    this.leaveScope()
    this.current = outer
    return list
  }

  /** Hooks for subclasses that cache values: what is computed inside a branch is not available after it. */
  protected enterScope(): void {}
  protected leaveScope(): void {}

  protected get atTop(): boolean {
    return this.current === this.body
  }

  const(ty: Ty, value: number | bigint): Node {
    if (ty === 'v128') throw new Error('v128 constants are written by op()')
    if (ty === 'f32' || ty === 'f64') return valueNode('const', ty, Number(value))
    if (typeof value === 'number' && (value | 0) === value)
      return valueNode('const', ty, ty === 'i8' || ty === 'i16' ? value & ONES[ty] : value)
    if (ty === 'i64') {
      const whole = BigInt.asIntN(64, BigInt(value))
      const low = Number(BigInt.asIntN(32, whole))
      return valueNode('const', ty, BigInt(low) === whole ? low : whole)
    }
    const whole = Number(BigInt.asUintN(BITS[ty], BigInt(value)))
    return valueNode('const', ty, ty === 'i32' ? whole | 0 : whole)
  }

  // --- masks of narrow types ---

  #mask(value: Node, ty: IntTy): Node {
    const mask = maskOf(ty)
    if (mask === undefined) return value.ty === ty ? value : this.#retype(value, ty)
    if (value.kind === 'const') return this.const(ty, Number(value.value) & mask)
    const { op, args } = resolve(value)
    if (op === 'i32.and' && args[1]?.kind === 'const') {
      const inner = Number(args[1].value)
      if ((inner & ~mask) === 0 && inner >= 0) return this.#retype(value, ty)
    }
    if (BOOLEAN.has(op)) return this.#retype(value, ty)
    if (op === 'i32.load8_u' || (op === 'i32.load16_u' && ty === 'i16')) return this.#retype(value, ty)
    return this.pure('i32.and', ty, [this.#strip(value, mask), this.const('i32', mask)])
  }

  /** The same bits under another type; keeps one evaluation by sharing through a copy-free alias. */
  #retype(value: Node, ty: Ty): Node {
    if (value.ty === ty) return value
    if (value.kind === 'const') return this.const(ty, value.value)
    return alias(ty, value)
  }

  /** Drops a mask that keeps at least the bits of `mask`: the consumer looks at no others. */
  #strip(value: Node, mask: number): Node {
    const target = resolve(value)
    if (target.op === 'i32.and' && target.args[1]?.kind === 'const') {
      const kept = Number(target.args[1].value)
      if ((kept & mask) === mask && target.args[0]) return this.#strip(target.args[0], mask)
    }
    return value
  }

  #stripFor(op: string, value: Node): Node {
    if (op === 'i32.store8') return this.#strip(value, 0xff)
    if (op === 'i32.store16') return this.#strip(value, 0xffff)
    return value
  }

  // --- arithmetic ---

  #int(a: Val, what: string): IntTy {
    if (!isInt(a.ty)) throw new Error(`${what} of a ${a.ty} value; use op()`)
    return a.ty
  }

  #binary(operator: IntOperator, a: Val, b: Val, clean: boolean): Node {
    const ty = this.#int(a, operator.name)
    if (b.ty !== ty) throw new Error(`${operator.name} of ${ty} and ${b.ty}`)
    const folded = this.#fold(operator, ty, node(a), node(b))
    if (folded) return folded
    const made = this.pure(at(operator, ty), clean ? ty : wasmType(ty), [node(a), node(b)])
    return clean ? made : this.#mask(made, ty)
  }

  /** Constant operands: what a JIT with constant operands and generic semantics produce all the time. */
  #fold(operator: IntOperator, ty: IntTy, a: Node, b: Node): Node | undefined {
    if (b.kind !== 'const') return undefined
    if (b.value === 0 && operator !== MUL) return operator === AND ? this.const(ty, 0) : a
    if (operator === AND && b.value === ONES[ty]) return a
    if (a.kind !== 'const') return undefined
    if (typeof a.value === 'number' && typeof b.value === 'number') {
      // Sums of numbers of 32 bits are exact, and the rest is sign-extended in both types.
      if (operator === ADD) return this.const(ty, a.value + b.value)
      if (operator === SUB) return this.const(ty, a.value - b.value)
      if (operator === AND) return this.const(ty, a.value & b.value)
      if (operator === OR) return this.const(ty, a.value | b.value)
      if (operator === XOR) return this.const(ty, a.value ^ b.value)
      return undefined
    }
    const [x, y] = [BigInt(a.value), BigInt(b.value)]
    if (operator === ADD) return this.const(ty, x + y)
    if (operator === SUB) return this.const(ty, x - y)
    if (operator === AND) return this.const(ty, x & y)
    if (operator === OR) return this.const(ty, x | y)
    if (operator === XOR) return this.const(ty, x ^ y)
    return undefined
  }

  add(a: Val, b: Val): Node {
    return this.#binary(ADD, a, b, false)
  }
  sub(a: Val, b: Val): Node {
    return this.#binary(SUB, a, b, false)
  }
  mul(a: Val, b: Val): Node {
    return this.#binary(MUL, a, b, false)
  }
  and(a: Val, b: Val): Node {
    return this.#binary(AND, a, b, true)
  }
  or(a: Val, b: Val): Node {
    return this.#binary(OR, a, b, true)
  }
  xor(a: Val, b: Val): Node {
    return this.#binary(XOR, a, b, true)
  }
  not(a: Val): Node {
    const ty = this.#int(a, 'not')
    return this.xor(a, this.const(ty, -1))
  }
  neg(a: Val): Node {
    return this.sub(this.const(this.#int(a, 'neg'), 0), a)
  }

  #count(a: Val, count: Val): Node {
    if (count.ty === 'i64') throw new Error('shift counts are i32')
    return a.ty === 'i64' ? node(this.zext(count, 'i64')) : this.#retype(node(count), 'i32')
  }

  #shift(operator: IntOperator, a: Node, count: Val): Node {
    const by = this.#count(a, count)
    if (by.kind === 'const') {
      if (by.value === 0) return a
      if (a.kind === 'const') {
        const [value, bits] = [BigInt(a.value), BITS[wasmType(a.ty) as IntTy]]
        const amount = BigInt(by.value)
        if (operator === SHL) return this.const(wasmType(a.ty), value << amount)
        if (operator === SHR_U) return this.const(wasmType(a.ty), BigInt.asUintN(bits, value) >> amount)
      }
    }
    return this.pure(at(operator, a.ty), wasmType(a.ty), [a, by])
  }

  shl(a: Val, count: Val): Node {
    const ty = this.#int(a, 'shl')
    return this.#mask(this.#shift(SHL, node(a), count), ty)
  }
  shr(a: Val, count: Val): Node {
    return this.#retype(this.#shift(SHR_U, node(a), count), this.#int(a, 'shr'))
  }
  sar(a: Val, count: Val): Node {
    const ty = this.#int(a, 'sar')
    return this.#mask(this.#shift(SHR_S, this.#signed(a), count), ty)
  }
  rotl(a: Val, count: Val): Node {
    return this.#rotate(ROTL, a, count)
  }
  rotr(a: Val, count: Val): Node {
    return this.#rotate(ROTR, a, count)
  }

  #rotate(operator: IntOperator, a: Val, count: Val): Node {
    const ty = this.#int(a, operator.name)
    if (ty === 'i32' || ty === 'i64') return this.#shift(operator, node(a), count)
    // Counts are below the width, so the other shift is at most the width and needs no mask.
    const by = this.#retype(node(count), 'i32')
    const other = this.sub(this.const('i32', BITS[ty]), by)
    const left = this.#shift(SHL, node(a), operator === ROTL ? by : other)
    const right = this.#shift(SHR_U, node(a), operator === ROTL ? other : by)
    return this.#mask(this.pure('i32.or', 'i32', [left, right]), ty)
  }

  clz(a: Val): Node {
    const ty = this.#int(a, 'clz')
    const whole = this.pure(at(CLZ, ty), ty, [node(a)])
    const unused = 32 - BITS[ty]
    return unused > 0
      ? this.#retype(this.pure('i32.sub', 'i32', [whole, this.const('i32', unused)]), ty)
      : whole
  }
  ctz(a: Val): Node {
    const ty = this.#int(a, 'ctz')
    const guarded =
      maskOf(ty) === undefined
        ? node(a)
        : this.pure('i32.or', 'i32', [node(a), this.const('i32', 1 << BITS[ty])])
    return this.pure(at(CTZ, ty), ty, [guarded])
  }
  popcnt(a: Val): Node {
    const ty = this.#int(a, 'popcnt')
    return this.pure(at(POPCNT, ty), ty, [node(a)])
  }

  /** i8 and i16 sign-extended to i32; i32 and i64 as they are. */
  #signed(a: Val): Node {
    if (a.ty === 'i8') return this.pure('i32.extend8_s', 'i32', [this.#strip(node(a), 0xff)])
    if (a.ty === 'i16') return this.pure('i32.extend16_s', 'i32', [this.#strip(node(a), 0xffff)])
    return node(a)
  }

  #divide(operator: IntOperator, a: Val, b: Val, signed: boolean): Node {
    const ty = this.#int(a, operator.name)
    const args = signed ? [this.#signed(a), this.#signed(b)] : [node(a), node(b)]
    // Pinned: a division by zero traps, so it must not move before the check that its author wrote.
    return this.#mask(this.pinned(at(operator, ty), wasmType(ty), args), ty)
  }
  divU(a: Val, b: Val): Node {
    return this.#divide(DIV_U, a, b, false)
  }
  divS(a: Val, b: Val): Node {
    return this.#divide(DIV_S, a, b, true)
  }
  remU(a: Val, b: Val): Node {
    return this.#divide(REM_U, a, b, false)
  }
  remS(a: Val, b: Val): Node {
    return this.#divide(REM_S, a, b, true)
  }

  // --- comparisons ---

  #compare(operator: IntOperator, a: Val, b: Val): Node {
    const ty = this.#int(a, operator.name)
    if (b.ty !== ty) throw new Error(`${operator.name} of ${ty} and ${b.ty}`)
    const folded = this.#compareConstants(operator, ty, node(a), node(b))
    if (folded) return folded
    const args = SIGNED.has(operator) ? [this.#signed(a), this.#signed(b)] : [node(a), node(b)]
    return this.pure(at(operator, ty), 'i32', args)
  }
  #compareConstants(operator: IntOperator, ty: IntTy, a: Node, b: Node): Node | undefined {
    if (a.kind !== 'const' || b.kind !== 'const') return undefined
    const read = SIGNED.has(operator) ? BigInt.asIntN : BigInt.asUintN
    const [x, y] = [read(BITS[ty], BigInt(a.value)), read(BITS[ty], BigInt(b.value))]
    if (operator === EQ) return this.const('i32', x === y ? 1 : 0)
    if (operator === NE) return this.const('i32', x === y ? 0 : 1)
    return this.const('i32', (operator === LT_S || operator === LT_U ? x < y : x <= y) ? 1 : 0)
  }

  eq(a: Val, b: Val): Node {
    return this.#compare(EQ, a, b)
  }
  ne(a: Val, b: Val): Node {
    return this.#compare(NE, a, b)
  }
  ltU(a: Val, b: Val): Node {
    return this.#compare(LT_U, a, b)
  }
  ltS(a: Val, b: Val): Node {
    return this.#compare(LT_S, a, b)
  }
  leU(a: Val, b: Val): Node {
    return this.#compare(LE_U, a, b)
  }
  leS(a: Val, b: Val): Node {
    return this.#compare(LE_S, a, b)
  }
  isZero(a: Val): Node {
    const value = node(a)
    if (value.kind === 'const') return this.const('i32', value.value === 0 ? 1 : 0)
    return this.pure(at(EQZ, this.#int(a, 'isZero')), 'i32', [value])
  }
  msb(a: Val): Node {
    const ty = this.#int(a, 'msb')
    const top = this.#shift(SHR_U, node(a), this.const('i32', BITS[ty] - 1))
    return ty === 'i64' ? this.trunc(top, 'i32') : this.#retype(top, 'i32')
  }
  select(condition: Val, a: Val, b: Val): Node {
    if (a.ty !== b.ty) throw new Error(`select of ${a.ty} and ${b.ty}`)
    const known = this.known(condition)
    if (known !== undefined) return node(known === 0n ? b : a)
    return this.pure('select', a.ty, [node(a), node(b), node(condition)])
  }

  // --- widths ---

  zext(a: Val, ty: IntTy): Node {
    const from = this.#int(a, 'zext')
    if (from === ty) return node(a)
    if (BITS[ty] < BITS[from]) throw new Error(`zext from ${from} to ${ty}`)
    if (ty !== 'i64') return this.#retype(node(a), ty)
    const value = node(a)
    if (value.kind === 'const') return this.const('i64', Number(value.value) >>> 0)
    return this.pure('i64.extend_i32_u', 'i64', [value])
  }
  sext(a: Val, ty: IntTy): Node {
    const from = this.#int(a, 'sext')
    if (from === ty) return node(a)
    if (BITS[ty] < BITS[from]) throw new Error(`sext from ${from} to ${ty}`)
    const value = node(a)
    if (value.kind === 'const') {
      const unused = 32 - BITS[from]
      return this.const(ty, (Number(value.value) << unused) >> unused)
    }
    const extended = this.#signed(a)
    if (ty === 'i64') return this.pure('i64.extend_i32_s', 'i64', [extended])
    return this.#mask(extended, ty)
  }
  trunc(a: Val, ty: IntTy): Node {
    const from = this.#int(a, 'trunc')
    if (from === ty) return node(a)
    if (BITS[ty] > BITS[from]) throw new Error(`trunc from ${from} to ${ty}`)
    const value = node(a)
    if (value.kind === 'const') return this.const(ty, value.value)
    const narrow = from === 'i64' ? this.pure('i32.wrap_i64', 'i32', [value]) : value
    return this.#mask(narrow, ty)
  }
  bswap(a: Val): Node {
    const ty = this.#int(a, 'bswap')
    if (ty === 'i8') return node(a)
    if (ty === 'i16') return this.rotl(a, this.const('i32', 8))
    const c = (value: bigint): Node => this.const(ty, value)
    if (ty === 'i32') {
      const outer = this.and(this.rotl(a, this.const('i32', 8)), c(0x00ff00ffn))
      return this.or(outer, this.and(this.rotr(a, this.const('i32', 8)), c(0xff00ff00n)))
    }
    const step = (value: Val, mask: bigint, by: number): Node => {
      const shift = this.const('i32', by)
      return this.or(this.and(this.shr(value, shift), c(mask)), this.shl(this.and(value, c(mask)), shift))
    }
    const bytes = step(a, 0x00ff00ff00ff00ffn, 8)
    return this.rotl(step(bytes, 0x0000ffff0000ffffn, 16), this.const('i32', 32))
  }

  op(name: string, ty: Ty, args: readonly Val[], immediates: readonly number[] = NO_IMMEDIATES): Node {
    if (!PURE.has(name)) {
      if (/load|store|call|memory|atomic/.test(name))
        throw new Error(`op() is for pure operators, not ${name}`)
      PURE.add(name)
    }
    return this.pure(name, ty, args.map(node), immediates)
  }

  known(a: Val): bigint | undefined {
    const target = resolve(node(a))
    return target.kind === 'const' && isInt(target.ty) ? BigInt(target.value) : undefined
  }

  let(a: Val): Node {
    return node(a) // shared nodes are bound where they were made; reads of state always are
  }

  // --- flags ---

  /** The lazy flags as they stand. */
  protected abstract flagState(): LazyFlags
  protected abstract setFlagState(flags: LazyFlags): void

  setFlags(of: FlagsOf): void {
    this.setFlagState(encodeFlags(this, of, () => this.flagState()))
  }
  setFlagBits(bits: { readonly [F in ArithFlag]?: Val }): void {
    this.setFlagState(setFlagBits(this, this.flagState(), bits))
  }
  flag(name: ArithFlag): Val {
    return readFlag(this, this.flagState(), name)
  }
  cond(cc: Cond): Val {
    return readCond(this, this.flagState(), cc)
  }

  // --- control ---

  if_(condition: Val, then: () => void, otherwise?: () => void): void {
    const outer = this.current
    const thenList = this.nested(then)
    const otherwiseList = otherwise ? this.nested(otherwise) : []
    outer.push({ kind: 'if', condition: node(condition), then: thenList, otherwise: otherwiseList })
  }

  unless(all: readonly Val[], any: readonly Val[], rare: () => void): void {
    const outer = this.current
    const list = this.nested(rare)
    // the last condition is looked at the other way round: it ends the search
    const split = any.length > 0 ? all.length : all.length - 1
    const conditions = [...all, ...any].map(node)
    outer.push({ kind: 'unless', all: conditions.slice(0, split), any: conditions.slice(split), rare: list })
  }

  loop(body: () => Val): void {
    let again: Node | undefined
    const list = this.nested(() => {
      again = node(body())
    })
    if (!again) throw new Error('a loop body must return its condition')
    this.current.push({ kind: 'loop', body: list, again })
  }

  cell(initial: Val): Cell {
    const variable = this.variable(initial.ty)
    const set = (value: Val): void => {
      this.current.push({ kind: 'set', variable, node: node(value) })
    }
    set(initial)
    return { get: () => this.valueIn(variable), set }
  }

  raiseIf(condition: Val, vector: Vector, error?: number | Val): void {
    this.if_(condition, () => this.raise(vector, error))
  }

  fence(): void {
    this.do('atomic.fence', [])
  }

  // --- what the engines differ in ---

  abstract read(i: number): Val
  abstract write(i: number, value: Val): void
  abstract readHigh(i: number): Val
  abstract writeHigh(i: number, value: Val): void
  abstract modify(
    i: number,
    compute: (old: Val) => Val,
    displacement?: Val,
  ): { readonly old: Val; readonly value: Val }
  abstract isMemory(i: number): boolean
  abstract offset(): Val
  abstract vsib(): Vsib
  abstract linear(bytes: number, write: boolean, displacement?: Val | number): Val
  abstract seg(): Val
  abstract load(ty: Ty, gva: Val): Val
  abstract store(gva: Val, value: Val): void
  abstract addressOf(i: number): Val
  abstract scratch(slot: number): Val
  abstract rep(): Val
  abstract addressBytes(): Val
  abstract getCpu(ty: Ty, offset: number): Val
  abstract setCpu(offset: number, value: Val): void
  abstract loadAt(ty: Ty, address: Val, offset?: number): Val
  abstract storeAt(address: Val, value: Val, offset?: number): void
  abstract reg(name: Reg64, ty?: IntTy): Val
  abstract setReg(name: Reg64, value: Val): void
  abstract regHigh(name: 'rax' | 'rcx' | 'rdx' | 'rbx'): Val
  abstract setRegHigh(name: 'rax' | 'rcx' | 'rdx' | 'rbx', value: Val): void
  abstract raise(vector: Vector, error?: number | Val): void
  abstract rip(): Val
  abstract nextRip(): Val
  abstract branchRel(condition?: Val, commit?: () => void): void
  abstract branchTo(rip: Val, commit?: () => void): void
  abstract push(value: Val): void
  abstract pop(ty: IntTy): Val
  abstract peek(ty: IntTy): Val
  abstract adjustStack(bytes: Val | number): void
  abstract call(name: string, args: readonly Val[]): Val | undefined
  abstract privileged(): void
}
