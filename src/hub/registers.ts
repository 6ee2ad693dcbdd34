/**
 * Register blocks as data: the datasheet is the code. Overlap throws at load; accesses may be narrower than a
 * register or span several.
 *
 *   rw   software reads and writes the bits in mask; the rest keep their value
 *   ro   software only reads
 *   w1c  writing one clears the bits in mask
 *   rc   reading clears the register
 *   wo   reads as 0
 */
import { allOnes, extractBytes, insertBytes } from '#base/bits.ts'

export interface RegisterSpec {
  readonly at: number
  readonly bytes: 1 | 2 | 4
  readonly access: 'rw' | 'ro' | 'w1c' | 'rc' | 'wo'
  readonly reset: number
  /** Bits that software can change; default all (rw, wo, w1c), none (ro, rc). */
  readonly mask?: number
}

export type RegisterValues<Specs> = { -readonly [K in keyof Specs]: number }

export interface RegisterBlock<Specs> {
  readonly specs: Specs
  /** Registers at their reset values. */
  create(): RegisterValues<Specs>
  reset(values: RegisterValues<Specs>): void
  /** undefined where no register answers. */
  read(values: RegisterValues<Specs>, at: number, bytes: number): number | undefined
  /** The name of the first register written, or undefined where there is none. */
  write(
    values: RegisterValues<Specs>,
    at: number,
    bytes: number,
    value: number,
  ): (keyof Specs & string) | undefined
}

export function registerBlock<const Specs extends Readonly<Record<string, RegisterSpec>>>(
  specs: Specs,
): RegisterBlock<Specs> {
  type Name = keyof Specs & string
  const owners: (Name | undefined)[] = []
  for (const name of Object.keys(specs) as Name[]) {
    const { at, bytes } = specs[name] as RegisterSpec
    for (let byte = at; byte < at + bytes; byte++) {
      if (owners[byte] !== undefined)
        throw new RangeError(`registers ${owners[byte]} and ${name} overlap at ${byte}`)
      owners[byte] = name
    }
  }

  function reset(values: RegisterValues<Specs>): void {
    for (const name of Object.keys(specs) as Name[]) values[name] = (specs[name] as RegisterSpec).reset
  }

  return {
    specs,
    create() {
      const values = {} as RegisterValues<Specs>
      reset(values)
      return values
    },
    reset,
    read(values, at, bytes) {
      let result = allOnes(bytes)
      const found = visitRegisters(owners, specs, at, bytes, (name, from, length, shift) => {
        const { access } = specs[name] as RegisterSpec
        const value = access === 'wo' ? 0 : values[name]
        result = insertBytes(result, shift, length, extractBytes(value, from, length))
        if (access === 'rc') values[name] = 0
      })
      return found ? result : undefined
    },
    write(values, at, bytes, value) {
      let first: Name | undefined
      visitRegisters(owners, specs, at, bytes, (name, from, length, shift) => {
        first ??= name
        const spec = specs[name] as RegisterSpec
        const piece = extractBytes(value, shift, length)
        const written = insertBytes(0, from, length, piece)
        const touched = insertBytes(0, from, length, allOnes(length))
        const mask =
          (spec.mask ?? (spec.access === 'ro' || spec.access === 'rc' ? 0 : allOnes(spec.bytes))) & touched
        const old = values[name]
        values[name] =
          (spec.access === 'w1c' ? old & ~(written & mask) : (old & ~mask) | (written & mask)) >>> 0
      })
      return first
    },
  }
}

/** Calls visit(name, offset in the register, bytes, offset in the access) for each register touched. */
function visitRegisters<Name extends string>(
  owners: readonly (Name | undefined)[],
  specs: Readonly<Record<Name, RegisterSpec>>,
  at: number,
  bytes: number,
  visit: (name: Name, from: number, length: number, shift: number) => void,
): boolean {
  let found = false
  for (let done = 0; done < bytes;) {
    const name = owners[at + done]
    if (name === undefined) {
      done++
      continue
    }
    const from = at + done - specs[name].at
    const length = Math.min(specs[name].bytes - from, bytes - done)
    visit(name, from, length, done)
    found = true
    done += length
  }
  return found
}
