/**
 * Playwright on a webkvm page: boot an image, wait for a prompt, run a command, read the output.
 *
 *   const guest = await openGuest(page, { url: 'http://localhost:5173/', boot: 'default' })
 *   await guest.waitForPrompt()
 *   expect(await guest.check('nproc')).toBe('2\n')
 *
 * Typed against the part of Playwright's Page that is used, so that any version of the library fits.
 */

/** The part of Playwright's Page that this module needs. */
export interface PageLike {
  goto(url: string): Promise<unknown>
  evaluate<Argument, Result>(
    run: (argument: Argument) => Result | Promise<Result>,
    argument: Argument,
  ): Promise<Result>
  waitForFunction<Argument>(
    test: (argument: Argument) => unknown,
    argument: Argument,
    options?: { timeout?: number },
  ): Promise<unknown>
}

export interface OpenGuestOptions {
  /** Address of the webkvm page. */
  readonly url: string
  /** Id of a boot entry; the page's first one if absent. */
  readonly boot?: string
  readonly cpus?: number
  readonly memory?: string
  /** Milliseconds until the machine must run. Default 60 000. */
  readonly timeoutMs?: number
}

export interface GuestPage {
  /** Waits for a machine and the boot entry's prompt, or any text or expression, on its console. */
  waitForPrompt(pattern?: string | RegExp, timeoutMs?: number): Promise<void>
  /**
   * Runs a shell command; output and exit status. The first one after a boot waits for the boot entry's prompt: a
   * shell that has not started yet would lose what it is sent.
   */
  run(command: string, timeoutMs?: number): Promise<{ output: string; status: number }>
  /** The output of a command that must succeed. */
  check(command: string, timeoutMs?: number): Promise<string>
  send(text: string): Promise<void>
  /** What the terminal shows, scrollback included. */
  screenText(): Promise<string>
  state(): Promise<string>
  waitForState(state: string, timeoutMs?: number): Promise<void>
  /** Resolves when the machine was reset; waits for text that begin after it see only the new boot's output. */
  waitForReset(): Promise<void>
}

interface PageGlobals {
  readonly webkvm?: {
    readonly machine?: {
      readonly state: string
      once(event: 'reset'): Promise<unknown>
      readonly console: {
        readonly matched: boolean
        send(text: string): void
        waitForText(pattern: string | RegExp, options: { timeoutMs: number; from?: number }): Promise<unknown>
      }
      readonly shell: {
        run(command: string, options: { timeoutMs: number }): Promise<{ output: string; status: number }>
      }
    }
    readonly prompt?: string
    screenText(): string
  }
}

const DEFAULT_TIMEOUT_MS = 60_000

/** Opens the page, boots, and returns when the machine runs. Rejects with the page's own error message if it cannot. */
export async function openGuest(page: PageLike, options: OpenGuestOptions): Promise<GuestPage> {
  const url = new URL(options.url)
  if (options.boot !== undefined) url.searchParams.set('boot', options.boot)
  if (options.cpus !== undefined) url.searchParams.set('cpus', String(options.cpus))
  if (options.memory !== undefined) url.searchParams.set('memory', options.memory)
  await page.goto(url.href)
  await page.waitForFunction(
    () => {
      const error = document.getElementById('error')
      return (
        (error !== null && !error.hidden) || (globalThis as PageGlobals).webkvm?.machine?.state === 'running'
      )
    },
    undefined,
    { timeout: options.timeoutMs ?? DEFAULT_TIMEOUT_MS },
  )
  const failure = await page.evaluate(() => {
    const error = document.getElementById('error')
    return error !== null && !error.hidden ? error.textContent : null
  }, undefined)
  if (failure !== null) throw new Error(`the page could not boot: ${failure}`)
  return guestPage(page)
}

/**
 * Waits for a machine and a text on its console; a pattern of undefined is the boot entry's prompt. With `first` only if nobody
 * has waited for a text of this boot with success.
 */
async function waitForText(
  page: PageLike,
  pattern: string | RegExp | undefined,
  { timeoutMs, first = false }: { readonly timeoutMs: number; readonly first?: boolean },
): Promise<void> {
  const expression = pattern instanceof RegExp ? { source: pattern.source, flags: pattern.flags } : undefined
  const text = typeof pattern === 'string' ? pattern : undefined
  const started = Date.now()
  await page.waitForFunction(() => (globalThis as PageGlobals).webkvm?.machine !== undefined, undefined, {
    timeout: timeoutMs,
  })
  await page.evaluate(
    async (wanted) => {
      const { webkvm } = globalThis as PageGlobals
      if (wanted.first && webkvm?.machine?.console.matched === true) return
      const match =
        wanted.expression === undefined
          ? (wanted.text ?? webkvm?.prompt ?? '# ')
          : new RegExp(wanted.expression.source, wanted.expression.flags)
      await webkvm?.machine?.console.waitForText(match, { timeoutMs: wanted.timeoutMs })
    },
    { expression, text, first, timeoutMs: Math.max(1, timeoutMs - (Date.now() - started)) },
  )
}

/** Drives the machine of a page that was started by other means, such as the form for one's own kernel. */
export function guestPage(page: PageLike): GuestPage {
  const run = async (
    command: string,
    timeoutMs = DEFAULT_TIMEOUT_MS,
  ): Promise<{ output: string; status: number }> => {
    await waitForText(page, undefined, { timeoutMs, first: true })
    return page.evaluate(
      ([text, timeout]) => {
        const machine = (globalThis as PageGlobals).webkvm?.machine
        if (machine === undefined) throw new Error('no machine runs in this page')
        return machine.shell.run(text, { timeoutMs: timeout })
      },
      [command, timeoutMs] as const,
    )
  }
  return {
    run,
    waitForPrompt: (pattern, timeoutMs = DEFAULT_TIMEOUT_MS) => waitForText(page, pattern, { timeoutMs }),
    async check(command, timeoutMs) {
      const { output, status } = await run(command, timeoutMs)
      if (status !== 0) throw new Error(`guest command failed with status ${status}: ${command}\n${output}`)
      return output
    },
    send: (text) =>
      page.evaluate((input) => (globalThis as PageGlobals).webkvm?.machine?.console.send(input), text),
    screenText: () => page.evaluate(() => (globalThis as PageGlobals).webkvm?.screenText() ?? '', undefined),
    state: () => page.evaluate(() => (globalThis as PageGlobals).webkvm?.machine?.state ?? 'none', undefined),
    async waitForReset() {
      await page.evaluate(async () => {
        await (globalThis as PageGlobals).webkvm?.machine?.once('reset')
      }, undefined)
    },
    async waitForState(state, timeoutMs = DEFAULT_TIMEOUT_MS) {
      await page.waitForFunction(
        (wanted) => (globalThis as PageGlobals).webkvm?.machine?.state === wanted,
        state,
        { timeout: timeoutMs },
      )
    },
  }
}
