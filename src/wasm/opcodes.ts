/**
 * Every WebAssembly operator that takes its operands from the stack, by text name (WebAssembly core specification 2.0,
 * "Instructions", and the threads proposal). Control flow, locals and calls are methods of CodeBuilder.
 *
 * Immediate kinds: none; mem = alignment + offset; lane = one lane byte; memlane = mem, then lane; lanes16 = sixteen
 * lane bytes; bytes16 = v128 constant; i32 i64 f32 f64 = constants; zero1/zero2 = that many zero bytes.
 */
export type ImmediateKind =
  | 'none'
  | 'mem'
  | 'lane'
  | 'memlane'
  | 'lanes16'
  | 'bytes16'
  | 'i32'
  | 'i64'
  | 'f32'
  | 'f64'
  | 'zero1'
  | 'zero2'

export interface Opcode {
  readonly prefix: number
  readonly code: number
  readonly immediate: ImmediateKind
  /** log2 of the access size of memory operators. */
  readonly align: number
}

const table: Record<string, Opcode> = {}

function define(
  name: string,
  prefix: number,
  code: number,
  immediate: ImmediateKind = 'none',
  align = 0,
): void {
  if (table[name]) throw new Error(`opcode ${name} is defined twice`)
  table[name] = { prefix, code, immediate, align }
}

/** Consecutive opcodes; "-" leaves a gap. */
function run(first: number, prefix: number, names: string, immediate: ImmediateKind = 'none'): void {
  let code = first
  for (const name of names.trim().split(/\s+/)) {
    if (name !== '-') define(name, prefix, code, immediate)
    code++
  }
}

const each = (type: string, names: string): string =>
  names
    .trim()
    .split(/\s+/)
    .map((name) => (name === '-' ? '-' : `${type}.${name}`))
    .join(' ')

// --- one-byte operators --------------------------------------------------------------------------------------------

run(0x00, 0, 'unreachable nop')
run(0x1a, 0, 'drop select')
const MEMORY: readonly (readonly [string, number])[] = [
  ['i32.load', 2], ['i64.load', 3], ['f32.load', 2], ['f64.load', 3],
  ['i32.load8_s', 0], ['i32.load8_u', 0], ['i32.load16_s', 1], ['i32.load16_u', 1],
  ['i64.load8_s', 0], ['i64.load8_u', 0], ['i64.load16_s', 1], ['i64.load16_u', 1], ['i64.load32_s', 2], ['i64.load32_u', 2],
  ['i32.store', 2], ['i64.store', 3], ['f32.store', 2], ['f64.store', 3],
  ['i32.store8', 0], ['i32.store16', 1], ['i64.store8', 0], ['i64.store16', 1], ['i64.store32', 2],
] // prettier-ignore
MEMORY.forEach(([name, align], i) => define(name, 0, 0x28 + i, 'mem', align))
define('memory.size', 0, 0x3f, 'zero1')
define('memory.grow', 0, 0x40, 'zero1')
define('i32.const', 0, 0x41, 'i32')
define('i64.const', 0, 0x42, 'i64')
define('f32.const', 0, 0x43, 'f32')
define('f64.const', 0, 0x44, 'f64')

const INT_COMPARE = 'eqz eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u'
const INT_ARITH = 'clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr'
const FLOAT_COMPARE = 'eq ne lt gt le ge'
const FLOAT_ARITH = 'abs neg ceil floor trunc nearest sqrt add sub mul div min max copysign'
run(0x45, 0, each('i32', INT_COMPARE))
run(0x50, 0, each('i64', INT_COMPARE))
run(0x5b, 0, each('f32', FLOAT_COMPARE))
run(0x61, 0, each('f64', FLOAT_COMPARE))
run(0x67, 0, each('i32', INT_ARITH))
run(0x79, 0, each('i64', INT_ARITH))
run(0x8b, 0, each('f32', FLOAT_ARITH))
run(0x99, 0, each('f64', FLOAT_ARITH))
run(
  0xa7,
  0,
  `i32.wrap_i64 i32.trunc_f32_s i32.trunc_f32_u i32.trunc_f64_s i32.trunc_f64_u i64.extend_i32_s i64.extend_i32_u
   i64.trunc_f32_s i64.trunc_f32_u i64.trunc_f64_s i64.trunc_f64_u f32.convert_i32_s f32.convert_i32_u
   f32.convert_i64_s f32.convert_i64_u f32.demote_f64 f64.convert_i32_s f64.convert_i32_u f64.convert_i64_s
   f64.convert_i64_u f64.promote_f32 i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64
   i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s`,
)

// --- 0xfc: saturating truncation, bulk memory ------------------------------------------------------------------------

run(
  0x00,
  0xfc,
  `i32.trunc_sat_f32_s i32.trunc_sat_f32_u i32.trunc_sat_f64_s i32.trunc_sat_f64_u
   i64.trunc_sat_f32_s i64.trunc_sat_f32_u i64.trunc_sat_f64_s i64.trunc_sat_f64_u`,
)
define('memory.copy', 0xfc, 10, 'zero2')
define('memory.fill', 0xfc, 11, 'zero1')

// --- 0xfd: vectors -----------------------------------------------------------------------------------------------------

const VECTOR_LOADS: readonly (readonly [string, number])[] = [
  ['v128.load', 4], ['v128.load8x8_s', 3], ['v128.load8x8_u', 3], ['v128.load16x4_s', 3], ['v128.load16x4_u', 3],
  ['v128.load32x2_s', 3], ['v128.load32x2_u', 3], ['v128.load8_splat', 0], ['v128.load16_splat', 1],
  ['v128.load32_splat', 2], ['v128.load64_splat', 3], ['v128.store', 4],
] // prettier-ignore
VECTOR_LOADS.forEach(([name, align], i) => define(name, 0xfd, i, 'mem', align))
define('v128.const', 0xfd, 0x0c, 'bytes16')
define('i8x16.shuffle', 0xfd, 0x0d, 'lanes16')
run(0x0e, 0xfd, 'i8x16.swizzle i8x16.splat i16x8.splat i32x4.splat i64x2.splat f32x4.splat f64x2.splat')
run(
  0x15,
  0xfd,
  `i8x16.extract_lane_s i8x16.extract_lane_u i8x16.replace_lane i16x8.extract_lane_s i16x8.extract_lane_u
   i16x8.replace_lane i32x4.extract_lane i32x4.replace_lane i64x2.extract_lane i64x2.replace_lane
   f32x4.extract_lane f32x4.replace_lane f64x2.extract_lane f64x2.replace_lane`,
  'lane',
)
const LANE_COMPARE = 'eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u'
run(0x23, 0xfd, each('i8x16', LANE_COMPARE))
run(0x2d, 0xfd, each('i16x8', LANE_COMPARE))
run(0x37, 0xfd, each('i32x4', LANE_COMPARE))
run(0x41, 0xfd, each('f32x4', FLOAT_COMPARE))
run(0x47, 0xfd, each('f64x2', FLOAT_COMPARE))
run(0x4d, 0xfd, each('v128', 'not and andnot or xor bitselect any_true'))
;[8, 16, 32, 64].forEach((bits, i) => {
  define(`v128.load${bits}_lane`, 0xfd, 0x54 + i, 'memlane', i)
  define(`v128.store${bits}_lane`, 0xfd, 0x58 + i, 'memlane', i)
})
define('v128.load32_zero', 0xfd, 0x5c, 'mem', 2)
define('v128.load64_zero', 0xfd, 0x5d, 'mem', 3)
run(0x5e, 0xfd, 'f32x4.demote_f64x2_zero f64x2.promote_low_f32x4')
run(
  0x60,
  0xfd,
  `${each('i8x16', 'abs neg popcnt all_true bitmask narrow_i16x8_s narrow_i16x8_u')}
   ${each('f32x4', 'ceil floor trunc nearest')}
   ${each('i8x16', 'shl shr_s shr_u add add_sat_s add_sat_u sub sub_sat_s sub_sat_u')}
   f64x2.ceil f64x2.floor ${each('i8x16', 'min_s min_u max_s max_u')} f64x2.trunc i8x16.avgr_u
   i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u
   i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u`,
)
run(
  0x80,
  0xfd,
  `${each(
    'i16x8',
    `abs neg q15mulr_sat_s all_true bitmask narrow_i32x4_s narrow_i32x4_u extend_low_i8x16_s extend_high_i8x16_s
     extend_low_i8x16_u extend_high_i8x16_u shl shr_s shr_u add add_sat_s add_sat_u sub sub_sat_s sub_sat_u`,
  )} f64x2.nearest ${each(
    'i16x8',
    `mul min_s min_u max_s max_u - avgr_u extmul_low_i8x16_s extmul_high_i8x16_s extmul_low_i8x16_u
     extmul_high_i8x16_u`,
  )}`,
)
run(
  0xa0,
  0xfd,
  each(
    'i32x4',
    `abs neg - all_true bitmask - - extend_low_i16x8_s extend_high_i16x8_s extend_low_i16x8_u extend_high_i16x8_u
     shl shr_s shr_u add - - sub - - - mul min_s min_u max_s max_u dot_i16x8_s - extmul_low_i16x8_s
     extmul_high_i16x8_s extmul_low_i16x8_u extmul_high_i16x8_u`,
  ),
)
run(
  0xc0,
  0xfd,
  each(
    'i64x2',
    `abs neg - all_true bitmask - - extend_low_i32x4_s extend_high_i32x4_s extend_low_i32x4_u extend_high_i32x4_u
     shl shr_s shr_u add - - sub - - - mul eq ne lt_s gt_s le_s ge_s extmul_low_i32x4_s extmul_high_i32x4_s
     extmul_low_i32x4_u extmul_high_i32x4_u`,
  ),
)
run(0xe0, 0xfd, each('f32x4', 'abs neg - sqrt add sub mul div min max pmin pmax'))
run(0xec, 0xfd, each('f64x2', 'abs neg - sqrt add sub mul div min max pmin pmax'))
run(
  0xf8,
  0xfd,
  `i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s f32x4.convert_i32x4_u
   i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u`,
)

// --- 0xfe: atomics -----------------------------------------------------------------------------------------------------

define('memory.atomic.notify', 0xfe, 0, 'mem', 2)
define('memory.atomic.wait32', 0xfe, 1, 'mem', 2)
define('memory.atomic.wait64', 0xfe, 2, 'mem', 3)
define('atomic.fence', 0xfe, 3, 'zero1')
/** The seven access shapes, in encoding order. */
const SHAPES: readonly (readonly [string, string, number])[] = [
  ['i32', '', 2], ['i64', '', 3], ['i32', '8', 0], ['i32', '16', 1], ['i64', '8', 0], ['i64', '16', 1], ['i64', '32', 2],
] // prettier-ignore
SHAPES.forEach(([type, bits, align], i) => {
  define(`${type}.atomic.load${bits}${bits ? '_u' : ''}`, 0xfe, 0x10 + i, 'mem', align)
  define(`${type}.atomic.store${bits}`, 0xfe, 0x17 + i, 'mem', align)
  ;['add', 'sub', 'and', 'or', 'xor', 'xchg', 'cmpxchg'].forEach((operation, j) => {
    define(`${type}.atomic.rmw${bits}.${operation}${bits ? '_u' : ''}`, 0xfe, 0x1e + j * 7 + i, 'mem', align)
  })
})

/** Its keys were property names: V8 compares those with the texts of a program by address. */
export const OPCODES: ReadonlyMap<string, Opcode> = new Map(Object.entries(table))

export function opcode(name: string): Opcode {
  const found = OPCODES.get(name)
  if (!found) throw new Error(`WebAssembly has no operator ${name}`)
  return found
}
