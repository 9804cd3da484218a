import type { ViteUserConfig } from 'vitest/config'
import { defineConfig } from 'vitest/config'

/** Another binding than the one in native/: scripts/test/electron.mjs sets it. */
const binding = process.env.DIRTYRATE_TEST_BINDING

const config: ViteUserConfig = defineConfig({
  test: {
    include: ['__test__/**/*.test.ts'],
    setupFiles: ['__test__/fixtures/environment.ts'],
    // What is packed and installed has a run of its own: npm run test:install.
    exclude: ['__test__/install/**', 'node_modules/**'],
    // For the tests and what they run only: vite has a binding of napi-rs too, and would take this
    // one for its own.
    env: binding === undefined ? {} : { NAPI_RS_NATIVE_LIBRARY_PATH: binding },
    // A crash in native code kills one worker, not the run.
    pool: 'forks',
    // What is proven about garbage collection needs a way to ask for it.
    execArgv: ['--expose-gc'],
    // Guests take the whole of a core: files in parallel only make each other wait.
    maxWorkers: 2,
    // The long forms of npm run test:full, and a machine that is busy with something else.
    testTimeout: process.env.DIRTYRATE_TEST_FULL === '1' ? 600_000 : 60_000,
    hookTimeout: 30_000,
    // CI tries a failed test once more: docs/decisions/second-try-in-ci.md.
    retry: Number(process.env.DIRTYRATE_TEST_RETRY ?? 0),
    // With --coverage. The command runs as a program, from dist/, which this does not see.
    coverage: {
      include: ['ts/**/*.ts'],
      exclude: ['__test__/**', 'ts/cli/**'],
      reporter: ['text', 'json-summary'],
      reportsDirectory: 'target/coverage',
    },
  },
})

export default config
