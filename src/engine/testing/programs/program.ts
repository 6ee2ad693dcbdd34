/**
 * Random programs of some hundred instructions for comparing engines: functions of blocks with forward and counted backward
 * branches, calls, recursion, returns to elsewhere, jumps through tables. A main loop runs them several times, so that
 * code is executed before, while and after it is compiled. The same seed makes the same program.
 */
import { Assembler, absolute, immediate, memory, register, type Bits, type Label } from './assembler.ts'
import { Instructions } from './instructions.ts'
import type { Image } from './machine.ts'
import * as map from './map.ts'
import { Patterns, type Places } from './patterns.ts'
import { supportCode } from './support-code.ts'
import { CONDITIONS } from '#isa/row.ts'
import { Random } from '#testkit/oracle/random.ts'

const [RAX, RCX, RDX, RSP] = [0, 1, 2, 4]
const SITES = 12
const TEMPLATES = 2
const TEMPLATE_STEPS = 4

export interface ProgramOptions {
  /** Items by number that are left out, to make a failing program smaller. */
  readonly omit?: ReadonlySet<number>
}

export interface Program extends Image {
  /** Items of the program: what `omit` counts. */
  readonly items: number
  readonly code: Uint8Array
}

interface Routine {
  readonly start: Label
  readonly kind: 'plain' | 'recursive' | 'detour' | 'argument'
}

const support = new Map<Bits, ReturnType<typeof supportCode>>()

class Builder {
  readonly #a: Assembler
  readonly #random: Random
  readonly #i: Instructions
  readonly #patterns: Patterns
  readonly #places: Places
  readonly #omit: ReadonlySet<number>
  readonly #routines: readonly Routine[]
  #items = 0

  constructor(bits: Bits, seed: string, base: number, omit: ReadonlySet<number>, trace: number) {
    this.#random = new Random(`program/${seed}`)
    this.#a = new Assembler(bits, base)
    this.#i = new Instructions(this.#a, this.#random)
    this.#omit = omit
    const labels = (count: number): Label[] => Array.from({ length: count }, () => this.#a.label())
    this.#places = {
      trace,
      sites: labels(SITES),
      templates: labels(TEMPLATES),
      templateBytes: TEMPLATE_STEPS * 6 + 1,
    }
    this.#patterns = new Patterns(this.#i, this.#places)
    this.#routines = labels(this.#random.between(2, 4)).map((start) => ({
      start,
      kind: this.#random.pick(['plain', 'plain', 'recursive', 'detour', 'argument'] as const),
    }))
  }

  get items(): number {
    return this.#items
  }

  get assembler(): Assembler {
    return this.#a
  }

  build(finish: number): void {
    const a = this.#a
    const random = this.#random
    a.op('fninit')
    this.#i.choosePointer(0)
    a.wide('mov_rmv_immz', [absolute(map.CELL_OUTER), immediate(random.between(4, 12))], 32)
    const outer = a.here()
    a.wide('mov_rmv_immz', [absolute(map.CELL_FUEL), immediate(random.between(10, 60))], 32)
    this.#blocks(random.between(2, 6), -1)
    this.#patterns.trace()
    a.wide('dec_rmv', [absolute(map.CELL_OUTER)], 32)
    a.branch('jne_relz', outer)
    a.late('jmp_relz', (_, end) => ({ width: a.bits, operands: [immediate(finish - end)] }))
    for (const [index, routine] of this.#routines.entries()) this.#routine(index, routine)
    this.#patterns.restOfSites()
    for (const template of this.#places.templates) {
      a.bind(template)
      for (let n = 0; n < TEMPLATE_STEPS; n++)
        a.wide(`${random.pick(['add', 'xor', 'adc'])}_rmv_immz`, [register(random.pick([RCX, RDX])), immediate(random.bits() | 0)], 32) // prettier-ignore
      a.op('ret', [], { width: a.bits })
    }
  }

  /** Numbered, so that it can be left out. */
  #item(make: () => void): void {
    const a = this.#a
    const before = a.muted
    if (this.#omit.has(this.#items++)) a.muted = true
    make()
    a.muted = before
  }

  #routine(index: number, { start, kind }: Routine): void {
    const a = this.#a
    a.bind(start)
    this.#blocks(this.#random.between(1, 5), index)
    if (kind === 'recursive') {
      const out = a.label()
      a.wide('dec_rmv', [absolute(map.CELL_DEPTH)], 32)
      a.branch('js_relz', out)
      if (this.#random.chance(0.5)) this.#i.emit()
      a.branch('call_relz', start)
      if (this.#random.chance(0.7)) this.#i.emit('reader')
      a.bind(out)
    }
    if (kind === 'detour') {
      if (this.#random.chance(0.5)) {
        a.wide('pop_ov', [register(RAX)])
        a.op('push_rmv', [absolute(map.CELL_DETOUR)], { width: a.bits })
        a.op('ret', [], { width: a.bits })
      } else {
        a.wide('lea_rv_m', [register(RSP), memory({ base: RSP, displacement: a.word })])
        a.op('jmp_rmv', [absolute(map.CELL_DETOUR)], { width: a.bits })
      }
    } else if (kind === 'argument') a.op('ret_imm16', [immediate(a.word)], { width: a.bits })
    else a.op('ret', [], { width: a.bits })
  }

  #blocks(count: number, routine: number): void {
    const labels = Array.from({ length: count + 1 }, () => this.#a.label())
    for (let index = 0; index < count; index++) {
      this.#a.bind(labels[index] ?? 0)
      this.#i.choosePointer(1)
      for (let n = this.#random.between(2, 9); n > 0; n--) {
        this.#patterns.atPageEnd()
        this.#item(() => this.#patterns.any())
      }
      if (this.#random.chance(0.5)) this.#item(() => this.#call(routine))
      this.#item(() => this.#leave(labels, index))
    }
    this.#a.bind(labels[count] ?? 0)
    this.#i.choosePointer(1)
  }

  #call(from: number): void {
    const a = this.#a
    const later = this.#routines.slice(from + 1)
    if (later.length === 0) return
    const { start, kind } = this.#random.pick(later)
    const deep = from < 0 && this.#random.chance(0.1) ? 140 : this.#random.between(0, 4)
    const landing = a.label()
    if (kind === 'recursive') a.wide('mov_rmv_immz', [absolute(map.CELL_DEPTH), immediate(deep)], 32)
    if (kind === 'argument') a.wide('push_ov', [register(RCX)])
    if (kind === 'detour')
      a.late('mov_rmv_immz', (resolve) => ({
        width: a.bits,
        operands: [absolute(map.CELL_DETOUR), immediate(resolve(landing))],
      }))
    if (this.#random.chance(0.2)) {
      a.address(RAX, start)
      a.op('call_rmv', [register(RAX)], { width: a.bits })
    } else a.branch('call_relz', start)
    if (kind === 'detour') a.op('ud2')
    a.bind(landing)
    // the routine has pointers of its own
    this.#i.anchor(1)
  }

  #leave(labels: readonly Label[], index: number): void {
    const a = this.#a
    const random = this.#random
    const forward = (): Label => labels[random.between(index + 1, labels.length - 1)] ?? 0
    const condition = (): string => `j${random.pick(CONDITIONS)[0]}_relz`
    const how = random.below(10)
    if (how < 4) a.branch(condition(), forward())
    else if (how < 7) this.#backward(labels[random.between(Math.max(0, index - 2), index)] ?? 0, condition())
    else if (how === 7) this.#throughTable(Array.from({ length: 4 }, forward))
    else if (how === 8) {
      a.address(RAX, forward())
      a.op('jmp_rmv', [register(RAX)], { width: a.bits })
    }
  }

  /** As long as there is fuel. One way keeps the flags that the condition reads. */
  #backward(target: Label, condition: string): void {
    const a = this.#a
    const out = a.label()
    const fuel = absolute(map.CELL_FUEL)
    if (this.#random.chance(0.5)) {
      a.wide('cmp_rmv_simm8', [fuel, immediate(0)], 32)
      a.branch('je_relz', out)
      a.wide('dec_rmv', [fuel], 32)
    } else {
      a.wide('mov_rv_rmv', [register(RCX), fuel], 32)
      a.shortBranch(a.bits === 64 ? 'jcxz_a64' : 'jcxz_a32', out)
      a.wide('lea_rv_m', [register(RCX), memory({ base: RCX, displacement: -1 })], 32)
      a.wide('mov_rmv_rv', [fuel, register(RCX)], 32)
    }
    a.branch(this.#random.chance(0.3) ? 'jmp_relz' : condition, target)
    a.bind(out)
  }

  #throughTable(targets: readonly Label[]): void {
    const a = this.#a
    const table = a.label()
    a.wide('and_rmv_simm8', [register(RDX), immediate(3)], 32)
    a.late('jmp_rmv', (resolve) => ({
      width: a.bits,
      operands: [memory({ index: RDX, scale: a.bits === 64 ? 8 : 4, displacement: resolve(table), displacementBytes: 4 })],
    })) // prettier-ignore
    a.bind(table)
    for (const target of targets) a.pointer(target)
  }
}

export function makeProgram(bits: Bits, seed: string, { omit = new Set() }: ProgramOptions = {}): Program {
  const known = support.get(bits) ?? supportCode(bits)
  support.set(bits, known)
  // Somewhere in the first page, so that page ends fall anywhere.
  const base = map.CODE + new Random(`base/${seed}`).below(map.PAGE)
  const builder = new Builder(bits, seed, base, omit, known.trace)
  builder.build(known.finish)
  const code = builder.assembler.bytes()
  if (base + code.length > map.CODE + 6 * map.PAGE) throw new Error(`program ${seed} is too long`)
  return {
    bits,
    entry: base,
    seed,
    items: builder.items,
    code,
    handlers: known.handlers,
    parts: [
      { address: map.SUPPORT, bytes: known.bytes },
      { address: base, bytes: code },
    ],
  }
}
