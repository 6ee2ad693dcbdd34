/** Type glue of the semantics files: a family must have exactly the functions that its rows ask for. */
import type { KernelName } from '#abi/kernel-imports.types.ts'
import type { Emit, Semantics, Val } from '../emit.ts'

export type SemanticsOf<Rows> = { readonly [Id in keyof Rows]: Semantics }

/** The same function under several ids: the encodings of one operation. */
export function each<Id extends string>(ids: readonly Id[], semantics: Semantics): Record<Id, Semantics> {
  return Object.fromEntries(ids.map((id) => [id, semantics])) as Record<Id, Semantics>
}

/** Calls a kernel function that has a result. */
export function callValue(e: Emit, name: KernelName, args: readonly Val[]): Val {
  const result = e.call(name, args)
  if (!result) throw new Error(`kernel function ${name} has no result`)
  return e.let(result)
}
