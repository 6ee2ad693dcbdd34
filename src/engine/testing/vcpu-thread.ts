/** A vCPU of a test VM in a thread of its own: runs until it leaves and posts why. */
import process from 'node:process'
import { parentPort, workerData } from 'node:worker_threads'
import { createEngine } from '../vcpu-loop.ts'
import type { EngineStart } from '../vcpu-loop.ts'
import { runToExit } from './run-to-exit.ts'

const engine = createEngine(
  workerData as EngineStart,
  () => Number(process.hrtime.bigint()),
  () => undefined,
)
parentPort?.postMessage(runToExit(engine))
