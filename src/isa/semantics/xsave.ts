/** FXSAVE and XSAVE images: the kernel copies them (src/kernel/fp), all checks but #NM of FXSAVE included. */
import type { Semantics } from '../emit.ts'
import type { xsaveRows } from '../rows/xsave.ts'
import { gateX87, i32 } from './vector.ts'

const image =
  (name: string, wide: 0 | 1, write: boolean): Semantics =>
  (e) => {
    if (name.startsWith('fpu_fx')) gateX87(e, false)
    const gva = e.linear(16, write)
    // the last 16 bytes, for the segment limit: XSAVE images have a header of 64 bytes behind the legacy region
    e.linear(16, write, name.startsWith('fpu_fx') ? 496 : 560)
    e.call(name, [gva, e.seg(), i32(e, wide)])
  }

export const xsaveSemantics: Readonly<Record<keyof typeof xsaveRows, Semantics>> = {
  fxsave_m: image('fpu_fxsave', 0, true),
  fxsave64_m: image('fpu_fxsave', 1, true),
  fxrstor_m: image('fpu_fxrstor', 0, false),
  fxrstor64_m: image('fpu_fxrstor', 1, false),
  xsave_m: image('fpu_xsave', 0, true),
  xsave64_m: image('fpu_xsave', 1, true),
  xrstor_m: image('fpu_xrstor', 0, false),
  xrstor64_m: image('fpu_xrstor', 1, false),
  xsaveopt_m: image('fpu_xsaveopt', 0, true),
  xsaveopt64_m: image('fpu_xsaveopt', 1, true),
}
