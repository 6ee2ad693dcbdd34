/**
 * Control-flow graph of a region: order, dominators, loops. Edges that enter a loop elsewhere than at its header cannot be
 * written with WebAssembly's structured control flow; they are reported, and the caller leaves the region there.
 */
export interface Graph {
  /** Successors of each block; block 0 is the entry. */
  readonly successors: readonly (readonly number[])[]
}

export interface Structure {
  /** Reachable blocks in reverse postorder. */
  readonly order: readonly number[]
  /** Children in the dominator tree, in order. */
  readonly children: readonly (readonly number[])[]
  /** Targets of back edges. */
  readonly headers: ReadonlySet<number>
  /** Position in `order`, -1 if unreachable. */
  readonly position: readonly number[]
}

function reversePostorder({ successors }: Graph): number[] {
  const order: number[] = []
  const seen = successors.map(() => false)
  seen[0] = true
  // Each entry: a block and how many of its successors were visited.
  const stack: [number, number][] = [[0, 0]]
  for (;;) {
    const top = stack.at(-1)
    if (!top) return order.toReversed()
    const next = successors[top[0]]?.[top[1]++]
    if (next === undefined) {
      order.push(top[0])
      stack.pop()
    } else if (!seen[next]) {
      seen[next] = true
      stack.push([next, 0])
    }
  }
}

/** Immediate dominators (Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm"), by position in the order. */
function dominators(predecessors: readonly (readonly number[])[], count: number): number[] {
  const idom = predecessors.map(() => -1)
  idom[0] = 0
  const intersect = (a: number, b: number): number => {
    let x = a
    let y = b
    while (x !== y) {
      while (x > y) x = idom[x] ?? 0
      while (y > x) y = idom[y] ?? 0
    }
    return x
  }
  for (let changed = true; changed;) {
    changed = false
    for (let at = 1; at < count; at++) {
      let best = -1
      for (const from of predecessors[at] ?? []) {
        if ((idom[from] ?? -1) >= 0) best = best < 0 ? from : intersect(from, best)
      }
      if (best !== idom[at]) {
        idom[at] = best
        changed = true
      }
    }
  }
  return idom
}

/** The graph without the edges that cannot be written, and its structure. */
export function structured(graph: Graph): Graph & { readonly shape: Structure } {
  const { successors } = graph
  const { shape, irregular } = structure(graph)
  if (irregular.length === 0) return { successors, shape }
  const left = successors.map((list, from) =>
    list.filter((to) => !irregular.some((edge) => edge.from === from && edge.to === to)),
  )
  return { successors: left, shape: structure({ successors: left }).shape }
}

interface Edge {
  readonly from: number
  readonly to: number
}

function structure(graph: Graph): { readonly shape: Structure; readonly irregular: readonly Edge[] } {
  const order = reversePostorder(graph)
  const position = graph.successors.map(() => -1)
  order.forEach((block, at) => (position[block] = at))
  const predecessors: number[][] = order.map(() => [])
  for (const [at, block] of order.entries()) {
    for (const to of graph.successors[block] ?? []) predecessors[position[to] ?? 0]?.push(at)
  }
  const idom = dominators(predecessors, order.length)
  const dominates = (a: number, b: number): boolean => {
    let at = b
    while (at > a) at = idom[at] ?? 0
    return at === a
  }
  const headers = new Set<number>()
  const irregular: Edge[] = []
  const children: number[][] = graph.successors.map(() => [])
  for (const [at, block] of order.entries()) {
    if (at > 0) children[order[idom[at] ?? 0] ?? 0]?.push(block)
    for (const to of graph.successors[block] ?? []) {
      const target = position[to] ?? 0
      if (target > at) continue
      if (dominates(target, at)) headers.add(to)
      else irregular.push({ from: block, to })
    }
  }
  return { shape: { order, children, headers, position }, irregular }
}
