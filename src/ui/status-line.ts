/** The line at the foot of the page: state, guest speed, host load, exits. */
import type { Machine } from '#machine/machine.ts'

const INTERVAL_MS = 500

const element = (id: string): HTMLElement => {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no element #${id}`)
  return found
}

/** A text node that is replaced by an equal one is still laid out and painted. */
function show(field: HTMLElement, text: string): void {
  if (field.textContent !== text) field.textContent = text
}

/** Keeps the line current until the returned function is called. */
export function showStatus(machine: Machine): () => void {
  const [state, mips, cpu, exits, cpus] = ['state', 'mips', 'cpu', 'exits', 'cpus'].map((name) =>
    element(`status-${name}`),
  ) as [HTMLElement, HTMLElement, HTMLElement, HTMLElement, HTMLElement]
  let last = machine.stats()
  const update = (): void => {
    const now = machine.stats()
    const seconds = Math.max(1e-3, (now.atNs - last.atNs) / 1e9)
    show(state, now.state)
    show(mips, `${((now.instructions - last.instructions) / seconds / 1e6).toFixed(0)} MIPS`)
    show(cpu, `host CPU ${Math.max(0, ((now.busyNs - last.busyNs) / 1e9 / seconds) * 100).toFixed(0)} %`)
    show(exits, `${((now.exits - last.exits) / seconds).toFixed(0)} exits/s`)
    show(cpus, `${now.vcpus} vCPUs, ${(now.ramBytes / 1048576).toFixed(0)} MiB`)
    last = now
  }
  update()
  const timer = setInterval(update, INTERVAL_MS)
  // A change of state shows at once; rates wait for a whole interval.
  const unsubscribe = machine.on('state', ({ state: changed }) => {
    show(state, changed)
  })
  return () => {
    clearInterval(timer)
    unsubscribe()
    update()
  }
}
