/** Where the guest builder keeps things. All of it is derived data: deleting `.cache` costs only time. */
import path from 'node:path'

export const ROOT_DIR = path.resolve(import.meta.dirname, '../../..')
export const CACHE_DIR = path.join(ROOT_DIR, '.cache')
export const GUESTS_DIR = path.join(CACHE_DIR, 'guests')
/** Files that go into guests as they are: init scripts and settings. */
export const INITRAMFS_SOURCE_DIR = path.join(import.meta.dirname, 'initramfs')
