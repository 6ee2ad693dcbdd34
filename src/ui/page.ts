/** The page: picks what to boot, shows progress and errors, drives the machine's life cycle. */
import { createBrowserHost } from '#host/browser/browser-host.ts'
import { missingFeatures } from '#host/browser/features.ts'
import { registerIsolationWorker } from '#host/browser/isolation.ts'
import { forgetDiskChanges } from '#host/browser/persistent-disk.ts'
import type { LoadProgress, MachineOptions } from '#machine/config.ts'
import { createMachine } from '#machine/create.ts'
import type { Machine } from '#machine/machine.ts'
import { loadBootEntries } from './boot-entries.ts'
import type { BootEntry } from './boot-entries.ts'
import { showStatus } from './status-line.ts'
import { createTerminal } from './terminal.ts'

function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const element = document.getElementById(id)
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} #${id}`)
  return element
}

const button = (id: string): HTMLButtonElement => byId(id, HTMLButtonElement)
const input = (id: string): HTMLInputElement => byId(id, HTMLInputElement)

const ui = {
  entries: byId('boot-entry', HTMLSelectElement),
  cpus: input('cpus'),
  memory: input('memory'),
  start: button('start'),
  pause: button('pause'),
  resume: button('resume'),
  reset: button('reset'),
  powerOff: button('power-off'),
  ownStart: button('own-start'),
  error: byId('error', HTMLElement),
  progress: byId('progress', HTMLElement),
  progressBar: byId('progress-bar', HTMLProgressElement),
  progressText: byId('progress-text', HTMLElement),
  terminal: byId('terminal', HTMLElement),
  details: byId('own', HTMLDetailsElement),
}

const terminal = createTerminal(ui.terminal)
let entries: BootEntry[] = []
let machine: Machine | undefined
let stopStatus = (): void => undefined

/** Scripts and tests drive the page's machine through this. */
interface PageHandle {
  readonly machine: Machine | undefined
  /** Prompt text of the chosen boot entry. */
  readonly prompt: string | undefined
  screenText(): string
}
const handle: PageHandle = {
  get machine() {
    return machine
  },
  get prompt() {
    return entries[ui.entries.selectedIndex]?.prompt
  },
  screenText: () => terminal.text(),
}
Object.assign(globalThis, { webkvm: handle })

function showError(error: unknown): void {
  ui.error.textContent = error instanceof Error ? error.message : String(error)
  ui.error.hidden = false
}

function showProgress(progress: LoadProgress): void {
  const mib = (bytes: number): string => (bytes / 1048576).toFixed(1)
  ui.progress.hidden = false
  if (progress.totalBytes === undefined) ui.progressBar.removeAttribute('value')
  else ui.progressBar.value = progress.totalBytes === 0 ? 1 : progress.loadedBytes / progress.totalBytes
  const total = progress.totalBytes === undefined ? '' : ` of ${mib(progress.totalBytes)}`
  ui.progressText.textContent = `${progress.what}: ${mib(progress.loadedBytes)}${total} MiB`
}

function updateButtons(): void {
  const state = machine?.state
  const live = state === 'running' || state === 'paused'
  ui.start.disabled = live || entries.length === 0
  ui.ownStart.disabled = live
  ui.pause.disabled = state !== 'running'
  ui.resume.disabled = state !== 'paused'
  ui.reset.disabled = !live
  ui.powerOff.disabled = !live
}

async function boot(options: MachineOptions): Promise<void> {
  ui.error.hidden = true
  ui.start.disabled = true
  ui.ownStart.disabled = true
  try {
    await machine?.stop()
    stopStatus()
    terminal.clear()
    const created = await createMachine({ ...options, onProgress: showProgress }, createBrowserHost())
    machine = created
    watch(created)
    created.start()
  } catch (error) {
    showError(error)
  } finally {
    ui.progress.hidden = true
    updateButtons()
  }
}

function watch(created: Machine): void {
  terminal.attach(created.console, (columns, rows) => created.resizeConsole(columns, rows))
  terminal.focus()
  stopStatus = showStatus(created)
  created.on('state', ({ state, reason }) => {
    updateButtons()
    if (state === 'stopped') terminal.write(`\r\n\x1b[90m[${reason ?? 'the machine is off'}]\x1b[0m\r\n`)
    if (state === 'stopped' || state === 'crashed') stopStatus()
  })
  created.on('error', ({ message }) => showError(message))
  created.on('log', ({ level, text }) => {
    // A disk that can no longer be read or written is the user's to mend, and the guest goes on: say it on the page.
    if (level === 'error') showError(text)
    else if (level === 'warn') console.warn(text)
    else console.debug(text)
  })
}

function sizeOptions(): MachineOptions {
  const memory = ui.memory.value.trim()
  return { cpus: ui.cpus.valueAsNumber, ...(memory === '' ? {} : { memory }) }
}

const picked = (id: string): File | undefined => input(id).files?.[0]
const typed = (id: string): string | undefined =>
  input(id).value.trim() === '' ? undefined : input(id).value.trim()

/** The name under which changes to a disk are kept: the same file or address finds them again. */
const diskName = (disk: File | string): string =>
  typeof disk === 'string' ? new URL(disk, document.baseURI).href : `${disk.name}-${disk.size}`

async function forgetChanges(): Promise<void> {
  const disk = picked('own-disk') ?? typed('own-disk-url')
  if (disk === undefined) return showError('Choose the disk whose changes are to be forgotten.')
  await forgetDiskChanges(diskName(disk))
}

function ownOptions(): MachineOptions {
  const kernel = picked('own-kernel') ?? typed('own-kernel-url')
  const disk = picked('own-disk') ?? typed('own-disk-url')
  const initrd = picked('own-initrd')
  return {
    ...sizeOptions(),
    ...(kernel === undefined ? {} : { kernel }),
    ...(initrd === undefined ? {} : { initrd }),
    ...(disk === undefined
      ? {}
      : { disks: [{ source: disk, ...(input('own-keep').checked ? { keepAs: diskName(disk) } : {}) }] }),
    append: input('own-append').value,
  }
}

/** Guesses what a dropped file is for: by its name, then by its size. */
function placeDropped(file: File): void {
  const target = /init(rd|ramfs)|\.cpio/i.test(file.name)
    ? 'own-initrd'
    : /\.(img|iso|raw|qcow2|squashfs|ext4)$/i.test(file.name) || file.size > 256 * 1048576
      ? 'own-disk'
      : 'own-kernel'
  const transfer = new DataTransfer()
  transfer.items.add(file)
  input(target).files = transfer.files
  ui.details.open = true
}

/** What the chosen entry asks for stands where a user may ask for something else. */
function showEntryMemory(): void {
  const bytes = entries[ui.entries.selectedIndex]?.options.memory
  ui.memory.placeholder = typeof bytes === 'number' ? `${bytes / 1048576}M` : '512M'
}

function wireEvents(): void {
  ui.entries.addEventListener('change', showEntryMemory)
  ui.start.addEventListener('click', () => {
    const entry = entries[ui.entries.selectedIndex]
    if (entry !== undefined) void boot({ ...entry.options, ...sizeOptions() })
  })
  ui.ownStart.addEventListener('click', () => void boot(ownOptions()))
  button('own-forget').addEventListener('click', () => void forgetChanges().catch(showError))
  ui.pause.addEventListener('click', () => void machine?.pause().then(updateButtons))
  ui.resume.addEventListener('click', () => machine?.resume())
  ui.reset.addEventListener('click', () => void machine?.reset().catch(showError))
  ui.powerOff.addEventListener('click', () => machine?.powerOff())
  document.addEventListener('dragover', (event) => {
    event.preventDefault()
    ui.terminal.classList.add('dropping')
  })
  document.addEventListener('dragleave', () => ui.terminal.classList.remove('dropping'))
  document.addEventListener('drop', (event) => {
    event.preventDefault()
    ui.terminal.classList.remove('dropping')
    for (const file of event.dataTransfer?.files ?? []) placeDropped(file)
  })
}

async function main(): Promise<void> {
  wireEvents()
  // Before the first await: what the user types from then on stays.
  const parameters = new URLSearchParams(location.search)
  ui.cpus.value = parameters.get('cpus') ?? ui.cpus.value
  ui.memory.value = parameters.get('memory') ?? ''
  if (await registerIsolationWorker()) return
  const missing = missingFeatures()
  if (missing.length > 0) {
    showError(
      missing.map(({ feature, remedy }) => `This browser or page has no ${feature}: ${remedy}.`).join('\n'),
    )
    return
  }
  entries = await loadBootEntries(new URL('guests/', document.baseURI))
  for (const entry of entries) ui.entries.add(new Option(entry.title, entry.id))
  ui.entries.disabled = entries.length === 0
  if (entries.length === 0)
    showError('No guest image is here: run "npm run setup" on the server, or boot your own kernel.')
  updateButtons()
  const boot = parameters.get('boot')
  const wanted = entries.findIndex((entry) => entry.id === boot)
  if (wanted >= 0) ui.entries.selectedIndex = wanted
  showEntryMemory()
  if (boot !== null && wanted < 0 && entries.length > 0) {
    const ids = entries.map(({ id }) => id).join(', ')
    showError(`boot=${boot}: there is no such guest image. The address takes one of ${ids}.`)
    return
  }
  if (entries.length > 0 && parameters.get('autostart') !== '0') ui.start.click()
}

main().catch(showError)
