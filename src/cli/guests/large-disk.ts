import type { AptWorld } from './apt.ts'
export function buildLargeDisk(
  world: AptWorld,
  options: { busybox: string; moduleDir: string; scratch: string; image: string },
): readonly string[] {
  throw new Error(`large guest: not yet ${world.arch} ${options.image}`)
}
