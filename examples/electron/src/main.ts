/** The main process: has the virtual machine, measures it, and hands out copies. */

import { join } from 'node:path'
import { VirtualMachine, workload } from 'dirtyrate'
import { app, BrowserWindow, ipcMain } from 'electron'
import { takeSnapshot } from './snapshot.js'

async function main(): Promise<void> {
  const vm = await VirtualMachine.create({ memory: '256MiB' })
  await vm.load(workload.hotCold({ pages: 20_000, rate: '100MiB/s' }))
  await vm.start()

  // One after the other: a page that is loaded again asks while the last one is still taken, and
  // the client's bits are there once.
  let last: Promise<unknown> = Promise.resolve()
  ipcMain.handle('snapshot', () => {
    const snapshot = last.then(() => takeSnapshot(vm))
    last = snapshot.catch(() => {})
    return snapshot
  })
  app.on('will-quit', () => void vm.close())

  await app.whenReady()
  const window = new BrowserWindow({
    width: 640,
    height: 320,
    webPreferences: {
      preload: join(import.meta.dirname, 'preload.cjs'),
      sandbox: true,
      contextIsolation: true,
    },
  })
  await window.loadFile(join(import.meta.dirname, '../index.html'))
}

main().catch((error: unknown) => {
  console.error(error)
  app.exit(1)
})
