/**
 * Builds the command line, and serves the production build of the page to the e2e tests on a free loopback port;
 * `inject('pageUrl')` gives its address.
 * WEBKVM_E2E_URL names a server that runs already (`npm run dev`) to skip the build.
 */
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { build, preview } from 'vite'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  // oxlint-disable-next-line typescript/consistent-type-definitions -- merging needs an interface
  export interface ProvidedContext {
    readonly pageUrl: string
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const root = path.resolve(import.meta.dirname, '..')
  execFileSync(process.execPath, [path.join(root, 'src/cli/setup/build-cli.mjs')], { stdio: 'inherit' })
  const given = process.env['WEBKVM_E2E_URL']
  if (given !== undefined) {
    project.provide('pageUrl', given)
    return () => Promise.resolve()
  }
  await build({ root, logLevel: 'warn' })
  const server = await preview({
    root,
    logLevel: 'warn',
    preview: { host: '127.0.0.1', port: 0, open: false },
  })
  const url = server.resolvedUrls?.local[0]
  if (url === undefined) throw new Error('the preview server gives no address')
  project.provide('pageUrl', url)
  return () => server.close()
}
