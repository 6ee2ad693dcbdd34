/**
 * Has V8's first compiler make a module's functions in this thread: it does so when a function is first called, and the vCPU that called it stood
 * still for about a millisecond. What it makes belongs to all modules of the same bytes in the process, as long as one of them lives.
 *
 * A function that finds its budget used up asks run_on(), and leaves if that says so: it touches nothing but RIP and
 * budget of the CPU struct, for which there is a place that is nobody's (VM_NO_CPU).
 */
import { VM_NO_CPU } from '../../abi/layout.ts'
import { ModuleBuilder } from '../../wasm/module.ts'
import { importedFunctions } from './batch.ts'

/** Modules that are kept: a vCPU fetches its own soon. */
const KEPT = 8

type RegionFunction = (cpu: number, base: bigint, budget: number, depth: number) => number

export class WarmUp {
  readonly #memory: WebAssembly.Memory
  readonly #cpu: number
  readonly #functions: WebAssembly.ModuleImports
  readonly #kept: WebAssembly.Module[] = []

  /** @param vm address of the VM struct */
  constructor(memory: WebAssembly.Memory, vm: number) {
    this.#memory = memory
    this.#cpu = vm + VM_NO_CPU
    this.#functions = new WebAssembly.Instance(new WebAssembly.Module(standIns())).exports
  }

  /** @param first index of the module's first function in the table, and how many there are */
  run(bytes: Uint8Array<ArrayBuffer>, first: number, count: number): void {
    const module = new WebAssembly.Module(bytes)
    this.#kept.push(module)
    if (this.#kept.length > KEPT) this.#kept.shift()
    const regions = new WebAssembly.Table({ element: 'anyfunc', initial: first + count })
    const env = { memory: this.#memory, regions }
    void new WebAssembly.Instance(module, { env, f: this.#functions })
    for (let i = 0; i < count; i++) {
      const region = regions.get(first + i) as RegionFunction
      region(this.#cpu, 0n, -1, 0)
    }
  }
}

/** In place of what compiled code imports: run_on() answers that it has to be left, the others are never called. */
function standIns(): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder()
  for (const [name, { params, result }] of Object.entries(importedFunctions())) {
    const { code, index } = module.function(params, result ? [result] : [], name)
    if (name === 'run_on') code.i32(-1)
    else code.op('unreachable')
    module.exportFunction(name, index)
  }
  return module.toBytes()
}
