// @ts-check
/**
 * Lint rule `webkvm/layers`: who may import whom, as an allow-list. An area is a folder of src/ (or workers, e2e);
 * an import that leaves its area must be listed here. Tests may import anything; nothing but tests imports testkit.
 *
 * Two rooms never see each other: engine/isa/kernel and hub/virtio/devices. They meet in abi.
 * Node modules stay in host/node, cli, and build and test scripts, so that everything else runs in a page.
 */
import path from 'node:path'

/** @type {Readonly<Record<string, readonly string[]>>} */
const ALLOWED = {
  base: [],
  abi: ['base'],
  wasm: ['base'],
  isa: ['abi', 'base', 'wasm'],
  engine: ['abi', 'base', 'isa', 'memory', 'wasm'],
  kernel: ['abi'],
  memory: ['abi', 'base'],
  snapshot: ['base'],
  hub: ['abi', 'base', 'snapshot'],
  virtio: ['abi', 'base', 'hub', 'snapshot'],
  devices: ['abi', 'base', 'hub', 'snapshot', 'virtio'],
  firmware: ['abi', 'base'],
  machine: [
    'abi',
    'base',
    'devices',
    'engine',
    'firmware',
    'hub',
    'isa',
    'memory',
    'snapshot',
    'virtio',
    'wasm',
  ],
  monitor: ['abi', 'base', 'hub', 'isa', 'machine', 'snapshot'],
  // The adapters implement ports that the areas below declare; none of those knows an adapter.
  host: ['abi', 'base', 'devices', 'engine', 'firmware', 'hub', 'machine', 'memory', 'virtio', 'wasm'],
  index: ['abi', 'base', 'devices', 'firmware', 'host', 'hub', 'machine', 'monitor', 'snapshot', 'virtio'],
  ui: ['base', 'host', 'index', 'machine', 'monitor'],
  cli: [
    'abi',
    'base',
    'devices',
    'engine',
    'firmware',
    'host',
    'hub',
    'index',
    'isa',
    'machine',
    'monitor',
    'snapshot',
  ],
  workers: ['abi', 'base', 'engine', 'host', 'machine', 'memory', 'wasm'],
  testkit: [
    'abi',
    'base',
    'devices',
    'engine',
    'firmware',
    'host',
    'hub',
    'index',
    'isa',
    'machine',
    'memory',
    'snapshot',
    'virtio',
    'wasm',
  ],
  e2e: ['abi', 'base', 'cli', 'host', 'index', 'isa', 'machine', 'monitor', 'testkit'],
}

/** npm packages by the areas that may use them; a package not listed may be used nowhere in src. */
/** @type {Readonly<Record<string, readonly string[]>>} */
const PACKAGES = {
  '@xterm/xterm': ['ui'],
  '@xterm/addon-fit': ['ui'],
  comlink: ['host', 'ui', 'workers'],
  'idb-keyval': ['host', 'ui'],
  citty: ['cli'],
  ws: ['cli', 'host'],
  vite: ['cli'],
  assemblyscript: ['engine'],
  'playwright-core': ['index', 'testkit'],
}

const NODE_FILES =
  /^(?:src\/(?:host\/node|cli|testkit)\/|src\/(?:node|playwright)\.ts$|e2e\/|src\/.*\/build\/|src\/kernel\/.*testing|.*\.config\.ts$)/u
const TEST_FILES = /(?:\.test|\.e2e)\.ts$|\/testing-[^/]*\.ts$|\/testing\//u

/** The files of src itself are the public API, area `index`. @param {string} file relative to the repository */
function areaOf(file) {
  const parts = file.split('/')
  if (parts[0] !== 'src') return parts.length > 1 ? parts[0] : undefined
  return parts.length === 2 ? 'index' : parts[1]
}

/**
 * @param {string} file the importing file, relative to the repository
 * @param {string} specifier
 * @returns {string | undefined} what is wrong, or undefined
 */
export function layerFault(file, specifier) {
  const from = areaOf(file)
  if (from === undefined || TEST_FILES.test(file)) return undefined
  if (specifier.startsWith('node:')) {
    return NODE_FILES.test(file)
      ? undefined
      : `Node module ${specifier} outside host/node, cli, build and test scripts`
  }
  const target = targetOf(file, specifier)
  if (target === undefined) return packageFault(from, specifier)
  const to = areaOf(target)
  if (to === from || to === undefined) return undefined
  if (TEST_FILES.test(target)) return `${target} is test code`
  const allowed = ALLOWED[from]
  if (allowed === undefined) return `area ${from} is not in the list of layers`
  return allowed.includes(to)
    ? undefined
    : `${from} may not import ${to} (allowed: ${allowed.join(', ') || 'nothing'})`
}

/** @param {string} file @param {string} specifier */
function targetOf(file, specifier) {
  const bare = specifier.replace(/\?.*$/u, '')
  if (bare.startsWith('#')) return `src/${bare.slice(1)}`
  return bare.startsWith('.') ? path.posix.join(path.posix.dirname(file), bare) : undefined
}

/** @param {string} from @param {string} specifier */
function packageFault(from, specifier) {
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
  // Scripts beside a build or in e2e use development tools freely; knip checks that those are declared.
  if (from === 'e2e' || from === 'cli') return undefined
  const users = PACKAGES[name]
  if (users?.includes(from)) return undefined
  return `${from} may not use the package ${name}${users ? ` (only ${users.join(', ')})` : ''}`
}

const layers = {
  /** @param {any} context */
  create(context) {
    const file = path.relative(context.cwd, context.filename).split(path.sep).join('/')
    /** @param {any} node */
    const check = (node) => {
      const specifier = node.source?.value
      if (typeof specifier !== 'string') return
      const fault = layerFault(file, specifier)
      if (fault !== undefined) context.report({ node: node.source, message: fault })
    }
    return {
      ImportDeclaration: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: check,
    }
  },
}

export default { meta: { name: 'webkvm' }, rules: { layers } }
