import { defineConfig } from 'vitest/config';

// Instead of the types of all of Node.js.
declare const process: { env: Record<string, string | undefined> };

export default defineConfig({
  // Relative addresses: the page also works behind a proxy that serves it below a path.
  base: './',
  build: {
    target: 'es2022',
    outDir: process.env.DASHBOARD_OUT ?? 'dist',
    emptyOutDir: true,
    // The policy of the page allows no data: addresses, and no script that is not a file of its own.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none' },
  server: { proxy: { '/api': process.env.DASHBOARD_NODE ?? 'http://127.0.0.1:9180' } },
  test: { include: ['test/**/*.test.ts'], environment: 'node', testTimeout: 60_000, pool: 'threads', poolOptions: { threads: { singleThread: true } } },
});
