/** xterm.js bound to a console stream: fit to the page, copy and paste, scrollback. */
import { FitAddon } from '@xterm/addon-fit'
import { Terminal } from '@xterm/xterm'
import '@xterm/xterm/css/xterm.css'

import type { ConsoleStream } from '#machine/console-stream.ts'

const SCROLLBACK_LINES = 10_000

export interface TerminalView {
  /** Shows this stream from now on; what was on the screen stays in the scrollback. */
  attach(stream: ConsoleStream, onResize?: (columns: number, rows: number) => void): void
  write(text: string): void
  clear(): void
  focus(): void
  /** The visible text and scrollback, for tests and for copying everything. */
  text(): string
}

export function createTerminal(parent: HTMLElement): TerminalView {
  const terminal = new Terminal({
    scrollback: SCROLLBACK_LINES,
    // A blink is a CSS animation to xterm.js: it had the page paint 60 times a second, 9 % of a core beside an idle guest.
    cursorBlink: false,
    fontFamily: 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace',
    fontSize: 14,
    // At 1.0 the underscore of some fonts falls out of its row.
    lineHeight: 1.15,
    theme: { background: '#000000', foreground: '#d7e0ea', cursor: '#5cf2a5' },
  })
  const fit = new FitAddon()
  terminal.loadAddon(fit)
  terminal.open(parent)
  fit.fit()
  new ResizeObserver(() => fit.fit()).observe(parent)
  enableCopyAndPaste(terminal)

  let detach = (): void => undefined
  return {
    attach(stream, onResize) {
      detach()
      const stopOutput = stream.onOutput((bytes) => terminal.write(Uint8Array.from(bytes)))
      const input = terminal.onData((data) => stream.send(data))
      const binary = terminal.onBinary((data) => stream.send(Uint8Array.from(data, (c) => c.charCodeAt(0))))
      const resize = terminal.onResize(({ cols, rows }) => onResize?.(cols, rows))
      onResize?.(terminal.cols, terminal.rows)
      detach = () => {
        stopOutput()
        input.dispose()
        binary.dispose()
        resize.dispose()
      }
    },
    write: (text) => terminal.write(text),
    clear: () => terminal.reset(),
    focus: () => terminal.focus(),
    text: () => bufferText(terminal),
  }
}

/** Ctrl+Shift+C and Ctrl+Shift+V, since Ctrl+C belongs to the guest; with a selection Ctrl+Insert copies too. */
function enableCopyAndPaste(terminal: Terminal): void {
  terminal.attachCustomKeyEventHandler((event) => {
    if (event.type !== 'keydown') return true
    const copy =
      (event.ctrlKey && event.shiftKey && event.code === 'KeyC') || (event.ctrlKey && event.code === 'Insert')
    if (copy && terminal.hasSelection()) {
      void navigator.clipboard.writeText(terminal.getSelection())
      event.preventDefault()
      return false
    }
    // The browser's own paste event reaches xterm.js; only keep the key from becoming input.
    return !(event.ctrlKey && event.shiftKey && event.code === 'KeyV')
  })
}

function bufferText(terminal: Terminal): string {
  const { active } = terminal.buffer
  const lines: string[] = []
  for (let i = 0; i < active.length; i++) {
    const line = active.getLine(i)
    if (line === undefined) continue
    const text = line.translateToString(true)
    if (line.isWrapped && lines.length > 0) lines[lines.length - 1] += text
    else lines.push(text)
  }
  return lines.join('\n')
}
