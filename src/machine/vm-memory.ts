/**
 * Lays out one VM in a fresh shared memory: pool header, ISA tables, VM struct, CPU structs with TLBs and code caches,
 * frame map, shadow images, then frames. See abi/layout.ts for the fixed part.
 */
import { CACHE_BYTES, CACHE_SIZE } from '#abi/code-cache.ts'
import * as abi from '#abi/layout.ts'
import { ABOVE_4G, ramLayout } from '#firmware/memory-map.ts'
import { HostFeatureError } from './host.ts'

const WASM_PAGE = 65536
const MAX_WASM_PAGES = 65536
/** Shadow images of MMIO ranges and dirty bitmaps. */
const SHARED_ARENA_BYTES = 1 << 20
/** ROMs, option ROMs and the BIOS copy below 1 MiB beside RAM. */
const ROM_FRAMES = 2048
const MAX_PHYSICAL_BITS = 40

export interface VmMemory {
  readonly memory: WebAssembly.Memory
  readonly vm: number
  readonly cpus: readonly number[]
  /** Zeroed blocks for the life of the VM, 16-byte aligned. */
  readonly arena: { allocate(lengthBytes: number): number }
}

/** Bytes that a vCPU needs beside its CPU struct. */
const CPU_BYTES = abi.CPU_REGIONS + abi.CPU_REGIONS_BYTES + CACHE_SIZE

const alignPage = (bytes: number): number => Math.ceil(bytes / abi.PAGE_SIZE) * abi.PAGE_SIZE

export function layOutVm(ramBytes: number, cpuCount: number, isaTables: Uint8Array): VmMemory {
  if (isaTables.length > abi.ISA_TABLES_MAX)
    throw new Error(`the ISA tables of ${isaTables.length} bytes do not fit`)
  const { high } = ramLayout(ramBytes)
  const gfnCount = (ABOVE_4G + high) / abi.PAGE_SIZE
  const mapBytes = alignPage(gfnCount * 4)
  const vm = abi.ARENA_BASE
  const firstCpu = vm + alignPage(abi.VM_SIZE)
  const frameMap = firstCpu + cpuCount * CPU_BYTES
  const arenaAt = frameMap + mapBytes
  const framesAt = arenaAt + SHARED_ARENA_BYTES
  const frameCount = ramBytes / abi.PAGE_SIZE + ROM_FRAMES
  const pages = Math.ceil((framesAt + frameCount * abi.PAGE_SIZE) / WASM_PAGE)
  const memory = allocate(pages)
  const view = new DataView(memory.buffer)
  new Uint8Array(memory.buffer, abi.ISA_TABLES_BASE).set(isaTables)

  view.setUint32(abi.POOL_ARENA_NEXT, framesAt, true)
  view.setUint32(abi.POOL_FRAME_FIRST, framesAt / abi.PAGE_SIZE, true)
  view.setUint32(abi.POOL_FRAME_NEXT, framesAt / abi.PAGE_SIZE, true)
  view.setUint32(abi.POOL_FRAME_LIMIT, framesAt / abi.PAGE_SIZE + frameCount, true)

  view.setUint32(vm + abi.VM_FRAME_MAP, frameMap, true)
  view.setUint32(vm + abi.VM_GFN_COUNT, gfnCount, true)
  view.setUint32(vm + abi.VM_VCPU_COUNT, cpuCount, true)
  view.setUint32(vm + abi.VM_A20_MASK, 0xffff_ffff, true)
  view.setUint32(vm + abi.VM_MAXPHYADDR, MAX_PHYSICAL_BITS, true)

  const cpus: number[] = []
  for (let i = 0; i < cpuCount; i++) {
    const cpu = firstCpu + i * CPU_BYTES
    const banks = cpu + abi.CPU_SIZE
    const cache = cpu + abi.CPU_REGIONS + abi.CPU_REGIONS_BYTES
    view.setUint32(vm + abi.VM_CPU_PTRS + i * 4, cpu, true)
    view.setUint32(cpu + abi.CPU_VM, vm, true)
    view.setUint32(cpu + abi.CPU_INDEX, i, true)
    view.setUint32(cpu + abi.CPU_TLB_BANKS, banks, true)
    view.setUint32(cpu + abi.CPU_TLB, banks, true)
    view.setUint32(cpu + abi.CPU_CODE_CACHE, cache, true)
    view.setUint32(cache + CACHE_BYTES, CACHE_SIZE, true)
    // A machine begins paused: workers wait for start().
    view.setUint32(cpu + abi.CPU_REQ, abi.REQ_PAUSE, true)
    cpus.push(cpu)
  }
  return { memory, vm, cpus, arena: bumpArena(arenaAt, SHARED_ARENA_BYTES) }
}

function allocate(pages: number): WebAssembly.Memory {
  if (pages > MAX_WASM_PAGES)
    throw new HostFeatureError(
      `${pages / 16} MiB do not fit into a 4 GiB address space: give the machine less memory`,
    )
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: MAX_WASM_PAGES, shared: true })
  } catch (cause) {
    throw new HostFeatureError(
      `the host refused ${Math.round(pages / 16)} MiB of shared memory: give the machine less, or close other tabs`,
      { cause },
    )
  }
}

function bumpArena(start: number, bytes: number): { allocate(lengthBytes: number): number } {
  let next = start
  return {
    allocate(lengthBytes) {
      const at = next
      next += Math.ceil(lengthBytes / 16) * 16
      if (next > start + bytes)
        throw new Error(`the shared arena of ${bytes} bytes is full: too many devices with shadow images`)
      return at
    },
  }
}
