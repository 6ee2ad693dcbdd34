/**
 * Patterns of several instructions: flags far from their readers, the stack, strings, faults that are put right, code that
 * is changed, pages that are mapped elsewhere. Each leaves the stack and the pointers as they were.
 */
import { absolute, immediate, memory, register } from './assembler.ts'
import type { OperandChoice } from '#isa/encode.ts'
import type { Assembler, Label } from './assembler.ts'
import type { Instructions } from './instructions.ts'
import { entryOf } from './machine.ts'
import { CONDITIONS } from '#isa/row.ts'
import * as map from './map.ts'
import type { Random } from '#testkit/oracle/random.ts'

const [RAX, RCX, RDX, RSP, RSI, RDI] = [0, 1, 2, 4, 6, 7]
const ALU = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp']
const ARITH_FLAGS = 0x8d5
const FLOATS = ['divps_xmm_xmm_m128', 'mulpd_xmm_xmm_m128', 'addss_xmm_xmm_m32', 'cvtps2dq_xmm_xmm_m128']
const STRINGS = ['movs', 'cmps', 'stos', 'lods', 'scas']

/** What atPageEnd() fills: no other pattern is longer, so that few page ends are missed. */
const PAGE_END_BYTES = 120

export interface Places {
  readonly trace: number
  /** Instructions `alu edx, imm32` that others overwrite; bound once each. */
  readonly sites: Label[]
  /** Routines that are copied, of equal length, and how long they are. */
  readonly templates: readonly Label[]
  readonly templateBytes: number
}

/** Two pages at the end of the code area hold what the program writes there. */
export const BUFFERS = [map.CODE + 6 * map.PAGE, map.CODE + 7 * map.PAGE] as const

export class Patterns {
  readonly #i: Instructions
  readonly #a: Assembler
  readonly #random: Random
  readonly #places: Places
  readonly #list: readonly (readonly [weight: number, make: () => void])[]
  #nextSite = 0

  constructor(instructions: Instructions, places: Places) {
    this.#i = instructions
    this.#a = instructions.a
    this.#random = instructions.random
    this.#places = places
    this.#list = [
      [60, () => this.#i.emit()],
      [10, () => this.#farFlags()],
      [6, () => this.#stack()],
      [4, () => this.#flagsRegister()],
      [6, () => this.#string()],
      [5, () => this.#i.emit('lock')],
      [5, () => this.#shiftByCl()],
      [3, () => this.#divide()],
      [4, () => this.#fault()],
      [3, () => this.#lazyPage()],
      [1, () => this.#singleStep()],
      [4, () => this.#patchAhead()],
      [4, () => this.#patchElsewhere()],
      [2, () => this.#copyAndCall()],
      [1, () => this.#swapPages()],
      [2, () => this.#rounding()],
      [2, () => this.#countedLoop()],
      [2, () => this.trace()],
    ]
  }

  any(): void {
    let dice = this.#random.below(this.#list.reduce((sum, [weight]) => sum + weight, 0))
    for (const [weight, make] of this.#list) {
      dice -= weight
      if (dice < 0) return make()
    }
  }

  trace(): void {
    this.#a.late('call_relz', (_, end) => ({
      width: this.#a.bits,
      operands: [immediate(this.#places.trace - end)],
    }))
  }

  /** Where a page ends: a branch on flags that goes on in the next one, which the TLB may have forgotten. */
  atPageEnd(): void {
    const a = this.#a
    const random = this.#random
    const end = (Math.floor(a.position / map.PAGE) + 1) * map.PAGE
    if (a.muted || end - a.position > PAGE_END_BYTES) return
    const [compiled, after] = [a.label(), a.label()]
    // Forgotten in some rounds only: what the TLB does not know when code is compiled does not become part of it.
    a.op('test_rm8_imm8', [absolute(map.CELL_OUTER), immediate(random.pick([1, 2]))])
    a.branch('je_relz', compiled)
    a.op('invlpg_m', [absolute(end)])
    a.branch('jmp_relz', compiled)
    const inside = random.between(1, 5)
    while (a.position < end - inside - 2) a.op('nop')
    a.bind(compiled)
    a.op(random.pick(['cmp_rm8_r8', 'add_rm8_r8', 'test_rm8_r8']), [register(RCX), register(RDX)])
    a.branch(`j${random.pick(CONDITIONS)[0]}_relz`, after)
    this.#i.emit('general')
    a.bind(after)
  }

  /** The sites that no pattern has put anywhere. */
  restOfSites(): void {
    while (this.#nextSite < this.#places.sites.length) this.#site()
  }

  /** cmp; store; operands overwritten; reader. */
  #farFlags(): void {
    const random = this.#random
    if (random.chance(0.7)) {
      const width = random.pick(this.#a.bits === 64 ? [16, 32, 64] : [16, 32])
      const [x, y] = [this.#i.free(), this.#i.free()]
      this.#a.wide(random.pick(['cmp_rmv_rv', 'test_rmv_rv', 'sub_rmv_rv', 'add_rmv_rv', 'xor_rmv_rv']), [register(x), register(y)], width) // prettier-ignore
    } else this.#i.emit('general')
    for (let n = random.below(4); n > 0; n--) this.#i.emit('flagless')
    for (let n = random.between(1, 3); n > 0; n--) this.#i.emit('reader')
  }

  #stack(): void {
    const a = this.#a
    const random = this.#random
    const count = random.between(1, 3)
    for (let n = 0; n < count; n++) {
      const how = random.below(4)
      if (how === 0) a.op('push_immz', [immediate(random.bits() | 0)], { width: a.bits })
      else if (how === 1) a.op('push_rmv', [absolute(this.#i.target(1))], { width: a.bits })
      else a.wide('push_ov', [register(random.below(8))])
    }
    this.#i.emit()
    for (let n = 0; n < count; n++) {
      if (random.chance(0.2)) a.op('pop_rmv', [absolute(this.#i.target(1))], { width: a.bits })
      else a.wide('pop_ov', [register(this.#i.free())])
    }
    if (random.chance(0.2)) {
      a.op('push_ov', [register(random.below(8))], { width: 16 })
      a.op('pop_ov', [register(this.#i.free())], { width: 16 })
    }
    if (random.chance(0.2)) {
      a.wide('mov_rmv_rv', [memory({ base: RSP, displacement: -64 }), register(random.below(8))])
      a.wide('add_rv_rmv', [register(this.#i.free()), memory({ base: RSP, displacement: -64 })])
    }
  }

  #flagsRegister(): void {
    const a = this.#a
    if (this.#random.chance(0.5)) {
      a.op('pushf', [], { width: a.bits })
      a.wide('pop_ov', [register(this.#i.free())])
    } else {
      a.op('push_immz', [immediate(this.#random.bits() & ARITH_FLAGS)], { width: a.bits })
      a.op('popf', [], { width: a.bits })
    }
  }

  #string(): void {
    const a = this.#a
    const random = this.#random
    const name = random.pick(STRINGS)
    const width = random.pick(a.bits === 64 ? [8, 16, 32, 64] : [8, 16, 32])
    const backward = random.chance(0.2)
    const repeat = random.chance(0.25) ? undefined : random.pick(['rep', 'rep', 'repne'] as const)
    const count = random.chance(0.1) ? 0 : random.chance(0.2) ? random.below(1000) : random.below(30)
    const span = Math.min(count * (width / 8), 4 * map.PAGE - 64)
    const place = (): number => {
      const start = map.DATA + random.below(map.DATA_PAGES * map.PAGE - span - 32) + 16
      return backward ? start + span : start
    }
    const from = place()
    // often overlapping
    const to = random.chance(0.3) ? Math.max(from - 12, from + random.between(-12, 12)) : place()
    a.wide('mov_rmv_immz', [register(RSI), immediate(from)])
    a.wide('mov_rmv_immz', [register(RDI), immediate(to)])
    a.wide('mov_rmv_immz', [register(RCX), immediate(Math.floor(span / (width / 8)))], a.bits)
    if (backward) a.op('std')
    else a.op('cld')
    const times = repeat === undefined ? random.between(1, 3) : 1
    for (let n = 0; n < times; n++)
      a.op(`${name}${width === 8 ? 'b' : 'v'}`, [], { width, ...(repeat ? { repeat } : {}) })
    if (backward) a.op('cld')
    this.#anchors()
  }

  #anchors(): void {
    this.#i.anchor(0)
    this.#i.anchor(1)
  }

  #shiftByCl(): void {
    const random = this.#random
    const a = this.#a
    if (random.chance(0.5)) a.op('mov_rm8_imm8', [register(RCX), immediate(random.pick([0, 1, 7, 8, 31, 32, 33, 63, 64, random.below(256)]))]) // prettier-ignore
    const name = random.pick(['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'sar'])
    const width = random.pick(a.bits === 64 ? [16, 32, 64] : [16, 32])
    a.wide(`${name}_rmv_cl`, [register(this.#i.free())], width)
    if (random.chance(0.6)) this.#i.emit('reader')
  }

  #divide(): void {
    const a = this.#a
    const after = a.label()
    this.#i.fixup(after)
    a.op('cwd', [], { width: a.bits })
    if (this.#random.chance(0.3)) a.wide('mov_rmv_immz', [register(RDX), immediate(0)])
    a.wide(this.#random.pick(['div_rmv', 'idiv_rmv']), [register(this.#random.pick([RCX, RDX, RSI, RDI]))])
    a.bind(after)
  }

  #fault(): void {
    const a = this.#a
    const random = this.#random
    const after = a.label()
    this.#i.fixup(after)
    const how = random.below(6)
    const readOnly = absolute(map.READ_ONLY + random.below(0xf00))
    if (how === 0) a.op('ud2', [])
    else if (how === 1) a.op('int3', [])
    else if (how === 2)
      a.wide(`${random.pick(ALU.slice(0, 7))}_rmv_rv`, [readOnly, register(random.below(8))])
    else if (how === 3) a.wide('mov_rmv_rv', [readOnly, register(random.below(8))], 32)
    else if (how === 4) a.wide('xchg_rmv_rv', [readOnly, register(this.#i.free(8))], 32)
    else {
      a.op('ldmxcsr_m32', [absolute(map.CELL_MXCSR + 4 * (map.MXCSR_VALUES.length - 1))])
      a.op(random.pick(FLOATS), [register(random.below(8)), register(random.below(8))])
    }
    a.bind(after)
    if (how === 5) a.op('ldmxcsr_m32', [absolute(map.CELL_MXCSR)])
  }

  /** The page behind the data: taken away, or used, in which case the fault handler maps it. */
  #lazyPage(): void {
    const a = this.#a
    const random = this.#random
    if (random.chance(0.5)) {
      a.wide('and_rmv_simm8', [absolute(entryOf(a.bits, map.LAZY)), immediate(-2)], 32)
      a.op('invlpg_m', [absolute(map.LAZY)])
    }
    if (random.chance(0.3)) return
    const place = absolute(map.LAZY + (random.chance(0.5) ? -random.between(1, 7) : random.below(0xf00)))
    const reg = register(this.#i.free(8))
    const width = random.pick(a.bits === 64 ? [16, 32, 64] : [16, 32])
    const how = random.below(6)
    if (how === 0) a.wide('mov_rv_rmv', [reg, place], width)
    else if (how === 1) a.wide('mov_rmv_rv', [place, reg], width)
    else if (how === 2) a.wide(`${random.pick(ALU)}_rmv_rv`, [place, reg], width)
    else if (how === 3) a.wide('xadd_rmv_rv', [place, reg], width)
    else if (how === 4) a.op('movups_xmm_m128_xmm', [place, register(random.below(8))])
    else a.op('push_rmv', [place], { width: a.bits })
    if (how === 5) a.wide('pop_ov', [reg])
  }

  #singleStep(): void {
    const a = this.#a
    a.op('push_immz', [immediate(0x100 | (this.#random.bits() & ARITH_FLAGS))], { width: a.bits })
    a.op('popf', [], { width: a.bits })
    this.#i.emit('general')
    this.#i.emit('general')
  }

  /** alu edx, imm32: opcode 81, operation and register in the second byte, the immediate behind. */
  #site(): void {
    const label = this.#places.sites[this.#nextSite++]
    if (label === undefined) return
    this.#a.bind(label)
    this.#a.wide(
      `${this.#random.pick(ALU)}_rmv_immz`,
      [register(RDX), immediate(this.#random.bits() | 0)],
      32,
    )
  }

  /** Stores over a site. The address is the code's own or that of its alias. */
  #patch(site: Label): void {
    const a = this.#a
    const random = this.#random
    const away = random.chance(0.3) ? map.CODE_ALIAS - map.CODE : 0
    const write = (id: string, offset: number, operand: readonly OperandChoice[], rest = {}): void =>
      a.late(id, (resolve) => ({
        ...rest,
        operands: [absolute(resolve(site) + away + offset), ...operand],
      }))
    const how = random.below(8)
    const reg = register(random.below(4))
    if (how === 0) write('mov_rm8_imm8', 1, [immediate(0xc2 | (random.below(8) << 3))], { width: 8 })
    else if (how === 1) write('mov_rm8_r8', random.between(2, 5), [reg], { width: 8 })
    else if (how === 2) write('add_rmv_simm8', 2, [immediate(random.below(100))], { width: 32 })
    else if (how === 3) write('xadd_rmv_rv', 2, [register(this.#i.free(4))], { width: 32, lock: true })
    else if (how === 4) write('mov_rmv_rv', random.between(2, 4), [reg], { width: 16 })
    else if (how === 5) this.#patchByCopy(site, away)
    else write('mov_rmv_rv', 2, [reg], { width: 32 })
  }

  #patchByCopy(site: Label, away: number): void {
    const a = this.#a
    const from = this.#random.pick(this.#places.sites)
    a.address(RSI, from)
    a.late('mov_rmv_immz', (resolve) => ({
      width: a.bits,
      operands: [register(RDI), immediate(resolve(site) + away)],
    }))
    a.wide('mov_rmv_immz', [register(RCX), immediate(6)])
    a.op('cld')
    a.op('movsb', [], { width: 8, repeat: 'rep' })
    this.#anchors()
  }

  #patchAhead(): void {
    const site = this.#places.sites[this.#nextSite]
    if (site === undefined) return this.#patchElsewhere()
    this.#patch(site)
    for (let n = this.#random.below(3); n > 0; n--) this.#i.emit('general')
    this.#site()
  }

  #patchElsewhere(): void {
    this.#patch(this.#random.pick(this.#places.sites))
    if (this.#random.chance(0.3)) this.#site()
  }

  /** Makes a routine in a page that is written and executed by turns, and calls it. */
  #copyAndCall(): void {
    const a = this.#a
    const random = this.#random
    const buffer = random.chance(0.2)
      ? BUFFERS[1] - random.between(1, 20)
      : random.pick(BUFFERS) + 0x40 * random.below(3)
    if (random.chance(0.7)) {
      a.address(RSI, random.pick(this.#places.templates))
      a.wide('mov_rmv_immz', [register(RDI), immediate(buffer)])
      a.wide('mov_rmv_immz', [register(RCX), immediate(this.#places.templateBytes)])
      a.op('cld')
      a.op('movsb', [], { width: 8, repeat: 'rep' })
      this.#anchors()
    } else a.op('cmp_rm8_imm8', [absolute(buffer), immediate(0)], { width: 8 })
    const after = a.label()
    // nothing was written there yet
    a.op('cmp_rm8_imm8', [absolute(buffer), immediate(0)], { width: 8 })
    a.branch('je_relz', after)
    a.late('call_relz', (_, end) => ({ width: a.bits, operands: [immediate(buffer - end)] }))
    a.bind(after)
  }

  /** Two pages of data, or both pages of buffers, change places. */
  #swapPages(): void {
    const a = this.#a
    const code = this.#random.chance(0.4)
    const first = this.#random.below(map.DATA_PAGES)
    const second = (first + 1) % map.DATA_PAGES
    const pages = code ? BUFFERS : ([map.DATA + first * map.PAGE, map.DATA + second * map.PAGE] as const)
    const [one, two] = [absolute(entryOf(a.bits, pages[0])), absolute(entryOf(a.bits, pages[1]))]
    a.wide('mov_rv_rmv', [register(RAX), one], 32)
    a.wide('xchg_rmv_rv', [two, register(RAX)], 32)
    a.wide('mov_rmv_rv', [one, register(RAX)], 32)
    for (const page of pages) a.op('invlpg_m', [absolute(page)])
    this.#i.emit()
  }

  #rounding(): void {
    const index = this.#random.below(map.MXCSR_VALUES.length - 1)
    this.#a.op('ldmxcsr_m32', [absolute(map.CELL_MXCSR + 4 * index)])
  }

  #countedLoop(): void {
    const a = this.#a
    a.wide('mov_rmv_immz', [register(RCX), immediate(this.#random.between(1, 6))])
    const start = a.here()
    for (let n = this.#random.between(1, 4); n > 0; n--) {
      this.#i.kept.add(RCX)
      a.wide(`${this.#random.pick(ALU)}_rmv_rv`, [register(this.#i.free()), register(this.#random.below(8))])
      this.#i.kept.clear()
    }
    a.wide('lea_rv_m', [register(RCX), memory({ base: RCX, displacement: -1 })])
    if (this.#random.chance(0.5)) {
      const end = a.label()
      a.shortBranch(a.bits === 64 ? 'jcxz_a64' : 'jcxz_a32', end)
      a.branch('jmp_relz', start)
      a.bind(end)
    } else {
      a.wide('inc_rmv', [register(RCX)])
      a.shortBranch(a.bits === 64 ? 'loop_a64' : 'loop_a32', start)
    }
  }
}
